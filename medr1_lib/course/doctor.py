"""`python -m medr1_lib doctor`: what this machine can run, item by item."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from medr1_lib.course.tiers import PACKAGE, TIERS

# Where the course is worked on: the checkout, or for an installed library the current folder.
HERE = PACKAGE.parent if (PACKAGE.parent / "requirements.lock").exists() else Path.cwd()
GIB = 2**30
MEMORY, DISK, GPU_MEMORY = 4, 2, 14  # GiB that the course needs; a "16 GB" GPU reports under 15

EVERY = tuple(TIERS)
TRAINING = ("laptop", "gpu")


@dataclass(frozen=True)
class Item:
    """One thing looked at.

    Attributes:
        name: What was looked at.
        status: `OK`, `WARN` (the laptop tier runs without it) or `FAIL`.
        detail: What was found and, if it is not as it should be, what to do.
        stops: The tiers that cannot run because of it.
    """

    name: str
    status: str
    detail: str
    stops: tuple[str, ...] = ()


def examine() -> list[Item]:
    """Look at everything that the course needs."""
    machine = [
        python(sys.version_info[:3]),
        memory(),
        disk(),
        threads(),
        writable(HERE / "_output"),
    ]
    return [*machine, *packages(), kernel(), widgets(), torch_works(), nf4(), gpu()]


def runnable(items: list[Item]) -> list[str]:
    """The tiers that no item stops.

    Example:
        >>> runnable([Item("GPU", "WARN", "none", ("gpu",))])
        ['replay', 'laptop']
    """
    stopped = {tier for item in items for tier in item.stops}
    return [tier for tier in TIERS if tier not in stopped]


def python(version: tuple[int, int, int]) -> Item:
    """The interpreter: the pins of the course are tested on 3.11 only."""
    found = ".".join(map(str, version))
    return _judge("Python", version[:2] == (3, 11), found, "make the environment with Python 3.11")


def memory() -> Item:
    """All the memory of the machine, used or not."""
    found = psutil.virtual_memory().total / GIB
    remedy = f"training needs {MEMORY} GiB; the replay tier runs with less"
    return _judge("memory", found >= MEMORY, f"{found:.1f} GiB", remedy, TRAINING)


def disk() -> Item:
    """Free space where the course writes."""
    found = shutil.disk_usage(HERE).free / GIB
    return _judge("disk", found >= DISK, f"{found:.1f} GiB free", f"free {DISK} GiB", TRAINING)


def threads() -> Item:
    """Logical processors; any number will do."""
    return Item("CPU threads", "OK", str(psutil.cpu_count()))


def writable(folder: Path) -> Item:
    """Whether runs can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Item("output", "OK", f"{folder.name}/ can be written")
    except OSError as error:
        return _judge("output", False, str(error), "make the course's folder writable")


def packages() -> Iterator[Item]:
    """Every package that the library asks for, against its range and `requirements.lock`."""
    locked = locked_versions()
    try:
        required = metadata.requires("medr1") or []
    except metadata.PackageNotFoundError:
        required = []
        yield _judge("medr1", False, "not installed", "run `make setup`")
    for requirement in map(Requirement, required):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            yield package(requirement, metadata.version(requirement.name), locked)
        except metadata.PackageNotFoundError:
            yield _judge(requirement.name, False, "not installed", "run `make setup`")


def package(requirement: Requirement, found: str, locked: dict[str, str]) -> Item:
    """One package: as locked, inside its range, or outside."""
    public = found.split("+")[0]  # a CPU build calls itself 2.13.0+cpu
    pinned = locked.get(requirement.name, public)
    if not requirement.specifier.contains(public):
        wrong = f"{found}, not {requirement.specifier}"
        return _judge(requirement.name, False, wrong, "run `make setup`")
    if public != pinned:
        return Item(requirement.name, "WARN", f"{found}; the course was tested with {pinned}")
    return Item(requirement.name, "OK", found)


def locked_versions(path: Path = HERE / "requirements.lock") -> dict[str, str]:
    """Package to version, as the lock file has them; empty without the file."""
    lines = path.read_text().splitlines() if path.exists() else []
    pins = (line.split(";")[0].strip().split("==") for line in lines if "==" in line)
    return {name.split("[")[0]: version for name, version in pins}


def kernel() -> Item:
    """The Jupyter kernel `python3`, which must be this Python and no other."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        program = "none"
    ours = program in {sys.executable, "python", "python3"}
    found = "python3 runs this Python" if ours else f"python3 runs {program}"
    return _judge("Jupyter kernel", ours, found, "run `python -m ipykernel install --sys-prefix`")


def widgets() -> Item:
    """JupyterLab's part of ipywidgets, without which sliders are shown as text."""
    from jupyter_core.paths import jupyter_path

    found = any(
        Path(folder, "@jupyter-widgets", "jupyterlab-manager").is_dir()
        for folder in jupyter_path("labextensions")
    )
    if found:
        return Item("widgets", "OK", "JupyterLab shows them")
    return Item("widgets", "WARN", "JupyterLab's extension is missing, run `make setup`")


def torch_works() -> Item:
    """One matrix product."""
    name, remedy = "torch at work", "install torch again"
    try:
        import torch

        ones = torch.ones(64, 64)
        works = bool((ones @ ones == 64).all())
        return _judge(name, works, "multiplies matrices", remedy, TRAINING)
    except (ImportError, OSError, RuntimeError) as error:
        return _judge(name, False, str(error), remedy, TRAINING)


def nf4() -> Item:
    """Weights packed to 4 bits by bitsandbytes on the CPU and back."""
    name, remedy = "bitsandbytes at work", "install bitsandbytes again"
    try:
        import torch
        from bitsandbytes import functional

        weights = torch.linspace(-1, 1, 4096).reshape(64, 64)
        back = functional.dequantize_4bit(*functional.quantize_4bit(weights, quant_type="nf4"))
        error = (back - weights).abs().mean().item()
        found = f"NF4 on the CPU, mean error {error:.3f} on weights from -1 to 1"
        return _judge(name, error < 0.1, found, remedy, TRAINING)
    except (ImportError, OSError, RuntimeError) as problem:
        return _judge(name, False, str(problem), remedy, TRAINING)


def gpu() -> Item:
    """The first NVIDIA GPU and its memory."""
    try:
        import torch

        if not torch.cuda.is_available():
            return Item("GPU", "WARN", "none that torch can use", ("gpu",))
        card = torch.cuda.get_device_properties(0)
    except (ImportError, OSError, RuntimeError) as error:
        return Item("GPU", "WARN", str(error), ("gpu",))
    found = f"{card.name}, {card.total_memory / GIB:.0f} GiB"
    if card.total_memory < GPU_MEMORY * GIB:
        return Item("GPU", "WARN", f"{found}; the gpu tier needs {GPU_MEMORY} GiB", ("gpu",))
    return Item("GPU", "OK", found)


def _judge(name: str, good: bool, found: str, remedy: str, stops: tuple[str, ...] = EVERY) -> Item:
    return Item(name, "OK", found) if good else Item(name, "FAIL", f"{found}; {remedy}", stops)
