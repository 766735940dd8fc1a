from pathlib import Path

import pytest
import torch
import trainings

from medr1_lib.data import dataset
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.styles import STYLES, read_strict
from medr1_lib.errors import InputError
from medr1_lib.rl.train import make_trainer, sft_rows, sft_target


def collated(recipe, target=sft_target):
    """A trainer, what the first two questions teach, and the batch that TRL makes of them."""
    trainer = make_trainer(recipe, recipe.trl_config(Path("out")), target)
    rows = [trainer.train_dataset[index] for index in range(2)]
    taught = [row["completion"][0]["content"] for row in rows]
    return trainer, taught, trainer.data_collator(rows)


@pytest.mark.parametrize("style", STYLES)
def test_a_target_is_true_and_in_the_form_that_is_asked_for(style):
    for row in trainings.rows(20):
        text = sft_target(style, row["answer"], row["question_type"], row["scene"])
        assert read_strict(text, style) == row["answer"]
        if "<think>" in text:
            shown = Scene.from_json(row["scene"])
            assert row["answer_text"] in text
            assert shown.modality in text


def test_without_reasoning_a_target_holds_the_letter_alone():
    row = trainings.rows(1)[0]
    text = sft_target("no_think", "C", row["question_type"], row["scene"])
    assert text == "<answer>C</answer>"


@pytest.mark.parametrize("style", STYLES)
def test_the_loss_counts_the_completion_and_nothing_else(style):
    trainer, taught, batch = collated(trainings.sft(style=style))
    tokenizer = trainer.processing_class.tokenizer
    for text, labels in zip(taught, batch["labels"], strict=True):
        assert tokenizer.decode(labels[labels != -100]).strip() == text + "<|im_end|>"


def test_another_target_can_be_taught():
    def shouted(style, answer, question_type, scene):
        return f"{answer}!"

    _, taught, _ = collated(trainings.sft(), shouted)
    assert all(text.endswith("!") for text in taught)


def test_real_images_have_no_true_rationale(tmp_path):
    rows = [row | {"scene": None, "source": "real"} for row in trainings.rows(4)]
    dataset.write(tmp_path / "real", {"train": rows}, {})
    data = str(tmp_path / "real")
    for style in ("think_before", "think_after"):
        with pytest.raises(InputError, match=f"so {style} has no true rationale; use --style no"):
            sft_rows(trainings.sft(style=style, data=data))
    assert len(sft_rows(trainings.sft(data=data))) == 4


def test_the_tower_is_asked_once_per_image_and_the_adapter_is_in_float32():
    trainer, _, batch = collated(trainings.sft(quantize="nf4"))
    trained = {p.dtype for p in trainer.model.parameters() if p.requires_grad}
    assert trained == {torch.float32}
    cache = trainer.model.get_base_model().model.get_image_features
    for _ in range(2):
        trainer.model(**batch)
    assert (cache.encoded, cache.reused) == (2, 2)
