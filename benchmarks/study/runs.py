"""Train a model by a recipe and score it, or take up what is already there."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medr1_lib.analysis.recorded import ANSWERS, SMALL, read_table
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import atomic_write, one_writer, read_json
from medr1_lib.model.loading import Quantized, fingerprint, load_policy
from medr1_lib.model.vision_cache import Features
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.rewards import RewardFunction
from medr1_lib.rl.run import Run, begun
from medr1_lib.rl.train import Target, sft_target, train

BATCH = 128  # questions at once


def train_and_score(
    recipe: Recipe,
    out: Path,
    items: EvalSet,
    settings: Settings,
    target: Target = sft_target,
    features: Features | None = None,
    force: bool = False,
    extra_rewards: Sequence[RewardFunction] = (),
) -> tuple[Run, pd.DataFrame]:
    """The run in `out` and the model's answers, which are kept in `out` with `-scored` after it."""
    run = train(recipe, out, begun(out), force, target=target, extra_rewards=extra_rewards)
    scored = out.with_name(out.name + "-scored")
    return run, score(run.adapter, recipe.quantize, items, settings, scored, features)


def score(
    model: Path,
    quantize: Quantized | None,
    items: EvalSet,
    settings: Settings,
    out: Path,
    features: Features | None = None,
) -> pd.DataFrame:
    """A model's answers, one row each, with the letters' probabilities as a record keeps them.

    `features` are shared with other models of its base.
    """
    told = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(settings).items()}
    told |= {"quantize": quantize, "model_sha256": fingerprint(model), "data_sha256": items.sha256}
    with one_writer(out):
        log = AnswerLog(out, told, {"model": str(model)})
        policy, processor = load_policy(model, quantize)
        evaluate(policy, processor, items, log, settings, BATCH, features)
        answers = log.finish({"finished": time.strftime("%Y-%m-%d")})
    # Further digits do not compress; places after the point would make a small one nothing.
    probs = [np.array([f"{p:.4g}" for p in one], np.float32) for one in answers["letter_probs"]]
    return answers.assign(letter_probs=pd.Series(probs, answers.index))


def so_far(
    path: Path, labels: Sequence[str], same: Mapping[str, Any]
) -> tuple[dict[tuple[Any, ...], dict[str, Any]], dict[tuple[Any, ...], pd.DataFrame]]:
    """What the record `path` tells of each model, and its answers; both by its `labels`.

    A command adds to it or replaces what it makes again, so that a record grows by seeds and arms,
    on several days or machines. The settings in `same` must be those of the record.
    """
    if not path.exists():
        return {}, {}
    remedy = "give --record another folder"
    told = read_json(path, remedy)
    for name, value in same.items():
        if told.get(name) != value:
            said = f"its {name} is {told.get(name)!r}, this command's is {value!r}"
            raise InputError(path, said, remedy)
    stamp = {"date": told["date"]}
    runs = {tuple(map(one.get, labels)): stamp | one for one in told["runs"]}
    answers = read_table(path.with_name(ANSWERS), labels, remedy).groupby([*labels], sort=False)
    return runs, {label: rows for label, rows in answers if label in runs}


def write_answers(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """The answers of several models in one file, small enough for the repository."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = pd.concat(parts, ignore_index=True).to_parquet(**SMALL)
    atomic_write(path, content)  # a record that a kill cut short could not be added to
