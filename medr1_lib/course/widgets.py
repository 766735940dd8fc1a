"""Five widgets for the notebooks; each also says something as a still picture."""

import base64
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets
import pandas as pd
from ipywidgets import HTML, Button, Dropdown, HBox, IntSlider, Label, Layout, VBox
from jinja2 import Environment
from markupsafe import Markup, escape
from matplotlib import colormaps
from matplotlib.colors import to_hex
from PIL import Image

from medr1_lib.analysis.stats import rate
from medr1_lib.analysis.transfer import column_of
from medr1_lib.course.chapters.chapter_03 import ANSWER, OPTIONS, BenchRow
from medr1_lib.data import images, styles
from medr1_lib.data.phantoms import Scene, draw
from medr1_lib.data.question import ALL_LETTERS, MODALITIES, QUESTION_TYPES, Question, in_order
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import KEY
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.rl.rewards import RULES, points

if TYPE_CHECKING:
    from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor as Processor

EVERY = "all"


def _pages() -> Any:  # noqa: ANN401 - macros, as functions
    def tokens(text: str) -> Markup:
        """A prompt with its special tokens in bold."""
        return Markup(re.sub(r"(&lt;\|\w+\|&gt;)", r"<b>\1</b>", str(escape(text))))

    pages = Environment(autoescape=True)
    pages.filters |= {"tokens": tokens, "listed": styles.listed}
    pages.filters["png"] = lambda image: base64.b64encode(images.png(image)).decode()
    lines = Path(__file__).with_name("widgets.html").read_text(encoding="utf-8").splitlines()
    return pages.from_string("".join(map(str.strip, lines)), {"letters": ALL_LETTERS}).module


PAGES = _pages()


class Panel(VBox):
    """Rows of controls, and under them a view in HTML that follows them.

    A change of a filter goes to `_choose`, which sets other controls too; a selector only draws
    the view again. Controls in a list share a line.
    """

    def __init__(self, rows: list[Any], filters: Sequence[Any], selectors: Sequence[Any]) -> None:
        self.view = HTML()
        for control in filters:
            control.observe(self._choose, "value")
        for control in selectors:
            control.observe(self._show, "value")
        self._choose()
        super().__init__([*(HBox(x) if isinstance(x, list) else x for x in rows), self.view])

    def _choose(self, change: object = None) -> None:
        self._show()

    def _show(self, change: object = None) -> None:
        self.view.value = str(self._page())

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, Any]:
        """The widget, and its first view as HTML for pages that show no widgets."""
        return super()._repr_mimebundle_(**kwargs) | {"text/html": self.view.value}

    def _page(self) -> str:
        raise NotImplementedError


