"""What was predicted of the two bases (`predictions.yaml`, `described`), beside their record.

    python -m benchmarks.study.described --data _output/phantoms

The shipped base is the undescribed one; the folder of the other one is named `described`. Reads the
block of `benchmarks.study.learning`, and writes `predictions.json` into it. Accuracy is that of the
corrected reader. The share of true claims is that of each thought that claims something, held to
the scene of its picture in `--data`. Run it again when the block has changed.
"""

import argparse
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.study.registered import PICTURE, outcomes, write_outcomes
from benchmarks.study.truth import judged_claims
from medr1_lib.analysis.gains import read_all
from medr1_lib.analysis.grounding import ASKED
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.analysis.stats import mean_table
from medr1_lib.cli import exit_status
from medr1_lib.data.phantoms import Scene
from medr1_lib.errors import InputError
from medr1_lib.evaluation.items import EvalSet

BASES = {"undescribed": "tiny-qwen2-vl", "described": "described"}
STYLES = {"before": "think_before", "none": "no_think", "after": "think_after"}
NAMED = re.compile(
    r"(?:share of true claims in )?(?P<arm>\w+)(?: minus (?P<less>\w+))?, "
    r"(?P<base>\w+)(?: less (?P<other>\w+))?(?:, after training less before it)?"
)
UNTRAINED = -1  # the seed of a base


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--block", type=Path, default=Path("data/recorded/described"))
    asked = parser.parse_args(arguments)
    told = judged(pd.read_parquet(asked.block / ANSWERS), scenes(asked.data))
    found = outcomes("described", lambda one: measured(one, told))
    write_outcomes(asked.block, "described", found, table=table(told))
    return 0


def scenes(data: Path) -> dict[str, Scene]:
    """What each picture of the test split shows."""
    questions = EvalSet(data).questions
    return {question.image_id: question.scene for question in questions if question.scene}


def with_claims(answers: pd.DataFrame, shown: dict[str, Scene]) -> pd.DataFrame:
    """The answers with the claims of each rationale, as `judged_claims` gives them.

    `claims` counts them, `true` is the share of them that are true; a rationale without has none.
    """
    if not set(answers["image_id"]) <= shown.keys():
        raise InputError("claims", "pictures of the record are not in the data", "see --help")
    pairs = zip(answers["completion"], answers["image_id"], strict=True)
    judged = [judged_claims(said, vars(shown[image])) for said, image in pairs]
    shares = [np.mean([true for _, true in one]) if one else np.nan for one in judged]
    told = answers.assign(claims=[*map(len, judged)], true=shares)
    return told.join(pd.Series(judged, told.index, name="judged"))


def judged(answers: pd.DataFrame, shown: dict[str, Scene]) -> pd.DataFrame:
    """The answers as `read` gives them, with the share of `true` claims of each thought.

    `asked` is whether its claim about what was asked is true; one that does not name it is not.
    """
    found = with_claims(read(answers), shown)
    named = zip(found["judged"], found["question"].map(ASKED), found["style"], strict=True)
    return found.assign(
        asked=[
            float(dict(one).get(name, False)) if STYLES["none"] != style else np.nan
            for one, name, style in named
        ],
    )


def read(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers about real pictures, read by all readers; a seed is a model."""
    by = answers.groupby(["base", "style", "seed"])
    found = pd.concat(read_all(one) for _, one in by)
    return found.assign(model=found["seed"])


def measured(prediction: dict[str, Any], told: pd.DataFrame) -> pd.DataFrame:
    """The value of a prediction for each picture of each model; none if it was not run."""
    named = NAMED.fullmatch(prediction["id"])
    assert named
    if "measure" in prediction:
        after, before = (
            part(told, named["base"], named["arm"], "true", trained).reset_index()
            for trained in (True, False)
        )
        pairs = after.merge(before, on=PICTURE[1:], suffixes=("", "_before")).set_index(PICTURE)
        gap = pairs["true"] - pairs["true_before"]
    else:
        gap = gap_of(told, named["base"], named["arm"], named["less"])
        if named["other"]:
            gap = gap - gap_of(told, named["other"], named["arm"], named["less"])
    return gap.dropna().rename("value").reset_index()


def gap_of(
    told: pd.DataFrame, base: str, arm: str, less: str, trained: bool = True
) -> "pd.Series[float]":
    """What one arm is better by than another, on one base."""
    first, second = (part(told, base, one, "corrected", trained) for one in (arm, less))
    return first - second


def part(
    told: pd.DataFrame, base: str, arm: str, column: str, trained: bool = True
) -> "pd.Series[float]":
    """One column of the models of an arm on a base, by model and picture."""
    own = told[(told["base"] == BASES[base]) & (told["style"] == STYLES[arm])]
    own = own[(own["seed"] != UNTRAINED) == trained]
    found: pd.Series[float] = own.set_index(PICTURE)[column]
    return found


def table(told: pd.DataFrame) -> pd.DataFrame:
    """Accuracy and true claims of each base in each style, before and after training."""
    rows = []
    measures = ("corrected", "true", "asked")
    for base, arm, trained, measure in product(BASES, STYLES, (False, True), measures):
        own = part(told, base, arm, measure, trained).reset_index()
        if own[measure].notna().any():
            found = mean_table(own, [measure]).rename_axis("measure").reset_index()
            models = own["model"].nunique()
            rows.append(found.assign(base=base, arm=arm, trained=trained, models=models))
    return pd.concat(rows)[
        ["base", "arm", "trained", "models", "measure", "n", "value", "low", "high"]
    ]


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
