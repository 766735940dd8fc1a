"""GRPO by hand: numbers worked out on paper, and TRL's own loss and gradient."""

import math
from itertools import pairwise
from types import SimpleNamespace

import policies
import pytest
import torch
from datasets import Dataset
from layouts import picture
from peft import LoraConfig
from torch.nn.utils import parameters_to_vector
from trl import GRPOConfig, GRPOTrainer

from medr1_lib.model.loading import load_policy
from medr1_lib.rl import grpo

KINDS = ("grpo", "bnpo", "dr_grpo", "dapo")
CLIP, BETA, TEMPERATURE, MAX_LENGTH = 0.2, 0.04, 0.9, 8
ACCUMULATED = 2  # micro-batches of one optimizer step
PENALTIES = {
    "no KL": {"beta": 0.0},
    "KL": {"beta": BETA, "use_bias_correction_kl": False},
    "corrected KL": {"beta": BETA, "use_bias_correction_kl": True},
}


def close(got, *expected, tolerance=1e-6):
    assert torch.as_tensor(got).flatten().tolist() == pytest.approx(expected, abs=tolerance)


# On paper.


def test_advantages_are_deviations_in_units_of_the_spread_of_the_group():
    rewards = torch.tensor([2.0, 2.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
    spread = math.sqrt(2.75 / 3) + 1e-4  # 0.75, 0.75, -0.25 and -1.25 squared, over three
    first = [deviation / spread for deviation in (0.75, 0.75, -0.25, -1.25)]
    second = [deviation / (0.5 + 1e-4) for deviation in (0.75, -0.25, -0.25, -0.25)]
    close(grpo.group_advantages(rewards, 4), *first, *second)
    plain = grpo.group_advantages(rewards, 4, scale=False)
    close(plain, 0.75, 0.75, -0.25, -1.25, 0.75, -0.25, -0.25, -0.25)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("reward", [0.0, 1.0, 2.0])
def test_a_group_that_agrees_has_no_advantage(reward, scale):
    advantages = grpo.group_advantages(torch.full((4,), reward), 4, scale)
    assert advantages.tolist() == [0.0, 0.0, 0.0, 0.0]


def test_a_tiny_difference_is_scaled_up_to_a_large_one():
    close(grpo.group_advantages(torch.tensor([1.0, 1.01]), 2), -0.697, 0.697, tolerance=1e-3)
    close(grpo.group_advantages(torch.tensor([1.0, 1.01]), 2, scale=False), -0.005, 0.005)


def test_log_probabilities_are_those_of_the_tempered_softmax():
    logits = torch.tensor([[[0.0, math.log(3.0)], [math.log(4.0), 0.0]]])
    ids = torch.tensor([[1, 1]])
    close(grpo.token_logps(logits, ids, 1.0).exp(), 3 / 4, 1 / 5)
    close(grpo.token_logps(logits, ids, 0.5).exp(), 9 / 10, 1 / 17)
    assert grpo.token_logps(logits.bfloat16(), ids, 1.0).dtype == torch.float32


def test_log_probabilities_of_large_logits_are_finite():
    logits = torch.tensor([[[1e4, 0.0]]])
    close(grpo.token_logps(logits, torch.tensor([[0]]), 1.0), 0.0)
    close(grpo.token_logps(logits, torch.tensor([[1]]), 1.0), -1e4)


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [
        (0.5, 1.0, 0.5, 1.0),  # a good token that became rarer is pulled back all the way
        (1.0, 1.0, 1.0, 1.0),
        (1.3, 1.0, 1.2, 0.0),  # one that became likelier by more than the clip is left alone
        (1.3, -1.0, -1.3, -1.0),  # a bad token that became likelier is pushed down all the way
        (0.5, -1.0, -0.8, 0.0),
        (0.5, 0.0, 0.0, 0.0),
    ],
)
def test_the_objective_is_clipped_where_a_token_has_gained_enough(
    ratio, advantage, objective, slope
):
    ratio = torch.tensor(ratio, requires_grad=True)
    found = grpo.clipped_objective(ratio, torch.tensor(advantage), CLIP)
    found.backward()
    close(found, objective)
    close(ratio.grad, slope)


def test_k3_is_zero_for_equal_models_and_positive_on_either_side():
    logps = torch.tensor([-1.0, -1.0, -1.0])
    reference = logps + torch.tensor([0.0, math.log(2.0), -math.log(2.0)])
    close(grpo.kl_k3(logps, reference), 0.0, 1 - math.log(2.0), math.log(2.0) - 0.5)


def test_k3_of_small_gaps_is_not_lost_in_rounding():
    gap = torch.logspace(-6, -1, 200)
    for signed in (gap, -gap):
        estimate = grpo.kl_k3(torch.zeros(200), signed)
        assert (estimate >= 0).all()
        assert (estimate <= signed**2).all()


def test_k3_is_unbiased():
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.2, 0.3, 0.5])
    expected = (policy * grpo.kl_k3(policy.log(), reference.log())).sum()
    close(expected, float((policy * (policy / reference).log()).sum()))


MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    ("kind", "long", "short"),
    [
        ("grpo", 1 / 8, 1 / 2),
        ("bnpo", 1 / 5, 1 / 5),
        ("dapo", 1 / 20, 1 / 20),
        ("dr_grpo", 1 / 16, 1 / 16),
    ],
)
def test_each_loss_weighs_tokens_its_own_way(kind, long, short):
    weights = grpo.token_weights(MASK, kind, max_completion_length=8, batch_tokens=20)
    close(weights, *4 * [long], 0, short, *4 * [0])


def test_dapo_counts_the_tokens_at_hand_unless_told_of_more():
    alone = grpo.token_weights(MASK, "dapo", max_completion_length=8)
    assert torch.equal(alone, grpo.token_weights(MASK, "bnpo", max_completion_length=8))


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_rollout_has_no_weight_and_breaks_nothing(kind):
    assert grpo.token_weights(torch.zeros(2, 3), kind, max_completion_length=8).sum() == 0
    one = grpo.token_weights(torch.tensor([[1, 0], [0, 0]]), kind, max_completion_length=8)
    assert one.isfinite().all()
    assert one[1].sum() == 0


def loss_of(logps, old=None, reference=None, kind="grpo", mask=None, beta=0.0, corrected=False):
    old = logps.detach() if old is None else old
    reference = logps.detach() if reference is None else reference
    weights = grpo.token_weights(torch.ones_like(logps) if mask is None else mask, kind, 8)
    advantages = torch.tensor([1.0, -0.5])
    return grpo.grpo_loss(logps, old, reference, advantages, weights, CLIP, beta, corrected)


def test_one_token_each():
    ratios = torch.tensor([[1.1], [1.5]])
    close(loss_of(ratios.log(), old=torch.zeros(2, 1)), -(1.1 - 0.75) / 2)
    ratios = torch.tensor([[1.5], [0.5]])
    close(loss_of(ratios.log(), old=torch.zeros(2, 1)), -(1.2 - 0.4) / 2)


@pytest.mark.parametrize(
    ("kind", "loss"), [("grpo", -0.25), ("bnpo", -0.7), ("dr_grpo", -3.5 / 16)]
)
def test_at_the_first_step_the_loss_is_minus_the_weighted_mean_of_the_advantages(kind, loss):
    close(loss_of(torch.full((2, 5), -3.0), kind=kind, mask=MASK), loss)


def test_masked_tokens_are_without_effect():
    logps = torch.full((2, 5), -3.0)
    other = torch.where(MASK == 1, logps, torch.tensor(-9.0)).requires_grad_()
    old, reference = torch.full((2, 5), -3.1), torch.full((2, 5), -2.8)
    arguments = {"old": old, "reference": reference, "mask": MASK, "beta": BETA}
    loss = loss_of(other, **arguments)
    loss.backward()
    assert torch.equal(loss, loss_of(logps, **arguments))
    assert torch.equal(other.grad != 0, MASK == 1)


def test_the_penalty_pulls_towards_the_reference():
    logps = torch.tensor([[-1.0], [-1.0]], requires_grad=True)
    reference = torch.tensor([[-1.0 + math.log(2)], [-1.0]])
    loss = loss_of(logps, reference=reference, beta=BETA)
    loss.backward()
    close(loss, -0.25 + BETA * (1 - math.log(2)) / 2)
    close(logps.grad, -0.5 - BETA / 2, 0.25)  # d k3 / d logp = 1 - reference / policy = -1


