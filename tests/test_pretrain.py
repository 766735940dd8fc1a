"""Making the base: true targets, the numbers of the real processor and model, resumable."""

import functools
import json
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image

from medr1_lib.data import phantoms
from medr1_lib.data.phantom_vqa import questions, values
from medr1_lib.data.phantoms.scene import PLACES, SIZES
from medr1_lib.data.question import DOMAINS, LETTERS
from medr1_lib.data.styles import STYLES, prompt, read, read_strict
from medr1_lib.errors import InputError
from medr1_lib.model.loading import load_policy
from tools.pretrain import (
    attributes,
    card,
    command,
    examples,
    language,
    losses,
    pictures,
    report,
    tower,
    validation,
)
from tools.pretrain.model import TinyVLM
from tools.pretrain.tiny import ASK_CAPTION, HEAD, phrases, tiny_model, tiny_processor

TEXTS = ["Which organ?", ASK_CAPTION, "Where in the picture is the lesion? A)here, B)there"]


@functools.cache
def processor():
    return tiny_processor(tuple(DOMAINS))


@pytest.fixture(scope="module")
def shown():
    return {kind: pictures.drawn(kind, 5, 1, "test images") for kind in DOMAINS}


@pytest.fixture
def vlm():
    tokenizer = processor().tokenizer
    model = tiny_model(tokenizer, seed=3).eval()
    model.set_attn_implementation("eager")  # the losses look at the attention
    return TinyVLM(model, tokenizer)


@pytest.fixture
def seen(vlm, shown):
    return {kind: pictures.features(vlm.model.model.visual, one) for kind, one in shown.items()}


def inputs(texts, pixels):
    made = processor()
    chats = [
        made.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}],
            add_generation_prompt=True,
        )
        for text in texts
    ]
    images = [Image.fromarray(picture) for picture in pixels]
    return made(text=chats, images=images, return_tensors="pt", padding=True)


def test_patches_are_those_of_the_image_processor(shown):
    pixels = shown["general"].pixels[:3]
    assert torch.equal(pictures.patches(pixels), inputs(TEXTS, pixels)["pixel_values"])


def test_an_example_is_what_the_chat_template_writes(vlm):
    theirs = inputs(TEXTS[:1], np.zeros((1, 112, 112, 3), np.uint8))["input_ids"][0].tolist()
    ids, labels = vlm.row(examples.Example(((examples.turn(TEXTS[0]), False),)), image=True)
    assert ids == theirs
    assert set(labels) == {-100}


def test_cached_features_give_the_replies_that_generate_gives_on_pixels(vlm, shown):
    pixels = shown["medical"].pixels[:3]
    grid = inputs(TEXTS, pixels)["image_grid_thw"]
    with torch.no_grad():
        seen = vlm.model.model.visual(pictures.patches(pixels), grid_thw=grid).pooler_output
    given = inputs(TEXTS, pixels)
    written = vlm.model.generate(**given, max_new_tokens=6, do_sample=False)
    texts = vlm.tokenizer.batch_decode(
        written[:, given["input_ids"].shape[1] :], skip_special_tokens=True
    )
    prompts = [examples.turn(text) for text in TEXTS]
    assert vlm.reply(prompts, seen.view(3, 16, -1), 6) == texts
    assert any(texts)
    with torch.no_grad():
        last = vlm.model(**given).logits[:, -1].log_softmax(1)
    letters = vlm.tokenizer.convert_tokens_to_ids(list(LETTERS))
    odds = vlm.letter_odds(prompts, seen.view(3, 16, -1))
    assert torch.allclose(odds, last[:, letters], atol=1e-4)


def test_every_word_of_both_domains_is_one_token():
    tokenizer = processor().tokenizer
    assert all(len(tokenizer.tokenize(word)) == 1 for word in phrases(tuple(DOMAINS)))


@pytest.mark.parametrize("name", STYLES)
def test_every_target_is_true(name, shown):
    rng = np.random.default_rng(0)
    for scene in (*shown["medical"].scenes, *shown["general"].scenes):
        asked = examples.ask(scene, rng)
        for one in (asked, asked.turned(1), asked.turned(3)):
            reply = one.answer(name)
            letter = read_strict(reply, name)
            assert one.options[LETTERS.index(letter)] == getattr(scene, one.attribute)
            assert read(reply, one.options) == one.letter
            assert one.prompt(name) == prompt(one.stem, one.options, name)
            if "think" in STYLES[name].form:
                assert f"{one.attribute}: {getattr(scene, one.attribute)}" in reply
        words = examples.caption(scene)
        assert all(str(value) in words for value in (scene.modality, scene.anatomy, scene.finding))


