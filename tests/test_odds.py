"""The odds of the letters are those at the place where the reply has its own."""

import numpy as np
import policies
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.data.styles import STYLES
from medr1_lib.evaluation import odds
from medr1_lib.evaluation.ask import Asker
from medr1_lib.evaluation.odds import letter_odds
from medr1_lib.model.loading import load_policy

ASKED = list(questions("test", per_cell=1))[::9]
PICTURES = [draw(question.scene) for question in ASKED]
SAID = ["CT, head", "OCT, finding: drusen", "", "MRI", "Microscopy, anatomy: colon"]


@pytest.fixture(scope="module")
def asker():
    return Asker(*load_policy(policies.saved(), device="cpu"), max_new_tokens=4)


def replies(style, letters="ABCDA"):
    said = zip(letters, SAID, strict=True)
    return [STYLES[style].completion(letter, thought) for letter, thought in said]


@pytest.mark.parametrize("style", STYLES)
def test_the_odds_are_those_that_a_forward_pass_over_the_whole_reply_gives(asker, style):
    said = replies(style)
    found = letter_odds(asker, ASKED, PICTURES, said, style, batch_size=2)
    assert found["item"].tolist() == list(range(len(ASKED)))
    letters = [asker.processor.tokenizer.convert_tokens_to_ids(letter) for letter in "ABCD"]
    opening = asker.processor.tokenizer.convert_tokens_to_ids("<answer>")
    for row, question, picture, reply in zip(
        found.to_dict("records"), ASKED, PICTURES, said, strict=True
    ):
        whole = [asker.posed(question, style) + reply]
        batch = asker.processor(text=whole, images=[picture], return_tensors="pt")
        with torch.no_grad():
            logits = asker.model(**batch).logits[0]
        # The prompt shows the tags too; the last one is the reply's.
        place = (batch["input_ids"][0] == opening).nonzero()[-1].item()
        odds = logits[place].softmax(-1)[letters].tolist()
        assert [row[letter] for letter in "ABCD"] == pytest.approx(odds, rel=1e-4)


def test_confidence_is_that_in_the_letter_that_was_said(asker):
    said = replies("no_think", "abcda")
    found = letter_odds(asker, ASKED, PICTURES, said, "no_think")
    assert found["chosen"].tolist() == list("ABCDA")
    for row in found.to_dict("records"):
        assert row["confidence"] == row[row["chosen"]]
        assert row["correct"] == (row["chosen"] == ASKED[row["item"]].answer)
    assert found["confidence"].nunique() == len(ASKED)
    right = [STYLES["no_think"].completion(question.answer) for question in ASKED]
    assert letter_odds(asker, ASKED, PICTURES, right, "no_think")["correct"].all()


def test_replies_in_another_form_are_left_out_and_white_space_is_not(asker):
    said = replies("think_before")
    said[1], said[3] = "<answer>B</answer>", said[3].replace("<answer>D", "<answer>\n D")
    found = letter_odds(asker, ASKED, PICTURES, said, "think_before")
    assert found["item"].tolist() == [0, 2, 3, 4]
    usual = letter_odds(asker, ASKED, PICTURES, replies("think_before"), "think_before")
    np.testing.assert_allclose(found["confidence"], usual["confidence"][[0, 2, 3, 4]], rtol=1e-4)
    empty = letter_odds(asker, ASKED, PICTURES, said[1:2], "think_before")
    assert len(empty) == 0
    assert list(empty.columns) == list(found.columns)


def test_a_tokenizer_that_joins_tag_and_letter_is_asked_for_both():
    merged = [(">", letter) for letter in "ABCD"]
    pieces = [*"<answer>ABCD", *(">" + letter for letter in "ABCD")]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    joining = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(vocabulary, merged)))
    assert odds._edge(joining) == ">"
    some = Tokenizer(models.BPE(vocabulary, merged[:3]))
    assert odds._edge(PreTrainedTokenizerFast(tokenizer_object=some)) == ""
    assert odds._edge(policies.processor().tokenizer) == ""
