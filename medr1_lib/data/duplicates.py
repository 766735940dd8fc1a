"""Numbers that tell whether two images are the same, or nearly."""

import hashlib
import io
from collections.abc import Iterator, Sequence

import datasets
import imagehash
import numpy as np
from PIL import Image
from tqdm import tqdm

NEAR = 4  # bits, of 64, in which the perceptual hashes of near duplicates may differ


def of(table: datasets.Dataset) -> Iterator[tuple[str, int]]:
    """The `pixels` and the `perceptual` hash of each row's image, in order.

    An image that many questions share is read once.
    """
    seen: dict[bytes, tuple[str, int]] = {}
    raw = table.select_columns("image").cast_column("image", datasets.Image(decode=False))
    for row in tqdm(raw, desc="images", unit="image", delay=1):
        data = row["image"]["bytes"]
        key = hashlib.sha256(data).digest()
        if key not in seen:
            image = Image.open(io.BytesIO(data)).convert("RGB")
            seen[key] = pixels(image), perceptual(image)
        yield seen[key]


def pixels(image: Image.Image) -> str:
    """The same for two images if every pixel is, however they are stored.

    Example:
        >>> pixels(Image.new("RGB", (2, 1))) == pixels(Image.new("RGB", (1, 2)))
        False
    """
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:16]


def perceptual(image: Image.Image) -> int:
    """A 64-bit hash in which images that look alike differ in few bits (pHash).

    Source: Zauner, Implementation and benchmarking of perceptual image hash functions, 2010.
    """
    return int(str(imagehash.phash(image)), 16)


def near(hashes: Sequence[int], others: Sequence[int], bits: int = NEAR) -> np.ndarray:
    """For each hash, whether one of `others` differs from it in at most `bits` bits.

    Example:
        >>> near([0b1111, 0b111111], [0]).tolist()
        [True, False]
    """
    mine, theirs = np.array(hashes, dtype=np.uint64), np.array(others, dtype=np.uint64)
    blocks = (mine[start : start + 64] for start in range(0, len(mine), 64))  # keeps memory small
    found = [(np.bitwise_count(block[:, None] ^ theirs) <= bits).any(axis=1) for block in blocks]
    return np.concatenate(found) if found else np.zeros(0, dtype=bool)
