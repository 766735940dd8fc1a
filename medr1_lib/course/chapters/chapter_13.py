"""Chapter 13: how many questions a study needs, and the cases that check its exercises."""

import math

from medr1_lib.analysis.stats import Z
from medr1_lib.course.exercise import Case

POWER = 0.841621  # the normal quantile of 80 %


def effective_n(n: int, per_patient: float, alike: float) -> float:
    """How many independent questions so many are worth, several of them about each patient.

    `alike` is the correlation of right and wrong within a patient: 0 for none, 1 if a patient's
    questions are all right or all wrong. Source: Kish 1965, the design effect.
    """
    return n / (1 + (per_patient - 1) * alike)


def pairs_needed(gain: float, differ: float) -> int:
    """Questions after which a paired test finds a gain in accuracy four times in five.

    `differ` is the share of questions on which the two models are not both right or both wrong.
    """
    spread = math.sqrt(differ - gain**2)
    root = Z * math.sqrt(differ) + POWER * spread
    return math.ceil(root**2 / gain**2)


CASES = {
    "effective_n": (
        Case((200, 5, 1.0), "five questions that always go together are worth one"),
        Case((200, 5, 0.0), "questions that are independent all count"),
        Case((200, 5, 0.5), "in between, each further question of a patient adds `alike`"),
        Case((60, 1, 0.7), "one question for each patient is independent of the others"),
    ),
    "pairs_needed": (
        Case((0.03, 0.2), "the two roots are added before they are squared"),
        Case((0.2, 0.2), "all that differ are gains: the second root is smaller than the first"),
        Case((0.1, 0.3), "a part of a question is a whole one: round up"),
    ),
}
