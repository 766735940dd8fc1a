"""Cells of the map are clicked, and the answers on display are those of the cell."""

import pandas as pd
import pytest
import records

from medr1_lib.course.map_widget import MapExplorer
from medr1_lib.data.phantom_vqa import questions

SCENE = next(questions("test")).scene.to_json()


@pytest.fixture
def explorer():
    made = records.study(home=0.9, elsewhere=0.3, per_test=40).assign(scene=SCENE)
    return MapExplorer(made[made["method"] == "grpo"], "modality")


def test_a_cell_shows_its_accuracy(explorer):
    assert len(explorer.cells) == 9
    diagonal = [float(explorer.cells[name, name].description) for name in records.THREE]
    assert min(diagonal) > 75
    lit, dark = explorer.cells["CT", "CT"], explorer.cells["CT", "MRI"]
    assert lit.style.button_color != dark.style.button_color
    assert (lit.style.text_color, dark.style.text_color) == ("black", "white")


def test_a_click_shows_the_answers_of_the_cell(explorer):
    explorer.cells["CT", "MRI"].click()
    assert "trained on <b>CT</b>, tested on <b>MRI</b>" in explorer.view.value
    assert "of 120 answers right" in explorer.view.value
    assert explorer.number.max == 120


def test_wrong_and_right_answers_are_told_apart(explorer):
    explorer.click("CT", "CT")
    explorer.kind.value = False
    wrong = explorer.number.max
    assert "<p>wrong, seed" in explorer.view.value
    explorer.kind.value = True
    assert "<p>right, seed" in explorer.view.value
    assert wrong + explorer.number.max == 120


def test_the_slider_goes_through_them(explorer):
    explorer.click("MRI", "MRI")
    first = explorer.view.value
    explorer.number.value = explorer.number.max
    assert explorer.view.value != first
    assert "seed 2" in explorer.view.value


def test_a_cell_without_such_answers_says_so():
    one = records.study(home=1.0, elsewhere=1.0, per_test=4).assign(scene=SCENE)
    explorer = MapExplorer(one[one["method"] == "grpo"], "modality")
    explorer.kind.value = False
    assert "None of these." in explorer.view.value


def test_what_a_model_wrote_is_shown_as_text(explorer):
    answers = pd.concat([explorer._answers["CT", "CT"].head(1)]).assign(completion="<b>A</b>")
    assert "&lt;b&gt;A" in MapExplorer(answers, "modality").view.value
