"""Made-up study records with known accuracies, in the form that `recorded.load` returns."""

import numpy as np
import pandas as pd

from medr1_lib.analysis.transfer import TransferAnswers
from medr1_lib.data.question import MODALITIES, QUESTION_TYPES

THREE = MODALITIES[:3]
NEXT = {"A": "B", "B": "C", "C": "D", "D": "A"}


def items(per_test=400, modalities=THREE):
    """One row per question; letters in turn, so that each is right equally often."""
    n = per_test * len(modalities)
    place = np.arange(n)
    letter = np.array(list("ABCD"))[place % 4]
    return pd.DataFrame(
        {
            "item": place,
            "modality": np.repeat(modalities, per_test),
            "question_type": np.array(QUESTION_TYPES)[place % 5],
            "image_id": [f"phantom-{i}" for i in place],
            "question": "Which finding is present?",
            "options": [["none", "mass", "cyst", "ring"]] * n,
            "answer": letter,
            "scene": "{}",
        }
    )


def answered(asked, share, rng, **labels):
    """One model's records; `share` is its accuracy, one number or one per item."""
    labels = {"test": "phantoms", "control": "none", "tokens": 9} | labels
    right = rng.random(len(asked)) < share
    parsed = asked["answer"].where(right, asked["answer"].map(NEXT))
    said = {"correct": right, "format_ok": True, "parsed": parsed, "completion": parsed}
    model = "-".join(str(labels[name]) for name in ("method", "style", "train", "seed"))
    return asked.assign(**labels, **said, model=model)


def base(asked, share, rng, style="think_before", **labels):
    none = {"method": "base", "axis": "all", "train": "none", "seed": -1, "style": style}
    return answered(asked, share, rng, **none | labels)


def study(
    home=0.8,
    elsewhere=0.5,
    start=0.4,
    seeds=3,
    noise=0.0,
    per_test=400,
    names=THREE,
    axis="modality",
    style="think_before",
    method="grpo",
    control="none",
    seed=0,
):
    """Models trained on each name, `seeds` of each, and their base.

    Args:
        home: True accuracy on the diagonal.
        elsewhere: And off it.
        start: And of the base.
        noise: Standard deviation between seeds, added to all cells of a model alike.
    """
    rng = np.random.default_rng(seed)
    asked = items(per_test, names if axis == "modality" else THREE)
    frames = [base(asked, start, rng, style, control=control)]
    column = asked["question_type" if axis == "question_type" else "modality"]
    for train in names:
        for number in range(seeds):
            share = np.where((column == train) | (train == "all"), home, elsewhere)
            share = share + noise * rng.standard_normal()
            labels = {"method": method, "axis": axis, "train": train, "seed": number}
            frames.append(answered(asked, share, rng, style=style, control=control, **labels))
    return pd.concat(frames, ignore_index=True)


def simulated(
    home=0.8, elsewhere=0.5, start=0.4, seeds=3, noise=0.0, per_test=200, names=THREE, seed=0
):
    """As `study`, without the detour by records: for trials that are repeated many times."""
    rng = np.random.default_rng(seed)
    test = pd.Series(np.repeat(names, per_test))
    columns = pd.MultiIndex.from_product([names, range(seeds)], names=["train", "seed"])
    own = np.array([[train == name for train, _ in columns] for name in names])
    share = np.where(own, home, elsewhere).repeat(per_test, axis=0)
    share = share + noise * rng.standard_normal(len(columns))
    right = pd.DataFrame((rng.random(share.shape) < share).astype(float), columns=columns)
    base = pd.Series((rng.random(len(test)) < start).astype(float))
    return TransferAnswers(right, base, test, pd.Series(test.index))
