"""Chapter 12: the transfer index, published figures, power, and the cases that check exercises."""

import json
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import pandas as pd
from scipy.stats import t

from medr1_lib.course.exercise import Case
from medr1_lib.course.tiers import material


def transfer_index(gains: Mapping[tuple[str, str], float]) -> float | None:
    """Mean gain elsewhere as a share of the mean gain at home.

    `gains` are by what was trained on and what was tested. None if the mean at home is not above
    zero: there is nothing to carry over. `transfer.generalization_index` gives an interval.
    """
    home = [gain for (train, test), gain in gains.items() if train == test]
    away = [gain for (train, test), gain in gains.items() if train != test]
    return fmean(away) / fmean(home) if sum(home) > 0 else None


def published(name: str) -> dict[str, Any]:
    """One file of `data/paper`: published figures, their source, how sure the transcription is."""
    return json.loads(material(f"paper/{name}.json").read_text(encoding="utf-8"))


def no_think_minus_think(axis: str) -> pd.DataFrame:
    """The published map of what leaving out the thinking changes, in the form of `matrix`.

    `n` are the questions in the released test file, `value` is in points, `fits` as the function.
    """
    found = published(f"no_think_minus_think_{axis}")
    counts = found["test_items"]
    rows = [
        (train, test, counts[test], value, fits(value, counts[test], terms=2))
        for train, values in found["values"].items()
        for test, value in values.items()
    ]
    return pd.DataFrame(rows, columns=["train", "test", "n", "value", "fits"])


def fits(value: float, n: int, terms: int = 1) -> bool:
    """Whether a printed percentage can come from `n` questions: is it a multiple of 100 / n?

    `value` has two digits; `terms` counts the rounded numbers in it: a difference has 2. Where n is
    large, every number fits: see `fits_by_chance`.
    """
    nearest = round(value * n / 100) * 100 / n
    return abs(nearest - value) <= terms * 0.005 + 1e-9


def fits_by_chance(n: int, terms: int = 1) -> float:
    """Share of all numbers that fit `n` questions without coming from them."""
    return min(1.0, terms * 0.01 * n / 100)


def power(gap: float, questions: int, seeds: int, seed_sd: float, discordant: float) -> float:
    """Chance that a comparison of two methods at the 5 % level finds a true `gap` in accuracy.

    Each is trained with so many `seeds`, two or more, between which its accuracy has the standard
    deviation `seed_sd`. Both are asked the same `questions`; `discordant` is the share that one
    model has right and the other wrong. Source: Welch 1947, with Student's distribution shifted.
    """
    items, models = discordant / questions, 2 * seed_sd**2 / seeds
    parts = items**2 / (questions - 1) + models**2 / (2 * (seeds - 1))
    freedom = (items + models) ** 2 / parts
    return t.sf(t.ppf(0.975, freedom) - gap / (items + models) ** 0.5, freedom)


SMALL = {("CT", "CT"): 0.4, ("CT", "OCT"): 0.1, ("OCT", "CT"): 0.3, ("OCT", "OCT"): 0.4}
WIDE = {("CT", "CT"): 0.2, ("CT", "MRI"): 0.1, ("CT", "OCT"): 0.2}

CASES = {
    "transfer_index": (
        Case((SMALL,), "the cells off the diagonal gain 0.2 on average, those on it 0.4"),
        Case((WIDE,), "means are compared, for there are more cells off the diagonal than on it"),
        Case(({("CT", "CT"): 0.2, ("CT", "MRI"): -0.1},), "a loss elsewhere: an index below zero"),
        Case(({("CT", "CT"): 0.0, ("CT", "MRI"): 0.1},), "without a gain at home it is None"),
        Case(({("CT", "CT"): -0.2, ("CT", "MRI"): -0.1},), "a loss at home gives None as well"),
    ),
    "fits": (
        Case((33.33, 3), "one of three questions is 33.333 percent, printed as 33.33"),
        Case((33.67, 3), "a percentage of three questions is near 0, 33.33, 66.67 or 100"),
        Case((-1.24, 1611), "differences can be negative"),
        Case((33.34, 3, 2), "two rounded numbers may be off by 0.01 together"),
        Case((33.34, 3), "one rounded number is off by 0.005 at most"),
    ),
    "power": (
        Case((0.005, 10**5, 5, 0.0, 0.3), "seeds that agree: only the questions are luck"),
        Case((1e-4, 10**5, 10**6, 0.05, 0.0), "two methods, and each has seeds that differ"),
        Case((1e-4, 10**8, 10**6, 0.05, 0.3), "the variances of questions and seeds add up"),
        Case((0.08, 500, 2, 0.03, 0.3), "two seeds each are few: the bound is Student's, not 1.96"),
    ),
}
