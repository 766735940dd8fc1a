"""Nothing finished is lost, nothing wrong is believed: folders of evaluations, sweeps, blocks."""

import os
import subprocess
import sys

import pytest

from medr1_lib import files
from medr1_lib.errors import InputError

# One writer


def test_the_second_writer_is_refused_with_the_first_one_s_process(tmp_path):
    with files.one_writer(tmp_path / "out"):
        with (
            pytest.raises(InputError, match=f"being written by process {os.getpid()} on "),
            files.one_writer(tmp_path / "out"),
        ):
            raise AssertionError("two writers")
        (tmp_path / "out/kept").touch()
    with files.one_writer(tmp_path / "out"):
        pass
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]


def test_the_lock_dies_with_its_process(tmp_path):
    code = (
        "import os, pathlib; from medr1_lib import files\n"
        f"with files.one_writer(pathlib.Path({str(tmp_path / 'out')!r})): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert (tmp_path / "out" / files.LOCK).is_file()
    files.require_free(tmp_path / "out")  # what a killed attempt leaves is no use
    with files.one_writer(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("left", "free"),
    [("a.part", True), ("empty/folder/", True), ("a", False), ("folder/a", False)],
)
def test_what_a_killed_attempt_leaves_is_no_use(tmp_path, left, free):
    path = tmp_path / "out" / left
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(parents=True) if left.endswith("/") else path.touch()
    if free:
        files.require_free(tmp_path / "out")
    else:
        with pytest.raises(InputError, match="already in use"):
            files.require_free(tmp_path / "out")
