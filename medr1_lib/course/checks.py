"""The exercises by name, and which of them are solved in a student's copies.

`wilson = checks.wilson(wilson)` imports that of chapter 00 only.
"""

import json
import re
import tomllib
from importlib import import_module
from pathlib import Path

from medr1_lib.course.exercise import Exercise
from medr1_lib.errors import InputError, refusing

_TEXT = Path(__file__).with_name("exercises.toml").read_text(encoding="utf-8")
_PLACES: dict[str, dict[str, str]] = tomllib.loads(_TEXT)
CHAPTERS = {chapter: tuple(places) for chapter, places in _PLACES.items()}
TOLD = re.compile(r"^(\w+): (.*?) Going on with (?:yours|the library's version)\.$", re.M)


def __getattr__(name: str) -> Exercise:
    for chapter, places in _PLACES.items():
        if name in places:
            cases = import_module(f"medr1_lib.course.chapters.{chapter}").CASES
            return Exercise(f"medr1_lib.{places[name]}:{name}", cases[name])
    raise AttributeError(f"no exercise is called {name!r}")


def chapters(work: Path) -> dict[str, dict[str, str]]:
    """What each exercise said when it was run and saved last, by notebook; empty if it did not."""
    found = {}
    for path in sorted(work.glob("[0-9]*.ipynb")):
        if names := CHAPTERS.get(f"chapter_{path.name[:2]}"):
            said = _said(path)
            found[path.stem] = {name: said.get(name, "") for name in names}
    if not found:
        raise InputError(work, "holds no chapters", "make your copies with `make lab`")
    return found


def report(work: Path) -> list[str]:
    """A line for each chapter and each open exercise, and one for all together."""
    lines, done, count = [], 0, 0
    for chapter, exercises in chapters(work).items():
        right = [name for name, said in exercises.items() if said.startswith("right in ")]
        lines.append(f"{chapter}: {len(right)} of {len(exercises)} solved")
        opened = {name: said for name, said in exercises.items() if name not in right}
        lines += [f"    {name}: {said or 'not run yet'}" for name, said in opened.items()]
        done, count = done + len(right), count + len(exercises)
    return [*lines, f"all: {done} of {count} solved, as last run and saved in {work}"]


def _said(path: Path) -> dict[str, str]:
    with refusing(path, "is no sound notebook", "save it again or move it away"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        texts = ["".join(output.get("text", "")) for output in outputs]
    return dict(TOLD.findall("\n".join(texts)))
