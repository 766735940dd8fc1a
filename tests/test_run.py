import json
import os
import shutil

import pandas as pd
import policies
import pytest
import trainings

from medr1_lib import files
from medr1_lib.errors import InputError
from medr1_lib.rl.run import (
    COLUMNS,
    Run,
    RunFolder,
    last_checkpoint,
    log_table,
    notes_in,
    saving,
    seal,
)

NOTES = {"command": "test", "date": "2026-01-01", "questions": 20, "hardware": "a processor"}
NOTES |= {"gpu": None, "threads": 1, "processes": 2}
LOGS = {
    "loss": 0.25,
    "grad_norm": 1.0,
    "learning_rate": 1e-3,
    "reward": 1.5,
    "rewards/accuracy_reward/mean": 0.5,
    "rewards/format_reward/mean": 1.0,
    "completions/mean_length": 9.0,
    "completions/clipped_ratio": 0.0,
    "frac_reward_zero_std": 0.25,
    "entropy": 2.0,
}


def begun(out, *steps, **changes):
    """A run that was interrupted after checkpoints at these steps."""
    folder = RunFolder(out, trainings.grpo(**changes), resume=False)
    with folder.reserved():
        folder.begin(NOTES)
    for step in steps:
        checkpoint = out / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        history = [LOGS | {"step": done, "seconds": 2.0} for done in range(1, step + 1)]
        state = {"global_step": step, "log_history": history}
        (checkpoint / "trainer_state.json").write_text(json.dumps(state))
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (checkpoint / name).write_text(f"{name} of {step}")
        seal(checkpoint)
    return folder


def test_an_unfinished_checkpoint_is_passed_over(tmp_path):
    assert last_checkpoint(tmp_path) is None
    begun(tmp_path / "run", 2, 10, 9)
    (tmp_path / "run/checkpoint-11").mkdir()
    assert last_checkpoint(tmp_path / "run").name == "checkpoint-10"


def test_another_recipe_does_not_get_the_folder(tmp_path):
    begun(tmp_path / "run", 1, seed=0)
    for resume in (False, True):
        with pytest.raises(InputError, match=r"holds a run of another recipe \(seed was 0, is 1\)"):
            RunFolder(tmp_path / "run", trainings.grpo(seed=1), resume)
    with pytest.raises(InputError, match=r"recipe \(beta was 0.04, is 0.1\); choose another"):
        RunFolder(tmp_path / "run", trainings.grpo(beta=0.1), True)


def test_a_run_does_not_go_on_from_a_model_that_has_changed(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(policies.saved(), model)
    begun(tmp_path / "run", 1, model=str(model))
    assert RunFolder(tmp_path / "run", trainings.grpo(model=str(model)), True).checkpoint
    with (model / "config.json").open("a") as file:
        file.write("\n")
    with pytest.raises(InputError, match="its model has changed since it began; choose another"):
        RunFolder(tmp_path / "run", trainings.grpo(model=str(model)), True)


def test_the_same_recipe_is_resumed_on_demand_only(tmp_path):
    begun(tmp_path / "run", 1)
    with pytest.raises(InputError, match="holds this run already; add --resume"):
        RunFolder(tmp_path / "run", trainings.grpo(), False)
    assert RunFolder(tmp_path / "run", trainings.grpo(), True).checkpoint.name == "checkpoint-1"


def test_there_must_be_something_to_resume(tmp_path):
    begun(tmp_path / "run")
    with pytest.raises(InputError, match="has no run to resume; start without --resume"):
        RunFolder(tmp_path / "new", trainings.grpo(), True)
    for resume in (True, False):  # nothing is lost by beginning
        assert RunFolder(tmp_path / "run", trainings.grpo(), resume).checkpoint is None


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="is already in use"):
        RunFolder(tmp_path, trainings.grpo(), False)
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(InputError, match=r"recipe.json: is not sound JSON"):
        RunFolder(tmp_path, trainings.grpo(), False)


def test_a_resumed_run_needs_as_many_processes_and_says_where_it_went_on(tmp_path):
    begun(tmp_path / "run", 10)
    folder = RunFolder(tmp_path / "run", trainings.grpo(), True)
    with pytest.raises(InputError, match="was begun by 2 processes, not 1; resume with as many"):
        folder.go_on(processes=1, main=True)
    for main in (True, False, True):
        folder.go_on(processes=2, main=main)
    assert notes_in(folder.out)["resumed_after_steps"] == [10, 10]


