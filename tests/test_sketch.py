"""A concept figure has its boxes, and arrows between them."""

import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Annotation

from medr1_lib.course.sketch import sketch


def test_boxes_arrows_and_labels_are_drawn_in_dark_ink_on_white():
    boxes = {"a": (0, 0, "ask"), "b": (1, 0, "score"), "c": (1, -1, "learn")}
    axes = sketch(boxes, [("a", "b", "completion"), ("b", "c", "")], {"b": "orange"})
    arrows = [text.arrow_patch for text in axes.texts if isinstance(text, Annotation)]
    assert [text.get_text() for text in axes.texts if text.get_text()] == [
        "ask", "score", "learn", "completion",
    ]  # fmt: skip
    assert sum(arrow is not None for arrow in arrows) == 2
    assert axes.figure.get_facecolor() == (1, 1, 1, 1), "opaque: also on a dark page"
    plt.close("all")


def test_every_box_lies_inside_the_figure():
    axes = sketch({"a": (0, 0, "a first box"), "b": (4, -2, "a last box")}, [("a", "b", "")])
    axes.figure.canvas.draw()
    frame = axes.figure.bbox
    for text in axes.texts[:2]:
        box = text.get_bbox_patch().get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
    plt.close("all")


def test_an_arrow_from_nowhere_is_an_error():
    with pytest.raises(KeyError, match="nowhere"):
        sketch({"a": (0, 0, "ask")}, [("nowhere", "a", "")])
    plt.close("all")
