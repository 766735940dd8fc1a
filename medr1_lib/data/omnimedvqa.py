"""OmniMedVQA's records, as its authors published them and as Med-R1 split them."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from medr1_lib.data import taxonomy
from medr1_lib.data.archive import Source, is_outside
from medr1_lib.data.errors import InputError
from medr1_lib.data.schema import LETTERS, Question

_Key = tuple[str, str, tuple[str, ...], str]  # what makes two records the same question
_SOLUTION = re.compile(r"\s*<answer>\s*([A-Z])\s*</answer>\s*")


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

    Source: Hu et al., OmniMedVQA, CVPR 2024. Built in chapter 01.

    Raises:
        InputError: If the layout is not there, or a file is not a JSON list. Bad records are
            collected, not raised.
    """
    paths = source.json_files("QA_information")
    if not paths:
        remedy = "give the folder or zip file with QA_information/ and Images/, or use --splits"
        raise InputError(source.root, "holds no QA_information/*.json", remedy)
    return [
        RecordFile(path, "qa", PurePosixPath(path).stem, "", *_parse(source, path, _from_qa))
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


def image_id(path: str) -> str:
    """A name for the image at `path` that gives nothing of the path away.

    Example:
        >>> image_id("Images/Chest CT Scan/test/adenocarcinoma/1.png")
        '06643d2328d7c134'
    """
    return hashlib.sha256(path.encode()).hexdigest()[:16]


def parse_problem(problem: str) -> tuple[str, tuple[str, ...]]:
    """Split Med-R1's `stem A)one, B)two` into the stem and its options.

    Options hold commas and sentences of their own, so the markers are sought one after the other.

    Raises:
        InputError: If there is no first option.

    Example:
        >>> parse_problem("Which scan? A)CT, plain, B)MRI")
        ('Which scan?', ('CT, plain', 'MRI'))
    """
    stem, marker, rest = problem.partition(" A)")
    if not marker:
        raise InputError("problem", "has no options", "write them as `stem A)one, B)two`")
    options = []
    for letter in LETTERS[1:] + "E":  # a fifth is found, and refused by `Question`
        option, marker, tail = rest.partition(f", {letter})")
        if not marker:
            break
        options.append(option)
        rest = tail
    return stem, (*options, rest)


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
        canonical = getattr(taxonomy, kind)(name)
    except InputError as error:
        raise InputError(path, error.problem, error.remedy) from error
    labels = {"modality": "unknown", "question_type": "unknown", kind: canonical}
    items, bad = _parse(source, path, lambda record: _from_split(record, **labels))
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
        records = json.loads(source.read(path).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(path, f"is not UTF-8 text ({error})", "save it as UTF-8") from error
    except json.JSONDecodeError as error:
        remedy = "download the file again, it may be cut short"
        raise InputError(path, f"is not sound JSON ({error})", remedy) from error
    if not isinstance(records, list):
        raise InputError(path, "is not a list of records", "wrap the records in [ ]")
    if not records:
        raise InputError(path, "holds no record", "download the file again or remove it")
    return records


def _text(record: dict[str, Any], key: str) -> str:
    if key not in record:
        raise InputError("record", f"has no {key!r}", "complete the record or drop it")
    if not isinstance(record[key], str) or not record[key].strip():
        raise InputError("record", f"{key!r} is no text or empty", "complete the record or drop it")
    return record[key]


def _image(record: dict[str, Any], key: str) -> str:
    path = _text(record, key)
    if is_outside(path):
        raise InputError("record", f"its image {path!r} points outside the data", "drop the record")
    return path


def _from_split(record: dict[str, Any], modality: str, question_type: str) -> tuple[Question, str]:
    image, solution = _image(record, "image"), _text(record, "solution")
    stem, options = parse_problem(_text(record, "problem"))
    answer = _SOLUTION.fullmatch(solution)
    if answer is None:
        remedy = "write it as `<answer> B </answer>`"
        raise InputError("record", f"the solution {solution!r} is not one capital letter", remedy)
    dataset = PurePosixPath(image).parts[:-1][1:2] or ("OmniMedVQA",)
    question = Question(
        stem, options, answer[1], modality, question_type, image_id(image), source=dataset[0]
    )
    return question, image


def _from_qa(record: dict[str, Any]) -> tuple[Question, str]:
    image, stem = _image(record, "image_path"), _text(record, "question")
    keys = sorted(key for key in record if key.startswith("option_"))
    options = tuple(_text(record, key) for key in keys if record[key] is not None)
    truth = _text(record, "gt_answer")
    if truth not in options:
        remedy = "correct the record or drop it"
        raise InputError("record", f"none of its options is the answer {truth!r}", remedy)
    # one record of the release (in `Chest CT Scan.json`) calls the field `modality`
    named = "modality_type" if "modality_type" in record else "modality"
    question = Question(
        stem,
        options,
        # a fifth option has no letter; `Question` counts them before it looks at the letter
        f"{LETTERS}?"[min(options.index(truth), len(LETTERS))],
        taxonomy.modality(_text(record, named)),
        taxonomy.question_type(_text(record, "question_type")),
        image_id(image),
        source=_text(record, "dataset"),
    )
    return question, image