def test_log_and_adapter_are_those_of_the_last_checkpoint(tmp_path):
    begun(tmp_path / "run", 1, 2).finish()
    run = Run.load(tmp_path / "run")
    assert {path.read_text() for path in run.adapter.iterdir()} == {
        "adapter_config.json of 2",
        "adapter_model.safetensors of 2",
    }
    assert run.recipe == trainings.grpo()
    assert list(run.log["step"]) == [1, 2]
    assert list(run.log.columns) == ["step", *COLUMNS["grpo"], "seconds"]
    assert run.log["kl"].isna().all()  # not measured
    assert "minutes: 0.1" in (run.folder / "README.md").read_text()
    assert [path.name for path in run.folder.glob("checkpoint-*")] == ["checkpoint-2"]


def test_a_run_is_called_finished_when_nothing_is_left_to_clear_away(tmp_path, monkeypatch):
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    folder = begun(tmp_path / "run", 1, 2)
    with monkeypatch.context() as patch:
        patch.setattr("medr1_lib.rl.run.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.finish()
    again = RunFolder(folder.out, trainings.grpo(), resume=True)
    assert not again.finished
    again.finish()
    assert [path.name for path in folder.out.glob("checkpoint-*")] == ["checkpoint-2"]


def test_the_log_has_our_names_for_what_trl_measures():
    history = [LOGS | {"step": 1}, {"step": 1, "train_runtime": 1.0}]
    (row,) = log_table(history).to_dict("records")
    assert (row["accuracy"], row["truncated"], row["zero_std_groups"]) == (0.5, 0, 0.25)
    supervised = log_table([{"step": 1, "loss": 1.0, "mean_token_accuracy": 0.75}])
    assert list(supervised.columns[:3]) == ["step", "token_accuracy", "entropy"]
    assert supervised["token_accuracy"].item() == 0.75


def test_rollouts_are_read_as_text(tmp_path):
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]
    for step in (1, 2):
        said = [[{"role": "assistant", "content": text}] for text in "ab"]
        table = pd.DataFrame({"step": step, "prompt": [asked] * 2, "completion": said})
        (tmp_path / "completions").mkdir(exist_ok=True)
        table.to_parquet(tmp_path / f"completions/completions_{step:05d}.parquet")
    rollouts = Run(tmp_path, trainings.grpo(), pd.DataFrame(), tmp_path).rollouts
    assert set(rollouts["prompt"]) == {"Which?"}
    assert list(rollouts["completion"]) == list("abab")
    assert list(rollouts["step"]) == [1, 1, 2, 2]


def test_what_is_no_run_is_not_loaded(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        Run.load(tmp_path)
    begun(tmp_path / "run", 1)
    with pytest.raises(InputError, match="its run is not finished; go on with --resume"):
        Run.load(tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").touch()
    folder = RunFolder(tmp_path / "file" / "run", trainings.grpo(), False)
    words = r"file/run: cannot be written \(Not a directory\)"
    with pytest.raises(InputError, match=words), folder.reserved():
        raise AssertionError("never gets here")


def test_a_folder_in_which_no_run_begins_is_taken_back(tmp_path):
    folder = RunFolder(tmp_path / "run", trainings.grpo(), False)
    with folder.reserved():
        (folder.out / "completions").mkdir()  # as TRL does
        (folder.out / "completions/completions_00000.parquet").touch()  # of the pre-flight
    assert not (tmp_path / "run").exists()
    begun(tmp_path / "run")
    assert (tmp_path / "run/recipe.json").exists()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("writing failed\nat line 1")]
)
def test_a_failed_write_is_told_in_one_line(tmp_path, error):
    words = r"\((No space left on device|writing failed at line 1)\); make room .*--resume"
    with pytest.raises(InputError, match=words), saving(tmp_path):
        raise error


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "a"
    files.atomic_write(file, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.atomic_write(file, b"new")
    assert file.read_bytes() == b"old"
    with pytest.raises(ZeroDivisionError):
        files.write_json(file, {"new": 1})
    assert file.read_bytes() == b"old"


def test_a_report_goes_straight_into_a_pipe_or_to_what_a_link_names(tmp_path, monkeypatch):
    """Such as /dev/stdout, which a new file in its place would take away from all others."""
    monkeypatch.setattr("pathlib.Path.replace", lambda *paths: 1 / 0)
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    link.symlink_to(target)
    for path in (pipe, link):
        files.write_json(path, {"a": 1})
    assert os.read(reader, 100) == target.read_bytes() == b'{\n "a": 1\n}\n'
    os.close(reader)
    assert link.is_symlink()
