"""Train a policy by GRPO or by supervised fine-tuning, through TRL, into a folder of its own."""

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import datasets
import numpy as np
import torch
from accelerate import PartialState
from peft import PeftModel
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, TrainerState
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.data import dataset
from medr1_lib.data.phantom_vqa import ATTRIBUTES
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.rationale import rationale
from medr1_lib.data.styles import ALL_STYLES, prompt
from medr1_lib.errors import InputError, refusing
from medr1_lib.model.loading import Policy, base_model, load_policy, shares_prompts, unpack
from medr1_lib.model.memory import activation_bytes, linear_shapes, nf4_bytes
from medr1_lib.provenance import environment
from medr1_lib.rl.formula import formula
from medr1_lib.rl.loop import encode
from medr1_lib.rl.recipe import FILTERS, Recipe
from medr1_lib.rl.rewards import RewardFunction, rewards
from medr1_lib.rl.run import COLUMNS, Run, RunFolder, is_last, last_checkpoint, notes_in
from medr1_lib.rl.trainer import IGNORED, PolicyTrainer, SupervisedTrainer

Ours: TypeAlias = Any  # either trainer
Rows = Mapping[str, list[Any]]
# style, right letter, question type and scene (JSON, if known) -> what the model is taught to reply
Target = Callable[[str, str, str, str | None], str]
KEPT = ("answer", "image_id", "modality", "question_type")
SHOWN = ("reward", "accuracy", "format", "kl", "completion_length", "loss")  # while it trains
FORMED = 0.05  # of completions in form; with fewer, strict rules would pay next to nothing
GROUPS = 16  # sampled before the first step; more if a batch holds more


def sft_target(style: str, answer: str, question_type: str, scene: str | None) -> str:
    """The completion that supervised fine-tuning teaches: the letter, with true reasons.

    Only a style without reasoning can do without a `scene`, which is JSON.
    """
    reasons = rationale(Scene.from_json(scene), ATTRIBUTES[question_type]) if scene else ""
    return ALL_STYLES[style].completion(answer, reasons)


def train(
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    target: Target = sft_target,
    extra_rewards: Sequence[RewardFunction] = (),
) -> Run:
    """Train an adapter into the folder `out`, with log, completions and a card (from chapter 06).

    With `resume`, the run in it goes on at its last sound checkpoint, to the result that it would
    have had without the interruption; with `force`, a pre-flight that finds nothing to learn from
    is no obstacle. `extra_rewards` stand beside those of the recipe; where one has an attribute
    `trainer`, it is set. Raises an `InputError` if recipe, data, model or folder are not fit for
    it, no group of rollouts has rewards that differ, or the disk or the GPU is full.
    """
    config = recipe.trl_config(out)
    folder = RunFolder(out, recipe, resume)
    # Several processes are started by `torchrun --nproc_per_node 2 -m medr1_lib train ...`, not by
    # `accelerate launch --cpu --num_processes 2`, which runs one and says nothing.
    everyone = PartialState()
    everyone.wait_for_everyone()  # all have looked at the folder before one writes
    if not folder.finished:
        with folder.reserved(everyone.is_main_process), _plain_errors(config):
            start = folder.checkpoint
            rules = notes_in(out).get("rules") if start else None
            trainer = make_trainer(recipe, config, target, rules, extra_rewards)
            if start is None:
                trainer.add_callback(PreflightCallback(folder, trainer, force, recipe))
            else:
                folder.go_on(config.world_size, everyone.is_main_process)
            for callback in (StepClock(), *callbacks):
                trainer.add_callback(callback)
            if start is None or not is_last(start, config.max_steps):  # else the end is missing
                trainer.train(resume_from_checkpoint=start and str(start))
            if everyone.is_main_process:
                folder.finish()
            everyone.wait_for_everyone()
    return Run.load(out)


