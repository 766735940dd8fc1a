"""Qwen2-VL-2B in its true size: its published configuration, and a model that is all shapes."""

from pathlib import Path

import torch
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration


def qwen2_vl_2b() -> Qwen2VLConfig:
    """The configuration of Qwen2-VL-2B-Instruct, as published; used from chapter 09 on.

    `Qwen2VLConfig()` alone describes a model of another size. Source: Wang et al. 2024, arXiv
    2409.12191, and `config.json` of `Qwen/Qwen2-VL-2B-Instruct`.
    """
    return Qwen2VLConfig.from_json_file(Path(__file__).with_name("qwen2-vl-2b.json"))


def on_meta(config: Qwen2VLConfig) -> Qwen2VLForConditionalGeneration:
    """A model that has shapes and no weights; building it takes seconds and no memory."""
    with torch.device("meta"):
        return Qwen2VLForConditionalGeneration(config)
