"""What a GRPO run suffers from, told from its log and its rollouts. Chapter 06 builds all of it."""

from collections.abc import Mapping, Sequence

FULL = 2.0  # points of a completion that is right and has the form asked for
# Where the records of chapter 06 part; another model or reward has bounds of its own.
DEAD = 0.9  # share of groups without spread
CUT = 0.5  # share of completions cut off
STILL = 0.02  # nats per token from the base
LEFT = 0.5  # share of the first reward
UNEARNED = 0.1  # share of full marks


def zero_spread(rewards: Sequence[float], group_size: int) -> float:
    """Share of groups in which all rollouts earn the same, so that none has an advantage.

    Args:
        rewards: Of the rollouts, group by group.
        group_size: Rollouts of one prompt.

    Example:
        >>> zero_spread([2, 2, 0, 1], group_size=2)
        0.5
    """
    starts = range(0, len(rewards), group_size)
    groups = [rewards[start : start + group_size] for start in starts]
    return sum(len(set(group)) == 1 for group in groups) / len(groups)


def unearned(paid: Sequence[float], strict: Sequence[float]) -> float:
    """Share of the full marks that the strict rules would not give.

    Args:
        paid: Points of each rollout under the rules of the run.
        strict: Its points under the strict rules.

    Example:
        >>> unearned([2, 2, 1], strict=[2, 0, 1])
        0.5
    """
    full = [points for reward, points in zip(paid, strict, strict=True) if reward == FULL]
    return sum(points < FULL for points in full) / len(full) if full else 0.0


def diagnose(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    """Name the failure that two ends of a run show, or call it healthy.

    Args:
        first: Means of the columns of `log.csv` over the first steps.
        last: Means over the last steps, and `unearned` from their rollouts.

    Example:
        >>> diagnose({"clipped": 1.0}, {"zero_spread": 1.0, "kl": 0.0, "clipped": 1.0})
        'cut off'
    """
    if last["zero_spread"] > DEAD and last["kl"] < STILL:
        return "cut off" if last["clipped"] > CUT else "no spread"
    if last["reward"] < LEFT * first["reward"]:
        return "too fast"
    if first["clipped"] > CUT:
        return "cut off"
    if last["kl"] < STILL:
        return "too slow"
    return "hacked" if last["unearned"] > UNEARNED else "healthy"
