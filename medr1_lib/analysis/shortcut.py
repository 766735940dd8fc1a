"""Shortcut reliance: how often an answer follows the scanner mark instead of the image."""

import pandas as pd

from medr1_lib.analysis.stats import bootstrap, rate_table
from medr1_lib.data.phantom_vqa import values
from medr1_lib.data.phantoms import SCANNERS, Scene
from medr1_lib.data.question import LETTERS
from medr1_lib.errors import InputError

GROUP = ["method", "style", "shortcut"]
ANSWER = ["model", "style", "item"]
SHARES = ["reversed", "absent", "reliance"]


def accuracy(records: pd.DataFrame, by: list[str] = GROUP) -> pd.DataFrame:
    """Accuracy under each mark, as a `stats.rate_table` by `by` and `mark`, without controls."""
    real = records[records["control"] == "none"]
    return rate_table(real, [*by, "mark"], {"accuracy": ("correct", None)})


def reliance(records: pd.DataFrame, by: list[str] = GROUP) -> pd.DataFrame:
    """How often an answer follows the mark: what a reversed mark adds to the option it stands for.

    The share of answers under a reversed mark that name the (wrong) option for which the mark stood
    in training, less the share that names the same option of the same item where no mark is drawn.
    Built in chapter 10. Returns one row per group, with both shares, and an interval over models
    and items. Raises an `InputError` if the items differ between the marks.
    """
    real = records[records["control"] == "none"]
    marked = real[real["mark"] == "reversed"]
    bare = real.loc[real["mark"] == "absent", [*ANSWER, "parsed"]]
    pairs = marked.merge(bare, on=ANSWER, suffixes=("", "_bare"), validate="one_to_one")
    if not len(pairs) == len(marked) == len(bare) > 0:
        problem = f"{len(marked)} answers under a reversed mark, {len(bare)} under none"
        remedy = "score each model on the same items under both marks"
        raise InputError("shortcut", problem, remedy)
    letters = []  # those of the options that the marks on the pictures stand for
    for row in pairs.to_dict("records"):
        scanner = SCANNERS.index(Scene.from_json(row["scene"]).scanner)
        option = values(row["modality"], row["question_type"])[scanner]
        letters.append(LETTERS[list(row["options"]).index(option)])
    told = pd.Series(letters, pairs.index)
    follows, says = (pairs[name] == told for name in ("parsed", "parsed_bare"))
    gap = follows.astype(float) - says.astype(float)
    groups = pairs.assign(reversed=follows, absent=says, reliance=gap).groupby(by, observed=True)
    rows = [
        (*names, len(group), *group[SHARES].mean(), *bootstrap(group, "reliance"))
        for names, group in groups
    ]
    return pd.DataFrame(rows, columns=[*by, "n", *SHARES, "low", "high"])
