"""Whether answers depend on the image, and what else an evaluation says beside its accuracy.

The measures of reliance are those of Zafar et al. 2026, "Beyond Accuracy", arXiv 2603.03437:

- VRS, visual reliance score: accuracy with the real image minus accuracy with the control;
- IS, image sensitivity: share of answers that are others with the control;
- HVRR, hallucinated visual reasoning rate: share of answers that claim to see something although
  the letter is the same with the control. Only styles with reasoning have it.
"""

from typing import Any

import numpy as np
import pandas as pd

from medr1_lib.analysis.gains import READERS, circular, letter_habit, read_all
from medr1_lib.analysis.stats import ITEM, mean_table
from medr1_lib.data.question import CIRCULAR, ROTATED
from medr1_lib.data.rationale import claimed
from medr1_lib.data.styles import ALL_STYLES, thought
from medr1_lib.errors import InputError

MEASURES = ("VRS", "IS", "HVRR")


def reliance(answers: pd.DataFrame, control: str = "shuffled") -> pd.DataFrame:
    """The three measures of each question, whose means `stats.mean_table` gives.

    `answers` are those of one model in one style, about the real images and under the control. No
    letter counts as an answer of its own.
    """
    real, other = (answers[answers["control"] == name] for name in ("none", control))
    pairs = real.merge(other, on=ITEM, suffixes=("", "_control"), validate="one_to_one")
    if not len(pairs) == len(real) == len(other) > 0:
        problem = f"{len(real)} answers about real images, {len(other)} under {control}"
        raise InputError("reliance", problem, f"evaluate with --controls {control}")
    same = pairs["parsed"].fillna("") == pairs["parsed_control"].fillna("")
    style = ALL_STYLES.get(pairs["style"].iloc[0])  # none of ours for completions made elsewhere
    reasons = style is not None and style.reasons
    sees = pairs["completion"].map(lambda said: bool(claimed(thought(said))[0]))
    return pairs[ITEM].assign(
        VRS=pairs["correct"].astype(float) - pairs["correct_control"].astype(float),
        IS=(~same).astype(float),
        HVRR=(same & sees).astype(float) if reasons else np.nan,
    )


def profile(answers: pd.DataFrame) -> dict[str, Any]:
    """The shares of one model in one style, as `evaluate --json` writes them; `None` if unknown.

    `readers` and `letters` (share of each in the answers), and, where those controls were asked,
    `reliance` (for each control, over what it asked) and `circular`.
    """
    real = read_all(answers)
    found: dict[str, Any] = {
        "readers": _known(real[[*READERS]].mean()),
        "letters": _known(letter_habit(real)["share"]),
    }
    for name in ("blank", "shuffled"):
        asked = answers["item"].isin(answers.loc[answers["control"].eq(name), "item"])
        if asked.any():
            table = mean_table(reliance(answers[asked], name), MEASURES)
            found.setdefault("reliance", {})[name] = _known(table["value"])
    if answers["control"].str.startswith(ROTATED).any():
        found[CIRCULAR] = circular(answers)
    return found


def _known(shares: pd.Series) -> dict[str, float | None]:
    return {str(name): None if pd.isna(one) else float(one) for name, one in shares.items()}


def profile_text(found: dict[str, Any]) -> str:
    """What `profile` returns, in lines of percentages."""
    named = {"readers": found["readers"], "letters": found["letters"]}
    named |= {f"{name} image": shares for name, shares in found.get("reliance", {}).items()}
    named |= {"order of options": found[CIRCULAR]} if CIRCULAR in found else {}
    return "\n".join(
        f"{head}: "
        + ", ".join(f"{name} {100 * one:.1f}" for name, one in shares.items() if one is not None)
        for head, shares in named.items()
    )
