"""Chapter 08: the losses of 2026 as rows of one table, and the cases that check its exercises."""

from typing import NamedTuple

import torch
from torch import Tensor, tensor

from medr1_lib.course.exercise import Case
from medr1_lib.rl.grpo import LossKind, token_weights


class Member(NamedTuple):
    """The four choices that make a loss; `importance_ratio` and `policy_loss` read them."""

    advantage: str  # what a reward is compared with: batch, others, group, unscaled
    ratio: str  # of new to old probability: none, token, sequence, product
    low: float | None  # the ratio is clipped at 1 - low; None: it only weighs, up to `high`
    high: float  # and at 1 + high
    weights: LossKind


FAMILY = {
    "REINFORCE": Member("batch", "none", None, 1.0, "dapo"),
    "RLOO": Member("others", "product", 0.2, 0.2, "grpo"),
    "GRPO": Member("group", "token", 0.2, 0.2, "grpo"),
    "Dr. GRPO": Member("unscaled", "token", 0.2, 0.2, "dr_grpo"),
    "DAPO": Member("group", "token", 0.2, 0.28, "dapo"),
    "GSPO": Member("group", "sequence", 3e-4, 4e-4, "grpo"),
    "CISPO": Member("group", "token", None, 5.0, "dapo"),
}


def trl_settings(member: Member) -> dict[str, str | float]:
    """The fields of `GRPOConfig` for this member; TRL has none for RLOO or REINFORCE's baseline."""
    return {
        "loss_type": "cispo" if member.low is None else member.weights,
        "importance_sampling_level": "sequence" if member.ratio == "sequence" else "token",
        "scale_rewards": "group" if member.advantage == "group" else "none",
        "epsilon": 0.2 if member.low is None else member.low,  # CISPO does not read it
        "epsilon_high": member.high,
    }


def leave_one_out(rewards: Tensor, group_size: int) -> Tensor:
    """Each reward minus the mean reward of the others in its group (RLOO), [B]."""
    groups = rewards.view(-1, group_size)  # [P, G]
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).flatten()  # [B]


def importance_ratio(logps: Tensor, old_logps: Tensor, mask: Tensor, kind: str) -> Tensor:
    """How much likelier a token, [B, T], or a rollout, [B, 1], is than when it was sampled."""
    gaps = (logps - old_logps) * mask  # [B, T]
    logs = {
        "none": torch.zeros_like(gaps),
        "token": gaps,
        "product": gaps.sum(1, keepdim=True),  # [B, 1]
        "sequence": gaps.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1),
    }
    return logs[kind].exp()


def policy_loss(
    member: Member,
    logps: Tensor,
    old_logps: Tensor,
    advantages: Tensor,
    mask: Tensor,
    max_completion_length: int,
) -> Tensor:
    """The loss of any member of the family, without a penalty; shapes as in `rl.grpo`."""
    ratio = importance_ratio(logps, old_logps, mask, member.ratio)
    gains = advantages[:, None]  # [B, 1]
    if member.low is None:
        objective = ratio.clamp(max=member.high).detach() * gains * logps
    else:
        clipped = ratio.clamp(1 - member.low, 1 + member.high)
        objective = torch.minimum(ratio * gains, clipped * gains)
    return -(token_weights(mask, member.weights, max_completion_length) * objective).sum()


def reverse_kl(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """At each token the divergence KL(student, teacher) of the next word; [B, T, V] to [B, T]."""
    logps, wanted = logits.log_softmax(-1), teacher_logits.log_softmax(-1)
    return (logps.exp() * (logps - wanted)).sum(-1)


OLD, NEW = tensor([[-1.0, -2, -3], [-1, -1, 0]]), tensor([[-0.5, -2.5, -1], [-2, -0.2, -9]])
NEW.requires_grad_()
EVEN, LEANING = tensor([[[0.5, 0.5]]]).log().requires_grad_(), tensor([[[0.25, 0.75]]]).log()
MASK = tensor([[1, 1, 1], [1, 1, 0]])
WRITTEN = NEW, OLD, tensor([1.0, -1.0]), MASK, 4

CASES = {
    "leave_one_out": (
        Case((tensor([2.0, 0]), 2), "the one other reward is the baseline of each"),
        Case((tensor([2.0, 0, 1, 1]), 4), "the mean of the three others, not of all four"),
        Case((tensor([2.0, 0, 1, 1, 1, 0]), 2), "the others of its own group, not of the batch"),
    ),
    "importance_ratio": (
        Case((NEW, OLD, MASK, "token"), "exp(new - old) at each token, 1 where the mask is 0"),
        Case((NEW, OLD, MASK, "none"), "a ratio of 1 everywhere, in the shape [B, T]"),
        Case((NEW, OLD, MASK, "product"), "the product over the tokens of a rollout, as [B, 1]"),
        Case((NEW, OLD, MASK, "sequence"), "the log of a rollout divided by its own tokens"),
    ),
    "policy_loss": (
        Case((FAMILY["GRPO"], *WRITTEN), "minus the weighted sum of the clipped objective"),
        Case((FAMILY["DAPO"], *WRITTEN), "limits are 1 - low, 1 + high; weights are the member's"),
        Case((FAMILY["RLOO"], *WRITTEN), "the ratio is the one that the member names"),
        Case((FAMILY["Dr. GRPO"], *WRITTEN), "the weights are those that the member names"),
        Case((FAMILY["CISPO"], *WRITTEN), "a detached ratio, at most `high`, times A and logps"),
    ),
    "reverse_kl": (
        Case((EVEN, EVEN.detach()), "zero where both agree"),
        Case((EVEN, LEANING), "the sum over words of p times (log p - log q), p the student's"),
        Case((EVEN, LEANING + 1), "logits that differ by a constant are the same teacher"),
    ),
}
