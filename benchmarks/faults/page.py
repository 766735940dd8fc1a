"""The page of the book that quotes the figures, each table between two markers."""

import re
from pathlib import Path
from typing import Any

PAGE = Path("book/promises.md")


def put(page: Path, name: str, report: dict[str, Any], table: str) -> None:
    """Put a table with its command, day and machine in the place of what the page had there."""
    told = f"`{report['command']}`, {report['date']}, {report['hardware']}."
    marked = f"<!-- {name} -->\n{told}\n\n{table}\n<!-- end {name} -->"
    before = page.read_text(encoding="utf-8")
    pattern = rf"<!-- {name} -->.*?<!-- end {name} -->"
    after, count = re.subn(pattern, lambda _: marked, before, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{page} has {count} places for {name}")
    page.write_text(after, encoding="utf-8")
