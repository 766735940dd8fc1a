"""Answers of models that were asked elsewhere: scored as our own are, refused by line."""

import json

import pandas as pd
import policies
import pytest
from layouts import picture

from medr1_lib.cli import main
from medr1_lib.data import dataset
from medr1_lib.data.images import png
from medr1_lib.data.question import Question

OPTIONS = ("liver", "lung", "kidney", "spleen")
RIGHT = "BADC"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four questions with ids of their own."""
    folder = tmp_path_factory.mktemp("data") / "own"
    rows = [
        Question("Which organ?", OPTIONS, letter, "CT", "Anatomy", f"image-{n}", "own", id=f"q{n}")
        for n, letter in enumerate(RIGHT)
    ]
    rows = [one.record({"bytes": png(picture(n, (40, 30)))}) for n, one in enumerate(rows)]
    dataset.write(folder, {"test": rows}, {})
    return folder


def scored(data, table, *more):
    """Exit status and report."""
    report = table.with_name("report.json")
    asked = ["evaluate", "--answers", table, "--data", data, "--json", report, *more]
    return main([*map(str, asked)]), json.loads(report.read_text()) if report.exists() else None


def saved(folder, rows, name="answers.csv"):
    table = folder / name
    write = {"csv": "to_csv", "jsonl": "to_json", "parquet": "to_parquet"}[name.partition(".")[2]]
    how = {"to_json": {"orient": "records", "lines": True}}.get(write, {"index": False})
    getattr(pd.DataFrame(rows), write)(table, **how)
    return table


SAID = ["**B**.", "Answer: A", "It is the spleen I think", "B) lung"]  # right, right, unread, wrong


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl", "answers.parquet"])
@pytest.mark.parametrize("column", ["id", "item", "index", "doc_id"])
@pytest.mark.parametrize("reply", ["prediction", "completion", "filtered_resps"])
def test_answers_are_scored_under_the_same_ruler(data, tmp_path, name, column, reply, capsys):
    keys = [f"q{n}" if column == "id" else n for n in range(4)]
    rows = [{column: key, reply: said} for key, said in zip(keys, SAID, strict=True)]
    status, found = scored(data, saved(tmp_path, rows[::-1], name))
    assert status == 0
    assert (found["n"], found["accuracy"], found["unread"]) == (4, 0.5, 0.25)
    assert found["by_modality"]["CT"]["accuracy"] == 0.5
    printed = capsys.readouterr().out
    assert "0 of 4 answers are missing (0.0%)" in printed
    assert "answers" in printed
    assert "guess: 25.0 are right by chance alone" in printed
    assert "unread" in printed


def test_a_list_of_one_reply_is_that_reply(data, tmp_path):
    rows = [{"doc_id": n, "filtered_resps": [said]} for n, said in enumerate(SAID)]
    assert scored(data, saved(tmp_path, rows, "a.jsonl"))[1]["accuracy"] == 0.5


def test_a_missing_answer_counts_as_wrong_and_is_told(data, tmp_path, capsys):
    status, found = scored(data, saved(tmp_path, [{"id": "q0", "prediction": "B"}]))
    assert (status, found["n"], found["accuracy"], found["unread"]) == (0, 4, 0.25, 0.75)
    assert "3 of 4 answers are missing (75.0%)" in capsys.readouterr().out


def test_controls_and_styles_are_kept_apart(data, tmp_path):
    rows = [
        {"id": f"q{n}", "prediction": RIGHT[n] if control == "none" else "A", "control": control}
        for n in range(4)
        for control in ("none", "blank")
    ]
    found = scored(data, saved(tmp_path, rows))[1]
    assert (found["accuracy"], found["controls"]["blank"]["accuracy"]) == (1, 0.25)
    rows = [row | {"style": style} for row in rows for style in ("no_think", "outside")]
    assert set(scored(data, saved(tmp_path, rows))[1]) == {"no_think", "outside"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "q0", "prediction": "B"}, {"id": "q9", "prediction": "B"}], "line 3: no question"),
        ([{"item": 4, "prediction": "B"}], "line 2: no question has the item '4'"),
        ([{"id": "q1", "prediction": "B"}] * 2, "line 3: the id 'q1' has an answer in line 2"),
        ([{"id": "q1", "prediction": "B", "control": "x"}], "line 2: no control 'x'"),
        ([{"name": "q1", "prediction": "B"}], "has name, prediction; give every row one of id, it"),
        ([{"id": "q1", "text": "B"}], "has id, text; give every row one of completion, prediction"),
        ([], "has no rows"),
    ],
)
def test_what_answers_no_question_is_refused_by_line(data, tmp_path, rows, said, capsys):
    table = saved(tmp_path, rows)
    if not rows:
        table.write_text("id,prediction\n")
    assert scored(data, table)[0] == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.count("\n") == 1


def test_an_id_that_two_questions_share_is_refused(tmp_path, capsys):
    row = Question("?", OPTIONS, "A", "CT", "Anatomy", "x", "own", id="same")
    rows = [row.record({"bytes": png(picture())})] * 2
    dataset.write(tmp_path / "data", {"test": rows}, {})
    assert scored(tmp_path / "data", saved(tmp_path, [{"id": "same", "prediction": "A"}]))[0] == 2
    assert "several questions of the id 'same'; name the questions by a" in capsys.readouterr().err


def test_a_folder_of_them_is_like_that_of_any_evaluation(data, tmp_path, capsys):
    rows = [{"id": f"q{n}", "prediction": letter} for n, letter in enumerate(RIGHT)]
    good, out = saved(tmp_path, rows), tmp_path / "out"
    assert scored(data, good, "--out", out)[0] == 0
    assert scored(data, good, "--out", out)[0] == 0  # the same again
    records = pd.read_parquet(out / "answers.parquet")
    assert list(records["id"]) == [f"q{n}" for n in range(4)]
    assert json.loads((out / "card.json").read_text())["answers"] == str(good)
    bad = saved(tmp_path, [row | {"prediction": "A"} for row in rows], "bad.csv")
    assert scored(data, bad, "--out", out)[0] == 2
    assert "made with another answers_sha256" in capsys.readouterr().err
    found = scored(data, bad, "--compare", out)[1]["compared"]["outside"]
    assert (found["n"], found["both"], found["first"], found["difference"]) == (4, 1, 3, -0.75)
    assert "-75.0 points" in capsys.readouterr().out


def test_our_own_records_are_scored_again_to_the_same_numbers(data, tmp_path):
    asked = ["evaluate", "--model", policies.saved(), "--data", data, "--out", tmp_path / "out"]
    asked += ["--style", "no_think", "think_after", "--controls", "blank", "--max-new-tokens", 4]
    assert main([*map(str, asked), "--json", str(tmp_path / "model.json")]) == 0
    again = scored(data, tmp_path / "out/answers.parquet")[1]
    told = json.loads((tmp_path / "model.json").read_text())
    same = ("n", "accuracy", "interval", "format_rate", "unread", "by_modality", "controls")
    for style in ("no_think", "think_after"):  # the probabilities of letters are the model's alone
        assert {key: again[style][key] for key in same} == {key: told[style][key] for key in same}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "one of the arguments --model --answers is required"),
        (["--model", "x"], "required: --style, --out"),
        (["--model", "x", "--answers", "y"], "not allowed with argument"),
    ],
)
def test_a_model_or_its_answers_are_needed(data, more, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "--data", str(data), *more])
    assert said in capsys.readouterr().err
