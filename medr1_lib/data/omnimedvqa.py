"""OmniMedVQA's records, as its authors published them and as Med-R1 split them."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from medr1_lib.data import records
from medr1_lib.data.archive import Source
from medr1_lib.data.question import Question, canonical
from medr1_lib.errors import InputError

_Key = tuple[str, str, tuple[str, ...], str]  # what makes two records the same question


@dataclass(frozen=True)
class Item:
    """A question, and where its image lies.

    Attributes:
        question: The question.
        image: The image's path as the record gives it. It often holds the diagnosis, so that it is
            never part of what a model sees.
        where: The file and the number of the record, from 1, for messages.
    """

    question: Question
    image: str
    where: str


@dataclass(frozen=True)
class RecordFile:
    """What one JSON file holds.

    Attributes:
        path: The file, relative to the root that was read.
        kind: `modality` or `question_type` in Med-R1's layout, `qa` in OmniMedVQA's own.
        name: What pairs a test file with its train file (`X-Ray`).
        split: `train` or `test`; empty in OmniMedVQA's own layout, which has none.
        items: The sound records, in order.
        bad: What is wrong with the others.
    """

    path: str
    kind: str
    name: str
    split: str
    items: list[Item]
    bad: list[InputError]


def qa_information(source: Source) -> list[RecordFile]:
    """Read OmniMedVQA's own layout, `QA_information/**/*.json`.

    Source: Hu et al., OmniMedVQA, CVPR 2024.

    Raises:
        InputError: If the layout is not there, or a file is not a JSON list. Bad records are
            collected, not raised.
    """
    paths = source.json_files("QA_information")
    if not paths:
        remedy = "give the folder or zip file with QA_information/ and Images/, or use --splits"
        raise InputError(source.root, "holds no QA_information/*.json", remedy)
    return [
        RecordFile(path, "qa", PurePosixPath(path).stem, "", *_parse(source, path, records.from_qa))
        for path in paths
    ]


def splits(source: Source) -> list[RecordFile]:
    """Read Med-R1's layout, `Splits/{modality,question_type}/{train,test}/*.json`.

    The root may be the folder (or zip file) that contains `Splits`, or `Splits` itself. A record
    says what a file is about (a modality or a question type) only through the file's name.

    Source: Lai et al., Med-R1, arXiv 2503.13939, released splits. Built in chapter 01.

    Raises:
        InputError: If the layout is not there, a file is not a JSON list, or its name is not one of
            the release. Bad records are collected, not raised.
    """
    kinds = ("modality", "question_type")
    paths = source.json_files("Splits") or [p for kind in kinds for p in source.json_files(kind)]
    found = [path for path in paths if _place(path)[0] in kinds]
    if not found:
        remedy = "give the folder that holds Splits/, or Splits/ itself"
        raise InputError(source.root, "holds no Splits/modality or Splits/question_type", remedy)
    return [_split_file(source, path) for path in found]


def strict(files: Iterable[RecordFile]) -> list[RecordFile]:
    """The same files, if every record in them is sound.

    Raises:
        InputError: What is wrong with the first bad record.
    """
    checked = list(files)
    for file in checked:
        if file.bad:
            raise file.bad[0]
    return checked


def with_both_labels(files: Iterable[RecordFile]) -> list[RecordFile]:
    """Fill in what a split file does not say from the other folder, where the same record is.

    A file of `Splits/modality` does not know its records' question types; the files of
    `Splits/question_type` do. What neither knows stays `unknown`.
    """
    checked = list(files)
    labels: dict[str, dict[_Key, str]] = {"modality": {}, "question_type": {}}
    for file in checked:
        for item in file.items:
            labels[file.kind][_same(item.question)] = getattr(item.question, file.kind)
    return [
        replace(file, items=[_labelled(item, file.kind, labels) for item in file.items])
        for file in checked
    ]


def _same(question: Question) -> _Key:
    return question.image_id, question.question, question.options, question.answer


def _labelled(item: Item, kind: str, labels: dict[str, dict[_Key, str]]) -> Item:
    other = "question_type" if kind == "modality" else "modality"
    label: dict[str, Any] = {other: labels[other].get(_same(item.question), "unknown")}
    return replace(item, question=replace(item.question, **label))


def _place(path: str) -> tuple[str, str, str]:
    """Kind, split and file name, from the last three parts of a path."""
    *_, kind, split, name = ("", "", *PurePosixPath(path).parts)
    return kind, split, name


def _split_file(source: Source, path: str) -> RecordFile:
    kind, split, file_name = _place(path)
    name, _, suffix = file_name.removesuffix(".json").rpartition("_")
    if split not in ("train", "test") or suffix != split:
        remedy = "keep the released names: train/<name>_train.json and test/<name>_test.json"
        raise InputError(path, "does not say whether it is train or test", remedy)
    try:
        label = canonical(kind, name)
    except InputError as error:
        raise InputError(path, error.problem, error.remedy) from error
    labels = {"modality": "unknown", "question_type": "unknown", kind: label}
    items, bad = _parse(source, path, lambda record: records.from_split(record, **labels))
    return RecordFile(path, kind, name, split, items, bad)


def _parse(
    source: Source, path: str, read: Callable[[dict[str, Any]], tuple[Question, str]]
) -> tuple[list[Item], list[InputError]]:
    items, bad = [], []
    for number, record in enumerate(_load(source, path), start=1):
        where = f"{path}, record {number}"
        try:
            if not isinstance(record, dict):
                raise InputError(where, "is not a JSON object", "correct the record or drop it")
            items.append(Item(*read(record), where))
        except InputError as error:
            bad.append(InputError(where, error.problem, error.remedy))
    return items, bad


def _load(source: Source, path: str) -> list[Any]:
    try:
        loaded = json.loads(source.read(path).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 text ({error})", "save it as UTF-8") from error
    except json.JSONDecodeError as error:
        remedy = "download the file again, it may be cut short"
        raise InputError(path, f"is not sound JSON ({error})", remedy) from error
    if not isinstance(loaded, list):
        raise InputError(path, "is not a list of records", "wrap the records in [ ]")
    if not loaded:
        raise InputError(path, "holds no record", "download the file again or remove it")
    return loaded
