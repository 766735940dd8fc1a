"""Intervals against scipy's, rates of several models, and two models on the same items."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from medr1_lib.analysis import stats
from medr1_lib.analysis.stats import questions_needed, wilson
from medr1_lib.errors import InputError


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 20), (8, 20), (250, 1000), (17, 18)])
def test_wilson_is_scipys(right, n):
    theirs = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right, n) == pytest.approx((theirs.low, theirs.high), abs=1e-7)


def test_wilson_holds_the_share_of_none_and_of_all():
    for n in range(1, 3001):
        assert wilson(0, n)[0] == 0
        assert wilson(n, n)[1] == 1


@pytest.mark.parametrize("half_width", [0.01, 0.03, 0.05, 0.1])
def test_questions_needed_are_just_enough(half_width):
    n = questions_needed(half_width)

    def half(n):
        return 1.959964 * (0.25 / n) ** 0.5

    assert half(n) <= half_width < half(n - 1)


# Several models


def asked(models, items, **columns):
    grid = pd.MultiIndex.from_product([range(models), range(items)], names=["model", "item"])
    return grid.to_frame(index=False).assign(**columns)


def test_answers_that_count_once_get_wilsons_interval():
    answers = asked(1, 50, correct=np.arange(50) < 30, asked=np.arange(50) < 40)
    assert stats.rate(answers, "correct") == (50, 0.6, *wilson(30, 50))
    assert stats.rate(answers, "correct", "asked") == (40, 0.75, *wilson(30, 40))


@pytest.mark.parametrize("models", [1, 3])
def test_the_same_answers_to_more_questions_about_an_image_tell_nothing_new(models):
    right = np.arange(60 * models) % 5 < 3
    once = asked(models, 60, right=right).assign(image_id=lambda of: "x" + of["item"].astype(str))
    more = pd.concat([once, *(once.assign(item=once["item"] + 60 * n) for n in (1, 2, 3))])
    assert stats.rate(more, "right")[2:] == pytest.approx(stats.rate(once, "right")[2:])
    assert stats.bootstrap(more, "right") == pytest.approx(stats.bootstrap(once, "right"))
    whole, part = (stats.mean_table(one, ["right"]) for one in (once, more))
    assert part.iloc[0, 1:].tolist() == pytest.approx(whole.iloc[0, 1:].tolist())


def test_a_table_has_one_row_per_group_and_measure():
    answers = asked(1, 8, group=list("aabbbbbb"), correct=[1, 0, 1, 1, 1, 0, 0, 0], asked=0)
    measures = {"accuracy": ("correct", None), "nothing": ("correct", "asked")}
    found = stats.rate_table(answers, ["group"], measures)
    assert list(found.columns) == ["group", "measure", "n", "value", "low", "high"]
    assert found[["group", "n", "value"]].head(1).to_numpy().tolist() == [["a", 2, 0.5]]
    assert found["n"].tolist() == [2, 0, 6, 0]
    assert found[found["measure"] == "nothing"][["value", "low", "high"]].isna().all(axis=None)


def test_claims_of_one_answer_do_not_count_as_independent():
    """Three claims that are all true or all false tell no more than one."""
    rng = np.random.default_rng(1)
    false = rng.random(400) < 0.3
    one = stats.bootstrap(asked(1, 400, false=false), "false")
    three = stats.bootstrap(asked(1, 400, false=3 * false, claims=3), "false", "claims")
    assert three == pytest.approx(one)
    low, high = wilson(int(false.sum()), 400)
    assert three == pytest.approx((low, high), abs=0.01)


def test_the_interval_holds_the_true_rate_although_models_and_items_differ():
    models, rng, held = 3, np.random.default_rng(2), 0
    for _ in range(200):
        skill = rng.normal(0, 0.05, models)[:, None] + rng.normal(0, 0.2, 150)
        right = rng.random((models, 150)) < 0.5 + skill
        low, high = stats.bootstrap(asked(models, 150, right=right.ravel()), "right")
        held += low <= 0.5 <= high
    assert 0.9 < held / 200 < 0.995


def test_two_models_are_spread_as_far_as_their_variance_is():
    answers = asked(2, 10, right=np.arange(20) < 10)
    assert stats.bootstrap(answers, "right") == pytest.approx((0.5 - 0.5**0.5, 0.5 + 0.5**0.5))


def test_an_interval_of_a_share_stays_a_share():
    answers = asked(3, 40, right=np.arange(120) > 2)
    low, high = stats.rate(answers, "right")[2:]
    assert 0 < low < high == 1


# One model, and two on the same items


def frame(*answers, **columns):
    """One row per item; `1` right, `0` wrong."""
    rows = {"item": range(len(answers)), "question": "?", "answer": "A"}
    rows["image_id"] = [f"x{item}" for item in rows["item"]]
    defaults = {"control": "none", "modality": "CT", "question_type": "Lesion Grading"}
    right = [bool(answer) for answer in answers]
    read = {"correct": right, "format_ok": True, "parsed": ["A" if one else None for one in right]}
    return pd.DataFrame(rows | read | defaults | columns)


def test_a_summary_has_every_share_with_its_interval():
    labels = {"modality": ["CT", "CT", "MRI"], "question_type": ["Lesion Grading"] * 3}
    real = frame(1, 0, 1, format_ok=[True, False, True], **labels)
    blind = [frame(0, 0, 1, control=name, **labels) for name in ("blank", "text")]
    found = stats.summary(pd.concat([real, *blind]))
    assert set(found) == {
        "n",
        "accuracy",
        "format_rate",
        "interval",
        "unread",
        "by_modality",
        "by_question_type",
        "controls",
    }
    assert (found["n"], found["accuracy"], found["format_rate"]) == (3, 2 / 3, 2 / 3)
    assert found["unread"] == 1 / 3
    assert found["interval"] == list(wilson(2, 3))
    assert {name: part["n"] for name, part in found["by_modality"].items()} == {"CT": 2, "MRI": 1}
    assert found["by_question_type"]["Lesion Grading"]["interval"] == list(wilson(2, 3))
    assert {name: part["accuracy"] for name, part in found["controls"].items()} == {
        "blank": 1 / 3,
        "text": 1 / 3,
    }
    json.dumps(found)


def test_a_table_shows_what_the_summary_says():
    lines = stats.summary_table(stats.summary(frame(*[1] * 8, *[0] * 12))).splitlines()
    assert lines[1].split() == ["all", "20", "40.0", "21.9", "to", "61.3", "100.0", "60.0"]
    assert [line.split()[0] for line in lines[1:]] == ["all", "CT", "Lesion"]


def test_mcnemar_against_figures_worked_out_by_hand():
    """One right, nine wrong among ten that differ: p = 2 (1 + 10) / 2**10."""
    first = frame(*[1] * 5, *[1], *[0] * 9, *[0] * 5)
    second = frame(*[1] * 5, *[0], *[1] * 9, *[0] * 5)
    found = stats.compare(first, second)
    assert (found.n, found.both, found.first, found.second) == (20, 5, 1, 9)
    assert found.p == pytest.approx(22 / 1024)
    assert found.difference == pytest.approx(0.4)
    centre, spread = 8 / 22, (11 - 64 / 22) ** 0.5 / 22
    assert found.interval == pytest.approx(
        (centre - 1.96 * spread, centre + 1.96 * spread), abs=1e-4
    )
    assert stats.compare(second, first).difference == pytest.approx(-0.4)


def test_images_of_one_patient_are_no_evidence_of_their_own():
    """Eight patients of ten images, of whom six gained all and two lost all: a test of 6 to 2."""
    first, second = frame(*[0] * 60, *[1] * 20), frame(*[1] * 60, *[0] * 20)
    alone = stats.compare(first, second)
    assert (alone.effective_n, alone.p) == (80, pytest.approx(8.58e-6, rel=1e-3))
    of_patients = second.assign(patient=[f"p{n // 10}" for n in range(80)])
    found = stats.compare(first, of_patients)
    assert (found.n, found.effective_n) == (80, pytest.approx(8))
    assert found.p == pytest.approx(2 * (1 + 8 + 28) / 2**8)
    assert found.interval == pytest.approx(stats.paired_interval(2, 6, 8))
    nobody_knows = second.assign(patient="", image_id=of_patients["patient"])
    known = first.assign(image_id=of_patients["patient"])
    assert stats.compare(known, nobody_knows) == found  # questions about one image


def test_a_false_difference_between_models_is_as_rare_as_promised():
    """Forty studies of twelve patients whose answers turn together, and no model the better one."""
    rng, alarms = np.random.default_rng(0), {"clusters": 0, "items": 0}
    for _ in range(40):
        turns = np.repeat(rng.choice([-1, 0, 1], size=12, p=[0.3, 0.4, 0.3]), 10)
        first, second = frame(*(turns < 0).astype(int)), frame(*(turns > 0).astype(int))
        second = second.assign(patient=[f"p{n // 10}" for n in range(120)])
        alarms["clusters"] += stats.compare(first, second).p < 0.05
        alarms["items"] += stats.compare(first, second.assign(patient="")).p < 0.05
    assert alarms["clusters"] <= 5
    assert alarms["items"] >= 20


def test_equal_answers_do_not_differ():
    found = stats.compare(frame(1, 0, 1), frame(1, 0, 1))
    assert (found.p, found.difference) == (1.0, 0.0)
    assert found.interval[0] < 0 < found.interval[1]


@pytest.mark.parametrize(
    "other", [frame(1, 0), frame(1, 0, 1, answer="B"), pd.concat([frame(1, 0, 1)] * 2)]
)
def test_only_the_same_items_are_compared(other):
    with pytest.raises(InputError, match="choose one style and control of each"):
        stats.compare(frame(1, 0, 1), other)


def test_holm_by_hand():
    assert stats.holm([0.01, 0.03, 0.02, 0.5]).tolist() == [0.04, 0.06, 0.06, 0.5]
    assert stats.holm([0.9, 0.8]).tolist() == [1, 1]
    assert stats.holm([]).tolist() == []


def test_questions_on_one_image_or_patient_are_not_independent():
    answers = [1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0]
    whole = stats.summary(frame(*answers))
    by_image = stats.summary(frame(*answers, image_id=[f"i{n // 2}" for n in range(12)]))
    by_patient = stats.summary(frame(*answers, patient=[f"p{n // 4}" for n in range(12)]))
    nobody = stats.summary(frame(*answers, patient=""))
    assert "effective_n" not in whole
    assert nobody["interval"] == whole["interval"] == list(wilson(6, 12))
    assert by_image["effective_n"] == 6
    assert by_image["interval"] == list(wilson(3, 6))
    assert by_patient["effective_n"] == pytest.approx(12 / (8 / 3))
    assert "clustered by patient or image, all count as 6" in stats.summary_table(by_image)
    assert stats.design_effect([1, 1, 1, 1], "aabb") == 2
    assert stats.design_effect([1, 0, 1, 0], "abcd") == 1
    assert stats.design_effect([1, 0, 1, 0], "aabb") == 1  # never more than there are


def test_the_design_effect_keeps_the_interval_s_promise():
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        skill = np.repeat(rng.beta(2, 2, 60), 5)  # 60 patients with 5 slices each
        right = (rng.random(300) < skill).astype(int)
        worth = 300 / stats.design_effect(right, [f"p{n // 5}" for n in range(300)])
        low, high = wilson(right.mean() * worth, worth)
        held += low <= 0.5 <= high
    assert held / 200 > 0.9
