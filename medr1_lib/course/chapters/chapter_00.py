"""Chapter 00: the cases that check its exercises."""

from medr1_lib.course.exercise import Case

CASES = {
    "medr1_lib.analysis.stats:wilson": (
        Case((0, 20), "no right answer still leaves room above zero, that is what z²/4n² is for"),
        Case((10, 20), "half right is centred on one half, and n squared stands under the root"),
        Case((100, 400), "away from one half, the centre leans towards it by z²/2n"),
        Case((1, 1), "one question tells little"),
    ),
    "medr1_lib.analysis.stats:questions_needed": (
        Case((0.05,), "solve z * sqrt(p(1 - p)/n) = half_width for n with p = 1/2, and round up"),
        Case((0.1,), "a fraction of a question is a whole one more"),
    ),
}
