"""What nbval does not see: form, access, freshness, and that no solution leaks."""

import ast
import base64
import copy
import io
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient.exceptions import CellExecutionError
from PIL import Image

from medr1_lib.errors import InputError
from notebooks.tools import build, canonical, kernel, sources

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/_src").glob("[0-9]*.py"))
NOTEBOOKS = [
    ROOT / "notebooks" / folder / f"{source.stem}.ipynb"
    for source in SOURCES
    for folder in build.TIERS
]
PICTURES = {"image/png", "image/jpeg", "image/svg+xml"}
HEADINGS = (
    "## What you will do",
    "## What you will learn",
    "## What you will need",
    "## What you saw",
    "## Where to go next",
)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook):
    """The author's words: without the folded solutions, which are generated."""
    return "\n".join(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "markdown" and "solution" not in tags(cell)
    )


def tags(cell):
    return cell.metadata.get("tags", [])


def kinds(cell):
    return {kind for output in cell.outputs for kind in output.get("data", {})}


def library_functions():
    """Every function of the library's modules, by name."""
    found = {}
    for path in (ROOT / "medr1_lib").rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                found.setdefault(node.name, []).append(statements(node))
    return found


def statements(function):
    """What a function does, without docstring and annotations."""
    function = copy.deepcopy(function)
    if ast.get_docstring(function) is not None:
        function.body = function.body[1:]
    function.returns = None
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.dump(function)


# The rules: each takes one executed notebook and raises AssertionError where it is broken.


