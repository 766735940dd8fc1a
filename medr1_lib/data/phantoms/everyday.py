"""Everyday subjects as maps of lightness: landscapes, still lifes, street scenes and textiles.

A painter draws one subject: 0 is the darkest, 1 the brightest. `draw.LOOKS` gives it its light or
its technique. The general domain; nothing here is medical.
"""

import numpy as np

from medr1_lib.data.phantoms.canvas import Map, Plane, line, paint, step, texture


def mountains(p: Plane, rng: np.random.Generator) -> Map:
    view = 0.85 - 0.1 * p.y
    for x, top, slope, value in ((-0.45, -0.5, 1.1, 0.4), (0.45, -0.3, 0.9, 0.3)):
        flank = p.y - np.float32(top) - np.float32(slope) * np.abs(p.x - np.float32(x))
        view = paint(view, step(flank, 0.04), value + 0.03 * texture(rng, 3))
        view = paint(view, step(flank, 0.04) * step(np.float32(top + 0.2) - p.y, 0.05), 0.98)
    return view


def sea(p: Plane, rng: np.random.Generator) -> Map:
    swell = 0.35 + 0.12 * np.sin(22 * p.y + 1.5 * texture(rng, 8))
    return paint(0.8 + 0.05 * texture(rng, 8), step(p.y + 0.1, 0.03), swell)


def forest(p: Plane, rng: np.random.Generator) -> Map:
    wood = 0.75 - 0.35 * step(p.y - 0.6, 0.1)
    for x in (-0.8, -0.4, 0.0, 0.4, 0.8):
        top = rng.uniform(-0.75, -0.5)
        crown = np.float32(0.2) * (p.y - np.float32(top)) - np.abs(p.x - np.float32(x))
        wood = paint(wood, step(crown, 0.03) * step(0.6 - p.y, 0.04), 0.15)
        wood = paint(wood, p.box(x, 0.72, 0.05, 0.14), 0.05)
    return wood


def desert(p: Plane, rng: np.random.Generator) -> Map:
    view = 0.9 + 0.03 * texture(rng, 6)
    for level, value in ((0.0, 0.62), (0.3, 0.5), (0.6, 0.38)):
        dune = p.y - np.float32(level) + 0.14 * np.sin(3 * p.x + rng.uniform(0, 6))
        view = paint(view, step(dune, 0.03), value)
    return view


def _table(p: Plane, rng: np.random.Generator) -> Map:
    return paint(0.85 + 0.02 * texture(rng, 5), step(p.y - 0.5, 0.03), 0.6)


def apple(p: Plane, rng: np.random.Generator) -> Map:
    still = paint(_table(p, rng), p.folded().disk(0.2, 0.1, 0.46), 0.35 - 0.15 * p.x)
    still = paint(still, p.box(0.04, -0.5, 0.03, 0.16), 0.05)
    return paint(still, p.disk(0.26, -0.5, 0.2, tall=0.45), 0.2)


def bottle(p: Plane, rng: np.random.Generator) -> Map:
    glass = np.maximum(p.box(0, 0.25, 0.28, 0.5), p.box(0, -0.5, 0.1, 0.36))
    still = paint(_table(p, rng), np.maximum(glass, p.disk(0, -0.2, 0.28, tall=0.8)), 0.22)
    return paint(still, p.box(0, 0.3, 0.28, 0.16), 0.8)


def cup(p: Plane, rng: np.random.Generator) -> Map:
    still = paint(_table(p, rng), p.ring(0.5, 0.15, 0.24, 0.1), 0.25)
    still = paint(still, p.box(0, 0.15, 0.46, 0.4), 0.3)
    still = paint(still, p.disk(0, -0.25, 0.46, tall=0.25), 0.5)
    return paint(still, line(p.y - 0.2, 0.06) * p.box(0, 0.15, 0.46, 0.4), 0.75)


