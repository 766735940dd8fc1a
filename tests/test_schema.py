import numpy as np
import pytest

from medr1_lib.data.phantoms import random_scene
from medr1_lib.data.question import FEATURES, Question
from medr1_lib.errors import InputError


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
        ({"options": tuple("abcde")}, "5 options"),
        ({"options": ("liver", "lung", " ")}, "an option is empty"),
        ({"options": ("Lung", "lung ", "heart")}, "the right option 'lung ' occurs twice"),
        ({"answer": "b"}, "answer 'b' is not the letter"),
        ({"answer": ""}, "answer '' is not the letter"),
        ({"answer": "AB"}, "answer 'AB' is not the letter"),
        ({"answer": "C", "options": ("yes", "no")}, "answer 'C' is not the letter of one of 2"),
        ({"modality": "PET"}, "unknown modality 'PET'"),
        ({"question_type": "Riddle"}, "unknown question type 'Riddle'"),
    ],
)
def test_what_is_no_question_is_refused(changes, problem):
    with pytest.raises(InputError, match="question about 7") as caught:
        question(**changes)
    assert problem in str(caught.value)
