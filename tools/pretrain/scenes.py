"""Scenes of the pretraining split with their pictures, and what a Qwen2-VL tower is fed."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from medr1_lib.data import phantoms
from medr1_lib.data.phantom_vqa import ATTRIBUTES, questions, values
from medr1_lib.data.phantoms import GRADES, Scene, draw
from medr1_lib.data.question import MODALITIES
from medr1_lib.model.tiny import PATCH, PIXELS

ROWS = PIXELS // PATCH  # patches per side; a token of the model merges two by two
PATCHES = ROWS**2
TOKENS = PATCHES // 4
LESIONS = 1 + (len(phantoms.PRIMITIVES) - 1) * len(GRADES)
# As in Qwen2-VL's image processor (the statistics of CLIP).
MEAN = (0.48145466, 0.4578275, 0.40821073)
SPREAD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Pool:
    """Scenes and their pictures.

    Attributes:
        scenes: What the pictures show.
        pixels: Shape (scenes, 112, 112, 3), bytes.
    """

    scenes: list[Scene]
    pixels: NDArray[np.uint8]


def pool(seed: int, per_cell: int, label: str) -> Pool:
    """Draw the scenes behind `per_cell` pretraining questions of each cell."""
    asked = questions("pretrain", seed, per_cell)
    scenes = [question.scene for question in asked if question.scene]
    pixels = np.empty((len(scenes), PIXELS, PIXELS, 3), np.uint8)
    for index, scene in enumerate(tqdm(scenes, desc=label, unit="image", disable=None)):
        pixels[index] = np.asarray(draw(scene))
    return Pool(scenes, pixels)


def patches(pixels: NDArray[np.uint8]) -> Tensor:
    """Pictures as `Qwen2VLImageProcessor` cuts them: shape (pictures x 64, 1176), in fours.

    The same numbers, ten times sooner; a test compares them.
    """
    half = ROWS // 2
    scaled = (torch.from_numpy(pixels).float() / 255 - torch.tensor(MEAN)) / torch.tensor(SPREAD)
    cut = scaled.view(-1, half, 2, PATCH, half, 2, PATCH, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    twice = cut.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)  # a still is two frames
    return twice.reshape(len(pixels) * PATCHES, -1)


def grid(pictures: int) -> Tensor:
    """The `image_grid_thw` of that many pictures."""
    return torch.tensor([[1, ROWS, ROWS]] * pictures)


def vocabulary() -> dict[str, list[str]]:
    """For every attribute of a scene, all the words that it can take in any modality."""
    words = {
        name: [text for modality in MODALITIES for text in values(modality, question_type)]
        for question_type, name in ATTRIBUTES.items()
    }
    named = {"modality": list(MODALITIES)} | words
    return {name: list(dict.fromkeys(texts)) for name, texts in named.items()}


def truths(scenes: list[Scene]) -> Tensor:
    """For every scene the place of its attributes in `vocabulary`; -100 where there is none."""
    known = vocabulary()
    rows = [[getattr(scene, name) for name in known] for scene in scenes]
    return torch.tensor(
        [
            [-100 if value is None else words.index(value) for value, words in pairs]
            for pairs in (zip(row, known.values(), strict=True) for row in rows)
        ]
    )


def lesions(scenes: list[Scene]) -> Tensor:
    """For every scene and image token which lesion lies there, of `LESIONS` kinds, 0 for none.

    Shape (scenes, 16). The four places are the inner four of the 4 x 4 tokens.
    """
    marked = torch.zeros(len(scenes), TOKENS, dtype=torch.long)
    tokens = dict(zip(phantoms.PLACES, (5, 6, 9, 10), strict=True))
    for row, scene in zip(marked, scenes, strict=True):
        if scene.place and scene.grade:
            primitive = phantoms.PRIMITIVES.index(scene.primitive)
            kind = 1 + len(GRADES) * (primitive - 1) + GRADES.index(scene.grade)
            row[tokens[scene.place]] = kind
    return marked
