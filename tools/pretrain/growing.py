"""A larger model from a small one: new layers and units that change nothing until they are taught.

Source: Wu et al. 2024, LLaMA Pro (arXiv 2401.02415), for the layers; Chen, Goodfellow and Shlens
2016, Net2Net (arXiv 1511.05641), for growing without a change of output.
"""

import copy
import re
from typing import Any

import torch
from transformers import Qwen2VLForConditionalGeneration

LAYERS, FEED_FORWARD = 10, 1792  # four times the parameters of the shipped model, eye included
LAYER = re.compile(r"(?<=language_model\.layers\.)\d+")


@torch.no_grad()
def grown(small: Qwen2VLForConditionalGeneration) -> Qwen2VLForConditionalGeneration:
    """A model with a larger language half and the same replies.

    The new layers stand before the last one, and like the new feed-forward units they write nothing
    yet: the matrices by which they would are zero.
    """
    config = copy.deepcopy(small.config)
    text: Any = config.text_config
    last = text.num_hidden_layers - 1
    text.num_hidden_layers, text.intermediate_size = LAYERS, FEED_FORWARD
    text.layer_types = ["full_attention"] * LAYERS
    torch.manual_seed(0)
    large = Qwen2VLForConditionalGeneration(config)
    large.generation_config = small.generation_config
    weights = small.state_dict()
    for name, weight in large.state_dict().items():
        layer = LAYER.search(name)
        number = int(layer[0]) if layer else 0
        if layer and name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.zero_()
        if last <= number < LAYERS - 1:
            continue
        known = weights[LAYER.sub(str(min(number, last)), name)]
        weight[tuple(slice(size) for size in known.shape)] = known
    return large
