"""Sampling and scoring behind a shared prefix give what the plain way gives."""

import sys
from contextlib import nullcontext

import policies
import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit
from layouts import picture
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import GenerationConfig

from medr1_lib.model.loading import base_model, load_policy, unpack
from medr1_lib.rl import generation
from medr1_lib.rl.generation import (
    decode_group,
    merged_lora,
    packed_inputs,
    packed_outputs,
    sample_group,
)
from medr1_lib.rl.graph import decode_recorded
from medr1_lib.rl.grpo import token_logps
from medr1_lib.rl.trainer import distinct_images

TEXTS = ("Which organ?", "How severe is the lesion? A)mild, B)severe", "What?")
SIZES = ((64, 64), (112, 56), (84, 112))  # so that prompts differ in image tokens and in words
LORA = r".*language_model.*\.(q_proj|v_proj|down_proj)"


def prompts(*rows):
    chats = [
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": TEXTS[row]}]}]
        for row in rows
    ]
    template = policies.processor().apply_chat_template
    text = template(chats, tokenize=False, add_generation_prompt=True)
    images = [picture(row, SIZES[row]) for row in rows]
    return policies.processor()(text=text, images=images, padding=True, return_tensors="pt")


def repeated(inputs, owner):
    """The batch that the plain way takes, a prompt for each completion."""
    patches = inputs["pixel_values"].split(inputs["image_grid_thw"].prod(1).tolist())
    rows = {name: inputs[name][owner] for name in inputs if name != "pixel_values"}
    return rows | {"pixel_values": torch.cat([patches[place] for place in owner])}


def completions(lengths, seed=0):
    """Random tokens, padded on the right."""
    torch.manual_seed(seed)
    tokens = torch.randint(20, 400, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return tokens.masked_fill(mask == 0, policies.processor().tokenizer.pad_token_id), mask


def plain_logps(model, inputs, tokens, mask, owner, temperature):
    rows = repeated(inputs, owner)
    logits = model(
        input_ids=torch.cat([rows["input_ids"], tokens], 1),
        attention_mask=torch.cat([rows["attention_mask"], mask], 1),
        mm_token_type_ids=torch.cat([rows["mm_token_type_ids"], torch.zeros_like(tokens)], 1),
        pixel_values=rows["pixel_values"],
        image_grid_thw=rows["image_grid_thw"],
        logits_to_keep=tokens.shape[1] + 1,
    ).logits[:, :-1]
    return token_logps(logits, tokens, temperature).masked_fill(mask == 0, 0)


def gradients(model, loss):
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def relative_error(found, wanted):
    error = sum(((a - b) ** 2).sum() for a, b in zip(found, wanted, strict=True))
    return float((error / sum((b**2).sum() for b in wanted)).sqrt())


@pytest.fixture(params=["2 lora", "2 nf4", "2.5 lora", "2 all"])
def model(request):
    folder = policies.newer() if "2.5" in request.param else policies.saved()
    base, _ = load_policy(folder, "nf4" if "nf4" in request.param else None, device="cpu")
    torch.manual_seed(0)
    if "all" in request.param:
        base.requires_grad_(True)
        return base.train()
    config = LoraConfig(r=4, target_modules=LORA, init_lora_weights=False)
    return get_peft_model(base, config).train()


CASES = {
    "even groups": ([0, 0, 1, 1, 2, 2], [5, 5, 5, 5, 5, 5]),
    "different lengths": ([0, 0, 1, 1, 2, 2], [5, 3, 1, 5, 2, 4]),
    "of one token": ([0, 0, 1, 1, 2, 2], [1, 1, 1, 1, 1, 1]),
    "alone": ([0, 1, 2], [4, 6, 5]),
}


@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_and_gradients_are_those_of_the_plain_way(model, case):
    owner, lengths = torch.tensor(CASES[case][0]), CASES[case][1]
    inputs, (tokens, mask) = prompts(0, 1, 2), completions(lengths)
    weights = torch.randn(len(lengths), 1)
    wanted = plain_logps(model, inputs, tokens, mask, owner, 0.9)
    logits = model(**packed_inputs(model, inputs, tokens, mask)).logits
    found = token_logps(packed_outputs(logits, tokens), tokens, 0.9).masked_fill(mask == 0, 0)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
    ours, theirs = (gradients(model, (logps * weights).sum()) for logps in (found, wanted))
    assert relative_error(ours, theirs) < 1e-5


def test_the_prompt_gets_its_share_of_the_gradient(model):
    """Plants a fault: a prompt whose values are cut out of the graph."""
    inputs, (tokens, mask) = prompts(0, 1, 2), completions([4] * 6)
    owner = torch.arange(3).repeat_interleave(2)
    wanted = gradients(model, plain_logps(model, inputs, tokens, mask, owner, 1.0).sum())
    length = inputs["input_ids"].shape[1] - 1

    def cut_off(_, given, values):
        return torch.cat([values[:, :length].detach(), values[:, length:]], 1)

    layers = base_model(model).model.language_model.layers
    hooks = [layer.self_attn.v_proj.register_forward_hook(cut_off) for layer in layers]
    logits = packed_outputs(model(**packed_inputs(model, inputs, tokens, mask)).logits, tokens)
    for hook in hooks:
        hook.remove()
    cut = gradients(model, token_logps(logits, tokens, 1.0).sum())
    assert relative_error(cut, wanted) > 1e-2


SAMPLED = {"do_sample": True, "temperature": 0.8, "top_p": 0.95, "top_k": 50}


@pytest.mark.parametrize(
    "settings",
    [SAMPLED, SAMPLED | {"repetition_penalty": 1.3, "min_new_tokens": 3}, {"do_sample": False}],
    ids=["sampled", "penalized", "greedy"],
)
def test_the_tokens_are_those_of_generate_from_the_same_seed(model, settings):
    config = GenerationConfig(max_new_tokens=12, **settings)
    inputs = prompts(0, 1, 2)
    torch.manual_seed(3)
    found = sample_group(model, inputs, 4, config)
    torch.manual_seed(3)
    rows = repeated(inputs, torch.arange(3).repeat_interleave(4))
    wanted = model.generate(**rows, generation_config=config)
    assert torch.equal(found, wanted[:, inputs["input_ids"].shape[1] :])
    assert len(found) == 12


@pytest.mark.parametrize("settings", [SAMPLED, {"do_sample": False}], ids=["sampled", "greedy"])
def test_the_step_for_a_gpu_chooses_the_same_tokens(model, settings, monkeypatch):
    """What is recorded on a GPU runs here as it is: in rows of their own, over a static cache."""
    config = GenerationConfig(max_new_tokens=12, **settings)
    found = []
    for loop in (decode_group, decode_recorded, decode_recorded):
        monkeypatch.setattr(generation, "decode_group", loop)
        torch.manual_seed(3)
        found.append(sample_group(model, prompts(0, 1, 2), 4, config))
    kept = vars(base_model(model))["_recorded_step"][1]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])  # with the step of the call before
    sample_group(model, prompts(0, 1), 4, config)
    assert vars(base_model(model))["_recorded_step"][1] is not kept  # other rows


