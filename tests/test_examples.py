import numpy as np
import policies
import pytest
import trainings

from medr1_lib.data import dataset
from medr1_lib.data.question import Question
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from medr1_lib.evaluation.ask import question_chat
from medr1_lib.rl.train import grpo_rows, sft_rows


def stored(tmp_path, rows, split="train"):
    dataset.write(tmp_path / "data", {split: rows}, {})
    return str(tmp_path / "data")


@pytest.mark.parametrize("style", STYLES)
def test_a_model_is_trained_on_the_prompt_that_it_is_examined_with(style):
    processor = policies.processor()
    by_id = {row["image_id"]: Question.from_record(row) for row in trainings.rows(20)}
    for row in list(grpo_rows(trainings.grpo(style=style)))[:5]:
        question = by_id[row["image_id"]]
        (turn,) = row["prompt"]
        parts = [{"type": "image"}, {"type": "text", "text": turn["content"]}]
        chat = processor.apply_chat_template(
            [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
        )
        assert chat == question_chat(processor, question, style)
        assert row["answer"] == question.answer
        assert row["image"].mode == "RGB"


def test_both_methods_meet_the_same_questions_in_the_order_of_the_seed():
    grpo, sft = grpo_rows(trainings.grpo()), sft_rows(trainings.sft())
    assert grpo["image_id"] == sft["image_id"]
    assert sorted(grpo["image_id"]) == sorted(grpo_rows(trainings.grpo(seed=1))["image_id"])
    assert grpo["image_id"] != grpo_rows(trainings.grpo(seed=1))["image_id"]


def test_filters_keep_what_was_asked_for():
    kinds = ("Lesion Grading", "Disease Diagnosis")
    table = grpo_rows(trainings.grpo(modality=("mri",), question_type=kinds))
    found = set(zip(table["modality"], table["question_type"], strict=True))
    assert found == {("MRI", kind) for kind in kinds}
    with pytest.raises(InputError, match="no question of OCT, Lesion Grading; loosen"):
        grpo_rows(trainings.grpo(modality=("OCT",), question_type=("Lesion Grading",)))


def test_a_group_of_rollouts_shares_one_decoded_image():
    table = grpo_rows(trainings.grpo())
    first, again, other = table.__getitems__([0, 0, 1])
    assert first["image"] is again["image"]
    assert not np.array_equal(np.asarray(first["image"]), np.asarray(other["image"]))


def test_reading_leaves_the_data_set_as_it_was(tmp_path):
    data = stored(tmp_path, trainings.rows(4))
    before = sorted(tmp_path.rglob("*"))
    list(grpo_rows(trainings.grpo(data=data)))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("image", [None, {"bytes": b"", "path": None}], ids=["none", "empty"])
def test_a_record_without_its_image_is_named(tmp_path, image):
    rows = trainings.rows(4)
    rows[2]["image"] = image
    with pytest.raises(
        InputError, match=rf"train record 2 \({rows[2]['image_id']}\): has no image"
    ):
        grpo_rows(trainings.grpo(data=stored(tmp_path, rows)))


def test_a_damaged_image_is_named_when_it_is_met(tmp_path):
    rows = trainings.rows(4)
    rows[2]["image"] = {"bytes": rows[2]["image"]["bytes"][:300], "path": None}
    table = grpo_rows(trainings.grpo(data=stored(tmp_path, rows)))
    with pytest.raises(InputError, match=f"{rows[2]['image_id']}, its image: is damaged"):
        list(table)


def test_data_without_a_train_split_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no train split"):
        grpo_rows(trainings.grpo(data=stored(tmp_path, trainings.rows(2), "test")))
