"""What training on medical images leaves of the general domain: method crossed with learning rate.

    python -m medr1_lib data build --domain general --out _output/general
    python -m benchmarks.study.forgetting --data _output/general --sweep _output/sweep \
        --out _output/forgetting

Asks the base and every model of `benchmarks/plans/methods.yaml` that was trained without a
rationale the same questions about everyday drawings, which no training was about. Goes on where it
was interrupted. Writes `forgetting.json` and `answers.parquet` to `--record`, one row per item and
model. Models that are in the record already and not in `--block` stay there, so that a sweep of
further seeds adds to it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.stamp import run_stamp
from benchmarks.study.runs import score, so_far, write_answers
from medr1_lib.analysis.recorded import ANSWERS, notes
from medr1_lib.analysis.stats import ITEM, share
from medr1_lib.cli import exit_status
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import one_writer, write_json
from medr1_lib.model.vision_cache import Features
from medr1_lib.rl.run import Run

STYLE, RECORD = "no_think", "forgetting.json"
KEPT = [*ITEM, "control", "completion", "parsed", "correct", "format_ok", "letter_probs"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="its test split is asked")
    add("--sweep", type=Path, required=True, help="the --out of the sweep")
    add("--block", type=Path, default=Path("data/recorded/methods"), help="its --record")
    add("--out", type=Path, required=True)
    add("--record", type=Path, default=Path("data/recorded/forgetting"))
    add("--limit", type=int, default=640, help="of the test questions")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with one_writer(asked.record):
        runs = ask(asked)
    print(pd.DataFrame(runs).to_string(index=False))
    return 0


def ask(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Ask the models of the block, and add them to the record; returns what is told of each."""
    items, features = EvalSet(asked.data), Features()
    settings = Settings((STYLE,), limit=asked.limit, max_new_tokens=64)
    same, stamp = {"limit": asked.limit}, run_stamp(threads=1)
    runs, answers = so_far(asked.record / RECORD, ["model"], same)
    for one in tqdm([m for m in notes(asked.block)["models"] if m["style"] == STYLE]):
        recipe, name = one["recipe"], one["model"]
        trained = one["method"] != "base"
        path = Run.load(asked.sweep / name / "run").adapter if trained else Path(recipe["model"])
        answered = score(path, recipe["quantize"], items, settings, asked.out / name, features)
        told: dict[str, Any] = {key: one[key] for key in ("model", "method", "seed")}
        told["rate"] = recipe["learning_rate"]
        runs[name,] = {"date": stamp["date"]} | told | share(answered)
        answers[name,] = answered[KEPT].assign(**told)
    write_json(asked.record / RECORD, stamp | same | {"runs": [*runs.values()]})
    write_answers(answers.values(), asked.record / ANSWERS)
    return [*runs.values()]


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
