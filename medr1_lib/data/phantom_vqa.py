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
from medr1_lib.data.phantoms import EVERYDAY, SCANNERS, Scene, draw, random_scene, vocabulary
from medr1_lib.data.question import DOMAINS, LETTERS, MODALITIES, QUESTION_TYPES, Question
from medr1_lib.errors import InputError

# A scene's seed leaves the remainder of its split when divided by 3, so no image is in two splits.
SPLITS = ("pretrain", "train", "test")
PER_CELL = 64  # a multiple of 32: two stems x four values x four letters, each equally often
TRAIN_FACTOR = 4
MARKS = ("random", "absent", "reversed")

ATTRIBUTES = dict(
    zip(QUESTION_TYPES, ("acquisition", "anatomy", "finding", "grade", "place"), strict=True)
)
STEMS = {
    "acquisition": ("How was this image acquired?", "Which acquisition is this?"),
    "anatomy": ("Which part of the body is shown?", "What does this image show a view of?"),
    "finding": ("Which finding is present?", "What is the diagnosis?"),
    "grade": ("How severe is the lesion?", "What is the grade of the lesion?"),
    "place": ("Where in the picture is the lesion?", "What is the location of the lesion?"),
    "modality": ("Which imaging modality is this?", "What kind of image is this?"),
}
EVERYDAY_STEMS = {
    "acquisition": ("How was this picture made?", "Which light or technique is this?"),
    "anatomy": ("Which subject is shown?", "What does this picture show a view of?"),
    "finding": ("Which object is present?", "What is the added object?"),
    "grade": ("How large is the object?", "What is the size of the object?"),
    "place": ("Where in the picture is the object?", "What is the location of the object?"),
}
# Texts that are never right: what the distractors of OmniMedVQA mostly are.
NEVER_RIGHT = {
    "acquisition": ("PET scan", "SPECT", "thermography", "endoscopy", "arthrography", "scintigram"),
    "anatomy": ("shoulder", "ankle", "spleen", "tongue", "elbow", "gallbladder"),
    "finding": ("fracture", "hernia", "thrombosis", "foreign body", "atrophy", "stenosis"),
    "grade": ("stage I", "stage II", "grade 0", "borderline", "critical", "terminal"),
    "place": ("center", "left margin", "right margin", "both sides", "top edge", "bottom edge"),
}


def values(modality: str, question_type: str) -> tuple[str, ...]:
    """The four possible answers of one cell of the benchmark.

    Example:
        >>> values("OCT", "Disease Diagnosis")
        ('no abnormality', 'scar', 'edema', 'drusen')
    """
    return vocabulary(modality)[ATTRIBUTES[question_type]]


def stems(modality: str, attribute: str) -> tuple[str, str]:
    """The two ways of asking for an attribute in a modality."""
    return (EVERYDAY_STEMS if modality in EVERYDAY else STEMS)[attribute]


