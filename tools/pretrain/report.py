"""Is the base good for reinforcement? What its model card reports, on scenes never shown before."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medr1_lib.analysis.stats import wilson
from medr1_lib.course.chapters.chapter_02 import pass_at
from medr1_lib.data.question import LETTERS
from medr1_lib.data.styles import STYLES, read, read_strict
from tools.pretrain.exam import GROUP, REPLY, asked_about, oracle, replies
from tools.pretrain.language import Pupil
from tools.pretrain.lessons import QUESTION_TYPE_OF, Asked, turn
from tools.pretrain.teach import Album

SAMPLES = 2 * GROUP
TRIES = (1, 4, 8, 16)


def report(pupil: Pupil, unseen: Album, seed: int) -> dict[str, Any]:
    """Everything that the model card says of accuracy: one question about every scene.

    Args:
        pupil: The base model.
        unseen: Scenes that neither taught it nor decided when its teaching ended.
        seed: Of the questions and of the samples.
    """
    asked = asked_about(unseen.scenes, seed)
    return {
        "n": len(asked),
        "caption_oracle": _share(oracle(pupil, asked, unseen.features)),
        "styles": {style: _style(pupil, asked, unseen.features, style, seed) for style in STYLES},
    }


def _style(
    pupil: Pupil, asked: list[Asked], features: Tensor, style: str, seed: int
) -> dict[str, Any]:
    prompts = [turn(question.prompt(style)) for question in asked]
    greedy = replies(pupil, prompts, features, REPLY)
    letters = [read(reply, q.options) for reply, q in zip(greedy, asked, strict=True)]
    right = np.array([given == q.letter for given, q in zip(letters, asked, strict=True)])
    sampler = torch.Generator().manual_seed(seed)
    drawn = [replies(pupil, prompts, features, REPLY, sampler) for _ in range(SAMPLES)]
    strict = np.array([[read_strict(reply, style) or "" for reply in row] for row in drawn])
    hits = strict == np.array([question.letter for question in asked])
    form = np.array([read_strict(reply, style) is not None for reply in greedy])
    given = Counter(letter for letter in letters if letter)
    return {
        "accuracy": _share(right),
        "form": _share(form),
        "pass_at": {k: round(pass_at(k, hits.sum(0), SAMPLES), 3) for k in TRIES},
        "no_spread": round(_no_spread(hits, strict != ""), 3),
        "letter_entropy_bits": round(_entropy(pupil, prompts, greedy, features), 2),
        "letters": {letter: round(given[letter] / len(asked), 3) for letter in LETTERS},
        "wrong_but_named": _named(greedy, asked, right),
        "by_modality": _cells(right, asked, lambda q: q.scene.modality),
        "by_question_type": _cells(right, asked, lambda q: QUESTION_TYPE_OF[q.attribute]),
    }


def _no_spread(hits: NDArray[np.bool_], formed: NDArray[np.bool_]) -> float:
    """Share of groups whose members all earn the same: format and accuracy, one point each."""
    rewards = (hits.astype(int) + formed).reshape(-1, GROUP, hits.shape[1])
    return float((rewards.min(1) == rewards.max(1)).mean())


@torch.no_grad()
def _entropy(
    pupil: Pupil, prompts: Sequence[str], greedy: Sequence[str], features: Tensor
) -> float:
    """Mean entropy of the letter where the greedy reply says it; replies without one left out."""
    found = []
    for prompt, reply, seen in zip(prompts, greedy, features, strict=True):
        before, tag, _ = reply.rpartition("<answer>")
        if tag:
            odds = pupil.odds(prompt + before + tag, seen.float()[None], LETTERS)
            found.append(float(-(odds * odds.clamp_min(1e-9).log2()).sum()))
    return float(np.mean(found)) if found else float("nan")


def _named(
    greedy: Sequence[str], asked: list[Asked], right: NDArray[np.bool_]
) -> dict[str, Any] | None:
    """How often a wrong letter stands beside a rationale that names the right option."""
    wrong = [
        f"{q.attribute}: {q.named()[1]}" in reply
        for reply, q, good in zip(greedy, asked, right, strict=True)
        if not good and "<think>" in reply
    ]
    return _share(np.array(wrong)) if wrong else None


def _cells(
    right: NDArray[np.bool_], asked: list[Asked], of: Callable[[Asked], str]
) -> dict[str, Any]:
    names = np.array([of(question) for question in asked])
    return {name: _share(right[names == name]) for name in dict.fromkeys(names.tolist())}


def _share(right: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = wilson(int(right.sum()), len(right))
    shares = {"share": right.mean(), "low": low, "high": high}
    return {"n": len(right)} | {name: round(float(value), 3) for name, value in shares.items()}
