"""OmniMedVQA: its records as published and as Med-R1 split them, and their import as a data set."""

import errno
import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.zip import ZipFileSystem
from tqdm import tqdm

from medr1_lib import files
from medr1_lib.data import dataset, images
from medr1_lib.data.question import ALL_LETTERS, Question, canonical
from medr1_lib.errors import InputError

MAX_BYTES = 2**30  # no image or JSON file of OmniMedVQA comes near one gibibyte
TEST_EVERY = 5  # one image in five is for testing, where the data has no split of its own
LONGEST = 10_000  # characters of a text; the longest of the release has under 1,000
_UNSOUND = re.compile(r"[\0\ud800-\udfff]")  # no UTF-8 text, and no file name, can hold these
_SOLUTION = re.compile(r"\s*<answer>\s*([A-Z])\s*</answer>\s*")
_DROP = "correct the record or drop it"
_AGAIN = "download the zip file again"


class Source:
    """Real data in a folder, or in a zip file that is not unpacked; names are relative paths."""

    def __init__(self, root: Path, files: AbstractFileSystem) -> None:
        self.root, self._files = root, files
        self._top = [*map(PurePosixPath, files.find("", maxdepth=2, withdirs=True))]
        found = [path for path in self._top if path.name.lower() == "images"]
        self._images = min(found, key=lambda path: (len(path.parts), path), default=None)

    def json_files(self, folder: str) -> list[str]:
        """The JSON files anywhere below `folder`, which lies at the root or one level under it."""
        places = [str(path) for path in self._top if path.name == folder]
        names = {name for place in places for name in self._files.find(place)}
        # macOS leaves `._name.json` beside `name.json`
        return sorted(name for name in names if name.endswith(".json") and "/._" not in name)

    def locate(self, image: str) -> str:
        """The name of an image that a record calls `Images/...`, here perhaps `images/...`."""
        head, _, rest = image.partition("/")
        return f"{self._images}/{rest}" if self._images and head.lower() == "images" else image

    def read(self, name: str) -> bytes:
        """The content of one file; an `InputError` if it is missing or damaged."""
        size = self._info(name)["size"]
        if size > MAX_BYTES:
            raise InputError(name, f"claims to unpack to {size / 2**30:.0f} GiB", _AGAIN)
        try:
            data: bytes = self._files.cat_file(name)
            if len(data) != size:
                raise EOFError(f"{len(data)} bytes, not {size}")
        except Exception as error:  # a damaged archive makes its decoders raise anything
            if self.root.is_file():
                raise InputError(name, f"is damaged in the zip file ({error})", _AGAIN) from error
            problem = f"cannot be read ({getattr(error, 'strerror', error)})"
            raise InputError(name, problem, "check the file and its permissions") from error
        return data

    def stamp(self, name: str) -> str:
        """Changes when the file changes, without reading it; an `InputError` as of `read`."""
        info = self._info(name)
        return "-".join(str(info[key]) for key in ("size", "CRC", "mtime") if key in info)

    def _info(self, name: str) -> dict[str, Any]:
        try:
            info: dict[str, Any] = self._files.info(name)
        except FileNotFoundError as error:
            remedy = "restore the file or drop the record"
            raise InputError(name, f"is not in {self.root}", remedy) from error
        except OSError as error:  # a name too long, links in a circle
            raise InputError(name, f"cannot be read ({error.strerror})", _DROP) from error
        if info["type"] != "file":  # reading a pipe would wait for ever
            raise InputError(name, "cannot be read (it is no regular file)", _DROP)
        return info


@contextmanager
def opened(root: Path) -> Iterator[Source]:
    """Open a folder or a zip file of real data; an `InputError` if it is neither."""
    if root.is_dir():
        yield Source(root, DirFileSystem(str(root.absolute())))
        return
    try:
        if root.exists() and not root.is_file():
            raise OSError(errno.EINVAL, "neither a folder nor a file")
        file = root.open("rb")
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        problem = "does not exist" if missing else f"cannot be read ({error.strerror})"
        raise InputError(root, problem, "give the folder or zip file of the data") from error
    with file:
        try:
            archive = ZipFileSystem(file)
        except Exception as error:  # as in `Source.read`
            remedy = "give a folder, or download the zip file again"
            raise InputError(root, f"is not a sound zip file ({error})", remedy) from error
        for entry in archive.zip.infolist():
            if is_outside(entry.filename):
                problem = f"holds an entry that points outside it ({entry.filename})"
                raise InputError(root, problem, "do not use this file; download the published one")
            entry.filename = entry.filename.replace("\\", "/")  # as Windows programs write it
        archive.zip.NameToInfo = {entry.filename: entry for entry in archive.zip.infolist()}
        yield Source(root, archive)


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


