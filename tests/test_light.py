"""What needs no torch works without it: on newer Pythons, and in chapters that read records."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from notebooks.tools import kernel, sources

ROOT = kernel.ROOT
# What data, rewards, analysis and exercises need, in the versions of the lock.
LIGHT = """numpy scipy pandas pyarrow pillow scikit-image scikit-learn pydicom imagehash tqdm psutil
    packaging pyyaml jinja2 datasets matplotlib seaborn ipywidgets nbformat nbclient jupytext
    ipykernel pytest hypothesis"""
TESTS = ("question", "styles", "stats", "exercise", "images", "reward_bench")
# Executed where torch is not installed: every exercise whose chapter needs none.
EXERCISES = """
from medr1_lib.course import checks
import importlib, pkgutil
tried = 0
for chapter, names in checks.CHAPTERS.items():
    try:
        module = importlib.import_module(f"medr1_lib.course.chapters.{chapter}")
        ours = {name: pkgutil.resolve_name(getattr(checks, name).library) for name in names}
    except ModuleNotFoundError as error:
        assert error.name == "torch", error
        continue
    for name, function in ours.items():
        theirs = lambda *arguments: function(*arguments)
        assert getattr(checks, name)(theirs) is theirs
        tried += 1
print("exercises right:", tried)
"""


def interpreter(version: str) -> str | None:
    """A Python of this version, on the path or among those of pyenv."""
    named = [shutil.which(f"python{version}")]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    named += sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))
    for one in filter(None, named):
        done = subprocess.run([one, "-c", "import venv"], capture_output=True)
        if done.returncode == 0:
            return one
    return None


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_the_light_parts_run_on_newer_pythons(version, tmp_path):
    """Installed without dependencies beside a short list, so that no torch is there."""
    found = interpreter(version)
    if found is None:
        pytest.skip(f"no Python {version} is at hand")
    subprocess.run([found, "-m", "venv", tmp_path / "venv"], check=True)
    python = next((tmp_path / "venv").glob("[bS]*/python*"))
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    lock = ["-c", str(ROOT / "requirements.lock")]
    done = subprocess.run(
        [*pip, *lock, "setuptools>=77", *LIGHT.split()], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"the light packages could not be installed: {done.stderr[-300:]}")
    copy = shutil.copytree(ROOT, tmp_path / "copy", ignore=left_out)  # a build leaves folders
    alone = ["--no-deps", "--no-build-isolation", str(copy)]
    subprocess.run([*pip, *alone], check=True)
    variables = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # what is imported is compiled once, no more
    run = {"cwd": tmp_path, "env": variables, "capture_output": True, "text": True}
    done = subprocess.run([python, "-c", EXERCISES], **run)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 15
    files = [str(copy / f"tests/test_{name}.py") for name in TESTS]
    plain = ["-q", "-m", "not slow", "-p", "no:cacheprovider", "--override-ini", "addopts="]
    done = subprocess.run([python, "-m", "pytest", *plain, *files], **run)
    assert done.returncode == 0, done.stdout[-3000:]


def left_out(folder, names):
    skipped = {".git", ".venv", ".venv-book", "_output", "work", "build", "node_modules"}
    return skipped & set(names)


# The replay tier

LOADED = """
import sys
loaded = sorted({"torch", "trl", "transformers"} & set(sys.modules))
assert not loaded, f"loaded at the replay tier: {loaded}"
"""
# Chapters that only read records at that tier. The others ask a model (02, 11, 13), need tensors
# (04, 05, 08, 09), or show recipes, which TRL's own types check (06).
READS_RECORDS = ("00", "01", "03", "07", "10", "12")


@pytest.mark.slow
@pytest.mark.parametrize("number", READS_RECORDS)
def test_a_chapter_that_reads_records_loads_no_torch_at_the_replay_tier(number):
    (path,) = kernel.NOTEBOOKS.glob(f"{number}_*.ipynb")
    notebook = sources.without_outputs(nbformat.read(path, as_version=4))
    notebook.cells.append(nbformat.v4.new_code_cell(LOADED))
    kernel.execute(notebook, "replay")


def test_a_module_that_is_loaded_is_found():
    code = f"import sys; sys.modules['torch'] = sys\n{LOADED}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "loaded at the replay tier: ['torch']" in done.stderr
