"""Chapter 03: the reward bench, and the cases that check its exercises.

The bench is `data/reward_bench.json`: completions that try to cheat, with what each rule set must
give and why. Add rows of your own and run `pytest tests/test_reward_bench.py`.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from medr1_lib.course.exercise import Case
from medr1_lib.course.tiers import material
from medr1_lib.data import styles
from medr1_lib.errors import InputError
from medr1_lib.files import read_rows
from medr1_lib.rl.rewards import RULES, accuracy_published, accuracy_strict, points

QUESTION = "Which modality is this?"
OPTIONS = ("MRI", "PET", "CT", "X-Ray")
ANSWER = "C"
NO_THINK, BEFORE = "no_think", "think_before"


@dataclass(frozen=True)
class BenchRow:
    """A completion, and the points for form and answer that it must earn under each rule set."""

    kind: str  # what it tries
    style: str  # the reasoning style that the prompt asked for
    completion: str
    strict: tuple[float, float]
    published: tuple[float, float]
    why: str  # for the reader

    def given(self, rules: str) -> tuple[float, float]:
        """What the rules of the library give, whatever the row says."""
        return points(self.completion, ANSWER, self.style, rules)

    def mistakes(self) -> list[str]:
        """The rule sets that give something else than the row says, one line each."""
        said = {rules: (self.given(rules), getattr(self, rules)) for rules in RULES}
        return [
            f"{self.completion!r} in {self.style}: {rules} rules give {given}, the bench says {due}"
            for rules, (given, due) in said.items()
            if given != due
        ]

    def correct(self) -> bool:
        """Whether evaluation, which reads tolerantly, counts the completion as right."""
        return styles.read(self.completion, OPTIONS) == ANSWER


def load_bench(path: Path | None = None) -> list[BenchRow]:
    """The rows of a bench, the one of the course if no other is named."""
    path = path or material("reward_bench.json")
    names, rows = [field.name for field in fields(BenchRow)], []
    for place, record in read_rows(path):
        if sorted(record) != sorted(names):
            where, problem = f"{path}, row {place}", f"has {', '.join(record)}"
            raise InputError(where, problem, f"give it {', '.join(names)}")
        due = {rules: tuple(map(float, record[rules])) for rules in RULES}
        rows.append(BenchRow(**record | due))
    return rows


def shortest_hack(
    pays: Callable[[str], float],
    reads: Callable[[str], str | None],
    answer: str,
    pieces: Sequence[str],
    longest: int,
) -> str | None:
    """The first string of at most `longest` pieces that earns 2 points and is read otherwise."""
    for number in range(1, longest + 1):
        for chosen in itertools.product(pieces, repeat=number):
            completion = "".join(chosen)
            if pays(completion) == 2 and reads(completion) != answer:
                return completion
    return None


def two_for_any_c(completion: str) -> float:
    """A rule for the cases: it pays in full for the letter, wherever it stands."""
    return 2.0 * ("C" in completion)


def last_letter(completion: str) -> str | None:
    """A reader for the cases: the last character."""
    return completion[-1]


def _said(content: str) -> list[list[dict[str, str]]]:
    """One completion as TRL hands it over."""
    return [[{"role": "assistant", "content": content}]]


TWO = "<answer>C</answer><answer>A</answer>"
SAY_A, LETTER_A = _said("<answer>A</answer>"), _said("A")
THINK_A = _said("<think>so</think><answer>A</answer>")

CASES = {
    "accuracy_published": (
        Case(("<answer>C</answer>", "C", NO_THINK), "the right letter in a block earns a point"),
        Case(("<answer>A</answer>", "C", NO_THINK), "a wrong letter earns nothing"),
        Case(("<answer> C </answer>", "C", NO_THINK), "white space around the letter is stripped"),
        Case((TWO, "C", NO_THINK), "the first block counts, and it ends at the first closing tag"),
        Case(("C", "C", NO_THINK), "without a block, the whole completion is compared"),
        Case(("<answer>\nC\n</answer>", "C", NO_THINK), "a block with a line break in it is lost"),
        Case(("<answer>c</answer>", "C", NO_THINK), "the released code compares case as well"),
    ),
    "read_strict": (
        Case(("<answer>C</answer>", NO_THINK), "group 1 of the match is the letter"),
        Case(("<answer>c</answer>", NO_THINK), "either case is the same letter"),
        Case(("no idea", NO_THINK), "where the form is missing there is no letter"),
        Case(("I say <answer>C</answer>", NO_THINK), "nothing may stand before the form"),
        Case(("<answer>C</answer> I think", NO_THINK), "nothing may stand after the form"),
        Case(("<answer>C</answer>", BEFORE), "the pattern is that of the style asked for"),
    ),
    "shortest_hack": (
        Case((two_for_any_c, last_letter, "C", "AC", 2), "it earns 2 points, and is read as A"),
        Case((two_for_any_c, last_letter, "C", "CA", 1), "without a hack the result is None"),
        Case((two_for_any_c, last_letter, "A", "AC", 3), "a single piece is tried first"),
        Case((two_for_any_c, last_letter, "C", "BAC", 3), "in the order of `itertools.product`"),
        Case((two_for_any_c, str.strip, "C", ["C", " "], 2), "`reads` says what counts as read"),
        Case((len, last_letter, "A", "AB", 2), "`pays` gives the points, and 2 are full"),
    ),
    "accuracy_reward": (
        Case((accuracy_strict, NO_THINK, SAY_A, ["A"]), "one number for each completion"),
        Case((accuracy_strict, NO_THINK, 2 * SAY_A, ["B", "A"]), "each has its own right letter"),
        Case((accuracy_strict, BEFORE, THINK_A, ["A"]), "the style is the one that is passed in"),
        Case((accuracy_published, NO_THINK, LETTER_A, ["A"]), "the rule is passed in as `score`"),
    ),
}
