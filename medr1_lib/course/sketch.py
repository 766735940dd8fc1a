"""Concept figures: boxes and arrows, drawn by code and legible on a white page and a dark one."""

from typing import Any

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

TINTS = {"plain": "#f2f2f2", "blue": "#cfe3f5", "orange": "#fbe0c3", "green": "#cdeadf"}
EDGE = (-0.5, 0.5)  # room around the middle of a box


def sketch(
    boxes: dict[str, tuple[float, float, str]],
    arrows: list[tuple[str, str, str]],
    tints: dict[str, str] | None = None,
    size: tuple[float, float] = (8, 3),
) -> Axes:
    """Draw named boxes, each at its place with its text, and arrows between two with a label.

    Neighbouring boxes are one unit apart. `tints` gives boxes one of `TINTS`. The background is
    white in both themes of the book, so the ink is always dark.
    """
    figure = plt.figure(figsize=size, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    corners = [(x + dx, y + dy) for x, y, _ in boxes.values() for dx in EDGE for dy in EDGE]
    axes.update_datalim(corners)
    axes.autoscale_view()
    drawn = {}
    for name, (x, y, text) in boxes.items():
        fill = TINTS[(tints or {}).get(name, "plain")]
        look = {"boxstyle": "round,pad=0.5", "facecolor": fill, "edgecolor": "#333333"}
        drawn[name] = axes.text(x, y, text, ha="center", va="center", fontsize=10, bbox=look)
    figure.canvas.draw()  # before it, a box has no outline for an arrow to end at
    for start, end, label in arrows:
        (x, y, _), (to_x, to_y, _) = boxes[start], boxes[end]
        ends = {"patchA": drawn[start].get_bbox_patch(), "patchB": drawn[end].get_bbox_patch()}
        arrow = {"arrowstyle": "-|>", "color": "#333333", "shrinkA": 2, "shrinkB": 2, **ends}
        axes.annotate("", (to_x, to_y), (x, y), arrowprops=arrow)
        if label:  # above a level arrow, else in a gap of the arrow
            middle, level = ((x + to_x) / 2, (y + to_y) / 2), y == to_y
            gap = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
            at: dict[str, Any] = {"ha": "center", "va": "bottom" if level else "center"}
            at |= {"textcoords": "offset points", "bbox": gap, "fontsize": 9}
            axes.annotate(label, middle, (0, 4 * level), **at)
    return axes
