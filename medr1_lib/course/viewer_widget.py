"""A place to see what was sent to a model, what came back, and how it was read."""

import html
import re
from collections.abc import Mapping
from typing import Any

import ipywidgets
import pandas as pd
from PIL import Image

from medr1_lib.course.widgets import picture
from medr1_lib.data.question import Question
from medr1_lib.data.styles import STYLES, listed
from medr1_lib.evaluation.answers import KEY
from medr1_lib.evaluation.evaluate import start
from medr1_lib.evaluation.items import EvalPrompt, EvalSet
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor

PICTURES = {
    "its own image": "none",
    "a grey image": "blank",
    "another image": "shuffled",
    "no image": "text",
}
_SPECIAL = re.compile(r"&lt;\|\w+\|&gt;")
_RUN = re.compile(r"(<\|\w+\|>)\1+")


class AnswerViewer(ipywidgets.VBox):
    """Pick a question, a style and a picture; see the prompt, the completion and the verdict.

    No model is needed: everything comes from the records of an evaluation.

    Args:
        items: What was asked.
        records: What `evaluate` returned.
        processor: That of the model.
        seed: As in the evaluation's `Settings`; it decides which image `another image` is.

    Attributes:
        number: Slider; which of the questions.
        style: Dropdown; the reasoning style asked for.
        control: Dropdown; which picture the model was shown.
        view: The picture and the text.
    """

    def __init__(
        self,
        items: EvalSet,
        records: pd.DataFrame,
        processor: ImageOnlyQwen2VLProcessor,
        seed: int = 0,
    ) -> None:
        self._items, self._processor = items, processor
        rows: list[dict[str, Any]] = [dict(row) for _, row in records.iterrows()]
        self._records = {tuple(row[key] for key in KEY): row for row in rows}
        self._asked = sorted(records["item"].unique())
        controls = tuple(name for name in records["control"].unique() if name != "none")
        styles = tuple(name for name in STYLES if name in set(records["style"]))
        prompts = items.prompts(styles, controls, None, seed)
        self._prompts = {(one.item, one.style, one.control): one for one in prompts}
        self.number = ipywidgets.IntSlider(description="question", min=1, max=len(self._asked))
        self.style = ipywidgets.Dropdown(description="style", options=styles)
        self.control = ipywidgets.Dropdown(description="shown", options=list(PICTURES.items()))
        self.view = ipywidgets.HTML()
        for control in (self.number, self.style, self.control):
            control.observe(self._show, "value")
        self._show()
        super().__init__([self.number, self.style, self.control, self.view])

    def _show(self, change: object = None) -> None:
        key = self._asked[self.number.value - 1], self.style.value, self.control.value
        if key in self._records:
            self.view.value = self._page(self._prompts[key], self._records[key])
        else:
            self.view.value = "This was not asked in this style."

    def _page(self, prompt: EvalPrompt, record: Mapping[str, Any]) -> str:
        question, image = self._items.questions[prompt.item], self._items.image(prompt)
        return page(question, image, sent(self._processor, question, prompt.style, image), record)


def sent(
    processor: ImageOnlyQwen2VLProcessor, question: Question, style: str, image: Image.Image | None
) -> str:
    """What the tokens of a prompt say, special ones included; repeated ones are counted.

    Example:
        >>> from medr1_lib.model.processor import tiny_processor
        >>> asked = Question("Which?", ("lung", "skin"), "A", "CT", "Disease Diagnosis", "x", "y")
        >>> sent(tiny_processor(), asked, "no_think", Image.new("RGB", (112, 112)))[:68]
        '<|im_start|>user\\n<|vision_start|><|image_pad|> x 16 <|vision_end|>Wh'
    """
    text = start(processor, question, style, image is not None).prompt
    tokens = processor(text=[text], images=[image] if image else None)["input_ids"][0]
    said = processor.tokenizer.decode(tokens)
    return _RUN.sub(lambda run: f"{run[1]} x {len(run[0]) // len(run[1])} ", said)


def page(
    question: Question, image: Image.Image | None, prompt: str, record: Mapping[str, Any]
) -> str:
    """One answer as HTML: picture, prompt with its special tokens in bold, completion, verdict."""
    shown = picture(image, "The image that the model was shown") if image else "<p>(no image)</p>"
    letter = record["parsed"] if isinstance(record["parsed"], str) else "nothing"  # pandas has nan
    verdict = (
        f"read as {letter}, right is {question.answer}: "
        f"<b>{'right' if record['correct'] else 'wrong'}</b>; "
        f"the form asked for was {'kept' if record['format_ok'] else 'not kept'}"
    )
    return (
        f"{shown}<p>about {html.escape(question.modality)}: {html.escape(listed(question.options))}"
        f"</p><p>prompt</p>{_code(prompt)}<p>completion</p>{_code(record['completion'])}"
        f"<p>{verdict}</p>"
    )


def _code(text: str) -> str:
    marked = _SPECIAL.sub(lambda found: f"<b>{found[0]}</b>", html.escape(text))
    return f'<pre style="white-space: pre-wrap; line-height: 1.4">{marked}</pre>'
