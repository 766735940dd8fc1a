import json
from collections import Counter
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pandas as pd
import policies
import pytest
from layouts import picture
from PIL import Image

from medr1_lib.data import dataset, phantom_vqa
from medr1_lib.data.images import png
from medr1_lib.data.question import Question
from medr1_lib.data.styles import STYLES, prompt
from medr1_lib.errors import InputError
from medr1_lib.evaluation import evaluate
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.evaluation.ask import Asker, question_chat
from medr1_lib.evaluation.evaluate import Settings
from medr1_lib.evaluation.items import EvalPrompt, EvalSet, shuffled
from medr1_lib.model.loading import load_policy

ALL = ("blank", "shuffled", "text")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two questions about each modality; images of three sizes."""
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    cells = list(phantom_vqa.questions("test", per_cell=1))
    asked = [cells[5 * n + n % 5] for n in range(8)]  # every modality, every question type
    asked += [replace(q, image_id=q.image_id + "-2", scene=None) for q in asked]
    sizes = ((64, 64), (112, 64), (64, 112))
    rows = [q.record({"bytes": png(picture(n, sizes[n % 3]))}) for n, q in enumerate(asked)]
    dataset.write(folder, {"test": rows}, {"seed": 0})
    return folder


@pytest.fixture(scope="module")
def items(root):
    return EvalSet(root)


@pytest.fixture(scope="module")
def policy():
    return load_policy(policies.saved(), device="cpu")


def asked_alone(policy, items, one, length):
    """The reply to one prompt by `generate` as transformers does it, nothing shared."""
    model, processor = policy
    question, image = items.questions[one.item], items.image(one)
    text = {"type": "text", "text": prompt(question.question, question.options, one.style)}
    content = [{"type": "image"}, text] if image else [text]
    chat = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    inputs = processor(text=[chat], images=[image] if image else None, return_tensors="pt")
    ids = [processor.image_token_id, processor.video_token_id]
    how = {"max_new_tokens": length, "do_sample": False, "suppress_tokens": ids}
    output = model.generate(**inputs, **how)[0, inputs["input_ids"].shape[1] :].tolist()
    end = processor.tokenizer.eos_token_id
    return tuple(output[: output.index(end)] if end in output else output)


# Greedy decoding


@pytest.mark.parametrize("folder", [policies.saved, policies.newer])
def test_batches_answer_as_one_by_one_does(folder, items, tmp_path):
    policy = load_policy(folder(), device="cpu")
    prompts = items.prompts(("think_before", "no_think"), ALL, 3, seed=0)
    settings = Settings(("think_before", "no_think"), ALL, 3, max_new_tokens=10)
    found = run(policy, items, tmp_path / "out", settings, batch_size=5)
    assert len(found) == len(prompts) == 3 * 2 * 4
    rows = found.set_index(["item", "style", "control"])
    for one in prompts:
        row, alone = (
            rows.loc[(one.item, one.style, one.control)],
            asked_alone(policy, items, one, 10),
        )
        text = policy[1].tokenizer.decode(alone, skip_special_tokens=True)
        assert (row["completion"], row["tokens"]) == (text, len(alone))
    assert found["tokens"].max() == 10


QUESTION = Question(
    "Which organ?", ("liver", "lung"), "B", "CT", "Anatomy Identification", "1", "x"
)


def test_a_prompt_shows_the_image_first_or_not_at_all():
    seen = question_chat(policies.processor(), QUESTION, "no_think", image=True)
    blind = question_chat(policies.processor(), QUESTION, "no_think", image=False)
    marker = "<|vision_start|><|image_pad|><|vision_end|>"
    assert marker + "Which organ? A)liver, B)lung." in seen
    assert blind == seen.replace(marker, "")


# Controls


@pytest.mark.parametrize("seed", range(5))
def test_every_image_changes_place_within_its_modality(items, seed):
    questions = items.questions
    others = shuffled([q.image_id for q in questions], [q.modality for q in questions], seed)
    for question, other in zip(questions, others, strict=True):
        assert questions[other].image_id != question.image_id
        assert questions[other].modality == question.modality
    assert Counter(others) == Counter(range(len(questions)))  # each image used once


def test_an_image_that_is_alone_in_its_modality_stays_where_it_was():
    assert shuffled(["a", "b", "c", "c"], ["CT", "CT", "OCT", "OCT"], 0) == [1, 0, 2, 2]


def test_two_questions_about_an_image_get_the_same_other_one():
    names, labels = ["a", "a", "b", "b", "c"], ["CT"] * 5
    others = shuffled(names, labels, 0)
    assert [names[i] for i in others[:2]] in (["b", "b"], ["c", "c"])
    assert shuffled(names, labels, 0) == others
    drawn = {tuple(shuffled(names, labels, seed)) for seed in range(9)}
    assert len(drawn) == 2  # three images have two circles


def test_what_each_control_shows(items):
    prompts = {t.control: t for t in items.prompts(("no_think",), ALL, None, 0) if t.item == 3}
    real = items.image(prompts["none"])
    assert real.size == (64, 64)
    assert (
        items.image(prompts["blank"]).tobytes() == Image.new("RGB", (64, 64), "#808080").tobytes()
    )
    assert items.image(prompts["text"]) is None
    other = items.questions[prompts["shuffled"].shown]
    assert other.modality == items.questions[3].modality
    assert items.image(prompts["shuffled"]).tobytes() != real.tobytes()


# EvalSet


def test_neighbours_are_alike(items, monkeypatch):
    monkeypatch.setattr("medr1_lib.evaluation.items.CHUNK", 10)
    prompts = items.prompts(tuple(STYLES), ("text",), None, 0)
    assert len(set(prompts)) == len(prompts) == 16 * 3 * 2
    first, rest = prompts[:60], prompts[60:]
    assert len({one.item for one in first}) == 10
    assert not {one.item for one in first} & {one.item for one in rest}
    for part in (first, rest):
        runs = [list(run) for _, run in groupby(part, key=lambda t: (t.shown is None, t.style))]
        assert len(runs) == 6
        for run in runs:
            lengths = [items._lengths[one.item] for one in run]
            assert lengths == sorted(lengths)


def test_a_limit_draws_by_the_seed(items):
    def drawn(seed):
        return {one.item for one in items.prompts(("no_think",), (), 6, seed)}

    assert len(drawn(0)) == 6
    assert drawn(0) == drawn(0) != drawn(1)
    assert len(items.prompts(("no_think",), (), 99, 0)) == 16


def test_the_fingerprint_changes_with_a_pixel_and_with_a_word(items, tmp_path):
    def fingerprint(name, **changes):
        rows = [
            replace(q, **(changes if n == 5 else {})).record({"bytes": items._images[n].as_py()})
            for n, q in enumerate(items.questions)
        ]
        if name == "pixel":
            rows[5]["image"] = {"bytes": png(picture(99, (64, 112)))}
        dataset.write(tmp_path / name, {"test": rows}, {})
        return EvalSet(tmp_path / name).sha256

    assert fingerprint("same") == items.sha256
    assert len({items.sha256, fingerprint("word", question="?"), fingerprint("pixel")}) == 3


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (None, "has no image"),
        ({"bytes": b"no image"}, "is not an image that can be read"),
    ],
)
def test_a_record_without_a_sound_image_is_named(tmp_path, image, problem):
    rows = [QUESTION.record({"bytes": png(picture())}), QUESTION.record(image)]
    dataset.write(tmp_path / "data", {"test": rows}, {})
    with pytest.raises(InputError, match=rf"test record 1 \(1\).*{problem}"):
        EvalSet(tmp_path / "data")


def test_a_cut_image_is_named_when_it_is_shown(tmp_path):
    whole = png(picture(0, (64, 64)))
    dataset.write(tmp_path / "data", {"test": [QUESTION.record({"bytes": whole[:3000]})]}, {})
    items = EvalSet(tmp_path / "data")
    with pytest.raises(InputError, match=r"record 0 \(1\), its image: is damaged"):
        items.image(EvalPrompt(0, 0, "no_think", "none"))


def test_a_split_that_is_not_there_is_refused(tmp_path):
    dataset.write(tmp_path / "data", {"train": [QUESTION.record({"bytes": png(picture())})]}, {})
    with pytest.raises(InputError, match=r"has no test split.*choose one of train"):
        EvalSet(tmp_path / "data")
    assert len(EvalSet(tmp_path / "data", "train").questions) == 1


# Answers


@pytest.fixture
def said(monkeypatch):
    """Replies by prompt instead of a model; `said.asked` counts the prompts."""

    class Script:
        def __init__(self):
            self.asked, self.words = 0, lambda question: "<answer>B</answer>"

        def reply(self, asker, chats, images):
            self.asked += len(chats)
            words = [asker.processor.tokenizer(self.words(chat)).input_ids for chat in chats]
            return [tokens[: asker.max_new_tokens] for tokens in words]

    script = Script()
    monkeypatch.setattr(Asker, "complete_ids", lambda *asked: script.reply(*asked))
    return script


def run(policy, items, out, settings, **how):
    return evaluate.evaluate(*policy, items, AnswerLog(out, {}, {}), settings, **how)


def test_an_answer_says_what_was_asked_and_what_was_meant(policy, items, said, tmp_path):
    said.words = lambda chat: "<answer>c)</answer> surely" if "<think>" in chat else "B"
    settings = Settings(("think_after", "no_think"), ("text",))
    found = run(policy, items, tmp_path / "out", settings)
    assert len(found) == 16 * 2 * 2
    for row in found.itertuples():
        question = items.questions[row.item]
        assert (row.image_id, row.question, row.answer) == (
            question.image_id,
            question.question,
            question.answer,
        )
        assert tuple(row.options) == question.options
        assert (row.modality, row.source) == (question.modality, "phantom")
        assert row.parsed == ("C" if row.style == "think_after" else "B")
        assert row.correct == (row.parsed == question.answer)
        assert not row.format_ok
    assert set(found["completion"]) == {"<answer>c)</answer> surely", "B"}


def test_the_form_that_the_prompt_shows_is_read_as_correct(policy, items, said, tmp_path):
    said.words = lambda chat: next(
        style.completion("A", "why") for style in STYLES.values() if f"as {style.form}," in chat
    )
    found = run(policy, items, tmp_path / "out", Settings(tuple(STYLES)))
    assert found["format_ok"].all()
    assert (found["parsed"] == "A").all()
    assert (found["correct"] == (found["answer"] == "A")).all()


def test_replies_that_run_on_are_cut(policy, items, said, tmp_path):
    said.words = lambda chat: "A" if "How was" in chat else "B " * 99
    short = sum("How was" in question.question for question in items.questions)
    assert 0 < short < 16
    found = run(
        policy, items, tmp_path / "out", Settings(("no_think",), max_new_tokens=100), batch_size=5
    )
    assert len(found) == 16
    assert sorted(found["tokens"]) == [1] * short + [100] * (16 - short)
    assert said.asked == 16
    assert (found["parsed"].isna() == (found["tokens"] == 100)).all()


def test_an_interrupted_run_goes_on_where_it_stopped(policy, items, said, tmp_path):
    settings = Settings(("no_think",), ("blank",))
    whole = run(policy, items, tmp_path / "whole", settings, batch_size=4)
    assert said.asked == 32
    said.asked, answer = 0, said.reply

    def stopped(*args):
        if said.asked == 12:
            raise KeyboardInterrupt
        return answer(*args)

    said.reply = stopped
    with pytest.raises(KeyboardInterrupt):
        run(policy, items, tmp_path / "cut", settings, batch_size=4)
    (tmp_path / "cut/parts/000003.part").write_bytes(b"half a file")  # killed while writing
    said.reply, said.asked = answer, 0
    again = run(policy, items, tmp_path / "cut", settings, batch_size=7)
    assert said.asked == 20
    key = ["item", "control"]
    pd.testing.assert_frame_equal(
        again.sort_values(key, ignore_index=True), whole.sort_values(key, ignore_index=True)
    )


def test_a_finished_run_is_not_asked_again(policy, items, said, tmp_path):
    settings, out = Settings(("no_think",)), tmp_path / "out"
    run(policy, items, out, settings)
    done = AnswerLog(out, {}, {}).finish({"seconds": 1})
    assert sorted(path.name for path in out.iterdir()) == ["answers.parquet", "card.json"]
    said.asked = 0
    pd.testing.assert_frame_equal(run(policy, items, out, settings), done)
    assert said.asked == 0
    assert json.loads((out / dataset.CARD).read_text())["seconds"] == 1


def test_another_setting_or_a_folder_in_use_is_refused(tmp_path):
    AnswerLog(tmp_path / "out", {"seed": 0, "limit": 4}, {})
    AnswerLog(tmp_path / "out", {"seed": 0, "limit": 5}, {})  # nothing was answered yet
    (tmp_path / "out/parts").mkdir()
    (tmp_path / "out/parts/000000.parquet").touch()
    AnswerLog(tmp_path / "out", {"seed": 0, "limit": 5}, {})
    with pytest.raises(InputError, match=r"made with another limit \(5, now 6\)"):
        AnswerLog(tmp_path / "out", {"seed": 0, "limit": 6}, {})
    (tmp_path / "used").mkdir()
    (tmp_path / "used/thesis.tex").touch()
    with pytest.raises(InputError, match="already in use"):
        AnswerLog(tmp_path / "used", {}, {})
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        AnswerLog(tmp_path / "file/out", {}, {})


def test_a_full_disk_is_told_and_loses_nothing(policy, items, said, tmp_path, monkeypatch):
    written, opened = [], Path.open

    def full(path, *arguments, **named):
        if path.suffix == ".part":
            if len(written) == 3:  # the card and two batches
                raise OSError(28, "No space left on device")
            written.append(path)
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(InputError, match=r"No space left on device.*goes on from here"):
        run(policy, items, tmp_path / "out", Settings(("no_think",)), batch_size=4)
    monkeypatch.setattr(Path, "open", opened)
    said.asked = 0
    assert len(run(policy, items, tmp_path / "out", Settings(("no_think",)))) == 16
    assert said.asked == 8
