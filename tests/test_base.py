"""The shipped base model: what its card says, what its report says, and that it answers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medr1_lib.data.styles import STYLES
from medr1_lib.model.loading import load_policy
from tools.pretrain.card import card
from tools.pretrain.command import album
from tools.pretrain.exam import asked_about, examine, oracle
from tools.pretrain.language import Pupil
from tools.pretrain.scenes import pool

ROOT = Path(__file__).parents[1]

BASE = ROOT / "data" / "tiny-qwen2-vl"
REPORT = json.loads((BASE / "report.json").read_text())


def test_the_card_is_that_of_the_report():
    assert (BASE / "README.md").read_text() == card(REPORT)


def test_it_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in BASE.iterdir()) < 20e6


@pytest.mark.parametrize("name", STYLES)
def test_the_report_finds_room_for_reinforcement(name):
    style = REPORT["styles"][name]
    assert 0.35 <= style["accuracy"]["share"] <= 0.5
    assert style["accuracy"]["share"] < REPORT["caption_oracle"]["share"]
    assert style["form"]["share"] > 0.6
    assert style["no_spread"] < 0.5


def test_it_answers_above_chance_on_scenes_of_another_seed():
    """What the report found holds elsewhere; 160 questions have a half-width of 8 points."""
    model, processor = load_policy(BASE, device="cpu")
    shown = pool(1000, 4, "other scenes")
    seen = album(model.model.visual, shown)
    pupil, asked = Pupil(model, processor.tokenizer), asked_about(shown.scenes, 0)
    found = {name: examine(pupil, asked, seen.features, name).accuracy for name in STYLES}
    for name, accuracy in found.items():
        assert abs(accuracy - REPORT["styles"][name]["accuracy"]["share"]) < 0.12
    known = oracle(pupil, asked, seen.features)
    assert abs(np.mean(known) - REPORT["caption_oracle"]["share"]) < 0.12


def test_every_weight_is_a_sound_number():
    model, _ = load_policy(BASE, device="cpu")
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
