"""Sample and score a group of completions behind one shared prompt.

A prompt is read once, and its completions lie side by side in one row behind it: to sample
(`prefill`, `decode_group`) and to score (`packed_inputs`). A GPU has another step (`rl.graph`).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import DynamicCache, GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer

from medr1_lib.model.loading import Policy, base_model, shares_prompts

PIXELS = ("pixel_values", "image_grid_thw")


@dataclass(frozen=True)
class PromptCache:
    """Prompts that were read up to their last token."""

    cache: DynamicCache  # keys and values of all layers, a row per prompt
    mask: Tensor  # 1 where a token is not padding, (prompts, length - 1)
    last: Tensor  # the last token of each prompt, which is not in the cache, (prompts, 1)
    position: Tensor  # the rotary position of that token, (prompts, 1)


def prefill(model: Policy, inputs: Mapping[str, Tensor]) -> PromptCache:
    """Read prompts up to their last token.

    The model must be without activation checkpointing, under which transformers drops the cache;
    `inputs` are what the processor makes of prompts, padded on the left.
    """
    core, ids, mask = base_model(model), inputs["input_ids"], inputs["attention_mask"]
    positions = _positions(core, inputs)
    cache = DynamicCache(config=core.config.get_text_config())
    # The last token is left to the completions: each begins with a copy of it, so that every token
    # of a completion has an output of its own that predicts it.
    given: dict[str, Any] = {name: inputs[name] for name in PIXELS if name in inputs}
    given |= {"input_ids": ids[:, :-1], "attention_mask": mask[:, :-1], "use_cache": True}
    model(**given, position_ids=positions[..., :-1], past_key_values=cache, logits_to_keep=1)
    # A chat prompt ends in text, whose three positions are the same.
    return PromptCache(cache, mask[:, :-1], ids[:, -1:], positions[0, :, -1:])


def _positions(core: Any, inputs: Mapping[str, Tensor]) -> Tensor:  # noqa: ANN401
    """The three rotary positions of each token of the prompts, (3, prompts, length)."""
    return core.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs.get("mm_token_type_ids", torch.zeros_like(inputs["input_ids"])),
        image_grid_thw=inputs.get("image_grid_thw"),
        attention_mask=inputs["attention_mask"],
    )[0]


def packed_inputs(
    model: Policy, inputs: Mapping[str, Tensor], completions: Tensor, mask: Tensor
) -> dict[str, Any]:
    """The arguments of a forward pass over rows that hold a prompt and all its completions.

    The completions of a prompt are next to each other and padded on the right, where `mask` is 0,
    both (prompts x count, tokens).
    """
    ids, positions = inputs["input_ids"], _positions(base_model(model), inputs)
    (prompts, length), steps = ids.shape, completions.shape[1]
    count = len(completions) // prompts
    # A completion begins with a copy of the prompt's last token, whose output predicts its first.
    last = ids[:, -1:].repeat_interleave(count, 0)
    shifted = torch.cat([last, completions[:, :-1]], 1).view(prompts, -1)
    written = torch.cat([torch.ones_like(last), mask[:, :-1]], 1).bool().view(prompts, -1)
    times = torch.arange(steps, device=ids.device).repeat(count)
    # A token sees the prompt and what comes before it in its own completion.
    owner = torch.arange(count, device=ids.device).repeat_interleave(steps)
    owner = torch.cat([owner.new_full((length - 1,), -1), owner])
    seen = ((owner == -1) | (owner == owner[:, None])).tril()
    real = torch.cat([inputs["attention_mask"][:, :-1].bool(), written], 1)
    itself = torch.eye(len(seen), dtype=torch.bool, device=ids.device)  # else padding sees nothing
    return {
        "input_ids": torch.cat([ids[:, :-1], shifted], 1),
        "attention_mask": ((seen & real[:, None]) | itself)[:, None],
        "position_ids": torch.cat([positions[..., :-1], positions[..., -1:] + times], 2),
        "use_cache": False,
    } | {name: inputs[name] for name in PIXELS if name in inputs}


def packed_outputs(outputs: Tensor, completions: Tensor) -> Tensor:
    """Cut the completions' part out of a model output over `packed_inputs`."""
    own = outputs[:, -completions.numel() // len(outputs) :]
    return own.reshape(*completions.shape, *outputs.shape[2:])


@torch.no_grad()
def sample_group(
    model: Policy, inputs: Mapping[str, Tensor], count: int, config: GenerationConfig
) -> Tensor:
    """Sample `count` completions of each prompt: what `generate` gives from the same seed, sooner.

    What `config` leaves open, `generate` takes from the model's own settings. Returns token ids,
    those of a prompt next to each other, (prompts x count, tokens), with padding after the end.
    """
    core, length = base_model(model), inputs["input_ids"].shape[1]
    if not shares_prompts(core):
        repeated = {name: value.repeat_interleave(count, 0) for name, value in inputs.items()}
        return core.generate(**repeated, generation_config=config)[:, length:]
    loop: Any = decode_group
    if core.device.type == "cuda" and len(getattr(core, "hf_device_map", [0])) == 1:
        from medr1_lib.rl import graph

        loop = graph.decode_recorded
    generate = partial(type(core).generate, core, custom_generate=loop)
    names = ("input_ids", "attention_mask")
    repeated = {name: inputs[name].repeat_interleave(count, 0) for name in names}
    with merged_lora(core):
        prompts = prefill(core, inputs)
        tokens = generate(**repeated, generation_config=config, prompts=prompts)
    return tokens[:, length:]


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

    A row of the model holds all completions of a prompt, whose keys and values are there only once.
    The cache in `prompts` is used up. Returns prompts and completions, (completions, tokens).
    """
    rows, count = len(prompts.last), len(input_ids) // len(prompts.last)
    room = count * (generation_config.max_length - input_ids.shape[1])
    layers: Any = prompts.cache.layers
    prompts.cache.layers = [PreallocatedLayer(one.keys, one.values, room) for one in layers]
    visible = prompts.mask.bool()[:, None, None].expand(-1, -1, count, -1)
    own = torch.eye(count, dtype=torch.bool, device=visible.device).expand(rows, 1, -1, -1)
    position = prompts.position.expand(3, -1, count)

    def step(tokens: Tensor) -> Tensor:
        nonlocal visible, position
        visible = torch.cat([visible, own], 3)
        hidden = next_hidden(model, tokens.view(rows, count), visible, position, prompts.cache)
        position = position + 1
        return model.lm_head(hidden).flatten(0, 1).float()

    return decode(step, input_ids, logits_processor, stopping_criteria, generation_config)


def next_hidden(model: Any, tokens: Tensor, mask: Tensor, position: Tensor, cache: Any) -> Tensor:  # noqa: ANN401
    """What the language model makes of tokens that follow those in the cache, which grows."""
    given: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    given |= {"input_ids": tokens, "attention_mask": mask, "position_ids": position}
    return model.model.language_model(**given).last_hidden_state


def decode(
    step: Callable[[Tensor], Any],
    input_ids: Any,  # noqa: ANN401 - as in `decode_group`
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    config: GenerationConfig,
) -> Tensor:
    """Add tokens until all completions have ended, as `generate` would choose them.

    `step` takes the last token of each completion and gives the logits of the next.
    """
    ended = torch.zeros_like(input_ids[:, 0], dtype=torch.bool)
    while not ended.all():
        scores = logits_processor(input_ids, step(input_ids[:, -1:]))
        if config.do_sample:
            chosen = torch.multinomial(scores.softmax(-1), 1)[:, 0]
        else:
            chosen = scores.argmax(-1)
        chosen = chosen.masked_fill(ended, config.pad_token_id)
        input_ids = torch.cat([input_ids, chosen[:, None]], 1)
        ended |= stopping_criteria(input_ids, None)
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

    Weights in 4 bits are unpacked once, not at each token; a gradient reaches B and A. Only where
    products are computed in float32: rounded to fewer bits, the sum would be another policy.
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
    # On a GPU it would take memory, and a new place for the weights at every call.
    there = base.weight.device.type == "cpu" and "forward" not in vars(layer)
    return isinstance(base, nn.Linear) and there and not more and silent and dtype == torch.float32
