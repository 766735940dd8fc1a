"""What the base can do: everything that its model card reports, on scenes never shown before."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medr1_lib.analysis.stats import wilson
from medr1_lib.course.chapters.chapter_02 import pass_at
from medr1_lib.data.styles import STYLES, read_strict
from tools.pretrain.examples import QUESTION_TYPE_OF, Asked, turn
from tools.pretrain.model import TinyVLM
from tools.pretrain.pictures import Features
from tools.pretrain.validation import REPLY, asked_about, oracle, replies, validate

SAMPLES, SAMPLED = 16, 320  # samples per question, and of how many questions
GROUP = 8  # samples per question that a GRPO group has
TRIES = (1, 4, 8, 16)


def report(
    vlm: TinyVLM, unseen: dict[str, Features], blank: Tensor, seed: int
) -> dict[str, dict[str, Any]]:
    """One question about every scene, domain by domain.

    Args:
        vlm: The base model.
        unseen: Scenes of each domain that took no part in making it.
        blank: Features of an image that shows nothing, shape (1, 16, width).
        seed: Of the questions, the samples and the shuffling.
    """
    return {kind: _domain(vlm, shown, blank, seed) for kind, shown in unseen.items()}


def _domain(vlm: TinyVLM, shown: Features, blank: Tensor, seed: int) -> dict[str, Any]:
    asked = asked_about(shown.scenes, seed)
    order = torch.randperm(len(asked), generator=torch.Generator().manual_seed(seed))
    found = {"n": len(asked), "caption_oracle": _share(oracle(vlm, asked, shown.values))}
    controls = {"blank": blank.expand_as(shown.values), "shuffled": shown.values[order]}
    styles, every = {}, max(1, len(asked) // SAMPLED)
    for style in STYLES:
        told = validate(vlm, asked, shown.values, style)
        without = {
            control: validate(vlm, asked, values, style).accuracy
            for control, values in controls.items()
        }
        styles[style] = {
            **told.summary(),
            **{control: round(share, 3) for control, share in without.items()},
            **_sampled(vlm, asked[::every], shown.values[::every], style, seed),
            "by_modality": _cells(told.right, asked, lambda q: q.scene.modality),
            "by_question_type": _cells(told.right, asked, lambda q: QUESTION_TYPE_OF[q.attribute]),
        }
    return found | {"styles": styles}


def _sampled(
    vlm: TinyVLM, asked: Sequence[Asked], shown: Tensor, style: str, seed: int
) -> dict[str, Any]:
    """What samples at temperature 1 would earn, on some of the questions."""
    prompts = [turn(question.prompt(style)) for question in asked]
    sampler = torch.Generator().manual_seed(seed)
    said = [replies(vlm, prompts, shown, REPLY, sampler) for _ in range(SAMPLES)]
    strict = np.array([[read_strict(reply, style) or "" for reply in row] for row in said])
    hits = strict == np.array([question.letter for question in asked])
    rewards = (hits.astype(int) + (strict != "")).reshape(-1, GROUP, len(asked))
    return {
        "pass_at": {str(k): round(pass_at(k, hits.sum(0), SAMPLES), 3) for k in TRIES},
        "no_spread": round(float((rewards.min(1) == rewards.max(1)).mean()), 3),
    }


def _cells(
    right: NDArray[np.bool_], asked: Sequence[Asked], of: Callable[[Asked], str]
) -> dict[str, Any]:
    names = np.array([of(question) for question in asked])
    return {name: _share(right[names == name]) for name in dict.fromkeys(names.tolist())}


def _share(right: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = wilson(int(right.sum()), len(right))
    shares = {"share": right.mean(), "low": low, "high": high}
    return {"n": len(right)} | {name: round(float(value), 3) for name, value in shares.items()}
