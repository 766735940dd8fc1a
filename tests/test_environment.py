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


def test_the_lock_leaves_torch_to_pyproject_and_names_no_place():
    (pin,) = DIRECT["torch"]
    assert pin.operator == "==", "torch is pinned in pyproject.toml, not in the lock"
    assert not [name for name in LOCK if name == "torch" or name.startswith(("nvidia", "cuda"))]
    assert [
        line for line in LINES if not PIN.fullmatch(line) and not line.lstrip().startswith("#")
    ] == [], "not plain pins"


def test_conda_takes_the_same_lock():
    *plain, pip = CONDA["dependencies"]
    assert plain == ["python=3.11", "pip"]
    assert pip == {"pip": ["-r requirements.lock", "-e .[dev]"]}
    assert PROJECT["requires-python"] == ">=3.11,<3.12"


def test_make_takes_the_same_lock():
    makefile = (ROOT / "Makefile").read_text()
    assert 'pip install --quiet -r requirements.lock -e ".[dev]"' in makefile


def test_this_machine_has_what_is_locked():
    needed = {n: v for n, (v, marker) in LOCK.items() if not marker or Marker(marker).evaluate()}
    found = {name: installed(name) for name in needed}
    assert {n: v for n, v in found.items() if v != needed[n]} == {}
    assert DIRECT["torch"].contains(installed("torch"))


def test_what_is_installed_fits_together():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
