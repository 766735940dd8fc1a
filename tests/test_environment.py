"""Every way to install gives the same: lock, pyproject.toml, environment.yml, this machine."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from medr1_lib.course.doctor import locked_versions

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
LOCK = {canonicalize_name(name): version for name, version in locked_versions().items()}
DIRECT = [
    Requirement(text)
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])
]
PROMISED = [
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
]


@pytest.mark.parametrize("requirement", DIRECT, ids=lambda requirement: requirement.name)
def test_what_the_project_asks_for_is_locked_inside_its_range(requirement):
    if requirement.name == "torch":
        (pin,) = requirement.specifier
        assert pin.operator == "==", "torch is pinned in pyproject.toml, not in the lock"
    else:
        assert requirement.specifier.contains(LOCK[canonicalize_name(requirement.name)])


def test_the_lock_leaves_torch_to_pyproject_and_names_no_place():
    assert not [name for name in LOCK if name == "torch" or name.startswith(("nvidia", "cuda"))]
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        pinned = re.fullmatch(r"[\w.\[\]-]+==[\w.]+( ; .+)?", line)
        assert pinned or line.lstrip().startswith("#"), f"not a plain pin: {line}"


@pytest.mark.parametrize("name", PROMISED)
def test_what_the_course_promises_is_there(name):
    assert name in {requirement.name for requirement in DIRECT}
    assert name in LOCK or name == "torch"


def test_conda_takes_the_same_lock():
    *plain, pip = CONDA["dependencies"]
    assert plain == ["python=3.11", "pip"]
    assert pip == {"pip": ["-r requirements.lock", "-e .[dev]"]}
    assert PROJECT["requires-python"] == ">=3.11,<3.12"


def test_make_takes_the_same_lock():
    makefile = (ROOT / "Makefile").read_text()
    assert 'pip install --quiet -r requirements.lock -e ".[dev]"' in makefile


@pytest.mark.parametrize(("name", "version"), LOCK.items())
def test_this_machine_has_what_is_locked(name, version):
    try:
        assert metadata.version(name).split("+")[0] == version
    except metadata.PackageNotFoundError:
        assert f"{name}=={version} ;" in (ROOT / "requirements.lock").read_text(), "not installed"


def test_this_machine_has_the_torch_that_is_pinned():
    (torch,) = (requirement for requirement in DIRECT if requirement.name == "torch")
    assert torch.specifier.contains(metadata.version("torch").split("+")[0])
