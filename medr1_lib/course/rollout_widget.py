"""A place to leaf through the rollouts of a training run, one group at a time."""

import html
from collections.abc import Mapping
from typing import Any

import ipywidgets
import pandas as pd
from PIL import Image

from medr1_lib.course.widgets import picture

QUESTION = ["image_id", "prompt"]  # what the rollouts of one group have in common
RAISED, LOWERED = "#cfe3f1", "#f9dcc4"  # beside a sign, so that nothing hangs on the color


class RolloutExplorer(ipywidgets.VBox):
    """Pick a step and a prompt: what the policy wrote there, what it earned, what it was pushed by.

    Args:
        rollouts: As a run keeps them in `rollouts.parquet`.
        images: The picture of every `image_id` in it.

    Attributes:
        step: Slider over the steps whose rollouts were kept.
        prompt: Dropdown; which prompt of that step.
        view: Picture, prompt and completions, the best first.

    Example:
        >>> columns = {"step": 1, "image_id": "x", "prompt": "Which organ?", "answer": "A"}
        >>> columns |= {"modality": "CT", "question_type": "Anatomy Identification"}
        >>> columns |= {"completion": ["<answer>A</answer>", "A"], "advantage": [0.7, -0.7]}
        >>> rollouts = pd.DataFrame(columns | {"format_reward": [1, 0], "accuracy_reward": [1, 0]})
        >>> explorer = RolloutExplorer(rollouts, {"x": Image.new("RGB", (8, 8))})
        >>> "+0.70" in explorer.view.value
        True
    """

    def __init__(self, rollouts: pd.DataFrame, images: Mapping[str, Image.Image]) -> None:
        self._images = images
        self._groups = {
            step: [group for _, group in rows.groupby(QUESTION, sort=False)]
            for step, rows in rollouts.groupby("step")
        }
        self.step = ipywidgets.SelectionSlider(description="step", options=list(self._groups))
        self.prompt = ipywidgets.Dropdown(description="prompt")
        self.view = ipywidgets.HTML()
        self.step.observe(self._turn, "value")
        self.prompt.observe(self._show, "value")
        self._turn()
        super().__init__([ipywidgets.HBox([self.step, self.prompt]), self.view])

    @property
    def shown(self) -> pd.DataFrame:
        """The group on display."""
        return self._groups[self.step.value][self.prompt.value]

    def _turn(self, change: object = None) -> None:
        """Offer the prompts of the step, and stay with the first or the second or ..."""
        number, groups = self.prompt.index or 0, self._groups[self.step.value]
        listed = [(_name(group), place) for place, group in enumerate(groups)]
        self.prompt.options = listed
        self.prompt.index = min(number, len(groups) - 1)
        self._show()

    def _show(self, change: object = None) -> None:
        if self.prompt.value is not None:  # which it is while the list of prompts changes
            self.view.value = sheet(self.shown, self._images[self.shown["image_id"].iloc[0]])


def sheet(group: pd.DataFrame, image: Image.Image) -> str:
    """One group of rollouts as HTML: the picture, the prompt, and the completions, best first."""
    first = group.iloc[0]
    ranked = group.sort_values("advantage", ascending=False)
    rows = "".join(_row(rollout) for _, rollout in ranked.iterrows())
    head = "".join(f"<th>{name}</th>" for name in ("completion", "form", "answer", "advantage"))
    return (
        f"{picture(image, f'The image of the prompt, {first.modality}', 112)}"
        f"<p>{html.escape(first.prompt)}</p>"
        f"<table><caption>right is {first.answer}; {_verdict(group)}</caption>"
        f"<tr>{head}</tr>{rows}</table>"
    )


def _name(group: pd.DataFrame) -> str:
    first = group.iloc[0]
    return f"{first.modality}, {first.question_type}"


def _verdict(group: pd.DataFrame) -> str:
    rewards = group["format_reward"] + group["accuracy_reward"]
    if (group["advantage"] == 0).all():
        return f"all {len(group)} earn {rewards.mean():g} of 2: nothing to learn here"
    return f"mean reward {rewards.mean():.2f} of 2"


def _row(rollout: "pd.Series[Any]") -> str:
    advantage = float(rollout["advantage"])
    color = RAISED if advantage > 0 else LOWERED if advantage < 0 else "inherit"
    cells = (
        f"<td style='text-align: left'><code>{html.escape(str(rollout['completion']))}</code></td>",
        *(f"<td>{rollout[name]:g}</td>" for name in ("format_reward", "accuracy_reward")),
        f"<td style='background: {color}; color: black'>{advantage:+.2f}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"
