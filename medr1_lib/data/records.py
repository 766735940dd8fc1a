"""One record of OmniMedVQA, in its authors' fields or in Med-R1's, as a `Question`."""

import hashlib
import re
from typing import Any

from medr1_lib.data.archive import is_outside
from medr1_lib.data.question import LETTERS, Question, canonical
from medr1_lib.errors import InputError

_SOLUTION = re.compile(r"\s*<answer>\s*([A-Z])\s*</answer>\s*")


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


def from_split(record: dict[str, Any], modality: str, question_type: str) -> tuple[Question, str]:
    """The question and the image path of one Med-R1 record (`image`, `problem`, `solution`).

    Args:
        record: The record.
        modality: What the name of its file says, or `unknown`.
        question_type: As `modality`.

    Raises:
        InputError: What is wrong with the record.
    """
    image, solution = _image(record, "image"), _text(record, "solution")
    stem, options = parse_problem(_text(record, "problem"))
    answer = _SOLUTION.fullmatch(solution)
    if answer is None:
        remedy = "write it as `<answer> B </answer>`"
        raise InputError("record", f"the solution {solution!r} is not one capital letter", remedy)
    _, *folders, _ = ("", *image.split("/"))
    dataset = folders[1] if len(folders) > 1 else "OmniMedVQA"  # Images/<data set>/...
    question = Question(
        stem, options, answer[1], modality, question_type, image_id(image), source=dataset
    )
    return question, image


def from_qa(record: dict[str, Any]) -> tuple[Question, str]:
    """The question and the image path of one record of OmniMedVQA's `QA_information`.

    Raises:
        InputError: What is wrong with the record.
    """
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
        canonical("modality", _text(record, named)),
        canonical("question_type", _text(record, "question_type")),
        image_id(image),
        source=_text(record, "dataset"),
    )
    return question, image


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
