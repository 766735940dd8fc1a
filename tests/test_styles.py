"""Styles: the form that a prompt shows pays, and no other form does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medr1_lib.data.question import LETTERS
from medr1_lib.data.styles import (
    ALL_STYLES,
    STYLES,
    VARIANTS,
    before_letter,
    check_style,
    listed,
    prompt,
    read,
    read_strict,
    thought,
)
from medr1_lib.errors import InputError

OPTIONS = ("CT", "MRI", "X-Ray", "a clear, large mass")
BEFORE, NONE, AFTER = STYLES
PIECES = ["<think>", "</think>", "<answer>", "</answer>", "A", "b", "C)", "D) CT", "CT", " ", "\n"]
completions = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


@pytest.mark.parametrize("asked", STYLES, ids=STYLES)
@pytest.mark.parametrize("letter", LETTERS)
def test_the_form_that_the_prompt_shows_is_read_as_correct(asked, letter):
    assert STYLES[asked].form in prompt("Which?", OPTIONS, asked)
    shown = STYLES[asked].form.replace("X", letter)
    assert read_strict(shown, asked) == letter
    assert read(shown, OPTIONS) == letter
    assert (
        read_strict(STYLES[asked].completion(letter, "some reasons\non two lines"), asked) == letter
    )


@pytest.mark.parametrize("asked", STYLES, ids=STYLES)
def test_a_form_pays_in_its_own_style_only(asked):
    for other in STYLES:
        said = STYLES[other].completion("A", "so")
        assert (read_strict(said, asked) == "A") == (other == asked)


@pytest.mark.parametrize(
    ("completion", "asked"),
    [
        ("<answer>C)</answer>", NONE),
        ("<answer>C) CT</answer>", NONE),
        ("<answer>I</answer>", NONE),
        ("<answer></answer>", NONE),
        ("<answer>A</answer> hope it helps", NONE),
        ("<answer>A</answer><answer>A</answer>", NONE),
        ("<answer><answer>A</answer></answer>", NONE),
        ("A", NONE),
        ("<think>so <answer>A</answer></think>", BEFORE),
        ("<think>so <answer>A</answer></think><answer>A</answer>", BEFORE),
        ("<think>so</think><think>so</think><answer>A</answer>", BEFORE),
        ("<think>so<answer>A</answer>", BEFORE),
        ("so<answer>A</answer>", BEFORE),
        ("<answer>A</answer><think>so", AFTER),
        ("<answer>A</answer>", AFTER),
    ],
)
def test_nothing_else_pays(completion, asked):
    assert read_strict(completion, asked) is None


@pytest.mark.parametrize("asked", VARIANTS)
def test_a_variant_is_read_like_the_others(asked):
    said = ALL_STYLES[asked].completion("C", "so")
    assert read_strict(said, asked) == read(said, OPTIONS) == "C"
    assert read_strict(said + "so", asked) is None
    opened = before_letter(said, asked)
    assert said.startswith(opened + "C")


def test_adaptive_pays_for_both_forms_and_opens_the_letter_of_each():
    for said in ("<answer>B</answer>", "<think>so</think><answer>B</answer>"):
        assert read_strict(said, "adaptive") == "B"
        assert before_letter(said, "adaptive") == said.partition("B")[0]
    assert ALL_STYLES["adaptive"].completion("B") == "<answer>B</answer>"


def test_the_words_of_the_other_paper_are_asked_in():
    asked = prompt("Which?", OPTIONS, "reason_after")
    assert asked.endswith("brief reasoning process in <reason> </reason> tags.")
    said = "<answer>B</answer><reason>CT</reason>"
    assert (read_strict(said, "reason_after"), thought(said)) == ("B", "CT")
    assert read_strict("<answer>B</answer><think>CT</think>", "reason_after") is None


def test_a_style_for_asking_only_is_no_style_to_train_in():
    check_style("dummy_after")
    with pytest.raises(InputError, match="is for asking only"):
        check_style("empty_think")


def test_white_space_and_case_are_free():
    assert read_strict(" \n<think>\nso\n</think>\n<answer>\n b \n</answer>\n", BEFORE) == "B"


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        ("<answer>b</answer>", "B"),
        ("<answer> B) </answer>", "B"),
        ("<answer>B)MRI</answer>", "B"),
        ("<answer>B) mri.</answer>", "B"),
        ("<answer>B) CT</answer>", None),
        ("<answer>mri</answer>", "B"),
        ("<answer>A clear,  large mass.</answer>", "D"),
        ("<answer>PET</answer>", None),
        ("<answer>A or B</answer>", None),
        ("<answer>A</answer> no, <answer>B</answer>", "B"),
        ("<answer>A <answer>B</answer>", "B"),
        ("<think><answer>A</answer></think> <answer>B</answer>", "B"),
        ("<answer>B</answer><think><answer>A</answer></think>", "B"),
        ("<think><answer>A</answer></think>", None),
        ("<think>never closed <answer>A</answer>", None),
        ("<answer>A", None),
        (" c ", "C"),
        ("<think>so</think> c", "C"),
        ("C) X-Ray", "C"),
        ("the answer is C", "C"),
        ("", None),
    ],
)
def test_tolerant_reading(completion, letter):
    assert read(completion, OPTIONS) == letter


def test_an_answer_must_be_among_the_options_and_unambiguous():
    assert read("<answer>C</answer>", ("yes", "no")) is None
    assert read("<answer>no</answer>", ("yes", "no", "No.")) is None


@given(completions, st.sampled_from(list(STYLES)))
def test_reading_never_raises_and_strict_takes_one_answer_block(completion, asked):
    letter = read_strict(completion, asked)
    tolerant = read(completion, OPTIONS)
    assert tolerant is None or tolerant in LETTERS
    if letter is not None:
        assert completion.count("<answer>") == completion.count("</answer>") == 1
        assert completion.count("<think>") == ("<think>" in STYLES[asked].form)
        assert tolerant == letter


@given(st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True), st.data())
def test_the_text_of_a_letter_is_read_as_that_letter_or_not_at_all(options, data):
    place = data.draw(st.integers(0, len(options) - 1))
    letter = LETTERS[place]
    answers = (f"<answer>{letter}</answer>", f"<answer>{letter})</answer>")
    assert {read(answer, options) for answer in answers} == {letter}


def test_options_are_listed_as_the_real_files_do():
    assert listed(OPTIONS) == "A)CT, B)MRI, C)X-Ray, D)a clear, large mass"
    assert listed(OPTIONS[:2]) == "A)CT, B)MRI"


def test_an_unknown_style_is_refused():
    with pytest.raises(InputError, match="think_before, no_think, think_after"):
        check_style("think")
    check_style("no_think")


def test_a_rationale_keeps_its_own_letters():
    asked = "think_before"
    assert STYLES[asked].completion("B", "X-Ray") == "<think>X-Ray</think><answer>B</answer>"


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("<think>a</think><answer>B</answer>", "a"),
        ("<answer>B</answer><think>a\nb</think>", "a\nb"),
        ("<answer>B</answer><think>a", "a"),
        ("<think>a<answer>B</answer>", "a"),
        ("<answer>B</answer>", ""),
    ],
)
def test_a_thought_is_found_though_it_is_not_closed(completion, text):
    assert thought(completion) == text


# A reply, the letter that we read in it, and what VLMEvalKit's rules (`can_infer`, at e8e78f0 of
# 2026-08-18, without a judge model) make of it; `Z` is their word for a refusal. Both know the
# options of `ORGANS`.
ORGANS = ("liver", "lung", "a mass", "cyst")
REPLIES = [
    ("B", "B", "B"),
    ("b", "B", None),
    ("B.", "B", "B"),
    ("B)", "B", "B"),
    ("(B)", "B", "B"),
    ("[B]", "B", "B"),
    ("**B**", "B", "B"),
    ("Option B", "B", "B"),
    ("option b", "B", None),
    ("Answer: B", "B", "B"),
    ("ANSWER: B", "B", "B"),
    ("The answer is B.", "B", "B"),
    ("The answer is B because air is dark", "B", "B"),
    ("The best option is (B).", "B", "B"),
    ("The correct answer is **B**. Here is why: air is black.", "B", "B"),
    (r"\boxed{B}", "B", "B"),
    ('{"answer": "B"}', "B", None),
    ('{"answer": "B", "reason": "dark"}', "B", None),
    ("B: lung", "B", "B"),
    ("(B) lung", "B", "B"),
    ("Lung.", "B", "B"),
    ("\uff22", "B", None),  # full width
    ("\uff08\uff42\uff09", "B", None),
    ("Air is dark here.\n\nAnswer: B", "B", "B"),
    ("B\n\nThe image shows air.", "B", None),
    ("The answer is lung.", "B", "B"),
    ("<think>A or C</think><answer>B</answer>", "B", None),
    # Articles, denials and more than one: we read nothing rather than guess.
    ("The answer is a mass.", "C", "A"),
    ("A mass is seen.", None, "A"),
    ("A scan of the chest", None, None),
    ("not B", None, "B"),
    ("The answer is not B", None, "B"),
    ("vitamin B", None, "B"),
    ("B lung", None, "B"),
    ("B) liver", None, "B"),
    ("The answer is B) liver.", None, "B"),
    ("A or B", None, None),
    ("The answer is A or B", None, "A"),
    ("The answer is A. No, the answer is B.", None, "A"),
    ("Option A is wrong, option B is right.", None, None),
    ("I think it is the lung.", None, "B"),
    ("It is a liver or a lung.", None, None),
    ("A) liver\nB) lung\nC) a mass\nD) cyst", None, None),
    ("A) liver\nB) lung\nC) a ma", None, None),
    ("E", None, None),
    ("", None, None),
    ("I cannot tell.", None, None),
    ("Sorry, I can't help with images of people yet.", None, "Z"),
]


@pytest.mark.parametrize(("reply", "ours", "theirs"), REPLIES)
def test_what_models_write_is_read_or_left_beside_vlmevalkits_rules(reply, ours, theirs):
    assert read(reply, ORGANS) == ours
    if theirs in [*LETTERS]:  # where both read a letter of a plain statement they agree
        assert ours in (None, theirs) or reply == "The answer is a mass."


def test_the_column_of_vlmevalkit_is_what_it_says_itself():
    rules = pytest.importorskip("vlmeval.utils.matching_util", reason="VLMEvalKit is not here")
    for reply, _, theirs in REPLIES:
        letters = dict(zip(LETTERS, ORGANS, strict=True))
        assert (rules.can_infer(reply, letters) or None) == theirs, reply


@pytest.mark.parametrize("letter", "EFGH")
def test_a_question_of_eight_options_has_eight_letters(letter):
    eight = [f"grade {n}" for n in range(8)]
    for said in (
        letter,
        f"**{letter.lower()}**",
        f"<answer>{letter}</answer>",
        f"answer: {letter}",
    ):
        assert read(said, eight) == letter
        assert read(said, eight[:4]) is None
    assert read(f"grade {ord(letter) - 65}", eight) == letter


@pytest.mark.parametrize(
    "piece", ["answer is ", "answer: B ", "\n", "B\n", "option is B. ", 'answer:"']
)
def test_a_long_reply_is_read_in_linear_time(piece):
    def seconds(count):
        start = time.process_time()
        read(piece * count, ORGANS)
        return time.process_time() - start

    seconds(10)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.002)