@dataclass(frozen=True)
class RecordFile:
    """One JSON file of records: the sound ones, and what is wrong with the others."""

    path: str  # relative to the root that was read
    kind: str  # `modality` or `question_type` in Med-R1's layout, `qa` in OmniMedVQA's own
    name: str  # pairs a test file with its train file (`X-Ray`)
    split: str  # `train` or `test`; empty in OmniMedVQA's own layout, which has none
    items: list[Item]
    bad: list[InputError]


def read_qa(source: Source) -> list[RecordFile]:
    """Read OmniMedVQA's own layout, `QA_information/**/*.json` (Hu et al., CVPR 2024).

    Bad records are collected; only a missing layout or a file that is no JSON list is an error.
    """
    paths = source.json_files("QA_information")
    if not paths:
        remedy = "give the folder or zip file with QA_information/ and Images/, or use --splits"
        raise InputError(source.root, "holds no QA_information/*.json", remedy)
    return [_parse(source, path, ("qa", PurePosixPath(path).stem, ""), _from_qa) for path in paths]


def read_splits(source: Source) -> list[RecordFile]:
    """Read Med-R1's layout, `Splits/{modality,question_type}/{train,test}/*.json` (2503.13939).

    The root may be `Splits` itself. A record's modality or question type is known only from the
    name of its file; the other is `unknown`. Bad records are collected, as by `read_qa`; a file
    whose name is not of the release is an error.
    """
    kinds = ("modality", "question_type")
    paths = source.json_files("Splits") or [p for kind in kinds for p in source.json_files(kind)]
    found = []
    for path in paths:
        *_, kind, split, file_name = ("", "", *PurePosixPath(path).parts)
        if kind not in kinds:
            continue
        name, _, suffix = file_name.removesuffix(".json").rpartition("_")
        if split not in ("train", "test") or suffix != split:
            remedy = "keep the released names: train/<name>_train.json and test/<name>_test.json"
            raise InputError(path, "does not say whether it is train or test", remedy)
        try:
            labels: Any = dict.fromkeys(kinds, "unknown") | {kind: canonical(kind, name)}
        except InputError as error:
            raise InputError(path, error.problem, error.remedy) from error
        found.append(_parse(source, path, (kind, name, split), partial(_from_split, **labels)))
    if not found:
        remedy = "give the folder that holds Splits/, or Splits/ itself"
        raise InputError(source.root, "holds no Splits/modality or Splits/question_type", remedy)
    return found


def strict(files: list[RecordFile]) -> list[RecordFile]:
    """The same files; raises what is wrong with the first bad record, if there is one."""
    for error in (error for file in files for error in file.bad):
        raise error
    return files


def with_both_labels(files: list[RecordFile]) -> list[RecordFile]:
    """Fill in the label that a split file does not know from the other folder's same record."""

    def same(question: Question) -> tuple[object, ...]:
        return question.image_id, question.question, question.options, question.answer

    def labelled(item: Item) -> Item:
        return replace(item, question=replace(item.question, **labels[same(item.question)]))

    labels: dict[tuple[object, ...], dict[str, Any]] = defaultdict(dict)
    for file in files:
        for item in file.items:
            labels[same(item.question)][file.kind] = getattr(item.question, file.kind)
    return [replace(file, items=[*map(labelled, file.items)]) for file in files]


def _parse(
    source: Source,
    path: str,
    place: tuple[str, str, str],
    read: Callable[[dict[str, Any]], tuple[Question, str]],
) -> RecordFile:
    content = source.read(path)
    try:
        text = content.decode("utf-8-sig")
        loaded = json.loads(text, parse_int=float)  # `int` refuses very many digits
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 text ({error})", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        remedy = "download the file again, it may be cut short"
        raise InputError(path, f"is not sound JSON ({error})", remedy) from error
    if not isinstance(loaded, list):
        raise InputError(path, "is not a list of records", "wrap the records in [ ]")
    if not loaded:
        raise InputError(path, "holds no record", "download the file again or remove it")
    file = RecordFile(path, *place, items=[], bad=[])
    for number, record in enumerate(loaded, start=1):
        where = f"{path}, record {number}"
        try:
            if not isinstance(record, dict):
                raise InputError(where, "is not a JSON object", _DROP)
            question, image = read(record)
            file.items.append(Item(question, image, where))
        except InputError as error:
            file.bad.append(InputError(where, error.problem, error.remedy))
    return file


