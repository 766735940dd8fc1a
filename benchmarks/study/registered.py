"""What was predicted of the study before it ran (`predictions.yaml`), beside what came out."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.stamp import run_stamp
from medr1_lib.analysis.stats import mean_table
from medr1_lib.files import write_json

PREDICTIONS = Path(__file__).with_name("predictions.yaml")
OUTCOMES = "predictions.json"  # beside the answers of a block
PICTURE = ["model", "item", "image_id"]
VOID = 0.5  # share in form below which an arm has not learned its form


def registered() -> dict[str, Any]:
    """Day, cells to be trained again, and sections with their predictions."""
    found: dict[str, Any] = yaml.safe_load(PREDICTIONS.read_text(encoding="utf-8"))
    return found


def fingerprint(section: str) -> str:
    """A hash of all that a section says, which a record of it keeps."""
    told = json.dumps(registered()["sections"][section], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def verdict(expected: Sequence[float], low: float, high: float) -> str:
    """By the rule in the head of the file: `held`, `refuted` or `open`; `not run` without numbers.

    Example:
        >>> verdict([-4, 4], -1.0, 5.0)
        'open'
    """
    if pd.isna(low):
        return "not run"
    if expected[0] <= low and high <= expected[1]:
        return "held"
    return "refuted" if high < expected[0] or low > expected[1] else "open"


def outcomes(
    section: str,
    measured: Callable[[dict[str, Any]], pd.DataFrame],
    void: Callable[[dict[str, Any]], bool] = lambda one: False,
) -> pd.DataFrame:
    """Each prediction of a section with what came out, in points.

    `measured` gives the `value` of a prediction for each picture of each model, with the columns
    `PICTURE`; none if it was not run. `void` says of a prediction whether one of its arms failed.
    """
    rows = []
    for one in registered()["sections"][section]["predictions"]:
        table = mean_table(measured(one), ["value"])
        found = {name: 100 * float(table[name].iloc[0]) for name in ("value", "low", "high")}
        outcome = verdict(one["expected"], found["low"], found["high"])
        outcome = "void" if outcome != "not run" and void(one) else outcome
        told = {"prediction": one["id"], "expected": one["expected"]}
        rows.append(told | {name: round(x, 2) for name, x in found.items()} | {"outcome": outcome})
    return pd.DataFrame(rows)


def write_outcomes(block: Path, section: str, found: pd.DataFrame, **tables: pd.DataFrame) -> None:
    """Write `outcomes` and `tables` of what they come from beside a block, and show all."""
    rows = {"outcomes": found, **tables}
    report = {name: of.replace({np.nan: None}).to_dict("records") for name, of in rows.items()}
    stamp = run_stamp(threads=1) | {"registered": fingerprint(section)}
    write_json(block / OUTCOMES, stamp | report)
    for one in rows.values():
        print(one.round(3).to_string(index=False))
