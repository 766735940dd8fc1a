"""A student's work is kept: copies, the builder, `make clean`, and what `progress` says."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from medr1_lib.course import checks, tiers
from medr1_lib.errors import InputError
from notebooks.tools import build, canonical, lab, sources

ROOT = Path(__file__).parents[1]
LINE = "return ...  # your code instead of this line"
STUB = f'def wilson(right, n):\n    """An interval."""\n    {LINE}'
ANSWER = STUB.replace(LINE, "return 0, 1")


def notebook(*cells, text=""):
    code = [nbformat.v4.new_code_cell(cell, id=f"c{n}") for n, cell in enumerate(cells)]
    for cell in code:
        cell.outputs = [nbformat.v4.new_output("stream", text=text)] if text else []
    code[0].metadata["tags"] = ["exercise"]
    return nbformat.v4.new_notebook(cells=code, metadata={"medr1": {"nbval": "strict"}})


@pytest.fixture
def chapters(tmp_path):
    """A folder with one chapter; copies go to the folder beside it."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(notebook(STUB), folder / "00_start.ipynb")
    return folder


def typed(path, new, place=0):
    """Type into a cell, as JupyterLab would store it."""
    stored = nbformat.read(path, as_version=4)
    stored.cells[place].source = new
    nbformat.write(stored, path)


def executed(path):
    stored = nbformat.read(path, as_version=4)
    stored.cells[0].outputs = [nbformat.v4.new_output("stream", text="7\n")]
    stored.cells[0].execution_count = 1
    nbformat.write(stored, path)


def test_a_copy_is_made_once(chapters, tmp_path):
    work = tmp_path / "work"
    assert [line.partition(":")[0] for line in lab.refresh(chapters, work)] == ["00_start.ipynb"]
    before = (work / "00_start.ipynb").read_bytes()
    assert lab.refresh(chapters, work) == []
    assert (work / "00_start.ipynb").read_bytes() == before


@pytest.mark.parametrize("change", [None, executed])
def test_an_untouched_copy_follows_its_chapter(chapters, tmp_path, change):
    work = tmp_path / "work"
    lab.refresh(chapters, work)
    if change:
        change(work / "00_start.ipynb")
    typed(chapters / "00_start.ipynb", STUB.replace("An", "The"))
    (line,) = lab.refresh(chapters, work)
    assert "untouched" in line
    assert "The interval" in (work / "00_start.ipynb").read_text()
    assert lab.refresh(chapters, work) == []


def test_what_was_typed_is_kept_whatever_becomes_of_the_chapter(chapters, tmp_path):
    work = tmp_path / "work"
    lab.refresh(chapters, work)
    typed(work / "00_start.ipynb", ANSWER)
    kept = (work / "00_start.ipynb").read_bytes()
    assert lab.refresh(chapters, work) == []
    typed(chapters / "00_start.ipynb", STUB.replace("An", "The"))
    (line,) = lab.refresh(chapters, work)
    assert "your copy stays as it is" in line
    (chapters / "00_start.ipynb").rename(chapters / "01_start.ipynb")
    lab.refresh(chapters, work)
    assert (work / "00_start.ipynb").read_bytes() == kept


def test_a_damaged_copy_is_left_alone(chapters, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "00_start.ipynb").write_text("{")
    (line,) = lab.refresh(chapters, work)
    assert "no sound notebook" in line
    assert (work / "00_start.ipynb").read_text() == "{"


