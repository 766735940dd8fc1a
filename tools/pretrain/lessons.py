"""What the language half is taught: captions, look-ups and questions, all true, all text."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from medr1_lib.data.phantom_vqa import ATTRIBUTES, STEMS, values
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.question import LETTERS, MODALITIES
from medr1_lib.data.rationale import rationale
from medr1_lib.data.styles import STYLES, listed, prompt
from medr1_lib.model.tiny import ASK_CAPTION, phrases

QUESTION_TYPE_OF = {name: question_type for question_type, name in ATTRIBUTES.items()}
LOOK_UPS = 6  # keys per list of options


@dataclass(frozen=True)
class Lesson:
    """One training row.

    Attributes:
        parts: Pieces of text in order, each with whether it is taught or only read.
        named: Letter and text of the right option where the letter is due before any reasoning.
    """

    parts: tuple[tuple[str, bool], ...]
    named: tuple[str, str] | None = None


@dataclass(frozen=True)
class Asked:
    """A question about a scene, before a style is chosen.

    Attributes:
        scene: What the picture shows.
        attribute: What is asked.
        stem: How it is asked.
        options: The four values in a random order.
        letter: The right one.
    """

    scene: Scene
    attribute: str
    stem: str
    options: tuple[str, ...]
    letter: str

    def prompt(self, style: str) -> str:
        """What the model is asked."""
        return prompt(self.stem, self.options, style)

    def answer(self, style: str) -> str:
        """The right completion."""
        return STYLES[style].completion(self.letter, rationale(self.scene, self.attribute))

    def named(self) -> tuple[str, str]:
        """The right option, letter and text."""
        return self.letter, self.options[LETTERS.index(self.letter)]


def ask(scene: Scene, rng: np.random.Generator) -> Asked:
    """A random question about a scene; grade and place are asked only where there is a lesion."""
    present = [name for name in ATTRIBUTES.values() if getattr(scene, name)]
    attribute = present[rng.integers(len(present))]
    choices = values(scene.modality, QUESTION_TYPE_OF[attribute])
    options = tuple(str(text) for text in rng.permutation(choices))
    stem = STEMS[attribute][rng.integers(2)]
    letter = LETTERS[options.index(getattr(scene, attribute))]
    return Asked(scene, attribute, stem, options, letter)


def caption(scene: Scene) -> str:
    """Everything a scene shows.

    Example:
        >>> healthy = ("CT", "head", "no abnormality", None, None, "bone window", "scanner 1", 7)
        >>> caption(Scene(*healthy))
        'modality: CT, anatomy: head, acquisition: bone window, finding: no abnormality'
    """
    names = ("modality", "anatomy", "acquisition", "finding", "grade", "place")
    return ", ".join(f"{name}: {getattr(scene, name)}" for name in names if getattr(scene, name))


def turn(text: str) -> str:
    """The rest of the user's turn after an image, and the opening of the reply."""
    return f"<|vision_end|>{text}<|im_end|>\n<|im_start|>assistant\n"


def described(scene: Scene, rng: np.random.Generator) -> Lesson:
    """A caption, or an open question answered without letters."""
    if rng.random() < 0.5:
        return _lesson(ASK_CAPTION, caption(scene))
    asked = ask(scene, rng)
    return _lesson(asked.stem, rationale(scene, asked.attribute))


def answered(name: str) -> Callable[[Scene, np.random.Generator], Lesson]:
    """Questions answered in the style of that name."""

    def lesson(scene: Scene, rng: np.random.Generator) -> Lesson:
        asked = ask(scene, rng)
        taught = _lesson(asked.prompt(name), asked.answer(name))
        return replace(taught, named=None if name == "think_before" else asked.named())

    return lesson


def told(scene: Scene, rng: np.random.Generator) -> Lesson:
    """A question whose image is a caption: text alone."""
    asked, style = ask(scene, rng), "no_think"
    shown = (f"<|im_start|>user\n<|vision_start|>{caption(scene)}. ", False)
    rest = _lesson(asked.prompt(style), asked.answer(style))
    return Lesson((shown, *rest.parts), asked.named())


def _lesson(prompt: str, reply: str) -> Lesson:
    return Lesson(((turn(prompt), False), (reply + "<|im_end|>", True)))


def looked_up(rng: np.random.Generator) -> Lesson:
    """Text alone: a list of options, then the letters of six of its texts, drawn with repetition.

    Half of the lists are those of a question, half are mixed from all phrases.
    """
    attribute = list(QUESTION_TYPE_OF)[rng.integers(len(QUESTION_TYPE_OF))]
    choices = values(MODALITIES[rng.integers(len(MODALITIES))], QUESTION_TYPE_OF[attribute])
    pool = choices if rng.random() < 0.5 else phrases()
    options = [str(text) for text in rng.choice(pool, len(LETTERS), replace=False)]
    parts = [(listed(options) + ". ", False)]
    for place in rng.integers(0, len(LETTERS), LOOK_UPS):
        parts.append((f"{attribute}: {options[place]}</think><answer>", False))
        parts += [(LETTERS[place], True), ("</answer>", False)]
    return Lesson(tuple(parts))
