from medr1_lib.course.chapters import chapter_07


def groups(rewards, size):
    return [rewards[start : start + size] for start in range(0, len(rewards), size)]


def share_of(flat, size=None):
    """A `zero_std_groups` with another idea of a group, or of one without spread."""

    def share(rewards, group_size):
        found = [flat(group) for group in groups(rewards, size or group_size)]
        return sum(found) / len(found)

    return share


def same(group):
    return len(set(group)) == 1


def full(paid, strict):
    return [points for reward, points in zip(paid, strict, strict=True) if reward == 2]


def blind(first=None, last=None):
    """A `diagnose` that sees these numbers whatever they are, except where no group has spread."""

    def diagnose(start, end):
        if end["zero_std_groups"] > 0.9 and last:
            return chapter_07.diagnose(start, end)
        return chapter_07.diagnose({**start, **(first or {})}, {**end, **(last or {})})

    return diagnose


def never_cut_off(first, last):
    return chapter_07.diagnose(first, {**last, "truncated": 0.0})


def any_without_spread(first, last):
    if last["zero_std_groups"] > 0.9 and last["reward"] < 1.9:
        return "cut off" if last["truncated"] > 0.5 else "no spread"
    return chapter_07.diagnose(first, last)


def solved_is_dead(first, last):
    if last["zero_std_groups"] > 0.9 and last["reward"] > 1:
        return "no spread"
    return chapter_07.diagnose(first, last)


WRONG = {
    "zero_std_groups": {
        "one of the two groups": lambda rewards, group_size: sum(
            map(same, groups(rewards, group_size))
        ),
        "a share of 0.5": lambda rewards, group_size: float(same(rewards)),
        "high or low": share_of(lambda group: group[0] == 2 and same(group)),
        "not two of them": share_of(lambda group: group[0] == group[-1]),
        "as `group_size` says": lambda rewards, group_size: share_of(
            same, 4 if len(rewards) > 4 else 2
        )(rewards, group_size),
    },
    "unearned": {
        "refuse one of four": lambda paid, strict: len(full(paid, strict)) / len(paid),
        "not of all rollouts": lambda paid, strict: (
            sum(points < 2 for points in full(paid, strict)) / len(paid)
        ),
        "counts once": lambda paid, strict: (
            sum(2 - points for points in full(paid, strict)) / 2 / max(len(full(paid, strict)), 1)
        ),
        "raises ZeroDivisionError": lambda paid, strict: (
            sum(points < 2 for points in full(paid, strict)) / len(full(paid, strict))
        ),
    },
    "diagnose": {
        "no other number stands out": lambda first, last: "too fast",
        "nothing to learn from": lambda first, last: "healthy",
        "every completion is cut off": never_cut_off,
        "and then broke": any_without_spread,
        "far below its start": blind(last={"reward": 1.7}),
        "learned to be short": blind({"truncated": 0.0}),
        "nothing moves": blind(last={"kl": 0.08}),
        "only the strict rules": blind(last={"unearned": 0.0}),
        "a solved task": solved_is_dead,
    },
}
