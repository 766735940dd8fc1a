"""Where the reasoning stands: six forms of reply, trained apart, and each model asked in all forms.

    python -m medr1_lib data build --out _output/phantoms
    python -m medr1_lib data build --domain general --out _output/general
    python -m benchmarks.study.positions --data _output/phantoms --lesson _output/general \
        --out _output/positions

An arm is a form of reply that a model is trained in: thinking `before` the letter, `none`, `after`
it, after it in the words and tags of another paper (`reason`), a sentence without content in place
of the thought (`dummy`), and `adaptive`, where `before` and `none` both earn the format reward. The
shipped base knows three of them, so every arm first learns its own form on pictures of the general
domain (`LESSON` steps of supervised fine-tuning; no medical picture is shown). Then GRPO trains it
by the recipe `course`. The arms in `CAUSES` are trained with other settings of the loss as well.

Every model is asked in its own form about the real image and under the controls; those of the
recipe also in all other forms, and in that of `before` with an empty thought. What was predicted
stands in `predictions.yaml`.

Goes on where it was interrupted. Writes to `--record` after each model: `positions.json` (how it
was made, every model, and each prediction with what came out) and `answers.parquet` (every answer,
with the probabilities of the letters). Models that are in the record already and not named now stay
there, so that arms and seeds can be added; with all 60 models it takes 2 to 4 MB.
"""

import argparse
import json
import re
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from tqdm import tqdm

from benchmarks.stamp import run_stamp
from benchmarks.study.learning import CHANGES, CONTROLS, KEPT, minutes, summary
from benchmarks.study.registered import PICTURE, VOID, fingerprint, outcomes
from benchmarks.study.runs import score, so_far, train_and_score, write_answers
from medr1_lib.analysis.gains import read_all
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.cli import exit_status
from medr1_lib.data.styles import ALL_STYLES, thought
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import one_writer, write_json
from medr1_lib.model.vision_cache import Features
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.train import sft_target

ARMS = {
    "before": "think_before",
    "none": "no_think",
    "after": "think_after",
    "reason": "reason_after",
    "dummy": "dummy_after",
    "adaptive": "adaptive",
}
FORMS = ARMS | {"empty": "empty_think"}  # what a model can be asked in
LESSON = 150  # steps; after 40 the words of `reason` were still cut off after the tag
TRAININGS: dict[str, dict[str, Any]] = {
    "course": {},
    "dr_grpo": {"loss_type": "dr_grpo"},
    "beta 0": {"beta": 0.0},
}
CAUSES = ("none", "after", "dummy")  # the arms of the second and third training
LABELS = ["training", "arm", "seed", "asked"]
RECORD = "positions.json"
TOKENS = 64  # of the longest completion
TERM = re.compile(r"(\w+)(?: asked (\w+))?(?:, (.+))?")


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    torch.set_num_threads(asked.threads)
    with one_writer(asked.record):  # a second command would write over what the first one adds
        study, models = Study(asked), list(plan(asked))
        for number, (training, seed, arm) in enumerate(tqdm(models, desc="models")):
            told = study.add(training, seed, arm)
            print(f"{number + 1}/{len(models)} {json.dumps(told)}", flush=True)
    print(study.outcomes().to_string(index=False))
    return 0


def plan(asked: argparse.Namespace) -> Iterator[tuple[str, int, str]]:
    """Training, seed and arm of every model; the recipe of the course comes first."""
    for training, seed, arm in product(asked.trainings, asked.seeds, asked.arms):
        if training == "course" or arm in CAUSES:
            yield training, seed, arm


