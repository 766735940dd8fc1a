"""Every check of the course lets the library's answer pass and tells wrong answers apart."""

import math
import pkgutil
from collections import Counter

import numpy as np
import pytest

from medr1_lib.course import checks
from medr1_lib.course.exercise import Exercise
from medr1_lib.data import audit
from medr1_lib.data.intervals import wilson
from medr1_lib.data.schema import LETTERS

EXERCISES = {name: value for name, value in vars(checks).items() if isinstance(value, Exercise)}


def ratios_with(ratio, form=audit.normalise, texts=lambda right, offered: offered):
    """An `option_ratios` with something else in the place of one of its parts."""

    def ratios(train):
        right = Counter(form(q.answer_text) for q in train)
        offered = Counter(form(option) for q in train for option in q.options)
        return {text: ratio(right[text], offered[text]) for text in texts(right, offered)}

    return ratios


def by_letter(train):
    right = Counter(q.answer for q in train)
    return {
        audit.normalise(option): (right[letter] + 0.25) / (len(train) + 1)
        for q in train
        for letter, option in zip(LETTERS, q.options, strict=False)
    }


def plain_interval(right, n):
    """The textbook interval that Wilson's replaces."""
    share, z = right / n, 1.959964
    half = z * math.sqrt(share * (1 - share) / n)
    return share - half, share + half


# Exercise: wrong answers that students give, each with words of the one line that they then read.
WRONG = {
    "wilson": {
        "room above zero": plain_interval,
        "centred on one half": lambda right, n: wilson(right, n) if not right else wilson(1, n),
        "n squared": lambda right, n: (0.0, wilson(right, n)[1] + (right > 0) / n),
        "leans towards it": lambda right, n: (
            wilson(right, n) if right in (0, n / 2) else plain_interval(right, n)
        ),
        "every way through it": lambda right, n: None,
    },
    "questions_needed": {
        "solve z": lambda half_width: math.ceil(1.959964 / half_width / 4),
        "p = 1/2": lambda half_width: math.ceil((1.959964 / half_width) ** 2),
        "round up": lambda half_width: int((1.959964 / half_width) ** 2 / 4),
        "a whole one more": lambda half_width: 385 if half_width == 0.05 else 96,
        "raises TypeError": lambda: 385,
    },
    "window": {
        "rises straight": lambda values, low, high: (values > (low + high) / 2).astype(float),
        "counts from `low`": lambda values, low, high: np.clip(values / (high - low), 0, 1),
        "not negative": lambda values, low, high: np.minimum((values - low) / (high - low), 1),
        "not more": lambda values, low, high: np.maximum((values - low) / (high - low), 0),
    },
    "leak_share": {
        "nothing leaks": lambda train, test: 1 - len(set(train) & set(test)) / len(test),
        "one of test questions": lambda train, test: len(set(train) & set(test)) / len(train),
        "counts once": lambda train, test: sum(image in test for image in train) / len(test),
        "both leak": lambda train, test: len(set(train) & set(test)) / len(test),
    },
    "normalise": {
        "capitals and small letters": lambda text: text.strip().removesuffix("."),
        "a final period": lambda text: text.strip().lower(),
        "white space around": lambda text: text.lower().removesuffix("."),
        "only a final period": lambda text: text.strip().lower().replace(".", ""),
        "stays as it is": lambda text: text.strip().upper().removesuffix("."),
    },
    "option_ratios": {
        "right once of once": ratios_with(lambda right, offered: right / offered),
        "whatever the letter": by_letter,
        "never right has a ratio": ratios_with(
            lambda right, offered: (right + 0.25) / (offered + 1),
            texts=lambda right, offered: right if len(offered) > 2 else offered,
        ),
        "the form that `normalise` gives": ratios_with(
            lambda right, offered: (right + 0.25) / (offered + 1), form=str
        ),
        "every way through it": lambda train: None,
    },
}


def line_of(capsys) -> str:
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, "a check prints one line"
    return lines[0]


def test_every_exercise_has_three_wrong_answers():
    assert EXERCISES.keys() == WRONG.keys()
    for name, wrong in WRONG.items():
        assert len(wrong) >= 3, name


@pytest.mark.parametrize("name", EXERCISES)
def test_the_library_passes_its_own_check(name, capsys):
    exercise = EXERCISES[name]
    ours = pkgutil.resolve_name(exercise.library)
    assert ours.__name__ == name, "an exercise is called as the function is"

    def copied(*arguments):
        return ours(*arguments)

    assert exercise(copied) is copied
    assert line_of(capsys).endswith("Going on with yours.")


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name in WRONG for words in WRONG[name]]
)
def test_a_wrong_answer_is_told_why(name, words, capsys):
    exercise = EXERCISES[name]
    returned = exercise(WRONG[name][words])
    assert returned is pkgutil.resolve_name(exercise.library)
    line = line_of(capsys)
    assert words in line
    assert line.endswith("Going on with the library's version.")


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_answer_has_its_own_line(name, capsys):
    for answer in WRONG[name].values():
        EXERCISES[name](answer)
    lines = capsys.readouterr().out.splitlines()
    assert len(set(lines)) == len(WRONG[name])
