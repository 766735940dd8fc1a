"""Chapter 01: a split by image, and the cases that check its exercises."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from medr1_lib.course.exercise import Case
from medr1_lib.data.question import Question


def split_by_image(image_ids: Sequence[str], share: float, seed: int) -> list[bool]:
    """Which questions go to the test split, so that no image is on both sides.

    The test split has at least `share` of all questions, and no image more than it needs for that.
    """
    count = Counter(image_ids)
    chosen, size = set(), 0
    for image in np.random.default_rng(seed).permutation(sorted(count)):
        if size >= share * len(image_ids):
            break
        chosen.add(image)
        size += count[image]
    return [image in chosen for image in image_ids]


def _asked(*questions: str) -> tuple[list[Question]]:
    """The one argument of `option_ratios`: questions from lines such as `lung | skin: A`."""
    lines = [line.split(": ") for line in questions]
    labels = ("CT", "Anatomy Identification", "an image", "check")
    return ([Question("Which?", tuple(o.split(" | ")), answer, *labels) for o, answer in lines],)


CASES = {
    "window": (
        Case((np.array([0.0, 50.0, 100.0]), 0, 100), "inside the window, grey rises straight"),
        Case((np.array([-60.0, 40.0, 140.0]), -160, 240), "grey counts from `low`, not from zero"),
        Case((np.array([-1000.0, 0.0]), 0, 100), "darker than `low` is black, not negative"),
        Case((np.array([100.0, 2000.0]), 0, 100), "brighter than `high` is white, not more"),
    ),
    "normalise": (
        Case(("lung",), "a text in its one form stays as it is"),
        Case(("CT",), "capitals and small letters say the same"),
        Case(("lung.",), "a final period says nothing"),
        Case((" lung ",), "white space around a text says nothing"),
        Case(("t2.weighted",), "only a final period is dropped"),
        Case((" Lung. ",), "white space goes first, then the period"),
        Case(("lung..",), "one final period is dropped, not all"),
    ),
    "option_ratios": (
        Case(_asked("lung | skin: A"), "right once of once is (1 + 0.25) / (1 + 1)"),
        Case(_asked("lung | skin: A", "skin | lung: A"), "right one of two, whatever the letter"),
        Case(_asked(*2 * ["lung | skin: A"], "skin | bone: B"), "what is never right has a ratio"),
        Case(_asked("Lung. | skin: A", "lung | Skin: A"), "use the form that `normalise` gives"),
    ),
    "split_by_image": (
        Case((list("abcd"), 0.5, 0), "half of four questions are two, shuffled by the seed"),
        Case((["d", "c", "b", "a"], 0.5, 1), "images are sorted before they are shuffled"),
        Case((["a", "a", "b", "c"], 0.25, 0), "all questions about one image go to one side"),
        Case((["a", "b", "c"], 0.5, 2), "the test split has at least `share` of the questions"),
        Case((["a", "b", "b", "b", "c"], 0.4, 5), "questions are counted, not images"),
        Case((["a", "b"], 0, 0), "a share of nothing needs no image"),
    ),
}
