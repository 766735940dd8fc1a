"""Open the course in JupyterLab, on copies of your own: `python -m notebooks.tools.lab`.

Each chapter is copied once to `work/`, which git ignores and no command deletes. A copy in which
nothing was typed follows its chapter when that changes; any other stays as it is. All further
arguments, as `--no-browser` or `--allow-root`, go to JupyterLab.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from medr1_lib.cli import exit_status
from medr1_lib.course import tiers
from medr1_lib.errors import InputError
from medr1_lib.files import atomic_write, writing
from notebooks.tools import kernel

WORK = kernel.ROOT / tiers.WORK
# Else JupyterLab asks in a box over the notebook whether it may fetch news, and looks for updates.
QUIET = Path(__file__).parent / "jupyter"


def main(arguments: list[str]) -> int:
    """Make or update the copies, tell what was done, and open the first chapter."""
    parser = argparse.ArgumentParser(prog="notebooks.tools.lab", description=__doc__)
    parser.add_argument("--tier", choices=tiers.TIERS, default=os.environ.get("MEDR1_TIER"))
    parser.add_argument(
        "--work", type=Path, default=WORK, metavar="DIR", help="folder of your copies (work)"
    )
    parser.add_argument("--copies-only", action="store_true", help="do not open JupyterLab")
    options, further = parser.parse_known_args(arguments)
    work = options.work.absolute()
    for line in refresh(kernel.NOTEBOOKS, work):
        print(line)
    if options.copies_only:
        return 0
    first = min(work.glob("[0-9]*.ipynb")).relative_to(work.parent)
    command = [sys.executable, "-m", "jupyterlab", *further, str(first)]
    own = kernel.places() | ({"MEDR1_TIER": options.tier} if options.tier else {})
    paths = filter(None, [str(QUIET), os.environ.get("JUPYTER_CONFIG_PATH")])
    own["JUPYTER_CONFIG_PATH"] = os.pathsep.join(paths)
    try:
        return subprocess.run(command, cwd=work.parent, env=os.environ | own).returncode
    except KeyboardInterrupt:  # which ends JupyterLab, too
        return 130


def refresh(notebooks: Path, work: Path) -> list[str]:
    """Copy every chapter that has no copy, update the untouched, and say so in a line for each.

    Raises:
        InputError: If there are no chapters, or the folder of the copies cannot be written.
    """
    chapters = sorted(notebooks.glob("[0-9]*.ipynb"))
    if not chapters:
        raise InputError(notebooks, "holds no chapters", "build them with `make notebooks`")
    with writing(work, "choose another folder with --work"):
        work.mkdir(parents=True, exist_ok=True)
        return [line for chapter in chapters if (line := _copy(chapter, work / chapter.name))]


def _copy(chapter: Path, copy: Path) -> str:
    """Bring one copy up to date unless somebody has typed in it; empty if nothing was to do."""
    notebook = nbformat.read(chapter, as_version=4)
    said = f"{copy.name}: copied to {copy.parent}"
    mark = fingerprint(notebook)
    if copy.exists():
        try:
            theirs = nbformat.read(copy, as_version=4)
        except ValueError:  # cut short, or no notebook
            return f"{copy.name}: your copy is no sound notebook; it was left as it is"
        made_from = theirs.metadata.get("medr1", {}).get("made_from")
        if made_from == mark:
            return ""
        if fingerprint(theirs) != made_from:
            return (
                f"{copy.name}: the chapter has changed, and your copy stays as it is, since you "
                "have typed in it; rename yours to get a new one"
            )
        said = f"{copy.name}: the chapter has changed, and your untouched copy with it"
    notebook.metadata.setdefault("medr1", {})["made_from"] = mark
    atomic_write(copy, (nbformat.writes(notebook) + "\n").encode())
    return said


def fingerprint(notebook: NotebookNode) -> str:
    """What a reader can type into: the sources of all cells, not their outputs."""
    cells = "\0".join(f"{cell.cell_type}\n{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(cells.encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
