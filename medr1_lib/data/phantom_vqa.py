"""PhantomMedVQA: questions about phantoms, balanced so that only the image can answer them."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from medr1_lib.data import dataset, images, phantoms
from medr1_lib.data.phantoms import Scene, draw, random_scene
from medr1_lib.data.question import LETTERS, Question
from medr1_lib.data.taxonomy import MODALITIES, QUESTION_TYPES
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
    owned = {
        "acquisition": phantoms.ACQUISITIONS[modality],
        "anatomy": phantoms.ANATOMIES[modality],
        "finding": phantoms.FINDINGS[modality],
        "grade": phantoms.GRADES,
        "place": phantoms.PLACES,
    }
    return owned[ATTRIBUTES[question_type]]


def questions(
    split: str,
    seed: int = 0,
    per_cell: int = PER_CELL,
    leaky: bool = False,
    shortcut: float = 0.0,
    mark: str = "random",
) -> Iterator[Question]:
    """Yield `per_cell` questions for each modality and question type, cell by cell.

    In the standard variant all four options are right elsewhere in the same cell, and stem, value
    and letter are crossed: whatever does not see the image is right one time in four.

    Args:
        split: One of `SPLITS`; their images are disjoint.
        seed: Everything follows from it.
        per_cell: Questions per cell; a multiple of 32 makes the balance exact.
        leaky: Reproduce two flaws of OmniMedVQA: most distractors are never right anywhere, and
            one test question in six is about an image of the training split.
        shortcut: Share of questions whose scanner is tied to the answer, 0 (none) to 1.
        mark: What the scanner leaves on the picture: its own mark, none, or always that to which
            `shortcut` would tie the next value of the cell, a wrong option. Nothing else changes.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> next(questions("test")).options
        ('soft tissue window', 'bone window', 'contrast phase', 'lung window')
    """
    if split not in SPLITS:
        raise InputError(f"split {split!r}", "no such split", f"use one of {', '.join(SPLITS)}")
    if per_cell < 1 or seed < 0:
        raise InputError(
            "phantoms",
            f"{per_cell} questions per cell from seed {seed}",
            "use at least one question and a seed of 0 or more",
        )
    if not 0 <= shortcut <= 1:
        raise InputError("shortcut", f"a strength of {shortcut}", "use a share between 0 and 1")
    if mark not in MARKS:
        raise InputError(f"mark {mark!r}", "no such mark", f"use one of {', '.join(MARKS)}")
    for cell in product(MODALITIES, QUESTION_TYPES):
        for index in range(per_cell):
            yield _question(split, seed, cell, index, leaky, shortcut, mark)


def _question(
    split: str,
    seed: int,
    cell: tuple[str, str],
    index: int,
    leaky: bool,
    shortcut: float,
    mark: str,
) -> Question:
    attribute, choices = ATTRIBUTES[cell[1]], values(*cell)
    # Any four questions in a row have four values at four letters, any sixteen all pairs of them.
    value, place, stem = index % 4, (index + index // 4) % 4, index // 16 % 2
    shown_in = "train" if leaky and index % 6 == 0 else split
    scene = _marked(_scene(shown_in, seed, cell, index, shortcut), index, mark)
    rng = _rng(split, seed, cell, index, "options")
    wrong = [text for text in choices if text != choices[value]]
    if leaky and rng.random() < 0.95:
        wrong = list(NEVER_RIGHT[attribute])
    options = _placed(choices[value], [str(text) for text in rng.permutation(wrong)[:3]], place)
    return _about(scene, STEMS[attribute][stem], options, place, cell[1])


def _scene(split: str, seed: int, cell: tuple[str, str], index: int, shortcut: float) -> Scene:
    modality, question_type = cell
    rng = _rng(split, seed, cell, index, "scene")
    fixed = {ATTRIBUTES[question_type]: values(*cell)[index % 4]}
    if rng.random() < shortcut:
        fixed["scanner"] = phantoms.SCANNERS[index % 4]
    return _of_split(random_scene(rng, modality, **fixed), split)


def _marked(scene: Scene, index: int, mark: str) -> Scene:
    if mark == "random":
        return scene
    return replace(scene, scanner=phantoms.SCANNERS[(index + 1) % 4] if mark != "absent" else None)


def _rng(split: str, seed: int, cell: tuple[str, str], index: int, use: str) -> np.random.Generator:
    places = MODALITIES.index(cell[0]), QUESTION_TYPES.index(cell[1])
    return np.random.default_rng((seed, SPLITS.index(split), *places, index, use == "options"))


def _of_split(scene: Scene, split: str) -> Scene:
    return replace(scene, seed=scene.seed * len(SPLITS) + SPLITS.index(split))


def which_modality(seed: int = 0, count: int = 8 * PER_CELL) -> Iterator[Question]:
    """Yield questions that ask for the modality itself, pooled over all of them.

    A set of its own: inside one modality the question has one answer and needs no image.
    """
    rng = np.random.default_rng((seed, len(SPLITS)))
    for index in range(count):
        right, place, stem = index % 8, (index + index // 8) % 4, index // 32 % 2
        scene = _of_split(random_scene(rng, MODALITIES[right]), "test")
        wrong = [str(text) for text in rng.permutation(MODALITIES) if text != MODALITIES[right]]
        options = _placed(MODALITIES[right], wrong[:3], place)
        yield _about(scene, STEMS["modality"][stem], options, place, "Modality Recognition")


def build(
    out: Path,
    seed: int = 0,
    per_cell: int = PER_CELL,
    leaky: bool = False,
    shortcut: float = 0.0,
    mark: str = "random",
) -> datasets.DatasetDict:
    """Draw the benchmark and write it: `train` (four times as many), `test`, and `which_modality/`.

    The shortcut is planted in `train` only, so that a model which took it fails in `test`; `mark`
    is about `test` only.
    """
    arguments = {"seed": seed, "per_cell": per_cell, "leaky": leaky, "shortcut": shortcut}
    card = {"source": "PhantomMedVQA", **arguments, "mark": mark}
    train = questions("train", seed, TRAIN_FACTOR * per_cell, leaky, shortcut)
    test = questions("test", seed, per_cell, leaky, mark=mark)
    cells = len(MODALITIES) * len(QUESTION_TYPES)
    splits = {
        "train": rows(train, TRAIN_FACTOR * per_cell * cells, "train"),
        "test": rows(test, per_cell * cells, "test"),
    }
    built = dataset.write(out, splits, card)
    pooled = rows(which_modality(seed, 8 * per_cell), 8 * per_cell, "which_modality")
    dataset.write(out / "which_modality", {"test": pooled}, card)
    return built


def rows(drawn: Iterator[Question], count: int, label: str) -> Iterator[dict[str, Any]]:
    """Draw the picture of each question and yield the records that a data set holds."""
    for question in tqdm(islice(drawn, count), total=count, desc=label, unit="image"):
        assert question.scene is not None
        picture = images.png(draw(question.scene))
        yield question.record({"bytes": picture, "path": None})


def _placed(right: str, wrong: list[str], place: int) -> tuple[str, ...]:
    return (*wrong[:place], right, *wrong[place:])


def _about(
    scene: Scene, stem: str, options: tuple[str, ...], place: int, question_type: str
) -> Question:
    name = "phantom-" + hashlib.sha256(scene.to_json().encode()).hexdigest()[:16]
    return Question(
        stem, options, LETTERS[place], scene.modality, question_type, name, "phantom", scene
    )
