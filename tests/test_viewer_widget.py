"""Every control of the answer viewer is moved, and prompt, completion and verdict follow it."""

import dataclasses
import html
import io
import re
from base64 import b64decode

import ipywidgets
import numpy as np
import pandas as pd
import policies
import pytest
from PIL import Image

from medr1_lib.course.viewer_widget import PICTURES, AnswerViewer, page, sent
from medr1_lib.data import phantom_vqa
from medr1_lib.data.phantoms import draw
from medr1_lib.data.question import Question
from medr1_lib.data.styles import STYLES, listed, read, read_strict
from medr1_lib.evaluation.answers import Answer
from medr1_lib.evaluation.items import EvalSet

SEED = 3
REPLIES = {
    "think_before": "<think>CT, finding: mass</think><answer>B</answer>",
    "no_think": "<answer>B)</answer>",
}


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    asked = phantom_vqa.questions("test", per_cell=1)
    root = tmp_path_factory.mktemp("data") / "phantoms"
    phantom_vqa.write(root, {"test": asked}, {})
    return EvalSet(root)


def record(items, item, style, control):
    question = items.questions[item]
    said = REPLIES[style] if control == "none" else "no idea"
    parsed = read(said, question.options)
    return Answer(
        **{name: getattr(question, name) for name in ("image_id", "question", "options", "answer")},
        **{name: getattr(question, name) for name in ("modality", "question_type", "source")},
        item=item,
        style=style,
        control=control,
        completion=said,
        tokens=len(said),
        parsed=parsed,
        correct=parsed == question.answer,
        format_ok=read_strict(said, style) is not None,
    )


@pytest.fixture
def viewer(items):
    """EvalSet 4, 5 and 6 in two styles, with all controls in the first of them."""
    asked = [(style, "none") for style in REPLIES]
    asked += [("think_before", control) for control in ("blank", "shuffled", "text")]
    rows = [record(items, item, *which) for item in (6, 4, 5) for which in asked]
    records = pd.DataFrame([dataclasses.asdict(row) for row in rows])
    return AnswerViewer(items, records, policies.processor(), SEED)


def shown(viewer):
    found = re.search(r'base64,([^"]+)"', viewer.view.value)
    return np.asarray(Image.open(io.BytesIO(b64decode(found[1])))) if found else None


def text(viewer):
    return html.unescape(re.sub(r"</?b>", "", viewer.view.value))


def drawn(question):
    return np.asarray(draw(question.scene))


def test_the_controls_are_those_that_are_tested_here(viewer):
    controls = [child for child in viewer.children if not isinstance(child, ipywidgets.HTML)]
    assert controls == [viewer.number, viewer.style, viewer.control]
    assert all(control.description for control in controls), "a control without a name"


def test_it_opens_with_the_first_question_and_its_own_image(viewer, items):
    assert (viewer.number.value, viewer.style.value) == (1, "think_before")
    assert (shown(viewer) == drawn(items.questions[4])).all()


def test_the_number_chooses_the_question(viewer, items):
    assert viewer.number.max == 3
    for number, item in enumerate((4, 5, 6), start=1):
        viewer.number.value = number
        question = items.questions[item]
        assert (shown(viewer) == drawn(question)).all()
        assert f"{question.question} {listed(question.options)}. Reply as" in text(viewer)
        verdict = "right" if question.answer == "B" else "wrong"
        assert f"read as B, right is {question.answer}: {verdict};" in text(viewer)


def test_the_style_chooses_prompt_completion_and_verdict(viewer):
    assert viewer.style.options == tuple(REPLIES)
    for style, said in REPLIES.items():
        viewer.style.value = style
        assert f"Reply as {STYLES[style].form}, X the letter." in text(viewer)
        assert said in text(viewer)
        kept = "kept" if style == "think_before" else "not kept"
        assert f"the form asked for was {kept}" in text(viewer)


def test_the_control_chooses_the_picture(viewer, items):
    for name, control in PICTURES.items():
        viewer.control.value = control
        assert viewer.control.label == name
        assert ("<|image_pad|>" in text(viewer)) == (control != "text")
        assert ("no idea" in text(viewer)) == (control != "none")
    viewer.control.value = "blank"
    assert (shown(viewer) == 128).all()
    viewer.control.value = "text"
    assert shown(viewer) is None
    assert "read as nothing" in text(viewer)


def test_the_shuffled_image_is_the_one_that_was_shown(viewer, items):
    viewer.control.value = "shuffled"
    tasks = items.prompts(("think_before",), ("shuffled",), None, SEED)
    task = next(task for task in tasks if (task.item, task.control) == (4, "shuffled"))
    assert task.shown != 4
    assert (shown(viewer) == drawn(items.questions[task.shown])).all()


def test_what_was_not_asked_is_not_shown(viewer):
    viewer.style.value = "no_think"
    viewer.control.value = "blank"
    assert viewer.view.value == "This was not asked in this style."
    viewer.control.value = "none"
    assert REPLIES["no_think"] in text(viewer)


def test_the_prompt_is_what_the_model_reads(items):
    processor, question = policies.processor(), items.questions[0]
    prompt = sent(processor, question, "no_think", draw(question.scene))
    assert prompt.count("<|image_pad|>") == 1
    assert "<|image_pad|> x 16 <|vision_end|>" in prompt
    assert prompt.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert "vision" not in sent(processor, question, "no_think", None)


def test_what_a_model_wrote_stays_text():
    asked = Question("<i>", ("<u>", "b"), "A", "CT", "Disease Diagnosis", "x", "y")
    said = {"completion": "<script>", "parsed": None, "correct": False, "format_ok": False}
    assert not re.search(r"<(script|i|u)>", page(asked, None, "<i>", said))
