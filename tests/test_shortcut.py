"""A model that follows the mark is told from one that is merely wrong."""

import numpy as np
import pandas as pd
import pytest

from medr1_lib.analysis import shortcut
from medr1_lib.data.phantom_vqa import MARKS, questions, values
from medr1_lib.data.phantoms import SCANNERS
from medr1_lib.errors import InputError

ASKED = {mark: list(questions("test", per_cell=8, mark=mark)) for mark in MARKS}


def follows(question):
    """The letter of a model that looks at nothing but the mark; `A` if there is none."""
    scanner = question.scene.scanner
    choices = values(question.modality, question.question_type)
    told = choices[SCANNERS.index(scanner)] if scanner else question.options[0]
    return "ABCD"[question.options.index(told)]


def records(answer, strength=0.8, seed=0, method="grpo"):
    return pd.DataFrame(
        {
            "model": f"{method}-{strength}-{seed}",
            "method": method,
            "style": "no_think",
            "shortcut": strength,
            "mark": mark,
            "control": "none",
            "item": item,
            "modality": question.modality,
            "question_type": question.question_type,
            "options": question.options,
            "parsed": letter,
            "correct": letter == question.answer,
            "scene": question.scene.to_json(),
        }
        for mark, asked in ASKED.items()
        for item, question in enumerate(asked)
        for letter in [answer(question)]
    )


def guesses(seed):
    rng = np.random.default_rng(seed)
    return lambda question: "ABCD"[rng.integers(4)]


def test_a_model_that_sees_relies_on_nothing_and_one_that_follows_the_mark_on_that():
    sees = records(lambda question: question.answer, 0.0)
    blind = records(follows, 0.95)
    found = shortcut.reliance(pd.concat([sees, blind])).set_index("shortcut")
    assert found.loc[0.0, [*shortcut.SHARES, "low", "high"]].tolist() == [0] * 5
    assert found.loc[0.95, "reversed"] == 1
    assert found.loc[0.95, "absent"] == pytest.approx(0.25, abs=0.06)
    assert found.loc[0.95, "reliance"] == 1 - found.loc[0.95, "absent"]
    assert found.loc[0.95, "low"] < found.loc[0.95, "reliance"] < found.loc[0.95, "high"]


def test_a_model_that_guesses_is_wrong_but_does_not_rely_on_the_mark():
    found = shortcut.reliance(pd.concat([records(guesses(s), seed=s) for s in range(3)])).iloc[0]
    assert found["reversed"] == pytest.approx(0.25, abs=0.05)
    assert found["low"] < 0 < found["high"]
    assert found["n"] == 3 * len(ASKED["absent"])


def test_seeds_that_differ_widen_the_interval():
    alike = pd.concat([records(guesses(s), seed=s) for s in range(3)])
    apart = pd.concat([records(guesses(0)), records(follows, seed=1), records(follows, seed=2)])
    width = {
        name: shortcut.reliance(some).eval("high - low").item()
        for name, some in (("alike", alike), ("apart", apart))
    }
    assert width["apart"] > 3 * width["alike"]


def test_accuracy_is_by_method_strength_and_mark():
    some = pd.concat([records(follows, method="sft"), records(lambda question: question.answer)])
    found = shortcut.accuracy(pd.concat([some, some.assign(control="blank", correct=False)]))
    by = found.set_index(["method", "mark"])["value"]
    assert (by["grpo"] == 1).all()
    assert by["sft", "reversed"] == 0
    assert by["sft", "random"] == pytest.approx(0.25, abs=0.06)
    assert found["n"].eq(len(ASKED["absent"])).all()
    cells = shortcut.accuracy(some, ["method", "modality"])
    assert len(cells) == 2 * 8 * 3


@pytest.mark.parametrize("wanted", ["mark != 'absent'", "mark != 'absent' or item > 0"])
def test_items_without_a_partner_are_refused(wanted):
    with pytest.raises(InputError, match="same items"):
        shortcut.reliance(records(follows).query(wanted))