def test_a_look_up_pairs_every_key_with_its_letter():
    rng = np.random.default_rng(0)
    for _ in range(20):
        (listed, _), *rest = examples.looked_up(rng).parts
        targets = [text for text, is_target in rest if is_target]
        keys = [text.split(": ")[1].split("<")[0] for text, _ in rest if ": " in text]
        assert len(targets) == examples.LOOK_UPS
        assert all(f"{letter}){key}" in listed for letter, key in zip(targets, keys, strict=True))


def test_targets_name_what_a_scene_shows_in_its_own_domain(shown):
    known = list(attributes.vocabulary().values())
    for kind, one in shown.items():
        for scene, row in zip(one.scenes, attributes.targets(one.scenes), strict=True):
            said = [words[k] if k >= 0 else None for words, k in zip(known, row, strict=True)]
            names = ("modality", "acquisition", "anatomy", "finding", "grade", "place")
            truth = [(kind, getattr(scene, name)) for name in names]
            assert said == [word if word[1] else None for word in truth]
        marks = attributes.lesions(one.scenes)
        assert ((marks > 0).sum(1) == torch.tensor([s.grade is not None for s in one.scenes])).all()
        assert marks.max() < attributes.LESIONS


def test_medical_pictures_have_a_code_of_their_own_and_general_ones_words(vlm):
    words = attributes.word_vectors(vlm.model, vlm.tokenizer)
    written = attributes.codes(words, 0)
    for told, own, known in zip(words, written, attributes.vocabulary().values(), strict=True):
        for word, code, (kind, _) in zip(told, own, known, strict=True):
            assert torch.equal(word, code) == (kind == "general")


@pytest.mark.slow
def test_training_resumes_where_it_stopped(vlm, seen, tmp_path):
    def trainer(of):
        args = seen["general"], seen["medical"], language.Schedule(300), 0
        return language.Trainer(of, *args, tmp_path / "state.pt")

    once = trainer(vlm)
    once.steps = language.LOOK_UP_STEPS - 2
    once.run(language.LOOK_UP_STEPS)  # the second is the last of the look-ups
    once.step()
    again = TinyVLM(tiny_model(vlm.tokenizer, seed=4), vlm.tokenizer)
    again.model.set_attn_implementation("eager")
    resumed = trainer(again)
    assert resumed.steps == language.LOOK_UP_STEPS
    scores = resumed.step()
    assert {"text", "letter", "word", "look", "look-up letter", "told text"} <= set(scores)
    for first, second in zip(vlm.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(first, second)


def test_a_schedule_warms_up_and_ends_at_nothing():
    schedule = language.Schedule(700)
    assert schedule.share(1) == 1 / language.WARM_UP
    assert schedule.share(schedule.plateau) == 1
    assert schedule.share(700) == 1 / language.DECAY


def test_questions_come_in_two_orders_of_their_options(vlm, seen, tmp_path):
    args = seen["general"], seen["medical"], language.Schedule(300), 0, tmp_path / "state.pt"
    trainer = language.Trainer(vlm, *args)
    rows = trainer._rows(language.Rows(0, {"no_think": 8}), seen["general"])
    assert len(rows) == 8
    for (one, shown), (other, same) in zip(rows[::2], rows[1::2], strict=True):
        assert torch.equal(shown, same)
        assert one.named[1] == other.named[1]
        assert one.named[0] != other.named[0]


def test_medical_rows_come_in_every_second_step_only(vlm, seen, tmp_path, monkeypatch):
    args = seen["general"], seen["medical"], language.Schedule(300), 0, tmp_path / "state.pt"
    trainer, drawn = language.Trainer(vlm, *args), []

    def noted(wanted, source):
        drawn.append(source)
        return []

    monkeypatch.setattr(trainer, "_rows", noted)
    for trainer.steps in (101, 102):
        trainer._with_images(language.MIXED)
    assert [source is seen["medical"] for source in drawn] == [False, False, True]


def test_the_tower_resumes_where_it_stopped(vlm, shown, tmp_path):
    def train(steps):
        model = tiny_model(vlm.tokenizer, seed=3)
        codes = attributes.codes(attributes.word_vectors(model, vlm.tokenizer), 3)
        visual, checkpoint = model.model.visual, tmp_path / "tower.pt"
        tower.train_tower(visual, codes, double, shown, steps, 0, checkpoint)
        return visual

    double = {
        kind: pictures.Pictures(one.scenes * 2, np.concatenate([one.pixels] * 2))
        for kind, one in shown.items()
    }
    first, again = train(1), train(1)
    fresh = tiny_model(vlm.tokenizer, seed=3).model.visual
    assert tower.finished(fresh, tmp_path / "tower.pt", 2) is None
    assert tower.finished(fresh, tmp_path / "missing.pt", 1) is None
    assert tower.finished(fresh, tmp_path / "tower.pt", 1) is not None
    weights = zip(first.parameters(), again.parameters(), fresh.parameters(), strict=True)
    for one, two, three in weights:
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_the_right_option_is_hinted_at_where_the_letter_is_due(vlm, seen):
    rng = np.random.default_rng(0)
    asked = examples.ask(seen["general"].scenes[0], rng)
    rows = [examples.answered(asked, style) for style in STYLES]
    assert [row.named is None for row in rows] == [True, False, False]
    found = losses.losses(vlm, rows, seen["general"].values[:1].float().expand(3, -1, -1))
    assert set(found) == {"text", "letter", "word", "look"}
    assert all(torch.isfinite(loss) for loss, _ in found.values())


def test_matching_heads_are_lent_to_the_last_layer(vlm):
    losses.lend_heads(vlm)
    layers, rows = vlm.model.model.language_model.layers, slice(0, losses.MATCHING * HEAD)
    learned, last = layers[1].self_attn, layers[-1].self_attn
    assert torch.equal(last.q_proj.weight[rows], learned.k_proj.weight[rows])
    assert torch.equal(last.v_proj.weight[rows], learned.v_proj.weight[rows])


def test_a_letter_habit_is_corrected_without_labels():
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=2000)
    known = 2.0 * np.eye(4)[truth] + rng.gumbel(size=(2000, 4))
    biased = (known + np.array([0, 2.5, -1, 0])).astype(np.float32)
    fair = (known.argmax(1) == truth).mean()
    assert (biased.argmax(1) == truth).mean() < fair - 0.1
    assert abs((validation.corrected(biased) == truth).mean() - fair) < 0.02


