import time

import numpy as np
import pandas as pd
import pytest
import records

from medr1_lib.analysis import transfer as maps
from medr1_lib.analysis.intervals import wilson
from medr1_lib.data.question import MODALITIES, QUESTION_TYPES
from medr1_lib.errors import InputError

WHICH = ("grpo", "think_before", "modality")


def found(frame, *which):
    return maps.answers(frame, *(which or WHICH))


def cell(table, train, test):
    return table[(table["train"] == train) & (table["test"] == test)].iloc[0]


def test_a_map_by_hand():
    asked = records.items(2, ("CT", "MRI"))
    rng = np.random.default_rng(0)
    labels = {"method": "grpo", "style": "think_before", "axis": "modality"}
    frame = pd.concat(
        [
            records.base(asked, np.array([1, 0, 0, 0]), rng),
            records.answered(asked, np.array([1, 1, 1, 0]), rng, train="CT", seed=0, **labels),
            records.answered(asked, np.array([0, 0, 1, 1]), rng, train="MRI", seed=0, **labels),
        ]
    )
    table = maps.matrix(found(frame))
    assert table[["train", "test"]].to_numpy().tolist() == [
        ["CT", "CT"],
        ["CT", "MRI"],
        ["MRI", "CT"],
        ["MRI", "MRI"],
    ]
    assert table["accuracy"].tolist() == [1, 0.5, 0, 1]
    assert table["gain"].tolist() == [0.5, 0.5, -0.5, 1]
    assert table["n"].tolist() == [2] * 4
    assert tuple(table.loc[1, ["low", "high"]]) == wilson(1, 2)  # one seed: Wilson
    parts = maps.summary(found(frame)).set_index("part")
    assert parts.loc["at home", "gain"] == 0.75
    assert parts.loc["elsewhere", "gain"] == 0


def test_rows_and_columns_keep_the_order_of_the_taxonomy():
    shuffled = records.study(per_test=20).sample(frac=1, random_state=0)
    table = maps.matrix(found(shuffled))
    assert list(dict.fromkeys(table["train"])) == list(records.THREE)
    assert list(dict.fromkeys(table["test"])) == list(records.THREE)


def test_question_types_and_models_of_all():
    by_type = records.study(axis="question_type", names=QUESTION_TYPES, per_test=100)
    table = maps.matrix(found(by_type, "grpo", "think_before", "question_type"))
    assert len(table) == 25
    assert table["n"].unique().tolist() == [60]
    assert cell(table, QUESTION_TYPES[3], QUESTION_TYPES[3])["accuracy"] > 0.65
    of_all = records.study(axis="all", names=["all"])
    both = pd.concat([by_type[by_type["method"] != "base"], of_all])
    table = maps.matrix(found(both, "grpo", "think_before", "all"))
    assert table["train"].tolist() == ["all"] * 3
    assert table["test"].tolist() == list(records.THREE)
    assert maps.at_home(table).all()
    base = maps.matrix(found(both, "base", "think_before", "question_type"))
    assert base["gain"].tolist() == [0] * 5


@pytest.mark.parametrize("column", ["shortcut", "mark", "control"])
def test_trials_of_something_else_are_left_out(column):
    frame = records.study(per_test=50)
    other = {"shortcut": 0.8, "mark": "absent", "control": "blank"}[column]
    more = pd.concat([frame, frame.assign(correct=False, **{column: other})])
    pd.testing.assert_frame_equal(maps.matrix(found(more)), maps.matrix(found(frame)))


def test_what_makes_no_map():
    frame = records.study(per_test=10)
    with pytest.raises(InputError, match="no records"):
        found(frame, "sft", "think_before", "modality")
    with pytest.raises(InputError, match="different items"):
        found(frame.drop(frame[frame["train"] == "CT"].index[:1]))
    with pytest.raises(InputError, match="twice"):
        found(pd.concat([frame, frame[frame["train"] == "CT"]]))
    with pytest.raises(InputError, match="two bases"):
        found(pd.concat([frame, frame[frame["method"] == "base"].assign(model="larger")]))


