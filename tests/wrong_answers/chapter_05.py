import torch

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

    def weights(mask, kind, max_length, batch_tokens=None):
        if kind in divisors:
            return mask / divisors[kind](mask, max_length)
        return grpo.token_weights(mask, kind, max_length, batch_tokens)

    return weights


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
    "clipped_objective": {
        "inside the clip": lambda ratio, advantages, clip: ratio.clamp(1 - clip, 1 + clip),
        "beyond a ratio of 1 + clip": lambda ratio, advantages, clip: ratio * advantages,
        "below a ratio of 1 - clip": lambda ratio, advantages, clip: (
            ratio.clamp(max=1 + clip) * advantages
        ),
        "became rarer": lambda ratio, advantages, clip: (
            ratio.clamp(1 - clip, 1 + clip) * advantages
        ),
        "became likelier": lambda ratio, advantages, clip: (
            torch.where(advantages > 0, ratio.clamp(max=1 + clip), ratio.clamp(1 - clip, 1 + clip))
            * advantages
        ),
    },
    "kl_k3": {
        "agree": lambda logps, reference: (reference - logps).exp(),
        "where the gap is -1": lambda logps, reference: logps - reference,
        "reference less policy": lambda logps, reference: torch.where(
            reference > logps, grpo.kl_k3(reference, logps), grpo.kl_k3(logps, reference)
        ),
        "nothing is averaged": lambda logps, reference: (
            grpo.kl_k3(logps, reference).mean() if logps.ndim > 1 else grpo.kl_k3(logps, reference)
        ),
    },
    "token_weights": {
        "weighs 1/N": lambda mask, kind, max_length, batch_tokens=None: mask,
        "after the end": weights_with(bnpo=lambda mask, length: mask.numel()),
        "rollout i": weights_with(grpo=lambda mask, length: mask.sum(1, keepdim=True)),
        "1/(B max_length)": weights_with(dr_grpo=lambda mask, length: mask.numel()),
        "where it is given": weights_with(dapo=lambda mask, length: mask.sum()),
        "where it is not given": lambda mask, kind, max_length, batch_tokens=0: grpo.token_weights(
            mask, kind, max_length, batch_tokens
        ),
    },
}
