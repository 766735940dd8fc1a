"""The long kill test counts what it should, and its page has places for the figures."""

import json
import os
import re
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from benchmarks.faults import kills, page

ROOT = Path(__file__).parents[1]
STAMP = {"command": "python -m x", "date": "2026-01-01", "hardware": "a machine"}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills are made in forks")


def writes_three(words):
    folder = Path(words[0])
    for number in range(3):
        (folder / f"{number}.part").write_text("x")
        (folder / f"{number}.part").rename(folder / f"{number}.png")
    return 0


@pytest.mark.parametrize(("stop", "whole"), [(1, 0), (2, 0), (3, 1), (6, 2), (7, 3)])
def test_a_command_is_killed_just_before_an_event(tmp_path, monkeypatch, capfd, stop, whole):
    monkeypatch.setattr(kills.cli, "main", writes_three)
    (tmp_path / "out").mkdir()
    words, log = [str(tmp_path / "out")], tmp_path / "log"
    with capfd.disabled():  # a fork writes to the process's own streams
        status = kills.forked(partial(kills.watched, tmp_path / "out", stop, [0], words), log)
    assert status == (0 if stop == 7 else -signal.SIGKILL)
    assert len(list((tmp_path / "out").glob("*.png"))) == whole
    if stop == 7:
        assert log.read_text().endswith("events 6\n")


def test_an_error_in_a_fork_is_told(tmp_path, capfd):
    def fails():
        raise RuntimeError("no")

    with capfd.disabled():
        assert kills.forked(fails, tmp_path / "log") == 99
    assert "RuntimeError: no" in (tmp_path / "log").read_text()


def test_what_is_left_is_compared_by_what_counts(tmp_path):
    for name, text in {
        "a.png": "x",
        "card.json": "today",
        "log.csv": "step,seconds\n1,2\n",
    }.items():
        (tmp_path / name).write_text(text)
    before = kills.left(tmp_path)
    (tmp_path / "card.json").write_text("tomorrow")
    (tmp_path / "log.csv").write_text("step,seconds\n1,3\n")
    assert kills.left(tmp_path) == before
    (tmp_path / "log.csv").write_text("step,seconds\n2,2\n")
    (tmp_path / "a.png").write_text("y")
    (tmp_path / "b.part").touch()
    now = kills.left(tmp_path)
    assert {name for name in now if now[name] != before.get(name)} == {"log.csv", "a.png", "b.part"}


def test_the_figures_find_their_place(tmp_path):
    known = [
        {"command": "data build", "way": way, "at": 1, "killed": True, "went_on": ok, "equal": ok}
        for way, ok in (("moment", True), ("event", True), ("event", False))
    ]
    report = kills.summary([*known, known[0] | {"killed": False}])
    assert (report["kills"], len(report["failures"])) == (3, 1)
    told = kills.table(report)
    assert "| `data build` | 1 | 2 | 2 of 3 |" in told
    copy = Path(shutil.copy(ROOT / page.PAGE, tmp_path))
    for name, text in (("kills", told), ("memory", "| a table |"), ("soak", "| rows |")):
        for _ in range(2):  # what was there is replaced
            page.put(copy, name, report | STAMP, text)
        assert copy.read_text(encoding="utf-8").count(text) == 1
    with pytest.raises(ValueError, match="0 places"):
        page.put(copy, "nothing", STAMP, told)


@pytest.mark.parametrize(("careful", "ends"), [(True, [2, 0]), (False, [0, 0])])
def test_a_wrong_success_is_seen_in_a_round_of_the_soak(tmp_path, monkeypatch, careful, ends):
    from benchmarks.faults import soak  # loads torch

    def copies(words):
        text = Path(words[1], "a.txt").read_text(encoding="utf-8")
        out = Path(words[-1])
        if careful and len(text) < 40:
            # As libraries say it, whose words are quoted.
            print("50%]error: a.txt: is cut (I/O error: 5); copy it again", file=sys.stderr)
            return 2
        out.mkdir(parents=True, exist_ok=True)
        (out / "a.png").write_text(text)
        return 0

    monkeypatch.setattr(soak, "COMMANDS", {"copy": "copy IN/data"})
    monkeypatch.setattr(soak.cli, "main", copies)
    (tmp_path / "inputs/data").mkdir(parents=True)
    (tmp_path / "inputs/data/a.txt").write_text("text" * 10)
    monkeypatch.setattr(soak, "FAULTS", ("damaged input",))
    one = soak.Soak(tmp_path)
    found = one.round(one.draw())
    assert (found["statuses"], found["sound"]) == (ends, careful)


def test_ctrl_c_is_met_in_a_soak_that_was_begun_in_the_background(tmp_path, monkeypatch):
    from benchmarks.faults import soak  # loads torch

    def waits(_):
        for _ in range(20):
            time.sleep(0.01)
        return 0

    monkeypatch.setattr(soak, "COMMANDS", {"wait": "wait IN/data"})
    monkeypatch.setattr(soak, "FAULTS", ("none", "Ctrl-C", "none", "none"))
    monkeypatch.setattr(soak.cli, "main", waits)
    monkeypatch.setattr(soak.kills, "make_inputs", lambda inputs: None)
    monkeypatch.setattr("tempfile.tempdir", None)  # it chooses another
    (tmp_path / "inputs/data").mkdir(parents=True)
    (tmp_path / "inputs/data/a.txt").write_text("text")
    words = ["--out", tmp_path, "--record", tmp_path / "a.json", "--only", *range(1, 7)]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell leaves it there
    try:
        assert soak.main([*map(str, words)]) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    report = json.loads((tmp_path / "a.json").read_text())
    assert re.search(r"`wait` \| 0 of \d \| [1-9] of ", report["table"])


def test_memory_that_grows_is_told_from_plateaus():
    from benchmarks.faults import memory  # loads torch

    flat = memory.summary([100.0] * 50 + [120.0] * 50, [10.0] * 100)
    grows = memory.summary(
        [100.0 + step for step in range(100)], [1.0 * step for step in range(100)]
    )
    assert flat["growth_mib_a_step"] == flat["tensors_growth_mib_a_step"] == 0
    assert grows["growth_mib_a_step"] == grows["tensors_growth_mib_a_step"] == pytest.approx(1)
