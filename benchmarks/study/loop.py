"""Is the visible loop as good as the trainer? Train by both, score both, compare on the same items.

    python -m medr1_lib data build --out _output/phantoms
    python -m benchmarks.study.loop --data _output/phantoms --out _output/loop

The loop is `medr1_lib.rl.loop`; the recipe is `course` with `style: no_think`. Goes on where it was
interrupted. Writes `loop.json` to `--record`: accuracies, minutes, and the difference between loop
and trainer with an interval of 95 % over seeds and items.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import get_peft_model

from benchmarks.stamp import run_stamp
from benchmarks.study.runs import score
from medr1_lib.analysis.stats import mean_table
from medr1_lib.cli import exit_status
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import write_json
from medr1_lib.model.loading import load_policy
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.rl.loop import Task, grpo_loop
from medr1_lib.rl.recipe import Recipe, load_recipe
from medr1_lib.rl.rewards import rewards
from medr1_lib.rl.run import begun
from medr1_lib.rl.train import grpo_rows, train

STYLE = "no_think"


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    torch.set_num_threads(1)
    items = EvalSet(asked.data)
    runs, gaps = [], []
    for seed in asked.seeds:
        recipe = load_recipe("course", data=str(asked.data), style=STYLE).replace(
            seed=seed, max_steps=asked.steps, save_steps=asked.steps
        )
        right = {}
        for way, trained in (("trainer", by_trainer), ("loop", by_loop)):
            out = asked.out / f"{way}-{seed}"
            adapter, seconds = trained(recipe, out)
            scored = out.with_name(f"{out.name}-scored")
            answers = score(adapter, None, items, Settings((STYLE,), limit=asked.limit), scored)
            right[way] = answers.set_index(["item", "image_id"])["correct"].astype(float)
            found = {"way": way, "seed": seed, "accuracy": right[way].mean()}
            runs.append(found | {"minutes": round(seconds / 60, 2)})
            print(json.dumps(runs[-1]), flush=True)
        gap = (right["loop"] - right["trainer"]).rename("value")
        gaps.append(gap.reset_index().assign(model=seed))
    asked.record.mkdir(parents=True, exist_ok=True)
    report = {
        **run_stamp(torch.get_num_threads()),
        "recipe": recipe.to_dict() | {"seed": asked.seeds},
        "items": len(gaps[0]),
        "runs": runs,
        "difference": difference(pd.concat(gaps, ignore_index=True)),
    }
    write_json(asked.record / "loop.json", report)
    print(json.dumps(report["difference"]))
    return 0


def by_trainer(recipe: Recipe, out: Path) -> tuple[Path, float]:
    run = train(recipe, out, resume=begun(out))
    return run.adapter, float(run.log["seconds"].sum())


def by_loop(recipe: Recipe, out: Path) -> tuple[Path, float]:
    """Train with the loop alone; the rows are those of the trainer, and its settings as well."""
    clock = out / "seconds.json"
    if not clock.exists():
        started = time.perf_counter()
        torch.manual_seed(recipe.seed)
        base, processor = load_policy(Path(recipe.model), device="cpu")
        VisionCache(base)
        policy = get_peft_model(base, recipe.lora_config()).train()
        scores = rewards(recipe.style, recipe.rules)
        config = recipe.trl_config(out)
        for _ in grpo_loop(Task(policy, processor, grpo_rows(recipe), scores, config)):
            pass
        policy.save_pretrained(str(out))
        clock.write_text(json.dumps(time.perf_counter() - started), encoding="utf-8")
    return out, json.loads(clock.read_text(encoding="utf-8"))


def difference(gaps: pd.DataFrame) -> dict[str, Any]:
    """The mean `value`, loop minus trainer, in points, with its interval over seeds and images."""
    points, low, high = (100 * mean_table(gaps, ["value"]).iloc[0, 1:]).round(2).tolist()
    by_seed = (100 * gaps.groupby("model", sort=False)["value"].mean()).round(2).tolist()
    return {"points": points, "interval": [low, high], "by_seed": by_seed}


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--record", type=Path, default=Path("data/recorded"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=640)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
