"""Plans of trainings and tests, their jobs done through submitit, and the blocks they give."""

import hashlib
import json
import os
import re
import time
import traceback
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import product, repeat
from pathlib import Path
from threading import Thread
from typing import Any, get_type_hints

import pandas as pd
import psutil
import submitit
import torch
import yaml
from tqdm.auto import tqdm

from medr1_lib import files
from medr1_lib.analysis import recorded
from medr1_lib.data import dataset
from medr1_lib.data.question import AXES, BASES, CONTROLS
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError, refusing
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.model.loading import base_directory, fingerprint, load_policy
from medr1_lib.model.vision_cache import Features
from medr1_lib.provenance import hardware
from medr1_lib.rl.recipe import FILTERS, Loader, Recipe, load_recipe, of_kind
from medr1_lib.rl.run import LOG, begun
from medr1_lib.rl.train import train

JOB, ERROR, RUN, SCORED = "job.json", "error.txt", "run", "scored-{}"  # in the folder of a job
BATCH = 128  # questions in a batch of an evaluation
TIMEOUT_MINUTES = 7 * 24 * 60  # a job is given up then, unless the plan says otherwise
POLL_SECONDS = 2.0

LISTS = ("style", "train", "seed", "tests", "controls")  # of a grid
# What fields hold beside the right type.
ALLOWED: dict[str, Collection[str]] = {"axis": AXES, "controls": CONTROLS, "called": BASES}
NEEDED, COUNTS = ("grids", "style", "seed"), ("max_new_tokens", "threads")
# What the frozen tower of a base makes of the test images is the same for all its adapters.
_FEATURES: defaultdict[Path, Features] = defaultdict(OrderedDict)
_test_set = cache(EvalSet)


def _check(plan: "Grid | Plan") -> None:
    """Refuse what YAML may hold instead of the types and values of the fields."""
    for name, kind in get_type_hints(type(plan)).items():
        given = getattr(plan, name)
        values = given if isinstance(given, tuple) else (given,)
        sound = of_kind(given, kind) and (given or name not in NEEDED)
        if not sound or (name in COUNTS and given < 1):
            raise InputError("plan", f"{name} is {given!r}", "write a sound type and size")
        allowed = ALLOWED.get(name, values)
        if wrong := [value for value in values if value not in allowed]:
            raise InputError("plan", f"{name} has {wrong[0]!r}", f"use {', '.join(allowed)}")


@dataclass(frozen=True)
class Job:
    """One model of a sweep: a training, unless it is `untrained`, and an evaluation; see `Grid`."""

    recipe: Recipe
    tests: tuple[str, ...]
    controls: tuple[str, ...] = ()
    max_new_tokens: int = 256
    untrained: bool = False
    called: str = "base"

    @property
    def name(self) -> str:
        """A hash of recipe, tests and controls, model and data by path; the job's folder."""
        recipe = self.recipe.to_dict()
        values = [recipe, self.tests, self.controls, self.max_new_tokens, self.untrained]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> dict[str, Any]:
        """What the job is in a matrix: method, style, axis, train and seed."""
        axis = next((axis for axis in AXES if getattr(self.recipe, axis, None)), "all")
        trained_on = ", ".join(getattr(self.recipe, axis, ("all",)))
        what: dict[str, Any] = {"method": self.recipe.method, "style": self.recipe.style}
        what |= {"axis": axis, "train": trained_on, "seed": self.recipe.seed}
        base = {"method": self.called, "axis": "all", "train": "none", "seed": -1}
        return what | base if self.untrained else what


@dataclass(frozen=True)
class Grid:
    """Every combination of training split, style and seed for one recipe."""

    recipe: str  # a preset or a YAML file
    style: tuple[str, ...] = tuple(STYLES)
    axis: str = "all"  # train on each `modality`, on each `question_type`, or on `all` at once
    train: tuple[str, ...] = ()  # only these of the axis, or others that the data have
    seed: tuple[int, ...] = (0,)  # one run for each
    changes: Mapping[str, Any] = field(default_factory=dict)  # keys of the recipe: other values
    tests: tuple[str, ...] = ()  # data sets to be scored on, instead of the plan's own
    controls: tuple[str, ...] = ()  # some of `question.CONTROLS`
    untrained: bool = False  # score the base of the recipe, and train nothing
    called: str = "base"  # its name then, one of `BASES`; that of the trained models is `base`

    def __post_init__(self) -> None:
        _check(self)
        if overruled := self.changes.keys() & {"seed", "style"}:
            raise InputError("plan", f"changes name {min(overruled)}", "write it beside recipe")


