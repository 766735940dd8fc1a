"""Malformed input: each case ends with exit status 2 and a line that says where, what and how."""

import errno
import importlib
import os
import re
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import datasets
import numpy as np
import pytest
from layouts import (
    XRAY,
    picture,
    qa_record,
    split_record,
    write_images,
    write_qa,
    write_splits,
)
from test_images import dicom, encoded

from medr1_lib.cli import exit_status, main
from medr1_lib.course import tiers
from medr1_lib.data import dataset, images
from medr1_lib.data.omnimedvqa import read_splits
from medr1_lib.data.question import Question
from medr1_lib.data.source import opened
from medr1_lib.errors import InputError

TOY = "QA_information/Open-access/Toy.json"


def complaint(capsys, *arguments):
    """The line that the command prints when it refuses."""
    assert main(["data", *map(str, arguments)]) == 2
    printed = capsys.readouterr()
    line = printed.err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in printed.err
    _, _, remedy = line.rpartition("; ")
    assert len(remedy.split()) > 2  # a remedy, not only a diagnosis
    return line


def problem(text):
    return {"problem": text}


def solution(text):
    return {"solution": text}


# ---- one record of a split file -------------------------------------------------------------

RECORDS = {
    "no image": ({"image": ...}, "has no 'image'"),
    "no problem": ({"problem": ...}, "has no 'problem'"),
    "no solution": ({"solution": ...}, "has no 'solution'"),
    "image is null": ({"image": None}, "'image' is no text"),
    "image is empty": ({"image": ""}, "'image' is no text or empty"),
    "image is a truth value": ({"image": True}, "'image' is no text"),
    "image is a number without end": ({"image": 1e999}, "'image' is no text"),
    "absolute image path": ({"image": "/etc/passwd"}, "points outside the data"),
    "image path that climbs": ({"image": "Images/../../key.png"}, "points outside the data"),
    "image path with a drive": ({"image": "C:/key.png"}, "points outside the data"),
    "backslashes that climb": ({"image": "Images\\..\\..\\key.png"}, "points outside the data"),
    "no options": (problem("Which part is this?"), "has no options"),
    "one option": (problem("Which? A)Chest"), "1 options"),
    "nine options": (
        problem("Which? A)a, B)b, C)c, D)d, E)e, F)f, G)g, H)h, I)i"),
        "9 options, expected 2 to 8",
    ),
    "empty option": (problem("Which? A)a, B)b, C), D)d"), "an option is empty"),
    "right option twice": (problem("Which? A)Lung, B)Chest, C)chest"), "'Chest' occurs twice"),
    "no stem": (problem(" A)Lung, B)Chest"), "the question is empty"),
    "no closing tag": (solution("<answer> B"), "is not one capital letter"),
    "no tag": (solution("B"), "is not one capital letter"),
    "a word for a letter": (solution("<answer> Chest </answer>"), "is not one capital letter"),
    "small letter": (solution("<answer> b </answer>"), "is not one capital letter"),
    "letter past the options": (
        problem("Which? A)a, B)b") | solution("<answer> C </answer>"),
        "answer 'C' is not the letter of one of 2 options",
    ),
    "letter past D": (solution("<answer> E </answer>"), "answer 'E' is not the letter"),
}


