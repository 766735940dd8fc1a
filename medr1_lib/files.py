"""Files written whole or not at all. The doctor imports it, so it needs nothing but Python."""

import csv
import hashlib
import io
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from medr1_lib.errors import InputError, refusing

try:
    import fcntl
except ImportError:  # on Windows nobody is refused
    fcntl = None  # type: ignore[assignment]

LOCK = "writer.lock"
MEND = "save the table again, as UTF-8 where it is text"


def writing(where: Path, remedy: str) -> AbstractContextManager[None]:
    """Turn what the system does not let us write into an `InputError`."""
    return refusing(where, "cannot be written", remedy, OSError)


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # else a power cut can leave the new name with nothing in it
    unfinished.replace(path)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Make a folder and write there alone; one that stays empty is taken back.

    The lock dies with its process. An `InputError` tells of another writer.
    """
    path = folder / LOCK
    with writing(folder, "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+b", buffering=0)
    with lock:
        try:
            if fcntl:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                raise FileNotFoundError  # its writer ended, and removed it, just now
        except (BlockingIOError, FileNotFoundError) as error:
            lock.seek(0)
            problem = f"is being written by {lock.read().decode().strip() or 'another process'}"
            raise InputError(folder, problem, "wait for it or choose another folder") from error
        try:
            with writing(folder, "make room or choose another folder"):
                lock.truncate(0)
                lock.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            yield
        finally:
            with suppress(OSError):
                path.unlink()
                folder.rmdir()


@contextmanager
def whole_folder(out: Path, again: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `out` if all goes well; else nothing is left of it.

    `again` replaces what is there; otherwise `out` must be free.
    """
    if not again:
        require_free(out)
    partial = Path(f"{out}.partial")
    whole = partial / "whole"
    with one_writer(partial):
        try:
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            yield whole
            if again:
                shutil.rmtree(out, ignore_errors=True)
            elif out.exists():
                out.rmdir()  # it is empty
            whole.rename(out)
        finally:
            shutil.rmtree(whole, ignore_errors=True)


def content(path: Path, remedy: str, problem: str = "cannot be read") -> bytes:
    """What a file holds. Raises an `InputError` if it cannot be read, or is a pipe or a device."""
    with refusing(path, problem, remedy, OSError):
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise OSError("it is no regular file")
        return path.read_bytes()


def sha256(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def changed(folder: Path, known: Mapping[str, str]) -> list[str]:
    """Which files of a folder are gone or have another hash than is known of them."""
    found = {name: folder / name for name in known}
    return [n for n, path in found.items() if not path.is_file() or sha256(path) != known[n]]


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object that a JSON file holds."""
    text = content(path, remedy)
    with refusing(path, "is not sound JSON", remedy, ValueError, RecursionError):
        found = json.loads(text)
    if not isinstance(found, dict):
        raise InputError(path, "holds no JSON object", remedy)
    return found


def read_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The records of a csv, tsv, json, jsonl or parquet file, each with the line where it ends.

    The cells of a csv file are cut at what its first line has most of: `,`, `;` or tabs. Records of
    a parquet or json file are counted.
    """
    held = content(path, MEND)
    damaged = OSError, ValueError, RecursionError, ImportError, csv.Error
    with refusing(path, "cannot be read", MEND, *damaged):
        if path.suffix == ".parquet":
            from pyarrow import parquet

            return [*enumerate(parquet.read_table(io.BytesIO(held)).to_pylist(), start=1)]
        text = held.decode("utf-8-sig")
        if path.suffix == ".json":
            found = json.loads(text)
            if not (isinstance(found, list) and all(isinstance(row, dict) for row in found)):
                raise InputError(path, "is not a list of records", "wrap the records in [ ]")
            return [*enumerate(found, start=1)]
        if path.suffix == ".jsonl":
            return [_json_row(path, n, line) for n, line in enumerate(text.split("\n"), 1) if line]
        if path.suffix not in (".csv", ".tsv"):
            raise InputError(path, "is no table", "name a csv, tsv, json, jsonl or parquet file")
        csv.field_size_limit(2**30)  # an image in base64 is longer than the default allows
        cut = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=cut)
        rows = [(reader.line_num, row) for row in reader]
    for line, row in rows:
        if None in row or None in row.values():  # so the reader tells of cells too many or too few
            raise InputError(f"{path}, line {line}", "has another number of cells", MEND)
    return rows


def _json_row(path: Path, line: int, text: str) -> tuple[int, dict[str, Any]]:
    told = f"{path}, line {line}", "is no JSON object", "mend or drop it"
    with refusing(*told, ValueError, RecursionError):
        if not isinstance(row := json.loads(text), dict):
            raise ValueError("it is something else")
    return line, row


def require_free(out: Path, *spare: str) -> None:
    """Refuse, before any work is done, what is a file or a folder already in use.

    What a killed attempt leaves is no use, nor is a file with a name in `spare`.
    """
    kept = out.rglob("*") if out.is_dir() else ()
    left = LOCK, *spare
    used = any(one.name not in left and one.suffix != ".part" and not one.is_dir() for one in kept)
    if used or (out.exists() and not out.is_dir()):
        raise InputError(out, "is already in use", "choose another folder or remove it first")


def check_writable(path: Path) -> None:
    """Refuse a report file that is a folder or lies in none, before any work is done."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(path, "cannot be written", "name a file in a folder that exists")


def fill(form: Path, values: Mapping[str, Any]) -> str:
    """The text of a form, a Jinja template, with these values in it."""
    from jinja2 import Environment, StrictUndefined  # which the doctor can do without

    forms = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    return forms.from_string(form.read_text(encoding="utf-8")).render(values)


def write_json(path: Path, report: dict[str, Any] | list[Any]) -> None:
    """Write a report for other programs, whole or not at all; to stdout or a pipe, directly."""
    text = (json.dumps(report, indent=1) + "\n").encode()
    with writing(path, "make room or choose another file"):
        if path.is_symlink() or (path.exists() and not path.is_file()):  # such as /dev/stdout
            path.write_bytes(text)
        else:
            atomic_write(path, text)
