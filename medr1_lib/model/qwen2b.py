"""Qwen2-VL-2B in its true size: its published configuration, and a model that is all shapes."""

import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration


def qwen2_vl_2b() -> Qwen2VLConfig:
    """The configuration of Qwen2-VL-2B-Instruct, as published; used from chapter 09 on.

    `Qwen2VLConfig()` alone describes a model of another size. Source: Wang et al. 2024, arXiv
    2409.12191, and `config.json` of `Qwen/Qwen2-VL-2B-Instruct`.
    """
    sizes = {"vocab_size": 151936, "hidden_size": 1536, "intermediate_size": 8960}
    layers = {"num_hidden_layers": 28, "max_window_layers": 28, "rms_norm_eps": 1e-6}
    heads = {"num_attention_heads": 12, "num_key_value_heads": 2}
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    text = {"rope_parameters": rope, "tie_word_embeddings": True}
    return Qwen2VLConfig(
        text_config=sizes | layers | heads | text,
        vision_config={"hidden_size": 1536},  # the tower is that of every size
        tie_word_embeddings=True,
    )


def on_meta(config: Qwen2VLConfig) -> Qwen2VLForConditionalGeneration:
    """A model that has shapes and no weights; building it takes seconds and no memory."""
    with torch.device("meta"):
        return Qwen2VLForConditionalGeneration(config)