class Study:
    """The models that are trained and asked so far."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.items = asked, EvalSet(asked.data)
        self.features = Features()
        self.lessons: dict[tuple[int, str], Path] = {}
        self.runs, self.answers = so_far(asked.record / RECORD, LABELS, self.same())
        self.read = {label: understood(label, rows) for label, rows in self.answers.items()}

    def same(self) -> dict[str, Any]:
        """What all models of a record have in common."""
        names = ("recipe", "changes", "steps", "lesson_steps", "questions")
        told = {name: getattr(self.asked, name) for name in names}
        return told | {"registered": fingerprint("positions")}

    def add(self, training: str, seed: int, arm: str) -> dict[str, Any]:
        """Train and ask one model, or take it up, and write down everything so far."""
        asked, style = self.asked, ARMS[arm]
        start = self.lesson(seed, arm)
        own = {"style": style, "seed": seed, "model": str(start), "data": str(asked.data)}
        steps = {"max_steps": asked.steps, "save_steps": asked.save_steps}
        recipe = load_recipe(asked.recipe, **own)
        recipe = recipe.replace(**asked.changes | steps | TRAININGS[training])
        out = asked.out / f"{training.replace(' ', '-')}-{arm}-{seed}"
        known = self.items, self.settings(style), sft_target, self.features
        run, answers = train_and_score(recipe, out, *known, force=True)
        label: dict[str, Any] = {"training": training, "arm": arm, "seed": seed}
        told = label | {"steps": len(run.log), "minutes": minutes(run)}
        self.keep(told, arm, answers)
        if training == "course":
            others = tuple(form for form in FORMS.values() if form != style)
            settings = self.settings(*others, controls=())
            asked_out = out.with_name(out.name + "-asked")
            quantize = recipe.quantize
            crossed = score(run.adapter, quantize, self.items, settings, asked_out, self.features)
            for name, form in FORMS.items():
                if form != style:
                    self.keep(label, name, crossed[crossed["style"] == form])
        self.record()
        return told

    def lesson(self, seed: int, arm: str) -> Path:
        """The base after its lesson in a form of reply."""
        if (seed, arm) not in self.lessons:
            asked, style = self.asked, ARMS[arm]
            own = {"style": style, "seed": seed, "data": str(asked.lesson)}
            recipe = load_recipe("course-sft", model=str(asked.base), **own)
            recipe = recipe.replace(max_steps=asked.lesson_steps)
            out = asked.out / f"lesson-{arm}-{seed}"
            known = self.items, self.settings(style), taught, self.features
            run, answers = train_and_score(recipe, out, *known)
            self.keep({"training": "lesson", "arm": arm, "seed": seed}, arm, answers)
            self.lessons[seed, arm] = run.adapter
        return self.lessons[seed, arm]

    def settings(self, *styles: str, controls: tuple[str, ...] = CONTROLS) -> Settings:
        """What the answers of a model depend on."""
        return Settings(styles, controls, self.asked.questions, max_new_tokens=TOKENS)

    def keep(self, label: dict[str, Any], form: str, answers: pd.DataFrame) -> None:
        """Remember the answers of a model that was asked in one form."""
        names = label | {"asked": form}
        key = tuple(names[name] for name in LABELS)
        self.runs[key] = {"date": time.strftime("%Y-%m-%d")} | names | summary(answers)
        self.answers[key] = answers[KEPT].assign(**dict(zip(LABELS, key, strict=True)))
        self.read[key] = understood(key, answers)

    def outcomes(self) -> pd.DataFrame:
        """The predictions of `positions` beside what came out."""
        return came_out(self.read, self.runs.values())

    def record(self) -> None:
        """Write down everything so far."""
        asked = self.asked
        asked.record.mkdir(parents=True, exist_ok=True)
        head: dict[str, Any] = run_stamp(asked.threads) | self.same()
        trained = {key[1] for key in self.runs if key[0] == "course"}
        head["arms"] = [arm for arm in ARMS if arm in trained]
        table = self.outcomes().replace({np.nan: None}).to_dict("records")
        told = {"outcomes": table, "runs": [*self.runs.values()]}
        write_json(asked.record / RECORD, head | told)
        write_answers(self.answers.values(), asked.record / ANSWERS)


def understood(label: tuple[Any, ...], answers: pd.DataFrame) -> pd.DataFrame:
    """How the answers of a model that was asked in one form are read; `model` is its seed."""
    thinking = answers["completion"].map(lambda said: float(bool(thought(said))))
    return read_all(answers.assign(thinks=thinking, model=label[2]))[
        [*PICTURE, "corrected", "thinks"]
    ]


def came_out(
    read: dict[tuple[Any, ...], pd.DataFrame], runs: Iterable[dict[str, Any]]
) -> pd.DataFrame:
    """Each prediction with its outcome, from what `understood` gives of each of the `runs`."""
    parts: dict[tuple[str, ...], list[pd.DataFrame]] = {}
    for (training, arm, _, form), rows in read.items():
        parts.setdefault((training, arm, form), []).append(rows)
    tables = {label: pd.concat(some) for label, some in parts.items()}
    void = failed(runs)
    return outcomes(
        "positions",
        lambda one: measured(one, tables),
        lambda one: any(TERM.sub(r"\1", term) in void for term in one["terms"]),
    )


def failed(runs: Iterable[dict[str, Any]]) -> set[str]:
    """The arms whose lesson did not teach their form: a share below `VOID` is in form after it."""
    shares: dict[str, list[float]] = {}
    for run in runs:
        if run["training"] == "lesson":
            shares.setdefault(run["arm"], []).append(run["form"])
    return {arm for arm, found in shares.items() if sum(found) < VOID * len(found)}


def measured(
    prediction: dict[str, Any], tables: dict[tuple[str, ...], pd.DataFrame]
) -> pd.DataFrame:
    """The terms of a prediction added up, for each picture of each seed that has all of them.

    `tables` are by training, arm and form asked in.
    """
    measure, parts = prediction.get("measure", "corrected"), []
    for term, weight in prediction["terms"].items():
        named = TERM.fullmatch(term)
        assert named
        label = named[3] or "course", named[1], named[2] or named[1]
        if label not in tables:
            return pd.DataFrame(columns=[*PICTURE, "value"])
        parts.append(tables[label].set_index(PICTURE)[measure] * weight)
    return (
        pd.concat(parts, axis=1, join="inner").sum(axis=1, skipna=False).reset_index(name="value")
    )


def taught(style: str, answer: str, question_type: str, scene: str | None) -> str:
    """What a lesson teaches: the form of the arm, of `adaptive` both by turns."""
    if ALL_STYLES[style].optional and scene and zlib.crc32(scene.encode()) % 2:
        return ALL_STYLES[style].completion(answer)
    return sft_target(style, answer, question_type, scene)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="of the medical domain")
    add("--lesson", type=Path, required=True, help="data of the general domain")
    add("--out", type=Path, required=True, help="a folder for each model goes here")
    add("--base", type=Path, default=Path("data/tiny-qwen2-vl"))
    add("--record", type=Path, default=Path("data/recorded/positions"))
    add("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    add("--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    add("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    add("--questions", type=int, default=640, help="of the test split, drawn at random")
    add("--steps", type=int, default=100)
    add("--lesson-steps", type=int, default=LESSON)
    add("--recipe", default="course", help="of GRPO: a preset or a YAML file")
    add("--changes", type=yaml.safe_load, default={}, metavar="YAML", help=CHANGES)
    add("--save-steps", type=int, default=10)
    add("--threads", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
