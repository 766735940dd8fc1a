"""Chapter 10: updates in an epoch, reliance on a mark, and the cases that check its exercises."""

from collections.abc import Sequence

from medr1_lib.course.exercise import Case


def updates(questions: int, batch: int, accumulation: int, processes: int) -> int:
    """Optimizer steps in one pass, where each process adds `accumulation` batches before a step."""
    return questions // (batch * accumulation * processes)


def mark_reliance(marked: Sequence[str], bare: Sequence[str], told: Sequence[str]) -> float:
    """What a mark adds to the share of answers that name the option it stands for.

    `marked` are answers with the mark in the image, `bare` those to the same questions without it,
    `told` the letters that the marks stand for. `analysis.shortcut.reliance` adds an interval.
    """
    shares = []
    for answers in (marked, bare):
        follow = [said == stood for said, stood in zip(answers, told, strict=True)]
        shares.append(sum(follow) / len(told))
    return shares[0] - shares[1]


CASES = {
    "medr1_lib.course.chapters.chapter_10:updates": (
        Case((800, 8, 1, 1), "800 questions, 8 at a time, are read in 100 batches"),
        Case((800, 8, 10, 1), "ten batches add up to one step, and ten times fewer are made"),
        Case((800, 8, 10, 2), "two processes read two batches at once, and step together"),
        Case((830, 8, 10, 1), "what does not fill a step is left out, and steps are whole"),
    ),
    "medr1_lib.analysis.stats:paired_interval": (
        Case((0, 0, 50), "half an item in each cell is two items more, and leaves a width"),
        Case((20, 20, 200), "as many won as lost, and the interval lies about zero"),
        Case((10, 30, 200), "won less lost, and the square of that gap lowers the variance"),
        Case((30, 10, 200), "who loses more than it wins has a difference below zero"),
        Case((0, 10, 10), "two accuracies differ by 1 at most"),
    ),
    "medr1_lib.course.chapters.chapter_10:mark_reliance": (
        Case((["A", "B"], ["C", "C"], ["A", "D"]), "one of two follows the mark, none without it"),
        Case((["A", "B"], ["A", "B"], ["A", "B"]), "who says the same without the mark ignores it"),
        Case((["C", "D"], ["A", "B"], ["A", "B"]), "who avoids the option has less than nothing"),
    ),
}
