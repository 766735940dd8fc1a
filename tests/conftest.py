"""What several tests share: the example chapter of `notebooks/_src/README.md`."""

import re
from pathlib import Path

import pytest

from notebooks.tools import kernel

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def example() -> str:
    """The source of the example chapter, so that what the page shows is what works."""
    page = (ROOT / "notebooks/_src/README.md").read_text()
    return re.search(r"```python\n(# ---\n.*?)```", page, re.S)[1]


@pytest.fixture
def course(example, tmp_path) -> Path:
    """A folder laid out as `notebooks/` is, with the source of the example chapter."""
    (tmp_path / "_src").mkdir()
    (tmp_path / "_src" / "01_clean.py").write_text(example)
    return tmp_path


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """What tests see is what notebooks see."""
    for name, value in (kernel.ENVIRONMENT | kernel.SMALL_TIERS).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MEDR1_TIER", raising=False)
