"""A chapter's text source, and the two notebooks that it stands for.

`notebooks/_src/README.md` says how a source is written.
"""

import ast
import copy
import re
import tomllib
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from medr1_lib.errors import InputError

SOLUTION = re.compile(r"^([ \t]*)# solution\n.*?^\1# end solution$", re.M | re.S)
MARKER = re.compile(r"^[ \t]*# (end )?solution\n?", re.M)
STUB = r"\1return ...  # your code instead of this line"
FOLDED = "<details><summary>Solution</summary>\n\n```python\n{}\n```\n\n</details>"
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PROJECT["tool"]["medr1"]["repository"]  # empty while the course has no address
COLAB_BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
COLAB = """import sys

if "google.colab" in sys.modules:  # there the course is not installed yet; not tried by its authors
    %pip install -q git+{}"""
CHECK = re.compile(r"(\w+) = checks\.\1\(\1\)")

# A misspelt tag does nothing at all, so only these are let through.
TAGS = {
    "exercise",
    "headline",
    "solution",
    "colab",
    "nbval-ignore-output",
    "nbval-check-output",
} | {f"{verb}-{what}" for verb in ("hide", "remove") for what in ("cell", "input", "output")}
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read(path: Path) -> NotebookNode:
    """Read a source, with its solutions in their marks.

    Raises:
        InputError: If a tag, an exercise or the header is not as it has to be.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    mode = notebook.metadata.get("nbval")
    if mode not in ("strict", "lax"):
        raise InputError(path, f"nbval is {mode!r} in the header", "write `nbval: strict` or `lax`")
    for number, cell in enumerate(notebook.cells):
        problem = _problem(cell, notebook.cells[number + 1 : number + 2])
        if problem:
            raise InputError(f"{path}, cell {number}", problem, "see notebooks/_src/README.md")
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}, "medr1": {"nbval": mode}}
    )
    return notebook


def student(source: NotebookNode) -> NotebookNode:
    """The notebook that students get: stubs to fill, and each solution folded below its check."""
    notebook = copy.deepcopy(source)
    cells: list[NotebookNode] = []
    solved = ""
    for cell in notebook.cells:
        cells.append(cell)
        if _is_exercise(cell):
            solved = MARKER.sub("", cell.source).rstrip()
            cell.source = SOLUTION.sub(STUB, cell.source)
        elif solved:  # the check, which `read` made sure of
            folded = nbformat.v4.new_markdown_cell(FOLDED.format(solved))
            folded.metadata["tags"] = ["solution"]
            cells.append(folded)
            solved = ""
    notebook.cells = cells
    return _numbered(notebook)


def solution(source: NotebookNode) -> NotebookNode:
    """The same notebook with its exercises solved."""
    notebook = copy.deepcopy(source)
    for cell in notebook.cells:
        cell.source = MARKER.sub("", cell.source)
    return _numbered(notebook)


def with_colab(source: NotebookNode, stem: str, repository: str) -> NotebookNode:
    """The source with a badge that opens the chapter in Colab, and a cell that installs there.

    Without a repository it stays as it is.
    """
    if not repository:
        return source
    notebook = copy.deepcopy(source)
    place = repository.removeprefix("https://github.com/")
    address = f"https://colab.research.google.com/github/{place}/blob/main/notebooks/{stem}.ipynb"
    badge = nbformat.v4.new_markdown_cell(f"[![Open in Colab]({COLAB_BADGE})]({address})")
    install = nbformat.v4.new_code_cell(COLAB.format(repository))
    for cell in (badge, install):
        cell.metadata["tags"] = ["colab", "remove-cell"]  # the site loads nothing from outside
    notebook.cells[1:1] = [badge, install]
    return notebook


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """A student's notebook to hand out, its folded solutions left out."""
    notebook = copy.deepcopy(notebook)
    notebook.cells = [c for c in notebook.cells if "solution" not in c.metadata.get("tags", [])]
    return notebook


def without_outputs(notebook: NotebookNode) -> NotebookNode:
    """What follows from the source alone: everything but the results of execution."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def is_stub(cell: str) -> bool:
    """Whether nothing was typed into an exercise: its functions have no body but their docstring.

    Example:
        >>> is_stub("def f(x):\n    return ...  # your code instead of this line")
        True
        >>> is_stub("def f(x):\n    return x + 1")
        False
    """
    try:
        tree = ast.parse(cell)
    except SyntaxError:  # somebody is half way
        return False
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    bodies = (f.body[ast.get_docstring(f) is not None :] for f in functions)
    return all([ast.unparse(node) for node in body] == ["return ..."] for body in bodies)


def _numbered(notebook: NotebookNode) -> NotebookNode:
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        cell.source = cell.source.rstrip()
        kept = {key: cell.metadata[key] for key in ("tags", "mystnb") if key in cell.metadata}
        cell.metadata = nbformat.from_dict(kept)
    return notebook


def _is_exercise(cell: NotebookNode) -> bool:
    return "exercise" in cell.metadata.get("tags", [])


def _problem(cell: NotebookNode, following: list[NotebookNode]) -> str | None:
    """What is wrong with one cell of a source, given the cell after it."""
    unknown = set(cell.metadata.get("tags", [])) - TAGS
    if unknown:
        return f"unknown tag {', '.join(sorted(unknown))}"
    marks = len(MARKER.findall(cell.source))
    if not _is_exercise(cell):
        return "solution marks without the tag `exercise`" if marks else None
    if marks != 2 or not SOLUTION.search(cell.source):
        return "an exercise needs `# solution` and `# end solution` once, equally indented"
    check = CHECK.fullmatch(following[0].source) if following else None
    if check is None or f"def {check[1]}(" not in cell.source:
        return "the cell after an exercise has to be `name = checks.name(name)`"
    return None
