"""Small sums around training runs: what they cost, how a curve runs, what was gained where."""

import math
from collections.abc import Mapping, Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray


def budget(steps: int, rollouts: int, group: int, longest: int) -> dict[str, int]:
    """What a run asks and writes at most. Built in chapter 05.

    Args:
        steps: Optimizer steps, each with rollouts of its own.
        rollouts: Completions per step, over all prompts.
        group: Completions per prompt.
        longest: Most tokens of a completion.

    Example:
        >>> budget(150, 64, 8, 32)
        {'prompts': 1200, 'rollouts': 9600, 'tokens': 307200}
    """
    written = steps * rollouts
    return {"prompts": written // group, "rollouts": written, "tokens": written * longest}


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and of those before it, `width` in all or as many as there are.

    Looks back only, so that the curve of a run does not change when the run goes on. Built in
    chapter 05.

    Example:
        >>> running_mean([0, 2, 4, 6], 2)
        [0.0, 1.0, 3.0, 5.0]
    """
    windows = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


def mcnemar_p(lost: int, won: int) -> float:
    """Exact two-sided p-value of McNemar's test. Built in chapter 05.

    Items that both models answer alike say nothing about which is better. If neither were, each of
    the others would be lost or won like a coin is tossed.

    Source: McNemar 1947; the exact form is the sign test.

    Args:
        lost: Items right before and wrong after.
        won: Items wrong before and right after.

    Example:
        >>> mcnemar_p(0, 9)
        0.00390625
    """
    tossed = lost + won
    tail = sum(math.comb(tossed, heads) for heads in range(min(lost, won) + 1))
    return min(1.0, 2 * tail / 2**tossed)


def gap_closed(before: float, after: float, oracle: float) -> float:
    """Share of the way from one accuracy to the most that can be hoped for. Built in chapter 05.

    Example:
        >>> round(gap_closed(0.25, 0.65, 0.75), 2)
        0.8
    """
    return (after - before) / (oracle - before)


def updates(questions: int, batch: int, accumulation: int, processes: int) -> int:
    """How often an optimizer steps in one pass over the questions. Built in chapter 08.

    Args:
        questions: Of the training split.
        batch: Questions that one process reads at a time.
        accumulation: Batches whose gradients are added before a step.
        processes: That work side by side.

    Example:
        >>> updates(1000, 2, 16, 2)
        15
    """
    return questions // (batch * accumulation * processes)


def mark_reliance(marked: Sequence[str], bare: Sequence[str], told: Sequence[str]) -> float:
    """What a mark adds to the share of answers that name the option it stands for.

    `analysis.shortcut.reliance` has it with an interval. Built in chapter 08.

    Args:
        marked: Answers with the mark in the picture.
        bare: Answers to the same items without it.
        told: The letter that the mark of each item stands for.

    Example:
        >>> mark_reliance(["A", "B"], ["C", "B"], ["A", "B"])
        0.5
    """
    shares = []
    for answers in (marked, bare):
        follow = [said == stood for said, stood in zip(answers, told, strict=True)]
        shares.append(sum(follow) / len(told))
    return shares[0] - shares[1]


def transfer_index(gains: Mapping[tuple[str, str], float]) -> float | None:
    """Mean gain elsewhere as a share of the mean gain at home. Built in chapter 10.

    `transfer.index` has it with an interval, and refuses one that is not clear of zero.

    Args:
        gains: Of each cell, by what was trained on and what was tested.

    Returns:
        Nothing if the mean gain at home is not above zero: there is nothing to carry over.

    Example:
        >>> transfer_index({("CT", "CT"): 0.4, ("CT", "MRI"): 0.1})
        0.25
    """
    home = [gain for (train, test), gain in gains.items() if train == test]
    away = [gain for (train, test), gain in gains.items() if train != test]
    if sum(home) <= 0:
        return None
    return (sum(away) / len(away)) / (sum(home) / len(home))


def hallucination_rate(
    claims: Sequence[Sequence[tuple[str, str]]], scenes: Sequence[Mapping[str, str]]
) -> float | None:
    """Share of all claims, attribute and value, that are false of the scene. Built in chapter 09.

    Args:
        claims: Those of each answer.
        scenes: The true value of each attribute, one scene for each answer.

    Returns:
        Nothing if nothing is claimed.

    Example:
        >>> hallucination_rate([[("modality", "CT"), ("grade", "mild")]], [{"modality": "CT",
        ...     "grade": "severe"}])
        0.5
    """
    pairs = zip(claims, scenes, strict=True)
    false = [s[name] != value for made, s in pairs for name, value in made]
    return sum(false) / len(false) if false else None


def pass_at(k: int, hits: NDArray[np.int64], samples: int) -> float:
    """Chance that one of `k` samples is right, from more samples. Built in chapter 02.

    Source: Chen et al. 2021 (arXiv 2107.03374), equation 1.

    Example:
        >>> round(pass_at(1, np.array([4, 0]), 16), 3)
        0.125
    """
    return float(np.mean([1 - comb(samples - int(c), k) / comb(samples, k) for c in hits]))