def test_without_a_base_there_is_no_gain_but_a_map():
    frame = records.study(per_test=50)
    table = maps.matrix(found(frame[frame["method"] != "base"]))
    assert table["gain"].isna().all()
    assert table["gain_low"].isna().all()
    assert table["accuracy"].notna().all()


def test_intervals_hold_the_truth():
    """Where seeds differ by 5 points; a bootstrap that forgets them, or their few, fails this."""
    held, width = [], []
    for seed in range(40):
        table = maps.matrix(records.simulated(noise=0.05, seed=seed))
        truth = np.where(maps.at_home(table), 0.8, 0.5)
        held.append((table["low"] <= truth) & (truth <= table["high"]))
        width.append(table["high"] - table["low"])
    assert 0.85 <= np.mean(held) <= 0.97
    assert np.mean(width) > 0.1  # of items alone: 0.07


def test_a_full_map_takes_seconds():
    asked = records.study(names=MODALITIES)
    start = time.perf_counter()
    table = maps.matrix(found(asked))
    assert len(table) == 64
    assert time.perf_counter() - start < 5


def test_the_index():
    assert maps.index(found(records.study(0.8, 0.6, 0.4)))["index"] == pytest.approx(0.5, abs=0.1)
    harmful = maps.index(found(records.study(0.8, 0.3, 0.4)))
    assert harmful["index"] == pytest.approx(-0.25, abs=0.1)
    assert harmful["low"] < harmful["index"] < harmful["high"] < 0
    held = []
    for seed in range(20):
        share = maps.index(records.simulated(0.8, 0.6, 0.4, noise=0.02, seed=seed))
        held.append(share["low"] <= 0.5 <= share["high"])
    assert np.mean(held) >= 0.8


def test_there_is_no_index_where_nothing_was_learned_at_home():
    nothing = [maps.index(records.simulated(0.4, 0.4, 0.4, seed=seed)) for seed in range(10)]
    assert np.mean([np.isnan([*one.values()]).all() for one in nothing]) >= 0.9
    only_home = records.study(0.8, names=["all"], axis="all")
    assert np.isnan(maps.index(found(only_home, "grpo", "think_before", "all"))["index"])


def test_spread_tells_structure_from_chance():
    structured = maps.spread(found(records.study(0.8, 0.5, noise=0.02, per_test=300)))
    assert structured["cells"] > 5 * structured["seeds"]
    flat = maps.spread(found(records.study(0.6, 0.6, noise=0.08, per_test=300)))
    assert flat["cells"] < flat["seeds"]
    assert flat["seeds"] == pytest.approx(0.08**2, rel=0.8)
    with pytest.raises(InputError, match="one seed"):
        maps.spread(found(records.study(seeds=1, per_test=10)))


def test_spread_between_cells_does_not_take_noise_for_structure():
    flat = [
        maps.spread(records.simulated(0.6, 0.6, 0.6, noise=0.05, per_test=60, seed=seed))
        for seed in range(50)
    ]
    added = np.mean([one["seeds"] / 3 + one["items"] for one in flat])
    assert -added < np.mean([one["cells"] for one in flat]) < 0.1 * added
    steep = [
        maps.spread(records.simulated(0.8, 0.5, noise=0.05, seed=s))["cells"] for s in range(50)
    ]
    assert np.mean(steep) == pytest.approx(np.var([0.8, 0.5, 0.5] * 3, ddof=1), rel=0.15)


@pytest.mark.parametrize(("shares", "expected"), [((1.0, 0.88, 0.88), None), ((1, 1, 1), 1.0)])
def test_an_interval_stays_between_0_and_1_and_has_a_width(shares, expected):
    asked, rng = records.items(100, ("CT",)), np.random.default_rng(0)
    labels = {"method": "grpo", "style": "think_before", "axis": "modality", "train": "CT"}
    right = [np.arange(100) < 100 * share for share in shares]
    seeds = [
        records.answered(asked, one.astype(float), rng, seed=seed, **labels)
        for seed, one in enumerate(right)
    ]
    table = maps.matrix(found(pd.concat([records.base(asked, np.zeros(100), rng), *seeds])))
    low, high = table.loc[0, ["low", "high"]]
    assert 0 <= low < high <= 1
    assert expected is None or high == expected
