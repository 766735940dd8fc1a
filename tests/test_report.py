"""The report on made-up blocks: every figure is drawn once, by the command."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest
import records
from PIL import Image

from medr1_lib.analysis import recorded
from medr1_lib.analysis.transfer import maps, matrix, transfer_answers
from medr1_lib.cli import exit_status
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.question import QUESTION_TYPES
from tools import report

QUESTION = ["image_id", "question", "options", "answer", "modality", "question_type", "scene"]


def everything():
    frames = [
        records.study(per_test=30, style=style, seed=seed, method=method)
        for seed, (style, method) in enumerate(
            [("think_before", "grpo"), ("no_think", "grpo"), ("no_think", "sft")]
        )
    ]
    frames.append(records.study(per_test=30, names=["all"], axis="all"))
    frames.append(records.study(per_test=30, names=QUESTION_TYPES, axis="question_type"))
    return pd.concat(frames).drop_duplicates(["model", "axis", "item"])


def logs(frame):
    models = frame[frame["method"] != "base"].drop_duplicates("model")[recorded.LABELS]
    steps = pd.DataFrame({"step": np.arange(1, 21), "reward": 1.0, "accuracy": 0.5})
    return models.merge(steps, how="cross")


def sure(frame):
    """What a sweep records, of one model."""
    some = frame[(frame["method"] == "grpo") & (frame["train"] == "all")]
    return some.assign(confidence=0.75)[[*recorded.LABELS, "test", "item", "confidence", "correct"]]


def write_block(folder, frame):
    """A block as `sweep.record` makes one, without the trainings."""
    folder.mkdir(parents=True)
    columns = ["model", "test", *recorded.ANSWER_COLUMNS]
    frame[columns].to_parquet(folder / recorded.ANSWERS)
    asked = frame.drop_duplicates(["test", "item"])[["test", "item", *QUESTION]]
    asked.to_parquet(folder / recorded.QUESTIONS)
    logs(frame)[["model", "step", "reward", "accuracy"]].to_parquet(folder / recorded.LOGS)
    if len(sure(frame)):  # a block may be without them
        kept = ["model", "test", "item", "confidence", "correct"]
        sure(frame)[kept].to_parquet(folder / recorded.LETTER_PROBS)
    models = frame.drop_duplicates("model")[recorded.LABELS]
    more = {"steps": 20, "date": "2026-01-01", "hardware": "a <small> machine"}
    notes = {
        "command": "python -m medr1_lib sweep",
        "models": models.assign(**more).to_dict("records"),
    }
    (folder / recorded.MODELS).write_text(json.dumps(notes))
    return folder


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """What the command writes about three blocks, two of which were asked the same questions."""
    root = tmp_path_factory.mktemp("report")
    frame = everything()
    sft, base = frame["method"] == "sft", frame["method"] == "base"
    write_block(root / "runs/one", frame[~sft])
    write_block(root / "runs/two", frame[sft | base])
    moved = records.study(per_test=20, names=["CT"], seeds=1)
    write_block(root / "runs/zoo", moved.assign(image_id="other-" + moved["image_id"]))
    (root / "runs/README.md").write_text("not a block")
    assert report.main(["--runs", str(root / "runs"), "--out", str(root / "out")]) == 0
    return root / "out"


@pytest.mark.slow
def test_all_that_the_records_allow_is_drawn(reported):
    assert {path.stem for path in (reported / "one").glob("*.png")} == {
        "headline",
        "map-modality-grpo-think_before",
        "map-modality-grpo-no_think",
        "map-modality-sft-no_think",
        "gain-modality-grpo-think_before",
        "gain-modality-grpo-no_think",
        "gain-modality-sft-no_think",
        "map-question_type-grpo-think_before",
        "gain-question_type-grpo-think_before",
        "ablation-modality",
        "difference-modality-grpo-no_think-grpo-think_before",
        "difference-modality-sft-no_think-grpo-no_think",
        "published-modality",
        "published-question_type",
        "curves-accuracy",
        "curves-reward",
        "calibration-grpo-think_before",
    }


@pytest.mark.slow
def test_figures_are_recomputed_from_items(reported):
    frame = everything()
    table = pd.read_parquet(reported / "one/map-modality-grpo-no_think.parquet")
    by_hand = matrix(transfer_answers(frame, "grpo", "no_think", "modality"))
    assert table["value"].iloc[:9].tolist() == (100 * by_hand["accuracy"]).tolist()
    assert set(table["train"].iloc[9:]) == {"chance", "letter majority", "option prior"}


@pytest.mark.slow
def test_the_headline_takes_models_of_all_and_what_is_added(reported):
    frame = everything()
    table = pd.read_parquet(reported / "one/headline.parquet")
    assert set(table["series"]) == {"base, think_before", "grpo, think_before"}
    extra = pd.DataFrame([("caption oracle", "CT", 9, 0.7, 0.6, 0.8)], columns=report.SERIES)
    some = frame[frame["axis"] != "question_type"]
    some = some[(some["train"] != "all") & (some["axis"] != "all") | (some["method"] == "base")]
    bars = report.headline(some, maps(some), extra)
    assert set(bars["series"]) == {
        "base, think_before",
        "base, no_think",
        "grpo, think_before",
        "grpo, no_think",
        "sft, no_think",
        "caption oracle",
    }
    assert len(bars) == 16


def test_a_larger_base_stands_beside_the_base():
    frame = records.study(per_test=30, names=["all"], axis="all")
    base = frame[frame["method"] == "base"]
    larger = base.assign(method="larger base", model="large", correct=True)
    both = pd.concat([frame, larger])
    bars = report.headline(both, maps(both))
    assert list(bars["series"].unique()) == [
        "base, think_before",
        "larger base, think_before",
        "grpo, think_before",
    ]
    assert (bars.loc[bars["series"] == "larger base, think_before", "accuracy"] == 1).all()
    assert not [key for key in maps(both) if "base" in key[1]]


def test_a_file_without_series_is_refused_before_anything_is_listed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "_train", None)  # calling it would fail
    block = write_block(tmp_path / "block", records.study(per_test=30))
    bad = tmp_path / "series.json"
    for text in ("", "[]", '{"rows": [{"series": "oracle"}]}'):
        bad.write_text(text)
        command = ["--runs", str(block), "--out", str(tmp_path), "--extra", str(bad)]
        assert exit_status(report.main, command) == 2
        assert "series.json" in capsys.readouterr().err


def test_the_summary_has_the_index_of_each_map():
    table = report.summaries(maps(everything()))
    home = table[(table["axis"] == "modality") & (table["part"] == "at home")]
    assert len(home) == 3
    assert home["index_index"].notna().all()
    assert table[table["axis"] == "all"]["index_index"].isna().all()


@pytest.mark.slow
def test_the_command_writes_pictures_tables_and_one_page(reported):
    page = (reported / "report.html").read_text()
    assert re.findall("<h2>(.*)</h2>", page) == ["one, two", "zoo"]
    for name in (
        "map-modality-grpo-think_before",
        "ablation-modality",
        "calibration-grpo-think_before",
    ):
        Image.open(reported / f"one/{name}.png").verify()
        assert "<svg" in (reported / f"one/{name}.svg").read_text()
        table = pd.read_csv(reported / f"one/{name}.csv")
        pd.testing.assert_frame_equal(table, pd.read_parquet(reported / f"one/{name}.parquet"))
    assert not (reported / "zoo/ablation-modality.png").exists()
    pictures = re.findall('<img src="data:image/png;base64,([^"]+)" alt="([^"]+)">', page)
    assert len(pictures) == page.count("<img") == len(list(reported.glob("*/*.png")))
    assert base64.b64decode(pictures[0][0])[:4] == b"\x89PNG"
    assert all(len(said) > 40 for _, said in pictures)
    assert "http" not in page  # nothing is fetched
    assert "a &lt;small&gt; machine" in page
    assert "python -m medr1_lib sweep" in page


def test_a_folder_without_blocks(tmp_path, capsys):
    assert exit_status(report.main, ["--runs", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no block" in capsys.readouterr().err


def test_false_claims_are_drawn_for_bases_and_models_trained_on_everything():
    frame = everything().assign(scene=next(questions("test")).scene.to_json())
    assert report._reasons(frame).empty  # letters alone claim nothing
    tuned = frame["method"] == "grpo"
    said = np.where(tuned, "<think>OCT, CT</think>", "<think>CT</think>")
    found = report._reasons(frame.assign(completion=said)).set_index("group")["share"]
    assert found.round(2).to_dict() == {
        "base, think_before": 0.0,
        "grpo, think_before": 0.5,
    }


def test_a_file_is_no_folder_for_a_report(tmp_path, capsys):
    (tmp_path / "out").touch()
    arguments = ["--runs", str(tmp_path), "--out", str(tmp_path / "out")]
    assert exit_status(report.main, arguments) == 2
    assert "is a file; name a folder" in capsys.readouterr().err
