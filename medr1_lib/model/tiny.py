"""A Qwen2-VL small enough for a laptop: the real architecture, wired so that it learns soon.

The weights start with a circuit that large models form early in training (an induction head,
Olsson et al. 2022, arXiv 2209.11895): heads that look two tokens back, and heads that look for the
token found there. Left to chance it takes hours of training to appear; it knows no answer.
"""

import math

import torch
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from medr1_lib.model.processor import PATCH

WIDTH, LAYERS, HEADS = 192, 5, 6
EYE_WIDTH, EYE_LAYERS, EYE_HEADS = 128, 4, 4
HEAD = WIDTH // HEADS
HALF = HEAD // 2  # rotary frequencies per head: entry i turns together with entry i + HALF
ROTARY_BASE = 1e4
FAST = 6  # the fast frequencies tell where a token stands, the slow half what it is


def tiny_model(
    tokenizer: PreTrainedTokenizerBase, seed: int = 0
) -> Qwen2VLForConditionalGeneration:
    """Build the tiny model with fresh weights; everything follows from the seed.

    The sizes are fixed: the shipped weights and every recorded run have them.
    """
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(_config(tokenizer))
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    _wire(model)
    return model


def _config(tokenizer: PreTrainedTokenizerBase) -> Qwen2VLConfig:
    ids: dict[str, int] = tokenizer.get_vocab()
    across = HALF * 3 // 8
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROTARY_BASE,
            "mrope_section": [HALF - 2 * across, across, across],
        },
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": True,
    }
    eye = {
        "depth": EYE_LAYERS,
        "embed_dim": EYE_WIDTH,
        "num_heads": EYE_HEADS,
        "mlp_ratio": 4,
        "hidden_size": WIDTH,
        "patch_size": PATCH,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    return Qwen2VLConfig(
        text_config=text,
        vision_config=eye,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )


@torch.no_grad()
def _wire(model: Qwen2VLForConditionalGeneration) -> None:
    """Word vectors of length one; in layer 0 three heads that look back, in layer 1 two that match.

    Two tokens lie between a letter and the text of its option, and between the last word of a
    rationale and the letter of its answer. One token lies between an attribute and its value.
    """
    language = model.model.language_model
    words = language.embed_tokens.weight
    words.copy_(nn.functional.normalize(torch.randn_like(words), dim=1))
    back, match = (layer.self_attn for layer in language.layers[:2])
    for head, distance in enumerate((2, 2, 1)):
        rows = slice(head * HEAD, (head + 1) * HEAD)
        back.q_proj.bias[rows], back.k_proj.bias[rows] = _look_back(distance)
        read, slot = orthonormal(WIDTH, HEAD), orthonormal(WIDTH, HEAD)
        back.v_proj.weight[rows], back.o_proj.weight[:, rows] = read, 0.25 * slot.T
        if distance == 2:
            slow = [head * HEAD + i for i in range(HEAD) if i % HALF >= HALF // 2]
            match.q_proj.weight[slow] = 2 * slot[:HALF]
            match.k_proj.weight[slow] = 2 * read[:HALF]


def _look_back(distance: int, strength: float = 40.0) -> tuple[Tensor, Tensor]:
    """Query and key biases whose product peaks at the token `distance` places back.

    The rotary embedding turns entry pair i by position x frequency i; a key turned ahead by the
    distance meets the query at that distance.
    """
    turn = distance * ROTARY_BASE ** (-torch.arange(HALF) / HALF)
    weight = math.sqrt(strength) * (torch.arange(HALF) < FAST)
    query = torch.cat([weight, torch.zeros(HALF)])
    return query, torch.cat([weight * turn.cos(), weight * turn.sin()])


def orthonormal(width: int, head: int) -> Tensor:
    """Random rows at right angles and of length one, shape (head, width)."""
    return torch.linalg.qr(torch.randn(width, head))[0].T
