"""`python -m tools.readme`: fill README.md and book/results.md with what is recorded elsewhere.

Minutes of the chapters, addresses, and what the base does and gains (`tools/learned.py`).
"""

import argparse
import json
import re
import sys

from medr1_lib.cli import exit_status
from medr1_lib.course.tiers import COSTS
from notebooks.tools import kernel, sources
from tools import learned, marks

README = kernel.ROOT / "README.md"
RESULTS = kernel.ROOT / "book" / "results.md"
ROW = re.compile(r"^(\| \[(\d\d) [^|]*\| [^|]*)\|[^|\n]*\|[^|\n]*\|$", re.M)
WORDS_A_MINUTE = 100  # of a text with formulas and code


def main(arguments: list[str]) -> int:
    """Fill both pages and say so."""
    argparse.ArgumentParser("python -m tools.readme", description=__doc__).parse_args(arguments)
    for path, fill in ((README, filled), (RESULTS, marked)):
        with kernel.writing_out(path):
            path.write_text(fill(path.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"filled {path}")
    return 0


def filled(page: str) -> str:
    """The page with the minutes recorded last, the work in the chapters, and the repository."""
    costs = json.loads((kernel.ROOT / "data" / COSTS).read_text(encoding="utf-8"))
    runs = costs["laptop"]["minutes"]
    works = {number: work(number) for _, number in ROW.findall(page)}

    def row(match: re.Match[str]) -> str:
        return f"{match[1]}| {runs.get(match[2], '-')} | {works[match[2]]} |"

    page = ROW.sub(row, page)
    hours = round(sum(works.values()) / 60)
    told = f"{len(works)} chapters, an estimated {hours} hours"
    page, found = re.subn(r"\d+ chapters, an estimated \d+ hours", told, page)
    assert found == 1, "the page does not say once how long the course takes"
    where = sources.REPOSITORY
    page = re.sub(r"git clone \S+ medr1", f"git clone {where or 'ADDRESS'} medr1", page)
    return marked(page, badges=badges(where))


def marked(page: str, **others: str) -> str:
    """The page with what stands between the marks of each text filled in."""
    for name, text in (learned.texts() | others).items():
        if f"<!-- {name} -->" in page:
            page = marks.put(page, name, text)
    return page


def work(number: str) -> int:
    """Estimated minutes of a chapter, to five: its words, and what its exercises say of theirs."""
    (source,) = kernel.NOTEBOOKS.glob(f"_src/{number}_*.py")
    lines = source.read_text(encoding="utf-8").splitlines()
    prose = "\n".join(line[2:] for line in lines if line.startswith("# "))
    exercises = sum(map(int, re.findall(r"^\*(?:easy|medium|hard), (\d+) minutes", prose, re.M)))
    return 5 * round((exercises + len(prose.split()) / WORDS_A_MINUTE) / 5)


def badges(where: str) -> str:
    """A line of badges that lead to the tests, the site, Binder and the licences.

    Example:
        >>> badges("")
        ''
    """
    if not where:
        return ""
    owner, name = where.split("/")[-2:]
    shield = "https://img.shields.io/badge"
    lines = [
        f"[![tests]({where}/actions/workflows/tests.yml/badge.svg)]({where}/actions)",
        f"[![Python 3.11-3.13]({shield}/Python-3.11--3.13-blue)](pyproject.toml)",
        f"[![site]({shield}/read-online-blue)](https://{owner}.github.io/{name}/)",
        f"[![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{owner}/{name}/HEAD)",
        f"[![licence]({shield}/code-Apache--2.0-blue)](LICENSE)",
        f"[![licence]({shield}/text-CC--BY--4.0-blue)](LICENSE-TEXT)",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
