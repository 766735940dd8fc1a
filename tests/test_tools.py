"""The tools start, and the sample in the repository is what its command draws."""

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medr1_lib.cli import exit_status
from medr1_lib.data.question import Question
from tools import fake_2b, migrate, report, sample
from tools.pretrain import command as pretrain

ROOT = Path(__file__).parents[1]
SCRIPTS = [p for p in ROOT.glob("benchmarks/*/*.py") if "\ndef main(" in p.read_text()]


def test_the_sample_is_what_the_command_writes(tmp_path):
    assert sample.main(["--out", str(tmp_path)]) == 0
    shipped = ROOT / "data" / "sample"
    assert (tmp_path / sample.RECORDS).read_text() == (shipped / sample.RECORDS).read_text()
    ours, theirs = (np.asarray(Image.open(f / sample.SHEET)) for f in (tmp_path, shipped))
    # Another processor may round the last bit of a float another way.
    assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_every_record_is_a_question():
    records = json.loads((ROOT / "data" / "sample" / sample.RECORDS).read_text())
    asked = [Question.from_record(record) for record in records]
    assert len({(q.modality, q.question_type) for q in asked}) == 40


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert exit_status(sample.main, ["--out", str(tmp_path / "taken")]) == 2
    assert "taken" in capsys.readouterr().err


def test_every_tool_and_benchmark_says_how_it_is_used(capsys):
    modules = [fake_2b, migrate, pretrain, report, sample]
    modules += [import_module(f"benchmarks.{path.parent.name}.{path.stem}") for path in SCRIPTS]
    for module in modules:
        with pytest.raises(SystemExit) as ended:
            module.main(["--help"])
        shown = capsys.readouterr().out
        assert ended.value.code == 0, module
        assert "usage:" in shown, module
