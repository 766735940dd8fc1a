"""Chapter 06: how far a step goes, what a test and a gain say, and the cases that check it."""

import math

from medr1_lib.course.exercise import Case


def adam_step(
    weight: float, gradient: float, mean: float, square: float, step: int, rate: float
) -> tuple[float, float, float]:
    """One weight after step 1, 2, ... of Adam, and both moving averages.

    Source: Kingma and Ba 2015, arXiv 1412.6980, with torch's defaults.
    """
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)) ** 0.5 + 1e-8
    return weight - rate * mean / (1 - 0.9**step) / size, mean, square


def mcnemar_p(lost: int, won: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): a sign test on what changed."""
    tossed = lost + won
    tail = sum(math.comb(tossed, heads) for heads in range(min(lost, won) + 1))
    return min(1.0, 2 * tail / 2**tossed)


BASE = {"strict": 0.3, "tolerant": 0.35, "forced": 0.4, "corrected": 0.45}
GOOD = {"strict": 0.5, "tolerant": 0.5, "forced": 0.55, "corrected": 0.55}
BETTER = {"strict": 0.6, "tolerant": 0.6, "forced": 0.6, "corrected": 0.55}
CASES = {
    "adam_step": (
        Case((0.5, 2.0, 0.0, 0.0, 1, 0.1), "a first step goes by the rate, against the sign"),
        Case((0.5, 1e-3, 0.0, 0.0, 1, 0.1), "however small the gradient is"),
        Case((0.5, -1.0, 0.5, 0.2, 3, 0.1), "averages are divided by 1 - 0.9**step and so on"),
    ),
    "mcnemar_p": (
        Case((0, 9), "nine heads in nine tosses have 1 / 2**9, and nine tails are as extreme"),
        Case((2, 8), "what is more extreme than 2 of 10 belongs to the tail as well"),
        Case((8, 2), "the smaller count decides, whichever of both it is"),
        Case((5, 5), "twice the tail can exceed 1, and no probability does"),
    ),
    "gain_parts": (
        Case((BASE, GOOD), "knowledge: corrected, habit: forced - corrected, form: the rest"),
        Case((BASE, BETTER), "a part is a change of one reader minus a change of another"),
        Case((BETTER, BASE), "after minus before, which may be negative"),
    ),
}
