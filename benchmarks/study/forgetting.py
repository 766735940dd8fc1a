"""What training on medical images leaves of the general domain: method crossed with learning rate.

    python -m medr1_lib data build --domain general --out _output/general
    python -m benchmarks.study.forgetting --data _output/general --sweep _output/sweep \
        --out _output/forgetting

Asks the base and every model of `benchmarks/plans/methods.yaml` that was trained without a
rationale the same questions about everyday drawings, which no training was about. Goes on where it
was interrupted. Writes `forgetting.json` and `forgetting.parquet`, one row per item and model.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.stamp import run_stamp
from benchmarks.study.runs import score, write_answers
from medr1_lib.analysis.recorded import notes
from medr1_lib.analysis.stats import ITEM, share
from medr1_lib.cli import exit_status
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import write_json
from medr1_lib.model.vision_cache import Features
from medr1_lib.rl.run import Run

STYLE = "no_think"
KEPT = [*ITEM, "control", "completion", "parsed", "correct", "format_ok", "letter_probs"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="its test split is asked")
    add("--sweep", type=Path, required=True, help="the --out of the sweep")
    add("--block", type=Path, default=Path("data/recorded/methods"), help="its --record")
    add("--out", type=Path, required=True)
    add("--record", type=Path, default=Path("data/recorded"))
    add("--limit", type=int, default=640, help="of the test questions")
    asked = parser.parse_args(arguments)
    asked.record.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    items, features = EvalSet(asked.data), Features()
    settings = Settings((STYLE,), limit=asked.limit, max_new_tokens=64)
    models, rows = [], []
    for one in tqdm([m for m in notes(asked.block)["models"] if m["style"] == STYLE]):
        recipe, name = one["recipe"], one["model"]
        trained = one["method"] != "base"
        path = Run.load(asked.sweep / name / "run").adapter if trained else Path(recipe["model"])
        answered = score(path, recipe["quantize"], items, settings, asked.out / name, features)
        told: dict[str, Any] = {key: one[key] for key in ("model", "method", "seed")}
        told["rate"] = recipe["learning_rate"]
        models.append(told | share(answered))
        rows.append(answered[KEPT].assign(**told))
    write_json(asked.record / "forgetting.json", run_stamp(threads=1) | {"models": models})
    write_answers(rows, asked.record / "forgetting.parquet")
    print(pd.DataFrame(models).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
