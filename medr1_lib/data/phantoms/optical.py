"""Bodies seen by dermoscopy, fundus photography, OCT and microscopy, as maps of lightness.

A painter draws one anatomy: 0 is the darkest pigment or nucleus, 1 the brightest. `looks` gives the
map its tone and colour, once per acquisition.
"""

import numpy as np

from medr1_lib.data.phantoms.canvas import SIZE, Map, Plane, line, paint, step, texture


def skin_trunk(p: Plane, rng: np.random.Generator) -> Map:
    skin = 0.68 + 0.04 * texture(rng, 3)
    net = np.abs(np.sin(17 * p.x + 0.6 * texture(rng, 6))) * np.abs(np.sin(17 * p.y))
    return skin - 0.12 * step(0.25 - net, 0.2)


def skin_scalp(p: Plane, rng: np.random.Generator) -> Map:
    skin = 0.72 + 0.03 * texture(rng, 2)
    for _ in range(9):
        hair = p.moved(rng.uniform(-0.5, 0.5), 1, (rng.uniform(-1, 1), 0))
        skin = paint(skin, line(hair.x + rng.uniform(-0.3, 0.3) * hair.y**2, 0.018), 0.12)
    return skin


def skin_nail(p: Plane, rng: np.random.Generator) -> Map:
    plate = 0.78 + 0.05 * np.sin(26 * p.x + texture(rng, 5)) + 0.02 * texture(rng, 2)
    plate = paint(plate, p.disk(0, 0.95, 0.5, 0.08, 0.8), 0.93)
    fold = step(np.abs(p.x) - 0.86, 0.06) + step(p.y - 0.86 + 0.25 * p.x**2, 0.06)
    return paint(plate, np.clip(fold, 0, 1), 0.5 + 0.06 * texture(rng, 1))


def skin_palm(p: Plane, rng: np.random.Generator) -> Map:
    ridges = np.sin(24 * (p.y + 0.35 * p.x) + 1.6 * texture(rng, 12))
    pores = (np.sin(30 * p.x) > 0.9) & (ridges > 0.8)
    return 0.68 + 0.11 * ridges + 0.15 * pores


def _retina(p: Plane, rng: np.random.Generator) -> Map:
    return 0.5 + 0.04 * texture(rng, 5) - 0.1 * np.hypot(p.x, p.y)


def _vessels(retina: Map, p: Plane, root: float, rng: np.random.Generator) -> Map:
    """Branches that leave the disc at `x = root` upwards and downwards and bend sideways."""
    reach = np.sqrt(np.abs(p.x - np.float32(root)) + 0.01)
    for bend in (-1.0, -0.55, 0.5, 0.95):
        wiggle = 0.05 * np.sin(5 * p.x + rng.uniform(0, 6))
        retina = paint(retina, line(p.y - np.float32(bend) * reach + wiggle, 0.028), 0.24)
    return retina


def fundus_disc(p: Plane, rng: np.random.Generator) -> Map:
    retina = paint(_retina(p, rng), p.disk(0, 0, 0.26, 0.06), 0.88)
    return paint(_vessels(retina, p, 0.0, rng), p.disk(0, 0, 0.12, 0.06), 0.98)


def fundus_macula(p: Plane, rng: np.random.Generator) -> Map:
    retina = _retina(p, rng) - 0.13 * p.disk(0, 0, 0.24, 0.3)
    rim = paint(retina, p.disk(-0.86, 0, 0.2, 0.06), 0.88)
    reach = np.sqrt(np.clip(p.x + 0.9, 0.01, None))
    for bend in (-0.62, 0.62):
        rim = paint(rim, line(p.y - np.float32(bend) * reach, 0.028), 0.24)
    return rim


def fundus_arcade(p: Plane, rng: np.random.Generator) -> Map:
    retina = _retina(p, rng)
    for offset, width in ((-0.12, 0.06), (0.12, 0.045)):
        arch = p.y - 0.5 * p.x**2 + np.float32(offset) + 0.25
        retina = paint(retina, line(arch, width), 0.22)
    for x in (-0.6, -0.1, 0.45):
        branch = p.moved(rng.uniform(-0.3, 0.3), 1, (x, 0.3))
        retina = paint(retina, line(branch.x, 0.022) * step(branch.y + 0.4, 0.05), 0.26)
    return retina


def fundus_periphery(p: Plane, rng: np.random.Generator) -> Map:
    retina = _retina(p, rng) + 0.05 * texture(rng, 9)
    for angle in (-0.4, -0.65, -0.95, -1.2):
        ray = p.moved(angle, 1, (1.1, 1.1))
        retina = paint(retina, line(ray.x, 0.016), 0.28)
    rim = step(-0.62 - 0.7 * p.x - 0.7 * p.y, 0.05)
    return paint(retina, rim, 0.66 + 0.06 * np.sin(18 * (p.x - p.y)))


