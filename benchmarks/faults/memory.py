"""Does a training hold more memory with every step? Measure it over 100 steps.

    python -m medr1_lib data build --out _output/phantoms
    python -m benchmarks.faults.memory --data _output/phantoms

Trains the recipe `course` and reads after each step what the process holds (its resident set), and
how much of it are tensors that are still in use. An allocator keeps what was freed, so the first
grows in plateaus, whenever a step needs more than any step before. A leak would make the second
grow with every step.
"""

import argparse
import gc
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmarks.faults import page
from benchmarks.stamp import run_stamp
from medr1_lib.cli import exit_status
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.train import train

EVERY = 10  # steps between two lines of the table


class Watch(TrainerCallback):
    """Notes the resident memory, in MiB, after each step, and what is alive of tensors."""

    def __init__(self) -> None:
        self.held: list[float] = []
        self.tensors: list[float] = []

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """What transformers calls."""
        self.held.append(psutil.Process().memory_info().rss / 2**20)
        alive = (one for one in gc.get_objects() if isinstance(one, torch.Tensor))
        self.tensors.append(sum(one.nbytes for one in alive) / 2**20)


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    torch.set_num_threads(1)
    watch = Watch()
    recipe = load_recipe("course", style="no_think", data=str(asked.data))
    with tempfile.TemporaryDirectory() as folder:
        train(recipe.replace(max_steps=asked.steps), Path(folder) / "run", callbacks=[watch])
    report = run_stamp(1) | summary(watch.held, watch.tensors)
    page.keep(asked, "memory", report, table(report))
    return 0


def summary(held: list[float], tensors: list[float]) -> dict[str, Any]:
    """Memory in MiB at every tenth step, and how it grows in the second half, in MiB a step."""
    half = len(held) // 2
    growth = [np.polyfit(range(len(held) - half), one[half:], 1)[0] for one in (held, tensors)]
    return {
        "steps": len(held),
        "held_mib": [round(one) for one in held[EVERY - 1 :: EVERY]],
        "tensors_mib": [round(one, 1) for one in tensors[EVERY - 1 :: EVERY]],
        "growth_mib_a_step": round(growth[0], 3),
        "tensors_growth_mib_a_step": round(growth[1], 3),
    }


def table(report: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = ["| after step | process, MiB | tensors in use, MiB |", "|--:|--:|--:|"]
    rows = zip(report["held_mib"], report["tensors_mib"], strict=True)
    for number, (held, tensors) in enumerate(rows, start=1):
        lines.append(f"| {number * EVERY} | {held} | {tensors} |")
    return "\n".join(lines)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = page.parser(__doc__, "data/recorded/memory.json")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