def test_it_opens_the_first_copy_and_hands_further_arguments_on(chapters, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(lab.kernel, "NOTEBOOKS", chapters)
    monkeypatch.setattr(
        lab.subprocess,
        "run",
        lambda *a, **k: ran.append((a, k)) or subprocess.CompletedProcess(a, 7),
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDR1_DATA", "mine")  # counts from here, though a kernel starts elsewhere
    monkeypatch.delenv("MEDR1_MODEL", raising=False)
    asked = ["--tier", "replay", "--work", str(tmp_path / "work"), "--allow-root"]
    assert lab.main(asked) == 7
    ((((*_, further, first),), given),) = ran
    assert (further, first) == ("--allow-root", str(Path("work", "00_start.ipynb")))
    assert (given["cwd"], given["env"]["MEDR1_TIER"]) == (tmp_path, "replay")
    assert given["env"]["MEDR1_DATA"] == str(tmp_path / "mine")
    assert "MEDR1_MODEL" not in given["env"]
    assert (lab.QUIET / "labconfig" / "page_config.json").is_file()
    assert given["env"]["JUPYTER_CONFIG_PATH"].startswith(str(lab.QUIET))


def test_what_cannot_be_read_or_written_is_told(chapters, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="another folder with --work"):
        lab.refresh(chapters, tmp_path / "file" / "work")
    with pytest.raises(InputError, match="holds no chapters"):
        lab.refresh(tmp_path / "none", tmp_path / "work")


@pytest.mark.parametrize(
    ("cell", "stub"),
    [
        (STUB, True),
        ("Z = 1.96\n\n\n" + STUB, True),
        (ANSWER, False),
        (STUB.replace("    return ...", "    share = right / n\n    return ..."), False),
        (STUB.replace("return ...", "return (right"), False),
        (STUB.replace("return ...", "return None"), False),
    ],
)
def test_an_answer_is_told_from_a_stub(cell, stub):
    assert sources.is_stub(cell) is stub


def test_the_builder_overwrites_no_answer(example, tmp_path, monkeypatch):
    source = tmp_path / "_src" / "01_clean.py"
    source.parent.mkdir()
    source.write_text(example)
    monkeypatch.setattr(build.kernel, "execute", lambda notebook, tier: None)
    build.build(source, tmp_path)
    built = tmp_path / "01_clean.ipynb"
    (place,) = [
        number
        for number, cell in enumerate(nbformat.read(built, 4).cells)
        if cell.metadata.get("tags") == ["exercise"]
    ]
    source.write_text(example.replace("def normalise(text)", "def normalise(text, more=0)"))
    build.build(source, tmp_path)  # the stub is another one, yet nobody's work
    typed(built, "def normalise(text):\n    return text.lower()", place)
    kept = built.read_bytes()
    for keep_outputs in (False, True):
        with pytest.raises(InputError, match=r"01_clean.ipynb: holds an answer.*def normalise"):
            build.build(source, tmp_path, keep_outputs)
    assert built.read_bytes() == kept


def git(*arguments, folder=ROOT):
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout


def test_git_and_make_clean_leave_the_copies_alone():
    assert git("check-ignore", "-q", f"{tiers.WORK}/00_start_here.ipynb")[0] == 0
    assert git("ls-files", tiers.WORK)[1] == ""
    done = subprocess.run(["make", "-n", "clean"], cwd=ROOT, capture_output=True, text=True)
    removed = done.stdout.split()
    assert "_output" in removed
    assert not [name for name in removed if name.strip("/").split("/")[0] in ("work", ".", "*")]


@pytest.mark.slow
def test_answers_survive_the_commands_of_the_readme(tmp_path):
    """In a clone: an answer in a copy, then every target that writes, short of executing."""
    clone = tmp_path / "clone"
    git("clone", "-q", str(ROOT), str(clone), folder=tmp_path)
    python = [sys.executable, "-m"]
    subprocess.run([*python, "notebooks.tools.lab", "--copies-only"], cwd=clone, check=True)
    copy = clone / tiers.WORK / "00_start_here.ipynb"
    place = next(
        number
        for number, cell in enumerate(nbformat.read(copy, 4).cells)
        if "exercise" in cell.metadata.get("tags", [])
    )
    typed(copy, ANSWER, place)
    kept = copy.read_bytes()
    for command in (
        [*python, "notebooks.tools.build", "--check"],
        [*python, "notebooks.tools.build", "--keep-outputs"],
        [*python, "notebooks.tools.build", "--no-solutions"],
        [*python, "notebooks.tools.lab", "--copies-only"],
        [*python, "ruff", "check", "."],
        ["make", "clean"],
    ):
        subprocess.run(command, cwd=clone, check=True, capture_output=True)
    assert copy.read_bytes() == kept
    assert git("status", "--porcelain", folder=clone)[1] == "", "the copies are not ignored"


# progress

RIGHT = "wilson: right in 4 of 4 cases. Going on with yours.\n"
WRONG = "questions_needed: not solved yet. Going on with the library's version.\n"


def test_progress_tells_what_is_open(tmp_path, monkeypatch):
    known = {"chapter_00": ("wilson", "questions_needed"), "chapter_01": ("window",)}
    monkeypatch.setattr(checks, "CHAPTERS", known)
    nbformat.write(notebook("a", text=RIGHT), tmp_path / "00_start.ipynb")
    nbformat.write(notebook("a", "b", text=WRONG), tmp_path / "01_data.ipynb")
    (tmp_path / "notes.ipynb").write_text("no chapter")
    lines = checks.report(tmp_path)
    assert lines[0] == "00_start: 1 of 2 solved"
    assert lines[1] == "    questions_needed: not run yet"
    assert lines[2] == "01_data: 0 of 1 solved"
    nbformat.write(notebook("a", text=RIGHT + WRONG), tmp_path / "00_start.ipynb")
    assert checks.report(tmp_path)[1] == "    questions_needed: not solved yet."
    assert checks.report(tmp_path)[-1].startswith("all: 1 of ")


def test_progress_reads_what_a_check_prints(tmp_path, capsys):
    from medr1_lib.course import checks

    checks.wilson(lambda right, n: (0, 1))
    told = capsys.readouterr().out
    nbformat.write(notebook("a", text=told), tmp_path / "00_start.ipynb")
    assert checks.report(tmp_path)[1].startswith(
        "    wilson: not right yet, right in 0 of 4 cases. wilson(0, 20) gives"
    )


@pytest.mark.parametrize("text", ["{", "{}", '{"cells": [1]}'])
def test_progress_names_what_is_no_notebook(tmp_path, text):
    with pytest.raises(InputError, match="holds no chapters"):
        checks.report(tmp_path)
    (tmp_path / "00_start.ipynb").write_text(text)
    with pytest.raises(InputError, match=r"00_start.ipynb: is no sound notebook"):
        checks.report(tmp_path)


def test_canonical_text_keeps_what_a_copy_was_made_from(chapters, tmp_path):
    lab.refresh(chapters, tmp_path)
    copy = nbformat.read(tmp_path / "00_start.ipynb", as_version=4)
    assert nbformat.reads(canonical.text(copy), 4).metadata.medr1.made_from
