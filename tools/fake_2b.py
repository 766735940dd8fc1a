"""`python -m tools.fake_2b`: a checkpoint in the size of Qwen2-VL-2B, with random weights.

It takes 5.3 GB of memory, and 4.4 GB of the disk.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from medr1_lib.cli import exit_status
from medr1_lib.errors import InputError
from medr1_lib.files import require_free
from medr1_lib.model.memory import on_meta, qwen2_vl_2b
from tools.pretrain.tiny import tiny_processor

SPARE = 2**26  # bytes on the disk for everything that is not a weight
FAKE = "random weights in the size of Qwen2-VL-2B: this is not Qwen2-VL-2B and knows nothing"
CARD = f"""\
# A fake: {FAKE}

Made by `python -m tools.fake_2b` to try out memory and time where the real weights are not at
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
    parser = argparse.ArgumentParser("python -m tools.fake_2b", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    seed = "random seed of the weights (default 0)"
    parser.add_argument("--seed", type=int, default=0, metavar="S", help=seed)
    asked = parser.parse_args(arguments)
    size = write_fake(asked.out, qwen2_vl_2b(), asked.seed)
    print(f"{asked.out}: {size / 1e9:.2f} GB of {FAKE}")
    return 0


def write_fake(out: Path, config: Qwen2VLConfig, seed: int = 0, shard: str = "500MB") -> int:
    """Write a checkpoint of random bfloat16 weights and return their bytes.

    Args:
        out: A new or empty folder.
        config: Its token ids are replaced by those of the tiny model's tokenizer.
        seed: Random seed of the weights.
        shard: The largest file.

    Raises:
        InputError: If the folder is in use, cannot be written, or the disk is too small.
    """
    require_free(out)
    size = 2 * sum(weight.numel() for weight in on_meta(config).parameters())
    _check_disk(out, size + SPARE)
    processor = tiny_processor()
    processor.image_processor.size = {"shortest_edge": 56**2, "longest_edge": 12845056}
    _take_token_ids(config, processor.tokenizer.get_vocab())
    torch.manual_seed(seed)
    model = Qwen2VLForConditionalGeneration._from_config(config, dtype=torch.bfloat16)
    rows = config.get_text_config().vocab_size
    try:
        model.save_pretrained(out, max_shard_size=shard)
        processor.save_pretrained(out)
        (out / "README.md").write_text(
            CARD.format(words=len(processor.tokenizer), rows=rows), encoding="utf-8"
        )
    except (OSError, SafetensorError) as error:
        shutil.rmtree(out, ignore_errors=True)
        remedy = "free some space or choose a folder you may write to"
        raise InputError(out, f"cannot be written ({error})", remedy) from error
    return size


def _check_disk(out: Path, needed: int) -> None:
    there = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        problem = f"needs {needed / 1e9:.1f} GB, and its disk has {free / 1e9:.1f} GB free"
        raise InputError(out, problem, "free some space or choose another disk")


def _take_token_ids(config: Qwen2VLConfig, ids: dict[str, int]) -> None:
    text: Any = config.text_config
    config.image_token_id, config.video_token_id = ids["<|image_pad|>"], ids["<|video_pad|>"]
    config.vision_start_token_id = ids["<|vision_start|>"]
    config.vision_end_token_id = ids["<|vision_end|>"]
    text.bos_token_id, text.eos_token_id = None, ids["<|im_end|>"]
    text.pad_token_id = ids["<|endoftext|>"]
    config.fake = FAKE


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
