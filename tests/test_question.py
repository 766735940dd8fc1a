import numpy as np
import pytest

from medr1_lib.data.dataset import FEATURES
from medr1_lib.data.phantoms import random_scene
from medr1_lib.data.question import AXES, QUESTION_TYPES, Question, canonical, in_order
from medr1_lib.errors import InputError

# the names of Med-R1's files and OmniMedVQA's `modality_type`, letter by letter
RELEASED = {
    "CT(Computed Tomography)": "CT",
    "Dermoscopy": "Dermoscopy",
    "Fundus Photography": "Fundus Photography",
    "MR (Mag-netic Resonance Imaging)": "MRI",
    "Microscopy Images": "Microscopy",
    "OCT (Optical Coherence Tomography": "OCT",
    "X-Ray": "X-Ray",
    "ultrasound": "Ultrasound",
    "unknown": "unknown",
}
SHORT = {
    "CT": "CT",
    "MRI": "MRI",
    "US": "Ultrasound",
    "Der": "Dermoscopy",
    "FP": "Fundus Photography",
}


def question(**changes):
    fields = {
        "question": "Which organ?",
        "options": ("liver", "lung", "heart", "spleen"),
        "answer": "B",
        "modality": "CT",
        "question_type": "Anatomy Identification",
        "image_id": "7",
        "source": "demo",
    }
    return Question(**fields | changes)


def test_a_record_has_every_feature_and_comes_back_as_it_was():
    asked = question(scene=random_scene(np.random.default_rng(0), "CT"))
    record = asked.record(image=None)
    assert set(record) == set(FEATURES)
    assert record["answer_text"] == "lung"
    assert Question.from_record(record) == asked


@pytest.mark.parametrize(
    "options", [("yes", "no"), ("a", "b", "c"), ("SPECT", "CT", "SPECT", "US")]
)
def test_two_or_three_options_and_a_repeated_wrong_one_are_fine(options):
    assert question(options=options).answer_text == options[1]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"question": " "}, "the question is empty"),
        ({"options": ("lung",), "answer": "A"}, "1 options"),
        ({"options": tuple("abcdefghi")}, "9 options"),
        ({"options": ("liver", "lung", " ")}, "an option is empty"),
        ({"options": ("Lung", "lung ", "heart")}, "the right option 'lung ' occurs twice"),
        ({"answer": "b"}, "answer 'b' is not the letter"),
        ({"answer": ""}, "answer '' is not the letter"),
        ({"answer": "AB"}, "answer 'AB' is not the letter"),
        ({"answer": "C", "options": ("yes", "no")}, "answer 'C' is not the letter of one of 2"),
        ({"modality": " "}, "its modality or question type is empty"),
        ({"question_type": ""}, "its modality or question type is empty"),
    ],
)
def test_what_is_no_question_is_refused(changes, problem):
    with pytest.raises(InputError, match="question about 7") as caught:
        question(**changes)
    assert problem in str(caught.value)


@pytest.mark.parametrize("name", [*RELEASED, *SHORT])
def test_every_real_spelling_of_a_modality(name):
    assert canonical("modality", name) == (RELEASED | SHORT)[name]


@pytest.mark.parametrize("axis", ["modality", "question_type"])
def test_a_canonical_name_is_its_own_in_either_case(axis):
    for name in AXES[axis]:
        spelled = (name, name.lower(), name.upper())
        assert [canonical(axis, other) for other in spelled] == [name] * 3


def test_a_question_type_by_its_initials():
    for name in QUESTION_TYPES:
        assert canonical("question_type", "".join(word[0] for word in name.split())) == name


@pytest.mark.parametrize(("axis", "name"), [("modality", "Endoscopy"), ("question_type", "Riddle")])
def test_another_name_is_taken_as_it_is_but_an_empty_one(axis, name):
    assert canonical(axis, f"  {name} ") == name
    assert getattr(question(**{axis: name}), axis) == name
    with pytest.raises(InputError, match=f"{axis.replace('_', ' ')}: the name is empty"):
        canonical(axis, " ")


@pytest.mark.parametrize("code", ["XR", "DX", "CR", "Radiography", "MR", "MRI scan", "US", "ct"])
def test_the_codes_of_dicom_name_the_study_s_modalities(code):
    assert canonical("modality", code) in {"X-Ray", "MRI", "Ultrasound", "CT"}


def test_names_are_told_in_the_study_s_order_and_strangers_after_them():
    names = ["unknown", "PET", "MRI", "CT", "Endoscopy", "CT"]
    assert in_order("modality", names) == ["CT", "MRI", "Endoscopy", "PET", "unknown"]


def test_eight_options_have_eight_letters():
    asked = question(options=tuple("abcdefgh"), answer="H")
    assert (asked.letters, asked.answer_text) == ("ABCDEFGH", "h")


def test_a_question_without_an_id_gets_one_from_its_content_also_when_it_comes_back():
    asked, other = question(), question(options=("liver", "lung"))
    assert asked.id == question().id != other.id
    record = asked.record(None)
    assert Question.from_record(record).id == asked.id
    del record["id"]
    assert Question.from_record(record).id == asked.id
    assert Question.from_record(question(id="mine-7").record(None)).id == "mine-7"


def test_options_turn_and_the_right_one_stays_right():
    question = Question("Which?", ("a", "b", "c"), "A", "CT", "Anatomy Identification", "ct", "x")
    found = [question.rotated(places) for places in range(3)]
    assert [one.options for one in found] == [("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b")]
    assert [one.answer for one in found] == ["A", "C", "B"]
    assert {one.answer_text for one in found} == {"a"}
    assert {one.id for one in found} == {question.id}
