"""Qwen2-VL-2B counted on the meta device, and the fake checkpoint in small."""

import copy
import json
import shutil

import policies
import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from PIL import Image
from safetensors import safe_open
from transformers import BitsAndBytesConfig
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from medr1_lib.cli import exit_status
from medr1_lib.errors import InputError
from medr1_lib.model import memory
from medr1_lib.model.loading import NOT_QUANTIZED, load_policy
from medr1_lib.rl.recipe import load_recipe
from tools import fake_2b
from tools.pretrain.tiny import tiny_model


def count(module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.fixture(scope="module")
def quantized():
    model = memory.on_meta(memory.qwen2_vl_2b())
    # What else a quantization is told changes no shape.
    replace_with_bnb_linear(model, NOT_QUANTIZED, BitsAndBytesConfig(load_in_4bit=True))
    return model


def test_it_has_the_published_size():
    model = memory.on_meta(memory.qwen2_vl_2b())
    assert {weight.device.type for weight in model.parameters()} == {"meta"}
    assert count(model) == 2_208_985_600
    assert count(model.model.visual) == 665_271_296
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_only_the_language_model_is_quantized(quantized):
    found = {name for name, m in quantized.named_modules() if isinstance(m, Linear4bit)}
    layers = [name for name in found if name.startswith("model.language_model.layers.")]
    assert len(found) == len(layers) == 28 * 7


def test_the_gpu_recipe_trains_18_million_weights(quantized):
    from peft import LoraConfig, get_peft_model

    recipe = load_recipe("gpu")
    lora = LoraConfig(r=recipe.lora_r, target_modules=recipe.lora_targets)
    with torch.device("meta"):
        policy = get_peft_model(copy.deepcopy(quantized), lora)
    trained = {name: w.numel() for name, w in policy.named_parameters() if w.requires_grad}
    assert recipe.lora_r == 16
    assert sum(trained.values()) == 18_464_768
    assert not [name for name in trained if "visual" in name]


@pytest.fixture(scope="module")
def small():
    """The published configuration, but for its sizes."""
    sizes = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2}
    config = memory.qwen2_vl_2b()
    for name, value in sizes.items():
        setattr(config.text_config, name, value)
    config.text_config.layer_types = config.text_config.layer_types[:2]
    config.text_config.num_attention_heads = config.text_config.num_key_value_heads = 1
    config.vision_config.depth, config.vision_config.embed_dim = 1, 64
    config.vision_config.num_heads, config.vision_config.hidden_size = 2, 128
    return config


@pytest.fixture(scope="module")
def fake(small, tmp_path_factory):
    """A fake in small, written by the command; read only."""
    out = tmp_path_factory.mktemp("fakes") / "fake"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_2b, "qwen2_vl_2b", lambda: copy.deepcopy(small))
        assert fake_2b.main(["--out", str(out)]) == 0
    return out


def tensors(folder) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as shard:
            found |= {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118
    return found


def test_nobody_mistakes_it(fake):
    assert "knows nothing" in (fake / "README.md").read_text()
    assert "not Qwen2-VL-2B" in json.loads((fake / "config.json").read_text())["fake"]


def test_it_is_written_shard_by_shard(small, fake, tmp_path):
    out = tmp_path / "shards"
    size = fake_2b.write_fake(out, copy.deepcopy(small), shard="10MB")
    sizes = [path.stat().st_size for path in out.glob("*.safetensors")]
    assert len(sizes) > 1
    assert sum(sizes) == pytest.approx(size, rel=1e-3)
    assert min(sizes) < 10e6
    index = json.loads((out / "model.safetensors.index.json").read_text())
    found, whole = tensors(out), tensors(fake)
    assert index["weight_map"].keys() == found.keys() == whole.keys()
    assert size == sum(weight.nbytes for weight in found.values())
    assert all(torch.equal(found[name], whole[name]) for name in found)  # from one seed


def test_its_names_are_those_of_a_published_checkpoint(fake, tmp_path):
    tiny_model(policies.processor().tokenizer).save_pretrained(tmp_path)
    kinds = [{_kind(name) for name in tensors(folder)} for folder in (fake, tmp_path)]
    assert kinds[0] == kinds[1]


def _kind(name) -> str:
    return ".".join("N" if part.isdigit() else part for part in name.split("."))


@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_it_is_loaded_as_the_real_one_would_be(fake, quantize):
    model, processor = load_policy(fake, quantize, dtype=torch.bfloat16)
    picture = Image.new("RGB", (384, 384))
    turn = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}],
        add_generation_prompt=True,
    )
    inputs = processor(text=[turn], images=[picture], return_tensors="pt")
    assert (inputs.input_ids == model.config.image_token_id).sum() == 196
    with torch.no_grad():
        logits = model(**inputs).logits
    assert logits.shape[-1] == 151936
    assert logits.isfinite().all()
    processor.batch_decode(torch.tensor([[5, 151935]]))  # a word that the tokenizer lacks


def test_its_weights_are_those_of_a_model_that_has_not_learned(fake):
    found = tensors(fake)
    assert (found["model.norm.weight"] == 1).all()
    assert (found["model.layers.0.self_attn.q_proj.bias"] == 0).all()
    assert found["model.layers.0.mlp.up_proj.weight"].float().std() == pytest.approx(0.02, rel=0.02)
    assert {weight.dtype for weight in found.values()} == {torch.bfloat16}


def test_the_seed_decides(small, fake, tmp_path):
    fake_2b.write_fake(tmp_path / "1", copy.deepcopy(small), seed=1)
    name = "visual.merger.mlp.0.weight"
    assert not torch.equal(tensors(tmp_path / "1")[name], tensors(fake)[name])


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"needs 4\.5 GB, and its disk has 1\.0 GB free"):
        fake_2b.main(["--out", str(tmp_path / "deep" / "fake")])
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_no_half_a_checkpoint(small, tmp_path, monkeypatch):
    def full(model, out, **_):
        out.mkdir()
        (out / "model.safetensors").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fake_2b.Qwen2VLForConditionalGeneration, "save_pretrained", full)
    with pytest.raises(InputError, match="No space left on device"):
        fake_2b.write_fake(tmp_path / "fake", copy.deepcopy(small))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(fake, capsys):
    assert exit_status(fake_2b.main, ["--out", str(fake)]) == 2
    assert "is already in use" in capsys.readouterr().err
    assert (fake / "config.json").is_file()
