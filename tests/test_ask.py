"""What `Asker` says is what the model says: beside `generate`, the evaluator and a forward pass."""

import numpy as np
import policies
import pytest
import torch
from PIL import Image

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.data.styles import STYLES
from medr1_lib.evaluation.ask import Asker
from medr1_lib.evaluation.greedy import draft
from medr1_lib.model.loading import load_policy

ASKED = list(questions("test", per_cell=1))[::13]
PICTURES = [draw(question.scene) for question in ASKED]
TOKENS = 6


@pytest.fixture(scope="module")
def asker():
    return Asker(*load_policy(policies.saved(), device="cpu"), max_new_tokens=TOKENS)


@pytest.fixture(scope="module")
def chats(asker):
    return [asker.posed(question, "no_think") for question in ASKED]


def test_a_question_is_posed_as_in_an_evaluation(asker):
    for style in STYLES:
        for question in ASKED:
            same = draft(asker.processor, question, style, sees=True).prompt
            assert asker.posed(question, style) == same


def test_a_reply_is_what_generate_says_of_one_chat_alone(asker, chats):
    alone = []
    for chat, picture in zip(chats, PICTURES, strict=True):
        batch = asker.processor(text=[chat], images=[picture], return_tensors="pt")
        tokens = asker.model.generate(**batch, do_sample=False, max_new_tokens=TOKENS)
        new = tokens[0, batch["input_ids"].shape[1] :]
        alone.append(asker.processor.decode(new, skip_special_tokens=True))
    assert asker.reply(chats, PICTURES) == alone
    assert len(set(alone)) > 1


def test_samples_follow_from_the_seed_and_differ(asker, chats):
    some = asker.sample(chats, PICTURES, 3)
    assert [len(said) for said in some] == [3] * len(chats)
    assert asker.sample(chats, PICTURES, 3) == some
    assert asker.sample(chats, PICTURES, 3, seed=1) != some
    assert all(len(set(said)) == 3 for said in some)


def test_the_odds_are_those_of_a_forward_pass(asker, chats):
    found = asker.odds(chats, PICTURES, "ABCD")
    assert found.shape == (len(chats), 4)
    batch = asker.processor(text=chats[:1], images=PICTURES[:1], return_tensors="pt")
    with torch.no_grad():
        odds = asker.model(**batch).logits[0, -1].softmax(-1)
    letters = [asker.processor.tokenizer.convert_tokens_to_ids(letter) for letter in "ABCD"]
    np.testing.assert_allclose(found[0], odds[letters].numpy(), rtol=1e-4)


def test_the_odds_of_some_words_leave_room_for_others(asker, chats):
    words = list(asker.processor.tokenizer.get_vocab())[:50]
    assert (asker.odds(chats, PICTURES, words) > 0).all()
    assert (asker.odds(chats, PICTURES, "ABCD").sum(1) < 1).all()


def test_occlusion_covers_one_tile_after_the_other(asker, chats, monkeypatch):
    """With odds that count the grey pixels of a corner, only its tile makes a difference."""
    seen = []

    def odds(self, chats, pictures, words):
        seen.extend(np.asarray(picture) for picture in pictures)
        assert len(chats) == len(pictures)
        return np.array([[(np.asarray(p)[:14, 14:28] != 128).any()] for p in pictures], float)

    monkeypatch.setattr(Asker, "odds", odds)
    picture = Image.new("RGB", (42, 28), "white")
    fall = asker.occlusion(chats[0], picture, "A", side=14)
    np.testing.assert_array_equal(fall, [[0, 1, 0], [0, 0, 0]])
    assert [int((image == 128).all(2).sum()) for image in seen] == [0, *[14 * 14] * 6]
    assert (np.asarray(picture) == 255).all()


def test_occlusion_is_in_units_of_probability(asker, chats):
    fall = asker.occlusion(chats[0], PICTURES[0], "A")
    whole = asker.odds(chats[:1], PICTURES[:1], "A")[0, 0]
    assert fall.shape == (4, 4)
    assert (whole - fall > 0).all()
    assert fall.std() > 0
