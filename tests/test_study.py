"""The study of the second edition: what was registered, and that every command of it runs."""

import json
import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import policies
import pytest
import trainings

from benchmarks.study import (
    described,
    join,
    leak,
    learning,
    maps,
    outcomes,
    positions,
    registered,
    rewards,
)
from benchmarks.study.counterfactual import CounterfactualReward
from benchmarks.study.positions import ARMS, FORMS, TERM, TRAININGS
from benchmarks.study.runs import score, so_far
from benchmarks.study.truth import claims_reward, judged_claims
from medr1_lib.analysis import recorded
from medr1_lib.analysis.gains import PARTS
from medr1_lib.data.phantom_vqa import STEMS, questions
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.question import AXES
from medr1_lib.data.styles import ALL_STYLES, read_strict
from medr1_lib.errors import InputError
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import one_writer

ROOT = Path(__file__).parents[1]
BASE, SMALL = trainings.BASE, trainings.SHORT


pytestmark = pytest.mark.usefixtures("same_threads")


# What was registered


def test_the_cells_to_train_again_are_those_that_the_seed_draws():
    cells = registered.registered()["cells"]
    every = [
        [style, axis, train, test]
        for style in cells["styles"]
        for axis in cells["axes"]
        for train in AXES[axis]
        for test in AXES[axis]
    ]
    places = np.random.default_rng(cells["seed"]).choice(len(every), 3, replace=False)
    assert cells["drawn"] == [every[place] for place in sorted(places)]


@pytest.mark.parametrize("section", registered.registered()["sections"])
def test_no_record_is_older_than_its_predictions(section):
    found = registered.registered()
    told = found["sections"][section]
    for path in (ROOT / "data/recorded" / told["record"]).rglob("*.json"):
        record = json.loads(path.read_text())
        dates = [record["date"]] if "date" in record else []
        dates += [model["date"] for model in record.get("models", [])]
        assert dates
        assert min(dates) >= str(found["registered"])
        assert record.get("registered", registered.fingerprint(section)) == (
            registered.fingerprint(section)
        )


def test_each_prediction_can_fail_and_says_how():
    for section in registered.registered()["sections"].values():
        names = [one["id"] for one in section["predictions"]]
        assert len(names) == len({*names})
        for one in section["predictions"]:
            low, high = one["expected"]
            assert low < high
            assert one["refuted_by"]


def two_maps():
    """Gains of two models: 0.3 at home and 0.1 elsewhere; in the other style 0.01 less."""
    rows = pd.DataFrame(
        [
            (train, train, item, style, "modality", shown, (0.3 if train == shown else 0.1) - less)
            for train in ("CT", "OCT")
            for item, shown in enumerate(["CT", "OCT", "OCT", "MRI"])
            for style, less in (("no_think", 0.0), ("think_before", 0.01))
        ],
        columns=["model", "train", "item", "style", "axis", "modality", "value"],
    )
    return rows.assign(image_id=rows["item"].astype(str), question_type="Disease Diagnosis")


def test_each_prediction_of_the_maps_is_measured_by_its_words():
    found = {
        one["id"]: maps.measured(one, two_maps())["value"].mean()
        for one in registered.registered()["sections"]["maps"]["predictions"]
    }
    by_type = {name for name in found if name.startswith("question type")}
    assert all(math.isnan(found[name]) for name in by_type), "none was trained"
    told = {name: value for name, value in found.items() if name not in by_type}
    assert told == pytest.approx(
        {
            "modality, no_think, diagonal": 0.3,
            "modality, no_think, off the diagonal": 0.1,
            "modality, no_think, diagonal less off the diagonal": 0.2,
            "modality, off the diagonal, no_think less think_before": 0.01,
        }
    )


def two_bases():
    """Each style of a base gains by so much, and its thoughts become truer by so much."""
    start, rows = {"undescribed": 0.4, "described": 0.5}, []
    gains = {"before": {"undescribed": 0.1, "described": 0.3}, "none": 0.2, "after": 0.05}
    for name, base in described.BASES.items():
        for arm, style in described.STYLES.items():
            gain = gains[arm] if isinstance(gains[arm], float) else gains[arm][name]
            for seed in (described.UNTRAINED, 0, 1):
                trained = seed != described.UNTRAINED
                true = (
                    None if arm == "none" else 0.5 + trained * (0.25 if arm == "before" else -0.25)
                )
                told = {"corrected": start[name] + trained * gain, "true": true, "model": seed}
                place = {"base": base, "style": style, "seed": seed}
                rows += [place | told | {"item": n, "image_id": f"i{n}"} for n in range(4)]
    return pd.DataFrame(rows).astype({"true": float})


