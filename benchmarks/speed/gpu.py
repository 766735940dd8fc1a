"""A step of GRPO in the true size on a GPU: its seconds by stage, its peak, and its decoding.

    python -m tools.fake_2b --out models/fake-qwen2-vl-2b
    python -m benchmarks.speed.gpu --model models/fake-qwen2-vl-2b --json data/recorded/gpu.json

The recipe is `gpu`, on a card without bfloat16 `gpu-t4`: NF4, LoRA, 8 prompts x 8 rollouts x 200
tokens, images of 384 px. The sides run one after the other, so that each has the memory to itself;
each is written down as soon as it is measured, and one that fails does not stop the rest. All of it
takes under ten minutes on an H200, expected; `--sides` takes up what is missing. `--smoke` tries
the script on a CPU, with any small model and a few tokens; its figures say nothing, and go beside
`--out` where `--json` names no file.
"""

import argparse
import gc
import json
import statistics
import sys
import time
import traceback
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import GenerationConfig, TrainerCallback
from trl.trainer.grpo_trainer import GRPOTrainer

from benchmarks.speed.sides import trainer
from medr1_lib.cli import exit_status
from medr1_lib.errors import InputError
from medr1_lib.files import check_writable, write_json
from medr1_lib.model.loading import base_model, load_policy
from medr1_lib.model.memory import Step, memory, peak, qwen2_vl_2b
from medr1_lib.provenance import LIBRARIES, hardware
from medr1_lib.rl import generation, graph
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.trainer import PolicyTrainer

SIZE, TOKENS = 384, 200
RECORD = Path("data/recorded/gpu.json")
CUDA = torch.cuda.is_available()


@dataclass(frozen=True)
class Side:
    """A trainer and what is changed of the recipe; `limit` holds it to so many GB of the card."""

    kind: type[GRPOTrainer] = PolicyTrainer
    step: Step = field(default_factory=Step)
    changes: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None