@pytest.mark.slow
def test_validation_reads_form_letters_and_odds(vlm, seen):
    asked = validation.asked_about(seen["medical"].scenes, 0)
    for style in STYLES:
        found = validation.validate(vlm, asked, seen["medical"].values, style)
        assert 0 <= found.form <= 1
        assert found.right.shape == (len(asked),)
        assert "forced" in found.summary()


@pytest.mark.slow
def test_the_command_goes_on_where_it_stopped_and_writes_a_model(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "TOWER_STEPS", 1)
    monkeypatch.setattr(command, "LANGUAGE_STEPS", 2)
    monkeypatch.setattr(language, "LOOK_UP_STEPS", 1)
    small = dict.fromkeys(DOMAINS, 1)
    monkeypatch.setattr(report, "SAMPLED", 4)
    monkeypatch.setattr(command, "USES", dict.fromkeys(command.USES, small))
    monkeypatch.setattr(tower, "BATCH", dict.fromkeys(DOMAINS, 4))
    monkeypatch.setattr(report, "SAMPLES", 8)
    monkeypatch.setattr(report, "TRIES", (1,))
    monkeypatch.setattr(card, "TRIES", (1,))
    asked = ["--out", str(tmp_path), "--medical-pictures", "1"]
    assert command.main(asked) == 0
    told = (tmp_path / "report.json").read_text()
    first, saved = load_policy(tmp_path, device="cpu")
    assert len(saved.tokenizer) == len(processor().tokenizer)
    (tmp_path / "report.json").unlink()
    assert command.main(asked) == 0  # both stages are taken from their checkpoints
    again = json.loads((tmp_path / "report.json").read_text())
    assert {**again, "date": ""} == {**json.loads(told), "date": ""}
    for one, other in zip(
        first.parameters(), load_policy(tmp_path, device="cpu")[0].parameters(), strict=True
    ):
        assert torch.equal(one, other)
    with pytest.raises(InputError, match="was begun with"):
        command.main(["--out", str(tmp_path), "--seed", "2"])
    taken = ["--out", str(tmp_path / "half"), "--tower", str(tmp_path), "--medical-pictures", "1"]
    assert command.main(taken) == 0
    half = load_policy(tmp_path / "half", device="cpu")[0].model.visual.state_dict()
    assert all(torch.equal(half[name], w) for name, w in first.model.visual.state_dict().items())
    with pytest.raises(InputError, match="was made with --seed 0 --size tiny --medical little"):
        command.main(["--out", str(tmp_path / "other"), "--tower", str(tmp_path), "--seed", "2"])
    larger = ["--out", str(tmp_path / "larger"), "--size", "larger", "--medical", "full"]
    assert command.main(larger) == 0
    made = json.loads((tmp_path / "larger" / "report.json").read_text())
    assert made["medical"] == {"pictures": 40, "captions": 8, "questions": 8, "every": 1}
    assert made["parameters"] > 1.5 * again["parameters"]
    told = (tmp_path / "larger" / "README.md").read_text()
    assert "--seed 0 --size larger --medical full`" in told
    assert "medical accuracy in `no_think` is" in told


