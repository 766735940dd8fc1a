"""Every benchmark runs, on two questions and a step or two; what it finds means nothing here."""

import json
from argparse import Namespace
from pathlib import Path

import pandas as pd
import policies
import pytest
import torch
import trainings
from bitsandbytes.nn.modules import Linear4bit

from benchmarks.speed import evaluate, fused, gpu, parse_records, phantoms
from benchmarks.study import (
    budget,
    captions,
    course_run,
    failures,
    family,
    forgetting,
    learning,
    loop,
    oracle,
    probe,
    rejection,
)
from medr1_lib.cli import exit_status
from medr1_lib.data.dataset import read_split
from medr1_lib.errors import InputError
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.train import training_questions

BASE, SMALL = trainings.BASE, trainings.SHORT


pytestmark = pytest.mark.usefixtures("same_threads")


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """What `learning` writes about one step in one style, and the same again."""
    folder = tmp_path_factory.mktemp("learning")
    asked = ["--data", trainings.data(), "--out", folder / "runs", "--record", folder]
    asked += ["--base", BASE, "--styles", "no_think", "--seeds", "0", "--questions", "2"]
    asked += ["--steps", "1", "--arms", "grpo", "random", "sft-time"]
    asked += ["--changes", json.dumps(SMALL)]
    seconds = {"grpo": 3.0, "sft": 1.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "usual", lambda run: seconds[run.recipe.method])
        for _ in range(2):  # the second time everything is there already
            assert learning.main([*map(str, asked)]) == 0
    return folder


@pytest.mark.slow
def test_learning(learned):
    found = json.loads((learned / "learning.json").read_text(), parse_constant=pytest.fail)
    base, *runs = found["runs"]
    assert base["arm"] == "base"
    assert [run["arm"] for run in runs] == ["grpo", "random", "sft-time"]
    assert [run["steps"] for run in runs] == [1, 1, 3]  # three in the time of one of GRPO
    assert {run["n"] for run in found["runs"]} == {2}
    assert base["reliance"]["shuffled"]["HVRR"] is None  # there is no rationale
    parts = {(row["arm"], row["part"]): row for row in found["table"]}
    assert parts["grpo", "knowledge"]["value"] is None  # two questions are too few
    assert {"strict", "IS", "VRS blank"} <= {part for _, part in parts}
    answers = pd.read_parquet(learned / "answers.parquet")
    assert answers.groupby(["arm", "control"]).size().eq(2).all()
    assert answers.loc[answers["control"] == "none", "letter_probs"].map(len).eq(4).all()


