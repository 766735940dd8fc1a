"""Records with pictures become a data set: converted, split, checked for leaks and written."""

import hashlib
import os
import re
import shutil
import sys
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from fsspec import AbstractFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.zip import ZipFileSystem
from scipy.cluster.hierarchy import DisjointSet
from tqdm import tqdm

from medr1_lib import files
from medr1_lib.data import dataset, images
from medr1_lib.data.question import ALL_LETTERS, LONGEST, Question
from medr1_lib.errors import InputError, refusing

MADE_BY = "python -m medr1_lib data import"
TEST_EVERY = 5  # one group in five is for testing, where the data has no split of its own
SAMPLE = 32  # images whose size tells how much disk all will need
DRAWN = "one image in five is test, with all its questions, and more where answers are rare"
DRAWN_PATIENTS = "one patient in five is test, with all images, and more where answers are rare"
SIDES = ("train", "val", "test")
DROP = "correct the record or drop it"
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
            remedy = "restore the file or drop the record"
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
        again = "give a folder, or download the zip file again"
        with refusing(root, "is not a sound zip file", again):
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
    split: str = ""  # empty if it has to be drawn


@dataclass(frozen=True)
class ImportSettings:
    """How an import goes about it."""

    side: int = images.SIDE  # the longest that an image keeps, in pixels
    limits: images.Limits | None = None  # black and white, where grey has more than 8 bits
    strict: bool = False  # write nothing if a record is bad
    allow_leaks: bool = False  # a split that is given may have a patient or an image on both sides
    drop_leaks: bool = False  # leave such records out of the larger side
    again: bool = False  # replace what an import wrote before


DEFAULT = ImportSettings()


@dataclass(frozen=True)
class Converted:
    """An image as PNG, and what its file is known by."""

    png: Path
    pixels: str  # a hash; equal where two images are
    flat: bool  # see `images.is_flat`
    known: tuple[str, int, int, int]  # its file's SHA-256 and bytes, width and height as PNG


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


def write(
    source: Source,
    records: list[Item],
    bad: list[InputError],
    out: Path,
    rule: str,
    about: Mapping[str, Any],
    settings: ImportSettings = DEFAULT,
) -> dict[str, Any]:
    """Convert the images of records, split the records, and write them as a data set.

    With a `rule` the records come with a split; without one, a fifth is drawn for testing: whole
    patients where they are known, else images, stratified by the right answer. Converted images
    stay in `<out>.converted` until the data set is whole, and for `again` if a record was bad.

    Gives what `card.json` says. Bad records are `skipped`; it is an error if all of them are, or if
    a patient or an image is on both sides of a split that was given.
    """
    made, converted = out / dataset.CARD, Path(f"{out}.converted")
    before = made.read_bytes() if made.is_file() else b""
    with files.one_writer(converted):
        if not settings.again and b'"skipped": []' in before:  # killed after all was done but this
            shutil.rmtree(converted)
        if not (settings.again and MADE_BY.encode() in before):
            files.require_free(out)
        results = _convert_all(source, records, converted, out, settings)
        done = {path: one for path, one in results.items() if isinstance(one, Converted)}
        items, failed = _with_images(records, results)
        bad = [*bad, *failed]
        if bad and (settings.strict or not items):
            problem = f"{bad[0].problem} ({len(bad)} of {len(bad) + len(items)} records are bad)"
            raise InputError(bad[0].where, problem, bad[0].remedy)
        sides = _apart(items, done, settings) if rule else _drawn(items, done)
        parts = {name: [one for one in sides if one.split == name] for name in SIDES}
        parts = {name: part for name, part in parts.items() if part}  # an empty one cannot be read
        patients = {item.patient for item in sides} - {""}
        card = {
            "made_by": MADE_BY,
            "root": source.root.name,
            **about,
            "split_rule": rule or (DRAWN_PATIENTS if patients else DRAWN),
            "longest_side_px": settings.side,
            "grey_limits": settings.limits,
            "records": {name: len(part) for name, part in parts.items()},
            "images": len({item.image for item in sides}),
            "patients": len(patients),
            "skipped": [vars(error) for error in bad],
            "dropped_leaks": len(items) - len(sides),
            "suspicious": sorted(path for path, one in done.items() if one.flat),
            "one_sided": _one_sided(parts),
            "use": "research under the licences of the source data; not for clinical use",
        }

        def row(item: Item) -> dict[str, Any]:
            content = done[item.image].png.read_bytes()
            return item.question.record({"bytes": content, "path": None})

        rows = {name: map(row, part) for name, part in parts.items()}
        beside = {dataset.IMAGES: _images_table(sides, done)}
        dataset.write(out, rows, card, beside=beside, again=settings.again)
    if not bad:
        shutil.rmtree(converted)
    return card


