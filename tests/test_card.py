import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pandas as pd
import pytest
import trainings

from benchmarks.stamp import run_stamp
from medr1_lib.provenance import command_line
from medr1_lib.rl.run import card

NOTES = {
    "command": "python -m medr1_lib train grpo",
    "date": "2026-01-01",
    "questions": 20,
    "hardware": "a processor",
    "gpu": None,
    "threads": 1,
    "processes": 2,
}
SIGNAL = {"formula": "L = 0", "preflight": {"text": "16 groups sampled"}, "forced": True}


def log(steps):
    values = {"reward": [step / 10 for step in range(steps)], "kl": [None] * steps}
    return pd.DataFrame(
        {"step": range(1, steps + 1), **values, "learning_rate": 1e-3, "seconds": 3.0}
    )


def test_a_card_says_what_was_done_on_what_and_with_what_result():
    text = card(trainings.grpo(modality=("CT",), quantize="nf4"), NOTES | SIGNAL, log(40))
    for fact in (
        "not for clinical use",
        "GRPO with rule-based rewards, style no_think",
        "base in 4 bits: nf4",
        "modalities and question types: CT",
        "steps: 40",
        "minutes: 2.0",
        "machine: a processor",
        "processes and threads of each: 2 and 1",
        "| reward | 0.45 | 3.45 |",
        "$$\nL = 0\n$$",
        "Before the first step: 16 groups sampled. Trained all the same (`--force`).",
        "--style no_think",
    ):
        assert fact in text
    assert "| kl |" not in text  # was not measured


def test_the_first_and_the_last_steps_of_a_short_run_do_not_overlap():
    assert "| reward | 0 | 0.2 |" in card(trainings.grpo(), NOTES, log(3))
    assert "| reward | 0 | 0 |" in card(trainings.grpo(), NOTES, log(1))


def test_a_supervised_run_has_neither_formula_nor_signal():
    text = card(trainings.sft(), NOTES | {"gpu": "a GPU"}, log(4))
    assert "supervised fine-tuning" in text
    assert "machine: a GPU" in text
    assert "$$" not in text
    assert "Before the first step" not in text


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("medr1_lib.__main__", "python -m medr1_lib --out 'a b'"),
        ("benchmarks.study.loop", "python -m benchmarks.study.loop --out 'a b'"),
        ("pytest.__main__", "called from Python"),
        (None, "called from Python"),
    ],
)
def test_the_command_is_told_where_it_is_one_of_the_project(monkeypatch, name, told):
    main = ModuleType("__main__")
    main.__spec__ = name and ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["/a/path.py", "--out", "a b"])
    assert command_line() == told
    assert run_stamp(1)["command"] == told
