"""How each acquisition turns a body into a picture: tone, noise, field of view, colour."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medr1_lib.data.phantoms.canvas import SIZE, Map, Plane, X, Y, line, paint, step, texture

Colour = tuple[int, int, int]
Finish = Callable[[Map, np.random.Generator], Map]

GREY: tuple[Colour, ...] = ((0, 0, 0), (255, 255, 255))
LINEAR = ((0.0, 0.0), (1.0, 1.0))


@dataclass(frozen=True)
class Look:
    """How one acquisition of one modality looks."""

    tone: tuple[tuple[float, float], ...] = LINEAR  # curve from tissue to grey level, both 0 to 1
    ramp: tuple[Colour, ...] = GREY  # colours of the grey levels, evenly spaced from 0 to 1
    finish: Finish = lambda grey, rng: grey  # applied last: field of view, reflections, scan lines
    view: Callable[[Plane], Plane] = lambda plane: plane  # turns the body before it is drawn

    def grey(self, tissue: Map) -> Map:
        """Tissue or lightness as this acquisition's grey levels."""
        levels, values = zip(*self.tone, strict=True)
        return np.interp(tissue, levels, values).astype(np.float32)

    def colour(self, grey: Map) -> NDArray[np.uint8]:
        """Grey levels as colours, [SIZE, SIZE, 3]."""
        table = np.array(self.ramp, np.float32)
        places = np.linspace(0, 255, len(table))
        steps = np.stack([np.interp(np.arange(256), places, channel) for channel in table.T], -1)
        return steps.astype(np.uint8)[(np.clip(grey, 0, 1) * 255).astype(np.uint8)]


def _sector(top: float, opening: float) -> Finish:
    """The field of view of a bent probe: a fan from an arc at `top`, `opening` wide there."""

    def finish(grey: Map, rng: np.random.Generator) -> Map:
        sides = opening + 0.32 * (Y + 1) - np.abs(X)
        skin = Y + 1 - top * (1 - (X / opening) ** 2 / 2)
        floor = 0.94 - 0.16 * X**2 - Y
        return grey * step(np.minimum(np.minimum(sides, skin), floor), 0.03)

    return finish


def _linear_probe(grey: Map, rng: np.random.Generator) -> Map:
    return grey * step(0.93 - np.maximum(np.abs(X), np.abs(Y)), 0.02)


def _glare(grey: Map, rng: np.random.Generator) -> Map:
    for x, y in rng.uniform(-0.9, 0.9, (7, 2)):
        grey = paint(grey, step(0.07 - np.hypot(X - x, (Y - y) * 2), 0.05), 1.0)
    return grey


def _bubbles(grey: Map, rng: np.random.Generator) -> Map:
    for x, y, r in rng.uniform((-1, -1, 0.03), (1, 1, 0.08), (14, 3)):
        grey = paint(grey, line(np.hypot(X - x, Y - y) - r, 0.015), 0.98)
    return grey


def _aperture(grey: Map, rng: np.random.Generator) -> Map:
    return grey * step(0.97 - np.hypot(X, Y), 0.04)


