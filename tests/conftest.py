"""What several tests share: the example chapter of `notebooks/_src/README.md`."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from notebooks.tools import build, kernel

# Tests see what notebooks see; set before anything imports torch.
os.environ |= kernel.ENVIRONMENT | kernel.SMALL_TIERS
os.environ.pop("MEDR1_TIER", None)
# A shell that starts the tests in the background has them ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parents[1]
collect_ignore = ["use_wheel.py"]  # looking for doctests would run it; test_wheel.py does


@pytest.fixture(scope="session")
def example() -> str:
    """The source of the example chapter, so that what the page shows is what works."""
    page = (ROOT / "notebooks/_src/README.md").read_text()
    return re.search(r"```python\n(# ---\n.*?)```", page, re.S)[1]


@pytest.fixture(scope="session")
def built(example, tmp_path_factory) -> Path:
    """A folder laid out as `notebooks/` is, with the example executed at both tiers; read only."""
    folder = tmp_path_factory.mktemp("course")
    source = folder / "_src" / "01_clean.py"
    source.parent.mkdir()
    source.write_text(example)
    build.build(source, folder)
    return folder


@pytest.fixture
def course(built, tmp_path) -> Path:
    """A copy of it to spoil."""
    return shutil.copytree(built, tmp_path / "notebooks")


@pytest.fixture
def same_threads():
    """Commands that set the number of threads leave it as they found it."""
    import torch  # not for tests that need none

    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
