"""The frozen recipe of a training run, and the TRL configuration that follows from it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.data.question import canonical
from medr1_lib.data.styles import check_style
from medr1_lib.errors import InputError
from medr1_lib.rl.rewards import RULES

CONFIGS: dict[str, type[GRPOConfig] | type[SFTConfig]] = {"grpo": GRPOConfig, "sft": SFTConfig}
Config = TypeVar("Config", bound=GRPOConfig | SFTConfig)
# The language model's linear layers. "all-linear" would adapt the vision tower as well.
LANGUAGE_LINEAR = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
# What the run folder, the log and an exact resume rest on; a recipe cannot change it. The questions
# are shuffled once by the seed, so that both methods meet the same ones in the same order.
FIXED: dict[str, Any] = {
    "logging_strategy": "steps",
    "logging_steps": 1,
    "save_strategy": "steps",
    "report_to": "none",
    "disable_tqdm": True,
    "remove_unused_columns": False,
    "ddp_find_unused_parameters": False,
}
ORDER: dict[str, dict[str, Any]] = {
    "grpo": {"shuffle_dataset": False},
    "sft": {"train_sampling_strategy": "sequential", "dataloader_drop_last": True},
}
ELSEWHERE = {
    "output_dir": "--out",
    "data_seed": "seed",
    "resume_from_checkpoint": "--resume",
    "gradient_checkpointing": "activation_checkpointing",  # the name that transformers gave it
}


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on.

    Attributes:
        method: `grpo` or `sft`.
        style: The reasoning style that is asked for.
        rules: The reward rules of GRPO, one of `rewards.RULES`.
        model: Directory of the base model.
        data: Data set made by `data build` or `data import`; its split `train` is used.
        modality: Only these modalities; all if empty.
        question_type: Only these question types; all if empty.
        seed: Of the order of questions, the adapter and the sampling.
        quantize: `nf4` stores the base in 4 bits (QLoRA).
        lora_r: Rank of the adapter.
        lora_alpha: Its scale times the rank.
        lora_targets: Which layers it adapts, a regular expression.
        config: Fields of TRL's `GRPOConfig` or `SFTConfig`, under their own names.

    Raises:
        InputError: If a value is none of those allowed.
    """

    method: Literal["grpo", "sft"]
    style: str
    model: str
    data: str
    rules: str = "strict"
    modality: tuple[str, ...] = ()
    question_type: tuple[str, ...] = ()
    seed: int = 0
    quantize: Literal["nf4"] | None = None
    lora_r: int = 16
    lora_alpha: int = 32
    lora_targets: str = LANGUAGE_LINEAR
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, allowed in (("method", CONFIGS), ("rules", RULES), ("quantize", (None, "nf4"))):
            if getattr(self, name) not in allowed:
                known = ", ".join(map(str, allowed))
                raise _refused(f"{name} is {getattr(self, name)!r}", f"use one of {known}")
        for name, least in (("lora_r", 1), ("lora_alpha", 1), ("seed", 0)):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < least:
                remedy = f"use a whole number, {least} or more"
                raise _refused(f"{name} is {getattr(self, name)!r}", remedy)
        check_style(self.style)
        for axis in ("modality", "question_type"):
            given = getattr(self, axis)
            names = [given] if isinstance(given, str) else given
            object.__setattr__(self, axis, tuple(canonical(axis, name) for name in names))
        self._check_config()

    def _check_config(self) -> None:
        known = {field.name for field in fields(CONFIGS[self.method])}
        fixed = FIXED | ORDER[self.method]
        for name, value in self.config.items():
            if name not in known:
                where = CONFIGS[self.method].__name__
                raise _refused(f"unknown key {name!r}", f"use a key of the recipe or of {where}")
            if name in ELSEWHERE:
                raise _refused(f"{name} is not set here", f"use {ELSEWHERE[name]} instead")
            if value != fixed.get(name, value):
                raise _refused(f"{name} is always {fixed[name]}", "leave it out")

    def changed(self, **changes: object) -> "Recipe":
        """A copy with other values, of the recipe's own keys or of the configuration's.

        Example:
            >>> recipe = Recipe("grpo", "no_think", "model", "data", config={"beta": 0.04})
            >>> recipe.changed(seed=1, beta=0.0).config
            {'beta': 0.0}
        """
        own = {name: value for name, value in changes.items() if name in OWN}
        rest = {name: value for name, value in changes.items() if name not in OWN}
        return replace(self, **own | {"config": {**self.config, **rest}})  # type: ignore[arg-type]

    def flat(self) -> dict[str, Any]:
        """The recipe as one mapping, as a YAML file has it."""
        known = asdict(self)
        listed = {name: list(known[name]) for name in ("modality", "question_type")}
        return {name: known[name] for name in OWN} | listed | dict(self.config)

    def grpo_config(self, out: Path) -> GRPOConfig:
        """TRL's configuration of this run, checkpoints going to `out`.

        Raises:
            InputError: If the recipe is for SFT, its values contradict each other, or it needs a
                GPU and there is none.
        """
        return self._trl_config(GRPOConfig, out)

    def sft_config(self, out: Path) -> SFTConfig:
        """As `grpo_config`, for supervised fine-tuning."""
        return self._trl_config(SFTConfig, out)

    def trl_config(self, out: Path) -> GRPOConfig | SFTConfig:
        """As `grpo_config` or `sft_config`, whichever the method asks for."""
        return self._trl_config(CONFIGS[self.method], out)

    def _trl_config(self, kind: type[Config], out: Path) -> Config:
        if CONFIGS[self.method] is not kind:
            problem = f"it is a recipe for {self.method}, which makes no {kind.__name__}"
            raise _refused(problem, "use another one")
        if not self.config.get("use_cpu") and not torch.cuda.is_available():
            raise _refused("it needs a GPU, and torch finds none", "set use_cpu: true, or use one")
        own = {"output_dir": str(out), "seed": self.seed}
        given = {**self.config, **FIXED, **ORDER[self.method], **own}
        try:
            config = kind(**given)
        except (ValueError, TypeError) as error:
            raise _refused(str(error), "correct the recipe") from error
        if config.save_steps < 1:
            raise _refused(f"save_steps is {config.save_steps}", "use a whole number above 0")
        if isinstance(config, GRPOConfig):
            _align(config)
        return config


OWN = tuple(field.name for field in fields(Recipe) if field.name != "config")


def _align(config: GRPOConfig) -> None:
    """Refuse parts of groups, and save only where no rollout waits for a later step."""
    batch, group = config.per_device_train_batch_size, config.num_generations or 1
    if batch % group:
        problem = f"per_device_train_batch_size {batch} holds parts of groups of {group}"
        raise _refused(problem, "use a multiple of num_generations")
    # TRL does not store rollouts in a checkpoint; those held for a later step would be lost.
    held = (config.steps_per_generation or 1) * config.num_iterations
    whole = math.lcm(held, config.gradient_accumulation_steps) // config.gradient_accumulation_steps
    config.save_steps = math.ceil(config.save_steps / whole) * whole
    config.per_device_eval_batch_size = config.per_device_train_batch_size


def _refused(problem: str, remedy: str) -> InputError:
    return InputError("recipe", problem, remedy)
