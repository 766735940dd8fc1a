"""Answers of a model that was asked elsewhere, read from a table and scored like our own."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medr1_lib import files
from medr1_lib.data import styles
from medr1_lib.data.question import CONTROLS, ROTATED, Question
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import OF_QUESTION, Answer

NAMES = ("id", "item", "index", "doc_id")  # of the column that names the question; all but the
# first hold its place in the split, as in our records, VLMEvalKit's and lmms-eval's
REPLIES = ("completion", "prediction", "filtered_resps")  # of the column that holds the reply
TURN = (
    10**6
)  # VLMEvalKit: question i with its options turned by k places has the index i + k * TURN
OUTSIDE = "outside"  # the style of replies to a prompt that is not ours


def outside_answers(path: Path, questions: Sequence[Question]) -> tuple[list[Answer], int]:
    """The answers in a table to the questions of a split, and how many there are none for.

    A row names its question, by `id` or by its place, and holds the reply. With a column `style` or
    `control` it is one of several answers to that question. A question without an answer gets an
    empty one, which counts as wrong. Raises an `InputError` that names the line of a question that
    is not in the split, or comes twice.
    """
    rows = files.read_rows(path)
    name, reply = _column(path, rows, NAMES), _column(path, rows, REPLIES)
    places = {
        str(place + turn * TURN): (place, turn)
        for place, question in enumerate(questions)
        for turn in range(len(question.options))
    }
    if name == "id":
        places = {question.id: (place, 0) for place, question in enumerate(questions)}
        twice = [one for one, count in Counter(q.id for q in questions).items() if count > 1]
        if twice:
            problem = f"the data have several questions of the id {twice[0]!r}"
            raise InputError(path, problem, "name the questions by a column `item` instead")
    said: dict[tuple[str, str], dict[int, tuple[int, str]]] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        item, turn = places.get(str(row[name]).strip(), (-1, 0))
        if item < 0:
            remedy = "choose the data and --split that were asked, or drop the line"
            raise InputError(where, f"no question has the {name} {row[name]!r}", remedy)
        control = row.get("control") or (f"{ROTATED}{turn}" if turn else "none")
        if control not in _controls(questions[item]):
            remedy = f"use one of {', '.join(_controls(questions[item]))}"
            raise InputError(where, f"no control {control!r}", remedy)
        style = row.get("style") or OUTSIDE
        known = said.setdefault((style, control), {})
        if item in known:
            problem = f"the {name} {row[name]!r} has an answer in line {known[item][0]} already"
            raise InputError(where, problem, "drop one of them")
        known[item] = line, _text(row[reply])
    found = [
        _answer(questions[item], item, *asked, known.get(item, (0, ""))[1])
        for asked, known in said.items()
        for item in range(len(questions))
        if asked[1] in _controls(questions[item])
    ]
    return found, len(found) - len(rows)


def _controls(question: Question) -> list[str]:
    turns = range(1, len(question.options))
    return ["none", *CONTROLS, *(f"{ROTATED}{turn}" for turn in turns)]


def _column(path: Path, rows: list[tuple[int, dict[str, Any]]], names: Sequence[str]) -> str:
    """The first of these columns that the table has in every row."""
    for name in names:
        if rows and all(name in row for _, row in rows):
            return name
    columns = ", ".join(rows[0][1]) if rows else "no rows"
    raise InputError(path, f"has {columns}", f"give every row one of {', '.join(names)}")


def _text(reply: object) -> str:
    """A reply, of which lmms-eval writes a list of one and a table of pandas may lack the text."""
    if isinstance(reply, list) and len(reply) == 1:
        return _text(reply[0])
    return "" if reply is None else str(reply)


def _answer(question: Question, item: int, style: str, control: str, completion: str) -> Answer:
    if control.startswith(ROTATED):
        question = question.rotated(int(control.removeprefix(ROTATED)))
    parsed = styles.read(completion, question.options)
    forms = (style,) if style in styles.STYLES else styles.STYLES
    return Answer(
        **{name: getattr(question, name) for name in OF_QUESTION},
        item=item,
        style=style,
        control=control,
        completion=completion,
        tokens=0,  # only the model's own tokenizer knows
        parsed=parsed,
        correct=parsed == question.answer,
        format_ok=any(styles.read_strict(completion, form) for form in forms),
    )
