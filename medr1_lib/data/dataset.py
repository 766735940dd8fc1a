"""Data sets on disk: a folder with the splits `train` and `test`, written whole or not at all."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
import pyarrow.compute as pc
from datasets.arrow_writer import ArrowWriter
from PIL import Image

from medr1_lib.data import images
from medr1_lib.data.question import Question
from medr1_lib.errors import InputError, refusing
from medr1_lib.files import read_rows, whole_folder, writing

CARD = "card.json"  # beside the splits: the command, seed and counts behind the data
IMAGES = "images.csv"  # beside the splits of real data: file and patient behind every image
AGAIN = "build or import it again"
_TEXT = datasets.Value("string")
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "question": _TEXT,
        "options": datasets.List(_TEXT),
        **dict.fromkeys(("answer", "answer_text", "modality", "question_type"), _TEXT),
        **dict.fromkeys(("image_id", "source", "scene", "id"), _TEXT),
    }
)
Rows = Iterable[dict[str, Any]]


def write(
    out: Path,
    splits: Mapping[str, Rows],
    card: Mapping[str, Any],
    beside: Mapping[str, str] | None = None,
    again: bool = False,
) -> datasets.DatasetDict:
    """Write rows (`Question.record`) as a data set that `datasets.load_from_disk` reads.

    Rows are streamed, so they may be drawn while they are written. The folder, which must be free
    unless it is written `again`, gets its name only when it is complete: with `card` as its
    `card.json` and text files that lie `beside` it.
    """
    remedy = "free some space or choose a folder you may write to"
    with writing(out, remedy), whole_folder(out, again) as whole:
        streams, tables = whole / "streams", {}
        streams.mkdir()
        for name, rows in splits.items():
            # Not `Dataset.from_generator`: it pickles the generator for a fingerprint, prints a
            # second progress bar and hides a full disk in an error of its own.
            file = str(streams / name)
            with ArrowWriter(path=file, features=FEATURES, writer_batch_size=256) as writer:
                for row in rows:
                    writer.write(FEATURES.encode_example(row))
                writer.finalize()
            tables[name] = datasets.Dataset.from_file(file)
        datasets.DatasetDict(tables).save_to_disk(whole)
        del tables  # close the memory maps before their files go
        shutil.rmtree(streams)
        for name, text in {CARD: json.dumps(dict(card), indent=1) + "\n", **(beside or {})}.items():
            (whole / name).write_text(text, encoding="utf-8")
    return read(out)


def read(root: Path) -> datasets.DatasetDict:
    """Read a data set that `write` made; an `InputError` if it is none, or an unreadable one."""
    if not (root / "dataset_dict.json").is_file():
        remedy = "make one with `python -m medr1_lib data build`"
        raise InputError(root, "holds no data set", remedy)
    with refusing(root, "cannot be read", AGAIN):
        splits = datasets.load_from_disk(str(root))
        for table in splits.values():
            table.data.validate(full=True)
    kinds = [table.features for table in splits.values()]
    wrong = sorted(n for n in FEATURES if any(kind.get(n) != FEATURES[n] for kind in kinds))
    if wrong:
        problem = f"lacks the columns {', '.join(wrong)}, or holds something else in them"
        raise InputError(root, problem, AGAIN)
    return splits


def read_split(root: Path, split: str) -> datasets.Dataset:
    """One split of a data set, its records checked, its images as bytes for `open_image`."""
    splits = read(root)
    if split not in splits:
        remedy = f"choose one of {', '.join(splits)}, or {AGAIN}"
        raise InputError(root, f"has no {split} split", remedy)
    table = splits[split].cast_column("image", datasets.Image(decode=False))
    content = pc.struct_field(table.with_format("arrow")["image"][:], "bytes")
    stored = pc.fill_null(pc.binary_length(content), 0).to_pylist()
    for row, record in enumerate(table.select_columns([*FEATURES][1:]).to_list()):
        try:
            texts = [value for name, value in record.items() if name != "scene"]
            if None in (*texts, *(record["options"] or ())):
                raise InputError("record", "lacks a text", AGAIN)
            if not stored[row]:
                raise InputError("record", "has no image", AGAIN)
            Question.from_record(record)
        except InputError as error:
            where = f"{root}, {split} record {row} ({record['image_id']})"
            raise InputError(where, error.problem, AGAIN) from error
    return table


def images_behind(root: Path) -> dict[str, dict[str, str]]:
    """What `images.csv` tells of each `image_id`: `path`, `patient` ...; empty if there is none."""
    if not (root / IMAGES).is_file():
        return {}
    rows = [row for _, row in read_rows(root / IMAGES)]
    if not rows or not {"image_id", "patient"} <= rows[0].keys():
        raise InputError(root / IMAGES, "does not name images and patients", AGAIN)
    return {row["image_id"]: row for row in rows}


def image_hash(image: Image.Image) -> str:
    """A hash that two images share if all their pixels are equal."""
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:16]


def open_image(content: bytes, where: str, pixels: bool = True) -> Image.Image:
    """The image that a record stores, as RGB, or only its header if no `pixels` are needed."""
    with images.faults(where := f"{where}, its image"):
        image = images.opened(content, where)
        return image.convert("RGB") if pixels else image
