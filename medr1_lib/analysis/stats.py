"""Shares with intervals: over questions, over models and questions, and paired by item."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, permutation_test

from medr1_lib.data.question import CONTROLS, in_order
from medr1_lib.errors import InputError

Z = 1.959964  # the normal quantile of a 95 % interval
DRAWS = 1000  # of a bootstrap
ITEM = ["item", "image_id", "question", "answer"]  # what two answers to one item have in common
Measures = Mapping[str, tuple[str, str | None]]  # name: the column to add up, and out of which


def wilson(right: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a share, of few questions too. It contains the share.

    Source: Wilson 1927, "Probable inference"; built in chapter 00.
    """
    share = right / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def questions_needed(half_width: float) -> int:
    """Questions after which a 95 % interval is at most `half_width` to either side (chapter 00)."""
    return math.ceil((Z / half_width) ** 2 / 4)


def share(records: pd.DataFrame) -> dict[str, Any]:
    """Number of items, accuracy with its 95 % Wilson interval, and how many kept the form."""
    n, right = len(records), int(records["correct"].sum())
    return {
        "n": n,
        "accuracy": right / n,
        "format_rate": float(records["format_ok"].mean()),
        "interval": list(wilson(right, n)),
    }


def design_effect(credit: Iterable[float], clusters: Iterable[str]) -> float:
    """How many questions in clusters tell as much as one independent question: 1 or more.

    Questions about one image, or about the images of one patient, are a cluster (Kish 1965, 5.4).
    """
    off = pd.Series([*credit], dtype=float)
    off -= off.mean()
    alone, together = (off**2).sum(), off.groupby(list(clusters)).sum()
    if len(together) == len(off) or not alone:
        return len(off) / len(together)
    return float(max(1.0, (together**2).sum() / alone))


def clusters(records: pd.DataFrame) -> pd.Series:
    """The group of each record: its patient, or its image where the patient is unknown."""
    image = records["image_id" if "image_id" in records else "item"]
    patient = records.get("patient", image)
    return patient.where(patient != "", image)


def summary(records: pd.DataFrame) -> dict[str, Any]:
    """The shares of one style of an evaluation: overall, by group, and of the controls.

    Replies that name no option are `unread` and count as wrong. Where questions share a `patient`
    or an image, they count as `effective_n` independent ones in the interval: by the design effect.
    """

    def shares(group: pd.DataFrame) -> dict[str, Any]:
        found = share(group) | {"unread": float(group["parsed"].isna().mean())}
        if (shared := clusters(group)).duplicated().any():
            worth: Any = len(group) / design_effect(group["correct"], shared)
            found["effective_n"] = worth
            found["interval"] = list(wilson(found["accuracy"] * worth, worth))
        return found

    real = records[records["control"] == "none"]
    found = shares(real)
    for axis in ("modality", "question_type"):
        groups = {name: real[real[axis] == name] for name in in_order(axis, real[axis])}
        found[f"by_{axis}"] = {name: shares(group) for name, group in groups.items()}
    blind = {name: records[records["control"] == name] for name in CONTROLS}
    found["controls"] = {name: shares(group) for name, group in blind.items() if len(group)}
    return found


def summary_table(found: dict[str, Any]) -> str:
    """What `summary` returns, as text in columns."""
    parts = (found[part] for part in ("by_modality", "by_question_type", "controls"))
    rows = dict([("all", found), *(row for part in parts for row in part.items())])
    table = pd.DataFrame.from_dict(rows, "index")
    intervals = [f"{100 * low:.1f} to {100 * high:.1f}" for low, high in table["interval"]]
    shown = table[["n"]].assign(accuracy=100 * table["accuracy"], **{"95 % interval": intervals})
    shown = shown.assign(format=100 * table["format_rate"], unread=100 * table["unread"])
    text = shown.to_string(float_format="{:.1f}".format)
    if "effective_n" in found:
        worth = f"{found['effective_n']:.0f} independent questions"
        text += f"\nintervals: clustered by patient or image, all count as {worth}"
    return text


@dataclass(frozen=True)
class Paired:
    """Two models' answers to the same `n` items: how many are right in which of them."""

    n: int
    both: int
    first: int  # in the first only
    second: int  # in the second only
    difference: float  # accuracy of the second minus that of the first
    interval: tuple[float, float]  # of the difference, by `paired_interval`
    p: float  # exact p-value of McNemar's test, or of its like for clusters
    effective_n: float  # what the items are worth, `n` if they are independent


def compare(first: pd.DataFrame, second: pd.DataFrame) -> Paired:
    """Compare two sets of answers to the same items, one row per item. Built in chapter 10.

    Items of one patient (column `patient` of `second`) or of one image are a cluster. Raises an
    `InputError` if the two do not cover the same items, or one covers an item twice.
    """
    pairs = first[[*ITEM, "correct"]].merge(second, on=ITEM, suffixes=("_first", "_second"))
    if not len(pairs) == len(first) == len(second) or pairs["item"].duplicated().any():
        problem = f"{len(first)} and {len(second)} records have {len(pairs)} pairs"
        remedy = "choose one style and control of each, made from the same data and limit"
        raise InputError("comparison", problem, remedy)
    right = pairs[["correct_first", "correct_second"]].astype(bool)
    return paired(right["correct_first"], right["correct_second"], clusters(pairs))


