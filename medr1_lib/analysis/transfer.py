"""Maps of generalization: trained on one thing, tested on another, and how sure that is."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medr1_lib.analysis.intervals import wilson
from medr1_lib.analysis.rates import middle, redraws
from medr1_lib.data.question import AXES, BASES
from medr1_lib.errors import InputError

SHARES = ["accuracy", "low", "high", "gain", "gain_low", "gain_high"]
Draws = dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Answers:
    """Which items every model of one map has right.

    Attributes:
        right: 0 or 1; one row per item, one column per `(train, seed)`.
        base: The same of the untrained model; not a number where it was not asked.
        test: The modality or question type of each item.
    """

    right: pd.DataFrame
    base: pd.Series
    test: pd.Series

    @property
    def trains(self) -> list[str]:
        """The rows of the map."""
        return list(dict.fromkeys(self.right.columns.get_level_values("train")))

    def cells(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Row, column, and the answers of the cell, one column per seed."""
        for train in self.trains:
            for test, items in self.test.groupby(self.test, observed=True).groups.items():
                yield train, str(test), self.right.loc[items, [train]]


def select(
    records: pd.DataFrame, method: str, style: str, axis: str, control: str = "none"
) -> pd.DataFrame:
    """The records of one map: no shortcut in training, none in the test. A base is in every map."""
    wanted = records.query("style == @style and control == @control")
    wanted = wanted[(wanted["mark"] == "random") & (wanted["shortcut"] == 0)]
    of_method = wanted[wanted["method"] == method]
    return of_method if method in BASES else of_method[of_method["axis"] == axis]


def answers(
    records: pd.DataFrame, method: str, style: str, axis: str, control: str = "none"
) -> Answers:
    """Arrange the records of one map. Built in chapter 10.

    Args:
        records: As `recorded.load` returns them.
        method: `grpo`, `sft` or `base`.
        style: Reasoning style.
        axis: What the training split was cut by: `modality`, `question_type`, or `all` for models
            trained on everything, which are tested by modality.
        control: What was shown in place of the image.

    Raises:
        InputError: If there are no such records, or the models were asked different items.
    """
    found = select(records, method, style, axis, control)
    base = select(records, "base", style, axis, control)
    where, column = f"{method}, {style}, {axis}", column_of(axis)
    if found.empty or base["item"].duplicated().any():
        problem = "no records" if found.empty else "two bases"
        raise InputError(where, problem, "choose blocks with one base and such models")
    if found.duplicated(["item", "train", "seed"]).any():
        raise InputError(where, "a model answered an item twice", "choose blocks without overlap")
    right = found.pivot(index="item", columns=["train", "seed"], values="correct")
    if right.isna().any(axis=None):
        raise InputError(where, "its models were asked different items", "score them alike")
    order = {name: place for place, name in enumerate((*AXES[axis], "all", "none"))}
    right = right.astype(float).sort_index(axis=1, level="train", key=lambda n: n.map(order.get))
    test = found.drop_duplicates("item").set_index("item")[column]
    test = test.astype(pd.CategoricalDtype([*AXES[column], "unknown"])).reindex(right.index)
    asked = base.set_index("item")["correct"].astype(float).reindex(right.index)
    return Answers(right, asked, test.cat.remove_unused_categories())


def column_of(axis: str) -> str:
    """What the columns of a map are."""
    return "question_type" if axis == "question_type" else "modality"


def matrix(found: Answers) -> pd.DataFrame:
    """The map, one row per cell, with 95 % intervals. Built in chapter 10.

    One seed gets Wilson's interval, which speaks of the items only. Several get a hierarchical
    bootstrap of seeds and items, a little too narrow where few seeds differ much. `gain` is over
    the base on the same items.

    Returns:
        Columns `train`, `test`, `n` (items), `seeds`, and as shares those of `SHARES`.
    """
    return _table(found, resampled(found))


def _table(found: Answers, draws: Draws) -> pd.DataFrame:
    rows = []
    for train, test, part in found.cells():
        (accuracy, base), (n, seeds) = draws[train, test], part.shape
        right = float(part.to_numpy().mean())
        plain = seeds == 1 or right in (0, 1)  # no draw differs where all answers agree
        interval = wilson(round(right * n), n) if plain else middle(accuracy)
        gain = right - float(found.base[part.index].mean(skipna=False))
        rows.append((train, test, n, seeds, right, *interval, gain, *middle(accuracy - base)))
    return pd.DataFrame(rows, columns=["train", "test", "n", "seeds", *SHARES])


