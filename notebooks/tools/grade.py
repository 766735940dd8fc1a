"""Grade what students handed in: `python -m notebooks.tools.grade SUBMISSIONS --csv grades.csv`.

SUBMISSIONS holds one folder for each student, with the notebooks of their `work/`, at any depth.
Each notebook is executed at the replay tier, in a fresh kernel without a network, for `--minutes`
at most. After each cell that defines the function of an exercise, that function is tried on the
exercise's own cases and on those of `--cases`, a Python file that the instructor keeps. This runs
the students' code with your rights: do it in a container or under an account of its own.
"""

import argparse
import csv
import io
import json
import re
import runpy
import secrets
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import CellControlSignal, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from medr1_lib.cli import exit_status
from medr1_lib.course.checks import CHAPTERS
from medr1_lib.course.exercise import Case
from medr1_lib.errors import InputError
from notebooks.tools import kernel, sources

LOST = (CellControlSignal, CellTimeoutError, DeadKernelError, kernel.OnlineError, RuntimeError)
# Executed before anything else; `{token}` is new in each run, so that no student's print is taken
# for a grade.
GRADER = """
def grade_{token}(function, name, further):
    import contextlib, dataclasses, io, json, runpy
    from medr1_lib.course import checks

    def passed(exercise, cases):
        alone = [dataclasses.replace(exercise, cases=(case,)) for case in cases]
        with contextlib.redirect_stdout(io.StringIO()):
            return sum(one(function) is function for one in alone)

    exercise = getattr(checks, name)
    cases = runpy.run_path(further)["CASES"].get(name, ()) if further else ()
    found = [passed(exercise, exercise.cases), len(exercise.cases)]
    print("{token}", json.dumps([name, *found, passed(exercise, cases), len(cases)]))
"""


def main(arguments: list[str]) -> int:
    """Grade every student and write one row each; 0 also where answers are wrong."""
    parser = argparse.ArgumentParser(prog="notebooks.tools.grade", description=__doc__)
    parser.add_argument("submissions", type=Path, help="a folder with a folder for each student")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="table to write, else printed")
    parser.add_argument("--cases", type=Path, metavar="FILE", help="further cases, in Python")
    parser.add_argument(
        "--minutes", type=float, default=10, help="the most a notebook may take (10)"
    )
    options = parser.parse_args(arguments)
    if options.cases:
        check_cases(options.cases)
    if options.csv:
        kernel.write(options.csv, "")  # refused now rather than after an hour
    rows = []
    for student in students(options.submissions):
        rows.append({"student": student.name} | grade(student, options.cases, options.minutes))
        print(f"{student.name}: {rows[-1]['solved']} of {rows[-1]['of']} solved", file=sys.stderr)
    text = table(rows)
    if options.csv:
        kernel.write(options.csv, text)
    else:
        print(text, end="")
    return 0


def check_cases(path: Path) -> None:
    """Run a file of further cases once, since in a notebook its faults would cost students.

    Raises:
        InputError: If it cannot be run, or holds anything but cases of exercises.
    """
    remedy = "see book/instructor/cases.py"
    if not path.is_file():
        raise InputError(path, "is no file", remedy)
    try:
        cases = runpy.run_path(str(path)).get("CASES")
    except Exception as error:  # whatever an instructor's file raises
        problem = f"cannot be run ({type(error).__name__}: {error})"
        raise InputError(path, problem, remedy) from error
    if not isinstance(cases, dict):
        raise InputError(path, "holds no dictionary CASES", remedy)
    known = {name for names in CHAPTERS.values() for name in names}
    for name, further in cases.items():
        if name not in known:
            raise InputError(path, f"no exercise is called {name!r}", "mend the name in CASES")
        if not isinstance(further, tuple) or not all(isinstance(one, Case) for one in further):
            raise InputError(path, f"{name!r} is no tuple of cases", f"{remedy}; mind the commas")


def students(submissions: Path) -> list[Path]:
    """The folders of all students, those without chapters too.

    Raises:
        InputError: If none of them holds a chapter.
    """
    inside = sorted(path for path in submissions.glob("[!.]*") if path.is_dir())
    if not any(map(chapters, inside)):
        problem = "holds no folder with chapters"
        raise InputError(submissions, problem, "put each student's notebooks into one folder")
    return inside


def chapters(student: Path) -> list[Path]:
    """The notebooks of a student at any depth, without those that JupyterLab saves beside them."""
    found = sorted(student.rglob("[0-9]*.ipynb"))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def grade(student: Path, cases: Path | None, minutes: float) -> dict[str, Any]:
    """The row of one student: for each exercise handed in the cases passed, and what went wrong."""
    row: dict[str, Any] = {}
    taken = {path.name[:2]: path for path in chapters(student)}  # the last one of each number
    problems = [
        f"{path.relative_to(student)}: not graded, a further notebook of {path.name[:2]}"
        for path in chapters(student)
        if path not in taken.values()
    ]
    problems += [] if taken else ["no chapters"]
    solved, count = 0, 0
    for number, path in sorted(taken.items()):
        names = CHAPTERS.get(f"chapter_{number}", ())
        found, problem = tried(path, names, cases, minutes)
        problems += [f"{path.name}: {problem}"] if problem else []
        for name in names:
            passed, of, further, further_of = found.get(name, (0, 0, 0, 0))
            row[f"{number} {name}"] = f"{passed} of {of}" if of else "missing"
            if cases:
                row[f"{number} {name}, further"] = f"{further} of {further_of}"
            solved += of > 0 and (passed, further) == (of, further_of)
            count += 1
    return {"solved": solved, "of": count, "problems": "; ".join(problems)} | row


def tried(
    path: Path, names: tuple[str, ...], cases: Path | None, minutes: float
) -> tuple[dict[str, tuple[int, ...]], str]:
    """Cases passed by the functions of one notebook, by exercise, and what stopped it, if anything.

    An error in a cell stops nothing: the next exercise may be right.
    """
    token = f"medr1_{secrets.token_hex(8)}"
    try:
        notebook = graded(nbformat.read(path, as_version=4), names, cases, token)
        kernel.execute(notebook, "replay", minutes, whole=True)
        problem = ""
    except LOST as error:
        problem = " ".join(str(error).split())[:200] or type(error).__name__
    except (ValueError, AttributeError, KeyError):
        return {}, "is no sound notebook"
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    lines = "".join(output.get("text", "") for output in outputs).splitlines()
    told = [json.loads(line.removeprefix(token)) for line in lines if line.startswith(token)]
    return {name: tuple(figures) for name, *figures in told}, problem


def graded(
    notebook: NotebookNode, names: tuple[str, ...], cases: Path | None, token: str
) -> NotebookNode:
    """The notebook with a call of the grader after each cell that defines an exercise."""
    notebook = sources.without_outputs(notebook)
    further = str(cases.absolute()) if cases else ""
    cells = [nbformat.v4.new_code_cell(GRADER.replace("{token}", token))]
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        cells.append(cell)
        for name in names:
            if re.search(rf"^(def {name}\(|{name} = (?!checks\.))", cell.source, re.M):
                call = f"grade_{token}({name}, {name!r}, {further!r})"
                cells.append(nbformat.v4.new_code_cell(call))
    notebook.cells = cells
    return notebook


def table(rows: list[dict[str, str | int]]) -> str:
    """One row a student as CSV; an exercise that one did not hand in is left empty there."""
    first = ["student", "solved", "of", "problems"]
    columns = first + sorted({name for row in rows for name in row} - set(first))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
