"""Bring folders that a version before 0.2.0 wrote to today's names, in place.

    python -m tools.migrate DIR [DIR ...]

Looks through each folder and all under it for blocks of recorded runs, evaluations and sweeps.
What has today's names already is left alone, so that an interrupted run can be repeated.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from medr1_lib.analysis.recorded import SMALL
from medr1_lib.cli import exit_status
from medr1_lib.errors import InputError
from medr1_lib.files import atomic_write, write_json

FILES = {  # old name: new name, and a file that tells such a folder from others
    "items.parquet": ("answers.parquet", "models.json"),
    "odds.parquet": ("letter_probs.parquet", "models.json"),
    "records.parquet": ("answers.parquet", "card.json"),
    "cell.json": ("job.json", "cell.json"),
}


def rename_files(folder: Path) -> list[str]:
    """Files of a block, an evaluation or a sweep's job."""
    done = []
    for old, (new, beside) in FILES.items():
        if (folder / old).is_file() and (folder / beside).is_file():
            if (folder / new).exists():
                raise InputError(folder, f"has both {old} and {new}", "remove one of them")
            (folder / old).rename(folder / new)
            done.append(f"{folder / old} -> {new}")
    return done


def rename_settings(folder: Path) -> list[str]:
    """A sweep's evaluations name their job in the card, and are not resumed under another name."""
    path = folder / "card.json"
    if not path.is_file():
        return []
    card = json.loads(path.read_text(encoding="utf-8"))
    settings = card.get("settings")
    if not isinstance(settings, dict) or "cell" not in settings:
        return []
    card["settings"] = {"job" if k == "cell" else k: value for k, value in settings.items()}
    write_json(path, card)
    return [f"{path}: settings.cell -> settings.job"]


LOG = {"clipped": "truncated", "zero_spread": "zero_std_groups"}  # old and new name of a column
LOG_TABLES = ("log.parquet", "failures.parquet")  # of a block, of `benchmarks.study.failures`


def rename_log_columns(folder: Path) -> list[str]:
    """The logs of trainings, and what the pre-flight of a run found."""
    done = []
    for path in (folder / name for name in LOG_TABLES):
        if path.is_file() and LOG.keys() & {*pq.read_schema(path).names}:
            table = pd.read_parquet(path).rename(columns=LOG)
            atomic_write(path, table.to_parquet(**SMALL))
            done.append(f"{path}: columns of the log")
    log, recipe = folder / "log.csv", folder / "recipe.json"
    if log.is_file():
        head, _, rows = log.read_text(encoding="utf-8").partition(
            "\n"
        )  # the figures stay as they are written
        names = head.split(",")
        if LOG.keys() & {*names}:
            new = ",".join(LOG.get(name, name) for name in names)
            atomic_write(log, f"{new}\n{rows}".encode())
            done.append(f"{log}: columns")
    if recipe.is_file():
        notes = json.loads(recipe.read_text(encoding="utf-8"))
        found = notes.get("preflight", {})
        if LOG.keys() & found.keys():
            notes["preflight"] = {LOG.get(name, name): value for name, value in found.items()}
            write_json(recipe, notes)
            done.append(f"{recipe}: preflight")
    return done


TABLES = ("answers.parquet", "letter_probs.parquet", "questions.parquet")  # of a block


def name_tests(folder: Path) -> list[str]:
    """A block named each test set by a `mark`; its tables have the name of the folder now."""
    path = folder / "models.json"
    if not path.is_file():
        return []
    notes = json.loads(path.read_text(encoding="utf-8"))
    old = [model for model in notes.get("models", []) if "marks" in model]
    marks = {mark: Path(test).name for model in old for test, mark in model["marks"].items()}
    done = []
    for table in (folder / name for name in TABLES if old):
        if table.is_file() and "mark" in pq.read_schema(table).names:
            content = pd.read_parquet(table)
            content["test"] = content.pop("mark").map(marks)
            atomic_write(table, content.to_parquet(**SMALL))
            done.append(f"{table}: mark -> test")
    for model in old:  # last: the tables need the marks
        model["tests"] = [*model.pop("marks")]
        model.pop("shortcut", None)
    if old:
        write_json(path, notes)
        done.append(f"{path}: marks -> tests")
    return done


STEPS: tuple[Callable[[Path], list[str]], ...] = (
    rename_files,
    rename_settings,
    rename_log_columns,
    name_tests,
)


def migrate(root: Path) -> list[str]:
    """Apply every step to a folder and all folders under it; say what was changed."""
    if not root.is_dir():
        raise InputError(root, "is no folder", "name a folder of results")
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    done = []
    for folder in folders:
        for step in STEPS:
            try:
                done += step(folder)
            except InputError:
                raise
            except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
                problem = f"cannot be brought to today's names ({' '.join(str(error).split())})"
                raise InputError(folder, problem, "mend or remove it, then repeat") from error
    return done


def main(arguments: list[str]) -> int:
    """Migrate the folders named and print what changed."""
    parser = argparse.ArgumentParser(prog="python -m tools.migrate", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    changed = [line for root in parser.parse_args(arguments).folders for line in migrate(root)]
    print("\n".join([*changed, f"{len(changed)} changes"]))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
