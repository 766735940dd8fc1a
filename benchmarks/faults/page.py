"""What both benchmarks here share: their options, and the page of the book that quotes them."""

import argparse
from pathlib import Path
from typing import Any

from tools import marks

PAGE = Path("book/promises.md")


def put(page: Path, name: str, report: dict[str, Any], table: str) -> None:
    """Put a table with its command, day and machine in the place of what the page had there."""
    told = f"`{report['command']}`, {report['date']}, {report['hardware']}."
    before = page.read_text(encoding="utf-8")
    page.write_text(marks.put(before, name, f"{told}\n\n{table}"), encoding="utf-8")


def parser(about: str | None, record: str) -> argparse.ArgumentParser:
    """A parser with the options that both have: where the figures go."""
    form = argparse.RawDescriptionHelpFormatter
    found = argparse.ArgumentParser(description=about, formatter_class=form)
    found.add_argument("--record", type=Path, default=Path(record))
    also = f"put the table into {PAGE} too"
    found.add_argument("--page", type=Path, nargs="?", const=PAGE, help=also)
    return found
