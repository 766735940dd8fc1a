import numpy as np
import pandas as pd
import pytest
import records

from medr1_lib.analysis import comparisons
from medr1_lib.analysis.scores import compare
from medr1_lib.analysis.transfer import answers
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.question import Question
from medr1_lib.errors import InputError

ALL = ("grpo", "think_before", "modality")


def found(**how):
    frame = records.study(**how)
    return answers(frame, how.get("method", "grpo"), "think_before", how.get("axis", "modality"))


def test_one_seed_is_mcnemar():
    one, other = found(seeds=1, per_test=100, seed=1), found(seeds=1, per_test=100, seed=2)
    table = comparisons.differences(one, other)
    assert len(table) == 9
    frames = []
    for seed in (1, 2):
        frame = records.study(seeds=1, per_test=100, seed=seed)
        frames.append(frame[(frame["train"] == "CT") & (frame["modality"] == "CT")])
    by_hand = compare(*frames)
    first = table.iloc[0]
    assert (first["difference"], first["p"]) == (by_hand.difference, by_hand.p)
    assert (first["low"], first["high"]) == by_hand.interval


def test_several_seeds_find_a_difference_and_its_sign():
    worse, better = found(home=0.6, noise=0.01), found(home=0.8, noise=0.01, seed=1)
    table = comparisons.differences(worse, better)
    home = table["train"] == table["test"]
    assert (table.loc[home, "p_holm"] < 0.05).all()
    assert (table.loc[home, "low"] > 0).all()
    assert table.loc[home, "difference"].mean() == pytest.approx(0.2, abs=0.04)
    assert (table["p_holm"] >= table["p"]).all()


def test_false_alarms_are_as_rare_as_they_should_be():
    """Seeds differ by 6 points and methods do not; a test of items alone cries wolf here."""
    p, items_only = [], []
    for seed in range(60):
        first = records.simulated(noise=0.06, seed=2 * seed)
        second = records.simulated(noise=0.06, seed=2 * seed + 1)
        table = comparisons.differences(first, second)
        p.append(table["p"].iloc[0])
        one = first.right["CT"].iloc[:200].mean(axis=1) - second.right["CT"].iloc[:200].mean(axis=1)
        items_only.append(abs(one.mean()) > 1.96 * one.std() / 200**0.5)
    assert np.mean(np.array(p) < 0.05) <= 0.1
    assert np.mean(items_only) > 0.2


def test_one_seed_elsewhere_is_no_yes_or_no():
    """An item that three models were asked is right in thirds, which McNemar does not know."""
    one, other = found(seeds=1, seed=1), found(elsewhere=0.7, seeds=1, seed=2)
    table = comparisons.ablation({"a": one, "b": other}).set_index("part")
    home = contrast_of_parts(one, other)
    assert table.loc["at home", "p"] == home.p
    assert table.loc["elsewhere", "difference"] == pytest.approx(0.2, abs=0.04)
    assert table.loc["elsewhere", "p"] < 1e-6


def contrast_of_parts(one, other):
    def frame(side):
        right = [side.right.loc[item, train].iloc[0] == 1 for item, train in side.test.items()]
        plain = {"item": side.test.index, "image_id": "", "question": "", "answer": ""}
        return pd.DataFrame(plain | {"correct": right})

    return compare(frame(one), frame(other))


def test_an_ablation_cries_wolf_as_rarely_as_it_should():
    alarms = []
    for seed in range(60):
        sides = [records.simulated(noise=0.06, seed=2 * seed + side) for side in (0, 1)]
        alarms += list(comparisons.ablation(dict(zip("ab", sides, strict=True)))["p"] < 0.05)
    assert np.mean(alarms) <= 0.1


def test_without_any_variance_nothing_divides_by_zero():
    frame = records.study(1.0, 1.0, per_test=20)
    right = answers(frame, *ALL)
    wrong = answers(frame.assign(correct=False), *ALL)
    same, other = comparisons.differences(right, right), comparisons.differences(wrong, right)
    assert same["p"].tolist() == [1] * 9
    assert other["p"].tolist() == [0] * 9
    assert other["difference"].tolist() == [1] * 9


def test_other_items_are_not_compared():
    with pytest.raises(InputError, match="items differ"):
        comparisons.differences(found(per_test=20), found(per_test=30))


def test_holm_by_hand():
    assert comparisons.holm([0.01, 0.03, 0.02, 0.5]).tolist() == [0.04, 0.06, 0.06, 0.5]
    assert comparisons.holm([0.9, 0.8]).tolist() == [1, 1]
    assert comparisons.holm([]).tolist() == []


