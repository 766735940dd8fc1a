"""`make course` and the validation of stored notebooks, on the example chapter."""

import json
import re

import nbformat
import pytest

from medr1_lib.course import tiers
from medr1_lib.errors import InputError
from notebooks.tools import run, validate


@pytest.mark.slow
def test_a_course_is_run_beside_the_notebooks(course, tmp_path, capsys):
    before = {path: path.read_bytes() for path in course.rglob("*") if path.is_file()}
    (result,), failed = run.course(run.chosen(course), tmp_path / "out", "laptop")
    assert failed == []
    assert {path: path.read_bytes() for path in course.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().out.startswith("[1/1] 01_clean ... ")
    assert result.cells == 5
    assert result.headline == ["options after cleaning: 2"]
    assert [path.name for path in result.figures] == ["01_clean-1.png"]
    assert result.figures[0].read_bytes().startswith(b"\x89PNG")
    executed = nbformat.read(tmp_path / "out" / "01_clean.ipynb", as_version=4)
    assert "laptop tier" in executed.cells[1].outputs[0].text


@pytest.mark.slow
def test_a_chapter_that_fails_stops_the_course(course, tmp_path, capsys):
    broken = nbformat.read(course / "01_clean.ipynb", as_version=4)
    broken.cells.insert(3, nbformat.v4.new_code_cell("share = 1 / 0"))
    nbformat.write(broken, course / "00_breaks.ipynb")
    both = run.chosen(course)
    assert run.course(both, tmp_path / "out", "laptop") == ([], ["00_breaks"])
    told = capsys.readouterr().out
    assert "[1/2] 00_breaks ... FAILED" in told
    assert "share = 1 / 0\n\nZeroDivisionError: division by zero" in told
    assert "01_clean" not in told, "it went on"
    assert (tmp_path / "out" / "00_breaks.ipynb").exists()
    results, failed = run.course(both, tmp_path / "out", "laptop", keep_going=True)
    assert [result.chapter for result in results] == ["01_clean"]
    assert failed == ["00_breaks"]


@pytest.mark.parametrize("flags", [[], ["--keep-going"]])
def test_main_says_by_its_status_that_a_chapter_failed(monkeypatch, capsys, flags):
    monkeypatch.setattr(run, "course", lambda *arguments: (RESULTS, ["03_x"]))
    assert run.main(flags) == 1
    told = capsys.readouterr().out
    assert "failed: 03_x" in told
    assert ("00_start_here" in told) == bool(flags)


def test_chapters_are_chosen_by_number(monkeypatch, capsys):
    seen = []

    def remember(chapters, *others):
        seen.append([path.name[:2] for path in chapters])
        return RESULTS, []

    monkeypatch.setattr(run, "course", remember)
    assert run.main(["--chapters", "03,01"]) == 0
    assert seen == [["01", "03"]]
    with pytest.raises(InputError, match="chapter '77': there is none; use some of 00, 01"):
        run.main(["--chapters", "77"])
    with pytest.raises(SystemExit):
        run.main(["--chapters", "03", "--record"])
    assert "--chapters cannot be said" in capsys.readouterr().err
    assert len(seen) == 1


def test_a_folder_that_cannot_be_written_is_told_in_a_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .* with --out"):
        run.course([], tmp_path / "file" / "out", "replay")


def test_a_folder_without_chapters_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no chapters"):
        run.chosen(tmp_path)
    with pytest.raises(InputError, match="holds no chapters"):
        validate.main([], tmp_path)


RESULTS = [
    run.Result("00_start_here", 0.24, 18, ["tiers: 2"], []),
    run.Result("01_meet_the_data", 1.5, 20, ["a: 1 %", "b: 2 %"], []),
]


def test_the_table_has_a_line_for_each_headline():
    assert run.table(RESULTS).splitlines() == [
        "chapter           minutes  cells  headline",
        "00_start_here         0.2     18  tiers: 2",
        "01_meet_the_data      1.5     20  a: 1 %",
        "                                  b: 2 %",
        "all                   1.7",
    ]


def test_recorded_minutes_come_back_in_the_banner(tmp_path, monkeypatch):
    path = tmp_path / "data" / tiers.COSTS
    monkeypatch.setenv("MEDR1_HOME", str(tmp_path))
    run.record(RESULTS, "laptop", path)
    run.record(RESULTS[:1], "replay", path)
    costs = json.loads(path.read_text())
    assert costs["laptop"]["minutes"] == {"00": 0.2, "01": 1.5}
    banner = tiers.banner(1, tiers.TIERS["laptop"])
    assert (
        f"took 1.5 minutes on {costs['laptop']['hardware']} ({costs['laptop']['date']})" in banner
    )
    assert "has not been timed" in tiers.banner(1, tiers.TIERS["replay"])


def stored(path, mode, *tags):
    """A notebook of one cell, whose stored output is not what it prints."""
    wrong = nbformat.v4.new_output("stream", text="3\n")
    cell = nbformat.v4.new_code_cell("print(2)", execution_count=1, outputs=[wrong])
    cell.metadata.tags = list(tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        nbformat.v4.new_notebook(cells=[cell], metadata={"medr1": {"nbval": mode}}), path
    )


@pytest.mark.slow
def test_stored_notebooks_validate(course, capsys):
    stored(course / "02_lax.ipynb", "lax", "headline")
    assert validate.main([], course) == 0
    told = capsys.readouterr().out
    passed = re.findall(r"^\[\d/2\] (\S+) \.\.\. [\d.]+ min$", told, re.M)
    assert sorted(passed) == ["01_clean", "02_lax"]
    assert validate.main(["--solutions"], course) == 0
    assert re.fullmatch(r"\[1/1\] 01_clean \.\.\. [\d.]+ min\n", capsys.readouterr().out)


@pytest.mark.slow
def test_a_wrong_output_fails_where_outputs_count(tmp_path, capsys):
    stored(tmp_path / "01_strict.ipynb", "strict", "headline")
    stored(tmp_path / "02_verdict.ipynb", "lax", "headline", "nbval-check-output")
    assert validate.main([], tmp_path) == 1
    told = capsys.readouterr().out
    failed = re.findall(r"^\[\d/2\] (\S+) \.\.\. FAILED$", told, re.M)
    assert sorted(failed) == ["01_strict", "02_verdict"]
    assert "mismatch 'stdout'" in told


def test_the_longest_chapter_is_first_and_solutions_are_apart(tmp_path, monkeypatch):
    for name in ("10_a", "05_b", "solutions/10_a"):
        stored(tmp_path / f"{name}.ipynb", "strict")
    seen = []

    def nothing(path):
        seen.append(path.relative_to(tmp_path).as_posix())
        return 0.0, ""

    monkeypatch.setattr(validate, "validate", nothing)
    monkeypatch.setattr(validate, "_recorded_minutes", lambda: {"10": 0.5, "05": 2.0})
    assert validate.main([], tmp_path) == 0
    assert seen == ["05_b.ipynb", "10_a.ipynb"]
    assert validate.main(["--solutions"], tmp_path) == 0
    assert seen[2:] == ["solutions/10_a.ipynb"]
