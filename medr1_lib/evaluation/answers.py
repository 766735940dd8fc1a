"""Answers of models: in the folder of an evaluation, each safe at once, or given elsewhere."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medr1_lib import files
from medr1_lib.analysis.recorded import ANSWERS, read_table
from medr1_lib.data import dataset, styles
from medr1_lib.data.question import CONTROLS, ROTATED, Question, turns
from medr1_lib.data.source import UNSOUND
from medr1_lib.errors import InputError
from medr1_lib.evaluation.items import EvalPrompt, lone

KEY = ["item", "style", "control"]
AGAIN = "copy the folder again, or remove it and repeat the command"
NAMES = ("id", "item", "index", "doc_id")  # of the column that names the question; all but the
# first hold its place in the split, as in our records, VLMEvalKit's and lmms-eval's
COMPLETIONS = ("completion", "prediction", "filtered_resps")  # of the column that holds it
# VLMEvalKit: question i with its options turned by k places has the index i + k * TURN
TURN = 10**6
OUTSIDE = "outside"  # the style of completions of a prompt that is not ours


@dataclass(frozen=True)
class Answer:
    """One answer of a model, with the question that it answers."""

    item: int  # the question's place in the split
    id: str  # that of the question in its source
    image_id: str  # that of the question, also where a control showed another image
    question: str
    options: tuple[str, ...]
    answer: str  # the right letter
    style: str
    control: str
    completion: str
    tokens: int  # length of the completion
    parsed: str | None  # the letter it means, read tolerantly
    correct: bool
    format_ok: bool  # whether it is in exactly the form asked for
    modality: str
    question_type: str
    source: str
    letter_probs: tuple[float, ...] = ()  # of its letters if the form is given; not for controls


def answer_to(
    question: Question,
    asked: EvalPrompt,
    completion: str,
    tokens: int,
    letter_probs: tuple[float, ...] = (),
) -> Answer:
    """Read a completion strictly and tolerantly, and store both beside its question."""
    parsed = styles.read(completion, question.options)
    forms = (asked.style,) if asked.style in styles.STYLES else styles.STYLES
    told = vars(question) | vars(asked) | {"completion": completion, "tokens": tokens}
    told |= {"parsed": parsed, "correct": parsed == question.answer, "letter_probs": letter_probs}
    told["format_ok"] = any(styles.read_strict(completion, form) for form in forms)
    return Answer(**{name: told[name] for name in Answer.__annotations__})


class AnswerLog:
    """Where the answers of one evaluation are kept, and found again after an interruption.

    The folder is new, empty, or that of an evaluation with the same `settings`, which are all that
    answers depend on; else an `InputError` says so. The card holds them and the `notes`.
    """

    def __init__(self, out: Path, settings: dict[str, Any], notes: dict[str, Any]) -> None:
        self._out, self._parts, self._card = out, out / "parts", out / dataset.CARD
        self._asked = list[EvalPrompt]()
        if not any(out.rglob("*.parquet*")):  # a card alone is left where a model cannot be loaded
            files.require_free(out, dataset.CARD)
            head = {"made_by": "python -m medr1_lib evaluate", "settings": settings}
            self._write(self._card, head | notes)
            return
        found = files.read_json(self._card, AGAIN).get("settings")
        if not isinstance(found, dict):
            raise InputError(self._card, "holds no settings", AGAIN)
        for name, value in settings.items():
            if found.get(name) != value:
                problem = f"was made with another {name} ({found.get(name)}, now {value})"
                raise InputError(out, problem, "choose another folder")

    def add(self, answers: Iterable[Answer]) -> None:
        """Keep a batch of answers, whole or not at all."""
        frame = pd.DataFrame([asdict(answer) for answer in answers])
        if len(frame):
            # Not the number of parts: were one lost, another would be written over.
            stems = (path.stem for path in self._parts.glob("*.parquet"))
            known = [int(stem) for stem in stems if stem.isdecimal()]
            self._write(self._parts / f"{max(known, default=-1) + 1:06}.parquet", frame)

    def answers(self) -> pd.DataFrame:
        """All answers so far, one to each prompt; a damaged file of them is set aside."""
        frames = []
        for path in (self._out / ANSWERS, *sorted(self._parts.glob("*.parquet"))):
            try:
                if path.is_file():
                    frames.append(read_table(path, [*Answer.__annotations__], AGAIN))
            except InputError as error:
                path.rename(path.with_name(path.name + ".damaged"))
                told = f"{path}: {error.problem}; set aside, and its questions are asked again"
                print(told, file=sys.stderr)
        if not frames:
            return pd.DataFrame(columns=[*Answer.__annotations__])
        return pd.concat(frames).drop_duplicates(KEY)

    def todo(self, prompts: list[EvalPrompt]) -> list[EvalPrompt]:
        """Those prompts that have no answer yet."""
        self._asked = prompts
        done = set(self.answers()[KEY].itertuples(index=False, name=None))
        return [one for one in prompts if (one.item, one.style, one.control) not in done]

    def finish(self, notes: dict[str, Any]) -> pd.DataFrame:
        """Gather the answers in one file, complete the card; an `InputError` if some were lost."""
        if lost := self.todo(self._asked):
            problem = f"{len(lost)} of {len(self._asked)} answers were lost while it was written"
            raise InputError(self._out, problem, "the same command asks for them again")
        answers = self.answers().sort_values(KEY, ignore_index=True)
        if self._parts.is_dir():
            self._write(self._out / ANSWERS, answers)
            self._write(self._card, files.read_json(self._card, AGAIN) | notes)
            shutil.rmtree(self._parts)
        return answers

    def _write(self, path: Path, found: dict[str, Any] | pd.DataFrame) -> None:
        if isinstance(found, dict):
            content = (json.dumps(found, indent=1) + "\n").encode()
        else:
            content = found.to_parquet(index=False, write_page_checksum=True)
        remedy = "make room or choose another folder; the same command goes on from here"
        with files.writing(self._out, remedy):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.atomic_write(path, content)


def outside_answers(path: Path, questions: Sequence[Question]) -> tuple[list[Answer], int]:
    """The answers in a table to the questions of a split, and how many there are none for.

    A row names its question, by `id` or by its place, and holds the completion. With a column
    `style` or `control` it is one of several answers to that question. A question without an answer
    gets an empty one. An `InputError` names the line of a question that is unknown or comes again.
    """
    rows = files.read_rows(path)
    name, completion = _column(path, rows, NAMES), _column(path, rows, COMPLETIONS)
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
        style, control, told = (_told(where, row, key) for key in ("style", "control", completion))
        control = control or (f"{ROTATED}{turn}" if turn else "none")
        if control not in (known := ["none", *CONTROLS, *questions[item].rotations]):
            remedy = f"use one of {', '.join(known)}"
            raise InputError(where, f"no control {control!r}", remedy)
        others = said.setdefault((style or OUTSIDE, control), {})
        if item in others:
            problem = f"the {name} {row[name]!r} has an answer in line {others[item][0]} already"
            raise InputError(where, problem, "drop one of them")
        others[item] = line, told
    found, alone = [], lone(questions)
    for (style, control), others in said.items():
        for item, question in enumerate(questions):
            due = item in others or control != "shuffled" or question.modality not in alone
            if due and turns(control) < len(question.options):
                asked, told = EvalPrompt(item, item, style, control), others.get(item, (0, ""))[1]
                # how many tokens it has, only the model's own tokenizer knows
                found.append(answer_to(question.rotated(turns(control)), asked, told, tokens=0))
    return found, len(found) - len(rows)


def _told(where: str, row: Mapping[str, Any], name: str) -> str:
    """A cell as text, which an empty one gives none of; an `InputError` if it is something else."""
    told = row.get(name)
    told = told[0] if isinstance(told, list) and len(told) == 1 else told  # as of lmms-eval
    if told is None or told != told:  # NaN, as pandas writes nothing
        return ""
    if not isinstance(told, str | int | float) or UNSOUND.search(str(told)):
        raise InputError(where, f"its {name} is no sound text", "write it as text in UTF-8")
    return str(told)


def _column(path: Path, rows: list[tuple[int, dict[str, Any]]], names: Sequence[str]) -> str:
    """The first of these columns that the table has in every row."""
    for name in names:
        if rows and all(name in row for _, row in rows):
            return name
    columns = ", ".join(rows[0][1]) if rows else "no rows"
    raise InputError(path, f"has {columns}", f"give every row one of {', '.join(names)}")
