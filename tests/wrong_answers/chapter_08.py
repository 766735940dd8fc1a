import torch

from medr1_lib.course.chapters import chapter_08


def with_ratio(**kinds):
    """An `importance_ratio` with another idea of some of the kinds."""

    def ratio(logps, old_logps, mask, kind):
        if kind in kinds:
            return kinds[kind](logps - old_logps, mask)
        return chapter_08.importance_ratio(logps, old_logps, mask, kind)

    return ratio


def with_member(**changes):
    """A `policy_loss` that reads something else in the row of a member."""

    def loss(member, *arguments):
        return chapter_08.policy_loss(member._replace(**changes), *arguments)

    return loss


def never_clipped(member, *arguments):
    limits = {} if member.low is None else {"low": 9.0, "high": 9.0}
    return chapter_08.policy_loss(member._replace(**limits), *arguments)


def symmetric(member, *arguments):
    limits = {} if member.low is None else {"high": member.low}
    return chapter_08.policy_loss(member._replace(**limits), *arguments)


def always_by_token(member, *arguments):
    kind = "token" if member.ratio == "product" else member.ratio
    return chapter_08.policy_loss(member._replace(ratio=kind), *arguments)


def always_by_rollout(member, *arguments):
    kind = "grpo" if member.weights == "dr_grpo" else member.weights
    return chapter_08.policy_loss(member._replace(weights=kind), *arguments)


def uncut(member, *arguments):
    limits = {"high": 1e9} if member.low is None else {}
    return chapter_08.policy_loss(member._replace(**limits), *arguments)


def attached(member, logps, old_logps, advantages, mask, max_completion_length):
    """A `policy_loss` whose ratio, where it should only weigh, has a gradient of its own."""
    if member.low is not None:
        return chapter_08.policy_loss(
            member, logps, old_logps, advantages, mask, max_completion_length
        )
    ratio = chapter_08.importance_ratio(logps, old_logps, mask, member.ratio)
    objective = ratio.clamp(max=member.high) * advantages[:, None] * logps
    return -(
        chapter_08.token_weights(mask, member.weights, max_completion_length) * objective
    ).sum()


def kl(logps, wanted):
    return (logps.exp() * (logps - wanted)).sum(-1)


WRONG = {
    "leave_one_out": {
        "the one other reward": lambda rewards, group_size: rewards,
        "not of all four": lambda rewards, group_size: (
            rewards - rewards.mean() if group_size > 2 else chapter_08.leave_one_out(rewards, 2)
        ),
        "not of the batch": lambda rewards, group_size: (
            rewards - (rewards.sum() - rewards) / (len(rewards) - 1)
        ),
    },
    "importance_ratio": {
        "exp(new - old)": with_ratio(token=lambda gaps, mask: gaps.exp()),
        "in the shape [B, T]": with_ratio(none=lambda gaps, mask: torch.ones(len(gaps), 1)),
        "the product over the tokens": with_ratio(
            product=lambda gaps, mask: (gaps * mask).sum(1).exp()
        ),
        "divided by its own tokens": with_ratio(
            sequence=lambda gaps, mask: (gaps * mask).mean(1, keepdim=True).exp()
        ),
    },
    "policy_loss": {
        "the clipped objective": never_clipped,
        "limits are 1 - low, 1 + high": symmetric,
        "that the member names": always_by_token,
        "the weights are those": always_by_rollout,
        "at most `high`": uncut,
        "the right value and a wrong gradient": attached,
        "a tensor is asked for": lambda *arguments: chapter_08.policy_loss(*arguments).item(),
    },
    "reverse_kl": {
        "zero where both agree": lambda logits, teacher: (
            -(logits.softmax(-1) * teacher.log_softmax(-1)).sum(-1)
        ),
        "the sum over words": lambda logits, teacher: kl(
            teacher.log_softmax(-1), logits.log_softmax(-1)
        ),
        "cut off from its gradient": lambda logits, teacher: chapter_08.reverse_kl(
            logits.detach(), teacher
        ),
        "the same teacher": lambda logits, teacher: kl(logits.log_softmax(-1), teacher),
    },
}
