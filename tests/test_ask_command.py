"""One picture asked about on the command line."""

import re

import policies
import pytest
from layouts import picture

from medr1_lib.cli import main


@pytest.fixture
def image(tmp_path):
    picture(1, (60, 50)).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def command(image, *more, options=("liver", "lung", "kidney")):
    asked = ["ask", "--model", policies.saved(), "--image", image, "--question", "Which organ?"]
    return [*map(str, [*asked, "--options", *options, "--max-new-tokens", 3, *more])]


@pytest.mark.parametrize("style", ["no_think", "think_before"])
def test_a_reply_its_letter_and_probabilities_are_printed(image, style, capsys):
    assert main(command(image, "--style", style)) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("completion: ")
    assert "read as: " in printed
    assert [line[-1] for line in re.findall(r"% +(.\) \w+)", printed)] == ["r", "g", "y"]
    assert sum(map(float, re.findall(r"([\d.]+)%", printed))) == pytest.approx(100, abs=0.3)
    assert "not for clinical use" in printed


@pytest.mark.parametrize(
    ("options", "said"),
    [(["liver"], "1 options, expected 2 to 8"), (["a"] * 2, "occurs twice")],
)
def test_what_is_no_question_is_told_in_a_line(image, options, said, capsys):
    assert main(command(image, options=options)) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_picture_is_told_in_a_line(tmp_path, capsys):
    assert main(command(tmp_path / "no.png")) == 2
    assert "no.png: cannot be read" in capsys.readouterr().err
