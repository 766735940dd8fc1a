"""Commands that pages, chapters and plans tell readers to type are ones that the programs take."""

import re
import shlex
from pathlib import Path

import pytest

from medr1_lib.cli import COMMANDS, OPTIONS, _add
from medr1_lib.rl.recipe import RecipeParser, load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("book/*.md")), ROOT / "benchmarks/README.md"]
PAGES += [*sorted(ROOT.glob("data/**/README.md")), *sorted(ROOT.glob("benchmarks/plans/*.yaml"))]
PAGES += sorted(ROOT.glob("notebooks/_src/[0-9]*.py"))
ANYWHERE = {"--help", "--json"}


def commands(text):
    """The words behind `-m medr1_lib` of each command in a text."""
    text = re.sub(r"\\\n(#| )*", " ", text)
    code = re.findall(r"-m medr1_lib ([a-z][^\n`|]*)", text)
    return [[word for word in shlex.split(one, comments=True) if word != "..."] for one in code]


ALL = [(page.name, words) for page in PAGES for words in commands(page.read_text("utf-8"))]
TRAININGS = [one for one in ALL if one[1][0] == "train" and "--recipe" in one[1]]


def unknown(words):
    """Options that the command does not have."""
    known = {*ANYWHERE, *OPTIONS.get(words[0], ()), *OPTIONS.get(f"{words[0]}: one of", ())}
    known |= OPTIONS.get(" ".join(words[:2]), {}).keys()
    return [word for word in words if word.startswith("--") and word not in known]


def test_their_options_are_those_of_the_commands():
    named = [one for one in ALL if one[1][0] != "train"]
    assert len(named) > 20
    assert [one for one in named if one[1][0] not in COMMANDS or unknown(one[1])] == []


@pytest.mark.parametrize(("page", "words"), TRAININGS, ids=lambda one: " ".join(one)[-60:])
def test_trainings_are_recipes(page, words, tmp_path):
    parser = RecipeParser(words[1])
    _add(parser, "train")
    given = parser.flags(words[2:])
    own = {name: given.pop(name, None) for name in ("recipe", "out", "force", "resume", "threads")}
    recipe = load_recipe(own["recipe"], **given)
    assert recipe.method == words[1]
    here = {"use_cpu": True, "bf16": False, "fp16": False}
    if recipe.config.get("use_vllm"):  # which is not installed here
        here["use_vllm"] = False
    recipe.replace(**here).trl_config(tmp_path)


def test_what_other_cards_change_is_taken_by_the_recipe_for_a_gpu(tmp_path):
    page = (ROOT / "book/one_gpu.md").read_text("utf-8")
    rows = re.findall(r"^\| .* \| .*$", page, re.M)
    changes = [part for row in rows for part in re.findall(r"`(--[^`]+)`", row)]
    assert len(changes) >= 5
    parser = RecipeParser("grpo")
    _add(parser, "train")
    for change in changes:
        given = parser.flags(change.split())
        recipe = load_recipe(given.pop("recipe", "gpu"), **given)
        here = {"use_cpu": True, "bf16": False, "fp16": False, "use_vllm": False}
        made = recipe.replace(**here).trl_config(tmp_path)
        assert made.generation_batch_size == 64, "a step stays as it is"


def test_can_it_fail():
    text = "python -m medr1_lib evaluate --data D \\\n#     --stile no_think --out O\n"
    assert commands(text) == [["evaluate", "--data", "D", "--stile", "no_think", "--out", "O"]]
    assert unknown(commands(text)[0]) == ["--stile"]
    assert len(TRAININGS) > 8