def rule_cells_were_executed_in_order(notebook):
    """Nbval compares nothing where an execution count is missing."""
    counts = [cell.execution_count for cell in code(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def rule_nothing_went_wrong(notebook):
    for cell in code(notebook):
        for output in cell.outputs:
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", f"on stderr: {output.get('text')}"


def rule_only_pictures_and_widgets_are_ignored(notebook):
    for cell in code(notebook):
        if "nbval-ignore-output" in tags(cell):
            assert kinds(cell) & {*PICTURES, canonical.VIEW}, f"could be compared: {cell.source}"


def rule_pictures_have_a_text(notebook):
    for cell in code(notebook):
        if kinds(cell) & PICTURES:
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 5, f"no alt text: {cell.source}"


def rule_outputs_are_small(notebook):
    assert len(nbformat.writes(notebook)) < 500_000
    for cell in code(notebook):
        for output in cell.outputs:
            assert len(json.dumps(output)) < 150_000, cell.source


def rule_cells_are_few_and_short(notebook):
    assert 15 <= len(code(notebook)) <= 30, f"{len(code(notebook))} code cells"
    lengths = sorted(len(cell.source.splitlines()) for cell in code(notebook))
    assert statistics.median(lengths) <= 6, f"median {statistics.median(lengths)}"
    assert lengths[-2] <= 25, f"cells of {lengths[-2:]} lines"
    assert lengths[-1] <= 40, f"a cell of {lengths[-1]} lines"


def rule_prose_and_code_are_in_balance(notebook):
    words = len(re.findall(r"\w+", prose(notebook))) / len(code(notebook))
    assert 45 <= words <= 110, f"{words:.0f} words per code cell"


def rule_sections_are_there(notebook):
    lines = prose(notebook).splitlines()
    assert [line for line in lines if line in HEADINGS] == list(HEADINGS)
    assert len([line for line in lines if line.startswith("# ")]) == 1, "one title"


def rule_the_first_cell_says_what_it_costs(notebook):
    first = code(notebook)[0]
    assert "tiers.start(" in first.source
    printed = "".join(output.get("text", "") for output in first.outputs)
    assert re.search(r"^Running it all (took [\d.]+ minutes on|has not been timed)", printed, re.M)
    assert "not for clinical use" in printed


def rule_exercises_are_announced(notebook):
    """With a heading, how hard and how long, and a hint; two to four of them."""
    tasks, latest = [], ""
    for cell in notebook.cells:
        latest = cell.source if cell.cell_type == "markdown" else latest
        if "exercise" in tags(cell):
            tasks.append(latest)
    assert 2 <= len(tasks) <= 4, f"{len(tasks)} exercises"
    for number, task in enumerate(tasks, start=1):
        assert f"### Exercise {number}: " in task
        assert re.search(r"(easy|medium|hard), \d+ minutes", task), task
        assert "<summary>Hint</summary>" in task, task


def rule_a_headline_is_marked(notebook):
    marked = [cell for cell in code(notebook) if "headline" in tags(cell)]
    assert 1 <= len(marked) <= 2
    assert all(cell.outputs for cell in marked)


def rule_a_lax_chapter_prints_a_verdict(notebook):
    verdicts = [cell for cell in code(notebook) if "nbval-check-output" in tags(cell)]
    assert notebook.metadata.medr1.nbval == "strict" or verdicts


def rule_shown_code_is_the_library_s(notebook):
    library = library_functions()
    for cell in code(notebook):
        if "return ...  # your code" in cell.source:
            continue
        for node in ast.parse(re.sub(r"^[%!].*$", "", cell.source, flags=re.M)).body:
            if isinstance(node, ast.FunctionDef) and node.name in library:
                assert statements(node) in library[node.name], f"{node.name} differs"


def rule_no_marks_are_left(notebook):
    for cell in notebook.cells:
        assert not sources.MARKER.search(cell.source), cell.source


RULES = {
    name.removeprefix("rule_"): rule for name, rule in globals().items() if name.startswith("rule_")
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_rule(path, rule):
    RULES[rule](nbformat.read(path, as_version=4))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_notebooks_are_what_the_source_gives(source):
    assert build.changed(source, ROOT / "notebooks") == []


def test_no_notebook_is_without_source():
    assert build.orphans(ROOT / "notebooks") == []


def leaks(source: Path, students: nbformat.NotebookNode) -> list[str]:
    """Solutions of a source that stand in a code cell of a notebook, however they are indented."""
    cells = [without_spaces(cell.source) for cell in code(students)]
    solved = [mark[0] for mark in sources.SOLUTION.finditer(source.read_text())]
    bodies = [without_spaces(sources.MARKER.sub("", text)) for text in solved]
    return [body for body in bodies if any(body in cell for cell in cells)]


def without_spaces(text):
    return "\n".join(filter(None, (line.strip() for line in text.splitlines())))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_solutions_are_in_the_solutions_only(source):
    count = len(sources.SOLUTION.findall(source.read_text()))
    students, solutions = (
        nbformat.read(ROOT / "notebooks" / folder / f"{source.stem}.ipynb", as_version=4)
        for folder in build.TIERS
    )
    assert leaks(source, students) == []
    assert len(leaks(source, solutions)) == count
    handed_out = json.dumps(sources.without_solutions(students))
    assert "<summary>Solution</summary>" not in handed_out


# Can the rules fail? A chapter that keeps them all, and one fault for each.


def printed(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def picture():
    return nbformat.v4.new_output("display_data", {"image/png": "AAAA"})


@pytest.fixture
def chapter():
    """A notebook that keeps every rule: an opening, 15 plain cells and two exercises."""
    new = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    code_cell, markdown_cell = new
    banner = "Running it all took 0.3 minutes on a machine.\nTeaching, not for clinical use.\n"
    cells = [
        markdown_cell("# 1 Title\n\n" + "\n\n".join(HEADINGS[:3])),
        code_cell("tier = tiers.start(1)", outputs=[printed(banner)]),
    ]
    for number in range(1, 15):
        cells += [markdown_cell("word " * 70), code_cell(f"print({number})")]
    for number in (1, 2):
        hint = "<details><summary>Hint</summary>\n\nLook.\n\n</details>"
        task = f"### Exercise {number}: do it\n*easy, 5 minutes*\n\n{hint}"
        stub = "def normalise(text):\n    return text.strip().lower().removesuffix('.')"
        exercise = code_cell(stub, metadata={"tags": ["exercise"]})
        cells += [
            markdown_cell(task),
            exercise,
            code_cell("normalise = checks.normalise(normalise)"),
        ]
    cells.append(markdown_cell("\n\n".join(HEADINGS[3:])))
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"medr1": {"nbval": "lax"}})
    code(notebook)[1].metadata["tags"] = ["headline", "nbval-check-output"]
    code(notebook)[1].outputs = [printed("accuracy: 61 %\n")]
    code(notebook)[2].outputs = [picture()]
    code(notebook)[2].metadata["mystnb"] = {"image": {"alt": "A bar chart of two options"}}
    for count, cell in enumerate(code(notebook), start=1):
        cell.execution_count = count
    return notebook


@pytest.mark.parametrize("rule", RULES)
def test_a_good_chapter_passes(chapter, rule):
    RULES[rule](chapter)


def retagged(number, *new):
    return lambda notebook: code(notebook)[number].metadata.update(tags=list(new))


def showing(number, output):
    return lambda notebook: code(notebook)[number].outputs.append(output)


def reading(number, source):
    return lambda notebook: code(notebook)[number].update(source=source)


def replaced(old, new) -> Callable:
    def fault(notebook):
        for cell in notebook.cells:
            cell.source = cell.source.replace(old, new)

    return fault


FAULTS = [
    ("cells_were_executed_in_order", lambda nb: code(nb)[3].update(execution_count=None)),
    ("cells_were_executed_in_order", lambda nb: code(nb)[3].update(execution_count=9)),
    ("nothing_went_wrong", showing(3, nbformat.v4.new_output("error", ename="E", evalue="e"))),
    ("nothing_went_wrong", showing(3, printed("UserWarning", "stderr"))),
    ("only_pictures_and_widgets_are_ignored", retagged(3, "nbval-ignore-output")),
    ("pictures_have_a_text", showing(3, picture())),
    (
        "pictures_have_a_text",
        lambda nb: code(nb)[2].metadata["mystnb"]["image"].update(alt="a.png"),
    ),
    ("outputs_are_small", showing(3, printed("x" * 200_000))),
    ("outputs_are_small", lambda nb: [showing(n, printed("x" * 140_000))(nb) for n in range(4)]),
    ("cells_are_few_and_short", lambda nb: nb.update(cells=nb.cells[:20])),
    ("cells_are_few_and_short", lambda nb: nb.update(cells=nb.cells * 2)),
    ("cells_are_few_and_short", replaced("print", "\n\n\n\n\n\n\nprint")),
    ("cells_are_few_and_short", reading(3, "x\n" * 41)),
    ("cells_are_few_and_short", lambda nb: [reading(n, "x\n" * 26)(nb) for n in (3, 4)]),
    ("prose_and_code_are_in_balance", replaced("word ", "")),
    ("prose_and_code_are_in_balance", replaced("word ", "three more words ")),
    ("sections_are_there", replaced("## What you saw", "## Summary")),
    ("sections_are_there", replaced("## What you saw", "# What you saw")),
    ("the_first_cell_says_what_it_costs", reading(0, "import medr1_lib")),
    ("the_first_cell_says_what_it_costs", lambda nb: code(nb)[0].update(outputs=[])),
    ("exercises_are_announced", lambda nb: [retagged(n)(nb) for n in (15, 17)]),
    ("exercises_are_announced", replaced("### Exercise 2", "### Exercise 1")),
    ("exercises_are_announced", replaced("easy, 5 minutes", "easy")),
    ("exercises_are_announced", replaced("Hint", "Tip")),
    ("a_headline_is_marked", retagged(1)),
    ("a_lax_chapter_prints_a_verdict", retagged(1, "headline")),
    ("shown_code_is_the_library_s", replaced(".lower()", "")),
    ("no_marks_are_left", reading(3, "def f():\n    # solution\n    return 1")),
]


@pytest.mark.parametrize(("rule", "fault"), FAULTS)
def test_a_faulty_chapter_fails(chapter, rule, fault):
    fault(chapter)
    with pytest.raises(AssertionError):
        RULES[rule](chapter)


def test_every_rule_has_a_fault():
    assert {rule for rule, _ in FAULTS} == set(RULES)


# Sources and what is built from them, on the example of the page for authors.


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
    rule_pictures_have_a_text(notebook)
    assert kinds(code(notebook)[-1]) & PICTURES


def test_the_solution_is_folded_below_the_check_and_can_be_left_out(built):
    notebook = nbformat.read(built / "01_clean.ipynb", as_version=4)
    folded = [n for n, cell in enumerate(notebook.cells) if "solution" in tags(cell)]
    assert len(folded) == 1
    assert "checks.normalise" in notebook.cells[folded[0] - 1].source
    assert ".removesuffix(" in notebook.cells[folded[0]].source
    assert leaks(built / "_src" / "01_clean.py", notebook) == []
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


def test_an_unknown_chapter_is_named():
    with pytest.raises(InputError, match="chapter '99'"):
        build.main(["99"])


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
