"""What a map is compared with: another map, a new seed, and rules that do not look."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from medr1_lib.analysis.intervals import wilson
from medr1_lib.analysis.scores import ITEM, compare
from medr1_lib.analysis.transfer import Answers, answers, at_home, column_of, matrix, select
from medr1_lib.data import audit
from medr1_lib.data.question import Question
from medr1_lib.errors import InputError

BLIND = {
    "chance": audit.uniform,
    "letter majority": audit.letter_majority,
    "option prior": audit.option_ratio,
}
IMAGES = {"blank image": "blank", "shuffled image": "shuffled"}
CELL = ["train", "test", "n", "seeds", "accuracy", "low", "high"]
TEST = ["difference", "low", "high", "p"]


Noise = Sequence[tuple[float, int]]  # variances of an accuracy, with their degrees of freedom


def contrast(
    first: pd.DataFrame, second: pd.DataFrame, noise: Noise
) -> tuple[float, float, float, float]:
    """Accuracy of the second less that of the first, its 95 % interval, and a p-value.

    With one seed each this is `scores.compare`, McNemar's exact test, and speaks of these two
    models. With several, the variance between items and those between the seeds of either side
    add up, as in Welch's t-test, so that it speaks of the methods; no pairing of seeds is assumed.

    Source: Welch 1947, for the degrees of freedom of a sum of variances.

    Args:
        first: Right answers; one row per item, one column per seed.
        second: Likewise, for the same items.
        noise: What the seeds of each side that has several add to the variance of its accuracy.

    Raises:
        InputError: If the items differ, or are fewer than two.
    """
    if not first.index.equals(second.index):
        raise InputError("comparison", "the items differ", "score both on the same data")
    if len(first) < 2:
        raise InputError("comparison", "has fewer than two items", "score more")
    whole = first.isin((0, 1)).all(axis=None) and second.isin((0, 1)).all(axis=None)
    if first.shape[1] == second.shape[1] == 1 and whole:
        found = compare(_plain(first), _plain(second))
        return found.difference, *found.interval, found.p
    gaps = second.mean(axis=1) - first.mean(axis=1)
    error, freedom = _summed([(float(gaps.var()) / len(gaps), len(gaps) - 1), *noise])
    difference, half = float(gaps.mean()), float(t.ppf(0.975, freedom)) * error
    p = 2 * float(t.sf(abs(difference) / error, freedom)) if error else float(difference == 0)
    return difference, max(-1.0, difference - half), min(1.0, difference + half), p


def differences(first: Answers, second: Answers) -> pd.DataFrame:
    """Two maps cell by cell, on the same items. Built in chapter 09.

    The variance between seeds is taken from all cells of a map together: two or three seeds say
    little of their own, and a cell whose seeds agree by luck would pass for certain.

    Returns:
        Columns `train`, `test`, `n`, `seeds` (of the side with fewer), `difference` (second less
        first), `low`, `high`, `p`, and `p_holm`, corrected for all cells together.
    """
    others = {(train, test): part for train, test, part in second.cells()}
    sides, rows = [_seed_noise(first), _seed_noise(second)], []
    for train, test, part in first.cells():
        if (train, test) in others:
            other = others[train, test]
            seeds = part.shape[1], other.shape[1]
            noise = [
                (v / n, free) for n, side in zip(seeds, sides, strict=True) for v, free in side
            ]
            labels = (train, test, len(part), min(seeds))
            rows.append((*labels, *contrast(part, other, noise)))
    table = pd.DataFrame(rows, columns=["train", "test", "n", "seeds", *TEST])
    return table.assign(p_holm=holm(table["p"]))


def ablation(variants: dict[str, Answers]) -> pd.DataFrame:
    """Each variant against the first, at home and elsewhere, all items of a part pooled.

    An item counts once: what models of one seed got of it is averaged over the rows of the map.

    Returns:
        Columns `label`, `part`, `n`, `seeds`, `accuracy`, then as `differences`; p-values are
        corrected for all rows together.
    """
    rows = []
    reference, *others = variants.items()
    for home, part in ((True, "at home"), (False, "elsewhere")):
        first, noise = _pooled(reference[1], home)
        for label, variant in others if len(first) else ():
            second, more = _pooled(variant, home)
            labels = (label, part, len(second), min(first.shape[1], second.shape[1]))
            accuracy = float(second.to_numpy().mean())
            rows.append((*labels, accuracy, *contrast(first, second, [*noise, *more])))
    table = pd.DataFrame(rows, columns=["label", "part", "n", "seeds", "accuracy", *TEST])
    return table.assign(p_holm=holm(table["p"]))


def holm(p: Sequence[float] | pd.Series) -> np.ndarray:
    """P-values corrected for their number, so that one false alarm in all is rare.

    Source: Holm 1979; built in chapter 09.

    Example:
        >>> holm([0.01, 0.04, 0.02]).tolist()
        [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, steps)
    return corrected


