"""Blocks of recorded runs: every answer of every model of a sweep, in a few small files."""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from medr1_lib.analysis.gains import letter_matrix
from medr1_lib.data.question import ALL_CONTROLS, ALL_LETTERS, AXES, BASES, LETTERS
from medr1_lib.data.styles import ALL_STYLES
from medr1_lib.errors import InputError, refusing
from medr1_lib.files import atomic_write, read_json, write_json

MODELS, ANSWERS, QUESTIONS = "models.json", "answers.parquet", "questions.parquet"
LOGS, LETTER_PROBS = "log.parquet", "letter_probs.parquet"  # a block may be without them
ASKED = ["image_id", "question", "options", "answer", "modality", "question_type", "scene"]
ANSWER_COLUMNS = ["control", "item", "completion", "tokens", "parsed", "correct", "format_ok"]
METHODS = ("grpo", "sft")
LABELS = ["model", "method", "style", "axis", "train", "seed"]
STATED: dict[str, Any] = dict.fromkeys((*LABELS, "date", "hardware"), str)  # of each model
STATED |= {"seed": int, "steps": int}
KNOWN = {"method": [*METHODS, *BASES], "style": [*ALL_STYLES], "axis": [*AXES]}
# Columns that are never empty, with what the names of their types in a parquet file hold.
FULL = {"item": "int", "tokens": "int", "correct": "bool", "format_ok": "bool", "options": "list<"}
FULL |= dict.fromkeys(("control", "completion", "model", "test", *ASKED[:2], *ASKED[3:6]), "string")
# How a block keeps its tables.
SMALL: dict[str, Any] = {"index": False, "compression": "zstd", "compression_level": 19}
SMALL |= {"write_page_checksum": True}
AGAIN = "copy the block again, record it by `sweep --record`, or run `tools.migrate` on an old one"


@cache
def load(block: Path) -> pd.DataFrame:
    """Every answer of a block, with its question and its model beside it; used from chapter 10 on.

    One row per model, test set (`test`), control and item: `LABELS`, `ASKED`, `ANSWER_COLUMNS`.
    """
    labels = pd.DataFrame(notes(block)["models"])[LABELS]
    answers = read_table(block / ANSWERS, ["model", "test", *ANSWER_COLUMNS], AGAIN)
    questions = read_table(block / QUESTIONS, ["test", "item", *ASKED], AGAIN)
    if questions.duplicated(["test", "item"]).any():
        raise InputError(block / QUESTIONS, "holds a question twice", AGAIN)
    found = answers.merge(labels, on="model").merge(questions, on=["test", "item"])
    if len(found) < len(answers) or not {*labels["model"]} <= {*found["model"]}:
        problem = "its answers, models and questions do not belong together"
        raise InputError(block, problem, AGAIN)
    return found


def with_letter_probs(block: Path) -> pd.DataFrame:
    """The answers about the real images with their `letter_probs`, fit for `gains.read_all`."""
    by = ["model", "test", "item"]
    told = read_table(block / LETTER_PROBS, [*by, *LETTERS[:2]], AGAIN)  # of two options or more
    letters = told[[letter for letter in ALL_LETTERS if letter in told]].fillna(0.0)
    found = told[by].assign(letter_probs=pd.Series(letters.to_numpy().tolist(), told.index))
    return load(block).query("control == 'none'").merge(found, on=by)


def letter_table(answers: pd.DataFrame) -> pd.DataFrame:
    """The letters' probabilities of an evaluation, as a block keeps them, a row per real image.

    `chosen` is the forced letter, `confidence` its probability, and `correct` whether it is right.
    """
    real = answers[answers["control"] == "none"].reset_index(drop=True)
    probs = pd.DataFrame(letter_matrix(real)).rename(columns=dict(enumerate(ALL_LETTERS)))
    table = probs.assign(item=real["item"], chosen=probs.idxmax(axis=1))
    right = table["chosen"] == real["answer"]
    return table.assign(confidence=probs.max(axis=1), correct=right)


def write(block: Path, tables: Mapping[str, Sequence[pd.DataFrame]], notes: dict[str, Any]) -> None:
    """Write a block: of each table its parts one under the other, if there are any, and notes."""
    block.mkdir(parents=True, exist_ok=True)
    for name, parts in tables.items():
        if parts:
            atomic_write(block / name, pd.concat(parts, ignore_index=True).to_parquet(**SMALL))
    write_json(block / MODELS, notes)


def notes(block: Path) -> dict[str, Any]:
    """How a block was made, and its models."""
    if not (block / MODELS).is_file():
        raise InputError(block, "is no block of recorded runs", "name what `sweep --record` wrote")
    found = read_json(block / MODELS, AGAIN)
    models = found.get("models")
    if not isinstance(models, list) or not models:
        raise InputError(block / MODELS, "names no models", AGAIN)
    for number, model in enumerate(models):
        for name, kind in STATED.items():
            value = model.get(name) if isinstance(model, dict) else None
            if not isinstance(value, kind) or value not in KNOWN.get(name, [value]):
                where = f"{block / MODELS}, model {number}"
                raise InputError(where, f"its {name} is {value!r}", AGAIN)
    return found


def read_table(path: Path, columns: Collection[str], remedy: str) -> pd.DataFrame:
    """A parquet file with these columns."""
    with refusing(path, "cannot be read", remedy):
        # Pandas would notice neither: a page that was changed, a text that is no UTF-8.
        stored = pq.read_table(path, page_checksum_verification=True)
        stored.validate(full=True)
        table = pd.read_parquet(path)
    if missing := [name for name in columns if name not in table]:
        raise InputError(path, f"lacks the columns {', '.join(missing)}", remedy)
    for name in FULL.keys() & {*columns} if len(table) else ():
        kind = str(stored.schema.field(name).type)
        if FULL[name] not in kind or stored[name].null_count:
            raise InputError(path, f"its column {name}, of {kind}, holds something else", remedy)
    if "control" in columns and not {*table["control"]} <= {*ALL_CONTROLS}:
        raise InputError(path, f"its controls are none of {', '.join(ALL_CONTROLS)}", remedy)
    return table
