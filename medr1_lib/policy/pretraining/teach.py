"""Stages 2 and 3, the language half: captions, then questions, in doses and never to the full."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medr1_lib.data.phantoms import Scene
from medr1_lib.data.styles import STYLES
from medr1_lib.policy.pretraining.errors import errors, lend_heads
from medr1_lib.policy.pretraining.exam import asked_about, examine
from medr1_lib.policy.pretraining.language import Pupil
from medr1_lib.policy.pretraining.lessons import Lesson, answered, described, looked_up, told

LEARNING_RATE, WARM_UP = 1e-3, 50  # steps
LOOK_UP_STEPS = 80
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
        looked_up: Look-ups in text alone.
        told: Questions about a caption, text alone.
        described: Captions and open questions.
        styles: Questions about images, by style.
    """

    looked_up: int
    told: int = 0
    described: int = 0
    styles: dict[str, int] = field(default_factory=dict)


LOOK_UPS = Dose(40)
DIRECT = Dose(5, 14, 12, {"no_think": 10, "think_after": 6})
REASONED, SHARE = Dose(5, 0, 8, {"think_before": 6}), 0.3  # of the peak learning rate
BEGUN = 0.5  # share of letters right about captions told as text: direct answers come next
ENOUGH, FORMED = 0.40, 0.62  # greedy accuracy and form at which a style is taught no further


def teach(pupil: Pupil, album: Album, held_out: Album, seed: int, checkpoint: Path) -> None:
    """Teach the language half in place; resumes from its checkpoint.

    First look-ups alone. Then captions and direct answers, until direct answers are right often
    enough. Last the reasoned answers, which find their letter as look-ups do, until they have
    their form: how far a style gets is decided by how much of it is taught, and by nothing else.
    """
    teacher = Teacher(pupil, album, seed, checkpoint)
    asked = asked_about(held_out.scenes, seed)

    def enough(names: Iterable[str]) -> bool:
        sat = {name: examine(pupil, asked, held_out.features, STYLES[name]) for name in names}
        said = "; ".join(f"{name} {mark}" for name, mark in sat.items())
        log.info("language step %d: %s", teacher.steps, said)
        return all(mark.accuracy >= ENOUGH and mark.form >= FORMED for mark in sat.values())

    while teacher.steps < LOOK_UP_STEPS:
        teacher.give(LOOK_UPS)
    if teacher.steps == LOOK_UP_STEPS:
        lend_heads(pupil)
    while not teacher.bound:
        marks = teacher.give(DIRECT)
        if marks["told letter"] >= BEGUN and teacher.steps % 5 == 0:
            teacher.bound = enough(DIRECT.styles)
    while not enough(REASONED.styles):
        for _ in range(4):
            teacher.give(REASONED, SHARE)
    enough(STYLES)
    teacher.save()


class Teacher:
    """Gives doses of lessons to a pupil; everything follows from the seed."""

    def __init__(self, pupil: Pupil, album: Album, seed: int, checkpoint: Path) -> None:
        self.pupil, self.album, self.checkpoint = pupil, album, checkpoint
        self.rng = np.random.default_rng(seed)
        self.weights = list(pupil.model.model.language_model.parameters())
        self.optimizer = torch.optim.AdamW(self.weights, weight_decay=0.01, betas=(0.9, 0.98))
        self.steps, self.begun, self.bound = 0, time.perf_counter(), False
        if checkpoint.exists():
            self._load()

    def give(self, dose: Dose, share: float = 1.0) -> dict[str, float]:
        """One step at that share of the peak learning rate; what was right in it, by name."""
        self.steps += 1
        marks = self._without_images(dose) | self._with_images(dose)
        sum((error for error, _ in marks.values()), torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = LEARNING_RATE * share * min(1, self.steps / WARM_UP)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.steps % 20 == 0:
            right = ", ".join(f"{name} {right:.0%}" for name, (_, right) in marks.items())
            spent = time.perf_counter() - self.begun
            log.info("language step %d, %.0f s: %s", self.steps, spent, right)
            self.save()
        return {name: right for name, (_, right) in marks.items()}

    def save(self) -> None:
        """Keep everything that the next step needs."""
        state = self.pupil.model.state_dict(), self.optimizer.state_dict()
        spent = time.perf_counter() - self.begun
        told = self.steps, spent, self.bound, self.rng.bit_generator.state
        torch.save((*told, *state), self.checkpoint)

    def _load(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.steps, spent, self.bound, rng, model, optimizer = state
        self.begun -= spent
        self.rng.bit_generator.state = rng
        self.pupil.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)

    def _without_images(self, dose: Dose) -> dict[str, tuple[Tensor, float]]:
        sets = {
            "look-up": [looked_up(self.rng) for _ in range(dose.looked_up)],
            "told": [told(scene, self.rng) for scene, _ in self._drawn(dose.told)],
        }
        return {
            f"{kind} {name}": mark
            for kind, lessons in sets.items()
            if lessons
            for name, mark in errors(self.pupil, lessons, None).items()
        }

    def _with_images(self, dose: Dose) -> dict[str, tuple[Tensor, float]]:
        kinds: list[Callable[[Scene, np.random.Generator], Lesson]] = [described] * dose.described
        kinds += [answered(style) for style, count in dose.styles.items() for _ in range(count)]
        if not kinds:
            return {}
        scenes, features = zip(*self._drawn(len(kinds)), strict=True)
        lessons = [lesson(scene, self.rng) for lesson, scene in zip(kinds, scenes, strict=True)]
        return errors(self.pupil, lessons, torch.stack(features).float())

    def _drawn(self, count: int) -> list[tuple[Scene, Tensor]]:
        chosen = self.rng.integers(len(self.album.scenes), size=count)
        return [(self.album.scenes[index], self.album.features[index]) for index in chosen]