class DataBrowser(Panel):
    """Page through questions about phantoms: choose, look, guess, then ask for the answer."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        self.modality = Dropdown(description="modality", options=(EVERY, *MODALITIES))
        self.question_type = Dropdown(description="type", options=(EVERY, *QUESTION_TYPES))
        self.number = IntSlider(description="number", min=1, max=len(questions))
        self.reveal = ipywidgets.ToggleButton(description="Show the answer")
        rows = [[self.modality, self.question_type], [self.number, self.reveal]]
        super().__init__(rows, [self.modality, self.question_type, self.number], [self.reveal])

    @property
    def shown(self) -> Question:
        """The question on display."""
        return self._chosen[self.number.value - 1]

    def _choose(self, change: object = None) -> None:
        self._chosen = [
            question
            for question in self._questions
            if self.modality.value in (EVERY, question.modality)
            and self.question_type.value in (EVERY, question.question_type)
        ]
        self.number.max = max(1, len(self._chosen))
        self.reveal.value = False  # each question is shown without its answer first
        self._show()

    def _page(self) -> str:
        if not self._chosen:
            return "No such question among these."
        if self.shown.scene is None:
            raise InputError(self.shown.image_id, "is no phantom", "show questions about phantoms")
        return PAGES.question(self.shown, draw(self.shown.scene), self.reveal.value)


REPEATED = re.compile(r"(<\|\w+\|>)\1+")
PICTURES = {"its own image": "none", "a grey image": "blank"}
PICTURES |= {"another image": "shuffled", "no image": "text"}


class AnswerViewer(Panel):
    """Pick a question, a style and a picture; see the prompt, the completion and the verdict.

    No model is needed: everything comes from the records that `evaluate` returned. `seed` is that
    of its `Settings`, which decides which image `another image` is.
    """

    def __init__(
        self, items: EvalSet, records: pd.DataFrame, processor: "Processor", seed: int = 0
    ) -> None:
        self._items, self._processor = items, processor
        rows: list[dict[Any, Any]] = records.to_dict("records")
        self._records = {tuple(row[key] for key in KEY): row for row in rows}
        self._asked = sorted(records["item"].unique())
        controls = tuple(name for name in records["control"].unique() if name != "none")
        asked = tuple(name for name in styles.STYLES if name in set(records["style"]))
        prompts = items.prompts(asked, controls, None, seed)
        self._prompts = {(one.item, one.style, one.control): one for one in prompts}
        self.number = IntSlider(description="question", min=1, max=len(self._asked))
        self.style = Dropdown(description="style", options=asked)
        self.control = Dropdown(description="shown", options=list(PICTURES.items()))
        rows_shown = [self.number, self.style, self.control]
        super().__init__(rows_shown, (), rows_shown)

    def _page(self) -> str:
        key = self._asked[self.number.value - 1], self.style.value, self.control.value
        if key not in self._records:
            return "This was not asked in this style."
        prompt = self._prompts[key]
        question, image = self._items.questions[prompt.item], self._items.image(prompt)
        text = prompt_text(self._processor, question, prompt.style, image)
        return PAGES.answer(question, image, text, self._records[key])


def prompt_text(
    processor: "Processor", question: Question, style: str, image: Image.Image | None
) -> str:
    """The text of a prompt's tokens, special ones included; repeated ones are counted."""
    from medr1_lib.evaluation.ask import question_chat  # loads torch, which chapter 01 does without

    text = question_chat(processor, question, style, image is not None)
    tokens = processor(text=[text], images=[image] if image else None)["input_ids"][0]
    decoded = processor.tokenizer.decode(tokens)
    return REPEATED.sub(lambda run: f"{run[1]} x {len(run[0]) // len(run[1])} ", decoded)


class RewardTester(Panel):
    """Type a completion, or take one from the bench, and read its points under every rule set."""

    def __init__(self, rows: list[BenchRow]) -> None:
        named, wide = [(f"{row.kind}: {row.completion!r}", row) for row in rows], {"width": "95%"}
        self.row = Dropdown(description="bench", options=named, layout=wide)
        self.style = Dropdown(description="style", options=list(styles.STYLES))
        self.said = ipywidgets.Textarea(description="completion", rows=3, layout=wide)
        typed = [self.style, self.said]
        super().__init__([self.row, *typed], [self.row], typed)

    def _choose(self, change: object = None) -> None:
        self.style.value, self.said.value = self.row.value.style, self.row.value.completion
        self._show()

    def _page(self) -> str:
        said, style = self.said.value, self.style.value
        rows = [(rules, *points(said, ANSWER, style, rules)) for rules in RULES]
        return PAGES.rewards(OPTIONS, ANSWER, styles.read(said, OPTIONS), rows)


