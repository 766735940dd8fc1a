import policies
import pytest
import torch
from layouts import picture
from peft import LoraConfig, get_peft_model

from medr1_lib.model.loading import load_policy
from medr1_lib.model.vision_cache import VisionCache

TEXT = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>What?<|im_end|>\n"


@pytest.fixture(params=[policies.saved, policies.newer], ids=["2", "2.5"])
def model(request):
    return load_policy(request.param(), device="cpu")[0]


def ask(*seeds):
    images = [picture(seed, (64, 64)) for seed in seeds]
    return policies.processor()(text=[TEXT] * len(seeds), images=images, return_tensors="pt")


def logits(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


def test_features_are_those_of_the_plain_way_and_encoded_once(model):
    inputs = ask(1, 2, 3)
    plain = logits(model, inputs)
    with VisionCache(model) as cache:
        assert torch.equal(logits(model, inputs), plain)
        assert (cache.encoded, cache.reused) == (3, 0)
        assert torch.equal(logits(model, inputs), plain)
        assert (cache.encoded, cache.reused) == (3, 3)
    assert torch.equal(logits(model, inputs), plain)
    assert cache.encoded == 3  # removed: the model goes its own way again


def test_the_group_of_an_image_shares_it(model):
    inputs = ask(1, 1, 2, 1)
    with VisionCache(model) as cache:
        shared = logits(model, inputs)
    assert (cache.encoded, cache.reused) == (2, 2)
    # Encoded in another company, so equal but for rounding.
    torch.testing.assert_close(shared, logits(model, inputs), atol=1e-4, rtol=1e-4)


def test_generation_goes_through_it(model):
    inputs, how = ask(1, 2), {"max_new_tokens": 4, "do_sample": False}
    plain = model.generate(**inputs, **how)
    with VisionCache(model) as cache:
        assert torch.equal(model.generate(**inputs, **how), plain)
        assert torch.equal(model.generate(**inputs, **how), plain)
    assert (cache.encoded, cache.reused) == (2, 2)


def test_one_pixel_makes_another_image(model):
    inputs = ask(1)
    with VisionCache(model) as cache:
        before = logits(model, inputs)
        inputs["pixel_values"][-1, -1] += 1
        assert not torch.equal(logits(model, inputs), before)
    assert (cache.encoded, cache.reused) == (2, 0)


def test_memory_is_bounded_and_the_oldest_goes_first(model):
    each = 16 * 192 * 4  # tokens x width x bytes of a float32
    with VisionCache(model, limit=2 * each) as cache:
        for seed in (1, 2, 1, 3):  # 2 was used longest ago when 3 comes
            logits(model, ask(seed))
        assert (cache.encoded, cache.reused) == (3, 1)
        logits(model, ask(1))
        assert (cache.encoded, cache.reused) == (3, 2)
        logits(model, ask(2))
        assert cache.encoded == 4
        assert sum(kept.nbytes for kept in cache._features.values()) == cache._bytes == 2 * each
        assert all(kept.untyped_storage().nbytes() == each for kept in cache._features.values())


def test_an_image_larger_than_the_memory_still_works(model):
    plain = logits(model, ask(1, 2))
    with VisionCache(model, limit=0) as cache:
        assert torch.equal(logits(model, ask(1, 2)), plain)
        assert cache._bytes == 0
        assert torch.equal(logits(model, ask(1, 2)), plain)
    assert (cache.encoded, cache.reused) == (4, 0)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_an_adapter_stay_and_the_tower_is_left_out(model, checkpointing):
    policy = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    policy.enable_input_require_grads()
    if checkpointing:  # would otherwise recompute the frozen tower and go back through it
        policy.gradient_checkpointing_enable()
    inputs = ask(1, 2)
    passes = []
    policy.train()
    model.model.visual.register_forward_hook(lambda *_: passes.append(1))

    def gradients():
        policy.zero_grad()
        policy(**inputs, labels=inputs["input_ids"]).loss.backward()
        return [p.grad.clone() for p in policy.parameters() if p.requires_grad]

    plain = gradients()
    passes.clear()
    with VisionCache(policy):
        for _ in range(3):
            assert all(map(torch.equal, gradients(), plain))
    assert len(passes) == 1


def test_a_tower_in_training_is_not_cut_off(model):
    model.requires_grad_(True)
    with (
        VisionCache(model),
        pytest.raises(RuntimeError, match="freeze it or remove the cache"),
    ):
        model(**ask(1))
