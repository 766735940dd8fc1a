"""The folder of an evaluation: a card, and records that are safe as soon as they are written."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medr1_lib import files
from medr1_lib.data import dataset
from medr1_lib.errors import InputError
from medr1_lib.evaluation.items import Task

RECORDS = "records.parquet"
KEY = ["item", "style", "control"]


@dataclass(frozen=True)
class Record:
    """One answer of a model.

    Attributes:
        item: The question's place in the test split.
        image_id: Of the question, also where a control showed another image.
        question: The stem.
        options: Their texts.
        answer: The right letter.
        style: The reasoning style asked for.
        control: `none`, `blank`, `shuffled` or `text`.
        completion: What the model wrote.
        tokens: Its length.
        parsed: The letter it means, read tolerantly, or `None`.
        correct: Whether that is the right one.
        format_ok: Whether it is in exactly the form asked for.
        modality: Of the question.
        question_type: Of the question.
        source: Of the question.
    """

    item: int
    image_id: str
    question: str
    options: tuple[str, ...]
    answer: str
    style: str
    control: str
    completion: str
    tokens: int
    parsed: str | None
    correct: bool
    format_ok: bool
    modality: str
    question_type: str
    source: str


class Journal:
    """Where the records of one evaluation are kept, and found again after an interruption.

    Args:
        out: The folder; new, empty, or that of an evaluation with the same settings.
        settings: What the answers depend on.
        notes: What else the card is to say.

    Raises:
        InputError: If the folder is in use otherwise, or cannot be written.
    """

    def __init__(self, out: Path, settings: dict[str, Any], notes: dict[str, Any]) -> None:
        self._out, self._parts, self._card = out, out / "parts", out / dataset.CARD
        if self._card.is_file():
            self._check_same(settings)
        else:
            files.require_free(out)
            self._describe(
                {"made_by": "python -m medr1_lib evaluate", "settings": settings} | notes
            )

    def add(self, records: Iterable[Record]) -> None:
        """Keep a batch of records, whole or not at all."""
        frame = pd.DataFrame([asdict(record) for record in records])
        if len(frame):
            number = len(list(self._parts.glob("*.parquet")))
            self._keep(self._parts / f"{number:06}.parquet", frame.to_parquet(index=False))

    def records(self) -> pd.DataFrame:
        """All records so far."""
        if (self._out / RECORDS).is_file():
            return pd.read_parquet(self._out / RECORDS)
        frames = [pd.read_parquet(path) for path in sorted(self._parts.glob("*.parquet"))]
        return pd.concat(frames) if frames else pd.DataFrame(columns=[*Record.__annotations__])

    def todo(self, tasks: list[Task]) -> list[Task]:
        """Those tasks that have no record yet."""
        done = set(self.records()[KEY].itertuples(index=False, name=None))
        return [task for task in tasks if (task.item, task.style, task.control) not in done]

    def finish(self, notes: dict[str, Any]) -> pd.DataFrame:
        """Gather the records into one file and complete the card."""
        records = self.records().sort_values(KEY, ignore_index=True)
        if self._parts.is_dir():
            self._keep(self._out / RECORDS, records.to_parquet(index=False))
            self._describe(json.loads(self._card.read_text()) | notes)
            shutil.rmtree(self._parts)
        return records

    def _check_same(self, settings: dict[str, Any]) -> None:
        found = json.loads(self._card.read_text()).get("settings", {})
        for name, value in settings.items():
            if found.get(name) != value:
                problem = f"was made with another {name} ({found.get(name)}, now {value})"
                raise InputError(self._out, problem, "choose another folder")

    def _describe(self, card: dict[str, Any]) -> None:
        self._keep(self._card, (json.dumps(card, indent=1) + "\n").encode())

    def _keep(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.atomic_write(path, content)
        except OSError as error:
            remedy = "make room or choose another folder; the same command goes on from here"
            problem = f"cannot be written ({error.strerror or error})"
            raise InputError(self._out, problem, remedy) from error
