"""Execute the course, two chapters at a time: `make course`.

Works on copies in `_output/course`, never on the notebooks themselves. Stops at the first chapter
that fails, with the cell that failed, unless `--keep-going` is said. One at a time where they would
share a graphics card, or where their minutes are recorded.
"""

import argparse
import base64
import datetime
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from medr1_lib.cli import exit_status
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
    alone = options.record or options.tier == "gpu" or os.cpu_count() == 1
    at_a_time = 1 if alone else 2
    begin = time.monotonic()
    results, failed = course(chapters, options.out, options.tier, options.keep_going, at_a_time)
    clock = (time.monotonic() - begin) / 60
    if results and (options.keep_going or not failed):
        figures = sum(len(result.figures) for result in results)
        print(f"\n{table(results)}\n{clock:.1f} minutes by the clock, {at_a_time} at a time\n")
        print(f"Executed notebooks: {options.out}; {figures} figures there")
    if failed:
        print(f"failed: {', '.join(failed)}")
        return 1
    if options.record:
        record(results, options.tier, COSTS)
        renew = "`python -m notebooks.tools.build --keep-outputs`"
        print(f"Minutes recorded in {COSTS}; {renew} brings them into the banners")
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
    chapters: list[Path], out: Path, tier: str, keep_going: bool = False, at_a_time: int = 1
) -> tuple[list[Result], list[str]]:
    """Execute chapters and explain what fails; return the results and names of failures.

    Raises:
        InputError: If the folder cannot be written.
    """
    results: list[Result] = []
    failed: list[str] = []
    with kernel.writing_out(out):
        (out / "figures").mkdir(parents=True, exist_ok=True)
    stop = threading.Event()

    def begin(path: Path) -> Result | str:
        if stop.is_set():
            return ""
        result = execute(path, out, tier)
        if isinstance(result, str) and not keep_going:
            stop.set()
        return result

    pool = ThreadPoolExecutor(at_a_time)
    running = {pool.submit(begin, path): path for path in chapters}
    try:
        for number, done in enumerate(as_completed(running), start=1):
            if not (result := done.result()):
                continue
            print(f"[{number}/{len(chapters)}] {running[done].stem} ... ", end="", flush=True)
            if isinstance(result, Result):
                results.append(result)
                print(f"{result.minutes:.1f} min, {result.cells} cells", flush=True)
            else:
                failed.append(running[done].stem)
                print(f"FAILED\n\n{result}\n", flush=True)
    finally:
        stop.set()
        pool.shutdown(wait=False)
    return sorted(results, key=lambda result: result.chapter), failed


def execute(path: Path, out: Path, tier: str) -> Result | str:
    """Execute one chapter and keep it; returns what went wrong in words if something did."""
    notebook = sources.without_outputs(nbformat.read(path, as_version=4))
    begin = time.monotonic()
    try:
        kernel.execute(notebook, tier)
    except FAILURES as error:
        return failure(notebook, error)
    finally:
        kernel.write(out / path.name, nbformat.writes(notebook) + "\n")
    minutes = (time.monotonic() - begin) / 60
    return _result(path.stem, minutes, notebook, out / "figures")


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
    shown = (o for o in cell.outputs if "image/png" not in o.get("data", {}))
    texts = (o.get("text") or o.get("data", {}).get("text/plain", "") for o in shown)
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
    status = exit_status(main, sys.argv[1:])
    if status == 130:  # interrupted: waits for no chapter; kernels see it and end
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