LARGE = {
    "per_device_train_batch_size": 64,
    "gradient_accumulation_steps": 1,
    "quantize": "nf4-unpacked",
}
TWO = {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 4}
SIDES = {
    "ours": Side(),
    "ours, two prompts a pass": Side(step=Step(scored=2), changes=TWO),
    "ours, large card": Side(step=Step(scored=8, unpacked=True), changes=LARGE),
    "ours, LoRA": Side(changes={"quantize": None}),
    "ours, held to 16 GB": Side(limit=16),
    "ours, held to 12 GB": Side(limit=12),
    "TRL": Side(GRPOTrainer, Step(shared=False, checkpointing=True)),
    "TRL, no checkpointing": Side(GRPOTrainer, Step(shared=False)),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the real one or a fake")
    parser.add_argument("--steps", type=int, default=2, help="that count, of each side")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--out", type=Path, default=Path("_output/gpu"))
    parser.add_argument("--json", type=Path, help=f"{RECORD}; of --smoke, beside --out")
    parser.add_argument("--smoke", action="store_true", help="try it on a CPU")
    asked = parser.parse_args(arguments)
    if not (CUDA or asked.smoke):
        raise InputError("benchmarks.speed.gpu", "torch finds no GPU", "run it where there is one")
    if asked.json is None:
        asked.json = asked.out.with_name(f"{asked.out.name}.json") if asked.smoke else RECORD
        asked.out.parent.mkdir(parents=True, exist_ok=True)
    check_writable(asked.json)
    failed = 0
    for name in asked.sides:
        try:
            found = measured(SIDES[name], asked, decoding=name == "ours")
        except Exception as error:  # whatever it is, the other sides can be measured
            traceback.print_exc()
            found, failed = {"failed": f"{type(error).__name__}: {error}"[:200]}, failed + 1
        print(name, found, flush=True)
        record(asked.json, name, found)
        gc.collect()
        _forget()
    return int(failed > 0)


def _forget() -> None:
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.set_per_process_memory_fraction(1.0)


def now() -> float:
    """Seconds, when the GPU has done what it was told."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter()


def measured(side: Side, asked: argparse.Namespace, decoding: bool) -> dict[str, Any]:
    """Train some steps; the first one warms up and does not count."""
    if CUDA and side.limit:
        whole = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, side.limit * 1e9 / whole))
    driven = built(side, asked)
    stages = Stages(driven)
    driven.add_callback(stages)
    driven.train()
    read = driven.state.log_history[0]["num_tokens"] / (side.step.prompts * side.step.rollouts)
    asks = replace(
        side.step, text=round(read) - side.step.image - TOKENS
    )  # as this tokenizer counts
    quantized = side.changes.get("quantize", "nf4") is not None
    counted = stages.steps[1:]
    medians = {name: statistics.median(one[name] for one in counted) for name in counted[0]}
    found = {
        "seconds": medians.pop("step"),
        "stages": {name: round(seconds, 3) for name, seconds in medians.items()},
        "peak_bytes": torch.cuda.max_memory_allocated() if CUDA else 0,
        "expected_bytes": peak(memory(qwen2_vl_2b(), asks, quantized)),
        "prompt_tokens": asks.text + asks.image,
        "model": asked.model.name,
        "steps": asked.steps,
        "gpu": torch.cuda.get_device_name() if CUDA else None,
        "hardware": hardware(),
        "versions": {name: version(name) for name in LIBRARIES},
        "date": time.strftime("%Y-%m-%d"),
    }
    return found | ({"decoding": decoding_of(driven, asked.smoke)} if decoding else {})


def record(path: Path, name: str, found: dict[str, Any]) -> None:
    """Put one side beside those that were measured before."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    write_json(path, before | {name: found})


def built(side: Side, asked: argparse.Namespace) -> Any:  # noqa: ANN401 - TRL's or ours
    """A trainer as the recipe wants it; rewards tell the rollouts of a random model apart."""
    tokens = 4 if asked.smoke else TOKENS
    old = CUDA and torch.cuda.get_device_capability()[0] < 8
    recipe = load_recipe("gpu-t4" if old else "gpu", model=str(asked.model)).replace(
        max_steps=asked.steps + 1,
        max_completion_length=tokens,
        generation_kwargs={"min_new_tokens": tokens},
        activation_checkpointing=side.step.checkpointing,
        save_steps=asked.steps + 2,
        **side.changes | ({"use_cpu": True, "bf16": False} if asked.smoke else {}),
    )
    policy = load_policy(asked.model, recipe.quantize)
    return trainer(side.kind, recipe, policy, 56 if asked.smoke else SIZE, asked.out)


class Stages(TrainerCallback):
    """Seconds of every step and of what it is made of."""

    def __init__(self, driven: Any) -> None:  # noqa: ANN401 - TRL's trainer or ours
        self.steps: list[dict[str, float]] = []
        self._running: dict[str, float] = defaultdict(float)
        self._last = 0.0
        scoring = "_get_per_token_logps_and_entropies"
        self._time(driven, "_generate_single_turn", lambda: "sampling")
        if driven.rollout_func is not None:
            self._time(driven, "rollout_func", lambda: "sampling")
        self._time(driven, scoring, lambda: "policy" if torch.is_grad_enabled() else "reference")
        self._time(driven.accelerator, "backward", lambda: "backward")

    def _time(self, owner: Any, name: str, stage: Any) -> None:  # noqa: ANN401
        plain = getattr(owner, name)

        def timed(*args: object, **kwargs: object) -> object:
            begin = now()
            try:
                return plain(*args, **kwargs)
            finally:
                self._running[stage()] += now() - begin

        setattr(owner, name, timed)

    def on_step_end(self, *args: object, **kwargs: object) -> None:
        """Note the times of a step."""
        whole, self._last = now() - self._last, now()
        parts = dict(self._running)
        self._running.clear()
        self.steps.append({"step": whole, **parts, "rest": whole - sum(parts.values())})

    def on_train_begin(self, *args: object, **kwargs: object) -> None:
        """Start."""
        self._last = now()


# ---- decoding: the same tokens three ways, and what one token costs ----


def decoding_of(driven: Any, smoke: bool) -> dict[str, Any]:  # noqa: ANN401 - our trainer
    """Milliseconds a token side by side, eagerly in rows and recorded; whether tokens are equal."""
    few, many, whole = (1, 3, 4) if smoke else (10, 50, TOKENS)
    sampled = partial(_sampled, driven)
    eager = partial(graph.decode_recorded, record=False)
    ways = {"side by side": generation.decode_group, "eager": eager}
    ways["recorded"] = graph.decode_recorded
    found: dict[str, Any] = {"ms a token": {}}
    for name, loop in ways.items():
        sampled(loop, few)
        seconds = [sampled(loop, tokens)[1] for tokens in (few, many)]
        found["ms a token"][name] = round(1000 * (seconds[1] - seconds[0]) / (many - few), 2)
    wanted, played = sampled(eager, whole)[0], sampled(graph.decode_recorded, whole)[0]
    found["recorded step chooses the tokens of its eager run"] = torch.equal(wanted, played)
    for weight in driven.model.parameters():  # as an optimizer does, in place
        if weight.requires_grad:
            weight.data.add_(0.01 * torch.randn_like(weight))
    played, wanted = sampled(graph.decode_recorded, whole)[0], sampled(eager, whole)[0]
    found["and follows an adapter that has changed"] = torch.equal(wanted, played)
    found |= _scored_apart(driven)
    return found | (_kernels(driven) if CUDA else {})


def _sampled(driven: Any, loop: Any, tokens: int) -> tuple[Tensor, float]:  # noqa: ANN401
    """The tokens that a way of decoding chooses from one seed, and its seconds."""
    core = base_model(driven.model)
    ends = {
        "eos_token_id": driven.eos_token_ids,
        "pad_token_id": driven.processing_class.tokenizer.pad_token_id,
    }
    how = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        suppress_tokens=[core.config.image_token_id],
        **ends,
    )
    rows = driven.train_dataset[:8]
    turns = [
        [
            {
                "role": "user",
                "content": [{"type": "image"}, {"type": "text", "text": turn[0]["content"]}],
            }
        ]
        for turn in rows["prompt"]
    ]
    chats = driven.processing_class.apply_chat_template(
        turns, tokenize=False, add_generation_prompt=True
    )
    images = [[image] for image in rows["image"]]
    inputs = driven.processing_class(text=chats, images=images, padding=True, return_tensors="pt")
    torch.manual_seed(0)
    with (
        patch.object(generation, "decode_group", loop),
        patch.object(graph, "decode_recorded", loop),
    ):
        begin = now()
        chosen = generation.sample_group(driven.model, inputs.to(core.device), 8, how)
        return chosen, now() - begin