def test_each_prediction_of_the_two_bases_is_measured_by_its_words():
    found = {
        one["id"]: round(described.measured(one, two_bases())["value"].mean(), 6)
        for one in registered.registered()["sections"]["described"]["predictions"]
    }
    true = "share of true claims in {}, undescribed, after training less before it"
    assert found == {
        "before minus none, described less undescribed": 0.2,
        "before minus none, described": 0.1,
        "before minus none, undescribed": -0.1,
        "after minus none, undescribed": -0.15,
        true.format("before"): 0.25,
        true.format("after"): -0.25,
    }


def of_section(section):
    return registered.registered()["sections"][section]["predictions"]


def test_each_prediction_of_the_leak_is_measured_by_its_words():
    """Reliance falls by what leaks, accuracy by half of it, and by SFT twice as much."""
    rows = [
        {"arm": arm, "leak": share, "model": seed, "item": item, "image_id": f"i{item}"}
        | {"IS": by * (0.2 - share / 100), "corrected": by * (0.1 - share / 200)}
        for arm, by in {"GRPO no_think": 1, "GRPO think_before": 5, "SFT on letters": 2}.items()
        for share in leak.LEAKS
        for seed in (0, 1)
        for item in range(3)
    ]
    found = {
        one["id"]: leak.measured(one, pd.DataFrame(rows))["value"].mean()
        for one in of_section("leak")
    }
    assert found == pytest.approx(
        {
            "change of IS, GRPO no_think, no leak": 0.2,
            "change of IS, GRPO no_think, leak of 95 %": -0.75,
            "change of IS, GRPO no_think, 95 % less none": -0.95,
            "change of IS, SFT on letters, 95 % less none": -1.9,
            "gain in accuracy, GRPO no_think, leak of 95 %": -0.375,
            "gain in accuracy, GRPO no_think, 50 % less none": -0.25,
        }
    )


def test_each_prediction_of_the_rewards_is_measured_by_its_words():
    assert list(rewards.TERMS) == [one["id"] for one in of_section("rewards")]
    arms = {
        "grpo": {"true": 0.5, "claims": 4, "corrected": 0.6, "IS": 0.7},
        "claims": {"true": 0.75, "claims": 3, "corrected": 0.55, "IS": 0.6},
        "claims-n": {"true": 0.875, "claims": 2, "corrected": 0.5, "IS": 0.5},
        "counter": {"true": 0.25, "claims": 5, "corrected": 0.65, "IS": 0.9},
    }
    rows = pd.DataFrame(
        [
            told | {"arm": arm, "model": seed, "item": item, "image_id": f"i{item}"}
            for arm, told in arms.items()
            for seed in (0, 1)
            for item in range(3)
        ]
    )
    found = [rewards.measured(one, rows)["value"].mean() for one in of_section("rewards")]
    assert found == pytest.approx([0.25, 0.125, -0.05, -1, 0.2, 0.05])


def test_a_thought_is_as_true_as_its_claims():
    scene = Scene("CT", "head", "mass", "mild", "upper left", "bone window", "scanner 1", 7)
    told = {
        "finding: mass": (1.0, 1.0),
        "CT, finding: mild": (0.5, 0.0),
        "something": (math.nan, 0),
    }
    asked = {"base": "b", "style": "think_before", "seed": 0, "control": "none", "image_id": "i"}
    asked |= {"question": STEMS["medical"]["finding"][0], "answer": "A", "correct": True}
    asked |= {"format_ok": True, "letter_probs": [0.7, 0.1, 0.1, 0.1]}
    for words, (share, named) in told.items():
        answer = asked | {"completion": f"<think>{words}</think><answer>A</answer>", "item": 0}
        found = described.judged(pd.DataFrame([answer]), {"i": scene}).iloc[0]
        assert found["true"] == pytest.approx(share, nan_ok=True)
        assert found["asked"] == named


def test_the_predictions_beside_the_recorded_maps_are_those_of_the_record():
    found = maps.predicted(ROOT / "data/recorded/maps").replace({np.nan: None})
    assert found.to_dict("records") == outcomes_of("maps")


def outcomes_of(block):
    return json.loads((ROOT / "data/recorded" / block / registered.OUTCOMES).read_text())[
        "outcomes"
    ]


def test_the_predictions_beside_the_recorded_leak_are_those_of_the_record():
    changes = leak.changed(ROOT / "data/recorded/leak")
    found = registered.outcomes("leak", lambda one: leak.measured(one, changes))
    assert found.to_dict("records") == outcomes_of("leak")


