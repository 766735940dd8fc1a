"""Chapter 02: pass@k, and the cases that check its exercises."""

from math import comb

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medr1_lib.course.exercise import Case


def pass_at(k: int, hits: NDArray[np.int64], samples: int) -> float:
    """Chance that one of `k` samples is right, from more samples (Chen et al. 2021, 2107.03374).

    The mean over questions; `hits` counts the right samples of each.
    """
    return float(np.mean([1 - comb(samples - int(c), k) / comb(samples, k) for c in hits]))


def _records(correct: str, in_form: str) -> pd.DataFrame:
    """Records from marks such as `101`, one for each answer."""
    marks = {"correct": correct, "format_ok": in_form}
    return pd.DataFrame({name: [mark == "1" for mark in row] for name, row in marks.items()})


LEANS = np.array([[0.2, 0.8], [0.4, 0.6]])  # to the second letter
FEWER = np.array([[7, 3, 0], [6, 4, 0], [5, 3, 2], [6, 3, 1], [5, 1, 4]]) / 10
CASES = {
    "share": (
        Case((_records("1100", "1111"),), "shares lie between 0 and 1, the interval is Wilson's"),
        Case((_records("110000", "101010"),), "an answer out of form is a record like the others"),
        Case((_records("1000", "1100"),), "form and letter are counted apart, over all records"),
    ),
    "claims": (
        Case(("finding: mass",), "the attribute stands before its value"),
        Case(("grade: mild, finding: mass",), "a comma and a space stand between two parts"),
        Case(("CT, head, finding: mass",), "a part without a colon and a space is no claim"),
        Case(("ratio 1:2, finding: mass",), "a colon without a space separates nothing"),
        Case(("grade: 1,5, finding: mass",), "a comma without a space separates nothing"),
        Case(("note: finding: mass",), "the first colon separates, the rest is the value"),
    ),
    "letter_constants": (
        Case((0.1 + 0.6 * np.eye(4),), "without a habit there is nothing to correct"),
        Case((LEANS,), "`found`: the share of rows that a letter wins, even if 0; all 300 rounds"),
        Case((FEWER,), "two options get a half each, not a third"),
        Case((np.pad(LEANS, (0, 1))[:2],), "a letter that is never there is left alone"),
    ),
    "pass_at": (
        Case((1, [4, 0], 16), "with one try it is the mean share of right samples"),
        Case((2, [1], 4), "samples are drawn without replacement, none of them twice"),
        Case((4, [4], 8), "four wrong samples leave one choice of four without a right one"),
        Case((8, [12], 16), "with fewer than `k` wrong samples one of `k` is always right"),
        Case((2, [2, 0], 4), "each question has its own chance, and the mean is taken of those"),
    ),
}