def test_course_run(learned, tmp_path):
    run = learned / "runs" / f"{Path(BASE).name}-grpo-no_think-0"
    assert course_run.main([str(run), "--record", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "log.csv",
        "recipe.json",
        "rollouts.parquet",
    }
    assert len(pd.read_parquet(tmp_path / "rollouts.parquet")) == 4  # two groups of two


def test_rejection(tmp_path, monkeypatch):
    recipe = load_recipe("course", style="no_think", data=str(trainings.data()), model=BASE)
    recipe = recipe.replace(max_steps=1, **SMALL)
    asked = []

    def sampled(recipe, table, config):
        asked.append((len(table), config.num_generations))
        return {table["scene"][0]: "<answer>A</answer>"}

    monkeypatch.setattr(rejection, "sampled", sampled)
    for _ in range(2):
        found = rejection.own_replies(recipe, tmp_path / "replies")
    assert asked == [(2, 2)]  # once, and as many as GRPO sees in its step
    (scene,) = read_split(found.data, "train")["scene"]
    assert found.target("no_think", "B", "", scene) == "<answer>A</answer>"


def test_right_rollouts_are_kept(tmp_path, monkeypatch):
    recipe = load_recipe("course", style="no_think", data=str(trainings.data()), model=BASE)
    table = training_questions(recipe).select(range(3))
    letters = [["A", "B"], ["C", "D"], ["A", "A"]]
    other = {"num_generations": 2, "temperature": 0.7, "top_p": 0.9, "top_k": 5}
    config = recipe.replace(per_device_train_batch_size=4, **other).trl_config(tmp_path)

    def sample(self, chats, images, count, seed):
        assert (self.max_new_tokens, {"num_generations": count, **self.sampling}) == (32, other)
        return [[f"<answer>{letter}</answer>" for letter in group] for group in letters]

    monkeypatch.setattr(rejection.Asker, "sample", sample)
    found = rejection.sampled(recipe, table, config)
    right = [row["answer"] in group for row, group in zip(table, letters, strict=True)]
    assert len(found) == sum(right)
    for row, kept in zip(table, right, strict=True):
        assert found.get(row["scene"]) == (f"<answer>{row['answer']}</answer>" if kept else None)


@pytest.mark.slow
def test_captions(learned, tmp_path):
    path = tmp_path / "captions.json"
    asked = ["--data", trainings.data(), "--learning", learned / "runs", "--json", path]
    asked += ["--styles", "no_think", "--seeds", "0", "--limit", "2"]
    assert captions.main([*map(str, asked)]) == 0
    found = json.loads(path.read_text())
    assert found["base"]["n"] == found["runs"][0]["n"] == 2


def test_budget(tmp_path, monkeypatch):
    one = {"max_steps": 1, "per_device_train_batch_size": 2, "model": str(policies.saved())}
    variants = {"one step": (one, budget.published)}
    monkeypatch.setattr(budget, "VARIANTS", variants)
    data = trainings.data()
    asked = ["--data", data, "--tests", data, "--out", tmp_path / "runs", "--record", tmp_path]
    assert budget.main([*map(str, asked), "--seeds", "0", "--limit", "2"]) == 0
    found = json.loads((tmp_path / "budget.json").read_text())
    assert [(run["variant"], run["steps"], run["n"]) for run in found["runs"]] == [
        ("one step", 1, 2)
    ]
    assert len(pd.read_parquet(tmp_path / "answers.parquet")) == 2


def test_forgetting(tmp_path):
    recipe = {"model": str(policies.saved()), "learning_rate": 1e-3, "quantize": None}
    labels = {"model": "a", "axis": "all", "train": "none", "date": "", "hardware": ""}
    labels |= {"method": "base", "seed": -1, "steps": 0, "recipe": recipe}
    models = [labels | {"style": style} for style in ("no_think", "think_before")]
    (tmp_path / "models.json").write_text(json.dumps({"models": models}))
    asked = ["--data", trainings.data(), "--sweep", tmp_path, "--block", tmp_path]
    asked += ["--out", tmp_path / "runs", "--record", tmp_path, "--limit", "2"]
    assert forgetting.main([*map(str, asked)]) == 0
    (found,) = json.loads((tmp_path / "forgetting.json").read_text())["runs"]
    assert (found["method"], found["rate"], found["n"]) == ("base", 1e-3, 2)
    assert len(pd.read_parquet(tmp_path / "answers.parquet")) == 2


@pytest.mark.slow
def test_failures(tmp_path, monkeypatch):
    runs = {"healthy": SMALL, "hidden thoughts, strict": SMALL | failures.TAUGHT}
    monkeypatch.setattr(failures, "RUNS", runs)
    lesson = failures.LESSON | {"max_steps": 1, "per_device_train_batch_size": 2}
    monkeypatch.setattr(failures, "LESSON", lesson)
    asked = ["--data", trainings.data(), "--out", tmp_path / "runs", "--record", tmp_path]
    assert failures.main([*map(str, asked), "--steps", "1"]) == 0
    found = json.loads((tmp_path / "failures.json").read_text())
    assert found["runs"].keys() == runs.keys()
    for name in ("failures", "failures_rollouts"):
        assert set(pd.read_parquet(tmp_path / f"{name}.parquet")["name"]) == runs.keys()


@pytest.mark.slow
def test_family(tmp_path, monkeypatch):
    small = {
        "course": SMALL | {"rules": "published"},
        "course-sft": {"per_device_train_batch_size": 2},
    }
    monkeypatch.setattr(
        family,
        "load_recipe",
        lambda name, **own: load_recipe(name, **{"model": BASE} | own | small[name]),
    )
    for name, value in {"STYLE": "no_think", "UPDATES": 1, "LONGER": 1, "TEACHER": 1}.items():
        monkeypatch.setattr(family, name, value)
    asked = ["--data", trainings.data(), "--out", tmp_path / "runs", "--record", tmp_path]
    asked += ["--seeds", "0", "--batches", "1", "--steps", "1", "--limit", "2"]
    assert family.main([*map(str, asked)]) == 0
    runs = json.loads((tmp_path / "family.json").read_text())["runs"]
    names = [run["name"] for run in runs if run["group"] == "reuse"]
    assert names == ["GRPO, one update", *family.REUSED]
    assert [run["group"] for run in runs[-2:]] == ["base", "teacher"]
    log = pd.read_parquet(tmp_path / "family.parquet")
    assert log.groupby(["group", "name"]).size().eq(1).all()
    for _ in range(2):  # the second time it is replaced
        assert family.main([*map(str, asked), "--teacher", BASE]) == 0
    more = json.loads((tmp_path / "family.json").read_text())
    assert more["larger teacher"]["taught"] == "little"
    assert more["runs"][: len(runs)] == runs
    assert [run.get("name", run["group"]) for run in more["runs"][len(runs) :]] == [
        "distillation, larger teacher",
        "larger teacher",
    ]
    grown = pd.read_parquet(tmp_path / "family.parquet")
    pd.testing.assert_frame_equal(grown.iloc[: len(log)], log)
    assert len(grown) == len(log) + 1
    with pytest.raises(InputError, match="its steps is 1"):
        family.main([*map(str, asked), "--teacher", BASE, "--steps", "2"])


@pytest.mark.slow
def test_loop(tmp_path, monkeypatch):
    small = SMALL | {"model": BASE, "rules": "published"}
    monkeypatch.setattr(loop, "load_recipe", lambda name, **own: load_recipe(name, **own | small))
    asked = ["--data", trainings.data(), "--out", tmp_path / "runs", "--record", tmp_path]
    assert loop.main([*map(str, asked), "--steps", "1", "--seeds", "0", "--limit", "2"]) == 0
    found = json.loads((tmp_path / "loop.json").read_text())
    assert [run["way"] for run in found["runs"]] == ["trainer", "loop"]
    assert found["items"] == 2


def test_oracle(tmp_path):
    asked = ["--data", trainings.data(), "--model", BASE, "--json", tmp_path / "oracle.json"]
    assert oracle.main([*map(str, asked)]) == 0
    (row,) = json.loads((tmp_path / "oracle.json").read_text())["rows"]
    assert (row["series"], row["test"], row["n"]) == ("caption oracle", "CT", 2)


def test_probe(tmp_path, capsys):
    path = tmp_path / "probe.json"
    asked = ["--model", str(policies.saved()), "--scenes", "3", "--json", str(path)]
    assert probe.main(asked) == 0
    rows = json.loads(path.read_text())["rows"]
    assert [row["from"] for row in rows] == ["tower"] * 6 + ["corner"]
    assert "scanner from the corner" in capsys.readouterr().out


def test_evaluate(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "LONGEST", 8)
    asked = ["--model", BASE, "--data", trainings.data(), "--items", "2", "--style", "no_think"]
    path = tmp_path / "evaluate.json"
    assert evaluate.main([*map(str, asked), "--runs", "1", "--json", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["answers"] == 2
    assert found["ratio"].keys() == {"to 256", "stopped"}
    assert "times faster" in capsys.readouterr().out


@pytest.mark.slow
def test_a_fused_loop_samples_the_same_tokens(capsys):
    assert fused.main(["--steps", "1"]) == 0
    assert capsys.readouterr().out.count("same tokens") == 2


def test_parse_records(tmp_path, monkeypatch):
    monkeypatch.setattr(parse_records, "RECORDS", 20)
    monkeypatch.setattr(parse_records, "RUNS", 1)
    assert parse_records.main(["--json", str(tmp_path / "parsed.json")]) == 0
    found = json.loads((tmp_path / "parsed.json").read_text())
    assert (found["input"], found["records"]) == ("made-up files", 20)


def test_phantoms(tmp_path, monkeypatch):
    monkeypatch.setattr(phantoms, "MODALITIES", ("CT",))
    path = tmp_path / "phantoms.json"
    assert phantoms.main(["--scenes", "60", "--json", str(path)]) == 0
    glance = json.loads(path.read_text())["glance"]
    assert glance["CT"].keys() == set(phantoms.ATTRIBUTES)


@pytest.mark.skipif(torch.cuda.is_available(), reason="would measure in earnest")
def test_gpu_says_what_it_needs(tmp_path, capsys):
    asked = ["--model", str(policies.saved()), "--json", str(tmp_path / "gpu.json")]
    assert exit_status(gpu.main, asked) == 2
    assert "torch finds no GPU" in capsys.readouterr().err


@pytest.mark.slow
def test_gpu_measures_both_sides_and_goes_on_where_one_fails(tmp_path, monkeypatch):
    path, built = tmp_path / "gpu.json", gpu.built
    monkeypatch.setattr(
        gpu, "built", lambda side, asked: 1 / 0 if side.limit else built(side, asked)
    )
    words = ["--smoke", "--steps", "1", "--out", str(tmp_path / "out"), "--json", str(path)]
    sides = ["ours, held to 12 GB", "ours", "TRL"]
    assert gpu.main(["--model", str(policies.saved()), *words, "--sides", *sides]) == 1
    found = json.loads(path.read_text())
    assert found[sides[0]] == {"failed": "ZeroDivisionError: division by zero"}
    stages = {"sampling", "reference", "policy", "backward", "rest"}
    for name in ("ours", "TRL"):
        assert found[name]["stages"].keys() == stages
        assert sum(found[name]["stages"].values()) == pytest.approx(found[name]["seconds"], abs=0.1)
    decoding = found["ours"]["decoding"]
    assert decoding["ms a token"].keys() == {"side by side", "eager", "recorded"}
    assert decoding["recorded step chooses the tokens of its eager run"]
    assert decoding["and follows an adapter that has changed"]
    assert decoding["and at most"] < 1e-4


def test_gpu_changes_of_the_recipe_what_a_side_says(tmp_path):
    asked = Namespace(model=policies.saved(), out=tmp_path, steps=1, smoke=True)
    for name in ("ours, large card", "TRL"):
        side = gpu.SIDES[name]
        driven = gpu.built(side, asked)
        assert type(driven) is side.kind
        assert driven.args.activation_checkpointing == side.step.checkpointing
        assert driven.args.generation_batch_size == 64
        assert driven.args.per_device_train_batch_size == 8 * side.step.scored
        packed = any(isinstance(layer, Linear4bit) for layer in driven.model.modules())
        assert packed != side.step.unpacked
