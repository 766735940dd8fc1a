"""The tiny Qwen2-VL, small enough for a laptop: real architecture, words of PhantomMedVQA.

The weights start with a circuit that large models form early in training (an induction head,
Olsson et al. 2022, arXiv 2209.11895): heads that look two tokens back, and heads that look for the
token found there. Left to chance it takes hours of training to appear; it knows no answer.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)

from medr1_lib.data.phantom_vqa import ATTRIBUTES, STEMS, values
from medr1_lib.data.question import DOMAINS, LETTERS
from medr1_lib.data.styles import STYLES, prompt
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor


@dataclass(frozen=True)
class Size:
    """Widths and numbers of layers; each head has `HEAD` entries."""

    width: int
    layers: int
    vision_width: int
    vision_layers: int


# The shipped weights and every recorded run are tiny; the larger one can be their teacher.
SIZES = {"tiny": Size(192, 5, 128, 4), "larger": Size(256, 5, 160, 4)}
HEAD = 32
HALF = HEAD // 2  # rotary frequencies per head: entry i turns together with entry i + HALF
ROTARY_BASE = 1e4
FAST = 6  # the fast frequencies tell where a token stands, the slow half what it is

TURNS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPECIAL = (*TURNS, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
ASK_CAPTION = "Describe the image."
PIXELS = 112
PATCH = 14
VOCABULARY = 640  # bytes, the words of the prompts, and a few pieces for words never met

# A separator keeps its space, so that a word is the same token at the start of a list and in it.
_WORDS = Regex(r", |: | ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+")

# Qwen2-VL's turns without its system prompt, which would be a fifth of a prompt of 60 tokens.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}\
{% for part in message['content'] %}\
{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{% else %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}"""


MEDICAL = ("medical",)  # the domains of the tokenizer, unless others are named


def phrases(domains: Sequence[str] = MEDICAL) -> list[str]:
    """Every answer of PhantomMedVQA in some domains, modalities first, each once."""
    modalities = [modality for domain in domains for modality in DOMAINS[domain]]
    kinds = itertools.product(ATTRIBUTES, modalities)
    answers = [text for kind, modality in kinds for text in values(modality, kind)]
    return list(dict.fromkeys([*modalities, *answers]))


def corpus(domains: Sequence[str] = MEDICAL) -> Iterable[str]:
    """What the tokenizer is trained on: prompts and names of attributes."""
    asked = [stem for domain in domains for pair in STEMS[domain].values() for stem in pair]
    for style in STYLES:
        for stem in asked:
            yield prompt(stem, ("", "", "", ""), style)
    yield from (f"{name}: {name}, " for name in STEMS["medical"] for _ in range(9))
    yield from (ASK_CAPTION, "user\n", "assistant\n") * 9


def tiny_processor(domains: Sequence[str] = MEDICAL) -> ImageOnlyQwen2VLProcessor:
    """Build the processor of the tiny model: nothing is read, the same bytes every time.

    The tokenizer is a byte-level BPE like Qwen2-VL's, so that any text can be asked. The tags, the
    letters and the answers of PhantomMedVQA are one token each: a letter is then the same token in
    front of an option and in an answer, and a short completion is cheap to sample.

    Example:
        >>> tiny_processor().tokenizer.tokenize("A)liver, B)soft tissue window")
        ['A', ')', 'liver', ',Ġ', 'B', ')', 'soft tissue window']
    """
    bpe = Tokenizer(models.BPE())
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_WORDS, "isolated"), as_bytes]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(corpus(domains), trainer)
    bpe.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    words = [*LETTERS, *phrases(domains)]
    bpe.add_tokens([AddedToken(word, single_word=True, normalized=False) for word in words])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    size = {"shortest_edge": PIXELS**2, "longest_edge": PIXELS**2}
    images = Qwen2VLImageProcessorPil(
        patch_size=PATCH, merge_size=2, temporal_patch_size=2, size=size
    )
    return ImageOnlyQwen2VLProcessor(images, tokenizer, chat_template=CHAT_TEMPLATE)


def tiny_model(
    tokenizer: PreTrainedTokenizerBase, seed: int = 0, size: str = "tiny"
) -> Qwen2VLForConditionalGeneration:
    """Build a model of one of `SIZES` with fresh weights; everything follows from the seed."""
    ids: dict[str, int] = tokenizer.get_vocab()
    own, across = SIZES[size], HALF * 3 // 8
    sections = [HALF - 2 * across, across, across]
    ends: dict[str, int] = {
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": own.width,
        "intermediate_size": 2 * own.width,
        "num_attention_heads": own.width // HEAD,
        "num_key_value_heads": own.width // HEAD,
        "num_hidden_layers": own.layers,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": ROTARY_BASE,
            "mrope_section": sections,
        },
        "bos_token_id": None,
        "tie_word_embeddings": True,
    }
    vision = {
        "depth": own.vision_layers,
        "embed_dim": own.vision_width,
        "num_heads": own.vision_width // HEAD,
        "hidden_size": own.width,
        "patch_size": PATCH,
    }
    config = Qwen2VLConfig(
        text_config=text | ends,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration(config)
    model.generation_config = GenerationConfig(**ends)
    _wire(model)
    return model


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
        read, slot = (orthonormal(words.shape[1], HEAD) for _ in range(2))
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
