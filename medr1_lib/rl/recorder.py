"""What is written down while a policy learns: a row per step, and now and then the rollouts."""

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
from transformers import TrainerCallback, TrainerState

from medr1_lib import files
from medr1_lib.rl.run import LOG, ROLLOUTS, writing

Logs: TypeAlias = Mapping[str, Any] | None  # what TRL measured in a step

# column of log.csv: the name that TRL gives it
SHARED = {"loss": "loss", "grad_norm": "grad_norm", "learning_rate": "learning_rate"}
COLUMNS = {
    "grpo": {
        "reward": "reward",
        "accuracy": "rewards/accuracy_reward/mean",
        "format": "rewards/format_reward/mean",
        "kl": "kl",
        "completion_length": "completions/mean_length",
        "clipped": "completions/clipped_ratio",
        "zero_spread": "frac_reward_zero_std",
        "entropy": "entropy",
    }
    | SHARED,
    "sft": {"token_accuracy": "mean_token_accuracy", "entropy": "entropy"} | SHARED,
}
SAMPLES, SAMPLED_GROUPS = 50, 2  # how often rollouts are kept, and of how many prompts each time


def row(method: str, logs: Mapping[str, Any]) -> dict[str, float | None]:
    """One step of TRL's log under the names of `log.csv`.

    Example:
        >>> row("sft", {"loss": 0.5, "grad_norm": 1.0})["loss"]
        0.5
    """
    return {name: logs.get(key) for name, key in COLUMNS[method].items()}


class Recorder(TrainerCallback):
    """Appends to `log.csv` at every step and keeps a sample in `rollouts.parquet`.

    Args:
        out: The folder of the run.
        method: `grpo` or `sft`.
        trainer: The trainer, whose last rollouts are sampled.
    """

    def __init__(self, out: Path, method: str, trainer: Any) -> None:  # noqa: ANN401 - either trainer
        self._out, self._method, self._trainer = out, method, trainer

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Start the clock."""
        self._clock = time.perf_counter()

    def on_log(
        self, args: object, state: TrainerState, *_: object, logs: Logs = None, **__: object
    ) -> None:
        """Write the step down, before its checkpoint is."""
        if not state.is_world_process_zero or logs is None or "loss" not in logs:
            return
        before, self._clock = self._clock, time.perf_counter()
        seconds = round(self._clock - before, 3)
        line = {"step": state.global_step} | row(self._method, logs) | {"seconds": seconds}
        with writing(self._out):
            self._append(line)
            if self._method == "grpo" and self._sampled(state):
                self._keep_rollouts(state.global_step)

    def _append(self, line: dict[str, Any]) -> None:
        path = self._out / LOG
        new = not path.is_file()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(line), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(line)

    def _sampled(self, state: TrainerState) -> bool:
        every = max(1, state.max_steps // SAMPLES)
        return state.global_step == 1 or state.global_step % every == 0

    def _keep_rollouts(self, step: int) -> None:
        """The first groups of the batch: prompts, completions, rewards and advantages."""
        logs: Mapping[str, Any] = self._trainer._logs  # of the last batch, gathered by TRL
        count = SAMPLED_GROUPS * self._trainer.num_generations
        columns = {
            "prompt": [_said(turns) for turns in logs["prompt"]],
            "completion": [_said(turns) for turns in logs["completion"]],
            **logs["extra"],
            **logs["rewards"],
            "advantage": logs["advantages"],
        }
        new = pd.DataFrame({name: list(values)[:count] for name, values in columns.items()})
        new.insert(0, "step", step)
        path = self._out / ROLLOUTS
        old = [pd.read_parquet(path)] if path.is_file() else []
        files.atomic_write(path, pd.concat([*old, new]).to_parquet(index=False))


def _said(turns: list[dict[str, Any]]) -> str:
    """The text of the last turn, images left out."""
    content = turns[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
