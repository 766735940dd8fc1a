"""One record format for drawn and real data: what comes after is blind to the source."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import datasets

from medr1_lib.data.phantoms import Scene
from medr1_lib.data.taxonomy import MODALITIES, QUESTION_TYPES
from medr1_lib.errors import InputError

LETTERS = "ABCD"
AXES = {"modality": MODALITIES, "question_type": QUESTION_TYPES, "all": ("all",)}
BASES = ("base", "longer base", "larger base")  # what a model is called that is not trained
CONTROLS = ("blank", "shuffled", "text")  # images that cannot help; "none" stands for the real one

FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "question": datasets.Value("string"),
        "options": datasets.List(datasets.Value("string")),
        "answer": datasets.Value("string"),
        "answer_text": datasets.Value("string"),
        "modality": datasets.Value("string"),
        "question_type": datasets.Value("string"),
        "image_id": datasets.Value("string"),
        "source": datasets.Value("string"),
        "scene": datasets.Value("string"),
    }
)


@dataclass(frozen=True)
class Question:
    """One multiple-choice question about one image.

    Attributes:
        question: The stem, without its options.
        options: Two to four option texts in the order of their letters. Real files repeat a wrong
            option now and then; the text of the right one occurs once.
        answer: The right letter, `A` to `D`.
        modality: One of `taxonomy.MODALITIES`, or `unknown`.
        question_type: One of `taxonomy.QUESTION_TYPES`, or `unknown`.
        image_id: Names the image without giving the answer away.
        source: Where the record comes from (`phantom`, or the name of a data set).
        scene: What a phantom shows; `None` for a real image.

    Raises:
        InputError: If the options or the letter do not make a question.

    Example:
        >>> Question("Which organ?", ("liver", "lung"), "B", "CT", "Anatomy Identification",
        ...          "ct-7", "demo").answer_text
        'lung'
    """

    question: str
    options: tuple[str, ...]
    answer: str
    modality: str
    question_type: str
    image_id: str
    source: str
    scene: Scene | None = None

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InputError(
                f"question about {self.image_id}", problem, "correct the record or drop it"
            )

    def _problem(self) -> str | None:
        if not self.question.strip():
            return "the question is empty"
        if not 2 <= len(self.options) <= len(LETTERS):
            return f"{len(self.options)} options, expected 2 to {len(LETTERS)}"
        if not all(option.strip() for option in self.options):
            return "an option is empty"
        if len(self.answer) != 1 or self.answer not in LETTERS[: len(self.options)]:
            return f"answer {self.answer!r} is not the letter of one of {len(self.options)} options"
        texts = [option.strip().casefold() for option in self.options]
        if texts.count(self.answer_text.strip().casefold()) > 1:
            return f"the right option {self.answer_text!r} occurs twice"
        if self.modality not in (*MODALITIES, "unknown"):
            return f"unknown modality {self.modality!r}"
        if self.question_type not in (*QUESTION_TYPES, "unknown"):
            return f"unknown question type {self.question_type!r}"
        return None

    @property
    def answer_text(self) -> str:
        """The text of the right option."""
        return self.options[LETTERS.index(self.answer)]

    def record(self, image: object) -> dict[str, Any]:
        """This question as one row of a data set with `FEATURES`."""
        row = vars(self) | {"options": list(self.options), "answer_text": self.answer_text}
        return row | {"scene": self.scene and self.scene.to_json(), "image": image}

    @classmethod
    def from_record(cls, row: Mapping[str, Any]) -> "Question":
        """The question behind a row that `record` made; columns of other names are left aside."""
        values = {field.name: row[field.name] for field in fields(cls)}
        scene = Scene.from_json(row["scene"]) if row["scene"] else None
        return cls(**values | {"options": tuple(row["options"]), "scene": scene})
