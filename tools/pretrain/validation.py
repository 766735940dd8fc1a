"""How far the base has come, on scenes that it never saw: form, letters, knowledge, captions."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medr1_lib.analysis.gains import letter_constants
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.question import LETTERS
from medr1_lib.data.rationale import claims
from medr1_lib.data.styles import STYLES, read, read_strict
from tools.pretrain.examples import Asked, ask, turn
from tools.pretrain.model import TinyVLM
from tools.pretrain.pictures import Features
from tools.pretrain.tiny import ASK_CAPTION

REPLY, CAPTION = 24, 32  # tokens
TOGETHER = 128  # questions answered at once
FOLDS = 10


@dataclass(frozen=True)
class Found:
    """What a validation found for one style, answering greedily; shares of the questions.

    Attributes:
        accuracy: Right, read tolerantly.
        form: In exactly the form asked for.
        letters: How often each letter was given.
        forced: Right when the form is given and the likeliest of the four letters counts.
        corrected: The same without the letter habit: one constant per letter, fitted without
            labels on other questions so that the four letters come equally often.
        right: Of every question, whether the forced letter is right.
    """

    accuracy: float
    form: float
    letters: dict[str, float]
    forced: float
    corrected: float
    right: NDArray[np.bool_]

    def __str__(self) -> str:
        letters = "/".join(f"{100 * share:.0f}" for share in self.letters.values())
        shares = f"accuracy {self.accuracy:.1%}, form {self.form:.1%}, letters {letters}"
        return f"{shares}, forced {self.forced:.1%}, corrected {self.corrected:.1%}"

    def summary(self) -> dict[str, Any]:
        """The shares, rounded, as a report holds them."""
        kept = {name: value for name, value in asdict(self).items() if name != "right"}
        letters = {letter: round(share, 3) for letter, share in self.letters.items()}
        shares = {n: round(float(v), 3) for n, v in kept.items() if n != "letters"}
        return shares | {"letters": letters}


def asked_about(scenes: Sequence[Scene], seed: int) -> list[Asked]:
    """One question about every scene, the same questions for the same seed."""
    rng = np.random.default_rng(seed)
    return [ask(scene, rng) for scene in scenes]


def validate(vlm: TinyVLM, asked: Sequence[Asked], shown: Tensor, style: str) -> Found:
    """Ask every question once, read what is said, and read the odds of the four letters."""
    prompts = [turn(question.prompt(style)) for question in asked]
    given = replies(vlm, prompts, shown, REPLY)
    letters = [read(reply, q.options) for reply, q in zip(given, asked, strict=True)]
    counted = Counter(letter for letter in letters if letter)
    truth = np.array([LETTERS.index(q.letter) for q in asked])
    odds = forced_odds(vlm, prompts, given, shown, style)
    right = odds.argmax(1) == truth
    return Found(
        accuracy=float(np.mean([said == q.letter for said, q in zip(letters, asked, strict=True)])),
        form=float(np.mean([read_strict(reply, style) is not None for reply in given])),
        letters={letter: counted[letter] / len(asked) for letter in LETTERS},
        forced=float(right.mean()),
        corrected=float((corrected(odds) == truth).mean()),
        right=right,
    )


def validate_all(vlm: TinyVLM, asked: Sequence[Asked], shown: Features) -> dict[str, Found]:
    """What is found for each style."""
    return {style: validate(vlm, asked, shown.values, style) for style in STYLES}


def forced_odds(
    vlm: TinyVLM,
    prompts: Sequence[str],
    given: Sequence[str],
    shown: Tensor,
    style: str,
) -> NDArray[np.float32]:
    """Log-probabilities of the letters where the answer is due, after the model's own rationale."""
    if style == "think_before":
        thoughts = [reply.partition("</think>")[0] for reply in given]
        opened = [t if t.startswith("<think>") else f"<think>{t}" for t in thoughts]
        texts = [f"{p}{t}</think><answer>" for p, t in zip(prompts, opened, strict=True)]
    else:
        texts = [f"{prompt}<answer>" for prompt in prompts]
    parts = [slice(start, start + TOGETHER) for start in range(0, len(texts), TOGETHER)]
    return torch.cat([vlm.letter_odds(texts[p], shown[p].float()) for p in parts]).numpy()


def corrected(odds: NDArray[np.float32]) -> NDArray[np.int64]:
    """The letters without the habit: the constants of a fold come from the nine others."""
    probs, fold = np.exp(odds.astype(float)), np.arange(len(odds)) % FOLDS
    answers = np.empty(len(odds), np.int64)
    for number in range(FOLDS):
        factors = letter_constants(probs[fold != number])
        answers[fold == number] = (probs[fold == number] * factors).argmax(1)
    return answers


def oracle(vlm: TinyVLM, asked: Sequence[Asked], shown: Tensor) -> NDArray[np.bool_]:
    """Of which questions the right option is the one that the model's own caption names.

    How much the model can say of a picture, apart from answering. A caption that names none of the
    four options counts as wrong.
    """
    captions = replies(vlm, [turn(ASK_CAPTION)] * len(asked), shown, CAPTION)
    named = (claims(text).get(q.attribute) for text, q in zip(captions, asked, strict=True))
    return np.array([text == q.named()[1] for text, q in zip(named, asked, strict=True)])


def replies(
    vlm: TinyVLM,
    prompts: Sequence[str],
    shown: Tensor,
    limit: int,
    sampler: torch.Generator | None = None,
) -> list[str]:
    """What the model says to many prompts, in batches."""
    parts = [slice(start, start + TOGETHER) for start in range(0, len(prompts), TOGETHER)]
    given = (vlm.reply(prompts[p], shown[p].float(), limit, sampler) for p in parts)
    return list(chain.from_iterable(given))
