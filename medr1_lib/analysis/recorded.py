"""Blocks of recorded runs: every answer of every model of a sweep, in a few small files."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from medr1_lib.errors import InputError

MODELS, ANSWERS, QUESTIONS = "models.json", "answers.parquet", "questions.parquet"
LOGS, LETTER_PROBS = "log.parquet", "letter_probs.parquet"  # a block may be without them
ANSWER_COLUMNS = ["control", "item", "completion", "tokens", "parsed", "correct", "format_ok"]
LABELS = ["model", "method", "style", "axis", "train", "seed", "shortcut"]


@cache
def load(block: Path) -> pd.DataFrame:
    """Every answer of a block, with its question and its model beside it; used from chapter 08 on.

    Returns:
        One row per model, mark, control and item, with the columns of `models.json`'s labels, of
        the question, and `completion`, `tokens`, `parsed`, `correct`, `format_ok`.

    Raises an `InputError` if the folder is no block, or one of an earlier version.
    """
    labels = pd.DataFrame(notes(block)["models"])[LABELS]
    if not (block / ANSWERS).is_file():
        remedy = "if a version before 0.2.0 made the block, run `python -m tools.migrate` on it"
        raise InputError(block, f"has no {ANSWERS}", remedy)
    answers = pd.read_parquet(block / ANSWERS).merge(labels, on="model")
    return answers.merge(pd.read_parquet(block / QUESTIONS), on=["mark", "item"])


def notes(block: Path) -> dict[str, Any]:
    """How a block was made, and its models. Raises an `InputError` if the folder is no block."""
    try:
        return json.loads((block / MODELS).read_text())
    except (OSError, ValueError) as error:
        remedy = "name a folder that `sweep --record` wrote"
        raise InputError(block, "is no block of recorded runs", remedy) from error
