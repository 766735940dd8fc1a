"""Real questions and images, made into a data set like the drawn one."""

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from medr1_lib import files
from medr1_lib.data import dataset, images, omnimedvqa
from medr1_lib.data.archive import Source, opened
from medr1_lib.data.omnimedvqa import Item
from medr1_lib.errors import InputError

TEST_EVERY = 5  # one image in five is for testing, where the data has no split of its own


@dataclass(frozen=True)
class Imported:
    """What an import made of its input.

    Attributes:
        out: The data set.
        records: Number of questions in each split.
        images: Number of images.
        skipped: What was left out, and why.
    """

    out: Path
    records: dict[str, int]
    images: int
    skipped: list[InputError]


def run(
    root: Path, out: Path, splits: Path | None = None, by: str = "modality", side: int = images.SIDE
) -> Imported:
    """Import OmniMedVQA, or anything laid out like it, as a data set for `dataset.read`.

    Converted images stay in `<out>.converted` until the data set is whole, so that the same call
    goes on where an interrupted one stopped.

    Args:
        root: Folder or zip with the images, and with `QA_information` unless `splits` is given.
        out: The folder to make.
        splits: Folder or zip file with Med-R1's `Splits`. Without it, one image in five of each
            modality goes to the test split, with all its questions.
        by: Which of Med-R1's two splits to use: `modality` or `question_type`.
        side: Longest side of an image, in pixels.

    Raises:
        InputError: If nothing can be imported or written. Single bad records are skipped.
    """
    files.require_free(out)
    with opened(root) as source:
        parts, skipped = _released(splits, by) if splits else _unsplit(source)
        items = [item for part in parts.values() for item in part]
        found, bad = convert(source, sorted({i.image for i in items}), _converted(out), side)
    skipped += [_at(item, bad[item.image]) for item in items if item.image in bad]
    parts = {name: [i for i in part if i.image in found] for name, part in parts.items()}
    if not any(parts.values()):
        if not any(_converted(out).iterdir()):
            _converted(out).rmdir()
        problem = f"none of its {len(skipped)} records could be imported"
        raise InputError(root, problem, f"see the first of them: {skipped[0]}")
    if not splits:
        parts = by_image(parts["all"], found)
    parts = {name: part for name, part in parts.items() if part}  # an empty one cannot be read back
    counts = {name: len(part) for name, part in parts.items()}
    done = Imported(out, counts, len(found), skipped)
    rows = {name: _rows(part, found) for name, part in parts.items()}
    dataset.write(out, rows, _card(done, root, splits, by, side))
    shutil.rmtree(_converted(out))
    return done


def convert(
    source: Source, paths: Iterable[str], folder: Path, side: int
) -> tuple[dict[str, Path], dict[str, InputError]]:
    """Convert images to small PNG files, in parallel; those already in `folder` are kept.

    Args:
        source: Where the images are.
        paths: The images, as the records name them.
        folder: Where the PNG files go.
        side: Longest side, in pixels.

    Returns:
        The file of each image that could be read, and what is wrong with each of the others.

    Raises:
        InputError: If `folder` cannot be written.
    """
    targets = {path: folder / f"{_key(source, path, side)}.png" for path in paths}
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        done = pool.map(lambda path: _convert(source, path, targets[path], side), targets)
        bar = tqdm(done, desc="images", total=len(targets), unit="image")
        problems = dict(zip(targets, bar, strict=True))
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        remedy = (
            "make room or choose another folder, then run the same command; it goes on from here"
        )
        raise InputError(folder, problem, remedy) from error
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C waits for the images at hand, not for all
    bad = {path: problem for path, problem in problems.items() if problem}
    return {path: target for path, target in targets.items() if path not in bad}, bad


def by_image(items: Iterable[Item], files: Mapping[str, Path]) -> dict[str, list[Item]]:
    """One image in five of each modality for testing, every question of an image on one side.

    Images with equal pixels count as one. The choice follows from the pixels alone.

    Args:
        items: What to split.
        files: The converted image of each path.
    """
    digests = {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()}
    by_modality = defaultdict(set)
    parts: dict[str, list[Item]] = {"train": [], "test": []}
    for item in items:
        by_modality[item.question.modality].add(digests[item.image])
    middle = TEST_EVERY // 2  # rounds the share of a small modality to the nearest
    test = {d for group in by_modality.values() for d in sorted(group)[middle::TEST_EVERY]}
    for item in items:
        parts["test" if digests[item.image] in test else "train"].append(item)
    return parts


def _released(splits: Path, by: str) -> tuple[dict[str, list[Item]], list[InputError]]:
    with opened(splits) as source:
        files = omnimedvqa.with_both_labels(omnimedvqa.splits(source))
    chosen = [file for file in files if file.kind == by]
    if not chosen:
        raise InputError(splits, f"holds no Splits/{by}", "choose the other one with --by")
    parts: dict[str, list[Item]] = {"train": [], "test": []}
    for file in chosen:
        parts[file.split] += file.items
    return parts, [error for file in chosen for error in file.bad]


def _unsplit(source: Source) -> tuple[dict[str, list[Item]], list[InputError]]:
    files = omnimedvqa.qa_information(source)
    items = [item for file in files for item in file.items]
    return {"all": items}, [error for file in files for error in file.bad]


def _converted(out: Path) -> Path:
    return out.with_name(out.name + ".converted")


def _key(source: Source, path: str, side: int) -> str:
    """Changes with the image's content, so that an old conversion is never taken for a new one."""
    stamp = source.stamp(source.locate(path))
    return hashlib.sha256(f"{path} {stamp} {side}".encode()).hexdigest()[:32]


def _convert(source: Source, path: str, target: Path, side: int) -> InputError | None:
    if target.exists():
        return None
    try:
        data = images.png(images.load(source.read(source.locate(path)), side, where=path))
    except InputError as error:
        return error
    files.atomic_write(target, data)
    return None


def _at(item: Item, error: InputError) -> InputError:
    return InputError(item.where, f"its image {item.image} {error.problem}", error.remedy)


def _rows(items: Iterable[Item], files: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    for item in items:
        yield item.question.record({"bytes": files[item.image].read_bytes(), "path": None})


def _card(done: Imported, root: Path, splits: Path | None, by: str, side: int) -> dict[str, Any]:
    by_image_rule = "one image in five of each modality is test, with all its questions"
    return {
        "made_by": "python -m medr1_lib data import",
        "root": root.name,
        "splits": splits.name if splits else None,
        "split_rule": f"Med-R1's released split by {by}" if splits else by_image_rule,
        "longest_side_px": side,
        "records": done.records,
        "images": done.images,
        "skipped": [{"where": error.where, "problem": error.problem} for error in done.skipped],
        "use": "research under the licences of the source data; not for clinical use",
    }
