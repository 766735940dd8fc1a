"""Chapter 05: the cases that check its exercises, functions of `rl.grpo` and `rl.loop`."""

from typing import Any

import torch
from torch import Tensor, tensor

from medr1_lib.course.exercise import Case
from medr1_lib.rl.grpo import token_logps


class _Table:
    """In place of model and data: logits for two prompts, three places and four words."""

    num_generations, max_completion_length, clip, loss_type = 2, 3, 0.2, "grpo"

    def __init__(self, beta: float, max_norm: float) -> None:
        self.beta, self.max_norm = beta, max_norm
        self.start = torch.arange(24.0).view(2, 3, 4).sin()
        self.weights = [(1.5 * self.start).requires_grad_()]

    def sample(self) -> tuple[Tensor, Tensor]:
        tokens = tensor([[0, 1, 2], [1, 1, 3], [2, 0, 0], [3, 2, 1]])
        return tokens, tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 1, 1]])

    def score(self, tokens: Tensor) -> Tensor:
        return (tokens == 1).sum(1).float()

    def logps(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return token_logps(self.weights[0].repeat_interleave(2, 0), tokens, 1.0)

    def reference_logps(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return token_logps(self.start.repeat_interleave(2, 0), tokens, 1.0)

    def __repr__(self) -> str:
        return f"task(beta={self.beta}, max_norm={self.max_norm})"


class _Descent(torch.optim.SGD):
    def __repr__(self) -> str:
        return f"SGD(lr={self.defaults['lr']})"


def _stand_in(beta: float, rate: float, max_norm: float = 100.0) -> tuple[Any, ...]:
    table = _Table(beta, max_norm)
    return table, _Descent(table.weights, lr=rate)


FULL, ENDED = tensor([[1, 1], [1, 1]]), tensor([[1, 1], [1, 0]])  # masks of two rollouts
LEAF = tensor([-2.0], requires_grad=True)
CASES = {
    "group_advantages": (
        Case((tensor([2.0, 0]), 2, False), "a number for each rollout, its reward minus the mean"),
        Case((tensor([2.0, 0, 1, 1, 1, 0]), 2, False), "the mean of its group, not of the batch"),
        Case((tensor([1.0, 0, 0, 0]), 4), "divide by the standard deviation over G - 1, plus 1e-4"),
        Case((tensor([1.0, 0, 0, 0, 2, 0, 0, 0]), 4), "the deviation is of its own group as well"),
        Case((tensor([1.0, 1]), 2), "a group that agrees has advantages of zero"),
    ),
    "kl_k3": (
        Case((tensor([-1.0]), tensor([-1.0])), "where both models agree the estimate is zero"),
        Case((tensor([-1.0]), tensor([-2.0])), "exp(-1) - 1 - (-1) = 0.368 where the gap is -1"),
        Case((LEAF, tensor([-1.0])), "gap is reference minus policy: exp(1) - 1 - 1"),
        Case((tensor([[-1.0, -2.0]]), tensor([[-1.5, -2.5]])), "nothing is averaged over tokens"),
    ),
    "token_weights": (
        Case((FULL, "bnpo", 8), "with bnpo each of N tokens weighs 1/N"),
        Case((ENDED, "bnpo", 8), "a place after the end has no weight and is no token"),
        Case((ENDED, "grpo", 8), "with grpo a token of rollout i weighs 1/(B |o_i|)"),
        Case((ENDED, "dr_grpo", 8), "with dr_grpo a token weighs 1/(B max_completion_length)"),
        Case((ENDED, "dapo", 8, 12), "with dapo N is batch_tokens where it is given"),
        Case((ENDED, "dapo", 8), "with dapo N is counted here where it is not given"),
    ),
    "grpo_step": (
        Case(_stand_in(0.0, 0.1), "lists, a detached `old`, groups of `task.num_generations`"),
        Case(_stand_in(0.5, 0.1), "the penalty compares with the reference, not with `old`"),
        Case((*_stand_in(0.5, 2.0), 3), "each update begins without gradients, and `old` stays"),
        Case((*_stand_in(0.5, 2.0, 0.01), 3), "gradients are clipped to `task.max_norm`"),
    ),
}
