"""Pictures of the pretraining split, what a Qwen2-VL tower is fed, and what it gives back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import linear
from tqdm.auto import tqdm
from transformers import AttentionInterface
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import Scene, draw
from tools.pretrain.tiny import PATCH, PIXELS

ROWS = PIXELS // PATCH  # patches per side; a token of the model merges two by two
PATCHES = ROWS**2
TOKENS = PATCHES // 4
# As in Qwen2-VL's image processor (the statistics of CLIP).
MEAN = (0.48145466, 0.4578275, 0.40821073)
SPREAD = (0.26862954, 0.26130258, 0.27577711)
TOGETHER = "flash_pictures"  # a name with "flash" gets all pictures of a batch in one call


@dataclass(frozen=True)
class Pictures:
    """Scenes and their pictures.

    Attributes:
        scenes: What the pictures show.
        pixels: Shape (scenes, 112, 112, 3), bytes.
    """

    scenes: list[Scene]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Features:
    """Scenes and what the frozen tower makes of their pictures.

    Attributes:
        scenes: What the pictures show.
        values: Shape (scenes, 16, width), half precision.
    """

    scenes: Sequence[Scene]
    values: Tensor


def drawn(domain: str, seed: int, per_cell: int, label: str) -> Pictures:
    """Draw the scenes behind `per_cell` pretraining questions of each cell of a domain."""
    asked = questions("pretrain", seed, per_cell, domain=domain)
    scenes = [question.scene for question in asked if question.scene]
    pixels = np.empty((len(scenes), PIXELS, PIXELS, 3), np.uint8)
    for index, scene in enumerate(tqdm(scenes, desc=label, unit="image", disable=None)):
        pixels[index] = np.asarray(draw(scene))
    return Pictures(scenes, pixels)


def patches(pixels: NDArray[np.uint8]) -> Tensor:
    """Pictures as `Qwen2VLImageProcessor` cuts them: shape (pictures x 64, 1176), in fours.

    The same numbers, ten times sooner; a test compares them.
    """
    half = ROWS // 2
    scaled = (torch.from_numpy(pixels).float() / 255 - torch.tensor(MEAN)) / torch.tensor(SPREAD)
    cut = scaled.view(-1, half, 2, PATCH, half, 2, PATCH, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    twice = cut.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)  # a still is two frames
    return twice.reshape(len(pixels) * PATCHES, -1)


def encode(tower: Qwen2VisionTransformerPretrainedModel, pixels: NDArray[np.uint8]) -> Tensor:
    """The features of some pictures: shape (pictures, 16, width)."""
    grid = torch.tensor([[1, ROWS, ROWS]] * len(pixels))
    with _together(tower), torch.autocast("cpu", torch.bfloat16):
        output = tower(patches(pixels), grid_thw=grid)
    return output.pooler_output.float().unflatten(0, (len(pixels), TOKENS))


@contextmanager
def _together(tower: Qwen2VisionTransformerPretrainedModel) -> Iterator[None]:
    """Let pictures of one size pass side by side: the same sums as one by one, in half the time."""
    before = tower.config._attn_implementation
    tower.config._attn_implementation = TOGETHER
    tower.patch_embed.forward = partial(_embed, tower.patch_embed.proj)  # type: ignore[method-assign]
    try:
        yield
    finally:
        tower.config._attn_implementation = before
        del tower.patch_embed.forward


def _embed(filters: nn.Conv3d, cut: Tensor) -> Tensor:
    return linear(cut, filters.weight.flatten(1))


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention inside every picture; tensors of shape (1, heads, pictures x 64, size)."""
    q, k, v = (part[0].unflatten(1, (-1, PATCHES)).transpose(0, 1) for part in (query, key, value))
    read = (scaling * q @ k.transpose(-1, -2)).softmax(-1) @ v
    return read.transpose(1, 2).flatten(0, 1)[None], None


AttentionInterface.register(TOGETHER, _attend)


@torch.no_grad()
def features(tower: Qwen2VisionTransformerPretrainedModel, shown: Pictures) -> Features:
    """The features of every picture, computed once: exact, since the tower is frozen by then."""
    starts = range(0, len(shown.pixels), 100)
    parts = [encode(tower, shown.pixels[start : start + 100]).half() for start in starts]
    return Features(shown.scenes, torch.cat(parts))
