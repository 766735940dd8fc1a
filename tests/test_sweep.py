import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import policies
import psutil
import pytest
import trainings
from layouts import picture

from medr1_lib.analysis import recorded, transfer
from medr1_lib.cli import main
from medr1_lib.data import dataset
from medr1_lib.data.images import png
from medr1_lib.data.question import MODALITIES, QUESTION_TYPES, Question
from medr1_lib.errors import InputError
from medr1_lib.evaluation import sweep as module
from medr1_lib.evaluation.sweep import Grid, Job, Plan, record, run_jobs, sweep, unfinished
from medr1_lib.rl.run import Run
from tools import report

ROOT = Path(__file__).parents[1]
SMALL = {"model": str(policies.saved()), "max_steps": 2, "per_device_train_batch_size": 2}
BASE = Grid("course-sft", ("no_think",), changes=SMALL, untrained=True, controls=("text",))
TUNED = Grid("course-sft", ("no_think",), "modality", ("CT",), (0, 1), SMALL)


def plan(*grids, **more):
    return Plan(str(trainings.data()), grids, max_new_tokens=4, **more)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A base and two seeds of a training, done in this process; read only."""
    out, jobs = tmp_path_factory.mktemp("sweep"), plan(BASE, TUNED).jobs()
    run_jobs(jobs, out, threads=1)
    return jobs, out


def test_each_job_is_a_run_and_its_scores(done):
    jobs, out = done
    assert unfinished(jobs, out) == {}
    notes = [json.loads((out / job.name / "job.json").read_text()) for job in jobs]
    assert [note["method"] for note in notes] == ["base", "sft", "sft"]
    assert [note["steps"] for note in notes] == [0, 2, 2]
    assert len(Run.load(out / jobs[1].name / "run").log) == 2
    assert notes[1]["recipe"]["modality"] == ["CT"]
    assert {"hardware", "date", "train_seconds", "evaluate_seconds"} <= notes[1].keys()


def test_finished_jobs_are_left_alone_and_the_rest_is_done(done, tmp_path, monkeypatch):
    _, out = done
    begun = []
    monkeypatch.setattr(module, "run_job", lambda job, folder: begun.append(job.name))
    monkeypatch.setattr(module, "_submit", lambda plan, todo, *rest: run_jobs(todo, out, 1) or [])
    bars = []
    bar = partial(module.tqdm, disable=False)
    monkeypatch.setattr(module, "tqdm", lambda **more: bars.append(bar(**more)) or bars[-1])
    fresh = plan(BASE, TUNED, Grid("course-sft", ("no_think",), seed=(7,), changes=SMALL))
    missing = sweep(fresh, out)
    assert begun == list(missing) == [fresh.jobs()[-1].name]
    assert (bars[0].initial, bars[0].total) == (2, 3)  # the base is no training


def test_a_job_that_fails_is_told_and_stops_no_other(tmp_path):
    bad = Grid("course-sft", ("no_think",), changes=SMALL | {"model": str(tmp_path / "none")})
    jobs = plan(bad, BASE).jobs()
    run_jobs(jobs, tmp_path, threads=1)
    missing = unfinished(jobs, tmp_path)
    assert list(missing) == [jobs[0].name]
    assert str(tmp_path / "none") in missing[jobs[0].name]


def test_a_base_for_a_gpu_is_not_asked_on_a_cpu_instead(tmp_path):
    """On a node of a cluster without one it would take days, and nobody would know why."""
    base = Grid("gpu", ("no_think",), changes={"model": SMALL["model"]}, untrained=True)
    jobs = plan(base).jobs()
    run_jobs(jobs, tmp_path, threads=1)
    assert "it needs a GPU, and torch finds none" in unfinished(jobs, tmp_path)[jobs[0].name]


def test_a_process_sees_the_gpu_that_it_was_given(tmp_path, monkeypatch, same_threads):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # what submitit has set
    run_jobs([], tmp_path, threads=1, card="3")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_a_block_holds_every_answer(done, tmp_path):
    jobs, out = done
    record([out / job.name for job in jobs], tmp_path / "block", {"command": "it"})
    records = recorded.load(tmp_path / "block")
    assert set(recorded.LABELS) < set(records.columns)
    assert len(records) == 2 * 2 + 2 + 2  # two items; the base is asked without image as well
    assert set(records["control"]) == {"none", "text"}
    asked = pd.read_parquet(out / jobs[1].name / "scored-phantoms" / "answers.parquet")
    mine = records[(records["model"] == jobs[1].name) & (records["item"] == 1)].iloc[0]
    assert mine["completion"] == asked["completion"][1]
    assert mine["image_id"] == asked["image_id"][1]
    assert mine["scene"].startswith("{")
    assert len(pd.read_parquet(tmp_path / "block" / recorded.LOGS)) == 4
    assert recorded.notes(tmp_path / "block")["command"] == "it"
    sure = recorded.with_letter_probs(tmp_path / "block")
    assert set(sure["control"]) == {"none"}
    assert len(sure) == 2 + 2 + 2  # two items of each model
    assert sure["letter_probs"].map(sum).between(0, 1).all()
    found = pd.read_parquet(tmp_path / "block" / recorded.LETTER_PROBS)
    assert found["confidence"].equals(found[[*"ABCD"]].max(axis=1))


def test_what_is_no_block_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no block"):
        recorded.load(tmp_path)


@pytest.mark.parametrize(
    "submitted", [pytest.param(True, id="submitit", marks=pytest.mark.slow), False]
)
def test_the_command_does_a_plan_and_records_it(tmp_path, capsys, monkeypatch, submitted):
    if not submitted:
        here = tmp_path / "out"
        monkeypatch.setattr(
            module, "_submit", lambda plan, todo, *rest: run_jobs(todo, here, 1) or []
        )
    file = tmp_path / "plan.yaml"
    model = policies.saved()
    base = f"recipe: course, untrained: true, style: [no_think], changes: {{model: {model}}}"
    text = f"data: {trainings.data()}\nmax_new_tokens: 4\ngrids: [{{{base}}}]\n"
    file.write_text(text)
    words = ["sweep", "--plan", str(file), "--out", str(tmp_path / "out")]
    assert main([*words, "--record", str(tmp_path / "block")]) == 0
    assert "1 of 1 models" in capsys.readouterr().out
    assert len(recorded.load(tmp_path / "block")) == 2


def test_a_job_that_dies_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "_submit", lambda *asked: [])
    file = tmp_path / "plan.yaml"
    file.write_text(f"data: {trainings.data()}\ngrids: [{{recipe: course, style: [no_think]}}]\n")
    assert main(["sweep", "--plan", str(file), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "not reached" in printed.err
    assert "0 of 1 models" in printed.out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups of this kind")
def test_ctrl_c_ends_in_one_line_and_leaves_no_process(tmp_path):
    """A terminal sends it to all processes of a command, those that control workers too."""
    told = {"data": str(trainings.data()), "grids": [{"recipe": "course-sft", "style": "no_think"}]}
    told["grids"][0] |= {"changes": SMALL | {"max_steps": 2000}}
    (tmp_path / "plan.yaml").write_text(json.dumps(told))
    words = [sys.executable, "-m", "medr1_lib", "sweep", "--plan", "plan.yaml", "--out", "out"]
    # In the background of a shell Ctrl-C is ignored, and children inherit that.
    alone = {
        "start_new_session": True,
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    }
    command = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, **alone)
    while command.poll() is None and not [*tmp_path.glob("out/*/run/recipe.json")]:
        time.sleep(0.1)
    workers = psutil.Process(command.pid).children(recursive=True)
    os.killpg(command.pid, signal.SIGINT)
    lines = command.communicate()[1].replace("\r", "\n").splitlines()
    said = [line for line in lines if line.strip() and not line.startswith("trainings:")]
    assert command.returncode == 130
    assert said == ["interrupted; what was finished is kept"]
    assert len(workers) == 2
    assert psutil.wait_procs(workers, timeout=20)[1] == []


def test_on_a_cluster_it_hands_a_script_to_sbatch(tmp_path, monkeypatch):
    kept, programs = tmp_path / "kept.sh", tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", f'cp "$1" {kept}; echo Submitted batch job 12'), ("srun", "")):
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    asked = plan(BASE, TUNED, threads=3, resources={"slurm_partition": "gpu", "gpus_per_node": 1})
    submitted = module._submit(asked, asked.jobs(), tmp_path / "out", "slurm", 2)
    assert [job.job_id for job in submitted] == ["12_0", "12_1"]
    script = kept.read_text()
    for line in ("--array=0-1%", "--partition=gpu", "--cpus-per-task=3", "--job-name=medr1-sweep"):
        assert line in script
    assert "gpus-per-node=1" in script


class Submitted:
    """submitit's executor, which tells what each process would see."""

    def __init__(self, *_, **__):
        pass

    def update_parameters(self, **settings):
        pass

    def submit(self, function, jobs, out, threads, parent, card):
        return len(jobs), card


