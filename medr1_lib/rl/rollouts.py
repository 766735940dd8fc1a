"""Sampling the completions of a prompt, which is read once for all of them.

A prompt with an image is often longer than its completions, and a group has eight or more of them.
They lie side by side in one row behind the prompt (`rl.decoding`). To score them (`rl.trainer`),
each has a row of its own with a copy of the prompt's keys and values (`rl.prefix`).
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from transformers import GenerationConfig

from medr1_lib.model.loading import Policy
from medr1_lib.rl.decoding import merged, side_by_side
from medr1_lib.rl.prefix import read_prompts, unwrapped


@torch.no_grad()
def sample_group(
    model: Policy, inputs: Mapping[str, Tensor], count: int, config: GenerationConfig
) -> Tensor:
    """Sample completions as `generate` does, the same tokens from the same seed, sooner.

    Args:
        model: The policy.
        inputs: The prompts as the processor makes them, padded on the left: `input_ids` and
            `attention_mask` (prompts, length), and with images also `mm_token_type_ids`,
            `pixel_values` and `image_grid_thw`.
        count: Completions of each prompt.
        config: How to sample; what it leaves open, `generate` takes from the model's own settings.

    Returns:
        Token ids, those of a prompt next to each other, (prompts x count, tokens). What follows
        the end of a completion is padding.
    """
    core = unwrapped(model)
    generate = partial(type(core).generate, core, custom_generate=side_by_side)
    names = ("input_ids", "attention_mask")
    prompts = {name: inputs[name].repeat_interleave(count, 0) for name in names}
    with merged(core):
        prefix = read_prompts(core, inputs)
        tokens = generate(**prompts, generation_config=config, prefix=prefix)
    return tokens[:, inputs["input_ids"].shape[1] :]
