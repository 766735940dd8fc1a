"""Pretraining: only true targets, the same numbers as the real processor and model, resumable."""

import numpy as np
import policies
import pytest
import torch
from PIL import Image

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.schema import LETTERS
from medr1_lib.data.styles import STYLES, prompt, read, read_strict
from medr1_lib.policy.pretraining import exam, lessons, scenes, teach, tower
from medr1_lib.policy.pretraining.command import album
from medr1_lib.policy.pretraining.language import Pupil
from medr1_lib.policy.processor import ASK_CAPTION
from medr1_lib.policy.tiny import tiny_model

TEXTS = ["Which organ?", ASK_CAPTION, "Where in the picture is the lesion? A)here, B)there"]


@pytest.fixture(scope="module")
def shown():
    return scenes.pool(5, 1, "test images")


@pytest.fixture
def pupil():
    tokenizer = policies.processor().tokenizer
    return Pupil(tiny_model(tokenizer, seed=3).eval(), tokenizer)


def inputs(texts, pixels):
    processor = policies.processor()
    chats = [
        processor.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
            add_generation_prompt=True,
        )
        for text in texts
    ]
    images = [Image.fromarray(picture) for picture in pixels]
    return processor(text=chats, images=images, return_tensors="pt", padding=True)


def test_patches_are_those_of_the_image_processor(shown):
    theirs = inputs(TEXTS, shown.pixels[:3])
    assert torch.equal(scenes.patches(shown.pixels[:3]), theirs["pixel_values"])
    assert torch.equal(scenes.grid(3), theirs["image_grid_thw"])


def test_a_lesson_is_what_the_chat_template_writes(pupil):
    theirs = inputs(TEXTS[:1], np.zeros((1, 112, 112, 3), np.uint8))["input_ids"][0].tolist()
    ids, labels = pupil.row([(lessons.turn(TEXTS[0]), False)], image=True)
    assert ids == theirs
    assert set(labels) == {-100}


def test_cached_features_give_the_replies_that_generate_gives_on_pixels(pupil, shown):
    with torch.no_grad():
        seen = pupil.model.model.visual(
            scenes.patches(shown.pixels[:3]), grid_thw=scenes.grid(3)
        ).pooler_output
    given = inputs(TEXTS, shown.pixels[:3])
    written = pupil.model.generate(**given, max_new_tokens=6, do_sample=False)
    texts = pupil.tokenizer.batch_decode(
        written[:, given["input_ids"].shape[1] :], skip_special_tokens=True
    )
    features = seen.view(3, 16, -1)
    assert pupil.reply([lessons.turn(text) for text in TEXTS], features, 6) == texts
    assert any(texts)


@pytest.mark.parametrize("name", STYLES)
def test_every_target_is_true(name, shown):
    rng = np.random.default_rng(0)
    for scene in shown.scenes:
        asked = lessons.ask(scene, rng)
        reply = asked.answer(STYLES[name])
        letter = read_strict(reply, STYLES[name])
        assert asked.options[LETTERS.index(letter)] == getattr(scene, asked.attribute)
        assert read(reply, asked.options) == asked.letter
        if "think" in STYLES[name].form:
            assert f"{asked.attribute}: {getattr(scene, asked.attribute)}" in reply
        words = lessons.caption(scene)
        assert all(str(value) in words for value in (scene.modality, scene.anatomy, scene.finding))


def test_a_look_up_pairs_every_key_with_its_letter():
    rng = np.random.default_rng(0)
    for _ in range(20):
        (listed, _), *rest = lessons.looked_up(rng)
        taught = [text for text, is_taught in rest if is_taught]
        keys = [text.split(": ")[1].split("<")[0] for text, _ in rest if ": " in text]
        assert len(taught) == lessons.LOOK_UPS
        assert all(f"{letter}){key}" in listed for letter, key in zip(taught, keys, strict=True))


def test_it_is_asked_as_in_evaluation():
    question = next(questions("pretrain"))
    scene = Scene.from_json(question.scene)
    asked = lessons.ask(scene, np.random.default_rng(0))
    style = STYLES["think_after"]
    assert asked.prompt(style) == prompt(asked.stem, asked.options, style)


def test_a_lesion_lies_in_the_token_of_its_place(shown):
    marks = scenes.lesions(shown.scenes)
    assert ((marks > 0).sum(1) == torch.tensor([scene.has_lesion for scene in shown.scenes])).all()
    assert marks.max() < scenes.LESIONS


def test_teaching_resumes_where_it_stopped(pupil, shown, tmp_path):
    seen = album(pupil.model.model.visual, shown)
    once = teach.Teacher(pupil, seen, 0, tmp_path / "state.pt")
    once.give(teach.CAPTIONS, 1.0)
    once.save()
    once.give(teach.CAPTIONS, 1.0)
    again = Pupil(tiny_model(pupil.tokenizer, seed=4), pupil.tokenizer)
    resumed = teach.Teacher(again, seen, 9, tmp_path / "state.pt")
    assert resumed.steps == 1
    resumed.give(teach.CAPTIONS, 1.0)
    for first, second in zip(pupil.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, second)


def test_the_tower_resumes_where_it_stopped(shown, tmp_path):
    def train(steps, checkpoint):
        model = tiny_model(policies.processor().tokenizer, seed=3)
        tower.train_tower(
            model, policies.processor().tokenizer, double, shown, steps, 0, checkpoint
        )
        return model.model.visual

    double = scenes.Pool(shown.scenes * 2, np.concatenate([shown.pixels] * 2))
    first, again = train(1, tmp_path / "a.pt"), train(1, tmp_path / "a.pt")
    fresh = tiny_model(policies.processor().tokenizer, seed=3).model.visual
    assert not tower.finished(fresh, tmp_path / "a.pt", 2)
    assert not tower.finished(fresh, tmp_path / "missing.pt", 1)
    assert tower.finished(fresh, tmp_path / "a.pt", 1)
    for one, two, three in zip(
        first.parameters(), again.parameters(), fresh.parameters(), strict=True
    ):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_an_exam_of_an_untrained_model_finds_nothing(pupil, shown):
    seen = album(pupil.model.model.visual, shown)
    marks = exam.examine(pupil, seen.scenes[:8], seen.features[:8], STYLES["no_think"], 0)
    assert (marks.accuracy, marks.form) == (0, 0)
    assert exam.oracle(pupil, seen.scenes[:8], seen.features[:8], 0) == 0
