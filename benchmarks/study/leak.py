"""What was predicted of the leak (`predictions.yaml`), beside what its record holds.

    python -m benchmarks.study.leak

Reads the block that `benchmarks/plans/leak.yaml` gives, and writes `predictions.json` into it. The
options gave the answer away in a share of the training questions, in none of the test questions.
A change is that of a trained model to its base, question by question. Run it again when the block
has changed.
"""

import argparse
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.study.registered import PICTURE, outcomes, write_outcomes
from medr1_lib.analysis import gains, recorded
from medr1_lib.analysis.reliance import reliance
from medr1_lib.analysis.stats import ITEM, mean_table
from medr1_lib.cli import exit_status

LEAKS = (0, 50, 95)  # per cent of the training questions
ARMS = {
    ("grpo", "no_think"): "GRPO no_think",
    ("grpo", "think_before"): "GRPO think_before",
    ("sft", "no_think"): "SFT on letters",
}
CHANGED = ["corrected", "IS", "VRS"]
MEASURES = {"IS": "IS", "gain in accuracy": "corrected"}
NAMED = re.compile(
    r"(?:change of )?(?P<what>IS|gain in accuracy), (?P<arm>.+), "
    r"(?:no leak|leak of (?P<leak>\d+) %|(?P<more>\d+) % less none)"
)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--block", type=Path, default=Path("data/recorded/leak"))
    block = parser.parse_args(arguments).block
    changes = changed(block)
    found = outcomes("leak", lambda one: measured(one, changes))
    write_outcomes(block, "leak", found, table=table(changes))
    return 0


def changed(block: Path) -> pd.DataFrame:
    """What training changed in each question of each model, by `arm` and `leak` in per cent."""
    models = pd.DataFrame(recorded.notes(block)["models"]).set_index("model")
    known = recorded.with_letter_probs(block).groupby("model")
    read = {
        name: gains.read_all(known.get_group(name)).merge(reliance(answers), on=ITEM)
        for name, answers in recorded.load(block).groupby("model")
    }
    base = {
        rows["style"].iloc[0]: rows.set_index(ITEM)
        for name, rows in read.items()
        if models["method"][name] == "base"
    }
    found = []
    for name, rows in read.items():
        own = models.loc[name]
        if own["method"] != "base":
            change = rows.set_index(ITEM)[CHANGED] - base[own["style"]][CHANGED]
            arm, leak = ARMS[str(own["method"]), str(own["style"])], round(100 * own["leaky"])
            found.append(change.reset_index().assign(arm=arm, leak=leak, model=own["seed"]))
    return pd.concat(found)


def measured(prediction: dict[str, Any], changes: pd.DataFrame) -> pd.DataFrame:
    """The value of a prediction for each picture of each model; none if it was not run."""
    named = NAMED.fullmatch(prediction["id"])
    assert named
    own = changes[changes["arm"] == named["arm"]]
    by_leak = {
        leak: own[own["leak"] == leak].set_index(PICTURE)[MEASURES[named["what"]]] for leak in LEAKS
    }
    if named["more"]:
        gap = by_leak[int(named["more"])] - by_leak[0]
    else:
        gap = by_leak[int(named["leak"] or 0)]
    return gap.dropna().rename("value").reset_index()


def table(changes: pd.DataFrame) -> pd.DataFrame:
    """The mean changes of each arm at each leak."""
    rows = []
    for arm, leak in product(sorted(changes["arm"].unique()), LEAKS):
        own = changes[(changes["arm"] == arm) & (changes["leak"] == leak)]
        found = mean_table(own, CHANGED).rename_axis("measure").reset_index()
        rows.append(found.assign(arm=arm, leak=leak, models=own["model"].nunique()))
    return pd.concat(rows)[["arm", "leak", "models", "measure", "n", "value", "low", "high"]]


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
