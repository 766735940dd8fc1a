"""Recipes as YAML files and command-line flags, read by TRL's own parser."""

import argparse
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

import yaml
from trl.scripts.utils import TrlParser

from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from medr1_lib.rl.recipe import CONFIGS, OWN, Recipe
from medr1_lib.rl.rewards import RULES

PRESETS = files("medr1_lib.rl") / "recipes"


class RecipeParser(TrlParser):
    """TRL's parser for the fields of a configuration, with the keys of a recipe beside them.

    Only what is given comes back, so that the defaults stay where they are: in TRL and `Recipe`.
    """

    def __init__(self, method: str) -> None:
        kind: Any = CONFIGS[method]
        prog = f"python -m medr1_lib train {method}"
        usage = f"{prog} --recipe RECIPE --out DIR [any setting below]"
        super().__init__([kind], prog=prog, usage=usage, allow_abbrev=False)
        self.where = "train"
        add = self.add_argument_group("recipe").add_argument
        add("--style", choices=STYLES, help="reasoning style")
        add("--rules", choices=RULES, help="reward rules")
        add("--model", metavar="DIR", help="base model")
        add("--data", metavar="DIR", help="data set made by `data build` or `data import`")
        add("--modality", nargs="+", action="extend", help="only these; may be repeated")
        add("--question-type", nargs="+", action="extend", help="only these; may be repeated")
        add("--quantize", choices=("nf4",), help="base in 4 bits")
        add("--lora-r", type=int, metavar="R", help="rank of the adapter")
        add("--lora-alpha", type=int, metavar="ALPHA", help="its scale times the rank")
        add("--lora-targets", metavar="REGEX", help="which layers it adapts")
        self.given_only()

    def given_only(self) -> None:
        """Forget every default, those of options added later too."""
        for action in self._actions:
            action.default, action.required = argparse.SUPPRESS, False

    def error(self, message: str) -> NoReturn:
        """Bad input is told like everywhere else."""
        raise InputError(self.where, message, f"see `{self.prog} --help`")

    def mapping(self, values: Mapping[str, Any], where: object) -> dict[str, Any]:
        """The values of a YAML file, each converted and checked as if it were a flag.

        Raises:
            InputError: If a key is unknown or a value is of the wrong kind.
        """
        self.where = str(where)
        actions = {action.dest: action for action in self._actions}
        unknown = [name for name in values if name not in actions]
        if unknown:
            raise InputError(where, f"unknown key {unknown[0]!r}", "correct it or leave it out")
        self.set_defaults_with_config(
            **{name: self._spelled(actions[name], value) for name, value in values.items()}
        )
        found = vars(self.parse_args([]))
        self.given_only()
        return found

    def _spelled(self, action: argparse.Action, value: object) -> object:
        """A YAML value as argparse converts it: a scalar as text, a list where one is expected."""
        if action.nargs == "+":
            return value if isinstance(value, list) else [] if value is None else [value]
        if isinstance(value, list):
            self.error(f"{action.dest} is {value}, one value is expected")
        return str(value).lower() if isinstance(value, bool | int | float) else value

    def flags(self, words: Sequence[str]) -> dict[str, Any]:
        """What the command line gives.

        Raises:
            InputError: If a flag is unknown or its value is of the wrong kind.
        """
        self.where = "train"
        return vars(self.parse_args(list(words)))


def presets() -> list[str]:
    """The names of the recipes that come with the library.

    Example:
        >>> "course" in presets()
        True
    """
    return sorted(entry.name.removesuffix(".yaml") for entry in PRESETS.iterdir())


def load_recipe(source: str | Path, **changes: object) -> Recipe:
    """Read a recipe.

    A file may build on a preset: `extends: course`, and then what is different.

    Args:
        source: A YAML file, or the name of a preset.
        changes: Values that win over the file's, under the same names.

    Raises:
        InputError: If there is no such recipe, or something in it is wrong.

    Example:
        >>> load_recipe("course", style="no_think").style
        'no_think'
    """
    values, where = _values(source)
    method = values.pop("method", None)
    if method not in CONFIGS:
        remedy = f"write method: {' or method: '.join(CONFIGS)}"
        raise InputError(where, f"method is {method!r}", remedy)
    return recipe_of(method, RecipeParser(method).mapping(values, where) | changes)


def recipe_of(method: str, values: Mapping[str, Any]) -> Recipe:
    """The recipe with these keys, its own and those of the configuration together.

    Raises:
        InputError: If one that has no default is missing.
    """
    own = {name: value for name, value in values.items() if name in OWN}
    missing = [name for name in ("style", "model", "data") if name not in own]
    if missing:
        name = missing[0]
        raise InputError("recipe", f"has no {name}", f"give --{name}, or write it into the file")
    config = {name: value for name, value in values.items() if name not in OWN}
    return Recipe(**own | {"method": method, "config": config})


def _values(source: str | Path) -> tuple[dict[str, Any], object]:
    """The mapping behind a name, what it extends included."""
    packaged = PRESETS / f"{source}.yaml"
    file = packaged if isinstance(source, str) and packaged.is_file() else Path(source)
    where = source if file is packaged else file
    try:
        values = yaml.safe_load(file.read_text())
    except OSError as error:
        remedy = f"give a YAML file or one of {', '.join(presets())}"
        raise InputError(where, "no such recipe", remedy) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = f"is not sound YAML ({' '.join(str(error).split())})"
        raise InputError(where, problem, "correct the file") from error
    if not isinstance(values, dict):
        raise InputError(where, "holds no keys", "write one `key: value` per line")
    if "extends" not in values:
        return values, where
    preset = values.pop("extends")
    if preset not in presets():
        raise InputError(where, f"extends {preset!r}", f"extend one of {', '.join(presets())}")
    return _values(preset)[0] | values, where
