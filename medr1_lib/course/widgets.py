"""Things to click and drag in the notebooks; each also means something as a still picture."""

import base64
import html
from collections.abc import Sequence

import ipywidgets
from PIL import Image

from medr1_lib.data import images
from medr1_lib.data.phantoms import draw
from medr1_lib.data.question import LETTERS, MODALITIES, QUESTION_TYPES, Question
from medr1_lib.errors import InputError

EVERY = "all"


class DataBrowser(ipywidgets.VBox):
    """Leaf through questions about phantoms: choose, look, guess, then ask for the answer.

    Attributes:
        modality: Dropdown; which modality to show.
        question_type: Dropdown; which type of question.
        number: Slider; which of the questions chosen.
        reveal: Toggle; whether the answer and the scene are shown.
        view: The picture and the text.

    Example:
        >>> from medr1_lib.data.phantom_vqa import questions
        >>> browser = DataBrowser(list(questions("test", per_cell=1)))
        >>> browser.modality.value = "OCT"
        >>> browser.shown.modality
        'OCT'
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        self.modality = _dropdown("modality", MODALITIES)
        self.question_type = _dropdown("type", QUESTION_TYPES)
        self.number = ipywidgets.IntSlider(description="number", min=1, max=len(questions))
        self.reveal = ipywidgets.ToggleButton(description="Show the answer")
        self.view = ipywidgets.HTML()
        for control in (self.modality, self.question_type):
            control.observe(self._choose, "value")
        self.number.observe(self._turn, "value")
        self.reveal.observe(self._show, "value")
        self._choose()
        choice = ipywidgets.HBox([self.modality, self.question_type])
        super().__init__([choice, ipywidgets.HBox([self.number, self.reveal]), self.view])

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
        self._turn()

    def _turn(self, change: object = None) -> None:
        self.reveal.value = False  # the next question is for guessing again
        self._show()

    def _show(self, change: object = None) -> None:
        none = "No such question among these."
        self.view.value = page(self.shown, self.reveal.value) if self._chosen else none


def page(question: Question, answered: bool) -> str:
    """One question about a phantom as HTML, with or without its answer.

    Raises:
        InputError: If the question is not about a phantom.
    """
    if (scene := question.scene) is None:
        raise InputError(question.image_id, "is no phantom", "show questions about phantoms")
    truth = f"{question.answer}) {question.answer_text}; {scene}" if answered else "hidden"
    return (
        f"{picture(draw(scene), 'A phantom; what it shows is the question')}"
        f"<p>{html.escape(question.question)}</p>"
        f"{listed(question.options, question.answer if answered else '')}"
        f"<p>Answer: {html.escape(truth)}</p>"
    )


def picture(image: Image.Image, alt: str, side: int = 224) -> str:
    """An image as HTML that needs no file, with a text for who does not see it."""
    data = base64.b64encode(images.png(image)).decode()
    return f'<img alt="{html.escape(alt)}" width="{side}" src="data:image/png;base64,{data}">'


def _dropdown(description: str, values: tuple[str, ...]) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(description=description, options=(EVERY, *values), value=EVERY)


def listed(options: Sequence[str], right: str) -> str:
    """The options as HTML, that of the letter `right` set apart."""
    texts = zip(LETTERS, map(html.escape, options), strict=False)
    items = [f"<b>{text} (right)</b>" if letter == right else text for letter, text in texts]
    return f'<ol type="A"><li>{"</li><li>".join(items)}</li></ol>'
