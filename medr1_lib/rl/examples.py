"""The training split of a data set as TRL reads it: prompts, images, and what is right."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image

from medr1_lib.data import dataset
from medr1_lib.data.styles import prompt
from medr1_lib.errors import InputError
from medr1_lib.rl.recipe import Recipe

Rows = Mapping[str, list[Any]]
KEPT = ("answer", "image_id", "modality", "question_type")


def questions(recipe: Recipe) -> datasets.Dataset:
    """The questions of a recipe, shuffled once by its seed, as they lie on disk.

    Raises:
        InputError: If there is no training split, an image is missing, or the filters leave none.
    """
    table = dataset.read_split(Path(recipe.data), "train")
    wanted = zip(table["modality"], table["question_type"], strict=True)
    rows = [
        row
        for row, (modality, question_type) in enumerate(wanted)
        if modality in (recipe.modality or (modality,))
        and question_type in (recipe.question_type or (question_type,))
    ]
    if not rows:
        asked = ", ".join([*recipe.modality, *recipe.question_type]) or "any modality"
        raise InputError(recipe.data, f"has no question of {asked}", "loosen the filters")
    return table.select(np.random.default_rng(recipe.seed).permutation(rows))


def prompts(recipe: Recipe) -> datasets.Dataset:
    """Rows with `prompt`, `image`, `answer` and what names the question, for `GRPOTrainer`.

    Images are decoded when a row is read, and those of a batch once each.

    Raises:
        InputError: As `questions`.
    """
    return questions(recipe).with_transform(reader(recipe))


def reader(
    recipe: Recipe, more: Callable[[Rows], Rows] = lambda rows: {}
) -> Callable[[Rows], Rows]:
    """What turns stored rows into rows for a trainer; `more` adds columns of its own."""
    asked = recipe.style

    def transform(rows: Rows) -> Rows:
        texts = zip(rows["question"], rows["options"], strict=True)
        turns = [[{"role": "user", "content": prompt(*text, asked)}] for text in texts]
        kept = {name: rows[name] for name in KEPT}
        return {"prompt": turns, "image": _opened(rows), **kept, **more(rows)}

    return transform


def _opened(rows: Rows) -> list[Image.Image]:
    """The images of a batch; a group of rollouts shares one."""
    stored = dict(zip(rows["image_id"], rows["image"], strict=True))
    found = {
        name: dataset.open_image(image["bytes"], f"train record {name}")
        for name, image in stored.items()
    }
    return [found[name] for name in rows["image_id"]]
