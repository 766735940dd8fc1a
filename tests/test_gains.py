"""Constructed models whose knowledge, letter habit and form are known."""

import numpy as np
import pandas as pd
import pytest

from medr1_lib.analysis.gains import (
    PARTS,
    READERS,
    change,
    circular,
    gain_table,
    letter_constants,
    letter_habit,
    letter_matrix,
    read_all,
    without_habit,
)
from medr1_lib.data.question import LETTERS
from medr1_lib.errors import InputError

N = 800


def answers(known=0.0, habit=(0, 0, 0, 0), form=1.0, n=N, seed=0, pictures=None):
    """A model that sees the right letter in a share of questions, and leans to some letters.

    `habit` is added to the log-odds of the letters; replies out of form have no letter at all.
    """
    rng = np.random.default_rng(seed)
    right = np.arange(n) % 4
    sees = np.random.default_rng(7).permutation(n) < known * n  # the same questions in any model
    logits = rng.normal(size=(n, 4)) + 8 * np.eye(4)[right] * sees[:, None] + np.array(habit)
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    said = np.array([*LETTERS])[probs.argmax(1)]
    kept = np.random.default_rng(9).permutation(n) < form * n
    frame = {
        "item": np.arange(n),
        "image_id": [f"p{place % (pictures or n)}" for place in range(n)],
        "question": "Which?",
        "answer": np.array([*LETTERS])[right],
        "control": "none",
        "parsed": np.where(kept, said, None),
        "format_ok": kept,
        "correct": kept & (probs.argmax(1) == right),
    }
    return pd.DataFrame(frame | {"letter_probs": probs.tolist()})


def parts(before, after):
    return gain_table(change(read_all(before), read_all(after)))


def test_constants_even_out_the_letters_and_leave_an_even_model_alone():
    lean = answers(known=0.3, habit=(0, 3, 0, -2)).pipe(letter_matrix)
    given = np.bincount((lean * letter_constants(lean)).argmax(1)) / len(lean)
    np.testing.assert_allclose(given, 0.25, atol=0.01)
    even = np.array([[0.4, 0.3, 0.2, 0.1]])[:, np.array([np.roll(range(4), k) for k in range(4)])]
    np.testing.assert_allclose(letter_constants(even[0]), 1)


def test_a_letter_without_an_option_keeps_no_share():
    probs = np.array([[0.7, 0.3, 0, 0], [0.6, 0.4, 0, 0]])
    factors = letter_constants(probs)
    assert (probs * factors).argmax(1).tolist() == [0, 1]
    assert factors[2] == factors[3] > 0


def test_the_constants_of_a_picture_are_fitted_on_others():
    frame = answers(known=0.5, habit=(2, 0, 0, 0), pictures=100)
    probs, pictures = frame.pipe(letter_matrix), frame["image_id"]
    found = without_habit(probs, pictures)
    factors = pd.DataFrame(found / probs).div((found / probs)[:, 0], axis=0).round(9)
    assert (factors.groupby(pictures).nunique() == 1).all(axis=None)
    assert len(factors.drop_duplicates()) == 10
    other = probs.copy()
    own = pictures == "p3"
    other[own] = other[own][:, ::-1]  # what is said about a picture leaves its constants alone
    again = without_habit(other, pictures)
    np.testing.assert_allclose((again / other)[own], (found / probs)[own])


def test_order_and_labels_do_not_count():
    frame = answers(known=0.5, habit=(2, 0, 0, 0))
    mixed = frame.sample(frac=1, random_state=1)
    first = read_all(frame).set_index("item")["corrected"]
    assert read_all(mixed).set_index("item")["corrected"].sort_index().equals(first)
    probs = frame.pipe(letter_matrix)
    assert without_habit(probs, frame["image_id"]) is not None


def test_a_pure_letter_habit_is_habit():
    """Before, half is known but B is said; after, the lean is gone and nothing more is known."""
    table = parts(answers(known=0.5, habit=(0, 12, 0, 0)), answers(known=0.5, seed=1))
    assert table.loc["habit", "value"] > 0.1
    assert table.loc["habit", "low"] > 0
    assert abs(table.loc["knowledge", "value"]) < 0.03
    assert table.loc["knowledge", "low"] < 0 < table.loc["knowledge", "high"]
    assert table.loc["form", "value"] == 0


def test_a_pure_repair_of_form_is_form():
    table = parts(answers(known=0.5, form=0.6), answers(known=0.5))
    assert table.loc["form", "value"] == pytest.approx(table.loc["strict", "value"])
    assert table.loc["form", "low"] > 0.15
    assert (table.loc[["knowledge", "habit"], ["value", "low", "high"]] == 0).all(axis=None)


def test_knowledge_is_knowledge():
    table = parts(answers(known=0.2), answers(known=0.6))
    assert table.loc["knowledge", "value"] == pytest.approx(0.3, abs=0.03)  # 0.4 x 0.75
    assert table.loc["knowledge", "low"] > 0.2
    assert abs(table.loc["habit", "value"]) < 0.03


