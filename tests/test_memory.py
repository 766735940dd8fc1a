"""Every term of the memory model that a CPU can measure, measured."""

import copy
import json
from pathlib import Path
from unittest.mock import patch

import policies
import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from peft import LoraConfig, get_peft_model
from transformers import DynamicCache, Qwen2VLForConditionalGeneration

from medr1_lib.model import memory
from medr1_lib.model.loading import load_policy
from medr1_lib.model.memory import Step, on_meta, qwen2_vl_2b
from medr1_lib.rl.recipe import LANGUAGE_LINEAR

RANK = 4
RECORDED = Path(__file__).parents[1] / "data/recorded/gpu.json"


@pytest.fixture(scope="module")
def adapted():
    """The tiny model in 4 bits with an adapter; not trained."""
    model, _ = load_policy(policies.saved(), "nf4")
    return get_peft_model(model, LoraConfig(r=RANK, target_modules=LANGUAGE_LINEAR)).train()


@pytest.fixture(scope="module")
def tiny():
    return load_policy(policies.saved())[0]


def test_weights_in_bfloat16(tiny):
    held = sum(weight.nbytes for weight in copy.deepcopy(tiny).bfloat16().parameters())
    assert sum(memory.weight_bytes(tiny.config, quantize=False).values()) == held


def test_weights_of_the_true_size():
    parts = memory.weight_bytes(qwen2_vl_2b(), quantize=False)
    assert sum(parts.values()) == 2 * 2_208_985_600
    assert parts["vision tower"] == 2 * 665_271_296


def test_quantized_layers_to_the_byte(adapted):
    for layer in adapted.modules():
        if isinstance(layer, Linear4bit):
            state = layer.weight.quant_state
            nested = state.state2
            held = [
                layer.weight,
                state.absmax,
                state.code,
                state.offset,
                nested.absmax,
                nested.code,
            ]
            weights = layer.in_features * layer.out_features
            assert memory.nf4_bytes(weights) == sum(tensor.nbytes for tensor in held)


def test_layers_that_are_quantized_and_adapted(adapted):
    names = [n for n, m in adapted.base_model.model.named_modules() if isinstance(m, Linear4bit)]
    base = adapted.base_model.model
    shapes = [
        (base.get_submodule(n).in_features, base.get_submodule(n).out_features) for n in names
    ]
    assert memory.linear_shapes(base.config) == shapes
    true = on_meta(qwen2_vl_2b()).model.language_model
    linear = [m for m in true.modules() if isinstance(m, torch.nn.Linear)]
    found = [(layer.in_features, layer.out_features) for layer in linear]
    assert sorted(found) == sorted(memory.linear_shapes(qwen2_vl_2b()))


def test_adapters_gradients_and_optimizer(adapted):
    trained = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    sum(weight.sum() for weight in trained).backward()
    optimizer.step()
    terms = memory.memory(adapted.config, Step(), rank=RANK)
    assert terms["adapters"] == sum(weight.nbytes for weight in trained)
    assert terms["gradients"] == sum(weight.grad.nbytes for weight in trained)
    moments = ("exp_avg", "exp_avg_sq")
    held = [state[name].nbytes for state in optimizer.state.values() for name in moments]
    assert terms["AdamW"] == sum(held)
    adapted.zero_grad()


def test_keys_and_values(tiny):
    cache = DynamicCache(config=tiny.config.get_text_config())
    with torch.no_grad():
        tiny(input_ids=torch.full((3, 7), 9), past_key_values=cache, use_cache=True)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    text = tiny.config.get_text_config()
    heads = text.num_key_value_heads
    size = text.hidden_size // text.num_attention_heads
    assert memory.kv_cache_bytes(text.num_hidden_layers, heads, size, 3 * 7, 4) == held


def shared_heads(layers, quantize, folder):
    """The architecture in miniature, two heads of queries to one of keys, adapted."""
    config = qwen2_vl_2b()
    sizes = {"hidden_size": 128, "intermediate_size": 320, "num_hidden_layers": layers}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100}
    rotary = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 6, 6]}
    ids = {"bos_token_id": None, "eos_token_id": 2, "layer_types": layers * ["full_attention"]}
    for name, value in (sizes | heads | ids | {"rope_parameters": rotary}).items():
        setattr(config.text_config, name, value)
    config.vision_config.depth, config.vision_config.hidden_size = 1, 128
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    policies.processor().save_pretrained(folder)
    base, _ = load_policy(folder, quantize, dtype=torch.bfloat16)
    model = get_peft_model(base, LoraConfig(r=RANK, target_modules=LANGUAGE_LINEAR))
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model.train()