def _scan_columns(grey: Map, rng: np.random.Generator) -> Map:
    coarse = np.repeat(grey[:, ::4], 4, axis=1)
    shaken = np.repeat(rng.normal(0, 0.05, SIZE // 4), 4).astype(np.float32)
    return coarse + shaken


_ECHO = ((0.0, 0.02), (0.3, 0.18), (0.55, 0.4), (0.95, 0.85))
_CURVED, _PHASED = _sector(0.16, 0.72), _sector(0.04, 0.5)
_SKIN = ((38, 20, 16), (150, 88, 68), (226, 168, 146), (255, 236, 224))
_FUNDUS = ((0, 0, 0), (120, 30, 8), (214, 98, 34), (255, 214, 120))

LOOKS: dict[str, dict[str, Look]] = {
    "CT": {
        "soft tissue window": Look(((0.1, 0), (0.3, 0.25), (0.45, 0.5), (0.6, 0.72), (0.9, 1))),
        "lung window": Look(((0, 0.05), (0.12, 0.35), (0.3, 0.85), (0.95, 1))),
        "bone window": Look(((0.2, 0), (0.5, 0.16), (0.65, 0.3), (0.95, 0.92))),
        "contrast phase": Look(((0.1, 0), (0.4, 0.25), (0.47, 0.35), (0.54, 0.8), (0.7, 1))),
    },
    "MRI": {
        "T1": Look(((0, 0.02), (0.3, 0.92), (0.45, 0.4), (0.55, 0.5), (0.65, 0.66), (0.8, 0.1))),
        "T2": Look(((0, 0.02), (0.3, 0.6), (0.45, 0.2), (0.55, 0.5), (0.65, 0.36), (0.8, 1))),
        "FLAIR": Look(
            ((0, 0.02), (0.3, 0.2), (0.45, 0.35), (0.55, 0.74), (0.65, 0.6), (0.8, 0.02))
        ),
        "proton density": Look(((0, 0.02), (0.3, 0.5), (0.45, 0.6), (0.55, 0.85), (0.8, 0.75))),
    },
    "X-Ray": {
        "frontal view": Look(),
        "lateral view": Look(view=lambda plane: plane.sheared(1.35, 0)),
        "oblique view": Look(view=lambda plane: plane.sheared(1.05, 0.45)),
        "lying view": Look(view=lambda plane: plane.moved(np.pi / 2, 1, (0, 0))),
    },
    "Ultrasound": {
        "linear probe": Look(_ECHO, finish=_linear_probe),
        "curved probe": Look(_ECHO, finish=_CURVED),
        "phased probe": Look(_ECHO, finish=_PHASED),
        "color Doppler": Look(_ECHO, finish=_CURVED),
    },
    "Dermoscopy": {
        "polarized light": Look(ramp=_SKIN),
        "white light": Look(((0, 0.12), (1, 1)), _SKIN, _glare),
        "ultraviolet light": Look(
            ramp=((10, 6, 40), (70, 50, 140), (140, 120, 214), (226, 214, 255))
        ),
        "contact gel": Look(((0, 0), (1, 0.92)), _SKIN, _bubbles),
    },
    "Fundus Photography": {
        "color photograph": Look(ramp=_FUNDUS, finish=_aperture),
        "red-free": Look(ramp=((0, 0, 0), (60, 120, 80), (190, 240, 200)), finish=_aperture),
        "angiogram": Look(((0, 1), (0.26, 0.95), (0.32, 0.3), (0.9, 0.5)), finish=_aperture),
        "autofluorescence": Look(
            ((0, 0), (0.3, 0.1), (0.55, 0.6), (0.7, 0.3), (1, 0.05)), finish=_aperture
        ),
    },
    "OCT": {
        "spectral domain": Look(),
        "time domain": Look(finish=_scan_columns),
        "pseudocolor": Look(
            ramp=((0, 0, 40), (0, 60, 190), (20, 190, 90), (250, 220, 0), (235, 20, 0))
        ),
        "inverted scale": Look(ramp=GREY[::-1]),
    },
    "Microscopy": {
        "H&E stain": Look(ramp=((60, 24, 100), (222, 118, 168), (252, 242, 248))),
        "trichrome stain": Look(ramp=((70, 16, 30), (70, 120, 196), (246, 248, 252))),
        "silver stain": Look(ramp=((16, 10, 6), (186, 146, 76), (252, 244, 214))),
        "immunostain": Look(ramp=((86, 46, 14), (158, 176, 206), (246, 247, 251))),
    },
}


def _rician(grey: Map, rng: np.random.Generator) -> Map:
    """MRI shows the length of a complex signal, so noise lifts its black (Gudbjartsson 1995)."""
    shaded = grey * (1 + 0.12 * X * rng.choice((-1, 1)))
    return np.hypot(shaded + 0.05 * texture(rng, 0.6), 0.05 * texture(rng, 0.6))


def _speckle(strength: float, grain: float) -> Finish:
    """Echoes interfere, so the noise multiplies the signal."""
    return lambda grey, rng: grey * np.abs(1 + strength * texture(rng, grain))


def _additive(strength: float, grain: float) -> Finish:
    return lambda grey, rng: grey + strength * texture(rng, grain)


NOISE: dict[str, Finish] = {
    "CT": _additive(0.035, 0.7),
    "MRI": _rician,
    "X-Ray": _additive(0.03, 0.5),
    "Ultrasound": _speckle(0.42, 1.0),
    "Dermoscopy": _additive(0.02, 0.7),
    "Fundus Photography": _additive(0.02, 0.7),
    "OCT": _speckle(0.35, 0.7),
    "Microscopy": _additive(0.02, 0.6),
}
