"""Every control of the reward tester is moved, and the points follow it."""

import re

import ipywidgets
import pytest

from medr1_lib.course.chapters.chapter_03 import load_bench
from medr1_lib.course.reward_widget import RewardTester, verdict
from medr1_lib.data.styles import STYLES
from medr1_lib.rl.rewards import RULES, points

ROWS = load_bench()


@pytest.fixture
def tester():
    return RewardTester(ROWS)


def shown(tester):
    """Form and answer points by rule set, as a reader sees them."""
    cells = re.findall(
        r"<tr><td[^>]*>(\w+)</td><td[^>]*>(\d)</td><td[^>]*>(\d)</td>", tester.view.value
    )
    return {rules: (float(form), float(answer)) for rules, form, answer in cells}


def expected(row):
    return {rules: getattr(row, rules) for rules in RULES}


def test_the_controls_are_those_that_are_tested_here(tester):
    controls = [child for child in tester.children if not isinstance(child, ipywidgets.HTML)]
    assert controls == [tester.row, tester.style, tester.said]
    assert all(control.description for control in controls), "a control without a name"


def test_it_opens_with_the_first_row(tester):
    assert (tester.style.value, tester.said.value) == (ROWS[0].style, ROWS[0].completion)
    assert shown(tester) == expected(ROWS[0])


def test_a_row_of_the_bench_is_taken_over(tester):
    for row in ROWS:
        tester.row.value = row
        assert (tester.style.value, tester.said.value) == (row.style, row.completion)
        assert shown(tester) == expected(row)


@pytest.mark.parametrize("name", STYLES)
def test_the_style_decides_what_the_form_is(tester, name):
    tester.said.value = "<answer>C</answer>"
    tester.style.value = name
    assert shown(tester)["strict"] == points("<answer>C</answer>", "C", name)
    assert shown(tester)["strict"] == ((1.0, 1.0) if name == "no_think" else (0.0, 0.0))


def test_what_is_typed_is_scored(tester):
    tester.style.value = "no_think"
    tester.said.value = "<answer>C</answer><answer>A</answer>"
    assert shown(tester) == {"strict": (0.0, 0.0), "published": (1.0, 1.0)}
    assert "evaluation reads A" in tester.view.value
    tester.said.value = ""
    assert shown(tester) == {"strict": (0.0, 0.0), "published": (0.0, 0.0)}
    assert "evaluation reads nothing" in tester.view.value


def test_what_is_typed_stays_text():
    assert "<script>" not in verdict("<script>alert(1)</script>", "no_think")
