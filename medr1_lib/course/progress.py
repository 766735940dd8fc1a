"""Which exercises of a student's copies are solved: `python -m medr1_lib progress`."""

import json
import re
from pathlib import Path

from medr1_lib.course.checks import CHAPTERS
from medr1_lib.errors import InputError

TOLD = re.compile(r"^(\w+): (.*?) Going on with (?:yours|the library's version)\.$", re.M)


def chapters(work: Path) -> dict[str, dict[str, str]]:
    """What each exercise said when it was run and saved last, by notebook; empty if it did not.

    Raises an `InputError` if the folder holds no chapters, or one of them is no notebook.
    """
    paths = [path for path in sorted(work.glob("[0-9]*.ipynb")) if _names(path)]
    if not paths:
        raise InputError(work, "holds no chapters", "make your copies with `make lab`")
    return {path.stem: {name: _said(path).get(name, "") for name in _names(path)} for path in paths}


def solved(said: str) -> bool:
    """Whether a check told that all its cases were right."""
    return said.startswith("right in ")


def report(work: Path) -> list[str]:
    """A line for each chapter and each open exercise, and one for all together."""
    lines, done, count = [], 0, 0
    for chapter, exercises in chapters(work).items():
        right = [name for name, said in exercises.items() if solved(said)]
        lines.append(f"{chapter}: {len(right)} of {len(exercises)} solved")
        opened = {name: said for name, said in exercises.items() if name not in right}
        lines += [f"    {name}: {said or 'not run yet'}" for name, said in opened.items()]
        done, count = done + len(right), count + len(exercises)
    return [*lines, f"all: {done} of {count} solved, as last run and saved in {work}"]


def _names(path: Path) -> tuple[str, ...]:
    """The exercises of a notebook, by the number that its name begins with."""
    return CHAPTERS.get(f"chapter_{path.name[:2]}", ())


def _said(path: Path) -> dict[str, str]:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        texts = ["".join(output.get("text", "")) for output in outputs]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(path, "is no sound notebook", "save it again or move it away") from error
    return dict(TOLD.findall("\n".join(texts)))