class RolloutExplorer(Panel):
    """Pick a step and a prompt: what the policy wrote there, its rewards and its advantages.

    Takes the rollouts of a run and the image of every `image_id` in them.
    """

    def __init__(self, rollouts: pd.DataFrame, images: Mapping[str, Image.Image]) -> None:
        self._images = images
        self._groups = {
            step: [group for _, group in rows.groupby(["image_id", "prompt"], sort=False)]
            for step, rows in rollouts.groupby("step")
        }
        self.step = ipywidgets.SelectionSlider(description="step", options=list(self._groups))
        self.prompt = Dropdown(description="prompt", layout={"width": "420px"})
        super().__init__([[self.step, self.prompt]], [self.step], [self.prompt])

    @property
    def shown(self) -> pd.DataFrame:
        """The group on display."""
        return self._groups[self.step.value][self.prompt.value]

    def _choose(self, change: object = None) -> None:
        """Offer the prompts of the step, and stay at the same place in the list."""
        number, firsts = self.prompt.index or 0, [x.iloc[0] for x in self._groups[self.step.value]]
        names = [f"{first.modality}, {first.question_type}" for first in firsts]
        self.prompt.options = [(name, place) for place, name in enumerate(names)]
        self.prompt.index = min(number, len(names) - 1)
        self._show()

    def _page(self) -> str:
        image = self._images[self.shown["image_id"].iloc[0]]
        rewards = self.shown["format_reward"] + self.shown["accuracy_reward"]
        rows = self.shown.sort_values("advantage", ascending=False).to_dict("records")
        alike = bool((self.shown["advantage"] == 0).all())
        return PAGES.group(image, rows, rewards.mean(), alike)


# Options are strings: JupyterLab shows a dropdown whose value is `None` as blank.
KINDS = {"all answers": (True, False), "wrong answers": (False,), "right answers": (True,)}
WIDE, NAME = Layout(width="92px"), Layout(width="180px")  # one of each for all cells
CHOSEN = Layout(width="92px", border="4px double")  # in the color of the cell's text
DARK = 0.43  # white letters on viridis below it, black from it on: a contrast of 4.5 or more


class MapExplorer(Panel):
    """Click a cell: how many of its answers are right, and what the model said, one by one.

    Takes the answers of the models of one map, as `transfer.select` returns them, and its axis.
    """

    def __init__(self, records: pd.DataFrame, axis: str) -> None:
        groups = records.groupby(["train", column_of(axis)], observed=True)
        self._answers = {(str(train), str(test)): rows for (train, test), rows in groups}
        self.cells = {key: self._button(key) for key in self._answers}
        self.kind = Dropdown(description="show", options=list(KINDS))
        self.number = IntSlider(description="answer", min=1, max=1)
        self._key = next(iter(self.cells))
        rows = [self._grid(axis), [self.kind, self.number]]
        super().__init__(rows, [self.kind], [self.number])

    def click(self, train: str, test: str) -> None:
        """Choose a cell, as a click on it does."""
        self.cells[self._key].layout, self._key = WIDE, (train, test)
        self._choose()

    def _button(self, key: tuple[str, str]) -> Button:
        right = self._answers[key]["correct"].mean()
        tooltip = f"trained on {key[0]}, tested on {key[1]}"
        button = Button(description=f"{100 * right:.0f}", tooltip=tooltip, layout=WIDE)
        button.style.button_color = to_hex(colormaps["viridis"](right))
        button.style.text_color = "white" if right < DARK else "black"
        button.on_click(lambda _: self.click(*key))
        return button

    def _grid(self, axis: str) -> VBox:
        trains, tests = (in_order(axis, [key[side] for key in self.cells]) for side in (0, 1))
        lines = {"train \\ test": [Label(name.partition(" ")[0], layout=WIDE) for name in tests]}
        lines |= {train: [self.cells[train, test] for test in tests] for train in trains}
        return VBox([HBox([Label(name, layout=NAME), *line]) for name, line in lines.items()])

    def _choose(self, change: object = None) -> None:
        rows, self.cells[self._key].layout = self._answers[self._key], CHOSEN
        self._chosen = rows[rows["correct"].isin(KINDS[self.kind.value])]
        self.number.value, self.number.max = 1, max(1, len(self._chosen))
        self._show()

    def _page(self) -> str:
        n, right, low, high = rate(self._answers[self._key], "correct")
        told = *self._key, n, round(n * right), 100 * low, 100 * high
        if self._chosen.empty:
            return PAGES.cell(*told)
        answer = self._chosen.iloc[self.number.value - 1]
        scene = Scene.from_json(answer["scene"])
        return PAGES.cell(*told, answer.to_dict(), scene, draw(scene))
