"""Folders of an earlier version get today's names, once and in place."""

import json

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
