"""Every solution in `notebooks/_src` passes its check; no chapter is run for that."""

import ast
import builtins
import symtable
from pathlib import Path

import pytest

from notebooks.tools import sources

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "notebooks/_src").glob("[0-9]*.py"))
IMPORTS = ast.Import | ast.ImportFrom


def given(statement):
    """The names that a statement of a chapter gives to those after it."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, IMPORTS):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and is_stored(n)}


def is_stored(name):
    return isinstance(name.ctx, ast.Store)


def needed(statement):
    """The names that it takes from those before it."""
    found, tables = set(), [symtable.symtable(ast.unparse(statement), "chapter", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        module = table.get_type() == "module"
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_referenced() and (module or symbol.is_global())
        }
    return found - set(vars(builtins))


def solved(source):
    """For each exercise its name and the statements that its check needs, in their order."""
    before, found = [], []
    exercise = False
    for cell in sources.solution(sources.read(source)).cells:
        if cell.cell_type != "code":
            continue
        lines = (f"pass  # {x}" if x.startswith(("%", "!")) else x for x in cell.source.split("\n"))
        before += ast.parse("\n".join(lines)).body
        if exercise:  # this cell is the check
            found.append((before[-1].targets[0].id, minimal(before)))
        exercise = "exercise" in cell.metadata.get("tags", [])
    return found


def minimal(statements):
    """The last statement and those before it that it builds on."""
    kept, names = [statements[-1]], needed(statements[-1])
    for statement in reversed(statements[:-1]):
        if given(statement) & names:
            names = (names - given(statement)) | needed(statement)
            kept.insert(0, statement)
    return kept


def line_of_check(statements, capsys):
    """What the check prints, which is the last line."""
    module = ast.Module([*statements], type_ignores=[])
    exec(compile(module, "chapter", "exec"), {"__name__": "chapter"})
    return capsys.readouterr().out.splitlines()[-1]


CASES = [
    pytest.param(statements, id=f"{source.stem[:2]}-{name}")
    for source in SOURCES
    for name, statements in solved(source)
]


@pytest.mark.parametrize("statements", CASES)
def test_a_solution_passes_its_check(statements, capsys):
    assert line_of_check(statements, capsys).endswith("Going on with yours.")


@pytest.mark.parametrize(
    ("solution", "ending"),
    [
        ('text.strip().lower().removesuffix(".")', "Going on with yours."),
        ("text.strip().lower()", "Going on with the library's version."),
    ],
)
def test_a_wrong_solution_is_found(example, tmp_path, capsys, solution, ending):
    path = tmp_path / "01_clean.py"
    path.write_text(example.replace('text.strip().lower().removesuffix(".")', solution))
    ((name, statements),) = solved(path)
    assert name == "normalise"
    assert len(statements) == 3, "the import, the exercise and its check"
    assert line_of_check(statements, capsys).endswith(ending)
