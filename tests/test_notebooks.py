"""What nbval does not see: form, access, freshness, and that no solution leaks."""

import ast
import copy
import functools
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from notebooks.tools import build, canonical, sources

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/_src").glob("[0-9]*.py"))
PICTURES = {"image/png", "image/jpeg", "image/svg+xml"}
HEADINGS = (
    "## What you will do",
    "## What you will learn",
    "## What you will need",
    "## Quiz",
    "## What you saw",
    "## Where to go next",
)


@functools.cache
def stored():
    """Every stored notebook by its path below `notebooks/`, read once; no test changes them."""
    paths = [f"{folder}/{source.stem}.ipynb" for source in SOURCES for folder in build.TIERS]
    folder = ROOT / "notebooks"
    return {path.lstrip("/"): nbformat.read(f"{folder}/{path}", as_version=4) for path in paths}


def code(notebook):
    """The code cells of the author; the one that installs in Colab comes from the builder."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if "colab" not in tags(cell)]


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


@functools.cache
def library_functions():
    """Every function of the library's modules, by name; parsed once."""
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
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
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
    # Figures are stored at twice their size, to be sharp.
    assert len(nbformat.writes(notebook)) < 700_000
    for cell in code(notebook):
        for output in cell.outputs:
            assert len(json.dumps(output)) < 250_000, cell.source


def rule_cells_are_few_and_short(notebook):
    assert 15 <= len(code(notebook)) <= 30, f"{len(code(notebook))} code cells"
    lengths = sorted(len(cell.source.splitlines()) for cell in code(notebook))
    median = statistics.median(lengths)
    assert median <= 6, f"median {median}"
    assert lengths[-2] <= 25, f"cells of {lengths[-2:]} lines"
    assert lengths[-1] <= 40, f"a cell of {lengths[-1]} lines"


def rule_prose_and_code_are_in_balance(notebook):
    read, _, quiz = prose(notebook).partition("## Quiz")
    read += quiz.partition("## What you saw")[2]
    words = len(re.findall(r"\w+", read)) / len(code(notebook))
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


def rule_a_training_can_be_run_again_and_watched(notebook):
    """A finished run is never trained over, so the folder must be a new one each time."""
    for cell in code(notebook):
        if re.search(r"(?<![.\w])train\(", cell.source):
            assert re.search("mkdtemp|afresh", cell.source), "refused the second time"
            assert "callbacks=" in cell.source, "no progress is shown"


def rule_no_marks_are_left(notebook):
    for cell in notebook.cells:
        assert not sources.MARKER.search(cell.source), cell.source


RULES = {
    name.removeprefix("rule_"): rule for name, rule in globals().items() if name.startswith("rule_")
}


def broken(rule, notebook):
    """What a notebook does against a rule; nothing if it keeps it."""
    try:
        RULES[rule](notebook)
    except AssertionError as error:
        return str(error).partition("\n")[0] or "broken"
    return ""


@pytest.mark.parametrize("rule", RULES)
def test_every_notebook_keeps_the_rule(rule):
    found = {path: broken(rule, notebook) for path, notebook in stored().items()}
    assert {path: what for path, what in found.items() if what} == {}


def test_notebooks_are_what_the_sources_give():
    """What `build --check` says too; here it is said where only pytest is run."""
    assert [p for source in SOURCES for p in build.changed(source, ROOT / "notebooks")] == []
    assert build.orphans(ROOT / "notebooks") == []


def without_spaces(text):
    return "\n".join(filter(None, (line.strip() for line in text.splitlines())))


def solved(source: Path) -> list[str]:
    """The solutions of a source, however they are indented."""
    marked = [mark[0] for mark in sources.SOLUTION.finditer(source.read_text(encoding="utf-8"))]
    return [without_spaces(sources.MARKER.sub("", text)) for text in marked]


def leaks(source: Path, notebook: nbformat.NotebookNode) -> list[str]:
    """Solutions of a source that stand in a code cell of a notebook."""
    cells = [without_spaces(cell.source) for cell in code(notebook)]
    return [body for body in solved(source) if any(body in cell for cell in cells)]


def test_solutions_are_in_the_solutions_only():
    leaking, missing, handed_out = [], [], []
    for source in SOURCES:
        students = stored()[f"{source.stem}.ipynb"]
        solutions = stored()[f"solutions/{source.stem}.ipynb"]
        leaking += leaks(source, students)
        missing += sorted({*solved(source)} - {*leaks(source, solutions)})
        text = json.dumps(sources.without_solutions(students))
        handed_out += [source.stem] if "<summary>Solution</summary>" in text else []
    assert (leaking, missing, handed_out) == ([], [], [])


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


def test_a_good_chapter_passes(chapter):
    assert {rule: broken(rule, chapter) for rule in RULES} == dict.fromkeys(RULES, "")


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
    ("outputs_are_small", showing(3, printed("x" * 260_000))),
    ("outputs_are_small", lambda nb: [showing(n, printed("x" * 240_000))(nb) for n in range(4)]),
    ("cells_are_few_and_short", lambda nb: nb.update(cells=nb.cells[:20])),
    ("cells_are_few_and_short", lambda nb: nb.update(cells=nb.cells * 2)),
    ("cells_are_few_and_short", replaced("print", 6 * "\n" + "print")),
    ("cells_are_few_and_short", reading(3, "x\n" * 41)),
    ("cells_are_few_and_short", lambda nb: [reading(n, "x\n" * 26)(nb) for n in (3, 4)]),
    ("prose_and_code_are_in_balance", replaced("word ", "")),
    ("prose_and_code_are_in_balance", replaced("word ", "three more words ")),
    ("sections_are_there", replaced("## What you saw", "## Summary")),
    ("sections_are_there", replaced("## What you saw", "# What you saw")),
    ("sections_are_there", replaced("## Quiz", "### Quiz")),
    ("the_first_cell_says_what_it_costs", reading(0, "import medr1_lib")),
    ("the_first_cell_says_what_it_costs", lambda nb: code(nb)[0].update(outputs=[])),
    ("exercises_are_announced", lambda nb: [retagged(n)(nb) for n in (15, 17)]),
    ("exercises_are_announced", replaced("### Exercise 2", "### Exercise 1")),
    ("exercises_are_announced", replaced("easy, 5 minutes", "easy")),
    ("exercises_are_announced", replaced("Hint", "Tip")),
    ("a_headline_is_marked", retagged(1)),
    ("a_lax_chapter_prints_a_verdict", retagged(1, "headline")),
    ("shown_code_is_the_library_s", replaced(".lower()", "")),
    ("a_training_can_be_run_again_and_watched", reading(3, "train(x, p, callbacks=[live()])")),
    ("a_training_can_be_run_again_and_watched", reading(3, "train(x, tempfile.mkdtemp())")),
    ("no_marks_are_left", reading(3, "def f():\n    # solution\n    return 1")),
]


@pytest.mark.parametrize(("rule", "fault"), FAULTS)
def test_a_faulty_chapter_fails(chapter, rule, fault):
    fault(chapter)
    assert broken(rule, chapter)


def test_every_rule_has_a_fault():
    assert {rule for rule, _ in FAULTS} == set(RULES)
