"""The reward bench: completions that try the rules, with what each rule set must give and why.

All of them answer one question, `OPTIONS` with the right letter `ANSWER`. The table is
`data/reward_bench.json`, a list of objects with the fields of `Row`; add yours and run
`pytest tests/test_reward_bench.py`. Chapter 03 runs it.
"""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from medr1_lib.course.tiers import material
from medr1_lib.data import styles
from medr1_lib.errors import InputError
from medr1_lib.rl.rewards import RULES, points

QUESTION = "Which modality is this?"
OPTIONS = ("MRI", "PET", "CT", "X-Ray")
ANSWER = "C"


@dataclass(frozen=True)
class Row:
    """A completion, and what it must earn.

    Attributes:
        kind: What it tries.
        style: The name of the style that the prompt asked for.
        completion: What was said.
        strict: Points for form and answer under the strict rules.
        published: The same under the published rules.
        why: The reason, for the reader.
    """

    kind: str
    style: str
    completion: str
    strict: tuple[float, float]
    published: tuple[float, float]
    why: str

    def given(self, rules: str) -> tuple[float, float]:
        """What the rules of the library give, whatever the row says."""
        return points(self.completion, ANSWER, self.style, rules)

    def mistakes(self) -> list[str]:
        """The rule sets that give something else than the row says, one line each."""
        return [
            f"{self.completion!r} in {self.style}: {rules} rules give {self.given(rules)}, "
            f"the bench says {getattr(self, rules)}"
            for rules in RULES
            if self.given(rules) != getattr(self, rules)
        ]

    def correct(self) -> bool:
        """Whether evaluation, which reads tolerantly, counts the completion as right."""
        return styles.read(self.completion, OPTIONS) == ANSWER


def load(path: Path | None = None) -> list[Row]:
    """The rows of a bench, the one of the course if no other is named.

    Raises:
        InputError: If the table is not JSON, or a row is not complete.

    Example:
        >>> load()[0].completion
        '<think>Bone is white.</think><answer>C</answer>'
    """
    path = path or material("reward_bench.json")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        problem = f"not JSON ({error.msg})"
        remedy = "mend this line or the one before it; a missing or extra comma is likely"
        raise InputError(f"{path}, line {error.lineno}", problem, remedy) from error
    return [_row(record, f"{path}, row {place}") for place, record in enumerate(table, start=1)]


def _row(record: dict[str, Any], where: str) -> Row:
    names = [field.name for field in fields(Row)]
    if sorted(record) != sorted(names):
        raise InputError(where, f"has {', '.join(record)}", f"give it {', '.join(names)}")
    for rules in RULES:
        if record[rules] not in ([0, 0], [0, 1], [1, 0], [1, 1]):
            remedy = "write [form, answer], each 0 or 1"
            raise InputError(where, f"{rules} points are {record[rules]}", remedy)
    if record["style"] not in styles.STYLES:
        remedy = f"use one of {', '.join(styles.STYLES)}"
        raise InputError(where, f"no style {record['style']!r}", remedy)
    return Row(**record | {rules: tuple(map(float, record[rules])) for rules in RULES})
