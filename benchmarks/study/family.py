"""What do the losses of chapter 08 differ in, and what does a teacher add? Train, score, compare.

    python -m medr1_lib data build --out _output/phantoms
    python -m benchmarks.study.family --data _output/phantoms --out _output/family
    python -m tools.pretrain --size larger --medical full --out _output/larger
    python -m benchmarks.study.family --data _output/phantoms --out _output/family \
        --teacher _output/larger

`reuse`: the recipe `course` with each loss of the family, four updates for each batch of rollouts,
and beside them GRPO with one. `signal`: the same questions answered by reinforcement, by imitation
of true rationales (as often, and for about the same time), and by distillation from a teacher of
the student's size. Goes on where it was interrupted. Writes `family.parquet` (a row per update) and
`family.json` (accuracies, seconds, and how it was made) to `--record`. With `--teacher` only the
distillation from that model is run, and added to the record.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from peft import get_peft_model

from benchmarks.stamp import run_stamp
from benchmarks.study.runs import score, train_and_score
from medr1_lib.cli import exit_status
from medr1_lib.course.chapters.chapter_08 import FAMILY, reverse_kl, trl_settings
from medr1_lib.errors import InputError
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import read_json, write_json
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor as Processor
from medr1_lib.model.loading import load_policy
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.rl.generation import packed_inputs, packed_outputs
from medr1_lib.rl.loop import Adapted, Config, encode, sample
from medr1_lib.rl.recipe import Recipe, load_recipe
from medr1_lib.rl.run import begun
from medr1_lib.rl.train import grpo_rows, train

STYLE, UPDATES = "think_before", 4  # updates for each batch of rollouts
REUSED = ("GRPO", "Dr. GRPO", "DAPO", "GSPO", "CISPO")
LONGER = 5  # a step of imitation samples nothing and takes about a fifth of the time
TEACHER = 100  # steps of imitation
OWN, LARGER = "teacher", "larger teacher"
DISTILLED = {OWN: "distillation", LARGER: f"distillation, {LARGER}"}


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    torch.set_num_threads(1)
    items, settings = EvalSet(asked.data), Settings((STYLE,), limit=asked.limit)
    report, runs, logs = recorded(asked) if asked.teacher else ({}, [], [])
    out = asked.out / "teacher"
    teacher = asked.teacher or train(sft(asked, 0, TEACHER), out, resume=begun(out)).adapter
    for group, name, seed, recipe in arms(asked):
        out = asked.out / f"{group}-{name}-{seed}".replace(" ", "-")
        if name in DISTILLED.values():
            log, adapter = by_teacher(recipe, teacher, out)
            answers = score(adapter, None, items, settings, out.with_name(out.name + "-scored"))
        else:
            run, answers = train_and_score(recipe, out, items, settings)
            log = run.log
        told: dict[str, Any] = {"group": group, "name": name, "seed": seed}
        logs.append(log.assign(**told))
        found = {"right": int(answers["correct"].sum()), "items": len(answers)}
        runs.append(told | found | {"seconds": round(float(log["seconds"].sum()), 1)})
        print(json.dumps(runs[-1]), flush=True)
    alone = {LARGER: teacher} if asked.teacher else {"base": Path(recipe.model), OWN: teacher}
    for name, model in alone.items():
        answers = score(model, None, items, settings, asked.out / f"{name}-scored")
        runs.append({"group": name, "right": int(answers["correct"].sum()), "items": len(answers)})
    asked.record.mkdir(parents=True, exist_ok=True)
    path = asked.record / "family.parquet"
    pd.concat(logs).to_parquet(path, index=False, compression="zstd")
    stamp = run_stamp(torch.get_num_threads())
    if asked.teacher:
        made = read_json(asked.teacher / "report.json", "name a model of tools.pretrain")
        kept = ("seed", "size", "taught", "parameters", "steps", "minutes")
        report[LARGER] = stamp | {name: made[name] for name in kept}
    else:
        report = stamp | {"recipe": load_recipe("course").to_dict(), "teacher_steps": TEACHER}
        report |= {"batches": asked.batches, "steps": asked.steps, "limit": asked.limit}
    write_json(asked.record / "family.json", report | {"runs": runs})
    return 0


def recorded(
    asked: argparse.Namespace,
) -> tuple[dict[str, Any], list[dict[str, Any]], list[pd.DataFrame]]:
    """The record without what a larger teacher gave to it: its head, runs and rows by update."""
    path, remedy = asked.record / "family.json", "record the other arms first, without --teacher"
    report = read_json(path, remedy)
    for name in ("steps", "limit"):
        if report[name] != getattr(asked, name):
            raise InputError(path, f"its {name} is {report[name]}", "ask for the same")
    logs = pd.read_parquet(path.with_suffix(".parquet"))
    runs = [run for run in report["runs"] if run["group"] != LARGER]
    runs = [run for run in runs if run.get("name") != DISTILLED[LARGER]]
    return report, runs, [logs[logs["name"] != DISTILLED[LARGER]]]


def arms(asked: argparse.Namespace) -> Iterator[tuple[str, str, int, Recipe]]:
    """Group, name, seed and recipe of every run but the teacher's."""
    for seed in asked.seeds:
        once = load_recipe("course", data=str(asked.data), style=STYLE, seed=seed, save_steps=99)
        if asked.teacher:
            yield "signal", DISTILLED[LARGER], seed, once.replace(max_steps=asked.steps)
            continue
        yield "reuse", "GRPO, one update", seed, once.replace(max_steps=asked.batches)
        again = {"num_iterations": UPDATES, "max_steps": UPDATES * asked.batches}
        for name in REUSED:
            yield "reuse", name, seed, once.replace(**again, **trl_settings(FAMILY[name]))
        yield "signal", "GRPO", seed, once.replace(max_steps=asked.steps)
        yield "signal", "imitation", seed, sft(asked, seed, asked.steps)
        yield "signal", "imitation, longer", seed, sft(asked, seed, LONGER * asked.steps)
        yield "signal", DISTILLED[OWN], seed, once.replace(max_steps=asked.steps)


