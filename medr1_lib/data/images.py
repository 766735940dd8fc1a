"""Any medical image file, as the small RGB image that a model sees."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medr1_lib.errors import InputError, refusing
from medr1_lib.files import content

SIDE = 384  # pixels; the longest side that Med-R1 trains on
# No others: Pillow starts Ghostscript for an EPS.
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000", "PPM")
MANY = ("PNG", "TIFF", "GIF", "WEBP")  # may hold several pictures; a phone's JPEG has a thumbnail
MAX_RATIO = 200  # of the sides; Qwen2-VL's processor refuses more
MAX_PIXELS = 89_000_000  # about where Pillow begins to suspect a decompression bomb
SMALLER = "cut it into tiles or export it smaller"
AGAIN = "copy, download or export the image again"
ONE_IMAGE = "export the one image that is meant, uncompressed"

# A warning would print a second line; of damage the error tells enough.
warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\b")
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

_WIDE_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}  # grey values of more than 8 bits
_FRAME = re.compile(r"(.+)#([1-9]\d{0,5})")
_PIXELS = {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}
# Anonymizers leave these without a value, which says as little as leaving them out.
_OFTEN_EMPTY = ["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"]
_OFTEN_EMPTY += ["VOILUTFunction", "PixelPaddingValue", "PhotometricInterpretation"]
_OFTEN_EMPTY += ["NumberOfFrames"]

Limits = tuple[float, float]  # the values that become black and white


def load(
    source: Path | bytes,
    side: int = SIDE,
    where: object = None,
    frame: int | None = None,
    limits: Limits | None = None,
) -> Image.Image:
    """Read a picture or a DICOM image as RGB, made smaller if a side exceeds `side`.

    The format, one of `FORMATS`, follows from the content. EXIF orientation is applied, and what is
    transparent becomes black, or white under a black drawing. Grey of more than 8 bits is stretched
    between `limits`, else over the first window of a DICOM file, else from the 0.1th to the 99.9th
    per cent of its values. Of several frames, one is named, from 1. An `InputError` about `where`
    tells of a bad image.
    """
    where = where or (source if isinstance(source, Path) else "image")
    data = source if isinstance(source, bytes) else content(source, "check path and permissions")
    # Without its preamble a file begins with an element of group 2 or 8.
    is_dicom = data[128:132] == b"DICM" or data[:2] in (b"\2\0", b"\x08\0", b"\0\x08")
    told = ("is a DICOM file that cannot be decoded", ONE_IMAGE) if is_dicom else ()
    with faults(where, *told):
        if is_dicom:
            image = _read_dicom(data, where, frame, limits)
        else:
            image = _read_picture(data, where, side, frame, limits)
        image.thumbnail((side, side), Image.Resampling.BICUBIC)
        _check_size(*image.size, where)  # rounding may have made it thinner still
    return image


def framed(name: str) -> tuple[str, int | None]:
    """The file and the frame that a name means: `scan.dcm#3` is `("scan.dcm", 3)`."""
    named = _FRAME.fullmatch(name)
    return (named[1], int(named[2])) if named else (name, None)


def is_flat(image: Image.Image) -> bool:
    """Whether 99 % of the pixels lie within 16 grey levels, which a picture of something do not."""
    low, high = np.percentile(np.asarray(image.convert("L")), (0.5, 99.5))
    return bool(high - low < 16)


@contextmanager
def faults(where: object, what: str = "is damaged", remedy: str = AGAIN) -> Iterator[None]:
    """Turns whatever a bad image makes a decoder raise into an `InputError` about `where`."""
    with refusing(where, what, remedy):  # damaged bytes make decoders raise anything
        try:
            yield
        except UnidentifiedImageError as error:
            problem = "is not an image that can be read"
            raise InputError(where, problem, f"use DICOM, {', '.join(FORMATS)}") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise InputError(where, f"is too large ({error})", SMALLER) from error


def opened(data: bytes, where: object) -> Image.Image:
    """A picture, in one of `FORMATS`, of which the header is read, and the size looked at."""
    if not data:
        raise InputError(where, "is empty (zero bytes)", AGAIN)
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_size(image.width, image.height, where)
    return image


def png(image: Image.Image) -> bytes:
    """The image as a PNG file, without loss."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)  # a quarter of the default time, the same size
    return buffer.getvalue()


