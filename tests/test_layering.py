"""The shape of the library: imports go one way, and every room stays small."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room may import itself and those named; `errors`, `provenance` and their like are for all.
ROOMS = {
    "data": set(),
    "analysis": {"data"},
    "model": {"data"},
    "rl": {"data", "model"},
    "evaluation": {"data", "analysis", "model", "rl"},
    "course": {"data", "analysis", "model", "rl", "evaluation"},
}
SHARED = {"errors", "files", "provenance", "arguments"}
MODULE, FUNCTION = 220, 40  # lines at most
LIBRARY = 8450  # lines of code at most: docstrings, comments and blank lines are free

DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules(library: Path) -> list[Path]:
    return sorted(library.rglob("*.py"))


def imported(tree: ast.AST, package: str) -> set[str]:
    """Modules that a file imports anywhere in it, relative imports spelled out."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parts, node.module or ""]) if node.level else node.module
            names |= {f"{base.rstrip('.')}.{alias.name}" for alias in node.names}
    return names


def uphill(path: Path, library: Path) -> list[str]:
    """Imports of a layer that comes later, and of anything that is no layer."""
    folders = path.relative_to(library).parts[:-1]
    if not folders:  # __main__ starts every command
        return []
    package = ".".join([library.name, *folders])
    allowed = {folders[0], *ROOMS[folders[0]], *SHARED}
    names = (name.split(".") for name in sorted(imported(ast.parse(path.read_text()), package)))
    return [".".join(name) for name in names if name[0] == library.name and name[1] not in allowed]


def long_functions(path: Path) -> list[str]:
    """Functions over the limit, docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            if lines > FUNCTION:
                found.append(f"{node.name}: {lines} lines")
    return found


def length(path: Path) -> int:
    return len(path.read_text().splitlines())


def code_lines(path: Path) -> int:
    """Lines that a reader has to follow."""
    text = path.read_text()
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node):
            docstrings |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(map(str.strip, text.splitlines()), start=1)
    return sum(bool(line) and line[0] != "#" and n not in docstrings for n, line in lines)


LIBRARY_MODULES = modules(ROOT / "medr1_lib")


@pytest.mark.parametrize("path", LIBRARY_MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_keeps_its_place_and_size(path):
    assert uphill(path, ROOT / "medr1_lib") == []
    assert long_functions(path) == []
    assert length(path) <= MODULE


@pytest.mark.parametrize(
    "path", sorted((ROOT / "notebooks/tools").rglob("*.py")), ids=lambda path: path.stem
)
def test_a_tool_keeps_its_size(path):
    assert long_functions(path) == []
    assert length(path) <= MODULE


def test_the_library_stays_small():
    assert sum(map(code_lines, LIBRARY_MODULES)) <= LIBRARY


# Can these fail?


@pytest.mark.parametrize(
    ("place", "line", "found"),
    [
        ("data/a.py", "from medr1_lib.rl import grpo", ["medr1_lib.rl.grpo"]),
        ("data/a.py", "import medr1_lib.model.tiny", ["medr1_lib.model.tiny"]),
        ("data/a.py", "def f():\n    from medr1_lib import course", ["medr1_lib.course"]),
        ("data/deep/a.py", "from ...analysis import plots", ["medr1_lib.analysis.plots"]),
        ("rl/a.py", "from .. import course", ["medr1_lib.course"]),
        ("rl/a.py", "from medr1_lib.misc import helper", ["medr1_lib.misc.helper"]),
        ("rl/a.py", "from medr1_lib.data import question\nfrom . import grpo\nimport trl", []),
        ("course/a.py", "from medr1_lib.analysis import plots", []),
        ("__main__.py", "from medr1_lib.course import doctor", []),
    ],
)
def test_an_import_that_goes_uphill_is_found(tmp_path, place, line, found):
    path = tmp_path / "medr1_lib" / place
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert uphill(path, tmp_path / "medr1_lib") == found


@pytest.mark.parametrize(("lines", "found"), [(39, []), (40, ["f: 41 lines"])])
def test_a_long_function_is_found_whatever_its_docstring(tmp_path, lines, found):
    path = tmp_path / "a.py"
    path.write_text('def f():\n    """One.\n\n    Two.\n    """\n' + "    x = 1\n" * lines)
    assert long_functions(path) == found


def test_only_code_is_counted(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        '"""One.\n\nTwo."""\n\n# three\nx = 1  # four\n\n\ndef f():\n    """F."""\n    return x\n'
    )
    assert code_lines(path) == 3
