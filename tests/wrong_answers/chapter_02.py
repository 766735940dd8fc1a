from math import comb, factorial

import numpy as np

from medr1_lib.analysis import stats


def share_with(**parts):
    """A `share` with something else in the place of one of its parts."""
    return lambda records: (
        stats.share(records) | {name: part(records) for name, part in parts.items()}
    )


def plain_interval(records):
    """The textbook interval that Wilson's replaces."""
    share = records["correct"].mean()
    half = 1.959964 * (share * (1 - share) / len(records)) ** 0.5
    return [share - half, share + half]


def pass_with(missed):
    """A `pass_at` with another chance to miss, from k, right samples and samples."""
    return lambda k, hits, samples: float(np.mean([1 - missed(k, c, samples) for c in hits]))


def by_factorials(k, c, n):
    return factorial(n - c) * factorial(n - k) / factorial(n - c - k) / factorial(n)


def constants(probs, rounds=300, wanted=None, final=lambda factors: factors / factors.mean()):
    """A `letter_constants` with something else in the place of one of its parts."""
    there = probs > 0
    wanted = (there / there.sum(1, keepdims=True)).mean(0) if wanted is None else wanted
    factors = np.ones(probs.shape[1])
    for turn in range(rounds):
        given = np.bincount((probs * factors).argmax(1), minlength=len(factors)) / len(probs)
        factors = factors * np.exp(2 / (1 + 0.1 * turn) * (wanted - given))
    return final(factors)


def mean_probabilities(probs):
    """A `letter_constants` that takes the mean probability of a letter for its share of answers."""
    factors = np.ones(probs.shape[1])
    for turn in range(300):
        given = (probs * factors).mean(0)
        factors = factors * np.exp(2 / (1 + 0.1 * turn) * (1 / len(factors) - given))
    return factors / factors.mean()


WRONG = {
    "letter_constants": {
        "nothing to correct": lambda probs: constants(probs, final=lambda f: f / f.sum()),
        "the share of rows": lambda probs: np.ones(probs.shape[1]),
        "that a letter wins": mean_probabilities,
        "all 300 rounds": lambda probs: constants(probs, rounds=1),
        "a half each": lambda probs: constants(probs, wanted=1 / probs.shape[1]),
        "left alone": lambda probs: constants(
            probs, final=lambda f: f / f.mean() * (probs.sum(0) > 0)
        ),
        "its shape is": lambda probs: constants(probs) * np.ones_like(probs),
    },
    "share": {
        "interval is Wilson's": share_with(interval=plain_interval),
        "in percent, and a share": share_with(
            accuracy=lambda records: 100 * records["correct"].mean()
        ),
        "a record like the others": lambda records: (
            stats.share(records[records["format_ok"]])
            | {"format_rate": float(records["format_ok"].mean())}
        ),
        "counted apart": share_with(
            format_rate=lambda records: records["format_ok"][records["correct"]].mean()
        ),
    },
    "claims": {
        "lacks 'finding'": lambda text: {
            value: name for name, _, value in (part.partition(": ") for part in text.split(", "))
        },
        "between two parts": lambda text: dict(
            part.split(": ", 1) for part in text.split(",") if ": " in part
        ),
        "is no claim": lambda text: {
            name: value for name, _, value in (part.partition(": ") for part in text.split(", "))
        },
        "raises ValueError": lambda text: dict(part.split(": ") for part in text.split(", ")),
        "the rest is the value": lambda text: {
            name: value
            for name, colon, value in (part.rpartition(": ") for part in text.split(", "))
            if colon
        },
    },
    "pass_at": {
        "mean share": lambda k, hits, samples: float(np.mean([c > 0 for c in hits])),
        "without replacement": pass_with(lambda k, c, n: (1 - c / n) ** k),
        "leave one choice": pass_with(lambda k, c, n: max(0, 1 - c * k / n)),
        "always right": pass_with(lambda k, c, n: comb(n - c, k) / comb(n, k) if n - c >= k else 1),
        "raises ValueError": pass_with(by_factorials),
        "its own chance": lambda k, hits, samples: (
            1 - comb(len(hits) * samples - sum(hits), k) / comb(len(hits) * samples, k)
        ),
    },
}
