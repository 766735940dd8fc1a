"""What was predicted of two further rewards (`predictions.yaml`), beside what their record holds.

    python -m benchmarks.study.rewards --data _output/phantoms

Reads the block that `benchmarks.study.learning` gives with the arms `grpo`, `claims`, `claims-n`
and `counter`, and writes `predictions.json` into it. All predictions are about an arm less plain
GRPO, or less the other aggregation. The share of true claims is that of each thought that claims
something, held to the scene of its picture in `--data`. Run it again when the block has changed.
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.study.described import scenes, with_claims
from benchmarks.study.registered import PICTURE, outcomes, write_outcomes
from medr1_lib.analysis.gains import read_all
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.analysis.reliance import reliance
from medr1_lib.analysis.stats import ITEM, mean_table
from medr1_lib.cli import exit_status
from medr1_lib.data.phantoms import Scene

MEASURES = ("corrected", "true", "claims", "IS", "VRS", "HVRR")
# What each prediction measures, and the two arms whose difference it is.
TERMS = {
    "share of true claims, claims summed": ("true", "claims", "grpo"),
    "share of true claims, normalized less summed": ("true", "claims-n", "claims"),
    "accuracy, claims summed": ("corrected", "claims", "grpo"),
    "claims in a thought, claims summed": ("claims", "claims", "grpo"),
    "IS, counterfactual": ("IS", "counter", "grpo"),
    "accuracy, counterfactual": ("corrected", "counter", "grpo"),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--block", type=Path, default=Path("data/recorded/rewards"))
    asked = parser.parse_args(arguments)
    told = judged(pd.read_parquet(asked.block / ANSWERS), scenes(asked.data))
    found = outcomes("rewards", lambda one: measured(one, told))
    write_outcomes(asked.block, "rewards", found, table=table(told))
    return 0


def judged(answers: pd.DataFrame, shown: dict[str, Scene]) -> pd.DataFrame:
    """Every measure of each answer about a real image, by `arm`; a seed is a `model`.

    `claims` and `true` are those of `with_claims`.
    """
    rows = []
    for _, own in answers.groupby(["arm", "seed"]):
        read = with_claims(read_all(own).merge(reliance(own), on=ITEM), shown)
        rows.append(read.assign(model=read["seed"]))
    return pd.concat(rows)


def measured(prediction: dict[str, Any], told: pd.DataFrame) -> pd.DataFrame:
    """The value of a prediction for each picture of each model; none if it was not run."""
    what, *arms = TERMS[prediction["id"]]
    first, second = (told[told["arm"] == arm].set_index(PICTURE)[what] for arm in arms)
    return (first - second).dropna().rename("value").reset_index()


def table(told: pd.DataFrame) -> pd.DataFrame:
    """The mean of every measure of each arm, the base among them."""
    rows = []
    for arm, measure in product(told["arm"].unique(), MEASURES):
        own = told[told["arm"] == arm]
        found = mean_table(own, [measure]).rename_axis("measure").reset_index()
        rows.append(found.assign(arm=arm, models=own["model"].nunique()))
    return pd.concat(rows)[["arm", "models", "measure", "n", "value", "low", "high"]]


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
