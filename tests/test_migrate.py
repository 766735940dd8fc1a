"""Folders of an earlier version get today's names, once and in place."""

import json

import pandas as pd
import pytest

from medr1_lib.errors import InputError
from tools.migrate import migrate


def test_blocks_evaluations_and_sweeps_are_renamed(tmp_path):
    block, job = tmp_path / "block", tmp_path / "sweep/abc"
    scored, other = job / "scored-phantoms", tmp_path / "other"
    for folder in (block, scored, other):
        folder.mkdir(parents=True)
    for path in (block / "items.parquet", block / "odds.parquet", scored / "records.parquet"):
        path.write_bytes(path.name.encode())
    (block / "models.json").write_text("{}")
    (job / "cell.json").write_text("{}")
    (other / "items.parquet").write_bytes(b"somebody else's")
    card = {"made_by": "x", "settings": {"cell": "abc", "data": "d"}}
    (scored / "card.json").write_text(json.dumps(card))
    assert len(migrate(tmp_path)) == 5
    assert (block / "answers.parquet").read_bytes() == b"items.parquet"
    assert (block / "letter_probs.parquet").read_bytes() == b"odds.parquet"
    assert (scored / "answers.parquet").read_bytes() == b"records.parquet"
    assert not (job / "cell.json").exists()
    assert (job / "job.json").exists()
    assert (other / "items.parquet").exists()
    settings = json.loads((scored / "card.json").read_text())["settings"]
    assert settings == {"job": "abc", "data": "d"}
    assert migrate(tmp_path) == []


def test_nothing_is_written_over(tmp_path):
    for name in ("items.parquet", "answers.parquet", "models.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match=r"both items\.parquet and answers\.parquet"):
        migrate(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        migrate(tmp_path / "nowhere")


def test_logs_get_the_new_columns_and_keep_their_figures(tmp_path):
    old = pd.DataFrame({"step": [1, 2], "clipped": [0.0, 0.5], "zero_spread": [0.25, 0.125]})
    old.to_parquet(tmp_path / "log.parquet", index=False)
    (tmp_path / "log.csv").write_text("step,clipped,kl\n1,0.50,0.1\n")
    notes = {"preflight": {"zero_spread": 0.3, "accuracy": 0.5}}
    (tmp_path / "recipe.json").write_text(json.dumps(notes))
    assert len(migrate(tmp_path)) == 3
    new = pd.read_parquet(tmp_path / "log.parquet")
    assert list(new) == ["step", "truncated", "zero_std_groups"]
    assert (new.to_numpy() == old.to_numpy()).all()
    assert (tmp_path / "log.csv").read_text() == "step,truncated,kl\n1,0.50,0.1\n"
    found = json.loads((tmp_path / "recipe.json").read_text())["preflight"]
    assert found == {"zero_std_groups": 0.3, "accuracy": 0.5}
    assert migrate(tmp_path) == []


def test_a_block_names_its_tests_by_their_folders(tmp_path):
    table = pd.DataFrame({"item": [0, 1], "mark": ["random", "unseen"]})
    for name in ("answers.parquet", "letter_probs.parquet", "questions.parquet"):
        table.to_parquet(tmp_path / name, index=False)
    marks = {"_output/phantoms-32": "random", "_output/other": "unseen"}
    model = {"model": "a", "marks": marks, "shortcut": 0.0}
    (tmp_path / "models.json").write_text(json.dumps({"models": [model]}))
    assert len(migrate(tmp_path)) == 4
    for name in ("answers.parquet", "letter_probs.parquet", "questions.parquet"):
        new = pd.read_parquet(tmp_path / name)
        assert new.to_dict("list") == {"item": [0, 1], "test": ["phantoms-32", "other"]}
    found = json.loads((tmp_path / "models.json").read_text())["models"]
    assert found == [{"model": "a", "tests": ["_output/phantoms-32", "_output/other"]}]
    assert migrate(tmp_path) == []
