"""What this machine can run, item by item: `python -m medr1_lib doctor`, and chapter 00."""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

import psutil

from medr1_lib.course.tiers import PACKAGE, TIERS
from medr1_lib.provenance import LIBRARIES

# Where the course is worked on: the checkout, or for an installed library the current folder.
HERE = PACKAGE.parent if (PACKAGE.parent / "requirements.lock").exists() else Path.cwd()
GIB = 2**30
MEMORY, DISK, GPU_MEMORY = 4, 2, 14  # GiB that the course needs; a "16 GB" GPU reports under 15
EVERY, TRAINING = tuple(TIERS), ("laptop", "gpu")
GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")  # of Linux
BROKEN = (ImportError, OSError, RuntimeError)  # what a damaged package raises


@dataclass(frozen=True)
class Check:
    """One thing that was checked."""

    name: str
    status: str  # `OK`, `WARN` (the laptop tier runs without it) or `FAIL`
    detail: str  # what was found and, if it is not as it should be, what to do
    stops: tuple[str, ...] = ()  # the tiers that cannot run because of it


def examine(models: bool = True) -> list[Check]:
    """Look at everything that the course needs; without `models`, at nothing that needs torch."""
    there = [*machine(sys.version_info[:3]), writable(HERE / "_output"), packages(), kernel()]
    return [*there, at_work(), gpu()] if models else there


def runnable(items: list[Check]) -> list[str]:
    """The tiers that no item stops."""
    stopped = {tier for item in items for tier in item.stops}
    return [tier for tier in TIERS if tier not in stopped]


def _judge(name: str, good: bool, found: str, remedy: str, stops: tuple[str, ...] = EVERY) -> Check:
    if good:
        return Check(name, "OK", found)
    return Check(name, "FAIL" if "laptop" in stops else "WARN", f"{found}; {remedy}", stops)


def machine(version: tuple[int, int, int]) -> list[Check]:
    """The interpreter (all is tested on 3.11, what needs no torch to 3.13), memory, free disk."""
    found = ".".join(map(str, version))
    memory, disk = _memory() / GIB, shutil.disk_usage(HERE).free / GIB
    more = f"training needs {MEMORY} GiB; the replay tier runs with less"
    return [
        _judge("Python", (3, 11) <= version[:2] <= (3, 13), found, "use Python 3.11 to 3.13"),
        _judge("memory", memory >= MEMORY, f"{memory:.1f} GiB", more, TRAINING),
        _judge("disk", disk >= DISK, f"{disk:.1f} GiB free", f"free {DISK} GiB", TRAINING),
    ]


def _memory() -> int:
    """Bytes of memory: the machine's, or what its container or job may use of them."""
    own = OWN_GROUP.read_text(encoding="utf-8") if OWN_GROUP.is_file() else ""
    folder = GROUPS / own.rpartition("::")[2].strip().lstrip("/")
    files = [GROUPS / "memory/memory.limit_in_bytes"]  # cgroup 1, and 2 with its parents
    files += [part / "memory.max" for part in (folder, *folder.parents)]
    limits = [file.read_text(encoding="utf-8").strip() for file in files if file.is_file()]
    return min([psutil.virtual_memory().total, *(int(one) for one in limits if one.isdigit())])


