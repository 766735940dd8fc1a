"""Nothing finished is lost, nothing wrong is believed: folders of evaluations, sweeps, blocks."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pandas as pd
import policies
import psutil
import pytest
import records
from test_report import write_block

from medr1_lib import files
from medr1_lib.analysis import recorded
from medr1_lib.cli import exit_status, main
from medr1_lib.data import dataset, phantom_vqa
from medr1_lib.data.images import png
from medr1_lib.data.phantoms import draw
from medr1_lib.errors import InputError
from medr1_lib.evaluation import answers, sweep
from medr1_lib.evaluation.ask import Asker
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.model import loading
from tools import migrate, report


def flipped(content, place):
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


DAMAGES = {
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "flipped": lambda content: flipped(content, len(content) // 3),
    "list": lambda content: b"[]",
    "object": lambda content: b"{}",
    "gone": None,
}


def damage(path, how):
    if DAMAGES[how] is None:
        path.unlink()
    else:
        path.write_bytes(DAMAGES[how](path.read_bytes()))


def told(status, capsys, name):
    """An exit status that is meant: no traceback, and one line that names the file if it is 2."""
    assert status in (0, 1, 2)
    err = capsys.readouterr().err
    assert "Traceback" not in err
    if status == 2:
        assert len(err.splitlines()) == 1
        assert err.startswith("error: ")
        assert name in err
    return err


# One writer


def test_the_second_writer_is_refused_with_the_first_one_s_process(tmp_path):
    with files.one_writer(tmp_path / "out"):
        with (
            pytest.raises(InputError, match=f"being written by process {os.getpid()} on "),
            files.one_writer(tmp_path / "out"),
        ):
            raise AssertionError("two writers")
        (tmp_path / "out/kept").touch()
    with files.one_writer(tmp_path / "out"):
        pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]


def test_the_lock_dies_with_its_process(tmp_path):
    code = (
        "import os, pathlib; from medr1_lib import files\n"
        f"with files.one_writer(pathlib.Path({str(tmp_path / 'out')!r})): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / "out" / files.LOCK).is_file()
    files.require_free(tmp_path / "out")  # what a killed attempt leaves is no use
    with files.one_writer(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("left", "free"),
    [("a.part", True), ("empty/folder/", True), ("a", False), ("folder/a", False)],
)
def test_what_a_killed_attempt_leaves_is_no_use(tmp_path, left, free):
    path = tmp_path / "out" / left
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(parents=True) if left.endswith("/") else path.touch()
    if free:
        files.require_free(tmp_path / "out")
    else:
        with pytest.raises(InputError, match="already in use"):
            files.require_free(tmp_path / "out")


# What is named on the command line and is no file

PIPE = "PIPE"
NAMED = {  # commands that are given a pipe, from which reading would wait for ever
    "image": ["ask", "--model", "BASE", "--image", PIPE, "--question", "?", "--options", "a", "b"],
    "answers": ["evaluate", "--answers", PIPE, "--data", "DATA"],
    "data": ["evaluate", "--answers", "x", "--data", PIPE],
    "compared": ["evaluate", "--answers", "x", "--data", "DATA", "--compare", PIPE],
    "model": ["evaluate", "--model", PIPE, "--data", "DATA", "--style", "no_think", "--out", "OUT"],
    "adapter": ["merge", "--model", PIPE, "--out", "OUT"],
    "plan": ["sweep", "--plan", PIPE, "--out", "OUT"],
    "recipe": ["train", "grpo", "--recipe", PIPE, "--out", "OUT"],
    "run": ["train", "grpo", "--out", PIPE, "--resume"],
    "table": ["data", "import", "--table", PIPE, "--question", "?", "--out", "OUT"],
    "root": ["data", "import", "--root", PIPE, "--out", "OUT"],
    "splits": ["data", "audit", "--splits", PIPE],
    "audited": ["data", "audit", PIPE],
    "exported": ["data", "export", PIPE, "--to", "jsonl", "--out", "OUT"],
    "built": ["data", "build", "--out", PIPE, "--per-cell", "1"],
    "copies": ["progress", "--work", PIPE],
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are Unix")
@pytest.mark.parametrize("name", NAMED)
def test_a_pipe_on_the_command_line_is_refused_and_not_waited_for(data, tmp_path, name, capsys):
    def waited(*_):
        raise AssertionError("it waits for the pipe")

    os.mkfifo(pipe := tmp_path / "pipe.csv")
    meant = {PIPE: pipe, "DATA": data, "BASE": policies.saved(), "OUT": tmp_path / "out"}
    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(60)
    try:
        status = main([str(meant.get(word, word)) for word in NAMED[name]])
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    told(status, capsys, "pipe.csv")
    assert status == 2
    assert not (tmp_path / "out").exists()


# The folder of an evaluation


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    asked = islice(phantom_vqa.questions("test", per_cell=2), 6)
    rows = [q.record({"bytes": png(draw(q.scene))}) for q in asked]
    dataset.write(folder, {"test": rows}, {"seed": 0})
    return folder


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_policy", functools.cache(loading.load_policy))
        yield


def evaluated(data, out, model=None):
    words = ["evaluate", "--model", model or policies.saved(), "--data", data, "--out", out]
    words += ["--style", "no_think", "--max-new-tokens", 6, "--batch-size", 2]
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    assert evaluated(data, out) == 0
    return out


def read(out):
    return pd.read_parquet(out / "answers.parquet")


@pytest.fixture
def out(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "out")


@pytest.fixture
def cut(out):
    """As a kill leaves it: two of three batches answered."""
    (out / "parts").mkdir()
    found = read(out)
    for number in range(2):
        path = out / f"parts/{number:06}.parquet"
        found[2 * number :][:2].to_parquet(path, index=False, write_page_checksum=True)
    (out / "answers.parquet").unlink()
    return out


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["card.json", "answers.parquet"])
def test_a_damaged_file_of_a_finished_evaluation(data, whole, out, name, how, capsys):
    damage(out / name, how)
    status = evaluated(data, out)
    err = told(status, capsys, "out")
    assert status == (2 if name == "card.json" else 0)
    if status == 0:
        assert "set aside" in err or how in ("gone", "flipped")  # a flip may hit what nobody reads
        pd.testing.assert_frame_equal(read(out), read(whole))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["card.json", "parts/000000.parquet", "parts/000001.parquet"])
def test_a_damaged_file_of_an_interrupted_evaluation(data, whole, cut, name, how, capsys):
    damage(cut / name, how)
    status = evaluated(data, cut)
    told(status, capsys, "out")
    assert status == (2 if name == "card.json" else 0)
    if status == 0:
        pd.testing.assert_frame_equal(read(cut), read(whole))


@pytest.mark.parametrize("place", range(0, 10_000, 1_500))
def test_a_flipped_byte_changes_no_answer(data, whole, out, place, capsys):
    content = (out / "answers.parquet").read_bytes()
    (out / "answers.parquet").write_bytes(flipped(content, place % len(content)))
    assert evaluated(data, out) == 0
    told(0, capsys, "out")
    pd.testing.assert_frame_equal(read(out), read(whole))


def test_answers_that_lack_rows_are_completed_and_doubled_ones_count_once(data, whole, out):
    found = read(out)
    pd.concat([found[:3], found[:2]]).to_parquet(out / "answers.parquet", index=False)
    (out / "parts").mkdir()
    (out / "parts/notes.parquet").write_text("a file of somebody else")
    assert evaluated(data, out) == 0
    pd.testing.assert_frame_equal(read(out), read(whole))


@pytest.mark.parametrize("left", [(), ("card.json.part",), ("parts/", "writer.lock")])
def test_an_evaluation_killed_before_its_card_goes_on(data, whole, tmp_path, left):
    for name in ("", *left):
        path = tmp_path / "out" / name
        path.mkdir() if name.endswith("/") or not name else path.write_text("half")
    assert evaluated(data, tmp_path / "out") == 0
    pd.testing.assert_frame_equal(read(tmp_path / "out"), read(whole))


def test_a_model_that_could_not_be_loaded_can_be_mended(data, whole, tmp_path, capsys):
    model, out = shutil.copytree(policies.saved(), tmp_path / "model"), tmp_path / "out"
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[:1000])
    assert evaluated(data, out, model) == 2
    told(2, capsys, str(model))
    (model / "model.safetensors").write_bytes(weights)
    assert evaluated(data, out, model) == 0
    pd.testing.assert_frame_equal(read(out), read(whole))


def test_a_part_lost_while_it_runs_is_noticed_and_asked_again(
    data, whole, tmp_path, monkeypatch, capsys
):
    out, answer = tmp_path / "out", Asker.complete_ids

    def losing(*asked):
        if len(list(out.glob("parts/*"))) == 2:
            min(out.glob("parts/*.parquet")).unlink()
        return answer(*asked)

    monkeypatch.setattr(Asker, "complete_ids", losing)
    assert evaluated(data, out) == 2
    assert "2 of 6 answers were lost" in capsys.readouterr().err
    monkeypatch.setattr(Asker, "complete_ids", answer)
    assert evaluated(data, out) == 0
    pd.testing.assert_frame_equal(read(out), read(whole))


def test_a_second_evaluation_of_the_folder_is_refused(data, whole, tmp_path, monkeypatch, capsys):
    out, answer, second = tmp_path / "out", Asker.complete_ids, []

    def begun(*asked):
        if not second:
            second.append(None)
            second[0] = evaluated(data, out)
        return answer(*asked)

    monkeypatch.setattr(Asker, "complete_ids", begun)
    assert evaluated(data, out) == 0
    assert second == [2]
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
    pd.testing.assert_frame_equal(read(out), read(whole))


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
        "model.safetensors",
        "new.jinja",
        "adapter_config.json",
    ],
)
def test_answers_of_a_changed_model_are_not_given_back(tmp_path, name):
    model = shutil.copytree(policies.saved(), tmp_path / "model")
    tuned = shutil.copytree(policies.adapter(), tmp_path / "tuned")
    config = json.loads((tuned / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(model)
    (tuned / "adapter_config.json").write_text(json.dumps(config))
    before = loading.fingerprint(tuned)
    assert before == loading.fingerprint(tuned) != loading.fingerprint(model)
    changed = (tuned if name == "adapter_config.json" else model) / name
    with changed.open("a") as file:
        file.write(" ")
    assert loading.fingerprint(tuned) != before


# Answers given elsewhere, and the evaluation to compare with

CELLS = {
    "item": [["0"], {"a": 0}, None, -1, 0.5, 10**30, 10**9, "x", "\ud800"],
    "completion": [["A", "B"], [["A"]], [], {"answer": "A"}, "\ud800", "a\0"],
    "style": [["a"] * 2, {"a": 1}, "\ud800", []],
    "control": [["a"] * 2, {"a": 1}, 5, "x", "rotated 99", "rotated x", "\ud800"],
}
SAID = [(column, value) for column, values in CELLS.items() for value in values]


@pytest.mark.parametrize(
    ("column", "value"), SAID, ids=[f"{c}-{n}" for n, (c, _) in enumerate(SAID)]
)
def test_a_cell_of_an_answer_that_is_no_text_is_named(data, tmp_path, column, value, capsys):
    rows = [{"item": n, "completion": "A"} for n in range(6)]
    rows[0][column] = value
    (tmp_path / "a.json").write_text(json.dumps(rows))
    words = ["evaluate", "--answers", tmp_path / "a.json", "--data", data]
    status = main([*map(str, words)])
    told(status, capsys, "a.json, line 1")
    assert status == 2


@pytest.mark.parametrize("value", [None, float("nan"), "", 5, ["A"]])
def test_a_reply_that_is_empty_or_a_number_is_a_text(data, tmp_path, value):
    rows = [{"item": n, "completion": value, "style": None} for n in range(6)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    found, missing = answers.outside_answers(tmp_path / "a.json", EvalSet(data).questions)
    said = "A" if value == ["A"] else "5" if value == 5 else ""
    assert ({one.completion for one in found}, missing) == ({said}, 0)


TO_COMPARE = {
    "no row": lambda table: table[:0],
    "no style": lambda table: table.assign(style=None),
    "another style": lambda table: table.assign(style="no_think_at_all"),
    "twice": lambda table: pd.concat([table, table]),
    "others": lambda table: table.assign(question="?"),
    "items as text": lambda table: table.assign(item=table["item"].astype(str)),
    "verdicts as text": lambda table: table.assign(correct="right"),
    "verdicts empty": lambda table: table.assign(correct=None),
    "a control of no kind": lambda table: table.assign(control="rotated x"),
    "controls only": lambda table: table.assign(control="blank"),
    "no items": lambda table: table.drop(columns="item"),
}


@pytest.mark.parametrize("how", TO_COMPARE)
def test_an_evaluation_that_cannot_be_compared_with_is_named(data, out, tmp_path, how, capsys):
    TO_COMPARE[how](read(out)).to_parquet(out / "answers.parquet")
    rows = [{"item": n, "completion": "A", "style": "no_think"} for n in range(6)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    words = ["evaluate", "--answers", tmp_path / "a.json", "--data", data, "--compare", out]
    status = main([*map(str, words)])
    told(status, capsys, "")
    assert status == 2


@pytest.mark.parametrize("form", ["vlmevalkit", "lmms-eval", "inspect", "parquet", "jsonl"])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("control", "rotated x"),
        ("options", 5),
        ("options", None),
        ("item", "x"),
        ("completion", None),
    ],
)
def test_answers_that_cannot_be_exported_are_named(out, form, column, value, capsys):
    read(out).assign(**{column: value}).to_parquet(out / "answers.parquet")
    words = ["data", "export", out, "--to", form, "--out", out.with_name("made")]
    status = main([*map(str, words)])
    told(status, capsys, "answers.parquet")
    assert status == 2
    assert not out.with_name("made").exists()


# A sweep

BASE = "{recipe: course, untrained: true, style: no_think, changes: {model: MODEL}}"
BAD_PLANS = {
    "no grids": "data: DATA\ngrids: []",
    "no seed": "data: DATA\ngrids: [{recipe: course, seed: []}]",
    "no style": "data: DATA\ngrids: [{recipe: course, style: []}]",
    "style in a list": "data: DATA\ngrids: [{recipe: course, style: [[no_think]]}]",
    "style null": "data: DATA\ngrids: [{recipe: course, style: null}]",
    "recipe 5": "data: DATA\ngrids: [{recipe: 5}]",
    "recipe with NUL": 'data: DATA\ngrids: [{recipe: "a\\0b"}]',
    "recipe too long": f"data: DATA\ngrids: [{{recipe: {'a' * 5000}}}]",
    "model with NUL": 'data: DATA\ngrids: [{recipe: course, changes: {model: "a\\0b"}}]',
    "recipe null": "data: DATA\ngrids: [{recipe: null}]",
    "grid a word": "data: DATA\ngrids: [course]",
    "grid null": "data: DATA\ngrids: [null]",
    "grids a mapping": "data: DATA\ngrids: {recipe: course}",
    "axis a list": "data: DATA\ngrids: [{recipe: course, axis: [modality]}]",
    "seed a word": "data: DATA\ngrids: [{recipe: course, seed: [abc]}]",
    "seed true": "data: DATA\ngrids: [{recipe: course, seed: true}]",
    "seed negative": "data: DATA\ngrids: [{recipe: course, seed: -1}]",
    "untrained a word": "data: DATA\ngrids: [{recipe: course, untrained: maybe}]",
    "controls 5": "data: DATA\ngrids: [{recipe: course, controls: [5]}]",
    "tests 5": "data: DATA\ngrids: [{recipe: course, tests: [5]}]",
    "called a list": "data: DATA\ngrids: [{recipe: course, called: [base]}]",
    "changes a list": "data: DATA\ngrids: [{recipe: course, changes: [1]}]",
    "changes null": "data: DATA\ngrids: [{recipe: course, changes: null}]",
    "changes a number's": "data: DATA\ngrids: [{recipe: course, changes: {5: 1}}]",
    "changes no number": "data: DATA\ngrids: [{recipe: course, changes: {max_steps: abc}}]",
    "changes the seed": "data: DATA\ngrids: [{recipe: course, changes: {seed: 3}}]",
    "changes the style": "data: DATA\ngrids: [{recipe: course, changes: {style: no_think}}]",
    "changes unknown": "data: DATA\ngrids: [{recipe: course, changes: {steps: 5}}]",
    "changes refused": "data: DATA\ngrids: [{recipe: course, changes: {lora_r: 0}}]",
    "data 5": f"data: 5\ngrids: [{BASE}]",
    "data null": f"data: null\ngrids: [{BASE}]",
    "data nowhere": f"data: nowhere\ngrids: [{BASE}]",
    "max_new_tokens a word": f"data: DATA\nmax_new_tokens: abc\ngrids: [{BASE}]",
    "max_new_tokens 0": f"data: DATA\nmax_new_tokens: 0\ngrids: [{BASE}]",
    "threads a list": f"data: DATA\nthreads: [1]\ngrids: [{BASE}]",
    "threads negative": f"data: DATA\nthreads: -1\ngrids: [{BASE}]",
    "resources a list": f"data: DATA\nresources: [1]\ngrids: [{BASE}]",
    "resources unknown": f"data: DATA\nresources: {{gpu: 1}}\ngrids: [{BASE}]",
    "resources abc": f"data: DATA\nresources: {{timeout_min: abc}}\ngrids: [{BASE}]",
    "a line of the script": f'data: DATA\nresources: {{name: "a\\nrm"}}\ngrids: [{BASE}]',
    "unknown key": f"data: DATA\nseeds: 1\ngrids: [{BASE}]",
    "a key twice": f"data: DATA\ngrids: [{BASE}]\ndata: DATA",
    "a key twice in a grid": "data: DATA\ngrids: [{recipe: course, seed: 0, seed: 1}]",
    "a key twice in changes": "data: DATA\ngrids: [{recipe: course, changes: {beta: 0, beta: 1}}]",
    "a list": "- data",
    "a word": "data",
    "empty": "",
    "NUL": "data: DATA\0",
    "deep": "[" * 20_000,
    "not UTF-8": b"data: \xff\xfe",
    "a tag": "data: !!python/object/apply:os.system [true]",
    "a set": "data: !!set {a, b}\ngrids: []",
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_bad_plan_is_refused_before_its_first_job(data, tmp_path, name, capsys):
    plan, text = tmp_path / "plan.yaml", BAD_PLANS[name]
    if isinstance(text, str):
        text = text.replace("DATA", str(data)).replace("MODEL", str(policies.saved())).encode()
    plan.write_bytes(text)
    status = main(["sweep", "--plan", str(plan), "--out", str(tmp_path / "out")])
    told(status, capsys, "")
    assert status == 2
    assert not list(tmp_path.glob("out/*/*"))


@pytest.mark.parametrize("how", ["half", "empty", "list", "gone"])
def test_a_card_of_the_data_that_is_damaged_is_named_before_the_first_job(
    data, tmp_path, how, capsys
):
    copied = shutil.copytree(data, tmp_path / "data")
    damage(copied / "card.json", how)
    text = f"data: {copied}\ngrids: [{BASE.replace('MODEL', str(policies.saved()))}]"
    (tmp_path / "plan.yaml").write_text(text)
    words = ["sweep", "--plan", tmp_path / "plan.yaml", "--out", tmp_path / "out"]
    status = main([*map(str, words)])
    told(status, capsys, "card.json")
    assert status == 2
    assert not list(tmp_path.glob("out/*/*"))


@pytest.fixture
def plan(data, tmp_path, monkeypatch):
    """A plan of one job, whose jobs are done in this process."""
    path = tmp_path / "plan.yaml"
    grid = BASE.replace("MODEL", str(policies.saved()))
    path.write_text(f"data: {data}\nmax_new_tokens: 4\ngrids: [{grid}]\n")

    def here(plan, todo, out, *_):
        return sweep.run_jobs(todo, out, 1) or []

    monkeypatch.setattr(sweep, "_submit", here)
    monkeypatch.setattr(sweep, "load_policy", loading.load_policy)
    return path


def swept(plan, *more):
    return main(["sweep", "--plan", str(plan), "--out", str(plan.parent / "out"), *more])


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_result_of_a_job_is_made_again(plan, tmp_path, how, capsys):
    assert swept(plan) == 0
    (job,) = tmp_path.glob("out/*/job.json")
    (found,) = tmp_path.glob("out/*/scored-*")
    before = read(found)
    damage(job, how)
    damage(found / "answers.parquet", how)
    assert swept(plan, "--record", str(tmp_path / "block")) == 0
    told(0, capsys, "")
    pd.testing.assert_frame_equal(read(found), before)
    assert json.loads(job.read_text())["method"] == "base"


def test_a_job_in_use_is_told_and_done_by_the_next_sweep(plan, tmp_path, capsys):
    (job,) = sweep.Plan.read(plan).jobs()
    with files.one_writer(tmp_path / "out" / job.name):
        assert swept(plan) == 1
        assert f"written by process {os.getpid()}" in capsys.readouterr().err
    with files.one_writer(tmp_path / "out"):
        assert swept(plan) == 2
    assert swept(plan) == 0


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL on Windows")
def test_workers_end_with_a_killed_sweep_and_the_same_command_goes_on(plan, tmp_path, monkeypatch):
    words = [sys.executable, "-m", "medr1_lib", "sweep", "--plan", plan, "--out", tmp_path / "out"]
    quiet = {"stderr": subprocess.DEVNULL, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen([str(word) for word in words], **quiet)
    until = time.monotonic() + 120
    while not list(tmp_path.glob("out/*/writer.lock")) and time.monotonic() < until:
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert swept(plan) == 0


# Recorded blocks, and the report about them


@pytest.fixture(scope="module")
def sound_block(tmp_path_factory):
    frame = records.study(per_test=4, names=["CT"], seeds=1, axis="modality")
    folder = write_block(tmp_path_factory.mktemp("runs") / "block", frame)
    for path in folder.glob("*.parquet"):
        pd.read_parquet(path).to_parquet(path, index=False, write_page_checksum=True)
    return folder


@pytest.fixture
def block(sound_block, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "figures", lambda *asked: iter(()))  # drawn in test_report
    monkeypatch.setattr(report, "summaries", lambda found: pd.DataFrame())
    monkeypatch.setattr(report, "_train", lambda data: [])
    return shutil.copytree(sound_block, tmp_path / "runs/block")


def reported(block):
    words = ["--runs", str(block.parent), "--out", str(block.parents[1] / "out")]
    return exit_status(report.main, words)


BESIDE = (recorded.LOGS, recorded.LETTER_PROBS)  # a block may be without them


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(
    "name", [recorded.MODELS, recorded.ANSWERS, recorded.QUESTIONS, recorded.LOGS]
)
def test_a_damaged_block_is_named(block, name, how, capsys):
    before = name != recorded.MODELS and pd.read_parquet(block / name)
    damage(block / name, how)
    status = reported(block)
    told(status, capsys, "runs")
    if how == "flipped" and status == 0:  # it hit what nobody reads
        pd.testing.assert_frame_equal(pd.read_parquet(block / name), before)
    else:
        assert status == (0 if how == "gone" and name in BESIDE else 2)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        *((label, None) for label in ("model", "method", "style", "axis", "train", "seed")),
        *((label, None) for label in ("steps", "date", "hardware")),
        ("model", "another"),
        ("model", ["m"]),
        ("method", "ppo"),
        ("method", ["grpo"]),
        ("style", "aloud"),
        ("axis", "organ"),
        ("seed", "one"),
    ],
)
def test_a_wrong_label_of_a_block_is_named(block, label, value, capsys):
    notes = json.loads((block / recorded.MODELS).read_text())
    notes["models"][0][label] = value
    (block / recorded.MODELS).write_text(json.dumps(notes))
    status = reported(block)
    told(status, capsys, str(block))
    assert status == 2


@pytest.mark.parametrize("models", [None, [], {}, [5], "m", [[]]])
def test_models_json_without_models_is_named(block, models, capsys):
    (block / recorded.MODELS).write_text(json.dumps({"models": models}))
    status = reported(block)
    told(status, capsys, recorded.MODELS)
    assert status == 2


@pytest.mark.parametrize("column", ["item", "test", "model", "correct"])
def test_a_block_that_lacks_a_column_is_named(block, column, capsys):
    path = block / recorded.ANSWERS
    pd.read_parquet(path).drop(columns=column).to_parquet(path)
    status = reported(block)
    assert f"lacks the columns {column}" in told(status, capsys, recorded.ANSWERS)
    assert status == 2


KINDS = {"item": "1", "correct": "right", "tokens": 0.5, "completion": None, "control": "x"}
KINDS |= {"model": None, "test": 5}


@pytest.mark.parametrize("column", KINDS)
def test_a_column_of_another_kind_is_named(block, column, capsys):
    path = block / recorded.ANSWERS
    pd.read_parquet(path).assign(**{column: KINDS[column]}).to_parquet(path)
    status = reported(block)
    told(status, capsys, recorded.ANSWERS)
    assert status == 2


SERIES = [
    "[]",
    "null",
    '{"rows": 5}',
    '{"rows": [{"series": 1}]}',
    "x",
    "[" * 99_999,
    json.dumps({"rows": [dict.fromkeys(report.SERIES, "x")]}),
    json.dumps({"rows": [dict.fromkeys(report.SERIES, float("nan"))]}),
]


@pytest.mark.parametrize("content", SERIES, ids=range(len(SERIES)))
def test_a_file_that_holds_no_series_is_named(block, tmp_path, content, capsys):
    (tmp_path / "series.json").write_text(content)
    words = ["--runs", block, "--out", tmp_path / "out", "--extra", tmp_path / "series.json"]
    status = exit_status(report.main, [*map(str, words)])
    told(status, capsys, "series.json: holds no series")
    assert status == 2


def test_a_sound_block_is_reported_and_a_full_disk_is_told(block, monkeypatch, capsys):
    assert reported(block) == 0
    capsys.readouterr()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    status = reported(block)
    assert "No space left on device" in told(status, capsys, "out")
    assert status == 2


def test_a_report_waits_for_nobody_who_writes_there(block, capsys):
    with files.one_writer(block.parents[1] / "out"):
        assert reported(block) == 2
    assert "out: is being written by process" in capsys.readouterr().err
    assert reported(block) == 0


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["card.json", "recipe.json", "log.parquet"])
def test_a_damaged_file_is_named_by_the_migration(sound_block, tmp_path, name, how, capsys):
    (tmp_path / "old").mkdir()
    shutil.copy(sound_block / recorded.LOGS, tmp_path / "old/log.parquet")
    for json_file in ("card.json", "recipe.json"):
        (tmp_path / "old" / json_file).write_text(json.dumps({"settings": {}, "preflight": {}}))
    damage(tmp_path / "old" / name, how)
    status = exit_status(migrate.main, [str(tmp_path)])
    told(status, capsys, "old")
    if name != "log.parquet":  # of which a migration reads no more than the names of columns
        assert status == (0 if how in ("gone", "object") else 2)


# Ctrl-C


class Interrupted:
    def __del__(self):
        raise KeyboardInterrupt


def test_ctrl_c_in_a_destructor_ends_the_command_in_one_line(capsys):
    def command(_):
        Interrupted()
        for _ in range(200):
            time.sleep(0.05)
        return 0

    assert exit_status(command, []) == 130
    assert capsys.readouterr().err == "interrupted; what was finished is kept\n"


# Where the text of a command goes

SAYING = ["", "train --help", "evaluate --help", "nothing"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", SAYING)
def test_a_closed_pipe_or_a_full_disk_for_the_text_leaves_no_traceback(words):
    command = [sys.executable, "-m", "medr1_lib", *words.split()]
    # Buffered, as Python is unless it is told otherwise: what is left then fails when it ends.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reader, closed = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for where, status in (closed, 141), (full, 2):
        run = {"stdout": where, "stderr": subprocess.PIPE, "env": variables, "text": True}
        done = subprocess.run(command, check=False, **run)
        os.close(where)
        if words == "evaluate --help":  # of which argparse writes what it can
            assert (done.returncode, done.stderr) == (0, "")
        elif words == "nothing":
            assert done.returncode == 2
            assert done.stderr.startswith("error: no command")
        else:
            assert done.returncode == status
            assert done.stderr.count("\n") == (status == 2) == done.stderr.count("error: ")


def test_a_report_is_written_although_nobody_reads_the_text(tmp_path, monkeypatch):
    reader, closed = os.pipe()
    os.close(reader)
    words = ["data", "build", "--per-cell", "1", "--out", tmp_path / "data"]
    with os.fdopen(closed, "w") as stdout:
        monkeypatch.setattr("sys.stdout", stdout)
        assert main([*map(str, words), "--json", str(tmp_path / "a.json")]) == 141
    assert files.read_json(tmp_path / "a.json", "")["records"]
