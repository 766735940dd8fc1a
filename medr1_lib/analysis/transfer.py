"""Transfer maps: accuracy by what a model was trained on and by what it is tested on."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from medr1_lib.analysis import stats
from medr1_lib.analysis.recorded import METHODS
from medr1_lib.data import audit
from medr1_lib.data.question import AXES, BASES, Question, in_order
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError

CELL = ["train", "test", "n", "seeds", "accuracy", "low", "high"]
GAIN = ["gain", "gain_low", "gain_high"]
TEST = ["difference", "low", "high", "p"]
BLIND_RULES = {
    "chance": audit.uniform,
    "letter majority": audit.letter_majority,
    "option prior": audit.option_ratio,
}
BLIND_IMAGES = {"blank image": "blank", "shuffled image": "shuffled"}

Names = Iterable[str]
Noise = Sequence[tuple[float, int]]  # variances of an accuracy, with their degrees of freedom


@dataclass(frozen=True)
class TransferAnswers:
    """Which items every model of one map has right."""

    right: pd.DataFrame  # 0 or 1; one row per item, one column per `(train, seed)`
    base: pd.Series  # the same of the untrained model; not a number where it was not asked
    test: pd.Series  # the modality or question type of each item
    cluster: pd.Series  # of each item, by `stats.clusters`; its items are drawn together

    @property
    def trains(self) -> list[str]:
        """The rows of the map."""
        return list(dict.fromkeys(self.right.columns.get_level_values("train")))

    def cells(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Row, column, and the answers of the cell, one column per seed."""
        for train in self.trains:
            for test, items in self.test.groupby(self.test, observed=True).groups.items():
                yield train, str(test), self.right.loc[items, [train]]

    @cached_property
    def draws(self) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
        """Accuracy of each cell, and of the base on it, in a hierarchical bootstrap's draws.

        Cells of a row share the drawn seeds, those of a column the drawn items.
        """
        rng = np.random.default_rng(0)
        place, names = pd.factorize(self.cluster)
        columns = self.test.astype(str).groupby(place).agg(lambda of: ", ".join(sorted({*of})))
        drawn = np.empty((stats.DRAWS, len(names)))
        for _, alike in columns.groupby(columns, sort=False):
            drawn[:, alike.index] = stats.redraws(rng, len(alike))
        counts = {test: drawn[:, place[self.test == test]] for test in self.test.unique()}
        items = {test: of / of.sum(axis=1, keepdims=True) for test, of in counts.items()}
        models = {train: self.right[train].shape[1] for train in self.trains}
        seeds = {train: stats.redraws(rng, n) / n for train, n in models.items()}
        draws = {}
        for train, test, part in self.cells():
            apart = (part.mean() - part.to_numpy().mean()).to_numpy()
            spread = part.to_numpy() + apart * (stats.spread_factor(part.shape[1]) - 1)
            accuracy = ((items[test] @ spread) * seeds[train]).sum(axis=1).clip(0, 1)
            draws[train, test] = accuracy, items[test] @ self.base[part.index].to_numpy()
        return draws


Maps = dict[tuple[str, str, str], TransferAnswers]  # by axis, method and style


def select(
    records: pd.DataFrame, method: str, style: str, axis: str, control: str = "none"
) -> pd.DataFrame:
    """The records of one map. A base is in every map."""
    wanted = records.query("style == @style and control == @control")
    of_method = wanted[wanted["method"] == method]
    return of_method if method in BASES else of_method[of_method["axis"] == axis]


def transfer_answers(
    records: pd.DataFrame, method: str, style: str, axis: str, control: str = "none"
) -> TransferAnswers:
    """Arrange the records (`recorded.load`) of one map. Built in chapter 12.

    `axis` is what the training split was cut by; models trained on `all` are tested by modality.
    """
    found = select(records, method, style, axis, control)
    base = select(records, "base", style, axis, control)
    where, column = f"{method}, {style}, {axis}", column_of(axis)
    if found.empty or base["item"].duplicated().any():
        problem = "no records" if found.empty else "two bases or test sets"
        raise InputError(where, problem, "choose blocks with one base, such models and one test")
    if found.duplicated(["item", "train", "seed"]).any():
        raise InputError(where, "a model answered an item twice", "choose blocks without overlap")
    right = found.pivot(index="item", columns=["train", "seed"], values="correct")
    if right.isna().any(axis=None):
        raise InputError(where, "its models were asked different items", "score them alike")
    trained = in_order(axis, {*found["train"]} - {"all", "none"})
    order = {name: place for place, name in enumerate([*trained, "all", "none"])}
    right = right.astype(float).sort_index(axis=1, level="train", key=lambda n: n.map(order.get))
    items = found.drop_duplicates("item").set_index("item", drop=False).reindex(right.index)
    test = items[column].astype(pd.CategoricalDtype(in_order(column, items[column])))
    asked = base.set_index("item")["correct"].astype(float).reindex(right.index)
    return TransferAnswers(right, asked, test, stats.clusters(items))


