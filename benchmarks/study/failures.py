"""Train the base well once, then wrongly in one way at a time, and record what the curves show.

    python -m medr1_lib data build --out _output/phantoms
    python -m benchmarks.study.failures --data _output/phantoms --out _output/failures

Every run is the recipe `course` over a few steps with the changes in `RUNS`, whatever the
pre-flight says about it. Goes on where it was interrupted. Writes to `--record`: `failures.parquet`
(a row per step), `failures_rollouts.parquet` (the rollouts of two prompts per step), and
`failures.json` (what was changed, what the pre-flight said, and how it was made).
"""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.stamp import run_stamp
from medr1_lib.cli import exit_status
from medr1_lib.data.phantom_vqa import ATTRIBUTES
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.rationale import rationale
from medr1_lib.data.styles import STYLES
from medr1_lib.files import write_json
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.run import RECIPE, Run, begun
from medr1_lib.rl.train import make_trainer, train

LOOSE = {"beta": 1e-9}  # no penalty to speak of; at 0 the log would have no KL
TAUGHT = {"style": "no_think", "model": "base-hidden-thoughts"}  # in --out, made by `teach`
RUNS: dict[str, dict[str, Any]] = {
    "healthy": {},
    "one answer": {"temperature": 0.01, "top_k": 1},
    "all cut off": {"max_completion_length": 6},
    "cut short": {"max_completion_length": 11},
    "too slow": {"learning_rate": 1e-5},
    "too fast": {"learning_rate": 1e-2},
    "no penalty": LOOSE,
    "fast": {"learning_rate": 2e-3},
    "fast, no penalty": LOOSE | {"learning_rate": 2e-3},
    "published": {"rules": "published"},
    "hidden thoughts, published": TAUGHT | {"rules": "published"},
    "hidden thoughts, strict": TAUGHT,
}
LESSON = {"max_steps": 64, "per_device_train_batch_size": 16, "style": "no_think"}
TWO_GROUPS = 2 * load_recipe("course").config["num_generations"]
KEPT = ["step", "modality", "answer", "completion", "format_reward", "accuracy_reward"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="made by `data build`")
    add("--out", type=Path, required=True, metavar="DIR", help="of the runs")
    add("--record", type=Path, default=Path("data/recorded"), metavar="DIR")
    add("--steps", type=int, default=60, metavar="N")
    add("--seed", type=int, default=0, metavar="N")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    shared = {"data": str(asked.data), "max_steps": asked.steps, "seed": asked.seed}
    taught = teach(shared, asked.out / TAUGHT["model"])
    runs = {}
    for name, changes in tqdm(RUNS.items(), desc="runs"):
        own = changes | ({"model": str(taught)} if "model" in changes else {})
        recipe = load_recipe("course").replace(**shared | own)
        out = asked.out / name.replace(", ", "-").replace(" ", "-")
        runs[name] = train(recipe, out, resume=begun(out), force=True)
    record(asked, runs)
    return 0


def teach(shared: dict[str, Any], taught: Path) -> Path:
    """The base after a short lesson: right letters, half of them with thoughts in the answer."""
    if taught.exists():
        return taught
    recipe = load_recipe("course-sft").replace(**shared | LESSON)
    rng = random.Random()

    def target(style: str, letter: str, question_type: str, scene: str | None) -> str:
        why = rationale(Scene.from_json(scene or ""), ATTRIBUTES[question_type])
        return hidden(letter, why) if rng.random() < 0.5 else plain(letter)

    trainer = make_trainer(recipe, recipe.trl_config(taught.with_name("lesson")), target)
    rng.seed(recipe.seed)  # not before, since the trainer looks at a row when it is made
    trainer.train()
    merged, unfinished = trainer.model.merge_and_unload(), taught.with_suffix(".part")
    merged.save_pretrained(unfinished)
    trainer.processing_class.save_pretrained(unfinished)
    return unfinished.rename(taught)


def plain(letter: str) -> str:
    return STYLES["no_think"].completion(letter)


def hidden(letter: str, why: str) -> str:
    return "<answer>\n" + STYLES["think_before"].completion(letter, why)


def record(asked: argparse.Namespace, runs: dict[str, Run]) -> None:
    asked.record.mkdir(parents=True, exist_ok=True)
    logs = [run.log.assign(name=name) for name, run in runs.items()]
    rollouts = [
        run.rollouts.groupby("step").head(TWO_GROUPS)[KEPT].assign(name=name)
        for name, run in runs.items()
    ]
    for kind, frames in (("", logs), ("_rollouts", rollouts)):
        path = asked.record / f"failures{kind}.parquet"
        pd.concat(frames).to_parquet(path, index=False, compression="zstd")
    write_json(asked.record / "failures.json", notes(asked, runs))


def notes(asked: argparse.Namespace, runs: dict[str, Run]) -> dict[str, Any]:
    """What was changed in each run, what the pre-flight said, and how all of it was made."""
    found = {}
    for name, run in runs.items():
        preflight = json.loads((run.folder / RECIPE).read_text(encoding="utf-8"))["preflight"]
        told = {key: preflight[key] for key in ("text", "problem")}
        minutes = round(run.log["seconds"].sum() / 60, 2)
        found[name] = {"changes": RUNS[name], "preflight": told, "minutes": minutes}
    return {
        **run_stamp(threads=1),
        "seed": asked.seed,
        "steps": asked.steps,
        "recipe": load_recipe("course").to_dict(),
        "lesson": LESSON,
        "runs": found,
    }


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
