"""Data sets on disk: a folder with the splits `train` and `test`, written whole or not at all."""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import datasets
from datasets.arrow_writer import ArrowWriter

from medr1_lib.data.question import FEATURES
from medr1_lib.errors import InputError
from medr1_lib.files import require_free

CARD = "card.json"  # beside the splits: the command, seed and counts behind the data


def write(
    out: Path, splits: Mapping[str, Iterable[dict[str, Any]]], card: Mapping[str, Any]
) -> datasets.DatasetDict:
    """Write rows (`Question.record`) as a data set that `datasets.load_from_disk` reads.

    Rows are streamed, so they may be drawn while they are written. The folder appears under its
    final name only when it is complete; a crash leaves nothing that looks finished.

    Args:
        out: The folder to make. It must not exist yet, or be empty.
        splits: Rows of each split.
        card: What made the data; written to `card.json`.

    Raises:
        InputError: If `out` is in use, cannot be written, or the disk is full.
    """
    require_free(out)
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        streams = partial / "streams"
        tables = {name: _stream(rows, streams / name) for name, rows in splits.items()}
        datasets.DatasetDict(tables).save_to_disk(partial)
        del tables  # close the memory maps before their files go
        shutil.rmtree(streams)
        (partial / CARD).write_text(json.dumps(dict(card), indent=1) + "\n")
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        remedy = "free some space or choose a folder you may write to"
        raise InputError(out, f"cannot be written ({error.strerror or error})", remedy) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # it has another name if all went well
    return read(out)


def read(root: Path) -> datasets.DatasetDict:
    """Read a data set that `write` made.

    Raises:
        InputError: If the folder holds no data set, an unreadable one, or another format.
    """
    if not (root / "dataset_dict.json").is_file():
        raise InputError(
            root, "holds no data set", "make one with `python -m medr1_lib data build`"
        )
    try:
        splits = datasets.load_from_disk(str(root))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(root, f"cannot be read ({error})", "build or import it again") from error
    missing = sorted(
        {name for table in splits.values() for name in FEATURES.keys() - table.features}
    )
    if missing:
        problem = f"lacks the columns {', '.join(missing)}"
        raise InputError(root, problem, "build or import it again")
    return splits


def _stream(rows: Iterable[dict[str, Any]], folder: Path) -> datasets.Dataset:
    folder.mkdir(parents=True)
    path = str(folder / "rows.arrow")
    with ArrowWriter(path=path, features=FEATURES, writer_batch_size=256) as writer:
        for row in rows:
            writer.write(FEATURES.encode_example(row))
        writer.finalize()
    return datasets.Dataset.from_file(path)
