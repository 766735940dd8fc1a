"""`python -m medr1_lib fake-2b`: a checkpoint in the size of Qwen2-VL-2B, with random weights."""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerBase, Qwen2VLConfig

from medr1_lib.errors import InputError
from medr1_lib.files import require_free
from medr1_lib.model import qwen2b
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor, tiny_processor

SHARD = 2**29  # bytes in memory at a time, unless one tensor is larger
SPARE = 2**26  # bytes on the disk for everything that is not a weight
FAKE = "random weights in the size of Qwen2-VL-2B: this is not Qwen2-VL-2B and knows nothing"
CARD = f"""\
# A fake: {FAKE}

Made by `python -m medr1_lib fake-2b` to try out memory and time where the real weights are not at
hand. Every layer has the size of Qwen2-VL-2B-Instruct, every number in it is random.

- `load_policy` reads it as it would read the real one, in 4 bits too, and so does
  `python -m medr1_lib train grpo --recipe gpu --model DIR --force`. Without `--force` the training
  refuses it: no answer of a random model has the form asked for, and there is nothing to learn.
- The tokenizer is that of the course's tiny model. It uses the first {{words}} of the {{rows}} rows
  of the embedding; the model may sample any of them, and a token without a word is no text. Prompts
  have other lengths than with the tokenizer of Qwen2-VL.
- Images go in as in the published model, up to 12.8 million pixels: 384 x 384 makes 196 tokens.
"""


def main(arguments: list[str]) -> int:
    """Write the checkpoint and say what it is."""
    parser = argparse.ArgumentParser("python -m medr1_lib fake-2b", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    seed = "everything follows from it (default 0)"
    parser.add_argument("--seed", type=int, default=0, metavar="S", help=seed)
    asked = parser.parse_args(arguments)
    size = write_fake(asked.out, qwen2b.qwen2_vl_2b(), asked.seed)
    print(f"{asked.out}: {size / 1e9:.2f} GB of {FAKE}")
    return 0


def write_fake(out: Path, config: Qwen2VLConfig, seed: int = 0) -> int:
    """Write a checkpoint of random bfloat16 weights, shard by shard, and return its bytes.

    Args:
        out: The folder to make; new or empty.
        config: Its token ids are replaced by those of the tiny model's tokenizer.
        seed: Everything follows from it.

    Raises:
        InputError: If the folder is in use, cannot be written, or the disk is too small.
    """
    require_free(out)
    processor = _processor()
    _speak(config, processor.tokenizer)
    shapes = _shapes(config)
    size = sum(2 * shape.numel() for shape in shapes.values())
    _check_disk(out, size + SPARE)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_words(out, config, processor)
        _write_weights(out, shapes, config.get_text_config().initializer_range, seed)
    except OSError as error:
        shutil.rmtree(out, ignore_errors=True)
        remedy = "free some space or choose a folder you may write to"
        raise InputError(out, f"cannot be written ({error.strerror or error})", remedy) from error
    return size


def _processor() -> ImageOnlyQwen2VLProcessor:
    """The tiny model's tokenizer, and images of the published sizes."""
    processor = tiny_processor()
    processor.image_processor.size = {"shortest_edge": 56**2, "longest_edge": 12845056}
    return processor


def _speak(config: Qwen2VLConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    ids: dict[str, int] = tokenizer.get_vocab()
    config.image_token_id, config.video_token_id = ids["<|image_pad|>"], ids["<|video_pad|>"]
    config.vision_start_token_id = ids["<|vision_start|>"]
    config.vision_end_token_id = ids["<|vision_end|>"]
    text: Any = config.text_config
    text.bos_token_id, text.eos_token_id = None, tokenizer.eos_token_id
    text.pad_token_id = tokenizer.pad_token_id


def _shapes(config: Qwen2VLConfig) -> dict[str, torch.Size]:
    """Every weight under the name that it has in the published checkpoint."""
    state = qwen2b.on_meta(config).state_dict()
    if config.tie_word_embeddings:
        del state["lm_head.weight"]
    spelled = (("model.visual.", "visual."), ("model.language_model.", "model."))
    shapes = {}
    for name, tensor in state.items():
        for ours, published in spelled:
            name = name.replace(ours, published)
        shapes[name] = tensor.shape
    return shapes


def _check_disk(out: Path, needed: int) -> None:
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        problem = f"needs {needed / 1e9:.1f} GB, and its disk has {free / 1e9:.1f} GB free"
        raise InputError(out, problem, "free some space or choose another disk")


def _write_words(out: Path, config: Qwen2VLConfig, processor: ImageOnlyQwen2VLProcessor) -> None:
    """Everything but the weights."""
    words, rows = len(processor.tokenizer), config.get_text_config().vocab_size
    (out / "README.md").write_text(CARD.format(words=words, rows=rows))
    about = config.to_dict() | {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "dtype": "bfloat16",
        "fake": FAKE,
    }
    (out / "config.json").write_text(json.dumps(about, indent=2) + "\n")
    processor.save_pretrained(out)
    ends = {"eos_token_id": processor.tokenizer.eos_token_id}
    GenerationConfig(**ends, pad_token_id=processor.tokenizer.pad_token_id).save_pretrained(out)


def _write_weights(out: Path, shapes: dict[str, torch.Size], spread: float, seed: int) -> None:
    """The weights, and last the index without which they are not a checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    places: dict[str, str] = {}
    shards = list(_shards(shapes))
    for number, names in enumerate(tqdm(shards, desc="fake-2b", unit="shard"), start=1):
        file = f"fake-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {name: _weight(name, shapes[name], spread, generator) for name in names}
        save_file(tensors, out / file, {"format": "pt", "fake": FAKE})
        places |= dict.fromkeys(names, file)
    size = sum(2 * shape.numel() for shape in shapes.values())
    index = {"metadata": {"total_size": size, "fake": FAKE}, "weight_map": places}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def _shards(shapes: dict[str, torch.Size]) -> Iterator[list[str]]:
    names: list[str] = []
    size = 0
    for name, shape in shapes.items():
        if names and size + 2 * shape.numel() > SHARD:
            yield names
            names, size = [], 0
        names.append(name)
        size += 2 * shape.numel()
    yield names


def _weight(name: str, shape: torch.Size, spread: float, generator: torch.Generator) -> Tensor:
    """As a model starts: norms pass their input on, biases are zero, the rest is normal."""
    weight = torch.zeros(shape, dtype=torch.bfloat16)
    if len(shape) > 1:
        return weight.normal_(0, spread, generator=generator)
    return weight.fill_(1) if name.endswith("weight") else weight
