"""Gather the answers of a sweep into a block of a few small files."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from medr1_lib.analysis.recorded import ANSWER, ITEMS, LOGS, MODELS, QUESTIONS
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import RECORDS
from medr1_lib.evaluation.items import Items
from medr1_lib.evaluation.sweep import CELL, RUN, answers_in
from medr1_lib.rl.run import LOG


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


def _questions(data: str) -> pd.DataFrame:
    kept = "image_id", "question", "options", "answer", "modality", "question_type", "scene"
    asked = Items(Path(data)).questions
    table = pd.DataFrame([one.record(None) for one in asked])[[*kept]]
    return table.rename_axis("item").reset_index()
