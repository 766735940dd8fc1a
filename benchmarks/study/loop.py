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

import numpy as np
import torch
from peft import get_peft_model

from benchmarks.stamp import run_stamp
from benchmarks.study.runs import score
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

STYLE, RESAMPLES = "no_think", 10_000


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    torch.set_num_threads(1)
    items = EvalSet(asked.data)
    runs, right = [], {}
    for seed in asked.seeds:
        recipe = load_recipe("course", data=str(asked.data), style=STYLE).replace(
            seed=seed, max_steps=asked.steps, save_steps=asked.steps
        )
        for way, trained in (("trainer", by_trainer), ("loop", by_loop)):
            out = asked.out / f"{way}-{seed}"
            adapter, seconds = trained(recipe, out)
            scored = out.with_name(f"{out.name}-scored")
            answers = score(adapter, None, items, Settings((STYLE,), limit=asked.limit), scored)
            right[way, seed] = answers.sort_values("item")["correct"].to_numpy(float)
            found = {"way": way, "seed": seed, "accuracy": right[way, seed].mean()}
            runs.append(found | {"minutes": round(seconds / 60, 2)})
            print(json.dumps(runs[-1]), flush=True)
    gaps = np.array([right["loop", seed] - right["trainer", seed] for seed in asked.seeds])
    asked.record.mkdir(parents=True, exist_ok=True)
    report = {
        **run_stamp(torch.get_num_threads()),
        "recipe": recipe.to_dict() | {"seed": asked.seeds},
        "items": gaps.shape[1],
        "runs": runs,
        "difference": difference(gaps),
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


def difference(gaps: np.ndarray) -> dict[str, Any]:
    """The mean of loop minus trainer, in points, with a bootstrap interval over seeds and items.

    Seeds and items are drawn anew independently of each other, as models and questions would be.
    """
    rng = np.random.default_rng(0)
    seeds, items = gaps.shape
    drawn = [
        gaps[rng.integers(seeds, size=seeds)][:, rng.integers(items, size=items)].mean()
        for _ in range(RESAMPLES)
    ]
    low, high = 100 * np.quantile(drawn, [0.025, 0.975])
    return {
        "points": round(float(100 * gaps.mean()), 2),
        "interval": [round(float(low), 2), round(float(high), 2)],
        "by_seed": [round(float(100 * gap.mean()), 2) for gap in gaps],
    }


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
