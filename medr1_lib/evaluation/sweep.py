"""Train and score every cell of a plan, by submitit: on this machine, or on a SLURM cluster."""

import json
import time
import traceback
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import submitit
import torch
from tqdm.auto import tqdm

from medr1_lib import files
from medr1_lib.data import dataset
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import Journal
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import Items
from medr1_lib.evaluation.plan import Cell, Plan
from medr1_lib.model.loading import base_directory, load_policy
from medr1_lib.model.vision_cache import Features
from medr1_lib.provenance import hardware
from medr1_lib.rl.run import begun
from medr1_lib.rl.train import train

CELL, ERROR, RUN, JOBS = "cell.json", "error.txt", "run", "jobs"
TOGETHER = 128  # questions in a batch of an evaluation
LONG = 7 * 24 * 60  # minutes after which a job is given up, unless the plan says otherwise
PAUSE = 2.0  # seconds between two looks at what is finished
# what the frozen tower of a base makes of the test images: the same for all its adapters
_FEATURES: defaultdict[Path, Features] = defaultdict(OrderedDict)


def sweep(plan: Plan, out: Path, executor: str = "local", jobs: int = 1) -> dict[str, str]:
    """Do whatever of a plan is not done yet.

    The cells are dealt out to so many jobs, and each job does its own one after the other, so that
    Python and its libraries start once a job. A cell that fails does not stop the others.

    Args:
        plan: What to do.
        out: A folder, with one for each cell in it.
        executor: `local` or `slurm`.
        jobs: How many run at a time.

    Returns:
        What went wrong, by the name of the cell; a cell that was not reached has an empty text.

    Raises:
        InputError: If the executor is not at hand.
    """
    cells = plan.cells()
    for test in {test for cell in cells for test in cell.tests}:
        dataset.read(Path(test))  # better refused now than after the first training
    todo = [cell for cell in cells if not (out / cell.name / CELL).is_file()]
    for cell in todo:
        (out / cell.name / ERROR).unlink(missing_ok=True)
    submitted = _submit(plan, todo, out, executor, jobs) if todo else []
    with tqdm(desc="cells", total=len(cells), initial=len(cells) - len(todo), unit="cell") as bar:
        try:
            while not all(job.done() for job in submitted):
                time.sleep(PAUSE)
                bar.update(len(cells) - len(unfinished(cells, out)) - bar.n)
        except BaseException:
            for job in submitted:
                job.cancel()
            raise
        bar.update(len(cells) - len(unfinished(cells, out)) - bar.n)
    return unfinished(cells, out)


def unfinished(cells: Sequence[Cell], out: Path) -> dict[str, str]:
    """The cells that have no result, each with what went wrong, if anything did."""
    missing = [cell.name for cell in cells if not (out / cell.name / CELL).is_file()]
    errors = {name: out / name / ERROR for name in missing}
    return {name: file.read_text() if file.is_file() else "" for name, file in errors.items()}


def _submit(
    plan: Plan, cells: list[Cell], out: Path, executor: str, jobs: int
) -> list[submitit.Job[None]]:
    try:
        cluster = submitit.AutoExecutor(out / JOBS, cluster=executor)
        asked = {"timeout_min": LONG, "cpus_per_task": plan.threads, "name": "medr1-sweep"}
        cluster.update_parameters(**asked | dict(plan.resources))
    except RuntimeError as error:
        raise InputError(f"--executor {executor}", str(error), "use local here") from error
    except NameError as error:  # what submitit raises for a parameter that it does not know
        raise InputError("plan: resources", str(error), "use submitit's parameters") from error
    hands = [cells[job::jobs] for job in range(min(jobs, len(cells)))]
    return cluster.map_array(work, hands, repeat(out), repeat(plan.threads))


def work(cells: Sequence[Cell], out: Path, threads: int) -> None:
    """Do these cells one after the other; what goes wrong with one is written into its folder."""
    torch.set_num_threads(threads)
    for cell in cells:
        folder = out / cell.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            do(cell, folder)
        except InputError as error:
            (folder / ERROR).write_text(str(error))
        except Exception:  # whatever it is, the other cells can go on
            (folder / ERROR).write_text(traceback.format_exc())


def do(cell: Cell, folder: Path) -> None:
    """Train and score one cell, or what is left of it."""
    notes: dict[str, Any] = {"model": cell.name, **cell.label, "shortcut": 0.0, "steps": 0}
    adapter = Path(cell.recipe.model)
    if not cell.untrained:
        run = train(cell.recipe, folder / RUN, resume=begun(folder / RUN))
        adapter, seconds = run.adapter, float(run.log["seconds"].sum())
        notes |= {"steps": len(run.log), "train_seconds": round(seconds, 1)}
        notes["shortcut"] = _card(cell.recipe.data).get("shortcut", 0.0)
    start = time.perf_counter()
    policy, processor = load_policy(adapter, cell.recipe.quantize)
    settings = Settings((cell.recipe.style,), cell.controls, max_new_tokens=cell.max_new_tokens)
    for test in cell.tests:
        told = {"cell": cell.name, "data": test, "data_sha256": _items(test).sha256}
        journal = Journal(answers_in(folder, test), told, {})
        features = _FEATURES[base_directory(adapter)]
        evaluate(policy, processor, _items(test), journal, settings, TOGETHER, features)
        journal.finish({})
    notes |= {
        "marks": {test: _card(test).get("mark", "random") for test in cell.tests},
        "evaluate_seconds": round(time.perf_counter() - start, 1),
        "hardware": hardware(),
        "threads": torch.get_num_threads(),
        "date": time.strftime("%Y-%m-%d"),
        "recipe": cell.recipe.flat(),
    }
    files.atomic_write(folder / CELL, (json.dumps(notes, indent=1) + "\n").encode())


def answers_in(folder: Path, test: str) -> Path:
    """Where the answers of a cell to one data set lie."""
    return folder / f"scored-{Path(test).name}"


@cache
def _items(data: str) -> Items:
    return Items(Path(data))


def _card(data: str) -> dict[str, Any]:
    return json.loads((Path(data) / dataset.CARD).read_text())
