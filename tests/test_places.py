"""Odd places: a path with spaces and letters beyond ASCII, a read-only checkout, one core."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from notebooks.tools import kernel

ROOT = kernel.ROOT
KEPT = ("notebooks", "medr1_lib", "data", "pyproject.toml", "requirements.lock")
RUN = ["notebooks.tools.run", "--tier", "replay", "--chapters"]
# Root may write everywhere unless it gives that right up.
BOUND = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
NO_OVERRIDE = [*BOUND, "--inh-caps", "-dac_override,-dac_read_search"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The course in a path that is hard to read."""
    folder = tmp_path_factory.mktemp("äse Kurs ü") / "med r1"
    folder.mkdir()
    for name in KEPT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    return folder


def python(checkout, *arguments, before=()):
    """Run a module there; return status, output and errors."""
    variables = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*before, sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=checkout, env=variables, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_chapters_run_in_any_order_on_one_core_from_a_path_that_is_hard_to_read(checkout, tmp_path):
    one = ["taskset", "-c", "0"] if shutil.which("taskset") else []
    for chapter in ("03", "01", "00"):  # each alone, the later first
        status, told, errors = python(checkout, *RUN, chapter, "--out", tmp_path, before=one)
        assert (status, errors) == (0, ""), told
    assert len(list(tmp_path.glob("*.ipynb"))) == 3


@pytest.fixture
def read_only(checkout):
    """The checkout without the right to write, and what a command has to begin with to feel it."""
    before = NO_OVERRIDE if os.geteuid() == 0 else []
    if before and not shutil.which(before[0]):
        pytest.skip("root cannot give up its right to write here: setpriv is not at hand")
    folders = [checkout, *(path for path in checkout.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(folder.stat().st_mode & ~0o222)
    refused = [*before, "touch", str(checkout / "x")]
    if subprocess.run(refused, capture_output=True).returncode == 0:
        pytest.skip("this system lets everybody write")
    yield before
    for folder in folders:
        folder.chmod(folder.stat().st_mode | stat.S_IWUSR)


@pytest.mark.slow
def test_a_read_only_checkout_says_what_to_do_and_runs(checkout, read_only, tmp_path):
    """Each command that writes is refused in one line, and runs with another folder."""
    status, told, _ = python(checkout, "medr1_lib", "doctor", before=read_only)
    assert status == 0, told
    assert "WARN  output: " in told
    assert "choose another folder with --out" in told
    assert "replay, laptop" in told
    for command, flag in (
        ([*RUN, "03"], "--out"),
        (["notebooks.tools.build", "--no-solutions", "03"], "--out"),
        (["notebooks.tools.lab", "--copies-only"], "--work"),
    ):
        status, told, errors = python(checkout, *command, before=read_only)
        assert status != 0
        assert errors.count("\n") == 1, errors
        assert errors.startswith("error: ")
        assert f"choose another folder with {flag}" in errors
        there = tmp_path / flag.strip("-")
        status, told, errors = python(checkout, *command, flag, there, before=read_only)
        assert (status, errors) == (0, ""), told
        assert list(there.glob("03_*.ipynb"))
