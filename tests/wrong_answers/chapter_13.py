import math

Z, POWER = 1.959964, 0.841621


def needed(gain, differ, whole=math.ceil, second=None):
    """A `pairs_needed` with another rounding or another second root."""
    spread = differ - gain**2 if second is None else second
    return whole((Z * math.sqrt(differ) + POWER * math.sqrt(spread)) ** 2 / gain**2)


WRONG = {
    "effective_n": {
        "are worth one": lambda n, per, alike: n,
        "are independent all count": lambda n, per, alike: n / per,
        "adds `alike`": lambda n, per, alike: n / (1 + (per - 1) * alike**2),
        "independent of the others": lambda n, per, alike: (
            n / (1 + (per - 1) * alike) if per > 1 else n * (1 - alike)
        ),
    },
    "pairs_needed": {
        "added before they are squared": lambda gain, differ: math.ceil(
            (Z**2 * differ + POWER**2 * (differ - gain**2)) / gain**2
        ),
        "smaller than the first": lambda gain, differ: (
            needed(gain, differ, second=differ) if differ == gain else needed(gain, differ)
        ),
        "round up": lambda gain, differ: (
            needed(gain, differ, round) if differ == 0.3 else needed(gain, differ)
        ),
    },
}
