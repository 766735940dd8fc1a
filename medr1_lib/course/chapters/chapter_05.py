"""The exercises of chapter 05."""

from medr1_lib.course.exercise import Case, Exercise

budget = Exercise(
    "medr1_lib.course.chapters.gains:budget",
    (
        Case(
            (1, 2, 2, 10),
            "`rollouts` counts all completions of a step, and each may have `longest` tokens",
        ),
        Case((1, 16, 8, 10), "16 completions, 8 to a prompt, are those of 2 prompts"),
        Case((3, 8, 4, 10), "every step asks new prompts and samples rollouts of its own"),
    ),
)

running_mean = Exercise(
    "medr1_lib.course.chapters.gains:running_mean",
    (
        Case(([0.0, 4.0], 2), "one number for each value, and a window looks back only"),
        Case(([4.0, 0.0], 2), "where there are fewer values than `width`, divide by how many"),
        Case(([6.0, 0.0, 0.0], 2), "a window has `width` values and no more"),
        Case(([1.0, 2.0, 3.0, 4.0, 8.0], 3), "the last window has the last `width` values"),
    ),
)

mcnemar_p = Exercise(
    "medr1_lib.course.chapters.gains:mcnemar_p",
    (
        Case((0, 9), "nine heads in nine tosses have 1 / 2**9, and nine tails are as extreme"),
        Case((2, 8), "what is more extreme than 2 of 10 belongs to the tail as well"),
        Case((8, 2), "the smaller count decides, whichever of both it is"),
        Case((5, 5), "twice the tail can exceed 1, and no probability does"),
    ),
)

gap_closed = Exercise(
    "medr1_lib.course.chapters.gains:gap_closed",
    (
        Case((0.5, 1.0, 1.0), "who arrives at the oracle has closed all of the gap"),
        Case((0.25, 0.65, 0.75), "the way made, 0.4, is compared with the whole way, 0.5"),
        Case((0.5, 0.4, 0.75), "who became worse has closed less than nothing"),
        Case((0.5, 1.0, 0.75), "an oracle can be beaten, then it is more than 1"),
    ),
)
