"""Records with pictures become a data set: converted, split, checked for leaks and written."""

import hashlib
import os
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.cluster.hierarchy import DisjointSet
from tqdm import tqdm

from medr1_lib import files
from medr1_lib.data import dataset, images
from medr1_lib.data.source import Item, Source
from medr1_lib.errors import InputError

MADE_BY = "python -m medr1_lib data import"
TEST_EVERY = 5  # one group in five is for testing, where the data has no split of its own
SIDES = ("train", "val", "test")
SAMPLE = 32  # images whose size tells how much disk all will need
DRAWN = "one {} in five is test, with all its questions, and more where answers are rare"


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

    With a `rule` the records come with a test split; without one, a fifth is drawn for it: whole
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
        pixels = {path: one.pixels for path, one in done.items()}
        sides = _apart(items, pixels, settings)
        sides = sides if rule else _drawn(sides, pixels)
        parts = {name: [one for one in sides if one.split == name] for name in SIDES}
        parts = {name: part for name, part in parts.items() if part}  # an empty one cannot be read
        patients = {item.patient for item in sides} - {""}
        card = {
            "made_by": MADE_BY,
            "root": source.root.name,
            **about,
            "split_rule": rule or DRAWN.format("patient" if patients else "image"),
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


def _keys(item: Item, pixels: Mapping[str, str]) -> list[tuple[str, str]]:
    """What must not be on both sides: the image by its pixels, and the patient if known."""
    image = ("image", pixels[item.image])
    return [image, ("patient", item.patient)] if item.patient else [image]


def _apart(items: list[Item], pixels: Mapping[str, str], how: ImportSettings) -> list[Item]:
    """The records of a given split, which is refused or cut down where its sides share something.

    Of the sides, that of test is kept, then that of `val`.
    """
    sides: dict[tuple[str, str], dict[str, Item]] = defaultdict(dict)
    for item in items:
        for key in _keys(item, pixels):
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
        if all(SIDES.index(item.split) == last[key] for key in _keys(item, pixels))
    ]


def _drawn(items: list[Item], pixels: Mapping[str, str]) -> list[Item]:
    """The records, some moved to test; what shares a patient or pixels moves together."""
    together = DisjointSet(key for item in items for key in _keys(item, pixels))
    for item in items:
        keys = _keys(item, pixels)
        together.merge(keys[0], keys[-1])
    members = defaultdict(list)
    for item in items:
        members[together[_keys(item, pixels)[0]]].append(item)
    parts, labels = dict[str, list[Item]](), dict[str, set[Hashable]]()
    for part in members.values():
        # by a hash of pixels, so that the order of the records does not matter
        name = min(pixels[one.image] for one in part)
        parts[name], asked = part, [one.question for one in part]
        if {one.split for one in part} != {"val"}:
            # by what the split is balanced, fine and coarse
            labels[name] = {""} | {q.modality for q in asked}
            labels[name] |= {(q.modality, q.question_type, q.answer_text.casefold()) for q in asked}
    test = {item.image for name in held_out(labels) for item in parts[name]}
    return [replace(item, split="test") if item.image in test else item for item in items]


def held_out(groups: Mapping[str, set[Hashable]]) -> set[str]:
    """The names of the groups for testing: one in five of each label, rare labels first.

    Every label with three or more groups gets at least one in test. If rare labels push a modality
    above one fifth, its frequent labels get fewer.
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
    rows = [(i.question.image_id, i.image, *done[i.image].known, i.patient) for i in items]
    table = pd.DataFrame(rows, columns=columns).drop_duplicates("image_id")
    return table.to_csv(index=False, lineterminator="\n")
