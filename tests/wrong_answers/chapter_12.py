from scipy.stats import norm, t


def split(gains):
    home = [gain for (train, test), gain in gains.items() if train == test]
    away = [gain for (train, test), gain in gains.items() if train != test]
    return home, away


def index_with(ratio, least=0.0):
    """A `transfer_index` with another ratio, or another bound for the gain at home."""

    def index(gains):
        home, away = split(gains)
        return None if sum(home) <= least else ratio(home, away)

    return index


def mean(values):
    return sum(values) / len(values)


def ratio(home, away):
    return mean(away) / mean(home)


def always(gains):
    return ratio(*split(gains))


def below_zero_only(gains):
    home, away = split(gains)
    if sum(home) < 0:
        return None
    return mean(away) / mean(home) if sum(home) else 0.0


def fits_with(off=0.005):
    """A `fits` with another tolerance."""

    def fits(value, n, terms=1):
        nearest = round(value * n / 100) * 100 / n
        return abs(nearest - value) <= terms * off + 1e-9

    return fits


def power_with(items=0.5, models=2, joined=lambda a, b: a + b, normal=False):
    """A `power` with other variances, another way to add them, or the bound 1.96."""

    def power(gap, questions, seeds, seed_sd, discordant):
        a, b = discordant / questions ** (2 * items), models * seed_sd**2 / seeds
        freedom = (a + b) ** 2 / (a**2 / (questions - 1) + b**2 / (2 * (seeds - 1)))
        error = joined(a, b) ** 0.5
        if normal:
            return float(norm.sf(norm.ppf(0.975) - gap / error))
        return float(t.sf(t.ppf(0.975, freedom) - gap / error, freedom))

    return power


WRONG = {
    "transfer_index": {
        "gain 0.2 on average": index_with(lambda home, away: ratio(away, home)),
        "means are compared": index_with(lambda home, away: sum(away) / sum(home)),
        "an index below zero": index_with(lambda home, away: abs(ratio(home, away))),
        "without a gain at home": below_zero_only,
        "raises ZeroDivisionError": always,
        "None as well": lambda gains: None if sum(split(gains)[0]) == 0 else always(gains),
    },
    "fits": {
        "printed as 33.33": fits_with(off=0.0),
        "is near 0, 33.33": lambda value, n, terms=1: (  # multiples of 1 / n, not of 100 / n
            abs(round(value * n) / n - value) <= terms * 0.005 + 1e-9
        ),
        "can be negative": lambda value, n, terms=1: value >= 0 and fits_with()(value, n, terms),
        "off by 0.01 together": lambda value, n, terms=1: fits_with()(value, n),
        "0.005 at most": fits_with(off=0.01),
    },
    "power": {
        "only the questions are luck": power_with(items=0.25),
        "each has seeds that differ": power_with(models=1),
        "questions and seeds add up": power_with(joined=lambda a, b: (a**0.5 + b**0.5) ** 2),
        "Student's, not 1.96": power_with(normal=True),
    },
}
