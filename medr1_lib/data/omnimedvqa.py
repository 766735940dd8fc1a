"""OmniMedVQA: its records as published and as Med-R1 split them, and their import as a data set."""

import json
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from medr1_lib.data import importing
from medr1_lib.data.question import ALL_LETTERS, Question, canonical
from medr1_lib.data.source import Item, Source, cell, image_id, image_path, letter_of, opened
from medr1_lib.errors import DROP, InputError, refusing

PATIENT = ("patient", "patient_id")  # fields of a record; OmniMedVQA itself has none
_SOLUTION = re.compile(r"\s*<answer>\s*([A-Z])\s*</answer>\s*")


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
    """Read OmniMedVQA's own layout, `QA_information/**/*.json` (Hu et al., CVPR 2024)."""
    paths = source.json_files("QA_information")
    if not paths:
        remedy = "give a table of your own as --table, OmniMedVQA itself as --root, or --splits"
        problem = "holds no QA_information/*.json, nor does a folder in it"
        raise InputError(source.root, problem, remedy)
    return [_parse(source, path, ("qa", PurePosixPath(path).stem, ""), _from_qa) for path in paths]


def read_splits(source: Source) -> list[RecordFile]:
    """Read Med-R1's layout, `Splits/{modality,question_type}/{train,test}/*.json` (2503.13939).

    The root may be `Splits` itself. Of modality and question type, the one that the name of the
    file does not tell is `unknown`. A file whose name is not of the release is an error.
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


def with_both_labels(files: list[RecordFile]) -> list[RecordFile]:
    """Fill in the label that a split file does not know from the other folder's same record."""

    def same(question: Question) -> tuple[object, ...]:
        return question.image_id, question.question, question.options, question.answer

    labels: dict[tuple[object, ...], dict[str, Any]] = defaultdict(dict)
    for file in files:
        for item in file.items:
            labels[same(item.question)][file.kind] = getattr(item.question, file.kind)
    for file in files:
        for place, item in enumerate(file.items):
            asked = replace(item.question, **labels[same(item.question)])
            file.items[place] = replace(item, question=asked)
    return files


def _parse(
    source: Source,
    path: str,
    place: tuple[str, str, str],
    read: Callable[[dict[str, Any]], tuple[Question, str]],
) -> RecordFile:
    with refusing(path, "is not UTF-8 text", "save it as UTF-8", UnicodeDecodeError):
        told = source.read(path).decode("utf-8-sig")
    with refusing(path, "is not sound JSON", "download the file again, it may be cut short"):
        try:
            loaded = json.loads(told, parse_int=float)  # `int` refuses very many digits
        except ValueError:
            if not told.lstrip().startswith("{"):
                raise
            lines = filter(str.strip, told.split("\n"))  # one record in each, it may be
            loaded = [json.loads(line, parse_int=float) for line in lines]
    if not isinstance(loaded, list):
        raise InputError(path, "is not a list of records", "wrap the records in [ ]")
    if not loaded:
        raise InputError(path, "holds no record", "download the file again or remove it")
    file = RecordFile(path, *place, items=[], bad=[])
    for number, record in enumerate(loaded, start=1):
        where = f"{path}, record {number}"
        try:
            if not isinstance(record, dict):
                raise InputError(where, "is not a JSON object", DROP)
            question, image = read(record)
            patient = next((cell(record, key) for key in PATIENT if record.get(key)), "")
            file.items.append(Item(question, image, where, patient, file.split or "train"))
        except InputError as error:
            file.bad.append(InputError(where, error.problem, error.remedy))
    return file


def parse_problem(problem: str) -> tuple[str, tuple[str, ...]]:
    """Split Med-R1's `stem A)one, B)two` into the stem and its options.

    The stem and options may hold such markers too (`hepatitis A) acute?`), so the longest chain of
    letters counts, and of several the last one without an empty option.
    """
    letters = ALL_LETTERS[1:] + "I"  # a 9th is refused later
    markers = [" A)", *(f", {letter})" for letter in letters)]
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
    told = "the question is empty" if problem.lstrip().startswith("A)") else "has no options"
    raise InputError("problem", told, "write it as `stem A)one, B)two`")


def _from_split(record: dict[str, Any], modality: str, question_type: str) -> tuple[Question, str]:
    image, solution = image_path(record, "image"), cell(record, "solution")
    stem, options = parse_problem(cell(record, "problem"))
    answer = _SOLUTION.fullmatch(solution)
    if answer is None:
        remedy = "write it as `<answer> B </answer>`"
        raise InputError("record", f"the solution {solution!r} is not one capital letter", remedy)
    folders = image.split("/")[:-1]  # Images/<data set>/...
    origin = folders[1] if len(folders) > 1 else "OmniMedVQA"
    labels = modality, question_type, image_id(image), origin
    return Question(stem, options, answer[1], *labels), image


def _from_qa(record: dict[str, Any]) -> tuple[Question, str]:
    image, stem = image_path(record, "image_path"), cell(record, "question")
    keys = sorted(key for key in record if key.startswith("option_"))
    options = tuple(cell(record, key) for key in keys if record[key] is not None)
    letter = letter_of(cell(record, "gt_answer"), options)
    # one record of the release (in `Chest CT Scan.json`) calls the field `modality`
    named = "modality_type" if "modality_type" in record else "modality"
    modality = canonical("modality", cell(record, named))
    question_type = canonical("question_type", cell(record, "question_type"))
    labels = modality, question_type, image_id(image), cell(record, "dataset")
    given = cell(record, "question_id") if record.get("question_id") else ""
    return Question(stem, options, letter, *labels, id=given), image


def import_data(
    root: Path,
    out: Path,
    splits: Path | None = None,
    by: str = "modality",
    settings: importing.ImportSettings = importing.DEFAULT,
) -> dict[str, Any]:
    """Import OmniMedVQA, or anything laid out like it; see `importing.write`.

    `root` and Med-R1's `splits` are folders or zip files, `by` is modality or question type.
    """
    with opened(root) as source:
        if splits:
            with opened(splits) as other:
                read = [file for file in with_both_labels(read_splits(other)) if file.kind == by]
            if not read:
                raise InputError(splits, f"holds no Splits/{by}", "choose the other one with --by")
        else:
            read = read_qa(source)
        items = [item for file in read for item in file.items]
        bad = [error for file in read for error in file.bad]
        about = {"splits": splits.name} if splits else {}
        rule = f"Med-R1's released split by {by}" if splits else ""
        return importing.write(source, items, bad, out, rule, about, settings)
