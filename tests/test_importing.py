import json
import os
import signal
import subprocess
import sys
import time
import zipfile

import pytest
from layouts import REAL, needs_real, picture, qa_record, split_record, write_qa, write_splits

from medr1_lib.data import dataset, images, importing, omnimedvqa
from medr1_lib.data.importing import ImportSettings
from medr1_lib.data.question import Question
from medr1_lib.data.source import opened
from medr1_lib.errors import InputError

TRAIN = "Splits/modality/train/X-Ray_train.json"


def imported(root, out, **options):
    omnimedvqa.import_data(root, out, **options)
    return dataset.read(out)


def ids(table):
    return set(table["image_id"])


def test_each_record_arrives_with_its_image(tmp_path):
    write_qa(tmp_path / "data", [qa_record(n) for n in range(10)])
    splits = imported(tmp_path / "data", tmp_path / "out")
    assert splits.num_rows == {"train": 8, "test": 2}
    pixels = {image.tobytes() for table in splits.values() for image in table["image"]}
    assert pixels == {picture(n).tobytes() for n in range(10)}
    assert all(Question.from_record(row).answer_text == "Chest" for row in splits["test"])


def test_all_questions_of_an_image_fall_on_one_side(tmp_path):
    records = [qa_record(n, question=stem) for stem in ("Which?", "What?") for n in range(25)]
    splits = imported(write_qa(tmp_path / "data", records), tmp_path / "out")
    assert splits.num_rows == {"train": 40, "test": 10}
    assert not ids(splits["train"]) & ids(splits["test"])


def test_two_files_with_the_same_pixels_fall_on_one_side(tmp_path):
    write_qa(tmp_path / "data", [qa_record(n) for n in range(40)])
    for number in range(20):
        picture(number).save(tmp_path / f"data/Images/Toy/{number + 20}.png")
    splits = imported(tmp_path / "data", tmp_path / "out")
    sides = [{image.tobytes() for image in splits[name]["image"]} for name in ("train", "test")]
    assert len(sides[0]) == 16
    assert len(sides[1]) == 4
    assert not sides[0] & sides[1]


def test_the_split_does_not_change_with_the_order_of_the_records(tmp_path):
    records = [qa_record(n) for n in range(15)]
    first = imported(write_qa(tmp_path / "a", records), tmp_path / "out-a")
    second = imported(write_qa(tmp_path / "b", records[::-1]), tmp_path / "out-b")
    assert ids(first["test"]) == ids(second["test"])


def test_the_card_says_how_the_data_was_split_and_what_was_skipped(tmp_path):
    root = write_qa(tmp_path / "data", [qa_record(0), qa_record(1, gt_answer="Foot"), qa_record(2)])
    omnimedvqa.import_data(root, tmp_path / "out", settings=ImportSettings(side=64))
    card = json.loads((tmp_path / "out" / dataset.CARD).read_text())
    assert "one image in five" in card["split_rule"]
    assert card["longest_side_px"] == 64
    (skipped,) = card["skipped"]
    assert skipped["where"] == "QA_information/Open-access/Toy.json, record 2"


def test_the_released_split_is_kept(tmp_path):
    write_qa(tmp_path, [qa_record(n) for n in range(4)])
    write_splits(tmp_path, [split_record(0)])
    write_splits(tmp_path, [split_record(n) for n in (1, 2, 3)], TRAIN)
    splits = imported(tmp_path, tmp_path / "out", splits=tmp_path / "Splits")
    assert splits.num_rows == {"train": 3, "test": 1}


def test_a_released_split_may_have_only_a_test_side(tmp_path):
    write_qa(tmp_path, [qa_record(0)])
    write_splits(tmp_path, [split_record(0)])
    assert imported(tmp_path, tmp_path / "out", splits=tmp_path).num_rows == {"test": 1}