@contextmanager
def _plain_errors(config: GRPOConfig | SFTConfig) -> Iterator[None]:
    """Report a full GPU and a policy that has burst; silence a warning of TRL's own making."""
    with warnings.catch_warnings():
        # TRL calls activation checkpointing by the name that transformers gave up.
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
        try:
            yield
        except torch.OutOfMemoryError as error:
            remedy = "set activation_checkpointing: true, or lower per_device_train_batch_size"
            raise InputError("train", "the GPU's memory is full", remedy) from error
        except ImportError as error:  # of an optimizer, which is made once training begins
            raise InputError("recipe", " ".join(str(error).split()), "choose another") from error
        except (RuntimeError, FloatingPointError) as error:
            said = "probability tensor", "device-side assert"  # on a CPU and on a GPU
            if isinstance(error, RuntimeError) and not any(words in str(error) for words in said):
                raise
            where = f"train, learning_rate {config.learning_rate:g}"
            problem = "gradients or probabilities are no numbers any more"
            last = last_checkpoint(Path(str(config.output_dir)))
            remedy = f"use a lower one and another folder; last sound checkpoint: {last or 'none'}"
            raise InputError(where, problem, remedy) from error


class StepClock(TrainerCallback):
    """Adds `seconds` to the log of a step: since the one before, with the writing of checkpoints.

    TRL's `step_time` leaves out the optimizer and the checkpoint, and SFT has none.
    """

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Start the clock."""
        self._before = time.perf_counter()

    def on_log(self, args: Any, state: TrainerState, *_: object, **__: object) -> None:  # noqa: ANN401
        """Stamp the step before its checkpoint is written, which keeps the log."""
        logs = state.log_history[-1]
        if "loss" in logs:
            before, self._before = self._before, time.perf_counter()
            logs["seconds"] = round(self._before - before, 3)
            if not (args.fp16 or math.isfinite(logs.get("grad_norm") or 0)):
                raise FloatingPointError  # before there is a checkpoint of it


class Progress(ProgressCallback):
    """The bar of transformers, with what was measured last in its line, not above it."""

    def on_log(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Rewrite the line."""
        bar: Any = self.training_bar
        logs = state.log_history[-1]
        if bar is not None and "loss" in logs:
            measured = {name: logs.get(COLUMNS["grpo"][name]) for name in SHOWN}
            bar.set_postfix({name: f"{x:.3g}" for name, x in measured.items() if x is not None})


def make_trainer(
    recipe: Recipe,
    config: GRPOConfig | SFTConfig,
    target: Target = sft_target,
    rules: str | None = None,
    extra_rewards: Sequence[Any] = (),  # functions, or objects that can be called
) -> Ours:
    """Model, adapter, data and rewards (by `rules` that a pre-flight chose) made into a trainer."""
    kind: Any = SupervisedTrainer
    if isinstance(config, GRPOConfig):
        paying = [*_rewards(recipe, rules or recipe.rules), *extra_rewards]
        kind = functools.partial(PolicyTrainer, reward_funcs=paying)
        data = grpo_rows(recipe)
        needed = (config.generation_batch_size or 1) // (config.num_generations or 1)
    else:
        data = sft_rows(recipe, target)
        needed = config.per_device_train_batch_size * config.world_size
    if len(data) < needed:  # TRL would train on nothing and say so nowhere
        problem = f"{len(data)} questions are left, and a batch takes {needed}"
        raise InputError(recipe.data, problem, "loosen the filters or choose a smaller batch")
    # No `prepare_model_for_kbit_training`: it casts the tower and the embedding to float32, which
    # doubles their memory, and the adapter freezes the base anyway.
    device = str(config.device)
    model, processor = load_policy(Path(recipe.model), recipe.quantize, device, trainable=True)
    if not config.use_cpu:
        check_room(recipe, config, model, encode(processor, data[:1])["input_ids"].shape[1])
    lora = None if isinstance(model, PeftModel) else recipe.lora_config()
    if isinstance(model, PeftModel):  # go on with it; TRL keeps a copy as the reference
        own: Any = model.peft_config["default"]
        for name, there in (("lora_r", own.r), ("lora_alpha", own.lora_alpha)):
            if there != getattr(recipe, name):
                raise InputError(recipe.model, f"has {name} {there}", f"set {name} so")
    # The processor is handed over: `AutoProcessor` would want torchvision for videos.
    given = {"args": config, "train_dataset": data, "processing_class": processor}
    kinds = ValueError, ImportError, RuntimeError  # of `report_to` or `lora_targets`
    with refusing("recipe", "TRL refuses it", "correct the recipe", *kinds):
        trainer = kind(model=model, peft_config=lora, **given)
    if recipe.quantize == "nf4-unpacked":
        unpack(trainer.model)
    trainer.remove_callback(PrinterCallback)
    for reward in extra_rewards:
        if hasattr(reward, "trainer"):
            reward.trainer = trainer
    return trainer


