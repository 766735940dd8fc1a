"""What the phantoms are drawn with: soft shapes on a plane, and textures cut from a bank."""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from skimage.filters import gaussian

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
