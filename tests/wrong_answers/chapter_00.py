import math

from medr1_lib.analysis.stats import wilson


def plain_interval(right, n):
    """The textbook interval that Wilson's replaces."""
    share, z = right / n, 1.959964
    half = z * math.sqrt(share * (1 - share) / n)
    return share - half, share + half


def covered(
    interval, truth, n, first=0, last=1, weight=None, inside=lambda low, p, high: low <= p <= high
):
    """A `coverage` with something else in the place of one of its parts."""
    weight = weight or (lambda k: math.comb(n, k) * truth**k * (1 - truth) ** (n - k))
    return sum(
        weight(k)
        for k in range(first, n + last)
        if inside(interval(k, n)[0], truth, interval(k, n)[1])
    )


WRONG = {
    "coverage": {
        "with 0 right the interval": lambda *case: covered(*case, first=1),
        "the ends belong to it": lambda *case: covered(*case, last=0),
        "its own probability": lambda interval, truth, n: covered(
            interval, truth, n, weight=lambda k: truth**k * (1 - truth) ** (n - k)
        ),
        "the function passed in": lambda interval, truth, n: covered(
            lambda right, n: (right / n, 1.0), truth, n
        ),
        "both its ends count": lambda *case: covered(*case, inside=lambda low, p, high: low <= p),
        "in percent": lambda *case: 100 * covered(*case),
    },
    "wilson": {
        "room above zero": plain_interval,
        "centred on one half": lambda right, n: wilson(right, n) if not right else wilson(1, n),
        "n squared": lambda right, n: (0.0, wilson(right, n)[1] + (right > 0) / n),
        "leans towards it": lambda right, n: (
            wilson(right, n) if right in (0, n / 2) else plain_interval(right, n)
        ),
        "each way through it": lambda right, n: None,
    },
    "questions_needed": {
        "solve z": lambda half_width: math.ceil(1.959964 / half_width / 4),
        "p = 1/2": lambda half_width: math.ceil((1.959964 / half_width) ** 2),
        "round up": lambda half_width: int((1.959964 / half_width) ** 2 / 4),
        "a whole one more": lambda half_width: 385 if half_width == 0.05 else 96,
        "raises TypeError": lambda: 385,
    },
}
