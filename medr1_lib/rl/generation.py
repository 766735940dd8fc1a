"""Sample and score a group of completions behind one shared prompt.

A prompt with an image is often longer than its completions, and a group has eight or more of them.
So a prompt is read once (`prefill`). To sample, the completions of a prompt lie side by side in
one row behind it (`decode_group`); to score them, each has a row of its own with a copy of the
prompt's keys and values (`completion_inputs`).
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import DynamicCache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer

from medr1_lib.model.loading import Policy, base_model

PIXELS = ("pixel_values", "image_grid_thw")


@dataclass(frozen=True)
class PromptCache:
    """Prompts that were read up to their last token."""

    cache: DynamicCache  # keys and values of all layers, a row per prompt
    mask: Tensor  # 1 where a token is not padding, (prompts, length - 1)
    last: Tensor  # the last token of each prompt, which is not in the cache, (prompts, 1)
    position: Tensor  # the rotary position of that token, (prompts, 1)


def prefill(model: Policy, inputs: Mapping[str, Tensor]) -> PromptCache:
    """Read prompts up to their last token, with gradient where gradients are kept.

    The model must be without activation checkpointing, under which transformers drops the cache;
    `inputs` are what the processor makes of prompts, padded on the left.
    """
    core, ids, mask = base_model(model), inputs["input_ids"], inputs["attention_mask"]
    positions, _ = core.model.get_rope_index(
        ids,
        mm_token_type_ids=inputs.get("mm_token_type_ids", torch.zeros_like(ids)),
        image_grid_thw=inputs.get("image_grid_thw"),
        attention_mask=mask,
    )
    cache = DynamicCache(config=core.config.get_text_config())
    # The last token is left to the completions: each begins with a copy of it, so that every token
    # of a completion has an output of its own that predicts it.
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
    return PromptCache(cache, mask[:, :-1], ids[:, -1:], positions[0, :, -1:])


def completion_inputs(
    prompts: PromptCache, completions: Tensor, mask: Tensor, owner: Tensor
) -> dict[str, Any]:
    """The arguments of a forward pass whose output t predicts token t of a completion.

    Completions are padded on the right, and `mask` is 0 there, both (completions, tokens); `owner`
    says which prompt each belongs to, (completions,).
    """
    last, position = prompts.last[owner], prompts.position[owner]
    steps = torch.arange(completions.shape[1], device=completions.device)
    cache: Any = copy.copy(prompts.cache)
    cache.layers = [copy.copy(layer) for layer in prompts.cache.layers]
    for layer in cache.layers:  # gradients flow back through the copies into the prompt
        layer.keys = layer.keys.index_select(0, owner)
        layer.values = layer.values.index_select(0, owner)
    return {
        "input_ids": torch.cat([last, completions[:, :-1]], 1),
        "attention_mask": torch.cat([prompts.mask[owner], torch.ones_like(last), mask[:, :-1]], 1),
        "position_ids": (position + steps).expand(3, -1, -1),
        "past_key_values": cache,
    }


@torch.no_grad()
def sample_group(
    model: Policy, inputs: Mapping[str, Tensor], count: int, config: GenerationConfig
) -> Tensor:
    """Sample `count` completions of each prompt: what `generate` gives from the same seed, sooner.

    What `config` leaves open, `generate` takes from the model's own settings. Returns token ids,
    those of a prompt next to each other, (prompts x count, tokens), with padding after the end.
    """
    core = base_model(model)
    generate = partial(type(core).generate, core, custom_generate=decode_group)
    names = ("input_ids", "attention_mask")
    repeated = {name: inputs[name].repeat_interleave(count, 0) for name in names}
    with merged_lora(core):
        prompts = prefill(core, inputs)
        tokens = generate(**repeated, generation_config=config, prompts=prompts)
    return tokens[:, inputs["input_ids"].shape[1] :]


def decode_group(
    model: Any,  # noqa: ANN401 - a Qwen2-VL or a Qwen2.5-VL
    input_ids: Any,  # noqa: ANN401 - a tensor, which transformers wants to be a LongTensor
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    prompts: PromptCache,
    **_: object,
) -> Tensor:
    """A loop for `generate(custom_generate=decode_group)`: a step adds a token to each completion.

    A row of the model holds all completions of a prompt, where a token sees the prompt and what
    comes before it in its own completion. The keys and values of the prompt are there only once,
    and the cache in `prompts` is used up. Returns prompts and completions, (completions, tokens).
    """
    rows, count = len(prompts.last), len(input_ids) // len(prompts.last)
    room = count * (generation_config.max_length - input_ids.shape[1])
    layers: Any = prompts.cache.layers
    prompts.cache.layers = [PreallocatedLayer(one.keys, one.values, room) for one in layers]
    visible = prompts.mask.bool()[:, None, None].expand(-1, -1, count, -1)
    own = torch.eye(count, dtype=torch.bool, device=visible.device).expand(rows, 1, -1, -1)
    position = prompts.position.expand(3, -1, count)
    ended = torch.zeros_like(input_ids[:, 0], dtype=torch.bool)
    while not ended.all():
        visible = torch.cat([visible, own], 3)
        hidden = model.model.language_model(
            input_ids=input_ids[:, -1].view(rows, count),
            attention_mask=visible,
            position_ids=position,
            past_key_values=prompts.cache,
            use_cache=True,
        ).last_hidden_state
        logits = model.lm_head(hidden).flatten(0, 1).float()
        scores = logits_processor(input_ids, logits)
        if generation_config.do_sample:
            chosen = torch.multinomial(scores.softmax(-1), 1)[:, 0]
        else:
            chosen = scores.argmax(-1)
        chosen = chosen.masked_fill(ended, generation_config.pad_token_id)
        input_ids = torch.cat([input_ids, chosen[:, None]], 1)
        ended |= stopping_criteria(input_ids, None)
        position = position + 1
    return input_ids


class PreallocatedLayer(DynamicLayer):
    """Keys and values of a layer, with room for more: growing would copy them at each token."""

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        blank = keys.new_empty(*keys.shape[:2], room, keys.shape[3])
        self._all = torch.cat([keys, blank], 2), torch.cat([values, blank], 2)
        self._length = keys.shape[2]

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add new ones, and return all."""
        start, self._length = self._length, self._length + key_states.shape[2]
        for states, new in zip(self._all, (key_states, value_states), strict=True):
            states[:, :, start : self._length] = new
        keys, values = (states[:, :, : self._length] for states in self._all)
        return keys, values

    def get_seq_length(self) -> int:
        """How many there are."""
        return self._length


