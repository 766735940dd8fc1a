"""Real data where it enters: the files of a folder or zip file, and the fields of its records."""

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.zip import ZipFileSystem

from medr1_lib.data import images
from medr1_lib.data.question import ALL_LETTERS, LONGEST, Question
from medr1_lib.errors import DROP, InputError, refusing

MAX_BYTES = 2**30  # no image or JSON file of OmniMedVQA comes near one gibibyte
_AGAIN = "download the zip file again"
UNSOUND = re.compile(r"[\0\ud800-\udfff]")  # no UTF-8 text, and no file name, can hold these


class Source:
    """Real data in a folder, or in a zip file that is not unpacked; names are relative paths."""

    def __init__(self, root: Path, files: AbstractFileSystem) -> None:
        self.root, self._files = root, files
        self.pictures: dict[str, bytes] = {}  # those that a table holds itself

    def json_files(self, folder: str) -> list[str]:
        """The JSON files anywhere below `folder`, which lies at the root or one level under it."""
        top = self._files.find("", maxdepth=2, withdirs=True)
        places = [path for path in top if PurePosixPath(path).name == folder]
        names = {name for place in places for name in self._files.find(place)}
        # macOS leaves `._name.json` beside `name.json`
        return sorted(name for name in names if name.endswith(".json") and "/._" not in name)

    def locate(self, image: str) -> tuple[str, int | None]:
        """The file that a record means and, as in `scan.dcm#3`, the frame in it.

        A name that no file has may be the end of a path, lack its suffix, or be spelled as another
        system spells it, if only one file fits.
        """
        if image in self.pictures:
            return image, None
        named = dict.fromkeys([(image, None), images.framed(image)])
        for name, frame in named:
            if self._files.exists(name):
                return name, frame
        for name, frame in named:
            spelled = _spelled(name)
            ends = self._by_end.get(spelled.rpartition("/")[2], ())
            fits = {path: whole for whole, path in ends if f"/{whole}".endswith(f"/{spelled}")}
            exact = [path for path, whole in fits.items() if whole == spelled]
            if found := exact or sorted(fits):
                if len(found) > 1:
                    problem = f"may be any of {len(found)} files, such as {found[0]} or {found[1]}"
                    raise InputError(image, problem, "write more of its path")
                return found[0], frame
        return image, None  # reading it says that it is not there

    @cached_property
    def _by_end(self) -> dict[str, list[tuple[str, str]]]:
        """The last part of a path, with and without suffix: (path up to there, file)."""
        found = defaultdict(list)
        for path in self._files.find(""):
            for whole in {*map(_spelled, _decodings(path))}:
                for form in {whole, str(PurePosixPath(whole).with_suffix(""))}:
                    found[form.rpartition("/")[2]].append((form, path))
        return found

    def read(self, name: str) -> bytes:
        """The content of one file; an `InputError` if it is missing or damaged."""
        if name in self.pictures:
            return self.pictures[name]
        try:
            info: dict[str, Any] = self._files.info(name)
        except FileNotFoundError as error:
            remedy = "restore it, drop the record, or give as --root where its path starts"
            raise InputError(name, f"is not in {self.root}", remedy) from error
        except OSError as error:  # a name too long, links in a circle
            raise InputError(name, f"cannot be read ({error.strerror})", DROP) from error
        if info["type"] != "file":  # reading a pipe would wait for ever
            raise InputError(name, "cannot be read (it is no regular file)", DROP)
        if (size := info["size"]) > MAX_BYTES:
            raise InputError(name, f"claims to unpack to {size / 2**30:.0f} GiB", _AGAIN)
        told = "cannot be read", "check the file and its permissions"
        if self.root.is_file():
            told = "is damaged in the zip file", _AGAIN
        with refusing(name, *told):  # a damaged archive makes its decoders raise anything
            data: bytes = self._files.cat_file(name)
            if len(data) != size:
                raise EOFError(f"{len(data)} bytes, not {size}")
        return data


