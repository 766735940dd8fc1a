"""Every control of every widget is moved, and what is shown follows it."""

import dataclasses
import html
import io
import re
from base64 import b64decode
from dataclasses import replace

import ipywidgets
import numpy as np
import pandas as pd
import policies
import pytest
import records
from matplotlib.colors import to_rgb
from PIL import Image

from medr1_lib.course import widgets
from medr1_lib.course.chapters.chapter_03 import load_bench
from medr1_lib.data import phantom_vqa
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.data.question import LETTERS, MODALITIES, QUESTION_TYPES, Question
from medr1_lib.data.styles import STYLES, listed, read, read_strict
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import Answer
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.rl.rewards import RULES, points

QUESTIONS = list(questions("test", per_cell=2))


@pytest.fixture
def browser():
    return widgets.DataBrowser(QUESTIONS)


def controls(widget):
    """What a reader can move, at any depth."""
    if isinstance(widget, ipywidgets.Box):
        return [control for child in widget.children for control in controls(child)]
    return [] if isinstance(widget, ipywidgets.HTML) else [widget]


def question_page(question):
    """What is shown of one question before its answer."""
    return widgets.DataBrowser([question]).view.value


def test_the_browser_s_controls_are_those_that_are_tested_here(browser):
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
        assert page == question_page(question)
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
    page = question_page(QUESTIONS[0])
    shown = re.findall(r"<li>(.*?)</li>", page)
    assert shown == [html.escape(option) for option in QUESTIONS[0].options]
    assert len(shown) == len(LETTERS)


def test_a_choice_without_questions_says_so():
    browser = widgets.DataBrowser([q for q in QUESTIONS if q.modality == "CT"])
    browser.modality.value = "OCT"
    assert "No such question" in browser.view.value


def test_the_picture_tells_who_does_not_see_it_what_it_is_and_no_answer():
    for question in QUESTIONS:
        alt = re.search(r'<img alt="(.*?)"', question_page(question))[1]
        assert "phantom" in alt.lower()
        assert question.answer_text.lower() not in alt.lower()


def test_a_question_about_a_real_image_is_refused():
    with pytest.raises(InputError):
        question_page(replace(QUESTIONS[0], scene=None))


def test_the_next_question_comes_without_its_answer(browser):
    browser.reveal.value = True
    browser.number.value += 1
    assert not browser.reveal.value
    browser.reveal.value = True
    browser.modality.value = "OCT"
    assert not browser.reveal.value
    assert "hidden" in browser.view.value


# ---- the answer viewer ----

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


