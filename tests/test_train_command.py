import json
import os
import signal
import subprocess
import sys
import time

import policies
import pytest
import trainings

from medr1_lib.cli import exit_status, main
from medr1_lib.rl.recipe import presets
from medr1_lib.rl.run import Run

SMALL = (
    *("--num_generations", "4", "--per-device-train-batch-size", "8"),
    *("--max_completion_length", "4", "--style", "no_think"),
)


def words(method, preset, out, *more):
    paths = ("--model", str(policies.saved()), "--data", str(trainings.data()))
    return ["train", method, "--recipe", preset, "--out", str(out), *paths, *more]


def test_help_names_the_presets_and_every_setting(capsys):
    assert main(["train"]) == main(["train", "--help"]) == 0
    assert f"Presets: {', '.join(presets())}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["train", "grpo", "--help"])
    printed = capsys.readouterr().out
    for flag in ("--recipe", "--resume", "--force", "--question-type", "--beta", "--scale_rewards"):
        assert flag in printed
    assert "SUPPRESS" not in printed


def test_grpo_runs_with_flags_of_trl(tmp_path, capsys):
    out = tmp_path / "run"
    more = ("--max_steps", "2", "--beta", "0.5", "--seed", "3", "--modality", "CT", "--force")
    assert main(words("grpo", "course", out, *SMALL, *more)) == 0
    run = Run.load(out)
    assert (run.recipe.seed, run.recipe.modality, run.recipe.config["beta"]) == (3, ("CT",), 0.5)
    assert len(run.log) == 2
    printed = capsys.readouterr().out
    assert "2 steps in" in printed
    assert f"adapter: {run.adapter}" in printed
    assert "reward 0" in printed


@pytest.mark.parametrize(
    ("rank", "visible", "seen"),
    [(None, "2,3", "2"), (None, None, "0"), ("1", "2,3", "2,3"), (None, "", "")],
)
def test_one_process_takes_the_first_gpu_and_several_take_all(rank, visible, seen, monkeypatch):
    for name, value in (("LOCAL_RANK", rank), ("CUDA_VISIBLE_DEVICES", visible)):
        monkeypatch.setenv(name, str(value))
        if value is None:
            monkeypatch.delenv(name)
    assert exit_status(main, ["train", "nothing"]) == 2
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == seen


def test_sft_runs_and_says_so_again_when_it_is_resumed(tmp_path, capsys):
    out = tmp_path / "run"
    small = ("--per_device_train_batch_size", "2", "--max_steps", "2", "--threads", "1")
    assert main(words("sft", "course-sft", out, *small)) == 0
    first = capsys.readouterr().out
    assert "token_accuracy" in first
    assert main(["train", "sft", "--out", str(out), "--resume"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dpo"], "train: no method 'dpo'; use grpo or sft"),
        (["grpo", "--recipe", "course"], "no --out; name a folder"),
        (["grpo", "--out", "x"], "no --recipe; give a YAML file or one of course, course-qlora"),
        (["grpo", "--out", "x", "--resume"], "x: holds no run"),
        (["sft", "--recipe", "course", "--out", "x"], "course: is a recipe for grpo, not for sft"),
        (
            ["grpo", "--recipe", "course", "--out", "x", "--bet", "1"],
            "unrecognized arguments: --bet",
        ),
        (["grpo", "--recipe", "nothing", "--out", "x"], "nothing: no such recipe"),
        (["grpo", "--recipe", "course", "--out", "x", "--threads", "0"], "is below 1"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_stopped_command_is_resumed_by_the_same_command(stop, tmp_path, capsys):
    out = tmp_path / "run"
    more = ("--per_device_train_batch_size", "2", "--max_steps", "15", "--save_steps", "1")
    command = [sys.executable, "-m", "medr1_lib", *words("sft", "course-sft", out, *more)]
    process = subprocess.Popen(command, env=os.environ, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(out.glob("checkpoint-3/complete")):
        time.sleep(0.02)
    process.send_signal(stop)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if stop == signal.SIGINT else -signal.SIGKILL), told
    assert main(words("sft", "course-sft", out, *more, "--resume")) == 0
    assert list(Run.load(out).log["step"]) == list(range(1, 16))
    (kept,) = json.loads((out / "recipe.json").read_text())["resumed_after_steps"]
    assert kept >= 3
