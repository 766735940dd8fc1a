"""Rates over answers, with intervals that know which model answered which item."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pandas as pd

from medr1_lib.analysis.intervals import wilson

DRAWS = 1000
Measures = Mapping[str, tuple[str, str | None]]  # name: what is counted, and out of what


def table(answers: pd.DataFrame, by: list[str], measures: Measures) -> pd.DataFrame:
    """The rates of each group of answers.

    Args:
        answers: One row per answer, with the columns `model` and `item`.
        by: Columns that make the groups.
        measures: A column to add up, and another of what it is a part; `None` for all answers.

    Returns:
        One row per group and measure: columns `by`, `measure`, `n`, `value`, `low`, `high`.
    """
    rows = [
        (*names, measure, *rate(group, *columns))
        for names, group in answers.groupby(by, observed=True)
        for measure, columns in measures.items()
    ]
    return pd.DataFrame(rows, columns=[*by, "measure", "n", "value", "low", "high"])


def rate(
    answers: pd.DataFrame, part: str, whole: str | None = None
) -> tuple[int, float, float, float]:
    """One column's sum as a share of another's: how many, the share, its 95 % interval.

    Wilson's interval where every item has one answer that counts once, else a bootstrap. Not a
    number where there is nothing to divide by.

    Example:
        >>> some = pd.DataFrame({"model": "m", "item": range(20), "correct": 8 * [1] + 12 * [0]})
        >>> [round(number, 3) for number in rate(some, "correct")]
        [20, 0.4, 0.219, 0.613]
    """
    parts, wholes = _numbers(answers, part, whole)
    n = int(wholes.sum())
    if not n:
        return 0, float("nan"), float("nan"), float("nan")
    once = answers["item"].is_unique and parts.isin([0, 1]).all() and wholes.isin([0, 1]).all()
    low, high = wilson(int(parts.sum()), n) if once else bootstrap(answers, part, whole)
    return n, float(parts.sum() / n), max(0.0, low), min(1.0, high)


def bootstrap(answers: pd.DataFrame, part: str, whole: str | None = None) -> tuple[float, float]:
    """The 95 % interval of such a share: models and items drawn with replacement, independently.

    All answers to a drawn item come along. Models are spread by `sqrt(models / (models - 1))`
    about their mean first, since the variance of few is found too small without.
    """
    parts, wholes = _numbers(answers, part, whole)
    keys = [answers["model"], answers["item"]]
    sums = [of.groupby(keys, observed=True).sum().unstack(fill_value=0) for of in (parts, wholes)]
    models, items = _drawn(*sums[0].shape)
    above, below = (((models @ _spread(of.to_numpy())) * items).sum(axis=1) for of in sums)
    return middle(above[below > 0] / below[below > 0])


def redraws(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of `n` is drawn with replacement: draws x n."""
    return rng.multinomial(n, np.full(n, 1 / n), size=DRAWS)


def middle(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap draws."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)


def _numbers(answers: pd.DataFrame, part: str, whole: str | None) -> tuple[pd.Series, pd.Series]:
    parts = answers[part].astype(float)
    return parts, answers[whole].astype(float) if whole else parts * 0 + 1


@lru_cache(maxsize=4)  # a table asks for the same draws again and again
def _drawn(*sizes: int) -> list[np.ndarray]:
    """How often each model, and each item, is drawn: draws x models, draws x items."""
    rng = np.random.default_rng(0)
    return [redraws(rng, n) for n in sizes]


def _spread(sums: np.ndarray) -> np.ndarray:
    mean, count = sums.mean(axis=0), len(sums)
    return mean + (sums - mean) * np.sqrt(count / max(1, count - 1))
