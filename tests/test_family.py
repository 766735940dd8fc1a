"""Each member of the family of chapter 08 has the loss and the gradient that TRL computes."""

import ast
from pathlib import Path
from types import SimpleNamespace

import policies
import pytest
import torch
from test_grpo import MAX_LENGTH, TEMPERATURE, gradient, logps_of, trainer_of
from trl import DistillationConfig, DistillationTrainer, RLOOConfig, RLOOTrainer

from medr1_lib.course.chapters.chapter_08 import (
    FAMILY,
    Member,
    importance_ratio,
    leave_one_out,
    policy_loss,
    reverse_kl,
)
from medr1_lib.model.loading import load_policy
from medr1_lib.rl import grpo

ROOT = Path(__file__).parents[1]
RATIOS = {"none": "token", "token": "token", "sequence": "sequence"}


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    """A trainer, rollouts that it sampled, and what another policy would have given them."""
    torch.manual_seed(0)
    trainer = trainer_of(False, "no KL", tmp_path_factory.mktemp("run"))
    inputs = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = 1
    inputs["num_items_in_batch"] = inputs["completion_mask"].sum()
    logps = logps_of(trainer, inputs).detach()
    return SimpleNamespace(
        trainer=trainer, inputs=inputs, old=logps + 0.3 * torch.randn_like(logps)
    )


def arguments(kind, folder, **more):
    """The settings of another of TRL's trainers."""
    plain = {"use_cpu": True, "bf16": False, "activation_checkpointing": False, "report_to": []}
    size = {"per_device_train_batch_size": 8, "max_completion_length": MAX_LENGTH}
    return kind(str(folder), temperature=TEMPERATURE, **plain, **size, **more)


def around(kind, step, config, **more):
    """Another of TRL's trainers, around the same policy."""
    shared = {"train_dataset": step.trainer.train_dataset, "args": config}
    shared |= {"model": step.trainer.model, "processing_class": step.trainer.processing_class}
    trainer = kind(**shared, **more)
    trainer.model.train()
    return trainer


@pytest.fixture(scope="module")
def rloo(step, tmp_path_factory):
    config = arguments(RLOOConfig, tmp_path_factory.mktemp("rloo"), num_generations=4, beta=0.0)
    return around(RLOOTrainer, step, config, reward_funcs=step.trainer.reward_funcs)


def theirs(step, rloo, member, old):
    """TRL's loss for the row of a member."""
    if member.ratio == "product":
        total = (old * step.inputs["completion_mask"]).sum(1)
        return rloo._compute_loss(rloo.model, step.inputs | {"old_logps": total})
    trainer = step.trainer
    trainer.loss_type = "cispo" if member.low is None else member.weights
    trainer.importance_sampling_level = RATIOS[member.ratio]
    trainer.epsilon_low, trainer.epsilon_high = member.low, member.high
    # Without old probabilities TRL takes the policy itself, and its ratio is 1 as REINFORCE's.
    given = {} if member.ratio == "none" else {"old_per_token_logps": old}
    return trainer._compute_loss(trainer.model, step.inputs | given)


def ours(step, member, old):
    logps = logps_of(step.trainer, step.inputs)
    mask, advantages = step.inputs["completion_mask"], step.inputs["advantages"]
    return policy_loss(member, logps, old, advantages, mask, MAX_LENGTH)


@pytest.mark.parametrize("stale", [False, True], ids=["first update", "stale"])
@pytest.mark.parametrize("name", FAMILY)
def test_loss_and_gradient_are_those_of_trl(step, rloo, name, stale):
    old = step.old if stale else logps_of(step.trainer, step.inputs).detach()
    wanted, found = theirs(step, rloo, FAMILY[name], old), ours(step, FAMILY[name], old)
    assert abs(wanted.item() - found.item()) < 1e-5
    slope = gradient(step.trainer, wanted)
    assert slope.norm() > 1e-3
    assert (slope - gradient(step.trainer, found)).norm() / slope.norm() < 1e-4


def test_ratio_and_limit_act_only_on_a_policy_that_has_moved(step):
    """Advantage and weights kept, there is one gradient at first, and several later."""
    names = ("REINFORCE", "GRPO", "DAPO", "GSPO", "CISPO")
    same = {name: FAMILY[name]._replace(weights="grpo") for name in names}
    for old, apart in ((logps_of(step.trainer, step.inputs).detach(), False), (step.old, True)):
        slopes = [gradient(step.trainer, ours(step, member, old)) for member in same.values()]
        gaps = [(slope - slopes[1]).norm() / slopes[1].norm() for slope in slopes]
        assert [bool(gap > 1e-3) for gap in gaps] == [apart, False, *(len(gaps) - 2) * [apart]]


def test_cispo_with_the_limit_of_a_clip_is_five_times_too_weak(step):
    """TRL reads `epsilon_high`, 0.2 if nothing is said, as the largest ratio."""
    old = logps_of(step.trainer, step.inputs).detach()
    limits = FAMILY["CISPO"], FAMILY["CISPO"]._replace(high=0.2)
    right, weak = (gradient(step.trainer, theirs(step, None, one, old)) for one in limits)
    assert torch.allclose(weak, right / 5, atol=1e-6)


def test_a_baseline_of_the_others_is_that_of_trl(rloo):
    rloo._prepare_inputs(next(iter(rloo.get_train_dataloader())))
    rewards = torch.tensor(list(rloo._logs["rewards"]["long_words"]))
    assert len(set(rewards.tolist())) > 1
    found = leave_one_out(rewards, 4)
    assert found.tolist() == pytest.approx(list(rloo._logs["advantages"]), abs=1e-6)


def test_distillation_is_that_of_trl(step, tmp_path):
    """On rollouts about images, with a teacher of the same size."""
    teacher, _ = load_policy(policies.saved(), device="cpu")
    with torch.no_grad():
        for weight in teacher.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    config = arguments(DistillationConfig, tmp_path)
    trainer = around(DistillationTrainer, step, config, teacher_model=teacher)
    wanted = trainer.compute_loss(trainer.model, step.inputs)
    logits = [tempered_logits(model, step.inputs) for model in (step.trainer.model, teacher)]
    mask = step.inputs["completion_mask"]
    found = (reverse_kl(logits[0], logits[1].detach()) * mask).sum() / mask.sum()
    assert wanted > 1e-3
    assert abs(wanted.item() - found.item()) < 1e-5
    slope = gradient(step.trainer, wanted)
    assert (slope - gradient(step.trainer, found)).norm() / slope.norm() < 1e-4


def tempered_logits(model, inputs):
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    seen = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    pixels = {key: inputs[key] for key in ("pixel_values", "image_grid_thw", "mm_token_type_ids")}
    logits = model(input_ids=ids, attention_mask=seen, **pixels).logits
    return logits[:, -inputs["completion_ids"].shape[1] - 1 : -1] / TEMPERATURE


def test_a_baseline_of_the_others_is_that_of_the_group_enlarged():
    rewards = torch.rand(12, generator=torch.Generator().manual_seed(0))
    wanted = grpo.group_advantages(rewards, 4, scale=False) * 4 / 3
    assert torch.allclose(leave_one_out(rewards, 4), wanted, atol=1e-6)


def test_two_kinds_of_ratio_agree_where_all_tokens_moved_alike():
    old = torch.zeros(2, 3)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    token, sequence = (
        importance_ratio(old + 0.1, old, mask, kind) for kind in ("token", "sequence")
    )
    assert torch.allclose(token[mask == 1], sequence.expand(2, 3)[mask == 1])
    product = importance_ratio(old + 0.1, old, mask, "product")
    assert torch.allclose(product[:, 0], torch.tensor([0.3, 0.2]).exp())


def test_a_member_is_a_row_and_no_other_thing():
    plain = Member("group", "token", 0.2, 0.2, "grpo")
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    old, gains, mask = torch.tensor([[-1.2, -1.5]]), torch.tensor([1.0]), torch.ones(1, 2)
    found = policy_loss(plain, logps, old, gains, mask, 4)
    weights = grpo.token_weights(mask, "grpo", 4)
    wanted = grpo.grpo_loss(logps, old, old, gains, weights, clip=0.2, beta=0.0)
    assert found.item() == pytest.approx(wanted.item())


def test_the_loop_that_chapter_08_shows_is_that_of_the_record():
    shown = (ROOT / "notebooks/_src/08_the_family.py").read_text(encoding="utf-8")
    recorded = (ROOT / "benchmarks/study/family.py").read_text(encoding="utf-8")
    found = [ast.unparse(function_of(text, "distill").body[1:]) for text in (shown, recorded)]
    assert found[0] == found[1]


def function_of(text, name):
    nodes = ast.walk(ast.parse(text))
    return next(n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == name)
