"""The folder of a training run: what was asked, what happened, and the adapter that came out."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors import SafetensorError

from medr1_lib import files
from medr1_lib.errors import InputError
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.recipe_file import recipe_of

RECIPE, LOG, ROLLOUTS, CARD = "recipe.json", "log.csv", "rollouts.parquet", "README.md"
ADAPTER, CHECKPOINTS = "adapter", "checkpoints"
COMPLETE = "complete"  # in a checkpoint: every file of it is written
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Attributes:
        folder: Where it lies.
        recipe: What it depends on.
        log: One row per step.
        adapter: Directory for `load_policy`.
    """

    folder: Path
    recipe: Recipe
    log: pd.DataFrame
    adapter: Path

    @classmethod
    def load(cls, folder: Path) -> "Run":
        """Read the run that `train` left in a folder.

        Raises:
            InputError: If there is none, or it is not finished.
        """
        recipe = recipe_in(folder)
        if "finished" not in _notes(folder):
            raise InputError(folder, "its run is not finished", "go on with --resume")
        return cls(folder, recipe, pd.read_csv(folder / LOG), folder / ADAPTER)


class RunFolder:
    """What is written while a run goes on, so that it can go on after an interruption.

    Args:
        out: The folder; new, empty, or that of an unfinished run with the same recipe.
        recipe: What the run depends on.
        resume: Go on with the run that is in the folder.

    Attributes:
        finished: Whether nothing is left to do.
        checkpoint: Where to go on, or `None` to begin.

    Raises:
        InputError: If the folder is in use otherwise, or there is nothing to go on with.
    """

    def __init__(self, out: Path, recipe: Recipe, resume: bool) -> None:
        self.out, self._recipe = out, json.loads(json.dumps(recipe.flat()))
        notes = _notes(out)
        if notes:
            self._check_same(notes["recipe"])
        elif not resume:
            files.require_free(out)
        self.finished = "finished" in notes
        self.checkpoint = None if self.finished else last_checkpoint(out)
        begun = self.finished or self.checkpoint is not None
        if resume and not begun:
            raise InputError(out, "has no checkpoint to resume from", "start without --resume")
        if begun and not resume:
            raise InputError(
                out, "holds this run already", "add --resume, or choose another folder"
            )

    def reserve(self) -> None:
        """Make the folder, so that it fails now if it has to fail."""
        with writing(self.out):
            (self.out / CHECKPOINTS).mkdir(parents=True, exist_ok=True)

    def release(self) -> None:
        """Remove it again if nothing came into it."""
        for empty in (self.out / CHECKPOINTS, self.out):
            with suppress(OSError):
                empty.rmdir()

    def begin(self, notes: dict[str, Any]) -> None:
        """Start afresh: describe the run, forget what an attempt without a checkpoint left."""
        for name in (LOG, ROLLOUTS):
            (self.out / name).unlink(missing_ok=True)
        shutil.rmtree(self.out / CHECKPOINTS, ignore_errors=True)
        self.note({"recipe": self._recipe} | notes)

    def go_on(self) -> None:
        """Forget what was recorded after the checkpoint, since those steps are done again."""
        assert self.checkpoint is not None
        step, notes = _step(self.checkpoint), _notes(self.out)
        log, rollouts = self.out / LOG, self.out / ROLLOUTS
        with writing(self.out):
            whole = log.read_text().rpartition("\n")[0].split("\n")  # the last line may be cut off
            kept = [line for line in whole[1:] if int(line.partition(",")[0]) <= step]
            files.atomic_write(log, "\n".join([whole[0], *kept, ""]).encode())
            if rollouts.is_file():
                frame = pd.read_parquet(rollouts)
                files.atomic_write(rollouts, frame[frame["step"] <= step].to_parquet(index=False))
        self.note({"resumed_after_steps": [*notes.get("resumed_after_steps", []), step]})

    def note(self, notes: dict[str, Any]) -> None:
        """Write something more into `recipe.json`."""
        text = json.dumps(_notes(self.out) | notes, indent=1) + "\n"
        with writing(self.out):
            files.atomic_write(self.out / RECIPE, text.encode())

    def finish(self, card: str, notes: dict[str, Any]) -> None:
        """Take the adapter out of the last checkpoint, write the card, drop the checkpoints."""
        last = last_checkpoint(self.out)
        assert last is not None
        with writing(self.out):
            (self.out / ADAPTER).mkdir(exist_ok=True)
            for name in ADAPTER_FILES:
                shutil.copyfile(last / name, self.out / ADAPTER / name)
            files.atomic_write(self.out / CARD, card.encode())
        self.note({"finished": notes})
        shutil.rmtree(self.out / CHECKPOINTS, ignore_errors=True)

    def notes(self) -> dict[str, Any]:
        """What `recipe.json` says so far."""
        return _notes(self.out)

    def _check_same(self, found: dict[str, Any]) -> None:
        for name in sorted(found.keys() | self._recipe.keys()):
            before, now = found.get(name), self._recipe.get(name)
            if before != now:
                problem = f"holds a run of another recipe ({name} was {before!r}, is {now!r})"
                raise InputError(self.out, problem, "choose another folder")


def recipe_in(folder: Path) -> Recipe:
    """The recipe of the run in a folder, finished or not.

    Raises:
        InputError: If there is no run.
    """
    notes = _notes(folder)
    if not notes:
        raise InputError(folder, "holds no run", "name the --out of a training")
    return recipe_of(notes["recipe"]["method"], notes["recipe"])


def last_checkpoint(out: Path) -> Path | None:
    """The newest checkpoint that was written whole."""
    whole = (path.parent for path in (out / CHECKPOINTS).glob(f"checkpoint-*/{COMPLETE}"))
    return max(whole, key=_step, default=None)


def begun(out: Path) -> bool:
    """Whether a folder holds a run that is finished, or can go on with `resume`."""
    return "finished" in _notes(out) or last_checkpoint(out) is not None


def is_last(checkpoint: Path) -> bool:
    """Whether a checkpoint is that of the last step."""
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return state["global_step"] >= state["max_steps"]


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Tell in plain words that a folder cannot be written.

    Raises:
        InputError: For any error that a full disk or a lack of permission leads to.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().partition("\n")[0]
        remedy = "make room or choose another folder; --resume goes on from a checkpoint"
        raise InputError(out, f"cannot be written ({reason})", remedy) from error


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _notes(out: Path) -> dict[str, Any]:
    """What `recipe.json` holds; nothing if there is none."""
    path = out / RECIPE
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(path, "is not sound JSON", "choose another folder") from error
