"""Chapter 00: coverage of an interval, and the cases that check its exercises."""

import math
from collections.abc import Callable

from medr1_lib.analysis.stats import wilson
from medr1_lib.course.exercise import Case


def coverage(interval: Callable[[int, int], tuple[float, float]], truth: float, n: int) -> float:
    """Probability that an interval, a function of right answers and `n`, holds the truth."""
    total = 0.0
    for right in range(n + 1):
        low, high = interval(right, n)
        if low <= truth <= high:
            total += math.comb(n, right) * truth**right * (1 - truth) ** (n - right)
    return total


def at_least(right: int, n: int) -> tuple[float, float]:
    """An interval that only looks up, for the cases."""
    return right / n, 1.0


CASES = {
    "wilson": (
        Case((0, 20), "no right answer still leaves room above zero, that is what z²/4n² is for"),
        Case((10, 20), "half right is centred on one half, and n squared stands under the root"),
        Case((100, 400), "away from one half, the centre leans towards it by z²/2n"),
        Case((1, 1), "one question tells little"),
    ),
    "questions_needed": (
        Case((0.05,), "solve z * sqrt(p(1 - p)/n) = half_width for n with p = 1/2, and round up"),
        Case((0.1,), "a fraction of a question is a whole one more"),
    ),
    "coverage": (
        Case((at_least, 0.5, 1), "with 0 right the interval is [0, 1], with 1 right [1, 1]"),
        Case((at_least, 1.0, 2), "the ends belong to it, and all `n` right can happen too"),
        Case((at_least, 0.5, 4), "each number of right answers has its own probability"),
        Case((wilson, 0.25, 20), "the interval is the function passed in, both its ends count"),
    ),
}
