"""The objective that a GRPO or RLOO configuration computes, read off its fields."""

from collections.abc import Collection
from typing import Any

from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.rloo_config import RLOOConfig

from medr1_lib.errors import InputError

# How each kind of loss weighs the tokens of B rollouts o_1 ... o_B.
WEIGHTS = {
    "grpo": r"\frac{1}{B}\sum_{i=1}^{B}\frac{1}{|o_i|}\sum_{t=1}^{|o_i|}",
    "bnpo": r"\frac{1}{\sum_{i=1}^{B}|o_i|}\sum_{i=1}^{B}\sum_{t=1}^{|o_i|}",
    "dapo": r"\frac{1}{\sum_{i=1}^{N}|o_i|}\sum_{i=1}^{N}\sum_{t=1}^{|o_i|}",
    "dr_grpo": r"\frac{1}{B\,%(longest)s}\sum_{i=1}^{B}\sum_{t=1}^{|o_i|}",
}
WEIGHTS["cispo"] = WEIGHTS["dapo"]
CENTERED = r"R_i - \mathrm{mean}(R_{\mathrm{group}(i)})"
ADVANTAGES = {
    "group": rf"\frac{{{CENTERED}}}{{\mathrm{{std}}(R_{{\mathrm{{group}}(i)}}) + 10^{{-4}}}}",
    "batch": rf"\frac{{{CENTERED}}}{{\mathrm{{std}}(R_1, \dots, R_N) + 10^{{-4}}}}",
    "none": CENTERED,
}
RATIO = r"\frac{\pi_\theta(o_{i,t})}{\pi_{\mathrm{old}}(o_{i,t})}"
PRODUCT = rf"\prod_{{s=1}}^{{|o_i|}} {RATIO.replace('t}', 's}')}"
RATIOS = {"token": RATIO, "sequence": rf"\Big({PRODUCT}\Big)^{{1/|o_i|}}"}
# What each field may be; with another value, the objective would not be the one written here.
WRITTEN: dict[str, Collection[Any]] = {
    "loss_type": WEIGHTS,
    "scale_rewards": ADVANTAGES,
    "importance_sampling_level": RATIOS,
    "top_entropy_quantile": (1.0,),
    "entropy_coef": (0.0,),
    "multi_objective_aggregation": ("sum_then_normalize",),
}
UNSET = ("delta", "off_policy_mask_threshold", "reward_weights", "reward_clip_range")
OFF = ("use_adaptive_entropy", "mask_truncated_completions", "use_vllm", "normalize_advantages")
WRITTEN |= dict.fromkeys(UNSET, (None,)) | dict.fromkeys(OFF, (False,))


def formula(config: GRPOConfig | RLOOConfig) -> str:
    r"""The loss as LaTeX, with the numbers of this configuration in it.

    B rollouts share a micro-batch and N an optimizer step, whose loss is the mean of its
    micro-batches. Probabilities are at the temperature; standard deviations divide by one less than
    the count; sg passes no gradient. An objective that is not written here is refused.
    """
    for name, known in WRITTEN.items():
        value = getattr(config, name, next(iter(known)))  # RLOO has fewer fields
        if value not in known:
            remedy = f"use {' or '.join(map(str, known))}"
            raise InputError(f"{name}={value!r}", "is not supported", remedy)
    lines = _grpo(config) if isinstance(config, GRPOConfig) else _rloo(config)
    return "\n".join([r"\begin{aligned}", " \\\\\n".join(lines), r"\end{aligned}"])


def _grpo(config: GRPOConfig) -> list[str]:
    gain = _clipped(r"\rho_{i,t}", config)
    if config.loss_type == "cispo":
        weight = rf"\mathrm{{sg}}\big[\min(\rho_{{i,t}}, {_limits(config)[1]:g})\big]"
        gain = rf"{weight}\, A_i \log \pi_\theta(o_{{i,t}})"
    if config.beta:
        gain = rf"\Big[{gain} - {config.beta:g}\, D_{{i,t}}\Big]"
    weights = WEIGHTS[config.loss_type].replace("%(longest)s", str(config.max_completion_length))
    lines = [
        rf"\mathcal{{L}}(\theta) &= -{weights}\;{gain}",
        rf"A_i &= {ADVANTAGES[config.scale_rewards]},"
        rf"\qquad \text{{groups of {config.num_generations}}}",
        rf"\rho_{{i,t}} &= {RATIOS[config.importance_sampling_level]},\qquad {_sampled(config)}",
    ]
    if config.beta:
        gap = r"\frac{\pi_{\mathrm{ref}}(o_{i,t})}{\pi_\theta(o_{i,t})}"
        k3 = rf"{gap} - \log{gap} - 1"
        corrected = rf"\rho_{{i,t}} \Big({k3}\Big)" if config.use_bias_correction_kl else k3
        lines.append(rf"D_{{i,t}} &= {corrected}")
    return lines


def _rloo(config: RLOOConfig) -> list[str]:
    count, gain = config.num_generations or 2, _clipped(r"\rho_i", config)
    others = rf"\frac{{1}}{{{count - 1}}}\sum_{{j \ne i}} R_j,\qquad \text{{groups of {count}}}"
    lines = [
        rf"\mathcal{{L}}(\theta) &= -\frac{{1}}{{B}}\sum_{{i=1}}^{{B}} {gain}",
        rf"A_i &= R_i - {others}",
        rf"\rho_i &= {PRODUCT},\qquad {_sampled(config)}",
    ]
    if config.beta:  # RLOO takes the penalty from the reward
        gap = r"\log\frac{\pi_{\mathrm{old}}(o_{i,t})}{\pi_{\mathrm{ref}}(o_{i,t})}"
        summed = rf"{config.beta:g} \sum_{{t=1}}^{{|o_i|}} {gap}"
        lines.append(rf"R_i &= \mathrm{{reward}}_i - {summed}")
    return lines


def _limits(config: GRPOConfig | RLOOConfig) -> tuple[float, float]:
    return config.epsilon, config.epsilon if config.epsilon_high is None else config.epsilon_high


def _clipped(ratio: str, config: GRPOConfig | RLOOConfig) -> str:
    low, high = _limits(config)
    clipped = rf"\mathrm{{clip}}({ratio}, {1 - low:g}, {1 + high:g})"
    return rf"\min\!\big({ratio} A_i,\ {clipped}\, A_i\big)"


def _sampled(config: GRPOConfig | RLOOConfig) -> str:
    text = rf"\text{{temperature {config.temperature:g}}}"
    held = (config.steps_per_generation or 1) * config.num_iterations
    if config.gradient_accumulation_steps % held == 0:
        # TRL then takes the policy itself, without gradient, for the old one.
        text += r"\text{, one update per rollout: } \rho = 1 \text{, only its gradient acts}"
    return text
