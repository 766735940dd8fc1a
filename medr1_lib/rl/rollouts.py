"""Sampling and scoring the completions of a prompt, which is read once for all of them.

A prompt with an image is often longer than its completions, and a group has eight or more of them.
Everything up to the last token of the prompt, the prefix, is the same for the whole group: its keys
and values are computed once. To sample, the completions of a group lie side by side in one row,
behind one prefix, and a mask keeps them apart. To score, each has a row with a copy of the prefix.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)

from medr1_lib.policy.loading import Policy, base_model
from medr1_lib.rl.grpo import token_logps

PIXELS = ("pixel_values", "image_grid_thw")


@dataclass(frozen=True)
class Prefix:
    """Prompts that were read up to their last token.

    Attributes:
        cache: Keys and values of all layers, a row per prompt.
        mask: Which tokens are not padding, (prompts, length).
        last: The last token of each prompt, which is not in the cache, (prompts, 1).
        position: The rotary position of that token, (prompts, 1).
    """

    cache: DynamicCache
    mask: Tensor
    last: Tensor
    position: Tensor


def read_prompts(model: Policy, inputs: Mapping[str, Tensor]) -> Prefix:
    """Read prompts up to their last token, with gradient if there is to be one.

    Args:
        model: The policy, as it is or wrapped for parallel training.
        inputs: What the processor makes of prompts, padded on the left: `input_ids` and
            `attention_mask` (prompts, length), and with images also `mm_token_type_ids`,
            `pixel_values` and `image_grid_thw`.
    """
    core, ids, mask = _core(model), inputs["input_ids"], inputs["attention_mask"]
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


def sample_group(
    model: Policy, inputs: Mapping[str, Tensor], count: int, config: GenerationConfig
) -> Tensor:
    """Sample completions as `generate` does, the same tokens from the same seed, sooner.

    Args:
        model: The policy.
        inputs: The prompts, see `read_prompts`.
        count: Completions of each prompt.
        config: How to sample; whatever it leaves out, `generate` takes from the model's own.

    Returns:
        Token ids, those of a prompt after each other, (prompts x count, tokens). What follows the
        end of a completion is padding.
    """
    core = _core(model)
    with torch.no_grad():
        prefix = read_prompts(core, inputs)
    prompts = {
        name: inputs[name].repeat_interleave(count, 0) for name in ("input_ids", "attention_mask")
    }
    generate = partial(type(core).generate, core)
    tokens = generate(
        **prompts, generation_config=config, custom_generate=_side_by_side, prefix=prefix
    )
    return tokens[:, inputs["input_ids"].shape[1] :]


def _side_by_side(
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    prefix: Prefix,
    **_: object,
) -> Tensor:
    """The decoding loop for `generate`: a step is a token of every completion in every row."""
    rows = len(prefix.last)
    count = len(input_ids) // rows
    read, own = prefix.mask.bool()[:, None, None], torch.eye(count, dtype=torch.bool)
    mask = read.expand(-1, -1, count, -1)
    own = own.to(mask.device).expand(rows, 1, -1, -1)
    tokens, position = prefix.last.expand(-1, count), prefix.position.expand(3, -1, count)
    ended = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    language: Any = model.model.language_model
    seen: Any = input_ids
    while not ended.all():
        mask = torch.cat([mask, own], 3)
        hidden = language(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=position,
            past_key_values=prefix.cache,
            use_cache=True,
        ).last_hidden_state
        logits = model.lm_head(hidden).flatten(0, 1).float()
        words = _choose(logits_processor(seen, logits), generation_config.do_sample)
        words = words.masked_fill(ended, generation_config.pad_token_id)
        seen = torch.cat([seen, words[:, None]], 1)
        ended |= stopping_criteria(seen, None)
        tokens, position = words.view(rows, count), position + 1
    return seen


def _choose(scores: Tensor, sample: bool) -> Tensor:
    if sample:
        return torch.multinomial(scores.softmax(-1), 1)[:, 0]
    return scores.argmax(-1)


def completion_logps(
    model: Policy,
    inputs: Mapping[str, Tensor],
    completions: Tensor,
    mask: Tensor,
    owner: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """Log-probability of every token of every completion, with gradient, (completions, tokens).

    Args:
        model: The policy.
        inputs: The prompts, see `read_prompts`.
        completions: Token ids, padded on the right, (completions, tokens).
        mask: 1 where a token counts, 0 where it is padding, (completions, tokens).
        owner: Which prompt each completion belongs to, (completions,).
        temperature: What the logits are divided by, as in sampling.
    """
    prefix = read_prompts(model, inputs)
    logits = model(**continuation(prefix, completions, mask, owner)).logits
    return token_logps(logits, completions, temperature).masked_fill(mask == 0, 0)


def continuation(
    prefix: Prefix, completions: Tensor, mask: Tensor, owner: Tensor
) -> dict[str, Any]:
    """What a forward pass over completions takes; its output t is about token t of a completion.

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


def _rows(cache: DynamicCache, owner: Tensor) -> DynamicCache:
    """Another cache, with a copy of some of the rows of one, in which gradients flow back."""
    chosen: Any = copy.copy(cache)
    chosen.layers = [copy.copy(layer) for layer in cache.layers]
    for layer in chosen.layers:
        layer.keys = layer.keys.index_select(0, owner)
        layer.values = layer.values.index_select(0, owner)
    return chosen


def _core(model: Any) -> Any:  # noqa: ANN401 - a model in any wrapping
    return base_model(getattr(model, "module", model))