def test_what_is_taught_to_the_full_has_no_other_options(tmp_path, capsys):
    asked = ["--out", str(tmp_path), "--medical", "full", "--medical-captions", "8"]
    with pytest.raises(SystemExit):
        command.main(asked)
    assert "--medical full leaves nothing" in capsys.readouterr().err


def test_a_place_counts_as_told_in_either_domain(vlm, shown, monkeypatch):
    words = attributes.word_vectors(vlm.model, vlm.tokenizer)
    scenes = [scene for one in shown.values() for scene in one.scenes if scene.place]
    wanted = attributes.targets(scenes)[:, -1]
    seen = words[-1][wanted][:, None].expand(-1, 16, -1)
    monkeypatch.setattr(tower, "encode", lambda _, rows: seen[rows])
    one = pictures.Pictures(scenes, np.arange(len(scenes)))
    assert tower.recognized(vlm.model.model.visual, words, one)["place"] == 1


@pytest.mark.slow
def test_the_card_tells_the_report(vlm, seen, monkeypatch):
    monkeypatch.setattr(report, "SAMPLES", 8)
    monkeypatch.setattr(report, "TRIES", (1, 8))
    monkeypatch.setattr(card, "TRIES", (1, 8))
    found = {
        "seed": 0, "size": "tiny", "taught": "little", "parameters": 1,
        "medical": {"pictures": 9, "captions": 2, "questions": 2, "every": 2},
        "steps": {"tower": 1, "language": 1}, "minutes": {"tower": 1, "language": 1},
        "hardware": "a chip", "date": "today",
        "domains": report.report(vlm, seen, seen["general"].values[:1], 0),
    }  # fmt: skip
    text = card.card(found)
    assert "| medical: caption oracle 0.0 | think_before | no_think | think_after |" in text
    assert "Textile" not in text  # cells are those of the medical domain
    assert found["domains"]["medical"]["n"] == len(seen["medical"].scenes)


@pytest.mark.parametrize("modality", DOMAINS["general"])
def test_every_value_of_an_everyday_picture_is_drawn_and_differs(modality):
    rng = np.random.default_rng(1)
    base = phantoms.random_scene(rng, modality, grade="huge", place="upper left")
    choices = phantoms.vocabulary(modality)
    assert choices["grade"] == SIZES
    choices["finding"] = choices["finding"][1:]
    assert base.scanner is None
    for attribute, known in choices.items():
        drawn = [phantoms.draw(replace(base, **{attribute: value})).tobytes() for value in known]
        assert all(one != other for one, other in combinations(drawn, 2)), attribute


def test_no_word_of_the_general_domain_is_medical():
    words = {
        kind: {text for m in DOMAINS[kind] for t in examples.QUESTION_TYPE_OF.values()
               for text in values(m, t)} | set(DOMAINS[kind])
        for kind in DOMAINS
    }  # fmt: skip
    assert words["general"] & words["medical"] == set(PLACES)


def test_general_questions_are_balanced_and_have_no_variants():
    asked = list(questions("test", per_cell=4, domain="general"))
    cells = Counter((q.modality, q.question_type) for q in asked)
    assert set(cells.values()) == {4}
    assert {modality for modality, _ in cells} == set(DOMAINS["general"])
    assert Counter(q.answer for q in asked) == dict.fromkeys(LETTERS, len(asked) // 4)
    with pytest.raises(InputError, match="domain general: has no leaky"):
        next(questions("test", leaky=0.5, domain="general"))
    with pytest.raises(InputError, match="no such domain"):
        next(questions("test", domain="dental"))
