"""The three claims of Med-R1, and the probability that a student gives each, chapter by chapter."""

import os
from pathlib import Path

from medr1_lib.errors import InputError
from medr1_lib.files import read_json, write_json

CLAIMS = {
    "generalizes": "RL generalizes further than SFT to modalities and question types held back",
    "thinking": "After RL, a model answers better without a rationale than with one before the"
    " answer, and also better with one after it",
    "size": "A model of 2 billion parameters with RL beats one of 72 billion without",
}


def page(chapter: int, **beliefs: float | None) -> None:
    """Keep what a student now believes of some claims, `None` for no change, and print all three.

    They are kept in `ledger.json` beside the notebook, or in the file that `MEDR1_LEDGER` names.
    """
    kept = _read()
    given = {claim: belief for claim, belief in beliefs.items() if belief is not None}
    for claim in beliefs.keys() - CLAIMS.keys():
        raise InputError(f"claim {claim!r}", "is not one", f"use {', '.join(CLAIMS)}")
    for claim, belief in given.items():
        if not 0 <= belief <= 1:
            raise InputError(claim, f"{belief} is no probability", "give a number from 0 to 1")
        kept[claim][f"{chapter:02d}"] = belief
    try:
        if given:
            write_json(_path(), kept)
    except InputError as error:  # on a read-only disk a notebook still runs to its end
        print(f"Not kept for later chapters: {error}")
    for claim, text in CLAIMS.items():
        said = [f"{belief:.2f} (chapter {when})" for when, belief in sorted(kept[claim].items())]
        print(f"{text}:\n    you: {', then '.join(said) or '0.50 (not asked yet: chapter 00)'}")


def settle(evidence: dict[str, bool | None]) -> None:
    """Print the last belief in each claim beside what was found, `None` where that is open.

    The score is the squared distance of belief from evidence: 0 is best, 0.25 is no opinion.
    """
    kept = _read()
    for claim, found in evidence.items():
        belief = kept[claim][max(kept[claim])] if kept[claim] else 0.5
        verdict = "is open" if found is None else "holds here" if found else "does not hold here"
        score = "no score" if found is None else f"score {(belief - found) ** 2:.2f}"
        print(f"{CLAIMS[claim]}:\n    you: {belief:.2f}; it {verdict}; {score}")


def _path() -> Path:
    return Path(os.environ.get("MEDR1_LEDGER", "ledger.json")).absolute()


def _read() -> dict[str, dict[str, float]]:
    kept = read_json(_path(), "delete it, and start with chapter 00") if _path().exists() else {}
    return {claim: dict(kept.get(claim, {})) for claim in CLAIMS}