def paired(first: pd.Series, second: pd.Series, shared: pd.Series | None = None) -> Paired:
    """Compare which of the same items two models have right, by McNemar's exact test.

    Items with an equal value in `shared` are a cluster. They count as `effective_n` in the
    interval, and the test asks of clusters what McNemar's asks of items: if neither model is the
    better one, each cluster could have gained as much as it lost.
    """
    n, both = len(first), int((first & second).sum())
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    gained = second.astype(int) - first
    worth = n / (1 if shared is None else design_effect(gained, shared))
    interval = paired_interval(lost * worth / n, won * worth / n, worth)
    if shared is not None and shared.duplicated().any():
        sums = gained.groupby(shared).sum()
        nonzero, p = sums[sums != 0], 1.0  # a cluster that gained nothing says nothing
        if len(nonzero) > 1:
            p = permutation_test((nonzero,), np.sum, permutation_type="samples", rng=0).pvalue
    else:
        p = binomtest(won, won + lost).pvalue if won + lost else 1.0
    return Paired(n, both, lost, won, (won - lost) / n, interval, float(p), worth)


def paired_interval(lost: float, won: float, n: float) -> tuple[float, float]:
    """The 95 % interval of a difference in accuracy on the same `n` items. Built in chapter 10.

    `lost` items were right in the first model only, `won` in the second only. Half an item in each
    cell of the table of pairs keeps a width in few items. Source: Agresti and Min 2005.
    """
    only_first, only_second, total = lost + 0.5, won + 0.5, n + 2
    gap, either = only_second - only_first, only_second + only_first
    half = Z * (either - gap**2 / total) ** 0.5 / total
    return max(-1.0, gap / total - half), min(1.0, gap / total + half)


def holm(p: Sequence[float] | pd.Series) -> np.ndarray:
    """P-values corrected for their number, so that one false alarm in all is rare.

    Source: Holm 1979; built in chapter 11.
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(1.0, steps)[np.argsort(order)]  # back in the order of `p`


def rate_table(answers: pd.DataFrame, by: list[str], measures: Measures) -> pd.DataFrame:
    """The `rate` of each measure in each group of answers, one row for both."""
    rows = [
        (*names, measure, *rate(group, *columns))
        for names, group in answers.groupby(by, observed=True)
        for measure, columns in measures.items()
    ]
    return pd.DataFrame(rows, columns=[*by, "measure", "n", "value", "low", "high"])


def rate(
    answers: pd.DataFrame, part: str, whole: str | None = None
) -> tuple[int, float, float, float]:
    """The sum of column `part` as a share of that of `whole` (of all answers): n, share, interval.

    `answers` has the columns `model` and `item`. Wilson's interval where every item has one answer
    that counts once, else a bootstrap, both by `clusters`. Not a number where `n` is 0.
    """
    parts, wholes = _numbers(answers, part, whole)
    n, right = int(wholes.sum()), float(parts.sum())
    if not n:
        return 0, float("nan"), float("nan"), float("nan")
    if answers["item"].is_unique and parts.isin([0, 1]).all() and wholes.isin([0, 1]).all():
        effect = design_effect(parts[wholes == 1], clusters(answers)[wholes == 1])
        low, high = wilson(right / effect, n / effect)
    else:
        low, high = bootstrap(answers, part, whole)
    return n, right / n, max(0.0, low), min(1.0, high)


def bootstrap(answers: pd.DataFrame, part: str, whole: str | None = None) -> tuple[float, float]:
    """The 95 % interval of a `rate`: models, and clusters of items, drawn independently."""
    keys = [answers["model"], answers["item"].groupby(clusters(answers)).transform("min")]
    sums = [
        of.groupby(keys, observed=True).sum().unstack(fill_value=0).to_numpy()
        for of in _numbers(answers, part, whole)
    ]
    models, items = _drawn(*sums[0].shape)
    means, factor = [of.mean(axis=0) for of in sums], spread_factor(len(sums[0]))
    above, below = (
        ((models @ (mean + (of - mean) * factor)) * items).sum(axis=1)
        for of, mean in zip(sums, means, strict=True)
    )
    return middle(above[below > 0] / below[below > 0])


def redraws(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of `n` is drawn with replacement, (draws, n)."""
    return rng.multinomial(n, np.full(n, 1 / n), size=DRAWS)


def mean_table(answers: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The mean of each column, without missing numbers, and a 95 % interval.

    `answers` are those of one model, or of several under a column `model`. Models, and `clusters`
    of questions, are drawn independently.
    """
    rows, drawn = [], pd.DataFrame({"model": 0} | dict(answers) | {"item": answers["image_id"]})
    for column in columns:
        known = drawn.dropna(subset=column)
        interval = bootstrap(known, column) if len(known) else (np.nan, np.nan)
        rows.append((len(known), known[column].mean(), *interval))
    return pd.DataFrame(rows, list(columns), ["n", "value", "low", "high"])


def spread_factor(models: int) -> float:
    """Factor that widens the spread of models: a bootstrap of n has (n - 1)/n of their variance."""
    return math.sqrt(models / max(1, models - 1))


def middle(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of bootstrap draws."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)


def _numbers(answers: pd.DataFrame, part: str, whole: str | None) -> tuple[pd.Series, pd.Series]:
    parts = answers[part].astype(float)
    return parts, answers[whole].astype(float) if whole else parts * 0 + 1


@lru_cache(maxsize=4)  # a table asks for the same draws again and again
def _drawn(models: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return redraws(rng, models), redraws(rng, items)
