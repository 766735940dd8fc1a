"""What a step of GRPO with LoRA takes of a GPU, term by term, and Qwen2-VL-2B in its true size.

Not in the sum: the CUDA context, what the allocator wastes, one weight matrix that is being
unpacked from four bits, the vision tower's own work, and what only passes through a layer. On one
H200 it is within 5 % without checkpointing, and 2 GB short with it (`data/recorded/gpu.json`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

BLOCK = 64  # weights that share a scale in NF4
NESTED = 256  # scales that share a scale of their own in double quantization
TABLES = 16 + 256 + 1  # numbers in float32 beside an NF4 matrix: levels, levels of scales, offset
TILE = (4096, 32768)  # tokens and words of the logits that TRL computes at a time
ADAPTED = 7  # linear layers in a layer of the language model, an adapter on each


def qwen2_vl_2b() -> Qwen2VLConfig:
    """The configuration of Qwen2-VL-2B-Instruct, as its `config.json` says (arXiv 2409.12191)."""
    return Qwen2VLConfig.from_json_file(Path(__file__).with_name("qwen2-vl-2b.json"))


def on_meta(config: Qwen2VLConfig) -> Qwen2VLForConditionalGeneration:
    """A model that has shapes and no weights; building it takes seconds and no memory."""
    with torch.device("meta"):
        return Qwen2VLForConditionalGeneration(config)


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
    """Bytes of a matrix in NF4, doubly quantized (arXiv 2305.14314, 3): 4.127 bits a weight."""
    blocks = math.ceil(weights / BLOCK)
    return math.ceil(weights / 2) + blocks + 4 * math.ceil(blocks / NESTED) + 4 * TABLES


def lora_parameters(shapes: Iterable[tuple[int, int]], rank: int) -> int:
    """Trainable numbers of an adapter, two thin matrices a layer (Hu et al. 2021, 2106.09685)."""
    return sum(rank * (inputs + outputs) for inputs, outputs in shapes)


def kv_cache_bytes(layers: int, kv_heads: int, head_size: int, tokens: int, size: int = 2) -> int:
    """Bytes of the keys and values of all tokens, `size` a number (arXiv 2309.06180, section 3)."""
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


def activation_bytes(
    config: Qwen2VLConfig, tokens: int, rank: int, quantize: bool, checkpointing: bool = False
) -> int:
    """Bytes that a pass keeps; checkpointing (arXiv 1604.06174) keeps inputs and one layer."""
    text = config.get_text_config()
    layer = layer_bytes(config, tokens, rank, quantize)
    if not checkpointing:
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
    written, read = step.scored * step.rollouts * step.completion, step.tokens(step.scored)
    # A recorded step keeps its places from one sampling to the next.
    places = "KV cache" if step.shared else "sampling: KV cache"
    return weight_bytes(config, quantize and not step.unpacked) | {
        "adapters": adapters,
        "gradients": adapters,
        "AdamW": 2 * adapters,
        "pixels": 4 * rows * pixels,  # TRL keeps them once for each rollout
        places: kv_cache_bytes(layers, text.num_key_value_heads, head_size, rows * length),
        "sampling: logits": 2 * 4 * rows * text.vocab_size,  # and their softmax, in float32
        "scoring: activations": activation_bytes(config, read, rank, quantize, step.checkpointing),
        "scoring: logits": 2 * min(written, TILE[0]) * min(text.vocab_size, TILE[1]),
    }


def peak(terms: dict[str, int]) -> int:
    """The most that is held at one time: sampling and scoring follow each other."""
    phases = "sampling:", "scoring:"
    sizes = (sum(size for name, size in terms.items() if name.startswith(one)) for one in phases)
    return sum(terms.values()) - min(sizes)
