"""The class zip worked through as a student, graded as an instructor, and slides."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from medr1_lib.course.checks import CHAPTERS
from medr1_lib.errors import InputError
from notebooks.tools import classroom, grade, kernel, slides, sources

ROOT = kernel.ROOT
RIGHT = "def questions_needed(half_width):\n    return math.ceil((Z / (2 * half_width)) ** 2)"
WRONG = RIGHT + " if half_width < 0.1 else 0"


def solutions(chapter):
    """Every line of a chapter's solutions that is longer than a name."""
    (source,) = (ROOT / "notebooks/_src").glob(f"{chapter}_*.py")
    marked = sources.SOLUTION.finditer(source.read_text(encoding="utf-8"))
    lines = [line.strip() for mark in marked for line in mark[0].splitlines()]
    return [line for line in lines if len(line) > 25 and "# solution" not in line]


@pytest.fixture(scope="module")
def unzipped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    assert classroom.main(["--out", str(folder / "class.zip")]) == 0
    with zipfile.ZipFile(folder / "class.zip") as archive:
        archive.extractall(folder)
    return folder / classroom.TOP


def test_the_zip_is_the_same_bytes_again(unzipped, tmp_path):
    assert classroom.main(["--out", str(tmp_path / "again.zip")]) == 0
    first = unzipped.parent / "class.zip"
    assert (tmp_path / "again.zip").read_bytes() == first.read_bytes()


def test_the_zip_holds_no_solution_and_nothing_that_makes_one(unzipped):
    names = {path.relative_to(unzipped).as_posix() for path in unzipped.rglob("*")}
    forbidden = re.compile(r"_src|solutions|wrong_answers|tests|grade|cases|build\.py|\.git")
    assert [name for name in names if forbidden.search(name)] == []
    notebooks = sorted(unzipped.glob("notebooks/*.ipynb"))
    assert len(notebooks) == len(list((ROOT / "notebooks").glob("[0-9]*.ipynb")))
    found = []
    for path in notebooks:
        notebook = nbformat.read(path, as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert not any(cell.outputs for cell in cells), path.name
        tasks = [c.source for c in cells if "exercise" in c.metadata.get("tags", [])]
        assert tasks
        assert all(map(sources.is_stub, tasks)), path.name
        text = path.read_text(encoding="utf-8")
        assert "<summary>Solution</summary>" not in text
        shown = "\n".join(tasks)
        found += [line for line in solutions(path.name[:2]) if line in shown]
    assert found == []


def test_links_of_the_handouts_lead_to_files(unzipped):
    for path in unzipped.glob("notebooks/*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for target in re.findall(r"\]\(([^)#\s]+)\)", prose):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name}: {target}"


def python(*arguments, folder):
    """Run a module in a student's folder, which brings its own library."""
    variables = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)


@pytest.mark.slow
def test_a_student_works_and_an_instructor_grades(unzipped, tmp_path):
    done = python("notebooks.tools.lab", "--copies-only", folder=unzipped)
    assert done.returncode == 0, done.stderr
    (copy,) = (unzipped / "work").glob("00_*.ipynb")
    open_ = python("medr1_lib", "progress", folder=unzipped).stdout
    count = len(CHAPTERS["chapter_00"])
    assert f"{copy.stem}: 0 of {count} solved\n    wilson: not run yet" in open_
    answered(copy, {"questions_needed": RIGHT})
    assert "questions_needed" not in python("medr1_lib", "progress", folder=unzipped).stdout
    submissions = tmp_path / "submissions"
    for student, answers in (
        ("ada", {"questions_needed": RIGHT}),
        ("bob", {"questions_needed": WRONG, "wilson": "def wilson(right, n):\n    1 / 0"}),
        ("eve", {"wilson": "def wilson(right, n):\n    while True:\n        pass"}),
    ):
        hand_in(copy, submissions / student, answers)
    (submissions / "dan" / "work").mkdir(parents=True)
    (submissions / "dan" / "work" / copy.name).write_text("{")
    (submissions / "flo").mkdir()
    table = tmp_path / "grades.csv"
    cases = ROOT / "book" / "instructor" / "cases.py"
    assert grade.main([str(submissions), "--csv", str(table), "--cases", str(cases)]) == 0
    rows = {row["student"]: row for row in csv.DictReader(io.StringIO(table.read_text()))}
    assert list(rows) == ["ada", "bob", "dan", "eve", "flo"]
    assert rows["ada"]["00 questions_needed"] == "2 of 2"
    assert rows["ada"]["00 questions_needed, further"] == "1 of 1"
    assert (rows["ada"]["solved"], rows["ada"]["of"]) == ("1", str(count))
    assert rows["bob"]["solved"] == "0"
    assert rows["bob"]["00 questions_needed"] == "1 of 2"
    assert rows["bob"]["00 wilson"].startswith("0 of ")
    assert rows["eve"]["00 wilson"].startswith("0 of ")
    assert rows["eve"]["00 questions_needed"] == "2 of 2", "it went on after the endless loop"
    assert "no sound notebook" in rows["dan"]["problems"]
    assert rows["flo"]["problems"] == "no chapters"


def answered(copy, answers):
    """Type answers into a copy and run its exercises, as a student does."""
    notebook = nbformat.read(copy, as_version=4)
    notebook.cells = typed(notebook, answers).cells
    kernel.execute(notebook, "replay")
    nbformat.write(notebook, copy)


def typed(notebook, answers):
    for cell in notebook.cells:
        for name, answer in answers.items():
            if cell.source.startswith(f"def {name}("):
                cell.source = answer
    return notebook


def hand_in(copy, folder, answers):
    """The cells of an exercise and the imports alone: the rest of a chapter takes a minute."""
    notebook = typed(nbformat.read(copy, as_version=4), answers)
    kept = ("def wilson", "def questions_needed", "import math", "Z = ", "wilson = ", "questions_")
    notebook.cells = [
        cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith(kept)
    ]
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IMPORTS))
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / copy.name)


