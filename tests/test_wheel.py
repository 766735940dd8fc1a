"""The library installed from a wheel, not editable, works from any directory."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ["pyproject.toml", "README.md", "LICENSE", "LICENSE-TEXT", "medr1_lib", "data"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with what `pip install .` would put beside the other packages; offline."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "source").mkdir()  # a copy, since a build leaves folders behind
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "source" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *alone, "-w", folder, folder / "source"], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *alone, "--target", folder / "lib", wheel], check=True)
    return folder / "lib"


def files(folder):
    kept = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    return {str(path.relative_to(folder)) for path in kept}


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_the_course_material(installed):
    library = {name for name in files(ROOT / "medr1_lib") if not name.startswith("material/")}
    material = {f"material/{name}" for name in files(ROOT / "data")}
    assert files(installed / "medr1_lib") == library | material
    assert {path.name for path in installed.iterdir()} - {"bin"} == {
        "medr1_lib",
        next(installed.glob("medr1-*.dist-info")).name,
    }


@pytest.mark.slow
def test_it_works_from_another_directory(installed, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name[:6] != "MEDR1_"}
    environment |= {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", ROOT / "tests/use_wheel.py", installed]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("the wheel works\n")
