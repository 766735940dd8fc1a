"""PhantomMedVQA: questions about phantoms, balanced so that only the image can answer them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from medr1_lib.data import dataset, images
from medr1_lib.data.phantoms import EVERYDAY, draw, random_scene, vocabulary
from medr1_lib.data.phantoms.scene import WORDS
from medr1_lib.data.question import DOMAINS, LETTERS, MODALITIES, QUESTION_TYPES, Question
from medr1_lib.errors import InputError

# A scene's seed leaves the remainder of its split when divided by 3, so no image is in two splits.
SPLITS = ("pretrain", "train", "test")
PER_CELL = 64  # a multiple of 32: two stems x four values x four letters, each equally often
TRAIN_FACTOR = 4

ASKED_FOR = ("acquisition", "anatomy", "finding", "grade", "place")
ATTRIBUTES = dict(zip(QUESTION_TYPES, ASKED_FOR, strict=True))
STEMS: dict[str, dict[str, list[str]]] = WORDS["stems"]  # by domain and attribute


def values(modality: str, question_type: str) -> tuple[str, ...]:
    """The four possible answers of one cell of the benchmark."""
    return vocabulary(modality)[ATTRIBUTES[question_type]]


def stems(modality: str, attribute: str) -> list[str]:
    """The two ways of asking for an attribute in a modality."""
    return STEMS["general" if modality in EVERYDAY else "medical"][attribute]


def questions(
    split: str, seed: int = 0, per_cell: int = PER_CELL, leaky: float = 0.0, domain: str = "medical"
) -> Iterator[Question]:
    """Yield `per_cell` questions for each modality and question type, cell by cell.

    All four options are right elsewhere in the same cell, and stem, value and letter are crossed:
    a rule that does not see the image is right one time in four, exactly so if `per_cell` is a
    multiple of 32. Everything follows from the `seed`; the images of the `SPLITS` are disjoint.
    In a share of the questions, `leaky`, distractors are never right anywhere; with any, one test
    question in six shows a training image: two flaws of OmniMedVQA. The `domain` `general` holds
    everyday drawings and has neither.
    """
    for kind, name, known in (("split", split, SPLITS), ("domain", domain, tuple(DOMAINS))):
        if name not in known:
            remedy = f"use one of {', '.join(known)}"
            raise InputError(f"{kind} {name!r}", f"no such {kind}", remedy)
    if per_cell < 1 or seed < 0:
        problem = f"{per_cell} questions per cell from seed {seed}"
        raise InputError("phantoms", problem, "use at least one question and a seed of 0 or more")
    if not 0 <= leaky <= 1:
        raise InputError("leaky", f"a share of {leaky}", "use one between 0 and 1")
    if domain == "general" and leaky:
        raise InputError("domain general", "has no leaky variant", "leave that argument out")
    for modality, (column, question_type) in product(DOMAINS[domain], enumerate(QUESTION_TYPES)):
        row = (*MODALITIES, *EVERYDAY).index(modality)
        attribute, choices = ATTRIBUTES[question_type], values(modality, question_type)
        for index in range(per_cell):
            # Any four questions in a row have four values at four letters, any sixteen all pairs.
            value, place, stem = index % 4, (index + index // 4) % 4, index // 16 % 2
            shown_in = "train" if leaky and index % 6 == 0 else split
            rng = np.random.default_rng((seed, SPLITS.index(shown_in), row, column, index, 0))
            rng.random()  # leave it, or every picture of today becomes another one
            scene = random_scene(rng, modality, **{attribute: choices[value]})
            seed_of_split = scene.seed * len(SPLITS) + SPLITS.index(shown_in)
            scene = replace(scene, seed=seed_of_split)
            # The options have a generator of their own, so that no variant of scenes changes them.
            rng = np.random.default_rng((seed, SPLITS.index(split), row, column, index, 1))
            wrong = [text for text in choices if text != choices[value]]
            if leaky and rng.random() < leaky:
                wrong = list(WORDS["never_right"][attribute])
            texts = [str(text) for text in rng.permutation(wrong)[:3]]
            texts.insert(place, choices[value])
            asked = stems(modality, attribute)[stem]
            name = "phantom-" + hashlib.sha256(scene.to_json().encode()).hexdigest()[:16]
            labels = modality, question_type, name, "phantom"
            yield Question(asked, tuple(texts), LETTERS[place], *labels, scene)


def build(
    out: Path, seed: int = 0, per_cell: int = PER_CELL, leaky: float = 0.0, domain: str = "medical"
) -> datasets.DatasetDict:
    """Draw the benchmark and write it: `train` (four times as many) and `test`."""
    asked = {"seed": seed, "per_cell": per_cell, "leaky": leaky, "domain": domain}
    card = {"source": "PhantomMedVQA", **asked}
    train = questions("train", seed, TRAIN_FACTOR * per_cell, leaky, domain)
    test = questions("test", seed, per_cell, leaky, domain)
    return write(out, {"train": train, "test": test}, card)


def write(
    out: Path, splits: Mapping[str, Iterable[Question]], card: Mapping[str, Any]
) -> datasets.DatasetDict:
    """Write questions about phantoms as a data set, as `dataset.write`, and draw their images."""

    def rows(name: str) -> Iterator[dict[str, Any]]:
        for question in tqdm([*splits[name]], desc=name, unit="image"):
            assert question.scene is not None
            yield question.record({"bytes": images.png(draw(question.scene)), "path": None})

    return dataset.write(out, {name: rows(name) for name in splits}, card)