def window(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Grey levels from 0 (`low` and below) to 1 (`high` and above), linear in between."""
    return np.clip((values - low) / (high - low), 0, 1)


def _read_picture(
    data: bytes, where: object, side: int, frame: int | None, limits: Limits | None
) -> Image.Image:
    picture = opened(data, where)
    frames = getattr(picture, "n_frames", 1) if picture.format in MANY else 1
    picture.seek(_one_of(frames, frame, where))
    picture.draft(None, (2 * side, 2 * side))  # a large JPEG is decoded at a fraction
    deep = ";16" in str(getattr(picture, "tile", ""))  # Pillow keeps upper bytes
    image = ImageOps.exif_transpose(picture)
    if image.mode in _WIDE_MODES:
        values, tags = np.asarray(image), getattr(picture, "tag_v2", {})
        if image.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,):
            values = values.view(np.uint32)  # Pillow takes them for signed
        return _grey(values, limits, where, None, tags.get(262) == 0)
    if deep and np.asarray(image.convert("RGB")).max() < 64:
        problem = "has channels of 16 bits and does not use the upper two of them"
        raise InputError(where, problem, "save it with 8 bits a channel, or as grey of 16 bits")
    if image.has_transparency_data:  # what is hidden under it may have any colour
        clear = image.convert("RGBA")
        grounds = (Image.new("RGBA", image.size, colour) for colour in ("black", "white"))
        dark, light = (Image.alpha_composite(ground, clear) for ground in grounds)
        image = light if is_flat(dark) and not is_flat(light) else dark  # a black drawing
    return image.convert("RGB")


def _one_of(frames: int, frame: int | None, where: object) -> int:
    """The place, from 0, of the frame that was asked for; which one is never guessed."""
    if frames > 1 and frame is None:
        raise InputError(where, f"holds {frames} images", "name one of them, the first as FILE#1")
    if (frame or 1) > frames:
        raise InputError(where, f"has no image number {frame}, only {frames}", "correct the number")
    return (frame or 1) - 1


def _read_dicom(
    data: bytes, where: object, frame: int | None, limits: Limits | None
) -> Image.Image:
    dataset = pydicom.dcmread(io.BytesIO(data), force=True)
    width, height = dataset.get("Columns"), dataset.get("Rows")
    if None in (width, height) or not any(dataset.get(name) for name in _PIXELS):
        raise InputError(where, "is a DICOM file without pixel data", ONE_IMAGE)
    place = _one_of(int(dataset.get("NumberOfFrames") or 1), frame, where)
    _complete(dataset, place)
    _check_size(int(width), int(height), where)
    try:
        pixels = pixel_array(dataset, index=place)  # RGB, should the file hold YBR colours
    except RuntimeError as error:
        problem = f"cannot be decoded ({dataset.file_meta.TransferSyntaxUID.name})"
        remedy = 'pip install "medr1[dicom]" adds decoders (pylibjpeg), or export it uncompressed'
        raise InputError(where, problem, remedy) from error
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        dataset.BitsStored = 8 * pixels.itemsize
    if pixels.ndim == 3:
        return Image.fromarray((pixels >> max(0, dataset.BitsStored - 8)).astype(np.uint8))
    values, padded = apply_modality_lut(pixels, dataset), None
    if (filling := dataset.get("PixelPaddingValue")) is not None:  # it must not decide grey levels
        ends = sorted((filling, dataset.get("PixelPaddingRangeLimit", filling)))
        padded = (pixels >= ends[0]) & (pixels <= ends[1])
    if limits is None:
        values, limits = _windowed(values, dataset)
    return _grey(values, limits, where, padded, dataset.PhotometricInterpretation == "MONOCHROME1")


def _complete(dataset: pydicom.Dataset, place: int) -> None:
    """Fill in what a frame's own groups say, and what files in the wild leave out."""
    groups = [(dataset.get("SharedFunctionalGroupsSequence") or [None])[0]]
    groups += (dataset.get("PerFrameFunctionalGroupsSequence") or [])[place : place + 1]
    for group in filter(None, groups):
        for name in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            for item in group.get(name) or ():
                dataset.update(item)
    for name in _OFTEN_EMPTY:
        if name in dataset and dataset[name].is_empty:
            del dataset[name]
    if "PhotometricInterpretation" not in dataset and dataset.get("SamplesPerPixel", 1) == 1:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _windowed(values: np.ndarray, dataset: pydicom.Dataset) -> tuple[np.ndarray, Limits | None]:
    """Values and the limits of the file's first window (PS3.3 C.11.2); none if it has no width."""
    said = dataset.get("WindowCenter", np.nan), dataset.get("WindowWidth", np.nan)
    centre, width = (float(np.atleast_1d(value)[0]) for value in said)
    kind = dataset.get("VOILUTFunction", "LINEAR")
    less = 0 if kind in ("SIGMOID", "LINEAR_EXACT") else 1
    if not (np.isfinite(centre) and 0 < width < np.inf and width >= less):
        return apply_voi_lut(values, dataset) if "VOILUTSequence" in dataset else values, None
    if kind == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width)), (0, 1)
    return values, (centre - width / 2, centre + width / 2 - less)


def _grey(
    values: np.ndarray, limits: Limits | None, where: object, padded: np.ndarray | None, turn: bool
) -> Image.Image:
    """Values as 8-bit grey in RGB, stretched over nearly all of them where there are no `limits`.

    One pixel in a thousand at either end and those `padded` do not decide; `turn` makes low white.
    """
    finite = np.isfinite(values)
    if not finite.any():
        raise InputError(where, "has no pixel that is a number", AGAIN)
    counted = finite if padded is None or not (finite & ~padded).any() else finite & ~padded
    inner = values[counted].astype(np.float64)
    low, high = limits or np.percentile(inner, (0.1, 99.9))
    if limits is None and low == high:  # nearly all are equal, as in a mask
        low, high = inner.min(), inner.max()
    values = np.nan_to_num(values.astype(np.float64), posinf=high, neginf=low)
    grey = window(values, low, high) if high > low else values > low  # a width of 1 is a threshold
    levels = (255 * grey).round().astype(np.uint8)
    return Image.fromarray(255 - levels if turn else levels).convert("RGB")


def _check_size(width: int, height: int, where: object) -> None:
    if width < 1 or height < 1:
        raise InputError(where, f"has no pixels ({width} x {height})", "export the image again")
    if max(width, height) > MAX_RATIO * min(width, height):
        problem = f"is too long and thin ({width} x {height} pixels)"
        raise InputError(where, problem, f"cut it; a model takes at most {MAX_RATIO} to 1")
    if width * height > MAX_PIXELS:
        raise InputError(where, f"is too large ({width} x {height} pixels)", SMALLER)
