from math import comb


def budget_with(prompts=None, rollouts=None, tokens=None):
    """A `budget` with another count for one of its parts."""

    def budget(steps, batch, group, longest):
        written = rollouts(steps, batch, group) if rollouts else steps * batch
        asked = prompts(steps, batch, group) if prompts else written // group
        most = tokens(steps, longest) if tokens else written * longest
        return {"prompts": asked, "rollouts": written, "tokens": most}

    return budget


def mean_with(window, count=lambda values, width: len(values)):
    """A `running_mean` over other windows, or divided by another count."""

    def mean(values, width):
        windows = [window(values, end, width) for end in range(1, len(values) + 1)]
        return [sum(part) / count(part, width) for part in windows]

    return mean


def back(values, end, width):
    return values[max(0, end - width) : end]


def p_with(tail=lambda fewer: range(fewer + 1), sides=2, fewer=min, most=1.0):
    """A `mcnemar_p` with something else in the place of one of its parts."""

    def p(lost, won):
        heads = tail(fewer(lost, won))
        return min(most, sides * sum(comb(lost + won, k) for k in heads) / 2 ** (lost + won))

    return p


WRONG = {
    "budget": {
        "counts all completions": budget_with(
            lambda steps, batch, group: steps * batch, lambda steps, batch, group: batch * group
        ),
        "each may have `longest` tokens": budget_with(tokens=lambda steps, longest: longest),
        "those of 2 prompts": budget_with(prompts=lambda steps, batch, group: steps),
        "rollouts of its own": budget_with(rollouts=lambda steps, batch, group: batch),
    },
    "running_mean": {
        "its shape is (1,), not (2,)": lambda values, width: mean_with(back)(values, width)[
            width - 1 :
        ],
        "looks back only": mean_with(
            lambda values, end, width: values[max(0, end - 1 - width // 2) : end + width // 2]
        ),
        "divide by how many": mean_with(back, lambda values, width: width),
        "`width` values and no more": mean_with(lambda values, end, width: values[:end]),
        "raises ZeroDivisionError": mean_with(
            lambda values, end, width: values[max(0, end - width) : end - 1]
        ),
    },
    "mcnemar_p": {
        "nine tails are as extreme": p_with(sides=1),
        "belongs to the tail": p_with(tail=lambda fewer: [fewer]),
        "the smaller count decides": p_with(fewer=lambda lost, won: lost),
        "no probability does": p_with(most=2.0),
    },
    "gap_closed": {
        "arrives at the oracle": lambda before, after, oracle: after - before,
        "the whole way": lambda before, after, oracle: (after - before) / (1 - before),
        "less than nothing": lambda before, after, oracle: abs(after - before) / (oracle - before),
        "can be beaten": lambda before, after, oracle: min(
            1.0, (after - before) / (oracle - before)
        ),
    },
}
