"""Before the first step: is there anything to learn from?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import datasets
import torch

from medr1_lib.errors import InputError
from medr1_lib.rl.trainer import PolicyTrainer

GROUPS = 16  # sampled; more if a batch holds more


@dataclass(frozen=True)
class Signal:
    """What some groups of rollouts earn before any training.

    Attributes:
        groups: How many were sampled.
        zero_spread: Share of groups whose rewards are all equal: their advantages are zero.
        clipped: Share of completions cut off at the limit of tokens.
        format: Mean format reward.
        accuracy: Mean accuracy reward.
        length: Mean tokens of a completion.
    """

    groups: int
    zero_spread: float
    clipped: float
    format: float
    accuracy: float
    length: float

    def __str__(self) -> str:
        return (
            f"{self.groups} groups sampled: {self.zero_spread:.0%} without spread of reward, "
            f"{self.clipped:.0%} of completions cut off, format {self.format:.0%}, "
            f"accuracy {self.accuracy:.0%}, {self.length:.0f} tokens on average"
        )

    @property
    def problem(self) -> str | None:
        """Why nothing can be learned, or `None` if something can."""
        if self.zero_spread < 1:
            return None
        if self.clipped == 1:
            return "every completion is cut off before it ends; raise max_completion_length"
        if self.format == 0:
            return "no completion has the form asked for; the base has to know it a little"
        if self.accuracy == 1:
            return "every completion is right already; ask harder questions"
        return "all rollouts of a prompt say the same; raise temperature, top_k or num_generations"


def preflight(trainer: PolicyTrainer, prompts: datasets.Dataset) -> Signal:
    """Sample some groups as the training would and look at their rewards.

    Leaves no trace in the training: its random numbers are the same with and without.

    Args:
        trainer: Ready to train.
        prompts: What it will be trained on; the first ones are used.

    Raises:
        InputError: If there are too few prompts to fill a batch.
    """
    config: Any = trainer.args
    together = config.per_device_eval_batch_size * config.world_size // config.num_generations
    groups = together * math.ceil(GROUPS / together)
    if len(prompts) < groups:
        groups = len(prompts) // together * together
    if not groups:
        remedy = "use more data or a smaller batch"
        raise InputError("train", f"{len(prompts)} prompts do not fill a batch", remedy)
    with torch.random.fork_rng():
        found: Mapping[str, float] = trainer.evaluate(prompts.select(range(groups)))
    return Signal(
        groups=groups,
        zero_spread=found["eval_frac_reward_zero_std"],
        clipped=found["eval_completions/clipped_ratio"],
        format=found["eval_rewards/format_reward/mean"],
        accuracy=found["eval_rewards/accuracy_reward/mean"],
        length=found["eval_completions/mean_length"],
    )


def check(signal: Signal) -> None:
    """Refuse a dead signal.

    Raises:
        InputError: With the reason in plain words.
    """
    if signal.problem:
        problem = f"the signal is dead ({signal}): {signal.problem}"
        raise InputError("pre-flight", problem, "or add --force to train all the same")
