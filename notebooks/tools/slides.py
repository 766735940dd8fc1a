"""Slides of each chapter, from the same source: `python -m notebooks.tools.slides`.

A slide begins at each heading; a cell with code comes up below the text before it. The solutions
are left out. Pages are Reveal's, through nbconvert; what they load from the network (Reveal itself)
is named by `--reveal`, a folder or an address.
"""

import argparse
import sys
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode

from medr1_lib.cli import exit_status
from notebooks.tools import kernel, run, sources

OUT = kernel.ROOT / "_output" / "slides"
WORDS = 60  # of a text cell that is shown whole; the rest of a longer one is for the speaker


def main(arguments: list[str]) -> int:
    """Write one page for each chapter."""
    parser = argparse.ArgumentParser(prog="notebooks.tools.slides", description=__doc__)
    parser.add_argument("chapters", nargs="*", help="numbers, all if none is given")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="folder to write to")
    parser.add_argument("--reveal", help="where Reveal lies; nbconvert's own address if not said")
    options = parser.parse_args(arguments)
    exporter = SlidesExporter()
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    if options.reveal:
        exporter.reveal_url_prefix = options.reveal
    for path in run.chosen(kernel.NOTEBOOKS, tuple(options.chapters)):
        page, _ = exporter.from_notebook_node(slides(nbformat.read(path, as_version=4)))
        kernel.write(options.out / f"{path.stem}.html", page)
        print(f"wrote {options.out / path.stem}.html")
    return 0


def slides(notebook: NotebookNode) -> NotebookNode:
    """The notebook as slides: one for each heading, code and pictures below it, prose as notes."""
    notebook = sources.without_solutions(notebook)
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            hidden = {"remove-cell", "hide-cell"} & set(cell.metadata.get("tags", []))
            cells.append(_as(cell, "skip" if hidden else "fragment"))
            continue
        first, _, rest = cell.source.partition("\n")
        if not first.startswith("#"):
            cells.append(_as(cell, "fragment" if len(cell.source.split()) <= WORDS else "notes"))
            continue
        cells.append(_as(nbformat.v4.new_markdown_cell(first), _level(first)))
        if rest.strip():
            kind = "fragment" if len(rest.split()) <= WORDS else "notes"
            cells.append(_as(nbformat.v4.new_markdown_cell(rest.strip()), kind))
    notebook.cells = cells
    return notebook


def _as(cell: NotebookNode, kind: str) -> NotebookNode:
    cell.metadata["slideshow"] = {"slide_type": kind}
    return cell


def _level(heading: str) -> str:
    """A heading of a section begins a slide, a smaller one a slide below it."""
    return "subslide" if heading.startswith("###") else "slide"


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
