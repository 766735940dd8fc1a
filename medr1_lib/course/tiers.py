"""Three sizes of one course, the material that comes with it, and the first cell of a chapter."""

import json
import os
import sys
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any, Literal

import IPython

from medr1_lib.errors import InputError

PACKAGE = Path(__file__).parents[1]
COSTS = "recorded/course_costs.json"  # written by `make course RECORD=1`
WORK = "work"  # the folder of a student's own copies of the chapters, made by `make lab`


def material(name: str) -> Path:
    """A file or folder of the course's `data/`: results, published figures, the tiny model.

    It is looked for in the folder that `MEDR1_HOME` names, a checkout of the course. Without that
    variable, in what the installed wheel carries, else in the checkout that holds this library.
    """
    named = os.environ.get("MEDR1_HOME")
    places = [Path(named, "data")] if named else [PACKAGE / "material", PACKAGE.parent / "data"]
    found = next((place / name for place in places if (place / name).exists()), None)
    if found is None:
        remedy = "set MEDR1_HOME to the folder of a checkout of the course"
        raise InputError(places[-1] / name, "this course material is not there", remedy)
    return found.resolve()


def own_data() -> Path | None:
    """The data set that `MEDR1_DATA` names, made by `data import` or `data build`; or none."""
    named = os.environ.get("MEDR1_DATA")
    if named and not Path(named, "dataset_dict.json").is_file():
        raise InputError("MEDR1_DATA", f"{named} is no data set", "set it to the folder of one")
    return Path(named).resolve() if named else None


@dataclass(frozen=True)
class Tier:
    """One size of the course; the code is the same in all of them."""

    name: str  # the value of `MEDR1_TIER`
    model: str  # that of the chapters that use one, in words
    data: str  # what it is asked about, in words
    threads: int | None  # of the CPU, or `None` for as many as torch chooses
    quantize: Literal["nf4"] | None = None  # how `load_policy` stores the weights
    max_new_tokens: int = 32  # the longest completion; those of the tiny model are short

    @property
    def model_path(self) -> Path:
        """The directory of the model to ask: `MEDR1_MODEL`, else, but on a GPU, the tiny one."""
        named = os.environ.get("MEDR1_MODEL")
        if not named and self.name == "gpu":
            remedy = "set it to a directory of Qwen2-VL-2B-Instruct"
            raise InputError("MEDR1_MODEL", "the gpu tier needs a model, none is named", remedy)
        return Path(named).resolve() if named else material("tiny-qwen2-vl")


# One thread for the small tiers: on a busy machine a second one makes so small a model slower.
REPLAY = Tier("replay", "none, recorded runs are shown", "recorded results", 1)
LAPTOP = Tier("laptop", "a tiny Qwen2-VL", "PhantomMedVQA", 1)
GPU = Tier("gpu", "Qwen2-VL-2B-Instruct in 4 bits", "PhantomMedVQA (yours in 13)", None, "nf4", 256)
TIERS = {tier.name: tier for tier in (REPLAY, LAPTOP, GPU)}


def current() -> Tier:
    """The tier that `MEDR1_TIER` names, `laptop` if it is not set; refused where it cannot run."""
    name = os.environ.get("MEDR1_TIER", "laptop")
    if name not in TIERS:
        raise InputError("MEDR1_TIER", f"no tier {name!r}", f"set it to one of {', '.join(TIERS)}")
    if name == "gpu":
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = first  # TRL refuses to spread one process over more
        import torch  # here, since the small tiers start without it

        if not torch.cuda.is_available():
            problem = "the gpu tier needs an NVIDIA GPU, torch finds none"
            remedy = "set MEDR1_TIER=laptop, or see what `python -m medr1_lib doctor` says of it"
            raise InputError("MEDR1_TIER", problem, remedy)
    return TIERS[name]


def start(chapter: int) -> Tier:
    """Set a chapter up for the tier that `current` gives, and print what it costs."""
    tier = current()
    if tier.threads:
        os.environ["OMP_NUM_THREADS"] = str(tier.threads)
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # with a GPU, answers would be rounded otherwise
        if "torch" in sys.modules:  # then the variable comes too late
            sys.modules["torch"].set_num_threads(tier.threads)
    if os.environ.get("TQDM_DISABLE"):  # bars in notebooks ignore it: their times would be stored
        from tqdm.notebook import tqdm_notebook

        bars: Any = tqdm_notebook
        bars.__init__ = partialmethod(bars.__init__, disable=True)
    if shell := IPython.get_ipython():
        shell.set_custom_exc((KeyboardInterrupt,), _stopped)
    print(banner(chapter, tier))
    return tier


def _stopped(shell: Any, kind: Any, error: Any, trace: Any, **_: object) -> None:  # noqa: ANN401
    """Tell of a stopped cell in two lines, where the traceback of a training has a hundred."""
    error.args = ("the cell was stopped; to go on, run it again",)
    shell.showtraceback((kind, error, trace), exception_only=True)


def banner(chapter: int, tier: Tier) -> str:
    """Tier, cost (as measured last) and caution in three lines, the same on every machine."""
    timed = json.loads(material(COSTS).read_text(encoding="utf-8"))
    course, cost = timed.get(tier.name, {"minutes": {}}), "has not been timed at this tier"
    if minutes := course["minutes"].get(f"{chapter:02d}"):
        cost = f"took {minutes} minutes on {course['hardware']} ({course['date']})"
    data = tier.data if chapter != 13 else os.environ.get("MEDR1_DATA") or "real images"
    return (
        f"Chapter {chapter:02d} at the {tier.name} tier: model, {tier.model}; data, {data}.\n"
        f"Running it all {cost}.\n"
        "Teaching material, not for clinical use."
    )
