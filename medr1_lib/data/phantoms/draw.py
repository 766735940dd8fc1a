"""Draws a scene: pose, body, tone, lesion, noise, field of view, colour, scanner."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medr1_lib.data.phantoms import painters
from medr1_lib.data.phantoms.painters import Map, Plane, X, Y, line, paint, step, texture
from medr1_lib.data.phantoms.scene import EVERYDAY, OWNED, PLACES, SCANNERS, Scene, vocabulary

RADII = (0.12, 0.18, 0.25, 0.33)  # of the four grades
CENTRES = ((-0.4, -0.4), (0.4, -0.4), (-0.4, 0.4), (0.4, 0.4))  # of the four places
OBJECT_COLOURS = ((220, 40, 40), (250, 214, 40), (40, 60, 200), (20, 150, 70))
Finish = Callable[[Map, np.random.Generator], Map]

GREY = ((0, 0, 0), (255, 255, 255))


@dataclass(frozen=True)
class Look:
    """How one acquisition of one modality looks."""

    tone: Sequence[Sequence[float]] = ((0, 0), (1, 1))  # tissue to grey level, both 0 to 1
    ramp: Sequence[Sequence[int]] = GREY  # colours of the grey levels, evenly spaced from 0 to 1
    finish: str = "none"  # applied last: field of view, reflections, scan lines
    view: str = "frontal"  # turns the body before it is drawn

    def grey(self, tissue: Map) -> Map:
        """Tissue or lightness as this acquisition's grey levels."""
        levels, values = zip(*self.tone, strict=True)
        return np.interp(tissue, levels, values).astype(np.float32)

    def colour(self, grey: Map) -> NDArray[np.uint8]:
        """Grey levels as colours, [height, width, 3]."""
        table = np.array(self.ramp, np.float32)
        places = np.linspace(0, 255, len(table))
        steps = np.stack([np.interp(np.arange(256), places, channel) for channel in table.T], -1)
        return steps.astype(np.uint8)[(np.clip(grey, 0, 1) * 255).astype(np.uint8)]


def _field(inside: Map, soft: float) -> Finish:
    """A field of view: black outside, where `inside` is negative."""
    seen = step(inside, soft)
    return lambda grey, rng: grey * seen


def _sector(top: float, opening: float) -> Finish:
    """The field of view of a bent probe: a fan from an arc at `top`, `opening` wide there."""
    sides = opening + 0.32 * (Y + 1) - np.abs(X)
    skin = Y + 1 - top * (1 - (X / opening) ** 2 / 2)
    return _field(np.minimum(np.minimum(sides, skin), 0.94 - 0.16 * X**2 - Y), 0.03)


def _flecks(
    grey: Map, rng: np.random.Generator, n: int, reach: float, size: float, soft: float, flat: int
) -> Map:
    for x, y in rng.uniform(-reach, reach, (n, 2)):
        grey = paint(grey, step(size - np.hypot(X - x, (Y - y) * flat), soft), 1.0)
    return grey


def _bubbles(grey: Map, rng: np.random.Generator) -> Map:
    for x, y, r in rng.uniform((-1, -1, 0.03), (1, 1, 0.08), (14, 3)):
        grey = paint(grey, line(np.hypot(X - x, Y - y) - r, 0.015), 0.98)
    return grey


