"""Record the run that chapters 06 and 07 read: its log, its recipe and some of its rollouts.

    python -m benchmarks.study.course_run _output/learning/tiny-qwen2-vl-grpo-think_before-0

The folder is a finished run, here the first of `benchmarks.study.learning`. Of its rollouts two
groups of every third step are kept.
"""

import argparse
import shutil
import sys
from pathlib import Path

from medr1_lib.cli import exit_status
from medr1_lib.rl.run import LOG, RECIPE, ROLLOUTS, Run

EVERY, GROUPS = 3, 2


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--record", type=Path, default=Path("data/recorded/course_run"))
    asked = parser.parse_args(arguments)
    run = Run.load(asked.run)
    rows = GROUPS * int(run.recipe.config["num_generations"])
    kept = run.rollouts.groupby("step").head(rows)
    kept = kept[(kept["step"] % EVERY == 0) | (kept["step"] == 1)]
    asked.record.mkdir(parents=True, exist_ok=True)
    kept.to_parquet(asked.record / ROLLOUTS, index=False, compression="zstd")
    for name in (LOG, RECIPE):
        shutil.copyfile(run.folder / name, asked.record / name)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
