"""Data sets and answers as others read them: by their own package where it is, by hand always.

Last read by them on 2026-11-30: by Inspect 0.3.285, and in checkouts, with stand-ins for packages
that only other tasks of theirs import, by VLMEvalKit at e8e78f0 and lmms-eval at 75571cf. Of 40
answers about real images VLMEvalKit gave the accuracy that `evaluate` gives, in all thirteen rows
that both have.
"""

import asyncio
import base64
import io
import json
import re

import datasets
import numpy as np
import pandas as pd
import pytest
from layouts import picture
from PIL import Image

from medr1_lib.cli import OPTIONS, main
from medr1_lib.data import dataset
from medr1_lib.data.images import png
from medr1_lib.data.question import Question
from medr1_lib.evaluation.export import FORMS

EXPORTS = OPTIONS["data export"]["--to"]["choices"]

QUESTIONS = [
    Question(
        "Which organ?", ("liver", "None", "kidney"), "B", "CT", "Anatomy", "a", "own", id="x1"
    ),
    Question("Which\torgan?", ("yes", "no"), "A", "CT", "Anatomy", "a", "own", id="x2"),
    Question(
        'Which "grade"?', tuple(f"g{n}" for n in range(8)), "H", "PET", "Grade", "b", "own", id="x3"
    ),
]
SAID = {"x1": "B", "x2": "I cannot tell", "x3": "**H**"}
TAGGED = {  # the same in our tags, which no other evaluator knows
    "x1": "<think>a kidney?</think><answer>B</answer>",
    "x2": "<think>yes or no</think>I cannot tell",
    "x3": "<answer> **H** </answer><think>g1</think>",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "own"
    rows = [one.record({"bytes": png(picture(ord(one.image_id)))}) for one in QUESTIONS]
    dataset.write(folder, {"test": rows, "train": rows}, {"source": "own"})
    return folder


@pytest.fixture(scope="module", params=[SAID, TAGGED], ids=["plain", "tagged"])
def answers(data, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("answers")
    rows = [
        {"id": name, "prediction": said, "control": control}
        for name, said in request.param.items()
        for control in ("none", "blank")
    ]
    pd.DataFrame(rows).to_csv(folder / "preds.csv", index=False)
    asked = ["evaluate", "--answers", folder / "preds.csv", "--data", data, "--out", folder / "out"]
    assert main([*map(str, asked)]) == 0
    return folder / "out"


def exported(folder, form, tmp_path, *more):
    out = tmp_path / "mine"
    asked = ["data", "export", folder, "--to", form, "--out", out, *more]
    assert main([*map(str, asked)]) == 0
    return out


def replies(answers):
    table = pd.read_parquet(answers / "answers.parquet")
    return [*table[table["control"] == "none"].sort_values("item")["completion"]]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# ---- VLMEvalKit ------------------------------------------------------------------------------


def circular_by_their_words(row, letters, turn):
    """Each letter's text moves to the letter before it, the first one's to the end; `tools.py`."""
    moved = dict(zip(letters, np.roll(list(letters), turn), strict=True))
    return {moved[s]: row[s] for s in letters}, moved[row["answer"]]


def test_vlmevalkit_gets_its_table_and_circular_copies(data, tmp_path):
    out = exported(data, "vlmevalkit", tmp_path)
    plain = pd.read_csv(out / "mine.tsv", sep="\t")  # as `vlmeval.smp.load` does
    whole = pd.read_csv(out / "mine_circular.tsv", sep="\t")
    assert list(plain["question"]) == [one.question for one in QUESTIONS]
    assert list(plain["index"]) == [0, 1, 2]
    assert list(plain["split"].unique()) == ["test"]
    seen = Image.open(io.BytesIO(base64.b64decode(plain["image"][0])))
    np.testing.assert_array_equal(seen, picture(ord("a")))
    assert plain["image"][1] == "0"  # the same image: they look it up in that row
    assert len(plain["image"][2]) > 64
    assert len(whole) == 3 + 2 + 8 == len(set(whole["index"]))
    for row in whole.to_dict("records"):
        question = QUESTIONS[row["g_index"]]
        turn, place = divmod(row["index"], 10**6)
        assert place == row["g_index"]
        letters = question.letters
        assert [key for key in "ABCDEFGH" if not pd.isna(row.get(key))] == list(letters)
        if turn:
            texts, answer = circular_by_their_words(
                dict(zip(letters, question.options, strict=True)) | {"answer": question.answer},
                letters,
                turn,
            )
            assert {key: str(row[key]).strip() for key in letters} == texts
            assert row["answer"] == answer
            assert len(row["image"]) < 64
        assert str(row[row["answer"]]).strip() == question.answer_text


def test_vlmevalkit_itself_builds_the_data_set(data, tmp_path, monkeypatch):
    vlmeval = pytest.importorskip("vlmeval.dataset", reason="VLMEvalKit is not here")
    out = exported(data, "vlmevalkit", tmp_path)
    monkeypatch.setenv("LMUData", str(out))
    found = vlmeval.build_dataset("mine_circular")
    assert len(found) == 13
    message = found.build_prompt(1)
    assert "A. yes" in message[-1]["value"]
    table = found.data.drop(columns="image")
    for wrong, right in (([], 1), ([1_000_001], 2 / 3)):  # one order of one question
        said = table["answer"].mask(table["index"].isin(wrong), "A")
        table.assign(prediction=said).to_excel(tmp_path / f"said-{right}.xlsx", index=False)
        scored = found.evaluate(str(tmp_path / f"said-{right}.xlsx"), model="exact_matching")
        assert scored["Overall"][0] == pytest.approx(right)


def test_vlmevalkit_itself_scores_predictions_as_we_do(data, answers, tmp_path, monkeypatch):
    vlmeval = pytest.importorskip("vlmeval.dataset", reason="VLMEvalKit is not here")
    out = exported(data, "vlmevalkit", tmp_path)
    monkeypatch.setenv("LMUData", str(out))
    said = exported(answers, "vlmevalkit", tmp_path / "answers") / "mine_outside_none.tsv"
    pd.read_csv(said, sep="\t").to_excel(tmp_path / "said.xlsx", index=False)
    scored = vlmeval.build_dataset("mine").evaluate(
        str(tmp_path / "said.xlsx"), model="exact_matching"
    )
    assert scored[["Overall", "CT", "PET"]].loc[0].tolist() == pytest.approx([2 / 3, 0.5, 1])


def test_predictions_are_scored_again_by_vlmevalkits_columns(answers, data, tmp_path):
    out = exported(answers, "vlmevalkit", tmp_path)
    assert len(list(out.iterdir())) == 2
    table = pd.read_csv(out / "mine_outside_none.tsv", sep="\t")
    assert {"index", "question", "A", "B", "answer", "category", "prediction"} <= set(table)
    assert list(table["prediction"]) == list(SAID.values())
    assert list(table["completion"]) == replies(answers)
    again = ["evaluate", "--answers", out / "mine_outside_none.tsv", "--data", data]
    assert main([*map(str, again), "--json", str(tmp_path / "again.json")]) == 0
    assert json.loads((tmp_path / "again.json").read_text())["accuracy"] == 2 / 3


def test_answers_to_its_circular_copies_are_scored_in_every_order(data, tmp_path):
    table = pd.read_csv(exported(data, "vlmevalkit", tmp_path) / "mine_circular.tsv", sep="\t")
    turned = (table["index"] >= 10**6) & (table["g_index"] == 1)
    table["prediction"] = table["answer"].where(~turned, "A")  # one order of one question is wrong
    table[["index", "prediction"]].to_csv(tmp_path / "said.csv", index=False)
    asked = ["evaluate", "--answers", tmp_path / "said.csv", "--data", data]
    assert main([*map(str, asked), "--json", str(tmp_path / "said.json")]) == 0
    found = json.loads((tmp_path / "said.json").read_text())
    assert found["accuracy"] == 1
    assert found["circular"]["circular"] == pytest.approx(2 / 3)


# ---- lmms-eval -------------------------------------------------------------------------------


def test_lmms_eval_gets_a_task_over_a_parquet_file(data, tmp_path):
    out = exported(data, "lmms-eval", tmp_path)
    task, code = (out / "mine.yaml").read_text(), {}
    exec((out / "utils.py").read_text(), code)
    assert f"dataset_path: {out}" in task
    rows = datasets.load_dataset(str(out), split="test", cache_dir=str(tmp_path / "cache"))
    called = [
        line.split()[-1].removeprefix("utils.") for line in task.splitlines() if "!fun" in line
    ]
    assert {"doc_to_visual", "doc_to_text", "process_results"} == {*called} <= {*code}
    for row, question in zip(rows, QUESTIONS, strict=True):
        assert f"{question.answer}. {question.answer_text}" in code["doc_to_text"](row)
        assert code["doc_to_visual"](row)[0].size == picture().size
        assert code["process_results"](row, [f"{question.answer}."]) == {"accuracy": 1}
        assert code["process_results"](row, ["Z"]) == {"accuracy": 0}


def test_lmms_eval_loads_the_task_itself(data, tmp_path, monkeypatch):
    tasks = pytest.importorskip("lmms_eval.tasks", reason="lmms-eval is not here")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    out = exported(data, "lmms-eval", tmp_path)
    known = tasks.TaskManager(include_path=str(out), include_defaults=False)
    task = tasks.get_task_dict(["mine"], known)["mine"]
    docs = [*task.test_docs()]
    assert [task.doc_to_target(one) for one in docs] == [one.answer for one in QUESTIONS]
    assert "B. None" in task.doc_to_text(docs[0])
    for doc in docs:
        assert task.doc_to_visual(doc)[0].size == picture().size
        assert task.process_results(doc, [doc["answer"]]) == {"accuracy": 1}


def test_lmms_eval_runs_the_task_itself_and_its_samples_are_scored_alike(
    data, tmp_path, monkeypatch
):
    evaluator = pytest.importorskip("lmms_eval.evaluator", reason="lmms-eval is not here")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    out = exported(data, "lmms-eval", tmp_path)

    class Says(evaluator.lmms):
        loglikelihood = generate_until_multi_round = None

        def generate_until(self, requests):
            for one, question in zip(requests, QUESTIONS, strict=True):
                context, _, _, _, task, split = one.args
                assert (task, split) == ("mine", "test")
                assert f"{question.answer}. {question.answer_text}" in context
            return ["B.", "I cannot tell", "H"]

    known = evaluator.TaskManager(include_path=str(out), include_defaults=False)
    tasks = evaluator.get_task_dict(["mine"], known)
    found = evaluator.evaluate(Says(), tasks, bootstrap_iters=0)
    assert found["results"]["mine"]["accuracy,none"] == pytest.approx(2 / 3)
    samples = tmp_path / "samples.jsonl"
    keys = ("doc_id", "target", "filtered_resps", "accuracy")
    rows = [{key: one[key] for key in keys} for one in found["samples"]["mine"]]
    samples.write_text("\n".join(map(json.dumps, rows)))
    again = ["evaluate", "--answers", samples, "--data", data, "--json", tmp_path / "again.json"]
    assert main([*map(str, again)]) == 0
    told = json.loads((tmp_path / "again.json").read_text())
    assert (told["accuracy"], told["unread"]) == (2 / 3, 1 / 3)


def test_its_samples_hold_what_it_logs_and_ours_read_them_again(answers, data, tmp_path):
    out = exported(answers, "lmms-eval", tmp_path) / "mine_outside_none"
    (results,) = out.glob("*_results.json")
    samples = out / results.name.replace("results.json", f"samples_{out.name}.jsonl")
    found = json.loads(results.read_text())
    assert found["results"][out.name]["accuracy,none"] == 2 / 3
    assert found["n-samples"][out.name]["effective"] == 3
    assert [row["doc_id"] for row in lines(samples)] == [0, 1, 2]
    assert {"input", "target", "filtered_resps"} <= set(lines(samples)[0])
    again = ["evaluate", "--answers", samples, "--data", data, "--json", tmp_path / "again.json"]
    assert main([*map(str, again)]) == 0
    assert json.loads((tmp_path / "again.json").read_text())["accuracy"] == 2 / 3


def test_lmms_eval_lists_runs_and_samples_itself(answers, tmp_path):
    server = pytest.importorskip("lmms_eval.tui.server", reason="lmms-eval is not here")
    out = exported(answers, "lmms-eval", tmp_path)
    runs = asyncio.run(server.list_log_runs(str(out)))
    assert {name for run in runs for name in run.tasks} == {
        "mine_outside_none",
        "mine_outside_blank",
    }
    for run in runs:
        (task,) = run.tasks
        assert run.metrics[task]["accuracy,none"] == 2 / 3
        shown = server.get_log_run_samples(run.run_id, task, str(out), 0, 50)
        assert [one["filtered_resps"] for one in asyncio.run(shown).samples] == replies(answers)


# ---- Inspect ---------------------------------------------------------------------------------


def test_inspect_gets_samples_and_images(data, tmp_path):
    out = exported(data, "inspect", tmp_path)
    rows = lines(out / "mine.jsonl")
    assert [row["id"] for row in rows] == list(SAID)
    for row, question in zip(rows, QUESTIONS, strict=True):
        assert (row["target"], row["choices"]) == (question.answer, list(question.options))
        image, text = row["input"][0]["content"]
        assert (out / image["image"]).read_bytes() == png(picture(ord(question.image_id)))
        assert text["text"] == question.question


def test_inspect_reads_both_itself(data, answers, tmp_path):
    pytest.importorskip("inspect_ai", reason="inspect-ai is not here")
    from inspect_ai.analysis import samples_df
    from inspect_ai.dataset import json_dataset
    from inspect_ai.log import list_eval_logs, read_eval_log

    out = exported(data, "inspect", tmp_path)
    samples = [*json_dataset(str(out / "mine.jsonl"))]
    assert [(one.id, one.target) for one in samples] == [(q.id, q.answer) for q in QUESTIONS]
    assert samples[0].input[0].content[0].image == str(out / "images/a.png")
    logs = exported(answers, "inspect", tmp_path / "answers")
    listed = {read_eval_log(one).eval.task: one for one in list_eval_logs(str(logs))}
    assert {*listed} == {"mine_outside_none", "mine_outside_blank"}
    head = read_eval_log(listed["mine_outside_none"], header_only=True)
    assert head.results.completed_samples == 3
    log = read_eval_log(listed["mine_outside_none"])
    assert log.status == "success"
    assert log.results.scores[0].metrics["accuracy"].value == 2 / 3
    assert [one.output.completion for one in log.samples] == replies(answers)
    assert [one.scores["choice"].value for one in log.samples] == ["C", "I", "C"]
    table = samples_df(str(logs))
    assert sorted(zip(table["id"], table["score_choice"], strict=True)) == sorted(
        zip(2 * [*SAID], "CICCIC", strict=True)
    )


def test_a_log_says_what_the_answers_were(answers, tmp_path):
    out = exported(answers, "inspect", tmp_path)
    stamp = r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}"  # without it Inspect lists no file of a folder
    logs = [json.loads(path.read_text()) for path in sorted(out.iterdir())]
    for path, log in zip(sorted(out.iterdir()), logs, strict=True):
        key, name = log["eval"]["task_id"], log["eval"]["task"].replace("_", "-")
        assert re.fullmatch(rf"{stamp}_{name}_{key}\.json", path.name)
        assert {"plan", "stats"} <= {*log}  # without them it reads no header
        assert len({one["uuid"] for one in log["samples"]}) == 3
    assert len({log["eval"]["eval_id"] for log in logs}) == 2
    log = next(log for log in logs if log["eval"]["task"] == "mine_outside_blank")
    assert [one["scores"]["choice"]["answer"] for one in log["samples"]] == ["B", None, "H"]
    assert log["results"]["completed_samples"] == 3


# ---- parquet, jsonl, cards -------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_datasets_reads_a_split_and_its_card(data, tmp_path, form):
    out = exported(data, form, tmp_path, "--split", "train")
    rows = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["id"] for row in rows] == list(SAID)
    assert rows[2]["options"] == [f"g{n}" for n in range(8)]
    np.testing.assert_array_equal(rows[0]["image"], picture(ord("a")))
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    assert "not\nfor clinical use" in card
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import DatasetCard

    assert DatasetCard.load(out / "README.md").data.license == "other"


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_answers_leave_as_a_table_that_is_scored_alike(answers, data, tmp_path, form):
    out = exported(answers, form, tmp_path)
    again = ["evaluate", "--answers", out / f"mine_outside_none.{form}", "--data", data]
    assert main([*map(str, again), "--json", str(tmp_path / "again.json")]) == 0
    found = json.loads((tmp_path / "again.json").read_text())
    assert (found["accuracy"], found["unread"]) == (2 / 3, 1 / 3)


# ---- all of them -----------------------------------------------------------------------------


def test_the_command_offers_what_there_is():
    assert [*FORMS] == EXPORTS


@pytest.mark.parametrize("form", EXPORTS)
def test_no_answer_is_lost_and_no_folder_written_over(data, tmp_path, form, capsys):
    out = exported(data, form, tmp_path)
    before = sorted(out.rglob("*"))
    assert main(["data", "export", str(data), "--to", form, "--out", str(out)]) == 2
    assert "is already in use" in capsys.readouterr().err
    assert sorted(out.rglob("*")) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("form", EXPORTS)
def test_what_is_no_data_set_is_refused(tmp_path, form, capsys):
    (tmp_path / "nothing").mkdir()
    out = tmp_path / "out"
    asked = ["data", "export", tmp_path / "nothing", "--to", form, "--out", out]
    assert main([*map(str, asked)]) == 2
    assert "holds no data set" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["nothing"]
