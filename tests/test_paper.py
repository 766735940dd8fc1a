import json
from pathlib import Path

import pandas as pd
import pytest

from medr1_lib.analysis.transfer import on_diagonal
from medr1_lib.course.chapters import chapter_12 as paper
from medr1_lib.data import question
from medr1_lib.errors import InputError

AXES = {axis: question.AXES[axis] for axis in ("modality", "question_type")}
PAPER = Path(__file__).parents[1] / "data/paper"
AUDIT = Path(__file__).parents[1] / "data/recorded/omnimedvqa_audit.json"


@pytest.mark.parametrize("axis", AXES)
def test_a_published_map_has_our_names_and_every_cell(axis):
    table = paper.no_think_minus_think(axis)
    assert sorted(set(table["train"])) == sorted(AXES[axis])
    assert len(table.drop_duplicates(["train", "test"])) == len(table) == len(AXES[axis]) ** 2
    assert table["value"].notna().all()


@pytest.mark.parametrize(
    ("axis", "home", "elsewhere", "negative"),
    [("modality", 1.67, 2.70, 13), ("question_type", 2.69, 0.06, 7)],
)
def test_the_means_of_a_published_map(axis, home, elsewhere, negative):
    """Computed when the picture was read, before the numbers were typed here."""
    table = paper.no_think_minus_think(axis)
    diagonal = on_diagonal(table)
    assert table.loc[diagonal, "value"].mean() == pytest.approx(home, abs=0.006)
    assert table.loc[~diagonal, "value"].mean() == pytest.approx(elsewhere, abs=0.006)
    assert (table["value"] < 0).sum() == negative


@pytest.mark.parametrize(("style", "index"), [("no think", 0.41), ("think", 0.36)])
def test_the_rows_of_the_companion_have_the_means_that_are_printed_there(style, index):
    found = paper.published("companion_maps")[style]
    table = pd.DataFrame(found["values"]).T
    assert list(table.index) == list(table.columns)
    assert table.shape == (11, 11)
    assert table.mean(axis=1).to_dict() == pytest.approx(found["means"], abs=0.006)
    assert paper.transfer_index(table.stack().to_dict()) == pytest.approx(index, abs=0.005)


@pytest.mark.parametrize("axis", AXES)
def test_the_sizes_are_those_of_the_released_files(axis):
    """The audit counted their records."""
    counted = {
        question.canonical(axis, Path(path).name.removesuffix("_test.json")): found["records"]
        for path, found in json.loads(AUDIT.read_text())["files"].items()
        if f"/{axis}/" in path and path.endswith("_test.json")
    }
    table = paper.no_think_minus_think(axis)
    assert dict(zip(table["test"], table["n"], strict=True)) == counted


@pytest.mark.parametrize(
    ("axis", "cells", "transposed"), [("modality", 48, 14), ("question_type", 15, 6)]
)
def test_columns_are_the_tests(axis, cells, transposed):
    """As tests, they fit without exception; rows as tests would fit no more than by luck."""
    table = paper.no_think_minus_think(axis)
    small = table[table["n"] < 2500]
    assert (small["fits"].sum(), len(small)) == (cells, cells)
    sizes = dict(zip(table["test"], table["n"], strict=True))
    turned = table[table["train"].map(sizes) < 2500]
    n = turned["train"].map(sizes)
    found = [paper.fits(v, k, terms=2) for v, k in zip(turned["value"], n, strict=True)]
    assert (sum(found), len(found)) == (transposed, cells)
    by_luck = sum(paper.fits_by_chance(k, terms=2) for k in n)
    assert sum(found) < by_luck + 2 * len(found) ** 0.5


def test_the_headline():
    figures = paper.published("headline")["figures"]
    assert [figure["value"] for figure in figures] == [69.91, 68.05, 29.94, 32.06]


@pytest.mark.parametrize("path", sorted(PAPER.glob("*.json")), ids=lambda path: path.stem)
def test_every_figure_says_where_it_is_from_and_how_sure_it_is(path):
    found = json.loads(path.read_text())
    for part in found.get("tables", [found]):
        assert {"what", "provenance", "confidence"} <= set(part)
    assert path.name in (PAPER / "README.md").read_text()


@pytest.mark.parametrize(
    ("value", "n", "terms", "whole"),
    [
        (50.0, 436, 1, True),
        (0.23, 436, 1, True),
        (0.24, 436, 1, False),
        (0.24, 436, 2, False),
        (0.22, 436, 2, True),
        (-0.23, 436, 1, True),
        (0.0, 7, 1, True),
        (12.34, 20_000, 1, True),
    ],
)
def test_the_integer_check(value, n, terms, whole):
    assert paper.fits(value, n, terms) is whole


def test_a_table_that_is_not_there():
    with pytest.raises(InputError, match=r"nothing\.json: this course material is not there"):
        paper.published("nothing")
