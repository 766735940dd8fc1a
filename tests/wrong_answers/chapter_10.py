Z = 1.959963984540054


def interval_with(cell=0.5, more=2, squared=1, sign=lambda gap: gap, most=1.0):
    """A `paired_interval` with something else in the place of one of its parts."""

    def interval(lost, won, n):
        lost, won, total = lost + cell, won + cell, n + more
        gap = sign(won - lost)
        half = Z * (lost + won - squared * gap**2 / total) ** 0.5 / total
        return max(-most, gap / total - half), min(most, gap / total + half)

    return interval


def following(answers, told):
    return sum(said == stood for said, stood in zip(answers, told, strict=True)) / len(told)


WRONG = {
    "updates": {
        "8 at a time": lambda questions, batch, steps, processes: questions // steps // processes,
        "ten batches add up": lambda questions, batch, steps, processes: (
            questions // (batch * processes)
        ),
        "two processes read two": lambda questions, batch, steps, processes: (
            questions // (batch * steps)
        ),
        "steps are whole": lambda questions, batch, steps, processes: (
            questions / (batch * steps * processes)
        ),
    },
    "paired_interval": {
        "leaves a width": interval_with(cell=0, more=0),
        "two items more": interval_with(more=0),
        "square of that gap": interval_with(squared=0),
        "below zero": interval_with(sign=abs),
        "by 1 at most": interval_with(most=2.0),
    },
    "mark_reliance": {
        "one of two": lambda marked, bare, told: (
            len(told) * (following(marked, told) - following(bare, told))
        ),
        "ignores it": lambda marked, bare, told: following(marked, told),
        "less than nothing": lambda marked, bare, told: max(
            0, following(marked, told) - following(bare, told)
        ),
    },
}
