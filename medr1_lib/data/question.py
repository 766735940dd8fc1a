"""A multiple-choice question about an image, drawn or real, and the words that its fields use."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from medr1_lib.data.phantoms.scene import EVERYDAY, Scene
from medr1_lib.errors import InputError

LETTERS = "ABCD"
BASES = ("base", "longer base", "larger base")  # methods of models that are not trained further
CONTROLS = ("blank", "shuffled", "text")  # images that cannot help; "none" stands for the real one

# Every name with its spellings in OmniMedVQA's records and in Med-R1's file names, typos included
# ("Mag-netic", the parenthesis that never closes), reduced to letters and digits.
_ALIASES = {
    "modality": {
        "CT": "computedtomography ctscan",
        "MRI": "mr magneticresonanceimaging",
        "X-Ray": "xrays xrayimaging",
        "Ultrasound": "us ultrasoundimaging",
        "Dermoscopy": "der",
        "Fundus Photography": "fundus fp",
        "OCT": "opticalcoherencetomography",
        "Microscopy": "micro microscopyimage microscopyimages",
    },
    "question_type": {
        "Modality Recognition": "mr modality",
        "Anatomy Identification": "ai anatomy",
        "Disease Diagnosis": "dd diagnosis",
        "Lesion Grading": "lg grading",
        "Other Biological Attributes": "oba otherbio otherattributes otherbiologicalattribute",
    },
}
MODALITIES, QUESTION_TYPES = map(tuple, _ALIASES.values())
DOMAINS = {"medical": MODALITIES, "general": tuple(EVERYDAY)}
AXES = {"modality": MODALITIES, "question_type": QUESTION_TYPES, "all": ("all",)}


@functools.cache  # asked once per record of a file, answered from about thirty spellings
def canonical(axis: str, name: str) -> str:
    """The modality or question type behind any spelling of it met in OmniMedVQA or Med-R1.

    Case, punctuation and a second name in parentheses do not count; `unknown` stays `unknown`.
    A spelling never met is an `InputError`.

    Example:
        >>> canonical("modality", "OCT (Optical Coherence Tomography")
        'OCT'
    """

    def key(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    keys = {key(part) for part in name.split("(") if key(part)}
    for known in (*AXES[axis], "unknown"):
        if keys and keys <= {key(known), *_ALIASES[axis].get(known, "").split()}:
            return known
    kind = axis.replace("_", " ")
    raise InputError(kind, f"{name!r} is not a known {kind}", f"use one of {', '.join(AXES[axis])}")


@dataclass(frozen=True)
class Question:
    """One multiple-choice question about one image; an `InputError` if it makes no sense.

    Example:
        >>> Question("Which organ?", ("liver", "lung"), "B", "CT", "Anatomy Identification",
        ...          "ct-7", "demo").answer_text
        'lung'
    """

    question: str  # the stem, without its options
    options: tuple[str, ...]  # two to four; real files repeat a wrong one now and then
    answer: str  # the right letter, `A` to `D`
    modality: str  # of any of `DOMAINS`, or `unknown`
    question_type: str  # one of `QUESTION_TYPES`, or `unknown`
    image_id: str  # names the image without giving the answer away
    source: str  # `phantom`, or the name of a data set
    scene: Scene | None = None  # what a phantom shows; `None` for a real image

    def __post_init__(self) -> None:
        if problem := self._problem():
            where = f"question about {self.image_id}"
            raise InputError(where, problem, "correct the record or drop it")

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
        if self.modality not in (*MODALITIES, *EVERYDAY, "unknown"):
            return f"unknown modality {self.modality!r}"
        if self.question_type not in (*QUESTION_TYPES, "unknown"):
            return f"unknown question type {self.question_type!r}"
        return None

    @property
    def answer_text(self) -> str:
        """The text of the right option."""
        return self.options[LETTERS.index(self.answer)]

    def record(self, image: object) -> dict[str, Any]:
        """This question as one row of a data set with `dataset.FEATURES`."""
        row = vars(self) | {"options": list(self.options), "answer_text": self.answer_text}
        return row | {"scene": self.scene and self.scene.to_json(), "image": image}

    @classmethod
    def from_record(cls, row: Mapping[str, Any]) -> "Question":
        """The question of a row that `record` made; columns that it does not know are ignored."""
        values = {field.name: row[field.name] for field in fields(cls)}
        scene = Scene.from_json(row["scene"]) if row["scene"] else None
        return cls(**values | {"options": tuple(row["options"]), "scene": scene})