def test_a_recorded_step_is_kept_while_weights_stay_where_they_are(model, monkeypatch):
    config = GenerationConfig(max_new_tokens=2, do_sample=False)
    monkeypatch.setattr(generation, "decode_group", decode_recorded)

    def step():
        sample_group(model, prompts(0), 2, config)
        return vars(base_model(model))["_recorded_step"][1]

    first, weight = step(), next(model.parameters())
    weight.data.mul_(1.0)  # as an optimizer changes it: a recording reads what is there
    assert step() is first
    weight.data = weight.data.clone()  # as loading does: the recording would read the old place
    assert step() is not first


def test_completions_end_one_by_one_and_all_together_stop_the_loop():
    model, _ = load_policy(policies.saved(), device="cpu")
    end, blank = 7, policies.processor().tokenizer.pad_token_id
    with torch.no_grad():
        base_model(model).lm_head.weight[end] *= 3  # likely, not certain
    config = GenerationConfig(max_new_tokens=60, do_sample=True, eos_token_id=end)
    torch.manual_seed(0)
    found = sample_group(model, prompts(0, 1), 4, config)
    lengths = []
    for row in found.tolist():
        length = row.index(end) + 1 if end in row else len(row)
        assert set(row[length:]) <= {blank}
        lengths.append(length)
    assert len(set(lengths)) > 2
    assert max(lengths) == found.shape[1] < 60


def test_each_prompt_is_read_once():
    model, _ = load_policy(policies.saved(), device="cpu")
    seen = []
    first = model.model.language_model.layers[0]
    first.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape[:2])))
    inputs = prompts(0, 1, 2)
    length = inputs["input_ids"].shape[1]
    sample_group(model, inputs, 4, GenerationConfig(max_new_tokens=3, do_sample=True))
    assert seen == [(3, length - 1), (3, 4), (3, 4), (3, 4)]


