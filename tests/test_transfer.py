import time

import numpy as np
import pandas as pd
import pytest
import records

from medr1_lib.analysis import transfer
from medr1_lib.analysis.stats import compare, wilson
from medr1_lib.analysis.transfer import transfer_answers
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.question import MODALITIES, QUESTION_TYPES, Question
from medr1_lib.errors import InputError
from tools import report

WHICH = ("grpo", "think_before", "modality")


def trials(few, many):
    """Simulated studies: a few always, and many in the slow tests."""
    return pytest.mark.parametrize("trials", [few, pytest.param(many, marks=pytest.mark.slow)])


def found(frame, *which):
    return transfer.transfer_answers(frame, *(which or WHICH))


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
    table = transfer.matrix(found(frame))
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
    parts = transfer.summary(found(frame)).set_index("part")
    assert parts.loc["at home", "gain"] == 0.75
    assert parts.loc["elsewhere", "gain"] == 0


def test_rows_and_columns_keep_the_order_of_the_taxonomy():
    shuffled = records.study(per_test=20).sample(frac=1, random_state=0)
    table = transfer.matrix(found(shuffled))
    assert list(dict.fromkeys(table["train"])) == list(records.THREE)
    assert list(dict.fromkeys(table["test"])) == list(records.THREE)


def test_question_types_and_models_of_all():
    by_type = records.study(axis="question_type", names=QUESTION_TYPES, per_test=100)
    table = transfer.matrix(found(by_type, "grpo", "think_before", "question_type"))
    assert len(table) == 25
    assert table["n"].unique().tolist() == [60]
    assert cell(table, QUESTION_TYPES[3], QUESTION_TYPES[3])["accuracy"] > 0.65
    of_all = records.study(axis="all", names=["all"])
    both = pd.concat([by_type[by_type["method"] != "base"], of_all])
    table = transfer.matrix(found(both, "grpo", "think_before", "all"))
    assert table["train"].tolist() == ["all"] * 3
    assert table["test"].tolist() == list(records.THREE)
    assert transfer.on_diagonal(table).all()
    base = transfer.matrix(found(both, "base", "think_before", "question_type"))
    assert base["gain"].tolist() == [0] * 5


def test_trials_of_something_else_are_left_out():
    frame = records.study(per_test=50)
    more = pd.concat([frame, frame.assign(correct=False, control="blank")])
    pd.testing.assert_frame_equal(transfer.matrix(found(more)), transfer.matrix(found(frame)))


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
    table = transfer.matrix(found(frame[frame["method"] != "base"]))
    assert table["gain"].isna().all()
    assert table["gain_low"].isna().all()
    assert table["accuracy"].notna().all()


@trials(16, 40)
def test_intervals_hold_the_truth(trials):
    """Where seeds differ by 5 points; a bootstrap that forgets them, or their few, fails this."""
    held, width = [], []
    for seed in range(trials):
        table = transfer.matrix(records.simulated(noise=0.05, seed=seed))
        truth = np.where(transfer.on_diagonal(table), 0.8, 0.5)
        held.append((table["low"] <= truth) & (truth <= table["high"]))
        width.append(table["high"] - table["low"])
    assert 0.85 <= np.mean(held) <= 0.97
    assert np.mean(width) > 0.1  # of items alone: 0.07


def repeated(frame, times=4):
    """The same answers to so many questions about each image."""
    more = [frame.assign(item=frame["item"] + 1000 * n) for n in range(times)]
    return pd.concat(more, ignore_index=True)


@pytest.mark.parametrize("seeds", [1, 3])
def test_questions_about_one_image_do_not_narrow_an_interval(seeds):
    frame = records.study(per_test=60, seeds=seeds)
    once, more = found(frame), found(repeated(frame))
    ends = ["accuracy", "low", "high", "gain_low", "gain_high"]
    wanted, got = transfer.matrix(once)[ends], transfer.matrix(more)[ends]
    np.testing.assert_allclose(got.to_numpy(), wanted.to_numpy())
    assert transfer.generalization_index(more) == pytest.approx(transfer.generalization_index(once))
    other = records.study(per_test=60, seeds=seeds, seed=1)
    pairs = {"once": (once, found(other)), "more": (more, found(repeated(other)))}
    by = {
        name: transfer.compare_pooled(dict(zip("ab", two, strict=True)))
        for name, two in pairs.items()
    }
    width = {name: (table["high"] - table["low"]).tolist() for name, table in by.items()}
    assert width["more"] == pytest.approx(width["once"], rel=0.02)
    train = [taught(m, "mass") for m in records.THREE]
    blind = [transfer.blind_baselines(one, *WHICH, train) for one in (frame, repeated(frame))]
    np.testing.assert_allclose(blind[1][["low", "high"]], blind[0][["low", "high"]])
    if seeds > 1:
        plain, wide = (transfer.prediction_intervals(one)["high"] for one in (once, more))
        np.testing.assert_allclose(wide, plain, rtol=0.02)


