"""Intervals that hold what they promise, for one model and for several."""

import numpy as np
import pandas as pd
import pytest

from medr1_lib.analysis import rates
from medr1_lib.analysis.intervals import wilson


def asked(models, items, **columns):
    grid = pd.MultiIndex.from_product([range(models), range(items)], names=["model", "item"])
    return grid.to_frame(index=False).assign(**columns)


def test_answers_that_count_once_get_wilsons_interval():
    answers = asked(1, 50, correct=np.arange(50) < 30, asked=np.arange(50) < 40)
    assert rates.rate(answers, "correct") == (50, 0.6, *wilson(30, 50))
    assert rates.rate(answers, "correct", "asked") == (40, 0.75, *wilson(30, 40))


def test_a_table_has_one_row_per_group_and_measure():
    answers = asked(1, 8, group=list("aabbbbbb"), correct=[1, 0, 1, 1, 1, 0, 0, 0], asked=0)
    measures = {"accuracy": ("correct", None), "nothing": ("correct", "asked")}
    found = rates.table(answers, ["group"], measures)
    assert list(found.columns) == ["group", "measure", "n", "value", "low", "high"]
    assert found[["group", "n", "value"]].head(1).to_numpy().tolist() == [["a", 2, 0.5]]
    assert found["n"].tolist() == [2, 0, 6, 0]
    assert found[found["measure"] == "nothing"][["value", "low", "high"]].isna().all(axis=None)


def test_claims_of_one_answer_do_not_count_as_independent():
    """Three claims that are all true or all false tell no more than one."""
    rng = np.random.default_rng(1)
    false = rng.random(400) < 0.3
    one = rates.bootstrap(asked(1, 400, false=false), "false")
    three = rates.bootstrap(asked(1, 400, false=3 * false, claims=3), "false", "claims")
    assert three == pytest.approx(one)
    low, high = wilson(int(false.sum()), 400)
    assert three == pytest.approx((low, high), abs=0.01)


def test_the_interval_holds_the_true_rate_although_models_and_items_differ():
    models, rng, held = 3, np.random.default_rng(2), 0
    for _ in range(200):
        skill = rng.normal(0, 0.05, models)[:, None] + rng.normal(0, 0.2, 150)
        right = rng.random((models, 150)) < 0.5 + skill
        low, high = rates.bootstrap(asked(models, 150, right=right.ravel()), "right")
        held += low <= 0.5 <= high
    assert 0.9 < held / 200 < 0.995


def test_two_models_are_spread_as_far_as_their_variance_is():
    answers = asked(2, 10, right=np.arange(20) < 10)
    assert rates.bootstrap(answers, "right") == pytest.approx((0.5 - 0.5**0.5, 0.5 + 0.5**0.5))


def test_an_interval_of_a_share_stays_a_share():
    answers = asked(3, 40, right=np.arange(120) > 2)
    low, high = rates.rate(answers, "right")[2:]
    assert 0 < low < high == 1
