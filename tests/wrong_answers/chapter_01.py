from collections import Counter

import numpy as np

from medr1_lib.data import audit
from medr1_lib.data.question import LETTERS


def ratios_with(ratio, form=audit.normalise, texts=lambda right, offered: offered):
    """An `option_ratios` with something else in the place of one of its parts."""

    def ratios(train):
        right = Counter(form(q.answer_text) for q in train)
        offered = Counter(form(option) for q in train for option in q.options)
        return {text: ratio(right[text], offered[text]) for text in texts(right, offered)}

    return ratios


def by_letter(train):
    right = Counter(q.answer for q in train)
    return {
        audit.normalise(option): (right[letter] + 0.25) / (len(train) + 1)
        for q in train
        for letter, option in zip(LETTERS, q.options, strict=False)
    }


def mixed(images, seed, order=None):
    images = sorted(images, key=order.index if order else None)
    return np.random.default_rng(seed).permutation(images)


def split(ids, share, images, weigh=None, below=False):
    """A `split_by_image` that takes its images in any order, and may weigh them otherwise."""
    chosen, size = set(), 0
    for image in images:
        weight = weigh(image) if weigh else ids.count(image)
        if size + weight * below >= share * len(ids) + 0.01 * below:
            break
        chosen.add(image)
        size += weight
    return [image in chosen for image in ids]


WRONG = {
    "window": {
        "rises straight": lambda values, low, high: (values > (low + high) / 2).astype(float),
        "counts from `low`": lambda values, low, high: np.clip(values / (high - low), 0, 1),
        "not negative": lambda values, low, high: np.minimum((values - low) / (high - low), 1),
        "not more": lambda values, low, high: np.maximum((values - low) / (high - low), 0),
    },
    "split_by_image": {
        "shuffled by the seed": lambda ids, share, seed: split(ids, share, sorted({*ids})),
        "sorted before": lambda ids, share, seed: split(ids, share, mixed({*ids}, seed, order=ids)),
        "go to one side": lambda ids, share, seed: split(ids, share, mixed(ids, seed)),
        "at least": lambda ids, share, seed: split(ids, share, mixed({*ids}, seed), below=True),
        "questions are counted": lambda ids, share, seed: split(
            ids, share, mixed({*ids}, seed), weigh=lambda image: len(ids) / len({*ids})
        ),
        "needs no image": lambda ids, share, seed: split(
            ids, max(share, 1e-9), mixed({*ids}, seed)
        ),
        "a list is asked for": lambda ids, share, seed: np.random.default_rng(seed).random(),
    },
    "normalise": {
        "capitals and small letters": lambda text: text.strip().removesuffix("."),
        "a final period": lambda text: text.strip().lower(),
        "white space around": lambda text: text.lower().removesuffix("."),
        "only a final period": lambda text: text.strip().lower().replace(".", ""),
        "stays as it is": lambda text: text.strip().upper().removesuffix("."),
    },
    "option_ratios": {
        "right once of once": ratios_with(lambda right, offered: right / offered),
        "whatever the letter": by_letter,
        "never right has a ratio": ratios_with(
            lambda right, offered: (right + 0.25) / (offered + 1),
            texts=lambda right, offered: right if len(offered) > 2 else offered,
        ),
        "the form that `normalise` gives": ratios_with(
            lambda right, offered: (right + 0.25) / (offered + 1), form=str
        ),
        "each way through it": lambda train: None,
    },
}
