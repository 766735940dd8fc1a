"""A prompt is read once for its whole group: what all completions go on from."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from medr1_lib.model.loading import Policy, base_model

PIXELS = ("pixel_values", "image_grid_thw")


@dataclass(frozen=True)
class Prefix:
    """Prompts that were read up to their last token.

    Attributes:
        cache: Keys and values of all layers, a row per prompt.
        mask: Which tokens are not padding, (prompts, length - 1).
        last: The last token of each prompt, which is not in the cache, (prompts, 1).
        position: The rotary position of that token, (prompts, 1).
    """

    cache: DynamicCache
    mask: Tensor
    last: Tensor
    position: Tensor


def read_prompts(model: Policy, inputs: Mapping[str, Tensor]) -> Prefix:
    """Read prompts up to their last token, with gradient where gradients are kept.

    The last token is left to the completions: each begins with a copy of it, and so every token of
    a completion has an output of its own that predicts it.

    Args:
        model: The policy, as it is or wrapped for parallel training.
        inputs: What the processor makes of prompts, padded on the left: `input_ids` and
            `attention_mask` (prompts, length), and with images also `mm_token_type_ids`,
            `pixel_values` and `image_grid_thw`.
    """
    core, ids, mask = unwrapped(model), inputs["input_ids"], inputs["attention_mask"]
    positions, _ = core.model.get_rope_index(
        ids,
        mm_token_type_ids=inputs.get("mm_token_type_ids", torch.zeros_like(ids)),
        image_grid_thw=inputs.get("image_grid_thw"),
        attention_mask=mask,
    )
    cache = DynamicCache(config=core.config.get_text_config())
    model(
        input_ids=ids[:, :-1],
        attention_mask=mask[:, :-1],
        position_ids=positions[..., :-1],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        **{name: inputs[name] for name in PIXELS if name in inputs},
    )
    # A chat prompt ends in text, whose three positions are the same.
    return Prefix(cache, mask[:, :-1], ids[:, -1:], positions[0, :, -1:])


def continuation(
    prefix: Prefix, completions: Tensor, mask: Tensor, owner: Tensor
) -> dict[str, Any]:
    """What a forward pass over completions takes; its output t predicts token t of a completion.

    Args:
        prefix: The prompts.
        completions: Token ids, padded on the right, (completions, tokens).
        mask: 1 where a token counts, 0 where it is padding, (completions, tokens).
        owner: Which prompt each completion belongs to, (completions,).
    """
    last, position = prefix.last[owner], prefix.position[owner]
    steps = torch.arange(completions.shape[1], device=completions.device)
    return {
        "input_ids": torch.cat([last, completions[:, :-1]], 1),
        "attention_mask": torch.cat([prefix.mask[owner], torch.ones_like(last), mask[:, :-1]], 1),
        "position_ids": (position + steps).expand(3, -1, -1),
        "past_key_values": _rows(prefix.cache, owner),
    }


def unwrapped(model: Any) -> Any:  # noqa: ANN401 - a model in any wrapping
    """The Qwen2-VL inside an adapter and inside what parallel training wraps around a model."""
    return base_model(getattr(model, "module", model))


def _rows(cache: DynamicCache, owner: Tensor) -> DynamicCache:
    """A cache with copies of the rows of another, through which gradients flow back to it."""
    chosen: Any = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in chosen.layers:
        layer.keys = layer.keys.index_select(0, owner)
        layer.values = layer.values.index_select(0, owner)
    return chosen
