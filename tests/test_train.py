import json
import os
import resource
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import policies
import pytest
import torch
import trainings
import trl
import yaml
from safetensors.torch import load_file
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from medr1_lib.model.loading import load_policy, quantize_in_training
from medr1_lib.model.memory import on_meta, qwen2_vl_2b
from medr1_lib.rl import train as module
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.rewards import rewards
from medr1_lib.rl.run import Run, last_checkpoint
from medr1_lib.rl.train import train

TRL_REWARDS = ["format_reward", "accuracy_reward"]


ROOT = Path(__file__).parents[1]
FEW = {"modality": ("CT",), "question_type": ("AI", "DD", "LG")}  # six questions


class Interrupt(TrainerCallback):
    """Ctrl-C in the middle of a step."""

    def __init__(self, after):
        self.after = after

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == self.after:
            raise KeyboardInterrupt


class SmallDisk(TrainerCallback):
    """No file may grow beyond half of what the optimizer takes, once this is reached."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))


@pytest.fixture(autouse=True)
def _soon_and_rewarded(monkeypatch):
    trainings.reward_anything(monkeypatch)
    monkeypatch.setattr(module, "GROUPS", 2)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of three steps; read only."""
    with pytest.MonkeyPatch.context() as patch:
        trainings.reward_anything(patch)
        return train(trainings.grpo(), tmp_path_factory.mktemp("runs") / "run")


def weights(run):
    return load_file(run.adapter / "adapter_model.safetensors")


def same(one, other):
    """Equal to the last bit, in weights and log."""
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    pd.testing.assert_frame_equal(
        one.log.drop(columns="seconds"), other.log.drop(columns="seconds"), check_exact=True
    )


def test_a_run_leaves_all_that_was_asked_for(done):
    found = {path.name for path in done.folder.iterdir()}
    kept = {"recipe.json", "log.csv", "completions", "adapter", "README.md", "checkpoint-3"}
    assert found == kept
    notes = json.loads((done.folder / "recipe.json").read_text())
    assert notes["recipe"] == json.loads(json.dumps(done.recipe.to_dict()))
    assert notes["finished"]["steps"] == 3
    assert notes["questions"] == 20
    assert {"command", "date", "hardware", "versions", "threads", "formula"} <= set(notes)
    assert list(done.log["step"]) == [1, 2, 3]
    assert (done.log["reward"] == done.log["accuracy"] + done.log["format"]).all()
    assert done.log["kl"].iloc[0] == 0 < done.log["kl"].iloc[2]
    assert done.log.notna().all(axis=None)
    assert (done.log["seconds"] > 0).all()
    card = (done.folder / "README.md").read_text()
    assert "not for clinical use" in card
    assert notes["preflight"]["text"] in card


def test_the_rollouts_are_those_that_were_rewarded(done):
    rollouts = done.rollouts
    assert list(rollouts["step"]) == [1] * 8 + [2] * 8 + [3] * 8  # two groups of four
    as_turns = [[{"content": text}] for text in rollouts["completion"]]
    for name in TRL_REWARDS:
        assert list(rollouts[name]) == getattr(trainings, name)(as_turns)
    for _, group in rollouts.groupby(["step", "image_id"]):
        assert group["advantage"].sum() == pytest.approx(0, abs=1e-5)
        assert group["prompt"].nunique() == 1
    mean = rollouts.groupby("step")["accuracy_reward"].mean()
    assert list(mean) == pytest.approx(list(done.log["accuracy"]), abs=1e-6)


def test_the_adapter_is_loaded_like_any_other(done):
    model, _ = load_policy(done.adapter)
    trained = {name: p for name, p in model.named_parameters() if "lora_B" in name}
    assert len(trained) == 5 * 7
    assert all("language_model" in name and p.abs().max() > 0 for name, p in trained.items())


def test_a_run_is_read_back(done):
    again = Run.load(done.folder)
    assert again.recipe == done.recipe == trainings.grpo()
    same(again, done)


