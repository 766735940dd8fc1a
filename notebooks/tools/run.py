"""Execute the course, chapter after chapter: `make course`.

Works on copies in `_output/course`, never on the notebooks themselves. Stops at the first chapter
that fails, with the cell that failed, unless `--keep-going` is said.
"""

import argparse
import base64
import datetime
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from medr1_lib.course import tiers
from medr1_lib.errors import InputError
from medr1_lib.provenance import hardware
from notebooks.tools import kernel, sources

OUT = kernel.ROOT / "_output" / "course"
COSTS = kernel.ROOT / "data" / tiers.COSTS
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError, kernel.OnlineError)


@dataclass(frozen=True)
class Result:
    """What became of one chapter.

    Attributes:
        chapter: Its name (`01_meet_the_data`).
        minutes: Wall-clock time, the start of the kernel included.
        cells: Code cells executed.
        headline: The lines that its `headline` cells printed.
        figures: Pictures written below `figures/`.
    """

    chapter: str
    minutes: float
    cells: int
    headline: list[str]
    figures: list[Path]


def main(arguments: list[str]) -> int:
    """Execute all chapters and print the table; 1 if one fails."""
    parser = argparse.ArgumentParser(prog="notebooks.tools.run", description=__doc__)
    parser.add_argument("--tier", choices=tiers.TIERS, default="laptop")
    parser.add_argument(
        "--chapters",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="03,05",
        help="only these",
    )
    parser.add_argument(
        "--keep-going", action="store_true", help="go on with the next chapter where one fails"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="folder to write to")
    parser.add_argument("--record", action="store_true", help=f"write the minutes to {COSTS.name}")
    options = parser.parse_args(arguments)
    if options.record and options.chapters:
        parser.error("--record takes the minutes of all chapters, so --chapters cannot be said")
    chapters = chosen(kernel.NOTEBOOKS, options.chapters)
    results, failed = course(chapters, options.out, options.tier, options.keep_going)
    if results and (options.keep_going or not failed):
        figures = sum(len(result.figures) for result in results)
        print(f"\n{table(results)}\n\nExecuted notebooks: {options.out}; {figures} figures there")
    if failed:
        print(f"failed: {', '.join(failed)}")
        return 1
    if options.record:
        record(results, options.tier, COSTS)
        print(f"Minutes recorded in {COSTS}; `make notebooks` brings them into the banners")
    return 0


def chosen(notebooks: Path, numbers: tuple[str, ...] = ()) -> list[Path]:
    """The chapters of a folder with these numbers, all if none is named.

    Raises:
        InputError: If the folder holds no chapters, or none with a number.
    """
    chapters = sorted(notebooks.glob("[0-9]*.ipynb"))
    if not chapters:
        raise InputError(notebooks, "holds no chapters", "build them with `make notebooks`")
    for number in numbers:
        if not any(path.name.startswith(f"{number}_") for path in chapters):
            known = ", ".join(path.name[:2] for path in chapters)
            raise InputError(f"chapter {number!r}", "there is none", f"use some of {known}")
    return [path for path in chapters if not numbers or path.name[:2] in numbers]


def course(
    chapters: list[Path], out: Path, tier: str, keep_going: bool = False
) -> tuple[list[Result], list[str]]:
    """Execute chapters in order and explain what fails; return the results and names of failures.

    Raises:
        InputError: If the folder cannot be written.
    """
    results: list[Result] = []
    failed: list[str] = []
    with kernel.writing(out):
        (out / "figures").mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(chapters, start=1):
        print(f"[{number}/{len(chapters)}] {path.stem} ... ", end="", flush=True)
        notebook = sources.without_outputs(nbformat.read(path, as_version=4))
        begin = time.monotonic()
        try:
            kernel.execute(notebook, tier)
        except FAILURES as error:
            print(f"FAILED\n\n{failure(notebook, error)}\n")
            failed.append(path.stem)
            if keep_going:
                continue
            break
        finally:
            kernel.write(out / path.name, nbformat.writes(notebook) + "\n")
        minutes = (time.monotonic() - begin) / 60
        results.append(_result(path.stem, minutes, notebook, out / "figures"))
        print(f"{minutes:.1f} min, {results[-1].cells} cells")
    return results, failed


def failure(notebook: NotebookNode, error: Exception) -> str:
    """The cell that was last begun, as its author wrote it, and what went wrong."""
    begun = [cell for cell in notebook.cells if cell.get("execution_count")]
    if isinstance(error, CellExecutionError):
        problem = f"{error.ename}: {error.evalue}"
    else:
        problem = f"{type(error).__name__}: {error}"
    return f"{begun[-1].source if begun else '(no cell was begun)'}\n\n{problem}"


def table(results: list[Result]) -> str:
    """Chapters, minutes, cells and headline figures in columns."""
    width = max(len(result.chapter) for result in results)
    lines = [f"{'chapter':<{width}}  minutes  cells  headline"]
    for result in results:
        first, *more = result.headline or ["-"]
        lines.append(f"{result.chapter:<{width}}  {result.minutes:7.1f}  {result.cells:5}  {first}")
        lines += [f"{'':<{width + 18}}{line}" for line in more]
    total = sum(result.minutes for result in results)
    return "\n".join([*lines, f"{'all':<{width}}  {total:7.1f}"])


def record(results: list[Result], tier: str, path: Path) -> None:
    """Write what the chapters took on this machine today, for the banners to show."""
    costs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    costs[tier] = {
        "hardware": hardware(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "minutes": {result.chapter[:2]: round(result.minutes, 1) for result in results},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(costs, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _result(chapter: str, minutes: float, notebook: NotebookNode, figures: Path) -> Result:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    headline = [
        line
        for cell in cells
        if "headline" in cell.metadata.get("tags", [])
        for line in _printed(cell).splitlines()
    ]
    return Result(chapter, minutes, len(cells), headline, _pictures(chapter, cells, figures))


def _printed(cell: NotebookNode) -> str:
    texts = (o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs)
    return "\n".join(text.strip("\n") for text in texts)


def _pictures(chapter: str, cells: list[NotebookNode], folder: Path) -> list[Path]:
    for old in folder.glob(f"{chapter}-*.png"):
        old.unlink()
    outputs = (output.get("data", {}) for cell in cells for output in cell.outputs)
    pictures = [data["image/png"] for data in outputs if "image/png" in data]
    paths = [folder / f"{chapter}-{number}.png" for number in range(1, len(pictures) + 1)]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(base64.b64decode(picture))
    return paths


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        print("\ninterrupted; the chapters that were finished are kept")
        sys.exit(130)
