"""A directory in the form in which Qwen2-VL-2B-Instruct is published, with small random weights.

    python tests/published.py DIR

The names of files and weights, the configurations and the chat template are those of the published
model (transformers 4.41). The tokenizer is the real one, out of `qwen.tiktoken` in the package
dashscope (`pip install dashscope`), where that is at hand; it becomes no part of the project.
"""

import base64
import functools
import importlib.util
import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

_package = importlib.util.find_spec("dashscope")
RANKS = Path(_package.origin).parent / "resources/qwen.tiktoken" if _package else Path("none")
needs_words = pytest.mark.skipif(
    not RANKS.is_file(), reason="the package with the tokenizer of Qwen (dashscope) is not at hand"
)
FIRST = 151643  # of the special tokens
SPECIAL = """endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start
    quad_end vision_start vision_end vision_pad image_pad video_pad"""
NAMES = [f"<|{name}|>" for name in SPECIAL.split()]
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im"
    "_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n"
    "{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or"
    " 'image' in content or 'image_url' in content %}{% set image_count.value = image_cou"
    "nt.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|v"
    "ision_start|><|image_pad|><|vision_end|>{% elif content['type'] == 'video' or 'video"
    "' in content %}{% set video_count.value = video_count.value + 1 %}{% if add_vision_i"
    "d %}Video {{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_"
    "end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_en"
    "d|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% endif %}"
)


@functools.cache
def _root():
    return tempfile.TemporaryDirectory(prefix="medr1-published-")  # kept open until the tests end


@functools.cache
def saved() -> Path:
    """The directory; read only."""
    folder = Path(_root().name) / "Qwen2-VL-2B-Instruct"
    write(folder)
    return folder


def write(out: Path) -> None:
    """Make it."""
    out.mkdir(parents=True)
    tokenizer().save(str(out / "tokenizer.json"))
    for name, content in FILES.items():
        (out / name).write_text(json.dumps(content))
    with torch.device("meta"):
        shapes = Qwen2VLForConditionalGeneration(Qwen2VLConfig.from_pretrained(out)).state_dict()
    generator, weights = torch.Generator().manual_seed(0), {}
    for name, shape in shapes.items():
        older = name.replace("model.visual.", "visual.").replace("model.language_model.", "model.")
        weight = torch.zeros(shape.shape, dtype=torch.bfloat16)
        if weight.dim() > 1:
            weight.normal_(0, 0.02, generator=generator)
        elif name.endswith("weight"):
            weight.fill_(1)
        if name != "lm_head.weight":  # tied
            weights[older] = weight
    save_file(weights, out / "model.safetensors", {"format": "pt"})


def tokenizer() -> Tokenizer:
    """The real one, its merges worked out from the ranks of its words."""
    ranks = {}
    for line in RANKS.read_text().splitlines():
        word, rank = line.split()
        ranks[base64.b64decode(word)] = int(rank)
    shown = _letters()
    text = {word: "".join(shown[byte] for byte in word) for word in ranks}
    merges = [
        tuple("".join(shown[byte] for byte in part) for part in _parts(ranks, word))
        for word in ranks
        if len(word) > 1
    ]
    made = Tokenizer(models.BPE(vocab={text[w]: rank for w, rank in ranks.items()}, merges=merges))
    made.normalizer = normalizers.NFC()
    cut = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([cut, as_bytes])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in NAMES])
    return made


def _letters() -> list[str]:
    """The letter that stands for each byte in a byte-level tokenizer."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return [chr(byte if byte in plain else 256 + others.index(byte)) for byte in range(256)]


def _parts(ranks: dict[bytes, int], word: bytes) -> list[bytes]:
    """The two words that are merged last into this one."""
    parts = [bytes([byte]) for byte in word]
    while len(parts) > 2:
        pairs = [ranks.get(one + two, FIRST) for one, two in pairwise(parts)]
        place = pairs.index(min(pairs))
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


FILES = {
    "config.json": {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "vision_start_token_id": 151652,
        "vision_end_token_id": 151653,
        "vision_token_id": 151654,
        "image_token_id": 151655,
        "video_token_id": 151656,
        "hidden_act": "silu",
        "hidden_size": 256,
        "initializer_range": 0.02,
        "intermediate_size": 128,
        "max_position_embeddings": 32768,
        "max_window_layers": 28,
        "model_type": "qwen2_vl",
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": {
            "depth": 1,
            "embed_dim": 64,
            "mlp_ratio": 4,
            "num_heads": 2,
            "in_chans": 3,
            "hidden_size": 256,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
        },
        "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vocab_size": 151936,
    },
    "tokenizer_config.json": {
        "add_prefix_space": False,
        "additional_special_tokens": NAMES[1:],
        "bos_token": None,
        "chat_template": TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "padding_side": "left",
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    },
    "chat_template.json": {"chat_template": TEMPLATE},
    "preprocessor_config.json": {
        "min_pixels": 3136,
        "max_pixels": 12845056,
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
    },
    "generation_config.json": {
        "bos_token_id": 151643,
        "pad_token_id": 151643,
        "do_sample": True,
        "eos_token_id": [151645, 151643],
        "repetition_penalty": 1.0,
        "temperature": 0.01,
        "top_p": 0.001,
        "top_k": 1,
        "transformers_version": "4.37.0",
    },
}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
