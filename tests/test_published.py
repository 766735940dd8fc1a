"""The gpu tier's steps on a directory in the published form, with the real tokenizer."""

import json
import os
import re

import nbformat
import pandas as pd
import pytest
import torch
import trainings
from published import NAMES, needs_words, saved
from transformers import GenerationConfig

from medr1_lib.cli import main
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.evaluation.ask import Asker, shared_edge
from medr1_lib.model.loading import load_policy
from medr1_lib.rl import generation
from medr1_lib.rl.graph import decode_recorded
from notebooks.tools import kernel, sources

pytestmark = [needs_words, pytest.mark.slow]


@pytest.fixture(scope="module")
def asker():
    return Asker(*load_policy(saved(), device="cpu"), max_new_tokens=5)


@pytest.fixture(scope="module")
def asked():
    some = list(questions("test", 1))[:3]
    return some, [draw(question.scene) for question in some]


def test_it_is_read_as_it_was_published(asker, asked):
    words = asker.processor.tokenizer
    assert words.convert_tokens_to_ids(NAMES) == list(range(151643, 151657))
    assert words.tokenize("<answer>B</answer>") == ["<", "answer", ">B", "</", "answer", ">"]
    # Both ends, and nothing of its temperature of 0.01.
    settings = asker.model.generation_config
    assert (settings.eos_token_id, settings.temperature) == ([151645, 151643], None)
    (question, *_), (picture, *_) = asked
    chat = asker.question_chat(question, "think_before")
    assert chat.startswith("<|im_start|>system\nYou are a helpful assistant.")
    encoded = asker.encode([chat], [picture.resize((384, 384))])
    assert (encoded["input_ids"] == 151655).sum() == 196


def test_a_letter_is_looked_for_behind_the_tag_that_it_shares_a_token_with(asker, asked):
    assert shared_edge(asker.processor.tokenizer) == ">"
    reply = "<think>so.</think><answer>B</answer>"
    chats = [asker.question_chat(one, "think_before") for one in asked[0]]
    opened = [chat + reply[: reply.index(">B")] for chat in chats]
    whole = [chat + reply[: reply.index("B")] for chat in chats]
    found = asker.forced_probs(whole, asked[1])
    with torch.no_grad():
        logits = asker.model(**asker.encode(opened, asked[1])).logits[:, -1]
    wanted = logits.double().softmax(-1)[:, asker.processor.tokenizer.encode(">B")].numpy()
    assert list(found[:, 1]) == pytest.approx(list(wanted[:, 0]))


def test_its_steps_choose_the_same_tokens_side_by_side_and_as_a_gpu_records_them(
    asker, asked, monkeypatch
):
    """Two heads share keys and values here, as in the real one."""
    inputs = asker.encode([asker.question_chat(one, "no_think") for one in asked[0]], asked[1])
    how = GenerationConfig(max_new_tokens=6, do_sample=True)
    found = []
    for loop in (generation.decode_group, decode_recorded):
        monkeypatch.setattr(generation, "decode_group", loop)
        torch.manual_seed(0)
        found.append(generation.sample_group(asker.model, inputs, 4, how))
    assert torch.equal(*found)


def test_it_is_trained_in_4_bits_and_its_adapter_scored_in_4_bits(tmp_path, capsys):
    run, out, data = (str(tmp_path / name) for name in ("run", "out", "data"))
    trainings.dataset.write(
        tmp_path / "data", {"train": trainings.rows(8), "test": trainings.rows(2)}, {"seed": 0}
    )
    few = {"max_steps": 1, "max_completion_length": 4, "num_generations": 2}
    few |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    here = {"use_cpu": "true", "bf16": "false", "model": saved(), "data": data}
    flags = [str(word) for name, value in (few | here).items() for word in (f"--{name}", value)]
    assert main(["train", "grpo", "--recipe", "gpu", "--out", run, "--force", *flags]) == 0
    words = ["--model", f"{run}/adapter", "--data", data, "--max-new-tokens", "4"]
    styles = ["--style", "think_before", "no_think"]
    assert main(["evaluate", *words, "--out", out, *styles]) == 0
    assert "base in nf4" in capsys.readouterr().out
    assert len(pd.read_parquet(f"{out}/answers.parquet")) == 4
    notes = json.loads((tmp_path / "run/recipe.json").read_text())
    assert notes["preflight"]["format"] == 0  # random weights: `--force` was needed


