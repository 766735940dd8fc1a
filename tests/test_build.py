"""Sources and what is built from them, on the example of the page for authors."""

import base64
import io
import json
import re
import runpy
import sys

import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from PIL import Image

from medr1_lib.errors import InputError
from notebooks.tools import build, canonical, kernel, sources

pytestmark = pytest.mark.slow  # kernels are started


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def outputs(path):
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(o.get("text", "") for cell in code(notebook) for o in cell.outputs)


def test_unsolved_and_solved_notebooks_both_run_to_the_end(built):
    students, solutions = (outputs(built / folder / "01_clean.ipynb") for folder in build.TIERS)
    assert "at the laptop tier" in students
    assert "not solved yet. Going on with the library's version" in students
    assert "at the replay tier" in solutions
    assert "right in 7 of 7 cases. Going on with yours" in solutions
    for text in (students, solutions):
        assert "options after cleaning: 2" in text


def test_building_again_gives_the_same_bytes(built):
    source = built / "_src" / "01_clean.py"
    assert build.changed(source, built) == []
    assert build.changed(source, built, execute=True) == []
    assert build.orphans(built) == []


def test_alt_text_and_tags_are_kept(built):
    notebook = nbformat.read(built / "01_clean.ipynb", as_version=4)
    assert [tags(cell) for cell in code(notebook)] == [[], ["exercise"], [], ["headline"], []]
    pictured = code(notebook)[-1]
    assert len(pictured.metadata["mystnb"]["image"]["alt"].split()) >= 5
    (drawn,) = (output for output in pictured.outputs if "image/png" in output.get("data", {}))
    stored = Image.open(io.BytesIO(base64.b64decode(drawn.data["image/png"])))
    assert stored.width // 2 == drawn.metadata["image/png"]["width"]  # sharp on any screen


def test_the_solution_is_folded_below_the_check_and_can_be_left_out(built):
    notebook = nbformat.read(built / "01_clean.ipynb", as_version=4)
    folded = [n for n, cell in enumerate(notebook.cells) if "solution" in tags(cell)]
    assert len(folded) == 1
    assert "checks.normalise" in notebook.cells[folded[0] - 1].source
    assert ".removesuffix(" in notebook.cells[folded[0]].source
    assert not any(".removesuffix(" in cell.source for cell in code(notebook))
    assert "lower()" not in json.dumps(sources.without_solutions(notebook))


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "execute", "stale"),
    [
        ("_src/01_clean.py", "Clean the", "Tidy the", False, 2),
        ("_src/01_clean.py", "Clean the", "Clean the", False, 0),
        ("_src/01_clean.py", "return text.strip()", "return text", False, 2),
        ("01_clean.ipynb", "Clean the", "Tidy the", False, 1),
        ("01_clean.ipynb", '"name": "python"', '"name": "python", "version": "3.11.7"', False, 1),
        ("solutions/01_clean.ipynb", "cleaning: 2", "cleaning: 3", False, 0),
        ("solutions/01_clean.ipynb", "cleaning: 2", "cleaning: 3", True, 1),
    ],
)
def test_a_change_on_one_side_is_found(course, file, old, new, execute, stale):
    edited(course / file, old, new)
    assert len(build.changed(course / "_src/01_clean.py", course, execute)) == stale


def test_missing_notebooks_and_notebooks_without_source_are_found(course):
    (course / "solutions/01_clean.ipynb").unlink()
    assert build.changed(course / "_src/01_clean.py", course) == [
        course / "solutions/01_clean.ipynb"
    ]
    (course / "02_gone.ipynb").write_text("{}")
    assert build.orphans(course) == [course / "02_gone.ipynb"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nbval: strict", "nbval: sometimes", "nbval is 'sometimes'"),
        ('tags=["headline"]', 'tags=["headlnie"]', "unknown tag headlnie"),
        (' tags=["exercise"]', "", "solution marks without the tag"),
        ("    # end solution\n", "", "once, equally indented"),
        ("    # solution\n", "    # Solution\n", "once, equally indented"),
        ("checks.normalise(normalise)", "normalise", "name = checks.name(name)"),
        ("def normalise", "def normalize", "name = checks.name(name)"),
    ],
)
def test_a_source_that_is_not_sound_is_refused(course, old, new, words):
    source = course / "_src" / "01_clean.py"
    edited(source, old, new)
    with pytest.raises(InputError, match=re.escape(words)):
        sources.read(source)


def test_a_chapter_that_fails_leaves_its_notebooks_alone(course):
    before = (course / "01_clean.ipynb").read_text()
    source = course / "_src/01_clean.py"
    source.write_text(source.read_text() + "\n# %%\n1 / 0\n")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        build.build(source, course)
    assert (course / "01_clean.ipynb").read_text() == before