@pytest.mark.parametrize(
    ("recipe", "cards", "visible", "processes", "seen"),
    [
        ("gpu-sft", 1, None, 1, [(2, "0")]),
        ("gpu-sft", 2, None, 2, [(1, "0"), (1, "1")]),
        ("gpu-sft", 2, "1,3", 2, [(1, "1"), (1, "3")]),
        ("course-sft", 2, None, 2, [(1, ""), (1, "")]),
        ("gpu-sft", 1, None, 2, "its jobs want a GPU each, and torch finds 1"),
        ("gpu-sft", 0, None, 1, "its jobs want a GPU each, and torch finds 0"),
    ],
)
def test_each_process_here_gets_a_gpu_of_its_own(
    recipe, cards, visible, processes, seen, tmp_path, monkeypatch
):
    monkeypatch.setattr(module.submitit, "AutoExecutor", Submitted)
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: cards)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    asked = somewhere(Grid(recipe, ("no_think",), seed=(0, 1)))
    if isinstance(seen, str):
        with pytest.raises(InputError, match=seen):
            module._submit(asked, asked.jobs(), tmp_path, "local", processes)
    else:
        found = module._submit(asked, asked.jobs(), tmp_path, "local", processes)
        assert found == seen


def test_without_a_cluster_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="--executor slurm"):
        module._submit(plan(BASE), plan(BASE).jobs(), tmp_path, "slurm", 1)


