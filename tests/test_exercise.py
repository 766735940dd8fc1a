"""Whatever a student writes, one line says why and the notebook goes on."""

import math
import threading
import time

import numpy as np
import pytest

from medr1_lib.course import exercise
from medr1_lib.course.exercise import Case, Exercise

FABS = Exercise("math:fabs", (Case((2,), "plain"), Case((-2,), "distances have no sign")))


def stopped(x):
    raise RuntimeError("two\nlines")


def unsolved(x):
    raise NotImplementedError


def leaves(x):
    raise SystemExit


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (lambda x: ..., "not solved yet"),
        (unsolved, "not solved yet"),
        (stopped, "fabs(2) raises RuntimeError: two lines; here: plain. Going on"),
        (leaves, "raises SystemExit"),
        (lambda: 1, "raises TypeError"),
        (lambda x: None, "end in `return`. Going on"),
        (lambda x: x, "1 of 2 cases. fabs(-2) gives -2, not 2.0: distances have no sign"),
        (lambda x: x if x > 0 else "no", "a number is asked for; distances have no sign"),
        (lambda x: 2 * x, "right in 0 of 2 cases. fabs(2) gives 4, not 2.0: plain"),
        (..., "should be a function"),
        (math.fabs, "library's version already"),
    ],
)
def test_whatever_students_write_the_notebook_goes_on(theirs, words, capsys):
    assert FABS(theirs) is math.fabs
    assert words in capsys.readouterr().out


def test_an_endless_loop_is_given_up_and_ended(monkeypatch, capsys):
    monkeypatch.setattr(exercise, "SECONDS", 0.2)

    def endless(x):
        while True:
            x += 1

    before = threading.active_count()
    assert FABS(endless) is math.fabs
    assert "its loop may never end" in capsys.readouterr().out
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before, "the loop still takes a processor"


def test_a_function_that_waits_is_given_up(monkeypatch, capsys):
    monkeypatch.setattr(exercise, "SECONDS", 0.05)
    assert FABS(lambda x: time.sleep(5)) is math.fabs
    assert "has not returned" in capsys.readouterr().out


def test_a_function_cannot_change_the_arguments_of_the_next_case(capsys):
    numbers = [1, 2]
    added = Exercise("builtins:sum", (Case((numbers,), "plain"), Case((numbers,), "plain")))

    def greedy(values):
        return values.pop() + values.pop()

    assert added(greedy) is greedy
    assert numbers == [1, 2]


@pytest.mark.parametrize(
    ("got", "expected", "same"),
    [
        (1.0000001, 1.0, True),
        (1.001, 1.0, False),
        (1.96, 1.959964, True),
        (1e-9, 0.0, True),
        (1e-6, 0.0, False),
        (1, 1.0, True),
        (True, "A", False),
        (np.float32(0.1), 0.1, True),
        ((1, 2), [1, 2], True),
        ([1, 2, 3], [1, 2], False),
        (np.array([[1.0]]), [[1.0]], True),
        (np.array([1.0]), [[1.0]], False),
        ({"a": [1.0]}, {"a": [1]}, True),
        ({"b": 1}, {"a": 1}, False),
        (float("nan"), 0.5, False),
    ],
)
def test_results_are_compared_by_value(got, expected, same):
    assert exercise._same(got, expected) is same


def result(value):
    """A function that gives a value back, so that a test can choose what is expected."""
    return value


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        ([1.0, 2.0], [1.0], "its shape is (1,), not (2,)"),
        (np.ones((2, 3)), np.ones((3, 2)), "its shape is (3, 2), not (2, 3)"),
        ([[1.0], [2.0, 3.0]], [[1.0]], "its shape is (1, 1), not (2,)"),
        ([1.0], 1.0, "a list is asked for"),
        ({"n": 1}, [1], "a dictionary is asked for"),
        ({"n": 1, "p": 0.5}, {"p": 0.5, "k": 2}, "it lacks 'n'"),
        ({"p": 0.5}, {"p": 0.5, "rollouts": 2}, "it has 'rollouts', which is not asked for"),
        ((0.5, 1.0), 0.5, "2 results are asked for"),
        ((0.5, 1.0), {"low": 0.5, "high": 1.0}, "2 results are asked for"),
        (([("grade", "mild")], []), ([("grade", "mild")], [""]), "look again"),
        (True, 0.003, "True or False is asked for"),
        ({"n": 4, "p": 0.5}, {"n": 4, "p": 50}, "it is in percent"),
        ((0.0, 0.161), (0.0, 16.1), "it is in percent"),
        (16.1, 0.161, "it is a share, and percent are asked for"),
        ((0.0, 0.161), (0.1, 0.161), "look again"),
        ("C", "c", "look again"),
        (None, "", "look again"),
    ],
)
def test_form_and_unit_come_before_values(monkeypatch, capsys, expected, got, words):
    check = Exercise(f"{__name__}:result", (Case((expected,), "look again"),))
    check(lambda value: got)
    assert f": {words}" in capsys.readouterr().out


def test_numbers_are_shown_with_six_digits(capsys):
    check = Exercise(f"{__name__}:result", (Case(({"p": np.float64(1 / 3)},), "look again"),))
    check(lambda value: {"p": 2 / 3})
    assert "gives {'p': 0.666667}, not {'p': 0.333333}: look again." in capsys.readouterr().out


def test_a_long_case_is_shown_whole(capsys):
    numbers = list(range(-100, 100))
    total = Exercise("builtins:sum", (Case((numbers,), "all count"),))
    total(len)
    assert f"sum({numbers}) gives 200, not -100: all count." in capsys.readouterr().out
