"""How far the base has come: accuracy per style, and captions, on scenes it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medr1_lib.data.phantoms import Scene
from medr1_lib.data.rationale import claims
from medr1_lib.data.styles import read, read_strict
from medr1_lib.model.tiny import ASK_CAPTION
from tools.pretrain.language import Pupil
from tools.pretrain.lessons import Asked, ask, turn

GROUP = 8  # samples per question, as many as a GRPO group has
REPLY, CAPTION = 24, 32  # tokens
TOGETHER = 128  # questions answered at once


@dataclass(frozen=True)
class Marks:
    """What an exam found for one style, answering greedily; shares of the questions.

    Attributes:
        accuracy: Right, read tolerantly.
        form: In exactly the form asked for.
    """

    accuracy: float
    form: float

    def __str__(self) -> str:
        return f"accuracy {self.accuracy:.1%}, form {self.form:.1%}"


def asked_about(scenes: Sequence[Scene], seed: int) -> list[Asked]:
    """One question about every scene, the same questions for the same seed."""
    rng = np.random.default_rng(seed)
    return [ask(scene, rng) for scene in scenes]


def examine(pupil: Pupil, asked: Sequence[Asked], features: Tensor, style: str) -> Marks:
    """Ask every question once and let the model answer greedily."""
    prompts = [turn(question.prompt(style)) for question in asked]
    given = replies(pupil, prompts, features, REPLY)
    right = [read(reply, q.options) == q.letter for reply, q in zip(given, asked, strict=True)]
    form = [read_strict(reply, style) is not None for reply in given]
    return Marks(float(np.mean(right)), float(np.mean(form)))


def oracle(pupil: Pupil, asked: Sequence[Asked], features: Tensor) -> NDArray[np.bool_]:
    """Of which questions the right option is the one that the model's own caption names.

    How much the model knows, apart from whether it can say the letter. A caption that names none
    of the four options counts as wrong.
    """
    captions = replies(pupil, [turn(ASK_CAPTION)] * len(asked), features, CAPTION)
    return np.array([_named(text, q) for text, q in zip(captions, asked, strict=True)])


def _named(caption: str, asked: Asked) -> bool:
    return claims(caption).get(asked.attribute) == asked.named()[1]


def replies(
    pupil: Pupil,
    prompts: Sequence[str],
    features: Tensor,
    limit: int,
    sampler: torch.Generator | None = None,
) -> list[str]:
    """What the model says to many prompts, in batches."""
    parts = [slice(start, start + TOGETHER) for start in range(0, len(prompts), TOGETHER)]
    given = (pupil.reply(prompts[p], features[p].float(), limit, sampler) for p in parts)
    return list(chain.from_iterable(given))
