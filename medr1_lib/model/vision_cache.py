"""The vision tower is frozen: each image is encoded once, however often it is asked about."""

import hashlib
from collections import OrderedDict
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from medr1_lib.model.loading import Policy, base_model

# By a hash of the image: what goes in at its tokens and, in Qwen3-VL, at layers further up.
Features = OrderedDict[bytes, Tensor]
LIMIT = 2**29  # bytes; an image of 196 tokens takes 0.6 MB in Qwen2-VL-2B


class VisionCache(AbstractContextManager["VisionCache"]):
    """Keeps the features of images that a model's frozen vision tower has encoded.

    Stands in for `get_image_features`, which `forward` and `generate` look up on the model, until
    the end of its `with`. Images are told apart by all their pixels; `encoded` counts
    those that went through the tower, `reused` those that did not have to. At most `limit` bytes
    are kept, those used longest ago go first. `features` are those of an earlier cache to go on.
    """

    def __init__(self, model: Policy, limit: int = LIMIT, features: Features | None = None) -> None:
        self._core = base_model(model).model
        self._encode = self._core.get_image_features
        self._features: Features = OrderedDict() if features is None else features
        self._limit, self._bytes = limit, sum(kept.nbytes for kept in self._features.values())
        self.encoded = self.reused = 0
        self._core.get_image_features = self

    def __exit__(self, *_: object) -> None:
        """Give the model its own way back and forget every image."""
        self._core.get_image_features = self._encode
        self._features, self._bytes = OrderedDict(), 0

    def __call__(
        self, pixel_values: Tensor, image_grid_thw: Tensor, **kwargs: object
    ) -> BaseModelOutputWithPooling:
        """The features of a batch of images, as `get_image_features` returns them.

        `pixel_values` are the patches of all images, one after the other, (patches, values), and
        `image_grid_thw` counts those of each in time, height and width, (images, 3).
        """
        weights = self._core.visual.parameters()
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in weights):
            raise RuntimeError("the vision tower is being trained: freeze it or remove the cache")
        images = pixel_values.split(image_grid_thw.prod(-1).tolist())
        keys = [_key(*image) for image in zip(images, image_grid_thw, strict=True)]
        features = {key: self._features[key] for key in keys if key in self._features}
        new = {key: i for i, key in enumerate(keys) if key not in features}
        if new:
            patches = torch.cat([images[i] for i in new.values()])
            grids = image_grid_thw[list(new.values())]
            with torch.no_grad():  # or activation checkpointing draws the tower into the graph
                found = self._encode(patches, grids, **kwargs | {"return_dict": True})
            # Side by side in one tensor, (1 + layers, tokens, width).
            more: Any = getattr(found, "deepstack_features", None) or ()
            levels: Any = [found.pooler_output, *more]
            features |= dict(zip(new, map(torch.stack, zip(*levels, strict=True)), strict=True))
        self.encoded += len(new)
        self.reused += len(keys) - len(new)
        for key, tensor in features.items():
            if key not in self._features:
                # A copy: a slice would keep the features of its whole batch alive.
                self._features[key] = tensor.clone()
                self._bytes += tensor.nbytes
            self._features.move_to_end(key)
        while self._bytes > self._limit:
            _, oldest = self._features.popitem(last=False)
            self._bytes -= oldest.nbytes
        # transformers declares a tensor here and returns a tuple, one entry per image.
        kept: Any = [features[key] for key in keys]
        pooled, *deeper = zip(*kept, strict=True)
        output = BaseModelOutputWithPooling(pooler_output=cast(Tensor, pooled))
        output.deepstack_features = deeper
        return output


def _key(patches: Tensor, grid: Tensor) -> bytes:
    digest = hashlib.sha256(repr((patches.dtype, grid.tolist())).encode())
    digest.update(patches.detach().contiguous().cpu().view(torch.uint8).numpy().data)
    return digest.digest()
