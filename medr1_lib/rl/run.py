"""The folder of a training run: what was asked, what happened, and the adapter that came out."""

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import UndefinedError
from safetensors import SafetensorError
from transformers import TrainerState

from medr1_lib import files
from medr1_lib.errors import InputError, refusing
from medr1_lib.model.loading import fingerprint
from medr1_lib.rl.recipe import TRL, Recipe

RECIPE, LOG, ROLLOUTS, CARD = "recipe.json", "log.csv", "rollouts.parquet", "README.md"
ADAPTER, COMPLETIONS, STATE = "adapter", "completions", "trainer_state.json"
PREFLIGHT = "completions_00000.parquet"  # what TRL writes before the first step
MODEL, HASHES = "model_sha256", "adapter_sha256"  # what it began from; files of its adapter
COMPLETE = "complete"  # in a checkpoint: every file of it is written, and what each holds
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
AVERAGED = 10  # steps at each end in the card, fewer in a short run
AGAIN = "copy it again, or train into another folder"
FORM = Path(__file__).with_name("card.md")  # of the run card
KINDS = {"grpo": "GRPO with rule-based rewards", "sft": "supervised fine-tuning"}
# by method: the columns of a log, each with the name that TRL gives it
COLUMNS: dict[str, dict[str, str]]
COLUMNS = {method: TRL["columns"][method] | TRL["columns"]["both"] for method in KINDS}


@dataclass(frozen=True)
class Run:
    """A finished training run: `log` has one row per step, `load_policy` reads `adapter`."""

    folder: Path
    recipe: Recipe
    log: pd.DataFrame
    adapter: Path

    @classmethod
    def load(cls, folder: Path) -> "Run":
        """Read the run that `train` left in a folder; one that is not finished is refused."""
        recipe, notes = recipe_in(folder), notes_in(folder)
        if not notes.get("finished"):
            raise InputError(folder, "its run is not finished", "go on with --resume")
        with refusing(folder / LOG, "is damaged", AGAIN):
            text = files.content(folder / LOG, AGAIN, "is damaged")
            log = pd.read_csv(BytesIO(text)).apply(pd.to_numeric)
            if len(log) != notes["finished"]["steps"] or "seconds" not in log:
                raise ValueError("steps are missing")
        return cls(folder, recipe, log, folder / ADAPTER)

    @cached_property
    def rollouts(self) -> pd.DataFrame:
        """What was sampled, a row for each completion: step, prompt, rewards, advantage and so on.

        Recorded runs keep a part of them in `rollouts.parquet`; supervised fine-tuning has none.
        """
        steps = sorted((self.folder / COMPLETIONS).glob("*.parquet"))
        with refusing(self.folder, "its completions are damaged", AGAIN):
            if (self.folder / ROLLOUTS).is_file():
                return pd.read_parquet(self.folder / ROLLOUTS)
            if not steps:
                return pd.DataFrame({"step": []})
            table = pd.concat(map(pd.read_parquet, steps), ignore_index=True)
            said = {name: table[name].map(_text) for name in ("prompt", "completion")}
            return table.assign(**said)


def _text(turns: list[dict[str, Any]]) -> str:
    content = turns[-1]["content"]
    said = (part["text"] for part in content if part["type"] == "text")
    return content if isinstance(content, str) else "".join(said)


def log_table(history: list[dict[str, Any]]) -> pd.DataFrame:
    """The steps in a trainer's `log_history` under our names, a row each."""
    steps = [logs for logs in history if "loss" in logs]
    columns = COLUMNS["grpo" if any("reward" in logs for logs in steps) else "sft"]
    names = {"step": "step"} | columns | {"seconds": "seconds"}
    return pd.DataFrame([{ours: logs.get(trl) for ours, trl in names.items()} for logs in steps])