# What is made smaller in a chapter, and what it prints of a model that writes no answer.
CHAPTERS = {
    "02": (
        {"per_cell=8)": "per_cell=1)", "per_cell=16,": "per_cell=1,", "asked[221]": "asked[21]"}
        | {"len(asked), 80,": "len(asked), 4,"},
        r"\|answer\|>X\|</\|answer\|>.*caption oracle: 0\.0%",
    ),
    "06": (
        {'{"train": 30, "test": 16}': '{"train": 1, "test": 1}'}
        | {'{"rules": "format"}, 20': '{"rules": "format"}, 2'},
        "rules: published, for 0% keep the form at first.*no rollout has full marks",
    ),
    "07": (
        {"per_cell=8)": "per_cell=1)", "STEPS = 1, 60": "STEPS = 1, 2"}
        | {"faulty(NUMBER), 10,": "faulty(NUMBER), 2,"},
        "there is spread: no",
    ),
    "08": ({'"train", per_cell=4)': '"train", per_cell=1)'}, "0 mixed groups took 40 groups"),
    "09": ({"max_steps=30)": "max_steps=2)"}, "peak: 0.0 GB"),
    "10": (
        {"per_cell=16)": "per_cell=1)", "STEPS, LIVE = 32": "STEPS, LIVE = 2"},
        r"GRPO minus SFT \(points\): [+]0\.0",
    ),
    "11": ({"per_cell=4)": "per_cell=1)"}, "the model writes none in this form, so we write them"),
    "12": (
        {"per_cell=80)": "per_cell=1)", "per_cell=12)": "per_cell=1)", '"MRI", 60': '"MRI", 2'},
        "intervals clear of zero: none",
    ),
    "13": ({"range(9)": "range(5)"}, r"the base keeps the form: 0%.*\d+ test questions"),
}


def executed(number, monkeypatch, *first):
    """What a chapter prints at the gpu tier on the directory, in small."""
    (source,) = (kernel.NOTEBOOKS / "_src").glob(f"{number}_*.py")
    notebook = sources.solution(sources.read(source))
    for old, new in CHAPTERS[number][0].items():
        before = [cell.source for cell in notebook.cells]
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)
        assert before != [cell.source for cell in notebook.cells], old
    begin = "\n".join(("import without_gpu", "without_gpu.begin()", *first))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(begin))
    monkeypatch.setenv("MEDR1_MODEL", str(saved()))
    paths = os.pathsep.join([str(kernel.ROOT), str(kernel.ROOT / "tests")])
    monkeypatch.setenv("PYTHONPATH", paths)
    kernel.execute(notebook, "gpu", minutes=30)
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    return "".join(out.get("text", "") for cell in code for out in cell.outputs)


@pytest.mark.parametrize("number", CHAPTERS)
def test_a_chapter_runs_at_the_gpu_tier(number, monkeypatch):
    """With several tokens a tag, `>B` one token, and a model that never keeps the form."""
    assert re.search(CHAPTERS[number][1], executed(number, monkeypatch), re.DOTALL)


def test_rationales_of_a_model_that_keeps_the_form_are_edited(monkeypatch):
    said = executed("11", monkeypatch, "without_gpu.answer_in_form()")
    assert "so we write them" not in said
    before, after = re.findall(r"scores at the letter change by up to (\S+)", said)
    assert float(before) > 0
    assert float(after) == 0
