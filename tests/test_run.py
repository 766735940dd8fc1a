import json

import pandas as pd
import pytest
import trainings

from medr1_lib import files
from medr1_lib.errors import InputError
from medr1_lib.rl.run import COMPLETE, Run, RunFolder, last_checkpoint, writing


def begun(out, *steps, **changes):
    """A run that was interrupted after checkpoints at these steps."""
    folder = RunFolder(out, trainings.grpo(**changes), resume=False)
    folder.reserve()
    folder.begin({"command": "test"})
    for step in steps:
        checkpoint = out / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / COMPLETE).touch()
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            (checkpoint / name).write_text(f"{name} of {step}")
    return folder


def test_an_unfinished_checkpoint_is_passed_over(tmp_path):
    assert last_checkpoint(tmp_path) is None
    begun(tmp_path / "run", 2, 10, 9)
    (tmp_path / "run/checkpoints/checkpoint-11").mkdir()
    assert last_checkpoint(tmp_path / "run").name == "checkpoint-10"


def test_another_recipe_does_not_get_the_folder(tmp_path):
    begun(tmp_path / "run", 1, seed=0)
    for resume in (False, True):
        with pytest.raises(InputError, match=r"holds a run of another recipe \(seed was 0, is 1\)"):
            RunFolder(tmp_path / "run", trainings.grpo(seed=1), resume)
    with pytest.raises(InputError, match=r"recipe \(beta was 0.04, is 0.1\); choose another"):
        RunFolder(tmp_path / "run", trainings.grpo(beta=0.1), True)


def test_the_same_recipe_is_resumed_on_demand_only(tmp_path):
    begun(tmp_path / "run", 1)
    with pytest.raises(InputError, match="holds this run already; add --resume"):
        RunFolder(tmp_path / "run", trainings.grpo(), False)
    assert RunFolder(tmp_path / "run", trainings.grpo(), True).checkpoint.name == "checkpoint-1"


def test_there_must_be_something_to_resume(tmp_path):
    begun(tmp_path / "run")
    for out in (tmp_path / "run", tmp_path / "new"):
        with pytest.raises(InputError, match="has no checkpoint to resume from; start without"):
            RunFolder(out, trainings.grpo(), True)
    again = RunFolder(tmp_path / "run", trainings.grpo(), False)  # nothing is lost by beginning
    assert again.checkpoint is None


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="is already in use"):
        RunFolder(tmp_path, trainings.grpo(), False)
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(InputError, match=r"recipe.json: is not sound JSON"):
        RunFolder(tmp_path, trainings.grpo(), False)


def test_what_came_after_the_checkpoint_is_forgotten(tmp_path):
    out = tmp_path / "run"
    begun(out, 10)
    lines = [f"{step},0.5" for step in range(1, 13)]
    cut_off = "1"  # of 13
    (out / "log.csv").write_text("\n".join(["step,loss", *lines, cut_off]))
    pd.DataFrame({"step": [1, 10, 11]}).to_parquet(out / "rollouts.parquet")
    RunFolder(out, trainings.grpo(), True).go_on()
    assert list(pd.read_csv(out / "log.csv")["step"]) == list(range(1, 11))
    assert (out / "log.csv").read_text().endswith("10,0.5\n")
    assert list(pd.read_parquet(out / "rollouts.parquet")["step"]) == [1, 10]
    assert json.loads((out / "recipe.json").read_text())["resumed_after_steps"] == [10]


def test_the_adapter_is_that_of_the_last_checkpoint(tmp_path):
    folder = begun(tmp_path / "run", 1, 2)
    pd.DataFrame({"step": [1, 2]}).to_csv(tmp_path / "run/log.csv", index=False)
    folder.finish("the card\n", {"steps": 2})
    run = Run.load(tmp_path / "run")
    assert {path.read_text() for path in run.adapter.iterdir()} == {
        "adapter_config.json of 2",
        "adapter_model.safetensors of 2",
    }
    assert run.recipe == trainings.grpo()
    assert (run.folder / "README.md").read_text() == "the card\n"


def test_what_is_no_run_is_not_loaded(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        Run.load(tmp_path)
    begun(tmp_path / "run", 1)
    with pytest.raises(InputError, match="its run is not finished; go on with --resume"):
        Run.load(tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").touch()
    folder = RunFolder(tmp_path / "file" / "run", trainings.grpo(), False)
    with pytest.raises(InputError, match=r"file/run: cannot be written \(Not a directory\)"):
        folder.reserve()


def test_an_empty_folder_is_taken_back_and_a_used_one_is_not(tmp_path):
    folder = RunFolder(tmp_path / "run", trainings.grpo(), False)
    folder.reserve()
    folder.release()
    assert not (tmp_path / "run").exists()
    begun(tmp_path / "run").release()
    assert (tmp_path / "run/recipe.json").exists()


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("writing failed\nat line 1")]
)
def test_a_failed_write_is_told_in_one_line(tmp_path, error):
    words = r"\((No space left on device|writing failed)\); make room .*--resume goes on from"
    with pytest.raises(InputError, match=words), writing(tmp_path):
        raise error


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "a"
    files.atomic_write(file, b"old")
    monkeypatch.setattr("pathlib.Path.replace", lambda *paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.atomic_write(file, b"new")
    assert file.read_bytes() == b"old"