def test_an_image_asked_about_in_two_columns_is_drawn_once():
    """Its answers agree, so that the mean over both columns is no surer than that of one."""
    frame = records.study(per_test=100, names=["all"], axis="all", seeds=1)
    one = frame[frame["modality"] == "CT"]
    other = one.assign(modality="MRI", item=one["item"] + 1000)
    apart = other.assign(image_id="other-" + other["image_id"])
    single, same, apart = (
        transfer.summary(found(pd.concat(of), "grpo", "think_before", "all")).iloc[0]
        for of in ([one], [one, other], [one, apart])
    )
    width = single["high"] - single["low"]
    assert same["high"] - same["low"] == pytest.approx(width)
    assert apart["high"] - apart["low"] < 0.8 * width


def test_a_full_map_takes_seconds():
    asked = records.study(names=MODALITIES)
    start = time.perf_counter()
    table = transfer.matrix(found(asked))
    assert len(table) == 64
    assert time.perf_counter() - start < 5


@trials(8, 20)
def test_the_index(trials):
    assert transfer.generalization_index(found(records.study(0.8, 0.6, 0.4)))[
        "index"
    ] == pytest.approx(0.5, abs=0.1)
    harmful = transfer.generalization_index(found(records.study(0.8, 0.3, 0.4)))
    assert harmful["index"] == pytest.approx(-0.25, abs=0.1)
    assert harmful["low"] < harmful["index"] < harmful["high"] < 0
    held = []
    for seed in range(trials):
        share = transfer.generalization_index(
            records.simulated(0.8, 0.6, 0.4, noise=0.02, seed=seed)
        )
        held.append(share["low"] <= 0.5 <= share["high"])
    assert np.mean(held) >= 0.8


def test_there_is_no_index_where_nothing_was_learned_at_home():
    nothing = [
        transfer.generalization_index(records.simulated(0.4, 0.4, 0.4, seed=seed))
        for seed in range(5)
    ]
    assert np.mean([np.isnan([*one.values()]).all() for one in nothing]) >= 0.9
    only_home = records.study(0.8, names=["all"], axis="all")
    assert np.isnan(
        transfer.generalization_index(found(only_home, "grpo", "think_before", "all"))["index"]
    )


@pytest.mark.parametrize(("shares", "expected"), [((1.0, 0.88, 0.88), None), ((1, 1, 1), 1.0)])
def test_an_interval_stays_between_0_and_1_and_has_a_width(shares, expected):
    asked, rng = records.items(100, ("CT",)), np.random.default_rng(0)
    labels = {"method": "grpo", "style": "think_before", "axis": "modality", "train": "CT"}
    right = [np.arange(100) < 100 * share for share in shares]
    seeds = [
        records.answered(asked, one.astype(float), rng, seed=seed, **labels)
        for seed, one in enumerate(right)
    ]
    table = transfer.matrix(found(pd.concat([records.base(asked, np.zeros(100), rng), *seeds])))
    low, high = table.loc[0, ["low", "high"]]
    assert 0 <= low < high <= 1
    assert expected is None or high == expected


# ---- comparisons ----------------------------------------------------------------------------


def made(**how):
    frame = records.study(**how)
    return transfer_answers(
        frame, how.get("method", "grpo"), "think_before", how.get("axis", "modality")
    )


def test_one_seed_is_mcnemar():
    one, other = made(seeds=1, per_test=100, seed=1), made(seeds=1, per_test=100, seed=2)
    table = report.compare_cells(one, other)
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
    worse, better = made(home=0.6, noise=0.01), made(home=0.8, noise=0.01, seed=1)
    table = report.compare_cells(worse, better)
    home = table["train"] == table["test"]
    assert (table.loc[home, "p_holm"] < 0.05).all()
    assert (table.loc[home, "low"] > 0).all()
    assert table.loc[home, "difference"].mean() == pytest.approx(0.2, abs=0.04)
    assert (table["p_holm"] >= table["p"]).all()


@trials(12, 60)
def test_false_alarms_are_as_rare_as_they_should_be(trials):
    """Seeds differ by 6 points and methods do not; a test of items alone cries wolf here."""
    p, items_only = [], []
    for seed in range(trials):
        first = records.simulated(noise=0.06, seed=2 * seed)
        second = records.simulated(noise=0.06, seed=2 * seed + 1)
        table = report.compare_cells(first, second)
        p.append(table["p"].iloc[0])
        one = first.right["CT"].iloc[:200].mean(axis=1) - second.right["CT"].iloc[:200].mean(axis=1)
        items_only.append(abs(one.mean()) > 1.96 * one.std() / 200**0.5)
    assert np.mean(np.array(p) < 0.05) <= 0.1
    assert np.mean(items_only) > 0.2


def test_one_seed_elsewhere_is_no_yes_or_no():
    """An item that three models were asked is right in thirds, which McNemar does not know."""
    one, other = made(seeds=1, seed=1), made(elsewhere=0.7, seeds=1, seed=2)
    table = transfer.compare_pooled({"a": one, "b": other}).set_index("part")
    home = contrast_of_parts(one, other)
    assert table.loc["at home", "p"] == home.p
    assert table.loc["elsewhere", "difference"] == pytest.approx(0.2, abs=0.04)
    assert table.loc["elsewhere", "p"] < 1e-6


