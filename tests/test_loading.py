import json
import shutil
from pathlib import Path

import policies
import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from layouts import picture
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2VLForConditionalGeneration

import medr1_lib.model
from medr1_lib.cli import exit_status, main
from medr1_lib.errors import InputError
from medr1_lib.model import loading
from medr1_lib.model.loading import (
    NOT_QUANTIZED,
    _check_quantized,
    base_model,
    load_policy,
    quantize_in_training,
)
from tools.pretrain.tiny import tiny_model


def ask(processor):
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    text = processor.apply_chat_template(turns, add_generation_prompt=True)
    return processor(text=[text], images=[picture()], return_tensors="pt")


def logits(model, processor):
    with torch.no_grad():
        return model(**ask(processor)).logits


@pytest.fixture
def folder(tmp_path):
    """A copy of the model to spoil."""
    return shutil.copytree(policies.saved(), tmp_path / "model")


def edit(path, **changes):
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content))


def test_a_directory_gives_the_model_that_was_saved():
    model, processor = load_policy(policies.saved(), device="cpu")
    assert isinstance(model, Qwen2VLForConditionalGeneration)
    assert not model.training
    assert model.dtype is torch.float32
    assert processor.tokenizer.padding_side == "left"
    same = tiny_model(policies.processor().tokenizer, seed=1).eval()
    assert torch.equal(logits(model, processor), logits(same, policies.processor()))


def test_qwens_sampling_settings_do_not_leak_into_generation():
    """With temperature 0.01 and top_k 1 of the directory, eight samples would be one."""
    model, processor = load_policy(policies.saved(), device="cpu")
    torch.manual_seed(0)
    asked = {"do_sample": True, "num_return_sequences": 8, "max_new_tokens": 4}
    drawn = model.generate(**ask(processor), **asked)
    assert len({tuple(row) for row in drawn.tolist()}) == 8
    assert model.generation_config.eos_token_id == processor.tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == processor.tokenizer.pad_token_id


def test_a_newer_qwen_is_loaded_too():
    model, processor = load_policy(policies.newer(), device="cpu")
    assert isinstance(model, Qwen2_5_VLForConditionalGeneration)
    assert logits(model, processor).isfinite().all()


@pytest.mark.parametrize("folder", [policies.saved, policies.newer])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_nf4_leaves_tower_and_head_alone(folder, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    model, _ = load_policy(folder(), quantize="nf4", device=device)
    four_bit = {name for name, layer in model.named_modules() if isinstance(layer, Linear4bit)}
    assert all(name.startswith("model.language_model.layers.") for name in four_bit)
    assert len(four_bit) == 7 * model.config.text_config.num_hidden_layers
    assert type(model.lm_head) is torch.nn.Linear
    assert model.config.quantization_config.llm_int8_skip_modules == NOT_QUANTIZED
    layers = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    assert all(layer.support_avx512bf16_for_cpu is False for layer in layers)


def test_nf4_stays_near_the_full_model():
    full, processor = load_policy(policies.saved(), device="cpu")
    small, _ = load_policy(policies.saved(), quantize="nf4", device="cpu")
    exact, near = logits(full, processor), logits(small, processor)
    assert not torch.equal(exact, near)
    assert torch.nn.functional.cosine_similarity(exact[0, -1], near[0, -1], dim=0) > 0.9


def test_nf4_can_be_trained_after_an_evaluation():
    model, processor = load_policy(policies.saved(), quantize="nf4", device="cpu")
    model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "o_proj"]))
    before = logits(model.eval(), processor)
    inputs = ask(processor)
    model.train()(**inputs, labels=inputs["input_ids"]).loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    assert len(gradients) == 20
    assert all(grad is not None for grad in gradients.values())
    assert all(grad.abs().sum() > 0 for name, grad in gradients.items() if "lora_B" in name)
    assert torch.equal(before, logits(model.eval(), processor))


def test_a_tower_quantized_by_mistake_is_noticed(monkeypatch):
    monkeypatch.setattr("medr1_lib.model.loading.NOT_QUANTIZED", ["visual", "lm_head"])
    with pytest.raises(RuntimeError, match=r"model\.visual\.blocks"):
        load_policy(policies.saved(), quantize="nf4", device="cpu")
    with pytest.raises(RuntimeError, match="not at all"):
        _check_quantized(tiny_model(policies.processor().tokenizer))


