import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
import skimage
from PIL import Image
from pydicom.data import get_testdata_file, get_testdata_files
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian
from skimage import data as skimage_data
from skimage import io as skimage_io

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
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    values = values if values.dtype.kind == "i" and values.min() < 0 else values.astype("<u2")
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in elements.items():
        if value is ...:
            del dataset[name]
        else:
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


def deep_png(values):
    """A PNG of 16 bits in each of several channels, which Pillow reads and does not write."""
    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize("channels", [2, 3, 4])  # grey and alpha, RGB, RGB and alpha
def test_channels_of_sixteen_bits_are_shown_as_they_are_or_refused(channels):
    values = np.repeat(RAMP[..., None], channels, 2)
    if channels != 3:
        values[..., -1] = 65535
    with pytest.raises(InputError, match="channels of 16 bits and does not use the upper two"):
        images.load(deep_png(values))
    values[..., : channels - (channels != 3)] *= 16
    assert np.abs(grey(images.load(deep_png(values))).astype(int) - STRETCHED).max() <= 1


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


RAMP = np.array([[0, 1024, 2048, 3072, 4095]])
STRETCHED = [[0, 64, 128, 191, 255]]
COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
WINDOW = {"WindowCenter": 2048, "WindowWidth": 1024}
FRAME = Dataset()
FRAME.FrameVOILUTSequence = [Dataset()]
FRAME.FrameVOILUTSequence[0].WindowCenter, FRAME.FrameVOILUTSequence[0].WindowWidth = 1.0, 1.0


@pytest.mark.parametrize(
    ("values", "elements", "expected"),
    [
        (np.array([[-32768, 0, 32767]], "<i2"), {}, [[0, 128, 255]]),
        (np.array([[-(2**31), 0, 2**31 - 1]], "<i4"), {}, [[0, 128, 255]]),
        (RAMP, {"WindowCenter": 1, "WindowWidth": 1}, [[0, 255, 255, 255, 255]]),
        (RAMP, {"WindowCenter": 0, "WindowWidth": 0}, STRETCHED),
        (RAMP, {"WindowCenter": 2048, "WindowWidth": -4096}, STRETCHED),
        (RAMP, {"RescaleSlope": None, "RescaleIntercept": None}, STRETCHED),
        (RAMP, {"PixelPaddingValue": None, "NumberOfFrames": None}, STRETCHED),
        (RAMP, {"PhotometricInterpretation": ...}, STRETCHED),
        (RAMP, WINDOW | {"VOILUTFunction": "LINEAR_EXACT"}, [[0, 0, 128, 255, 255]]),
        (RAMP, WINDOW | {"VOILUTFunction": "SIGMOID"}, [[0, 5, 128, 250, 255]]),
        (
            np.array([[-32768, 0, 500, 1000]], "<i2"),
            {"PixelPaddingValue": -32768},
            [[0, 0, 128, 255]],
        ),
        (
            np.array([[-32768, 0, 500, 1000]], "<i2"),
            {"PixelPaddingValue": -32768, "RescaleSlope": 2, "RescaleIntercept": -1024},
            [[0, 0, 128, 255]],
        ),
        (RAMP, {"SharedFunctionalGroupsSequence": [FRAME]}, [[0, 255, 255, 255, 255]]),
        (np.repeat(RAMP[..., None], 3, 2), COLOUR | {"BitsStored": 12, "HighBit": 11}, STRETCHED),
    ],
)
def test_a_dicom_file_of_an_odd_kind_shows_what_it_holds(values, elements, expected):
    shown = grey(images.load(dicom(values, **elements))).astype(int)
    assert np.abs(shown - expected).max() <= 1


def test_a_window_can_be_asked_for_and_takes_the_place_of_the_file_s():
    hounsfield = dicom(RAMP, RescaleSlope=1, RescaleIntercept=-1024, **WINDOW)
    shown = images.load(hounsfield, limits=(-160, 2048))
    assert grey(shown).tolist() == [[0, 18, 137, 255, 255]]


