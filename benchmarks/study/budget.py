"""Supervised fine-tuning with other budgets, and as published, scored and recorded.

    python -m medr1_lib data build --out _output/phantoms
    python -m medr1_lib data build --per-cell 16 --out _output/phantoms-16
    python -m benchmarks.study.budget --data _output/phantoms --tests _output/phantoms-16 \
        --out _output/budget

The models to compare them with, GRPO and SFT in 100 updates each, are those of
`benchmarks/plans/methods.yaml`, trained and tested on the same questions. Goes on where it was
interrupted. Writes to `--record` after each model: `budget.json`, and `answers.parquet` with one
row per item and model. Seeds that are in the record already and not named now stay there.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.stamp import run_stamp
from benchmarks.study.runs import so_far, train_and_score, write_answers
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.analysis.stats import ITEM, share
from medr1_lib.cli import exit_status
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import one_writer, write_json
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.train import Target, sft_target

KEPT = [*ITEM, "control", "completion", "tokens", "parsed", "correct", "format_ok", "letter_probs"]
STYLE, RECORD = "no_think", "budget.json"
LABELS = ["variant", "seed"]


def published(style: str, answer: str, question_type: str, scene: str | None) -> str:
    """The target of Med-R1's `sft.py`: a column that is not there, and the answer as released."""
    return f"None\n\n<answer> {answer} </answer>"


# As many questions as GRPO sees in 100 steps, or a few more, but 32 times as many to an update.
FEW = {"max_steps": 4, "gradient_accumulation_steps": 32}
SHORT = {"max_steps": 100}
VARIANTS: dict[str, tuple[dict[str, Any], Target]] = {
    "4 times the updates": ({"max_steps": 400}, sft_target),
    "as published": (FEW, published),
    "fewer updates": (FEW, sft_target),
    "targets with None": (SHORT, published),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="to train on")
    parser.add_argument("--tests", type=Path, required=True, help="data whose test split is asked")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=Path("data/recorded/budget"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--limit", type=int, help="of the test questions; all by default")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with one_writer(asked.record):
        train_all(asked)
    return 0


def train_all(asked: argparse.Namespace) -> None:
    """Train and score every variant with every seed, and write the record after each."""
    items = EvalSet(asked.tests)
    settings = Settings((STYLE,), limit=asked.limit, max_new_tokens=64)
    same = {
        "recipe": load_recipe("course-sft", style=STYLE).to_dict(),
        "changes": {name: changes for name, (changes, _) in VARIANTS.items()},
        "limit": asked.limit,
    }
    runs, answers = so_far(asked.record / RECORD, LABELS, same)
    for seed, name in tqdm(list(product(asked.seeds, VARIANTS)), desc="runs"):
        changes, target = VARIANTS[name]
        recipe = load_recipe("course-sft", style=STYLE, seed=seed, data=str(asked.data))
        recipe = recipe.replace(save_steps=changes["max_steps"], **changes)
        out = asked.out / f"{name.replace(' ', '-')}-{seed}"
        run, answered = train_and_score(recipe, out, items, settings, target)
        stamp, seconds = run_stamp(threads=1), float(run.log["seconds"].sum())
        told: dict[str, Any] = {"date": stamp["date"], "variant": name, "seed": seed}
        told |= {"steps": len(run.log), "seconds": round(seconds, 1)}
        runs[name, seed] = told | share(answered)
        answers[name, seed] = answered[KEPT].assign(variant=name, seed=seed)
        print(json.dumps(runs[name, seed]), flush=True)
        write_json(asked.record / RECORD, stamp | same | {"runs": [*runs.values()]})
        write_answers(answers.values(), asked.record / ANSWERS)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
