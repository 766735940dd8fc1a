"""Rationales of phantoms: their claims, and how many of them are false."""

import json
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from medr1_lib.analysis.stats import Measures
from medr1_lib.data.phantom_vqa import STEMS
from medr1_lib.data.question import LETTERS
from medr1_lib.data.rationale import claimed
from medr1_lib.data.styles import ALL_STYLES, thought
from medr1_lib.errors import InputError

ASKED = {stem: name for told in STEMS.values() for name, stems in told.items() for stem in stems}
MEASURES: Measures = {
    "hallucination": ("false_claims", "claims"),
    "names modality": ("names_modality", None),
    "names anatomy": ("names_anatomy", None),
    "names what is asked": ("names_asked", None),
    "right about what is asked": ("asked_true", "names_asked"),
    "agreement": ("agrees", "has_letter"),
    "unread": ("garbled", None),
}


def score(records: pd.DataFrame) -> pd.DataFrame:
    """Compare every claim of every rationale with the scene.

    Styles without reasoning are left out. A control is compared with the scene that its question is
    about and that the model did not see, so keep controls apart. `garbled` is a rationale of which
    a part, or all, claims nothing; `agrees` one whose claim about what was asked is the option that
    was answered. Raises an `InputError` if a question has no scene.
    """
    styles = [name for name, style in ALL_STYLES.items() if style.reasons]
    kept = records[records["style"].isin(styles)].reset_index(drop=True)
    if kept["scene"].isna().any():
        raise InputError("records", "some have no scene", "real images have no truth to compare")
    rows = [_scored(row) for row in kept.to_dict("records")]
    return kept.join(pd.DataFrame(rows, index=kept.index))


def _scored(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    rationale = thought(row["completion"])
    made, rest = claimed(rationale)
    truth, asked, named = json.loads(row["scene"]), ASKED[row["question"]], dict(made)
    letter = row["parsed"] if isinstance(row["parsed"], str) else None
    return {
        "rationale": rationale,
        "claims": len(made),
        "false_claims": sum(truth[name] != value for name, value in made),
        "garbled": bool(rest) or not made,
        "names_modality": "modality" in named,
        "names_anatomy": "anatomy" in named,
        "names_asked": asked in named,
        "asked_true": asked in named and named[asked] == truth[asked],
        "has_letter": letter is not None,
        "agrees": letter is not None and named.get(asked) == row["options"][LETTERS.index(letter)],
    }
