"""Files written whole or not at all, and refused early where they cannot be written.

Imports nothing that may be missing, since the doctor needs it in a broken environment too.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from medr1_lib.errors import InputError

try:
    import fcntl
except ImportError:  # on Windows nobody is refused
    fcntl = None  # type: ignore[assignment]

LOCK = "writer.lock"


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())  # else a power cut can leave the new name with nothing in it
    unfinished.replace(path)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Make a folder and write there alone; one that stays empty is taken back.

    The lock dies with its process, however that ends.

    Raises:
        InputError: If another process writes there, or the folder cannot be written.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="utf-8")
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(folder, problem, "choose another folder") from error
    with lock:
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                raise FileNotFoundError  # its writer ended, and removed it, just now
        except (BlockingIOError, FileNotFoundError) as error:
            lock.seek(0)
            problem = f"is being written by {lock.read().strip() or 'another process'}"
            raise InputError(folder, problem, "wait for it or choose another folder") from error
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
                folder.rmdir()


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object that a JSON file holds. Raises an `InputError` if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, "is not sound JSON", remedy) from error
    if not isinstance(found, dict):
        raise InputError(path, "holds no JSON object", remedy)
    return found


def require_free(out: Path, *spare: str) -> None:
    """Refuse a folder that is already in use, before any work is done.

    What an attempt leaves that is killed before it has written anything is no use, nor is a file
    with a name in `spare`.

    Raises:
        InputError: If `out` is a file or a folder with something in it.
    """
    kept = out.rglob("*") if out.is_dir() else ()
    left = LOCK, *spare
    used = any(one.name not in left and one.suffix != ".part" and not one.is_dir() for one in kept)
    if used or (out.exists() and not out.is_dir()):
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
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(path, problem, "choose another file") from error
