"""The run card: what a reader has to know before using an adapter."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medr1_lib.rl.recipe import Recipe

AVERAGED = 10  # steps at each end, fewer in a short run
KINDS = {"grpo": "GRPO with rule-based rewards", "sft": "supervised fine-tuning"}


def card(recipe: Recipe, notes: Mapping[str, Any], log: pd.DataFrame) -> str:
    """The card as Markdown.

    Args:
        recipe: What the run depends on.
        notes: What `recipe.json` says beside it.
        log: One row per step.
    """
    parts = [
        f"# LoRA adapter: {KINDS[recipe.method]}, style {recipe.style}",
        "Teaching and research; not for clinical use.",
        _facts(recipe, notes, log),
        "What was measured while it learned, on training questions:",
        _table(log),
    ]
    if "formula" in notes:
        parts += ["The loss:", f"$$\n{notes['formula']}\n$$"]
    if "preflight" in notes:
        forced = " Trained all the same (`--force`)." if notes["forced"] else ""
        parts.append(f"Before the first step: {notes['preflight']['text']}.{forced}")
    evaluate = f"python -m medr1_lib evaluate --model adapter --data {recipe.data}"
    parts.append(f"How good it is, only a test split says: `{evaluate} --style {recipe.style}`.")
    return "\n\n".join(parts) + "\n"


def _facts(recipe: Recipe, notes: Mapping[str, Any], log: pd.DataFrame) -> str:
    asked = ", ".join([*recipe.modality, *recipe.question_type]) or "all"
    facts = {
        "base model": recipe.model,
        "base in 4 bits": recipe.quantize or "no",
        "data": f"{recipe.data}, split train, {notes['questions']} questions",
        "modalities and question types": asked,
        "steps": len(log),
        "seed": recipe.seed,
        "adapter": f"rank {recipe.lora_r}, alpha {recipe.lora_alpha}, float32",
        "made by": f"`{notes['command']}`, {notes['date']}",
        "minutes": f"{log['seconds'].sum() / 60:.1f}",
        "machine": notes["gpu"] or notes["hardware"],
        "processes and threads of each": f"{notes['processes']} and {notes['threads']}",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _table(log: pd.DataFrame) -> str:
    """First and last steps side by side, for every column that was measured."""
    measured = log.drop(columns=["step", "learning_rate"]).dropna(axis="columns", how="all")
    count = max(1, min(AVERAGED, len(log) // 2))
    first, last = measured.head(count).mean(), measured.tail(count).mean()
    rows = [f"| {name} | {first[name]:.3g} | {last[name]:.3g} |" for name in measured.columns]
    head = f"| | mean of the first {count} | mean of the last {count} |"
    return "\n".join([head, "|---|--:|--:|", *rows])
