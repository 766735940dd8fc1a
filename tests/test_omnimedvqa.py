import json
import zipfile
from collections import Counter
from dataclasses import replace

import pytest
from layouts import REAL, needs_real, qa_record, split_record, write_json, write_qa, write_splits

from medr1_lib.data import omnimedvqa
from medr1_lib.data.omnimedvqa import parse_problem
from medr1_lib.data.source import image_id, opened

RELEASED = {  # file: records, as Med-R1 released its test files
    "modality/test/CT(Computed Tomography)_test.json": 3241,
    "modality/test/Dermoscopy_test.json": 1306,
    "modality/test/Fundus Photography_test.json": 1098,
    "modality/test/MR (Mag-netic Resonance Imaging)_test.json": 6370,
    "modality/test/Microscopy Images_test.json": 1110,
    "modality/test/OCT (Optical Coherence Tomography_test.json": 848,
    "modality/test/X-Ray_test.json": 1615,
    "modality/test/ultrasound_test.json": 2074,
    "modality/train/unknown_train.json": 1,
    "question_type/test/Anatomy Identification_test.json": 3329,
    "question_type/test/Disease Diagnosis_test.json": 11058,
    "question_type/test/Lesion Grading_test.json": 436,
    "question_type/test/Modality Recognition_test.json": 2392,
    "question_type/test/Other Biological Attributes_test.json": 704,
}


def sound(files):
    assert not [error for file in files for error in file.bad]
    return files


def read_splits(root):
    with opened(root) as source:
        return sound(omnimedvqa.read_splits(source))


def read_qa(root):
    with opened(root) as source:
        return sound(omnimedvqa.read_qa(source))


def questions(files):
    return [item.question for file in files for item in file.items]


@pytest.mark.parametrize(
    ("problem", "options"),
    [
        ("Which? A)one, B)two", ("one", "two")),
        ("Which? A)No, It's normal., B)Yes, C)Maybe", ("No, It's normal.", "Yes", "Maybe")),
        ("Which? A)a, B)b, C)c, D)d: e. F)", ("a", "b", "c", "d: e. F)")),
        ('"Which?" A)T1, axial, C), B)T2', ("T1, axial, C)", "T2")),
    ],
)
def test_options_may_hold_commas_sentences_and_markers(problem, options):
    assert parse_problem(problem)[1] == options


def test_a_split_record_becomes_a_question_of_its_file(tmp_path):
    (file,) = read_splits(write_splits(tmp_path, [split_record(3)]))
    (item,) = file.items
    assert (file.kind, file.name, file.split) == ("modality", "X-Ray", "test")
    assert item.question.question == "Which part of the body is this?"
    assert item.question.options == ("Hand", "Chest", "Skull", "Knee")
    assert (item.question.answer, item.question.answer_text) == ("B", "Chest")
    assert (item.question.modality, item.question.question_type) == ("X-Ray", "unknown")
    assert item.question.source == "Toy"
    assert item.where == "Splits/modality/test/X-Ray_test.json, record 1"


def test_a_qa_record_becomes_a_question(tmp_path):
    short = qa_record(1, option_C=None, option_D=None)
    (file,) = read_qa(write_qa(tmp_path, [qa_record(0), short]))
    full, two = questions([file])
    assert (full.answer, full.modality, full.source) == ("B", "X-Ray", "Toy")
    assert two.options == ("Hand", "Chest")


def test_the_field_that_one_released_record_calls_modality_is_read(tmp_path):
    record = qa_record(modality="CT(Computed Tomography)", modality_type=None)
    assert questions(read_qa(write_qa(tmp_path, [record])))[0].modality == "CT"


def test_the_image_id_tells_nothing_and_the_path_is_in_no_field(tmp_path):
    path = "Images/Chest CT/adenocarcinoma/7.png"
    (question,) = questions(read_splits(write_splits(tmp_path, [split_record(image=path)])))
    assert question.image_id == image_id(path)
    assert "adenocarcinoma" not in json.dumps(question.record(None))


def test_both_labels_are_known_where_both_files_hold_the_record(tmp_path):
    write_splits(tmp_path, [split_record(0), split_record(1)])
    types = "Splits/question_type/train/Anatomy Identification_train.json"
    write_splits(tmp_path, [split_record(1)], types)
    files = omnimedvqa.with_both_labels(read_splits(tmp_path))
    labels = [(q.modality, q.question_type) for q in questions(files)]
    anatomy = "Anatomy Identification"
    assert labels == [("X-Ray", "unknown"), ("X-Ray", anatomy), ("X-Ray", anatomy)]


@pytest.mark.parametrize("below", ["", "OmniMedVQA"])
def test_a_zip_reads_as_its_folder_does(tmp_path, below):
    folder = write_splits(
        write_qa(tmp_path / "data", [qa_record(0), qa_record(1)]), [split_record()]
    )
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, f"{below}/{path.relative_to(folder)}".lstrip("/"))
        archive.writestr(f"{below}/Splits/.DS_Store".lstrip("/"), b"\0\0\0\1Bud1")
        archive.writestr("__MACOSX/QA_information/._Toy.json", b"\0\5\26\7")
    with opened(tmp_path / "data.zip") as source:
        name, _ = source.locate("images/Toy/0.png")  # whatever the case of its first letter
        assert source.read(name) == (folder / "Images/Toy/0.png").read_bytes()
    assert questions(read_qa(tmp_path / "data.zip")) == questions(read_qa(folder))
    assert questions(read_splits(tmp_path / "data.zip")) == questions(read_splits(folder))


def test_the_root_may_be_the_splits_folder_and_finder_litter_is_ignored(tmp_path):
    write_splits(tmp_path, [split_record()])
    (tmp_path / "Splits/.DS_Store").write_bytes(b"\0\0\0\1Bud1")
    write_json(tmp_path / "Splits/modality/test/._X-Ray_test.json", "litter")
    inside, outside = read_splits(tmp_path / "Splits"), read_splits(tmp_path)
    assert questions(inside) == questions(outside)
    assert inside[0].path == "modality/test/X-Ray_test.json"


@needs_real
@pytest.mark.parametrize("below", ["", "Splits"])
def test_every_released_test_record_is_read(below):
    files = read_splits(REAL / "omnimedvqa_splits" / below)
    assert {file.path.removeprefix("Splits/"): len(file.items) for file in files} == RELEASED
    assert len(questions(files)) == 35_582
    of_modality = [q for q in questions(files) if q.question_type == "unknown"]
    assert Counter(len(q.options) for q in of_modality[:3241]) == {4: 2407, 2: 834}


@needs_real
@pytest.mark.parametrize("kind", ["modality", "question_type"])
def test_two_layouts_of_one_real_set_hold_the_same_282_questions(kind):
    of_qa = questions(read_qa(REAL / "medvqa"))
    files = omnimedvqa.with_both_labels(read_splits(REAL / "medvqa"))
    of_splits = questions(file for file in files if file.kind == kind)
    assert len(of_qa) == len(of_splits) == 282
    # only `source` and `id` differ: the splits name no data set, only a folder, and no question
    sides = ({replace(q, source="", id="-") for q in side} for side in (of_qa, of_splits))
    assert next(sides) == next(sides)
