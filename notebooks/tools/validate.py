"""Run nbval over the stored notebooks, two at a time: `python -m notebooks.tools.validate`.

Every cell of the students' copies is executed at the laptop tier and its output compared, strictly
or not as the source says. `--solutions` does so with the solutions instead, at the replay tier.
"""

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat

from medr1_lib.cli import exit_status
from medr1_lib.course.tiers import COSTS, material
from medr1_lib.errors import InputError
from notebooks.tools import kernel
from notebooks.tools.build import TIERS

# No other plugin: they cost each chapter a second and do nothing here.
PYTEST = [sys.executable, "-m", "pytest", "-q", "--disable-plugin-autoload", "-p", "nbval.plugin"]
FLAGS = {"strict": "--nbval", "lax": "--nbval-lax"}
AT_A_TIME = 2


def main(arguments: list[str], notebooks: Path = kernel.NOTEBOOKS) -> int:
    """Validate every notebook; 1 if an output differs or something asked for the network."""
    parser = argparse.ArgumentParser(prog="notebooks.tools.validate", description=__doc__)
    parser.add_argument("--solutions", action="store_true", help="these instead of the students'")
    folder = "solutions" if parser.parse_args(arguments).solutions else ""
    paths = list((notebooks / folder).glob("[0-9]*.ipynb"))
    if not paths:
        raise InputError(notebooks, "holds no chapters", "build them with `make notebooks`")
    minutes = _recorded_minutes()
    paths.sort(key=lambda path: -minutes.get(path.name[:2], 0))  # both processes end together
    failed = 0
    pool = ThreadPoolExecutor(AT_A_TIME)
    try:
        running = {pool.submit(validate, path): path for path in paths}
        for number, done in enumerate(as_completed(running), start=1):
            took, problem = done.result()
            result = "FAILED" if problem else f"{took:.1f} min"
            print(f"[{number}/{len(paths)}] {running[done].stem} ... {result}", flush=True)
            if problem:
                print(problem, flush=True)
                failed = 1
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C begins no further chapter
    return failed


def validate(path: Path) -> tuple[float, str]:
    """Run nbval over one notebook; return the minutes that it took and what went wrong, if any."""
    tier = TIERS["solutions" if path.parent.name == "solutions" else ""]
    flag = FLAGS[nbformat.read(path, as_version=4).metadata.medr1.nbval]
    begin = time.monotonic()
    problem = ""
    try:
        with kernel.environment(tier) as variables:
            done = subprocess.run(
                [*PYTEST, flag, str(path)],
                cwd=kernel.NOTEBOOKS.parent,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode != 0:
                problem = done.stdout
    except kernel.OnlineError as error:
        problem += str(error)
    return (time.monotonic() - begin) / 60, problem


def _recorded_minutes() -> dict[str, float]:
    try:
        return json.loads(material(COSTS).read_text(encoding="utf-8"))["laptop"]["minutes"]
    except (InputError, KeyError):  # a course that nobody has timed yet
        return {}


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