def image_id(path: str) -> str:
    """A name for the image at `path` that gives nothing of the path, and so no label, away."""
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def parse_problem(problem: str) -> tuple[str, tuple[str, ...]]:
    """Split Med-R1's `stem A)one, B)two` into the stem and its options.

    The stem and options may hold such markers too (`hepatitis A) acute?`), so the longest chain of
    letters counts, and of several the last one without an empty option.

    Example:
        >>> parse_problem("Which scan? A)CT, plain, B)MRI")
        ('Which scan?', ('CT, plain', 'MRI'))
    """
    markers = [
        " A)",
        *(f", {letter})" for letter in ALL_LETTERS[1:] + "I"),
    ]  # a 9th is refused later
    for count in range(len(markers), 0, -1):
        for empty in (False, True):  # an empty option is found too, and refused by `Question`
            stem, options = problem, list[str]()
            for marker in reversed(markers[:count]):
                place = stem.rfind(marker)
                while place >= 0 and not (empty or stem[place + len(marker) :].strip()):
                    place = stem.rfind(marker, 0, place)
                if place < 0:
                    break
                options.append(stem[place + len(marker) :])
                stem = stem[:place]
            else:
                return stem, tuple(options[::-1])
    raise InputError("problem", "has no options", "write them as `stem A)one, B)two`")


def _from_split(record: dict[str, Any], modality: str, question_type: str) -> tuple[Question, str]:
    image, solution = _image(record, "image"), _text(record, "solution")
    stem, options = parse_problem(_text(record, "problem"))
    answer = _SOLUTION.fullmatch(solution)
    if answer is None:
        remedy = "write it as `<answer> B </answer>`"
        raise InputError("record", f"the solution {solution!r} is not one capital letter", remedy)
    folders = image.split("/")[:-1]  # Images/<data set>/...
    origin = folders[1] if len(folders) > 1 else "OmniMedVQA"
    labels = modality, question_type, image_id(image), origin
    return Question(stem, options, answer[1], *labels), image


def _from_qa(record: dict[str, Any]) -> tuple[Question, str]:
    image, stem = _image(record, "image_path"), _text(record, "question")
    keys = sorted(key for key in record if key.startswith("option_"))
    options = tuple(_text(record, key) for key in keys if record[key] is not None)
    truth = _text(record, "gt_answer")
    if truth not in options:
        raise InputError("record", f"none of its options is the answer {truth!r}", _DROP)
    # a ninth option has no letter; `Question` counts them before it looks at the letter
    letter = f"{ALL_LETTERS}?"[min(options.index(truth), len(ALL_LETTERS))]
    # one record of the release (in `Chest CT Scan.json`) calls the field `modality`
    named = "modality_type" if "modality_type" in record else "modality"
    modality = canonical("modality", _text(record, named))
    question_type = canonical("question_type", _text(record, "question_type"))
    labels = modality, question_type, image_id(image), _text(record, "dataset")
    return Question(stem, options, letter, *labels), image


def _text(record: dict[str, Any], key: str) -> str:
    text = record.get(key)
    if not isinstance(text, str) or not text.strip():
        problem = f"{key!r} is no text or empty" if key in record else f"has no {key!r}"
        raise InputError("record", problem, "complete the record or drop it")
    if len(text) > LONGEST or _UNSOUND.search(text):
        problem = f"{key!r} is no sound text, or over {LONGEST} characters long"
        raise InputError("record", problem, _DROP)
    return text


def _image(record: dict[str, Any], key: str) -> str:
    path = _text(record, key).replace("\\", "/")  # as programs on Windows write it
    if is_outside(path) or not path.isprintable():
        raise InputError("record", f"its image {path!r} points outside the data", _DROP)
    return str(PurePosixPath(path))


