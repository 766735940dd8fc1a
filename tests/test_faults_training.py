"""Damage that a training may meet: each kind is refused in one line, or passed over."""

import shutil
import socket
import subprocess
import sys

import pytest
import torch
import trainings
from safetensors.torch import load_file
from transformers import TrainerCallback

from medr1_lib import files
from medr1_lib.cli import main
from medr1_lib.errors import InputError
from medr1_lib.rl.run import RunFolder
from medr1_lib.rl.train import train

STATE = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
WEIGHTS = ("adapter_model.safetensors", "adapter_config.json")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


DAMAGES = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


class Interrupt(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise KeyboardInterrupt


def recipe(**changes):
    return trainings.sft(save_steps=1, **changes)


def told(capsys):
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that was interrupted after two of three steps, and how it ends; read only."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), out / "cut", callbacks=[Interrupt()])
    shutil.copytree(out / "cut", out / "whole")
    train(recipe(), out / "whole", resume=True)
    return out


@pytest.fixture
def cut(made, tmp_path):
    return shutil.copytree(made / "cut", tmp_path / "run")


@pytest.fixture
def whole(made, tmp_path):
    return shutil.copytree(made / "whole", tmp_path / "run")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*STATE, *WEIGHTS, "complete"])
def test_a_damaged_checkpoint_is_left_for_the_one_before_it(cut, name, damage):
    DAMAGES[damage](cut / "checkpoint-2" / name)
    assert RunFolder(cut, recipe(), True).checkpoint.name == "checkpoint-1"


def test_the_run_goes_on_from_the_sound_one_to_the_same_end(made, cut, capsys):
    (cut / "checkpoint-2/optimizer.pt").unlink()
    run = train(recipe(), cut, resume=True)
    assert "checkpoint-2 is damaged; going on from checkpoint-1\n" in capsys.readouterr().err
    one, other = (
        load_file(folder / "adapter/adapter_model.safetensors") for folder in (cut, made / "whole")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert list(run.log["step"]) == [1, 2, 3]


def test_a_run_without_a_sound_checkpoint_is_refused(cut):
    for checkpoint in cut.glob("checkpoint-*"):
        (checkpoint / "optimizer.pt").unlink()
    with pytest.raises(InputError, match="all its checkpoints are damaged; remove the folder"):
        RunFolder(cut, recipe(), True)


NOTES = (
    "",
    "{}",
    "[]",
    "{",
    "null",
    '{"recipe": []}',
    '{"recipe": {"method": 5}}',
    "\x00",
    "[" * 9999,
)


@pytest.mark.parametrize("content", NOTES, ids=range(len(NOTES)))
@pytest.mark.parametrize("state", ["cut", "whole"])
def test_damaged_notes_are_refused(made, tmp_path, state, content, capsys):
    out = shutil.copytree(made / state, tmp_path / "run")
    (out / "recipe.json").write_text(content)
    assert main(["train", "sft", "--out", str(out), "--resume"]) == 2
    assert "recipe" in told(capsys)
    with pytest.raises(InputError):
        RunFolder(out, recipe(), True)


@pytest.mark.parametrize("state", ["cut", "whole"])
def test_missing_notes_are_refused(made, tmp_path, state, capsys):
    out = shutil.copytree(made / state, tmp_path / "run")
    (out / "recipe.json").unlink()
    assert main(["train", "sft", "--out", str(out), "--resume"]) == 2
    assert "holds no run" in told(capsys)
    with pytest.raises(InputError, match="already in use"):
        RunFolder(out, recipe(), True)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "zeros"])
@pytest.mark.parametrize("name", [*(f"adapter/{name}" for name in WEIGHTS), "log.csv"])
def test_a_finished_run_that_is_damaged_is_not_finished(whole, name, damage, capsys):
    DAMAGES[damage](whole / name)
    assert main(["train", "sft", "--out", str(whole), "--resume"]) == 2
    assert "damaged" in told(capsys)


def test_a_log_of_another_time_does_not_matter(cut):
    (cut / "log.csv").write_text("x")
    assert list(train(recipe(), cut, resume=True).log["step"]) == [1, 2, 3]


@pytest.mark.parametrize("resume", [False, True])
def test_a_training_killed_before_its_first_step_begins_again(tmp_path, resume):
    """What such kills leave: folders, unfinished files, lock, sample, unsealed checkpoint."""
    (tmp_path / "completions").mkdir()
    for name in ("recipe.json.part", files.LOCK, "completions/completions_00000.parquet"):
        (tmp_path / name).write_text("process 1 on nowhere")
    (tmp_path / "checkpoint-1").mkdir()
    assert RunFolder(tmp_path, recipe(), resume).checkpoint is None
    run = train(recipe(max_steps=1), tmp_path, resume=resume)
    assert list(run.log["step"]) == [1]
    assert not list(tmp_path.rglob("*.part")) + list(tmp_path.glob("completions"))


def test_a_second_writer_is_refused_with_the_first_one_s_name(tmp_path):
    pytest.importorskip("fcntl")
    code = "import sys, time, pathlib; from medr1_lib.files import one_writer\n"
    code += "with one_writer(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    first = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    first.stdout.readline()
    who = f"process {first.pid} on {socket.gethostname()}"
    try:
        with pytest.raises(InputError, match=f"is being written by {who}"):
            train(recipe(), tmp_path)
    finally:
        first.kill()
        first.wait()
    with RunFolder(tmp_path, recipe(), False).reserved():  # the lock died with its process
        pass