def candle(p: Plane, rng: np.random.Generator) -> Map:
    still = paint(0.3 + 0.02 * texture(rng, 5), step(p.y - 0.5, 0.03), 0.15)
    still = still + 0.3 * np.exp(-3 * np.hypot(p.x, p.y + 0.55))
    still = paint(still, p.box(0, 0.2, 0.16, 0.5), 0.9)
    return paint(still, p.disk(0, -0.55, 0.1, tall=1.8), 1.0)


def _street(p: Plane, rng: np.random.Generator) -> Map:
    return paint(0.9 + 0.03 * texture(rng, 6), step(p.y - 0.62, 0.03), 0.3)


def house(p: Plane, rng: np.random.Generator) -> Map:
    scene = paint(_street(p, rng), p.box(0, 0.25, 0.6, 0.4), 0.6)
    roof = step(p.y + 0.7 - 0.8 * np.abs(p.x), 0.03) * step(-0.13 - p.y, 0.03)
    scene = paint(scene, roof, 0.15)
    scene = paint(scene, p.box(0, 0.42, 0.12, 0.24), 0.1)
    return paint(scene, p.folded().box(0.36, 0.15, 0.1, 0.1), 0.95)


def car(p: Plane, rng: np.random.Generator) -> Map:
    scene = paint(_street(p, rng), p.box(0, 0.38, 0.8, 0.18, 0.08), 0.4)
    scene = paint(scene, p.box(0.05, 0.08, 0.42, 0.18, 0.1), 0.4)
    scene = paint(scene, np.maximum(p.box(-0.14, 0.08, 0.16, 0.1), p.box(0.26, 0.08, 0.14, 0.1)), 1)
    return paint(scene, p.folded().disk(0.45, 0.58, 0.17), 0.05)  # wheels


def bridge(p: Plane, rng: np.random.Generator) -> Map:
    scene = paint(_street(p, rng), p.box(0, 0.05, 1.2, 0.36), 0.5)
    for x in (-0.66, 0.0, 0.66):
        arch = np.maximum(p.disk(x, 0.2, 0.26), p.box(x, 0.42, 0.26, 0.22))
        scene = paint(scene, arch, 0.85)
    return paint(scene, line(p.y + 0.34, 0.05), 0.1)


def church(p: Plane, rng: np.random.Generator) -> Map:
    scene = paint(_street(p, rng), p.box(0.3, 0.35, 0.5, 0.3), 0.55)
    scene = paint(scene, p.box(-0.35, 0.1, 0.2, 0.55), 0.45)
    spire = step(p.y + 1.0 - 2.6 * np.abs(p.x + 0.35), 0.03) * step(-0.42 - p.y, 0.03)
    scene = paint(scene, spire, 0.12)
    return paint(scene, p.disk(-0.35, -0.2, 0.09), 1.0)


def stripes(p: Plane, rng: np.random.Generator) -> Map:
    return 0.55 + 0.35 * np.tanh(4 * np.sin(15 * p.x + rng.uniform(0, 6))) + 0.03 * texture(rng, 1)


def checks(p: Plane, rng: np.random.Generator) -> Map:
    across, along = np.sin(11 * p.x + rng.uniform(0, 6)), np.sin(11 * p.y + rng.uniform(0, 6))
    return 0.55 + 0.35 * np.tanh(6 * across * along) + 0.03 * texture(rng, 1)


def waves(p: Plane, rng: np.random.Generator) -> Map:
    bent = p.y + 0.1 * np.sin(9 * p.x + rng.uniform(0, 6))
    return 0.55 + 0.35 * np.tanh(4 * np.sin(17 * bent + rng.uniform(0, 6))) + 0.03 * texture(rng, 1)


def diamonds(p: Plane, rng: np.random.Generator) -> Map:
    across, along = np.abs(np.sin(5 * (p.x + p.y))), np.abs(np.sin(5 * (p.x - p.y)))
    lattice = step(0.3 - np.minimum(across, along), 0.1)
    return paint(np.full_like(p.x, 0.8), lattice, 0.2) + 0.03 * texture(rng, 1)
