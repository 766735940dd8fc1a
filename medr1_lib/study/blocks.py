"""Blocks of recorded runs: every answer of every model of a sweep, in a few small files."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from medr1_lib.data.errors import InputError
from medr1_lib.rl.run import LOG
from medr1_lib.study.items import Items
from medr1_lib.study.journal import RECORDS
from medr1_lib.study.sweep import CELL, RUN, answers_in

MODELS, ITEMS, QUESTIONS = "models.json", "items.parquet", "questions.parquet"
LOGS, ODDS = "log.parquet", "odds.parquet"  # a block may be without them
ANSWER = ["control", "item", "completion", "tokens", "parsed", "correct", "format_ok"]
LABELS = ["model", "method", "style", "axis", "train", "seed", "shortcut"]


def write(cells: list[Path], block: Path, notes: dict[str, Any]) -> None:
    """Gather the folders of finished cells into a block.

    Args:
        cells: Folders that a sweep has finished.
        block: Folder to write.
        notes: What made them: command, plan.
    """
    models = [json.loads((cell / CELL).read_text()) for cell in cells]
    answers, logs = [], []
    for cell, model in zip(cells, models, strict=True):
        for test, mark in model["marks"].items():
            records = pd.read_parquet(answers_in(cell, test) / RECORDS)[ANSWER]
            answers.append(records.assign(model=model["model"], mark=mark))
        if (cell / RUN).is_dir():
            logs.append(pd.read_csv(cell / RUN / LOG).assign(model=model["model"]))
    tests = {test: mark for model in models for test, mark in model["marks"].items()}
    if len({*tests.values()}) < len(tests):  # a mark is what answers find their questions by
        raise InputError(block, f"{len(tests)} test sets share a mark", "record a plan for each")
    asked = [_questions(test).assign(mark=mark) for test, mark in tests.items()]
    block.mkdir(parents=True, exist_ok=True)
    frames = {ITEMS: answers, QUESTIONS: asked, LOGS: logs}
    for name, parts in frames.items():
        if parts:
            joined = pd.concat(parts, ignore_index=True)
            joined.to_parquet(block / name, index=False, compression="zstd", compression_level=19)
    (block / MODELS).write_text(json.dumps(notes | {"models": models}, indent=1) + "\n")


@cache
def load(block: Path) -> pd.DataFrame:
    """Every answer of a block, with its question and its model beside it; used from chapter 08 on.

    Returns:
        One row per model, mark, control and item, with the columns of `models.json`'s labels, of
        the question, and `completion`, `tokens`, `parsed`, `correct`, `format_ok`.

    Raises:
        InputError: If the folder is no block.
    """
    models = pd.DataFrame(notes(block)["models"])[LABELS]
    answers = pd.read_parquet(block / ITEMS).merge(models, on="model")
    return answers.merge(pd.read_parquet(block / QUESTIONS), on=["mark", "item"])


def notes(block: Path) -> dict[str, Any]:
    """How a block was made, and its models.

    Raises:
        InputError: If the folder is no block.
    """
    try:
        return json.loads((block / MODELS).read_text())
    except (OSError, ValueError) as error:
        remedy = "name a folder that `sweep --record` wrote"
        raise InputError(block, "is no block of recorded runs", remedy) from error


def gathered(together: Sequence[Path], name: str, key: str) -> pd.DataFrame:
    """What blocks hold beside their answers, `LOGS` or `ODDS`, with the labels of the models.

    Args:
        together: Blocks, some of which may be without it.
        name: The file.
        key: What a model has one row for, `step` or `item`; a model may be in several blocks.
    """
    found = [
        pd.read_parquet(block / name).merge(
            pd.DataFrame(notes(block)["models"])[LABELS], on="model"
        )
        for block in together
        if (block / name).is_file()
    ]
    nothing = pd.DataFrame(columns=[*LABELS, key])
    return pd.concat(found).drop_duplicates(["model", key]) if found else nothing


def _questions(data: str) -> pd.DataFrame:
    kept = "image_id", "question", "options", "answer", "modality", "question_type", "scene"
    asked = Items(Path(data)).questions
    table = pd.DataFrame([{name: getattr(one, name) for name in kept} for one in asked])
    return table.rename_axis("item").reset_index()
