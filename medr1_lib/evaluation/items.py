"""The items of an evaluation: each question in each style, with its image or a control's."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medr1_lib.data import dataset
from medr1_lib.data.question import Question
from medr1_lib.evaluation import controls

TOGETHER = 512  # items; their features fit into the memory of `VisionCache`


@dataclass(frozen=True)
class Task:
    """One thing to ask.

    Attributes:
        item: The question's place in the test split.
        shown: The item whose image is shown; `None` for no image at all.
        style: A reasoning style.
        control: `none` for the real image, or one of `controls.CONTROLS`.
    """

    item: int
    shown: int | None
    style: str
    control: str


class Items:
    """One split of a data set.

    Args:
        root: A data set made by `data build` or `data import`.
        split: Which of its splits.

    Attributes:
        questions: All of them, in the order of the file.
        sha256: Changes whenever a question or an image does.

    Raises:
        InputError: If there is no such split, or a record lacks its image.
    """

    def __init__(self, root: Path, split: str = "test") -> None:
        table = dataset.read_split(root, split)
        self._where, self._images = f"{root}, {split}", table.select_columns("image")
        rows = table.remove_columns("image").to_list()
        self.questions = [Question.from_record(row) for row in rows]
        digest = hashlib.sha256(json.dumps(rows).encode())
        self._areas = []
        for item in range(len(rows)):
            digest.update(self._bytes(item))
            self._areas.append(math.prod(self._open(item, pixels=False).size))
        self.sha256 = digest.hexdigest()

    def tasks(
        self, styles: tuple[str, ...], asked: tuple[str, ...], limit: int | None, seed: int
    ) -> list[Task]:
        """Everything to ask, so ordered that neighbours have prompts of about the same length.

        Neighbours share a style too, since its replies are of a length. All that is asked of 512
        items comes before the next 512, so that their images need not be remembered for longer.

        Args:
            styles: Reasoning styles.
            asked: Controls beside the real image.
            limit: Draw so many questions at random instead of all.
            seed: Of that draw and of the shuffled control.
        """
        chosen = list(range(len(self.questions)))
        if limit is not None and limit < len(chosen):
            rng = np.random.default_rng(seed)
            chosen = sorted(rng.choice(len(chosen), limit, replace=False).tolist())
        others = self._others(seed) if "shuffled" in asked else []
        tasks = [
            Task(item, self._shown(item, control, others), style, control)
            for item in chosen
            for style in styles
            for control in ("none", *asked)
        ]
        ranks = {item: rank for rank, item in enumerate(sorted(chosen, key=self._length))}
        return sorted(tasks, key=lambda task: _order(task, ranks[task.item]))

    def image(self, task: Task) -> Image.Image | None:
        """What the model is shown."""
        if task.shown is None:
            return None
        if task.control == "blank":
            return controls.blank(self._open(task.shown, pixels=False))
        return self._open(task.shown)

    def _others(self, seed: int) -> list[int]:
        names = [question.image_id for question in self.questions]
        return controls.shuffled(names, [question.modality for question in self.questions], seed)

    def _shown(self, item: int, control: str, others: list[int]) -> int | None:
        if control == "text":
            return None
        return others[item] if control == "shuffled" else item

    def _length(self, item: int) -> float:
        """Roughly the tokens of a prompt: 28 x 28 pixels or four characters each."""
        question = self.questions[item]
        text = len(question.question) + sum(map(len, question.options))
        return self._areas[item] / 28**2 + text / 4

    def _open(self, item: int, pixels: bool = True) -> Image.Image:
        where = f"{self._where} record {item} ({self.questions[item].image_id})"
        return dataset.open_image(self._bytes(item), where, pixels)

    def _bytes(self, item: int) -> bytes:
        return self._images[item]["image"]["bytes"]


def _order(task: Task, rank: int) -> tuple[int, bool, str, int]:
    return rank // TOGETHER, task.shown is None, task.style, rank


def batches(tasks: list[Task], size: int) -> Iterator[list[Task]]:
    """Neighbours together."""
    for start in range(0, len(tasks), size):
        yield tasks[start : start + size]