def _scan_columns(grey: Map, rng: np.random.Generator) -> Map:
    coarse = np.repeat(grey[:, ::4], 4, axis=1)
    shaken = np.repeat(rng.normal(0, 0.05, len(grey) // 4), 4).astype(np.float32)
    return coarse + shaken


def _rician(grey: Map, rng: np.random.Generator) -> Map:
    """MRI shows the length of a complex signal, so noise lifts its black (Gudbjartsson 1995)."""
    shaded = grey * (1 + 0.12 * X * rng.choice((-1, 1)))
    return np.hypot(shaded + 0.05 * texture(rng, 0.6), 0.05 * texture(rng, 0.6))


def _speckle(strength: float, grain: float) -> Finish:
    """Echoes interfere, so the noise multiplies the signal."""
    return lambda grey, rng: grey * np.abs(1 + strength * texture(rng, grain))


def _additive(strength: float, grain: float) -> Finish:
    return lambda grey, rng: grey + strength * texture(rng, grain)


# What `vocabulary.yaml` calls them.
NOISES: dict[str, Callable[..., Finish]] = {"speckle": _speckle, "additive": _additive}
NOISES["rician"] = lambda: _rician
FINISHES: dict[str, Finish] = {
    "none": lambda grey, rng: grey,
    "linear": _field(0.93 - np.maximum(np.abs(X), np.abs(Y)), 0.02),
    "curved": _sector(0.16, 0.72),
    "phased": _sector(0.04, 0.5),
    "aperture": _field(0.97 - np.hypot(X, Y), 0.04),
    "glare": partial(_flecks, n=7, reach=0.9, size=0.07, soft=0.05, flat=2),
    "bubbles": _bubbles,
    "columns": _scan_columns,
    "hatched": lambda grey, rng: grey + 0.06 * np.sin(50 * (X + Y) + texture(rng, 4)),
    "rain": lambda grey, rng: (
        grey + 0.12 * step(np.sin(36 * (X + 0.3 * Y) + 3 * texture(rng, 8)) - 0.9, 0.1)
    ),
    "snow": partial(_flecks, n=30, reach=1.0, size=0.03, soft=0.03, flat=1),
}
VIEWS: dict[str, Callable[[Plane], Plane]] = {
    "frontal": lambda plane: plane,
    "lateral": lambda plane: plane.sheared(1.35, 0),
    "oblique": lambda plane: plane.sheared(1.05, 0.45),
    "lying": lambda plane: plane.moved(np.pi / 2, 1, (0, 0)),
}
LOOKS = {
    modality: {name: Look(**told) for name, told in owned["acquisitions"].items()}
    for modality, owned in OWNED.items()
}
NOISE: dict[str, Finish] = {
    modality: NOISES[kind](*strength)
    for modality, owned in OWNED.items()
    for kind, strength in owned["noise"].items()
}


def draw(scene: Scene) -> Image.Image:
    """Draw a phantom: 112 x 112 RGB, the same pixels for the same scene; it imitates no disease."""
    rng = np.random.default_rng(scene.seed)
    look = LOOKS[scene.modality][scene.acquisition]
    angle, scale = rng.uniform(-0.08, 0.08), rng.uniform(0.94, 1.06)
    plane = Plane(X, Y).moved(angle, scale, tuple(rng.uniform(-0.05, 0.05, 2)))
    painter = getattr(painters, OWNED[scene.modality]["anatomies"][scene.anatomy])
    grey = look.grey(painter(VIEWS[look.view](plane), rng))
    grey = grey * np.float32(rng.uniform(0.8, 1.08)) + np.float32(rng.uniform(-0.04, 0.08))
    everyday = scene.modality in EVERYDAY
    if scene.grade and not everyday:
        grey = _with_lesion(grey, scene, rng)
    grey = FINISHES[look.finish](NOISE[scene.modality](grey, rng), rng)
    pixels = look.colour(grey)
    if scene.grade and everyday:
        pixels = _with_object(pixels, scene, rng)
    if scene.acquisition == "color Doppler":
        pixels = _with_flow(pixels, rng)
    if scene.scanner:
        pixels = _with_scanner(pixels, SCANNERS.index(scene.scanner))
    return Image.fromarray(pixels)


def _with_lesion(grey: Map, scene: Scene, rng: np.random.Generator) -> Map:
    """Adds the lesion, lighter or darker than what it lies on, whichever there is room for."""
    mask = _lesion_mask(scene, rng)
    under = float((grey * mask).sum() / mask.sum())
    contrast = rng.uniform(0.3, 0.42)
    lighter = rng.random() < 0.5 if 0.25 < under < 0.75 else under <= 0.25
    target = under + contrast if lighter else under - contrast
    return paint(grey, 0.9 * mask, target + 0.03 * texture(rng, 1.5))


def _with_object(
    pixels: NDArray[np.uint8], scene: Scene, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Adds what lies on an everyday picture, in the colour that stands out most."""
    mask = _lesion_mask(scene, rng)[..., None]
    under = (pixels * mask).sum((0, 1)) / mask.sum()
    colour = max(OBJECT_COLOURS, key=lambda known: np.abs(np.array(known) - under).sum())
    return (pixels + mask * (np.array(colour) - pixels)).astype(np.uint8)


def _lesion_mask(scene: Scene, rng: np.random.Generator) -> Map:
    """Where the lesion or the object lies, about its place and about as large as its grade."""
    plane, grades = Plane(X, Y), vocabulary(scene.modality)["grade"]
    x, y = np.array(CENTRES[PLACES.index(scene.place)]) + rng.uniform(-0.06, 0.06, 2)
    radius = RADII[grades.index(scene.grade)] * rng.uniform(0.94, 1.06)
    if scene.primitive == "solid":
        return plane.disk(x, y, radius, 0.05, tall=rng.uniform(0.85, 1.15))
    if scene.primitive == "ring":
        return plane.ring(x, y, 0.82 * radius, 0.36 * radius, 0.04, tall=rng.uniform(0.85, 1.15))
    # Scattered: one spot near the rim in each of five directions and one in the middle, so that
    # the extent of the cluster, which is its grade, does not depend on luck.
    turns = rng.uniform(0, 2 * np.pi) + 2 * np.pi / 5 * np.arange(5) + rng.uniform(-0.3, 0.3, 5)
    spots = [(x, y), *((x + 0.8 * radius * np.cos(t), y + 0.8 * radius * np.sin(t)) for t in turns)]
    return np.max([plane.disk(cx, cy, 0.24 * radius, 0.04) for cx, cy in spots], axis=0)


def _with_flow(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Adds the colour box of a Doppler scan: red and blue where blood moves."""
    flow = texture(rng, 5)
    inside = (np.maximum(np.abs(X), np.abs(Y)) < 0.6) & (np.abs(flow) > 1.2)
    colours = np.where(flow[..., None] > 0, (220, 40, 30), (40, 70, 220)).astype(np.uint8)
    box = line(np.maximum(np.abs(X), np.abs(Y)) - 0.62, 0.008)[..., None] > 0.5
    return np.where(box, 230, np.where(inside[..., None], colours, pixels)).astype(np.uint8)


def _with_scanner(pixels: NDArray[np.uint8], scanner: int) -> NDArray[np.uint8]:
    """Adds the scanner mark: faint stripes, and one to four tick marks at the border."""
    stripes = (X, Y, X + Y, X - Y)[scanner]
    marked = pixels * (1 + 0.03 * np.sin(60 * stripes))[..., None]
    for tick in range(scanner + 1):
        right = -4 - 4 * tick
        marked[-8:-2, right - 2 : right] = (235, 235, 235)
    return np.clip(marked, 0, 255).astype(np.uint8)