def check_room(recipe: Recipe, config: GRPOConfig | SFTConfig, model: Policy, prompt: int) -> None:
    """Refuse what the GPU has no room for beside the base; `prompt` counts the tokens of one."""
    base, need = base_model(model), 0
    if recipe.quantize == "nf4-unpacked":
        weights = [inputs * outputs for inputs, outputs in linear_shapes(base.config)]
        need = sum(base.dtype.itemsize * count - nf4_bytes(count) for count in weights)
    if isinstance(config, GRPOConfig):
        rows, group = config.per_device_train_batch_size, config.num_generations or 1
        prompts = rows // group if shares_prompts(model) else rows
        tokens = prompts * prompt + rows * (config.max_completion_length or 0)
        how = recipe.lora_r, bool(recipe.quantize), bool(config.activation_checkpointing)
        need += activation_bytes(base.config, tokens, *how)
    torch.cuda.empty_cache()  # what loading has left is free, too
    free, _ = torch.cuda.mem_get_info(model.device)
    if need > free:
        told = f"beside the base a pass takes {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        remedy = "use recipe gpu, activation_checkpointing or a lower per_device_train_batch_size"
        raise InputError("the GPU's memory", told, remedy)


def _rewards(recipe: Recipe, rules: str) -> list[RewardFunction]:
    """The rewards; the first also hands the names of the questions to TRL's completions."""
    first, *rest = rewards(recipe.style, "strict" if rules == "auto" else rules)

    @functools.wraps(first)
    def noted(**columns: Any) -> list[float]:  # noqa: ANN401 - whatever the data set holds
        for name in KEPT:
            columns["log_extra"](name, columns[name])
        return first(**columns)

    return [noted, *rest]


def training_questions(recipe: Recipe) -> datasets.Dataset:
    """The questions of a recipe, shuffled once by its seed, as they lie on disk."""
    table = dataset.read_split(Path(recipe.data), "train")
    wanted = np.ones(len(table), dtype=bool)
    for name in FILTERS:
        wanted &= np.isin(table[name][:], getattr(recipe, name) or table[name][:])
    rows = wanted.nonzero()[0]
    if not len(rows):
        asked = ", ".join([*recipe.modality, *recipe.question_type]) or "any modality"
        raise InputError(recipe.data, f"has no question of {asked}", "loosen the filters")
    return table.select(np.random.default_rng(recipe.seed).permutation(rows))


def grpo_rows(recipe: Recipe) -> datasets.Dataset:
    """Rows for `GRPOTrainer`, whose images are decoded when a batch is read, once each."""
    form = functools.partial(_batch, recipe.style, None)
    return training_questions(recipe).with_transform(form)


def sft_rows(recipe: Recipe, target: Target = sft_target) -> datasets.Dataset:
    """Rows with `prompt`, `image` and `completion`, for `SFTTrainer`."""
    table, style = training_questions(recipe), recipe.style
    if ALL_STYLES[style].reasons and None in table["scene"]:
        problem = f"nobody knows what its images show, so {style} has no true rationale"
        raise InputError(recipe.data, problem, "use --style no_think, or phantoms")
    return table.with_transform(functools.partial(_batch, style, target))


# A function of the module, not a closure: the loader's worker processes get it pickled.
def _batch(style: str, target: Target | None, rows: Rows) -> Rows:
    texts = zip(rows["question"], rows["options"], strict=True)
    # Messages, not a text: TRL puts the image in, and refuses images beside plain text.
    turns = [[{"role": "user", "content": prompt(*text, style)}] for text in texts]
    stored = dict(zip(rows["image_id"], rows["image"], strict=True))
    opened = {
        name: dataset.open_image(image["bytes"], f"train record {name}")
        for name, image in stored.items()
    }
    batch: dict[str, list[Any]] = {"prompt": turns}
    batch["image"] = [opened[name] for name in rows["image_id"]]
    if target:
        known = zip(rows["answer"], rows["question_type"], rows["scene"], strict=True)
        said = [[{"role": "assistant", "content": target(style, *row)}] for row in known]
        batch["completion"] = said
    return batch | {name: rows[name] for name in (*KEPT, "scene")}


