"""The benchmark: balanced to the last question, so that only the image answers."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from medr1_lib.data import audit
from medr1_lib.data.dataset import FEATURES
from medr1_lib.data.phantom_vqa import (
    ATTRIBUTES,
    SPLITS,
    STEMS,
    build,
    questions,
    values,
)
from medr1_lib.data.phantoms import SCANNERS, draw
from medr1_lib.data.question import MODALITIES, QUESTION_TYPES
from medr1_lib.errors import InputError


def cells(asked):
    table = defaultdict(list)
    for question in asked:
        table[question.modality, question.question_type].append(question)
    return table


def test_all_five_question_types_in_all_eight_modalities():
    table = cells(questions("test", per_cell=3))
    assert list(table) == [(m, t) for m in MODALITIES for t in QUESTION_TYPES]
    assert {len(asked) for asked in table.values()} == {3}


def test_stem_value_and_letter_are_crossed_exactly():
    for (modality, question_type), asked in cells(questions("test", per_cell=64)).items():
        crossed = Counter((q.question, q.answer_text, q.answer) for q in asked)
        assert len(crossed) == 2 * 4 * 4, (modality, question_type)
        assert set(crossed.values()) == {2}
        stems = STEMS["medical"][ATTRIBUTES[question_type]]
        assert {q.question for q in asked} == set(stems)


def test_every_option_is_right_elsewhere_in_its_cell():
    for cell, asked in cells(questions("test", per_cell=4)).items():
        right = {q.answer_text for q in asked}
        assert right == set(values(*cell))
        assert all(set(q.options) == right for q in asked)


def test_an_uneven_count_is_balanced_to_within_one():
    for asked in cells(questions("train", per_cell=50)).values():
        for counts in (Counter(q.answer for q in asked), Counter(q.answer_text for q in asked)):
            assert max(counts.values()) - min(counts.values()) <= 1


def test_the_answer_is_what_the_scene_shows():
    for question in questions("test", per_cell=8):
        scene = question.scene
        assert scene.modality == question.modality
        assert getattr(scene, ATTRIBUTES[question.question_type]) == question.answer_text
        assert question.answer_text not in question.image_id


def test_splits_have_no_scene_in_common_whatever_the_seed():
    remainders = {}
    for split in SPLITS:
        seeds = [q.scene.seed for s in (0, 1) for q in questions(split, s, 8)]
        remainders[split] = {seed % len(SPLITS) for seed in seeds}
        assert len(set(seeds)) == len(seeds)
    assert sorted(map(tuple, remainders.values())) == [(0,), (1,), (2,)]


@pytest.mark.slow
def test_image_blind_rules_stay_within_two_points_of_chance():
    train, test = list(questions("train", 0, 4 * 256)), list(questions("test", 0, 256))
    assert len(test) >= 10_000
    for name, rule in audit.BASELINES.items():
        assert abs(rule(train, test) - 0.25) < 0.02, name


def test_a_classifier_on_stem_and_options_stays_within_two_points_of_chance():
    asked = list(questions("test", 1, 256))
    texts = [{"stem": q.question} | dict(zip("ABCD", q.options, strict=True)) for q in asked]
    crossed = [t | {f"{k}|stem": f"{v}|{t['stem']}" for k, v in t.items()} for t in texts]
    letters = [q.answer for q in asked]
    predicted = cross_val_predict(
        LogisticRegression(max_iter=200), DictVectorizer().fit_transform(crossed), letters, cv=5
    )
    assert abs(np.mean(predicted == np.array(letters)) - 0.25) < 0.02


def test_the_leaky_variant_gives_its_answers_away():
    train, test = list(questions("train", leaky=0.95)), list(questions("test", leaky=0.95))
    assert audit.option_ratio(train, test) > 0.9
    assert audit.letter_majority(train, test) == pytest.approx(0.25)
    known = {question.image_id for question in train}
    shared = np.mean([question.image_id in known for question in test])
    assert 0.1 < shared < 0.25


def test_a_leak_of_any_strength_leaves_the_training_pictures_alone():
    plain, half = (list(questions("train", per_cell=32, leaky=share)) for share in (0.0, 0.5))
    assert [q.scene for q in half] == [q.scene for q in plain]
    assert [q.answer for q in half] == [q.answer for q in plain]
    told = [{*q.options} <= {*values(q.modality, q.question_type)} for q in half]
    assert np.mean(told) == pytest.approx(0.5, abs=0.04)


def test_the_standard_data_are_what_they_were():
    scenes = hashlib.sha256()
    for split in ("train", "test"):
        for question in questions(split, per_cell=32):
            as_stored = repr(question.scene.to_json())
            told = repr(replace(question, id="-")).replace(repr(question.scene), as_stored)
            scenes.update(told.replace(", id='-'", "").encode())
    assert scenes.hexdigest()[:16] == "e2d3bb32bbc6f134"
    pictures = hashlib.sha256()
    for question in questions("test", per_cell=4):
        pictures.update(draw(question.scene).tobytes())
    assert pictures.hexdigest()[:16] == "9459d8b5747dec71"


def test_a_scene_without_a_scanner_is_a_picture_without_stripes_and_ticks():
    for question in questions("test", per_cell=1):
        scene = replace(question.scene, scanner=None)
        bare = np.asarray(draw(scene), float)
        marked = [np.asarray(draw(replace(scene, scanner=name)), float) for name in SCANNERS]
        ticks = np.zeros((112, 112), bool)
        for tick in range(4):
            ticks[104:110, 106 - 4 * tick : 108 - 4 * tick] = True
        assert all(abs(picture - bare)[~ticks].max() <= 0.03 * 255 + 1 for picture in marked)
        assert all((picture[104:110, 106:108] == 235).all() for picture in marked)
        assert len({picture.tobytes() for picture in [bare, *marked]}) == 5


def test_build_writes_both_splits_and_the_same_pixels_again(tmp_path):
    first = build(tmp_path / "a", seed=3, per_cell=1)
    again = build(tmp_path / "b", seed=3, per_cell=1)
    assert {name: len(table) for name, table in first.items()} == {"train": 160, "test": 40}
    assert first["test"].features == FEATURES
    for row, other in zip(first["test"], again["test"], strict=True):
        assert row["image"].tobytes() == other["image"].tobytes()
    images = {name: {row["image"].tobytes() for row in first[name]} for name in first}
    assert not images["train"] & images["test"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"split": "dev"}, "dev"),
        ({"split": "test", "per_cell": 0}, "0 questions"),
        ({"split": "test", "seed": -1}, "seed -1"),
        ({"split": "test", "leaky": 1.5}, "1.5"),
        ({"split": "test", "domain": "general", "leaky": 0.5}, "no leaky variant"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        next(questions(**arguments))