def test_a_plan_trains_on_any_modality_that_the_data_have_and_no_other(tmp_path):
    image = png(picture())
    rows = [
        Question("?", ("yes", "no"), "A", name, "Grade", f"{n}", "own").record({"bytes": image})
        for n, name in enumerate(["Endoscopy", "Mammography"])
    ]
    dataset.write(tmp_path / "own", {"train": rows, "test": rows}, {})
    own = Grid("course-sft", ("no_think",), "modality", ("Endoscopy", "PET"), changes=SMALL)
    asked = Plan(str(tmp_path / "own"), (own,))
    assert [job.label["train"] for job in asked.jobs()] == ["Endoscopy", "PET"]
    with pytest.raises(InputError, match="own: has no modality 'PET'; name those it has"):
        sweep(asked, tmp_path / "sweep")
    with pytest.raises(InputError, match="has no modality 'CT'"):
        sweep(replace(asked, grids=(replace(own, train=()),)), tmp_path / "sweep")
    assert not (tmp_path / "sweep").exists()


def test_a_test_that_is_not_there_is_told_before_any_training(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        sweep(plan(Grid("course", tests=(str(tmp_path / "nowhere"),))), tmp_path)


def test_a_resource_that_nobody_knows_is_told(tmp_path):
    with pytest.raises(InputError, match="plan: resources"):
        sweep(plan(BASE, resources={"gpus_per_nodde": 1}), tmp_path)


def test_a_block_holds_every_test_set_of_a_plan(done, tmp_path):
    jobs, out = done
    notes = json.loads((out / jobs[1].name / "job.json").read_text())
    (test,) = notes["tests"]
    folder, elsewhere = tmp_path / "job", tmp_path / "elsewhere"
    shutil.copytree(test, elsewhere)
    shutil.copytree(out / jobs[1].name, folder)
    answered = folder / f"scored-{Path(test).name}"
    answers = pd.read_parquet(answered / recorded.ANSWERS)
    shutil.copytree(answered, answered.with_name("scored-elsewhere"))
    answers.assign(completion="other").to_parquet(folder / "scored-elsewhere" / recorded.ANSWERS)
    notes["tests"] = [test, str(elsewhere)]
    (folder / "job.json").write_text(json.dumps(notes))
    block = tmp_path / "block"
    record([folder], block, {})
    found = recorded.load(block)
    assert found.groupby("test").size().to_dict() == {"elsewhere": 2, "phantoms": 2}
    assert set(found.loc[found["test"] == "elsewhere", "completion"]) == {"other"}
    assert len(recorded.with_letter_probs(block)) == 4
    assert report._groups(block) == [[(block, "phantoms"), (block, "elsewhere")]]
    own, style = (found[found["test"] == "phantoms"], "no_think")
    method, axis = own[["method", "axis"]].iloc[0]
    assert len(transfer.transfer_answers(own, method, style, axis).right) == 2
    with pytest.raises(InputError, match="one base, such models and one test"):
        transfer.transfer_answers(found.assign(method="base"), "base", style, axis)


def test_a_block_of_fewer_letters_is_read(done, tmp_path):
    jobs, out = done
    block = tmp_path / "block"
    record([out / job.name for job in jobs], block, {})
    sure = recorded.with_letter_probs(block)
    path = block / recorded.LETTER_PROBS
    pd.read_parquet(path).drop(columns=[*"CD"]).to_parquet(path)
    found = recorded.with_letter_probs(block)["letter_probs"]
    assert found.tolist() == [one[:2] for one in sure["letter_probs"]]


# Plans


def somewhere(*grids):
    return Plan("somewhere", grids)


def test_a_grid_is_every_combination():
    jobs = somewhere(Grid("course", axis="modality", style=("no_think",), seed=(0, 1))).jobs()
    assert [(c.label["train"], c.label["seed"]) for c in jobs] == [
        (modality, seed) for seed in (0, 1) for modality in MODALITIES
    ]
    assert {c.label["axis"] for c in jobs} == {"modality"}
    assert {c.recipe.data for c in jobs} == {"somewhere"}
    assert jobs[0].tests == ("somewhere",)


def test_what_a_model_is_trained_on():
    kinds = somewhere(Grid("course-sft", axis="question_type", style=("no_think",))).jobs()
    assert [c.label["train"] for c in kinds] == list(QUESTION_TYPES)
    (all_in_one,) = somewhere(Grid("course", style=("think_after",))).jobs()
    assert all_in_one.label == {
        "method": "grpo",
        "style": "think_after",
        "axis": "all",
        "train": "all",
        "seed": 0,
    }
    (base,) = somewhere(Grid("course", style=("no_think",), untrained=True)).jobs()
    assert (base.label["method"], base.label["train"], base.label["seed"]) == ("base", "none", -1)
    assert replace(base, called="larger base").label["method"] == "larger base"
    assert replace(base, called="larger base").name == base.name


def test_a_name_tells_jobs_apart_and_stays():
    (job,) = somewhere(Grid("course", style=("no_think",))).jobs()
    assert job.name == Job(job.recipe, job.tests).name
    others = [
        replace(job, recipe=job.recipe.replace(learning_rate=1e-5)),
        replace(job, recipe=job.recipe.replace(seed=1)),
        replace(job, controls=("blank",)),
        replace(job, tests=("elsewhere",)),
        replace(job, max_new_tokens=8),
        replace(job, untrained=True),
    ]
    assert len({job.name, *(other.name for other in others)}) == 7


def test_a_model_that_two_grids_name_is_made_once():
    grid = Grid("course", style=("no_think",), seed=(0, 1))
    assert len(somewhere(grid, replace(grid, seed=(1, 2))).jobs()) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("grids: [{recipe: course, axis: organ}]\ndata: d", "axis has 'organ'"),
        ("grids: [{recipe: course, axis: modality, train: [2]}]\ndata: d", "train is (2,)"),
        ("grids: [{recipe: course, controls: [mirror]}]\ndata: d", "controls has 'mirror'"),
        ("grids: [{recipe: course, called: huge}]\ndata: d", "called has 'huge'"),
        ("grids: [{recipe: course, tyle: [no_think]}]\ndata: d", "tyle"),
        ("data: d", "grids"),
        ("grids: [", "is no plan"),
        ("- a", "is no plan"),
    ],
)
def test_a_bad_plan_is_refused_by_name(tmp_path, text, problem):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.yaml") as caught:
        Plan.read(path)
    assert problem in str(caught.value)


