"""The machine in words, to stand beside every figure that was measured on it."""

import platform
import re
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
