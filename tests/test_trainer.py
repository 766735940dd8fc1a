"""`PolicyTrainer` does what TRL's trainer does: same rollouts, losses, gradients and weights."""

import functools

import policies
import pytest
import torch
from datasets import Dataset
from layouts import picture
from peft import LoraConfig
from trl.trainer import grpo_trainer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import shuffle_sequence_dict

from medr1_lib.model.loading import base_model, load_policy
from medr1_lib.rl.trainer import PolicyTrainer, sample_shared

LORA = r".*language_model.*\.(q_proj|v_proj|down_proj)"
TEXTS = ("Which organ?", "How severe is the lesion? A)mild, B)severe", "What?", "Which organ?")
SIZES = ((64, 64), (112, 56), (84, 112), (64, 64))


def data(images):
    turns = [[{"role": "user", "content": text}] for text in TEXTS]
    if not images:
        return Dataset.from_dict({"prompt": turns})
    pictures = [picture(seed, size) for seed, size in enumerate(SIZES)]
    return Dataset.from_dict({"prompt": turns, "image": pictures})


def odd_tokens(completion_ids, **_):
    return [sum(token % 2 for token in row) / len(row) for row in completion_ids]


def build(kind, folder, quantize=None, lora=True, images=True, **settings):
    model, processor = load_policy(policies.saved(), quantize, device="cpu")
    end = base_model(model).lm_head.weight
    with torch.no_grad():
        end[processor.tokenizer.eos_token_id] *= 3  # so that completions differ in length
    defaults = {
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "beta": 0.04,
        "loss_type": "grpo",
        "max_completion_length": 12,
        "max_steps": 2,
        "gradient_checkpointing": False,
        "learning_rate": 0.1,
        "optim": "sgd",  # Adam would blow up the rounding of gradients near zero
        "temperature": 0.9,
    }
    quiet = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "logging_steps": 1}
    config = GRPOConfig(str(folder), use_cpu=True, bf16=False, **quiet, **(defaults | settings))
    adapter = LoraConfig(r=4, target_modules=LORA, init_lora_weights=lora != "far")
    if not lora:
        model.requires_grad_(True)
        model.model.visual.requires_grad_(lora is None)
        model.config.name_or_path = str(policies.saved())  # TRL loads the reference from there
    return kind(
        model=model,
        reward_funcs=odd_tokens,
        args=config,
        train_dataset=data(images),
        eval_dataset=data(images),
        processing_class=processor,
        peft_config=adapter if lora else None,
    )


def trained(kind, folder, **settings):
    """The log of a short training, and the weights at its end."""
    trainer = build(kind, folder, **settings)
    trainer.train()
    kept = ("loss", "grad_norm", "kl", "reward", "entropy", "completions/mean_length")
    steps = [row for row in trainer.state.log_history if "loss" in row]
    log = [{name: row[name] for name in kept if name in row} for row in steps]
    weights = [w.detach() for w in trainer.model.parameters() if w.requires_grad]
    return log, weights


SETTINGS = {
    "as the course": {},
    "as on a gpu": {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    "two steps per rollout, no images": {"num_iterations": 2, "max_steps": 3, "images": False},
    "two steps for a batch of rollouts": {
        "steps_per_generation": 2,
        "per_device_train_batch_size": 4,
        "max_steps": 4,
    },
    "every weight": {"lora": None, "beta": 0.0, "loss_type": "dapo"},
}


def unshuffled(rollouts):
    shuffle_sequence_dict(rollouts)  # for its random numbers
    return rollouts


@pytest.mark.parametrize("name", SETTINGS)
def test_training_is_that_of_trl(name, tmp_path, monkeypatch):
    wanted, theirs = trained(GRPOTrainer, tmp_path / "trl", **SETTINGS[name])
    found, ours = trained(PolicyTrainer, tmp_path / "ours", **SETTINGS[name])
    assert len({row.get("completions/mean_length") for row in found}) > 1
    if name == "as on a gpu":
        # TRL logs these as means over passes of means over tokens: compare them on the same passes
        monkeypatch.setattr(grpo_trainer, "shuffle_sequence_dict", unshuffled)
        regrouped, _ = trained(GRPOTrainer, tmp_path / "regrouped", **SETTINGS[name])
        for row, same in zip(wanted, regrouped, strict=True):
            row |= {key: same[key] for key in ("entropy", "kl")}
    for mine, other in zip(found, wanted, strict=True):
        for key, value in other.items():
            assert mine[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-4)


def first_inputs(trainer):
    """The inputs of the first step, sampled and scored."""
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))


