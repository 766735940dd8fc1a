"""A place to click a cell of a generalization map and read the answers behind it."""

import html
from typing import Any

import ipywidgets
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from medr1_lib.analysis.stats import rate
from medr1_lib.analysis.transfer import column_of
from medr1_lib.course.widgets import listed, picture
from medr1_lib.data.phantoms import Scene, draw
from medr1_lib.data.question import AXES

KINDS = {"all answers": None, "wrong answers": False, "right answers": True}
_WIDE, _NAME = ipywidgets.Layout(width="92px"), ipywidgets.Layout(width="180px")  # shared by all
DARK = 0.6  # cells below it get white letters


class MapExplorer(ipywidgets.VBox):
    """Click a cell: how many of its answers are right, and what the model said, one by one.

    Args:
        records: Of the models of one map, as `transfer.select` returns them.
        axis: What the training split was cut by, `modality` or `question_type`.

    Attributes:
        cells: Buttons by training and test name, with the accuracy in percent.
        kind: Dropdown; which answers to leaf through.
        number: Slider; which of them.
        view: Question, picture and answer.

    Example:
        >>> MapExplorer(pd.DataFrame(columns=["train", "modality"]), "modality").cells
        {}
    """

    def __init__(self, records: pd.DataFrame, axis: str) -> None:
        groups = records.groupby(["train", column_of(axis)], observed=True)
        self._answers = {(str(train), str(test)): rows for (train, test), rows in groups}
        self.cells = {key: self._button(key) for key in self._answers}
        self.kind = ipywidgets.Dropdown(description="show", options=list(KINDS.items()))
        self.number = ipywidgets.IntSlider(description="answer", min=1, max=1)
        self.view = ipywidgets.HTML()
        self.kind.observe(self._choose, "value")
        self.number.observe(self._show, "value")
        self._key: tuple[str, str] | None = next(iter(self.cells), None)
        self._choose()
        super().__init__([self._grid(axis), ipywidgets.HBox([self.kind, self.number]), self.view])

    def click(self, train: str, test: str) -> None:
        """Choose a cell, as a click on it does."""
        self._key = (train, test)
        self._choose()

    def _button(self, key: tuple[str, str]) -> ipywidgets.Button:
        right = self._answers[key]["correct"].mean()
        button = ipywidgets.Button(
            description=f"{100 * right:.0f}",
            tooltip=f"trained on {key[0]}, tested on {key[1]}",
            layout=_WIDE,
        )
        button.style.button_color = to_hex(colormaps["viridis"](right))
        button.style.text_color = "white" if right < DARK else "black"
        button.on_click(lambda _: self.click(*key))
        return button

    def _grid(self, axis: str) -> ipywidgets.VBox:
        """The buttons in rows, a row for what was trained on."""
        place = {name: number for number, name in enumerate(AXES[axis])}
        trains, tests = (
            sorted({key[side] for key in self.cells}, key=lambda name: place.get(name, len(place)))
            for side in (0, 1)
        )
        heads = [ipywidgets.Label(name.partition(" ")[0], layout=_WIDE) for name in tests]
        rows = [_row("train \\ test", heads)]
        for train in trains:
            rows.append(_row(train, [self.cells[train, test] for test in tests]))
        return ipywidgets.VBox(rows)

    def _choose(self, change: object = None) -> None:
        if self._key is None:
            return
        rows, wanted = self._answers[self._key], self.kind.value
        self._chosen = rows if wanted is None else rows[rows["correct"] == wanted]
        self.number.max = max(1, len(self._chosen))
        self._show()

    def _show(self, change: object = None) -> None:
        assert self._key is not None
        head = _head(self._key, self._answers[self._key])
        place = self.number.value - 1
        shown = page(self._chosen.iloc[place].to_dict()) if len(self._chosen) else "None of these."
        self.view.value = head + shown


def _row(name: str, cells: list[Any]) -> ipywidgets.HBox:
    return ipywidgets.HBox([ipywidgets.Label(name, layout=_NAME), *cells])


def _head(key: tuple[str, str], rows: pd.DataFrame) -> str:
    n, share, low, high = rate(rows, "correct")
    told = f"{round(n * share)} of {n} answers right, {100 * low:.0f} to {100 * high:.0f} %"
    names = f"trained on <b>{html.escape(key[0])}</b>, tested on <b>{html.escape(key[1])}</b>"
    return f"<p>{names}: {told} (95 % interval over models and questions)</p>"


def page(answer: dict[Any, Any]) -> str:
    """One answer about a phantom as HTML: what was shown and asked, and what came back."""
    scene = Scene.from_json(answer["scene"])
    verdict = "right" if answer["correct"] else "wrong"
    return (
        f"{picture(draw(scene), f'The phantom of the question, {scene.modality}', 112)}"
        f"<p>{html.escape(answer['question'])}</p>{listed(answer['options'], answer['answer'])}"
        f"<pre style='white-space: pre-wrap'>{html.escape(answer['completion'])}</pre>"
        f"<p>{verdict}, seed {answer['seed']}; the picture shows {html.escape(str(scene))}</p>"
    )
