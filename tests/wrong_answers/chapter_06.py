from math import comb


def adam_with(up=-1, square=True, corrected=True):
    """An `adam_step` with something else in the place of one of its parts."""

    def step_of(weight, gradient, mean, square_, step, rate):
        mean = 0.9 * mean + 0.1 * gradient
        square_ = 0.999 * square_ + 0.001 * gradient**2
        first, second = (1 - 0.9**step, 1 - 0.999**step) if corrected else (0.1, 0.001)
        size = (square_ / second) ** 0.5 + 1e-8 if square else 1.0
        return weight + up * rate * mean / first / size, mean, square_

    return step_of


def parts_with(habit="corrected", form="forced", knowledge="corrected", sign=1):
    """A `gain_parts` with other readers."""

    def parts(before, after):
        moved = {reader: sign * (after[reader] - before[reader]) for reader in before}
        return {
            "knowledge": moved[knowledge],
            "habit": moved["forced"] - moved[habit],
            "form": moved["strict"] - moved[form],
            "strict": moved["strict"],
        }

    return parts


def p_with(tail=lambda fewer: range(fewer + 1), sides=2, fewer=min, most=1.0):
    """A `mcnemar_p` with something else in the place of one of its parts."""

    def p(lost, won):
        heads = tail(fewer(lost, won))
        return min(most, sides * sum(comb(lost + won, k) for k in heads) / 2 ** (lost + won))

    return p


WRONG = {
    "adam_step": {
        "against the sign": adam_with(up=1),
        "however small": lambda weight, gradient, mean, square, step, rate: (
            adam_with()(weight, gradient, mean, square, step, rate)
            if abs(gradient) > 0.1
            else adam_with(square=False)(weight, gradient, mean, square, step, rate)
        ),
        "averages are divided": adam_with(corrected=False),
    },
    "mcnemar_p": {
        "nine tails are as extreme": p_with(sides=1),
        "belongs to the tail": p_with(tail=lambda fewer: [fewer]),
        "the smaller count decides": p_with(fewer=lambda lost, won: lost),
        "no probability does": p_with(most=2.0),
    },
    "gain_parts": {
        "knowledge: corrected": parts_with(knowledge="forced"),
        "a change of another": parts_with(form="tolerant"),
        "may be negative": lambda before, after: {
            part: max(0, value) for part, value in parts_with()(before, after).items()
        },
    },
}