def _convert_all(
    source: Source, items: list[Item], converted: Path, out: Path, settings: ImportSettings
) -> dict[str, Converted | InputError]:
    """Convert all images, but first a few, which tell whether the disk has room for the rest."""
    paths = sorted({item.image for item in items})
    few = paths[:: len(paths) // SAMPLE] if len(paths) > 4 * SAMPLE else []
    first = convert(source, few, converted, settings).values()
    if sizes := [one.png.stat().st_size for one in first if isinstance(one, Converted)]:
        each, free = sum(sizes) / len(sizes), shutil.disk_usage(converted).free
        after, extra = each * len(items), each * (len(paths) + len(items))
        need = f"about {(after + extra) / 2**30:.1f} GiB while it works, {after / 2**30:.1f} after"
        print(f"disk: {need}, {free / 2**30:.1f} free", file=sys.stderr)
        if free < after + extra:
            problem = f"needs {need}; {free / 2**30:.1f} GiB are free"
            raise InputError(out, problem, "make room or choose another disk")
    return convert(source, paths, converted, settings)


def convert(
    source: Source, paths: Sequence[str], folder: Path, settings: ImportSettings = DEFAULT
) -> dict[str, Converted | InputError]:
    """Convert images to PNG files, in parallel, or say what is wrong; `folder` may hold some."""

    def converted(path: str) -> Converted | InputError:
        try:
            name, frame = source.locate(path)
            data = source.read(name)
            digest = hashlib.sha256(data).hexdigest()
            # changes with the image, so that an old conversion is never taken for a new one
            made_from = f"{path} {digest} {settings.side} {settings.limits}"
            target = folder / f"{hashlib.sha256(made_from.encode()).hexdigest()[:32]}.png"
            if target.exists():
                image = dataset.open_image(target.read_bytes(), path)
            else:
                image = images.load(data, settings.side, path, frame, settings.limits)
                files.atomic_write(target, images.png(image))
        except InputError as error:
            return error
        pixels, known = dataset.image_hash(image), (digest, len(data), image.width, image.height)
        return Converted(target, pixels, images.is_flat(image), known)

    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        with files.writing(folder, "make room, and the same command goes on from here"):
            folder.mkdir(parents=True, exist_ok=True)
            done = pool.map(converted, paths)
            bar = tqdm(done, "images", len(paths), unit="image", disable=not paths)
            return dict(zip(paths, bar, strict=True))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for the images at hand, not for all


def _with_images(
    records: Iterable[Item], results: Mapping[str, Converted | InputError]
) -> tuple[list[Item], list[InputError]]:
    """The records that have an image, what is asked again with an id of its own; and the others."""
    items, bad, met = list[Item](), list[InputError](), Counter[str]()
    for item in records:
        if isinstance(error := results[item.image], InputError):
            problem = f"its image {item.image} {error.problem}"
            bad.append(InputError(item.where, problem, error.remedy))
            continue
        name = item.question.id
        met[name] += 1
        if met[name] > 1:
            item = replace(item, question=replace(item.question, id=f"{name}-{met[name]}"))
        items.append(item)
    return items, bad


Key = tuple[str, str]


def _keys(item: Item, done: Mapping[str, Converted]) -> list[Key]:
    """What must not be on both sides: the image by its pixels, and the patient if known."""
    image = ("image", done[item.image].pixels)
    return [image, ("patient", item.patient)] if item.patient else [image]


def _apart(items: list[Item], done: Mapping[str, Converted], how: ImportSettings) -> list[Item]:
    """The records of a given split, which is refused or cut down where its sides share something.

    Of the sides, that of test is kept, then that of `val`.
    """
    sides: dict[Key, dict[str, Item]] = defaultdict(dict)
    for item in items:
        for key in _keys(item, done):
            sides[key].setdefault(item.split, item)
    crossing = [key for key in sorted(sides) if len(sides[key]) > 1]
    if crossing and not (how.allow_leaks or how.drop_leaks):
        (kind, name), (one, other) = crossing[0], [*sides[crossing[0]].values()][:2]
        what = f"patient {name}" if kind == "patient" else "an image of the same pixels"
        problem = f"{what} is in {one.split}, and in {other.split} at {other.where}"
        remedy = f"move one of them, or use --drop-leaks or --allow-leaks ({len(crossing)} such)"
        raise InputError(one.where, problem, remedy)
    if not how.drop_leaks:
        return items
    last = {key: max(map(SIDES.index, side)) for key, side in sides.items()}
    return [
        item
        for item in items
        if all(SIDES.index(item.split) == last[key] for key in _keys(item, done))
    ]


def _drawn(items: list[Item], done: Mapping[str, Converted]) -> list[Item]:
    """The records with a split; what shares a patient or pixels falls on one side."""
    together = DisjointSet(key for item in items for key in _keys(item, done))
    for item in items:
        keys = _keys(item, done)
        together.merge(keys[0], keys[-1])
    members = defaultdict(list)
    for item in items:
        members[together[_keys(item, done)[0]]].append(item)
    parts, labels = dict[str, list[Item]](), dict[str, set[Hashable]]()
    for part in members.values():
        # by a hash of pixels, so that the order of the records does not matter
        name = min(done[one.image].pixels for one in part)
        parts[name], asked = part, [one.question for one in part]
        if {one.split for one in part} != {"val"}:
            # by what the split is balanced, fine and coarse
            labels[name] = {""} | {q.modality for q in asked}
            labels[name] |= {(q.modality, q.question_type, q.answer_text.casefold()) for q in asked}
    test = {item.image for name in held_out(labels) for item in parts[name]}
    return [
        replace(item, split="test" if item.image in test else item.split or "train")
        for item in items
    ]


def held_out(groups: Mapping[str, set[Hashable]]) -> set[str]:
    """The names of the groups for testing: one in five of each label, rare labels first.

    A label of three groups or more has one there at least. What that is more than its fifth, the
    more frequent labels of its modality have less. One of fewer counts among coarser labels only.
    """
    members = defaultdict(list)
    for name in sorted(groups):
        for label in groups[name]:
            members[label].append(name)
    test, train = set[str](), set[str]()
    over = defaultdict[str | None, float](float)  # by modality: groups in `test` beyond a fifth
    for label in sorted(members, key=lambda one: (len(members[one]), repr(one))):
        modality = label[0] if isinstance(label, tuple) else None
        names, fifth = members[label], len(members[label]) / TEST_EVERY
        if share := max(round(fifth) - max(0, int(over[modality])), len(names) >= 3):
            missing = max(0, share - len(test.intersection(names)))
            free = [name for name in names if name not in test | train]
            test.update(free[:missing])
            train.update(free[missing:])
            if modality:
                over[modality] += len(test.intersection(names)) - fifth
    return test or set(sorted(groups)[: len(groups) > 1])


def _one_sided(parts: Mapping[str, list[Item]]) -> list[str]:
    """Right answers that training or testing never shows, which no score can speak of."""
    asked = ([one.question for one in parts.get(name, ())] for name in ("train", "test"))
    train, test = ({(one.answer_text, one.modality) for one in side} for side in asked)
    lost = train ^ test if train and test else set()
    return sorted(f"{answer} ({modality})" for answer, modality in lost)


def _images_table(items: Iterable[Item], done: Mapping[str, Converted]) -> str:
    """The way back from an `image_id` to its source, as CSV."""
    columns = ["image_id", "path", "sha256", "bytes", "width", "height", "patient"]
    rows = {
        item.question.image_id: (item.image, *done[item.image].known, item.patient)
        for item in items
    }
    table = pd.DataFrame([(name, *row) for name, row in rows.items()], columns=columns)
    return table.to_csv(index=False, lineterminator="\n")