def prediction(found: Answers, level: float = 0.99) -> pd.DataFrame:
    """Where the accuracy of each cell lies if it is run again with a new seed, on new items.

    The variance between seeds is that of all cells, as in `differences`; Student's t pays for what
    is still unknown. The variance between items counts twice, for those asked and for those of the
    rerun: on the same items, the interval is too wide.

    Returns:
        Columns `train`, `test`, `n`, `seeds`, `accuracy`, `low`, `high`.

    Raises:
        InputError: If no model has two seeds.
    """
    noise = _seed_noise(found)
    if not noise:
        raise InputError("prediction", "no model has two seeds", "train more of them")
    (seeds, free), rows = noise[0], []
    for train, test, part in found.cells():
        (n, count), right = part.shape, float(part.to_numpy().mean())
        items = float(part.mean(axis=1).var())
        if count > 1:  # less what the seeds add to the variance of a mean over them
            items -= float(part.var(axis=1).mean()) / count
        items = max(items, 1 / n)  # where all is right, one in n may be wrong next time
        error, freedom = _summed([(seeds * (1 + 1 / count), free), (2 * items / n, n - 1)])
        half = float(t.ppf(0.5 + level / 2, freedom)) * error
        rows.append((train, test, n, count, right, max(0.0, right - half), min(1.0, right + half)))
    return pd.DataFrame(rows, columns=CELL)


def controls(
    records: pd.DataFrame, method: str, style: str, axis: str, train: Sequence[Question]
) -> pd.DataFrame:
    """What can be had without looking, in the form of `matrix`, the control's name as `train`.

    Rules are fitted on what the model of the diagonal cell was trained on. Of blank and shuffled
    images, too, that model is asked: where a shortcut was learned, it is of use at home.

    Args:
        records: As `answers` takes them; a control that they do not hold is left out.
        method: See `answers`.
        style: See `answers`.
        axis: See `answers`.
        train: Questions of the training split.
    """
    asked = select(records, method, style, axis).drop_duplicates("item")
    column, rows = column_of(axis), []
    rows_asked: list[dict[Any, Any]] = asked.assign(source="", scene=None).to_dict("records")
    questions = [Question.from_record(row) for row in rows_asked]
    for test in dict.fromkeys(asked[column]):
        known = [q for q in train if axis == "all" or getattr(q, column) == test]
        posed = [q for q in questions if getattr(q, column) == test]
        for name, rule in BLIND.items():
            share, n = rule(known, posed), len(posed)
            interval = (share, share) if name == "chance" else wilson(round(share * n), n)
            rows.append((name, test, n, 1, share, *interval))
    tables = [pd.DataFrame(rows, columns=CELL)]
    for name, control in IMAGES.items():
        if len(select(records, method, style, axis, control)):
            shown = matrix(answers(records, method, style, axis, control))
            tables.append(shown[at_home(shown)].assign(train=name))
    return pd.concat(tables, ignore_index=True)


def _seed_noise(found: Answers) -> Noise:
    """Variance of a cell's accuracy between seeds; nothing where there is one of each."""
    variances = [part.mean().var() for _, _, part in found.cells() if part.shape[1] > 1]
    free = sum(found.right[train].shape[1] - 1 for train in found.trains)
    return [(float(np.mean(variances)), free)] if free else []


def _summed(parts: Noise) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of variances with theirs."""
    total = sum(variance for variance, _ in parts)
    weight = sum(variance**2 / freedom for variance, freedom in parts)
    return total**0.5, total**2 / weight if weight else 1.0


def _pooled(found: Answers, home: bool) -> tuple[pd.DataFrame, Noise]:
    """A part of a map: mean over its rows by item and seed, and what the seeds add to its noise."""
    trains = found.right.columns.get_level_values("train")
    own = [[train in (test, "all") for train in trains] for test in found.test]
    kept = found.right.where(np.array(own) == home)
    items = kept.T.groupby(level="seed").mean().T.dropna(how="all")
    by_train = kept.mean().groupby(level="train").agg(["var", "count"]).dropna()
    free = int((by_train["count"] - 1).sum())
    seeds = float((by_train["var"] / by_train["count"]).sum()) / len(found.trains) ** 2
    return items, [(seeds, free)] if free else []


def _plain(side: pd.DataFrame) -> pd.DataFrame:
    right = side.iloc[:, 0].to_numpy() == 1
    return pd.DataFrame({**dict.fromkeys(ITEM, ""), "item": side.index, "correct": right})