class RunFolder:
    """What is written while a run goes on, so that it can go on after an interruption.

    A folder that holds something else, another recipe's run, or a damaged one is refused. If the
    run is not `finished`, it goes on at `checkpoint`, or begins where that is `None`.
    """

    def __init__(self, out: Path, recipe: Recipe, resume: bool) -> None:
        self.out, self._recipe = out, json.loads(json.dumps(recipe.to_dict()))
        before, whole = notes_in(out), _whole(out)
        then, now = (one.get("max_steps", -1) for one in (before.get("recipe", {}), self._recipe))
        more = resume and before.get("finished") and now > then > 0
        self.finished = bool(before.get("finished")) and not more
        self.checkpoint = None if self.finished else last_checkpoint(out)
        if resume and not out.is_dir():
            raise InputError(out, "has no run to resume", "start without --resume")
        if not before:
            files.require_free(out, PREFLIGHT)
        found = before.get("recipe", self._recipe)
        for name in sorted(found.keys() | self._recipe.keys()):  # a key may have come or gone
            then, now = found.get(name), self._recipe.get(name)
            if then != now and not (more and name == "max_steps"):
                problem = f"holds a run of another recipe ({name} was {then!r}, is {now!r})"
                raise InputError(out, problem, "choose another folder")
        if before.get(MODEL) and before[MODEL] != fingerprint(Path(recipe.model)):
            raise InputError(out, "its model has changed since it began", "choose another folder")
        if (self.finished or whole) and not resume:
            remedy = "add --resume, or choose another folder"
            raise InputError(out, "holds this run already", remedy)
        if self.finished:
            with refusing(out / ADAPTER, "the adapter of a finished run is damaged", AGAIN):
                if lost := files.changed(out / ADAPTER, before["finished"].get(HASHES, {})):
                    raise ValueError(lost[0])
        elif (whole or more) and self.checkpoint is None:
            raise InputError(out, "holds no sound checkpoint", "begin anew in another folder")
        if more and "constant" not in str(self._recipe.get("lr_scheduler_type")):
            problem = "the learning rate of its schedule has reached its end"
            raise InputError(out, problem, "begin anew, with a constant one to go on later")

    @contextmanager
    def reserved(self, main: bool = True) -> Iterator[None]:
        """Make the folder and write there alone; take it back if no run begins."""
        with files.one_writer(self.out) if main else nullcontext():
            try:
                yield
            finally:
                if not notes_in(self.out):
                    shutil.rmtree(self.out / COMPLETIONS, ignore_errors=True)

    def begin(self, notes: dict[str, Any]) -> None:
        """Start afresh: describe the run, forget what an attempt without a checkpoint left."""
        for path in (self.out / COMPLETIONS).glob("*"):  # the folder itself is TRL's
            path.unlink()
        self._drop_checkpoints()
        self.note({"recipe": self._recipe, MODEL: fingerprint(Path(self._recipe["model"]))} | notes)

    def go_on(self, processes: int, main: bool) -> None:
        """Note where the run goes on; with another number of processes, all of them refuse."""
        assert self.checkpoint is not None
        before = notes_in(self.out)
        if before.get("processes") != processes:
            problem = f"was begun by {before.get('processes')} processes, not {processes}"
            remedy = "resume with as many, or the batches would be others"
            raise InputError(self.out, problem, remedy)
        if main:
            for path in self.out.glob("checkpoint-*"):
                if _step(path) > _step(self.checkpoint):
                    said = f"{path.name} is damaged; going on from {self.checkpoint.name}"
                    print(said, file=sys.stderr)
                    shutil.rmtree(path, ignore_errors=True)
            steps = [*before.get("resumed_after_steps", []), _step(self.checkpoint)]
            self.note({"recipe": self._recipe, "finished": None, "resumed_after_steps": steps})

    def note(self, notes: dict[str, Any]) -> None:
        """Write something more into `recipe.json`."""
        text = json.dumps(notes_in(self.out) | notes, indent=1) + "\n"
        with saving(self.out):
            files.atomic_write(self.out / RECIPE, text.encode())

    def finish(self) -> None:
        """Take log and adapter out of the last checkpoint, which stays to go on from; the card."""
        # Not from the trainer: after an interruption between training and this there is none.
        last = last_checkpoint(self.out)
        assert last is not None
        log = log_table(TrainerState.load_from_json(str(last / STATE)).log_history)
        with saving(self.out), refusing(self.out / RECIPE, "was changed", AGAIN, UndefinedError):
            (self.out / ADAPTER).mkdir(exist_ok=True)
            for name in ADAPTER_FILES:
                shutil.copyfile(last / name, self.out / ADAPTER / name)
            files.atomic_write(self.out / LOG, log.to_csv(index=False).encode())
            text = card(Recipe.from_dict(self._recipe), notes_in(self.out), log)
            files.atomic_write(self.out / CARD, text.encode())
            with suppress(OSError):
                (self.out / COMPLETIONS).rmdir()  # supervised fine-tuning samples nothing
        ended = {"date": time.strftime("%Y-%m-%d"), "steps": len(log)}
        known = files.read_json(last / COMPLETE, AGAIN)  # what was trained, not what was copied
        ended |= {HASHES: {name: known[name] for name in ADAPTER_FILES}}
        self._drop_checkpoints(last)  # before the note, since a finished run is left as it is
        self.note({"finished": ended | {"seconds": round(float(log["seconds"].sum()), 1)}})

    def _drop_checkpoints(self, but: Path | None = None) -> None:
        for path in self.out.glob("checkpoint-*"):
            if path != but:
                shutil.rmtree(path, ignore_errors=True)


