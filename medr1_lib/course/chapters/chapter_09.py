"""Chapter 09: NF4 by hand, the memory of a step of GRPO, and the cases that check its exercises.

NF4 is the storage of QLoRA (Dettmers et al. 2023, arXiv 2305.14314). The memory sum gives what a
step of GRPO with LoRA takes of a GPU, term by term. Not in it: the CUDA context, what the allocator
wastes, one weight matrix that is being unpacked from four bits, the vision tower's own work, and
what only passes through a layer. On one H200 it is within 5 % for ours and for TRL without
checkpointing, and falls short by 2 GB with it (`data/recorded/gpu.json`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, tensor
from transformers import Qwen2VLConfig

from medr1_lib.course.exercise import Case
from medr1_lib.model.qwen2b import on_meta

BLOCK = 64  # weights that share a scale
NESTED = 256  # scales that share a scale of their own in double quantization
TAIL = 0.9677083  # where the outermost quantile is taken; at 1 it would be infinite
TABLES = 16 + 256 + 1  # numbers in float32 beside an NF4 matrix: levels, levels of scales, offset
TILE = (4096, 32768)  # tokens and words of the logits that TRL computes at a time
ADAPTED = 7  # linear layers in a layer of the language model, an adapter on each


def levels() -> Tensor:
    """The sixteen values, from -1 to 1, (16,): quantiles of the normal distribution, and zero.

    Seven lie below zero and eight above (section 3 of the paper; `TAIL` is in its code).
    """
    negative, positive = (torch.linspace(TAIL, 0.5, count, dtype=torch.float64) for count in (8, 9))
    below, above = torch.special.ndtri(1 - negative), torch.special.ndtri(positive)
    values = torch.cat([below, above[:-1].flip(0)])
    return (values / values.max()).float()


def quantize_blocks(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers from 0 to 15 of the nearest levels, and the largest absolute value of each block.

    (blocks, weights) becomes numbers of the same shape, and scales, (blocks, 1).
    """
    scales = blocks.abs().amax(1, keepdim=True)
    distances = (blocks / scales)[..., None] - levels()
    return distances.abs().argmin(-1), scales


@dataclass(frozen=True)
class Step:
    """The size of one step of GRPO."""

    prompts: int = 8  # sampled together
    rollouts: int = 8  # of each prompt
    scored: int = 1  # prompts in one backward pass
    text: int = 120  # tokens of text in a prompt
    image: int = 196  # tokens of its image
    completion: int = 200  # tokens of a rollout
    shared: bool = True  # whether rollouts share the prefix of their prompt; not so in TRL
    checkpointing: bool = False  # whether activations are computed a second time instead of kept
    unpacked: bool = False  # whether 4-bit weights are held as the numbers that they stand for

    def tokens(self, prompts: int) -> int:
        """Tokens that are read or written for some of the prompts."""
        copies = 1 if self.shared else self.rollouts
        return prompts * (copies * (self.text + self.image) + self.rollouts * self.completion)


def linear_shapes(config: Qwen2VLConfig) -> list[tuple[int, int]]:
    """Inputs and outputs of each layer that NF4 stores and LoRA adapts: all linear but the head."""
    text = config.get_text_config()
    width, inner = text.hidden_size, text.intermediate_size
    narrow = width // text.num_attention_heads * text.num_key_value_heads
    attention = [(width, width), (width, narrow), (width, narrow), (width, width)]
    mlp = [(width, inner), (width, inner), (inner, width)]
    return (attention + mlp) * text.num_hidden_layers


def nf4_bytes(weights: int) -> int:
    """Bytes of a matrix in NF4 with double quantization, 4.127 bits a weight, and its tables.

    Source: QLoRA, section 3 (arXiv 2305.14314).
    """
    blocks = math.ceil(weights / BLOCK)
    return math.ceil(weights / 2) + blocks + 4 * math.ceil(blocks / NESTED) + 4 * TABLES


def lora_parameters(shapes: Iterable[tuple[int, int]], rank: int) -> int:
    """Trainable numbers of an adapter, two thin matrices a layer (Hu et al. 2021, 2106.09685)."""
    return sum(rank * (inputs + outputs) for inputs, outputs in shapes)


