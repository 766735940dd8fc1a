"""A multiple-choice question about an image, drawn or real, and the words that its fields use."""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from medr1_lib.data.phantoms.scene import EVERYDAY, WORDS, Scene
from medr1_lib.errors import DROP, InputError

LETTERS = "ABCD"  # of phantoms and of OmniMedVQA, which offer four options at most
ALL_LETTERS = "ABCDEFGH"  # a data set of one's own may offer eight
BASES = ("base", "longer base", "larger base")  # methods of models that are not trained further
CONTROLS = ("blank", "shuffled", "text")  # images that cannot help; "none" stands for the real one
CIRCULAR, ROTATED = "circular", "rotated "  # asked again in every order; a control for each of them
ALL_CONTROLS = ("none", *CONTROLS, *(f"{ROTATED}{turn}" for turn in range(1, len(ALL_LETTERS))))

# Every name with its spellings in OmniMedVQA's records and in Med-R1's file names.
_ALIASES = {axis: WORDS["spellings"][axis] for axis in ("modality", "question_type")}
MODALITIES, QUESTION_TYPES = map(tuple, _ALIASES.values())
DOMAINS = {"medical": MODALITIES, "general": tuple(EVERYDAY)}
AXES = {"modality": MODALITIES, "question_type": QUESTION_TYPES, "all": ("all",)}
LONGEST = 10_000  # characters of a text; the longest of OmniMedVQA has under 1,000
_CONTROL = re.compile(r"<\|\w+\|>|[\0\ud800-\udfff]")  # of chats, and no UTF-8


def turns(control: str) -> int:
    """By how many places a control turns the options: 0 unless it is `rotated 1` and so on."""
    return int(control.removeprefix(ROTATED)) if control.startswith(ROTATED) else 0


@functools.cache  # asked once per record of a file, answered from about thirty spellings
def canonical(axis: str, name: str) -> str:
    """The modality or question type behind any spelling of it met in OmniMedVQA or Med-R1.

    Case, punctuation and a second name in parentheses do not count. Any other name stays as it is.

    Example:
        >>> canonical("modality", "OCT (Optical Coherence Tomography"), canonical("modality", "PET")
        ('OCT', 'PET')
    """

    def key(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    keys = {key(part) for part in name.split("(") if key(part)}
    for known in (*AXES[axis], "unknown"):
        if keys and keys <= {key(known), *_ALIASES[axis].get(known, "").split()}:
            return known
    if not name.strip():
        raise InputError(axis.replace("_", " "), "the name is empty", "name it, or write unknown")
    return " ".join(name.split())


def in_order(axis: str, names: Iterable[str]) -> list[str]:
    """Different names of an axis: the study's own in its order, then others, `unknown` last."""
    known = (*AXES[axis], *EVERYDAY)
    place = {name: number for number, name in enumerate(known)} | {"unknown": len(known) + 1}
    return sorted(set(names), key=lambda name: (place.get(name, len(known)), name))


@dataclass(frozen=True)
class Question:
    """One multiple-choice question about one image; an `InputError` if it makes no sense."""

    question: str  # the stem, without its options
    options: tuple[str, ...]  # two to eight; real files repeat a wrong one now and then
    answer: str  # the right one of `letters`
    modality: str  # of any of `DOMAINS`, another name, or `unknown`
    question_type: str  # one of `QUESTION_TYPES`, another name, or `unknown`
    image_id: str  # names the image without giving the answer away
    source: str  # `phantom`, or the name of a data set
    scene: Scene | None = None  # what a phantom shows; `None` for a real image
    id: str = ""  # that of its source; without one, a hash of image, stem and options

    def __post_init__(self) -> None:
        if not self.id:
            told = json.dumps([self.image_id, self.question, self.options]).encode()
            object.__setattr__(self, "id", hashlib.sha256(told).hexdigest()[:16])
        if problem := self._problem():
            where = f"question about {self.image_id}"
            raise InputError(where, problem, DROP)

    def _problem(self) -> str | None:
        if not self.question.strip():
            return "the question is empty"
        if not 2 <= len(self.options) <= len(ALL_LETTERS):
            return f"{len(self.options)} options, expected 2 to {len(ALL_LETTERS)}"
        if not all(option.strip() for option in self.options):
            return "an option is empty"
        said = self.question, *self.options
        if any(len(one) > LONGEST or _CONTROL.search(one) for one in said):
            return f"a text is over {LONGEST} long, or holds NUL or a token as <|im_end|>"
        if len(self.answer) != 1 or self.answer not in self.letters:
            return f"answer {self.answer!r} is not the letter of one of {len(self.options)} options"
        texts = [option.strip().casefold() for option in self.options]
        if texts.count(self.answer_text.strip().casefold()) > 1:
            return f"the right option {self.answer_text!r} occurs twice"
        if not (self.modality.strip() and self.question_type.strip()):
            return "its modality or question type is empty; write unknown"
        return None

    @property
    def letters(self) -> str:
        """The letters of its options, `ABCD` if there are four."""
        return ALL_LETTERS[: len(self.options)]

    @property
    def answer_text(self) -> str:
        """The text of the right option."""
        return self.options[self.letters.index(self.answer)]

    @property
    def rotations(self) -> list[str]:
        """The controls that turn its options."""
        return [f"{ROTATED}{turn}" for turn in range(1, len(self.options))]

    def rotated(self, places: int) -> "Question":
        """The same question with its options moved up by some places, the first ones to the end."""
        options = self.options[places:] + self.options[:places]
        answer = self.letters[(self.letters.index(self.answer) - places) % len(options)]
        return replace(self, options=options, answer=answer)

    def record(self, image: object) -> dict[str, Any]:
        """This question as one row of a data set with `dataset.FEATURES`."""
        row = vars(self) | {"options": list(self.options), "answer_text": self.answer_text}
        return row | {"scene": self.scene and self.scene.to_json(), "image": image}

    @classmethod
    def from_record(cls, row: Mapping[str, Any]) -> "Question":
        """The question of a row that `record` made, or of a recorded answer, which has no `id`."""
        values = {field.name: row[field.name] for field in fields(cls) if field.name != "id"}
        values["id"] = row.get("id", "")
        scene = Scene.from_json(row["scene"]) if row["scene"] else None
        return cls(**values | {"options": tuple(row["options"]), "scene": scene})
