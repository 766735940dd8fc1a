"""`python -m benchmarks.speed.bench`: a step of GRPO by TRL and by ours, side by side.

Same loss, precision, tokens, temperature and threads; only the way of computing differs. TRL is
timed as it defaults and without activation checkpointing. The three take turns, step by step.
"""

import argparse
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed.measures import LIMITS, agreement, floor
from benchmarks.speed.sides import GROUP, PROMPTS, TOKENS, Case, Side, save_model, sides
from medr1_lib.cli import at_least, exit_status
from medr1_lib.files import check_writable, write_json
from medr1_lib.provenance import hardware

NAMES = {"trl": "TRL", "trl_no_checkpointing": "TRL, no checkpointing", "ours": "ours"}
STAGES = ("step", "sampling", "reference", "policy", "backward", "rest")
VERSIONS = ("torch", "transformers", "trl", "peft", "bitsandbytes")


def main(arguments: list[str]) -> int:
    """Run every case, print its table, and write the figures where `--json` says.

    Returns 1 if the two sides do not compute the same.
    """
    options = _parser().parse_args(arguments)
    if options.json:
        check_writable(options.json)
    report: dict[str, Any] = {
        "steps": options.steps,
        "prompts": PROMPTS,
        "rollouts_per_prompt": GROUP,
        "hardware": hardware(),
        "versions": {name: version(name) for name in VERSIONS},
        "date": time.strftime("%Y-%m-%d"),
    }
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder))
        cases = _cases(options.sizes, options.threads)
        for name, case in cases.items():
            report[name] = run(case, options.steps, Path(folder))
            print(f"\n{case}\n{table(report[name])}", flush=True)
    print(f"\n{PROMPTS} prompts x {GROUP} rollouts, {report['hardware']}, {report['date']}")
    if options.json:
        write_json(options.json, report)
    return 0 if all(report[name]["same"] for name in cases) else 1


def run(case: Case, steps: int, folder: Path) -> dict[str, Any]:
    """Compare and time the sides of one case; times are medians over the steps.

    Args:
        case: What they do.
        steps: Steps of each side that count; one more warms up.
        folder: See `sides.sides`.
    """
    torch.set_num_threads(case.threads)
    found = sides(case, folder)
    agreed = agreement(found["ours"], found["trl"])
    least = floor(found["ours"], case)
    order = list(found.values())
    for turn in range(steps + 1):
        for side in order if turn % 2 else order[::-1]:
            side.step()
    times = {name: _median(side) for name, side in found.items()}
    whole = {name: stages["step"] for name, stages in times.items()}
    return {
        "stock_s": whole["trl"],
        "stock_no_checkpointing_s": whole["trl_no_checkpointing"],
        "ours_s": whole["ours"],
        "speedup": whole["trl"] / whole["ours"],
        "speedup_no_checkpointing": whole["trl_no_checkpointing"] / whole["ours"],
        "floor_s": least,
        **agreed,
        "same": all(agreed[name] < limit for name, limit in LIMITS.items()),
        "clock": "process" if case.threads == 1 else "wall",
        "stages": times,
    }


def _median(side: Side) -> dict[str, float]:
    timed = side.steps[1:]
    return {stage: statistics.median(step[stage] for step in timed) for stage in STAGES}


def table(found: dict[str, Any]) -> str:
    """The figures of one case as lines of text."""
    rows = [f"{'seconds':<23}" + "".join(f"{stage:>10}" for stage in STAGES)]
    for name, stages in found["stages"].items():
        rows.append(f"{NAMES[name]:<23}" + "".join(f"{stages[stage]:>10.2f}" for stage in STAGES))
    rows += [
        f"{found['speedup']:.1f} times faster than TRL, {found['speedup_no_checkpointing']:.1f} "
        f"than TRL without checkpointing; the floor is {found['floor_s']:.2f} s",
        f"loss differs by {found['max_loss_difference']:.0e}, gradient by "
        f"{found['max_relative_gradient_error']:.0e} of its norm, log-probabilities by "
        f"{found['max_logp_difference']:.0e}: {'the same' if found['same'] else 'NOT the same'}",
        f"from one seed both sample the same tokens: {found['same_tokens']:.1%}",
    ]
    return "\n".join(rows)


def _cases(sizes: list[int], threads: list[int]) -> dict[str, Case]:
    """Every size; then, at the first size, a base in 4 bits, and more threads."""
    found = {str(size): Case(size, threads=threads[0]) for size in sizes}
    found[f"{sizes[0]} nf4"] = Case(sizes[0], "nf4", threads[0])
    for count in threads[1:]:
        found[f"{sizes[0]} {count} threads"] = Case(sizes[0], threads=count)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.bench", description=__doc__)
    add = parser.add_argument
    add(
        "--sizes",
        type=int,
        nargs="+",
        choices=TOKENS,
        default=list(TOKENS),
        help="pixels a side of an image (112 224)",
    )
    add("--steps", type=at_least(1), default=5, metavar="N", help="steps of each side (5)")
    add(
        "--threads",
        type=at_least(1),
        nargs="+",
        default=[1, 2],
        metavar="N",
        help="CPU threads; the first for all cases, each further one for a case of its own (1 2)",
    )
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
