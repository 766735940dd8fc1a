"""Train a policy by GRPO or by supervised fine-tuning, through TRL, into a folder of its own."""

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerState
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.errors import InputError
from medr1_lib.rl import sft
from medr1_lib.rl.building import build
from medr1_lib.rl.card import card
from medr1_lib.rl.preflight import check, preflight
from medr1_lib.rl.provenance import provenance
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.recorder import Recorder
from medr1_lib.rl.run import CHECKPOINTS, LOG, Run, RunFolder, is_last


def train(
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    target: sft.Target = sft.target,
) -> Run:
    """Train an adapter; used from chapter 05 on.

    The folder gets `recipe.json`, `log.csv` with a row per step, a sample of the rollouts, the
    adapter and a card. An interrupted run goes on at its last checkpoint with `resume`, to the
    result that it would have had.

    Args:
        recipe: What to train, on what, and how.
        out: The folder of the run.
        resume: Go on with the run in `out`.
        force: Train even if the pre-flight finds nothing to learn from.
        callbacks: Told of every step, as by a `transformers.Trainer`.
        target: What supervised fine-tuning teaches; GRPO has no use for it.

    Raises:
        InputError: If recipe, data, model or folder are not fit for it, the signal is dead, or the
            disk or the GPU is full.
    """
    config = recipe.trl_config(out / CHECKPOINTS)
    folder = RunFolder(out, recipe, resume)
    everyone = PartialState()
    everyone.wait_for_everyone()  # all have looked at the folder before one writes
    if not folder.finished:
        _go(recipe, config, folder, force, callbacks, target)
        if everyone.is_main_process:
            _finish(folder, recipe)
        everyone.wait_for_everyone()
    return Run.load(out)


def _go(
    recipe: Recipe,
    config: GRPOConfig | SFTConfig,
    folder: RunFolder,
    force: bool,
    callbacks: Sequence[TrainerCallback],
    target: sft.Target,
) -> None:
    """All steps, or those that are left."""
    folder.reserve()
    try:
        with _plainly():
            trainer, start = build(recipe, config, target), folder.checkpoint
            if start:
                _go_on(folder, config)
            first = () if start else (Opening(folder, trainer, force),)
            recorder = Recorder(folder.out, recipe.method, trainer)
            for callback in (*first, recorder, *callbacks):
                trainer.add_callback(callback)
            if start is None or not is_last(start):  # else only the end is missing
                trainer.train(resume_from_checkpoint=start and str(start))
    finally:
        folder.release()


class Opening(TrainerCallback):
    """Looks for a signal and describes the run, before its first step.

    Not earlier: a trainer that evaluates before it trains does not spread its model over several
    processes any more, and each would learn something else.

    Args:
        folder: Of the run.
        trainer: What is about to train.
        force: Do not mind a dead signal.
    """

    def __init__(self, folder: RunFolder, trainer: Any, force: bool) -> None:  # noqa: ANN401
        self._folder, self._trainer, self._force = folder, trainer, force

    def on_train_begin(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Begin the run, unless there is nothing to learn."""
        config, questions = self._trainer.args, self._trainer.train_dataset
        notes = provenance(config) | {"questions": len(questions)}
        if isinstance(config, GRPOConfig):
            signal = preflight(self._trainer, questions)
            if not self._force:
                check(signal)
            found = asdict(signal) | {"text": str(signal), "problem": signal.problem}
            notes |= {"preflight": found, "forced": signal.problem is not None}
        if state.is_world_process_zero:
            self._folder.begin(notes)


def _go_on(folder: RunFolder, config: GRPOConfig | SFTConfig) -> None:
    before, now = folder.notes()["processes"], config.world_size
    if before != now:
        remedy = "resume with as many, or the batches would be others"
        raise InputError(folder.out, f"was begun by {before} processes, not {now}", remedy)
    if PartialState().is_main_process:
        folder.go_on()


def _finish(folder: RunFolder, recipe: Recipe) -> None:
    log = pd.read_csv(folder.out / LOG)
    seconds = round(float(log["seconds"].sum()), 1)
    text = card(recipe, folder.notes(), log)
    folder.finish(text, {"date": time.strftime("%Y-%m-%d"), "steps": len(log), "seconds": seconds})


@contextmanager
def _plainly() -> Iterator[None]:
    """Say that the memory is full, and not that TRL calls checkpointing by its old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*gradient_checkpointing", FutureWarning)
        try:
            yield
        except torch.OutOfMemoryError as error:
            remedy = "lower per_device_train_batch_size and raise gradient_accumulation_steps"
            raise InputError("train", "the GPU's memory is full", remedy) from error