def recipe_in(folder: Path) -> Recipe:
    """The recipe of the run in a folder, finished or not."""
    notes = notes_in(folder)
    if not notes:
        raise InputError(folder, "holds no run", "name the --out of a training")
    return Recipe.from_dict(notes["recipe"])


def seal(checkpoint: Path) -> None:
    """Write down what each file of a checkpoint holds, now that all are written."""
    known = {path.name: files.sha256(path) for path in checkpoint.iterdir() if path.is_file()}
    files.atomic_write(checkpoint / COMPLETE, json.dumps(known).encode())


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint that holds what was written into it."""
    # Not transformers' `get_last_checkpoint`, which takes one that a crash cut off for the last.
    for checkpoint in sorted(_whole(out), key=_step, reverse=True):
        with suppress(OSError, ValueError, TypeError, KeyError):
            sealed = files.read_json(checkpoint / COMPLETE, AGAIN)
            step = files.read_json(checkpoint / STATE, AGAIN)["global_step"]
            if sealed and step == _step(checkpoint) and not files.changed(checkpoint, sealed):
                return checkpoint
    return None


def _whole(out: Path) -> list[Path]:
    return [one.parent for one in out.glob(f"checkpoint-*/{COMPLETE}") if _step(one.parent) >= 0]


def begun(out: Path) -> bool:
    """Whether a folder holds a run that is finished, or can go on with `resume`."""
    return bool(notes_in(out).get("finished") or _whole(out))


def is_last(checkpoint: Path, max_steps: int) -> bool:
    """Whether a checkpoint is that of the last step; a recipe of epochs has `max_steps` -1."""
    state = TrainerState.load_from_json(str(checkpoint / STATE))
    return state.global_step >= (max_steps if max_steps > 0 else state.max_steps)


def saving(out: Path) -> AbstractContextManager[None]:
    """Tell in one line of a full disk or a lack of permission, whatever a library makes of it."""
    remedy = "make room or choose another folder; --resume goes on from a checkpoint"
    return refusing(out, "cannot be written", remedy, OSError, RuntimeError, SafetensorError)


def _step(checkpoint: Path) -> int:
    said = checkpoint.name.removeprefix("checkpoint-")
    return int(said) if said.isdecimal() else -1  # a copy under another name is none


def notes_in(out: Path) -> dict[str, Any]:
    """What the `recipe.json` of a run says so far; nothing if there is none."""
    path = out / RECIPE
    if not path.is_file():
        return {}
    remedy = "choose another folder, or remove this one"
    notes = files.read_json(path, remedy)
    if not isinstance(notes.get("recipe"), dict):
        raise InputError(path, "holds no recipe", remedy)
    return notes


def card(recipe: Recipe, notes: Mapping[str, Any], log: pd.DataFrame) -> str:
    """The run card, Markdown: what a reader has to know before using the adapter."""
    measured = log.drop(columns=["step", "learning_rate"]).dropna(axis="columns", how="all")
    count = max(1, min(AVERAGED, len(log) // 2))
    means = {"first": measured.head(count).mean(), "last": measured.tail(count).mean()}
    told = {"kind": KINDS[recipe.method], "count": count, "steps": len(log)} | means
    told["minutes"] = log["seconds"].sum() / 60
    return files.fill(FORM, recipe.to_dict() | dict(notes) | told)
