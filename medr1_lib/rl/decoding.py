"""The decoding loop of a group: its completions lie side by side in one row, behind one prompt."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer

from medr1_lib.rl.prefix import Prefix


def side_by_side(
    model: Any,  # noqa: ANN401 - a Qwen2-VL or a Qwen2.5-VL
    input_ids: Any,  # noqa: ANN401 - a tensor, which transformers wants to be a LongTensor
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    prefix: Prefix,
    **_: object,
) -> Tensor:
    """A loop for `generate(custom_generate=side_by_side)`: a step adds a token to each completion.

    A row of the model holds all completions of a prompt, where a token sees the prompt and what
    comes before it in its own completion. The keys and values of the prompt are there only once.

    Args:
        model: The policy.
        input_ids: The prompts, one for each completion, (completions, length).
        logits_processor: From `generate`, what to do to logits before sampling.
        stopping_criteria: From `generate`, when a completion ends.
        generation_config: From `generate`, how to sample.
        prefix: The prompts, read; its cache is used up.

    Returns:
        Prompts and completions, (completions, tokens).
    """
    rows, count = len(prefix.last), len(input_ids) // len(prefix.last)
    _make_room(prefix, count * (generation_config.max_length - input_ids.shape[1]))
    visible = prefix.mask.bool()[:, None, None].expand(-1, -1, count, -1)
    own = torch.eye(count, dtype=torch.bool, device=visible.device).expand(rows, 1, -1, -1)
    position = prefix.position.expand(3, -1, count)
    ended = torch.zeros_like(input_ids[:, 0], dtype=torch.bool)
    while not ended.all():
        visible = torch.cat([visible, own], 3)
        hidden = model.model.language_model(
            input_ids=input_ids[:, -1].view(rows, count),
            attention_mask=visible,
            position_ids=position,
            past_key_values=prefix.cache,
            use_cache=True,
        ).last_hidden_state
        logits = model.lm_head(hidden).flatten(0, 1).float()
        words = _choose(logits_processor(input_ids, logits), generation_config.do_sample)
        words = words.masked_fill(ended, generation_config.pad_token_id)
        input_ids = torch.cat([input_ids, words[:, None]], 1)
        ended |= stopping_criteria(input_ids, None)
        position = position + 1
    return input_ids


def _choose(scores: Tensor, sample: bool) -> Tensor:
    if sample:
        return torch.multinomial(scores.softmax(-1), 1)[:, 0]
    return scores.argmax(-1)


class _Roomy(DynamicLayer):
    """Keys and values of a layer, with room: a cache that grows copies itself at each token."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        blank = keys.new_empty(*keys.shape[:2], room, keys.shape[3])
        self._all = torch.cat([keys, blank], 2), torch.cat([values, blank], 2)
        self._length = keys.shape[2]

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: object,
        **kwargs: object,
    ) -> tuple[Tensor, Tensor]:
        start, self._length = self._length, self._length + key_states.shape[2]
        for states, new in zip(self._all, (key_states, value_states), strict=True):
            states[:, :, start : self._length] = new
        keys, values = (states[:, :, : self._length] for states in self._all)
        return keys, values

    def get_seq_length(self) -> int:
        return self._length


def _make_room(prefix: Prefix, tokens: int) -> None:
    layers: Any = prefix.cache.layers
    prefix.cache.layers = [_Roomy(layer.keys, layer.values, tokens) for layer in layers]


@contextmanager
def merged(model: nn.Module) -> Iterator[None]:
    """Within it, an adapted layer multiplies once, by its weight plus that of its adapter.

    Weights in 4 bits are unpacked once, not at each token. Only where products are computed in
    float32: rounded to fewer bits, the sum would be another policy. Nothing is changed for good,
    as it would be by adding adapters to the weights and taking them off again.
    """
    # Not by its class: to import peft takes seconds, and a base has no adapter.
    adapted: Any = (layer for layer in model.modules() if hasattr(layer, "lora_A"))
    chosen = list(filter(_can_merge, adapted))
    try:
        for layer in chosen:
            layer.forward = partial(linear, weight=_sum(layer), bias=layer.get_base_layer().bias)
        yield
    finally:
        for layer in chosen:
            vars(layer).pop("forward", None)


def _sum(layer: Any) -> Tensor:  # noqa: ANN401 - peft's layers declare no types
    """The weight of a layer plus that of its adapter."""
    from peft.utils.integrations import dequantize_module_weight

    names = [] if layer.disable_adapters else layer.active_adapters
    base = layer.get_base_layer()
    return sum(map(layer.get_delta_weight, names), dequantize_module_weight(base))


def _can_merge(layer: Any) -> bool:  # noqa: ANN401 - peft's layers declare no types
    """Whether an adapter adds a product of two matrices, in float32, and nothing else."""
    base = layer.get_base_layer()
    more = layer.merged or layer.lora_variant or any(layer.lora_bias.values())
    silent = all(isinstance(dropout, nn.Identity) for dropout in layer.lora_dropout.values())
    dtype = getattr(base, "compute_dtype", None) or base.weight.dtype
    return isinstance(base, nn.Linear) and not more and silent and dtype == torch.float32