def test_one_frame_is_named_and_none_is_guessed(tmp_path):
    pages = [Image.new("RGB", (8, 8), (level, level, level)) for level in (10, 20, 30)]
    for format in ("TIFF", "GIF", "PNG"):
        many = encoded(pages[0], format, save_all=True, append_images=pages[1:])
        assert images.load(many, frame=2).getpixel((0, 0)) == (20, 20, 20)
        with pytest.raises(InputError, match="holds 3 images; name one of them, the first as"):
            images.load(many)
        with pytest.raises(InputError, match="has no image number 4, only 3"):
            images.load(many, frame=4)
    frames = np.stack([np.full((4, 4), 7), np.arange(16).reshape(4, 4)]).astype("<u2")
    scan = dicom(frames[0], NumberOfFrames=2, PixelData=frames.tobytes())
    assert grey(images.load(scan, frame=2)).max() == 255
    assert not grey(images.load(scan, frame=1)).any()
    with pytest.raises(InputError, match="holds 2 images"):
        images.load(scan)
    assert images.framed("a/b#c.dcm#12") == ("a/b#c.dcm", 12)
    assert images.framed("(100% #1).png") == ("(100% #1).png", None)


def test_dicom_without_a_preamble_is_read():
    dataset = pydicom.dcmread(io.BytesIO(dicom(RAMP)))
    for implicit, little in ((True, True), (False, True), (False, False)):
        bare = Dataset({element.tag: element for element in dataset})
        if not little:
            bare.PixelData = np.frombuffer(bare.PixelData, "<u2").astype(">u2").tobytes()
        buffer = io.BytesIO()
        pydicom.dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=little)
        content = buffer.getvalue()
        if content[:2] in (b"\x28\0", b"\0\x28"):  # ours has no element of group 8 yet
            bare.SOPInstanceUID = "1.2.3"
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, bare, implicit_vr=implicit, little_endian=little)
        assert grey(images.load(buffer.getvalue())).tolist() == STRETCHED


def test_a_compression_without_a_decoder_names_the_extra(monkeypatch):
    monkeypatch.setattr(images, "pixel_array", lambda *args, **named: 1 / 0)
    with pytest.raises(InputError, match="is a DICOM file that cannot be decoded"):
        images.load(dicom(RAMP))

    def undecodable(*args, **named):
        raise RuntimeError("all plugins are missing dependencies:")

    monkeypatch.setattr(images, "pixel_array", undecodable)
    with pytest.raises(InputError, match=r'decoded \(Explicit VR.*pip install "medr1\[dicom\]"'):
        images.load(dicom(RAMP))


def retagged(data, tag, value):
    """A little-endian TIFF with another value in one of its tags."""
    place = data.index(struct.pack("<HH", tag, 3)) + 8
    return data[:place] + struct.pack("<H", value) + data[place + 2 :]


def test_a_tiff_whose_zero_is_white_is_turned_over():
    ramp = encoded(Image.fromarray(RAMP.astype(np.uint16)), "TIFF")
    assert grey(images.load(ramp)).tolist() == STRETCHED
    assert grey(images.load(retagged(ramp, 262, 0))).tolist() == [[255, 191, 127, 64, 0]]


def test_unsigned_values_of_32_bits_are_not_taken_for_signed():
    stored = np.array([[0, 2**31, 2**32 - 1]], np.uint32).view(np.int32)
    data = retagged(encoded(Image.fromarray(stored), "TIFF"), 339, 1)
    assert grey(images.load(data)).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_black_whatever_colour_is_hidden_there(mode):
    pixels = np.full((4, 4, 4), 200, np.uint8)
    pixels[0] = (0, 255, 0, 0)
    pixels[1:, :, 3] = 255
    shown = np.asarray(images.load(encoded(Image.fromarray(pixels).convert(mode), "PNG")))
    if mode == "P":
        palette = Image.fromarray(pixels[..., :3]).quantize(2)
        hidden = palette.getpixel((0, 0))
        shown = np.asarray(images.load(encoded(palette, "PNG", transparency=hidden)))
    assert not shown[0].any()
    assert (shown[1:] == 200).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_black_drawing_on_a_clear_ground_is_seen(mode):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[1:3, 1:3, 3] = 255
    shown = grey(images.load(encoded(Image.fromarray(pixels).convert(mode), "PNG")))
    assert not shown[1:3, 1:3].any()
    assert shown.sum() == 12 * 255


