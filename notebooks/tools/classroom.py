"""Write what a class gets, as one zip file: `python -m notebooks.tools.classroom --out class.zip`.

The chapters without solutions and without outputs, the library, the data, and what installs them.
Left out are the chapters' sources, the solutions, the wrong answers of the tests and the grading.
The library holds the reference of every exercise, so exercises are for practice, not for marks.
"""

import argparse
import sys
import zipfile
from pathlib import Path

import nbformat

from medr1_lib.cli import exit_status
from medr1_lib.errors import InputError
from notebooks.tools import canonical, kernel, sources

TOP = "medr1-class"  # the folder in the zip
OUT = kernel.ROOT / "_output" / "class.zip"
FILES = ("pyproject.toml", "requirements.lock", "environment.yml", "LICENSE", "LICENSE-TEXT")
FOLDERS = ("medr1_lib", "data")
TOOLS = (
    "kernel.py",
    "lab.py",
    "run.py",
    "sources.py",
    "offline/sitecustomize.py",
    "jupyter/labconfig/page_config.json",
)
PAGES = ("glossary.md", "one_gpu.md", "troubleshooting.md")  # that chapters name
HANDOUT = "notebooks/tools/handout"  # its README and Makefile take the places of ours
DATE = (2026, 1, 1, 0, 0, 0)  # of every entry, so that the same course gives the same bytes


def main(arguments: list[str]) -> int:
    """Write the zip file and say what it holds."""
    parser = argparse.ArgumentParser(prog="notebooks.tools.classroom", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, metavar="ZIP", help="file to write")
    out = parser.parse_args(arguments).out
    entries = contents(kernel.ROOT)
    with kernel.writing_out(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(entries):
                archive.writestr(zipfile.ZipInfo(f"{TOP}/{name}", DATE), entries[name], 8)
    chapters = sum(name.endswith(".ipynb") for name in entries)
    print(
        f"wrote {out}: {chapters} chapters, {len(entries)} files, {out.stat().st_size / 1e6:.0f} MB"
    )
    return 0


def contents(root: Path) -> dict[str, bytes]:
    """Every file of the class's copy, by its path there.

    Raises:
        InputError: If there are no chapters.
    """
    chapters = sorted(root.glob("notebooks/[0-9]*.ipynb"))
    if not chapters:
        raise InputError(root / "notebooks", "holds no chapters", "build them: `make notebooks`")
    found = {name: (root / name).read_bytes() for name in FILES}
    found |= {name: (root / HANDOUT / name).read_bytes() for name in ("README.md", "Makefile")}
    found |= {f"book/{name}": (root / "book" / name).read_bytes() for name in PAGES}
    found |= {f"notebooks/tools/{n}": (root / "notebooks/tools" / n).read_bytes() for n in TOOLS}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found[path.relative_to(root).as_posix()] = path.read_bytes()
    return found | {f"notebooks/{path.name}": handout(path) for path in chapters}


def handout(path: Path) -> bytes:
    """A chapter as students get it: no solutions, and no outputs, which tell what should come."""
    notebook = sources.without_solutions(nbformat.read(path, as_version=4))
    return canonical.text(sources.without_outputs(notebook)).encode()


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
