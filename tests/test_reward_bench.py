"""The bench: every row gets from each rule set what the table says, and a wrong row is found."""

import json
from collections import Counter
from dataclasses import replace

import pytest

from medr1_lib.course.chapters import chapter_03
from medr1_lib.data.styles import STYLES, listed, prompt
from medr1_lib.errors import InputError
from medr1_lib.rl.rewards import RULES

ROWS = chapter_03.load_bench()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.style}: {row.completion!r}"[:60])
def test_the_rules_give_what_the_table_says(row):
    assert row.mistakes() == []


def test_the_table_is_large_and_covers_every_style():
    assert len(ROWS) >= 60
    assert len({(row.style, row.completion) for row in ROWS}) == len(ROWS), "a row stands twice"
    assert min(Counter(row.style for row in ROWS)[name] for name in STYLES) >= 15
    assert all(row.why and row.kind for row in ROWS)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("rules", RULES)
def test_every_style_has_rows_that_earn_all_and_nothing_of_each_rule_set(style, rules):
    earned = {sum(getattr(row, rules)) for row in ROWS if row.style == style}
    assert {0.0, 2.0} <= earned


def test_strict_rules_pay_the_answer_only_with_the_form():
    assert all(row.strict[0] >= row.strict[1] for row in ROWS)


def test_what_strict_rules_pay_in_full_is_right_in_evaluation_too():
    assert all(row.correct() for row in ROWS if sum(row.strict) == 2)


def test_published_rules_pay_in_full_for_what_evaluation_counts_wrong():
    """The reason for the strict rules; without such rows the bench would prove nothing."""
    hacks = [row for row in ROWS if sum(row.published) == 2 and not row.correct()]
    assert {row.style for row in hacks} == set(STYLES)


def test_the_question_of_the_bench_is_one():
    assert len(chapter_03.OPTIONS) == 4
    shown = prompt(chapter_03.QUESTION, chapter_03.OPTIONS, "no_think")
    assert listed(chapter_03.OPTIONS) in shown
    assert chapter_03.OPTIONS["ABCD".index(chapter_03.ANSWER)] == "CT"


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("place", [0, 1])
def test_a_wrong_verdict_is_found(rules, place):
    right = getattr(ROWS[0], rules)
    wrong = tuple(1 - point if at == place else point for at, point in enumerate(right))
    (line,) = replace(ROWS[0], **{rules: wrong}).mistakes()
    assert f"{rules} rules give {right}, the bench says {wrong}" in line
    assert ROWS[0].style in line


@pytest.fixture
def table(tmp_path):
    """A function that writes one row, spoiled, and gives the path."""
    good = {"kind": "new", "style": "no_think", "completion": "<answer>C</answer>"}
    good |= {"strict": [1, 1], "published": [1, 1], "why": "it is the form"}

    def written(**changes):
        row = {key: value for key, value in (good | changes).items() if value is not ...}
        path = tmp_path / "bench.json"
        path.write_text(json.dumps([good, row]))
        return path

    return written


def test_a_row_that_a_student_adds_is_run(table):
    first, second = chapter_03.load_bench(table(strict=[1, 0]))
    assert first.mistakes() == []
    assert "strict rules give (1.0, 1.0), the bench says (1.0, 0.0)" in second.mistakes()[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"why": ...}, r"row 2: has kind.* give it kind, style"),
        ({"because": "so"}, r"row 2: has kind.*because"),
    ],
)
def test_a_bad_row_is_named(table, changes, words):
    with pytest.raises(InputError, match=words):
        chapter_03.load_bench(table(**changes))


def test_a_missing_comma_is_named_with_its_line(tmp_path):
    path = tmp_path / "bench.json"
    path.write_text('[\n{"kind": "a"}\n{"kind": "b"}\n]\n')
    with pytest.raises(InputError, match=r"bench\.json.*line 3"):
        chapter_03.load_bench(path)