@pytest.mark.slow
def test_the_predictions_beside_the_recorded_rewards_are_those_of_the_record():
    answers = pd.read_parquet(ROOT / "data/recorded/rewards/answers.parquet")
    told = rewards.judged(answers, {one.image_id: one.scene for one in questions("test")})
    found = registered.outcomes("rewards", lambda one: rewards.measured(one, told))
    assert found.to_dict("records") == outcomes_of("rewards")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-4.0, 4.0, "held"),
        (-5.0, 1.0, "open"),
        (3.0, 9.0, "open"),
        (4.1, 9.0, "refuted"),
        (-9.0, -4.1, "refuted"),
        (math.nan, math.nan, "not run"),
    ],
)
def test_verdict(low, high, said):
    assert registered.verdict([-4, 4], low, high) == said


# Positions


@pytest.mark.parametrize(("form", "said"), [(0.49, "void"), (0.5, "open")])
def test_a_prediction_is_void_if_an_arm_of_it_did_not_learn_its_form(form, said):
    """In every prediction with that arm, and in no other; its seeds count alike."""
    shares = {"after": [form - 0.3, form + 0.3], "none": [0.9, 0.1], "dummy": [1.0]}
    runs = [
        {"training": "lesson", "arm": arm, "form": one}
        for arm, found in shares.items()
        for one in found
    ]
    runs += [{"training": "course", "arm": "none", "form": 0.0}]
    picture = {"model": 0, "item": range(40), "image_id": range(40)}
    right = np.arange(40) % 2
    read = {
        ("course", arm, 0, arm): pd.DataFrame(picture | {"corrected": column, "thinks": 0.0})
        for arm, column in (("after", right), ("none", 1 - right), ("dummy", right[::-1]))
    }
    found = positions.came_out(read, runs).set_index("prediction")["outcome"]
    assert found["after minus none"] == found["after minus dummy"] == said
    assert found["dummy minus none"] == "held"
    assert found["reason minus after"] == "not run"


def test_the_predictions_name_arms_forms_and_trainings():
    for one in registered.registered()["sections"]["positions"]["predictions"]:
        for term in one["terms"]:
            arm, form, training = TERM.fullmatch(term).groups()
            assert arm in ARMS
            assert (form or arm) in FORMS
            assert (training or "course") in TRAININGS


def test_what_is_measured_pairs_seeds_and_items():
    def rows(**values):
        picture = {"model": [0, 0, 1], "item": [3, 4, 3], "image_id": ["a", "b", "a"]}
        return pd.DataFrame(picture | {"corrected": list(values["corrected"])})

    tables = {
        ("course", "after", "after"): rows(corrected=[1.0, 0.0, 1.0]),
        ("course", "none", "none"): rows(corrected=[0.0, 1.0, 1.0]).head(2),
    }
    one = {"terms": {"after": 1, "none": -1}}
    assert positions.measured(one, tables)["value"].tolist() == [1.0, -1.0]
    assert positions.measured({"terms": {"after, beta 0": 1}}, tables).empty


def test_a_lesson_teaches_the_form_and_to_adaptive_both():
    asked = [json.dumps({**trainings_scene(), "seed": seed}) for seed in range(20)]
    for style in ARMS.values():
        said = [positions.taught(style, "B", "Disease Diagnosis", scene) for scene in asked]
        assert {read_strict(one, style) for one in said} == {"B"}
        thinking = sum("<think>" in one for one in said)
        assert 0 < thinking < 20 or not ALL_STYLES[style].optional


def trainings_scene():
    return json.loads(trainings.rows(1)[0]["scene"])