def resampled(found: Answers) -> Draws:
    """Accuracy of each cell, and of the base on it, in `rates.DRAWS` hierarchical bootstrap draws.

    The models of one row share the drawn seeds, the cells of one column the drawn items, so that
    means over cells can be taken draw by draw. The accuracies of seeds are first spread about their
    mean by `sqrt(seeds / (seeds - 1))`, or a bootstrap of three finds two thirds of their variance.
    """
    rng = np.random.default_rng(0)
    sizes = found.test.value_counts()
    items = {test: redraws(rng, n) / n for test, n in sizes.items()}
    models = {train: found.right[train].shape[1] for train in found.trains}
    seeds = {train: redraws(rng, n) / n for train, n in models.items()}
    draws = {}
    for train, test, part in found.cells():
        count, apart = part.shape[1], (part.mean() - part.to_numpy().mean()).to_numpy()
        spread = part.to_numpy() + apart * (np.sqrt(count / max(1, count - 1)) - 1)
        accuracy = ((items[test] @ spread) * seeds[train]).sum(axis=1).clip(0, 1)
        draws[train, test] = accuracy, items[test] @ found.base[part.index].to_numpy()
    return draws


def at_home(table: pd.DataFrame) -> pd.Series:
    """Which cells of a map are on its diagonal: tested on what was trained on."""
    return (table["train"] == table["test"]) | (table["train"] == "all")


def summary(found: Answers) -> pd.DataFrame:
    """Means over the cells on the diagonal (`at home`) and off it (`elsewhere`).

    Returns:
        Columns `part`, `cells`, and the shares of `matrix`.
    """
    rows = []
    for part, cells, (accuracy, base) in _parts(found):
        right, gain = cells["accuracy"].mean(), cells["gain"].mean(skipna=False)
        rows.append((part, len(cells), right, *middle(accuracy), gain, *middle(accuracy - base)))
    return pd.DataFrame(rows, columns=["part", "cells", *SHARES])


def index(found: Answers) -> dict[str, float]:
    """The generalization index: mean gain off the diagonal by mean gain on it. Built in chapter 10.

    1 means that training helps elsewhere as much as at home, 0 that it helps at home only, less
    than 0 that it hurts elsewhere. If the interval of the gain at home does not lie above zero,
    there is nothing to carry over: a ratio by something near zero would be arbitrary, and the
    index is not a number.

    Returns:
        `index` and its 95 % interval, `low` and `high`.
    """
    gains = [
        (cells["gain"].mean(skipna=False), accuracy - base)
        for _, cells, (accuracy, base) in _parts(found)
    ]
    if len(gains) < 2 or not middle(gains[0][1])[0] > 0:
        return dict.fromkeys(("index", "low", "high"), float("nan"))
    (home, home_draws), (elsewhere, elsewhere_draws) = gains
    low, high = middle(elsewhere_draws / home_draws)
    return {"index": elsewhere / home, "low": low, "high": high}


def spread(found: Answers) -> dict[str, float]:
    """How much of a map is structure and how much is chance, as variances of the gain.

    Returns:
        `cells`: between the true gains of cells, that is, between the measured ones less what
        seeds and items add to them; below zero where they explain more than all. It is on the
        careful side, for cells share seeds along a row and items along a column. `seeds`: between
        the seeds of a cell. `items`: of a cell's mean, for the items drawn.

    Raises:
        InputError: If a model has one seed only.
    """
    gains = [part.sub(found.base[part.index], axis=0) for _, _, part in found.cells()]
    if min(part.shape[1] for part in gains) < 2:
        raise InputError("spread", "a model has one seed", "train each with two seeds or more")
    means = np.array([part.to_numpy().mean() for part in gains])
    seeds = np.array([part.mean().var() for part in gains])
    items = np.array([part.mean(axis=1).var() / len(part) for part in gains])
    added = items + seeds / [part.shape[1] for part in gains]
    between = means.var(ddof=1) - added.mean()
    return {"cells": float(between), "seeds": float(seeds.mean()), "items": float(items.mean())}


def _parts(found: Answers) -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """The two parts of a map that are not empty: name, cells, mean draws of model and base."""
    draws = resampled(found)
    table = _table(found, draws)
    home = at_home(table)
    for name, cells in (("at home", table[home]), ("elsewhere", table[~home])):
        if len(cells):
            drawn = [draws[cell] for cell in zip(cells["train"], cells["test"], strict=True)]
            yield name, cells, np.mean(drawn, axis=0)
