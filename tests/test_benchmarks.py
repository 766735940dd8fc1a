"""Every benchmark runs, on two questions and a step or two; what it finds means nothing here."""

import json
from argparse import Namespace

import pandas as pd
import policies
import pytest
import torch
import trainings

from benchmarks.speed import evaluate, gpu, parse_records, phantoms
from benchmarks.study import budget, captions, failures, learning, letter_probs, loop, oracle, probe
from medr1_lib.analysis import recorded
from medr1_lib.cli import exit_status
from medr1_lib.course.tiers import material
from medr1_lib.evaluation import sweep
from medr1_lib.rl.recipe import load_recipe

BASE = str(material("tiny-qwen2-vl"))
SMALL = {"num_generations": 2, "per_device_train_batch_size": 4, "max_completion_length": 4}


@pytest.fixture(autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """What `learning` writes about one step in one style."""
    folder = tmp_path_factory.mktemp("learning")
    changes = json.dumps(SMALL | {"max_steps": 1, "model": BASE, "rules": "published"})
    asked = ["--data", trainings.data(), "--out", folder / "runs", "--record", folder]
    asked += ["--styles", "no_think", "--seeds", "0", "--limit", "2", "--changes", changes]
    assert learning.main([*map(str, asked)]) == 0
    return folder


def test_learning(learned):
    found = json.loads((learned / "learning.json").read_text())
    (run,) = found["runs"]
    assert run["n"] == found["base"]["no_think"]["n"] == 2
    assert run["steps"] == 1
    answers = pd.read_parquet(learned / "learning.parquet")
    assert answers.groupby(["recipe", "seed"]).size().to_dict() == {
        ("base", -1): 2,
        ("course", 0): 2,
    }


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
    asked = ["--data", trainings.data(), "--out", tmp_path / "runs", "--record", tmp_path]
    assert budget.main([*map(str, asked), "--seeds", "0", "--limit", "2"]) == 0
    found = json.loads((tmp_path / "budget.json").read_text())
    assert [(run["variant"], run["steps"], run["n"]) for run in found["runs"]] == [
        ("one step", 1, 2)
    ]
    assert len(pd.read_parquet(tmp_path / "budget.parquet")) == 2


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


def test_letter_probs(tmp_path):
    recipe = load_recipe("course", model=BASE, style="no_think", data=str(trainings.data()))
    job = sweep.Job(recipe, (recipe.data,), untrained=True)
    sweep.run_jobs([job], tmp_path / "sweep", threads=1)
    sweep.record([tmp_path / "sweep" / job.name], tmp_path / "block", {})
    asked = ["--block", tmp_path / "block", "--data", recipe.data, "--sweep", tmp_path / "sweep"]
    assert letter_probs.main([*map(str, asked), "--every", "1"]) == 0
    found = pd.read_parquet(tmp_path / "block" / recorded.LETTER_PROBS)
    assert found["model"].eq(job.name).all()
    assert found["confidence"].between(0.25, 1).all()
    assert len(found) == 2


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


def test_gpu_trains_as_its_recipe_says(tmp_path, monkeypatch):
    here = {"use_cpu": True, "bf16": False}
    monkeypatch.setattr(gpu, "load_recipe", lambda name, **own: load_recipe(name, **own | here))
    asked = Namespace(model=policies.saved(), out=tmp_path, steps=1)
    for kind, step in gpu.SIDES.values():
        driven = gpu.built(kind, step.checkpointing, asked)
        assert type(driven) is kind
        assert driven.args.activation_checkpointing == step.checkpointing
        assert driven.args.max_steps == 2
