"""`python -m medr1_lib sweep`: train and score every model of a plan, here or on a cluster."""

import argparse
import shlex
import sys
import time
from pathlib import Path

from medr1_lib.arguments import positive
from medr1_lib.evaluation import recording
from medr1_lib.evaluation.plan import Plan
from medr1_lib.evaluation.sweep import sweep


def main(arguments: list[str]) -> int:
    """Do what is not done yet, and say what failed; 1 if anything did.

    The same command goes on where an interrupted one stopped, and tries failed cells again.
    """
    options = _parser().parse_args(arguments)
    plan = Plan.read(options.plan)
    missing = sweep(plan, options.out, options.executor, options.jobs)
    for name, error in missing.items():
        told = error.strip().splitlines()[-1] if error else "not reached; look into jobs/"
        print(f"{options.out / name}: {told}", file=sys.stderr)
    done = [options.out / cell.name for cell in plan.cells() if cell.name not in missing]
    print(f"{len(done)} of {len(done) + len(missing)} models are trained and scored")
    if options.record and done:
        recording.write(done, options.record, _notes(options, plan, len(missing)))
        print(f"recorded in {options.record}")
    return 1 if missing else 0


def _notes(options: argparse.Namespace, plan: Plan, missing: int) -> dict[str, object]:
    return {
        "command": shlex.join(["python", "-m", "medr1_lib", *sys.argv[1:]]),
        "plan": options.plan.read_text(),
        "data": plan.data,
        "jobs": options.jobs,
        "missing_models": missing,
        "recorded": time.strftime("%Y-%m-%d"),
        "use": "teaching and research; not for clinical use",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medr1_lib sweep", description=__doc__)
    add = parser.add_argument
    add("--plan", type=Path, required=True, metavar="FILE", help="YAML; see benchmarks/plans")
    add("--out", type=Path, required=True, metavar="DIR", help="a folder for each model goes here")
    where = "on this machine, or on a cluster by sbatch (local)"
    add("--executor", choices=("local", "slurm"), default="local", help=where)
    add("--jobs", type=positive, default=1, metavar="N", help="models at the same time (1)")
    add("--record", type=Path, metavar="DIR", help="gather all answers in a block for `report`")
    return parser
