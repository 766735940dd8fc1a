"""Group relative policy optimization in six pure functions, equal to TRL's own loss.

DeepSeekMath (Shao et al. 2024, arXiv 2402.03300) and three later ways to weigh tokens. Numbers in
brackets are the stages and equations of chapter 05, which builds these functions; (1) is the
reward. Shapes: P prompts with G rollouts each make B = P * G rollouts of T tokens from V words.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor

LossKind: TypeAlias = Literal["grpo", "bnpo", "dr_grpo", "dapo"]


def group_advantages(rewards: Tensor, group_size: int, scale: bool = True) -> Tensor:
    """How much better each rollout did than its group, [B]; zero where all earn the same (2).

    In `rewards`, [B], the G >= 2 rollouts of a prompt are next to each other. `scale` divides by
    the standard deviation of the group; Dr. GRPO (Liu et al. 2025, arXiv 2503.20783) does not.
    """
    groups = rewards.view(-1, group_size)  # [P, G]
    advantages = groups - groups.mean(1, keepdim=True)  # [P, G]
    if scale:
        advantages = advantages / (groups.std(1, keepdim=True) + 1e-4)  # std over G - 1
    return advantages.flatten()  # [B]


def token_logps(logits: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Log-probability of each token that was written, [B, T] (3).

    `logits` are those before each token, [B, T, V], the temperature that of the sampling.
    """
    logits = logits.float() / temperature  # [B, T, V]
    chosen = logits.gather(-1, ids[..., None]).squeeze(-1)  # [B, T]
    return chosen - logits.logsumexp(-1)  # [B, T]


def clipped_objective(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """What a token gains from the change of its probability, up to a limit (4).

    Beyond 1 + clip a token of a good rollout gains no more, below 1 - clip one of a bad rollout.
    """
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * advantages, clipped * advantages)


def kl_k3(logps: Tensor, reference_logps: Tensor) -> Tensor:
    """Estimate at each token how far the policy is from the reference, never below zero (5).

    The estimator k3 of J. Schulman, Approximating KL divergence (2020).
    """
    gap = reference_logps - logps
    return torch.expm1(gap) - gap  # exp(gap) - 1 - gap, without rounding small gaps to noise


def token_weights(
    mask: Tensor, kind: LossKind, max_completion_length: int, batch_tokens: int | None = None
) -> Tensor:
    """The share of each token in the loss, [B, T]: all that the four kinds of loss differ in (6).

    `grpo` shares the loss equally among rollouts, then among the tokens of each; `bnpo` among all
    tokens here; `dapo` (Yu et al. 2025, arXiv 2503.14476) among all `batch_tokens` of the optimizer
    step; `dr_grpo` counts `max_completion_length` tokens for each rollout. `mask` is 1 for a token.
    """
    rollouts, tokens = len(mask), mask.sum().clamp(min=1)
    divisors = {
        "grpo": rollouts * mask.sum(1, keepdim=True).clamp(min=1),  # [B, 1]
        "bnpo": tokens,
        "dapo": tokens if batch_tokens is None else batch_tokens,
        "dr_grpo": rollouts * max_completion_length,
    }
    return mask / divisors[kind]  # [B, T]


def grpo_loss(
    logps: Tensor,
    old_logps: Tensor,
    reference_logps: Tensor,
    advantages: Tensor,
    weights: Tensor,
    clip: float,
    beta: float,
    corrected_kl: bool = False,
) -> Tensor:
    """The loss of a batch of rollouts (6); which of the four, `weights` decides.

    Log-probabilities are those of the sampled tokens, [B, T]: under the policy, with gradient; when
    they were sampled; and under the reference. `clip` limits the ratio on either side of 1, `beta`
    weighs the KL penalty. `corrected_kl` multiplies it by the ratio, as TRL does by default: its
    gradient is then that of the divergence which its value estimates.
    """
    ratio = (logps - old_logps).exp()  # [B, T]
    objective = clipped_objective(ratio, advantages[:, None], clip)  # [B, T]
    penalty = kl_k3(logps, reference_logps)  # [B, T]
    if corrected_kl:
        penalty = ratio * penalty
    return (weights * (beta * penalty - objective)).sum()
