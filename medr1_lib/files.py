"""Files written whole or not at all, and refused early where they cannot be written.

Imports nothing that may be missing, since the doctor needs it in a broken environment too.
"""

import json
from pathlib import Path
from typing import Any

from medr1_lib.errors import InputError


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def require_free(out: Path) -> None:
    """Refuse a folder that is already in use, before any work is done.

    Raises:
        InputError: If `out` is a file or a folder with something in it.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(out, "is already in use", "choose another folder or remove it first")


def check_writable(path: Path) -> None:
    """Refuse a report file that cannot be written, before any work is done.

    Raises:
        InputError: If it is a folder, or lies in none.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(path, "cannot be written", "name a file in a folder that exists")


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report for other programs.

    Raises:
        InputError: If the file cannot be written.
    """
    try:
        path.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(path, problem, "choose another file") from error