def import_data(
    root: Path, out: Path, splits: Path | None = None, by: str = "modality", side: int = images.SIDE
) -> dict[str, Any]:
    """Import OmniMedVQA, or anything laid out like it, as a data set for `dataset.read`.

    `root` and `splits` are folders or zip files; without `splits` (Med-R1's, by modality or by
    question type), one image in five of each modality goes to the test split, with all its
    questions. Converted images, their longest side at most `side` pixels, stay in `<out>.converted`
    until the data set is whole, so that the same call goes on where an interrupted one stopped.

    Gives what `card.json` says. Bad records are `skipped`; it is an error if all of them are bad.
    """
    files.require_free(out)
    converted = Path(f"{out}.converted")
    with opened(root) as source, files.one_writer(converted):
        if splits:
            with opened(splits) as other:
                read = [file for file in with_both_labels(read_splits(other)) if file.kind == by]
            if not read:
                raise InputError(splits, f"holds no Splits/{by}", "choose the other one with --by")
        else:
            read = read_qa(source)
        items = [item for file in read for item in file.items]
        results = convert(source, sorted({item.image for item in items}), converted, side)
        skipped = [error for file in read for error in file.bad]
        for item in items:
            if isinstance(error := results[item.image], InputError):
                problem = f"its image {item.image} {error.problem}"
                skipped.append(InputError(item.where, problem, error.remedy))
        pngs = {path: result for path, result in results.items() if isinstance(result, Path)}
        if not pngs:
            problem = f"none of its {len(skipped)} records could be imported"
            raise InputError(root, problem, f"see the first of them: {skipped[0]}")
        held_out = set() if splits else _held_out(items, pngs)
        parts: dict[str, list[Item]] = {"train": [], "test": []}
        for file in read:
            for item in file.items:
                if item.image in pngs:
                    drawn = "test" if item.image in held_out else "train"
                    parts[file.split or drawn].append(item)
        # a split without a record could not be read back
        parts = {name: part for name, part in parts.items() if part}
        by_image = "one image in five of each modality is test, with all its questions"
        card = {
            "made_by": "python -m medr1_lib data import",
            "root": root.name,
            "splits": splits.name if splits else None,
            "split_rule": f"Med-R1's released split by {by}" if splits else by_image,
            "longest_side_px": side,
            "records": {name: len(part) for name, part in parts.items()},
            "images": len(pngs),
            "skipped": [vars(error) for error in skipped],
            "use": "research under the licences of the source data; not for clinical use",
        }

        def row(item: Item) -> dict[str, Any]:
            return item.question.record({"bytes": pngs[item.image].read_bytes(), "path": None})

        dataset.write(out, {name: map(row, part) for name, part in parts.items()}, card)
    shutil.rmtree(converted)
    return card


def convert(
    source: Source, paths: Sequence[str], folder: Path, side: int
) -> dict[str, Path | InputError]:
    """Convert images to PNG files, in parallel; those already in `folder` are kept.

    Gives each path's PNG file, or what is wrong with the image.
    """

    def converted(path: str) -> Path | InputError:
        name = source.locate(path)
        try:
            # changes with the image, so that an old conversion is never taken for a new one
            key = hashlib.sha256(f"{path} {source.stamp(name)} {side}".encode()).hexdigest()
            target = folder / f"{key[:32]}.png"
            if not target.exists():
                image = images.load(source.read(name), side, where=path)
                files.atomic_write(target, images.png(image))
        except InputError as error:
            return error
        return target

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        bar = tqdm(pool.map(converted, paths), desc="images", total=len(paths), unit="image")
        return dict(zip(paths, bar, strict=True))
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        remedy = "make room or choose another folder; the same command goes on from here"
        raise InputError(folder, problem, remedy) from error
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for the images at hand, not for all


def _held_out(items: Iterable[Item], pngs: Mapping[str, Path]) -> set[str]:
    """The images for testing: one in five of each modality, and those with the same pixels."""
    digests = {path: hashlib.sha256(png.read_bytes()).hexdigest() for path, png in pngs.items()}
    by_modality = defaultdict(set)
    for item in items:
        if item.image in digests:
            by_modality[item.question.modality].add(digests[item.image])
    middle = TEST_EVERY // 2  # rounds the share of a small modality to the nearest
    test = {d for group in by_modality.values() for d in sorted(group)[middle::TEST_EVERY]}
    return {path for path, digest in digests.items() if digest in test}
