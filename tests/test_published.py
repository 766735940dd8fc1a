"""The gpu tier's steps on a directory in the published form, with the real tokenizer."""

import json

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