def test_a_zip_is_imported_without_unpacking_it(tmp_path):
    folder = write_qa(tmp_path / "data", [qa_record(n) for n in range(5)])
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, f"OmniMedVQA/{path.relative_to(folder)}")
    from_zip = imported(tmp_path / "data.zip", tmp_path / "out-zip")
    from_folder = imported(folder, tmp_path / "out-folder")
    assert list(from_zip["train"]) == list(from_folder["train"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data",
        "data.zip",
        "out-folder",
        "out-zip",
    ]


def test_an_interrupted_import_goes_on_where_it_stopped(tmp_path, monkeypatch):
    root = write_qa(tmp_path / "data", [qa_record(n) for n in range(12)])
    whole = imported(root, tmp_path / "whole")
    read, load = [], images.load

    def interrupted(data, side, where, frame, limits):
        if len(read) == 5:
            raise KeyboardInterrupt
        read.append(where)
        return load(data, side, where, frame, limits)

    monkeypatch.setattr(importing.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(images, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        omnimedvqa.import_data(root, tmp_path / "out")
    assert len(list((tmp_path / "out.converted").glob("*.png"))) == 5
    assert not (tmp_path / "out").exists()

    again = []
    monkeypatch.setattr(images, "load", lambda *args, **kw: again.append(1) or load(*args, **kw))
    resumed = imported(root, tmp_path / "out")
    assert len(again) == 7
    assert list(resumed["train"]) == list(whole["train"])
    assert not (tmp_path / "out.converted").exists()


SLOW = """
import sys, time
from pathlib import Path
from medr1_lib.data import images, omnimedvqa
load = images.load
images.load = lambda *args, **named: time.sleep(0.2) or load(*args, **named)
omnimedvqa.import_data(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is a thing of POSIX systems")
def test_an_import_killed_midway_loses_no_converted_image(tmp_path):
    root = write_qa(tmp_path / "data", [qa_record(n) for n in range(200)])
    converted = tmp_path / "out.converted"
    process = subprocess.Popen([sys.executable, "-c", SLOW, root, tmp_path / "out"])
    deadline = time.monotonic() + 60
    while len(list(converted.glob("*.png"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in converted.glob("*.png")}
    assert 4 <= len(kept) < 200
    importing.convert(*_conversion(root, converted))
    assert len(list(converted.glob("*.png"))) == 200
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert imported(root, tmp_path / "out").num_rows == {"train": 160, "test": 40}


def _conversion(root, folder):
    with opened(root) as source:
        return source, [f"Images/Toy/{n}.png" for n in range(200)], folder


def test_a_changed_image_is_converted_anew(tmp_path):
    root = write_qa(tmp_path / "data", [qa_record(0)])
    source, _, folder = _conversion(root, tmp_path / "out.converted")
    importing.convert(source, ["Images/Toy/0.png"], folder)
    picture(7, size=(50, 50)).save(root / "Images/Toy/0.png")
    (image,) = imported(root, tmp_path / "out")["train"]["image"]
    assert image.tobytes() == picture(7, size=(50, 50)).tobytes()


@needs_real
@pytest.mark.parametrize(
    "by",
    [
        pytest.param(None, marks=pytest.mark.slow),
        "modality",
        pytest.param("question_type", marks=pytest.mark.slow),
    ],
)
def test_the_real_set_is_imported_whole(tmp_path, by):
    real = REAL / "medvqa"
    done = (
        omnimedvqa.import_data(real, tmp_path / "out", splits=real, by=by)
        if by
        else omnimedvqa.import_data(real, tmp_path / "out")
    )
    assert (sum(done["records"].values()), done["images"], done["skipped"]) == (282, 141, [])
    splits = dataset.read(tmp_path / "out")
    assert not ids(splits["train"]) & ids(splits["test"])
    assert len(ids(splits["train"]) | ids(splits["test"])) == 141
    labels = {*splits["test"]["modality"], *splits["test"]["question_type"]}
    assert "unknown" not in labels
    assert max(max(image.size) for image in splits["test"]["image"]) <= images.SIDE
    rows = [row for name in splits for row in splits[name].remove_columns("image")]
    assert not any("images/" in json.dumps(row).lower() for row in rows)


def test_patients_of_records_laid_out_as_omnimedvqa_stay_apart_and_ids_are_kept(tmp_path):
    records = [
        qa_record(n, patient=f"p{n // 5}", gt_answer=("chest", "D")[n % 2]) for n in range(50)
    ]
    splits = imported(write_qa(tmp_path / "data", records), tmp_path / "out")
    assert splits.num_rows == {"train": 40, "test": 10}
    known = dataset.images_behind(tmp_path / "out")
    sides = [{known[row["image_id"]]["patient"] for row in splits[name]} for name in splits]
    assert not sides[0] & sides[1]
    assert {row["id"] for row in splits["test"]} < {f"Toy_{n:04}" for n in range(50)}
    assert {*splits["train"]["answer"]} == {"B", "D"}


def test_a_disk_that_is_too_small_is_told_before_the_rest_is_converted(tmp_path, monkeypatch):
    root = write_qa(tmp_path / "data", [qa_record(n) for n in range(300)])
    usage = importing.shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(importing.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"needs about 0.0 GiB while it works.*make room"):
        omnimedvqa.import_data(root, tmp_path / "out")
    assert len(list((tmp_path / "out.converted").glob("*.png"))) < 50
