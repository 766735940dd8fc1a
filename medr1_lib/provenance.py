"""Where a figure comes from: command, day, versions and machine, to stand beside it."""

import platform
import re
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")


def hardware() -> str:
    """Processor, how many there are, and memory, in one line."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux; elsewhere Python knows the name itself
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    named = re.search(r"model name\s*: (.*)", text)
    name = named[1] if named else platform.processor() or platform.machine()
    memory = psutil.virtual_memory().total / 2**30
    return f"{name}, {psutil.cpu_count()} processors, {memory:.0f} GiB"


def command_line() -> str:
    """The command that this process runs, if it is one of the project."""
    spec = sys.modules["__main__"].__spec__  # of `python -m`, which puts a whole path into argv
    if spec and spec.name.startswith(("medr1_lib.", "benchmarks.", "notebooks.", "tools.")):
        return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])
    return "called from Python"


def environment(gpu: bool) -> dict[str, Any]:
    """Command, day, versions and machine, as a run records them in its `recipe.json`."""
    import torch

    return {
        "command": command_line(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "hardware": hardware(),
        "gpu": torch.cuda.get_device_name() if gpu and torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }
