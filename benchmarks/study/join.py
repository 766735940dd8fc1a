"""Add the models of one record of a sweep to another, as when seeds ran on different days.

    python -m medr1_lib sweep --plan seed2.yaml --out _output/sweep --record _output/more
    python -m benchmarks.study.join _output/more data/recorded/methods

Both were asked the same questions. A model that is in both is refused: it may have been made
otherwise.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from medr1_lib import files
from medr1_lib.analysis import recorded
from medr1_lib.cli import exit_status
from medr1_lib.errors import InputError

TABLES = (recorded.ANSWERS, recorded.LETTER_PROBS, recorded.LOGS)
REMEDY = "name two records of `sweep --record`"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("more", type=Path, help="the record whose models are added")
    parser.add_argument("block", type=Path, help="the record that they are added to")
    asked = parser.parse_args(arguments)
    print(f"{asked.block} has {join(asked.more, asked.block)} models")
    return 0


def join(more: Path, block: Path) -> int:
    """Add the models of `more` to `block`, and count all of them."""
    told, added = (files.read_json(one / recorded.MODELS, REMEDY) for one in (block, more))
    twice = {one["model"] for one in told["models"]} & {one["model"] for one in added["models"]}
    if twice:
        raise InputError(more, f"{len(twice)} of its models are in {block} too", "leave them out")
    questions, others = (table(one, recorded.QUESTIONS) for one in (block, more))
    if not questions.equals(others):
        raise InputError(more, f"its questions are not those of {block}", "sweep on the same tests")
    both = {name: [table(one, name) for one in (block, more)] for name in TABLES}
    how = {name: added[name] for name in ("command", "plan", "recorded")}
    told |= {"joined": [*told.get("joined", []), how], "models": told["models"] + added["models"]}
    recorded.write(block, both | {recorded.QUESTIONS: [questions]}, told)
    return len(told["models"])


def table(block: Path, name: str) -> pd.DataFrame:
    return recorded.read_table(block / name, [], REMEDY)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
