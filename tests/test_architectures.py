"""Other kinds of models under the same ruler: asked, scored and trained, dense or in 4 bits."""

import json
from pathlib import Path

import architectures
import pandas as pd
import pytest
import torch
import trainings
from transformers import GenerationConfig

from medr1_lib.cli import exit_status, main
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.evaluation.ask import Asker
from medr1_lib.model.loading import load_policy, shares_prompts
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.rl.generation import packed_inputs, packed_outputs, sample_group
from medr1_lib.rl.train import train

ASKED = list(questions("test", 1))[:2]
IMAGES = [draw(question.scene) for question in ASKED]


@pytest.fixture(scope="module", params=architectures.ALL)
def asker(request):
    return Asker(*load_policy(architectures.ALL[request.param](), device="cpu"), max_new_tokens=6)


def chats(asker):
    return [asker.question_chat(question, "no_think") for question in ASKED]


def test_what_it_says_is_what_generate_says(asker):
    inputs = asker.encode(chats(asker), IMAGES)
    how = GenerationConfig(max_new_tokens=6, do_sample=True, top_k=0)
    torch.manual_seed(0)
    found = sample_group(asker.model, inputs, 2, how)
    torch.manual_seed(0)
    both = asker.encode(
        [c for c in chats(asker) for _ in range(2)], [i for i in IMAGES for _ in "12"]
    )
    wanted = asker.model.generate(**both, generation_config=how)[:, both["input_ids"].shape[1] :]
    assert torch.equal(found, wanted)
    blind = asker.encode([chats(asker)[0]], [IMAGES[1]])
    seen = asker.encode([chats(asker)[0]], [IMAGES[0]])
    with torch.no_grad():
        assert not torch.equal(asker.model(**blind).logits, asker.model(**seen).logits)


def test_it_replies_with_a_picture_and_without(asker):
    seen = asker.complete_ids(chats(asker)[:1], IMAGES[:1])
    assert seen == asker.complete_ids(chats(asker), IMAGES)[:1]
    assert asker.complete_ids(["What?"], []) != seen


def test_it_is_spread_over_what_there_is(asker):
    """`auto`; without a GPU all of it goes to the CPU."""
    spread = Asker(*load_policy(Path(asker.model.name_or_path), device="auto"), max_new_tokens=6)
    assert {weight.device.type for weight in spread.model.parameters()} == {"cpu"}
    both = (one.complete_ids(chats(asker), IMAGES) for one in (asker, spread))
    assert next(both) == next(both)


@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_it_is_scored_by_the_same_command(asker, quantize, tmp_path):
    out, model = tmp_path / "out", asker.model.config.name_or_path
    words = ["--model", model, "--data", trainings.data(), "--out", out, "--max-new-tokens", "4"]
    words += ["--style", "no_think", "--controls", "text", "--quantize", quantize or "none"]
    assert main(["evaluate", *map(str, words)]) == 0
    assert len(pd.read_parquet(out / "answers.parquet")) == 4


@pytest.mark.slow
def test_it_is_trained_by_the_same_recipe(asker, tmp_path, monkeypatch):
    trainings.reward_anything(monkeypatch)
    model = asker.model.config.name_or_path
    run = train(trainings.grpo(model=model, max_steps=2), tmp_path / "run", force=True)
    assert len(run.log) == 2
    names = json.loads((run.adapter / "adapter_config.json").read_text())["target_modules"]
    adapted = load_policy(run.adapter)[0]
    trained = {name for name, _ in adapted.named_parameters() if "lora_A" in name}
    assert len(trained) == 2 * 7
    assert names
    assert not [name for name in trained if "vis" in name]


def test_features_of_every_level_are_remembered_and_scored_behind_one_prompt():
    model, processor = load_policy(architectures.qwen3(), device="cpu")
    assert shares_prompts(model)
    asker = Asker(model, processor, 6)
    inputs = asker.encode(chats(asker), IMAGES)
    with torch.no_grad():
        plain = model(**inputs).logits
        with VisionCache(model) as cache:
            for _ in range(2):
                torch.testing.assert_close(model(**inputs).logits, plain)
        assert (cache.encoded, cache.reused) == (2, 2)
        tokens = torch.randint(20, 400, (4, 3))
        packed = packed_inputs(model, inputs, tokens, torch.ones_like(tokens))
        found = packed_outputs(model(**packed).logits, tokens)
        whole = {name: value.repeat_interleave(2, 0) for name, value in inputs.items()}
        patches = inputs["pixel_values"].chunk(2)
        whole["pixel_values"] = torch.cat([patches[0], patches[0], patches[1], patches[1]])
        for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
            more = tokens if name == "input_ids" else torch.full_like(tokens, name[0] == "a")
            whole[name] = torch.cat([whole[name], more], 1)
        wanted = model(**whole).logits[:, -4:-1]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("internvl", "model_type is 'internvl', whose processor needs torchvision; use a model of"),
        ("llava_onevision", "model_type is 'llava_onevision', whose processor needs torchvision"),
        ("mllama", "model_type is 'mllama'; use a model of qwen2_vl"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(kind, told, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    words = ["--model", tmp_path, "--data", trainings.data(), "--style", "no_think"]
    assert exit_status(main, ["evaluate", *map(str, words), "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
