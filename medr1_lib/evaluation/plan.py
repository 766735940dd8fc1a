"""A plan of many runs: grids of recipes, and on what each model is tested."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from medr1_lib.data.question import AXES, BASES, CONTROLS
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.recipe_file import load_recipe


@dataclass(frozen=True)
class Cell:
    """One model of a sweep: a training, unless it is the base, and an evaluation.

    Attributes:
        recipe: Of the training; of the base only model, style and quantization count.
        tests: Data sets on whose test split it is scored.
        controls: Asked beside the real images, some of `controls.CONTROLS`.
        max_new_tokens: Where a reply is cut off.
        untrained: Score the base of the recipe as it is.
        called: What a model that is not trained is called in a matrix.
    """

    recipe: Recipe
    tests: tuple[str, ...]
    controls: tuple[str, ...] = ()
    max_new_tokens: int = 256
    untrained: bool = False
    called: str = "base"

    @property
    def name(self) -> str:
        """A hash of recipe, tests and controls, model and data by path; the cell's folder."""
        said = [self.recipe.flat(), *(getattr(self, name) for name in OWN)]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def label(self) -> dict[str, Any]:
        """What the cell is in a matrix: method, style, axis, train and seed."""
        axis = next((axis for axis in AXES if getattr(self.recipe, axis, None)), "all")
        trained_on = ", ".join(getattr(self.recipe, axis, ("all",)))
        what: dict[str, Any] = {"method": self.recipe.method, "style": self.recipe.style}
        what |= {"axis": axis, "train": trained_on, "seed": self.recipe.seed}
        base = {"method": self.called, "axis": "all", "train": "none", "seed": -1}
        return what | base if self.untrained else what


OWN = tuple(field.name for field in fields(Cell) if field.name not in ("recipe", "called"))


@dataclass(frozen=True)
class Grid:
    """Every combination of training split, style and seed for one recipe.

    Attributes:
        recipe: A preset or a YAML file.
        style: Reasoning styles.
        axis: Train on each `modality`, on each `question_type`, or on `all` at once.
        train: Only these of the axis.
        seed: One run for each.
        changes: Keys of the recipe with other values.
        tests: Data sets to be scored on, instead of the plan's own.
        controls: Some of `controls.CONTROLS`.
        untrained: Score the base of the recipe, and train nothing.
        called: What it is called then, one of `BASES`; that of the trained models is `base`.
    """

    recipe: str
    style: tuple[str, ...] = tuple(STYLES)
    axis: str = "all"
    train: tuple[str, ...] = ()
    seed: tuple[int, ...] = (0,)
    changes: Mapping[str, Any] = field(default_factory=dict)
    tests: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    untrained: bool = False
    called: str = "base"

    def __post_init__(self) -> None:
        trains = AXES.get(self.axis, ())
        named = ("axis", AXES), ("controls", CONTROLS), ("train", trains), ("called", BASES)
        for name, allowed in named:
            given = getattr(self, name)
            for value in (given,) if isinstance(given, str) else given:
                if value not in allowed:
                    remedy = f"use some of {', '.join(allowed)}"
                    raise InputError("plan", f"{name} has {value!r}", remedy)
        if len({Path(test).name for test in self.tests}) < len(self.tests):
            raise InputError("plan", "two tests are folders of one name", "rename one of them")

    def recipes(self, data: str) -> Iterator[Recipe]:
        """The recipe of each combination."""
        under = load_recipe(self.recipe, data=data).changed(**self.changes)
        parts = self.train or AXES[self.axis]
        for seed, style, part in product(self.seed, self.style, parts):  # a whole map, then another
            cut = {} if self.axis == "all" else {self.axis: (part,)}
            yield under.changed(style=style, seed=seed, **cut)


@dataclass(frozen=True)
class Plan:
    """What a sweep does.

    Attributes:
        data: Data set to train on, and to be scored on.
        grids: All of them together are the sweep.
        max_new_tokens: Where a reply is cut off.
        threads: CPU threads of a job.
        resources: What a job asks of its machine, as `submitit` calls it; `timeout_min`, say.
    """

    data: str
    grids: tuple[Grid, ...]
    max_new_tokens: int = 256
    threads: int = 1
    resources: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read a plan from a YAML file.

        Raises:
            InputError: If it cannot be read, or something in it is wrong.
        """
        try:
            values = yaml.safe_load(path.read_text())
            grids = tuple(Grid(**_frozen(grid)) for grid in values.pop("grids"))
            return cls(grids=grids, **values)
        except InputError as error:
            raise InputError(path, error.problem, error.remedy) from error
        except OSError as error:
            raise InputError(path, "cannot be read", "name a YAML file") from error
        except (yaml.YAMLError, TypeError, KeyError, AttributeError) as error:
            problem = f"is no plan ({' '.join(str(error).split())})"
            raise InputError(path, problem, "see `benchmarks/plans` for some that are") from error

    def cells(self) -> list[Cell]:
        """Every model, each once, in the order of the plan."""
        found = [
            Cell(
                recipe,
                grid.tests or (self.data,),
                grid.controls,
                self.max_new_tokens,
                grid.untrained,
                grid.called,
            )
            for grid in self.grids
            for recipe in grid.recipes(self.data)
        ]
        return list({cell.name: cell for cell in found}.values())


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    several = ("style", "train", "seed", "tests", "controls")
    return {
        k: tuple(v if isinstance(v, list) else [v]) if k in several else v
        for k, v in values.items()
    }
