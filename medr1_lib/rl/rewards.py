"""Rewards by rule: those that Med-R1 published, and strict ones that close their holes.

A completion earns a point for its form and a point for its answer. Chapter 03 builds all of it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial, update_wrapper

from medr1_lib.data.styles import read_strict
from medr1_lib.errors import InputError

READ = 16_384  # characters of a completion: on more, the published patterns take seconds

Completion = str | Sequence[Mapping[str, str]]  # plain text, or the message that TRL hands over
RewardFunction = Callable[..., list[float]]
FormatScore = Callable[[str, str], float]
AccuracyScore = Callable[[str, str, str], float]

# Med-R1's `open_r1/grpo_vqa.py` and `grpo_vqa_nothink.py`. It released none for thinking after the
# answer: that one is ours, the blocks of the first in the other order.
PUBLISHED = {
    "think_before": re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL),
    "no_think": re.compile(r"\s*<answer>.*?</answer>", re.DOTALL),
    "think_after": re.compile(r"<answer>.*?</answer>\s*<think>.*?</think>", re.DOTALL),
}


def format_published(completion: str, style: str) -> float:
    """1 if the released pattern spans the whole completion, however many blocks that takes.

    Source: Med-R1, arXiv 2503.13939, released code.
    """
    return float(PUBLISHED[style].fullmatch(completion) is not None)


def accuracy_published(completion: str, answer: str, style: str) -> float:
    """1 if the first answer block on one line, or all of a completion without one, is the letter.

    The released code asks `math_verify` first, which never agrees on a letter and is left out.
    """
    block = re.search(r"<answer>(.*?)</answer>", completion)
    said = block[1] if block else completion
    return float(said.strip() == answer)


def format_strict(completion: str, style: str) -> float:
    """1 if the completion has exactly the form asked for, as `styles.read_strict` has it."""
    return float(read_strict(completion, style) is not None)


def accuracy_strict(completion: str, answer: str, style: str) -> float:
    """1 if the completion has the form asked for and the letter in it is right."""
    return float(read_strict(completion, style) == answer)


_SCORES: dict[str, tuple[FormatScore, AccuracyScore]] = {
    "strict": (format_strict, accuracy_strict),
    "published": (format_published, accuracy_published),
}
RULES = tuple(_SCORES)
# Rewards that know no answer, to compare with. The accuracy is still logged, and weighs nothing.
NULL_WEIGHTS = {"format": [1.0, 0.0], "random": [1.0, 0.0, 1.0]}


def points(completion: str, answer: str, style: str, rules: str = "strict") -> tuple[float, float]:
    """What one completion earns for its form and for its answer."""
    form, accuracy = _SCORES[rules]
    said = text(completion)
    return form(said, style), accuracy(said, answer, style)


def rewards(style: str, rules: str = "strict") -> list[RewardFunction]:
    """The format and the accuracy reward of a style, for `reward_funcs` of TRL's `GRPOTrainer`.

    The rules `format` and `random` of `NULL_WEIGHTS` are the strict ones, with a random reward
    beside them in the second; `Recipe` sets the weights.
    """
    if rules == "published" and style not in PUBLISHED:
        raise InputError(f"style {style}", "has no published rules", "use rules: strict")
    form, accuracy = _SCORES["strict" if rules in NULL_WEIGHTS else rules]
    found: list[RewardFunction] = [  # TRL logs each under the name of its function
        update_wrapper(partial(format_reward, form, style), format_reward),
        update_wrapper(partial(accuracy_reward, accuracy, style), accuracy_reward),
    ]
    return [*found, random_reward] if rules == "random" else found


# TRL passes every column of the data set by its name. What stands before the slash cannot be
# overwritten by one, whatever it is called.
def format_reward(
    score: FormatScore, style: str, /, completions: Sequence[Completion], **columns: object
) -> list[float]:
    """The format points of a batch, one for each completion."""
    return [score(text(completion), style) for completion in completions]


def accuracy_reward(
    score: AccuracyScore,
    style: str,
    /,
    completions: Sequence[Completion],
    answer: Sequence[str],
    **columns: object,
) -> list[float]:
    """The accuracy points of a batch; `answer` is a column with the right letters."""
    pairs = zip(completions, answer, strict=True)
    return [score(text(completion), letter, style) for completion, letter in pairs]


def random_reward(
    completions: Sequence[Completion], image_id: Sequence[str], **columns: object
) -> list[float]:
    """A coin for each completion of a batch, which knows neither form nor answer.

    A hash of image, place and completion throws it, so that a resumed run has the same coins.
    """
    thrown = zip(image_id, map(text, completions), strict=True)
    names = (f"{image} {place} {said}" for place, (image, said) in enumerate(thrown))
    return [float(hashlib.sha256(name.encode()).digest()[0] % 2) for name in names]


def text(completion: Completion) -> str:
    """The beginning of what was said; to a conversation, TRL hands over a list of one message."""
    said = completion if isinstance(completion, str) else completion[0]["content"]
    return said[:READ]
