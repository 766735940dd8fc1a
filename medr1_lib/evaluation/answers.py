"""The folder of an evaluation: a card, and answers that are safe as soon as they are written."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medr1_lib import files
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.data import dataset
from medr1_lib.errors import InputError
from medr1_lib.evaluation.items import EvalPrompt

KEY = ["item", "style", "control"]
OF_QUESTION = ["image_id", "question", "options", "answer", "modality", "question_type", "source"]


@dataclass(frozen=True)
class Answer:
    """One answer of a model, with the question that it answers.

    Attributes:
        item: The question's place in the split.
        image_id: That of the question, also where a control showed another image.
        answer: The right letter.
        tokens: Length of the completion.
        parsed: The letter it means, read tolerantly, or `None`.
        format_ok: Whether it is in exactly the form asked for.
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


class AnswerLog:
    """Where the answers of one evaluation are kept, and found again after an interruption.

    The folder is new, empty, or that of an evaluation with the same `settings`, which are all that
    answers depend on. The card holds them and the `notes`. Raises an `InputError` if the folder is
    in use otherwise, or cannot be written.
    """

    def __init__(self, out: Path, settings: dict[str, Any], notes: dict[str, Any]) -> None:
        self._out, self._parts, self._card = out, out / "parts", out / dataset.CARD
        if not self._card.is_file():
            files.require_free(out)
            head = {"made_by": "python -m medr1_lib evaluate", "settings": settings}
            self._write_card(head | notes)
            return
        found = json.loads(self._card.read_text()).get("settings", {})
        for name, value in settings.items():
            if found.get(name) != value:
                problem = f"was made with another {name} ({found.get(name)}, now {value})"
                raise InputError(out, problem, "choose another folder")

    def add(self, answers: Iterable[Answer]) -> None:
        """Keep a batch of answers, whole or not at all."""
        frame = pd.DataFrame([asdict(answer) for answer in answers])
        if len(frame):
            number = len(list(self._parts.glob("*.parquet")))
            self._write(self._parts / f"{number:06}.parquet", frame.to_parquet(index=False))

    def answers(self) -> pd.DataFrame:
        """All answers so far."""
        if (self._out / ANSWERS).is_file():
            return pd.read_parquet(self._out / ANSWERS)
        frames = [pd.read_parquet(path) for path in sorted(self._parts.glob("*.parquet"))]
        return pd.concat(frames) if frames else pd.DataFrame(columns=[*Answer.__annotations__])

    def todo(self, prompts: list[EvalPrompt]) -> list[EvalPrompt]:
        """Those prompts that have no answer yet."""
        done = set(self.answers()[KEY].itertuples(index=False, name=None))
        return [one for one in prompts if (one.item, one.style, one.control) not in done]

    def finish(self, notes: dict[str, Any]) -> pd.DataFrame:
        """Gather the answers into one file and complete the card."""
        answers = self.answers().sort_values(KEY, ignore_index=True)
        if self._parts.is_dir():
            self._write(self._out / ANSWERS, answers.to_parquet(index=False))
            self._write_card(json.loads(self._card.read_text()) | notes)
            shutil.rmtree(self._parts)
        return answers

    def _write_card(self, card: dict[str, Any]) -> None:
        self._write(self._card, (json.dumps(card, indent=1) + "\n").encode())

    def _write(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.atomic_write(path, content)
        except OSError as error:
            remedy = "make room or choose another folder; the same command goes on from here"
            problem = f"cannot be written ({error.strerror or error})"
            raise InputError(self._out, problem, remedy) from error