def test_outputs_can_be_kept_where_they_cannot_change(course):
    source = course / "_src/01_clean.py"
    before = {path: nbformat.read(path, as_version=4) for path in course.rglob("*.ipynb")}
    edited(source, "Clean the", "Tidy the")
    edited(source, "for text in", "for option in")
    edited(source, "normalise(text) for", "normalise(option) for")
    assert len(build.changed(source, course)) == 2
    build.build(source, course, keep_outputs=True)
    assert build.changed(source, course) == []
    for path, old in before.items():
        new = nbformat.read(path, as_version=4)
        assert "Tidy the" in new.cells[0].source
        assert "normalise(option) for option in" in new.cells[-2].source
        assert [cell.outputs for cell in code(new)] == [cell.outputs for cell in code(old)]
        assert [cell.execution_count for cell in code(new)] == [1, 2, 3, 4, 5]


def test_kept_outputs_have_the_minutes_that_were_recorded_last(course, monkeypatch):
    text = "Chapter {:02d} at the {} tier: a model\nRunning it all took 9 minutes\nCaution."
    monkeypatch.setattr(build.tiers, "banner", lambda number, tier: text.format(number, tier.name))
    build.build(course / "_src/01_clean.py", course, keep_outputs=True)
    for folder, tier in build.TIERS.items():
        told = outputs(course / folder / "01_clean.ipynb")
        assert text.format(1, tier) in told
        assert told.count("Running it all") == 1


@pytest.mark.parametrize("extra", ["\n# %%\nx = 1\n", "\n# %%\nx = 1\n\n# %%\ny = 2\n"])
def test_outputs_are_not_kept_where_a_cell_came_or_went(course, extra):
    source = course / "_src/01_clean.py"
    before = [path.read_bytes() for path in course.rglob("*.ipynb")]
    source.write_text(source.read_text() + extra)
    with pytest.raises(InputError, match=r"has 5 code cells and its source [67]"):
        build.build(source, course, keep_outputs=True)
    assert [path.read_bytes() for path in course.rglob("*.ipynb")] == before
    (course / "01_clean.ipynb").unlink()
    with pytest.raises(InputError, match="has 0 code cells"):
        build.build(source, course, keep_outputs=True)


@pytest.mark.parametrize("words", ["build 99", "run --chapters 99", "grade --cases 99 99"])
def test_bad_input_is_one_line_and_status_2(words, monkeypatch, capsys):
    command, *rest = words.split()
    monkeypatch.setattr(sys, "argv", [command, *rest])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"notebooks.tools.{command}", run_name="__main__")
    assert ended.value.code == 2
    assert re.fullmatch(r"error: .*99.*\n", capsys.readouterr().err)


WIDGETS = """
# %%
import ipywidgets

first, second, unseen = (ipywidgets.IntSlider(description=name) for name in "abc")
link = ipywidgets.jslink((first, "value"), (second, "value"))
ipywidgets.VBox([first, second])

# %%
object()
"""


def test_widgets_and_addresses_are_stored_the_same_each_time(example):
    texts = []
    for _ in range(2):
        notebook = sources.student(sources.jupytext.reads(example + WIDGETS, fmt="py:percent"))
        kernel.execute(notebook, "laptop")
        texts.append(canonical.text(notebook))
    assert texts[0] == texts[1]
    assert "at 0x0" in texts[0]
    stored = nbformat.reads(texts[0], as_version=4)
    state = stored.metadata.widgets[canonical.STATE]["state"]
    names = sorted(model["model_name"] for model in state.values())
    assert names.count("IntSliderModel") == 2, "the slider that is not shown is not stored"
    assert names.count("LinkModel") == 1
    assert {int(model, 16) for model in state} == set(range(len(state)))


@pytest.mark.parametrize(("tier", "hours"), [("replay", 0.5), ("laptop", 0.5), ("gpu", 24)])
def test_a_cell_may_take_as_long_as_its_tier_needs(tier, hours, monkeypatch):
    asked = {}

    class Client:
        def __init__(self, notebook, **settings):
            asked.update(settings)

        def execute(self, env):
            asked.update(env)

    monkeypatch.setattr(kernel, "NotebookClient", Client)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    kernel.execute(nbformat.v4.new_notebook(), tier)
    assert asked["timeout"] == 3600 * hours
    assert (asked.get("CUDA_VISIBLE_DEVICES") == "") == (tier != "gpu")


def test_a_stored_picture_is_lighter_and_looks_the_same():
    noise = np.random.default_rng(0).integers(0, 40, (60, 60, 3), np.uint8)
    whole = io.BytesIO()
    Image.fromarray(noise).save(whole, "png")
    shown = base64.b64encode(whole.getvalue()).decode()
    output = nbformat.v4.new_output("display_data", {"image/png": shown})
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    stored = canonical.text(notebook)
    (cell,) = nbformat.reads(stored, as_version=4).cells
    light = base64.b64decode(cell.outputs[0]["data"]["image/png"])
    assert len(light) < 0.6 * len(whole.getvalue())
    there = np.asarray(Image.open(io.BytesIO(light)).convert("RGB"))
    assert np.abs(there.astype(int) - noise).max() < 16
    assert canonical.text(nbformat.reads(stored, as_version=4)) == stored