def kept(model, rows, width) -> int:
    """Bytes kept for the backward pass but for weights and what all heads share."""
    own = {w.untyped_storage().data_ptr() for w in model.parameters()}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        shared = tensor.ndim == 4 and tensor.shape[1] == 1 and tensor.shape[0] == rows
        cast = tensor.ndim == 2 and RANK in tensor.shape and rows * width not in tensor.shape
        if storage.data_ptr() not in own and not shared and not cast:
            found[storage.data_ptr()] = storage
        return tensor

    config = model.config.get_text_config()
    cache = DynamicCache(config=config)
    mask = torch.ones(rows, width)
    mask[0, 0] = 0  # padding, so that there is a mask
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(
            input_ids=torch.full((rows, width), 9),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_activations_as_on_a_gpu(quantize, tmp_path):
    """In bfloat16 by autocast; peft asks whether the GPU's is on, and is told that it is."""
    models = [shared_heads(layers, quantize, tmp_path / str(layers)) for layers in (2, 3)]
    with (
        torch.autocast("cpu", torch.bfloat16),
        patch("torch.is_autocast_enabled", lambda device=None: True),
    ):
        fewer, more = (kept(model, 2, 16) for model in models)
    expected = memory.layer_bytes(models[0].config, 2 * 16, RANK, bool(quantize))
    assert more - fewer == pytest.approx(expected, rel=0.01)


def test_activations_on_the_laptop(adapted):
    """In float32; the first layer keeps less, since nothing below it is trained."""
    layers = adapted.config.get_text_config().num_hidden_layers
    one = memory.layer_bytes(adapted.config, 2 * 16, RANK, quantize=True, size=4)
    assert (layers - 0.2) * one < kept(adapted, 2, 16) < (layers + 0.2) * one


def test_a_shared_prefix_is_read_once():
    """One prompt of 10 tokens, 8 rollouts of 5."""
    sizes = {"prompts": 3, "rollouts": 8, "text": 6, "image": 4, "completion": 5}
    shared, single = Step(**sizes), Step(**sizes, shared=False)
    assert (shared.tokens(1), single.tokens(1)) == (10 + 8 * 5, 8 * 15)
    assert shared.tokens(3) == 3 * shared.tokens(1)


def test_checkpointing_keeps_the_inputs_of_layers():
    config, tokens = qwen2_vl_2b(), 8 * (120 + 196 + 200)
    everything = memory.activation_bytes(config, tokens, 16, quantize=True)
    little = memory.activation_bytes(config, tokens, 16, quantize=True, checkpointing=True)
    assert little == everything / 28 + 28 * tokens * 1536 * 2


def test_the_peak_is_that_of_one_phase():
    terms = {"weights": 5, "sampling: a": 3, "sampling: b": 4, "scoring: c": 6}
    assert memory.peak(terms) == 5 + 7
    assert memory.peak(terms | {"scoring: d": 2}) == 5 + 8


def test_the_gpu_recipe_fits_a_card_of_16_gigabytes():
    config = qwen2_vl_2b()
    quantized, plain = (memory.memory(config, Step(), quantize) for quantize in (True, False))
    assert memory.peak(quantized) < 15e9
    saved = plain["language layers"] - quantized["language layers"]
    assert saved == pytest.approx(1.31e9 * (2 - 4.13 / 8), rel=0.01)


@pytest.mark.parametrize(
    ("side", "step"),
    [
        ("TRL", {"shared": False, "checkpointing": True}),
        ("TRL, no checkpointing", {"shared": False}),
    ],
)
def test_the_sums_beside_the_recorded_peaks(side, step):
    """They are what is computed today; without checkpointing the card agrees."""
    found = json.loads(RECORDED.read_text())[side]
    asked = Step(text=found["prompt_tokens"] - Step.image, **step)
    assert memory.peak(memory.memory(qwen2_vl_2b(), asked)) == found["expected_bytes"]
    assert found["peak_bytes"] < 15e9
    if not asked.checkpointing:
        assert found["peak_bytes"] == pytest.approx(found["expected_bytes"], rel=0.05)
