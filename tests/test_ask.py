"""What `Asker` says is what the model says: beside `generate`, the evaluator and a forward pass."""

from dataclasses import replace

import numpy as np
import policies
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.data.styles import STYLES, before_letter
from medr1_lib.evaluation import ask
from medr1_lib.evaluation.ask import Asker, question_chat
from medr1_lib.model.loading import load_policy

ASKED = list(questions("test", per_cell=1))[::13]
PICTURES = [draw(question.scene) for question in ASKED]
TOKENS = 6


@pytest.fixture(scope="module")
def asker():
    return Asker(*load_policy(policies.saved(), device="cpu"), max_new_tokens=TOKENS)


@pytest.fixture(scope="module")
def chats(asker):
    return [asker.question_chat(question, "no_think") for question in ASKED]


def test_a_question_is_posed_as_in_an_evaluation(asker):
    for style in STYLES:
        for question in ASKED:
            same = question_chat(asker.processor, question, style)
            assert asker.question_chat(question, style) == same


def test_a_reply_is_what_generate_says_of_one_chat_alone(asker, chats):
    alone = []
    for chat, picture in zip(chats, PICTURES, strict=True):
        batch = asker.processor(text=[chat], images=[picture], return_tensors="pt")
        tokens = asker.model.generate(**batch, do_sample=False, max_new_tokens=TOKENS)
        new = tokens[0, batch["input_ids"].shape[1] :]
        alone.append(asker.processor.decode(new, skip_special_tokens=True))
    assert asker.complete(chats, PICTURES) == alone
    assert len(set(alone)) > 1


def test_a_sample_never_holds_an_image_and_follows_its_settings(asker, chats, monkeypatch):
    seen = []

    def noted(model, inputs, count, config):
        seen.append(config)
        return plain(model, inputs, count, config)

    plain = ask.sample_group
    monkeypatch.setattr(ask, "sample_group", noted)
    asker.sample(chats[:1], PICTURES[:1], 1)
    sampling = {"temperature": 0.5, "top_p": 0.9, "top_k": 1}
    likeliest = replace(asker, sampling=sampling)
    assert likeliest.sample(chats, PICTURES, 1) == [
        [reply] for reply in asker.complete(chats, PICTURES)
    ]
    image = asker.model.config.image_token_id
    assert all(image in config.suppress_tokens for config in seen)
    names = [*sampling]
    assert [getattr(seen[0], name) for name in names] == [1.0, 1.0, 0]
    assert [getattr(seen[1], name) for name in names] == [*sampling.values()]


def test_no_more_replies_are_sampled_together_than_a_gpu_holds(asker, chats, monkeypatch):
    monkeypatch.setattr(ask, "ROWS", 4)
    rows, plain = [], ask.sample_group
    monkeypatch.setattr(
        ask, "sample_group", lambda *given: rows.append(len(given[1]["input_ids"])) or plain(*given)
    )
    found = asker.sample([*chats, *chats], [*PICTURES, *PICTURES], 2)
    assert [len(some) for some in found] == [2] * 2 * len(chats)
    assert sum(rows) == 2 * len(chats)
    assert max(rows) <= 2


def test_samples_follow_from_the_seed_and_differ(asker, chats):
    some = asker.sample(chats, PICTURES, 3)
    assert [len(said) for said in some] == [3] * len(chats)
    assert asker.sample(chats, PICTURES, 3) == some
    assert asker.sample(chats, PICTURES, 3, seed=1) != some
    assert all(len(set(said)) == 3 for said in some)


def test_probabilities_are_those_of_a_forward_pass(asker, chats):
    found = asker.forced_probs(chats, PICTURES)
    assert found.shape == (len(chats), 4)
    assert (found.sum(1) < 1).all()  # there is room for others
    batch = asker.processor(text=chats[:1], images=PICTURES[:1], return_tensors="pt")
    with torch.no_grad():
        probs = asker.model(**batch).logits[0, -1].softmax(-1)
    letters = [asker.processor.tokenizer.convert_tokens_to_ids(letter) for letter in "ABCD"]
    np.testing.assert_allclose(found[0], probs[letters].numpy(), rtol=1e-4)


# The letters of replies

LETTERED = list(questions("test", per_cell=1))[::9]
LETTERED_PICTURES = [draw(question.scene) for question in LETTERED]
THOUGHTS = ["CT, head", "OCT, finding: drusen", "", "MRI", "Microscopy, anatomy: colon"]


@pytest.mark.parametrize("style", STYLES)
def test_letters_are_as_probable_as_in_a_forward_pass_over_the_whole_reply(asker, style):
    said = [STYLES[style].completion(*one) for one in zip("ABCDA", THOUGHTS, strict=True)]
    chats = [asker.question_chat(question, style) for question in LETTERED]
    opened = [chat + before_letter(reply, style) for chat, reply in zip(chats, said, strict=True)]
    found = asker.forced_probs(opened, LETTERED_PICTURES)
    letters = [asker.processor.tokenizer.convert_tokens_to_ids(letter) for letter in "ABCD"]
    opening = asker.processor.tokenizer.convert_tokens_to_ids("<answer>")
    for row, chat, picture, reply in zip(found, chats, LETTERED_PICTURES, said, strict=True):
        batch = asker.processor(text=[chat + reply], images=[picture], return_tensors="pt")
        with torch.no_grad():
            logits = asker.model(**batch).logits[0]
        # The prompt shows the tags too; the last one is the reply's.
        place = (batch["input_ids"][0] == opening).nonzero()[-1].item()
        probs = logits[place].softmax(-1)[letters].tolist()
        assert row.tolist() == pytest.approx(probs, rel=1e-4)


def test_of_no_chat_there_are_no_probabilities(asker):
    assert asker.forced_probs([], [], "ABC").shape == (0, 3)


def test_a_tokenizer_that_joins_tag_and_letter_is_asked_for_both():
    merged = [(">", letter) for letter in "ABCD"]
    pieces = [*"<answer>ABCD", *(">" + letter for letter in "ABCD")]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    joining = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, merged)))
    assert ask.shared_edge(joining) == ">"
    some = Tokenizer(models.BPE(vocabulary, merged[:3]))
    assert ask.shared_edge(PreTrainedTokenizerFast(tokenizer_object=some)) == ""
    assert ask.shared_edge(policies.processor().tokenizer) == ""