def packed_row(length: int, count: int, steps: int) -> tuple[Tensor, Tensor]:
    """Who sees whom in a packed row, (tokens, tokens), and the positions, (tokens,).

    A row holds a prompt without its last token, then `count` completions of `steps` tokens, which
    begin with that one; see `rl.generation.packed_inputs`.
    """
    place = torch.arange(1 - length, count * steps)  # the prompt is below 0
    owner = torch.where(place < 0, -1, place // steps)
    visible = ((owner == -1) | (owner == owner[:, None])).tril()
    return visible, length - 1 + torch.where(place < 0, place, place % steps)


def kv_cache_bytes(layers: int, kv_heads: int, head_size: int, tokens: int, size: int = 2) -> int:
    """Bytes of the keys and values of all tokens, `size` bytes a number.

    Source: Kwon et al. 2023 (arXiv 2309.06180), section 3.
    """
    return 2 * layers * kv_heads * head_size * tokens * size


def layer_bytes(
    config: Qwen2VLConfig, tokens: int, rank: int, quantize: bool, size: int = 2
) -> int:
    """Bytes that an adapted layer of the language model keeps for its backward pass.

    A frozen linear layer keeps nothing; an adapter its input and what leaves its first matrix, and
    without 4 bits peft copies the input. `sdpa` with a mask keeps keys at every head; norms compute
    in float32. Counted as Korthikanti et al. 2022 (arXiv 2205.05198) do, section 4.1.
    """
    text = config.get_text_config()
    width, inner, heads = text.hidden_size, text.intermediate_size, text.num_attention_heads
    norms = 2 * 4 * (width + 1)  # input and the inverse of its length
    attention = size * 3 * width + 4 * heads  # normed input, query, output; log of the softmax sum
    mlp = size * (width + 4 * inner)  # normed input, gate, its SiLU, up, their product
    copies = 0 if quantize or size == 4 else size * 4 * width
    adapters = size * ADAPTED * rank + copies
    keys = size * 2 * width  # and values
    return tokens * (norms + attention + mlp + adapters + keys)


def activation_bytes(config: Qwen2VLConfig, step: Step, rank: int, quantize: bool) -> int:
    """Bytes that the forward pass over the scored prompts keeps, in all layers.

    With checkpointing (Chen et al. 2016, arXiv 1604.06174) only their inputs, and one layer.
    """
    text = config.get_text_config()
    tokens = step.tokens(step.scored)
    layer = layer_bytes(config, tokens, rank, quantize)
    if not step.checkpointing:
        return text.num_hidden_layers * layer
    return text.num_hidden_layers * tokens * text.hidden_size * 2 + layer


def weight_bytes(config: Qwen2VLConfig, quantize: bool) -> dict[str, int]:
    """Bytes of the frozen weights: bfloat16, but for what NF4 stores."""
    model: Any = on_meta(config)
    everything = sum(weight.numel() for weight in model.parameters())
    tower = sum(weight.numel() for weight in model.model.visual.parameters())
    words = model.get_input_embeddings().weight.numel()
    matrices = [inputs * outputs for inputs, outputs in linear_shapes(config)]
    return {
        "language layers": sum(map(nf4_bytes, matrices)) if quantize else 2 * sum(matrices),
        "embedding, also the head": 2 * words,
        "vision tower": 2 * tower,
        "norms and biases": 2 * (everything - tower - words - sum(matrices)),
    }


def memory(
    config: Qwen2VLConfig, step: Step, quantize: bool = True, rank: int = 16
) -> dict[str, int]:
    """Bytes of every term, under its name.

    Adapters, their gradients and the two moments of AdamW are float32 (Rajbhandari et al. 2019,
    arXiv 1910.02054, section 3.1); everything else that is computed is bfloat16.
    """
    text: Any = config.get_text_config()
    vision: Any = config.vision_config
    layers, head_size = text.num_hidden_layers, text.hidden_size // text.num_attention_heads
    length = step.text + step.image + step.completion
    adapters = 4 * lora_parameters(linear_shapes(config), rank)
    patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    pixels = step.image * vision.spatial_merge_size**2 * patch
    rows = step.prompts * step.rollouts
    written = step.scored * step.rollouts * step.completion
    # A recorded step keeps its places from one sampling to the next.
    places = "KV cache" if step.shared else "sampling: KV cache"
    return weight_bytes(config, quantize and not step.unpacked) | {
        "adapters": adapters,
        "gradients": adapters,
        "AdamW": 2 * adapters,
        "pixels": 4 * rows * pixels,  # TRL keeps them once for each rollout
        places: kv_cache_bytes(layers, text.num_key_value_heads, head_size, rows * length),
        "sampling: logits": 2 * 4 * rows * text.vocab_size,  # and their softmax, in float32
        "scoring: activations": activation_bytes(config, step, rank, quantize),
        "scoring: logits": 2 * min(written, TILE[0]) * min(text.vocab_size, TILE[1]),
    }


def peak(terms: dict[str, int]) -> int:
    """The most that is held at one time: sampling and scoring follow each other."""
    phases = {"sampling": 0, "scoring": 0, "always": 0}
    for name, size in terms.items():
        phase = name.partition(":")[0]
        phases[phase if phase in phases else "always"] += size
    return phases["always"] + max(phases["sampling"], phases["scoring"])


CASES = {
    "quantize_blocks": (
        Case((tensor([[-1.0, 0.0, 1.0]]),), "numbers go from 0 for level -1 to 15 for level 1"),
        Case((tensor([[0.5, 0.0]]),), "the weights are divided by the scale of their block first"),
        Case((tensor([[0.0, -2.0]]),), "the scale is the largest absolute value of a block"),
        Case((tensor([[1.0, 0.1], [0.1, -0.1]]),), "each block (row) has a scale of its own"),
        Case((tensor([[1.0, -0.04]]),), "the nearest level is wanted, not the next one below"),
        Case((tensor([[-1.0, -0.76]]),), "levels are those of NF4, which are not evenly spaced"),
    ),
    "kv_cache_bytes": (
        Case((1, 1, 3, 1, 1), "a token leaves a key and a value, each of `head_size` numbers"),
        Case((1, 1, 3, 1), "a number has `size` bytes, two if nothing is said"),
        Case((4, 2, 3, 5), "every token leaves them for each head, in each layer"),
    ),
    "packed_row": (
        Case((3, 1, 3), "in one completion a token sees itself and all before it, the prompt too"),
        Case((3, 2, 2), "a token sees no other completion, and all of them begin at one position"),
        Case((1, 2, 2), "the prompt's last token stands in every completion, not in front of them"),
        Case((4, 3, 1), "a row has `length` - 1 places for the prompt, `steps` a completion"),
    ),
}
