"""Data, recipes and rewards for trainings of a few seconds."""

import functools
import tempfile
from itertools import islice
from pathlib import Path

import policies

from medr1_lib.course.tiers import material
from medr1_lib.data import dataset, phantom_vqa
from medr1_lib.data.images import png
from medr1_lib.data.phantoms import draw
from medr1_lib.rl import train
from medr1_lib.rl.recipe import load_recipe


@functools.cache
def _root():
    return tempfile.TemporaryDirectory(prefix="medr1-trainings-")  # kept open until the tests end


def rows(count):
    """Questions about CT and, from the eleventh on, MRI, as they are stored."""
    asked = islice(phantom_vqa.questions("train", per_cell=2), count)
    return [q.record({"bytes": png(draw(q.scene)), "path": None}) for q in asked]


@functools.cache
def data() -> Path:
    """Twenty phantoms; read only."""
    folder = Path(_root().name) / "phantoms"
    dataset.write(folder, {"train": rows(20), "test": rows(2)}, {"seed": 0})
    return folder


def _small():
    paths = {"model": str(policies.saved()), "data": str(data())}
    # A run can be made longer only where the rate does not fall towards an end.
    own = {"style": "no_think", "learning_rate": 1e-3, "lr_scheduler_type": "constant"}
    return paths | own | {"max_steps": 3}


BASE = str(material("tiny-qwen2-vl"))
SHORT = {"num_generations": 2, "per_device_train_batch_size": 4, "max_completion_length": 4}
GRPO = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 4}


def grpo(**changes):
    """Two prompts x four rollouts of four tokens at a step, ten steps to an epoch."""
    return load_recipe("course", **_small() | GRPO | changes)


def sft(**changes):
    """The questions that `grpo` is asked, two at a step."""
    return load_recipe("course-sft", **_small() | {"per_device_train_batch_size": 2} | changes)


def format_reward(completions, **columns):
    return [float("A" in turns[0]["content"]) for turns in completions]


def accuracy_reward(completions, **columns):
    return [len(turns[0]["content"]) % 5 / 4 for turns in completions]


def named(name, function):
    """TRL logs a reward under the name of its function."""
    function.__name__ = name
    return function


def reward_anything(monkeypatch):
    """A model with random weights never answers; these rewards tell its rollouts apart."""
    monkeypatch.setattr(train, "rewards", lambda *asked: [format_reward, accuracy_reward])