def maps(
    records: pd.DataFrame, axes: Names = AXES, methods: Names = METHODS, styles: Names = STYLES
) -> Maps:
    """Every map that the records hold, of trained models if no other `methods` are named."""
    return {
        (axis, method, style): transfer_answers(records, method, style, axis)
        for axis, method, style in product(axes, methods, styles)
        if len(select(records, method, style, axis))
    }


def column_of(axis: str) -> str:
    """What the columns of a map are."""
    return "question_type" if axis == "question_type" else "modality"


def on_diagonal(table: pd.DataFrame) -> pd.Series:
    """Which cells of a map are on its diagonal: tested on what was trained on."""
    return (table["train"] == table["test"]) | (table["train"] == "all")


def matrix(found: TransferAnswers) -> pd.DataFrame:
    """The map, one row per cell, with 95 % intervals; columns `CELL` and `GAIN`.

    One seed gets Wilson's interval, which speaks of the items only. Several get a hierarchical
    bootstrap, a little too narrow where few seeds differ much. Built in chapter 12.
    """
    rows = []
    for train, test, part in found.cells():
        (accuracy, base), (n, seeds) = found.draws[train, test], part.shape
        right = float(part.to_numpy().mean())
        plain = seeds == 1 or right in (0, 1)  # no draw differs where all answers agree
        worth = n / stats.design_effect(part.mean(axis=1), found.cluster[part.index])
        interval = stats.wilson(right * worth, worth) if plain else stats.middle(accuracy)
        gain = right - float(found.base[part.index].mean(skipna=False))
        rows.append((train, test, n, seeds, right, *interval, gain, *stats.middle(accuracy - base)))
    return pd.DataFrame(rows, columns=[*CELL, *GAIN])


def summary(found: TransferAnswers) -> pd.DataFrame:
    """Means over the cells of a `matrix` on the diagonal (`at home`) and off it (`elsewhere`)."""
    rows = []
    for part, cells, (accuracy, base) in _parts(found):
        right, gain = cells["accuracy"].mean(), cells["gain"].mean(skipna=False)
        ends, of_gain = stats.middle(accuracy), stats.middle(accuracy - base)
        rows.append((part, len(cells), right, *ends, gain, *of_gain))
    return pd.DataFrame(rows, columns=["part", "cells", *CELL[4:], *GAIN])


def generalization_index(found: TransferAnswers) -> dict[str, float]:
    """The generalization index: mean gain off the diagonal by mean gain on it. Built in chapter 12.

    Not a number if the interval of the gain at home does not lie above zero: a ratio by something
    near zero would be arbitrary. Returns `index` and its 95 % interval, `low` and `high`.
    """
    gains = [
        (cells["gain"].mean(skipna=False), accuracy - base)
        for _, cells, (accuracy, base) in _parts(found)
    ]
    if len(gains) < 2 or not stats.middle(gains[0][1])[0] > 0:
        return dict.fromkeys(("index", "low", "high"), float("nan"))
    (home, home_draws), (elsewhere, elsewhere_draws) = gains
    low, high = stats.middle(elsewhere_draws / home_draws)
    return {"index": elsewhere / home, "low": low, "high": high}


def _parts(found: TransferAnswers) -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """The two parts of a map that are not empty: name, cells, mean draws of model and base."""
    table = matrix(found)
    home = on_diagonal(table)
    for name, cells in (("at home", table[home]), ("elsewhere", table[~home])):
        if len(cells):
            drawn = [found.draws[cell] for cell in zip(cells["train"], cells["test"], strict=True)]
            yield name, cells, np.mean(drawn, axis=0)


def difference_test(
    first: pd.DataFrame, second: pd.DataFrame, cluster: pd.Series, noise: Noise
) -> tuple[float, float, float, float]:
    """Accuracy of the second less that of the first, its 95 % interval, and a p-value.

    A side has one row per item, with its `cluster`, and one column per seed. With one seed each
    this is `stats.paired`, of these two models. With several, the variance between clusters and the
    `noise` of the seeds of either side add up (Welch 1947), so that it speaks of the methods.
    """
    if not first.index.equals(second.index):
        raise InputError("comparison", "the items differ", "score both on the same data")
    if len(first) < 2:
        raise InputError("comparison", "has fewer than two items", "score more")
    shared = cluster[first.index]
    whole = first.isin((0, 1)).all(axis=None) and second.isin((0, 1)).all(axis=None)
    if first.shape[1] == second.shape[1] == 1 and whole:
        found = stats.paired(first.iloc[:, 0] == 1, second.iloc[:, 0] == 1, shared)
        return found.difference, *found.interval, found.p
    gaps = second.mean(axis=1) - first.mean(axis=1)
    items = float(gaps.var()) / len(gaps) * stats.design_effect(gaps, shared)
    error, freedom = _summed([(items, max(1, shared.nunique() - 1)), *noise])
    difference, half = float(gaps.mean()), float(t.ppf(0.975, freedom)) * error
    p = 2 * float(t.sf(abs(difference) / error, freedom)) if error else float(difference == 0)
    return difference, max(-1.0, difference - half), min(1.0, difference + half), p