def test_a_hot_pixel_does_not_decide_the_grey_levels():
    values = np.tile(np.linspace(0, 1000, 100, dtype=np.uint16), (100, 1))
    values[3, 3] = 65535
    assert np.median(grey(images.load(encoded(Image.fromarray(values), "PNG")))) > 120


def test_a_mask_of_few_pixels_is_seen():
    mask = np.zeros((100, 100), np.uint16)
    mask[5, 5] = 1
    assert grey(images.load(encoded(Image.fromarray(mask), "PNG"))).max() == 255


def test_a_picture_of_hardly_any_contrast_is_told_from_others():
    dark = np.arange(100, dtype=np.uint8).reshape(10, 10) // 8  # 12 of 16 bits, read as 8
    assert images.is_flat(Image.new("RGB", (5, 5), "grey"))
    assert images.is_flat(Image.fromarray(dark))
    assert not images.is_flat(Image.fromarray(skimage_data.camera()))


def test_no_helper_program_is_started(tmp_path, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", lambda *args, **named: pytest.fail("a program started"))
    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(InputError, match="is not an image that can be read; use DICOM, PNG"):
        images.load(drawing)


def reference(file):
    """What pydicom's own functions make of a file's first frame, as grey levels or RGB."""
    dataset = pydicom.dcmread(file, force=True)
    pixels = pixel_array(dataset, index=0)
    bits = dataset.BitsStored
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        bits = 8 * pixels.itemsize
    if pixels.ndim == 3:
        return 255 * (pixels / (2**bits - 1))
    values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(float)
    low, high = np.percentile(values, (0.1, 99.9))
    if dataset.get("PixelPaddingValue") is not None:
        low, high = np.percentile(values[pixels != dataset.PixelPaddingValue], (0.1, 99.9))
    if low == high:
        low, high = values.min(), values.max()
    if dataset.get("WindowWidth") is not None:  # pydicom spreads a window over all stored values
        half = 2 ** (bits - 1)
        stored = np.array([-half, half - 1] if dataset.PixelRepresentation else [0, 2 * half - 1])
        if "RescaleSlope" in dataset:
            stored = stored * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        low, high = stored
    shown = 255 * (np.clip((values - low) / (high - low), 0, 1) if high > low else 0 * values)
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    return np.repeat((255 - shown if inverted else shown)[..., None], 3, 2)


def test_every_file_of_pydicom_looks_as_pydicom_has_it():
    read = 0
    for file in sorted(map(Path, get_testdata_files())):
        with suppress(InputError):
            shown = np.asarray(images.load(file, side=20_000, frame=1)).astype(float)
            assert np.abs(shown - reference(file)).max() <= 1, file.name
            read += 1
    assert read >= 80


def test_every_picture_of_scikit_image_looks_as_scikit_image_has_it():
    files = [
        file
        for file in (Path(skimage.__file__).parent / "data").iterdir()
        if file.suffix in {".png", ".jpg"}
    ]
    assert len(files) > 20
    for file in files:
        shown, expected = np.asarray(images.load(file, side=20_000)), skimage_io.imread(file)
        if expected.ndim == 2:
            expected = np.repeat(expected[..., None], 3, 2)
        if expected.shape[2] == 4:
            expected = expected[..., :3] * (expected[..., 3:] / 255)
        assert np.abs(shown - expected.astype(float)).max() <= 1, file.name
