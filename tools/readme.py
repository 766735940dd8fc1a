"""`python -m tools.readme`: fill in what README.md takes from elsewhere: minutes and addresses."""

import argparse
import json
import re
import sys

from medr1_lib.cli import exit_status
from medr1_lib.course.tiers import COSTS
from notebooks.tools import kernel, sources

README = kernel.ROOT / "README.md"
ROW = re.compile(r"^(\| \[(\d\d) [^|]*\| [^|]*)\|[^|\n]*\|[^|\n]*\|$", re.M)
BADGES = re.compile(r"(<!-- badges -->\n).*?(<!-- end badges -->)", re.S)
WORDS_A_MINUTE = 100  # of a text with formulas and code


def main(arguments: list[str]) -> int:
    """Fill the page and say so."""
    argparse.ArgumentParser("python -m tools.readme", description=__doc__).parse_args(arguments)
    with kernel.writing(README):
        README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"filled {README}")
    return 0


def filled(page: str) -> str:
    """The page with the minutes recorded last, the work in the chapters, and the repository."""
    costs = json.loads((kernel.ROOT / "data" / COSTS).read_text(encoding="utf-8"))
    runs = costs["laptop"]["minutes"]
    works = {number: work(number) for _, number in ROW.findall(page)}

    def row(match: re.Match[str]) -> str:
        return f"{match[1]}| {runs.get(match[2], '-')} | {works[match[2]]} |"

    page = ROW.sub(row, page)
    total = round(sum(runs.get(number, 0) for number in works))
    page = re.sub(r"about \d+ minutes$", f"about {total} minutes", page, flags=re.M)
    hours = round(sum(works.values()) / 60)
    page = re.sub(
        r"\d+ chapters of one to two hours each; about \d+ hours",
        f"{len(works)} chapters of one to two hours each; about {hours} hours",
        page,
    )
    where = sources.REPOSITORY
    page = re.sub(r"git clone \S+ medr1", f"git clone {where or 'ADDRESS'} medr1", page)
    return BADGES.sub(rf"\g<1>{badges(where)}\g<2>", page)


def work(number: str) -> int:
    """Minutes of reading and of exercises in a chapter, to five."""
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
