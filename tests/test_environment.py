"""Every way to install gives the same: lock, pyproject.toml, environment.yml, this machine."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
LINES = (ROOT / "requirements.lock").read_text().splitlines()
PIN = re.compile(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)(?: ; (.+))?")
LOCK = {canonicalize_name(pin[1]): (pin[2], pin[3]) for pin in map(PIN.fullmatch, LINES) if pin}
DIRECT = {
    canonicalize_name(requirement.name): requirement.specifier
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])
    for requirement in [Requirement(text)]
}
PROMISED = {
    "jupyterlab",
    "torch",
    "transformers",
    "trl",
    "peft",
    "bitsandbytes",
    "datasets",
    "ipywidgets",
    "seaborn",
    "nbval",
}


def installed(name):
    """The version of a package on this machine, without what says which build it is."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def test_what_the_course_promises_is_asked_for():
    assert PROMISED - set(DIRECT) == set()


def test_what_the_project_asks_for_is_locked_inside_its_range():
    locked = {name: LOCK.get(name, (None,))[0] for name in DIRECT if name != "torch"}
    assert {n: v for n, v in locked.items() if v is None or not DIRECT[n].contains(v)} == {}


def test_the_lock_leaves_torch_to_the_platform_and_names_no_place():
    gpu = ("torch", "triton", "nvidia", "cuda-")
    assert not [name for name in LOCK if name.startswith(gpu)]
    comments = [line for line in LINES if line.lstrip().startswith("#")]
    assert [line for line in LINES if not PIN.fullmatch(line) and line not in comments] == []
    assert len(LOCK) == len(LINES) - len(comments), "one version of each, whatever the Python"


def test_the_lock_is_for_every_system_and_python():
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
    here = {"python_full_version": "3.13.0", "python_version": "3.13", "sys_platform": "win32"}
    there = {n for n, (_, marker) in LOCK.items() if not marker or Marker(marker).evaluate(here)}
    assert "colorama" in there
    assert "pexpect" not in there
    assert {name for name in DIRECT if name != "torch"} <= there


def test_every_way_takes_the_torch_that_was_tested():
    tested = re.search(r"^TORCH \?= (torch==(.+))$", MAKEFILE, re.M)
    assert DIRECT["torch"].contains(tested[2])
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert tool["uv"] == {"constraint-dependencies": [tested[1]]}
    assert CONDA["dependencies"] == [
        "python=3.11",
        "pip",
        {"pip": [tested[1], "-r requirements.lock", "-e .[dev]"]},
    ]
    assert 'pip install --quiet $(TORCH) -r requirements.lock -e ".[dev]"' in MAKEFILE


def test_this_machine_has_what_is_locked():
    needed = {n: v for n, (v, marker) in LOCK.items() if not marker or Marker(marker).evaluate()}
    found = {name: installed(name) for name in needed}
    assert {n: v for n, v in found.items() if v != needed[n]} == {}
    assert DIRECT["torch"].contains(installed("torch"))


def test_what_is_installed_fits_together():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
