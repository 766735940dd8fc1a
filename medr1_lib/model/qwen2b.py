"""Qwen2-VL-2B in its true size: its published configuration, and a model that is all shapes.

The meta device knows the shape of every tensor and holds no number, so that what a training would
take can be counted on a laptop.
"""

import torch
from transformers import BitsAndBytesConfig, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from medr1_lib.model.loading import NOT_QUANTIZED


def qwen2_vl_2b() -> Qwen2VLConfig:
    """The configuration of Qwen2-VL-2B-Instruct, as published; used from chapter 07 on.

    `Qwen2VLConfig()` alone describes a model of another size. Source: Wang et al. 2024, arXiv
    2409.12191, and `config.json` of `Qwen/Qwen2-VL-2B-Instruct`.

    Example:
        >>> qwen2_vl_2b().text_config.hidden_size
        1536
    """
    text = {
        "vocab_size": 151936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "max_window_layers": 28,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [16, 24, 24],
        },
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "tie_word_embeddings": True,
    }
    eye = {
        "depth": 32,
        "embed_dim": 1280,
        "num_heads": 16,
        "mlp_ratio": 4,
        "hidden_size": 1536,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    return Qwen2VLConfig(
        text_config=text,
        vision_config=eye,
        vision_start_token_id=151652,
        vision_end_token_id=151653,
        image_token_id=151655,
        video_token_id=151656,
        tie_word_embeddings=True,
    )


def on_meta(config: Qwen2VLConfig, quantize: bool = False) -> Qwen2VLForConditionalGeneration:
    """A model that has shapes and no weights; building it takes seconds and no memory.

    Args:
        config: Of any size.
        quantize: Put 4-bit layers where `load_policy` puts them. Their shapes are those of the
            weights before quantization.
    """
    with torch.device("meta"):
        model = Qwen2VLForConditionalGeneration(config)
    if quantize:  # what else a quantization is told changes no shape
        replace_with_bnb_linear(model, NOT_QUANTIZED, BitsAndBytesConfig(load_in_4bit=True))
    return model
