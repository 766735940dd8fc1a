"""Chapter 06: what a run costs and gains, and the cases that check its exercises."""

import math
from collections.abc import Sequence

from medr1_lib.course.exercise import Case


def budget(steps: int, rollouts: int, group: int, longest: int) -> dict[str, int]:
    """How many prompts, rollouts and tokens a run samples at most.

    Every step has `rollouts` completions of its own, `group` of each prompt.

    Example:
        >>> budget(150, 64, 8, 32)
        {'prompts': 1200, 'rollouts': 9600, 'tokens': 307200}
    """
    written = steps * rollouts
    return {"prompts": written // group, "rollouts": written, "tokens": written * longest}


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """The mean of each value and of those before it, `width` in all or as many as there are.

    It looks back only, so that the curve of a run does not change when the run goes on.

    Example:
        >>> running_mean([0, 2, 4, 6], 2)
        [0.0, 1.0, 3.0, 5.0]
    """
    windows = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return [sum(window) / len(window) for window in windows]


def mcnemar_p(lost: int, won: int) -> float:
    """Exact two-sided p-value of McNemar's test.

    Questions that both models answer alike do not tell which is better. If neither is, each of the
    others is lost (right before, wrong after) or won like the toss of a coin.

    Source: McNemar 1947; the exact form is the sign test.

    Example:
        >>> mcnemar_p(0, 9)
        0.00390625
    """
    tossed = lost + won
    tail = sum(math.comb(tossed, heads) for heads in range(min(lost, won) + 1))
    return min(1.0, 2 * tail / 2**tossed)


def gap_closed(before: float, after: float, oracle: float) -> float:
    """Share of the gap between an accuracy and that of an oracle that training closed.

    Example:
        >>> round(gap_closed(0.25, 0.65, 0.75), 2)
        0.8
    """
    return (after - before) / (oracle - before)


CASES = {
    "medr1_lib.course.chapters.chapter_06:budget": (
        Case((1, 2, 2, 10), "`rollouts` counts all completions, each may have `longest` tokens"),
        Case((1, 16, 8, 10), "16 completions, 8 to a prompt, are those of 2 prompts"),
        Case((3, 8, 4, 10), "every step asks new prompts and samples rollouts of its own"),
    ),
    "medr1_lib.course.chapters.chapter_06:running_mean": (
        Case(([0.0, 4.0], 2), "one number for each value, and a window looks back only"),
        Case(([4.0, 0.0], 2), "where there are fewer values than `width`, divide by how many"),
        Case(([6.0, 0.0, 0.0], 2), "a window has `width` values and no more"),
        Case(([1.0, 2.0, 3.0, 4.0, 8.0], 3), "the last window has the last `width` values"),
    ),
    "medr1_lib.course.chapters.chapter_06:mcnemar_p": (
        Case((0, 9), "nine heads in nine tosses have 1 / 2**9, and nine tails are as extreme"),
        Case((2, 8), "what is more extreme than 2 of 10 belongs to the tail as well"),
        Case((8, 2), "the smaller count decides, whichever of both it is"),
        Case((5, 5), "twice the tail can exceed 1, and no probability does"),
    ),
    "medr1_lib.course.chapters.chapter_06:gap_closed": (
        Case((0.5, 1.0, 1.0), "who arrives at the oracle has closed all of the gap"),
        Case((0.25, 0.65, 0.75), "the way made, 0.4, is compared with the whole way, 0.5"),
        Case((0.5, 0.4, 0.75), "who became worse has closed less than nothing"),
        Case((0.5, 1.0, 0.75), "an oracle can be beaten, then it is more than 1"),
    ),
}
