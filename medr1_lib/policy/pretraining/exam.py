"""How far the base has come: accuracy per style, captions, pass@k, on scenes it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medr1_lib.data.phantom_vqa import values
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.styles import ReasoningStyle, read, read_strict
from medr1_lib.policy.pretraining.language import Pupil
from medr1_lib.policy.pretraining.lessons import QUESTION_TYPE_OF, Asked, ask, turn
from medr1_lib.policy.processor import ASK_CAPTION

GROUP = 8  # samples per question, as many as a GRPO group has
REPLY, CAPTION = 24, 32  # tokens
TOGETHER = 128  # questions answered at once


@dataclass(frozen=True)
class Marks:
    """What an exam found for one style; shares of the questions.

    Attributes:
        accuracy: Greedy, read tolerantly.
        form: Greedy, in exactly the form asked for.
        sampled: Accuracy of one sample at temperature 1.
        pass_at_8: At least one of eight samples right.
        flat: All eight samples right or all wrong: nothing to learn from for GRPO.
    """

    accuracy: float
    form: float
    sampled: float | None = None
    pass_at_8: float | None = None
    flat: float | None = None

    def __str__(self) -> str:
        known = {name: value for name, value in vars(self).items() if value is not None}
        return ", ".join(f"{name} {value:.1%}" for name, value in known.items())


def examine(
    pupil: Pupil,
    scenes: Sequence[Scene],
    features: Tensor,
    style: ReasoningStyle,
    seed: int,
    sample: bool = False,
) -> Marks:
    """Ask one question about every scene, the same questions for the same seed."""
    rng = np.random.default_rng(seed)
    asked = [ask(scene, rng) for scene in scenes]
    prompts = [turn(question.prompt(style)) for question in asked]
    greedy = replies(pupil, prompts, features, REPLY)
    right = _right(greedy, asked)
    form = np.array([read_strict(reply, style) is not None for reply in greedy])
    if not sample:
        return Marks(float(right.mean()), float(form.mean()))
    sampler = torch.Generator().manual_seed(seed)
    drawn = [_right(replies(pupil, prompts, features, REPLY, sampler), asked) for _ in range(GROUP)]
    hits = np.mean(drawn, 0)
    flat = np.isin(hits, (0, 1)).mean()
    once = float((hits > 0).mean())
    return Marks(float(right.mean()), float(form.mean()), float(hits.mean()), once, float(flat))


def oracle(pupil: Pupil, scenes: Sequence[Scene], features: Tensor, seed: int) -> float:
    """Share of questions whose right option is the one that the model's own caption names.

    How much the model knows, apart from whether it can say the letter. A caption that names none
    of the four options counts as wrong.
    """
    rng = np.random.default_rng(seed)
    captions = replies(pupil, [turn(ASK_CAPTION)] * len(scenes), features, CAPTION)
    asked = [ask(scene, rng) for scene in scenes]
    return float(np.mean([_named(text, q) for text, q in zip(captions, asked, strict=True)]))


def _named(caption: str, asked: Asked) -> bool:
    said = dict(part.split(": ", 1) for part in caption.split(", ") if ": " in part)
    value = said.get(asked.attribute)
    choices = values(asked.scene.modality, QUESTION_TYPE_OF[asked.attribute])
    return value in choices and value == getattr(asked.scene, asked.attribute)


def _right(given: Sequence[str], asked: Sequence[Asked]) -> NDArray[np.bool_]:
    pairs = zip(given, asked, strict=True)
    return np.array([read(reply, question.options) == question.letter for reply, question in pairs])


def replies(
    pupil: Pupil,
    prompts: Sequence[str],
    features: Tensor,
    limit: int,
    sampler: torch.Generator | None = None,
) -> list[str]:
    """What the model says to many prompts, in batches."""
    return [
        reply
        for start in range(0, len(prompts), TOGETHER)
        for reply in pupil.reply(
            prompts[start : start + TOGETHER],
            features[start : start + TOGETHER].float(),
            limit,
            sampler,
        )
    ]
