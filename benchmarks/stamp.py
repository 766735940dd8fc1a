"""Where the figures of a benchmark come from, to stand beside them."""

import shlex
import sys
import time

from medr1_lib.provenance import hardware


def run_stamp(threads: int) -> dict[str, str]:
    """Command, machine and day: the head of a file of recorded figures."""
    used = "one thread" if threads == 1 else f"{threads} threads"
    spec = sys.modules["__main__"].__spec__  # of `python -m`, which puts a whole path into argv
    program = ["-m", spec.name] if spec else sys.argv[:1]
    return {
        "command": shlex.join(["python", *program, *sys.argv[1:]]),
        "hardware": f"{hardware()}, {used}",
        "date": time.strftime("%Y-%m-%d"),
    }
