"""Stages 2 and 3, the language half: captions, then questions, in doses and never to the full."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medr1_lib.data.phantoms import Scene
from medr1_lib.data.styles import STYLES
from medr1_lib.policy.pretraining.exam import examine
from medr1_lib.policy.pretraining.language import Pupil
from medr1_lib.policy.pretraining.lessons import Lesson, answered, described, looked_up
from medr1_lib.policy.pretraining.optimizer import Optimizer

WARM_UP = 30  # steps
LOOK_UP_STEPS = 60
CAPTION_STEPS = 180  # look-ups included
QUESTION_STEPS, QUESTION_SHARE = 100, 0.4  # at most; of the peak learning rate
EXAM_EVERY = 4  # steps
ENOUGH = 0.40  # greedy accuracy of think_before at which teaching ends
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Album:
    """Scenes with the features that the frozen tower gives their pictures.

    Attributes:
        scenes: What the pictures show.
        features: Shape (scenes, 16, width), half precision.
    """

    scenes: Sequence[Scene]
    features: Tensor


@dataclass(frozen=True)
class Dose:
    """How many rows of each lesson go into one step.

    Attributes:
        described: Captions and open questions.
        styles: Questions, by style.
        looked_up: Look-ups in text alone.
    """

    described: int
    styles: dict[str, int]
    looked_up: int


LOOK_UPS = Dose(30, {}, 12)
CAPTIONS = Dose(38, {}, 4)
QUESTIONS = Dose(12, {"think_before": 10, "no_think": 5, "think_after": 5}, 2)


def teach(pupil: Pupil, album: Album, held_out: Album, seed: int, checkpoint: Path) -> None:
    """Teach the language half in place; resumes from its checkpoint.

    Captions, with many look-ups at first and few later. Then questions in small steps, until enough
    of what the model knows comes out as an answer: how far a style gets is decided by how much of
    it is taught, and by nothing else.
    """
    teacher = Teacher(pupil, album, seed, checkpoint)
    while teacher.steps < CAPTION_STEPS:
        dose = LOOK_UPS if teacher.steps < LOOK_UP_STEPS else CAPTIONS
        teacher.give(dose, min(1, (teacher.steps + 1) / WARM_UP))
    asked, half = STYLES["think_before"], slice(None, None, 2)
    while teacher.steps < CAPTION_STEPS + QUESTION_STEPS:
        teacher.give(QUESTIONS, QUESTION_SHARE)
        if teacher.steps % EXAM_EVERY == 0:
            marks = examine(pupil, held_out.scenes[half], held_out.features[half], asked, seed)
            log.info("language step %d: think_before %s", teacher.steps, marks)
            if marks.accuracy >= ENOUGH:
                break
    teacher.save()


class Teacher:
    """Gives doses of lessons to a pupil; everything follows from the seed."""

    def __init__(self, pupil: Pupil, album: Album, seed: int, checkpoint: Path) -> None:
        self.pupil, self.album, self.checkpoint = pupil, album, checkpoint
        self.rng = np.random.default_rng(seed)
        language = pupil.model.model.language_model
        others = [language.embed_tokens.weight, language.norm.weight]
        self.optimizer = Optimizer(language.layers.parameters(), others)
        self.steps, self.begun = 0, time.perf_counter()
        if checkpoint.exists():
            self._load()

    def give(self, dose: Dose, share: float) -> None:
        """One step at that share of the peak learning rate."""
        self.steps += 1
        marks = self._with_images(dose) | self._without(dose.looked_up)
        sum((error for error, _ in marks.values()), torch.zeros(())).backward()
        self.optimizer.step(share)
        if self.steps % 20 == 0:
            right = ", ".join(f"{name} {share:.1%}" for name, (_, share) in marks.items())
            spent = time.perf_counter() - self.begun
            log.info("language step %d, %.0f s: tokens right: %s", self.steps, spent, right)
            self.save()

    def save(self) -> None:
        """Keep everything that the next step needs."""
        state = self.pupil.model.state_dict(), self.optimizer.state_dict()
        spent = time.perf_counter() - self.begun
        torch.save((self.steps, spent, self.rng.bit_generator.state, *state), self.checkpoint)

    def _load(self) -> None:
        self.steps, spent, rng, model, optimizer = torch.load(self.checkpoint, weights_only=True)
        self.begun -= spent
        self.rng.bit_generator.state = rng
        self.pupil.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)

    def _with_images(self, dose: Dose) -> dict[str, tuple[Tensor, float]]:
        lessons: list[Callable[[Scene, np.random.Generator], Lesson]] = [described] * dose.described
        lessons += [answered(style) for style, count in dose.styles.items() for _ in range(count)]
        chosen = self.rng.integers(len(self.album.scenes), size=len(lessons))
        taught: list[Lesson] = [
            lesson(self.album.scenes[index], self.rng)
            for lesson, index in zip(lessons, chosen, strict=True)
        ]
        rows = [self.pupil.row(lesson, image=True) for lesson in taught]
        return self.pupil.errors(rows, self.album.features[chosen].float())

    def _without(self, count: int) -> dict[str, tuple[Tensor, float]]:
        if not count:
            return {}
        rows = [self.pupil.row(looked_up(self.rng), image=False) for _ in range(count)]
        return {f"look-up {name}": mark for name, mark in self.pupil.errors(rows, None).items()}
