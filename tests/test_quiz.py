"""Every quiz explains every choice, and its right answers cannot be guessed by their place.

`notebooks/_src/README.md` says how a quiz is written.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from notebooks.tools import sources

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/_src").glob("[0-9]*.py"))
LETTERS = "ABC"
CHOICE = re.compile(
    r"<details><summary>([A-Z])\. (.+?)</summary>\n\n(Right|Wrong)\. (.+?)\n\n</details>", re.S
)


@dataclass(frozen=True)
class Item:
    """One question of a quiz: its text, and a letter, text, verdict and reason for each choice."""

    question: str
    choices: tuple[tuple[str, str, str, str], ...]

    @property
    def key(self) -> str:
        """The letters that are right; exactly one in a sound item."""
        return "".join(letter for letter, _, verdict, _ in self.choices if verdict == "Right")


def quiz(text: str) -> list[Item]:
    """The questions of a markdown cell that begins with `## Quiz`."""
    parts = re.split(r"^### Question (\d+)\n", text, flags=re.M)[1:]
    assert parts[::2] == ["1", "2", "3"], f"numbered {parts[::2]}, not 1 to 3"
    return [
        Item(body.partition("<details>")[0].strip(), tuple(CHOICE.findall(body)))
        for body in parts[1::2]
    ]


def faults(items: list[Item]) -> list[str]:
    """What is wrong with the quiz of one chapter."""
    found = []
    for number, item in enumerate(items, start=1):
        letters = "".join(letter for letter, *_ in item.choices)
        found += [f"{number}: no question mark"] * (not item.question.endswith("?"))
        found += [f"{number}: choices {letters}"] * (letters != LETTERS)
        found += [f"{number}: right are {item.key or 'none'}"] * (len(item.key) != 1)
        for letter, text, _, reason in item.choices:
            # A summary is HTML, in which markdown and formulas are not read.
            found += [f"{number}{letter}: marks in a choice"] * bool(re.search(r"[`*$_]", text))
            found += [f"{number}{letter}: no reason"] * (len(reason.split()) < 6)
    found += ["one key for all"] * (len({item.key for item in items}) == 1)
    return found


def of(source: Path) -> list[Item]:
    """The quiz of a chapter, empty if it is still to be written."""
    cells = [c.source for c in sources.read(source).cells if c.source.startswith("## Quiz")]
    assert len(cells) <= 1, f"{source.stem} has {len(cells)} quizzes"
    return quiz(cells[0]) if cells else []


QUIZZES = {source.stem: of(source) for source in SOURCES}


@pytest.mark.parametrize("stem", QUIZZES)
def test_a_quiz_is_sound(stem):
    assert faults(QUIZZES[stem]) == []


def balance(items: list[Item]) -> list[str]:
    """How the keys of a course could be guessed without reading the questions."""
    keys = Counter(item.key for item in items)
    longest = sum(max(item.choices, key=lambda c: len(c[1]))[0] == item.key for item in items)
    spread = max(keys[letter] for letter in LETTERS) - min(keys[letter] for letter in LETTERS)
    return [f"keys {dict(sorted(keys.items()))}"] * (spread > 4) + [
        f"{longest} of {len(items)} keys are the longest choice"
    ] * (longest > len(items) / 2 + 1)


def test_right_answers_cannot_be_guessed_by_place_or_length():
    assert balance([item for items in QUIZZES.values() for item in items]) == []


GOOD = """## Quiz
### Question 1
Is this one sound?

<details><summary>A. Yes, it is</summary>

Right. Each of its choices has a reason.

</details>
<details><summary>B. No, it is not at all</summary>

Wrong. Nothing about it is out of order.

</details>
<details><summary>C. Perhaps</summary>

Wrong. The page on quizzes decides it clearly.

</details>
"""
TWO = GOOD + GOOD.partition("\n")[2].replace("Question 1", "Question 2")
THREE = TWO + GOOD.partition("\n")[2].replace("Question 1", "Question 3").replace(
    "Right", "wrong"
).replace("Wrong. Nothing", "Right. Nothing").replace("wrong", "Wrong")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", []),
        ("Is this one sound?", "Is this one sound", ["1: no question mark"]),
        ("C. Perhaps", "D. Perhaps", ["1: choices ABD"]),
        ("Wrong. The page", "Right. The page", ["1: right are AC"]),
        ("Right. Each", "Wrong. Each", ["1: right are none"]),
        ("C. Perhaps", "C. `perhaps`", ["1C: marks in a choice"]),
        ("Each of its choices has a reason.", "It is.", ["1A: no reason"]),
        ("Wrong. The page", "No, the page", ["1: choices AB"]),
    ],
)
def test_a_fault_is_found(old, new, fault):
    assert faults(quiz(THREE.replace(old, new, 1))) == fault


def test_one_key_for_all_three_is_found():
    third = TWO + GOOD.partition("\n")[2].replace("Question 1", "Question 3")
    assert faults(quiz(third)) == ["one key for all"]


def test_two_questions_are_too_few():
    with pytest.raises(AssertionError, match="numbered"):
        quiz(TWO)


def test_keys_at_one_place_or_of_one_length_are_found():
    items = quiz(THREE)
    assert balance(items) == []
    same = [items[0]] * 6
    assert balance(same) == ["keys {'A': 6}"]
    assert balance([items[2]] * 4 + same[:4]) == []
    assert "longest choice" in balance([items[2]] * 4)[0]
