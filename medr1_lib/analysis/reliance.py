"""Whether answers depend on the image, by the controls of an evaluation.

The measures are those of Zafar et al. 2026, "Beyond Accuracy", arXiv 2603.03437:

- VRS, visual reliance score: accuracy with the real image minus accuracy with the control;
- IS, image sensitivity: share of answers that are others with the control;
- HVRR, hallucinated visual reasoning rate: share of answers that claim to see something although
  the letter is the same with the control. Only styles with reasoning have it.
"""

import numpy as np
import pandas as pd

from medr1_lib.analysis.stats import ITEM
from medr1_lib.data.rationale import claimed
from medr1_lib.data.styles import ALL_STYLES, thought
from medr1_lib.errors import InputError

MEASURES = ("VRS", "IS", "HVRR")


def reliance(answers: pd.DataFrame, control: str = "shuffled") -> pd.DataFrame:
    """The three measures of each question, whose means `stats.mean_table` gives.

    `answers` are those of one model in one style, about the real images and under the control. A
    reply without a letter counts as an answer of its own. Raises an `InputError` if the questions
    of the two are not the same.
    """
    real, other = (answers[answers["control"] == name] for name in ("none", control))
    pairs = real.merge(other, on=ITEM, suffixes=("", "_control"), validate="one_to_one")
    if not len(pairs) == len(real) == len(other) > 0:
        problem = f"{len(real)} answers about real images, {len(other)} under {control}"
        raise InputError("reliance", problem, f"evaluate with --controls {control}")
    same = pairs["parsed"].fillna("") == pairs["parsed_control"].fillna("")
    style = ALL_STYLES.get(pairs["style"].iloc[0])  # none of ours for replies given elsewhere
    reasons = style is not None and style.reasons
    sees = pairs["completion"].map(lambda said: bool(claimed(thought(said))[0]))
    return pairs[ITEM].assign(
        VRS=pairs["correct"].astype(float) - pairs["correct_control"].astype(float),
        IS=(~same).astype(float),
        HVRR=(same & sees).astype(float) if reasons else np.nan,
    )