def contrast_of_parts(one, other):
    def frame(side):
        right = [side.right.loc[item, train].iloc[0] == 1 for item, train in side.test.items()]
        items = side.test.index
        plain = {"item": items, "image_id": items.astype(str), "question": "", "answer": ""}
        return pd.DataFrame(plain | {"correct": right})

    return compare(frame(one), frame(other))


@trials(12, 60)
def test_an_ablation_cries_wolf_as_rarely_as_it_should(trials):
    alarms = []
    for seed in range(trials):
        sides = [records.simulated(noise=0.06, seed=2 * seed + side) for side in (0, 1)]
        alarms += list(transfer.compare_pooled(dict(zip("ab", sides, strict=True)))["p"] < 0.05)
    assert np.mean(alarms) <= 0.1


def test_without_any_variance_nothing_divides_by_zero():
    frame = records.study(1.0, 1.0, per_test=20)
    right = transfer_answers(frame, *WHICH)
    wrong = transfer_answers(frame.assign(correct=False), *WHICH)
    same, other = report.compare_cells(right, right), report.compare_cells(wrong, right)
    assert same["p"].tolist() == [1] * 9
    assert other["p"].tolist() == [0] * 9
    assert other["difference"].tolist() == [1] * 9


def test_other_items_are_not_compared():
    with pytest.raises(InputError, match="items differ"):
        report.compare_cells(made(per_test=20), made(per_test=30))


def test_an_ablation_pools_home_and_elsewhere():
    variants = {
        "plain": made(home=0.6, elsewhere=0.5),
        "better at home": made(home=0.8, elsewhere=0.5, seed=1),
    }
    table = transfer.compare_pooled(variants).set_index("part")
    assert table["label"].unique().tolist() == ["better at home"]
    assert table["n"].tolist() == [1200, 1200]
    assert table.loc["at home", "accuracy"] == pytest.approx(0.8, abs=0.03)
    assert table.loc["at home", "difference"] == pytest.approx(0.2, abs=0.04)
    assert table.loc["at home", "p_holm"] < 0.05
    assert table.loc["elsewhere", "difference"] == pytest.approx(0, abs=0.04)
    assert table.loc["elsewhere", "low"] < 0 < table.loc["elsewhere", "high"]


def test_an_ablation_of_models_of_all_has_no_elsewhere():
    one = made(axis="all", names=["all"])
    assert transfer.compare_pooled({"a": one, "b": one})["part"].tolist() == ["at home"]


@pytest.mark.parametrize(
    ("noise", "widest", "trials"),
    [
        (0.0, 0.3, 12),
        (0.05, 0.52, 12),
        pytest.param(0.0, 0.3, 60, marks=pytest.mark.slow),
        pytest.param(0.05, 0.5, 60, marks=pytest.mark.slow),
    ],
)
def test_a_rerun_lies_where_it_is_predicted(noise, widest, trials):
    """New seeds and new items, 99 in 100; the interval is not so wide that it says nothing."""
    inside, width = [], []
    for seed in range(trials):
        table = transfer.prediction_intervals(records.simulated(noise=noise, seed=2 * seed))
        rerun = records.simulated(noise=noise, seeds=1, seed=2 * seed + 1)
        now = np.array([part.to_numpy().mean() for _, _, part in rerun.cells()])
        inside.append((table["low"] <= now) & (now <= table["high"]))
        width.append(table["high"] - table["low"])
    assert np.mean(inside) >= 0.98
    assert np.mean(width) < widest


def test_one_seed_predicts_nothing():
    with pytest.raises(InputError, match="two seeds"):
        transfer.prediction_intervals(made(seeds=1, per_test=10))


def test_a_perfect_cell_may_fall_short_next_time():
    table = transfer.prediction_intervals(made(home=1.0, elsewhere=1.0, per_test=50))
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
    table = transfer.blind_baselines(frame, *WHICH, train).set_index(["train", "test"])["accuracy"]
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
    table = transfer.blind_baselines(frame, *WHICH, train)
    assert len(table) == 9
    assert table["accuracy"].between(0.18, 0.32).all()
    assert (table["low"] <= 0.25).all()


def test_blank_and_shuffled_images_are_those_of_the_diagonal():
    blank = records.study(0.3, 0.9, per_test=200, control="blank")
    frame = pd.concat([records.study(per_test=200), blank])
    table = transfer.blind_baselines(frame, *WHICH, list(map(taught, records.THREE, ["mass"] * 3)))
    shown = table[table["train"] == "blank image"]
    assert shown["test"].tolist() == list(records.THREE)
    assert shown["accuracy"].between(0.2, 0.4).all()
    assert shown["seeds"].tolist() == [3] * 3
    assert "shuffled image" not in set(table["train"])
    of_base = ("base", *WHICH[1:])
    table = transfer.blind_baselines(frame, *of_base, [taught(m, "mass") for m in records.THREE])
    shown = table[table["train"] == "blank image"]
    assert shown["test"].tolist() == list(records.THREE)
    assert shown["accuracy"].between(0.3, 0.5).all(), "that of the base, 0.4"
