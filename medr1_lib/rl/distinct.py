"""A batch of groups repeats its prompts and their images; this finds the different ones."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedModel
from transformers.image_utils import make_flat_list_of_images

TEXT = ("input_ids", "attention_mask", "mm_token_type_ids")


def distinct_prompts(
    model: PreTrainedModel, inputs: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """The different prompts of a batch: two are the same if every token and every pixel is.

    Args:
        model: The Qwen2-VL that they are for.
        inputs: Prompts as the processor makes them, (rows, length), and their images.

    Returns:
        The prompts without repetition, in the order in which they first come, and for each row of
        `inputs` its place among them, (rows,).
    """
    images = _images(model, inputs)
    first: list[int] = []  # the row of each prompt that was not there before
    owner: list[int] = []
    known: dict[bytes, list[int]] = {}  # the prompts of a text
    for row, text in enumerate(inputs["input_ids"].cpu()):
        places = known.setdefault(text.numpy().tobytes(), [])
        same = (place for place in places if _equal(images[row], images[first[place]]))
        place = next(same, len(first))
        if place == len(first):
            places.append(place)
            first.append(row)
        owner.append(place)
    found = {name: inputs[name][first] for name in TEXT if name in inputs}
    if "pixel_values" in inputs:
        grids, patches = zip(*(images[row] for row in first), strict=True)
        found |= {"image_grid_thw": torch.cat(grids), "pixel_values": torch.cat(patches)}
    return found, torch.tensor(owner, device=inputs["input_ids"].device)


def _images(model: PreTrainedModel, inputs: Mapping[str, Tensor]) -> list[tuple[Tensor, ...]]:
    """Grids and patches of the images of each row."""
    ids = inputs["input_ids"]
    if "pixel_values" not in inputs:
        return [()] * len(ids)
    counts = (ids == model.config.vision_start_token_id).sum(1).tolist()
    grids = inputs["image_grid_thw"].split(counts)
    patches = inputs["pixel_values"].split([int(grid.prod(1).sum()) for grid in grids])
    return list(zip(grids, patches, strict=True))


def _equal(some: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(*pair) for pair in zip(some, others, strict=True))


@contextmanager
def distinct_images(processor: Any) -> Iterator[None]:  # noqa: ANN401 - any of Qwen's
    """Within it, an image processor cuts each different image of a batch into patches once."""
    plain = processor.preprocess

    def preprocess(images: Any, **settings: Any) -> BatchFeature:  # noqa: ANN401
        flat: Any = make_flat_list_of_images(images)
        keys = [_key(image) for image in flat]
        first = dict(zip(keys, flat, strict=True))
        owner = [list(first).index(key) for key in keys]
        found = plain(list(first.values()), **settings)
        sizes = [int(grid.prod()) for grid in found["image_grid_thw"]]
        spans = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        rows = np.concatenate([spans[place] for place in owner])
        found["image_grid_thw"] = found["image_grid_thw"][owner]
        found["pixel_values"] = found["pixel_values"][rows]
        return found

    processor.preprocess = preprocess
    try:
        yield
    finally:
        del processor.preprocess


def _key(image: Image.Image) -> tuple[object, ...]:
    return image.mode, image.size, image.tobytes(), tuple(image.getpalette() or ())