def compare_pooled(variants: dict[str, TransferAnswers]) -> pd.DataFrame:
    """Each variant against the first, at home and elsewhere, all items of a part pooled.

    An item counts once: what models of one seed got of it is averaged over the rows of the map.
    """
    rows = []
    (_, reference), *others = variants.items()
    for home, part in ((True, "at home"), (False, "elsewhere")):
        first, noise = _pooled(reference, home)
        for label, variant in others if len(first) else ():
            second, more = _pooled(variant, home)
            labels = (label, part, len(second), min(first.shape[1], second.shape[1]))
            accuracy = float(second.to_numpy().mean())
            found = difference_test(first, second, reference.cluster, [*noise, *more])
            rows.append((*labels, accuracy, *found))
    table = pd.DataFrame(rows, columns=["label", "part", "n", "seeds", "accuracy", *TEST])
    return table.assign(p_holm=stats.holm(table["p"]))


def prediction_intervals(found: TransferAnswers) -> pd.DataFrame:
    """The 99 % interval of the accuracy of each cell if it is run again: a new seed, new items.

    The variance between seeds is that of all cells (`seed_noise`). That between clusters of items
    counts twice, for those asked and for those of the rerun. Returns the columns `CELL`.
    """
    noise = seed_noise(found)
    if not noise:
        raise InputError("prediction", "no model has two seeds", "train more of them")
    (seeds, free), rows = noise[0], []
    for train, test, part in found.cells():
        (n, count), right = part.shape, float(part.to_numpy().mean())
        items = float(part.mean(axis=1).var())
        if count > 1:  # less what the seeds add to the variance of a mean over them
            items -= float(part.var(axis=1).mean()) / count
        items = max(items, 1 / n)  # where all is right, one in n may be wrong next time
        shared = found.cluster[part.index]
        items *= 2 * stats.design_effect(part.mean(axis=1), shared) / n
        noise = [(seeds * (1 + 1 / count), free), (items, max(1, shared.nunique() - 1))]
        error, freedom = _summed(noise)
        half = float(t.ppf(0.995, freedom)) * error
        rows.append((train, test, n, count, right, max(0.0, right - half), min(1.0, right + half)))
    return pd.DataFrame(rows, columns=CELL)


def seed_noise(found: TransferAnswers) -> Noise:
    """Variance of a cell's accuracy between seeds; nothing where there is one of each."""
    variances = [part.mean().var() for _, _, part in found.cells() if part.shape[1] > 1]
    free = sum(found.right[train].shape[1] - 1 for train in found.trains)
    return [(float(np.mean(variances)), free)] if free else []


def _summed(parts: Noise) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances with theirs."""
    total = sum(variance for variance, _ in parts)
    weight = sum(variance**2 / freedom for variance, freedom in parts)
    return total**0.5, total**2 / weight if weight else 1.0


def _pooled(found: TransferAnswers, home: bool) -> tuple[pd.DataFrame, Noise]:
    """A part of a map: mean over its rows by item and seed, and what the seeds add to its noise."""
    trains = found.right.columns.get_level_values("train")
    own = [[train in (test, "all") for train in trains] for test in found.test]
    kept = found.right.where(np.array(own) == home)
    items = kept.T.groupby(level="seed").mean().T.dropna(how="all")
    by_train = kept.mean().groupby(level="train").agg(["var", "count"]).dropna()
    free = int((by_train["count"] - 1).sum())
    seeds = float((by_train["var"] / by_train["count"]).sum()) / len(found.trains) ** 2
    return items, [(seeds, free)] if free else []


def blind_baselines(
    records: pd.DataFrame, method: str, style: str, axis: str, train: Sequence[Question]
) -> pd.DataFrame:
    """What can be had without looking, with the columns `CELL`, the baseline's name as `train`.

    Rules are fitted on the questions that the model of the diagonal cell learned. That model, or
    the base, is asked with blank and shuffled images, too, where the records hold these controls.
    """
    found, column, rows = select(records, method, style, axis), column_of(axis), []
    for test, asked in found.drop_duplicates("item").groupby(column, sort=False):
        known = [q for q in train if axis == "all" or getattr(q, column) == test]
        given: list[dict[Any, Any]] = asked.assign(source="", scene=None).to_dict("records")
        posed = [Question.from_record(row) for row in given]
        n, few = len(posed), stats.clusters(asked).nunique()
        for name, rule in BLIND_RULES.items():
            share = rule(known, posed)
            interval = (share, share) if name == "chance" else stats.wilson(share * few, few)
            rows.append((name, test, n, 1, share, *interval))
    tables = [pd.DataFrame(rows, columns=CELL)]
    for name, control in BLIND_IMAGES.items():
        if len(select(records, method, style, axis, control)):
            shown = matrix(transfer_answers(records, method, style, axis, control))
            own = on_diagonal(shown) | shown["train"].eq("none")
            tables.append(shown[own].assign(train=name))
    return pd.concat(tables, ignore_index=True)
