"""The pictures: the same from the same scene, different from another, only readable by eye."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from benchmarks.speed.phantoms import glance, probe
from medr1_lib.data import phantoms
from medr1_lib.data.phantoms import Scene, draw, random_scene
from medr1_lib.data.phantoms.draw import LOOKS, NOISE
from medr1_lib.data.phantoms.scene import FINDINGS, GRADES
from medr1_lib.data.question import DOMAINS, MODALITIES
from medr1_lib.errors import InputError

CT = Scene("CT", "chest", "mass", "mild", "upper left", "lung window", "scanner 2", 7)


def pixels(scene):
    return np.asarray(draw(scene)).astype(int)


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_value_of_a_modality_is_drawn_and_can_be_told_from_the_others(modality):
    base = random_scene(np.random.default_rng(1), modality, grade="severe", place="upper left")
    choices = phantoms.vocabulary(modality) | {"finding": FINDINGS[modality][1:]}
    for attribute, values in choices.items():
        assert len(values) >= 3
        drawn = {draw(replace(base, **{attribute: value})).tobytes() for value in values}
        assert len(drawn) == len(values), f"two values of {attribute} look the same"


def test_vocabulary_is_complete_and_unambiguous():
    assert tuple(FINDINGS) == MODALITIES
    drawn = {m: phantoms.vocabulary(m) for modalities in DOMAINS.values() for m in modalities}
    for words in drawn.values():
        assert all(len(set(words[name])) == 4 for name in ("anatomy", "finding", "acquisition"))
    looks = {m: words["acquisition"] for m, words in drawn.items()}
    assert {m: tuple(known) for m, known in LOOKS.items()} == looks
    assert set(NOISE) == set(drawn)
    lesions = [name for words in drawn.values() for name in words["finding"][1:]]
    assert len(set(lesions)) == len(lesions), "a lesion's name belongs to one modality"


def test_the_same_scene_gives_the_same_pixels_and_another_seed_others():
    assert (pixels(CT) == pixels(CT)).all()
    assert (pixels(CT) != pixels(replace(CT, seed=8))).any()
    assert draw(CT).size == (112, 112)
    assert draw(CT).mode == "RGB"


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_lesion_changes_its_own_quarter_of_the_picture(modality):
    """Averaged over scenes, since the noise of the two pictures differs."""
    rng = np.random.default_rng(5)
    healthy = FINDINGS[modality][0]
    change = np.zeros((112, 112))
    for _ in range(24):
        ill = random_scene(rng, modality, place="lower right", grade="severe")
        well = replace(ill, finding=healthy, place=None, grade=None)
        change += np.abs(pixels(ill) - pixels(well)).mean(-1)
    quarters = change.reshape(2, 56, 2, 56).mean((1, 3))
    assert quarters.argmax() == 3
    assert quarters[1, 1] > 1.2 * np.delete(quarters.ravel(), 3).max()


def test_grades_order_the_size_of_the_lesion():
    def area(grade):
        ill = replace(CT, acquisition="soft tissue window", anatomy="abdomen", grade=grade)
        well = replace(ill, finding="no abnormality", grade=None, place=None)
        smooth = [
            np.asarray(draw(s).resize((28, 28), Image.Resampling.BOX), int) for s in (ill, well)
        ]
        return (np.abs(smooth[0] - smooth[1]).mean(-1) > 30).sum()

    areas = [area(grade) for grade in GRADES]
    assert areas == sorted(areas)
    assert areas[0] > 0


def test_a_scene_survives_json():
    assert Scene.from_json(CT.to_json()) == CT


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"modality": "PET"}, "PET"),
        ({"anatomy": "brain"}, "brain"),
        ({"finding": "cyst"}, "cyst"),
        ({"grade": None}, "grade"),
        ({"place": "middle"}, "middle"),
        ({"acquisition": "T1"}, "T1"),
        ({"scanner": "scanner 9"}, "scanner 9"),
        ({"finding": "no abnormality"}, "grade"),
    ],
)
def test_a_scene_that_cannot_be_is_refused(change, named):
    with pytest.raises(InputError, match=named):
        replace(CT, **change)


def test_a_damaged_scene_is_refused():
    for text in ("", "{", '{"modality": "CT"}', "[]"):
        with pytest.raises(InputError, match="not readable"):
            Scene.from_json(text)


@pytest.mark.slow
@pytest.mark.parametrize("modality", MODALITIES)
def test_a_glance_does_not_tell_the_finding(modality):
    """Chance is 25 %; `benchmarks/speed/phantoms.py` measures the same on more scenes."""
    rng = np.random.default_rng(11)
    scenes = [random_scene(rng, modality) for _ in range(700)]
    features = np.array([glance(draw(scene)) for scene in scenes])
    assert probe(features, scenes, "finding") < 0.40
    assert probe(features, scenes, "anatomy") > 0.60, "the classifier itself works"
