"""Pretraining: only true targets, the same numbers as the real processor and model, resumable."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import policies
import pytest
import torch
from PIL import Image

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.question import LETTERS
from medr1_lib.data.styles import STYLES, prompt, read, read_strict
from medr1_lib.errors import InputError
from medr1_lib.model.loading import load_policy
from medr1_lib.model.tiny import ASK_CAPTION, HEAD, tiny_model
from tools.pretrain import command, errors, exam, growing, lessons, report, scenes, teach, tower
from tools.pretrain.command import album
from tools.pretrain.language import Pupil

TINY_BASE = Path(__file__).parents[1] / "data/tiny-qwen2-vl"
TEXTS = ["Which organ?", ASK_CAPTION, "Where in the picture is the lesion? A)here, B)there"]


@pytest.fixture(scope="module")
def shown():
    return scenes.pool(5, 1, "test images")


@pytest.fixture
def pupil():
    tokenizer = policies.processor().tokenizer
    model = tiny_model(tokenizer, seed=3).eval()
    model.set_attn_implementation("eager")  # errors look at the attention
    return Pupil(model, tokenizer)


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
    ids, labels = pupil.row(lessons.Lesson(((lessons.turn(TEXTS[0]), False),)), image=True)
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
        reply = asked.answer(name)
        letter = read_strict(reply, name)
        assert asked.options[LETTERS.index(letter)] == getattr(scene, asked.attribute)
        assert read(reply, asked.options) == asked.letter
        if "think" in STYLES[name].form:
            assert f"{asked.attribute}: {getattr(scene, asked.attribute)}" in reply
        words = lessons.caption(scene)
        assert all(str(value) in words for value in (scene.modality, scene.anatomy, scene.finding))


def test_a_look_up_pairs_every_key_with_its_letter():
    rng = np.random.default_rng(0)
    for _ in range(20):
        (listed, _), *rest = lessons.looked_up(rng).parts
        taught = [text for text, is_taught in rest if is_taught]
        keys = [text.split(": ")[1].split("<")[0] for text, _ in rest if ": " in text]
        assert len(taught) == lessons.LOOK_UPS
        assert all(f"{letter}){key}" in listed for letter, key in zip(taught, keys, strict=True))


def test_it_is_asked_as_in_evaluation():
    question = next(questions("pretrain"))
    scene = question.scene
    asked = lessons.ask(scene, np.random.default_rng(0))
    style = "think_after"
    assert asked.prompt(style) == prompt(asked.stem, asked.options, style)


def test_a_lesion_lies_in_the_token_of_its_place(shown):
    marks = scenes.lesions(shown.scenes)
    assert ((marks > 0).sum(1) == torch.tensor([scene.has_lesion for scene in shown.scenes])).all()
    assert marks.max() < scenes.LESIONS


def test_teaching_resumes_where_it_stopped(pupil, shown, tmp_path):
    seen = album(pupil.model.model.visual, shown)
    once = teach.Teacher(pupil, seen, 0, tmp_path / "state.pt")
    once.give(teach._dose(STYLES))
    once.save()
    once.give(teach._dose(STYLES))
    again = Pupil(tiny_model(pupil.tokenizer, seed=4), pupil.tokenizer)
    again.model.set_attn_implementation("eager")
    resumed = teach.Teacher(again, seen, 9, tmp_path / "state.pt")
    assert resumed.steps == 1
    resumed.give(teach._dose(STYLES))
    for first, second in zip(pupil.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, second)


def marks(*accuracy, form=0.8):
    sat = (exam.Marks(share, form) for share in accuracy)
    return dict(zip(STYLES, sat, strict=True))


LOW, FIT = marks(0.3, 0.3, 0.3), marks(0.4, 0.4, 0.4)


def test_school_ends_with_every_style_in_the_band():
    assert teach.in_band(marks(0.35, 0.5, 0.45))
    assert not teach.in_band(marks(0.34, 0.45, 0.45))
    assert not teach.in_band(marks(0.45, 0.51, 0.45))
    assert not teach.in_band(marks(0.45, 0.45, 0.45, form=0.59))


def test_what_is_known_well_enough_is_not_taught():
    assert teach.lacking(marks(0.39, 0.6, 0.45)) == ["think_before"]
    assert teach.lacking(marks(0.6, 0.6, 0.6)) == []
    assert teach.lacking(marks(0.6, 0.6, 0.6, form=0.64)) == list(STYLES)


@pytest.fixture
def school(pupil, shown, tmp_path, monkeypatch):
    """School with a teacher who only notes step, dose and a random number; exams find as told."""
    seen, notes = album(pupil.model.model.visual, shown), []

    def give(self, dose):
        self.steps += 1
        notes.append((self.steps, dose, self.rng.random()))
        if self.steps == teach.LAST_TERM:
            self.save()
        return {}

    def attend(*sat):
        found = iter([mark for one in sat for mark in one.values()])
        monkeypatch.setattr(teach, "examine", lambda *args: next(found))
        monkeypatch.setattr(teach, "lend_heads", lambda pupil: None)
        monkeypatch.setattr(teach.Teacher, "give", give)
        teach.teach(pupil, seen, seen, 7, tmp_path / "state.pt")
        return notes

    return attend


def test_what_is_too_good_is_left_alone_until_it_fits(school):
    notes = school(marks(0.6, 0.3, 0.45), marks(0.6, 0.45, 0.45), marks(0.5, 0.4, 0.4))
    doses = [dose for _, dose, _ in notes[teach.LOOK_UP_STEPS :]]
    assert [set(dose.styles) for dose in doses] == [{"no_think"}] * 5 + [set()] * 5
    assert all(dose.described for dose in doses)


def test_the_last_term_is_repeated_with_other_lessons_until_the_styles_meet(school):
    until, term = teach.LAST_TERM - teach.LOOK_UP_STEPS, teach.TERM
    exams = 1 + (until + term) // teach.SOON + 1  # and one more where it comes back to
    notes = school(*[LOW] * exams, FIT)[teach.LAST_TERM :]
    drawn = [np.random.default_rng([7, draw]).random() for draw in (20, 21)]
    assert [x for step, _, x in notes if step == teach.LAST_TERM + 1] == drawn
    assert [step for step, _, _ in notes[term:]] == [teach.LAST_TERM + k + 1 for k in range(5)]


@pytest.mark.slow
def test_a_grown_model_says_what_the_small_one_says_until_it_is_taught(pupil, shown):
    large = growing.grown(pupil.model).eval()
    assert large.num_parameters() > 4 * pupil.model.num_parameters()
    given = inputs(TEXTS, shown.pixels[:3])
    with torch.no_grad():
        said, same = (model(**given).logits for model in (pupil.model, large))
    assert torch.equal(said, same)
    seen = album(pupil.model.model.visual, shown)
    taught = Pupil(large, pupil.tokenizer)
    large.set_attn_implementation("eager")
    teach.Teacher(taught, seen, 0, Path("unused")).give(teach._dose(list(STYLES)))
    new = large.model.language_model.layers[growing.LAYERS - 2]
    assert new.mlp.down_proj.weight.any()
    assert new.self_attn.o_proj.weight.any()


def test_what_cannot_grow_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        command.main(["--larger", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])
    with pytest.raises(InputError, match=r"is no Qwen2-VL of its own"):
        command.main(["--larger", str(policies.newer()), "--out", str(tmp_path / "out")])


@pytest.mark.parametrize("how", ["--larger", "--longer"])
def test_it_is_taught_every_style_to_the_end(how, tmp_path, monkeypatch):
    doses = []

    def give(self, dose):
        self.steps += 1
        doses.append((dose, self.rate))

    monkeypatch.setattr(teach.Teacher, "give", give)
    monkeypatch.setattr(command, "POOLS", {"language": 1})
    assert command.main([how, str(TINY_BASE), "--out", str(tmp_path)]) == 0
    assert len(doses) == teach.ON_STEPS
    assert all(set(dose.styles) == set(STYLES) for dose, _ in doses)
    assert {rate for _, rate in doses} == {teach.ON_RATE}
    small, large = load_policy(TINY_BASE)[0], load_policy(tmp_path)[0]
    assert torch.equal(small.lm_head.weight, large.lm_head.weight)
    assert (large.num_parameters() > small.num_parameters()) == (how == "--larger")
    with pytest.raises(InputError, match="was begun with --seed 0"):
        command.main([how, str(TINY_BASE), "--out", str(tmp_path), "--seed", "1"])


def test_an_eye_is_taken_as_it_is_and_the_rest_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "POOLS", {"held out": 1, "language": 1, "report": 1})
    monkeypatch.setattr(command, "teach", lambda *args: torch.save((5, 60.0), args[-1]))
    monkeypatch.setattr(command, "report", lambda *args: {"n": 1})
    monkeypatch.setattr(command, "card", str)
    assert command.main(["--eye", str(TINY_BASE), "--out", str(tmp_path)]) == 0
    base, made = load_policy(TINY_BASE)[0], load_policy(tmp_path)[0]
    fresh = tiny_model(policies.processor().tokenizer, seed=0)
    pairs = (made.model.visual, base.model.visual), (made.lm_head, fresh.lm_head)
    for one, other in pairs:
        for first, second in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(first, second)
    told, was = (json.loads((model / "report.json").read_text()) for model in (tmp_path, TINY_BASE))
    assert told["eye"] == was["eye"]
    assert (told["language"]["steps"], told["language"]["minutes"]) == (5, 1)


def test_an_eye_that_does_not_fit_is_refused(tmp_path):
    told = tmp_path / "model" / "report.json"
    told.parent.mkdir()
    for found in (None, '{"seed": 0}', '{"eye": {}}', "[]", "{"):
        if found:
            told.write_text(found)
        wanted = r"model: has no report.json about its eye; name what `pretrain` made"
        with pytest.raises(InputError, match=wanted):
            command.main(["--eye", str(told.parent), "--out", str(tmp_path / "a")])
    with pytest.raises(InputError, match="was made from seed 0; ask for the same --seed"):
        command.main(["--eye", str(TINY_BASE), "--out", str(tmp_path / "a"), "--seed", "1"])
    assert not list(tmp_path.rglob("begun.txt"))  # the folder can be used for the right one


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
    asked = exam.asked_about(seen.scenes[:8], 0)
    marks = exam.examine(pupil, asked, seen.features[:8], "no_think")
    assert (marks.accuracy, marks.form) == (0, 0)
    assert not exam.oracle(pupil, asked, seen.features[:8]).any()


def test_a_lent_head_finds_the_text_that_the_model_would_say(pupil):
    errors.lend_heads(pupil)
    layers = pupil.model.model.language_model.layers
    learned, last = layers[1].self_attn, layers[-1].self_attn
    rows = slice(0, errors.MATCHING * HEAD)
    assert torch.equal(last.q_proj.weight[rows], learned.k_proj.weight[rows])
    assert torch.equal(last.o_proj.weight[:, rows], learned.o_proj.weight[:, rows])
    assert not torch.equal(last.k_proj.weight[rows.stop :], learned.k_proj.weight[rows.stop :])


@pytest.mark.parametrize("told", [True, False])
def test_the_hints_look_where_the_right_option_stands(pupil, shown, told):
    """A model that says the right word below the last layer, and looks at it, has no hint left."""
    rng, scene = np.random.default_rng(0), shown.scenes[0]
    lesson = lessons.told(scene, rng) if told else lessons.answered("no_think")(scene, rng)
    letter, text = lesson.named
    ids = pupil.row(lesson, image=not told)[0]
    due = len(ids) - 1 - ids[::-1].index(pupil.tokens("<answer>")[0])
    pair = [*pupil.tokens(f"{letter})"), *pupil.tokens(text)]
    right = next(k for k in range(due) if ids[k : k + 3] == pair) + 2
    assert pupil.tokenizer.decode(ids[due + 1]) == letter

    words = pupil.model.get_input_embeddings().weight
    below, looks = torch.zeros(1, len(ids), 192), torch.zeros(1, 6, len(ids), len(ids))
    below[0, due] = 100 * words[ids[right]]
    looks[0, :2, due, right] = 1
    output = SimpleNamespace(hidden_states=(below, below), attentions=(looks,))
    hints = errors._hints(pupil, torch.tensor([ids]), output, {0: lesson.named})
    assert hints["word"][1] == 1
    assert float(hints["look"][0]) == 0
    looks[0, :2, due, right], looks[0, :2, due, right - 1] = 0, 1
    missed = errors._hints(pupil, torch.tensor([ids]), output, {0: lesson.named})
    assert float(missed["look"][0]) > 1


def test_padding_does_not_change_what_a_lesson_is_scored(pupil, shown):
    rng = np.random.default_rng(0)
    short, long = lessons.told(shown.scenes[0], rng), lessons.looked_up(rng)
    longer = replace(long, parts=long.parts + long.parts)
    alone = errors.errors(pupil, [short], None)
    unnamed = replace(longer, parts=tuple((text, False) for text, _ in longer.parts))
    beside = errors.errors(pupil, [short, unnamed], None)
    for name in ("letter", "text", "word", "look"):
        torch.testing.assert_close(alone[name][0], beside[name][0])


def test_pass_at_k_is_the_chance_of_drawing_a_hit():
    hits = np.array([2])
    drawn = [any(pick) for pick in combinations([1, 1, 0, 0, 0, 0], 3)]
    assert report.pass_at(3, hits, 6) == pytest.approx(np.mean(drawn))
    assert report.pass_at(6, hits, 6) == 1


@pytest.mark.slow
def test_the_report_of_an_untrained_model(pupil, shown):
    seen = album(pupil.model.model.visual, shown)
    few = teach.Album(seen.scenes[:4], seen.features[:4])
    found = report.report(pupil, few, 0)
    assert found["n"] == 4
    assert found["styles"]["think_after"]["pass_at"] == {1: 0, 4: 0, 8: 0, 16: 0}
    assert found["styles"]["think_after"]["no_spread"] == 1
