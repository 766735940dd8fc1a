"""Chapter 04: REINFORCE on a table of logits, and the cases that check its exercises.

A policy is a softmax over A letters, [A], or over those of Q questions, [Q, A].
"""

from collections.abc import Callable

import torch
from torch import Tensor, tensor, zeros_like
from torch.nn.functional import one_hot

from medr1_lib.course.exercise import Case

Draw = Callable[[Tensor, int], Tensor]  # probabilities, how many -> letters


def expected_reward(logits: Tensor, rewards: Tensor) -> Tensor:
    """What a policy earns on average: each reward times the probability of its letter."""
    return (logits.softmax(-1) * rewards).sum(-1)


def policy_gradient(logits: Tensor, letters: Tensor, weights: Tensor) -> Tensor:
    """Mean over N samples, [..., N], of weight times gradient of log-probability, [..., A]."""
    chosen = one_hot(letters, logits.shape[-1])  # [..., N, A]
    score = chosen - logits.softmax(-1)[..., None, :]  # [..., N, A]
    return (weights[..., None] * score).mean(-2)


def reinforce(
    logits: Tensor,
    rewards: Tensor,
    draw: Draw,
    steps: int,
    samples: int,
    rate: float,
    baseline: Callable[[Tensor], Tensor],
) -> Tensor:
    """Expected reward before training and after each step, [steps + 1, ...] (Williams 1992)."""
    history = [expected_reward(logits, rewards)]
    for _ in range(steps):
        letters = draw(logits.softmax(-1), samples)
        earned = rewards.gather(-1, letters)
        weights = earned - baseline(earned)
        logits = logits + rate * policy_gradient(logits, letters, weights)
        history.append(expected_reward(logits, rewards))
    return torch.stack(history)


def train_shared(
    habit: Tensor, own: Tensor, rewards: Tensor, draw: Draw, steps: int, group: int, rate: float
) -> tuple[Tensor, Tensor]:
    """Train what all questions share, [A], and what each has of its own, [Q, A], by groups."""
    for _ in range(steps):
        letters = draw((habit + own).softmax(-1), group)  # [Q, G]
        earned = rewards.gather(-1, letters)
        advantages = earned - earned.mean(-1, keepdim=True)
        slope = policy_gradient(habit + own, letters, advantages) / len(own)  # [Q, A]
        habit, own = habit + rate * slope.sum(0), own + rate * slope
    return habit, own


def draw(probabilities: Tensor, count: int) -> Tensor:
    """In place of chance: letters in proportion to their probabilities."""
    places = (torch.arange(count) + 0.5) / count
    return (probabilities.cumsum(-1)[..., None, :] < places[:, None]).sum(-1)


def mean(earned: Tensor) -> Tensor:
    """The baseline of a group."""
    return earned.mean(-1, keepdim=True)


UNEVEN, PAYS = tensor([0.0, 1, 0.5, 0]), tensor([1.0, 1, 2, 1])
HABIT, LEAF = UNEVEN[:2], UNEVEN.clone().requires_grad_()
TWO, KEYS = tensor([[0.0, 1], [2, 0]]), tensor([[0.0, 1], [0, 1]])
CASES = {
    "expected_reward": (
        Case((torch.zeros(4), tensor([0.0, 1, 0, 0])), "four equal letters, one of them right"),
        Case((LEAF, PAYS), "softmax turns logits into probabilities"),
        Case((TWO, KEYS), "one number for each question"),
    ),
    "policy_gradient": (
        Case((torch.zeros(2), tensor([0]), tensor([1.0])), "1 at the letter minus probabilities"),
        Case((UNEVEN, tensor([2]), tensor([-2.0])), "the weight multiplies, with its sign"),
        Case((torch.zeros(2), tensor([0, 1, 1]), tensor([1.0, 0, 0])), "the mean of the samples"),
        Case((TWO, tensor([[0, 0], [1, 0]]), KEYS), "one row for each question"),
        Case((UNEVEN, tensor([[2], [0]]), tensor([[1.0], [2]])), "one row for each row of letters"),
    ),
    "reinforce": (
        Case((UNEVEN, PAYS, draw, 0, 8, 1.0, zeros_like), "the first entry is before training"),
        Case((UNEVEN, PAYS, draw, 1, 8, 0.5, zeros_like), "a step adds `rate` times the gradient"),
        Case((UNEVEN, PAYS, draw, 1, 8, 0.5, mean), "the weight is reward minus baseline"),
        Case((UNEVEN, PAYS, draw, 3, 8, 4.0, mean), "each step draws from the policy as it is now"),
        Case((TWO, KEYS, draw, 2, 4, 1.0, mean), "it works for several questions at once"),
    ),
    "train_shared": (
        Case((HABIT, TWO, KEYS, draw, 0, 4, 1.0), "return both parts, `habit` first"),
        Case((HABIT, TWO[1:], KEYS[1:], draw, 1, 4, 1.0), "minus the mean of the group, unscaled"),
        Case((HABIT, TWO, KEYS, draw, 1, 4, 1.0), "each group's mean; slope / Q; `habit` its sum"),
        Case((HABIT, TWO, KEYS, draw, 3, 4, 1.0), "each step draws from the policy as it is"),
    ),
}
