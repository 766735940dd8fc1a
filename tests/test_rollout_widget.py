"""Every control of the rollout explorer is moved, and the group on display follows it."""

import re

import ipywidgets
import pandas as pd
import pytest
from PIL import Image

from medr1_lib.course.rollout_widget import RolloutExplorer, sheet
from medr1_lib.course.widgets import picture

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
def explorer():
    return RolloutExplorer(ROLLOUTS, IMAGES)


def advantages(explorer):
    """Those on display, from top to bottom."""
    return [float(x) for x in re.findall(r"black'>([+-][\d.]+)</td>", explorer.view.value)]


def controls(widget):
    for child in widget.children:
        yield from controls(child) if isinstance(child, ipywidgets.Box) else [child]


def test_the_controls_are_those_that_are_tested_here(explorer):
    moved = [child for child in controls(explorer) if not isinstance(child, ipywidgets.HTML)]
    assert moved == [explorer.step, explorer.prompt]
    assert all(control.description for control in moved), "a control without a name"


def test_it_opens_with_the_first_group(explorer):
    assert "What does a show?" in explorer.view.value
    assert advantages(explorer) == [1.5, -0.5, -0.5, -0.5]
    assert "right is A; mean reward 1.25 of 2" in explorer.view.value


def test_every_group_can_be_reached_and_shows_its_own(explorer):
    seen = []
    for step in (1, 5, 9):
        explorer.step.value = step
        for _, number in explorer.prompt.options:
            explorer.prompt.value = number
            seen.append(explorer.shown)
            name = explorer.shown.image_id.iloc[0]
            assert f"What does {name} show?" in explorer.view.value
            assert picture(IMAGES[name], "The image of the prompt", 112).split("src=")[1] in (
                explorer.view.value
            )
            assert advantages(explorer) == sorted(explorer.shown.advantage, reverse=True)
    pd.testing.assert_frame_equal(pd.concat(seen), ROLLOUTS)


def test_the_prompts_are_named_by_what_they_ask_about(explorer):
    names = [name for name, _ in explorer.prompt.options]
    assert names == ["CT, Disease Diagnosis", "OCT, Disease Diagnosis"]


def test_the_step_changes_and_the_place_of_the_prompt_stays(explorer):
    explorer.prompt.value = 1
    explorer.step.value = 5
    assert explorer.prompt.value == 1
    assert advantages(explorer) == [0.5, 0.5, 0.5, -1.5]


def test_a_step_with_fewer_prompts_shows_its_last(explorer):
    explorer.prompt.value = 1
    explorer.step.value = 9
    assert explorer.prompt.value == 0
    assert "What does b show?" in explorer.view.value


def test_a_group_that_agrees_is_said_to_teach_nothing(explorer):
    explorer.prompt.value = 1
    assert "all 4 earn 1 of 2: nothing to learn here" in explorer.view.value
    explorer.prompt.value = 0
    assert "nothing to learn" not in explorer.view.value


def test_what_was_written_stays_text():
    said = ROLLOUTS[:4].assign(completion="<script>1</script>", prompt="<b>?</b>")
    shown = sheet(said, IMAGES["a"])
    assert "<script>" not in shown
    assert "<b>" not in shown
