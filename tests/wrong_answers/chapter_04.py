import torch
from torch.nn.functional import one_hot

from medr1_lib.course.chapters.chapter_04 import expected_reward, policy_gradient


def gradient_with(probabilities=True, weigh=True, mean=lambda found: found.mean(-2), signed=True):
    """A `policy_gradient` without one of its parts."""

    def gradient(logits, letters, weights):
        score = one_hot(letters, logits.shape[-1]).float()
        if probabilities:
            score = score - logits.softmax(-1)[..., None, :]
        weights = weights if signed else weights.abs()
        return mean(weights[..., None] * score if weigh else score)

    return gradient


def by_autograd(logits, letters, weights):
    """Right as long as each row of letters has its own row of logits."""
    leaf = logits.clone().requires_grad_()
    (weights * leaf.log_softmax(-1).gather(-1, letters)).mean(-1).sum().backward()
    return leaf.grad


def reinforce_with(first=True, up=1, subtracted=True, fresh=True, several=True):
    """A `reinforce` without one of its parts."""

    def reinforce(logits, rewards, draw, steps, samples, rate, baseline):
        history = [expected_reward(logits, rewards)] if first else []
        start = logits
        for _ in range(steps):
            letters = draw((logits if fresh else start).softmax(-1), samples)
            earned = rewards.gather(-1, letters) if several else rewards[letters]
            weights = earned - baseline(earned) if subtracted else earned
            logits = logits + up * rate * policy_gradient(logits, letters, weights)
            history.append(expected_reward(logits, rewards))
        return torch.stack(history) if history else torch.zeros(0)

    return reinforce


def shared_with(mean=True, minus=True, fresh=True, turned=False, scaled=False, batch=False):
    """A `train_shared` without one of its parts, or with one more."""

    def train(habit, own, rewards, draw, steps, group, rate):
        start = habit + own
        for _ in range(steps):
            letters = draw((habit + own if fresh else start).softmax(-1), group)
            earned = rewards.gather(-1, letters)
            own_mean = earned.mean() if batch else earned.mean(-1, keepdim=True)
            advantages = earned - own_mean if minus else earned
            advantages = (
                advantages / (earned.std(-1, keepdim=True) + 1e-4) if scaled else advantages
            )
            slope = policy_gradient(habit + own, letters, advantages)
            slope = slope / len(own) if mean else slope
            habit, own = habit + rate * slope.sum(0), own + rate * slope
        return (own, habit) if turned else (habit, own)

    return train


WRONG = {
    "expected_reward": {
        "one of them right": lambda logits, rewards: (logits * rewards).sum(-1),
        "into probabilities": lambda logits, rewards: rewards.mean(-1),
        "cut off from its gradient": lambda logits, rewards: expected_reward(
            logits.detach(), rewards
        ),
        "a tensor is asked for": lambda logits, rewards: expected_reward(logits, rewards).tolist(),
        "one number for each question": lambda logits, rewards: (
            logits.softmax(-1) * rewards
        ).sum(),
    },
    "policy_gradient": {
        "minus probabilities": gradient_with(probabilities=False),
        "with its sign": gradient_with(signed=False),
        "mean of the samples": gradient_with(mean=lambda found: found.sum(-2)),
        "each row of letters": by_autograd,
        "one row for each question": gradient_with(
            mean=lambda found: found.mean(-2) if found.ndim == 2 else found.mean((0, 1))
        ),
    },
    "reinforce": {
        "its shape is": reinforce_with(first=False),
        "adds `rate` times": reinforce_with(up=-1),
        "reward minus baseline": reinforce_with(subtracted=False),
        "as it is now": reinforce_with(fresh=False),
        "several questions at once": reinforce_with(several=False),
    },
    "train_shared": {
        "`habit` first": shared_with(turned=True),
        "slope / Q": shared_with(mean=False),
        "mean of the group": shared_with(minus=False),
        "unscaled": shared_with(scaled=True),
        "each group's mean": shared_with(batch=True),
        "from the policy as it is": shared_with(fresh=False),
    },
}
