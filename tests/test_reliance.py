"""Constructed models that look, do not look, or only say that they do."""

import numpy as np
import pandas as pd
import pytest

from medr1_lib.analysis.reliance import MEASURES, reliance
from medr1_lib.analysis.stats import mean_table
from medr1_lib.errors import InputError

N = 400
SEEN, EMPTY = "<think>CT, finding: mass</think>", "<think></think>"


def answers(real, other, said=SEEN, style="think_before"):
    """Replies with these letters about the real images and the shuffled ones; A is always right."""
    frames = []
    for control, letters in (("none", real), ("shuffled", other)):
        letters = pd.Series(letters, range(N), dtype=object)
        frame = pd.DataFrame({"item": range(N), "image_id": [f"p{n}" for n in range(N)]})
        frame = frame.assign(question="Which?", answer="A", control=control, style=style)
        frame = frame.assign(parsed=letters, correct=letters == "A")
        frames.append(frame.assign(completion=said + "<answer>A</answer>"))
    return pd.concat(frames)


def means(*args, **kwargs):
    return mean_table(reliance(answers(*args, **kwargs)), MEASURES)


def test_a_model_that_never_looks():
    found = means("A", "A")["value"]
    assert dict(found) == {"VRS": 0, "IS": 0, "HVRR": 1}
    assert means("A", "A", said=EMPTY).loc["HVRR", "value"] == 0


def test_a_model_that_looks():
    guessed = np.array([*"ABCD"])[np.arange(N) % 4]
    found = means("A", guessed)
    assert found.loc["VRS", "value"] == found.loc["IS", "value"] == 0.75
    assert found.loc["HVRR", "value"] == 0.25
    assert found.loc["VRS", "low"] < 0.75 < found.loc["VRS", "high"] < 0.8


def test_a_reply_without_a_letter_is_an_answer_of_its_own():
    assert means(None, None).loc["IS", "value"] == 0
    assert means("A", None).loc["IS", "value"] == 1


def test_another_wrong_letter_is_sensitive_and_not_reliant():
    found = means("B", "C")["value"]
    assert (found["VRS"], found["IS"]) == (0, 1)


def test_without_reasons_nothing_is_claimed():
    assert np.isnan(means("A", "A", style="no_think").loc["HVRR", "value"])


def test_a_control_that_was_not_asked_is_refused():
    with pytest.raises(InputError, match="--controls blank"):
        reliance(answers("A", "A"), "blank")
    with pytest.raises(InputError, match="399 under shuffled"):
        reliance(answers("A", "A").iloc[:-1])
