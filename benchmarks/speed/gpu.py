"""Peak memory and seconds of a step of GRPO in the true size, stock TRL against ours, on a GPU.

    python -m tools.fake_2b --out models/fake-qwen2-vl-2b
    python -m benchmarks.speed.gpu --model models/fake-qwen2-vl-2b --json data/recorded/gpu.json

The recipe is `gpu`: NF4, LoRA, 8 prompts x 8 rollouts x 200 tokens, images of 384 px. The sides run
one after the other, so that each has the memory to itself, and each is written down as soon as it
is measured: `--sides` takes up those that are missing.
"""

import argparse
import gc
import json
import statistics
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks.speed.sides import trainer
from medr1_lib.cli import exit_status
from medr1_lib.course.chapters.chapter_09 import Step, memory, peak
from medr1_lib.errors import InputError
from medr1_lib.files import check_writable, write_json
from medr1_lib.model.loading import load_policy
from medr1_lib.model.qwen2b import qwen2_vl_2b
from medr1_lib.provenance import LIBRARIES, hardware
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.trainer import PolicyTrainer

SIZE, TOKENS = 384, 200
SIDES: dict[str, tuple[type[GRPOTrainer], Step]] = {
    "TRL": (GRPOTrainer, Step(shared=False, checkpointing=True)),
    "TRL, no checkpointing": (GRPOTrainer, Step(shared=False)),
    "ours": (PolicyTrainer, Step()),
}


class Clock(TrainerCallback):
    """Seconds of every step, sampling included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last = 0.0

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        """Note the time when the GPU has done what it was told."""
        torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self._last)
        self._last = now

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        """Start."""
        self._last = time.perf_counter()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the real one or a fake")
    parser.add_argument("--steps", type=int, default=5, help="that count, of each side")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--out", type=Path, default=Path("_output/gpu"))
    parser.add_argument("--json", type=Path, default=Path("data/recorded/gpu.json"))
    asked = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise InputError("benchmarks.speed.gpu", "torch finds no GPU", "run it where there is one")
    check_writable(asked.json)
    for name in asked.sides:
        found = measured(*SIDES[name], asked)
        print(name, found, flush=True)
        record(asked.json, name, found)
        gc.collect()
        torch.cuda.empty_cache()
    return 0


def measured(kind: type[GRPOTrainer], step: Step, asked: argparse.Namespace) -> dict[str, Any]:
    """Train some steps; the first one warms up and does not count."""
    torch.cuda.reset_peak_memory_stats()
    driven, clock = built(kind, step.checkpointing, asked), Clock()
    driven.add_callback(clock)
    driven.train()
    read = driven.state.log_history[0]["num_tokens"] / (step.prompts * step.rollouts)
    asks = replace(step, text=round(read) - step.image - TOKENS)  # as this tokenizer counts
    return {
        "seconds": statistics.median(clock.seconds[1:]),
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "expected_bytes": peak(memory(qwen2_vl_2b(), asks)),
        "prompt_tokens": asks.text + asks.image,
        "model": asked.model.name,
        "steps": asked.steps,
        "gpu": torch.cuda.get_device_name(),
        "hardware": hardware(),
        "versions": {name: version(name) for name in LIBRARIES},
        "date": time.strftime("%Y-%m-%d"),
    }


def record(path: Path, name: str, found: dict[str, Any]) -> None:
    """Put one side beside those that were measured before."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, before | {name: found})


def built(kind: type[GRPOTrainer], checkpointing: bool, asked: argparse.Namespace) -> GRPOTrainer:
    """A trainer as the recipe wants it; rewards tell the rollouts of a random model apart."""
    recipe = load_recipe("gpu", model=str(asked.model)).replace(
        max_steps=asked.steps + 1,
        max_completion_length=TOKENS,
        generation_kwargs={"min_new_tokens": TOKENS},
        activation_checkpointing=checkpointing,
        save_steps=asked.steps + 2,
    )
    policy = load_policy(asked.model, recipe.quantize)
    return trainer(kind, recipe, policy, SIZE, asked.out)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
