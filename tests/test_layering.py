"""The shape of the library: imports go one way, and it stays small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room may import itself, those named and what is shared; what is shared imports no room.
ROOMS = {
    "data": set(),
    "analysis": {"data"},
    "model": {"data"},
    "rl": {"data", "model"},
    "evaluation": {"data", "analysis", "model", "rl"},
    "course": {"data", "analysis", "model", "rl", "evaluation"},
}
SHARED = {"errors", "files", "provenance"}
FUNCTION = 60  # lines of one function at most, its docstring not counted
LIBRARY = 10600  # lines under medr1_lib/ at most, blank lines and docstrings counted
HEAVY = {"torch", "transformers", "trl", "peft"}  # seconds to import, and tables need none of them


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
    *folders, name = path.relative_to(library).with_suffix("").parts
    if not folders and name not in SHARED:  # the command line starts everything
        return []
    package = ".".join([library.name, *folders])
    allowed = {folders[0], *ROOMS[folders[0]], *SHARED} if folders else SHARED
    names = (
        name.split(".")
        for name in sorted(imported(ast.parse(path.read_text(encoding="utf-8")), package))
    )
    return [".".join(name) for name in names if name[0] == library.name and name[1] not in allowed]


def long_functions(path: Path) -> list[str]:
    """Functions over the limit, docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            if lines > FUNCTION:
                found.append(f"{node.name}: {lines} lines")
    return found


def length(library: Path) -> int:
    """Lines in all, the empty ones and the docstrings too."""
    return sum(len(path.read_text().splitlines()) for path in modules(library))


def test_imports_go_one_way():
    library = ROOT / "medr1_lib"
    found = {path.relative_to(ROOT).as_posix(): uphill(path, library) for path in modules(library)}
    assert {path: names for path, names in found.items() if names} == {}


def test_no_function_is_too_long_to_follow():
    folders = ("medr1_lib", "notebooks/tools", "tools", "benchmarks")
    paths = [path for folder in folders for path in modules(ROOT / folder)]
    found = {path.relative_to(ROOT).as_posix(): long_functions(path) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_library_stays_small():
    assert length(ROOT / "medr1_lib") <= LIBRARY


def test_analysis_loads_no_model_library():
    """In a process of its own: the tests before this one may have loaded them."""
    names = [
        f"medr1_lib.analysis.{p.stem}" for p in (ROOT / "medr1_lib/analysis").glob("[a-z]*.py")
    ]
    assert names
    code = (
        f"import importlib, sys; [importlib.import_module(n) for n in {names}]; print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) & HEAVY == set()


# Can these fail?


@pytest.mark.parametrize(
    ("place", "line", "found"),
    [
        ("data/a.py", "from medr1_lib.rl import grpo", ["medr1_lib.rl.grpo"]),
        ("data/a.py", "import medr1_lib.model.loading", ["medr1_lib.model.loading"]),
        ("data/a.py", "def f():\n    from medr1_lib import course", ["medr1_lib.course"]),
        ("data/deep/a.py", "from ...analysis import plots", ["medr1_lib.analysis.plots"]),
        ("rl/a.py", "from .. import course", ["medr1_lib.course"]),
        ("rl/a.py", "from medr1_lib.misc import helper", ["medr1_lib.misc.helper"]),
        ("rl/a.py", "from medr1_lib.data import question\nfrom . import grpo\nimport trl", []),
        ("course/a.py", "from medr1_lib.analysis import plots", []),
        ("files.py", "from medr1_lib.data import question", ["medr1_lib.data.question"]),
        ("files.py", "from medr1_lib.errors import InputError", []),
        ("cli.py", "from medr1_lib.course import doctor", []),
    ],
)
def test_an_import_that_goes_uphill_is_found(tmp_path, place, line, found):
    path = tmp_path / "medr1_lib" / place
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert uphill(path, tmp_path / "medr1_lib") == found


def test_a_long_function_is_found_whatever_its_docstring(tmp_path):
    path = tmp_path / "a.py"
    docstring = 'def f():\n    """One.\n\n    Two.\n    """\n'
    path.write_text(docstring + "    x = 1\n" * (FUNCTION - 1))
    assert long_functions(path) == []
    path.write_text(docstring + "    x = 1\n" * FUNCTION)
    assert long_functions(path) == [f"f: {FUNCTION + 1} lines"]


def test_every_line_is_counted(tmp_path):
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text('"""One.\n\nTwo."""\n\n# three\nx = 1\n')
    (tmp_path / "b.py").write_text("y = 2\n")
    assert length(tmp_path) == 7
