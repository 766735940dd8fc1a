from functools import partial
from types import SimpleNamespace

from test_run import LOGS
from tqdm import tqdm
from transformers import trainer_callback

from medr1_lib.rl.train import Progress


def test_a_line_says_how_far_it_is_and_what_was_measured(capsys, monkeypatch):
    monkeypatch.setattr(trainer_callback, "tqdm", partial(tqdm, disable=False))
    bar = Progress()
    state = SimpleNamespace(
        is_world_process_zero=True, global_step=2, max_steps=10, log_history=[LOGS]
    )
    bar.on_train_begin(None, state, None)
    state.global_step = 3
    bar.on_step_end(None, state, None)
    bar.on_log(None, state, None)
    state.log_history.append({"train_runtime": 1.0})
    bar.on_log(None, state, None)
    bar.on_train_end(None, state, None)
    line = capsys.readouterr().err.split("\r")[-1]
    assert "3/10" in line
    for part in ("reward=1.5", "accuracy=0.5", "format=1", "length=9", "loss=0.25"):
        assert part in line
    assert "kl" not in line


def test_other_processes_are_silent(capsys):
    state = SimpleNamespace(
        is_world_process_zero=False, global_step=0, max_steps=10, log_history=[LOGS]
    )
    bar = Progress()
    bar.on_train_begin(None, state, None)
    bar.on_step_end(None, state, None)
    bar.on_log(None, state, None)
    bar.on_train_end(None, state, None)
    assert capsys.readouterr().err == ""
