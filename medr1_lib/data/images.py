"""Any medical image file, as the small RGB image that a model sees."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageOps, UnidentifiedImageError
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from medr1_lib.errors import InputError

SIDE = 384  # pixels; the longest side that Med-R1 trains on
FORMATS = ("PNG", "JPEG", "TIFF", "BMP")  # no others: Pillow starts Ghostscript for an EPS
MAX_RATIO = 200  # of the sides; Qwen2-VL's processor refuses more
MAX_PIXELS = 89_000_000  # about where Pillow begins to suspect a decompression bomb
SMALLER = "cut it into tiles or export it smaller"
AGAIN = "copy, download or export the image again"
ONE_IMAGE = "export the one image that is meant, uncompressed"

# A warning would print a second line, and of damage the error tells enough.
warnings.filterwarnings("ignore", module=r"(PIL|pydicom)\b")
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

_WIDE_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}  # grey values of more than 8 bits


def load(source: Path | bytes, side: int = SIDE, where: object = None) -> Image.Image:
    """Read a PNG, JPEG, TIFF, BMP or DICOM image as RGB, made smaller if a side exceeds `side`.

    The format follows from the content, not from the name. EXIF orientation is applied. Grey images
    of more than 8 bits are stretched from their darkest to their brightest value, DICOM images
    (after rescale slope and intercept) over their first window if they have one. An image that is
    empty, damaged, none or too large is an `InputError` about `where`, or about the file.
    """
    where = where or (source if isinstance(source, Path) else "image")
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError(where, problem, "check the path and its permissions") from error
    is_dicom = data[128:132] == b"DICM"
    told = ("is a DICOM file that cannot be decoded", ONE_IMAGE) if is_dicom else ()
    with faults(where, *told):
        if is_dicom:
            image = _read_dicom(data, where)
        else:
            picture = opened(data, where)
            picture.draft(None, (2 * side, 2 * side))  # a large JPEG is decoded at a fraction
            image = ImageOps.exif_transpose(picture)
            is_wide = image.mode in _WIDE_MODES
            image = _grey(np.asarray(image), None, where) if is_wide else image.convert("RGB")
        image.thumbnail((side, side), Image.Resampling.BICUBIC)
        _check_size(*image.size, where)  # rounding may have made it thinner still
    return image


@contextmanager
def faults(where: object, what: str = "is damaged", remedy: str = AGAIN) -> Iterator[None]:
    """Turns whatever a bad image makes a decoder raise into an `InputError` about `where`."""
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        problem = "is not an image that can be read"
        raise InputError(where, problem, "use PNG, JPEG, TIFF, BMP or DICOM") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(where, f"is too large ({error})", SMALLER) from error
    except Exception as error:  # damaged bytes make decoders raise anything
        raise InputError(where, f"{what} ({error})", remedy) from error


def opened(data: bytes, where: object) -> Image.Image:
    """A PNG, JPEG, TIFF or BMP of which the header is read, and the size looked at."""
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
    """Grey levels from 0 (`low` and below) to 1 (`high` and above), linear in between.

    Example:
        >>> window(np.array([-1000, 40, 240]), -160, 240)
        array([0. , 0.5, 1. ])
    """
    return np.clip((values - low) / (high - low), 0, 1)


def _read_dicom(data: bytes, where: object) -> Image.Image:
    dataset = pydicom.dcmread(io.BytesIO(data))
    if not dataset.get("PixelData"):
        raise InputError(where, "is a DICOM file without pixel data", ONE_IMAGE)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise InputError(where, f"is a DICOM file of {frames} frames", ONE_IMAGE)
    _check_size(int(dataset.Columns), int(dataset.Rows), where)
    pixels = pixel_array(dataset)  # RGB, should the file hold YBR colours
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
    if pixels.ndim == 3:
        return Image.fromarray((pixels >> (8 * (pixels.itemsize - 1))).astype(np.uint8))
    values = apply_modality_lut(pixels, dataset)
    said = dataset.get("WindowCenter"), dataset.get("WindowWidth")  # anonymizers leave them empty
    if None in said:
        limits, values = None, apply_voi_lut(values, dataset)
    else:  # the first window of the file (PS3.3 C.11.2.1.2)
        centre, width = (float(np.atleast_1d(value)[0]) for value in said)
        if not (np.isfinite(centre) and 1 <= width < np.inf):
            raise InputError(where, f"has a window of centre {centre} and width {width}", ONE_IMAGE)
        limits = centre - width / 2, centre + width / 2 - 1
    image = _grey(values, limits, where)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"  # there, low values are bright
    return ImageOps.invert(image) if inverted else image


def _grey(values: np.ndarray, limits: tuple[float, float] | None, where: object) -> Image.Image:
    """Values as 8-bit grey in RGB, from the lowest to the highest where there are no `limits`.

    An image of one value only becomes black; so do pixels that are no number.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        raise InputError(where, "has no pixel that is a number", AGAIN)
    low, high = limits or (finite.min(), finite.max())
    values = np.nan_to_num(values.astype(np.float64), posinf=high, neginf=low)
    grey = window(values, low, high) if high > low else values > low  # a width of 1 is a threshold
    return Image.fromarray((255 * grey).round().astype(np.uint8)).convert("RGB")


def _check_size(width: int, height: int, where: object) -> None:
    if width < 1 or height < 1:
        raise InputError(where, f"has no pixels ({width} x {height})", "export the image again")
    if max(width, height) > MAX_RATIO * min(width, height):
        problem = f"is too long and thin ({width} x {height} pixels)"
        raise InputError(where, problem, f"cut it; a model takes at most {MAX_RATIO} to 1")
    if width * height > MAX_PIXELS:
        raise InputError(where, f"is too large ({width} x {height} pixels)", SMALLER)