def sft(asked: argparse.Namespace, seed: int, steps: int) -> Recipe:
    return load_recipe("course-sft", data=str(asked.data), style=STYLE, seed=seed, max_steps=steps)


def by_teacher(recipe: Recipe, teacher: Path, out: Path) -> tuple[pd.DataFrame, Path]:
    """Distill `teacher` into a fresh adapter on the base of a recipe, on the student's rollouts."""
    kept = out / "log.csv"
    if not kept.exists():
        torch.manual_seed(recipe.seed)
        student, processor = load_policy(Path(recipe.model), device="cpu")
        master, _ = load_policy(teacher, device="cpu")
        for model in (student, master):
            VisionCache(model)
        policy = get_peft_model(student, recipe.lora_config()).train()
        config = recipe.trl_config(out)
        rows: list[dict[str, Any]] = []
        before = time.perf_counter()
        for gap in distill(policy, master, processor, grpo_rows(recipe), config):
            now = time.perf_counter()
            rows.append({"step": len(rows) + 1, "gap": gap, "seconds": now - before})
            before = now
        policy.save_pretrained(str(out))
        pd.DataFrame(rows).to_csv(kept, index=False)
    return pd.read_csv(kept), out


def distill(
    student: Adapted, teacher: Adapted, processor: Processor, rows: Dataset, config: Config
) -> Iterator[float]:
    """Bring the student nearer to the teacher on what the student itself writes."""
    group, size = config.num_generations, config.per_device_train_batch_size
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=0.0)
    for step in range(config.max_steps):
        first = step * size // group
        inputs = encode(processor, rows[first : first + size // group])
        tokens, mask = sample(student, processor, inputs, config)
        packed = packed_inputs(student, inputs, tokens, mask)
        with torch.no_grad():
            wanted = packed_outputs(teacher(**packed).logits, tokens)
        logits = packed_outputs(student(**packed).logits, tokens)
        gap = (reverse_kl(logits, wanted) * mask).sum() / mask.sum()
        optimizer.zero_grad()
        gap.backward()
        optimizer.step()
        yield gap.item()


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="made by `data build`")
    add("--out", type=Path, required=True, metavar="DIR", help="of the runs")
    add("--record", type=Path, default=Path("data/recorded"), metavar="DIR")
    add("--teacher", type=Path, metavar="DIR", help="a larger one, made by tools.pretrain")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    add("--batches", type=int, default=4, metavar="N", help="of rollouts, in `reuse`")
    add("--steps", type=int, default=10, metavar="N", help="in `signal`")
    add("--limit", type=int, default=160, metavar="N", help="questions of a test")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