@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_an_adapter_is_put_on_its_base(quantize):
    model, processor = load_policy(policies.adapter(), quantize, device="cpu")
    assert isinstance(model, PeftModel)
    assert isinstance(base_model(model), Qwen2VLForConditionalGeneration)
    adapted = logits(model, processor)
    with model.disable_adapter():
        plain = logits(model, processor)
    base, _ = load_policy(policies.saved(), quantize, device="cpu")
    assert torch.equal(plain, logits(base, processor))
    assert not torch.allclose(adapted, plain, atol=1e-3)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_a_weight(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["visual.patch_embed.proj.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


SPOILT = {
    "gone": (shutil.rmtree, "is not a directory"),
    "no configuration": (lambda f: (f / "config.json").unlink(), "config.json: cannot be read"),
    "cut configuration": (lambda f: cut(f / "config.json"), "not sound JSON"),
    "another architecture": (
        lambda f: edit(f / "config.json", model_type="llama"),
        "'llama'; use a model of qwen2_vl, qwen2_5_vl",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "weights cannot be read"),
    "cut weights": (lambda f: cut(f / "model.safetensors"), "weights cannot be read"),
    "empty weights": (lambda f: (f / "model.safetensors").write_bytes(b""), "cannot be read"),
    "a weight missing": (drop_a_weight, r"lacks 1 weights, model\.visual\.patch_embed"),
    "weights of another size": (
        lambda f: edit(
            f / "config.json",
            text_config=json.loads((f / "config.json").read_text())["text_config"]
            | {"vocab_size": 100},
        ),
        "weights cannot be read",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "processor cannot be read"),
    "cut tokenizer": (lambda f: cut(f / "tokenizer.json"), "processor cannot be read"),
    "no image processor": (
        lambda f: (f / "processor_config.json").unlink(),
        "processor cannot be read",
    ),
    "no chat template": (lambda f: (f / "chat_template.jinja").unlink(), "no chat template"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_directory_is_named(folder, case):
    spoil, problem = SPOILT[case]
    spoil(folder)
    with pytest.raises(InputError, match=problem) as caught:
        load_policy(folder, device="cpu")
    assert caught.value.where.startswith(str(folder))


def test_an_adapter_without_its_base_or_weights_is_named(tmp_path):
    folder = shutil.copytree(policies.adapter(), tmp_path / "adapter")
    cut(folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match="adapter cannot be read"):
        load_policy(folder, device="cpu")
    edit(folder / "adapter_config.json", base_model_name_or_path=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere' is not here; write the directory"):
        load_policy(folder, device="cpu")


def test_loading_a_model_imports_nothing_of_phantoms():
    folder = Path(medr1_lib.model.__file__).parent
    for module in ("loading", "vision_cache", "memory"):
        assert "medr1_lib.data" not in (folder / f"{module}.py").read_text(), module


def test_a_merged_adapter_answers_as_before_in_a_directory_of_its_own(tmp_path, capsys):
    out = tmp_path / "merged"
    assert main(["merge", "--model", str(policies.adapter()), "--out", str(out)]) == 0
    inputs = {"input_ids": torch.arange(20, 40)[None]}
    with torch.no_grad():
        logits = [load_policy(path)[0](**inputs).logits for path in (policies.adapter(), out)]
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)
    assert "4 bits" not in capsys.readouterr().out
    for model, place, words in (
        (policies.saved(), "new", "no adapter"),
        (policies.adapter(), "merged", "already"),
    ):
        assert exit_status(main, ["merge", "--model", str(model), "--out", str(tmp_path / place)])
        assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged"]


def test_a_gpu_without_bfloat16_gets_float32_residuals_and_float16_products(monkeypatch):
    asked = []
    monkeypatch.setattr(loading, "_load_model", lambda *given: asked.append(given) or 1 / 0)
    for capability in ((7, 5), (9, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda found=capability: found)
        with pytest.raises(ZeroDivisionError):
            load_policy(policies.saved(), "nf4", device="cuda")
    assert [given[3:] for given in asked] == [
        (torch.float32, torch.float16),
        (torch.bfloat16, torch.bfloat16),
    ]
    with pytest.raises(ZeroDivisionError):
        load_policy(policies.saved(), device="cpu")
    assert asked[-1][3:] == (torch.float32, torch.float32)


def test_how_an_adapter_was_trained_stands_beside_it(tmp_path):
    adapter = shutil.copytree(policies.adapter(), tmp_path / "run/adapter")
    assert quantize_in_training(adapter) is quantize_in_training(policies.saved()) is None
    for told, found in (({"quantize": "nf4"}, "nf4"), ({"quantize": None}, None)):
        (tmp_path / "run/recipe.json").write_text(json.dumps({"recipe": told}))
        assert quantize_in_training(adapter) == found
