"""What differs on Windows, by simulation: no Windows was at hand."""

import os
import re
import subprocess
import sys

import pytest

from notebooks.tools import kernel

ROOT = kernel.ROOT
# The encoding that pathlib and open() take where none is named.
CP1252 = """
import io, runpy, sys
io.text_encoding = lambda encoding, stacklevel=2: encoding or "cp1252"
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ["notebooks.tools.lab", "--copies-only", "--work", "{out}"],
        ["notebooks.tools.build", "--no-solutions", "--out", "{out}"],
        ["notebooks.tools.classroom", "--out", "{out}/class.zip"],
        ["notebooks.tools.slides", "00", "--out", "{out}"],
        ["notebooks.tools.build", "--check", "00"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_text_is_utf8_whatever_the_code_page(command, tmp_path):
    variables = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}
    said = [sys.executable, "-c", CP1252, *(part.format(out=tmp_path) for part in command)]
    done = subprocess.run(said, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_chapter_that_cleans_up_takes_mapped_files_for_what_they_are():
    """Windows deletes no Arrow file that is still mapped; the kernel's end frees it."""
    found = []
    for source in (ROOT / "notebooks/_src").glob("[0-9]*.py"):
        text = source.read_text(encoding="utf-8")
        for name in re.findall(r"^(\w+)\.cleanup\(\)", text, re.M):
            made = re.search(rf"^{name} = tempfile\.TemporaryDirectory\((.*)\)", text, re.M)
            found += [] if made and "ignore_cleanup_errors" in made[1] else [source.name]
    assert found == []


def test_scripts_keep_their_line_ends():
    attributes = (ROOT / ".gitattributes").read_text(encoding="utf-8")
    assert "* text=auto eol=lf" in attributes


def test_no_chapter_makes_a_link():
    """Ordinary accounts on Windows may not, without Developer Mode."""
    texts = {path.name: path.read_text() for path in (ROOT / "notebooks/_src").glob("[0-9]*.py")}
    assert [name for name, text in texts.items() if "symlink" in text or "hardlink" in text] == []