@contextmanager
def merged_lora(model: nn.Module) -> Iterator[None]:
    """Run each LoRA layer as one product with W + BA, without changing the weights.

    Weights in 4 bits are unpacked once, not at each token. Only where products are computed in
    float32: rounded to fewer bits, the sum would be another policy.
    """
    # Adapted layers are known by an attribute, not by their class: importing peft takes seconds,
    # and a base has no adapter.
    adapted: Any = (layer for layer in model.modules() if hasattr(layer, "lora_A"))
    chosen = list(filter(_can_merge, adapted))
    if chosen:
        from peft.utils.integrations import dequantize_module_weight
    try:
        for layer in chosen:
            base = layer.get_base_layer()
            names = [] if layer.disable_adapters else layer.active_adapters
            weight = sum(map(layer.get_delta_weight, names), dequantize_module_weight(base))
            layer.forward = partial(linear, weight=weight, bias=base.bias)
        yield
    finally:
        for layer in chosen:
            vars(layer).pop("forward", None)


def _can_merge(layer: Any) -> bool:  # noqa: ANN401 - peft's layers declare no types
    """Whether an adapter adds a product of two matrices, in float32, and nothing else."""
    base = layer.get_base_layer()
    more = layer.merged or layer.lora_variant or any(layer.lora_bias.values())
    silent = all(isinstance(dropout, nn.Identity) for dropout in layer.lora_dropout.values())
    dtype = getattr(base, "compute_dtype", None) or base.weight.dtype
    return isinstance(base, nn.Linear) and not more and silent and dtype == torch.float32
