"""Tiny policies with random weights, saved as a user would have them."""

import functools
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tools.pretrain.tiny import tiny_model, tiny_processor

processor = functools.cache(tiny_processor)


@functools.cache
def _root():
    return tempfile.TemporaryDirectory(prefix="medr1-policies-")  # kept open until the tests end


@functools.cache
def saved() -> Path:
    """A Qwen2-VL with the sampling settings that Qwen ships; read only."""
    folder = Path(_root().name) / "tiny"
    model = tiny_model(processor().tokenizer, seed=1)
    model.generation_config.update(do_sample=True, temperature=0.01, top_k=1, top_p=0.001)
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


@functools.cache
def adapter() -> Path:
    """A LoRA adapter on `saved`, far from zero; read only."""
    folder = Path(_root().name) / "adapter"
    targets = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    config = LoraConfig(r=4, target_modules=targets, init_lora_weights=False)
    torch.manual_seed(0)
    base = tiny_model(processor().tokenizer, seed=1)
    base.name_or_path = str(saved())
    get_peft_model(base, config).save_pretrained(folder)
    return folder


@functools.cache
def newer() -> Path:
    """A Qwen2.5-VL; read only."""
    folder = Path(_root().name) / "newer"
    old = tiny_model(processor().tokenizer).config.to_dict()
    text = {key: old["text_config"][key] for key in ("vocab_size", "rope_parameters")}
    sizes = {"hidden_size": 192, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 6}
    eye = {"depth": 1, "hidden_size": 64, "intermediate_size": 64, "num_heads": 2}
    eye |= {"out_hidden_size": 192, "fullatt_block_indexes": [0]}
    named = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    config = Qwen2_5_VLConfig(
        text_config=text | sizes | heads, vision_config=eye, **{name: old[name] for name in named}
    )
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = processor().tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder
