"""How sure a share of right answers is."""

import math

Z = 1.959964  # the normal quantile of a 95 % interval


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share, which stays inside 0 to 1 and works for few questions.

    Source: Wilson 1927, "Probable inference"; built in chapter 00.

    Args:
        right: Right answers.
        n: Questions, at least one.

    Example:
        >>> low, high = wilson(8, 20)
        >>> round(low, 3), round(high, 3)
        (0.219, 0.613)
    """
    share = right / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def questions_needed(half_width: float) -> int:
    """Questions after which a 95 % interval reaches `half_width` to either side, at the worst.

    The worst share is one half. Built in chapter 00.

    Example:
        >>> questions_needed(0.05)
        385
    """
    return math.ceil((Z / half_width) ** 2 / 4)
