from dataclasses import replace
from pathlib import Path

import pytest

from medr1_lib.data.question import MODALITIES, QUESTION_TYPES
from medr1_lib.errors import InputError
from medr1_lib.evaluation.plan import Cell, Grid, Plan

ROOT = Path(__file__).parents[1]


def plan(*grids):
    return Plan("somewhere", grids)


def test_a_grid_is_every_combination():
    cells = plan(Grid("course", axis="modality", style=("no_think",), seed=(0, 1))).cells()
    assert [(c.label["train"], c.label["seed"]) for c in cells] == [
        (modality, seed) for seed in (0, 1) for modality in MODALITIES
    ]
    assert {c.label["axis"] for c in cells} == {"modality"}
    assert {c.recipe.data for c in cells} == {"somewhere"}
    assert cells[0].tests == ("somewhere",)


def test_what_a_model_is_trained_on():
    kinds = plan(Grid("course-sft", axis="question_type", style=("no_think",))).cells()
    assert [c.label["train"] for c in kinds] == list(QUESTION_TYPES)
    (all_in_one,) = plan(Grid("course", style=("think_after",))).cells()
    assert all_in_one.label == {
        "method": "grpo",
        "style": "think_after",
        "axis": "all",
        "train": "all",
        "seed": 0,
    }
    (base,) = plan(Grid("course", style=("no_think",), untrained=True)).cells()
    assert (base.label["method"], base.label["train"], base.label["seed"]) == ("base", "none", -1)
    assert replace(base, called="larger base").label["method"] == "larger base"
    assert replace(base, called="larger base").name == base.name


def test_a_name_tells_cells_apart_and_stays():
    (cell,) = plan(Grid("course", style=("no_think",))).cells()
    assert cell.name == Cell(cell.recipe, cell.tests).name
    others = [
        replace(cell, recipe=cell.recipe.changed(learning_rate=1e-5)),
        replace(cell, recipe=cell.recipe.changed(seed=1)),
        replace(cell, controls=("blank",)),
        replace(cell, tests=("elsewhere",)),
        replace(cell, max_new_tokens=8),
        replace(cell, untrained=True),
    ]
    assert len({cell.name, *(other.name for other in others)}) == 7


def test_a_model_that_two_grids_name_is_made_once():
    grid = Grid("course", style=("no_think",), seed=(0, 1))
    assert len(plan(grid, replace(grid, seed=(1, 2))).cells()) == 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("grids: [{recipe: course, axis: organ}]\ndata: d", "axis has 'organ'"),
        ("grids: [{recipe: course, axis: modality, train: [PET]}]\ndata: d", "train has 'PET'"),
        ("grids: [{recipe: course, controls: [mirror]}]\ndata: d", "controls has 'mirror'"),
        ("grids: [{recipe: course, called: huge}]\ndata: d", "called has 'huge'"),
        ("grids: [{recipe: course, tyle: [no_think]}]\ndata: d", "tyle"),
        ("data: d", "grids"),
        ("grids: [", "is no plan"),
        ("- a", "is no plan"),
    ],
)
def test_a_bad_plan_is_refused_by_name(tmp_path, text, problem):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.yaml") as caught:
        Plan.read(path)
    assert problem in str(caught.value)


def test_a_style_or_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="think_never"):
        plan(Grid("course", style=("think_never",))).cells()
    with pytest.raises(InputError, match="no such recipe"):
        plan(Grid("corse")).cells()
    with pytest.raises(InputError, match="cannot be read"):
        Plan.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks/plans").glob("*.yaml")), ids=lambda p: p.stem
)
def test_the_plans_that_come_with_the_course_are_sound(path):
    cells = Plan.read(path).cells()
    assert len(cells) > 1
    for cell in cells:
        if not cell.untrained and cell.recipe.config.get("use_cpu"):
            getattr(cell.recipe, f"{cell.recipe.method}_config")(Path("out"))


def test_one_value_stands_for_a_list_of_one(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "data: somewhere\ngrids:\n  - {recipe: course, style: no_think, axis: modality, "
        "train: CT, seed: 3, controls: blank, tests: a/b}\n"
    )
    (cell,) = Plan.read(path).cells()
    assert (cell.label["train"], cell.label["seed"]) == ("CT", 3)
    assert (cell.controls, cell.tests) == (("blank",), ("a/b",))


def test_two_tests_of_one_name_would_share_a_folder():
    with pytest.raises(InputError, match="two tests are folders of one name"):
        Grid("course", tests=("a/phantoms", "b/phantoms"))