def loss_and_gradient(trainer, inputs):
    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    loss = trainer._compute_loss(trainer.model, inputs)
    return loss.item(), torch.autograd.grad(loss, weights)


@pytest.mark.parametrize("quantize", [None, "nf4"])
def test_loss_and_gradient_on_the_same_inputs_are_those_of_trl(quantize, tmp_path, monkeypatch):
    trainer = build(PolicyTrainer, tmp_path, quantize=quantize, lora="far")
    inputs = first_inputs(trainer)
    assert inputs["ref_per_token_logps"].abs().sum() > 0
    found, ours = loss_and_gradient(trainer, inputs)
    name = "_get_per_token_logps_and_entropies"
    monkeypatch.setattr(PolicyTrainer, name, getattr(GRPOTrainer, name))
    wanted, theirs = loss_and_gradient(trainer, inputs)
    assert found == pytest.approx(wanted, abs=1e-6)
    error = sum(((a - b) ** 2).sum() for a, b in zip(ours, theirs, strict=True))
    assert (error / sum((b**2).sum() for b in theirs)).sqrt() < 1e-5


def test_adapters_of_a_quantized_model_stay_in_float32(tmp_path):
    for kind, dtype in ((GRPOTrainer, torch.bfloat16), (PolicyTrainer, torch.float32)):
        weights = build(kind, tmp_path, quantize="nf4").model.parameters()
        assert {weight.dtype for weight in weights if weight.requires_grad} == {dtype}


def test_images_are_encoded_once_and_prompts_read_once_per_pass(tmp_path):
    trainer = build(PolicyTrainer, tmp_path, num_generations=4)
    core = base_model(trainer.model).model
    images, rows = [], []
    core.visual.register_forward_pre_hook(
        lambda _, args, given: images.append(len(given["grid_thw"])), with_kwargs=True
    )
    core.language_model.layers[0].register_forward_pre_hook(
        lambda _, args: rows.append(tuple(args[0].shape[:2]))
    )
    trainer.train()
    assert images == [2, 2]  # two steps with two new images each
    reads = [shape for shape in rows if shape[1] > 12]
    assert {count for count, _ in reads} == {2}
    assert len(reads) == 2 * 3  # sampled, scored under the reference, scored under the policy


def test_a_group_stays_in_one_backward_pass(tmp_path):
    size = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    trainer = build(PolicyTrainer, tmp_path, **size)
    read = []

    def note(_, args):
        if torch.is_grad_enabled() and args[0].shape[1] > 12:
            read.append(len(args[0]))

    base_model(trainer.model).model.language_model.layers[0].register_forward_pre_hook(note)
    trainer.train()
    assert read == [1] * 4  # two steps of two groups


def test_a_prompt_is_sampled_from_once_for_its_group(tmp_path, monkeypatch):
    asked = []
    plain = type(policies.processor()).apply_chat_template

    def counted(self, chats, **settings):
        if settings.get("tokenize"):
            asked.append(len(chats))
        return plain(self, chats, **settings)

    monkeypatch.setattr(type(policies.processor()), "apply_chat_template", counted)
    trainer = build(PolicyTrainer, tmp_path, max_steps=1)
    trainer.train()
    assert asked == [2]  # of 8 rollouts
    assert trainer.evaluate()["eval_reward"] > 0


def test_a_rollout_function_of_the_caller_is_left_alone(tmp_path, monkeypatch):
    assert build(PolicyTrainer, tmp_path).rollout_func is sample_shared
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    own = build(functools.partial(PolicyTrainer, rollout_func=print), tmp_path)
    assert own.rollout_func is print


def test_checkpointing_changes_nothing_but_the_memory(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("medr1_lib.rl.trainer.logger.warning_once", said.append)
    plain, kept = trained(PolicyTrainer, tmp_path / "plain")
    found, done_again = trained(PolicyTrainer, tmp_path / "less", gradient_checkpointing=True)
    assert said == []  # both share prompts
    assert found == [pytest.approx(step, rel=1e-5, abs=1e-6) for step in plain]
    for mine, other in zip(done_again, kept, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


def test_a_tower_in_training_is_left_alone(tmp_path):
    core = base_model(build(PolicyTrainer, tmp_path, lora=None, beta=0.0).model).model
    assert "get_image_features" not in vars(core)