def writable(folder: Path) -> Check:
    """Whether runs can be written, here or at least elsewhere."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Check("output", "OK", f"{folder.name}/ can be written")
    except OSError as error:
        problem = str(error)
    with suppress(OSError), tempfile.TemporaryFile():
        return Check("output", "WARN", f"{problem}; choose another folder with --out")
    return _judge("output", False, problem, "make the course's folder writable")


def packages() -> Check:
    """Whether each package is there and, where there is pip, fits the others by `pip check`."""
    problem, asked = "", [sys.executable, "-m", "pip", "check"]
    if util.find_spec("pip"):  # uv makes environments without it
        check = subprocess.run(asked, capture_output=True, text=True)
        problem = " ".join((check.stdout + check.stderr).split()) if check.returncode else ""
    installed = {found.name.lower(): found.version for found in metadata.distributions()}
    if missing := [name for name in ("medr1", *LIBRARIES) if name not in installed]:
        problem = f"not installed: {', '.join(missing)}"
    found = problem or ", ".join(f"{name} {installed[name]}" for name in LIBRARIES)
    return _judge("packages", not problem, found, "run `make setup`")


def kernel() -> Check:
    """The Jupyter kernel `python3`, which must be this Python and no other."""
    from jupyter_client.kernelspec import KernelSpecManager

    manager = KernelSpecManager()
    known = "python3" in manager.find_kernel_specs()
    program = manager.get_kernel_spec("python3").argv[0] if known else "none"
    ours = program in {sys.executable, "python", "python3"}
    found = f"python3 runs {'this Python' if ours else program}"
    return _judge("Jupyter kernel", ours, found, "run `python -m ipykernel install --sys-prefix`")


def at_work() -> Check:
    """torch and bitsandbytes pack weights to 4 bits on the CPU and back."""
    try:
        import torch
        from bitsandbytes import functional

        weights = torch.linspace(-1, 1, 4096).reshape(64, 64)
        back = functional.dequantize_4bit(*functional.quantize_4bit(weights, quant_type="nf4"))
        error = (back - weights).abs().mean().item()
        good, found = error < 0.1, f"NF4 on the CPU, mean error {error:.3f} on weights from -1 to 1"
    except BROKEN as broken:
        good, found = False, str(broken)
    remedy = "install torch and bitsandbytes again"
    return _judge("torch and bitsandbytes at work", good, found, remedy, TRAINING)


def gpu() -> Check:
    """The first NVIDIA GPU and its memory, or what keeps torch from it."""
    try:
        import torch

        if not torch.cuda.is_available():
            return Check("GPU", "WARN", _unused_gpu(torch.version.cuda), ("gpu",))
        card = torch.cuda.get_device_properties(0)
    except BROKEN as error:
        return Check("GPU", "WARN", str(error), ("gpu",))
    found = f"{card.name}, {card.total_memory / GIB:.0f} GiB"
    more = torch.cuda.device_count() - 1
    found += f", the first of {more + 1}; one is used unless torchrun starts more" if more else ""
    power = card.major + card.minor / 10
    if power < 7.5 and str(torch.version.cuda) >= "13":
        detail = f"{found}; this torch has no kernels for it, {_build('cu126')} has"
        return Check("GPU", "WARN", detail, ("gpu",))
    if card.total_memory < GPU_MEMORY * GIB:
        return Check("GPU", "WARN", f"{found}; the gpu tier needs {GPU_MEMORY} GiB", ("gpu",))
    if power < 8:
        return Check("GPU", "WARN", f"{found}; it has no bfloat16: train with --recipe gpu-t4")
    return Check("GPU", "OK", found)


def _unused_gpu(cuda: str | None) -> str:
    """Why torch, built for this CUDA, finds no GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return "hidden by CUDA_VISIBLE_DEVICES, as the small tiers do"
    asked, told = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"], ""
    with suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20).stdout
    if ", " not in told:
        return "none that torch can use"
    name, _, driver = told.splitlines()[0].rpartition(", ")
    found = f"{name} with driver {driver} is there, and torch cannot use it"
    if cuda and driver >= "580":
        return f'{found}; `python -c "import torch; torch.cuda.init()"` says why'
    built = f"CUDA {cuda}, with drivers from 580" if cuda else "CPUs"
    older = f"update the driver; or {_build('cu126')}, for drivers from 525, not for Blackwell"
    return f"{found}: it is built for {built}; {_build('cu130') if driver >= '580' else older}"


def _build(cuda: str) -> str:
    """What installs the same torch for another CUDA; by its number alone, pip keeps what it has."""
    version, index = metadata.version("torch").partition("+")[0], "https://download.pytorch.org/whl"
    return f"`pip install torch=={version}+{cuda} --index-url {index}/{cuda}`"
