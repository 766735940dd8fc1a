"""The visible loop does what the trainer does: same losses and steps from the same rollouts."""

import inspect
from types import SimpleNamespace

import policies
import pytest
import torch
import trainings
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from trl.data_utils import prepare_multimodal_messages

from medr1_lib.errors import InputError
from medr1_lib.model.loading import load_policy
from medr1_lib.rl import loop, trainer
from medr1_lib.rl.train import grpo_rows, make_trainer

STEPS = 3


def anything(reward):
    """A reward of `trainings`, for completions as plain text."""
    return lambda completions, **_: reward([[{"content": text}] for text in completions])


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_the_loop_takes_the_steps_of_the_trainer_from_the_same_rollouts(
    tmp_path, monkeypatch, schedule
):
    trainings.reward_anything(monkeypatch)
    recipe = trainings.grpo(max_steps=STEPS, lr_scheduler_type=schedule)
    config = recipe.trl_config(tmp_path)
    host = make_trainer(recipe, config)
    base, processor = load_policy(policies.saved(), device="cpu")
    policy, sampled = get_peft_model(base, host.model.peft_config["default"]).train(), []
    set_peft_model_state_dict(policy, get_peft_model_state_dict(host.model))

    def noted(*arguments):
        sampled.append(plain(*arguments))
        return sampled[-1]

    plain = trainer.sample_group
    monkeypatch.setattr(trainer, "sample_group", noted)
    host.train()
    wanted = [row for row in host.state.log_history if "loss" in row]
    tokens = iter(sampled)
    monkeypatch.setattr(loop, "sample_group", lambda *_: next(tokens))
    rewards = [anything(trainings.format_reward), anything(trainings.accuracy_reward)]
    steps = loop.grpo_loop(loop.Task(policy, processor, grpo_rows(recipe), rewards, config))
    for found, row in zip(steps, wanted, strict=True):
        assert found["loss"] == pytest.approx([row["loss"]], rel=1e-4, abs=1e-6)
        assert found["grad_norm"] == pytest.approx([row["grad_norm"]], rel=1e-3)
        assert found["reward"] == pytest.approx(row["reward"], abs=1e-6)
    assert abs(wanted[-1]["loss"]) > 1e-5  # the penalty, after two steps


def test_the_loop_samples_what_the_trainer_samples(tmp_path):
    recipe = trainings.grpo(max_completion_length=12)
    host = make_trainer(recipe, recipe.trl_config(tmp_path))
    batch = grpo_rows(recipe)[:2]
    inputs = loop.encode(host.processing_class, batch)
    torch.manual_seed(0)
    tokens, mask = loop.sample(host.model, host.processing_class, inputs, host.args)
    host.model.train()
    chats = [
        prepare_multimodal_messages(turn, images=[image])
        for turn, image in zip(batch["prompt"], batch["image"], strict=True)
        for _ in range(4)
    ]
    torch.manual_seed(0)
    found = trainer.sample_shared(chats, host)
    kept = [row[keep.bool()].tolist() for row, keep in zip(tokens, mask, strict=True)]
    assert kept == found["completion_ids"]


def test_questions_come_again_in_full_batches_and_too_few_are_refused(monkeypatch):
    config = SimpleNamespace(num_generations=4, per_device_train_batch_size=8, max_grad_norm=1.0)
    config.max_completion_length, config.loss_type, config.epsilon, config.beta = 4, "grpo", 0, 0
    monkeypatch.setattr(loop, "encode", lambda processor, batch: batch)
    monkeypatch.setattr(loop, "sample", lambda policy, processor, inputs, config: inputs)
    task = loop.Task(torch.nn.Linear(1, 1), None, list(range(5)), [], config)
    assert [task.sample() for _ in range(5)] == [[0, 1], [2, 3], [0, 1], [2, 3], [0, 1]]
    with pytest.raises(InputError, match="1 questions are left, and a batch takes 2"):
        loop.Task(torch.nn.Linear(1, 1), None, [0], [], config)


def test_a_step_fits_on_a_page():
    """At most forty lines of code."""
    assert len(inspect.getsource(loop.grpo_step).splitlines()) <= 40