IMPORTS = "import math\nfrom medr1_lib.course import checks\nZ = 1.959963984540054"


@pytest.mark.slow
def test_a_notebook_that_takes_too_long_keeps_what_was_graded(tmp_path):
    cells = [IMPORTS, RIGHT, "import time; time.sleep(600)", "def wilson(right, n):\n    return 0"]
    new = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=new), tmp_path / "00_start.ipynb")
    found, problem = grade.tried(tmp_path / "00_start.ipynb", CHAPTERS["chapter_00"], None, 0.25)
    assert found["questions_needed"][:2] == (2, 2)
    assert "wilson" not in found
    assert "timed out" in problem.lower()


def test_the_table_has_one_row_a_student_and_a_column_for_each_exercise():
    rows = [
        {"student": "ada", "solved": 1, "of": 1, "problems": "", "01 window": "3 of 3"},
        {"student": "bob", "solved": 0, "of": 1, "problems": "", "00 wilson": "missing"},
    ]
    assert grade.table(rows).splitlines() == [
        "student,solved,of,problems,00 wilson,01 window",
        "ada,1,1,,,3 of 3",
        "bob,0,1,,missing,",
    ]


def test_a_print_is_no_grade_and_the_check_s_answer_is_not_the_student_s():
    cells = [
        "def wilson(right, n):\n    return 0",
        "wilson = checks.wilson(wilson)",
        "# def wilson(x)",
        "wilson = lambda right, n: 0",
    ]
    new = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook = grade.graded(nbformat.v4.new_notebook(cells=new), ("wilson",), None, "t")
    calls = [n for n, c in enumerate(notebook.cells) if c.source.startswith("grade_t(")]
    assert calls == [2, 6]


def test_a_chapter_that_was_handed_in_twice_counts_once(tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "tried", lambda path, *_: ({"wilson": (4, 4, 0, 0)}, ""))
    student = tmp_path / "ada" / "work"
    for name in ("00_start (1).ipynb", "00_start.ipynb", ".ipynb_checkpoints/00_start.ipynb"):
        (student / name).parent.mkdir(parents=True, exist_ok=True)
        (student / name).write_text("{}")
    row = grade.grade(tmp_path / "ada", None, 1)
    assert (row["solved"], row["of"]) == (1, len(CHAPTERS["chapter_00"]))
    assert row["problems"].endswith("00_start (1).ipynb: not graded, a further notebook of 00")


def test_what_cannot_be_graded_is_told(tmp_path):
    with pytest.raises(InputError, match="holds no folder with chapters"):
        grade.main([str(tmp_path)])
    with pytest.raises(InputError, match="is no file"):
        grade.main([str(tmp_path), "--cases", str(tmp_path / "none.py")])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0", r"cannot be run \(ZeroDivisionError: division by zero\)"),
        ("cases = {}", "holds no dictionary CASES"),
        ("CASES = {'wilsen': ()}", "no exercise is called 'wilsen'"),
        ("CASES = {'wilson': (1,)}", "'wilson' is no tuple of cases"),
        ("CASES = {'wilson': 1}", "'wilson' is no tuple of cases.*mind the commas"),
    ],
)
def test_a_file_of_cases_is_refused_before_it_costs_a_student(tmp_path, text, told):
    (tmp_path / "cases.py").write_text(text)
    with pytest.raises(InputError, match=told):
        grade.main([str(tmp_path), "--cases", str(tmp_path / "cases.py")])


def test_the_example_of_further_cases_names_exercises(tmp_path):
    import runpy

    found = runpy.run_path(str(ROOT / "book/instructor/cases.py"))["CASES"]
    assert set(found) <= {name for names in CHAPTERS.values() for name in names}


def test_slides_begin_at_headings_and_show_no_solution():
    (path,) = (ROOT / "notebooks").glob("00_*.ipynb")
    shown = slides.slides(nbformat.read(path, as_version=4))
    kinds = [cell.metadata["slideshow"]["slide_type"] for cell in shown.cells]
    assert kinds[0] == "slide"
    assert {"slide", "subslide", "fragment", "notes"} <= set(kinds)
    assert "<summary>Solution</summary>" not in json.dumps(shown)
    for cell, kind in zip(shown.cells, kinds, strict=True):
        if kind in ("slide", "subslide"):
            assert "\n" not in cell.source
            assert cell.source.startswith("#")


def test_every_tool_of_the_class_is_shipped():
    assert [n for n in classroom.TOOLS if not Path(ROOT / "notebooks/tools" / n).exists()] == []
