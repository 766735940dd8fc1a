"""Chapter 07: what is wrong with a GRPO run, and the cases that check its exercises."""

from collections.abc import Mapping, Sequence

from medr1_lib.course.exercise import Case

FULL_MARKS = 2.0  # points of a completion that is right and has the form asked for
# These bounds divide the recorded runs of chapter 07; another model or reward needs its own.
DEAD = 0.9  # share of groups whose rewards are all equal
TRUNCATED = 0.5  # share of completions cut off at the limit
MIN_KL = 0.02  # nats per token from the base
REWARD_LEFT = 0.5  # share of the first reward
UNEARNED = 0.1  # share of full marks


def zero_std_groups(rewards: Sequence[float], group_size: int) -> float:
    """Share of groups in which all rewards are equal, so that no rollout has an advantage.

    `rewards` are those of the rollouts, group by group.

    Example:
        >>> zero_std_groups([2, 2, 0, 1], group_size=2)
        0.5
    """
    starts = range(0, len(rewards), group_size)
    groups = [rewards[start : start + group_size] for start in starts]
    return sum(len(set(group)) == 1 for group in groups) / len(groups)


def unearned(paid: Sequence[float], strict: Sequence[float]) -> float:
    """Share of the full marks that the strict rules would not give.

    Takes the points of each rollout under the rules of the run, and under the strict ones.

    Example:
        >>> unearned([2, 2, 1], strict=[2, 0, 1])
        0.5
    """
    full = [points for reward, points in zip(paid, strict, strict=True) if reward == FULL_MARKS]
    return sum(points < FULL_MARKS for points in full) / len(full) if full else 0.0


def diagnose(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    """Name the failure that the first and last steps of a run show, or call it healthy.

    Both hold means of the columns of `log.csv`; `last` also holds `unearned` of its rollouts.

    Example:
        >>> diagnose({"truncated": 1.0}, {"zero_std_groups": 1.0, "kl": 0.0, "truncated": 1.0})
        'cut off'
    """
    if last["zero_std_groups"] > DEAD and last["kl"] < MIN_KL:
        return "cut off" if last["truncated"] > TRUNCATED else "no spread"
    if last["reward"] < REWARD_LEFT * first["reward"]:
        return "too fast"
    if first["truncated"] > TRUNCATED:
        return "cut off"
    if last["kl"] < MIN_KL:
        return "too slow"
    return "hacked" if last["unearned"] > UNEARNED else "healthy"


WELL = {"reward": 1.7, "zero_std_groups": 0.3, "truncated": 0.0, "kl": 0.08, "unearned": 0.0}
FLAT = WELL | {"reward": 1.2, "zero_std_groups": 1.0, "kl": 0.0}
CUT = FLAT | {"reward": 0.0, "truncated": 1.0}
BROKEN = WELL | {"reward": 0.5, "zero_std_groups": 0.5, "kl": 2.0}
STILL = WELL | {"reward": 1.2, "kl": 0.003}
BEFORE = {"reward": 1.1, "zero_std_groups": 0.1, "truncated": 0.2, "kl": 0.02}
LONG = BEFORE | {"truncated": 0.9}

CASES = {
    "medr1_lib.course.chapters.chapter_07:zero_std_groups": (
        Case(([2, 2, 2, 2, 0, 1, 2, 1], 4), "one of the two groups has no spread, a share of 0.5"),
        Case(([0, 0, 2, 2], 2), "equal rewards are no spread, high or low"),
        Case(([1, 0, 1, 1, 2, 0, 1, 1], 4), "every rollout of a group counts, not two of them"),
        Case(([1, 1, 0, 2, 0, 2], 2), "groups are as long as `group_size` says"),
    ),
    "medr1_lib.course.chapters.chapter_07:unearned": (
        Case(([2, 2, 2, 2], [2, 2, 2, 0]), "the strict rules refuse one of four full marks"),
        Case(([2, 2, 1, 0], [2, 0, 1, 0]), "it is a share of the full marks, not of all rollouts"),
        Case(([2, 2, 1], [1, 0, 0]), "a refused full mark counts once, by however much it falls"),
        Case(([1, 0], [1, 0]), "where nobody has full marks the share is 0.0"),
    ),
    "medr1_lib.course.chapters.chapter_07:diagnose": (
        Case((BEFORE, WELL), "reward rises and no other number stands out"),
        Case((BEFORE, FLAT), "no group has spread, nothing moved: there was nothing to learn from"),
        Case((LONG, CUT), "a signal can be dead because every completion is cut off"),
        Case((BEFORE, CUT | {"kl": 1.2}), "far from the base: it did learn, and then broke"),
        Case((BEFORE, BROKEN), "a reward that fell far below its start"),
        Case((LONG, WELL), "completions that were cut off at first, and learned to be short"),
        Case((BEFORE, STILL), "spread there is, but nothing moves"),
        Case((BEFORE, WELL | {"unearned": 0.9}), "only the strict rules see this one"),
        Case((BEFORE, WELL | {"zero_std_groups": 0.95, "reward": 1.98}), "a solved task: healthy"),
        Case((LONG, BROKEN), "a reward that broke comes before what was cut off at first"),
        Case((LONG, STILL), "what was cut off at first comes before a policy that stands still"),
        Case((BEFORE, STILL | {"unearned": 0.9}), "standing still comes before what is unearned"),
        Case((LONG, WELL | {"unearned": 0.9}), "cut off at first comes before what is unearned"),
    ),
}