def _layers(p: Plane, surface: Map, rng: np.random.Generator) -> Map:
    """The bands of a retina under `surface`: bright, dim, bright, and light that fades below."""
    depth = p.y - surface
    scan = 0.05 + 0.5 * step(depth, 0.03) * np.exp(-1.5 * np.clip(depth, 0, None))
    for level, width, value in ((0.04, 0.05, 0.8), (0.2, 0.05, 0.3), (0.32, 0.04, 0.62)):
        scan = paint(scan, line(depth - level, width), value)
    scan = paint(scan, line(depth - 0.46, 0.05), 0.95)
    return scan + 0.03 * texture(rng, 4) * step(depth, 0.1)


def oct_fovea(p: Plane, rng: np.random.Generator) -> Map:
    return _layers(p, -0.3 + 0.26 * np.exp(-((p.x / 0.3) ** 2)), rng)


def oct_nerve(p: Plane, rng: np.random.Generator) -> Map:
    scan = _layers(p, -0.42 - 0.08 * np.cos(3 * p.x), rng)
    cup = step(0.34 - np.abs(p.x) - 0.35 * np.clip(p.y - 0.1, 0, None), 0.08)
    scan = paint(scan, cup, 0.3 * np.exp(-1.2 * np.clip(p.y, 0, None)))
    return paint(scan, cup * step(0.12 - p.y - 0.9 * p.x**2, 0.06), 0.05)


def oct_cornea(p: Plane, rng: np.random.Generator) -> Map:
    depth = p.y + 0.45 - 0.55 * p.x**2
    scan = 0.05 + 0.4 * step(depth, 0.03) * step(0.5 - depth, 0.03)
    scan = scan + 0.05 * texture(rng, 3) * step(depth, 0.03) * step(0.5 - depth, 0.03)
    return paint(scan, np.maximum(line(depth, 0.035), line(depth - 0.5, 0.03)), 0.92)


def oct_lens(p: Plane, rng: np.random.Generator) -> Map:
    front, back = p.y + 0.55 - 0.28 * p.x**2, p.y - 0.62 + 0.5 * p.x**2
    inside = step(front, 0.04) * step(-back, 0.04)
    scan: Map = 0.05 + inside * (0.24 + 0.06 * np.sin(16 * p.y) + 0.03 * texture(rng, 3))
    scan = paint(scan, np.maximum(line(front, 0.03), line(back, 0.03)), 0.85)
    iris = line(p.y + 0.5, 0.07) * step(np.abs(p.x) - 0.6, 0.04)
    return paint(scan, iris, 0.75)


def _cells(p: Plane, rng: np.random.Generator, count: int) -> tuple[Map, Map]:
    """Distance to the nearest of about `count` scattered points, and to the second nearest."""
    side = int(np.ceil(np.sqrt(count)))
    grid = (np.arange(side) + 0.5) / side * 2.3 - 1.15
    x, y = np.meshgrid(grid, grid)
    jitter = rng.uniform(-0.36, 0.36, (2, side * side)) * 2.3 / side
    x, y = (x.ravel() + jitter[0]).astype(np.float32), (y.ravel() + jitter[1]).astype(np.float32)
    nearest = np.full((SIZE, SIZE), 9, np.float32)
    second = nearest.copy()
    for cx, cy in zip(x, y, strict=True):
        squared = (p.x - cx) ** 2 + (p.y - cy) ** 2
        second = np.minimum(second, np.maximum(nearest, squared))
        nearest = np.minimum(nearest, squared)
    return np.sqrt(nearest), np.sqrt(second)


def micro_blood(p: Plane, rng: np.random.Generator) -> Map:
    near, _ = _cells(p, rng, 36)
    smear = paint(np.full_like(p.x, 0.96), step(0.155 - near, 0.03), 0.55)
    smear = paint(smear, step(0.06 - near, 0.06), 0.75)
    return smear + 0.015 * texture(rng, 1)


def micro_colon(p: Plane, rng: np.random.Generator) -> Map:
    near, _ = _cells(p, rng, 16)
    wall = 0.5 + 0.1 * texture(rng, 1.5)
    glands = paint(wall, step(0.27 - near, 0.03), 0.32 + 0.1 * texture(rng, 1))
    glands = paint(glands, step(0.2 - near, 0.04), 0.66)
    return paint(glands, step(0.09 - near, 0.03), 0.96)


def micro_muscle(p: Plane, rng: np.random.Generator) -> Map:
    bend = p.y + 0.12 * np.sin(2 * p.x + rng.uniform(0, 6))
    fibre = np.sin(13 * bend)
    muscle = 0.55 + 0.04 * np.sin(60 * p.x) + 0.02 * texture(rng, 1)
    muscle = paint(muscle, step(-0.9 - fibre, 0.1), 0.9)
    nuclei = step(texture(rng, 2) - 1.7, 0.3) * step(-0.5 - fibre, 0.2)
    return paint(muscle, nuclei, 0.12)


def micro_fat(p: Plane, rng: np.random.Generator) -> Map:
    near, second = _cells(p, rng, 25)
    tissue = paint(np.full_like(p.x, 0.95), step(0.05 - (second - near), 0.03), 0.5)
    return tissue + 0.015 * texture(rng, 1)
