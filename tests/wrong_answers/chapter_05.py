import torch
from torch.nn.utils import clip_grad_norm_

from medr1_lib.rl import grpo


def advantages_with(mean=None, std=None, least=1e-4):
    """A `group_advantages` with something else in the place of one of its parts."""

    def advantages(rewards, group_size, scale=True):
        groups = rewards.view(-1, group_size)
        found = groups - (groups.mean(1, keepdim=True) if mean is None else mean(groups))
        if scale:
            found = found / ((groups.std(1, keepdim=True) if std is None else std(groups)) + least)
        return found.flatten()

    return advantages


def weights_with(**divisors):
    """A `token_weights` with another divisor for some of the kinds."""

    def weights(mask, kind, max_completion_length, batch_tokens=None):
        if kind in divisors:
            return mask / divisors[kind](mask, max_completion_length)
        return grpo.token_weights(mask, kind, max_completion_length, batch_tokens)

    return weights


def step_with(advantages=grpo.group_advantages, reference=True, keep_old=True, clipped=True):
    """A `grpo_step` without one of its parts."""

    def step(task, optimizer, iterations=1):
        tokens, mask = task.sample()
        rewards, old = task.score(tokens), None
        weighed = advantages(rewards, task.num_generations)
        weights = grpo.token_weights(mask, task.loss_type, task.max_completion_length)
        found = {"reward": rewards.mean().item(), "loss": [], "grad_norm": []}
        for _ in range(iterations):
            logps = task.logps(tokens, mask)
            old = logps.detach() if old is None or not keep_old else old
            base = task.reference_logps(tokens, mask) if reference else old
            loss = grpo.grpo_loss(logps, old, base, weighed, weights, task.clip, task.beta)
            optimizer.zero_grad()
            loss.backward()
            norm = task.weights[0].grad.norm()
            if clipped:
                clip_grad_norm_(task.weights, task.max_norm)
            optimizer.step()
            found["loss"].append(loss.item())
            found["grad_norm"].append(norm.item())
        return found

    return step


WRONG = {
    "group_advantages": {
        "its shape is (1, 2)": lambda rewards, group_size, scale=True: rewards.view(-1, group_size),
        "not of the batch": advantages_with(mean=lambda groups: groups.mean()),
        "over G - 1": advantages_with(std=lambda groups: groups.std(1, keepdim=True, correction=0)),
        "plus 1e-4": advantages_with(least=0.0),
        "own group as well": advantages_with(std=lambda groups: groups.std()),
        "a group that agrees": lambda rewards, group_size, scale=True: (
            grpo.group_advantages(rewards, group_size, scale)
            if len(set(rewards.tolist())) > 1
            else rewards
        ),
    },
    "kl_k3": {
        "agree": lambda logps, reference: (reference - logps).exp(),
        "where the gap is -1": lambda logps, reference: logps - reference,
        "reference minus policy": lambda logps, reference: torch.where(
            reference > logps, grpo.kl_k3(reference, logps), grpo.kl_k3(logps, reference)
        ),
        "cut off from its gradient": lambda logps, reference: grpo.kl_k3(logps.detach(), reference),
        "the right value and a wrong gradient": lambda logps, reference: (
            grpo.kl_k3(logps.detach(), reference) + 0 * logps
        ),
        "nothing is averaged": lambda logps, reference: (
            grpo.kl_k3(logps, reference).mean() if logps.ndim > 1 else grpo.kl_k3(logps, reference)
        ),
    },
    "token_weights": {
        "weighs 1/N": lambda mask, kind, max_completion_length, batch_tokens=None: mask,
        "after the end": weights_with(bnpo=lambda mask, length: mask.numel()),
        "rollout i": weights_with(grpo=lambda mask, length: mask.sum(1, keepdim=True)),
        "1/(B max_completion_length)": weights_with(dr_grpo=lambda mask, length: mask.numel()),
        "where it is given": weights_with(dapo=lambda mask, length: mask.sum()),
        "where it is not given": lambda mask, kind, max_completion_length, batch_tokens=0: (
            grpo.token_weights(mask, kind, max_completion_length, batch_tokens)
        ),
    },
    "grpo_step": {
        "groups of `task.num_generations`": step_with(advantages=lambda rewards, group: rewards),
        "with the reference": step_with(reference=False),
        "`old` stays": step_with(keep_old=False),
        "clipped to `task.max_norm`": step_with(clipped=False),
        "it lacks 'grad_norm'": lambda task, optimizer, iterations=1: {
            name: value
            for name, value in step_with()(task, optimizer, iterations).items()
            if name != "grad_norm"
        },
    },
}