def answered(items, item, style, control):
    question = items.questions[item]
    said = REPLIES[style] if control == "none" else "no idea"
    parsed = read(said, question.options)
    return Answer(
        **{name: getattr(question, name) for name in ("id", "image_id", "question")},
        **{
            name: getattr(question, name)
            for name in ("options", "answer", "modality", "question_type", "source")
        },
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
    rows = [answered(items, item, *which) for item in (6, 4, 5) for which in asked]
    records = pd.DataFrame([dataclasses.asdict(row) for row in rows])
    return widgets.AnswerViewer(items, records, policies.processor(), SEED)


def image_shown(viewer):
    found = re.search(r'base64,([^"]+)"', viewer.view.value)
    return np.asarray(Image.open(io.BytesIO(b64decode(found[1])))) if found else None


def text_shown(viewer):
    return html.unescape(re.sub(r"</?b>", "", viewer.view.value))


def drawn(question):
    return np.asarray(draw(question.scene))


def test_the_viewer_s_controls_are_those_that_are_tested_here(viewer):
    controls = [child for child in viewer.children if not isinstance(child, ipywidgets.HTML)]
    assert controls == [viewer.number, viewer.style, viewer.control]
    assert all(control.description for control in controls), "a control without a name"


def test_it_opens_with_the_first_question_and_its_own_image(viewer, items):
    assert (viewer.number.value, viewer.style.value) == (1, "think_before")
    assert (image_shown(viewer) == drawn(items.questions[4])).all()


def test_the_number_chooses_the_question(viewer, items):
    assert viewer.number.max == 3
    for number, item in enumerate((4, 5, 6), start=1):
        viewer.number.value = number
        question = items.questions[item]
        assert (image_shown(viewer) == drawn(question)).all()
        assert f"{question.question} {listed(question.options)}. Reply as" in text_shown(viewer)
        verdict = "right" if question.answer == "B" else "wrong"
        assert f"read as B, right is {question.answer}: {verdict};" in text_shown(viewer)


def test_the_style_chooses_prompt_completion_and_verdict(viewer):
    assert viewer.style.options == tuple(REPLIES)
    for style, said in REPLIES.items():
        viewer.style.value = style
        assert f"Reply as {STYLES[style].form}, X the letter." in text_shown(viewer)
        assert said in text_shown(viewer)
        kept = "kept" if style == "think_before" else "not kept"
        assert f"the form asked for was {kept}" in text_shown(viewer)


def test_the_control_chooses_the_picture(viewer, items):
    for name, control in widgets.PICTURES.items():
        viewer.control.value = control
        assert viewer.control.label == name
        assert ("<|image_pad|>" in text_shown(viewer)) == (control != "text")
        assert ("no idea" in text_shown(viewer)) == (control != "none")
    viewer.control.value = "blank"
    assert (image_shown(viewer) == 128).all()
    viewer.control.value = "text"
    assert image_shown(viewer) is None
    assert "read as nothing" in text_shown(viewer)


def test_the_shuffled_image_is_the_one_that_was_shown(viewer, items):
    viewer.control.value = "shuffled"
    tasks = items.prompts(("think_before",), ("shuffled",), None, SEED)
    task = next(task for task in tasks if (task.item, task.control) == (4, "shuffled"))
    assert task.shown != 4
    assert (image_shown(viewer) == drawn(items.questions[task.shown])).all()


def test_what_was_not_asked_is_not_image_shown(viewer):
    viewer.style.value = "no_think"
    viewer.control.value = "blank"
    assert viewer.view.value == "This was not asked in this style."
    viewer.control.value = "none"
    assert REPLIES["no_think"] in text_shown(viewer)


def test_the_prompt_is_what_the_model_reads(items):
    processor, question = policies.processor(), items.questions[0]
    prompt = widgets.prompt_text(processor, question, "no_think", draw(question.scene))
    assert prompt.count("<|image_pad|>") == 1
    assert "<|image_pad|> x 16 <|vision_end|>" in prompt
    assert prompt.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert "vision" not in widgets.prompt_text(processor, question, "no_think", None)


def test_the_viewer_shows_what_a_model_wrote_as_text():
    asked = Question("<i>", ("<u>", "b"), "A", "CT", "Disease Diagnosis", "x", "y")
    said = {"completion": "<script>", "parsed": None, "correct": False, "format_ok": False}
    assert not re.search(r"<(script|i|u)>", widgets.PAGES.answer(asked, None, "<i>", said))


# ---- the reward tester ----

ROWS = load_bench()


@pytest.fixture
def tester():
    return widgets.RewardTester(ROWS)


def points_shown(tester):
    """Form and answer points by rule set, as a reader sees them."""
    cells = re.findall(
        r"<tr><td[^>]*>(\w+)</td><td[^>]*>(\d)</td><td[^>]*>(\d)</td>", tester.view.value
    )
    return {rules: (float(form), float(answer)) for rules, form, answer in cells}


def expected_points(row):
    return {rules: getattr(row, rules) for rules in RULES}


def test_the_tester_s_controls_are_those_that_are_tested_here(tester):
    controls = [child for child in tester.children if not isinstance(child, ipywidgets.HTML)]
    assert controls == [tester.row, tester.style, tester.said]
    assert all(control.description for control in controls), "a control without a name"


def test_it_opens_with_the_first_row(tester):
    assert (tester.style.value, tester.said.value) == (ROWS[0].style, ROWS[0].completion)
    assert points_shown(tester) == expected_points(ROWS[0])


def test_a_row_of_the_bench_is_taken_over(tester):
    for row in ROWS:
        tester.row.value = row
        assert (tester.style.value, tester.said.value) == (row.style, row.completion)
        assert points_shown(tester) == expected_points(row)


@pytest.mark.parametrize("name", STYLES)
def test_the_style_decides_what_the_form_is(tester, name):
    tester.said.value = "<answer>C</answer>"
    tester.style.value = name
    assert points_shown(tester)["strict"] == points("<answer>C</answer>", "C", name)
    assert points_shown(tester)["strict"] == ((1.0, 1.0) if name == "no_think" else (0.0, 0.0))


def test_what_is_typed_is_scored(tester):
    tester.style.value = "no_think"
    tester.said.value = "<answer>C</answer><answer>A</answer>"
    assert points_shown(tester) == {"strict": (0.0, 0.0), "published": (1.0, 1.0)}
    assert "evaluation reads A" in tester.view.value
    tester.said.value = ""
    assert points_shown(tester) == {"strict": (0.0, 0.0), "published": (0.0, 0.0)}
    assert "evaluation reads nothing" in tester.view.value


def test_what_is_typed_stays_text(tester):
    tester.said.value = "<script>alert(1)</script>"
    assert "<script>" not in tester.view.value


# ---- the rollout explorer ----

COLORS = {"a": "red", "b": "green", "c": "blue"}
IMAGES = {name: Image.new("RGB", (8, 8), color) for name, color in COLORS.items()}


def group(step, image, advantages, modality="CT"):
    """Rollouts of one prompt; who has an advantage is right."""
    count = len(advantages)
    right = [advantage > 0 for advantage in advantages]
    letters = ["A" if good else "B" for good in right]
    return pd.DataFrame(
        {
            "step": step,
            "prompt": f"What does {image} show?",
            "completion": [f"<answer>{letter}</answer>" for letter in letters],
            "answer": "A",
            "image_id": image,
            "modality": modality,
            "question_type": "Disease Diagnosis",
            "format_reward": 1.0,
            "accuracy_reward": [float(good) for good in right],
            "advantage": advantages,
        },
        index=range(count),
    )


ROLLOUTS = pd.concat(
    [
        group(1, "a", [-0.5, 1.5, -0.5, -0.5]),
        group(1, "b", [0.0, 0.0, 0.0, 0.0], "OCT"),
        group(5, "c", [0.87, -0.87, 0.87, -0.87]),
        group(5, "a", [0.5, 0.5, 0.5, -1.5]),
        group(9, "b", [-0.5, -0.5, -0.5, 1.5], "OCT"),
    ],
    ignore_index=True,
)


@pytest.fixture
def rollout_explorer():
    return widgets.RolloutExplorer(ROLLOUTS, IMAGES)


def advantages(rollout_explorer):
    """Those on display, from top to bottom."""
    return [float(x) for x in re.findall(r">([+-][\d.]+)</td>", rollout_explorer.view.value)]


def test_the_rollout_explorer_s_controls_are_those_that_are_tested_here(rollout_explorer):
    moved = [
        child for child in controls(rollout_explorer) if not isinstance(child, ipywidgets.HTML)
    ]
    assert moved == [rollout_explorer.step, rollout_explorer.prompt]
    assert all(control.description for control in moved), "a control without a name"


def test_it_opens_with_the_first_group(rollout_explorer):
    assert "What does a show?" in rollout_explorer.view.value
    assert advantages(rollout_explorer) == [1.5, -0.5, -0.5, -0.5]
    assert "right is A; mean reward 1.25 of 2" in rollout_explorer.view.value


def test_every_group_can_be_reached_and_shows_its_own(rollout_explorer):
    seen = []
    for step in (1, 5, 9):
        rollout_explorer.step.value = step
        for _, number in rollout_explorer.prompt.options:
            rollout_explorer.prompt.value = number
            seen.append(rollout_explorer.shown)
            name = rollout_explorer.shown.image_id.iloc[0]
            assert f"What does {name} show?" in rollout_explorer.view.value
            picture = str(widgets.PAGES.picture(IMAGES[name], "The image of the prompt", 112))
            assert picture.split("src=")[1] in rollout_explorer.view.value
            assert advantages(rollout_explorer) == sorted(
                rollout_explorer.shown.advantage, reverse=True
            )
    pd.testing.assert_frame_equal(pd.concat(seen), ROLLOUTS)


def test_the_prompts_are_named_by_what_they_ask_about(rollout_explorer):
    names = [name for name, _ in rollout_explorer.prompt.options]
    assert names == ["CT, Disease Diagnosis", "OCT, Disease Diagnosis"]


def test_the_step_changes_and_the_place_of_the_prompt_stays(rollout_explorer):
    rollout_explorer.prompt.value = 1
    rollout_explorer.step.value = 5
    assert rollout_explorer.prompt.value == 1
    assert advantages(rollout_explorer) == [0.5, 0.5, 0.5, -1.5]


def test_a_step_with_fewer_prompts_shows_its_last(rollout_explorer):
    rollout_explorer.prompt.value = 1
    rollout_explorer.step.value = 9
    assert rollout_explorer.prompt.value == 0
    assert "What does b show?" in rollout_explorer.view.value


def test_a_group_that_agrees_is_said_to_teach_nothing(rollout_explorer):
    rollout_explorer.prompt.value = 1
    assert "all 4 earn 1 of 2: nothing to learn here" in rollout_explorer.view.value
    rollout_explorer.prompt.value = 0
    assert "nothing to learn" not in rollout_explorer.view.value


def test_an_advantage_of_zero_has_the_colors_of_the_theme(rollout_explorer):
    """Black on the inherited background cannot be read in JupyterLab's dark theme."""
    rollout_explorer.prompt.value = 1
    styles = re.findall(r"<td style='([^']*)'>[+-][\d.]+</td>", rollout_explorer.view.value)
    assert len(styles) == 4
    assert not any("color" in style or "background" in style for style in styles)
    rollout_explorer.prompt.value = 0
    styles = re.findall(r"<td style='([^']*)'>[+-][\d.]+</td>", rollout_explorer.view.value)
    assert all("background: #" in style and "color: black" in style for style in styles)


def test_the_rollout_explorer_shows_what_was_written_as_text():
    said = ROLLOUTS[:4].assign(completion="<script>1</script>", prompt="<b>?</b>")
    shown = widgets.RolloutExplorer(said, IMAGES).view.value
    assert "<script>" not in shown
    assert "<b>" not in shown


# ---- the map explorer ----

SCENE = QUESTIONS[0].scene.to_json()
ANSWERED = {"scene": SCENE, "question": "?", "completion": "A", "answer": "A"}
ANSWERED |= {"options": [["x", "y"]] * 100, "method": "grpo", "item": range(100)}


@pytest.fixture
def map_explorer():
    made = records.study(home=0.9, elsewhere=0.3, per_test=40).assign(scene=SCENE)
    return widgets.MapExplorer(made[made["method"] == "grpo"], "modality")


def test_a_cell_shows_its_accuracy(map_explorer):
    assert len(map_explorer.cells) == 9
    diagonal = [float(map_explorer.cells[name, name].description) for name in records.THREE]
    assert min(diagonal) > 75
    lit, dark = map_explorer.cells["CT", "CT"], map_explorer.cells["CT", "MRI"]
    assert lit.style.button_color != dark.style.button_color
    assert (lit.style.text_color, dark.style.text_color) == ("black", "white")


def luminance(color):
    """Of WCAG 2, from 0 for black to 1 for white."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in to_rgb(color)]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("right", range(101))
def test_every_accuracy_can_be_read_on_its_color(right):
    rows = {"train": "CT", "modality": "MRI", "correct": [True] * right + [False] * (100 - right)}
    answers = pd.DataFrame(rows | {"seed": 0}).assign(**ANSWERED)
    style = widgets.MapExplorer(answers, "modality").cells["CT", "MRI"].style
    low, high = sorted(map(luminance, (style.button_color, style.text_color)))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_chosen_cell_is_marked_and_no_other(map_explorer):
    def marked():
        return [key for key, cell in map_explorer.cells.items() if cell.layout.border_top]

    assert marked() == [map_explorer._key]
    map_explorer.cells["CT", "MRI"].click()
    assert marked() == [("CT", "MRI")]
    map_explorer.cells["CT", "MRI"].click()
    assert marked() == [("CT", "MRI")]


def test_another_cell_or_kind_begins_with_its_first_answer(map_explorer):
    map_explorer.number.value = 7
    map_explorer.click("MRI", "CT")
    assert map_explorer.number.value == 1
    map_explorer.number.value = 7
    map_explorer.kind.value = "wrong answers"
    assert map_explorer.number.value == 1


def test_a_click_shows_the_answers_of_the_cell(map_explorer):
    map_explorer.cells["CT", "MRI"].click()
    assert "trained on <b>CT</b>, tested on <b>MRI</b>" in map_explorer.view.value
    assert "of 120 answers right" in map_explorer.view.value
    assert map_explorer.number.max == 120


def test_wrong_and_right_answers_are_told_apart(map_explorer):
    map_explorer.click("CT", "CT")
    map_explorer.kind.value = "wrong answers"
    wrong = map_explorer.number.max
    assert "<p>wrong, seed" in map_explorer.view.value
    map_explorer.kind.value = "right answers"
    assert "<p>right, seed" in map_explorer.view.value
    assert wrong + map_explorer.number.max == 120


def test_the_slider_goes_through_them(map_explorer):
    map_explorer.click("MRI", "MRI")
    first = map_explorer.view.value
    map_explorer.number.value = map_explorer.number.max
    assert map_explorer.view.value != first
    assert "seed 2" in map_explorer.view.value


def test_a_cell_without_such_answers_says_so():
    one = records.study(home=1.0, elsewhere=1.0, per_test=4).assign(scene=SCENE)
    map_explorer = widgets.MapExplorer(one[one["method"] == "grpo"], "modality")
    map_explorer.kind.value = "wrong answers"
    assert "None of these." in map_explorer.view.value


def test_what_a_model_wrote_is_shown_as_text(map_explorer):
    answers = pd.concat([map_explorer._answers["CT", "CT"].head(1)]).assign(completion="<b>A</b>")
    assert "&lt;b&gt;A" in widgets.MapExplorer(answers, "modality").view.value


def test_no_dropdown_can_go_blank(browser, viewer, tester, rollout_explorer, map_explorer):
    """JupyterLab shows a dropdown as blank whose value is `None`."""
    for widget in (browser, viewer, tester, rollout_explorer, map_explorer):
        for control in controls(widget):
            if isinstance(control, ipywidgets.Dropdown):
                values = [x[1] if isinstance(x, tuple) else x for x in control.options]
                assert values, control.description
                assert None not in values, control.description


ODD = "<img src=x onerror=alert(1)>"


def test_no_text_from_outside_becomes_markup(tester):
    said = {"completion": ODD, "parsed": ODD, "correct": True, "format_ok": True}
    asked = Question(ODD, (ODD, "b"), "A", "CT", "Disease Diagnosis", "i", ODD)
    grey = Image.new("RGB", (8, 8))
    group = ROLLOUTS[:4].assign(completion=ODD, prompt=ODD, modality=ODD, answer=ODD)
    row = {"scene": QUESTIONS[0].scene.to_json(), "correct": True, "question": ODD, "seed": ODD}
    row |= {"options": [ODD, "b"], "answer": "A", "completion": ODD}
    row |= {"train": ODD, "modality": ODD, "method": "grpo", "item": 0}
    tester.said.value = ODD
    pages = [
        widgets.PAGES.answer(asked, grey, ODD, said),
        widgets.RolloutExplorer(group, IMAGES).view.value,
        widgets.MapExplorer(pd.DataFrame([row]), "modality").view.value,
        tester.view.value,
        widgets.PAGES.option_list([ODD, "b"], "A"),
        widgets.PAGES.picture(grey, ODD),
    ]
    assert [page for page in pages if "<img src=x" in page] == []


def test_a_page_without_widgets_shows_the_first_view(browser, viewer, tester, rollout_explorer):
    for widget in (browser, viewer, tester, rollout_explorer):
        bundle = widget._repr_mimebundle_()
        assert bundle["text/html"] == widget.view.value
        assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
