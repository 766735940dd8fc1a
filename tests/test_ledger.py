"""A student's probabilities go from chapter to chapter, and nothing about them stops a chapter."""

import json
import os

import pytest

from medr1_lib.course import ledger
from medr1_lib.errors import InputError
from notebooks.tools import kernel


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The file that the ledger is kept in, beside the notebook; it does not exist yet."""
    monkeypatch.delenv("MEDR1_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ledger.json"


def test_without_a_file_each_claim_stands_at_one_half(kept, capsys):
    ledger.page(6, thinking=None)
    printed = capsys.readouterr().out
    assert printed.count("0.50 (not asked yet: chapter 00)") == len(ledger.CLAIMS)
    assert all(text in printed for text in ledger.CLAIMS.values())
    assert not kept.exists(), "nothing was said, so nothing is written"


def test_beliefs_add_up_over_the_chapters(kept, capsys):
    ledger.page(0, generalizes=0.8, thinking=0.5, size=0.1)
    ledger.page(11, thinking=0.9)
    ledger.page(6, thinking=0.4)
    ledger.page(6, thinking=0.3)  # the cell was run again
    capsys.readouterr()
    ledger.page(12, size=None)
    printed = capsys.readouterr().out
    assert "0.50 (chapter 00), then 0.30 (chapter 06), then 0.90 (chapter 11)" in printed
    assert json.loads(kept.read_text())["size"] == {"00": 0.1}


@pytest.mark.parametrize(
    ("beliefs", "words"),
    [({"size": 80}, "size: 80 is no probability"), ({"shape": 0.5}, "claim 'shape': is not one")],
)
def test_what_is_no_belief_is_refused(kept, beliefs, words):
    with pytest.raises(InputError, match=words):
        ledger.page(0, **beliefs)
    assert not kept.exists()


def test_a_file_that_is_no_ledger_is_named(kept):
    kept.write_text("{")
    with pytest.raises(InputError, match=r"ledger.json: is not sound JSON .*; delete it"):
        ledger.page(6)


def test_where_nothing_can_be_written_the_chapter_goes_on(kept, capsys, monkeypatch):
    monkeypatch.setenv("MEDR1_LEDGER", str(kept.parent / "absent" / "ledger.json"))
    ledger.page(0, size=0.7)
    printed = capsys.readouterr().out
    assert printed.startswith("Not kept for later chapters")
    assert "0.70 (chapter 00)" in printed


def test_belief_beside_evidence(kept, capsys):
    ledger.page(0, generalizes=0.9, thinking=0.9)
    ledger.page(11, thinking=0.2)
    capsys.readouterr()
    ledger.settle({"generalizes": None, "thinking": False, "size": True})
    said = [line.strip() for line in capsys.readouterr().out.splitlines()[1::2]]
    assert said == [
        "you: 0.90; it is open; no score",
        "you: 0.20; it does not hold here; score 0.04",
        "you: 0.50; it holds here; score 0.25",
    ]


def test_an_executed_notebook_finds_no_ledger_of_another():
    with kernel.environment("laptop") as first, kernel.environment("gpu") as second:
        places = {first["MEDR1_LEDGER"], second["MEDR1_LEDGER"]}
    assert len(places) == 2
    assert not any(map(os.path.exists, places))