@contextmanager
def opened(root: Path) -> Iterator[Source]:
    """Open a folder or a zip file of real data; an `InputError` if it is neither."""
    if root.is_dir():
        yield Source(root, DirFileSystem(str(root.absolute())))
        return
    remedy = "give the folder or zip file of the data"
    if not root.is_file():
        problem = "is neither a folder nor a file" if root.exists() else "does not exist"
        raise InputError(root, problem, remedy)
    with refusing(root, "cannot be read", remedy, OSError):
        file = root.open("rb")
    with file:
        with refusing(root, "is not a sound zip file", f"give a folder, or {_AGAIN}"):
            archive = ZipFileSystem(file)
        for entry in archive.zip.infolist():
            if is_outside(entry.filename):
                problem = f"holds an entry that points outside it ({entry.filename})"
                raise InputError(root, problem, "do not use this file; download the published one")
            entry.filename = entry.filename.replace("\\", "/")  # as Windows programs write it
        archive.zip.NameToInfo = {entry.filename: entry for entry in archive.zip.infolist()}
        yield Source(root, archive)


def _spelled(name: str) -> str:
    """A path in one spelling; macOS takes letters and accents apart, Windows ignores case."""
    return unicodedata.normalize("NFC", name).casefold()


def _decodings(name: str) -> Iterator[str]:
    """The names that a zip file of macOS or of a Chinese Windows may mean by one."""
    yield name
    for encoding in ("utf-8", "gb18030"):
        with suppress(UnicodeError):
            yield name.encode("cp437").decode(encoding)


def is_outside(name: str) -> bool:
    """Whether a path leaves the folder it is relative to, as `Images/../../key` does."""
    parts = name.replace("\\", "/").split("/")
    return parts[0] == "" or ".." in parts or name[1:2] == ":"


@dataclass(frozen=True)
class Item:
    """A question, where its image lies, and where the record stands."""

    question: Question
    image: str  # as the record gives it; often holds the diagnosis, so no model ever sees it
    where: str  # the file and the number of the record, from 1, for messages
    patient: str = ""  # whose images stay on one side of the split; empty where nobody says
    split: str = "train"  # where nobody says; some of it is drawn for testing if none is there


def image_id(path: str) -> str:
    """A name for the image at `path` that gives nothing of the path, and so no label, away."""
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def cell(record: Mapping[str, Any], key: str) -> str:
    """A field as text without white space around it; an `InputError` if there is none."""
    found = record.get(key)
    if isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < 1e15:
        found = f"{found:.15g}"
    if not isinstance(found, str) or not found.strip():
        problem = f"{key!r} is no text or empty" if key in record else f"has no {key!r}"
        raise InputError("record", problem, "complete the record or drop it")
    if len(found) > LONGEST or UNSOUND.search(found):
        problem = f"{key!r} is no sound text, or over {LONGEST} characters long"
        raise InputError("record", problem, DROP)
    return found.strip()


def image_path(record: Mapping[str, Any], key: str) -> str:
    """The path of an image in a field; an `InputError` if it leads out of the data."""
    path = cell(record, key).replace("\\", "/")  # as programs on Windows write it
    if is_outside(path) or not path.isprintable():
        raise InputError("record", f"its image {path!r} points outside the data", DROP)
    return str(PurePosixPath(path))


def letter_of(answer: str, options: Sequence[str]) -> str:
    """The letter of the right option, from that letter or the option's text in either case.

    Example:
        >>> letter_of("Benign ", ["malignant", "benign"]), letter_of("a", ["malignant", "benign"])
        ('B', 'A')
    """
    # a ninth option has no letter; `Question` counts them before it looks at the letter
    letters = f"{ALL_LETTERS}?"[: len(options)]
    told, *texts = (" ".join(words.split()).casefold() for words in (answer, *options))
    found = {letter for letter, one in zip(letters, texts, strict=False) if one == told}
    meant = {letter for letter in letters if letter == answer.strip(" .:()").upper()}
    if found and meant - found:
        problem = f"the answer {answer!r} is a letter and the text of another option"
        raise InputError("record", problem, "give the letter of the right option and other texts")
    if not found | meant:
        raise InputError("record", f"none of its options is the answer {answer!r}", DROP)
    return min(found | meant)  # `Question` refuses a right option that occurs twice