def test_positions(tmp_path):
    asked = ["--data", trainings.data(), "--lesson", trainings.data(), "--base", BASE]
    asked += ["--out", tmp_path / "runs", "--record", tmp_path, "--seeds", "0", "--questions", "2"]
    asked += ["--arms", "adaptive", "dummy", "--trainings", "course", "beta 0"]
    asked += ["--steps", "1", "--lesson-steps", "1", "--changes", json.dumps(SMALL)]
    for _ in range(2):  # the second time everything is there already
        assert positions.main([*map(str, asked)]) == 0
    whole = pd.read_parquet(tmp_path / "answers.parquet")
    asked += ["--arms", "dummy", "--trainings", "course"]  # the rest stays in the record
    assert positions.main([*map(str, asked)]) == 0
    answers = pd.read_parquet(tmp_path / "answers.parquet")
    order = ["training", "arm", "asked", "control", "item"]
    assert answers.sort_values(order)[order].to_numpy().tolist() == (
        whole.sort_values(order)[order].to_numpy().tolist()
    )
    models = answers.groupby(["training", "arm", "asked"]).size().to_dict()
    own = {("lesson", arm, arm): 6 for arm in ("adaptive", "dummy")}
    own |= {("course", arm, arm): 6 for arm in ("adaptive", "dummy")}
    own |= {("beta 0", "dummy", "dummy"): 6}
    crossed = {
        ("course", arm, form): 2 for arm in ("adaptive", "dummy") for form in FORMS if form != arm
    }
    assert models == own | crossed
    told = json.loads((tmp_path / "positions.json").read_text(), parse_constant=pytest.fail)
    assert told["registered"] == registered.fingerprint("positions")
    assert len(told["runs"]) == len(models)
    outcomes = {one["prediction"]: one for one in told["outcomes"]}
    assert outcomes["dummy minus none"]["outcome"] == "not run"
    assert outcomes["replies of adaptive that think"]["value"] is not None
    empty = answers[answers["asked"].eq("empty")]["completion"]
    assert empty.str.startswith("<think></think>").all()


# Records that grow


def test_a_record_of_other_settings_is_not_added_to(tmp_path):
    told = {"date": "2026-11-29", "steps": 5, "runs": [{"arm": "a", "seed": 0}]}
    path = tmp_path / "record.json"
    path.write_text(json.dumps(told))
    rows = pd.DataFrame({"arm": ["a", "b"], "seed": [0, 0], "item": [7, 8]})
    rows.to_parquet(tmp_path / "answers.parquet")
    kept, answers = so_far(path, ["arm", "seed"], {"steps": 5})
    assert kept == {("a", 0): {"date": "2026-11-29", "arm": "a", "seed": 0}}
    assert answers["a", 0]["item"].tolist() == [7]
    with pytest.raises(InputError, match="its steps is 5, this command's is 6"):
        so_far(path, ["arm", "seed"], {"steps": 6})


def test_answers_of_another_model_are_not_taken_for_its_own(tmp_path):
    model, items = tmp_path / "model", EvalSet(trainings.data())
    shutil.copytree(policies.saved(), model)
    answers = [score(model, None, items, Settings(("no_think",)), tmp_path / "out") for _ in "ab"]
    assert answers[0].equals(answers[1])
    with (model / "config.json").open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="was made with another model_sha256"):
        score(model, None, items, Settings(("no_think",)), tmp_path / "out")


def test_two_commands_do_not_write_one_record(tmp_path):
    asked = ["--data", trainings.data(), "--out", tmp_path / "runs", "--record", tmp_path]
    with one_writer(tmp_path), pytest.raises(InputError, match="is being written by"):
        learning.main([*map(str, asked), "--base", str(BASE)])


def test_two_records_of_one_plan_are_joined(tmp_path):
    whole = ROOT / "data/recorded/methods"
    told = json.loads((whole / recorded.MODELS).read_text())
    told.pop("joined")
    for name, later in (("first", False), ("more", True)):
        block = tmp_path / name
        block.mkdir()
        models = [one for one in told["models"] if (one["seed"] > 0) == later]
        (block / recorded.MODELS).write_text(json.dumps(told | {"models": models}))
        for table in join.TABLES:
            rows = pd.read_parquet(whole / table)
            rows[rows["model"].isin([one["model"] for one in models])].to_parquet(block / table)
        pd.read_parquet(whole / recorded.QUESTIONS).to_parquet(block / recorded.QUESTIONS)
    folders = [str(tmp_path / name) for name in ("more", "first")]
    assert join.main(folders) == 0
    after = json.loads((tmp_path / "first" / recorded.MODELS).read_text())
    assert {one["model"] for one in after["models"]} == {one["model"] for one in told["models"]}
    assert after["joined"] == [{name: told[name] for name in ("command", "plan", "recorded")}]
    by = ["model", "item", "control"]
    joined, kept = (
        recorded.with_letter_probs(one).sort_values(by).drop(columns="letter_probs")
        for one in (tmp_path / "first", whole)
    )
    assert joined.reset_index(drop=True).equals(kept.reset_index(drop=True))
    with pytest.raises(InputError, match="of its models are in"):
        join.join(*map(Path, folders))


@pytest.mark.slow
def test_the_outcomes_of_the_record_follow_from_its_answers():
    """Chapter 11 shows them; every seed that the record has counts."""
    folder = ROOT / "data/recorded/positions"
    told = json.loads((folder / "positions.json").read_text())
    found, kept = outcomes.from_record(folder, told["runs"]), pd.DataFrame(told["outcomes"])
    write_again = "run `python -m benchmarks.study.outcomes`, and build chapter 11"
    assert found["outcome"].tolist() == kept["outcome"].tolist(), write_again
    assert found["value"].tolist() == pytest.approx(kept["value"].astype(float), nan_ok=True)