def test_correcting_the_penalty_changes_its_gradient_and_not_its_value():
    reference = torch.tensor([[-1.0 + math.log(2)], [-1.0]])
    found = {}
    for corrected in (False, True):
        logps = torch.tensor([[-1.0], [-1.0]], requires_grad=True)
        loss = loss_of(logps, reference=reference, beta=BETA, corrected=corrected)
        loss.backward()
        found[corrected] = loss.item(), logps.grad[0].item()
    assert found[True][0] == found[False][0]
    close(found[True][1] - found[False][1], BETA * (1 - math.log(2)) / 2)


def exact_gradient(corrected):
    """Expected gradient of the penalty over every token of a small vocabulary."""
    logits = torch.tensor([0.3, -0.2, 0.9], requires_grad=True)
    logps, reference = logits.log_softmax(0), torch.tensor([1.0, 0.0, -0.5]).log_softmax(0)
    probabilities = logps.detach().exp()
    penalty = grpo.kl_k3(logps, reference)
    if corrected:
        penalty = (logps - logps.detach()).exp() * penalty
    wanted = {
        True: (logps.exp() * (logps - reference)).sum(),
        False: (reference.exp() * (reference - logps)).sum(),
    }[corrected]
    found = torch.autograd.grad((probabilities * penalty).sum(), logits, retain_graph=True)[0]
    return found, torch.autograd.grad(wanted, logits)[0]


def test_the_corrected_penalty_descends_the_reverse_divergence_the_plain_one_the_forward():
    for corrected in (True, False):
        found, wanted = exact_gradient(corrected)
        assert torch.allclose(found, wanted, atol=1e-6)
    assert not torch.allclose(exact_gradient(True)[0], exact_gradient(False)[0], atol=1e-2)


# Against TRL.


def trainer_of(lora, penalty, folder):
    """A trainer whose policy has moved away from its reference, and ends its rollouts at times."""
    model, processor = load_policy(policies.saved(), device="cpu")
    model.generation_config.eos_token_id = list(range(2, 60))
    asked = [("Which organ?", (56, 56)), ("Which modality is this image?", (84, 56))]
    rows = [
        {"prompt": [{"role": "user", "content": stem}], "image": picture(n, size)}
        for n, (stem, size) in enumerate(2 * asked)
    ]
    arguments = GRPOConfig(
        str(folder),
        per_device_train_batch_size=8,
        gradient_accumulation_steps=ACCUMULATED,
        num_generations=4,
        max_completion_length=MAX_LENGTH,
        temperature=TEMPERATURE,
        epsilon=CLIP,
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        report_to=[],
        **PENALTIES[penalty],
    )
    targets = r".*language_model.*\.(q_proj|v_proj)"
    config = LoraConfig(r=4, target_modules=targets, init_lora_weights=False) if lora else None
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=long_words,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
        peft_config=config,
    )
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = ACCUMULATED  # `train` would set it
    with torch.no_grad():
        for weight in trained(trainer):
            weight.add_(0.01 * torch.randn_like(weight))
    return trainer


def long_words(completions, **_):
    return [float(len(completion[0]["content"]) % 3) for completion in completions]


def trained(trainer):
    return [weight for weight in trainer.model.parameters() if weight.requires_grad]


@pytest.fixture(
    scope="module", params=[(a, p) for a in ("full", "LoRA") for p in PENALTIES], ids=str
)
def step(request, tmp_path_factory):
    """A trainer and the first micro-batch that it sampled and scored."""
    adapter, penalty = request.param
    torch.manual_seed(0)
    trainer = trainer_of(adapter == "LoRA", penalty, tmp_path_factory.mktemp("run"))
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    return SimpleNamespace(trainer=trainer, inputs=inputs)


