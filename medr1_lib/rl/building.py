"""Base model, adapter, data and rewards put together into one of TRL's trainers."""

import functools
import re
from pathlib import Path
from typing import Any

from peft import LoraConfig
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.errors import InputError
from medr1_lib.model.loading import base_directory, load_policy
from medr1_lib.rl import sft
from medr1_lib.rl.examples import KEPT, prompts
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.rewards import RewardFunction, rewards
from medr1_lib.rl.trainer import PolicyTrainer, SupervisedTrainer


def build(recipe: Recipe, config: GRPOConfig | SFTConfig, target: sft.Target = sft.target) -> Any:  # noqa: ANN401 - either trainer
    """A trainer that is ready to train; `target` is what supervised fine-tuning teaches.

    Raises:
        InputError: If the data or the model is not fit for the recipe.
    """
    data = prompts(recipe) if recipe.method == "grpo" else sft.demonstrations(recipe, target)
    _check_enough(len(data), recipe, config)
    path = Path(recipe.model)
    if base_directory(path) != path:
        remedy = "name the model that it was trained on"
        raise InputError(path, "is an adapter, and training starts from a base", remedy)
    model, processor = load_policy(path, recipe.quantize, str(config.device))
    lora = LoraConfig(
        r=recipe.lora_r, lora_alpha=recipe.lora_alpha, target_modules=recipe.lora_targets
    )
    parts: dict[str, Any] = {
        "model": model,
        "args": config,
        "train_dataset": data,
        "processing_class": processor,
        "peft_config": lora,
    }
    kind: Any = SupervisedTrainer
    if recipe.method == "grpo":
        kind = functools.partial(PolicyTrainer, reward_funcs=_rewards(recipe))
    try:
        trainer = kind(**parts)
    except (ValueError, ImportError, re.error) as error:
        raise InputError("recipe", str(error), "correct the recipe") from error
    trainer.remove_callback(PrinterCallback)
    return trainer


def _check_enough(count: int, recipe: Recipe, config: GRPOConfig | SFTConfig) -> None:
    """Without a full batch TRL would train on nothing and say so nowhere."""
    if isinstance(config, GRPOConfig):
        needed = (config.generation_batch_size or 1) // (config.num_generations or 1)
    else:
        needed = config.per_device_train_batch_size * config.world_size
    if count < needed:
        problem = f"{count} questions are left, and a batch takes {needed}"
        raise InputError(recipe.data, problem, "loosen the filters or choose a smaller batch")


def _rewards(recipe: Recipe) -> list[RewardFunction]:
    """The rewards; the first also hands the names of the questions to TRL's table of rollouts."""
    first, *rest = rewards(recipe.style, recipe.rules)

    @functools.wraps(first)
    def noted(**columns: Any) -> list[float]:  # noqa: ANN401 - whatever the data set holds
        for name in KEPT:
            columns["log_extra"](name, columns[name])
        return first(**columns)

    return [noted, *rest]
