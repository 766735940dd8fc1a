"""The machine in words, to stand beside every figure that was measured on it."""

import platform
import re
import shlex
import sys
import time
from pathlib import Path

import psutil


def hardware() -> str:
    """Processor, processors and memory in one line.

    Example:
        >>> "processors" in hardware()
        True
    """
    cpuinfo = Path("/proc/cpuinfo")  # Linux; elsewhere Python knows the name itself
    named = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    name = named[1] if named else platform.processor() or platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    return f"{name}, {psutil.cpu_count()} processors, {memory:.0f} GiB"


def run_stamp(threads: int) -> dict[str, str]:
    """The command, the machine and the day: the head of a file of recorded figures.

    Example:
        >>> list(run_stamp(threads=1))
        ['command', 'hardware', 'date']
    """
    used = "one thread" if threads == 1 else f"{threads} threads"
    return {
        "command": shlex.join(["python", *sys.argv]),
        "hardware": f"{hardware()}, {used}",
        "date": time.strftime("%Y-%m-%d"),
    }
