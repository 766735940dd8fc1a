"""Where real data lies: a folder, or a zip file that is read without unpacking it."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from medr1_lib.errors import InputError

MAX_BYTES = 2**30  # no image or JSON file of OmniMedVQA comes near one gibibyte


class Source(Protocol):
    """What the readers ask of a folder and of a zip file alike. All names are relative paths."""

    root: Path

    def json_files(self, folder: str) -> list[str]:
        """The JSON files anywhere below `folder`, which lies at the root or one level under it."""

    def locate(self, image: str) -> str:
        """The name of an image that a record calls `Images/...`, here perhaps `images/...`."""

    def read(self, name: str) -> bytes:
        """The content of one file; an `InputError` if it is missing or damaged."""

    def stamp(self, name: str) -> str:
        """Changes when the file changes, without reading it; empty if there is no such file."""


@contextmanager
def opened(root: Path) -> Iterator[Source]:
    """Open a folder or a zip file of real data.

    Raises:
        InputError: If there is nothing at `root`, or it is neither a folder nor a sound zip file.

    Example:
        >>> with opened(Path("medr1_lib")) as source:
        ...     source.json_files("data")
        []
    """
    if root.is_dir():
        yield _Folder(root)
    elif root.is_file():
        with _open_zip(root) as archive:
            yield _Zip(root, archive)
    else:
        raise InputError(root, "does not exist", "give the folder or zip file of the data")


def _open_zip(root: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(root)
    except (zipfile.BadZipFile, OSError) as error:
        remedy = "give a folder, or download the zip file again"
        raise InputError(root, f"is not a sound zip file ({error})", remedy) from error
    for name in archive.namelist():
        if is_outside(name):
            archive.close()
            remedy = "do not use this file; download the published one"
            raise InputError(root, f"holds an entry that points outside it ({name})", remedy)
    return archive


def is_outside(name: str) -> bool:
    """Whether a path from a file would leave the folder it is relative to.

    Example:
        >>> is_outside("Images/../../key"), is_outside("Images/a..b.png")
        (True, False)
    """
    parts = _parts(name.replace("\\", "/"))
    has_drive = name[1:2] == ":"
    return parts[0] == "" or ".." in parts or has_drive


def _is_record_file(name: str) -> bool:
    return name.endswith(".json") and not PurePosixPath(name).name.startswith("._")


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        folders = (path.relative_to(root) for depth in ("*/", "*/*/") for path in root.glob(depth))
        self._images = _image_folder(folder.as_posix() for folder in folders)

    def json_files(self, folder: str) -> list[str]:
        found = [*self.root.glob(f"{folder}/**/*.json"), *self.root.glob(f"*/{folder}/**/*.json")]
        names = (path.relative_to(self.root).as_posix() for path in found)
        return sorted(filter(_is_record_file, names))

    def locate(self, image: str) -> str:
        return _below(self._images, image)

    def read(self, name: str) -> bytes:
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError as error:
            raise _missing(name, self.root) from error
        except OSError as error:
            remedy = "check the file and its permissions"
            raise InputError(name, f"cannot be read ({error.strerror})", remedy) from error

    def stamp(self, name: str) -> str:
        path = self.root / name
        if not path.is_file():
            return ""
        status = path.stat()
        return f"{status.st_size}-{status.st_mtime_ns}"


class _Zip:
    def __init__(self, root: Path, archive: zipfile.ZipFile) -> None:
        self.root, self._archive, self._names = root, archive, archive.namelist()
        folders = {"/".join(_parts(name)[:depth]) for name in self._names for depth in (1, 2)}
        self._images = _image_folder(folders)

    def json_files(self, folder: str) -> list[str]:
        names = filter(_is_record_file, self._names)
        return sorted(name for name in names if folder in _parts(name)[:-1][:2])

    def locate(self, image: str) -> str:
        return _below(self._images, image)

    def read(self, name: str) -> bytes:
        info = self._archive.NameToInfo.get(name)
        if info is None:
            raise _missing(name, self.root)
        if info.file_size > MAX_BYTES:
            problem = f"claims to unpack to {info.file_size / 2**30:.0f} GiB"
            raise InputError(name, problem, "download the zip file again")
        try:
            data = self._archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            remedy = "download the zip file again"
            raise InputError(name, f"is damaged in the zip file ({error})", remedy) from error
        if len(data) != info.file_size:
            problem = f"has {len(data)} bytes, the zip file says {info.file_size}"
            raise InputError(name, problem, "download the zip file again")
        return data

    def stamp(self, name: str) -> str:
        info = self._archive.NameToInfo.get(name)
        return f"{info.file_size}-{info.CRC}" if info else ""


def _parts(name: str) -> list[str]:
    return name.split("/")


def _image_folder(folders: Iterable[str]) -> str | None:
    found = [folder for folder in folders if _parts(folder)[-1].lower() == "images"]
    return min(found, key=lambda folder: (len(_parts(folder)), folder), default=None)


def _below(images: str | None, name: str) -> str:
    head, _, rest = name.partition("/")
    return f"{images}/{rest}" if images and head.lower() == "images" else name


def _missing(name: str, root: Path) -> InputError:
    return InputError(name, f"is not in {root}", "restore the file or drop the record")