@dataclass(frozen=True)
class PreflightStats:
    """What some groups of rollouts earn before any training.

    `zero_std_groups` is the share of groups whose rewards are all equal: their advantages are zero.
    """

    groups: int
    zero_std_groups: float
    truncated: float  # share of completions cut off at the limit of tokens
    format: float
    accuracy: float
    length: float  # mean tokens of a completion

    def __str__(self) -> str:
        return (
            f"{self.groups} groups sampled: {self.zero_std_groups:.0%} without spread of reward, "
            f"{self.truncated:.0%} of completions cut off, format {self.format:.0%}, "
            f"accuracy {self.accuracy:.0%}, {self.length:.0f} tokens on average"
        )

    @property
    def problem(self) -> str | None:
        """Why nothing can be learned, or `None` if something can."""
        if self.zero_std_groups < 1:
            return None
        if self.truncated == 1:
            return "every completion is cut off before it ends; raise max_completion_length"
        if self.format == 0:
            return "no completion has the form asked for; the base has to know it a little"
        if self.accuracy == 1:
            return "every completion is right already; ask harder questions"
        return "all rollouts of a prompt say the same; raise temperature, top_k or num_generations"

    def check(self) -> None:
        """Refuse to train where there is nothing to learn from."""
        if self.problem:
            problem = f"the signal is dead ({self}): {self.problem}"
            raise InputError("pre-flight", problem, "or add --force to train all the same")


def preflight(trainer: PolicyTrainer, prompts: datasets.Dataset) -> PreflightStats:
    """Sample some groups as the training would and look at their rewards.

    Leaves no trace in the training: its random numbers are the same with and without.
    """
    config: Any = trainer.args
    together = config.per_device_eval_batch_size * config.world_size // config.num_generations
    groups = together * min(math.ceil(GROUPS / together), len(prompts) // together)
    if not groups:
        remedy = "use more data or a smaller batch"
        raise InputError("train", f"{len(prompts)} prompts do not fill a batch", remedy)
    with torch.random.fork_rng():
        found: Mapping[str, float] = trainer.evaluate(prompts.select(range(groups)))
    columns = "zero_std_groups", "truncated", "format", "accuracy", "completion_length"
    return PreflightStats(groups, *(found[f"eval_{COLUMNS['grpo'][name]}"] for name in columns))


def check_labels(trainer: SupervisedTrainer, rows: datasets.Dataset) -> None:
    """Refuse supervised fine-tuning whose first questions have no token to learn from."""
    count = min(GROUPS, len(rows))
    with refusing("pre-flight", "a limit cuts an image", "raise max_length", ValueError):
        batch: Mapping[str, Any] = trainer.data_collator([rows[row] for row in range(count)])
        empty = int((batch["labels"] == IGNORED).all(1).sum())
    if empty:
        problem = f"{empty} of {count} questions have no token left to learn from"
        raise InputError("pre-flight", problem, "raise max_length, or add --force")


class PreflightCallback(TrainerCallback):
    """Runs the pre-flight and describes the run before its first step.

    Not earlier: `evaluate()` before `train()` keeps accelerate from wrapping the model for several
    processes, and each would train a copy of its own.
    """

    def __init__(self, folder: RunFolder, trainer: Ours, force: bool, recipe: Recipe) -> None:
        self._folder, self._trainer, self._force, self._recipe = folder, trainer, force, recipe

    def on_train_begin(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Begin the run, unless there is nothing to learn."""
        config, questions = self._trainer.args, self._trainer.train_dataset
        notes = environment(gpu=not config.use_cpu) | {"processes": config.world_size}
        notes["questions"] = len(questions)
        if isinstance(config, GRPOConfig):
            try:
                notes["formula"] = formula(config)
            except InputError as error:  # TRL computes more than is written out
                notes["formula"] = rf"\text{{{error}}}"
            stats = preflight(self._trainer, questions)
            if self._recipe.rules == "auto":
                notes["rules"] = "strict"
                if stats.format < FORMED:
                    notes["rules"] = "published"
                    rules = _rewards(self._recipe, "published")
                    self._trainer.reward_funcs[: len(rules)] = rules  # the extra ones stay
                    stats = preflight(self._trainer, questions)
                print(f"rules: {notes['rules']}, for {stats.format:.0%} keep the form at first")
            if not self._force:
                stats.check()
            found = asdict(stats) | {"text": str(stats), "problem": stats.problem}
            notes |= {"preflight": found, "forced": stats.problem is not None}
        elif not self._force:
            check_labels(self._trainer, questions)
        if state.is_world_process_zero:
            self._folder.begin(notes)