def _scored_apart(driven: Any) -> dict[str, float]:  # noqa: ANN401 - our trainer
    """How far log-probabilities in packed rows are from TRL's own, in the precision of the run."""
    driven.model.train()
    driven.current_gradient_accumulation_steps = 1
    batch = driven._prepare_inputs(next(iter(driven.get_train_dataloader())))
    ids, mask = (
        torch.cat([batch[f"prompt_{name}"], batch[f"completion_{name}"]], 1)
        for name in ("ids", "mask")
    )
    more = ("pixel_values", "image_grid_thw", "mm_token_type_ids", "num_images")
    given = {name: batch[name] for name in more if name in batch}
    asked = driven.model, ids, mask, batch["completion_ids"].shape[1]
    name = "_get_per_token_logps_and_entropies"
    with torch.no_grad():
        ours = getattr(PolicyTrainer, name)(driven, *asked, **given)[0]
        trl = getattr(GRPOTrainer, name)(driven, *asked, **given)[0]
    apart = (ours - trl).abs()[batch["completion_mask"].bool()]
    return {"log-probability to TRL, mean": apart.mean().item(), "and at most": apart.max().item()}


def _kernels(driven: Any) -> dict[str, Any]:  # noqa: ANN401 - our trainer
    """Kernels of one token and the time that the GPU is busy with them."""
    from torch.profiler import ProfilerActivity, profile

    _, step = vars(base_model(driven.model))["_recorded_step"]
    step._rewind()
    token = torch.zeros_like(step._tokens)
    step(token)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step(token)
        now()
    events = seen.key_averages()
    busy = sum(event.self_device_time_total for event in events) / 1000
    return {"kernels a token": sum(event.count for event in events), "busy ms a token": busy}


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