# Rewards


def test_the_claims_reward_is_the_share_of_true_claims():
    scene = next(questions("test")).scene
    true, false = f"{scene.modality}, anatomy: {scene.anatomy}", "grade: no such grade"
    said = {f"<think>{true}</think>": 1.0, f"<think>{true}, {false}</think>": 1.0}
    said |= {f"<think>{scene.modality}, finding: opacity</think>": 0.5}
    said |= {"<think></think>": 0.0, "<answer>A</answer>": 0.0}
    assert claims_reward([*said], [scene.to_json()] * len(said)) == [*said.values()]
    with pytest.raises(InputError, match="train on phantoms"):
        claims_reward(["CT"], [None])


def test_a_claim_made_twice_counts_twice():
    first, *others = (question.scene for question in questions("test"))
    false = next(one.finding for one in others if one.finding != first.finding)
    said = f"<think>finding: {first.finding}, finding: {false}</think>"
    assert judged_claims(said, vars(first)) == [("finding", True), ("finding", False)]


def test_a_counterfactual_reward_pays_for_a_right_letter_that_a_wrong_image_changes(monkeypatch):
    recipe = trainings.grpo()
    reward = CounterfactualReward(recipe)
    seen = []

    def letters(self, keys):
        seen.extend(keys)
        return ["A", "B"]

    monkeypatch.setattr(CounterfactualReward, "_letters", letters)
    turns = [[{"role": "user", "content": "Which?"}]]
    parts = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]]
    said = [f"<answer>{letter}</answer>" for letter in "ABBA"]
    found = reward(
        prompts=[*turns * 2, *parts * 2],
        completions=said,
        answer=["A", "B", "B", "B"],
        image_id=["p", "p", "q", "q"],
    )
    assert found == [0.0, 1.0, 0.0, 0.0]
    assert seen == [("p", "Which?"), ("q", "Which?")]  # each question once
    for image, modality in zip(reward._images, reward._modality, strict=True):
        wrong = reward._wrong(image)
        assert reward._images[wrong] != image
        assert reward._modality[wrong] == modality


def test_further_rewards(tmp_path):
    asked = ["--data", trainings.data(), "--out", tmp_path / "runs", "--record", tmp_path]
    asked += ["--base", BASE, "--styles", "think_before", "--seeds", "0", "--questions", "2"]
    asked += ["--steps", "1", "--arms", "claims-n", "counter", "--changes", json.dumps(SMALL)]
    assert learning.main([*map(str, asked)]) == 0
    for arm, named in (("claims-n", "claims_reward"), ("counter", "counterfactual_reward")):
        run = tmp_path / f"runs/{Path(BASE).name}-{arm}-think_before-0"
        *_, last = sorted(run.rglob("completions_*.parquet"))
        assert pd.read_parquet(last)[named].between(0, 1).all()


@pytest.mark.parametrize(("busy", "refused"), [(0, False), (80, True)])
def test_time_is_not_compared_with_a_run_that_other_work_slowed(busy, refused):
    seconds = [1.2] * (100 - busy) + [5.0] * busy
    run = SimpleNamespace(log=pd.DataFrame({"seconds": seconds}), folder=Path("run"))
    with pytest.raises(InputError, match="idle machine") if refused else nullcontext():
        learning.refuse_busy(run)


def test_arms_are_compared_on_the_base_that_all_share():
    study = object.__new__(learning.Study)
    study.asked = SimpleNamespace(base=[Path("one"), Path("two")])
    kinds = [("one", "grpo", 0.25), ("two", "grpo", 0.75), ("one", "sft", 0.5)]
    rows = {"item": range(4), "image_id": list("abcd"), "style": "no_think", "seed": 0}
    study.moved = {
        (base, arm): pd.DataFrame(rows).assign(base=base, arm=arm, **dict.fromkeys(PARTS, gain))
        for base, arm, gain in kinds
    }
    table = study.table().query("part == 'knowledge'").set_index(["arm", "over"])
    assert table["value"].to_dict() == {
        ("grpo", "seed"): 0.25,
        ("grpo", "base"): 0.5,
        ("sft", "seed"): 0.5,
    }
    assert table["models"].to_dict() == {
        ("grpo", "seed"): 1,
        ("grpo", "base"): 2,
        ("sft", "seed"): 1,
    }
