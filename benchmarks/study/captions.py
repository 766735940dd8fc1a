"""Ask the base and what `learning.py` trained for captions, which no reward reads, and record them.

    python -m medr1_lib data build --domain general --out _output/general
    python -m benchmarks.study.captions --data _output/general --learning _output/learning \
        --seeds 0 --limit 640

A caption counts if it names the right option of the question about its image. The general domain is
what the base knew before it was trained on medical questions.
"""

import argparse
import sys
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from benchmarks.stamp import run_stamp
from medr1_lib.analysis.stats import ITEM, compare, share
from medr1_lib.cli import exit_status
from medr1_lib.data.phantom_vqa import ATTRIBUTES
from medr1_lib.data.rationale import claims
from medr1_lib.data.styles import STYLES
from medr1_lib.evaluation.ask import Asker
from medr1_lib.evaluation.items import EvalSet, batches
from medr1_lib.files import check_writable, write_json
from medr1_lib.model.loading import base_directory, load_policy
from medr1_lib.rl.run import Run
from tools.pretrain.tiny import ASK_CAPTION

TOKENS, BATCH = 32, 128


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--learning", type=Path, required=True, help="the --out of learning.py")
    parser.add_argument("--json", type=Path, default=Path("data/recorded/learning/captions.json"))
    parser.add_argument(
        "--models", default="tiny-qwen2-vl-grpo", help="base and arm of learning.py"
    )
    parser.add_argument("--styles", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--limit", type=int, default=1280)
    asked = parser.parse_args(arguments)
    check_writable(asked.json)
    torch.set_num_threads(1)
    items = EvalSet(asked.data)
    plan = list(product(asked.styles, asked.seeds))
    names = [f"{asked.models}-{style}-{seed}" for style, seed in plan]
    adapters = [Run.load(asked.learning / name).adapter for name in names]
    before = named(items, base_directory(adapters[0]), asked.limit)
    runs = []
    for (style, seed), adapter in zip(tqdm(plan, desc="runs"), adapters, strict=True):
        after = named(items, adapter, asked.limit)
        paired = {"paired": asdict(compare(before, after))}
        runs.append({"style": style, "seed": seed} | shares(after) | paired)
    write_json(asked.json, run_stamp(threads=1) | {"base": shares(before), "runs": runs})
    return 0


def named(items: EvalSet, path: Path, limit: int) -> pd.DataFrame:
    """Caption the image of every item, greedily, and look whether the right option is in it."""
    asker = Asker(*load_policy(path), max_new_tokens=TOKENS)
    chat, rows = asker.chat(ASK_CAPTION), []
    for batch in batches(items.prompts(("no_think",), (), limit, 0), BATCH):
        images = [image for prompt in batch if (image := items.image(prompt))]
        captions = asker.complete([chat] * len(images), images)
        rows += [told(items, one.item, text) for one, text in zip(batch, captions, strict=True)]
    return pd.DataFrame(rows, columns=[*ITEM, "correct"])


def told(items: EvalSet, item: int, caption: str) -> tuple[int, str, str, str, bool]:
    """One row: what names the item, and whether its caption has the right option."""
    question = items.questions[item]
    right = claims(caption).get(ATTRIBUTES[question.question_type]) == question.answer_text
    return item, question.image_id, question.question, question.answer, right


def shares(answered: pd.DataFrame) -> dict[str, Any]:
    found = share(answered.assign(format_ok=True))
    return {name: found[name] for name in ("n", "accuracy", "interval")}


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
