"""Chapter 11: the distance between two models in two parts, and the cases of its exercises."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medr1_lib.course.exercise import Case


def split_distance(right: Mapping[tuple[str, str], Any], first: str, second: str) -> dict[str, Any]:
    """What training and answering add to the distance of two arms, per question."""
    both = first, second
    trained = [right[first, form] - right[second, form] for form in both]
    asked = [right[arm, first] - right[arm, second] for arm in both]
    return {"training": np.mean(trained, 0), "answering": np.mean(asked, 0)}


BOTH, NONE = np.array([1, 1]), np.array([0, 0])  # of two questions
TRAINED = {("a", "a"): BOTH, ("a", "b"): BOTH, ("b", "a"): NONE, ("b", "b"): NONE}
ASKED = TRAINED | {("a", "b"): NONE, ("b", "a"): BOTH}
MIXED = dict(zip(TRAINED, np.array([[1, 1, 0], [0, 1, 1], [0, 1, 0], [0, 0, 1]]), strict=True))

CASES = {
    "holm": (
        Case(([0.01, 0.5],), "the smallest is multiplied by 2, the next by 1"),
        Case(([0.01, 0.02, 0.03],), "what a larger p becomes is never less than a smaller one's"),
        Case(([0.04, 0.01, 0.02],), "the values come back in the order in which they came"),
        Case(([0.6, 0.7, 0.8],), "a probability is at most 1"),
    ),
    "split_distance": (
        Case((TRAINED, "a", "b"), "a is right in both forms, b in none: all of it is training"),
        Case((ASKED, "a", "b"), "asked alike, both are right alike: all of it is answering"),
        Case((MIXED, "a", "b"), "each part is a mean of two differences, and they add up"),
        Case((MIXED, "b", "a"), "a part is the first arm minus the second"),
    ),
    "claimed": (
        Case(("finding: mass",), "one claim, as (attribute, value), and nothing else"),
        Case(("CT, head, finding: mass",), "a value alone is a claim, see `KNOWN`"),
        Case(("not a mass, finding: abscess",), "a rejection is no claim, it is the rest"),
        Case(("finding: abscess, grade: B",), "B is no value, so this part claims nothing"),
        Case(("impression: mass",), "no attribute has this name, so it claims nothing"),
        Case(("finding: head",), "the value of another attribute makes a claim, and a false one"),
        Case(("",), "an empty part is neither a claim nor a rest"),
    ),
}
