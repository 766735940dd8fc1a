"""Train the base by several recipes, styles and seeds, score all on the same questions, record it.

    python -m medr1_lib data build --out _output/phantoms
    python -m benchmarks.study.learning --data _output/phantoms --out _output/learning

Goes on where it was interrupted. Writes `learning.json` and `learning.parquet` (one row per item
and model) to `--record`, so that every figure can be computed again from the items.
"""

import argparse
import json
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
from tqdm import tqdm

from benchmarks.study.runs import score, train_and_score
from medr1_lib.analysis.stats import ITEM, compare, share
from medr1_lib.cli import exit_status
from medr1_lib.data.styles import STYLES
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import write_json
from medr1_lib.provenance import run_stamp
from medr1_lib.rl.recipe import Recipe, load_recipe

CHANGES = "settings in place of the recipes' own, as in '{beta: 0.0}'"
KEPT = [*ITEM[:1], "parsed", "correct", "format_ok", "modality", "question_type"]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=Path("data/recorded"))
    parser.add_argument("--name", default="learning", help="of the recorded files")
    parser.add_argument("--recipes", nargs="+", default=["course"])
    parser.add_argument("--styles", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--changes", type=yaml.safe_load, default={}, metavar="YAML", help=CHANGES)
    parser.add_argument("--limit", type=int, default=1280)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    items = EvalSet(asked.data)
    base = Path(recipe_of(asked, asked.recipes[0]).model)
    settings = {style: Settings((style,), limit=asked.limit) for style in asked.styles}
    before = {
        style: score(base, None, items, settings[style], asked.out / f"base-{style}")
        for style in asked.styles
    }
    rows = [labelled(records, "base", style, -1) for style, records in before.items()]
    shares = {style: share(records) for style, records in before.items()}
    runs = []
    plan = list(product(asked.recipes, asked.styles, asked.seeds))
    for name, style, seed in tqdm(plan, desc="runs"):
        recipe, out = recipe_of(asked, name, style=style, seed=seed), f"{name}-{style}-{seed}"
        run, after = train_and_score(recipe, asked.out / out, items, settings[style])
        minutes = round(run.log["seconds"].sum() / 60, 2)
        paired = asdict(compare(before[style], after))
        told = {"recipe": name, "style": style, "seed": seed, "steps": len(run.log)}
        runs.append(told | {"minutes": minutes} | share(after) | {"paired": paired})
        rows.append(labelled(after, name, style, seed))
        print(json.dumps(runs[-1]), flush=True)
    record(asked, {"base": shares, "runs": runs}, pd.concat(rows))
    return 0


def recipe_of(asked: argparse.Namespace, name: str, **values: object) -> Recipe:
    return load_recipe(name).replace(data=str(asked.data), **asked.changes, **values)


def labelled(records: pd.DataFrame, recipe: str, style: str, seed: int) -> pd.DataFrame:
    return records[KEPT].assign(recipe=recipe, style=style, seed=seed)


def record(asked: argparse.Namespace, found: dict[str, Any], rows: pd.DataFrame) -> None:
    head = {
        **run_stamp(threads=1),
        "recipes": {
            name: load_recipe(name).replace(**asked.changes).to_dict() for name in asked.recipes
        },
    }
    asked.record.mkdir(parents=True, exist_ok=True)
    write_json(asked.record / f"{asked.name}.json", head | found)
    rows.to_parquet(asked.record / f"{asked.name}.parquet", index=False, compression="zstd")


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
