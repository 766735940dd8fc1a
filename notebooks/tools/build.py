"""Build the notebooks from their text sources: `python -m notebooks.tools.build`.

Each `notebooks/_src/NN_name.py` becomes `notebooks/NN_name.ipynb`, the students' copy, executed at
the laptop tier, and `notebooks/solutions/NN_name.ipynb`, executed at the replay tier. The same
source gives the same bytes.
"""

import argparse
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from medr1_lib.cli import exit_status
from medr1_lib.course import tiers
from medr1_lib.errors import InputError
from notebooks.tools import canonical, kernel, sources

TIERS = {"": "laptop", "solutions": "replay"}  # folder below notebooks/: tier of what it stores
HANDOUTS = kernel.ROOT / "_output" / "handouts"


def main(arguments: list[str]) -> int:
    """Build, check or hand out; 1 if a check found a notebook that is not what its source gives."""
    parser = argparse.ArgumentParser(prog="notebooks.tools.build", description=__doc__)
    parser.add_argument(
        "chapters", nargs="*", help="numbers or names to build, all if none is given"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check", action="store_true", help="write nothing, compare all but outputs"
    )
    instead.add_argument(
        "--keep-outputs",
        action="store_true",
        help="execute nothing: new sources over the stored outputs, and the minutes recorded last",
    )
    instead.add_argument(
        "--no-solutions",
        action="store_true",
        help="write students' copies without the folded solutions",
    )
    parser.add_argument(
        "--execute", action="store_true", help="with --check: outputs too, to the byte"
    )
    parser.add_argument(
        "--out", type=Path, default=HANDOUTS, metavar="DIR", help="with --no-solutions: where to"
    )
    options = parser.parse_args(arguments)
    if options.no_solutions:
        return hand_out(options.chapters, kernel.NOTEBOOKS, options.out)
    chosen = _sources(kernel.NOTEBOOKS, options.chapters)
    if not options.check:
        for source in chosen:
            build(source, kernel.NOTEBOOKS, options.keep_outputs)
        return 0
    stale = [] if options.chapters else orphans(kernel.NOTEBOOKS)
    stale += [
        path for source in chosen for path in changed(source, kernel.NOTEBOOKS, options.execute)
    ]
    for path in stale:
        print(f"stale: {path} is not what its source gives")
    if stale:
        print(
            "Authors: run `make notebooks` and commit what it writes. If you have worked in these "
            "files: move them to work/ and run `git checkout notebooks`; `make lab` opens copies."
        )
    return 1 if stale else 0


def variants(source: Path) -> dict[str, NotebookNode]:
    """The notebooks of one source, not executed, by their folder below `notebooks/`."""
    notebook = sources.with_colab(sources.read(source), source.stem, sources.REPOSITORY)
    return {"": sources.student(notebook), "solutions": sources.solution(notebook)}


def build(source: Path, notebooks: Path, keep_outputs: bool = False) -> None:
    """Execute both notebooks of one source and write them, together or not at all.

    Args:
        source: The chapter below `_src/`.
        notebooks: The folder that the notebooks go to.
        keep_outputs: Take the stored outputs instead of executing, for changes of names and prose.

    Raises:
        InputError: If the students' notebook holds somebody's answers, or outputs are to be kept
            and the stored notebook has other cells.
    """
    written = {}
    _refuse_answers(notebooks / f"{source.stem}.ipynb", variants(source)[""])
    for folder, notebook in variants(source).items():
        path = notebooks / folder / f"{source.stem}.ipynb"
        if keep_outputs:
            _take_outputs(notebook, path)
            _renew_banner(notebook, int(source.stem[:2]), TIERS[folder])
        else:
            kernel.execute(notebook, TIERS[folder])
        written[path] = canonical.text(notebook)
    for path, text in written.items():
        kernel.write(path, text)
        print(f"wrote {path} ({len(text) / 1000:.0f} kB)")


