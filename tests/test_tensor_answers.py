"""Exercises whose library answer is a tensor; apart, since the others are tested without torch."""

import numpy as np
import pytest
import torch

from medr1_lib.course.exercise import Case, Exercise


def result(value):
    """A function that gives a value back, so that a test can choose what is expected."""
    return value


def told(expected, got, capsys):
    check = Exercise(f"{__name__}:result", (Case((expected,), "look again"),))
    check(lambda value: got)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (torch.ones(2), [1.0, 1.0], "a tensor is asked for"),
        (torch.ones(2), np.ones(2), "a tensor is asked for"),
        (torch.ones(2), torch.tensor(1.0), "its shape is (), not (2,)"),
        (torch.ones(2, requires_grad=True), torch.ones(2), "right, but cut off from its gradient"),
        (torch.ones(2, requires_grad=True), torch.zeros(2), "look again"),
    ],
)
def test_the_next_cell_gets_a_tensor_with_its_gradient(capsys, expected, got, words):
    assert f": {words}" in told(expected, got, capsys)


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (torch.ones(2), torch.ones(2, dtype=torch.float64, requires_grad=True)),
        ([1.0, 2.0], torch.tensor([1.0, 2.0])),
        ({"loss": [1.0]}, {"loss": [torch.tensor(1.0)]}),
    ],
)
def test_an_unusual_right_result_is_right(capsys, expected, got):
    assert "right in 1 of 1 cases. Going on with yours." in told(expected, got, capsys)


def checked(answer, capsys):
    """What a check says to an answer, where the value itself is right."""
    leaf = torch.tensor([1.0, 2.0], requires_grad=True)
    Exercise(f"{__name__}:result", (Case((leaf,), "look again"),))(answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        lambda value: value.double(),
        lambda value: value.exp().log(),
        lambda value: torch.stack([*value]),
        lambda value: torch.where(value > 1.5, value, value.clamp(max=1.5)),
    ],
)
def test_a_right_gradient_found_in_another_way_is_right(capsys, answer):
    assert "right in 1 of 1 cases. Going on with yours." in checked(answer, capsys)


@pytest.mark.parametrize(
    "answer",
    [
        lambda value: value.detach() + 0 * value,
        lambda value: 2 * value - value.detach(),
        lambda value: torch.nn.Parameter(value.data),
    ],
)
def test_a_right_value_with_a_wrong_gradient_is_refused(capsys, answer):
    assert "the right value and a wrong gradient: look again" in checked(answer, capsys)


def test_a_gradient_that_only_a_later_case_asks_for_is_told_alone(capsys):
    leaf = torch.ones(2, requires_grad=True)
    cases = Case((torch.ones(2),), "the plain case"), Case((leaf,), "the subtle case")
    Exercise(f"{__name__}:result", cases)(lambda value: value.detach())
    said = capsys.readouterr().out
    assert "leave out `detach`, `no_grad` and numpy. Going on" in said