def test_two_random_models_differ_in_nothing():
    for seed in range(5):
        table = parts(answers(seed=2 * seed), answers(seed=2 * seed + 1))
        assert abs(table["value"]).max() < 0.07
    assert table.loc["strict", "low"] < 0 < table.loc["strict", "high"]


def test_the_parts_add_up_whatever_happened():
    found = change(
        read_all(answers(known=0.3, habit=(0, 4, 0, 1), form=0.7)),
        read_all(answers(known=0.6, habit=(1, 0, 0, 0), form=0.9, seed=3)),
    )
    np.testing.assert_allclose(found[[*PARTS[:3]]].sum(axis=1), found["strict"])
    table = gain_table(found)
    assert list(table.index) == list(PARTS)
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_readers_agree_where_the_form_is_kept():
    found = read_all(answers(known=0.5, form=1.0))
    assert (found["strict"] == found["forced"]).all()
    assert (found["strict"] == found["tolerant"]).all()
    broken = read_all(answers(known=0.5, form=0.5))
    assert broken["forced"].mean() == found["forced"].mean()
    assert broken["strict"].mean() < found["strict"].mean() - 0.2
    assert {*READERS} <= {*broken}


def test_few_questions_are_not_corrected():
    few = answers(known=0.5, n=199)
    assert read_all(few)["corrected"].isna().all()
    assert read_all(answers(n=200))["corrected"].notna().all()
    assert read_all(answers(n=400, pictures=9))["corrected"].isna().all()
    table = parts(few, answers(known=0.9, n=199))
    assert table.loc[["knowledge", "habit"], "value"].isna().all()
    assert table.loc["strict", "value"] > 0.2


def test_intervals_know_pictures_and_models():
    """Questions about one picture stand or fall together, and so do those of one model."""
    before, after = answers(known=0.3), answers(known=0.6)
    alone = parts(before, after)
    shared = change(read_all(before), read_all(after))
    shared = pd.concat([shared.assign(item=shared["item"] + k * N) for k in range(4)])
    width = (alone["high"] - alone["low"])["strict"]
    assert (gain_table(shared)["high"] - gain_table(shared)["low"])["strict"] == pytest.approx(
        width
    )
    grown = [
        change(read_all(before), read_all(answers(known=known))).assign(model=known)
        for known in (0.4, 0.6, 0.8)
    ]
    several = gain_table(pd.concat(grown))
    assert (several["high"] - several["low"])["strict"] > 2 * width
    assert several.loc["strict", "value"] == pytest.approx(alone.loc["strict", "value"], abs=0.02)


def test_the_habit_of_a_letter_is_counted():
    found = letter_habit(answers(known=0.2, habit=(0, 9, 0, 0)))
    assert found.loc["B", "share"] > 0.9
    assert found.loc["B", "accuracy"] > 0.9
    assert found.loc["C", "accuracy"] < 0.3
    assert letter_habit(answers(form=0.5))["share"].sum() == 0.5


def test_other_questions_are_refused():
    with pytest.raises(InputError, match="items in common"):
        change(read_all(answers()), read_all(answers(n=N - 4)))


def test_without_probabilities_only_what_was_said_is_read():
    outside = answers(known=0.5).assign(letter_probs=[()] * N)
    found = read_all(outside)
    assert found[["forced", "corrected"]].isna().all(axis=None)
    assert found["strict"].mean() > 0.5
    table = parts(outside, answers(known=0.5))
    assert table["n"].to_dict() == {"knowledge": 0, "habit": 0, "form": 0, "strict": N}


def turned(choose):
    """Answers to 8 questions in four orders, by a model that chooses so among the options."""
    rows = []
    for item in range(8):
        options = [f"{item}{name}" for name in "pqrs"]
        for places in range(4):
            shown = options[places:] + options[:places]
            said, right = choose(shown), "ABCD"[shown.index(f"{item}p")]
            control = f"rotated {places}" if places else "none"
            row = {"item": item, "control": control, "options": shown, "parsed": said}
            rows.append(row | {"correct": said == right})
    return circular(pd.DataFrame([*rows, rows[0] | {"control": "blank", "correct": False}]))


def test_the_circular_test_tells_a_letter_from_a_text():
    always_b = turned(lambda shown: "B")
    assert always_b == {"original": 0, "all_orders": 0.25, "circular": 0, "same_text": 0}
    known = turned(lambda shown: "ABCD"[[text[1] for text in shown].index("p")])
    assert known == {"original": 1, "all_orders": 1, "circular": 1, "same_text": 1}
    steady = turned(lambda shown: "ABCD"[[text[1] for text in shown].index("q")])
    assert steady == {"original": 0, "all_orders": 0, "circular": 0, "same_text": 1}
    assert turned(lambda shown: None)["same_text"] == 0
    assert turned(lambda shown: None if shown[0][1] == "p" else "A")["same_text"] == 0


def test_controls_are_left_out():
    frame = answers(known=0.5)
    grey = frame.assign(control="blank", letter_probs=[[]] * N)
    assert len(read_all(pd.concat([frame, grey]))) == N
