from medr1_lib.course.chapters import chapter_07


def groups(rewards, size):
    return [rewards[start : start + size] for start in range(0, len(rewards), size)]


def kinds(found):
    """Shares of three kinds, from the kind of each group."""
    return {kind: found.count(kind) / len(found) for kind in ("mixed", "solved", "stuck")}


def flat_is_stuck(rewards, group_size):
    found = ["stuck" if len(set(group)) == 1 else "mixed" for group in groups(rewards, group_size)]
    return kinds(found)


def flat_is_solved(rewards, group_size):
    found = ["solved" if len(set(group)) == 1 else "mixed" for group in groups(rewards, group_size)]
    return kinds(found)


def two_of_them(rewards, group_size):
    ends = [group[end] for group in groups(rewards, group_size) for end in (0, -1)]
    return chapter_07.group_kinds(ends, 2)


def of_four_or_all(rewards, group_size):
    size = 4 if len(rewards) % 4 == 0 else len(rewards)
    return chapter_07.group_kinds(rewards, size if len(rewards) > 4 else group_size)


def without(verdict):
    """A `mend` that knows no cause for a verdict."""

    def mend(recipe, standard, verdicts):
        return chapter_07.mend(recipe, standard, [one for one in verdicts if one != verdict])

    return mend


def temperature_only(recipe, standard, verdicts):
    found = chapter_07.mend(recipe, standard, verdicts)
    return {**found, "top_k": recipe["top_k"]}


def rate_as_well(recipe, standard, verdicts):
    more = ["too fast"] if "cut off" in verdicts else []
    return chapter_07.mend(recipe, standard, verdicts + more)


def first_only(recipe, standard, verdicts):
    return chapter_07.mend(recipe, standard, verdicts[:1])


WRONG = {
    "group_kinds": {
        "solved, 0.5": flat_is_stuck,
        "are stuck": flat_is_solved,
        "not two of them": two_of_them,
        "as `group_size` says": of_four_or_all,
    },
    "brier": {
        "and of what did not": lambda right, confidence: sum(confidence) / len(right),
        "half a point off, squared": lambda right, confidence: (
            sum(abs(sure - came) for came, sure in zip(right, confidence, strict=True)) / len(right)
        ),
        "divided by three": lambda right, confidence: (
            sum((sure - came) ** 2 for came, sure in zip(right, confidence, strict=True)) / 2
        ),
    },
    "mend": {
        "the rest stays": lambda recipe, standard, verdicts: dict(standard),
        "the rate is the cause again": without("too slow"),
        "the limit of tokens": rate_as_well,
        "two fields sharpen": temperature_only,
        "the holes": without("cheated"),
        "a cause for each": first_only,
    },
}
