"""Claims are read as they were written."""

import numpy as np
import pytest

from medr1_lib.data.phantom_vqa import ATTRIBUTES
from medr1_lib.data.phantoms import random_scene
from medr1_lib.data.question import MODALITIES
from medr1_lib.data.rationale import claims, rationale
from tools.pretrain.examples import caption


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_true_caption_claims_what_the_scene_shows(modality):
    rng = np.random.default_rng(0)
    for scene in (random_scene(rng, modality) for _ in range(20)):
        said = claims(caption(scene))
        assert said["modality"] == modality
        for name in ATTRIBUTES.values():
            assert said.get(name) == getattr(scene, name)


def test_a_rationale_claims_the_attribute_asked_for():
    scene = random_scene(np.random.default_rng(0), "CT", grade="mild")
    assert claims(rationale(scene, "grade")) == {"grade": "mild"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", {}),
        ("no idea", {}),
        ("finding:mass", {}),
        ("finding: ", {"finding": ""}),
        ("finding: mass, finding: cyst", {"finding": "cyst"}),
        ("stage: grade: mild", {"stage": "grade: mild"}),
    ],
)
def test_what_is_no_claim_is_left_out(text, said):
    assert claims(text) == said
