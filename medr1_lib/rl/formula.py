"""The objective that a GRPO or RLOO configuration computes, read off its fields."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.rloo_config import RLOOConfig

from medr1_lib.errors import InputError

_LATEX = Environment("<%", "%>", "<<", ">>", "<#", "#>", undefined=StrictUndefined)
_LATEX.filters["g"] = "{:g}".format
FORM = Path(__file__).with_name("formula.tex")
# What each field may be; with another value, the objective would not be the one written there.
WRITTEN: dict[str, tuple[Any, ...]] = {
    "loss_type": ("grpo", "bnpo", "dapo", "dr_grpo", "cispo"),
    "scale_rewards": ("group", "batch", "none"),
    "importance_sampling_level": ("token", "sequence"),
    "top_entropy_quantile": (1.0,),
    "entropy_coef": (0.0,),
    "multi_objective_aggregation": ("sum_then_normalize",),
}
UNSET = ("delta", "off_policy_mask_threshold", "reward_weights", "reward_clip_range")
OFF = ("use_adaptive_entropy", "mask_truncated_completions", "use_vllm", "normalize_advantages")
WRITTEN |= dict.fromkeys(UNSET, (None,)) | dict.fromkeys(OFF, (False,))


def formula(config: GRPOConfig | RLOOConfig) -> str:
    """The loss as LaTeX, with the numbers of this configuration in it.

    r is a reward, k a divergence; B rollouts share a micro-batch and S an optimizer step, whose
    loss is the mean of its micro-batches. Probabilities are at the temperature; standard deviations
    divide by one less than the count; sg passes no gradient. What is not in `FORM` is refused.
    """
    for name, known in WRITTEN.items():
        value = getattr(config, name, known[0])  # RLOO has fewer fields
        if value not in known:
            remedy = f"use {' or '.join(map(str, known))}"
            raise InputError(f"{name}={value!r}", "is not supported", remedy)
    held = (config.steps_per_generation or 1) * config.num_iterations
    return _LATEX.from_string(FORM.read_text(encoding="utf-8")).render(
        c=config,
        grpo=isinstance(config, GRPOConfig),
        low=config.epsilon,
        high=config.epsilon if config.epsilon_high is None else config.epsilon_high,
        # TRL then takes the policy itself, without gradient, for the old one.
        once=config.gradient_accumulation_steps % held == 0,
    )