@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_a_merged_adapter_computes_the_same_and_leaves_no_trace(quantize):
    base, _ = load_policy(policies.saved(), quantize, device="cpu")
    model = get_peft_model(base, LoraConfig(r=4, target_modules=LORA, init_lora_weights=False))
    inputs, before = prompts(0, 1), {name: w.clone() for name, w in model.named_parameters()}
    calls = []
    model.base_model.model.model.language_model.layers[0].self_attn.q_proj.lora_A[
        "default"
    ].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        plain, calls[:] = model(**inputs).logits, []
        with merged_lora(model):
            torch.testing.assert_close(model(**inputs).logits, plain, atol=1e-5, rtol=1e-5)
            assert not calls
        with model.disable_adapter():
            base = model(**inputs).logits
            with merged_lora(model):
                torch.testing.assert_close(model(**inputs).logits, base, atol=1e-5, rtol=1e-5)
        assert (base - plain).abs().max() > 1e-2
        assert torch.equal(model(**inputs).logits, plain)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_unpacked_weights_give_the_same_tokens_and_log_probabilities(monkeypatch):
    """Adapters are products of their own here, as on a GPU."""
    monkeypatch.setattr(generation, "merged_lora", lambda _: nullcontext())
    base, _ = load_policy(policies.saved(), "nf4", device="cpu")
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=LORA, init_lora_weights=False))
    kept = {name for name, _ in model.named_parameters()}
    inputs, (tokens, mask) = prompts(0, 1), completions([5, 3, 4, 5])
    config = GenerationConfig(max_new_tokens=12, **SAMPLED)

    def found():
        given = []
        for loop in (decode_group, decode_recorded):
            monkeypatch.setattr(generation, "decode_group", loop)
            torch.manual_seed(3)
            given.append(sample_group(model, inputs, 4, config))
        logits = packed_outputs(model(**packed_inputs(model, inputs, tokens, mask)).logits, tokens)
        logps = token_logps(logits, tokens, 0.9)
        return given, logps.detach(), gradients(model, logps.sum())

    given, logps, slopes = found()
    adapter = get_peft_model_state_dict(model)
    unpack(model)
    assert not [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    assert {name for name, _ in model.named_parameters()} == kept
    again, same, alike = found()
    assert all(torch.equal(one, other) for one, other in zip(given, again, strict=True))
    torch.testing.assert_close(same, logps, atol=1e-5, rtol=0)
    assert relative_error(alike, slopes) < 1e-5
    assert get_peft_model_state_dict(model).keys() == adapter.keys()


@pytest.mark.parametrize("change", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_what_cannot_be_merged_is_left_alone(change):
    base, _ = load_policy(policies.saved(), device="cpu")
    model = get_peft_model(base, LoraConfig(r=4, target_modules=LORA, **change))
    layer = model.base_model.model.model.language_model.layers[0].self_attn.q_proj
    with merged_lora(model):
        assert "forward" not in vars(layer)
    shorter = get_peft_model(
        load_policy(policies.saved(), device="cpu", dtype=torch.bfloat16)[0],
        LoraConfig(r=4, target_modules=LORA),
    )
    with merged_lora(shorter):
        assert not [layer for layer in shorter.modules() if "forward" in vars(layer)]


def test_a_base_does_without_peft(monkeypatch):
    base, _ = load_policy(policies.saved(), device="cpu")
    for name in ("peft.tuners.lora", "peft.utils.integrations"):
        monkeypatch.setitem(sys.modules, name, None)  # to import it would fail
    with merged_lora(base):
        assert not [layer for layer in base.modules() if "forward" in vars(layer)]


@pytest.mark.parametrize("kind", [None, "pt"])
def test_each_image_is_cut_into_patches_once(kind):
    processor = policies.processor().image_processor
    pictures = [picture(row, size) for row, size in enumerate(SIZES)]
    images = [[pictures[row]] for row in (0, 1, 1, 2, 0)]
    plain, seen, patchify = processor(images, return_tensors=kind), [], processor.patchify
    processor.patchify = lambda *args, **given: seen.append(1) or patchify(*args, **given)
    try:
        with distinct_images(processor):
            found = processor(images, return_tensors=kind)
    finally:
        del processor.patchify
    assert len(seen) == 3
    assert type(found["pixel_values"]) is type(plain["pixel_values"])
    for name in ("pixel_values", "image_grid_thw"):
        assert (found[name] == plain[name]).all()
    assert "preprocess" not in vars(processor)
