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
        (torch.ones(2, requires_grad=True), torch.nn.Parameter(torch.ones(2))),
        ([1.0, 2.0], torch.tensor([1.0, 2.0])),
        ({"loss": [1.0]}, {"loss": [torch.tensor(1.0)]}),
    ],
)
def test_an_unusual_right_result_is_right(capsys, expected, got):
    assert "right in 1 of 1 cases. Going on with yours." in told(expected, got, capsys)
