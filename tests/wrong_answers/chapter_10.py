import numpy as np

from medr1_lib.analysis.gains import gain_parts

Z = 1.959963984540054


def interval_with(cell=0.5, more=2, squared=1, sign=lambda gap: gap, most=1.0):
    """A `paired_interval` with something else in the place of one of its parts."""

    def interval(lost, won, n):
        lost, won, total = lost + cell, won + cell, n + more
        gap = sign(won - lost)
        half = Z * (lost + won - squared * gap**2 / total) ** 0.5 / total
        return max(-most, gap / total - half), min(most, gap / total + half)

    return interval


def gap_with(turn=1, rows=None, columns=None, ends=(2.5, 97.5)):
    """A `method_gap` with something else in the place of one of its parts."""

    def found(first, second, seeds, questions):
        told = {}
        for part, gap in gain_parts(first, second).items():
            every = [range(length) for length in gap.shape]
            drawn = zip(seeds, questions, strict=True)
            means = [
                (turn * gap)[np.ix_(every[0] if rows else s, every[1] if columns else q)].mean()
                for s, q in drawn
            ]
            told[part] = (turn * gap.mean(), *np.percentile(means, ends))
        return told

    return found


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
    "method_gap": {
        "second minus first": gap_with(turn=-1),
        "seeds are redrawn": gap_with(rows=True),
        "questions are redrawn": gap_with(columns=True),
        "percentiles 2.5 and 97.5": gap_with(ends=(5, 95)),
    },
}