@dataclass(frozen=True)
class Plan:
    """What a sweep does: the jobs of all grids together, trained and scored on one data set."""

    data: str
    grids: tuple[Grid, ...]
    max_new_tokens: int = 256  # where a completion is cut off
    threads: int = 1  # of each process
    resources: Mapping[str, Any] = field(default_factory=dict)  # submitit's, as `timeout_min`

    def __post_init__(self) -> None:
        _check(self)
        tests = {test for grid in self.grids for test in grid.tests or (self.data,)}
        if len({Path(test).name for test in tests}) < len(tests):
            raise InputError("plan", "two tests are folders of one name", "rename one of them")
        # In the job's script it would be a line of its own, which a shell runs.
        if breaks := re.findall(r"\\[nr]", json.dumps(dict(self.resources), default=str)):
            raise InputError("plan", f"resources hold {len(breaks)} line breaks", "remove them")

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read a plan from a YAML file; an `InputError` says what in it is wrong."""
        try:
            with refusing(path, "is no plan", remedy := "see `benchmarks/plans` for some that are"):
                values = yaml.load(files.content(path, remedy).decode(), Loader)
                if "\\u0000" in json.dumps(values, default=str):
                    raise ValueError("it holds a NUL character")
                grids = []
                for grid in values.pop("grids"):
                    given = {k: v for k, v in grid.items() if k in LISTS}
                    lists = {k: tuple(v if isinstance(v, list) else [v]) for k, v in given.items()}
                    grids.append(Grid(**grid | lists))
                return cls(grids=tuple(grids), **values)
        except InputError as error:
            raise InputError(path, error.problem, error.remedy) from error

    def jobs(self) -> list[Job]:
        """Every model, each once, in the order of the plan."""
        found = {}
        for grid in self.grids:
            known = load_recipe(grid.recipe, data=self.data).to_dict()
            under = Recipe.from_dict(known | dict(grid.changes))
            parts, tests = grid.train or AXES[grid.axis], dict.fromkeys(grid.tests or (self.data,))
            own = (tuple(tests), grid.controls, self.max_new_tokens, grid.untrained, grid.called)
            # The seed comes first, so that a whole map is done before the next one.
            for seed, style, part in product(grid.seed, grid.style, parts):
                cut = {} if grid.axis == "all" else {grid.axis: (part,)}
                job = Job(under.replace(style=style, seed=seed, **cut), *own)
                found[job.name] = job
        return list(found.values())


def sweep(plan: Plan, out: Path, executor: str = "local", processes: int = 1) -> dict[str, str]:
    """Train and score whatever of a plan is not done yet, each job in its folder under `out`.

    The jobs are dealt out to so many processes of the executor, `local` or `slurm`, so that Python
    and its libraries start once a process. A job that fails does not stop the others. Returns what
    went wrong, by the name of the job; a job that was not reached has an empty text.
    """
    jobs = plan.jobs()
    # Better refused now than after the first training.
    tables = dict[str, Any]()
    for data in {data for job in jobs for data in (*job.tests, job.recipe.data)}:
        tables[data] = dataset.read(Path(data))
        files.read_json(Path(data) / dataset.CARD, dataset.AGAIN)
    for recipe in (job.recipe for job in jobs if not job.untrained):
        for axis in FILTERS:
            known = tables[recipe.data].unique(axis).get("train", ())
            if lost := {*getattr(recipe, axis)}.difference(known):
                raise InputError(recipe.data, f"has no {axis} {min(lost)!r}", "name those it has")
        if recipe.config.get("use_cpu"):  # here it can be checked
            recipe.trl_config(out)
    with files.one_writer(out):
        missing = unfinished(jobs, out)
        todo = [job for job in jobs if job.name in missing]
        for job in todo:
            (out / job.name / ERROR).unlink(missing_ok=True)
        submitted = _submit(plan, todo, out, executor, processes) if todo else []
        trainings = {job.name for job in jobs if not job.untrained}  # the others take little time
        before = len(trainings - missing.keys())
        with tqdm(desc="trainings", total=len(trainings), initial=before, smoothing=0) as bar:
            try:
                running = True
                while running:
                    running = not all(one.done() for one in submitted)
                    bar.update(len(trainings - unfinished(jobs, out).keys()) - bar.n)
                    time.sleep(POLL_SECONDS * running)
            except BaseException:
                for one in submitted:
                    one.cancel()
                raise
        return unfinished(jobs, out)


def unfinished(jobs: Sequence[Job], out: Path) -> dict[str, str]:
    """The jobs that have no result, each with what went wrong, if anything did."""
    found = {}
    for job in jobs:
        result, error = out / job.name / JOB, out / job.name / ERROR
        with suppress(InputError):  # a damaged one is made again from answers and run
            if "tests" in files.read_json(result, ""):
                continue
        found[job.name] = error.read_text(encoding="utf-8") if error.is_file() else ""
    return found


def _submit(
    plan: Plan, jobs: list[Job], out: Path, executor: str, processes: int
) -> list[submitit.Job[None]]:
    # What submitit raises for a parameter that it does not know or cannot use.
    kinds = NameError, TypeError, ValueError, AssertionError
    with (
        refusing(f"--executor {executor}", "cannot be used", "use local here", RuntimeError),
        refusing("plan: resources", "do not fit", "use submitit's parameters", *kinds),
    ):
        cluster = submitit.AutoExecutor(out / "jobs", cluster=executor)
        asked = {"timeout_min": TIMEOUT_MINUTES, "cpus_per_task": plan.threads}
        cluster.update_parameters(**asked | {"name": "medr1-sweep"} | dict(plan.resources))
        dealt = [jobs[first::processes] for first in range(min(processes, len(jobs)))]
        if executor != "local":
            return cluster.map_array(run_jobs, dealt, repeat(out), repeat(plan.threads))
        here = zip(dealt, _cards(jobs, processes), strict=False)
        rest = out, plan.threads, os.getpid()
        kept = os.dup(2)
        with Path(os.devnull).open("wb") as nothing:  # not to see a stopped controller's traceback
            os.dup2(nothing.fileno(), 2)
        try:
            return [cluster.submit(run_jobs, part, *rest, card) for part, card in here]
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _cards(jobs: Sequence[Job], processes: int) -> list[str]:
    """What each process here sees of the GPUs: one of its own, or none if no recipe wants one."""
    if all(job.recipe.config.get("use_cpu") for job in jobs):
        return [""] * processes
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = named.split(",") if named else [str(k) for k in range(torch.cuda.device_count())]
    if len(cards) < processes:
        problem = f"its jobs want a GPU each, and torch finds {len(cards)}"
        raise InputError(f"--jobs {processes}", problem, "choose as many, or use_cpu: true")
    return cards


def run_jobs(
    jobs: Sequence[Job], out: Path, threads: int, parent: int | None = None, card: str | None = None
) -> None:
    """Do these jobs one after the other; what goes wrong with one is written into its folder.

    Ends when the process `parent` has ended: killed, it could not end this one. Sees only a `card`.
    """
    if card is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = card  # torch reads it when it first asks for a GPU
    if parent is not None:
        Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    for job in jobs:
        folder = out / job.name
        try:
            with files.one_writer(folder):
                run_job(job, folder)
        except Exception as error:  # whatever it is, the other jobs can go on
            told = str(error) if isinstance(error, InputError) else traceback.format_exc()
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ERROR).write_text(told, encoding="utf-8")


def _end_with(parent: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(parent)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.2)
    os._exit(1)


def run_job(job: Job, folder: Path) -> None:
    """Train and score one model, or what is left of it."""
    notes: dict[str, Any] = {"model": job.name, **job.label, "steps": 0, "tests": job.tests}
    adapter = Path(job.recipe.model)
    if not job.untrained:
        run = train(job.recipe, folder / RUN, resume=begun(folder / RUN))
        adapter, seconds = run.adapter, float(run.log["seconds"].sum())
        notes |= {"steps": len(run.log), "train_seconds": round(seconds, 1)}
        card = files.read_json(Path(job.recipe.data) / dataset.CARD, dataset.AGAIN)
        notes["leaky"] = card.get("leaky", 0.0)
    start = time.perf_counter()
    model = {"model_sha256": fingerprint(adapter)}
    device = str(job.recipe.trl_config(folder / RUN).device)  # as it is trained, or refused
    policy, processor = load_policy(adapter, job.recipe.quantize, device)
    settings = Settings((job.recipe.style,), job.controls, max_new_tokens=job.max_new_tokens)
    for test in job.tests:
        items = _test_set(Path(test))
        known = {"job": job.name, "data": test, "data_sha256": items.sha256} | model
        log = AnswerLog(folder / SCORED.format(Path(test).name), known, {})
        evaluate(policy, processor, items, log, settings, BATCH, _FEATURES[base_directory(adapter)])
        log.finish({})
    notes |= {"evaluate_seconds": round(time.perf_counter() - start, 1), "hardware": hardware()}
    notes |= {"threads": torch.get_num_threads(), "recipe": job.recipe.to_dict()}
    notes["date"] = time.strftime("%Y-%m-%d")
    files.write_json(folder / JOB, notes)


def record(jobs: Sequence[Path], block: Path, notes: dict[str, Any]) -> None:
    """Gather the folders of finished jobs into a block, a few small files for `analysis`."""
    columns, remedy = recorded.ANSWER_COLUMNS, "remove the folder of the job and sweep again"
    models = [files.read_json(job / JOB, remedy) for job in jobs]
    answers, letters, logs, questions, tests = [], [], [], [], dict[str, str]()
    for job, model in zip(jobs, models, strict=True):
        for test in model["tests"]:
            tests[name := Path(test).name] = test
            path = job / SCORED.format(name) / recorded.ANSWERS
            answered = recorded.read_table(path, [*columns, "answer", "letter_probs"], remedy)
            whose = {"model": model["model"], "test": name}
            answers.append(answered[columns].assign(**whose))
            letters.append(recorded.letter_table(answered).assign(**whose))
        if (job / RUN).is_dir():
            logs.append(pd.read_csv(job / RUN / LOG).assign(model=model["model"]))
    for name, test in tests.items():
        rows = pd.DataFrame([one.record(None) for one in _test_set(Path(test)).questions])
        questions.append(rows[recorded.ASKED].rename_axis("item").reset_index().assign(test=name))
    tables = {recorded.ANSWERS: answers, recorded.QUESTIONS: questions, recorded.LOGS: logs}
    tables |= {recorded.LETTER_PROBS: letters}
    recorded.write(block, tables, notes | {"models": models})