@pytest.mark.parametrize(
    ("recipe", "changes", "kept"),
    [
        pytest.param(
            trainings.grpo,
            {"max_steps": 4, "num_iterations": 2},  # rollouts serve two steps
            2,
            id="rollouts used twice",
        ),
        pytest.param(
            trainings.grpo,
            {"max_steps": 5} | FEW,  # three steps to an epoch
            4,
            id="second epoch",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            trainings.grpo,
            {"max_steps": 3, "quantize": "nf4", "lr_scheduler_type": "linear"},
            2,
            id="nf4",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            trainings.sft,
            {"max_steps": 6, "save_steps": 4} | FEW,
            4,
            id="sft",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_an_interrupted_run_ends_as_if_it_had_not_been(recipe, changes, kept, tmp_path):
    recipe = recipe(**changes)
    whole, cut = train(recipe, tmp_path / "whole"), tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, cut, callbacks=[Interrupt(changes["max_steps"] - 1)])
    with pytest.raises(InputError, match="is not finished; go on with --resume"):
        Run.load(cut)
    assert last_checkpoint(cut).name == f"checkpoint-{kept}"
    resumed = train(recipe, cut, resume=True)
    same(resumed, whole)
    pd.testing.assert_frame_equal(resumed.rollouts, whole.rollouts)
    assert json.loads((cut / "recipe.json").read_text())["resumed_after_steps"] == [kept]
    assert len(list(cut.glob("checkpoint-*"))) == 1


def test_a_run_interrupted_at_its_very_end_only_needs_its_end(done, tmp_path, monkeypatch):
    cut = tmp_path / "cut"
    with monkeypatch.context() as patch:
        patch.setattr("medr1_lib.rl.run.RunFolder.finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(trainings.grpo(), cut)
    same(train(trainings.grpo(), cut, resume=True), done)


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_the_same_seed_gives_the_same_run_and_another_seed_another(done, tmp_path):
    same(train(trainings.grpo(), tmp_path / "again"), done)
    other = train(trainings.grpo(seed=1), tmp_path / "other")
    assert not torch.equal(*(next(iter(weights(run).values())) for run in (other, done)))


def test_a_finished_run_is_not_done_again(done):
    before = (done.folder / "recipe.json").read_text()
    same(train(trainings.grpo(), done.folder, resume=True), done)
    assert (done.folder / "recipe.json").read_text() == before
    with pytest.raises(InputError, match="holds this run already; add --resume"):
        train(trainings.grpo(), done.folder)


def test_a_finished_run_is_extended_as_if_it_had_been_longer_from_the_start(done, tmp_path):
    out = tmp_path / "run"
    train(trainings.grpo(max_steps=1), out)
    with pytest.raises(InputError, match=r"holds a run of another recipe \(max_steps"):
        train(trainings.grpo(max_steps=3), out)
    same(train(trainings.grpo(), out, resume=True), done)
    assert json.loads((out / "recipe.json").read_text())["recipe"]["max_steps"] == 3


@pytest.mark.parametrize("spoilt", ["schedule", "checkpoint"])
def test_a_run_that_cannot_be_extended_says_why(spoilt, tmp_path):
    changes = {"lr_scheduler_type": "linear"} if spoilt == "schedule" else {}
    train(trainings.sft(max_steps=1, **changes), tmp_path / "run")
    if spoilt == "checkpoint":
        shutil.rmtree(tmp_path / "run/checkpoint-1")
    told = {"schedule": "schedule has reached its end", "checkpoint": "no sound checkpoint"}
    with pytest.raises(InputError, match=told[spoilt]):
        train(trainings.sft(max_steps=2, **changes), tmp_path / "run", resume=True)
    assert len(Run.load(tmp_path / "run").log) == 1  # and nothing is lost


@pytest.mark.parametrize("quantize", [None, pytest.param("nf4", marks=pytest.mark.slow)])
def test_grpo_goes_on_where_supervised_training_ended(quantize, tmp_path):
    first = train(trainings.sft(max_steps=2, quantize=quantize), tmp_path / "sft")
    recipe = trainings.grpo(model=str(first.adapter), quantize=quantize, max_steps=2)
    run = train(recipe, tmp_path / "grpo")
    assert run.log["kl"].iloc[0] == pytest.approx(0, abs=1e-6)  # the reference is `first`
    assert run.log["kl"].iloc[1] > 1e-4
    before, after = weights(first), weights(run)
    assert before.keys() == after.keys()
    moved = max((after[name] - before[name]).abs().max() for name in before)
    assert 0 < moved < 0.1
    base = json.loads((run.adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert base == str(policies.saved())
    assert quantize_in_training(run.adapter) == quantize


@pytest.mark.slow
def test_unpacked_weights_train_the_adapter_of_the_packed_ones(tmp_path):
    packed, unpacked = (
        train(trainings.grpo(quantize=quantize), tmp_path / quantize)
        for quantize in ("nf4", "nf4-unpacked")
    )
    same(unpacked, packed)
    for kept in (unpacked.adapter, last_checkpoint(unpacked.folder)):
        stored = load_file(kept / "adapter_model.safetensors")
        assert all("lora_" in name for name in stored)
    assert quantize_in_training(unpacked.adapter) == "nf4"


@pytest.mark.parametrize(
    ("name", "changes", "gigabytes", "needed"),
    [
        ("gpu", {}, 14, None),
        ("gpu-large-card", {}, 70, None),
        ("gpu-large-card", {}, 22, "46.0"),  # a card of 24 GB
        ("gpu-large-card", {}, 48, None),
        ("gpu", {"per_device_train_batch_size": 64}, 22, "44.1"),  # the rollouts of a pass alone
        ("gpu", {"quantize": "nf4-unpacked"}, 7, "7.5"),  # 5.5 without unpacked weights
        ("gpu", {}, 7, None),
        ("gpu-sft", {"quantize": "nf4-unpacked"}, 1, "1.9"),
    ],
)
def test_what_a_card_has_no_room_for_is_refused(
    name, changes, gigabytes, needed, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr(
        torch.cuda,
        "mem_get_info",
        lambda on: asked.append(on) or (int(gigabytes * 1e9), 80 * 10**9),
    )
    here = {"model": "a", "data": "b", "use_cpu": True, "bf16": False}
    recipe = load_recipe(name, **here | changes)
    base = on_meta(qwen2_vl_2b()).bfloat16()
    words = f"a pass takes {needed} GB, and {gigabytes}.0 GB are free; use recipe gpu"
    with pytest.raises(InputError, match=words) if needed else nullcontext():
        module.check_room(recipe, recipe.trl_config(tmp_path), base, prompt=316)
    assert asked == [torch.device("meta")]


def test_the_room_is_looked_at_before_the_base_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda on: (1000, 2000))
    monkeypatch.setattr(module, "unpack", lambda model: pytest.fail("unpacked"))
    recipe = trainings.grpo(quantize="nf4-unpacked")
    config = recipe.trl_config(tmp_path)
    config.use_cpu = False
    with pytest.raises(InputError, match="per_device_train_batch_size"):
        module.make_trainer(recipe, config)


def test_a_base_that_does_not_keep_the_form_gets_the_published_rules(tmp_path, monkeypatch, capsys):
    def by_rules(style, rules):
        seldom = trainings.named("format_reward", lambda completions, **_: [0.0] * len(completions))
        form = seldom if rules == "strict" else trainings.format_reward
        return [form, trainings.accuracy_reward]

    monkeypatch.setattr(module, "rewards", by_rules)
    recipe = trainings.grpo(rules="auto", max_steps=3)
    whole = train(recipe, tmp_path / "whole")
    assert "rules: published, for" in capsys.readouterr().out
    assert json.loads((whole.folder / "recipe.json").read_text())["rules"] == "published"
    assert whole.log["format"].max() > 0
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", callbacks=[Interrupt(2)])
    same(train(recipe, tmp_path / "cut", resume=True), whole)  # under the same rules
    strict = train(trainings.grpo(rules="strict", max_steps=1), tmp_path / "strict")
    assert strict.log["format"].max() == 0


class Told:
    """A reward that asks for the trainer."""

    __name__ = "told_reward"
    trainer = None

    def __call__(self, completions, **_):
        return [float(self.trainer is not None)] * len(completions)


def test_an_extra_reward_stays_where_the_rules_change(tmp_path, monkeypatch):
    asked = []

    def by_rules(style, rules):
        asked.append(rules)
        seldom = trainings.named("format_reward", lambda completions, **_: [0.0] * len(completions))
        return [seldom, trainings.accuracy_reward]

    def length_reward(completions, **_):
        return [len(turns[0]["content"]) / 100 for turns in completions]

    monkeypatch.setattr(module, "rewards", by_rules)
    recipe, told = trainings.grpo(rules="auto", max_steps=1), Told()
    run = train(recipe, tmp_path / "run", extra_rewards=[told, length_reward])
    assert asked == ["strict", "published"]
    assert (run.rollouts["told_reward"] == 1).all()
    assert run.rollouts["length_reward"].max() > 0
    assert not hasattr(length_reward, "trainer")


@pytest.mark.slow
def test_the_loader_may_have_workers_of_any_kind(done, tmp_path):
    changes = {"dataloader_num_workers": 1, "dataloader_multiprocessing_context": "spawn"}
    same(train(trainings.grpo(**changes), tmp_path / "run"), done)


def test_a_dead_signal_is_refused_unless_it_is_forced(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "rewards", rewards)  # a random model earns none of the real ones
    with pytest.raises(InputError, match="the signal is dead") as refused:
        train(trainings.grpo(max_steps=1, beta=0.0), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = train(trainings.grpo(max_steps=1, beta=0.0), tmp_path / "run", force=True)
    notes = json.loads((run.folder / "recipe.json").read_text())
    assert notes["forced"]
    assert notes["preflight"]["problem"] in refused.value.problem
    assert "Trained all the same" in (run.folder / "README.md").read_text()
    assert run.log["zero_std_groups"].item() == 1
    assert run.log["kl"].isna().all()  # there is no reference


def test_a_full_disk_is_told_and_the_run_goes_on_from_its_last_checkpoint(done, tmp_path):
    out = tmp_path / "run"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(InputError, match=r"run: cannot be written .*--resume goes on from"):
            train(trainings.grpo(), out, callbacks=[SmallDisk()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert last_checkpoint(out).name == "checkpoint-1"
    notes = (out / "recipe.json").read_text()
    (out / "recipe.json").write_text(notes.replace('"processes": 1', '"processes": 2'))
    with pytest.raises(InputError, match="was begun by 2 processes, not 1; resume with as many"):
        train(trainings.grpo(), out, resume=True)
    (out / "recipe.json").write_text(notes)
    same(train(trainings.grpo(), out, resume=True), done)


TOGETHER = """
import sys
import torch
import trainings
import trl
import yaml
from contextlib import nullcontext
from pathlib import Path
from transformers import TrainerCallback
from medr1_lib.rl import train as module
from medr1_lib.rl.train import train

module.rewards = lambda *asked: [trainings.format_reward, trainings.accuracy_reward]

class Compared(TrainerCallback):
    def on_train_end(self, args, state, control, model=None, **kwargs):
        own = torch.cat([p.flatten() for p in model.parameters() if p.requires_grad])
        all_of_them = [torch.empty_like(own) for _ in range(args.world_size)]
        torch.distributed.all_gather(all_of_them, own)
        assert args.world_size == 2 and all(torch.equal(own, other) for other in all_of_them)

train(trainings.grpo(max_steps=2), Path(sys.argv[1]), callbacks=[Compared()])
"""


SHARDED = """
import sys
import torch
import trainings
import trl
import yaml
from accelerate import PartialState
from accelerate.utils import DistributedType
from contextlib import nullcontext
from pathlib import Path
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback
from medr1_lib.model.loading import base_model
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.rl import train as module
from medr1_lib.rl.train import train

# accelerate shards on GPUs only, so it is told that these processes have some.
PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
torch.distributed.init_process_group("gloo")
module.rewards = lambda *asked: [trainings.format_reward, trainings.accuracy_reward]

class Sharded(TrainerCallback):
    def on_train_end(self, args, state, control, model=None, **kwargs):
        assert args.world_size == 2
        assert all(isinstance(weight, DTensor) for weight in model.parameters())
        # One process would wait in the tower for another that knows its image already.
        assert not isinstance(base_model(model).model.get_image_features, VisionCache)

recipe = trainings.grpo(max_steps=2, model=trainings.BASE, bf16=True)
train(recipe, Path(sys.argv[1]), callbacks=[Sharded()])
"""


def in_two_processes(code, tmp_path, **environment):
    """The run that two processes make of a script."""
    script = tmp_path / "together.py"
    script.write_text(code)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [*command, script, tmp_path / "run"],
        env=os.environ | {"PYTHONPATH": paths} | environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Run.load(tmp_path / "run")


@pytest.mark.slow
def test_two_processes_share_the_weights_of_one_model_as_trl_s_settings_for_fsdp2_say(tmp_path):
    settings = Path(trl.__file__).parent / "accelerate_configs" / "fsdp2.yaml"
    asked = yaml.safe_load(settings.read_text())["fsdp_config"]
    environment = {name.upper(): str(value) for name, value in asked.items()}
    environment |= {"ACCELERATE_USE_FSDP": "true", "ACCELERATE_TORCH_DEVICE": "cpu"}
    run = in_two_processes(SHARDED, tmp_path, **environment)
    assert list(run.log["grad_norm"] > 0) == [True, True]
    weights = load_file(run.adapter / "adapter_model.safetensors")
    assert all(matrix.any() for name, matrix in weights.items() if "lora_B" in name)


@pytest.mark.slow
def test_two_processes_learn_together(tmp_path):
    run = in_two_processes(TOGETHER, tmp_path)
    assert list(run.log["step"]) == [1, 2]
    assert json.loads((run.folder / "recipe.json").read_text())["processes"] == 2
    assert "processes and threads of each: 2 and" in (run.folder / "README.md").read_text()
    assert len(run.rollouts) == 2 * 16  # gathered from both
    assert list(run.log["grad_norm"] > 0) == [True, True]


def test_a_run_is_reported_to_the_program_that_the_recipe_names(tmp_path, monkeypatch):
    told = []

    class Board(TrainerCallback):  # stands for a program that is not installed with the course
        def on_log(self, args, state, control, logs=None, **kwargs):
            told.append(logs)

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", Board)
    train(trainings.sft(report_to="tensorboard", max_steps=2), tmp_path / "run")
    assert len([logs for logs in told if "loss" in logs]) == 2


@pytest.mark.parametrize("style", STYLES)
def test_supervised_training_lowers_its_loss(style, tmp_path):
    run = train(trainings.sft(style=style, max_steps=6), tmp_path / "run")
    assert run.log["loss"].iloc[-1] < run.log["loss"].iloc[0]
    assert set(run.log.columns) >= {"token_accuracy", "loss", "grad_norm", "seconds"}
    assert run.rollouts.empty


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modality": ("CT",), "question_type": ("LG",), "num_generations": 2}, "2 questions are"),
        ({"model": str(policies.adapter())}, "adapter: has lora_r 4; set lora_r so"),
        ({"model": "nowhere"}, "nowhere: is not a directory"),
        ({"data": "nowhere"}, "nowhere: holds no data set"),
        ({"report_to": "tensorboard"}, "recipe: .* requires tensorboard"),
        ({"report_to": "paper"}, "paper is not supported"),
        ({"optim": "galore_adamw", "optim_target_modules": "all-linear"}, "recipe: .*galore_torch"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(changes, words, tmp_path):
    with pytest.raises(InputError, match=words):
        train(trainings.grpo(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
