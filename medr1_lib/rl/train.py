"""Train a policy by GRPO or by supervised fine-tuning, through TRL, into a folder of its own."""

import platform
import shlex
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import PartialState
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.data.errors import InputError
from medr1_lib.data.machine import hardware
from medr1_lib.rl.building import build, trl_config
from medr1_lib.rl.card import card
from medr1_lib.rl.formula import formula
from medr1_lib.rl.preflight import check, preflight
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.recorder import Recorder
from medr1_lib.rl.run import LOG, Run, RunFolder, is_last

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")


def train(
    recipe: Recipe,
    out: Path,
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
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

    Raises:
        InputError: If recipe, data, model or folder are not fit for it, the signal is dead, or the
            disk or the GPU is full.
    """
    config = trl_config(recipe, out)
    folder = RunFolder(out, recipe, resume)
    everyone = PartialState()
    everyone.wait_for_everyone()  # all have looked at the folder before one writes
    if not folder.finished:
        _go(recipe, config, folder, force, callbacks)
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
) -> None:
    """All steps, or those that are left."""
    folder.reserve()
    try:
        with _plainly():
            trainer = build(recipe, config)
            _begin(folder, recipe, trainer, force)
            for callback in (Recorder(folder.out, recipe.method, trainer), *callbacks):
                trainer.add_callback(callback)
            start = folder.checkpoint
            if start is None or not is_last(start):  # else only the end is missing
                trainer.train(resume_from_checkpoint=start and str(start))
    finally:
        folder.release()


def _begin(folder: RunFolder, recipe: Recipe, trainer: Any, force: bool) -> None:  # noqa: ANN401
    """Make sure that there is something to learn, and prepare the folder."""
    if folder.checkpoint:
        before, now = folder.notes()["processes"], trainer.args.world_size
        if before != now:
            remedy = "resume with as many, or the batches would be others"
            raise InputError(folder.out, f"was begun by {before} processes, not {now}", remedy)
    notes = {} if folder.checkpoint else _notes(recipe, trainer, force)
    if PartialState().is_main_process:
        folder.go_on() if folder.checkpoint else folder.begin(notes)
    PartialState().wait_for_everyone()


def _finish(folder: RunFolder, recipe: Recipe) -> None:
    log = pd.read_csv(folder.out / LOG)
    seconds = round(float(log["seconds"].sum()), 1)
    text = card(recipe, folder.notes(), log)
    folder.finish(text, {"date": _today(), "steps": len(log), "seconds": seconds})


def _notes(recipe: Recipe, trainer: Any, force: bool) -> dict[str, Any]:  # noqa: ANN401
    """What `recipe.json` says beside the recipe, the pre-flight included."""
    config = trainer.args
    on_gpu = torch.cuda.is_available() and not config.use_cpu
    notes: dict[str, Any] = {
        "command": _command(),
        "date": _today(),
        "questions": len(trainer.train_dataset),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "hardware": hardware(),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "threads": torch.get_num_threads(),
        "processes": config.world_size,
    }
    return notes | (_signal(trainer, force) if recipe.method == "grpo" else {})


def _signal(trainer: Any, force: bool) -> dict[str, Any]:  # noqa: ANN401 - a `GroupTrainer`
    signal = preflight(trainer, trainer.train_dataset)
    if not force:
        check(signal)
    try:
        written = formula(trainer.args)
    except InputError as error:  # TRL computes more than is written out here
        written = rf"\text{{{error}}}"
    found = asdict(signal) | {"text": str(signal), "problem": signal.problem}
    return {"formula": written, "preflight": found, "forced": signal.problem is not None}


def _today() -> str:
    return time.strftime("%Y-%m-%d")


def _command() -> str:
    """What was typed, or that nothing was."""
    if Path(sys.argv[0]).name == "__main__.py":
        return shlex.join(["python", "-m", "medr1_lib", *sys.argv[1:]])
    return "medr1_lib.rl.train.train"


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
