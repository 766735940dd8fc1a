"""What a gain is made of: knowledge, a habit of some letters, or the form of the completion."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medr1_lib.analysis.stats import ITEM, mean_table
from medr1_lib.data.question import ALL_LETTERS, LETTERS, ROTATED
from medr1_lib.errors import InputError

READERS = ("strict", "tolerant", "forced", "corrected")
PARTS = ("knowledge", "habit", "form", "strict")  # the first three add up to the fourth
FOLDS, ENOUGH = 10, 200  # of pictures; questions, below which no letter habit is corrected


def letter_constants(probs: NDArray[np.float64]) -> NDArray[np.float64]:
    """A factor for each letter, with which the letters are answered equally often.

    No label is used. `probs` are those of the letters, (questions, letters), 0 for a letter that
    stands for no option. Built in chapter 02.
    """
    there = probs > 0
    wanted = (there / there.sum(1, keepdims=True)).mean(0)
    factors = np.ones(probs.shape[1])
    for turn in range(300):
        letters = (probs * factors).argmax(1)
        given = np.bincount(letters, minlength=len(factors)) / len(letters)
        factors = factors * np.exp(2 / (1 + 0.1 * turn) * (wanted - given))
    return factors / factors.mean()


def without_habit(probs: NDArray[np.float64], pictures: pd.Series) -> NDArray[np.float64] | None:
    """Letter probabilities times factors that ten folds of pictures fit, each on the nine others.

    `None` below 200 questions or 10 pictures. Built in chapter 02.
    """
    names, picture = np.unique(pictures.astype(str), return_inverse=True)
    if len(probs) < ENOUGH or len(names) < FOLDS:
        return None
    fold = np.random.default_rng(0).permutation(len(names))[picture] % FOLDS
    corrected = np.empty_like(probs)
    for held_out in range(FOLDS):
        own = fold == held_out
        corrected[own] = probs[own] * letter_constants(probs[~own])
    return corrected


def read_all(answers: pd.DataFrame) -> pd.DataFrame:
    """Four readers side by side: the answers of one model in one style, about the real images.

    Adds columns that are 1 where a reader finds the right letter: `strict` (in exactly the form
    asked for), `tolerant`, `forced` (the likeliest letter counts) and `corrected` (the same
    `without_habit`). The last two are not numbers where they cannot be known.
    """
    real = answers[answers["control"] == "none"]
    probs, right = letter_matrix(real), real["answer"].map(ALL_LETTERS.index)
    corrected = None if probs is None else without_habit(probs, real["image_id"])
    found = {
        "strict": real["correct"] & real["format_ok"],
        "tolerant": real["correct"],
        "forced": np.nan if probs is None else probs.argmax(1) == right,
        "corrected": np.nan if corrected is None else corrected.argmax(1) == right,
    }
    return real.assign(**found).astype(dict.fromkeys(READERS, float))


def letter_matrix(answers: pd.DataFrame) -> NDArray[np.float64] | None:
    """The recorded `letter_probs`, (answers, letters), 0 for a letter that stands for no option.

    `None` if an answer has none, as those of a model that was asked elsewhere.
    """
    rows = [*map(list, answers["letter_probs"])]
    return np.array([*zip_longest(*rows, fillvalue=0.0)], float).T if all(rows) else None


def letter_habit(answers: pd.DataFrame) -> pd.DataFrame:
    """One row per letter: its `share` of all answers, and the `accuracy` where it is right."""
    share = answers["parsed"].value_counts() / len(answers)
    accuracy = answers.groupby("answer")["correct"].mean()
    letters = sorted({*LETTERS, *share.index, *accuracy.index})
    found = pd.DataFrame({"share": share, "accuracy": accuracy}, letters).rename_axis("letter")
    return found.fillna({"share": 0.0})


def circular(answers: pd.DataFrame) -> dict[str, float]:
    """What turning the options changes, in answers under the control `circular`.

    Accuracy in the `original` order and over `all_orders`; `circular`, the share of questions that
    are right in every order; `same_text`, the share that get the same option in every order.
    """
    turned = answers["control"].str.startswith(ROTATED)
    asked = answers[turned | answers["control"].eq("none")]
    said = zip(asked["options"], asked["parsed"], strict=True)
    texts = [
        options[ALL_LETTERS.index(letter)] if isinstance(letter, str) else None
        for options, letter in said
    ]
    items = asked.assign(text=pd.Series(texts, asked.index)).groupby("item")
    same = items["text"].nunique().eq(1) & items["text"].count().eq(items.size())
    return {
        "original": float(answers.loc[answers["control"] == "none", "correct"].mean()),
        "all_orders": float(asked["correct"].mean()),
        "circular": float(items["correct"].all().mean()),
        "same_text": float(same.mean()),
    }


def change(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """The `gain_parts` of each question; both have the columns of `read_all` and the same items."""
    pairs = before.merge(after, on=ITEM, suffixes=("_before", ""), validate="one_to_one")
    if not len(pairs) == len(before) == len(after):
        problem = f"{len(before)} and {len(after)} answers have {len(pairs)} items in common"
        raise InputError("comparison", problem, "evaluate both on the same data and limit")
    known = {name: pairs[f"{name}_before"] for name in READERS}
    return pairs[ITEM].assign(**gain_parts(known, {name: pairs[name] for name in READERS}))


def gain_parts(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The gain of the strict reading and the three parts that add up to it. Built in chapter 06."""
    moved = {reader: after[reader] - before[reader] for reader in before}
    return {
        "knowledge": moved["corrected"],
        "habit": moved["forced"] - moved["corrected"],
        "form": moved["strict"] - moved["forced"],
        "strict": moved["strict"],
    }


def gain_table(changes: pd.DataFrame) -> pd.DataFrame:
    """The mean of each part of a gain, as `stats.mean_table` gives it."""
    return mean_table(changes, PARTS).rename_axis("part")
