"""Small models of the other kinds that are read, with random weights, saved as a user has them."""

import functools
import json
import tempfile
from pathlib import Path

import torch
import transformers
from policies import processor
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast


@functools.cache
def _root():
    return tempfile.TemporaryDirectory(prefix="medr1-architectures-")  # kept until the tests end


TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
TEXT |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def words(names: list[str], **special: str) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes, with these special tokens beside."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(
        models.BPE(vocab={one: place for place, one in enumerate(alphabet)}, merges=[])
    )
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *names]
    found = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|endoftext|>", **special
    )
    found.add_special_tokens({"additional_special_tokens": names})
    return found


@functools.cache
def qwen3() -> Path:
    """A Qwen3-VL, whose tower gives features to its first layers as well."""
    read, old = processor(), processor().tokenizer
    named = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    named |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    config = transformers.Qwen3VLConfig(
        text_config=TEXT
        | {"vocab_size": len(old), "pad_token_id": None, "bos_token_id": None}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
        | {"rope_scaling": {"rope_type": "default", "mrope_section": [4, 2, 2]}},
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2}
        | {"out_hidden_size": 32, "deepstack_visual_indexes": [0, 1], "patch_size": 14}
        | {"num_position_embeddings": 64},
        **{name: old.convert_tokens_to_ids(token) for name, token in named.items()},
    )
    return _save("qwen3_vl", config, read)


@functools.cache
def gemma3() -> Path:
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>"}
    tokenizer = words([], extra_special_tokens=names | {"eoi_token": "<end_of_image>"})
    images = transformers.Gemma3ImageProcessorPil(size={"height": 28, "width": 28})
    chat = CHAT.replace("IMAGE", "<start_of_image>")
    made = transformers.Gemma3Processor(images, tokenizer, chat_template=chat, image_seq_length=4)
    config = transformers.Gemma3Config(
        text_config=TEXT | {"vocab_size": len(tokenizer), "sliding_window": 64},
        vision_config={"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
        | {"num_attention_heads": 2, "image_size": 28, "patch_size": 7},
        mm_tokens_per_image=4,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    return _save("gemma3", config, made)


@functools.cache
def smolvlm() -> Path:
    return _idefics("smolvlm", transformers.SmolVLMConfig)


@functools.cache
def idefics3() -> Path:
    return _idefics("idefics3", transformers.Idefics3Config)


def _idefics(name, kind) -> Path:
    names = ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]
    tokenizer = words(names)
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 28}, max_image_size={"longest_edge": 28}, do_image_splitting=False
    )
    chat = CHAT.replace("IMAGE", "<image>")
    made = transformers.Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=chat)
    config = kind(
        text_config=TEXT | {"model_type": "llama", "vocab_size": len(tokenizer)},
        vision_config={"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
        | {"num_attention_heads": 2, "image_size": 28, "patch_size": 7},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    return _save(name, config, made)


@functools.cache
def llava() -> Path:
    tokenizer = words(["<image>"])
    images = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    made = transformers.LlavaProcessor(
        images,
        tokenizer,
        patch_size=7,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the one that the strategy leaves out
        chat_template=CHAT.replace("IMAGE", "<image>"),
    )
    config = transformers.LlavaConfig(
        text_config=TEXT | {"model_type": "llama", "vocab_size": len(tokenizer)},
        vision_config={"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
        | {"num_attention_heads": 2, "image_size": 28, "patch_size": 7, "projection_dim": 32}
        | {"model_type": "clip_vision_model"},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return _save("llava", config, made)


def _save(name, config, read) -> Path:
    folder = Path(_root().name) / name
    torch.manual_seed(0)
    model = transformers.AutoModelForImageTextToText.from_config(config)
    for weight in model.parameters():  # what would be trained from zero lets nothing of an image by
        if weight.dim() > 1 and not weight.any():
            weight.data.normal_(0, 0.2)
    model.generation_config.eos_token_id = read.tokenizer.eos_token_id
    model.generation_config.pad_token_id = read.tokenizer.pad_token_id
    model.save_pretrained(folder)
    read.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == name
    return folder


ALL = {"qwen3_vl": qwen3, "gemma3": gemma3, "smolvlm": smolvlm, "idefics3": idefics3}
ALL |= {"llava": llava}
