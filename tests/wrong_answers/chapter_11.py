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


def answers_with(per_answer):
    """A mean over answers in place of one over claims."""

    def rate(claims, scenes):
        found = [
            [scene[name] != value for name, value in made]
            for made, scene in zip(claims, scenes, strict=True)
        ]
        shares = [per_answer(false) for false in found if false]
        return sum(shares) / len(shares) if shares else None

    return rate


def pooled(claims, scenes, empty=None, false=True):
    held = [
        (scene[name] != value) == false
        for made, scene in zip(claims, scenes, strict=True)
        for name, value in made
    ]
    return sum(held) / len(held) if held else empty


def with_empty(claims, scenes):
    """One claim more for each answer that makes none."""
    held = [
        scene[name] != value
        for made, scene in zip(claims, scenes, strict=True)
        for name, value in made
    ]
    return sum(held) / (len(held) + claims.count([]))


WRONG = {
    "holm": {
        "multiplied by 2, the next by 1": holm_with(rank=False),
        "never less than": holm_with(running=False),
        "in which they came": holm_with(restored=False),
        "at most 1": holm_with(most=9.0),
    },
    "claimed": {
        "its shape is (1, 2), not (2,)": lambda rationale: claimed_with()(rationale)[0],
        "a value alone": claimed_with(alone=False),
        "it is the rest": claimed_with(rest=False),
        "B is no value": claimed_with(known=False),
        "no attribute has this name": claimed_with(named=False),
        "a false one": claimed_with(own=True),
        "neither a claim nor a rest": claimed_with(empty=True),
    },
    "hallucination_rate": {
        "one of two claims": answers_with(any),
        "every claim counts once": answers_with(lambda false: sum(false) / len(false)),
        "gives 0.75": lambda claims, scenes: pooled(claims, scenes, false=False),
        "adds nothing": with_empty,
        "no share of it": lambda claims, scenes: pooled(claims, scenes, empty=0.0),
    },
}
