"""The exercises of chapter 10."""

from medr1_lib.course.exercise import Case, Exercise

SMALL = {("CT", "CT"): 0.4, ("CT", "OCT"): 0.1, ("OCT", "CT"): 0.3, ("OCT", "OCT"): 0.4}
WIDE = {("CT", "CT"): 0.2, ("CT", "MRI"): 0.1, ("CT", "OCT"): 0.2}

transfer_index = Exercise(
    "medr1_lib.course.chapters.gains:transfer_index",
    (
        Case((SMALL,), "the cells off the diagonal gain 0.2 in the mean, those on it 0.4"),
        Case((WIDE,), "means are compared, for there are more cells off the diagonal than on it"),
        Case(
            ({("CT", "CT"): 0.2, ("CT", "MRI"): -0.1},),
            "who loses elsewhere has an index below zero",
        ),
        Case(
            ({("CT", "CT"): 0.0, ("CT", "MRI"): 0.1},),
            "without a gain at home there is nothing that could carry over",
        ),
        Case(
            ({("CT", "CT"): -0.2, ("CT", "MRI"): -0.1},),
            "a loss at home carries over to nothing either",
        ),
    ),
)

fits = Exercise(
    "medr1_lib.course.chapters.paper:fits",
    (
        Case((33.33, 3), "one of three questions is 33.333 percent, printed as 33.33"),
        Case((33.4, 3), "no number of three questions comes near 33.4"),
        Case((-1.24, 1611), "differences can be negative"),
        Case((33.34, 3, 2), "two rounded numbers may be off by 0.01 together"),
        Case((33.34, 3), "one rounded number is off by 0.005 at most"),
    ),
)
