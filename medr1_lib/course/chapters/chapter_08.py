"""The exercises of chapter 08."""

from medr1_lib.course.exercise import Case, Exercise

updates = Exercise(
    "medr1_lib.course.chapters.gains:updates",
    (
        Case((800, 8, 1, 1), "800 questions, 8 at a time, are read in 100 batches"),
        Case((800, 8, 10, 1), "ten batches add up to one step, and ten times fewer are made"),
        Case((800, 8, 10, 2), "two processes read two batches at once, and step together"),
        Case((830, 8, 10, 1), "what does not fill a step is left out, and steps are whole"),
    ),
)

paired_interval = Exercise(
    "medr1_lib.analysis.scores:paired_interval",
    (
        Case((0, 0, 50), "half an item in each cell is two items more, and leaves a width"),
        Case((20, 20, 200), "as many won as lost, and the interval lies about zero"),
        Case((10, 30, 200), "won less lost, and the square of that gap lowers the variance"),
        Case((30, 10, 200), "who loses more than it wins has a difference below zero"),
        Case((0, 10, 10), "two accuracies differ by 1 at most"),
    ),
)

mark_reliance = Exercise(
    "medr1_lib.course.chapters.gains:mark_reliance",
    (
        Case(
            (["A", "B"], ["C", "C"], ["A", "D"]), "one of two follows the mark, none says so bare"
        ),
        Case((["A", "B"], ["A", "B"], ["A", "B"]), "who says the same without the mark ignores it"),
        Case((["C", "D"], ["A", "B"], ["A", "B"]), "who avoids the option has less than nothing"),
    ),
)
