"""Base model, adapter, data and rewards put together into one of TRL's trainers."""

import functools
from pathlib import Path
from typing import Any

from peft import LoraConfig
from transformers import PrinterCallback, Trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.data.errors import InputError
from medr1_lib.data.styles import STYLES
from medr1_lib.policy.loading import base_directory, load_policy
from medr1_lib.rl.examples import KEPT, prompts
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.rewards import RewardFunction, rewards
from medr1_lib.rl.run import CHECKPOINTS, COMPLETE, writing
from medr1_lib.rl.sft import SupervisedTrainer, demonstrations
from medr1_lib.rl.trainer import PolicyTrainer


class Checkpointed(Trainer):
    """Marks a checkpoint when it is whole, and keeps to the folder of the run.

    TRL would write a card into every checkpoint and report the start of a training to its authors.
    """

    def _save_checkpoint(self, *args: Any) -> None:  # noqa: ANN401 - TRL's own
        with writing(Path(str(self.args.output_dir)).parent):
            super()._save_checkpoint(*args)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                name = f"checkpoint-{self.state.global_step}"
                (Path(str(self.args.output_dir)) / name / COMPLETE).touch()

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """The run has a card of its own."""

    def _send_telemetry(self) -> None:
        pass


class GroupTrainer(Checkpointed, PolicyTrainer):
    """`PolicyTrainer` with checkpoints that can be trusted."""


class TargetTrainer(Checkpointed, SupervisedTrainer):
    """`SupervisedTrainer` with checkpoints that can be trusted."""


def trl_config(recipe: Recipe, out: Path) -> GRPOConfig | SFTConfig:
    """The configuration of the run that goes to `out`."""
    make = recipe.grpo_config if recipe.method == "grpo" else recipe.sft_config
    return make(out / CHECKPOINTS)


def build(recipe: Recipe, config: GRPOConfig | SFTConfig) -> Any:  # noqa: ANN401 - either trainer
    """A trainer that is ready to train.

    Raises:
        InputError: If the data or the model is not fit for the recipe.
    """
    data = prompts(recipe) if recipe.method == "grpo" else demonstrations(recipe)
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
    if recipe.method == "grpo":
        trainer: Any = GroupTrainer(reward_funcs=_rewards(recipe), **parts)
    else:
        trainer = TargetTrainer(**parts)
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
    first, *rest = rewards(STYLES[recipe.style], recipe.rules)

    @functools.wraps(first)
    def noted(**columns: Any) -> list[float]:  # noqa: ANN401 - whatever the data set holds
        for name in KEPT:
            columns["log_extra"](name, columns[name])
        return first(**columns)

    return [noted, *rest]
