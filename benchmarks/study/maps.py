"""What was predicted of the maps (`predictions.yaml`), beside what their record holds.

    python -m benchmarks.study.maps

Reads the block that `benchmarks/plans/maps.yaml` gives, and writes `predictions.json` into it. A
gain is that of the corrected reader over the corrected base, about one image. Run it again when
the block has changed.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.study.registered import PICTURE, outcomes, write_outcomes
from medr1_lib.analysis import gains, recorded
from medr1_lib.cli import exit_status

NAMED = re.compile(
    r"(?P<axis>modality|question type), (?:(?P<style>\w+), )?"
    r"(?P<part>diagonal less off the diagonal|diagonal|off the diagonal)"
    r"(?:, (?P<first>\w+) less (?P<second>\w+))?"
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--block", type=Path, default=Path("data/recorded/maps"))
    block = parser.parse_args(arguments).block
    write_outcomes(block, "maps", predicted(block))
    return 0


def predicted(block: Path) -> pd.DataFrame:
    """Each prediction with what came out."""
    told = recorded.with_letter_probs(block)
    read = pd.concat(gains.read_all(one) for _, one in told.groupby("model"))
    base = read[read["method"] == "base"].set_index(["style", "item"])["corrected"]
    rows = read[read["method"] == "grpo"].set_index(["style", "item"])
    rows = rows.assign(value=rows["corrected"] - base.reindex(rows.index)).reset_index()
    rows["model"] = rows["train"] + "-" + rows["seed"].astype(str)  # the same in every style
    return outcomes("maps", lambda one: measured(one, rows))


def measured(prediction: dict[str, Any], rows: pd.DataFrame) -> pd.DataFrame:
    """The value of a prediction for each picture of each model; none if it was not run."""
    named = NAMED.fullmatch(prediction["id"])
    assert named
    axis = named["axis"].replace(" ", "_")
    if named["style"]:
        return part(rows, axis, named["style"], named["part"])
    pair = (part(rows, axis, named[side], named["part"]) for side in ("first", "second"))
    first, second = (one.set_index(PICTURE)["value"] for one in pair)
    return (first - second).dropna().reset_index(name="value")


def part(rows: pd.DataFrame, axis: str, style: str, which: str) -> pd.DataFrame:
    """Gains in one part of a map; those of a difference are weighed so that it is their mean."""
    own = rows[(rows["axis"] == axis) & (rows["style"] == style)]
    home = own["train"] == own[axis]
    if which == "diagonal less off the diagonal":
        weights = np.where(home, 1 / home.mean(), -1 / (~home).mean()) if len(own) else 1.0
        return own.assign(value=own["value"] * weights)[[*PICTURE, "value"]]
    return own.loc[home if which == "diagonal" else ~home, [*PICTURE, "value"]]


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
