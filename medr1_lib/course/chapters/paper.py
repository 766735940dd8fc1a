"""The published figures of Med-R1 as data, to be shown beside ours."""

import json
from typing import Any

import pandas as pd

from medr1_lib.course.tiers import material
from medr1_lib.errors import InputError


def published(name: str) -> dict[str, Any]:
    """One file of `data/paper`, with its provenance and how sure the transcription is.

    Raises:
        InputError: If there is no such file.
    """
    folder = material("paper")
    try:
        return json.loads((folder / f"{name}.json").read_text())
    except OSError as error:
        names = ", ".join(sorted(path.stem for path in folder.glob("*.json")))
        raise InputError(folder, f"has no {name!r}", f"use one of {names}") from error


def no_think_minus_think(axis: str) -> pd.DataFrame:
    """The published map of what leaving out the thinking changes, in the form of `matrix`.

    Args:
        axis: `modality` or `question_type`.

    Returns:
        Columns `train`, `test`, `n` (questions in the released test file), `value` (points) and
        `fits` (whether `fits` accepts it as a difference of two accuracies on so many questions).
    """
    found = published(f"no_think_minus_think_{axis}")
    rows = [
        (train, test, found["test_items"][test], value)
        for train, values in found["values"].items()
        for test, value in values.items()
    ]
    table = pd.DataFrame(rows, columns=["train", "test", "n", "value"])
    whole = [fits(value, n, terms=2) for value, n in zip(table["value"], table["n"], strict=True)]
    return table.assign(fits=whole)


def fits(value: float, n: int, terms: int = 1) -> bool:
    """Whether a printed percentage can come from `n` questions: is it a multiple of 100 / n?

    Up to rounding, that is. Where `100 / n` comes near the rounding, every number fits and the
    check says nothing: see `luck`. Built in chapter 10.

    Args:
        value: In percent or points, with two digits.
        n: Questions.
        terms: Printed numbers in it, each rounded: 2 for a difference.

    Example:
        >>> fits(33.33, 3), fits(33.4, 3)
        (True, False)
    """
    nearest = round(value * n / 100) * 100 / n
    return abs(nearest - value) <= terms * 0.005 + 1e-9


def luck(n: int, terms: int = 1) -> float:
    """Share of all numbers that fit `n` questions without coming from them.

    Example:
        >>> luck(1000), luck(20_000)
        (0.1, 1.0)
    """
    return min(1.0, terms * 0.01 * n / 100)
