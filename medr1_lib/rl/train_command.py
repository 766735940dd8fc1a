"""`python -m medr1_lib train {grpo,sft}`: train an adapter into a folder of its own.

usage: python -m medr1_lib train {grpo,sft} --recipe RECIPE --out DIR [any setting]

RECIPE is a YAML file or the name of a preset. Every field of TRL's GRPOConfig (or SFTConfig) is a
setting, in the file or as a flag; `train grpo --help` lists them.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from medr1_lib.arguments import positive
from medr1_lib.errors import InputError
from medr1_lib.rl.progress import Progress
from medr1_lib.rl.recipe import CONFIGS, Recipe
from medr1_lib.rl.recipe_file import RecipeParser, load_recipe, presets
from medr1_lib.rl.recorder import COLUMNS
from medr1_lib.rl.run import Run, recipe_in
from medr1_lib.rl.train import train


def main(arguments: list[str]) -> int:
    """Train, with a line of progress, and say what came out.

    The same command with `--resume` goes on where an interrupted one stopped.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{__doc__}\nPresets: {', '.join(presets())}")
        return 0
    method, *rest = arguments
    if method not in CONFIGS:
        raise InputError("train", f"no method {method!r}", f"use {' or '.join(CONFIGS)}")
    given = _parser(method).flags(rest)
    own = {name: given.pop(name) for name in OPTIONS if name in given}
    if "out" not in own:
        raise InputError("train", "no --out", "name a folder for the run")
    if "threads" in own:
        torch.set_num_threads(own["threads"])
    resume, force = own.get("resume", False), own.get("force", False)
    recipe = _recipe(method, own, given)
    run = train(recipe, own["out"], resume, force, [Progress()])
    if PartialState().is_main_process:
        print(_report(run))
    return 0


OPTIONS: dict[str, dict[str, Any]] = {
    "recipe": {"metavar": "RECIPE", "help": "YAML file or preset; with --resume not needed"},
    "out": {"type": Path, "metavar": "DIR", "help": "folder of the run"},
    "resume": {"action": "store_true", "help": "go on with the run in that folder"},
    "force": {"action": "store_true", "help": "train even on a dead signal"},
    "threads": {
        "type": positive,
        "metavar": "N",
        "help": "CPU threads; one is the fastest for the tiny model on a busy machine",
    },
}


def _parser(method: str) -> RecipeParser:
    parser = RecipeParser(method)
    for name, settings in OPTIONS.items():
        parser.add_argument(f"--{name}", **settings)
    parser.given_only()
    return parser


def _recipe(method: str, own: dict[str, Any], given: dict[str, Any]) -> Recipe:
    """The recipe of the file, or of the run to resume, with the flags in place."""
    if "recipe" in own:
        recipe = load_recipe(own["recipe"], **given)
    elif own.get("resume"):
        recipe = recipe_in(own["out"]).changed(**given)
    else:
        remedy = f"give a YAML file or one of {', '.join(presets())}"
        raise InputError("train", "no --recipe", remedy)
    if recipe.method != method:
        problem = f"is a recipe for {recipe.method}, not for {method}"
        raise InputError(own.get("recipe", own["out"]), problem, f"use `train {recipe.method}`")
    return recipe


def _report(run: Run) -> str:
    last = run.log.tail(10).mean().dropna()
    found = [f"{name} {last[name]:.3g}" for name in COLUMNS[run.recipe.method] if name in last]
    minutes = run.log["seconds"].sum() / 60
    return (
        f"\n{len(run.log)} steps in {minutes:.1f} minutes; mean of the last ones: "
        f"{', '.join(found)}\nadapter: {run.adapter}"
    )
