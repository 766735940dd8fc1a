"""Stage 2, the language half: captions, look-ups and questions in the three styles.

All of it about general pictures and, in text, about both domains; about medical pictures only
little: a few questions in one step of three, and no caption. How few is what sets the base's
accuracy there. Most of those pictures are met once or not at all: a base that has met few pictures
often answers as well, but is sure of itself where it is wrong, and reinforcement then finds no
spread to learn from.
"""

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medr1_lib.data.phantoms import Scene
from tools.pretrain.examples import Example, answered, any_scene, ask, described, looked_up, told
from tools.pretrain.losses import Score, lend_heads, losses
from tools.pretrain.model import TinyVLM
from tools.pretrain.optimizer import Optimizer, save_whole
from tools.pretrain.pictures import Features

RATE = 1e-3  # peak, of both optimizers
WARM_UP, DECAY = 50, 300  # steps at the beginning and at the end of a schedule
LOOK_UP_STEPS = 80
log = logging.getLogger(__name__)

Shown = tuple[Scene, Tensor]  # a scene and the features of its picture


@dataclass(frozen=True)
class Rows:
    """How many rows with pictures of a domain go into one step.

    Attributes:
        described: Captions and open questions.
        styles: Questions with options, by style; in pairs, see `Trainer`.
    """

    described: int = 0
    styles: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchMix:
    """How many rows of each kind go into one step.

    Attributes:
        looked_up: Look-ups in text alone.
        told: Questions about a caption, text alone, of both domains.
        general: With general pictures.
        medical: With medical pictures.
        medical_every: A step in so many has the medical rows.
    """

    looked_up: int
    told: int = 0
    general: Rows = Rows()
    medical: Rows = Rows()
    medical_every: int = 3


LOOK_UPS = BatchMix(40)
GENERAL = Rows(8, {"think_before": 4, "no_think": 8, "think_after": 6})
MEDICAL = Rows(0, {"no_think": 2, "think_after": 2})
MIXED = BatchMix(4, 12, GENERAL, MEDICAL)


@dataclass(frozen=True)
class Schedule:
    """A course of steps: warm-up, plateau, and a linear decay to nothing.

    Attributes:
        steps: All in all.
        mix: Of every step after the look-ups.
    """

    steps: int
    mix: BatchMix = MIXED

    @property
    def plateau(self) -> int:
        """The last step at the full rate."""
        return self.steps - DECAY

    def share(self, step: int) -> float:
        """Share of the peak rate at a step, counted from 1."""
        return min(1, step / WARM_UP, (self.steps - step + 1) / DECAY)


class Trainer:
    """Trains the language half in place, step by step; everything follows from the seed.

    Attributes:
        steps: Done so far.
        seconds: That they took, as of the last checkpoint.
    """

    def __init__(
        self,
        vlm: TinyVLM,
        general: Features,
        medical: Features,
        schedule: Schedule,
        seed: int,
        checkpoint: Path,
    ) -> None:
        self.vlm, self.general, self.medical = vlm, general, medical
        self.schedule, self.checkpoint = schedule, checkpoint
        self.rng = np.random.default_rng(seed)
        language = vlm.model.model.language_model
        layers = list(language.layers.parameters())
        others = [language.embed_tokens.weight, language.norm.weight]
        self.optimizer = Optimizer(layers, others, RATE)
        self.steps, self.seconds, self.begun = 0, 0.0, time.perf_counter()
        if checkpoint.exists():
            self.load(checkpoint)

    def run(self, until: int, save_every: int = 100) -> None:
        """Go on to a step, with a checkpoint now and then."""
        while self.steps < until:
            scores = self.step()
            if self.steps % 20 == 0:
                right = ", ".join(f"{name} {right:.0%}" for name, (_, right) in scores.items())
                log.info("language step %d, %.0f s: %s", self.steps, self.spent(), right)
            if self.steps % save_every == 0 or self.steps == until:
                self.save(self.checkpoint)

    def step(self) -> dict[str, Score]:
        """One step; loss and share right by name."""
        self.steps += 1
        mix = LOOK_UPS if self.steps <= LOOK_UP_STEPS else self.schedule.mix
        with torch.autocast("cpu", torch.bfloat16):
            scores = self._without_images(mix) | self._with_images(mix)
        sum((loss for loss, _ in scores.values()), torch.zeros(())).backward()
        self.optimizer.step(self.schedule.share(self.steps))
        if self.steps == LOOK_UP_STEPS:
            lend_heads(self.vlm)
        return scores

    def spent(self) -> float:
        """Seconds of training, with those before a resumption."""
        return time.perf_counter() - self.begun

    def save(self, checkpoint: Path) -> None:
        """Keep everything that the next step needs."""
        state = self.vlm.model.state_dict(), self.optimizer.state_dict()
        rng, self.seconds = self.rng.bit_generator.state, self.spent()
        save_whole((self.steps, self.seconds, rng, *state), checkpoint)

    def load(self, checkpoint: Path) -> None:
        """Back to what a checkpoint holds."""
        self.steps, self.seconds, rng, model, optimizer = torch.load(checkpoint, weights_only=True)
        self.rng.bit_generator.state = rng
        self.vlm.model.load_state_dict(model)
        self.optimizer.load_state_dict(optimizer)
        self.begun = time.perf_counter() - self.seconds

    def _without_images(self, mix: BatchMix) -> dict[str, Score]:
        sets = {
            "look-up": [looked_up(self.rng) for _ in range(mix.looked_up)],
            "told": [told(any_scene(self.rng), self.rng) for _ in range(mix.told)],
        }
        return {
            f"{kind} {name}": score
            for kind, examples in sets.items()
            if examples
            for name, score in losses(self.vlm, examples, None).items()
        }

    def _with_images(self, mix: BatchMix) -> dict[str, Score]:
        rows = self._rows(mix.general, self.general)
        if self.steps % mix.medical_every == 0:
            rows += self._rows(mix.medical, self.medical)
        if not rows:
            return {}
        examples, shown = zip(*rows, strict=True)
        return losses(self.vlm, examples, torch.stack(shown))

    def _rows(self, wanted: Rows, source: Features) -> list[tuple[Example, Tensor]]:
        """Every question comes in two orders of its options: the letter depends on them alone."""
        pictures = self._drawn(source, wanted.described)
        rows = [(described(scene, self.rng), shown) for scene, shown in pictures]
        for name, count in wanted.styles.items():
            for scene, shown in self._drawn(source, count // 2):
                asked = ask(scene, self.rng)
                turned = asked.turned(int(self.rng.integers(1, 4)))
                rows += [(answered(one, name), shown) for one in (asked, turned)]
        return rows

    def _drawn(self, source: Features, count: int) -> list[Shown]:
        chosen = self.rng.integers(len(source.scenes), size=count)
        return [(source.scenes[index], source.values[index].float()) for index in chosen]