def test_an_ablation_pools_home_and_elsewhere():
    variants = {
        "plain": found(home=0.6, elsewhere=0.5),
        "better at home": found(home=0.8, elsewhere=0.5, seed=1),
    }
    table = comparisons.ablation(variants).set_index("part")
    assert table["label"].unique().tolist() == ["better at home"]
    assert table["n"].tolist() == [1200, 1200]
    assert table.loc["at home", "accuracy"] == pytest.approx(0.8, abs=0.03)
    assert table.loc["at home", "difference"] == pytest.approx(0.2, abs=0.04)
    assert table.loc["at home", "p_holm"] < 0.05
    assert table.loc["elsewhere", "difference"] == pytest.approx(0, abs=0.04)
    assert table.loc["elsewhere", "low"] < 0 < table.loc["elsewhere", "high"]


def test_an_ablation_of_models_of_all_has_no_elsewhere():
    one = found(axis="all", names=["all"])
    assert comparisons.ablation({"a": one, "b": one})["part"].tolist() == ["at home"]


@pytest.mark.parametrize(("noise", "widest"), [(0.0, 0.3), (0.05, 0.5)])
def test_a_rerun_lies_where_it_is_predicted(noise, widest):
    """New seeds and new items, 99 in 100; the interval is not so wide that it says nothing."""
    inside, width = [], []
    for seed in range(60):
        table = comparisons.prediction(records.simulated(noise=noise, seed=2 * seed))
        rerun = records.simulated(noise=noise, seeds=1, seed=2 * seed + 1)
        now = np.array([part.to_numpy().mean() for _, _, part in rerun.cells()])
        inside.append((table["low"] <= now) & (now <= table["high"]))
        width.append(table["high"] - table["low"])
    assert np.mean(inside) >= 0.98
    assert np.mean(width) < widest


def test_one_seed_predicts_nothing():
    with pytest.raises(InputError, match="two seeds"):
        comparisons.prediction(found(seeds=1, per_test=10))


def test_a_perfect_cell_may_fall_short_next_time():
    table = comparisons.prediction(found(home=1.0, elsewhere=1.0, per_test=50))
    assert (table["low"] < 1).all()


# ---- controls -------------------------------------------------------------------------------


def taught(modality, right):
    options = ("none", "mass", "cyst", "ring")
    letter = "ABCD"[options.index(right)]
    return Question("Which?", options, letter, modality, "Disease Diagnosis", "x", "toy")


def test_rules_are_fitted_on_what_the_model_of_the_diagonal_learned():
    """The balanced test holds every option right one time in four, whatever is fitted."""
    frame = records.study(per_test=40)
    frame["answer"] = frame["modality"].map({"CT": "B", "MRI": "C", "X-Ray": "A"})
    train = [taught("CT", "mass"), taught("MRI", "cyst"), taught("X-Ray", "mass")]
    table = comparisons.controls(frame, *ALL, train).set_index(["train", "test"])["accuracy"]
    assert table["chance"].tolist() == [0.25] * 3
    assert table["option prior"].to_dict() == {"CT": 1, "MRI": 1, "X-Ray": 0}
    assert table["letter majority"].to_dict() == {"CT": 1, "MRI": 1, "X-Ray": 0}


def test_on_phantoms_no_rule_beats_chance():
    asked = [q for q in questions("test", per_cell=32) if q.modality in records.THREE]
    frame = records.study(per_test=160)
    for name in ("question", "answer", "question_type", "image_id", "modality", "options"):
        values = [getattr(q, name) for q in asked]
        frame[name] = values * (len(frame) // len(values))
    train = list(questions("train", per_cell=64))
    table = comparisons.controls(frame, *ALL, train)
    assert len(table) == 9
    assert table["accuracy"].between(0.18, 0.32).all()
    assert (table["low"] <= 0.25).all()


def test_blank_and_shuffled_images_are_those_of_the_diagonal():
    blank = records.study(0.3, 0.9, per_test=200, control="blank")
    frame = pd.concat([records.study(per_test=200), blank])
    table = comparisons.controls(frame, *ALL, list(map(taught, records.THREE, ["mass"] * 3)))
    shown = table[table["train"] == "blank image"]
    assert shown["test"].tolist() == list(records.THREE)
    assert shown["accuracy"].between(0.2, 0.4).all()
    assert shown["seeds"].tolist() == [3] * 3
    assert "shuffled image" not in set(table["train"])
