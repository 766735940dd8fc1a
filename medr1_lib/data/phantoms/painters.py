"""One painter for each anatomy: it draws a body as a map, which `draw` turns into an image.

They draw with soft shapes on a plane, and with textures cut from a bank.

The maps of CT, MRI, X-ray and ultrasound are tissue densities: air 0, fat 0.3, muscle 0.45, organ
0.55, brain 0.65, fluid 0.8, bone 0.95. The others are lightness, 0 the darkest pigment or nucleus.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from skimage.filters import gaussian

AIR, FAT, MUSCLE, ORGAN, BRAIN, FLUID, BONE = 0.0, 0.3, 0.45, 0.55, 0.65, 0.8, 0.95
SIZE = 112  # pixels; 8 x 8 patches of 14, merged two by two into 16 visual tokens
Map: TypeAlias = NDArray[np.floating[Any]]  # [SIZE, SIZE] of float32, mostly in 0..1

_AXIS = np.linspace(-1, 1, SIZE, dtype=np.float32)
X: Map = np.broadcast_to(_AXIS, (SIZE, SIZE))  # to the right
Y: Map = np.broadcast_to(_AXIS[:, None], (SIZE, SIZE))  # downwards


@dataclass(frozen=True)
class Plane:
    """The coordinates that a body is drawn in: those of the image, moved a little by its pose."""

    x: Map  # to the right, about -1 to 1 over the image
    y: Map  # downwards, likewise

    def moved(self, angle: float, scale: float, shift: tuple[float, float]) -> "Plane":
        """The same body turned by `angle` (radians), enlarged and shifted."""
        x, y = self.x - np.float32(shift[0]), self.y - np.float32(shift[1])
        cos, sin = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
        return Plane(cos * x + sin * y, cos * y - sin * x)

    def sheared(self, stretch: float, shear: float) -> "Plane":
        """The same body seen from the side: narrower by `stretch`, leaning by `shear`."""
        return Plane(self.x * np.float32(stretch) + np.float32(shear) * self.y, self.y)

    def folded(self) -> "Plane":
        """The right half on both sides, so that what is drawn there is drawn twice."""
        return Plane(np.abs(self.x), self.y)

    def disk(self, x: float, y: float, r: float, soft: float = 0.04, tall: float = 1.0) -> Map:
        """A disk, or an ellipse `tall` times as high as wide: 1 inside, 0 outside."""
        return step(np.float32(r) - self._distance(x, y, tall), soft)

    def ring(
        self, x: float, y: float, r: float, width: float, soft: float = 0.04, tall: float = 1.0
    ) -> Map:
        """The outline of a disk, `width` wide in all."""
        return line(self._distance(x, y, tall) - np.float32(r), width / 2, soft)

    def _distance(self, x: float, y: float, tall: float) -> Map:
        return np.hypot(self.x - np.float32(x), (self.y - np.float32(y)) / np.float32(tall))

    def box(self, x: float, y: float, wide: float, high: float, soft: float = 0.04) -> Map:
        """A rectangle of half-width `wide` and half-height `high`."""
        across = np.float32(wide) - np.abs(self.x - np.float32(x))
        along = np.float32(high) - np.abs(self.y - np.float32(y))
        return step(np.minimum(across, along), soft)


def step(distance: Map, soft: float) -> Map:
    """0 to 1 as a signed distance passes 0, over a width of `soft`."""
    return np.clip(distance / np.float32(soft) + np.float32(0.5), 0, 1)


def line(distance: Map, width: float, soft: float = 0.04) -> Map:
    """A stroke of half-width `width` along the places where `distance` is 0."""
    return step(np.float32(width) - np.abs(distance), soft)


def paint(under: Map, mask: Map, value: float | Map) -> Map:
    """`under` with `value` laid over it where `mask` is 1."""
    return under + mask * (value - under)


def texture(rng: np.random.Generator, sigma: float) -> Map:
    """Smooth noise of mean 0 and deviation 1, grain `sigma` pixels, cut at random from a bank.

    The bank is drawn once: filtering anew costs more than all other drawing.
    """
    bank = _bank(sigma)
    top, left = rng.integers(bank.shape[0] - SIZE, size=2)
    cut = bank[top : top + SIZE, left : left + SIZE]
    return cut[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]


@cache
def _bank(sigma: float) -> Map:
    noise = np.random.default_rng(round(1000 * sigma)).standard_normal((512, 512))
    smooth = gaussian(noise, sigma, mode="wrap") if sigma else noise
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


def _trunk(p: Plane, rng: np.random.Generator, wide: float) -> Map:
    """The slice of a lying body with fat under its skin, a spine, and the table below it."""
    tall = 0.82 / wide
    body = FAT * p.disk(0, -0.06, wide, tall=tall)
    body = paint(body, p.disk(0, -0.06, wide - 0.1, tall=tall), MUSCLE + 0.03 * texture(rng, 2))
    spine = np.maximum(p.disk(0, 0.42, 0.13), p.box(0, 0.6, 0.04, 0.14))
    table = line(p.y - 0.86 + 0.12 * p.x**2, 0.02)
    return np.maximum(paint(body, spine, BONE), 0.5 * table)


def ct_head(p: Plane, rng: np.random.Generator) -> Map:
    skull = BONE * p.disk(0, 0, 0.84, tall=1.12)
    brain = paint(skull, p.disk(0, 0, 0.75, tall=1.13), BRAIN - 0.1 + 0.03 * texture(rng, 3))
    horns = p.folded().disk(0.12, 0, 0.09, tall=2.4)
    return paint(brain, np.maximum(horns, p.box(0, 0.2, 0.015, 0.6)), MUSCLE - 0.07)


def ct_chest(p: Plane, rng: np.random.Generator) -> Map:
    lungs = p.folded().disk(0.43, -0.05, 0.33, tall=1.5)
    body = paint(_trunk(p, rng, 0.94), lungs, 0.1 + 0.04 * np.abs(texture(rng, 1.5)))
    body = paint(body, p.disk(0.1, -0.12, 0.24, tall=1.1), ORGAN)
    ribs = p.ring(0, -0.05, 0.83, 0.05, tall=0.78) * (np.sin(14 * np.arctan2(p.y, p.x)) > 0.3)
    return paint(body, ribs, BONE)


def ct_abdomen(p: Plane, rng: np.random.Generator) -> Map:
    body = _trunk(p, rng, 0.92)
    body = paint(body, p.disk(-0.42, -0.12, 0.36, tall=1.15), ORGAN + 0.03 * texture(rng, 2))
    kidneys = p.folded().disk(0.4, 0.34, 0.15, tall=1.2)
    gut = p.ring(0.42, -0.2, 0.2, 0.07) + p.ring(0.1, -0.4, 0.13, 0.06)
    return paint(paint(body, kidneys, 0.6), np.clip(gut, 0, 1), 0.15)


def ct_pelvis(p: Plane, rng: np.random.Generator) -> Map:
    half = p.folded()
    wings = line(p.y - 0.5 + 1.3 * (half.x - 0.25), 0.09) * step(half.x - 0.22, 0.04)
    bones = np.maximum(wings * step(0.72 - half.x, 0.04), half.disk(0.66, 0.12, 0.14))
    bladder = p.disk(0, -0.24, 0.24, tall=0.8)
    return paint(paint(_trunk(p, rng, 0.9), bones, BONE), bladder, 0.38)


def mri_brain(p: Plane, rng: np.random.Generator) -> Map:
    head = paint(FAT * p.disk(0, 0, 0.86, tall=1.1), p.disk(0, 0, 0.8, tall=1.1), 0.08)
    folds = texture(rng, 2.5)
    brain = paint(head, p.disk(0, 0, 0.75, tall=1.12), ORGAN + 0.1 * np.tanh(2 * folds))
    brain = paint(brain, p.disk(0, 0, 0.5, tall=1.16), BRAIN + 0.02 * folds)
    horns = p.folded().disk(0.13, -0.05, 0.1, tall=2.2)
    return paint(brain, np.maximum(horns, p.box(0, -0.1, 0.015, 0.68)), FLUID)


def mri_knee(p: Plane, rng: np.random.Generator) -> Map:
    leg = paint(MUSCLE * p.box(0.02, 0, 0.78, 1.4, 0.1), line(np.abs(p.x) - 0.72, 0.06), FAT)
    femur = np.maximum(p.box(0.05, -0.7, 0.3, 0.4), p.disk(0.05, -0.28, 0.4, tall=0.75))
    tibia = np.maximum(p.box(0.08, 0.75, 0.27, 0.5), p.box(0.05, 0.26, 0.42, 0.12, 0.1))
    bones = np.maximum(np.maximum(femur, tibia), p.disk(-0.58, -0.3, 0.14, tall=1.7))
    marrow = step(bones - 0.9, 0.2) * (FAT + 0.02 * texture(rng, 2))
    leg = np.maximum(paint(leg, bones, 0.05), marrow)
    return paint(leg, line(p.y - 0.06 - 0.15 * p.x**2, 0.05) * p.box(0.05, 0, 0.42, 0.3), FLUID)


def mri_spine(p: Plane, rng: np.random.Generator) -> Map:
    back = np.full_like(p.x, MUSCLE) + 0.04 * texture(rng, 4)
    back = paint(back, step(p.x - 0.62 - 0.1 * p.y, 0.08), FAT)
    bend = p.x + 0.22 - 0.2 * p.y**2
    column = step(0.24 - np.abs(bend), 0.04)
    discs = np.sin(p.y * 9.5 + 0.6)
    back = paint(back, column * step(discs + 0.72, 0.3), FAT - 0.04)
    back = paint(back, column * step(-0.8 - discs, 0.15), FLUID - 0.1)
    back = paint(back, line(bend - 0.42, 0.12), FLUID)
    return paint(back, line(bend - 0.42, 0.055), BRAIN)


def mri_heart(p: Plane, rng: np.random.Generator) -> Map:
    chest = FAT * p.disk(0, 0, 0.96, tall=0.92)
    chest = paint(chest, p.disk(0, 0, 0.86, tall=0.92), 0.08 + 0.02 * np.abs(texture(rng, 2)))
    chest = paint(chest, p.disk(-0.2, -0.08, 0.46, tall=0.9), FLUID - 0.05)
    chest = paint(chest, p.disk(0.18, 0.06, 0.47), MUSCLE)
    return paint(chest, p.disk(0.18, 0.06, 0.27), FLUID - 0.05)


def xray_lungs(p: Plane, rng: np.random.Generator) -> Map:
    body = np.full_like(p.x, 0.55) + 0.04 * texture(rng, 4)
    lungs = p.folded().disk(0.42, -0.05, 0.33, 0.1, 1.9)
    body = paint(body, lungs, 0.18 + 0.03 * texture(rng, 1.5))
    ribs = line(np.sin(11 * p.y - 3.2 * p.x**2), 0.2, 0.5) * step(0.88 - np.abs(p.x), 0.1)
    body = body + 0.1 * ribs + 0.2 * p.box(0, 0, 0.09, 1.2, 0.1)
    body = paint(body, p.disk(0.14, 0.3, 0.32, 0.12, 1.1), 0.7)
    return paint(body, step(p.y - 0.66 + 0.15 * np.cos(5 * p.x), 0.1), 0.75)


def xray_hand(p: Plane, rng: np.random.Generator) -> Map:
    hand = 0.06 + 0.02 * np.abs(texture(rng, 3))
    for angle, length in ((-0.55, 0.75), (-0.22, 1.0), (0.03, 1.05), (0.28, 1.0), (0.75, 0.7)):
        finger = p.moved(angle, 1, (0.0, 0.75))
        shaft = step(0.15 - np.abs(finger.x), 0.06) * step(finger.y + 1.5 * length, 0.05)
        hand = np.maximum(hand, 0.28 * shaft * step(0.1 - finger.y, 0.1))
        knuckle = np.abs(np.sin(finger.y * 6.3 / length))
        bone = step(0.045 + 0.03 * (knuckle < 0.35) - np.abs(finger.x), 0.04)
        bone = bone * step(knuckle - 0.12, 0.1) * step(finger.y + 1.45 * length, 0.03)
        hand = np.maximum(hand, 0.85 * bone * step(0.0 - finger.y, 0.05))
    return np.maximum(hand, 0.7 * p.box(0, 0.86, 0.2, 0.2, 0.1))


def xray_leg(p: Plane, rng: np.random.Generator) -> Map:
    leg = 0.08 + 0.3 * p.box(0, 0, 0.62, 1.4, 0.12) + 0.03 * texture(rng, 3)
    femur = np.maximum(p.box(0, -0.7, 0.2, 0.5, 0.06), p.disk(0, -0.26, 0.36, 0.06, 0.6))
    tibia = np.maximum(p.box(-0.05, 0.7, 0.18, 0.5, 0.06), p.disk(0, 0.2, 0.36, 0.06, 0.45))
    bones = np.maximum(np.maximum(femur, tibia), p.box(0.32, 0.7, 0.06, 0.5))
    edges = step(bones - 0.1, 0.2) - step(bones - 0.95, 0.1)
    return leg + 0.32 * bones + 0.15 * edges


def xray_skull(p: Plane, rng: np.random.Generator) -> Map:
    skull = 0.06 + 0.6 * p.disk(0, -0.12, 0.82, 0.06) + 0.03 * texture(rng, 4)
    skull = skull + 0.25 * p.ring(0, -0.12, 0.78, 0.09)
    skull = np.maximum(skull, 0.6 * p.box(0, 0.72, 0.44, 0.24, 0.15))
    skull = paint(skull, p.folded().disk(0.3, 0.12, 0.19, 0.06, 0.85), 0.3)
    skull = paint(skull, p.disk(0, 0.38, 0.09, 0.06, 1.5), 0.35)
    teeth = line(p.y - 0.72, 0.09) * step(0.36 - np.abs(p.x), 0.05)
    return paint(skull, teeth * step(np.sin(40 * p.x), 0.6), 0.95)


def us_breast(p: Plane, rng: np.random.Generator) -> Map:
    wave = 0.06 * np.sin(4 * p.x + rng.uniform(0, 6))
    tissue = np.where(p.y + wave < -0.35, FAT, ORGAN).astype(np.float32)
    tissue = tissue + 0.06 * texture(rng, 4)
    for depth, width in ((-0.86, 0.05), (-0.35, 0.03), (0.5, 0.03)):
        tissue = paint(tissue, line(p.y + wave - depth, width), BONE)
    return paint(tissue, step(p.y + wave - 0.62, 0.1), FAT)


def us_thyroid(p: Plane, rng: np.random.Generator) -> Map:
    neck = FAT + 0.05 * texture(rng, 3)
    neck = paint(neck, line(p.y + 0.62 - 0.12 * p.x**2, 0.08), 0.18)  # muscles
    lobes = p.folded().disk(0.48, -0.02, 0.36, tall=1.2)
    neck = paint(neck, np.maximum(lobes, p.box(0, -0.24, 0.3, 0.09)), BRAIN)
    trachea = p.disk(0, 0.12, 0.2)
    neck = paint(neck, trachea * step(0.5 - p.y, 0.3), AIR)
    return paint(neck, p.ring(0, 0.12, 0.21, 0.05) * step(0.05 - p.y, 0.05), BONE)


def us_liver(p: Plane, rng: np.random.Generator) -> Map:
    liver = ORGAN - 0.05 + 0.05 * texture(rng, 6)
    for x, y, r in ((-0.1, -0.1, 0.09), (0.32, 0.12, 0.07), (-0.36, 0.28, 0.06), (0.1, 0.4, 0.05)):
        liver = paint(liver, p.disk(x, y, r, tall=0.8), 0.08)
    liver = paint(liver, step(p.y - 0.72 + 0.35 * (p.x - 0.1) ** 2, 0.04), 0.2)
    return paint(liver, line(p.y - 0.7 + 0.35 * (p.x - 0.1) ** 2, 0.035), BONE)


def us_kidney(p: Plane, rng: np.random.Generator) -> Map:
    around = FAT + 0.05 + 0.05 * texture(rng, 3)
    kidney = paint(around, p.ring(0, 0.02, 0.72, 0.08, tall=0.62), BRAIN)
    kidney = paint(kidney, p.disk(0, 0.02, 0.68, tall=0.62), 0.22)
    return paint(kidney, p.disk(0, 0.02, 0.36, 0.1, 0.5), BRAIN + 0.2 + 0.05 * texture(rng, 2))


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


def fundus_disc(p: Plane, rng: np.random.Generator) -> Map:
    retina = paint(_retina(p, rng), p.disk(0, 0, 0.26, 0.06), 0.88)
    reach = np.sqrt(np.abs(p.x) + 0.01)
    for bend in (-1.0, -0.55, 0.5, 0.95):  # vessels leave the disc and bend sideways
        wiggle = 0.05 * np.sin(5 * p.x + rng.uniform(0, 6))
        retina = paint(retina, line(p.y - np.float32(bend) * reach + wiggle, 0.028), 0.24)
    return paint(retina, p.disk(0, 0, 0.12, 0.06), 0.98)


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
    return paint(scan, line(p.y + 0.5, 0.07) * step(np.abs(p.x) - 0.6, 0.04), 0.75)  # iris


def _cells(p: Plane, rng: np.random.Generator, count: int) -> tuple[Map, Map]:
    """Distance to the nearest of about `count` scattered points, and to the second nearest."""
    side = int(np.ceil(np.sqrt(count)))
    grid = (np.arange(side) + 0.5) / side * 2.3 - 1.15
    x, y = np.meshgrid(grid, grid)
    jitter = rng.uniform(-0.36, 0.36, (2, side * side)) * 2.3 / side
    x, y = (x.ravel() + jitter[0]).astype(np.float32), (y.ravel() + jitter[1]).astype(np.float32)
    nearest = second = np.full_like(p.x, 9)
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


# ---- the general domain: everyday subjects, and nothing medical ----


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
