"""What comes from outside is refused in one line or skipped by name: data, by kinds of damage.

Each table makes its inputs in code. For every input: no traceback, the file or record is named, and
what is imported is what is sound.
"""

import json
import os
import shutil
import struct
import time
import warnings
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from layouts import picture, qa_record, split_record, write_images, write_json
from PIL import Image
from pyarrow import parquet as pq
from test_images import dicom, encoded

from medr1_lib.cli import main
from medr1_lib.data import dataset, images, phantom_vqa
from medr1_lib.data.omnimedvqa import parse_problem
from medr1_lib.data.question import Question
from medr1_lib.data.styles import listed, read
from medr1_lib.errors import InputError
from medr1_lib.files import one_writer

TOY = "QA_information/Open-access/Toy.json"
XRAY = "Splits/modality/test/X-Ray_test.json"
GOOD = 4  # sound records beside the bad ones


def run(capsys, *arguments):
    """The exit status and the error line; nothing but progress bars beside it."""
    status = main([*map(str, arguments)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == (status == 2)
    return status, "".join(lines)


def imported(capsys, root, out, *more):
    """What an import kept, by question, and what it says of the others, by record."""
    status, line = run(capsys, "data", "import", "--root", root, "--out", out, *more)
    card = json.loads((out / "card.json").read_text())
    assert status == (1 if card["skipped"] else 0), line
    splits = dataset.read(out)
    kept = [Question.from_record(row) for table in splits.values() for row in table]
    assert len(kept) == sum(card["records"].values())
    return kept, {entry["where"]: entry["problem"] for entry in card["skipped"]}


# ---- records: each field by each value ------------------------------------------------------

FIELDS = ("dataset", "question_type", "question", "gt_answer", "image_path", "option_A")
FIELDS = (*FIELDS, "option_B", "modality_type")
VALUES = {  # as JSON text, since some of them cannot be written from Python
    "null": "null",
    "number": "7",
    "list": '["x"]',
    "object": '{"a": 1}',
    "empty": '""',
    "blank": r'"  \n"',
    "true": "true",
    "not a number": "NaN",
    "infinite": "1e9999",
    "5,000 digits": "1" * 5000,
    "surrogate": r'"a\ud800"',
    "NUL": r'"a\u0000b"',
    "two million letters": json.dumps("A" * 2_000_000),
    "right to left": r'"\u202eabc"',
    "emoji": r'"\ud83d\ude00"',
    "script": '"<script>alert(1)</script>"',
}
# Odd but sound: a text is a text, and a number is its digits. No file has such a name.
SOUND = {"number", "right to left", "emoji", "script"}
TEXTS = {"dataset", "question", "option_A", "question_type", "modality_type"}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_any_value_is_kept_as_it_is_or_skipped_by_name(tmp_path, capsys, field):
    bad = [json.dumps(qa_record(0, **{field: "@@"})).replace('"@@"', v) for v in VALUES.values()]
    good = [json.dumps(qa_record(n)) for n in range(GOOD)]
    write_json(tmp_path / "data" / TOY, [])
    (tmp_path / "data" / TOY).write_text(f"[{', '.join(bad + good)}]")
    write_images(tmp_path / "data", GOOD)
    kept, skipped = imported(capsys, tmp_path / "data", tmp_path / "out")
    sound = {*SOUND} if field in TEXTS else set()
    sound |= {"null"} if field == "option_A" else set()  # an option may be left out
    named = {f"{TOY}, record {n}" for n, v in enumerate(VALUES, start=1) if v not in sound}
    assert skipped.keys() == named
    assert len(kept) == GOOD + len(sound)


PATHS = {
    "a long name": ("Images/Toy/" + "a" * 400 + ".png", "cannot be read"),
    "a long path": ("Images/" + "/".join(["a" * 200] * 30), "cannot be read"),
    "a folder": ("Images/Toy", "no regular file"),
    "absolute": ("/etc/passwd", "points outside"),
    "climbs": ("Images/../../x.png", "points outside"),
    "climbs backwards": ("Images\\..\\..\\x.png", "points outside"),
    "a drive": ("C:\\x.png", "points outside"),
    "a line break": ("Images/Toy/0.png\nerror: x", "points outside"),
    "not there": ("Images/Toy/99.png", "is not in"),
    "a pipe": ("Images/Toy/pipe.png", "no regular file"),
    "a link in a circle": ("Images/Toy/loop.png", "cannot be read"),
    "a link to no image": ("Images/Toy/link.png", "not an image"),
    "backslashes": ("Images\\Toy\\0.png", None),
    "a dot": ("./Images/Toy/0.png", None),
    "two slashes": ("Images//Toy/0.png", None),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and links are Unix")
def test_a_path_of_any_form_is_found_or_skipped_by_name(tmp_path, capsys):
    root = tmp_path / "data"
    records = [qa_record(0, image_path=path) for path, _ in PATHS.values()]
    write_json(root / TOY, records + [qa_record(n) for n in range(GOOD)])
    write_images(root, GOOD)
    os.mkfifo(root / "Images/Toy/pipe.png")
    (root / "Images/Toy/loop.png").symlink_to("loop.png")
    (root / "Images/Toy/link.png").symlink_to("/etc/passwd")
    (root / "QA_information/circle").symlink_to(root / "QA_information")
    kept, skipped = imported(capsys, root, tmp_path / "out")
    for number, (name, (_, expected)) in enumerate(PATHS.items(), start=1):
        assert expected is None or expected in skipped.pop(f"{TOY}, record {number}"), name
    assert not skipped
    assert len(kept) == GOOD + 3


# ---- whole files ----------------------------------------------------------------------------

RECORDS = {TOY: [qa_record(n) for n in range(GOOD)], XRAY: [split_record(n) for n in range(GOOD)]}
FILES = {
    "byte order mark": (lambda text: b"\xef\xbb\xbf" + text, None),
    "UTF-16": (lambda text: text.decode().encode("utf-16"), "not UTF-8"),
    "UTF-16, no mark": (lambda text: text.decode().encode("utf-16-le"), "not sound JSON"),
    "Latin-1": (lambda text: text.replace(b"Hand", b"H\xe4nd"), "not UTF-8"),
    "empty": (lambda text: b"", "not sound JSON"),
    "cut": (lambda text: text[:100], "not sound JSON"),
    "object": (lambda text: b"{}", "not a list"),
    "number": (lambda text: b"7", "not a list"),
    "null": (lambda text: b"null", "not a list"),
    "empty list": (lambda text: b"[]", "no record"),
    "nested": (lambda text: b"[" * 100_000 + b"]" * 100_000, "not sound JSON"),
    "a nested record": (lambda text: text[:-1] + b", " + b"[" * 99_999, "not sound JSON"),
    "trailing": (lambda text: text + b"x", "not sound JSON"),
    "lines": (lambda text: text[1:-1].replace(b"}, ", b"}\n"), None),
    "NUL": (lambda text: b"\0" * 1000, "not sound JSON"),
    "comment": (lambda text: b"// x\n" + text, "not sound JSON"),
    "quotes": (lambda text: text.replace(b'"', b"'"), "not sound JSON"),
    "strings": (lambda text: b'["a"]', "not a JSON object"),
    "lists": (lambda text: b"[[1], [2]]", "not a JSON object"),
    "one key twice": (lambda text: b'[{"image": "a", "image": "b"}]', "has no '"),
}


@pytest.mark.parametrize("path", RECORDS)
@pytest.mark.parametrize("kind", FILES)
def test_a_json_file_of_any_kind_is_read_or_named(tmp_path, capsys, path, kind):
    damage, expected = FILES[kind]
    write_json(tmp_path / "data" / path, [])
    (tmp_path / "data" / path).write_bytes(damage(json.dumps(RECORDS[path]).encode()))
    write_images(tmp_path / "data", GOOD)
    command = ["data", "audit", "--splits", tmp_path / "data"]
    if path == TOY:
        command = ["data", "import", "--root", tmp_path / "data", "--out", tmp_path / "out"]
    status, line = run(capsys, *command)
    assert status == (2 if expected else 0)
    assert (path in line and expected in line) if expected else not line


def test_a_file_whose_name_is_no_text_is_still_named(tmp_path, capsys):
    write_json(tmp_path / "data" / TOY, RECORDS[TOY])
    write_images(tmp_path / "data", GOOD)
    odd = os.fsencode(tmp_path / "data/QA_information") + b"/\xff.json"
    try:
        with open(odd, "w", encoding="utf-8") as file:  # noqa: PTH123 - a name in bytes
            file.write("[")
    except OSError:
        pytest.skip("this file system holds names in UTF-8 only")
    status, line = run(
        capsys, "data", "import", "--root", tmp_path / "data", "--out", tmp_path / "o"
    )
    assert status == 2
    assert ".json: is not sound JSON" in line


# ---- images: each format by each damage -------------------------------------------------------


def png_of_size(width, height, bits=8):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (min(height, 2000) * (width * bits // 8 + 2)))
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def text_bomb():
    text = b"Comment\0\0" + zlib.compress(b"a" * 70_000_000, 1)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text
    whole = encoded(picture(), "PNG")
    return whole[:33] + chunk + struct.pack(">I", zlib.crc32(b"zTXt" + text)) + whole[33:]


def flipped(data):
    damaged = bytearray(data)
    for place in range(40, len(data), 97):
        damaged[place] ^= 0x5A
    return bytes(damaged)


def floats(*odd):
    values = np.random.default_rng(0).random((30, 40)).astype("float32")
    values.flat[: len(odd)] = odd
    return encoded(Image.fromarray(values), "TIFF")


def damaged_images():
    """What to write, and what is said of it: a text, `None` where it is sound, `...` for either."""
    found = {}
    for name in ("PNG", "JPEG", "TIFF", "BMP"):
        whole = encoded(picture(9, (120, 90)), name)
        found[f"{name}, whole"] = whole, None
        for share in (0.02, 0.3, 0.6, 0.95):
            found[f"{name}, {share} of it"] = whole[: int(share * len(whole))], "is "
        found[f"{name}, flipped"] = flipped(whole), ...
        for size in ((1, 1), (200, 1)):
            found[f"{name}, {size}"] = encoded(picture(1, size), name), None
        for size in ((201, 1), (1, 201), (20_000, 1), (1, 20_000), (4000, 8)):
            found[f"{name}, {size}"] = encoded(Image.new("RGB", size), name), "long and thin"
    for name in ("GIF", "WEBP", "PPM", "JPEG2000"):
        found[name] = encoded(picture(9, (64, 64)), name), None
    for name in ("TGA", "ICO", "SGI", "PCX"):
        found[name] = encoded(picture(9, (64, 64)), name), "not an image that can be read"
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    for name, data in {
        "EPS": eps,
        "PDF": b"%PDF-1.4\n",
        "SVG": b"<svg/>",
        "HTML": b"<html>",
    }.items():
        found[name] = data, "not an image that can be read"
    found["nothing"] = b"", "is empty"
    found["any bytes"] = bytes(range(256)) * 40, "not an image that can be read"
    for size, bits in (((60_000, 60_000), 1), ((9600, 9600), 1), ((20_000, 20_000), 8)):
        found[f"bomb {size}"] = png_of_size(*size, bits), "is too large"
    found["bomb in a text"] = text_bomb(), "is damaged"
    for value in (np.nan, np.inf, -np.inf):
        found[f"one pixel {value}"] = floats(value), None
        found[f"all pixels {value}"] = floats(*[value] * 1200), "no pixel that is a number"
    grey = np.arange(64).reshape(8, 8)
    for name in ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"):
        window = {"WindowCenter": 32, "WindowWidth": 64, "RescaleSlope": 1, "RescaleIntercept": 0}
        for value in ("nan", "inf"):  # a window that is no number is none, a slope is needed
            expected = "has " if name.startswith("Rescale") else None
            found[f"DICOM, {name} {value}"] = dicom(grey, **window | {name: value}), expected
    for width in (64, 1, 0, -5):
        found[f"DICOM, width {width}"] = dicom(grey, WindowCenter=32, WindowWidth=width), None
    found["DICOM, cut"] = dicom(grey)[:-60], "cannot be decoded"
    found["DICOM, head only"] = b"\0" * 128 + b"DICM" + b"\0" * 200, "is a DICOM"
    found["DICOM, any bytes"] = b"\0" * 128 + b"DICM" + bytes(range(256)) * 4, "is a DICOM"
    found["DICOM, huge"] = dicom(grey, Rows=60_000, Columns=60_000), "is too large"
    found["DICOM, no kind"] = dicom(grey, PhotometricInterpretation=None), None
    return found


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::RuntimeWarning:PIL")
def test_an_image_of_any_damage_is_imported_as_it_is_or_skipped_by_name(tmp_path, capsys):
    found, root = damaged_images(), tmp_path / "data"
    paths = {name: f"Images/Toy/odd{number}.png" for number, name in enumerate(found)}
    records = [qa_record(0, image_path=path, question=name) for name, path in paths.items()]
    write_json(root / TOY, records + [qa_record(n) for n in range(GOOD)])
    write_images(root, GOOD)
    for name, (data, _) in found.items():
        (root / paths[name]).write_bytes(data)
    kept, skipped = imported(capsys, root, tmp_path / "out")
    names = {question.question for question in kept}
    for number, (name, (_, expected)) in enumerate(found.items(), start=1):
        problem = skipped.pop(f"{TOY}, record {number}", None)
        assert (problem is None) == (name in names), name
        if expected is not ...:
            assert (problem is None) == (expected is None), (name, problem)
            assert expected is None or expected in problem, (name, problem)
    assert not skipped
    splits = dataset.read(tmp_path / "out")
    rows = [row for split in splits.values() for row in split]
    black = {row["question"] for row in rows if not np.asarray(row["image"]).any()}
    assert black <= {name for name, (_, expected) in found.items() if expected is ...}


@pytest.mark.parametrize("kind", ["EPS", "bomb (60000, 60000)", "PNG, (20000, 1)", "nothing"])
@pytest.mark.parametrize("pixels", [True, False])
def test_a_data_set_s_image_of_any_kind_is_named_when_it_is_opened(kind, pixels):
    with pytest.raises(InputError, match=r"^test record 3, its image: ") as caught:
        dataset.open_image(damaged_images()[kind][0], "test record 3", pixels)
    assert "\n" not in str(caught.value)


# ---- zip files ------------------------------------------------------------------------------


def packed(path, records=GOOD, extra=None, method=zipfile.ZIP_DEFLATED, rename=str):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # one name twice
        archive.writestr(rename(TOY), json.dumps([qa_record(n) for n in range(records)]))
        for number in range(records):
            archive.writestr(rename(f"Images/Toy/{number}.png"), encoded(picture(number), "PNG"))
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return path


CENTRAL, LOCAL = b"PK\1\2", b"PK\3\4"


def patched(path, offset, value, *headers):
    """The archive with bytes of its second entry, an image, overwritten in these headers."""
    data = bytearray(path.read_bytes())
    for header, shift in headers:
        start = data.index(header, data.index(header) + 1) + offset + shift
        data[start : start + len(value)] = value
    path.write_bytes(data)


PATCHES = {  # place in the central header, value, and where else it stands
    "checksum": (16, b"\0\0\0\0", [(CENTRAL, 0)]),
    "encrypted": (8, b"\1", [(CENTRAL, 0), (LOCAL, -2)]),
    "method 99": (10, b"\x63", [(CENTRAL, 0), (LOCAL, -2)]),
    "smaller": (24, struct.pack("<I", 5), [(CENTRAL, 0)]),
    "larger": (24, struct.pack("<I", 0xF0000000), [(CENTRAL, 0)]),
    "elsewhere": (42, struct.pack("<I", 0x7FFFFFFF), [(CENTRAL, 0)]),
    "other name inside": (46, b"X", [(LOCAL, -16)]),
    "data": (80, b"\xff\0\xff\0\xff", [(LOCAL, 0)]),
}


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("method", ["STORED", "DEFLATED", "BZIP2", "LZMA"])
def test_a_damaged_entry_of_a_zip_file_is_skipped_by_name(tmp_path, capsys, patch, method):
    path = packed(tmp_path / "data.zip", method=getattr(zipfile, f"ZIP_{method}"))
    offset, value, headers = PATCHES[patch]
    patched(path, offset, value, *headers)
    if patch == "elsewhere":
        status, line = run(capsys, "data", "import", "--root", path, "--out", tmp_path / "out")
        if status == 2:
            assert "data.zip" in line
            return
    else:
        kept, skipped = imported(capsys, path, tmp_path / "out")
    kept, skipped = imported(capsys, path, tmp_path / "again")
    assert list(skipped) == [f"{TOY}, record 1"]
    assert len(kept) == GOOD - 1


def cut(share):
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def patch(*arguments):
    return lambda path: patched(path, *arguments)


ARCHIVES = {
    "whole": (lambda path: None, None),
    "a tenth": (cut(0.1), "not a sound zip"),
    "half": (cut(0.5), "not a sound zip"),
    "nearly all": (cut(0.99), "not a sound zip"),
    "nothing": (cut(0), "not a sound zip"),
    "text": (lambda path: path.write_text("hello"), "not a sound zip"),
    "no entry": (lambda path: zipfile.ZipFile(path, "w").close(), "holds no QA_information"),
    "version 9.9": (patch(6, b"\x63", (CENTRAL, 0)), "not a sound zip"),
    "name not UTF-8": (
        lambda path: [
            patched(path, 9, b"\x08", (CENTRAL, 0)),
            patched(path, 46, b"\xff", (CENTRAL, 0)),
        ],
        "not a sound zip",
    ),
    "absolute": (lambda path: packed(path, extra={"/etc/evil": ""}), "points outside"),
    "climbs": (lambda path: packed(path, extra={"Images/../../evil": ""}), "points outside"),
    "climbs backwards": (
        lambda path: packed(path, extra={"I\\..\\..\\evil": ""}),
        "points outside",
    ),
    "drive": (lambda path: packed(path, extra={"C:/evil": ""}), "points outside"),
    "backslashes": (lambda path: packed(path, rename=lambda n: n.replace("/", "\\")), None),
    "wrapped": (lambda path: packed(path, rename=lambda n: f"OmniMedVQA/{n}"), None),
    "nested JSON": (
        lambda path: packed(path, extra={"QA_information/b.json": "[" * 200_000}),
        "QA_information/b.json: is not sound JSON",
    ),
    "a folder": (lambda path: [path.unlink(), path.mkdir()], "holds no QA_information"),
    "a pipe": (lambda path: [path.unlink(), os.mkfifo(path)], "neither a folder nor a file"),
    "not there": (lambda path: path.unlink(), "does not exist"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_zip_file_of_any_kind_is_read_or_named(tmp_path, capsys, kind):
    if kind == "a pipe" and not hasattr(os, "mkfifo"):
        pytest.skip("pipes are Unix")
    damage, expected = ARCHIVES[kind]
    damage(path := packed(tmp_path / "data.zip"))
    if expected is None:
        kept, skipped = imported(capsys, path, tmp_path / "out")
        assert (len(kept), skipped) == (GOOD, {})
        return
    status, line = run(capsys, "data", "import", "--root", path, "--out", tmp_path / "out")
    assert status == 2
    assert expected in line
    assert "data.zip" in line or ".json: " in line
    assert not (tmp_path / "out").exists()


# ---- tables: each column by each value, and whole files --------------------------------------

LONG = "a text of letters and spaces only is no picture in base64 however long it may be " * 5
OPEN = {"null", "empty"}  # without choices, a question asks for free text
KEPT_CELLS = {
    "image": set(),
    "question": SOUND,
    "answer": set(),
    "choices": set(),
    "id": SOUND | OPEN,
    "patient": SOUND,
    "split": set(),
}


def cells(number, **changes):
    row = {"image": f"p{number}.png", "question": "Which?", "answer": "b", "choices": ["a", "b"]}
    return row | {"id": f"q{number}", "patient": f"p{number}", "split": "train"} | changes


def pictures(folder, count):
    for number in range(count):
        picture(number).save(folder / f"p{number}.png")


@pytest.mark.parametrize("column", KEPT_CELLS)
def test_a_cell_of_any_value_is_kept_as_it_is_or_skipped_by_name(tmp_path, capsys, column):
    values = {name: text for name, text in VALUES.items() if name != "5,000 digits"}
    rows = [json.dumps(cells(n, **{column: "@@"})) for n in range(len(values) + GOOD)]
    texts = [*values.values(), *[json.dumps(cells(99)[column])] * GOOD]
    if column in ("id", "image", "patient"):
        texts[-GOOD:] = [json.dumps(cells(n)[column]) for n in range(len(values), len(rows))]
    bad = [row.replace('"@@"', text) for row, text in zip(rows, texts, strict=True)]
    pictures(tmp_path, len(rows))
    (tmp_path / "t.json").write_text(f"[{', '.join(bad)}]")
    status, line = run(
        capsys, "data", "import", "--table", tmp_path / "t.json", "--out", tmp_path / "out"
    )
    assert status == 1, line
    card = json.loads((tmp_path / "out/card.json").read_text())
    left = OPEN if column == "choices" else set()
    wrong = [n for n, name in enumerate(values, 1) if name not in KEPT_CELLS[column] | left]
    assert {one["where"] for one in card["skipped"]} == {f"t.json, record {n}" for n in wrong}
    assert sum(card["records"].values()) == len(rows) - len(wrong) - len(left)


PICTURE_CELLS = [
    ["p0.png"],
    {"a": 1},
    {"path": None},
    {"path": ["p0.png"]},
    {"bytes": "text", "path": "p0.png"},
    {"bytes": [1], "path": None},
    {"bytes": 7, "path": None},
    {"bytes": None, "path": "../p0.png"},
    "A" * 201,
    "QUJD" * 100,
]


def test_what_holds_no_picture_is_skipped_by_name_and_a_long_text_is_no_picture(tmp_path, capsys):
    rows = [cells(n, image=cell) for n, cell in enumerate(PICTURE_CELLS)]
    rows += [cells(20, question=LONG), cells(21, choices=["a", LONG], answer=LONG)]
    pictures(tmp_path, 22)
    (tmp_path / "t.json").write_text(json.dumps(rows))
    command = ["data", "import", "--table", tmp_path / "t.json", "--out", tmp_path / "out"]
    assert run(capsys, *command) == (1, "")
    card = json.loads((tmp_path / "out/card.json").read_text())
    named = [f"t.json, record {n}" for n in range(1, len(PICTURE_CELLS) + 1)]
    assert sorted(one["where"] for one in card["skipped"]) == sorted(named)
    kept = [Question.from_record(row) for t in dataset.read(tmp_path / "out").values() for row in t]
    told = {text for one in kept for text in (one.question, *one.options)}
    assert told == {"Which?", "a", "b", LONG.strip()}


def labelled(path, meta):
    schema = pa.schema({"image": pa.string(), "label": pa.int64()}, {"huggingface": meta})
    names = [f"p{n}.png" for n in range(4)]
    pq.write_table(pa.table({"image": names, "label": [0, 1, 0, 1]}, schema=schema), path)


def features(label):
    image = {"dtype": "string", "_type": "Value"}
    return json.dumps({"info": {"features": {"image": image, "label": label}}})


ROWS_OF_A_TABLE = json.dumps([cells(n) for n in range(4)])
HEAD = "image,question,answer,A,B\n"
TABLES = {
    "cut.json": (ROWS_OF_A_TABLE[:80], "cannot be read"),
    "object.json": ("{}", "is not a list of records"),
    "null.json": ("null", "is not a list of records"),
    "numbers.json": ("[1, 2]", "is not a list of records"),
    "nothing.json": ("", "cannot be read"),
    "no_row.json": ("[]", "holds no row"),
    "nested.json": ("[" * 100_000, "cannot be read"),
    "digits.json": ('[{"image": ' + "1" * 5000 + "}]", "cannot be read"),
    "utf16.json": (ROWS_OF_A_TABLE.encode("utf-16"), "cannot be read"),
    "list.jsonl": ("[1]\n", "line 1: is no JSON object"),
    "nested.jsonl": ("[" * 100_000, "line 1: is no JSON object"),
    "nothing.csv": ("", "holds no row"),
    "head.csv": (HEAD, "holds no row"),
    "short.csv": (HEAD + "p0.png,Which?\n", "line 2: has another number of cells"),
    "long.csv": (HEAD + "p0.png,Which?,b,a,b,c\n", "line 2: has another number of cells"),
    "quote.csv": (HEAD + 'p0.png,"Which?,b,a,b\n', "has another number of cells"),
    "latin1.csv": ((HEAD + "p0.png,Wo\xdf?,b,a,b\n").encode("latin-1"), "cannot be read"),
    "columns.csv": (",".join("abc") * 999 + "\n" + ",".join("123") * 999 + "\n", "no image column"),
    "text.parquet": ("PAR1", "cannot be read"),
    "zeros.parquet": (bytes(999), "cannot be read"),
    "table.xlsx": ("PK", "is no table"),
    "no_suffix": (ROWS_OF_A_TABLE, "is no table"),
    "json.parquet": (lambda path: labelled(path, "{"), "cannot be read"),
    "kind.parquet": (lambda path: labelled(path, features({"_type": "None"})), "cannot be read"),
    "names.parquet": (
        lambda path: labelled(path, features({"_type": "ClassLabel", "names": ["one"]})),
        "cannot be read",
    ),
    "gone.csv": (None, "does not exist"),
    "pipe/metadata.csv": (lambda path: [path.parent.mkdir(), os.mkfifo(path)], "no regular file"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_kind_is_read_or_named(tmp_path, capsys, name):
    content, expected = TABLES[name]
    path = tmp_path / name
    if "pipe" in name and not hasattr(os, "mkfifo"):
        pytest.skip("pipes are Unix")
    if callable(content):
        content(path)
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given = tmp_path / name.partition("/")[0], "--question", "What?", "--out", tmp_path / "out"
    status, line = run(capsys, "data", "import", "--table", *given)
    assert status == 2
    assert expected in line
    assert path.stem in line
    assert not (tmp_path / "out").exists()


BAD_FLAGS = {
    "question in no UTF-8": (["--question", "a\udc80"], "'--question' is no sound text"),
    "modality in no UTF-8": (["--question", "?", "--modality", "a\udc80"], "'--modality' is no"),
    "blank modality": (["--question", "?", "--modality", " "], "'--modality' is no text"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_a_bad_text_of_the_command_line_is_named(tmp_path, capsys, name):
    more, expected = BAD_FLAGS[name]
    pictures(tmp_path, 4)
    (tmp_path / "t.csv").write_text("image,label\np0.png,a\np1.png,b\np2.png,a\np3.png,b\n")
    command = ["data", "import", "--table", tmp_path / "t.csv", "--out", tmp_path / "out", *more]
    status, line = run(capsys, *command)
    assert status == 2
    assert expected in line


def test_splits_beside_a_table_are_refused_and_a_folder_of_others_is_not_replaced(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/card.json").write_bytes(b"\xff\xfe")
    (tmp_path / "t.json").write_text(ROWS_OF_A_TABLE)
    command = ["data", "import", "--table", tmp_path / "t.json", "--out", tmp_path / "out"]
    status, line = run(capsys, *command, "--again")
    assert status == 2
    assert "already in use" in line
    with pytest.raises(SystemExit):
        main([*map(str, command), "--splits", "nowhere"])
    assert "--splits goes with --root" in capsys.readouterr().err


# ---- data sets ------------------------------------------------------------------------------

ASKED = Question("Which?", ("a", "b"), "A", "CT", "Lesion Grading", "1", "demo")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A data set whose questions and images are known, read only."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    rows = [ASKED.record({"bytes": images.png(picture(n)), "path": None}) for n in range(3)]
    dataset.write(folder, {"test": rows}, {})
    return folder


DAMAGE = {
    "gone": lambda data: None,
    "nothing": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "nearly all": lambda data: data[:-5],
    "NUL": lambda data: b"\0" * len(data),
    "list": lambda data: b"[1]",
    "null": lambda data: b"null",
    "flipped": flipped,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "pattern", ["dataset_dict.json", "*/state.json", "*/*info.json", "*/*.arrow"]
)
def test_a_data_set_with_a_damaged_file_is_read_or_named(sound, tmp_path, capsys, damage, pattern):
    for file in sound.rglob("*"):
        if file.is_file():
            target = tmp_path / "data" / file.relative_to(sound)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = file.read_bytes()
            content = DAMAGE[damage](content) if file.relative_to(sound).match(pattern) else content
            if content is not None:
                target.write_bytes(content)
    status, line = run(capsys, "data", "audit", tmp_path / "data")
    assert status in (0, 2)
    assert status == 0 or str(tmp_path / "data") in line
    if status == 0:  # such damage as was not seen has changed no question
        rows = dataset.read_split(tmp_path / "data", "test").remove_columns("image")
        assert {Question.from_record(row) for row in rows} == {ASKED}


@pytest.mark.parametrize("content", [b"", b"\0" * 50, b"image_id\na\n", b"image_id,patient\n"])
def test_a_table_of_images_without_patients_is_named(sound, tmp_path, capsys, content):
    shutil.copytree(sound, tmp_path / "data")
    (tmp_path / "data/images.csv").write_bytes(content)
    status, line = run(capsys, "data", "audit", tmp_path / "data")
    assert status == 2
    assert "images.csv: does not name images and patients" in line


@pytest.mark.parametrize("form", ["inspect", "jsonl"])
def test_an_image_id_that_is_a_path_leads_nowhere(tmp_path, capsys, form):
    names = ("../../../evil", "/tmp/evil", "a/b", "a\\..\\b")
    image = {"bytes": encoded(picture(), "PNG")}
    rows = [replace(ASKED, image_id=name).record(image) for name in names]
    source, out = tmp_path / "in/data", tmp_path / "in/made"
    dataset.write(source, {"test": rows}, {})
    assert run(capsys, "data", "export", source, "--to", form, "--out", out) == (0, "")
    assert len(list((out / "images").iterdir())) == len(names)
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["data", "made"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


VALUES_OF_A_ROW = {
    "question": [None, "", "  ", "<|image_pad|>?", "?<|im_end|>\n", "a\0", "w" * 10_001],
    "options": [
        *(None, [], ["a"], ["a", None], ["a", ""], ["a", "A"], list("abcdefghi")),
        *(["a", "<|vision_start|>"], ["a", "w" * 10_001]),
    ],
    "answer": [None, "", "C", "AB", "b", "é"],
    "modality": [None, "", " "],
    "question_type": [None, ""],
    "image_id": [None],
    "source": [None],
    "scene": ["", "[", "[]", "{}", "7", '{"modality": []}', "[" * 100_000, "1" * 5000],
    "image": [None, {"bytes": b"", "path": None}],
}
ROWS = [(name, value) for name, values in VALUES_OF_A_ROW.items() for value in values]


@pytest.mark.parametrize(("name", "value"), ROWS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ROWS)])
def test_a_row_that_is_no_question_is_named(tmp_path, name, value):
    rows = [ASKED.record({"bytes": images.png(picture(n)), "path": None}) for n in range(2)]
    rows[1] |= {name: value}
    dataset.write(tmp_path / "data", {"test": rows}, {})
    if (name, value) == ("scene", ""):  # no scene
        assert len(dataset.read_split(tmp_path / "data", "test")) == 2
        return
    with pytest.raises(InputError, match=r"data, test record 1 \(") as caught:
        dataset.read_split(tmp_path / "data", "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a\udc80", "a\0", "<|image_pad|>", "<|im_end|>", "w" * 10_001])
def test_a_text_that_no_model_may_read_makes_no_question(text):
    for changes in ({"question": text}, {"options": ("a", text)}):
        with pytest.raises(InputError, match="a text is over 10000 long, or holds NUL or a token"):
            replace(ASKED, **changes)


# ---- killed while it builds -----------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process that is killed needs fork")
@pytest.mark.parametrize("drawn", [0, 7, 159, 160, 161, 199])
def test_a_build_that_was_killed_is_made_by_the_same_command(tmp_path, capsys, monkeypatch, drawn):
    count = 0

    def killed(scene):
        nonlocal count
        count += 1
        if count > drawn:
            os._exit(9)
        return picture(size=(2, 2))

    command = ["data", "build", "--out", str(tmp_path / "out"), "--per-cell", "1"]
    if not (child := os.fork()):
        monkeypatch.setattr(phantom_vqa, "draw", killed)
        main(command)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(phantom_vqa, "draw", lambda scene: picture(size=(2, 2)))
    assert run(capsys, *command) == (0, "")
    assert dataset.read(tmp_path / "out").num_rows == {"train": 160, "test": 40}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("command", ["build", "import"])
def test_a_second_writer_is_refused_and_the_first_is_left_alone(tmp_path, capsys, command):
    write_json(tmp_path / "data" / TOY, RECORDS[TOY])
    write_images(tmp_path / "data", GOOD)
    capsys.readouterr()
    more = ["--root", tmp_path / "data"] if command == "import" else ["--per-cell", "1"]
    ending = {"import": "converted", "build": "partial"}[command]
    with one_writer(tmp_path / f"out.{ending}"):
        status, line = run(capsys, "data", command, "--out", tmp_path / "out", *more)
    assert status == 2
    assert f"out.{ending}: is being written by process {os.getpid()} on " in line
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_name_that_the_system_refuses_is_one_line(tmp_path, capsys):
    status, line = run(capsys, "data", "build", "--out", tmp_path / ("a" * 300))
    assert status == 2
    assert "File name too long" in line


# ---- problems whose texts hold markers -------------------------------------------------------

STEMS = [
    "Which?",
    "Is this lesion (hepatitis A) acute?",
    "Is this hepatitis (type A) or not?",
    "Is it type A) or type B)?",
    "A, B or C)?",
]
OPTIONS = [
    ("Yes", "No"),
    ("influenza (types A, B)", "hepatitis", "rabies"),
    ("blood groups (A, B)", "0", "AB", "none"),
    ("T1, axial, C)", "T2"),
    ("type A", "type B"),
    ("a", "b", "c", "d: e. F)"),
    ("No, It's normal.", "Yes", "Maybe (B, C)"),
]


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("options", OPTIONS)
def test_a_problem_is_cut_at_its_own_markers(stem, options):
    assert parse_problem(f"{stem} {listed(options)}") == (stem, options)


@pytest.mark.parametrize(
    "text", [" A)", ", B)", " A), B)", " A), B), C), D), E)", " A)a, B)b", " "]
)
def test_a_problem_of_many_markers_is_read_in_a_moment(text):
    long = text * (200_000 // len(text))
    try:
        stem, options = parse_problem(long)
    except InputError:
        return
    assert len(stem) + sum(map(len, options)) + 3 + 4 * (len(options) - 1) == len(long)


# ---- replies in the forms that models write ---------------------------------------------------

FORMS = {  # of letter X and its option's text T
    "letter": "X",
    "period": "X.",
    "closing parenthesis": "X)",
    "parentheses": "(X)",
    "brackets": "[X]",
    "colon": "X:",
    "bold": "**X**",
    "italic": "*X*",
    "code": "`X`",
    "dollars": "$X$",
    "boxed": r"\boxed{X}",
    "boxed in dollars": r"$\boxed{X}$",
    "JSON": '{"answer": "X"}',
    "fenced JSON": '```json\n{"answer": "X"}\n```',
    "quoted": '"X"',
    "option": "Option X",
    "labelled": "Answer: X",
    "labelled, final": "**Final Answer:** (X).",
    "labelled, boxed": r"Answer: \boxed{X}",
    "no-break space": "\u00a0X\u00a0",
    "zero width": "\u200bX",
    "text": "T",
    "text, period": "T.",
    "bold text": "**T**",
    "letter and text": "X) T",
    "no space": "X)T",
    "period and text": "X. T",
    "colon and text": "X: T",
    "parentheses and text": "(X) T.",
    "wide parenthesis": "X）T",
}
CHOICES = ("liver", "Lung", "a clear, large mass", "C. difficile")


@pytest.mark.parametrize("form", FORMS)
def test_a_letter_is_read_in_any_form_and_never_as_another(form):
    shape = FORMS[form]
    for letter, text in zip("ABCD", CHOICES, strict=True):
        for wide in (letter, letter.lower(), chr(ord(letter) + 0xFEE0)):
            said = shape.replace("X", wide).replace("T", text)
            assert read(f"<answer>{said}</answer>", CHOICES) == letter
            assert read(f"<think>(A) or B</think>\n{said}", CHOICES) == letter
            wrong = shape.replace("X", wide).replace("T", "another")
            assert read(f"<answer>{wrong}</answer>", CHOICES) in (None, letter)
            if "T" in shape:
                assert read(f"<answer>{wrong}</answer>", CHOICES) is None
        assert read(f"<Answer>{shape.replace('X', letter)}</ANSWER>", CHOICES) != "E"
        if "X" in shape and "T" not in shape and letter in "CD":  # a letter past the options
            assert read(shape.replace("X", letter), ("yes", "no")) is None


UNREAD = [
    "A or B",
    "(A) or (B)",
    "A, B",
    "the answer is not C",
    "not B",
    "AB",
    "Е",
    "В",
    "B lung",
    "E",
]


@pytest.mark.parametrize("said", [*UNREAD, "", ".", "**", "Option", "Answer:", r"\boxed{}", "{}"])
@pytest.mark.parametrize("form", ["{}", "<answer>{}</answer>", "<think>a</think>{}"])
def test_what_names_no_single_letter_is_not_read(said, form):
    assert read(form.replace("{}", said, 1), (*CHOICES[:3], "...")) is None


BOMBS = ["<think>", "<answer>", "</answer>", "<answer>A</answer>", "<think>a</think>", " ", "\n"]
BOMBS += ["</think><answer>", "<", "\0", "Answer: ", "option ", "*", "(", "\\boxed{", "B) "]


@pytest.mark.parametrize("piece", BOMBS)
@pytest.mark.parametrize("form", ["{}", "<answer>{}</answer>", "<answer>A{}x</answer>"])
def test_a_reply_of_any_length_is_read_in_a_moment(piece, form):
    start = time.process_time()
    assert read(form.replace("{}", piece * (100_000 // len(piece))), CHOICES) in (None, *"ABCD")
    assert time.process_time() - start < 1
