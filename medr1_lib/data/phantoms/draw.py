"""Draws a scene: pose, body, tone, lesion, noise, colour, scanner."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medr1_lib.data.phantoms.appearance import LOOKS, NOISE
from medr1_lib.data.phantoms.canvas import SIZE, Map, Plane, X, Y, line, paint, texture
from medr1_lib.data.phantoms.painters import PAINTERS
from medr1_lib.data.phantoms.scene import ANATOMIES, GRADES, PLACES, SCANNERS, Scene

RADII = dict(zip(GRADES, (0.12, 0.18, 0.25, 0.33), strict=True))
CENTRES = dict(zip(PLACES, ((-0.4, -0.4), (0.4, -0.4), (-0.4, 0.4), (0.4, 0.4)), strict=True))


def draw(scene: Scene) -> Image.Image:
    """Draw a phantom: 112 x 112 RGB, the same pixels for the same scene.

    A phantom is a drawing. It imitates the look of a modality, not its physics, and no disease.

    Example:
        >>> scene = Scene("CT", "head", "mass", "mild", "upper left", "bone window", "scanner 1", 7)
        >>> draw(scene).size
        (112, 112)
    """
    rng = np.random.default_rng(scene.seed)
    look = LOOKS[scene.modality][scene.acquisition]
    plane = Plane(X, Y).moved(
        rng.uniform(-0.08, 0.08), rng.uniform(0.94, 1.06), tuple(rng.uniform(-0.05, 0.05, 2))
    )
    painter = PAINTERS[scene.modality][ANATOMIES[scene.modality].index(scene.anatomy)]
    grey = look.grey(painter(look.view(plane), rng))
    grey = grey * np.float32(rng.uniform(0.8, 1.08)) + np.float32(rng.uniform(-0.04, 0.08))
    if scene.grade and scene.place:
        grey = _with_lesion(grey, scene.primitive, RADII[scene.grade], CENTRES[scene.place], rng)
    grey = look.finish(NOISE[scene.modality](grey, rng), rng)
    pixels = look.colour(grey)
    if scene.acquisition == "color Doppler":
        pixels = _with_flow(pixels, rng)
    if scene.scanner:
        pixels = _with_scanner(pixels, SCANNERS.index(scene.scanner))
    return Image.fromarray(pixels)


def _with_lesion(
    grey: Map, primitive: str, radius: float, centre: tuple[float, float], rng: np.random.Generator
) -> Map:
    """Adds the lesion, lighter or darker than what it lies on, whichever there is room for."""
    x, y = np.array(centre) + rng.uniform(-0.06, 0.06, 2)
    radius *= rng.uniform(0.94, 1.06)
    mask = _lesion_mask(primitive, x, y, radius, rng)
    under = float((grey * mask).sum() / mask.sum())
    contrast = rng.uniform(0.3, 0.42)
    lighter = rng.random() < 0.5 if 0.25 < under < 0.75 else under <= 0.25
    target = under + contrast if lighter else under - contrast
    return paint(grey, 0.9 * mask, target + 0.03 * texture(rng, 1.5))


def _lesion_mask(
    primitive: str, x: float, y: float, radius: float, rng: np.random.Generator
) -> Map:
    plane = Plane(X, Y)
    if primitive == "solid":
        return plane.disk(x, y, radius, 0.05, tall=rng.uniform(0.85, 1.15))
    if primitive == "ring":
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
        right = SIZE - 4 - 4 * tick
        marked[SIZE - 8 : SIZE - 2, right - 2 : right] = (235, 235, 235)
    return np.clip(marked, 0, 255).astype(np.uint8)
