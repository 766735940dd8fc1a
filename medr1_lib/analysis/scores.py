"""What records say: shares with intervals, and two models compared on the same items."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from medr1_lib.analysis.intervals import Z, wilson
from medr1_lib.data.question import CONTROLS, MODALITIES, QUESTION_TYPES
from medr1_lib.errors import InputError

ITEM = ["item", "image_id", "question", "answer"]  # what two records of one item have in common


def share(records: pd.DataFrame) -> dict[str, Any]:
    """Number of items, accuracy with its 95 % Wilson interval, and how many kept the form.

    Example:
        >>> right = pd.DataFrame({"correct": [True, False], "format_ok": [True, True]})
        >>> share(right)["accuracy"], share(right)["format_rate"]
        (0.5, 1.0)
    """
    n, right = len(records), int(records["correct"].sum())
    return {
        "n": n,
        "accuracy": right / n,
        "format_rate": float(records["format_ok"].mean()),
        "interval": list(wilson(right, n)),
    }


def summary(records: pd.DataFrame) -> dict[str, Any]:
    """The shares of one style: overall, by modality and question type, and of the controls.

    Args:
        records: One row per item and control, as `evaluate` returns them.
    """
    real = records[records["control"] == "none"]
    return share(real) | {
        "by_modality": _by(real, "modality", (*MODALITIES, "unknown")),
        "by_question_type": _by(real, "question_type", (*QUESTION_TYPES, "unknown")),
        "controls": _by(records, "control", CONTROLS),
    }


def table(found: dict[str, Any]) -> str:
    """What `summary` found, for the eye."""
    parts = (found[part] for part in ("by_modality", "by_question_type", "controls"))
    rows = [("all", found), *(row for part in parts for row in part.items())]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'':<{width}}      n  accuracy  95 % interval  format"]
    for name, row in rows:
        low, high = row["interval"]
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        lines.append(
            f"{name:<{width}}  {row['n']:>5}  {100 * row['accuracy']:>8.1f}  {interval:>13}"
            f"  {100 * row['format_rate']:>6.1f}"
        )
    return "\n".join(lines)


@dataclass(frozen=True)
class Paired:
    """Two sets of answers to the same items.

    Attributes:
        n: Items.
        both: Right in both.
        first: Right in the first only.
        second: Right in the second only.
        difference: Accuracy of the second minus that of the first.
        interval: Its 95 % interval, as `paired_interval` has it.
        p: Exact p-value of McNemar's test: what if either were right first equally often?
    """

    n: int
    both: int
    first: int
    second: int
    difference: float
    interval: tuple[float, float]
    p: float


def compare(first: pd.DataFrame, second: pd.DataFrame) -> Paired:
    """Compare two sets of records of the same items, one row per item. Built in chapter 08.

    Raises:
        InputError: If they do not cover the same items, or one covers an item twice.

    Example:
        >>> one = pd.DataFrame({"item": range(9), "image_id": "x", "question": "?", "answer": "A"})
        >>> worse, better = one.assign(correct=False), one.assign(correct=True)
        >>> compare(worse, better).p
        0.00390625
    """
    pairs = first.merge(second, on=ITEM, suffixes=("_first", "_second"))
    if not len(pairs) == len(first) == len(second) or pairs["item"].duplicated().any():
        problem = f"{len(first)} and {len(second)} records have {len(pairs)} pairs"
        remedy = "choose one style and control of each, made from the same data and limit"
        raise InputError("comparison", problem, remedy)
    was, now = pairs["correct_first"].astype(bool), pairs["correct_second"].astype(bool)
    lost, won = int((was & ~now).sum()), int((~was & now).sum())
    p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    difference, interval = (won - lost) / len(pairs), paired_interval(lost, won, len(pairs))
    return Paired(len(pairs), int((was & now).sum()), lost, won, difference, interval, float(p))


def paired_interval(lost: int, won: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a difference in accuracy on the same items. Built in chapter 08.

    Half an item is added to each of the four cells of the table of pairs, or a difference of none
    in few items would come with an interval of no width.

    Source: Agresti and Min 2005.

    Args:
        lost: Items right in the first only.
        won: Items right in the second only.
        n: All items.

    Example:
        >>> [round(end, 3) for end in paired_interval(10, 30, 200)]
        [0.038, 0.16]
    """
    only_first, only_second, total = lost + 0.5, won + 0.5, n + 2
    gap, either = only_second - only_first, only_second + only_first
    half = Z * (either - gap**2 / total) ** 0.5 / total
    return max(-1.0, gap / total - half), min(1.0, gap / total + half)


def _by(records: pd.DataFrame, column: str, names: Sequence[str]) -> dict[str, Any]:
    groups = {name: records[records[column] == name] for name in names}
    return {name: share(group) for name, group in groups.items() if len(group)}
