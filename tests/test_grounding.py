"""Claims are held against the scene, and nothing else is."""

import numpy as np
import pandas as pd
import pytest

from medr1_lib.analysis import grounding
from medr1_lib.analysis.stats import rate_table
from medr1_lib.data.phantom_vqa import ATTRIBUTES, questions
from medr1_lib.data.question import LETTERS
from medr1_lib.data.rationale import claimed
from medr1_lib.data.rationale import rationale as true_rationale
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from tools.pretrain.examples import caption

ASKED = list(questions("test", per_cell=2))


def record(item, thought, letter=None, **columns):
    question = ASKED[item]
    return {
        "model": "m",
        "style": "think_before",
        "test": "phantoms",
        "control": "none",
        "item": item,
        "question": question.question,
        "options": np.array(question.options),
        "answer": question.answer,
        "completion": STYLES["think_before"].completion(letter or question.answer, thought),
        "parsed": letter or question.answer,
        "scene": question.scene.to_json(),
    } | columns


def scored(*records):
    return grounding.score(pd.DataFrame(list(records)))


def about(question_type):
    return next(i for i, question in enumerate(ASKED) if question.question_type == question_type)


def truth(item):
    scene = ASKED[item].scene
    return scene, true_rationale(scene, ATTRIBUTES[ASKED[item].question_type])


def test_what_the_base_was_taught_is_true_complete_and_agrees():
    found = scored(*(record(item, truth(item)[1]) for item in range(len(ASKED))))
    anatomy = [q.question_type == "Anatomy Identification" for q in ASKED]
    assert found["claims"].tolist() == np.where(anatomy, 2, 3).tolist()
    for column in ("names_modality", "names_anatomy", "names_asked", "asked_true", "agrees"):
        assert found[column].all(), column
    assert not found["garbled"].any()
    assert found["false_claims"].sum() == 0


def test_a_true_caption_has_no_false_claim_and_every_claim_against_another_scene_may_be_one():
    for item in range(len(ASKED)):
        row = scored(record(item, caption(truth(item)[0]))).iloc[0]
        assert (row["claims"], row["false_claims"]) == (6 if truth(item)[0].grade else 4, 0)
    other = scored(record(0, "MRI, brain, grade: severe, acquisition: pelvis")).iloc[0]
    assert (other["claims"], other["false_claims"]) == (4, 4)


def test_a_grade_of_a_lesion_that_is_not_there_is_false():
    item = next(i for i, q in enumerate(ASKED) if q.scene.grade is None)
    assert scored(record(item, "grade: mild, place: upper left"))["false_claims"].item() == 2


@pytest.mark.parametrize(
    ("text", "claims", "rest"),
    [
        ("", [], []),
        ("CT, head", [("modality", "CT"), ("anatomy", "head")], []),
        ("OCT,  , finding: drusen", [("modality", "OCT"), ("finding", "drusen")], []),
        ("finding: mass, finding: cyst", [("finding", "mass"), ("finding", "cyst")], []),
        ("it is not a mass, mass", [("finding", "mass")], ["it is not a mass"]),
        ("place: D", [], ["place: D"]),
        ("grade: mildDDD", [], ["grade: mildDDD"]),
        ("scanner: mild, : CT", [], ["scanner: mild", ": CT"]),
    ],
)
def test_claims_are_told_from_the_rest(text, claims, rest):
    assert claimed(text) == (claims, rest)


def test_agreement_is_with_the_letter_answered_right_or_wrong():
    item = about("Disease Diagnosis")
    options, answer = ASKED[item].options, LETTERS.index(ASKED[item].answer)
    wrong = (answer + 1) % 4
    letter, named = LETTERS[wrong], f"finding: {options[wrong]}"
    both = f"not {options[answer]}, {named}"
    found = scored(
        record(item, named, letter),  # wrong, and of one mind
        record(item, named),  # the letter is right, the claim is not
        record(item, both, letter),  # the right option is named to reject it
        record(item, both),  # and answered all the same
        record(item, truth(item)[1], letter),  # the claim is right, the letter is not
        record(item, truth(item)[1], parsed=None),
        record(item, "CT, head"),
    )
    assert found["agrees"].tolist() == [True, False, True, False, False, False, False]
    assert found["asked_true"].tolist() == [False, False, False, False, True, True, False]
    assert found["has_letter"].tolist() == [True, True, True, True, True, False, True]
    table = rate_table(found, ["model"], grounding.MEASURES).set_index("measure")
    assert table.loc["agreement", ["n", "value"]].tolist() == [6, 2 / 6]
    assert table.loc["right about what is asked", ["n", "value"]].tolist() == [6, 2 / 6]


def test_rates_over_claims_weigh_claims_and_styles_without_reasons_are_left_out():
    item = about("Lesion Grading")
    scene, said = truth(item)
    false = next(name for name in ("MRI", "OCT") if name != scene.modality)
    found = scored(
        record(item, said),
        record(item, false),
        record(item, said, style="no_think"),
    )
    assert len(found) == 2
    table = rate_table(found, ["style"], grounding.MEASURES).set_index("measure")
    assert table.loc["hallucination", ["n", "value"]].tolist() == [4, 0.25]
    assert table.loc["names anatomy", "value"] == 0.5


def test_real_images_have_no_truth_to_score_against():
    with pytest.raises(InputError, match="some have no scene; real images"):
        scored(record(0, "CT", scene=None))
