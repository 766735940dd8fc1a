"""What a phantom can show: the vocabulary, and `Scene`, the truth behind one image."""

import json
from dataclasses import asdict, dataclass

import numpy as np

from medr1_lib.errors import InputError

# Shared by all modalities, so what is learned about them in one helps in every other.
PRIMITIVES = ("none", "solid", "ring", "scattered")
GRADES = ("minimal", "mild", "moderate", "severe")
SIZES = ("tiny", "small", "large", "huge")  # the grades of everyday drawings
PLACES = ("upper left", "upper right", "lower left", "lower right")
SCANNERS = ("scanner 1", "scanner 2", "scanner 3", "scanner 4")

# Owned by one modality. A finding names the primitive at the same position: a ring is an abscess
# in CT, a cyst in MRI and edema in OCT, so this part of the knowledge does not transfer.
FINDINGS = {
    "CT": ("no abnormality", "mass", "abscess", "metastases"),
    "MRI": ("no abnormality", "tumor", "cyst", "plaques"),
    "X-Ray": ("no abnormality", "opacity", "cavity", "nodules"),
    "Ultrasound": ("no abnormality", "solid lesion", "fluid collection", "calcifications"),
    "Dermoscopy": ("no abnormality", "nevus", "ringworm", "freckles"),
    "Fundus Photography": ("no abnormality", "hemorrhage", "retinal hole", "exudates"),
    "OCT": ("no abnormality", "scar", "edema", "drusen"),
    "Microscopy": ("no abnormality", "carcinoma", "granuloma", "inflammation"),
}
ANATOMIES = {
    "CT": ("head", "chest", "abdomen", "pelvis"),
    "MRI": ("brain", "knee", "spine", "heart"),
    "X-Ray": ("lungs", "hand", "leg", "skull"),
    "Ultrasound": ("breast", "thyroid", "liver", "kidney"),
    "Dermoscopy": ("trunk", "scalp", "nail", "palm"),
    "Fundus Photography": ("optic disc", "macula", "vessel arcade", "peripheral retina"),
    "OCT": ("fovea", "optic nerve", "cornea", "lens"),
    "Microscopy": ("blood", "colon", "muscle", "fat tissue"),
}
ACQUISITIONS = {
    "CT": ("soft tissue window", "lung window", "bone window", "contrast phase"),
    "MRI": ("T1", "T2", "FLAIR", "proton density"),
    "X-Ray": ("frontal view", "lateral view", "oblique view", "lying view"),
    "Ultrasound": ("linear probe", "curved probe", "phased probe", "color Doppler"),
    "Dermoscopy": ("polarized light", "white light", "ultraviolet light", "contact gel"),
    "Fundus Photography": ("color photograph", "red-free", "angiogram", "autofluorescence"),
    "OCT": ("spectral domain", "time domain", "pseudocolor", "inverted scale"),
    "Microscopy": ("H&E stain", "trichrome stain", "silver stain", "immunostain"),
}

# The general domain: everyday drawings, their subjects, what is added to them, and light or
# technique. They are asked about by the same names (`anatomy` is the subject) and have no scanner.
EVERYDAY = {
    "Landscape": (
        ("mountains", "sea", "forest", "desert"),
        ("nothing added", "balloon", "wreath", "birds"),
        ("noon light", "dusk", "moonlight", "fog"),
    ),
    "Still Life": (
        ("apple", "bottle", "cup", "candle"),
        ("nothing added", "plum", "bracelet", "crumbs"),
        ("oil paint", "watercolor", "pencil", "chalk"),
    ),
    "Street Scene": (
        ("house", "car", "bridge", "church"),
        ("nothing added", "ball", "tire", "leaves"),
        ("sunshine", "rain", "snow", "lamplight"),
    ),
    "Textile": (
        ("stripes", "checks", "waves", "diamonds"),
        ("nothing added", "button", "buckle", "beads"),
        ("indigo", "madder", "saffron", "undyed"),
    ),
}


def vocabulary(modality: str) -> dict[str, tuple[str, ...]]:
    """The values that each attribute of a scene can have in a modality, medical or everyday."""
    if modality in EVERYDAY:
        anatomies, findings, acquisitions = EVERYDAY[modality]
        grades, scanners = SIZES, {}
    else:
        owned = ANATOMIES[modality], FINDINGS[modality], ACQUISITIONS[modality]
        anatomies, findings, acquisitions = owned
        grades, scanners = GRADES, {"scanner": SCANNERS}
    return {
        "anatomy": anatomies,
        "finding": findings,
        "grade": grades,
        "place": PLACES,
        "acquisition": acquisitions,
        **scanners,
    }


@dataclass(frozen=True)
class Scene:
    """The latent truth of one phantom; the same scene always gives the same pixels.

    A value that does not belong to the modality is an `InputError`.
    """

    modality: str
    anatomy: str
    finding: str  # the first of its modality means that there is no lesion
    grade: str | None  # the size of the lesion; `None` without one
    place: str | None  # of the lesion in the image; `None` without one
    acquisition: str
    scanner: str | None  # faint stripes and tick marks at the border; `None` leaves none
    seed: int  # of everything else: pose, contrast, noise

    def __post_init__(self) -> None:
        if self.modality not in (*FINDINGS, *EVERYDAY):
            raise InputError("scene", f"unknown modality {self.modality!r}", "use a known one")
        if type(self.seed) is not int or self.seed < 0:
            raise InputError("scene", f"the seed {self.seed!r} is no whole number", "use 0 or more")
        allowed: dict[str, tuple[str | None, ...]] = {**vocabulary(self.modality)}
        allowed["scanner"] = (*allowed.get("scanner", ()), None)
        if not self.has_lesion:
            allowed |= {"grade": (None,), "place": (None,)}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                problem = f"{name} {getattr(self, name)!r} does not exist there"
                remedy = f"use one of {', '.join(map(str, values))}"
                raise InputError(f"scene of {self.modality}", problem, remedy)

    @property
    def has_lesion(self) -> bool:
        """Whether there is something to grade and to locate."""
        return self.finding != vocabulary(self.modality)["finding"][0]

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
        try:
            return cls(**json.loads(text))
        except InputError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            remedy = "use the column as it was built"
            raise InputError("scene", f"not readable ({error})", remedy) from None


def random_scene(rng: np.random.Generator, modality: str, **fixed: str) -> Scene:
    """Draw a scene, every attribute that is not fixed uniform and independent of the others.

    A fixed grade or place asks for a lesion.

    Example:
        >>> random_scene(np.random.default_rng(0), "OCT", finding="edema").primitive
        'ring'
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
