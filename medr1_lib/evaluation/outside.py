"""Answers of a model that was asked elsewhere, read from a table and scored like our own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medr1_lib import files
from medr1_lib.data.question import CONTROLS, ROTATED, Question, turns
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import Answer, answer_to
from medr1_lib.evaluation.items import EvalPrompt

NAMES = ("id", "item", "index", "doc_id")  # of the column that names the question; all but the
# first hold its place in the split, as in our records, VLMEvalKit's and lmms-eval's
REPLIES = ("completion", "prediction", "filtered_resps")  # of the column that holds the reply
# VLMEvalKit: question i with its options turned by k places has the index i + k * TURN
TURN = 10**6
OUTSIDE = "outside"  # the style of replies to a prompt that is not ours


def outside_answers(path: Path, questions: Sequence[Question]) -> tuple[list[Answer], int]:
    """The answers in a table to the questions of a split, and how many there are none for.

    A row names its question, by `id` or by its place, and holds the reply. With a column `style` or
    `control` it is one of several answers to that question. A question without an answer gets an
    empty one. An `InputError` names the line of a question that is not in the split, or comes
    twice.
    """
    rows = files.read_rows(path)
    name, reply = _column(path, rows, NAMES), _column(path, rows, REPLIES)
    places = dict[str, tuple[int, int]]()
    for item, question in enumerate(questions):
        if name == "id" and question.id in places:
            problem = f"the data have several questions of the id {question.id!r}"
            raise InputError(path, problem, "name the questions by a column `item` instead")
        for turn in range(len(question.options)):
            key = question.id if name == "id" else str(item + turn * TURN)
            places.setdefault(key, (item, turn))
    said: dict[tuple[str, str], dict[int, tuple[int, str]]] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        item, turn = places.get(str(row[name]).strip(), (-1, 0))
        if item < 0:
            remedy = "choose the data and --split that were asked, or drop the line"
            raise InputError(where, f"no question has the {name} {row[name]!r}", remedy)
        control = row.get("control") or (f"{ROTATED}{turn}" if turn else "none")
        if control not in (known := ["none", *CONTROLS, *questions[item].rotations]):
            remedy = f"use one of {', '.join(known)}"
            raise InputError(where, f"no control {control!r}", remedy)
        others = said.setdefault((row.get("style") or OUTSIDE, control), {})
        if item in others:
            problem = f"the {name} {row[name]!r} has an answer in line {others[item][0]} already"
            raise InputError(where, problem, "drop one of them")
        told = row[reply]
        if isinstance(told, list) and len(told) == 1:  # as lmms-eval writes it
            told = told[0]
        others[item] = line, "" if told is None else str(told)
    found = []
    for (style, control), others in said.items():
        for item, question in enumerate(questions):
            if turns(control) < len(question.options):
                asked, told = EvalPrompt(item, item, style, control), others.get(item, (0, ""))[1]
                # how many tokens it has, only the model's own tokenizer knows
                found.append(answer_to(question.rotated(turns(control)), asked, told, tokens=0))
    return found, len(found) - len(rows)


def _column(path: Path, rows: list[tuple[int, dict[str, Any]]], names: Sequence[str]) -> str:
    """The first of these columns that the table has in every row."""
    for name in names:
        if rows and all(name in row for _, row in rows):
            return name
    columns = ", ".join(rows[0][1]) if rows else "no rows"
    raise InputError(path, f"has {columns}", f"give every row one of {', '.join(names)}")
