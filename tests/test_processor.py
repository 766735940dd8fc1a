"""The processor: short prompts, one token per letter, tag and answer, any text there and back."""

import importlib.resources

import policies
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.question import LETTERS
from medr1_lib.data.styles import listed, prompt
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor
from tools.pretrain.tiny import TAGS, phrases, tiny_processor

IMAGE = Image.new("RGB", (112, 112), "grey")


def messages(text):
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}]


@pytest.mark.parametrize("word", [*LETTERS, *TAGS, *phrases()])
def test_letters_tags_and_answers_are_one_token_each_and_survive_decoding(word):
    tokenizer = policies.processor().tokenizer
    ids = tokenizer(word)["input_ids"]
    assert len(ids) == 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == word


def test_a_letter_is_the_same_token_in_the_options_and_in_the_answer():
    tokenizer = policies.processor().tokenizer
    options = tokenizer.tokenize(listed(["lung", "liver", "heart", "brain"]))
    assert [token for token in options if token in LETTERS] == list(LETTERS)
    assert tokenizer.tokenize("<answer>C</answer>") == ["<answer>", "C", "</answer>"]


def test_an_answer_is_a_token_only_as_a_whole_word():
    assert "mass" not in policies.processor().tokenizer.tokenize("massive")


def test_prompts_are_short_and_hold_sixteen_image_tokens():
    processor = policies.processor()
    question = next(questions("test"))
    text = prompt(question.question, question.options, "think_before")
    chat = processor.apply_chat_template(messages(text), add_generation_prompt=True)
    inputs = processor(text=[chat], images=[IMAGE], return_tensors="pt")
    ids = inputs["input_ids"][0]
    assert (ids == processor.image_token_id).sum() == 16
    assert len(ids) <= 64
    assert inputs["image_grid_thw"].tolist() == [[1, 8, 8]]


def test_the_chat_template_is_that_of_qwen_without_its_system_prompt():
    processor = policies.processor()
    theirs = importlib.resources.files("trl").joinpath("chat_templates/qwen2_5_vl.jinja")
    asked = messages("Which organ?")
    full = processor.apply_chat_template(
        asked, chat_template=theirs.read_text(), add_generation_prompt=True
    )
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    assert full == system + processor.apply_chat_template(asked, add_generation_prompt=True)


def test_it_is_the_same_every_time_and_after_saving(tmp_path):
    first, second = tiny_processor(), tiny_processor()
    assert first.tokenizer.get_vocab() == second.tokenizer.get_vocab()
    first.save_pretrained(tmp_path)
    loaded = ImageOnlyQwen2VLProcessor.from_pretrained(tmp_path)
    assert loaded.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    assert loaded.chat_template == first.chat_template
    assert loaded.tokenizer.padding_side == "left"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_any_text_is_decoded_as_it_was(text):
    tokenizer = policies.processor().tokenizer
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