@pytest.mark.parametrize(("changes", "expected"), RECORDS.values(), ids=RECORDS)
def test_a_bad_record_is_named_by_file_and_number(tmp_path, capsys, changes, expected):
    write_splits(tmp_path, [split_record(1, **changes)])
    line = complaint(capsys, "audit", "--splits", tmp_path)
    assert f"{XRAY}, record 1: " in line
    assert expected in line

    write_splits(tmp_path, [split_record(0), split_record(1, **changes), split_record(2)])
    assert main(["data", "audit", "--splits", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "2 records; shares in %\nrecords skipped: 1\n" in printed
    assert f"{XRAY}, record 2: " in printed
    assert expected in printed


ACCEPTED = {
    "image is a number": {"image": 7},
    "five options": problem("Which? A)a, B)b, C)c, D)d, E)e"),
    "five options, the last right": problem("Which? A)a, B)b, C)c, D)d, E)e")
    | solution("<answer> E </answer>"),
    "eight options, the last right": problem("Which? A)a, B)b, C)c, D)d, E)e, F)f, G)g, H)h")
    | solution("<answer> H </answer>"),
}


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_an_unusual_record_is_taken_as_it_is(tmp_path, changes):
    write_splits(tmp_path, [split_record(0), split_record(1, **changes)])
    with opened(tmp_path) as source:
        (file,) = read_splits(source)
    assert not file.bad
    record, item = split_record(1, **changes), file.items[1]
    assert item.image == str(record["image"])
    asked = item.question
    pairs = zip(asked.letters, asked.options, strict=True)
    listed = ", ".join(f"{letter}){option}" for letter, option in pairs)
    assert f"{asked.question} {listed}" == record["problem"]
    assert f"<answer> {asked.answer} </answer>" == record["solution"]
    assert main(["data", "audit", "--splits", str(tmp_path)]) == 0


@pytest.mark.parametrize("record", ["text", 7, None, ["a", "list"]])
def test_a_record_that_is_no_object(tmp_path, capsys, record):
    write_splits(tmp_path, [record])
    line = complaint(capsys, "audit", "--splits", tmp_path)
    assert f"{XRAY}, record 1: is not a JSON object" in line


# ---- one whole file -------------------------------------------------------------------------

FILES = {
    "truncated": (b'[{"image": "Images/Toy/0.png", "prob', "is not sound JSON"),
    "nothing in it": (b"", "is not sound JSON"),
    "an object": (b'{"image": "x"}', "is not a list of records"),
    "an empty list": (b"[]", "holds no record"),
    "Latin-1": ('[{"image": "Röntgen"}]'.encode("latin-1"), "is not UTF-8 text"),
    "UTF-16": ("[]".encode("utf-16"), "is not UTF-8 text"),
}


@pytest.mark.parametrize(("content", "expected"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("path", [XRAY, TOY])
def test_a_bad_file_is_named(tmp_path, capsys, content, expected, path):
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(content)
    command = ("audit", "--splits", tmp_path)
    if path == TOY:
        command = ("import", "--root", tmp_path, "--out", tmp_path / "out")
    line = complaint(capsys, *command)
    assert f"{path}: {expected}" in line


NAMES = {
    "no modality": ("modality/test/_test.json", "the name is empty"),
    "no type": ("question_type/test/ _test.json", "the name is empty"),
    "a train file among test files": ("modality/test/X-Ray_train.json", "train or test"),
    "neither train nor test": ("modality/validation/X-Ray_validation.json", "train or test"),
    "no split in the name": ("modality/test/X-Ray.json", "train or test"),
}


@pytest.mark.parametrize(("name", "expected"), NAMES.values(), ids=NAMES)
def test_a_file_name_that_says_too_little(tmp_path, capsys, name, expected):
    write_splits(tmp_path, [split_record()], f"Splits/{name}")
    line = complaint(capsys, "audit", "--splits", tmp_path)
    assert f"Splits/{name}: " in line
    assert expected in line


@pytest.mark.parametrize("name", ["modality/test/Endoscopy", "question_type/test/Riddle"])
def test_a_file_name_may_be_of_any_modality_or_type(tmp_path, capsys, name):
    write_splits(tmp_path, [split_record()], f"Splits/{name}_test.json")
    assert (
        main(
            [
                "data",
                "audit",
                "--splits",
                str(tmp_path),
            ]
        )
        == 0
    )
    assert f"Splits/{name}_test.json  " in capsys.readouterr().out
    kind, _, label = name.split("/")
    with opened(tmp_path) as source:
        (file,) = read_splits(source)
    assert [getattr(item.question, kind) for item in file.items] == [label]


# ---- folders and zip files ------------------------------------------------------------------


@pytest.mark.parametrize("command", ["audit --splits", "import --out {out} --root"])
def test_a_root_that_is_not_there(tmp_path, capsys, command):
    arguments = command.format(out=tmp_path / "out").split()
    assert "does not exist" in complaint(capsys, *arguments, tmp_path / "absent")


@pytest.mark.parametrize(
    "litter", [[], ["notes.txt"], ["QA_information/readme.txt"], ["x/y/QA_information/a.json"]]
)
def test_a_folder_without_either_layout(tmp_path, capsys, litter):
    root = tmp_path / "data"
    root.mkdir()
    for name in litter:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("hello")
    assert "holds no Splits/" in complaint(capsys, "audit", "--splits", root)
    line = complaint(capsys, "import", "--root", root, "--out", tmp_path / "out")
    assert "holds no QA_information/*.json, nor does a folder in it" in line


def test_the_chosen_split_is_not_there(tmp_path, capsys):
    write_splits(tmp_path, [split_record()])
    write_images(tmp_path, 1)
    command = ("import", "--root", tmp_path, "--splits", tmp_path, "--by", "question_type")
    line = complaint(capsys, *command, "--out", tmp_path / "out")
    assert "holds no Splits/question_type" in line


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def whole_zip(path):
    record = b'[{"image": "Images/Toy/0.png", "problem": "Which? A)a, B)b", "solution": "..."}]'
    return zipped(path, {XRAY: record + b" " * 5000})


def claim_size(path, size):
    """Make the zip file's directory lie about how large its first entry is."""
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", size)
    path.write_bytes(data)


def test_a_file_that_is_no_zip(tmp_path, capsys):
    (tmp_path / "data.zip").write_bytes(b"<html>404 Not Found</html>")
    line = complaint(capsys, "audit", "--splits", tmp_path / "data.zip")
    assert "data.zip: is not a sound zip file" in line
    assert "download the zip file again" in line


def test_a_zip_that_was_cut_short(tmp_path, capsys):
    path = whole_zip(tmp_path / "data.zip")
    path.write_bytes(path.read_bytes()[:-30])
    assert "is not a sound zip file" in complaint(capsys, "audit", "--splits", path)


def test_a_zip_with_a_damaged_entry(tmp_path, capsys):
    path = whole_zip(tmp_path / "data.zip")
    data = bytearray(path.read_bytes())
    data[80:90] = b"\0" * 10
    path.write_bytes(data)
    line = complaint(capsys, "audit", "--splits", path)
    assert f"{XRAY}: is damaged in the zip file" in line


@pytest.mark.parametrize("name", ["../escape.json", "/etc/escape.json", "a/../../escape.json"])
def test_a_zip_that_points_outside(tmp_path, capsys, name):
    path = zipped(tmp_path / "data.zip", {XRAY: "[]", name: "[]"})
    line = complaint(capsys, "audit", "--splits", path)
    assert "holds an entry that points outside it" in line
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(10, "is damaged in the zip file"), (4_000_000_000, "claims to unpack to 4 GiB")],
)
def test_a_zip_that_lies_about_its_sizes(tmp_path, capsys, size, expected):
    path = whole_zip(tmp_path / "data.zip")
    claim_size(path, size)
    line = complaint(capsys, "audit", "--splits", path)
    assert f"{XRAY}: {expected}" in line


def test_a_zip_that_claims_more_than_it_holds(tmp_path, capsys):
    path = whole_zip(tmp_path / "data.zip")
    claim_size(path, 100_000)
    assert f"{XRAY}: " in complaint(capsys, "audit", "--splits", path)


# ---- importing: records of OmniMedVQA's own layout, and images -------------------------------

MORE = [f"option_{letter}" for letter in "EFGHI"]
QA = {
    "answer is no option": ({"gt_answer": "Foot"}, "none of its options is the answer 'Foot'"),
    "no answer": ({"gt_answer": None}, "has no 'gt_answer'"),
    "no options": (
        dict.fromkeys(("option_A", "option_B", "option_C", "option_D")),
        "none of its options is the answer",
    ),
    "one option": (dict.fromkeys(("option_A", "option_C", "option_D")), "1 options"),
    "nine options": (dict(zip(MORE, "efghi", strict=True)), "9 options, expected 2 to 8"),
    "nine options, the last right": (
        dict(zip(MORE, "efghi", strict=True)) | {"gt_answer": "i"},
        "9 options, expected 2 to 8",
    ),
    "right option twice": ({"option_D": "chest"}, "'Chest' occurs twice"),
    "empty option": ({"option_D": " "}, "'option_D' is no text or empty"),
    "empty question": ({"question": ""}, "'question' is no text or empty"),
    "blank modality": ({"modality_type": " "}, "'modality_type' is no text or empty"),
    "no modality": ({"modality_type": None}, "has no 'modality'"),
    "blank type": ({"question_type": " "}, "'question_type' is no text or empty"),
    "no data set": ({"dataset": None}, "has no 'dataset'"),
    "image outside": ({"image_path": "../secret.png"}, "points outside the data"),
    "image not there": ({"image_path": "Images/Toy/absent.png"}, "absent.png is not in"),
    "image is a folder": ({"image_path": "Images/Toy"}, "its image Images/Toy cannot be read"),
}


@pytest.mark.parametrize(("changes", "expected"), QA.values(), ids=QA)
def test_a_bad_record_alone_is_refused_and_among_others_skipped(
    tmp_path, capsys, changes, expected
):
    root = write_qa(tmp_path / "data", [qa_record(0, **changes)])
    line = complaint(capsys, "import", "--root", root, "--out", tmp_path / "out")
    assert f"{TOY}, record 1: " in line
    assert expected in line
    assert not (tmp_path / "out").exists()

    records = [qa_record(n) for n in range(7)]
    write_qa(root, [*records[:3], qa_record(3, **changes), *records[4:]])
    assert main(["data", "import", "--root", str(root), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "5 train, 1 test" in printed
    assert re.search(r"records skipped \(.+\): 1\n", printed)
    assert f"{TOY}, record 4: " in printed
    assert expected in printed


TAKEN = {
    "five options": {"option_E": "Foot"},
    "five options, the last right": {"option_E": "Foot", "gt_answer": "Foot"},
    "eight options, the last right": dict(zip(MORE[:4], "efgh", strict=True)) | {"gt_answer": "h"},
    "another modality": {"modality_type": "Endoscopy"},
    "another type": {"question_type": "Riddle"},
}


@pytest.mark.parametrize("changes", TAKEN.values(), ids=TAKEN)
def test_a_record_that_omnimedvqa_would_not_hold_is_imported(tmp_path, capsys, changes):
    record = qa_record(0, **changes)
    root = write_qa(tmp_path / "data", [record])
    assert main(["data", "import", "--root", str(root), "--out", str(tmp_path / "out")]) == 0
    assert "nothing was skipped" in capsys.readouterr().out
    question = Question.from_record(dataset.read(tmp_path / "out")["train"][0])
    options = tuple(value for key, value in record.items() if key.startswith("option_"))
    assert question.options == options
    assert question.answer_text == record["gt_answer"]
    assert question.modality == record["modality_type"]
    assert question.question_type == record["question_type"]


def png_of_size(width, height):
    def chunk(kind, data):
        content = kind + data
        return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib.crc32(content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def bmp_of_size(width, height):
    data = bytearray(encoded(picture(), "BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


SLICE = np.arange(64).reshape(8, 8)
IMAGES = {
    "zero bytes": (b"", "is empty (zero bytes)"),
    "text": (b"not an image at all", "is not an image that can be read"),
    "a web page": (b"<html>404 Not Found</html>", "is not an image that can be read"),
    "truncated PNG": (encoded(picture(), "PNG")[:1500], "is damaged"),
    "truncated JPEG": (encoded(picture(size=(300, 300)), "JPEG")[:3000], "is damaged"),
    "truncated TIFF": (encoded(picture(), "TIFF")[:900], "is damaged"),
    "only a PNG signature": (b"\x89PNG\r\n\x1a\n", "is not an image that can be read"),
    "PNG of no width": (png_of_size(0, 9), "is not an image that can be read"),
    "BMP of no width": (bmp_of_size(0, 30), "is not an image that can be read"),
    "decompression bomb": (png_of_size(30_000, 30_000), "is too large"),
    "large for a bomb check": (png_of_size(10_000, 9_500), "is too large"),
    "DICOM without pixels": (dicom(SLICE, PixelData=None), "without pixel data"),
    "DICOM of two frames": (dicom(SLICE, NumberOfFrames=2), "holds 2 images"),
    "truncated DICOM": (dicom(SLICE)[:-60], "is a DICOM file that cannot be decoded"),
    "DICOM of no rows": (dicom(SLICE, Rows=0), "has no pixels (8 x 0)"),
    "only a DICOM preamble": (b"\0" * 128 + b"DICM", "without pixel data"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(("content", "expected"), IMAGES.values(), ids=IMAGES)
def test_a_bad_image_alone_is_refused_and_among_others_skipped(tmp_path, capsys, content, expected):
    with pytest.raises(InputError, match="image: ") as caught:
        images.load(content)
    assert expected in str(caught.value)

    root = write_qa(tmp_path / "data", [qa_record(n) for n in range(7)])
    (root / "Images/Toy/3.png").write_bytes(content)
    assert main(["data", "import", "--root", str(root), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().out
    assert "5 train, 1 test" in printed
    assert re.search(r"records skipped \(.+\): 1\n", printed)
    assert f"{TOY}, record 4: its image Images/Toy/3.png " in printed
    assert expected in printed


def test_a_missing_file_is_told_from_a_damaged_one(tmp_path):
    with pytest.raises(InputError, match=r"absent.png: cannot be read \(No such file"):
        images.load(tmp_path / "absent.png")


def test_splits_whose_images_are_not_there(tmp_path, capsys):
    write_splits(tmp_path / "text", [split_record(n) for n in range(3)])
    (tmp_path / "empty").mkdir()
    command = ("import", "--root", tmp_path / "empty", "--splits", tmp_path / "text")
    line = complaint(capsys, *command, "--out", tmp_path / "out")
    assert "(3 of 3 records are bad)" in line
    assert f"{XRAY}, record 1: its image Images/Toy/0.png is not in" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "text"]


# ---- where the results go -------------------------------------------------------------------


def ready(tmp_path, count=6):
    return write_qa(tmp_path / "data", [qa_record(n) for n in range(count)])


@pytest.mark.parametrize("command", ["import", "build"])
def test_an_output_folder_in_use(tmp_path, capsys, command):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("keep me")
    root = ["--root", ready(tmp_path)] if command == "import" else []
    line = complaint(capsys, command, *root, "--out", tmp_path / "out")
    assert "out: is already in use; choose another folder" in line
    assert (tmp_path / "out/mine.txt").read_text() == "keep me"


def test_an_output_folder_below_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    root = ready(tmp_path)
    line = complaint(capsys, "import", "--root", root, "--out", tmp_path / "file/out")
    assert "cannot be written (" in line


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write to any folder"
)
def test_an_output_folder_without_permission(tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    line = complaint(capsys, "import", "--root", ready(tmp_path), "--out", locked / "out")
    assert "Permission denied" in line


def test_a_full_disk_keeps_the_images_that_were_converted(tmp_path, capsys, monkeypatch):
    root, opened, written = ready(tmp_path), Path.open, []

    def full(path, *arguments, **named):
        if path.suffix == ".part":
            if len(written) == 4:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(path)
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", full)
    line = complaint(capsys, "import", "--root", root, "--out", tmp_path / "out")
    assert "out.converted: cannot be written (No space left on device)" in line
    assert "the same command goes on from here" in line
    assert len(list((tmp_path / "out.converted").glob("*.png"))) == 4

    monkeypatch.setattr(Path, "open", opened)
    assert main(["data", "import", "--root", str(root), "--out", str(tmp_path / "out")]) == 0
    assert dataset.read(tmp_path / "out").num_rows == {"train": 5, "test": 1}


def test_a_disk_that_fills_at_the_end_keeps_them_too(tmp_path, capsys, monkeypatch):
    root, save = ready(tmp_path), datasets.DatasetDict.save_to_disk

    def full(splits, folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(datasets.DatasetDict, "save_to_disk", full)
    line = complaint(capsys, "import", "--root", root, "--out", tmp_path / "out")
    assert "out: cannot be written (No space left on device); free some space" in line
    assert len(list((tmp_path / "out.converted").glob("*.png"))) == 6
    assert not (tmp_path / "out").exists()

    def unread(*_, **__):
        raise AssertionError("an image was converted again")

    monkeypatch.setattr(datasets.DatasetDict, "save_to_disk", save)
    monkeypatch.setattr(images, "load", unread)
    assert main(["data", "import", "--root", str(root), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("target", ["absent/report.json", "."])
def test_a_report_that_cannot_be_written_is_refused_before_any_work(tmp_path, capsys, target):
    command = ("import", "--root", ready(tmp_path), "--out", tmp_path / "out")
    line = complaint(capsys, *command, "--json", tmp_path / target)
    assert "cannot be written; name a file in a folder that exists" in line
    assert not (tmp_path / "out").exists()


def test_a_report_that_fails_at_the_end_loses_no_data(tmp_path, capsys, monkeypatch):
    opened = Path.open

    def full(path, *arguments, **named):
        if path.name == "report.json.part":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(path, *arguments, **named)

    root = ready(tmp_path)
    monkeypatch.setattr(Path, "open", full)
    command = ("import", "--root", root, "--out", tmp_path / "out")
    line = complaint(capsys, *command, "--json", tmp_path / "report.json")
    assert "report.json: cannot be written (No space left on device)" in line
    assert dataset.read(tmp_path / "out").num_rows == {"train": 5, "test": 1}


# ---- data sets and tiers ---------------------------------------------------------------------


def test_an_audit_of_a_folder_without_a_data_set(tmp_path, capsys):
    assert "holds no data set" in complaint(capsys, "audit", tmp_path)


def test_an_audit_of_a_damaged_data_set(tmp_path, capsys):
    assert main(["data", "import", "--root", str(ready(tmp_path)), "--out", f"{tmp_path}/out"]) == 0
    for file in (tmp_path / "out/train").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    capsys.readouterr()
    assert "out: cannot be read" in complaint(capsys, "audit", tmp_path / "out")


def test_a_tier_that_is_none(monkeypatch):
    monkeypatch.setenv("MEDR1_TIER", "desktop")
    with pytest.raises(InputError, match="no tier 'desktop'; set it to one of replay, laptop, gpu"):
        tiers.current()


@pytest.mark.parametrize("name", ["Data", "audits", ""])
def test_a_command_that_is_none(capsys, name):
    assert main([name]) == 2
    assert f"no command {name!r}" in capsys.readouterr().err


@pytest.mark.parametrize("lacking", ["torch", "nothing_of_this_name"])
def test_a_package_that_this_python_lacks_is_told_in_one_line(monkeypatch, capsys, lacking):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert exit_status(lambda _: importlib.import_module(lacking) and 0, []) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"error: {sys.executable}: lacks the package {lacking}; "
        "activate the environment that `make setup` made"
    )


def test_training_without_torch_is_told(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv(
        "LOCAL_RANK", "0"
    )  # else the command hides all GPUs but one from this process
    assert main(["train", "grpo"]) == 2
    assert "lacks the package torch" in capsys.readouterr().err


def test_a_module_of_ours_that_is_missing_is_a_fault(monkeypatch):
    with pytest.raises(ModuleNotFoundError):
        exit_status(lambda _: importlib.import_module("medr1_lib.nothing"), [])
