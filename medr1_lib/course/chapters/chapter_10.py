"""Chapter 10: updates in an epoch, how two methods differ, and the cases that check both."""

from collections.abc import Mapping, Sequence

import numpy as np

from medr1_lib.analysis.gains import gain_parts
from medr1_lib.course.exercise import Case


def updates(questions: int, batch: int, accumulation: int, processes: int) -> int:
    """Optimizer steps in one pass, where each process adds `accumulation` batches before a step."""
    return questions // (batch * accumulation * processes)


def method_gap(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    seeds: Sequence[Sequence[int]],
    questions: Sequence[Sequence[int]],
) -> dict[str, tuple[float, float, float]]:
    """Each of `gain_parts` of second minus first, with an interval over seeds and questions.

    Credit of a reader is (seeds, questions). `stats.mean_table` draws images and moves seeds apart.
    """
    found = {}
    for part, gap in gain_parts(first, second).items():
        drawn = zip(seeds, questions, strict=True)
        means = [gap[np.ix_(rows, columns)].mean() for rows, columns in drawn]
        low, high = np.percentile(means, (2.5, 97.5))
        found[part] = (float(gap.mean()), float(low), float(high))
    return found


READ = {
    "strict": np.array([[0, 1, 0], [0, 1, 1]]),
    "forced": np.array([[1, 1, 0], [0, 1, 1]]),
    "corrected": np.array([[1, 1, 0], [0, 0, 1]]),
}
MORE = {name: np.array([[1, 1, 1], [0, 1, 0]]) for name in READ}
ALL, ONE = [[0, 1]], [[0, 1, 2]]
DRAWN = [[0, 1], [0, 0], [1, 1]], [[0, 1, 2], [0, 0, 1], [1, 2, 2]]
CASES = {
    "updates": (
        Case((800, 8, 1, 1), "800 questions, 8 at a time, are read in 100 batches"),
        Case((800, 8, 10, 1), "ten batches add up to one step, and ten times fewer are made"),
        Case((800, 8, 10, 2), "two processes read two batches at once, and step together"),
        Case((830, 8, 10, 1), "what does not fill a step is left out, and steps are whole"),
    ),
    "paired_interval": (
        Case((0, 0, 50), "half an item in each cell is two items more, and leaves a width"),
        Case((20, 20, 200), "as many won as lost, and the interval lies about zero"),
        Case((10, 30, 200), "won minus lost, and the square of that gap lowers the variance"),
        Case((30, 10, 200), "who loses more than it wins has a difference below zero"),
        Case((0, 10, 10), "two accuracies differ by 1 at most"),
    ),
    "method_gap": (
        Case((READ, MORE, ALL, ONE), "second minus first; drawn once, all three numbers agree"),
        Case((READ, MORE, [[0, 0]] * 9, ONE * 9), "seeds are redrawn as well as questions"),
        Case((READ, MORE, ALL * 9, [[2, 2, 2]] * 9), "questions are redrawn as well as seeds"),
        Case((READ, MORE, *DRAWN), "the ends are percentiles 2.5 and 97.5 of the redrawn means"),
    ),
}
