"""The training split of a data set as TRL reads it: prompts, images, and what is right."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.compute as pc
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
    root = Path(recipe.data)
    splits = dataset.read(root)
    if "train" not in splits:
        raise InputError(root, "has no train split", "build or import it with one")
    table = splits["train"].cast_column("image", datasets.Image(decode=False))
    wanted = zip(table["modality"], table["question_type"], strict=True)
    rows = [
        row
        for row, (modality, question_type) in enumerate(wanted)
        if modality in (recipe.modality or (modality,))
        and question_type in (recipe.question_type or (question_type,))
    ]
    if not rows:
        asked = ", ".join([*recipe.modality, *recipe.question_type]) or "any modality"
        raise InputError(root, f"has no question of {asked}", "loosen the filters")
    chosen = table.select(np.random.default_rng(recipe.seed).permutation(rows))
    _check_images(chosen, root)
    return chosen


def prompts(recipe: Recipe) -> datasets.Dataset:
    """Rows with `prompt`, `image`, `answer` and what names the question, for `GRPOTrainer`.

    Images are decoded when a row is read, and those of a batch once each.

    Raises:
        InputError: As `questions`.
    """
    return questions(recipe).with_transform(reader(recipe))


def _check_images(table: datasets.Dataset, root: Path) -> None:
    content = pc.struct_field(table.with_format("arrow")["image"][:], "bytes")
    stored = pc.fill_null(pc.greater(pc.binary_length(content), 0), False)
    if not pc.all(stored).as_py():
        name = table[pc.index(stored, False).as_py()]["image_id"]
        raise InputError(f"{root}, train record {name}", "has no image", "build or import it again")


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
    found = {name: _decoded(name, image["bytes"]) for name, image in stored.items()}
    return [found[name] for name in rows["image_id"]]


def _decoded(name: str, content: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, SyntaxError) as error:
        problem = f"its image cannot be read: {error}"
        raise InputError(f"train record {name}", problem, "build or import it again") from error
