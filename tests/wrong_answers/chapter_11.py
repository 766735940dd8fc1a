import numpy as np

from medr1_lib.data.rationale import KNOWN, claims


def holm_with(rank=True, running=True, restored=True, most=1.0):
    """A `holm` without one of its steps."""

    def holm(p):
        values = np.asarray(p, dtype=float)
        order = np.argsort(values)
        count = len(values)
        steps = values[order] * (np.arange(count, 0, -1) if rank else count)
        steps = np.minimum(most, np.maximum.accumulate(steps) if running else steps)
        return steps[np.argsort(order)] if restored else steps

    return holm


def claimed_with(alone=True, known=True, named=True, own=False, empty=False, rest=True):
    """A `claimed` that reads one kind of part in another way."""

    def claimed(rationale):
        made, others = [], []
        for part in rationale.split(", "):
            name, value = next(iter(claims(part).items()), (KNOWN.get(part, ""), part))
            if not alone and ": " not in part:
                name = ""
            is_value = value in KNOWN or not known
            is_name = name in KNOWN.values() or (not named and name)
            if is_name and is_value and (not own or KNOWN[value] == name):
                made.append((name, value))
            elif rest and (part or empty):
                others.append(part)
        return made, others

    return claimed


def split_with(weights=(0.5, 0.5), turned=1.0, swapped=False):
    """A `split_distance` that goes wrong in one way."""

    def split_distance(right, first, second):
        both = first, second
        trained = [right[first, form] - right[second, form] for form in both]
        asked = [turned * (right[arm, first] - right[arm, second]) for arm in both]
        parts = [np.tensordot(weights, one, 1) for one in (trained, asked)]
        return dict(zip(("training", "answering"), parts[:: -1 if swapped else 1], strict=True))

    return split_distance


def always_a_minus_b(right, first, second):
    return split_with()(right, *sorted((first, second)))


WRONG = {
    "holm": {
        "multiplied by 2, the next by 1": holm_with(rank=False),
        "never less than": holm_with(running=False),
        "in which they came": holm_with(restored=False),
        "at most 1": holm_with(most=9.0),
    },
    "claimed": {
        "2 results are asked for": lambda rationale: claimed_with()(rationale)[0],
        "a value alone": claimed_with(alone=False),
        "it is the rest": claimed_with(rest=False),
        "B is no value": claimed_with(known=False),
        "no attribute has this name": claimed_with(named=False),
        "a false one": claimed_with(own=True),
        "neither a claim nor a rest": claimed_with(empty=True),
    },
    "split_distance": {
        "it lacks 'answering'": lambda right, *arms: {"training": 0.0 * right[arms]},
        "all of it is training": split_with(swapped=True),
        "all of it is answering": split_with(turned=-1.0),
        "a mean of two differences": split_with(weights=(1.0, 0.0)),
        "the first arm minus the second": always_a_minus_b,
    },
}