def _refuse_answers(path: Path, new: NotebookNode) -> None:
    """Let nobody's work be overwritten: an exercise must be a stub, the new one or an older."""
    if not path.exists():
        return
    stubs = {cell.source for cell in new.cells}
    for cell in nbformat.read(path, as_version=4).cells:
        exercise = "exercise" in cell.metadata.get("tags", [])
        if exercise and cell.source not in stubs and not sources.is_stub(cell.source):
            raise InputError(
                path,
                f"holds an answer that building would overwrite: {cell.source.splitlines()[0]}",
                "move the file elsewhere and build again; `make lab` opens copies of your own",
            )


def _take_outputs(notebook: NotebookNode, path: Path) -> None:
    """Give the code cells of a new notebook the outputs of the stored one's, in their order."""
    stored = nbformat.read(path, as_version=4) if path.exists() else nbformat.v4.new_notebook()
    new, old = (
        [cell for cell in tracked.cells if cell.cell_type == "code"]
        for tracked in (notebook, stored)
    )
    if len(new) != len(old):
        raise InputError(
            path,
            f"has {len(old)} code cells and its source {len(new)}, so outputs cannot be kept",
            "build the chapter without --keep-outputs",
        )
    for cell, before in zip(new, old, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    if "widgets" in stored.metadata:
        notebook.metadata["widgets"] = stored.metadata["widgets"]


def _renew_banner(notebook: NotebookNode, chapter: int, tier: str) -> None:
    """Let the stored banner say what was timed last: it depends on nothing that is executed."""
    lines = tiers.banner(chapter, tiers.TIERS[tier]).split("\n")
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            told = output.get("text", "").split("\n")
            if told[0].startswith(f"Chapter {chapter:02d} at the "):
                output["text"] = "\n".join([*lines, *told[len(lines) :]])


def changed(source: Path, notebooks: Path, execute: bool = False) -> list[Path]:
    """The notebooks of one source that are missing, or not what the source gives."""
    found = []
    for folder, notebook in variants(source).items():
        path = notebooks / folder / f"{source.stem}.ipynb"
        stored = path.read_text(encoding="utf-8") if path.exists() else ""
        if execute:
            kernel.execute(notebook, TIERS[folder])
        if not stored or not _same(stored, notebook, outputs=execute):
            found.append(path)
    return found


def _same(stored: str, notebook: NotebookNode, outputs: bool) -> bool:
    tracked = nbformat.reads(stored, as_version=4)
    if canonical.text(tracked) != stored:  # saved by JupyterLab, say
        return False
    return canonical.text(
        tracked if outputs else sources.without_outputs(tracked)
    ) == canonical.text(notebook)


def orphans(notebooks: Path) -> list[Path]:
    """Notebooks without a source."""
    known = {source.stem for source in _sources(notebooks)}
    tracked = [*notebooks.glob("*.ipynb"), *notebooks.glob("solutions/*.ipynb")]
    return [path for path in tracked if path.stem not in known]


def _sources(notebooks: Path, chapters: list[str] | None = None) -> list[Path]:
    found = sorted(notebooks.glob("_src/[0-9]*.py"))
    for chapter in chapters or []:
        if not any(source.stem.startswith(chapter) for source in found):
            known = ", ".join(source.stem for source in found)
            raise InputError(
                f"chapter {chapter!r}", "there is no such source", f"use one of {known}"
            )
    return [s for s in found if not chapters or s.stem.startswith(tuple(chapters))]


def hand_out(chapters: list[str], notebooks: Path, out: Path) -> int:
    """Write the students' copies of these chapters, all if none is named, without solutions.

    Raises:
        InputError: If there is no such chapter, or the folder cannot be written.
    """
    for source in _sources(notebooks, chapters):
        notebook = nbformat.read(notebooks / f"{source.stem}.ipynb", as_version=4)
        path = out / f"{source.stem}.ipynb"
        kernel.write(path, canonical.text(sources.without_solutions(notebook)))
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
