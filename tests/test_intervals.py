"""Intervals against the ones of scipy."""

import pytest
from scipy.stats import binomtest

from medr1_lib.analysis.intervals import questions_needed, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 20), (8, 20), (250, 1000), (17, 18)])
def test_wilson_is_scipys(right, n):
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


@pytest.mark.parametrize("half_width", [0.01, 0.03, 0.05, 0.1])
def test_questions_needed_are_just_enough(half_width):
    n = questions_needed(half_width)

    def half(n):
        return 1.959964 * (0.25 / n) ** 0.5

    assert half(n) <= half_width < half(n - 1)