def questions(
    split: str,
    seed: int = 0,
    per_cell: int = PER_CELL,
    leaky: bool = False,
    shortcut: float = 0.0,
    mark: str = "random",
    domain: str = "medical",
) -> Iterator[Question]:
    """Yield `per_cell` questions for each modality and question type, cell by cell.

    All four options are right elsewhere in the same cell, and stem, value and letter are crossed:
    a rule that does not see the image is right one time in four.

    Args:
        split: One of `SPLITS`; their images are disjoint.
        seed: Everything follows from it.
        per_cell: Questions per cell; a multiple of 32 makes the balance exact.
        leaky: Most distractors are never right anywhere, and one test question in six is about an
            image of the training split: two flaws of OmniMedVQA.
        shortcut: Share of questions whose scanner is tied to the answer, 0 (none) to 1.
        mark: Scanner on the images: `random`, `absent`, or `reversed` (that of a wrong option).
        domain: `medical`, or `general`: everyday drawings, which have no flaws and no scanner.

    Example:
        >>> next(questions("test")).options
        ('soft tissue window', 'bone window', 'contrast phase', 'lung window')
    """
    named = ("split", split, SPLITS), ("mark", mark, MARKS), ("domain", domain, tuple(DOMAINS))
    for kind, name, known in named:
        if name not in known:
            remedy = f"use one of {', '.join(known)}"
            raise InputError(f"{kind} {name!r}", f"no such {kind}", remedy)
    if per_cell < 1 or seed < 0:
        problem = f"{per_cell} questions per cell from seed {seed}"
        raise InputError("phantoms", problem, "use at least one question and a seed of 0 or more")
    if not 0 <= shortcut <= 1:
        problem = f"a strength of {shortcut}"
        raise InputError("shortcut", problem, "use a share between 0 and 1")
    if domain == "general" and (leaky or shortcut or mark != "random"):
        problem = "has no leaky, shortcut or mark variant"
        raise InputError("domain general", problem, "leave those arguments out")
    for modality, (column, question_type) in product(DOMAINS[domain], enumerate(QUESTION_TYPES)):
        row = (*MODALITIES, *EVERYDAY).index(modality)
        attribute, choices = ATTRIBUTES[question_type], values(modality, question_type)
        for index in range(per_cell):
            # Any four questions in a row have four values at four letters, any sixteen all pairs.
            value, place, stem = index % 4, (index + index // 4) % 4, index // 16 % 2
            shown_in = "train" if leaky and index % 6 == 0 else split
            rng = np.random.default_rng((seed, SPLITS.index(shown_in), row, column, index, 0))
            fixed = {attribute: choices[value]}
            if rng.random() < shortcut:
                fixed["scanner"] = SCANNERS[value]
            scene = _of_split(random_scene(rng, modality, **fixed), shown_in)
            if mark != "random":
                other = SCANNERS[(value + 1) % 4] if mark == "reversed" else None
                scene = replace(scene, scanner=other)
            # The options have a generator of their own, so that no variant of scenes changes them.
            rng = np.random.default_rng((seed, SPLITS.index(split), row, column, index, 1))
            wrong = [text for text in choices if text != choices[value]]
            if leaky and rng.random() < 0.95:
                wrong = list(NEVER_RIGHT[attribute])
            texts = [str(text) for text in rng.permutation(wrong)[:3]]
            texts.insert(place, choices[value])
            asked = stems(modality, attribute)[stem]
            yield _about(scene, asked, texts, place, question_type)


def which_modality(seed: int = 0, count: int = 8 * PER_CELL) -> Iterator[Question]:
    """Yield questions that ask for the modality itself, pooled over all of them.

    They are a set of their own: inside one modality the answer is known without the image.
    """
    rng = np.random.default_rng((seed, len(SPLITS)))
    for index in range(count):
        right, place, stem = index % 8, (index + index // 8) % 4, index // 32 % 2
        scene = _of_split(random_scene(rng, MODALITIES[right]), "test")
        wrong = [str(text) for text in rng.permutation(MODALITIES) if text != MODALITIES[right]]
        texts = [*wrong[:place], MODALITIES[right], *wrong[place:3]]
        yield _about(scene, STEMS["modality"][stem], texts, place, "Modality Recognition")


def _of_split(scene: Scene, split: str) -> Scene:
    return replace(scene, seed=scene.seed * len(SPLITS) + SPLITS.index(split))


def _about(scene: Scene, stem: str, texts: list[str], place: int, question_type: str) -> Question:
    name = "phantom-" + hashlib.sha256(scene.to_json().encode()).hexdigest()[:16]
    labels = scene.modality, question_type, name, "phantom"
    return Question(stem, tuple(texts), LETTERS[place], *labels, scene)


def build(
    out: Path,
    seed: int = 0,
    per_cell: int = PER_CELL,
    leaky: bool = False,
    shortcut: float = 0.0,
    mark: str = "random",
    domain: str = "medical",
) -> datasets.DatasetDict:
    """Draw the benchmark and write it: `train` (four times as many), `test`, and `which_modality/`.

    The general domain has no `which_modality/`.
    The shortcut is planted in `train` only, so that a model which took it fails in `test`; `mark`
    changes `test` only.
    """
    card = {"source": "PhantomMedVQA", "seed": seed, "per_cell": per_cell, "leaky": leaky}
    card |= {"shortcut": shortcut, "mark": mark}
    train = questions("train", seed, TRAIN_FACTOR * per_cell, leaky, shortcut, domain=domain)
    test = questions("test", seed, per_cell, leaky, mark=mark, domain=domain)
    if domain == "medical":
        apart = {"which_modality": {"test": _rows(which_modality(seed, 8 * per_cell), "test")}}
    else:
        card, apart = card | {"domain": domain}, {}
    drawn = {"train": _rows(train, "train"), "test": _rows(test, "test")}
    return dataset.write(out, drawn, card, apart)


def write(
    out: Path, splits: Mapping[str, Iterable[Question]], card: Mapping[str, Any]
) -> datasets.DatasetDict:
    """Write questions about phantoms as a data set, as `dataset.write`, and draw their images."""
    return dataset.write(out, {name: _rows(asked, name) for name, asked in splits.items()}, card)


def _rows(asked: Iterable[Question], label: str) -> Iterator[dict[str, Any]]:
    for question in tqdm(list(asked), desc=label, unit="image"):
        assert question.scene is not None
        yield question.record({"bytes": images.png(draw(question.scene)), "path": None})
