"""What a phantom can show: the vocabulary, and `Scene`, the truth behind one image."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from medr1_lib.errors import InputError, refusing

# Shared by all modalities, so what is learned about them in one helps in every other.
PRIMITIVES = ("none", "solid", "ring", "scattered")
GRADES = ("minimal", "mild", "moderate", "severe")
SIZES = ("tiny", "small", "large", "huge")  # the grades of everyday drawings
PLACES = ("upper left", "upper right", "lower left", "lower right")
SCANNERS = ("scanner 1", "scanner 2", "scanner 3", "scanner 4")

# Owned by one modality. The general domain has everyday drawings, asked about by the same names:
# `anatomy` is the subject, a finding what is added to it, and there is no scanner.
_FILE = Path(__file__).with_name("vocabulary.yaml")
WORDS = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
EVERYDAY = tuple(WORDS["general"])
OWNED: dict[str, Any] = WORDS["medical"] | WORDS["general"]
FINDINGS = {name: tuple(owned["findings"]) for name, owned in WORDS["medical"].items()}


def vocabulary(modality: str) -> dict[str, tuple[str, ...]]:
    """The values that each attribute of a scene can have in a modality, medical or everyday."""
    everyday = modality in EVERYDAY
    return {
        "anatomy": tuple(OWNED[modality]["anatomies"]),
        "finding": tuple(OWNED[modality]["findings"]),
        "grade": SIZES if everyday else GRADES,
        "place": PLACES,
        "acquisition": tuple(OWNED[modality]["acquisitions"]),
    } | ({} if everyday else {"scanner": SCANNERS})


@dataclass(frozen=True)
class Scene:
    """The latent truth of one phantom; an `InputError` if there is no such scene."""

    modality: str
    anatomy: str
    finding: str  # the first of its modality means that there is no lesion
    grade: str | None  # the size of the lesion; `None` without one
    place: str | None  # of the lesion in the image; `None` without one
    acquisition: str
    scanner: str | None  # faint stripes and tick marks at the border; `None` leaves none
    seed: int  # of everything else: pose, contrast, noise

    def __post_init__(self) -> None:
        if self.modality not in OWNED:
            raise InputError("scene", f"unknown modality {self.modality!r}", "use a known one")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError("scene", f"the seed {self.seed!r} is no whole number", "use 0 or more")
        allowed: dict[str, tuple[str | None, ...]] = {**vocabulary(self.modality)}
        allowed["scanner"] = (*allowed.get("scanner", ()), None)
        if self.finding == vocabulary(self.modality)["finding"][0]:
            allowed |= {"grade": (None,), "place": (None,)}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                problem = f"{name} {getattr(self, name)!r} does not exist there"
                remedy = f"use one of {', '.join(map(str, values))}"
                raise InputError(f"scene of {self.modality}", problem, remedy)

    @property
    def primitive(self) -> str:
        """The visual primitive that the finding's name stands for in this modality."""
        return PRIMITIVES[vocabulary(self.modality)["finding"].index(self.finding)]

    def to_json(self) -> str:
        """The scene as one line of JSON, as stored in the column `scene`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Scene":
        """The scene that `to_json` wrote; an `InputError` if the text is not one."""
        with refusing("scene", "not readable", "use the column as it was built"):
            return cls(**json.loads(text))


def random_scene(rng: np.random.Generator, modality: str, **fixed: str) -> Scene:
    """Draw a scene, every attribute that is not fixed uniform and independent of the others.

    A fixed grade or place asks for a lesion.
    """
    choices = vocabulary(modality)
    without, *findings = choices["finding"]
    if fixed.keys() & {"grade", "place"}:
        choices["finding"] = tuple(findings)
    drawn: dict[str, str | None] = {"scanner": None}
    drawn |= {name: values[rng.integers(len(values))] for name, values in choices.items()}
    drawn |= fixed
    if drawn["finding"] == without:
        drawn |= {"grade": None, "place": None}
    return Scene(modality=modality, seed=int(rng.integers(2**50)), **drawn)  # type: ignore[arg-type]
