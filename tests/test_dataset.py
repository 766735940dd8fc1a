import errno
import json

import pytest
from layouts import picture

from medr1_lib.data import dataset
from medr1_lib.data.question import Question
from medr1_lib.errors import InputError

ASKED = Question("Which?", ("a", "b"), "A", "CT", "Lesion Grading", "1", "demo")


def rows(count):
    return (ASKED.record(picture(number)) for number in range(count))


def test_what_is_written_can_be_read_and_the_image_keeps_its_pixels(tmp_path):
    dataset.write(tmp_path / "data", {"train": rows(3), "test": rows(1)}, {"seed": 7})
    splits = dataset.read(tmp_path / "data")
    assert splits.num_rows == {"train": 3, "test": 1}
    assert splits["train"][2]["image"].tobytes() == picture(2).tobytes()
    assert json.loads((tmp_path / "data" / dataset.CARD).read_text()) == {"seed": 7}


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(InputError, match="already in use"):
        dataset.write(tmp_path, {"test": rows(1)}, {})
    assert (tmp_path / "kept.txt").read_text() == "mine"


def test_a_crash_leaves_nothing_that_looks_finished(tmp_path):
    def broken():
        yield from rows(1)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(InputError, match=r"\(No space left on device\); free some space"):
        dataset.write(tmp_path / "data", {"test": broken()}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_data_set_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match="holds no data set; make one with"):
        dataset.read(tmp_path)


def test_a_damaged_data_set_is_told_from_none(tmp_path):
    dataset.write(tmp_path / "data", {"test": rows(1)}, {})
    (tmp_path / "data/test/dataset_info.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        dataset.read(tmp_path / "data")


def test_missing_columns_are_named(tmp_path):
    splits = dataset.write(tmp_path / "data", {"test": rows(1)}, {})
    splits.remove_columns(["answer", "source"]).save_to_disk(str(tmp_path / "other"))
    with pytest.raises(InputError, match="lacks the columns answer, source"):
        dataset.read(tmp_path / "other")
