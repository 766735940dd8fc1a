"""The file that `--json` names: what a command printed, for other programs.

Imports nothing that may be missing, since the doctor needs it on a broken environment too.
"""

import json
from pathlib import Path
from typing import Any

from medr1_lib.errors import InputError


def check_writable(path: Path) -> None:
    """Refuse a report file that cannot be written, before any work is done.

    Raises:
        InputError: If it is a folder, or lies in none.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(path, "cannot be written", "name a file in a folder that exists")


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write what a command reports, for other programs.

    Raises:
        InputError: If the file cannot be written.
    """
    try:
        path.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(path, problem, "choose another file") from error
