import base64
import csv
import io
import json
import zipfile
from collections import Counter

import datasets
import pandas as pd
import pytest
from layouts import REAL, needs_real, picture

from medr1_lib.cli import main
from medr1_lib.data import audit, dataset, images, tables
from medr1_lib.data.importing import ImportSettings, held_out
from medr1_lib.data.question import Question
from medr1_lib.data.source import letter_of
from medr1_lib.errors import InputError

ASK = "What is shown?"


def folder(root, names):
    """A folder of different pictures with these names."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            picture(number).save(root / name)
    return root


def table(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def imported(tmp_path, text, names=("a.png", "b.png", "c.png"), name="t.csv", **options):
    """The questions by split that a table becomes, and its card."""
    folder(tmp_path / "pictures", names)
    options = {"question": ASK} | options
    card = tables.import_data(
        table(tmp_path / name, text), tmp_path / "pictures", tmp_path / "out", **options
    )
    return read(tmp_path / "out"), card


def read(out):
    return {
        split: [Question.from_record(row) for row in rows.remove_columns("image")]
        for split, rows in dataset.read(out).items()
    }


def everything(splits):
    return [one for part in splits.values() for one in part]


# ---- forms of a table -----------------------------------------------------------------------

ROWS = [
    {"image": "a.png", "question": "Which?", "A": "left", "B": "right", "answer": "A"},
    {"image": "b.png", "question": "Which?", "A": "left", "B": "right", "answer": "right"},
    {"image": "c.png", "question": "Which?", "A": "left", "B": "right", "answer": "b"},
]


def delimited(rows, by=",", encoding="utf-8"):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], delimiter=by)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode(encoding)


def in_parquet(rows):
    buffer = io.BytesIO()
    pd.DataFrame(rows).to_parquet(buffer)
    return buffer.getvalue()


FORMS = {
    "t.csv": delimited(ROWS),
    "semicolons.csv": delimited(ROWS, ";"),
    "mark.csv": delimited(ROWS, ";", "utf-8-sig"),
    "t.tsv": delimited(ROWS, "\t"),
    "t.json": json.dumps(ROWS).encode(),
    "t.jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "t.parquet": in_parquet(ROWS),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_table_of_any_form_gives_the_same_questions(tmp_path, name):
    splits, card = imported(tmp_path, FORMS[name], name=name)
    answers = sorted((one.question, one.options, one.answer) for one in everything(splits))
    options = ("left", "right")
    assert answers == [("Which?", options, letter) for letter in "ABB"]
    assert card["skipped"] == []


def test_a_table_that_datasets_saved_holds_its_pictures_and_names_of_labels(tmp_path):
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["benign", "malignant"])}
    )
    rows = {"image": [picture(n) for n in range(10)], "label": [n % 2 for n in range(10)]}
    saved = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": saved}).save_to_disk(tmp_path / "saved")
    saved.to_parquet(tmp_path / "hub/data/train-00000-of-00001.parquet")
    for name in ("saved", "hub"):
        out = tmp_path / f"out-{name}"
        card = tables.import_data(tmp_path / name, tmp_path, out, question=ASK)
        assert card["records"] == {"train": 8, "test": 2}
        told = Counter(one.answer_text for one in everything(read(out)))
        assert told == {"benign": 5, "malignant": 5}
        pixels = {one.tobytes() for part in dataset.read(out).values() for one in part["image"]}
        assert pixels == {one.tobytes() for one in rows["image"]}


def test_a_picture_in_a_cell_as_base64_is_taken_out_of_it(tmp_path):
    rows = [row | {"image": base64.b64encode(images.png(picture(7))).decode()} for row in ROWS[:1]]
    _, card = imported(tmp_path, delimited(rows, "\t"), name="vlmevalkit.tsv")
    assert card["images"] == 1
    (image,) = dataset.read(tmp_path / "out")["train"]["image"]
    assert image.tobytes() == picture(7).tobytes()


def test_folders_of_pictures_name_split_and_label(tmp_path):
    names = [f"{s}/{label}/{n}.png" for s in ("train", "test") for label in "xy" for n in range(2)]
    folder(tmp_path / "set", names)
    given = tmp_path / "set", tmp_path / "set"
    card = tables.import_data(*given, tmp_path / "out", question=ASK, modality="PET")
    assert card["records"] == {"train": 4, "test": 4}
    assert {(one.answer_text, one.modality) for one in read(tmp_path / "out")["test"]} == {
        ("x", "PET"),
        ("y", "PET"),
    }
    (tmp_path / "set/train/metadata.csv").write_text("file_name,label\nx/0.png,u\ny/1.png,v\n")
    tables.import_data(*given, tmp_path / "meta", question=ASK)
    assert {one.answer_text for one in everything(read(tmp_path / "meta"))} == {"u", "v"}


def test_the_closed_questions_of_published_sets_are_read_as_they_are(tmp_path):
    vqa_rad = {"qid": 1, "image_name": "a.png", "question": "Is there a mass?", "answer": "Yes"}
    vqa_rad |= {"answer_type": "CLOSED", "phrase_type": "test_freeform", "question_type": "PRES"}
    opened = vqa_rad | {"qid": 2, "question": "Where?", "answer": "left", "answer_type": "OPEN"}
    train = vqa_rad | {"qid": 3, "image_name": "b.png", "phrase_type": "freeform", "answer": "no "}
    splits, card = imported(tmp_path, json.dumps([vqa_rad, opened, train]), name="VQA_RAD.json")
    (asked,), (other,) = splits["test"], splits["train"]
    assert (asked.id, asked.answer_text, asked.question_type) == ("1", "yes", "PRES")
    assert other.answer_text == "no"
    assert card["open_questions"] == 1
    slake = {
        "img_name": "c.png",
        "question": "Is it MRI?",
        "answer": "No",
        "qid": 0,
        "split": "test",
    }
    slake |= {"answer_type": "CLOSED", "modality": "MRI", "content_type": "Modality"}
    pmc = {"Figure_path": "c.png", "Question": "What?", "Choice A": " A:CT ", "Choice B": " B:MRI "}
    pmc |= {"Answer": "MRI", "Answer_label": "B"}
    path_vqa = {"image": "c.png", "question": "is fat present?", "answer": "yes"}
    for name, row, answer in (
        ("slake.json", slake, "no"),
        ("pmc.json", pmc, "MRI"),
        ("path.json", path_vqa, "yes"),
    ):
        file = table(tmp_path / name, json.dumps([row]))
        tables.import_data(file, tmp_path / "pictures", tmp_path / name[:-5])
        (asked,) = everything(read(tmp_path / name[:-5]))
        assert asked.answer_text == answer
        assert set(asked.options) in ({"yes", "no"}, {"CT", "MRI"})


# ---- labels ---------------------------------------------------------------------------------


def test_labels_become_questions_with_distractors_of_their_modality(tmp_path):
    names = [f"{n}.png" for n in range(60)]
    eight = [f"type {n % 6}" for n in range(30)] + [f"grade {n % 2}" for n in range(30)]
    kinds = ["MR"] * 30 + ["Endoscopy"] * 30
    rows = "\n".join(map(",".join, zip(names, eight, kinds, strict=True)))
    splits, _ = imported(tmp_path, f"file_name,dx,modality\n{rows}\n", names)
    asked = everything(splits)
    assert {one.question for one in asked} == {ASK}
    for one in asked:
        word, count = ("type", 4) if one.modality == "MRI" else ("grade", 2)
        assert len({*one.options}) == count
        assert all(option.startswith(word) for option in one.options)
    assert len({one.answer for one in asked if one.modality == "MRI"}) == 4
    again = tables.import_data(
        tmp_path / "t.csv", tmp_path / "pictures", tmp_path / "again", question=ASK
    )
    assert again["records"] == {"train": 48, "test": 12}
    assert read(tmp_path / "again") == splits


def test_labels_that_differ_in_case_only_are_one(tmp_path):
    splits, _ = imported(tmp_path, "image,label\na.png,Benign\nb.png,benign \nc.png,malignant\n")
    assert {one.options for one in everything(splits)} <= {
        ("Benign", "malignant"),
        ("malignant", "Benign"),
    }


# ---- answers and options --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "letter"),
    [("B", "B"), ("b", "B"), ("(B)", "B"), ("B.", "B"), ("Lung ", "B"), ("LIVER", "A"), ("7", "C")],
)
def test_an_answer_is_a_letter_or_a_text(answer, letter):
    assert letter_of(answer, ["liver", "lung", "7"]) == letter


def test_an_answer_that_means_two_options_is_refused():
    assert letter_of("A", ["A", "B", "AB", "O"]) == "A"
    with pytest.raises(InputError, match="is a letter and the text of another option"):
        letter_of("A", ["O", "A"])
    with pytest.raises(InputError, match="none of its options is the answer 'C'"):
        letter_of("C", ["left", "right"])


def test_integer_options_and_eight_of_them(tmp_path):
    rows = [
        {"image": "a.png", "question": "Which grade?", "choices": [*range(8)], "answer": 7},
        {"image": "b.png", "question": "Which grade?", "choices": "['0', '1']", "answer": 0},
        {"image": "c.png", "question": "Grade?", "choices": {"A": 1, "B": 2}, "answer": "B"},
    ]
    splits, _ = imported(tmp_path, "\n".join(map(json.dumps, rows)), name="t.jsonl")
    told = {(len(one.options), one.answer, one.answer_text) for one in everything(splits)}
    assert told == {(8, "H", "7"), (2, "A", "0"), (2, "B", "2")}


# ---- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("picture,label\na.png,x\n", "no image column .it has picture, label.; name it by"),
        ("image,grade\na.png,x\n", "has neither labels nor answers .it has image, grade"),
        ("image,label,question,answer\na.png,x,y,z\n", "has both answers and labels"),
        ("image,label\na.png,x\n", r"has one label only in modality unknown: \['x'\]"),
        ("image,label\n", "holds no row"),
        ("image,question,answer\na.png,Why?,see text\n", "has only answers in free text; name"),
    ],
)
def test_a_table_that_says_too_little_is_refused(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        imported(tmp_path, text)
    with pytest.raises(InputError, match=r"(^|/)t\.csv: "):
        imported(tmp_path, text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pictures", "t.csv"]


def test_what_is_asked_of_labels_has_to_be_said(tmp_path):
    with pytest.raises(InputError, match="asks nothing; say --question"):
        imported(tmp_path, "image,label\na.png,x\nb.png,y\n", question="")


BAD = {
    "gone.png,Which?,left,right,A": "is not in",
    ",Which?,left,right,A": "'image' is no text or empty",
    "../a.png,Which?,left,right,A": "points outside the data",
    "broken.png,Which?,left,right,A": "is not an image",
    "a.png,,left,right,A": "the question is empty",
    "a.png,Which?,left,right,": "'answer' is no text or empty",
    "a.png,Which?,left,right,C": "none of its options is the answer 'C'",
    "a.png,Which?,left,,A": "1 options, expected 2 to 8",
    "c.png,Which?,left,right,A": "has the image and question of t.csv, line 2",
    "c.png,Which?,left,right,B": "of t.csv, line 2, but 'right', not 'left'",
}


def test_what_was_left_out_is_told_by_line(tmp_path):
    table(tmp_path / "pictures/broken.png", "no picture")
    rows = ["c.png,Which?,left,right,A", *BAD]
    text = "image,question,A,B,answer\n" + "\n".join(rows)
    splits, card = imported(tmp_path, text, question="")
    assert len(everything(splits)) == 1
    told = {entry["where"]: entry["problem"] for entry in card["skipped"]}
    for line, (row, problem) in enumerate(BAD.items(), start=3):
        assert problem in told[f"t.csv, line {line}"], row
    with pytest.raises(InputError, match=r"t.csv, line 4: .*10 of 11 records are bad"):
        tables.import_data(
            tmp_path / "t.csv",
            tmp_path / "pictures",
            tmp_path / "x",
            settings=ImportSettings(strict=True),
        )


@pytest.mark.parametrize("choices", [5, 1.5, True, "5", "{1, 2}", "b'xy'", "[", "left, right"])
def test_choices_that_are_no_list_are_told_by_line(tmp_path, choices):
    row = json.dumps({"image": "a.png", "question": "?", "choices": choices, "answer": "A"})
    with pytest.raises(InputError, match=r"t.jsonl, line 1: its choices .* are no list"):
        imported(tmp_path, row, name="t.jsonl")


def test_a_folder_with_a_table_that_was_not_named_is_told_of_the_option(tmp_path, capsys):
    folder(tmp_path, ["a.png"])
    table(tmp_path / "labels.csv", "image,label\na.png,x\n")
    assert main(["data", "import", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "give a table of your own as --table" in capsys.readouterr().err


def test_own_names_of_columns_are_said(tmp_path):
    text = "Bild,Befund\na.png,x\nb.png,y\n"
    splits, _ = imported(tmp_path, text, columns={"image": "Bild", "label": "Befund"})
    assert len(everything(splits)) == 2
    with pytest.raises(InputError, match="cannot take 'Foto' for 'image'; its columns are Bild"):
        imported(tmp_path, text, columns={"image": "Foto"})


# ---- split and leaks ------------------------------------------------------------------------


def test_a_patient_is_on_one_side_and_labels_are_on_both(tmp_path):
    names = [f"{n}.png" for n in range(100)]
    rows = [f"{name},p{n // 5},{'xy'[n // 50]}" for n, name in enumerate(names)]
    _, card = imported(tmp_path, "image,Patient ID,label\n" + "\n".join(rows), names)
    assert card["records"] == {"train": 80, "test": 20}
    assert card["patients"] == 20
    assert "one patient in five" in card["split_rule"]
    assert card["one_sided"] == []
    with (tmp_path / "out" / dataset.IMAGES).open() as file:
        known = {row["image_id"]: row for row in csv.DictReader(file)}
    assert {row["path"] for row in known.values()} == {*names}
    sides = [
        {known[one.image_id]["patient"] for one in part} for part in read(tmp_path / "out").values()
    ]
    assert not sides[0] & sides[1]
    report = audit.of_data_set(tmp_path / "out")
    assert report["patients"] == 20
    assert {f["patient_leak_share"] for p, f in report["files"].items() if p[:4] == "test"} == {0.0}


def test_rare_labels_are_held_out_where_they_can_be():
    groups = {f"{n:02}": {("x", "often" if n > 5 else "rare"), ""} for n in range(30)}
    groups |= {"90": {"once", ""}}
    test = held_out(groups)
    assert len(test) == 6
    assert sum(("x", "rare") in groups[name] for name in test) == 1
    rare = {f"{n:03}": {("x", f"rare {n // 3}"), "x", ""} for n in range(90)}
    many = {f"{n}": {("x", "often"), "x", ""} for n in range(100, 400)}
    test = held_out(rare | many)
    assert len(test) == 78  # a fifth of all, although a third of each rare label
    assert len(test & rare.keys()) == 30
    assert len(held_out(rare)) == 30
    assert held_out({"a": {""}, "b": {""}}) == {"a"}
    assert held_out({"a": {""}}) == set()


LEAKY = "image,label,patient,split\na.png,x,p1,train\nb.png,y,p2,val\nc.png,x,p1,test\n"


def test_a_patient_on_both_sides_of_a_given_split_is_refused_with_both_lines(tmp_path):
    with pytest.raises(
        InputError, match=r"line 2: patient p1 is in train, and in test at .*line 4"
    ):
        imported(tmp_path, LEAKY)
    _, card = imported(tmp_path, LEAKY, settings=ImportSettings(allow_leaks=True))
    assert card["records"] == {"train": 1, "val": 1, "test": 1}
    again = ImportSettings(drop_leaks=True, again=True)
    _, card = imported(tmp_path, LEAKY, settings=again)
    assert card["records"] == {"val": 1, "test": 1}
    assert card["dropped_leaks"] == 1


def test_a_patient_in_train_and_val_is_refused_also_where_test_has_to_be_drawn(tmp_path):
    names = [f"{n}.png" for n in range(12)]
    patients = [0, 0, *range(1, 11)]  # the first one is in val and in train
    rows = [
        f"{name},{'xy'[n % 2]},p{patient},{'train' if n else 'val'}"
        for n, (name, patient) in enumerate(zip(names, patients, strict=True))
    ]
    text = "image,label,patient,split\n" + "\n".join(rows)
    with pytest.raises(InputError, match=r"line 2: patient p0 is in val, and in train at .*line 3"):
        imported(tmp_path, text, names)
    _, card = imported(tmp_path, text, names, settings=ImportSettings(drop_leaks=True))
    assert card["records"] == {"train": 8, "val": 1, "test": 2}
    assert card["dropped_leaks"] == 1
    both = ImportSettings(allow_leaks=True, again=True)
    _, card = imported(tmp_path, text, names, settings=both)
    assert sum(card["records"].values()) == 12


def test_equal_pixels_on_both_sides_of_a_given_split_are_refused(tmp_path):
    folder(tmp_path / "pictures/copies", ["c.png"])  # the picture of a.png
    text = "image,label,split\na.png,x,train\nb.png,y,train\ncopies/c.png,x,test\n"
    with pytest.raises(InputError, match=r"an image of the same pixels is in train, and in test"):
        imported(tmp_path, text)


def test_a_split_without_test_is_drawn_and_val_is_kept(tmp_path):
    names = [f"{n}.png" for n in range(12)]
    rows = [
        f"{name},{'xy'[n % 2]},{'validation' if n < 2 else 'train'}" for n, name in enumerate(names)
    ]
    _, card = imported(tmp_path, "image,label,split\n" + "\n".join(rows), names)
    assert card["records"] == {"train": 8, "val": 2, "test": 2}
    with pytest.raises(InputError, match="its split 'left' is none of train, val, test"):
        imported(
            tmp_path,
            "image,label,split\na.png,x,left\nb.png,y,left\n",
            name="u.csv",
            settings=ImportSettings(again=True),
        )


# ---- where images are -----------------------------------------------------------------------


def test_an_image_is_found_by_the_end_of_its_path_without_suffix_or_as_another_system_spells_it(
    tmp_path,
):
    names = ["deep/er/a.png", "deep/B.PNG", "deep/e\u0301.png", "x/twice.png", "y/twice.png"]
    rows = ["er/a.png,x", "b,y", "\u00e9.png,x", "twice.png,y", "x/twice.png,y"]
    splits, card = imported(tmp_path, "image,label\n" + "\n".join(rows), names)
    assert len(everything(splits)) == 4
    (skipped,) = card["skipped"]
    assert "may be any of 2 files, such as x/twice.png or y/twice.png" in skipped["problem"]


def test_the_names_in_a_chinese_zip_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for name in ("\u80ba/1.png", "\u80ba/2.png"):
            entry = zipfile.ZipInfo(name.encode("gb18030").decode("cp437"))
            archive.writestr(entry, images.png(picture(int(name[2]))))
    rows = "image,label\n\u80ba/1.png,x\n\u80ba/2.png,y\n"
    file = table(tmp_path / "t.csv", rows)
    card = tables.import_data(file, tmp_path / "data.zip", tmp_path / "out", question=ASK)
    assert card["images"] == 2


def test_one_frame_of_a_file_is_named_in_the_table(tmp_path):
    pages = [picture(n) for n in range(3)]
    (tmp_path / "pictures").mkdir()
    pages[0].save(tmp_path / "pictures/stack.tif", save_all=True, append_images=pages[1:])
    text = "image,label\nstack.tif#1,x\nstack.tif#3,y\nstack.tif,y\n"
    _, card = imported(tmp_path, text, names=())
    assert card["images"] == 2
    assert "holds 3 images; name one" in "; ".join(card["skipped"][0].values())
    shown = [
        one.tobytes() for part in dataset.read(tmp_path / "out").values() for one in part["image"]
    ]
    assert sorted(shown) == sorted([pages[0].tobytes(), pages[2].tobytes()])


# ---- provenance, repetition, the command ----------------------------------------------------


def test_again_replaces_an_import_and_converts_only_what_is_new(tmp_path, monkeypatch):
    text = "image,label,id\na.png,x,one\nb.png,y,two\ngone.png,y,three\n"
    splits, card = imported(tmp_path, text)
    assert {one.id for one in everything(splits)} == {"one", "two"}
    with pytest.raises(InputError, match="already in use"):
        imported(tmp_path, text)
    loaded, load = [], images.load
    monkeypatch.setattr(images, "load", lambda *a, **k: loaded.append(a[2]) or load(*a, **k))
    picture(9).save(tmp_path / "pictures/gone.png")
    splits, card = imported(tmp_path, text, settings=ImportSettings(again=True))
    assert loaded == ["gone.png"]
    assert card["skipped"] == []
    assert len(everything(splits)) == 3
    assert not (tmp_path / "out.converted").exists()
    (tmp_path / "out.converted").mkdir()  # as if it was killed while it removed them
    (tmp_path / "out.converted/one.png").write_bytes(b"")
    with pytest.raises(InputError, match="already in use"):
        imported(tmp_path, text)
    assert not (tmp_path / "out.converted").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("kept")
    with pytest.raises(InputError, match="already in use"):
        tables.import_data(
            tmp_path / "t.csv",
            tmp_path / "pictures",
            tmp_path / "mine",
            question=ASK,
            settings=ImportSettings(again=True),
        )


def test_a_doubled_id_is_told_by_line(tmp_path):
    _, card = imported(tmp_path, "image,label,id\na.png,x,1\nb.png,y,2\nc.png,y,1\n")
    (skipped,) = card["skipped"]
    assert (skipped["where"], skipped["problem"]) == (
        "t.csv, line 4",
        "has the id of t.csv, line 2",
    )


def test_pictures_without_contrast_are_listed(tmp_path):
    folder(tmp_path / "pictures", ["a.png"])
    images.Image.new("RGB", (20, 20), "grey").save(tmp_path / "pictures/flat.png")
    _, card = imported(tmp_path, "image,label\na.png,x\nflat.png,y\n", ["a.png"])
    assert card["suspicious"] == ["flat.png"]


def test_the_command_imports_audits_and_says_what_it_skipped(tmp_path, capsys):
    names = [f"{n}.png" for n in range(20)]
    folder(tmp_path, names)
    rows = "\n".join(f"{name};{'xy'[n % 2]};p{n // 2};left" for n, name in enumerate(names))
    file = table(tmp_path / "labels.csv", "image;dx;patient_id;Eye\n" + rows)
    out, report = tmp_path / "out", tmp_path / "report.json"
    command = ["data", "import", "--table", str(file), "--out", str(out), "--question", ASK]
    assert main([*command, "--json", str(report), "--modality", "Endoscopy"]) == 0
    printed, written = capsys.readouterr().out, json.loads(report.read_text())
    assert f"{out}: 16 train, 4 test" in printed
    assert "columns not used (--columns says what one of them is): 1\n  Eye\n" in printed
    assert "nothing was skipped" in printed
    assert "test/modality/Endoscopy" in printed
    assert written["audit"]["files"]["test/modality/Endoscopy"]["patient_leak_share"] == 0
    table(file, "image;dx\n0.png;x\n1.png;y\n21.png;y\n")
    assert main([*command, "--again"]) == 1
    told = capsys.readouterr().out
    assert "records skipped (mend them and repeat" in told
    assert "not in" in told
    assert "give as --root where its path starts" in told
    assert main([*command, "--again", "--strict"]) == 2
    assert "patients are not known" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong", [["--columns", "image"], ["--window", "40"], ["--window", "4,-1"]]
)
def test_wrong_options_show_the_usage(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["data", "import", "--table", "t.csv", "--out", "o", *wrong])
    assert "usage: " in capsys.readouterr().err


@needs_real
def test_the_real_pictures_come_in_by_a_spreadsheet(tmp_path):
    known = pd.read_csv(REAL / "medvqa/provenance.csv")
    known = known[[(REAL / "medvqa" / path).is_file() for path in known["image"]]]
    known = known[known["modality"].isin(["CT", "Ultrasound"])]
    known["Patient_ID"] = [f"p{n // 2}" for n in range(len(known))]
    sheet = known[["image", "label", "modality", "Patient_ID"]]
    sheet.to_csv(tmp_path / "t.csv", sep=";", index=False, encoding="utf-8-sig")
    card = tables.import_data(
        tmp_path / "t.csv", REAL / "medvqa", tmp_path / "out", question="Which diagnosis?"
    )
    assert card["images"] == sum(card["records"].values()) == len(known)
    assert card["skipped"] == card["suspicious"] == card["one_sided"] == []
    assert {len(one.options) for one in everything(read(tmp_path / "out"))} == {3}