def test_a_style_or_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="think_never"):
        somewhere(Grid("course", style=("think_never",))).jobs()
    with pytest.raises(InputError, match="no such recipe"):
        somewhere(Grid("corse")).jobs()
    with pytest.raises(InputError, match="No such file"):
        Plan.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/plans").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_plans_that_come_with_the_course_are_sound(path):
    jobs = Plan.read(path).jobs()
    assert len(jobs) > 1
    for job in jobs:
        if not job.untrained and job.recipe.config.get("use_cpu"):
            job.recipe.trl_config(Path("out"))


def test_one_value_stands_for_a_list_of_one(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "data: somewhere\ngrids:\n  - {recipe: course, style: no_think, axis: modality, "
        "train: CT, seed: 3, controls: blank, tests: a/b}\n"
    )
    (job,) = Plan.read(path).jobs()
    assert (job.label["train"], job.label["seed"]) == ("CT", 3)
    assert (job.controls, job.tests) == (("blank",), ("a/b",))


def test_two_tests_of_one_name_would_share_a_folder():
    one, other = (Grid("course", tests=(f"{folder}/phantoms",)) for folder in "ab")
    for grids in ([replace(one, tests=one.tests + other.tests)], [one, other]):
        with pytest.raises(InputError, match="two tests are folders of one name"):
            somewhere(*grids)
    (job,) = somewhere(replace(one, style=("no_think",), tests=one.tests * 2)).jobs()
    assert job.tests == one.tests
