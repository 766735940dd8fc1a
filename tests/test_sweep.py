import json
import shutil
import stat

import pandas as pd
import policies
import pytest
import trainings

from medr1_lib.analysis import recorded
from medr1_lib.cli import main
from medr1_lib.errors import InputError
from medr1_lib.evaluation import sweep as module
from medr1_lib.evaluation.plan import Grid, Plan
from medr1_lib.evaluation.sweep import sweep, unfinished, work
from medr1_lib.rl.run import Run

SMALL = {"model": str(policies.saved()), "max_steps": 2, "per_device_train_batch_size": 2}
BASE = Grid("course-sft", ("no_think",), changes=SMALL, untrained=True, controls=("text",))
TUNED = Grid("course-sft", ("no_think",), "modality", ("CT",), (0, 1), SMALL)


def plan(*grids, **more):
    return Plan(str(trainings.data()), grids, max_new_tokens=4, **more)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A base and two seeds of a training, done in this process; read only."""
    out, cells = tmp_path_factory.mktemp("sweep"), plan(BASE, TUNED).cells()
    work(cells, out, threads=1)
    return cells, out


def test_each_cell_is_a_run_and_its_scores(done):
    cells, out = done
    assert unfinished(cells, out) == {}
    notes = [json.loads((out / cell.name / "cell.json").read_text()) for cell in cells]
    assert [note["method"] for note in notes] == ["base", "sft", "sft"]
    assert [note["steps"] for note in notes] == [0, 2, 2]
    assert len(Run.load(out / cells[1].name / "run").log) == 2
    assert notes[1]["recipe"]["modality"] == ["CT"]
    assert {"hardware", "date", "train_seconds", "evaluate_seconds"} <= notes[1].keys()


def test_finished_cells_are_left_alone_and_the_rest_is_done(done, tmp_path, monkeypatch):
    _, out = done
    begun = []
    monkeypatch.setattr(module, "do", lambda cell, folder: begun.append(cell.name))
    monkeypatch.setattr(module, "_submit", lambda plan, todo, *rest: work(todo, out, 1) or [])
    fresh = plan(BASE, TUNED, Grid("course-sft", ("no_think",), seed=(7,), changes=SMALL))
    missing = sweep(fresh, out)
    assert begun == list(missing) == [fresh.cells()[-1].name]


def test_a_cell_that_fails_is_told_and_stops_no_other(tmp_path):
    bad = Grid("course-sft", ("no_think",), changes=SMALL | {"model": str(tmp_path / "none")})
    cells = plan(bad, BASE).cells()
    work(cells, tmp_path, threads=1)
    missing = unfinished(cells, tmp_path)
    assert list(missing) == [cells[0].name]
    assert str(tmp_path / "none") in missing[cells[0].name]


def test_a_block_holds_every_answer(done, tmp_path):
    cells, out = done
    recorded.write([out / cell.name for cell in cells], tmp_path / "block", {"command": "it"})
    records = recorded.load(tmp_path / "block")
    assert set(recorded.LABELS) < set(records.columns)
    assert len(records) == 2 * 2 + 2 + 2  # two items; the base is asked without image as well
    assert set(records["control"]) == {"none", "text"}
    asked = pd.read_parquet(out / cells[1].name / "scored-phantoms" / "records.parquet")
    mine = records[(records["model"] == cells[1].name) & (records["item"] == 1)].iloc[0]
    assert mine["completion"] == asked["completion"][1]
    assert mine["image_id"] == asked["image_id"][1]
    assert mine["scene"].startswith("{")
    assert len(recorded.gathered([tmp_path / "block"], recorded.LOGS, "step")) == 4
    assert recorded.notes(tmp_path / "block")["command"] == "it"


def test_what_is_no_block_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no block"):
        recorded.load(tmp_path)


def test_the_command_does_a_plan_by_submitit_and_records_it(tmp_path, capsys):
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


def test_on_a_cluster_it_hands_a_script_to_sbatch(tmp_path, monkeypatch):
    kept, programs = tmp_path / "kept.sh", tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", f'cp "$1" {kept}; echo Submitted batch job 12'), ("srun", "")):
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    asked = plan(BASE, TUNED, threads=3, resources={"slurm_partition": "gpu", "gpus_per_node": 1})
    submitted = module._submit(asked, asked.cells(), tmp_path / "out", "slurm", 2)
    assert [job.job_id for job in submitted] == ["12_0", "12_1"]
    script = kept.read_text()
    for line in ("--array=0-1%", "--partition=gpu", "--cpus-per-task=3", "--job-name=medr1-sweep"):
        assert line in script
    assert "gpus-per-node=1" in script


def test_without_a_cluster_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="--executor slurm"):
        module._submit(plan(BASE), plan(BASE).cells(), tmp_path, "slurm", 1)


def test_a_test_that_is_not_there_is_told_before_any_training(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        sweep(plan(Grid("course", tests=(str(tmp_path / "nowhere"),))), tmp_path)


def test_a_resource_that_nobody_knows_is_told(tmp_path):
    with pytest.raises(InputError, match="plan: resources"):
        sweep(plan(BASE, resources={"gpus_per_nodde": 1}), tmp_path)


def test_two_tests_with_one_mark_are_no_block(done, tmp_path):
    cells, out = done
    notes = json.loads((out / cells[1].name / "cell.json").read_text())
    ((test, mark),) = notes["marks"].items()
    folder = tmp_path / "cell"
    shutil.copytree(out / cells[1].name, folder)
    shutil.copytree(module.answers_in(folder, test), module.answers_in(folder, "elsewhere"))
    notes["marks"] = {test: mark, "elsewhere": mark}
    (folder / "cell.json").write_text(json.dumps(notes))
    with pytest.raises(InputError, match="2 test sets share a mark"):
        recorded.write([folder], tmp_path / "block", {})
