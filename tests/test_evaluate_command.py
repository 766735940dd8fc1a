import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice

import pandas as pd
import policies
import pytest
import torch
from layouts import REAL, needs_real, picture

from medr1_lib.cli import main
from medr1_lib.data import dataset, omnimedvqa, phantom_vqa
from medr1_lib.data.images import png
from medr1_lib.data.phantoms import draw
from medr1_lib.data.question import Question
from medr1_lib.evaluation.ask import Asker

SHARE = {"n", "accuracy", "format_rate", "interval", "unread"}
REPORT = SHARE | {"guess", "by_modality", "by_question_type", "controls", "readers", "letters"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twenty phantoms of two modalities."""
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    asked = islice(phantom_vqa.questions("test", per_cell=2), 20)
    rows = [q.record({"bytes": png(draw(q.scene))}) for q in asked]
    dataset.write(folder, {"test": rows}, {"seed": 0})
    return folder


def command(data, out, *more, model=None):
    model = model or policies.saved()
    asked = ["evaluate", "--model", model, "--data", data, "--out", out, "--max-new-tokens", 6]
    return [str(word) for word in (*asked, *more)]


def test_records_card_and_report_agree(data, tmp_path, capsys):
    out, report = tmp_path / "out", tmp_path / "report.json"
    asked = ("--style", "no_think", "--controls", "blank", "shuffled", "text", "--limit", 9)
    assert main(command(data, out, *asked, "--seed", 4, "--json", report)) == 0
    found, records = json.loads(report.read_text()), pd.read_parquet(out / "answers.parquet")
    assert set(found) == REPORT | {"reliance"}
    assert set(found["reliance"]) == {"blank", "shuffled"}
    assert found["reliance"]["blank"]["HVRR"] is None  # there is no rationale
    assert found["readers"]["tolerant"] == found["accuracy"]
    assert found["readers"]["corrected"] is None  # nine questions are too few
    assert 0 <= found["readers"]["forced"] <= 1
    assert sum(found["letters"].values()) == pytest.approx(1 - found["unread"])
    assert set(found["controls"]) == {"blank", "shuffled", "text"}
    assert all(set(part) == SHARE for part in found["controls"].values())
    assert found["n"] == 9 == sum(part["n"] for part in found["by_modality"].values())
    assert len(records) == 9 * 4
    assert records["correct"].equals(records["parsed"] == records["answer"])
    real = records[records["control"] == "none"]
    assert found["accuracy"] == real["correct"].mean()
    assert found["unread"] == real["parsed"].isna().mean()
    card = json.loads((out / dataset.CARD).read_text())
    assert card["settings"]["seed"] == 4
    assert card["settings"]["decoding"] == "greedy"
    assert card["seconds"] > 0
    assert {"versions", "hardware", "finished"} <= set(card)
    printed = capsys.readouterr().out
    assert "no_think:" in printed
    assert all(name in printed for name in ("all", "CT", "MRI", "shuffled"))


def test_options_are_asked_in_every_order(data, tmp_path, capsys):
    out, report = tmp_path / "out", tmp_path / "report.json"
    asked = ("--style", "no_think", "--controls", "circular", "--limit", 3, "--json", report)
    assert main(command(data, out, *asked)) == 0
    found, records = json.loads(report.read_text()), pd.read_parquet(out / "answers.parquet")
    assert set(found) == REPORT | {"circular"}
    assert found["n"] == 3
    assert set(records["control"]) == {"none", "rotated 1", "rotated 2", "rotated 3"}
    for _, orders in records.groupby("item"):
        assert len({tuple(options) for options in orders["options"]}) == 4
        right = {row.options["ABCD".index(row.answer)] for row in orders.itertuples()}
        assert len(right) == 1  # the letter moves with the text
    assert "order of options: original" in capsys.readouterr().out


def test_several_styles_are_reported_by_name(data, tmp_path):
    report = tmp_path / "report.json"
    asked = command(data, tmp_path / "out", "--style", "think_after", "no_think", "--limit", 4)
    assert main([*asked, "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert set(found) == {"think_after", "no_think"}
    assert all(set(part) == REPORT for part in found.values())


@pytest.mark.parametrize("more", [[], ["--quantize", "nf4"]], ids=["full", "nf4"])
def test_an_adapter_is_evaluated(data, tmp_path, more):
    asked = ("--style", "no_think", "--limit", 4)
    assert main(command(data, tmp_path / "plain", *asked)) == 0
    out = tmp_path / "adapted"
    assert main(command(data, out, *asked, *more, model=policies.adapter())) == 0
    records = pd.read_parquet(out / "answers.parquet")
    assert len(records) == 4
    plain = pd.read_parquet(tmp_path / "plain/answers.parquet")
    assert not records["completion"].equals(plain["completion"])


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_a_killed_run_loses_nothing_that_was_finished(data, tmp_path, monkeypatch):
    asked = ("--style", "no_think", "--controls", "blank", "--batch-size", 2)
    assert main(command(data, tmp_path / "whole", *asked)) == 0
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-m", "medr1_lib", *command(data, out, *asked)],
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    until = time.monotonic() + 120
    while len(list(out.glob("parts/*.parquet"))) < 3 and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = sum(len(pd.read_parquet(part)) for part in out.glob("parts/*.parquet"))
    assert 6 <= kept < 40
    again, answer = [], Asker.complete_ids

    def counted(asker, chats, images):
        again.extend(chats)
        return answer(asker, chats, images)

    monkeypatch.setattr(Asker, "complete_ids", counted)
    assert main(command(data, out, *asked)) == 0
    assert len(again) == 40 - kept
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / "answers.parquet"),
        pd.read_parquet(tmp_path / "whole/answers.parquet"),
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "required: --style"),
        (["--style", "aloud"], "invalid choice: 'aloud'"),
        (["--style", "no_think", "--controls", "upside_down"], "invalid choice"),
        (["--style", "no_think", "--limit", "0"], "is below 1"),
        (["--style", "no_think", "--quantize", "int3"], "invalid choice"),
    ],
)
def test_wrong_arguments_show_the_usage(data, tmp_path, more, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(command(data, tmp_path / "out", *more))
    assert said in capsys.readouterr().err


def test_bad_input_is_told_before_any_work(data, tmp_path, capsys):
    def refused(said, *more, data=data, out="out", **how):
        assert main(command(data, tmp_path / out, "--style", "no_think", *more, **how)) == 2
        assert said in capsys.readouterr().err
        assert not list(tmp_path.glob("*/parts"))

    refused("is not a directory", model=tmp_path / "nowhere")
    refused("holds no data set", data=tmp_path / "nowhere")
    refused("cannot be written", "--json", tmp_path / "no/such/report.json")
    (tmp_path / "used").mkdir()
    (tmp_path / "used/thesis.tex").touch()
    refused("already in use", out="used")


def test_another_model_does_not_go_on_with_the_records(data, tmp_path, capsys):
    asked = ("--style", "no_think", "--limit", 2)
    assert main(command(data, tmp_path / "out", *asked)) == 0
    assert main(command(data, tmp_path / "out", *asked, model=policies.newer())) == 2
    assert "was made with another model_sha256" in capsys.readouterr().err


def test_a_full_gpu_is_told(data, tmp_path, monkeypatch, capsys):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Asker, "complete_ids", full)
    assert main(command(data, tmp_path / "out", "--style", "no_think", "--batch-size", 9)) == 2
    said = "--batch-size 9: the GPU's memory is full; choose a smaller one"
    assert said in capsys.readouterr().err


def test_a_modality_of_one_image_is_left_out_of_shuffled_and_said(tmp_path, capsys):
    names = [("CT", "a"), ("CT", "b"), ("OCT", "c"), ("OCT", "c")]
    rows = [
        Question(f"Which {n}?", ("x", "y"), "A", modality, "Grade", image, "own").record(
            {"bytes": png(picture(ord(image)))}
        )
        for n, (modality, image) in enumerate(names)
    ]
    dataset.write(tmp_path / "own", {"test": rows}, {})
    report, again = tmp_path / "report.json", tmp_path / "again.json"
    asked = ("--style", "no_think", "--controls", "blank", "shuffled", "text", "--json", report)
    assert main(command(tmp_path / "own", tmp_path / "out", *asked)) == 0
    assert "shuffled: left out where a modality has one image only (OCT)" in capsys.readouterr().out
    records = pd.read_parquet(tmp_path / "out/answers.parquet")
    assert records.groupby("control")["item"].apply(list).to_dict() == {
        "none": [0, 1, 2, 3],
        "blank": [0, 1, 2, 3],
        "shuffled": [0, 1],
        "text": [0, 1, 2, 3],
    }
    found = json.loads(report.read_text())
    assert {name: one["n"] for name, one in found["controls"].items()} == {
        "blank": 4,
        "shuffled": 2,
        "text": 4,
    }
    assert {*found["reliance"]} == {"blank", "shuffled"}
    told = ["evaluate", "--answers", tmp_path / "out/answers.parquet", "--data", tmp_path / "own"]
    assert main([*map(str, told), "--json", str(again)]) == 0  # none of them is missing
    assert "0 of 14 answers are missing" in capsys.readouterr().out
    assert json.loads(again.read_text())["controls"] == found["controls"]


@needs_real
def test_the_real_questions_are_answered(tmp_path):
    root, out, report = REAL / "medvqa", tmp_path / "out", tmp_path / "report.json"
    omnimedvqa.import_data(root, tmp_path / "real", root / "Splits")
    asked = command(tmp_path / "real", out, "--style", "no_think", "--controls", "shuffled")
    assert main([*asked, "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert found["n"] == dataset.read(tmp_path / "real")["test"].num_rows
    assert len(found["by_modality"]) == 8
    assert found["controls"]["shuffled"]["n"] == found["n"]


def test_a_style_named_twice_is_asked_once(data, tmp_path):
    asked = ("--style", "no_think", "no_think", "--limit", 2)
    assert main(command(data, tmp_path / "out", *asked)) == 0
    assert len(pd.read_parquet(tmp_path / "out" / "answers.parquet")) == 2


def test_an_adapter_is_scored_on_the_base_it_was_trained_beside(data, tmp_path, capsys):
    adapter = shutil.copytree(policies.adapter(), tmp_path / "run/adapter")
    (tmp_path / "run/recipe.json").write_text(json.dumps({"recipe": {"quantize": "nf4"}}))
    for more, wanted in (((), "nf4"), (("--quantize", "none"), None)):
        out = tmp_path / str(wanted)
        asked = ("--style", "no_think", "--limit", 2, *more)
        assert main(command(data, out, *asked, model=adapter)) == 0
        assert json.loads((out / dataset.CARD).read_text())["settings"]["quantize"] == wanted
        assert ("as the adapter was trained" in capsys.readouterr().out) == (wanted == "nf4")
