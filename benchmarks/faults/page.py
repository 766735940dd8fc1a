"""What the benchmarks here share: their options, and the page of the book that quotes them."""

import argparse
from pathlib import Path
from typing import Any

from medr1_lib.files import write_json
from tools import marks

PAGE = Path("book/promises.md")


def put(page: Path, name: str, report: dict[str, Any], table: str) -> None:
    """Put a table with its command, day and machine in the place of what the page had there."""
    told = f"`{report['command']}`, {report['date']}, {report['hardware']}."
    before = page.read_text(encoding="utf-8")
    page.write_text(marks.put(before, name, f"{told}\n\n{table}"), encoding="utf-8")


def keep(asked: argparse.Namespace, name: str, report: dict[str, Any], table: str) -> None:
    """Print a table, write the report, and put the table into the page if that was asked."""
    print(table)
    write_json(asked.record, report)
    if asked.page:
        put(asked.page, name, report, table)


def parser(about: str | None, record: str, minutes: float | None = None) -> argparse.ArgumentParser:
    """A parser with the options that all have, and two of those that take `minutes`."""
    form = argparse.RawDescriptionHelpFormatter
    found = argparse.ArgumentParser(description=about, formatter_class=form)
    found.add_argument("--record", type=Path, default=Path(record))
    also = f"put the table into {PAGE} too"
    found.add_argument("--page", type=Path, nargs="?", const=PAGE, help=also)
    if minutes:
        found.add_argument("--out", type=Path, required=True, help="folder to work in")
        limit = f"begin nothing new after ({minutes:g})"
        found.add_argument("--minutes", type=float, default=minutes, help=limit)
    return found
