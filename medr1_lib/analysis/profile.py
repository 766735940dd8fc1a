"""What an evaluation says beside its accuracy: readers, letters, images, and order of options."""

from typing import Any

import pandas as pd

from medr1_lib.analysis.gains import READERS, circular, letter_habit, read_all
from medr1_lib.analysis.reliance import MEASURES, reliance
from medr1_lib.analysis.stats import mean_table
from medr1_lib.data.question import CIRCULAR, ROTATED


def profile(answers: pd.DataFrame) -> dict[str, Any]:
    """The shares of one model in one style, as `evaluate --json` writes them; `None` if unknown.

    `readers` and `letters` (share of each in the answers), and, where those controls were asked,
    `reliance` (for each control) and `circular`.
    """
    real = read_all(answers)
    found: dict[str, Any] = {
        "readers": _known(real[[*READERS]].mean()),
        "letters": _known(letter_habit(real)["share"]),
    }
    controls = [name for name in ("blank", "shuffled") if answers["control"].eq(name).any()]
    if controls:
        tables = {name: mean_table(reliance(answers, name), MEASURES) for name in controls}
        found["reliance"] = {name: _known(table["value"]) for name, table in tables.items()}
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
