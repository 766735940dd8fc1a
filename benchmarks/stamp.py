"""Where the figures of a benchmark come from, to stand beside them."""

import time

from medr1_lib.provenance import command_line, hardware


def run_stamp(threads: int) -> dict[str, str]:
    """Command, machine and day: the head of a file of recorded figures."""
    used = "one thread" if threads == 1 else f"{threads} threads"
    return {
        "command": command_line(),
        "hardware": f"{hardware()}, {used}",
        "date": time.strftime("%Y-%m-%d"),
    }