def logps_of(trainer, inputs):
    """Our log-probabilities, by the plain forward pass of the model."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    seen = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    pixels = {key: inputs[key] for key in ("pixel_values", "image_grid_thw", "mm_token_type_ids")}
    length = inputs["completion_ids"].shape[1]
    logits = trainer.model(input_ids=ids, attention_mask=seen, **pixels).logits
    return grpo.token_logps(logits[:, -length - 1 : -1], inputs["completion_ids"], TEMPERATURE)


def our_loss(trainer, inputs, kind):
    logps = logps_of(trainer, inputs)
    old = inputs.get("old_per_token_logps", logps.detach())
    weights = grpo.token_weights(
        inputs["completion_mask"], kind, MAX_LENGTH, int(inputs["num_items_in_batch"])
    )
    loss = grpo.grpo_loss(
        logps,
        old,
        inputs.get("ref_per_token_logps", old),
        inputs["advantages"],
        weights,
        clip=CLIP,
        beta=trainer.args.beta,
        corrected_kl=trainer.args.use_bias_correction_kl,
    )
    # TRL shares the means of its micro-batches; DAPO's divisor knows the whole step already.
    return loss if kind == "dapo" else loss / ACCUMULATED


def their_loss(trainer, inputs, kind):
    trainer.loss_type = kind
    return trainer._compute_loss(trainer.model, inputs)


def gradient(trainer, loss):
    weights = trained(trainer)
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return parameters_to_vector(
        [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
    )


def drifted(step):
    """The same rollouts, sampled by a policy that today's has left behind."""
    logps = logps_of(step.trainer, step.inputs).detach()  # [B, T]
    old = logps + 0.4 * torch.tensor([1.0, -1.0]).repeat(MAX_LENGTH)[: logps.shape[1]]
    return step.inputs | {"old_per_token_logps": old}


def assert_equal(step, inputs, kind):
    theirs, ours = (loss(step.trainer, inputs, kind) for loss in (their_loss, our_loss))
    assert abs(theirs.item() - ours.item()) < 1e-6
    wanted, found = gradient(step.trainer, theirs), gradient(step.trainer, ours)
    assert wanted.norm() > 1e-3
    assert (wanted - found).norm() / wanted.norm() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_are_those_of_trl(step, kind):
    assert_equal(step, drifted(step), kind)


@pytest.mark.parametrize("kind", ["grpo", "dapo"])
def test_and_in_the_first_step_after_sampling(step, kind):
    assert_equal(step, step.inputs, kind)


def test_log_probabilities_are_those_of_trl(step):
    inputs = step.inputs
    names = ("pixel_values", "image_grid_thw", "mm_token_type_ids", "num_images")
    theirs, *_ = step.trainer._get_per_token_logps_and_entropies(
        step.trainer.model,
        torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
        torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
        inputs["completion_ids"].shape[1],
        **{name: inputs[name] for name in names},
    )
    gap = (theirs - logps_of(step.trainer, inputs)) * inputs["completion_mask"]
    assert gap.abs().max() < 1e-5


def test_advantages_are_those_of_trl(step):
    rewards = torch.tensor(step.trainer._logs["rewards"]["long_words"])
    assert len(set(rewards.tolist())) > 1
    close(grpo.group_advantages(rewards, 4), *step.trainer._logs["advantages"])


def test_the_comparison_has_something_to_compare(step):
    """Uneven lengths, four losses apart, the clip at work on both sides, a policy that moved."""
    inputs, beta = drifted(step), step.trainer.args.beta
    mask, advantages = inputs["completion_mask"], inputs["advantages"][:, None]
    assert len(set(mask.sum(1).tolist())) > 1
    assert inputs["num_items_in_batch"] > mask.sum()
    losses = sorted(our_loss(step.trainer, inputs, kind).item() for kind in KINDS)
    assert min(b - a for a, b in pairwise(losses)) > 1e-5
    ratio = (logps_of(step.trainer, inputs) - inputs["old_per_token_logps"]).exp()
    assert ((ratio > 1 + CLIP) & (advantages > 0) & (mask == 1)).any()
    assert ((ratio < 1 - CLIP) & (advantages < 0) & (mask == 1)).any()
    if beta:
        moved = grpo.kl_k3(logps_of(step.trainer, inputs), inputs["ref_per_token_logps"])
        assert (moved * mask).mean() > 1e-3
