import io
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from skimage import data as skimage_data

from medr1_lib.data import images
from medr1_lib.errors import InputError


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def dicom(values, **elements):
    """The bytes of a grey DICOM image with these pixel values."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = values.astype("<u2").tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=False)
    return buffer.getvalue()


def grey(image):
    pixels = np.asarray(image)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.tif", "a.TIFF", "a.bmp", "a.BMP", "noname"])
def test_lossless_formats_keep_every_pixel_whatever_the_name(tmp_path, name):
    retina = Image.fromarray(skimage_data.retina()[600:700, 600:800])
    format = {".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}.get(Path(name).suffix.lower(), "PNG")
    (tmp_path / name).write_bytes(encoded(retina, format))
    assert images.load(tmp_path / name).tobytes() == retina.tobytes()


def test_a_jpeg_comes_close_to_its_source():
    cells = Image.fromarray(skimage_data.immunohistochemistry())
    loaded = images.load(encoded(cells, "JPEG", quality=95), side=256)
    difference = np.asarray(loaded, float) - np.asarray(cells.resize((256, 256)), float)
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(mode):
    image = images.load(encoded(Image.new("RGB", (8, 8)).convert("L").convert(mode), "TIFF"))
    assert (image.mode, image.size) == ("RGB", (8, 8))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1000, 500), (384, 192)), ((30, 3000), (4, 384)), ((384, 384), (384, 384)), ((9, 5), (9, 5))],
)
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_the_longest_side_is_at_most_384_and_nothing_is_enlarged(size, expected, format):
    assert images.load(encoded(Image.new("RGB", size), format)).size == expected


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_are_stretched_not_clipped(format):
    ramp = np.linspace(1000, 5000, 64, dtype=np.uint16).reshape(8, 8)  # 12-bit data in 16 bits
    levels = grey(images.load(encoded(Image.fromarray(ramp), format)))
    assert (levels[0, 0], levels[-1, -1]) == (0, 255)
    assert (np.diff(levels.ravel().astype(int)) > 0).all()


def test_a_flat_sixteen_bit_image_is_black():
    assert not grey(
        images.load(encoded(Image.fromarray(np.full((4, 4), 9, np.uint16)), "PNG"))
    ).any()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF"])
def test_exif_orientation_is_applied(format):
    image = Image.new("RGB", (40, 20), "black")
    image.paste("white", (0, 0, 20, 20))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: its left is the upper side
    upright = images.load(encoded(image, format, exif=exif))
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (255, 255, 255)
    assert upright.getpixel((10, 35)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("name", "size"), [("CT_small.dcm", (128, 128)), ("MR_small.dcm", (64, 64))]
)
def test_real_dicom_slices_fill_the_grey_scale(name, size):
    image = images.load(Path(get_testdata_file(name, download=False)))
    assert image.size == size
    assert grey(image).std() > 40


def test_dicom_window_follows_rescale():
    stored = np.array([[0, 24, 1024, 1104, 1064, 3000]])  # minus 1024: Hounsfield units
    data = dicom(stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40.5, WindowWidth=81)
    assert grey(images.load(data)).tolist() == [[0, 0, 0, 255, 128, 255]]


def test_the_first_of_several_windows_counts():
    values = np.array([[0, 50, 100]])
    data = dicom(values, WindowCenter=[50.5, 500], WindowWidth=[101, 1000])
    assert grey(images.load(data)).tolist() == [[0, 128, 255]]


def test_dicom_without_a_window_is_stretched():
    assert grey(images.load(dicom(np.array([[100, 150, 200]])))).tolist() == [[0, 128, 255]]


def test_monochrome1_is_turned_over():
    data = dicom(np.array([[0, 100]]), PhotometricInterpretation="MONOCHROME1")
    assert grey(images.load(data)).tolist() == [[255, 0]]


def test_a_png_of_the_result_keeps_its_pixels():
    cells = Image.fromarray(skimage_data.immunohistochemistry()[:50, :60])
    assert images.load(images.png(cells)).tobytes() == cells.tobytes()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM"])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_damaged_bytes_are_one_bad_image_and_nothing_else(format, share):
    whole = encoded(Image.fromarray(skimage_data.retina()[600:700, 600:800]), format)
    with suppress(InputError):  # a decoder may make do with a part
        images.load(whole[: int(share * len(whole))])


def test_a_pixel_that_is_no_number_blackens_no_image():
    values = np.linspace(0, 1, 64, dtype="float32").reshape(8, 8)
    values[0, 0] = np.nan
    image = grey(images.load(encoded(Image.fromarray(values), "TIFF")))
    assert image.max() == 255


@pytest.mark.parametrize("empty", [None, ""])
def test_dicom_with_an_empty_window_is_stretched(empty):
    image = images.load(dicom(np.arange(4).reshape(2, 2), WindowCenter=empty, WindowWidth=empty))
    assert grey(image).tolist() == [[0, 85], [170, 255]]
