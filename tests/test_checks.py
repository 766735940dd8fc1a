"""Every check of the course lets the library's answer pass and tells wrong answers apart."""

import importlib
import math
import pkgutil

import numpy as np
import pytest
import wrong_answers

from medr1_lib.course import checks

EXERCISES = {name: getattr(checks, name) for names in checks.CHAPTERS.values() for name in names}
# Exercise: wrong answers that students give, each with words of the one line that they then read.
WRONG = {
    name: answers
    for chapter in pkgutil.iter_modules(wrong_answers.__path__)
    for name, answers in importlib.import_module(f"wrong_answers.{chapter.name}").WRONG.items()
}


def line_of(capsys) -> str:
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, "a check prints one line"
    return lines[0]


def test_every_case_of_a_chapter_belongs_to_an_exercise():
    for chapter, names in checks.CHAPTERS.items():
        cases = importlib.import_module(f"medr1_lib.course.chapters.{chapter}").CASES
        assert tuple(cases) == names


def test_what_is_no_exercise_is_told():
    with pytest.raises(AttributeError, match="no exercise is called 'wilsen'"):
        _ = checks.wilsen


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


def test_a_rounded_z_is_right(capsys):
    """The formula is printed with 1.96 in most books, and an answer with it is right."""

    def wilson(right, n, z=1.96):
        share, shrink = right / n, 1 + z**2 / n
        half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        return [(share + z**2 / (2 * n) - half) / shrink, (share + z**2 / (2 * n) + half) / shrink]

    def paired_interval(lost, won, n, z=1.96):
        b, c, total = lost + 0.5, won + 0.5, n + 2
        half = z / total * math.sqrt(b + c - (c - b) ** 2 / total)
        return np.clip([(c - b) / total - half, (c - b) / total + half], -1, 1)

    assert EXERCISES["wilson"](wilson) is wilson
    assert EXERCISES["paired_interval"](paired_interval) is paired_interval
    capsys.readouterr()


@pytest.mark.parametrize("name", WRONG)
def test_each_wrong_answer_has_its_own_line(name, capsys):
    for answer in WRONG[name].values():
        EXERCISES[name](answer)
    lines = capsys.readouterr().out.splitlines()
    assert len(set(lines)) == len(WRONG[name])
    assert not any(inside in line for line in lines for inside in ("Parameter Group", " at 0x"))
