"""What the language half learns from: captions, look-ups and questions, all true, all text."""

from dataclasses import dataclass, replace

import numpy as np

from medr1_lib.data.phantom_vqa import ATTRIBUTES, stems, values
from medr1_lib.data.phantoms import Scene, random_scene
from medr1_lib.data.question import DOMAINS, LETTERS
from medr1_lib.data.rationale import rationale
from medr1_lib.data.styles import STYLES, listed, prompt
from tools.pretrain.tiny import ASK_CAPTION, phrases

QUESTION_TYPE_OF = {name: question_type for question_type, name in ATTRIBUTES.items()}
LOOK_UPS = 6  # keys per list of options


@dataclass(frozen=True)
class Example:
    """One training row.

    Attributes:
        parts: Pieces of text in order, each with whether it is a target or only read.
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

    def turned(self, by: int) -> "Asked":
        """The same question with its options turned by so many places."""
        options = self.options[by:] + self.options[:by]
        right = self.options[LETTERS.index(self.letter)]
        return replace(self, options=options, letter=LETTERS[options.index(right)])


def ask(scene: Scene, rng: np.random.Generator) -> Asked:
    """A random question about a scene; grade and place are asked only where there is a lesion."""
    present = [name for name in ATTRIBUTES.values() if getattr(scene, name)]
    attribute = present[rng.integers(len(present))]
    choices = values(scene.modality, QUESTION_TYPE_OF[attribute])
    options = tuple(str(text) for text in rng.permutation(choices))
    stem = stems(scene.modality, attribute)[rng.integers(2)]
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


def described(scene: Scene, rng: np.random.Generator) -> Example:
    """A caption, or an open question answered without letters."""
    if rng.random() < 0.5:
        return _example(ASK_CAPTION, caption(scene))
    asked = ask(scene, rng)
    return _example(asked.stem, rationale(scene, asked.attribute))


def answered(asked: Asked, style: str) -> Example:
    """A question about an image, answered in a style."""
    taught = _example(asked.prompt(style), asked.answer(style))
    return replace(taught, named=None if style == "think_before" else asked.named())


def told(scene: Scene, rng: np.random.Generator) -> Example:
    """A question whose image is a caption: text alone, mostly without a rationale."""
    style = "no_think" if rng.random() < 0.7 else str(rng.choice(list(STYLES)))
    shown = (f"<|im_start|>user\n<|vision_start|>{caption(scene)}. ", False)
    rest = answered(ask(scene, rng), style)
    return replace(rest, parts=(shown, *rest.parts))


def looked_up(rng: np.random.Generator) -> Example:
    """Text alone: a list of options, then the letters of six of its texts, drawn with repetition.

    Half of the lists are those of a question, half are mixed from all phrases.
    """
    scene = any_scene(rng)
    attribute = list(QUESTION_TYPE_OF)[rng.integers(len(QUESTION_TYPE_OF))]
    choices = values(scene.modality, QUESTION_TYPE_OF[attribute])
    pool = choices if rng.random() < 0.5 else phrases(tuple(DOMAINS))
    options = [str(text) for text in rng.choice(pool, len(LETTERS), replace=False)]
    parts = [(listed(options) + ". ", False)]
    for place in rng.integers(0, len(LETTERS), LOOK_UPS):
        parts.append((f"{attribute}: {options[place]}</think><answer>", False))
        parts += [(LETTERS[place], True), ("</answer>", False)]
    return Example(tuple(parts))


def any_scene(rng: np.random.Generator) -> Scene:
    """A scene of either domain, never drawn: the language half reads about both."""
    kinds = list(DOMAINS.values())[rng.integers(len(DOMAINS))]
    return random_scene(rng, kinds[rng.integers(len(kinds))])


def _example(prompt: str, reply: str) -> Example:
    return Example(((turn(prompt), False), (reply + "<|im_end|>", True)))
