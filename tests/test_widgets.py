"""Every control of every widget is moved, and what is shown follows it."""

import html
import re
from dataclasses import replace

import ipywidgets
import pytest

from medr1_lib.course import widgets
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.question import LETTERS, MODALITIES, QUESTION_TYPES
from medr1_lib.errors import InputError

QUESTIONS = list(questions("test", per_cell=2))


@pytest.fixture
def browser():
    return widgets.DataBrowser(QUESTIONS)


def controls(widget):
    """What a reader can move, at any depth."""
    if isinstance(widget, ipywidgets.Box):
        return [control for child in widget.children for control in controls(child)]
    return [] if isinstance(widget, ipywidgets.HTML) else [widget]


def test_the_controls_are_those_that_are_tested_here(browser):
    tested = {browser.modality, browser.question_type, browser.number, browser.reveal}
    assert set(controls(browser)) == tested
    assert all(control.description for control in tested), "a control without a name"


def test_the_first_question_is_shown_without_its_answer(browser):
    assert browser.shown is QUESTIONS[0]
    assert html.escape(QUESTIONS[0].question) in browser.view.value
    assert "Answer: hidden" in browser.view.value
    assert "(right)" not in browser.view.value


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_modality_chooses(browser, modality):
    browser.modality.value = modality
    assert browser.shown.modality == modality
    assert html.escape(browser.shown.question) in browser.view.value
    assert browser.number.max == sum(q.modality == modality for q in QUESTIONS)


@pytest.mark.parametrize("question_type", QUESTION_TYPES)
def test_the_question_type_chooses(browser, question_type):
    browser.question_type.value = question_type
    assert browser.shown.question_type == question_type
    assert html.escape(browser.shown.question) in browser.view.value
    assert browser.number.max == sum(q.question_type == question_type for q in QUESTIONS)


def test_the_number_leafs_through_what_was_chosen(browser):
    browser.modality.value = "OCT"
    seen = []
    for number in range(1, browser.number.max + 1):
        browser.number.value = number
        seen.append(browser.view.value)
    chosen = [q for q in QUESTIONS if q.modality == "OCT"]
    for question, page in zip(chosen, seen, strict=True):
        assert page == widgets.page(question, answered=False)
    assert len(set(seen)) == len(seen)


def test_a_choice_with_fewer_questions_moves_the_number_back(browser):
    browser.number.value = browser.number.max
    browser.modality.value, browser.question_type.value = "CT", "Lesion Grading"
    assert browser.number.value <= browser.number.max == 2
    assert (browser.shown.modality, browser.shown.question_type) == ("CT", "Lesion Grading")
    assert html.escape(browser.shown.question) in browser.view.value


def test_reveal_shows_the_answer_and_hides_it_again(browser):
    hidden = browser.view.value
    browser.reveal.value = True
    question = browser.shown
    right = html.escape(question.answer_text)
    assert re.findall(r"<b>(.*?) \(right\)</b>", browser.view.value) == [right]
    assert f"Answer: {question.answer}) {right}" in browser.view.value
    browser.reveal.value = False
    assert browser.view.value == hidden


def test_options_stand_in_the_order_of_their_letters():
    page = widgets.page(QUESTIONS[0], answered=False)
    shown = re.findall(r"<li>(.*?)</li>", page)
    assert shown == [html.escape(option) for option in QUESTIONS[0].options]
    assert len(shown) == len(LETTERS)


def test_a_choice_without_questions_says_so():
    browser = widgets.DataBrowser([q for q in QUESTIONS if q.modality == "CT"])
    browser.modality.value = "OCT"
    assert "No such question" in browser.view.value


def test_the_picture_tells_who_does_not_see_it_what_it_is_and_no_answer():
    for question in QUESTIONS:
        alt = re.search(r'<img alt="(.*?)"', widgets.page(question, answered=False))[1]
        assert "phantom" in alt.lower()
        assert question.answer_text.lower() not in alt.lower()


def test_a_question_about_a_real_image_is_refused():
    with pytest.raises(InputError):
        widgets.page(replace(QUESTIONS[0], scene=None), answered=False)


def test_the_next_question_comes_without_its_answer(browser):
    browser.reveal.value = True
    browser.number.value += 1
    assert not browser.reveal.value
    browser.reveal.value = True
    browser.modality.value = "OCT"
    assert not browser.reveal.value
    assert "hidden" in browser.view.value
