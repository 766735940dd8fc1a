"""Golden values: what the records say today is what they say after any change of the library.

Every value lies in a file of `tests/golden/`; one command writes all of them from the code as it
is, and is to be run only where values are meant to change:

    python -m tests.test_golden --write            # or only some: --write study blocks

- `study.json`: every figure of book/results.md and of the sentences of chapters that begin with "In
  the record:", as printed there; writing it fills the page and the sources of the chapters too.
- `chapters.json`: the tables of chapters 10, 11 and 12 that come from records.
- `blocks.json`: maps, summaries, tests and rates of each recorded block.
- `base.json`: the language half of the shipped base after a few steps of teaching.
- `outputs.json`: a short hash of the stored text outputs of each code cell.

Floats are kept to six digits. A name that changes in the library changes here in one place: the
imports, and `RENAMED` for the columns of its tables.
"""

import argparse
import difflib
import hashlib
import json
import math
import os
import re
from dataclasses import replace
from functools import cache
from itertools import compress
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")

import jupytext
import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from matplotlib import pyplot as plt
from safetensors.torch import load_file
from scipy.stats import t as student_t

from benchmarks.study import described, leak, registered, rewards
from benchmarks.study.positions import failed
from medr1_lib.analysis import gains, grounding, plots, stats, transfer
from medr1_lib.analysis.recorded import LETTER_PROBS, LOGS, load, notes, with_letter_probs
from medr1_lib.analysis.reliance import reliance
from medr1_lib.analysis.stats import compare, paired_interval, share
from medr1_lib.analysis.stats import summary as score_summary
from medr1_lib.course.chapters import chapter_12 as paper
from medr1_lib.course.chapters.chapter_11 import split_distance
from medr1_lib.course.chapters.chapter_12 import transfer_index
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.styles import STYLES
from tools import report
from tools.figures import calibration, learning_curves
from tools.pretrain import command as pretraining
from tools.pretrain import language as teaching
from tools.report import alt, gathered

mpl.use("Agg")
ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests/golden"
RECORDED = ROOT / "data/recorded"
TINY_BASE = ROOT / "data/tiny-qwen2-vl"
RENAMED: dict[str, str] = {}  # a new name of a column or key: the name that the golden files have

BEFORE, NONE, AFTER = "think_before", "no_think", "think_after"
BLOCKS = ("methods", "maps", "maps_bases", "maps_rerun", "leak")
# Arms of `positions` whose distance chapter 11 splits.
PAIRS = [("after", "none"), ("dummy", "none"), ("before", "none")]


# --- writing and comparing ----------------------------------------------------------------------


def plain(value):
    """Tables, arrays and numbers as JSON has them, floats to six significant digits."""
    if isinstance(value, pd.DataFrame):
        columns = [RENAMED.get(str(name), str(name)) for name in value.columns]
        return {"columns": columns, "rows": [plain(list(row)) for row in value.to_numpy(object)]}
    if isinstance(value, pd.Series):
        return plain(value.to_dict())
    if isinstance(value, dict):
        return {RENAMED.get(str(k), str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(one) for one in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return None if value is None or value is pd.NA else str(value)


def differences(found, kept, tolerance=1e-5, where=""):
    """Where two plain values differ; floats may by a part in 100,000."""
    if isinstance(kept, dict) and isinstance(found, dict):
        names = [*kept, *(name for name in found if name not in kept)]
        pairs = [(found.get(n, "missing"), kept.get(n, "missing"), f"{where}/{n}") for n in names]
    elif isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
        pairs = [(*pair, f"{where}/{n}") for n, pair in enumerate(zip(found, kept, strict=True))]
    else:
        numbers = all(type(one) in (int, float) for one in (found, kept))
        close = numbers and math.isclose(found, kept, rel_tol=tolerance, abs_tol=1e-9)
        return [] if close or found == kept else [f"{where}: {found} instead of {kept}"]
    return [line for pair in pairs for line in differences(pair[0], pair[1], tolerance, pair[2])]


def text_of(value):
    """JSON with one row of a table to a line."""
    raw = json.dumps(value, indent=1, ensure_ascii=False)
    return re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s*\n\s*", " ", m[0]), raw) + "\n"


@cache
def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


# --- records, each loaded once ------------------------------------------------------------------


@cache
def block(name):
    return load(RECORDED / name)


@cache
def found(axis, method, style):
    """One map."""
    return transfer.transfer_answers(block("maps"), method, style, axis)


@cache
def matrix(*key):
    return transfer.matrix(found(*key))


@cache
def summary(*key):
    return transfer.summary(found(*key)).set_index("part")


@cache
def index(*key):
    return transfer.generalization_index(found(*key))


@cache
def train_questions():
    return list(questions("train", per_cell=320))


def recorded(name):
    return json.loads((RECORDED / f"{name}.json").read_text())


@cache
def learned(name):
    return pd.read_parquet(RECORDED / f"{name}.parquet")


@cache
def methods():
    """Answers of the base and of models with the recipe's rate, and how each is read."""
    models = pd.DataFrame(notes(RECORDED / "methods")["models"])
    rates = models["recipe"].map(lambda recipe: recipe["learning_rate"])
    chosen = models.loc[rates == rates.max(), "model"]
    tables = load(RECORDED / "methods"), with_letter_probs(RECORDED / "methods")
    answers, real = (table[table["model"].isin(chosen)] for table in tables)
    keys = ["style", "method", "seed"]
    return answers, {key: gains.read_all(one) for key, one in real.groupby(keys)}


@cache
def positions():
    """Answers of the arms, and how each is read, by training, arm, form asked in and seed."""
    answers = pd.read_parquet(RECORDED / "positions/answers.parquet").assign(style=None)
    keys = ["training", "arm", "asked", "seed"]
    answers = answers.assign(model=answers["seed"])
    return answers, {key: gains.read_all(one) for key, one in answers.groupby(keys)}


def in_points(table):
    return table.assign(**{name: 100 * table[name] for name in ("value", "low", "high")})


def parts(pairs):
    """The parts of a gain, from what was read before and after, by seed."""
    changes = [gains.change(*pair).assign(model=seed) for seed, pair in pairs.items()]
    return in_points(gains.gain_table(pd.concat(changes)))


def looks(group):
    """Image reliance, and accuracy without the right image."""
    looked = [reliance(one).assign(model=m) for m, one in group.groupby("model")]
    blind = stats.rate_table(group, ["control"], {"": ("correct", None)}).set_index("control")
    table = stats.mean_table(pd.concat(looked), ["VRS", "IS"])
    return in_points(pd.concat([table, blind.loc[["blank", "shuffled"], list(table)]]))


@cache
def method_parts():
    """The parts of the gain of each method and style."""
    read = methods()[1]
    return {
        (m, s): parts({k[2]: (read[s, "base", -1], v) for k, v in read.items() if k[:2] == (s, m)})
        for m in ("grpo", "sft")
        for s in STYLES
    }


@cache
def style_tests():
    """Each pair of styles after GRPO: corrected letters, and what was gained."""
    known = pd.concat(methods()[1].values()).assign(correct=lambda table: table["corrected"])
    rows = []
    for gain in (False, True):
        for styles in (list(STYLES), [NONE, AFTER]):
            maps = {s: transfer.transfer_answers(known, "grpo", s, "all") for s in styles}
            if gain:
                maps = {s: replace(m, right=m.right.sub(m.base, axis=0)) for s, m in maps.items()}
            rows.append(transfer.compare_pooled(maps).assign(gain=gain, minus=styles[0]))
    table = pd.concat(rows, ignore_index=True).rename(columns={"difference": "value"})
    return in_points(table).assign(p_holm=stats.holm(table["p"]))


@cache
def arm_parts():
    """The parts of the gain of each arm over its lesson."""
    by = positions()[1]
    trained = {key[1]: {} for key in by if key[0] == "course"}
    for (training, arm, form, seed), after in by.items():
        if (training, form) == ("course", arm):
            trained[arm][seed] = by["lesson", arm, arm, seed], after
    return {arm: parts(pairs) for arm, pairs in trained.items()}


@cache
def made_in(first, second):
    """The distance of two arms, and the parts of it that training and answering make."""
    crossed = [
        one.assign(train=key[1], test=key[2], model=key[3])
        for key, one in positions()[1].items()
        if key[0] == "course"
    ]
    sides = {"index": ["model", "item", "image_id"], "columns": ["train", "test"]}
    wide = pd.concat(crossed).pivot(values="corrected", **sides)
    right = {(t, a): wide[t, a] for t in (first, second) for a in (first, second)}
    halves = pd.DataFrame(split_distance(right, first, second), wide.index).dropna()
    halves["distance"] = halves.sum(axis=1)
    return in_points(stats.mean_table(halves.reset_index(), list(halves)))


@cache
def claims_table():
    """How true the rationales of the models of `methods` are, about the real image and a blank."""
    reasoned = grounding.score(methods()[0])
    return in_points(stats.rate_table(reasoned, ["control", "style", "method"], grounding.MEASURES))


@cache
def taught_by(method, style=NONE, rate=1e-3):
    """The models of `methods` of one kind, by seed, read in all four ways."""
    models = pd.DataFrame(notes(RECORDED / "methods")["models"])
    models["rate"] = [recipe["learning_rate"] for recipe in models["recipe"]]
    kind = models.query("method == @method and style == @style and rate == @rate")
    rows = with_letter_probs(RECORDED / "methods").merge(kind[["model"]])
    return {seed: gains.read_all(one) for seed, one in rows.groupby("seed")}


@cache
def budget_arm(variant):
    rows = learned("budget/answers").query("variant == @variant").groupby("seed")
    return {seed: gains.read_all(one) for seed, one in rows}


@cache
def learning_arm(arm, style):
    rows = pd.read_parquet(RECORDED / "learning/answers.parquet")
    rows = rows[(rows["base"] == rows["base"].iloc[0]) & (rows["control"] == "none")]
    rows = rows.query("arm == @arm and style == @style").groupby("seed")
    return {seed: gains.read_all(one) for seed, one in rows}


def moved_between(second, first):
    """The parts of second minus first, by seed and question."""
    if -1 in first:
        first = dict.fromkeys(second, first[-1])
    pairs = {s: gains.change(first[s], one) for s, one in second.items() if s in first}
    return pd.concat(pairs, names=["model"]).reset_index("model")


def parts_between(second, first):
    """The parts of second minus first in points, over seeds and questions, as chapter 10 has it."""
    return in_points(stats.mean_table(moved_between(second, first), gains.PARTS))


def mean_of(gap):
    """The mean of a difference by seed and question in points, with its interval."""
    table = gap.dropna().rename("value").reset_index()
    return signed(in_points(stats.mean_table(table, ["value"])).iloc[0])


def figure(drawn):
    """What a figure shows, and its alternative text."""
    axes, table = drawn
    said = alt(axes, table)
    plt.close(axes.get_figure(root=True))
    return {"table": plain(table), "alt": said}


# --- 1 the page of results ----------------------------------------------------------------------

WORDS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
PARTS = {3: "a third", 4: "a quarter", 10: "a tenth", 13: "a thirteenth"}
# Texts of the page, with the values that are held in their places.
TEXTS = [
    "takes {step.112} (112 px) or {step.224} (224 px) of the time",
    "{speed.112} and {speed.224} times faster",
    "takes {evaluation.think_before} (`think_before`) or {evaluation.no_think} (`no_think`)",
    "completions have ended, it is {stopped.think_before} and {stopped.no_think} times as fast (",
    "100 steps, {maps.items} unseen questions, {maps.seeds}, 95 % intervals",
    *(
        f"gains {{maps.{axis}.grpo.home}} there and {{maps.{axis}.grpo.away}} in the {others}"
        f" others after GRPO, {{maps.{axis}.sft.home}} and {{maps.{axis}.sft.away}} after SFT"
        for axis, others in (("modality", "seven"), ("question_type", "four"))
    ),
    "with {maps.other.seeds}, it gains {maps.other.home} there and {maps.other.away} in the"
    " others.",
    "SFT minus GRPO is {maps.modality.less} between modalities",
    "and {maps.question_type.less} between types of question",
    "by the gain at home, is {index.bases} ({index.by_base}).",
    "Blank and shuffled images leave the base {maps.blind} %.",
    "{methods.steps} updates, n = {methods.items} questions, seeds: {methods.seeds}",
    *(f"| updates, `{s}` | {{methods.{s}}} |" for s in (BEFORE, NONE, AFTER)),
    "| labels, `think_before` ({methods.labels.steps} updates, seeds: {methods.labels.seeds}) |"
    " {methods.labels} |",
    *(
        f"| time, `{s}` ({{methods.labels.steps}} updates of GRPO, seeds: {{timed.seeds}}) |"
        f" {{timed.{s}}} |"
        for s in (BEFORE, NONE, AFTER)
    ),
    "style ({methods.best.grpo} for GRPO, {methods.best.sft} for SFT), GRPO's accuracy minus SFT's"
    " is {methods.best}.",
    "| SFT with 4 times the updates, `no_think` ({methods.budget.seeds}) | {methods.time} |",
    "| learning rate, `no_think` | {methods.rate} |",
    "lead at the higher rate minus this one is {methods.rate.more}, so the lead depends on",
    "| as published, `no_think` ({methods.budget.seeds}) | {methods.published} |",
    "gave the answer away in 0, 50 or 95 % of the training questions, with the same images. The"
    " {leak.n} test questions have no such leak (`no_think`, 100 updates, {leak.seeds};",
    "| change of | leak of 0 % | 50 % | 95 % |",
    *(
        f"| {what}, {arm} | {{leak.{short}.0}} | {{leak.{short}.50}} | {{leak.{short}.95}} |"
        for what, arm, short in (
            ("accuracy", "GRPO", "GRPO.corrected"),
            ("accuracy", "SFT on letters", "SFT.corrected"),
            ("IS", "GRPO", "GRPO.IS"),
            ("IS", "SFT on letters", "SFT.IS"),
        )
    ),
    "held {leak.held}, open {leak.open}, refuted {leak.refuted}.",
    "({styles.steps} steps of GRPO, {styles.n} questions, {styles.seeds})",
    "adds {knowledge.think_before} points of knowledge in `think_before`, {knowledge.no_think} in"
    " `no_think` and {knowledge.think_after} in `think_after`.",
    "a difference in knowledge gained is shown for {styles.apart} of the three pairs of styles.",
    "{arms.held} held, {arms.open} are open, {arms.refuted} refuted, {arms.void} void and"
    " {arms.missing} not run",
    "form after its lesson: {arms.failed}.",
    "(up to {arms.seeds} of an arm, {arms.n} questions)",
    "`after` minus `none` is {made.distance} points: {made.training} made in training and"
    " {made.answering} in answering.",
    "names the right option in {bases.captions.described} % of 640 questions instead of"
    " {bases.captions.plain} %",
    "by {bases.described} points after GRPO ({bases.untrained} before it), and by {bases.plain} on"
    " the shipped base; the difference is {bases.apart} ({bases.seeds}, 640 questions)",
    "shown to be truer on the shipped base: {bases.truer}. Before GRPO, the same difference between"
    " the bases is {bases.apart.untrained} points",
    "100 updates, {rewards.seeds}; `data/recorded/rewards/`)",
    "a third reward, {rewards.share_of_true_claims_claims_summed} points more of the claims are"
    " true than after plain GRPO, the claims in a rationale change by {rewards.claims}, and"
    " accuracy changes by {rewards.accuracy_claims_summed} points.",
    "claims differs by {rewards.share_of_true_claims_normalized_less_summed} points from that.",
    "changes moves *IS* by {rewards.IS_counterfactual} points and accuracy by"
    " {rewards.accuracy_counterfactual}.",
    "held {rewards.held}, open {rewards.open}, refuted {rewards.refuted}.",
    "from {false.think_before.base} to {false.think_before.grpo} % in `think_before` and from"
    " {false.think_after.base} to {false.think_after.grpo} % in `think_after`",
    "rationale goes from {agreement.think_before.base} to {agreement.think_before.grpo} %",
    "takes {gpu.ours} GB where TRL's own takes {gpu.trl}, or {gpu.checkpointing} with",
    "({gpu.seconds} seconds)",
]
# Before each sentence of `statements.yaml` in its chapter.
CLAIMED = "In the record:"
STATEMENTS = yaml.safe_load((GOLDEN / "statements.yaml").read_text(encoding="utf-8"))
AGAIN = (
    "run `python -m tests.test_golden --write study chapters`, read what changed, and"
    " `python -m notebooks.tools.build 10 11 12 --keep-outputs`"
)
# Numbers of the account that are no result: dates, sizes of pictures, the level of confidence ...
NO_RESULT = {"25", "95", "112", "224", "256", "2026-11-28", "2", "24", "150", "60", "0", "4"}


def points(value):
    return f"{100 * value:.1f}"


def interval(row, sign=""):
    """A gain with its interval, as the page prints it."""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in row)
    return f"{value} points [{low}, {high}]" if sign else f"{value} [{low}, {high}]"


def span(values, joint=" to ", digits=0):
    ends = [f"{abs(end):.{digits}f}" for end in sorted(values, key=abs)]
    return f"{ends[0]}{joint}{ends[-1]}"


def speeds():
    bench, gpu, said = recorded("bench"), recorded("gpu"), {}
    for size in ("112", "224"):
        faster = bench[size]["stock_s"] / bench[size]["ours_s"]
        said |= {f"speed.{size}": f"{faster:.1f}", f"step.{size}": PARTS[round(faster)]}
    for style in (BEFORE, NONE):
        seconds = {k: v["all"] for k, v in recorded(f"evaluate_{style}")["seconds"].items()}
        said[f"evaluation.{style}"] = PARTS[round(seconds["to 256"] / seconds["ours"])]
        said[f"stopped.{style}"] = f"{seconds['stopped'] / seconds['ours']:.1f}"
    ways = {"ours": "ours", "trl": "TRL, no checkpointing", "checkpointing": "TRL"}
    said |= {f"gpu.{k}": f"{gpu[way]['peak_bytes'] / 1e9:.1f}" for k, way in ways.items()}
    *first, last = (f"{gpu[way]['seconds']:.0f}" for way in ways.values())
    gap = recorded("loop")["difference"]
    low, high = gap["interval"]
    said["loop.gap"] = f"{gap['points']:+.1f} [{low:+.1f}, {high:+.1f}]"
    return said | {"gpu.seconds": f"{', '.join(first)} and {last}"}


def account_of_maps():
    """What carries over, by modality and by question type, over the corrected base."""
    said, gain, seeds = {}, ["gain", "gain_low", "gain_high"], set()
    for axis in ("modality", "question_type"):
        sides = {method: corrected_map(method, axis) for method in ("grpo", "sft")}
        for method, one in sides.items():
            table = transfer.summary(one).set_index("part")
            for part, short in (("at home", "home"), ("elsewhere", "away")):
                said[f"maps.{axis}.{method}.{short}"] = interval(table.loc[part, gain], "+")
            seeds |= {one.right[train].shape[1] for train in one.trains}
        pooled = transfer.compare_pooled(sides).set_index("part")
        less = pooled.loc["elsewhere", ["difference", "low", "high"]]
        said[f"maps.{axis}.less"] = interval(less, "+")
        for part, short in (("at home", "lead"), ("elsewhere", "behind")):
            value, low, high = 100 * pooled.loc[part, ["difference", "low", "high"]]
            said[f"maps.{axis}.{short}"] = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
            low, high = round(low, 1), round(high, 1)
            words = ("SFT gains more", "GRPO gains more", "open")
            said[f"maps.{axis}.{short}.word"] = words[0 if low > 0 else 1 if high < 0 else 2]
        carried = [
            transfer.generalization_index(sides["grpo"])[name] for name in ("index", "low", "high")
        ]
        said[f"index.{axis}.value"] = f"{carried[0]:.2f}"
        said[f"index.{axis}"] = "{:.2f} [{:.2f}, {:.2f}]".format(*carried)
    other = corrected_map("grpo", "modality", style=BEFORE)
    said["maps.other.seeds"] = in_seeds(range(other.right[other.trains[0]].shape[1]))
    other = transfer.summary(other).set_index("part")
    for part, short in (("at home", "home"), ("elsewhere", "away")):
        said[f"maps.other.{short}"] = interval(other.loc[part, gain], "+")
    kinds = gains_elsewhere()
    clear = [kind for kind, row in kinds.items() if row["low"].iloc[0] > 0]
    said["kinds.clear"] = ", ".join(clear) or "none"
    ends = span(seeds) if len(seeds) > 1 else WORDS[max(seeds)]
    said["maps.seeds"] = "one seed" if seeds == {1} else f"{ends} seeds"
    said["maps.items"] = f"{map_answers()['item'].nunique():,}"
    blind = load(RECORDED / "maps").query("control != 'none'")
    said["maps.blind"] = span(100 * blind.groupby(["style", "control"])["correct"].mean())
    gaps = {axis: leads_elsewhere(axis) for axis in ("modality", "question_type")}
    low, high = student(gaps["modality"])
    numbers = [f"{gap:+.2f}" for gap in gaps["modality"]]
    said["maps.rule"] = f"{', '.join(numbers[:-1])} and {numbers[-1]} [{low:+.2f}, {high:+.2f}]"
    said["maps.rule.three"] = "[{:+.2f}, {:+.2f}]".format(*student(gaps["modality"][:3]))
    said["maps.verdict"] = ledger_says(gaps.values())
    inside = sum(low <= again <= high for low, high, again in reruns())
    said["maps.rerun"] = WORDS[inside]
    parts = on_each_base()
    low, high = stats.bootstrap(parts, "away", "home")
    sums = parts.groupby("model")[["away", "home"]].sum()
    said["index.bases"] = f"{sums['away'].sum() / sums['home'].sum():.2f} [{low:.2f}, {high:.2f}]"
    *first, last = (f"{one:.2f}" for one in sums["away"] / sums["home"])
    said["index.by_base"] = f"{', '.join(first)} and {last}"
    styles = recorded("maps/predictions")["outcomes"][-1]
    assert styles["prediction"].endswith("no_think less think_before")
    return said | {"maps.styles": signed(styles)} | counts_of("maps")


def reruns():
    """The range in which each cell of `maps_rerun` should lie, and its accuracy."""
    again = load(RECORDED / "maps_rerun").query("control == 'none'")
    again = again.groupby(["style", "train", "modality"])["correct"].mean()
    for style, axis, *cell in registered.registered()["cells"]["drawn"]:
        ends = transfer.prediction_intervals(corrected_map("grpo", axis, "tolerant", style))
        low, high = ends.set_index(["train", "test"]).loc[tuple(cell), ["low", "high"]]
        yield low, high, again[style, *cell]


def on_each_base():
    """The parts of the index of the map of modalities, on each base with training seed 0."""
    told = with_letter_probs(RECORDED / "maps_bases")
    models = notes(RECORDED / "maps_bases")["models"]
    start = told["model"].map({one["model"]: one["recipe"]["model"] for one in models})
    read = [gains.read_all(of).assign(start=own) for (own, _), of in told.groupby([start, "model"])]
    first = map_answers().query("style == @NONE and seed <= 0").assign(start="")
    rows = []
    for start, own in pd.concat([first, *read]).groupby("start"):
        base = own.query("method == 'base'").set_index("item")["corrected"]
        row = own.query("method == 'grpo' and axis == 'modality'")
        gain, home = row["corrected"] - row["item"].map(base), row["train"] == row["modality"]
        weights = {"home": home / home.mean(), "away": ~home / (~home).mean()}
        rows.append(row.assign(model=start, **{k: gain * one for k, one in weights.items()}))
    return pd.concat(rows)


def leads_elsewhere(axis):
    """GRPO minus SFT in points, in what the models were not trained on, by seed."""
    away = map_answers().query("style == @NONE and axis == @axis and method != 'base'")
    away = away[away["train"] != away[axis]]
    right = away.groupby(["seed", "method"])["corrected"].mean().unstack()
    return (100 * (right["grpo"] - right["sft"])).to_numpy()


def student(gaps):
    """The interval of 95 % over seeds, as chapters 12 and 13 have it."""
    reach = student_t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / len(gaps) ** 0.5
    return gaps.mean() - reach, gaps.mean() + reach


def ledger_says(gaps):
    """What the rule of the ledger says of differences by seed; chapters 12 and 13 have it."""
    ends = [student(gap) for gap in gaps if len(gap) > 2]
    if len(ends) < len(gaps):
        return "is open"
    below, above = any(high < 0 for _, high in ends), all(low > 0 for low, _ in ends)
    return "does not hold here" if below else "holds here" if above else "is open"


def gains_elsewhere():
    """What GRPO gains in modalities that it was not trained on, by type of question."""
    base = map_answers().query("method == 'base' and style == @NONE")
    away = map_answers().query("method == 'grpo' and style == @NONE and axis == 'modality'")
    away = away[away["train"] != away["modality"]]
    known = base.set_index("item")["corrected"]
    away = away.assign(gain=away["corrected"] - away["item"].map(known))
    return {kind: stats.mean_table(of, ["gain"]) for kind, of in away.groupby("question_type")}


@cache
def map_answers():
    """The answers of the maps, with all readers."""
    told = with_letter_probs(RECORDED / "maps")
    return pd.concat(gains.read_all(one) for _, one in told.groupby("model"))


def corrected_map(method, axis, reader="corrected", style=NONE):
    """One map, right or wrong as one of the readers has it."""
    read = map_answers()
    return transfer.transfer_answers(read.assign(correct=read[reader]), method, style, axis)


def account_of_positions():
    """Where the reasoning stands: three styles, six arms, and whether rationales are true."""
    study, read = recorded("positions/positions"), methods()[1]
    models = pd.DataFrame(notes(RECORDED / "methods")["models"])
    n, arms = (counted(table[0]["item"].nunique()) for table in (methods(), positions()))
    said = {"styles.n": n, "arms.n": arms, "styles.steps": str(models["steps"].max())}
    said["styles.seeds"] = in_seeds(key[2] for key in read if key[1] == "grpo")
    said["arms.seeds"] = in_seeds(key[3] for key in positions()[1])
    for style in STYLES:
        said[f"knowledge.{style}"] = signed(method_parts()["grpo", style].loc["knowledge"])
    apart = style_tests().query("p_holm < 0.05")["gain"]
    said["styles.apart"] = WORDS[int(apart.sum())]
    said["styles.apart.accuracy"] = WORDS[int((~apart).sum())]
    said["arms.failed"] = ", ".join(f"`{arm}`" for arm in sorted(failed(study["runs"]))) or "none"
    outcomes = [one["outcome"] for one in study["outcomes"]]
    for verdict in ("held", "open", "refuted", "void", "not run"):
        name = verdict.replace("not run", "missing")
        said[f"arms.{name}"] = counted(outcomes.count(verdict))
    found = {one["prediction"]: one for one in study["outcomes"]}
    said["arms.dr_grpo"] = signed(found["after minus none, by dr_grpo less by grpo"])
    said["arms.beta"] = signed(found["after minus none, without less with KL"])
    own = positions()[0].query("training == 'course' and arm == asked == 'adaptive'")
    own = own[own["control"] == "none"]
    first = own["completion"].str.contains("<think>").groupby(own["seed"]).mean()
    *some, last = (f"{100 * share:.0f}" for share in first)
    said["arms.adaptive"] = f"{', '.join(some)} and {last}"
    runs = pd.DataFrame([one | one["readers"] for one in study["runs"]])
    arms = runs.query("training == 'course' and arm == asked")
    arms = arms.pivot(index="seed", columns="arm", values="corrected")
    behind = [(arms[arm] - arms["before"]).dropna() for arm in ("none", "after")]
    said["thinking.verdict"] = ledger_says(behind)
    for arm in ("none", "after"):
        said[f"thinking.{arm}"] = mean_of(own_accuracy(arm) - own_accuracy("before"))
    for part, row in made_in("after", "none").iterrows():
        said[f"made.{part}"] = signed(row)
    names = {"hallucination": "false", "agreement": "agreement"}
    rows = claims_table().query("control == 'none' and measure in @names and method != 'sft'")
    for row in rows.itertuples():
        said[f"{names[row.measure]}.{row.style}.{row.method}"] = f"{row.value:.1f}"
    return said


def own_accuracy(arm):
    """Whether an arm of `positions` is right in its own form, by seed and question."""
    by = positions()[1].items()
    read = pd.concat(one for key, one in by if key[:3] == ("course", arm, arm))
    return read.set_index(["model", "item", "image_id"])["corrected"]


def account_of_bases():
    """When reasoning first helps: two bases, whose captions are weak and strong."""
    block = RECORDED / "described"
    told = described.read(pd.read_parquet(block / "answers.parquet"))
    of = recorded("described/predictions")["outcomes"]
    said = {"bases.seeds": in_seeds(set(told["seed"]) - {described.UNTRAINED})}
    for number, name in enumerate(("apart", "described", "plain")):
        one = registered.registered()["sections"]["described"]["predictions"][number]
        row = in_points(stats.mean_table(described.measured(one, told), ["value"])).iloc[0]
        said[f"bases.{name}"] = signed(row)
        assert [round(row[end], 2) for end in ("value", "low", "high")] == [
            of[number][end] for end in ("value", "low", "high")
        ], "run benchmarks.study.described again"
    before, plain = (
        described.gap_of(told, base, "before", "none", trained=False)
        for base in ("described", "undescribed")
    )
    said["bases.untrained"] = mean_of(before)
    said["bases.apart.untrained"] = mean_of(before - plain)
    for base in described.BASES.values():
        rows = recorded(f"described/oracle_{base}")["rows"]
        right = sum(row["accuracy"] * row["n"] for row in rows) / sum(row["n"] for row in rows)
        said[f"bases.captions.{'plain' if 'tiny' in base else base}"] = f"{100 * right:.0f}"
    said["bases.truer"] = signed(pd.Series(of[4]))
    return said


def account_of_leak():
    """What training does to accuracy and to the use of images where options give answers away."""
    changes = leak.changed(RECORDED / "leak")
    table = in_points(leak.table(changes)).set_index(["arm", "leak", "measure"])
    said = {"leak.seeds": in_seeds(changes["model"]), "leak.n": f"{changes['item'].nunique():,}"}
    for arm, of, measure in table.index:
        if measure in ("corrected", "IS"):
            name = f"leak.{arm.split()[0]}.{measure}.{of}"
            said[name] = signed(table.loc[arm, of, measure])
    return said | counts_of("leak")


def account_of_rewards():
    """What rewards for true claims, and for letters that come from the image, change."""
    answers = pd.read_parquet(RECORDED / "rewards/answers.parquet")
    shown = {one.image_id: one.scene for one in questions("test")}
    told = rewards.judged(answers, shown)
    said = {"rewards.seeds": in_seeds({*told["model"]} - {described.UNTRAINED})}
    for one in registered.registered()["sections"]["rewards"]["predictions"]:
        row = stats.mean_table(rewards.measured(one, told), ["value"]).iloc[0]
        if one["id"].startswith("claims in"):
            said["rewards.claims"] = "{value:+.2f} [{low:+.2f}, {high:+.2f}]".format(**row)
        else:
            name = "_".join(re.findall(r"\w+", one["id"]))
            said[f"rewards.{name}"] = signed(in_points(row.to_frame().T).iloc[0])
    return said | counts_of("rewards")


def counts_of(section):
    """How many predictions of a section held, are open, are refuted and were not run."""
    words = {"held": "held", "open": "open", "refuted": "refuted", "missing": "not run"}
    found = [one["outcome"] for one in recorded(f"{section}/predictions")["outcomes"]]
    assert {*found} <= {*words.values()}
    told = [name for name, word in words.items() if name != "missing" or word in found]
    return {f"{section}.{name}": counted(found.count(words[name])) for name in told}


def in_seeds(seeds):
    """How many there are."""
    found = len({*seeds})
    return f"{WORDS[found]} seed{'s' * (found > 1)}"


def counted(number):
    return WORDS[number] if number < len(WORDS) else f"{number:,}"


def signed(row):
    """A value in points with its interval."""
    return f"{row['value']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}]"


def account_of_methods():
    """GRPO beside SFT, at equal updates, labels, time and rate, as chapter 10 has it."""
    models = pd.DataFrame(notes(RECORDED / "methods")["models"])
    grpo, said = taught_by("grpo"), {}
    said["methods.steps"], said["methods.seeds"] = str(models["steps"].max()), str(len(grpo))
    said["methods.items"] = str(len(grpo[0]))
    said["methods.budget.seeds"] = f"{WORDS[len(budget_arm('as published'))]} seeds"
    pairs = {f"methods.{s}": (taught_by("grpo", s), taught_by("sft", s)) for s in STYLES}
    pairs["methods.labels"] = learning_arm("grpo", BEFORE), learning_arm("sft", BEFORE)
    pairs["methods.time"] = grpo, budget_arm("4 times the updates")
    pairs["methods.rate"] = taught_by("grpo", rate=1e-4), taught_by("sft", rate=1e-4)
    pairs["methods.published"] = grpo, budget_arm("as published")
    pairs["methods.labels.no_think"] = learning_arm("grpo", NONE), learning_arm("sft", NONE)
    pairs["methods.rft"] = learning_arm("grpo", BEFORE), learning_arm("rft", BEFORE)
    for style in STYLES:
        pairs[f"timed.{style}"] = learning_arm("grpo", style), learning_arm("sft-time", style)
    pairs["timed.rft"] = learning_arm("grpo", BEFORE), learning_arm("rft-time", BEFORE)
    best = []
    for method in ("grpo", "sft"):
        arms = {style: learning_arm(method, style) for style in STYLES}
        right = {style: pd.concat(arm.values())["corrected"].mean() for style, arm in arms.items()}
        style = max(right, key=right.get)
        said[f"methods.best.{method}"] = f"`{style}`"
        best.append(arms[style])
    pairs["methods.best"] = tuple(best)
    leads = (moved_between(*pairs[f"methods.{name}"]) for name in (NONE, "rate"))
    higher, lower = (one.set_index(["model", *stats.ITEM])["knowledge"] for one in leads)
    said["methods.rate.more"] = mean_of(higher - lower)
    for name, pair in pairs.items():
        value, low, high = parts_between(*pair).loc["knowledge", ["value", "low", "high"]]
        said[name] = f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
        said[f"{name}.word"] = "ahead" if low > 0 else "behind" if high < 0 else "open"
    models["rate"] = [recipe["learning_rate"] for recipe in models["recipe"]]
    kind = models.query("style == @NONE and rate == rate.max()")
    logs = pd.read_parquet(RECORDED / "methods" / LOGS).merge(kind[["model", "method"]])
    spent = logs.groupby("method")["seconds"].sum() / len(grpo)
    said["methods.spent"] = f"{4 * spent['sft']:.0f} s"
    said["methods.spent.grpo"] = f"{spent['grpo']:.0f} s"
    said["methods.labels.steps"] = str(recorded("learning/learning")["steps"])
    said["methods.labels.seeds"] = str(len(pairs["methods.labels"][0]))
    general = learned("forgetting/answers")
    known = general.query("method == 'base'").set_index("item")["correct"]
    general = general.assign(value=general["correct"] - 1.0 * general["item"].map(known))
    for method in ("grpo", "sft"):
        rows = general.query("method == @method and rate == rate.max()")
        said[f"forgotten.{method}"] = signed(in_points(stats.mean_table(rows, ["value"])).iloc[0])
    said["timed.seeds"] = str(len(pairs[f"timed.{BEFORE}"][1]))
    return said


@cache
def study():
    """Every figure of the account, as printed."""
    accounts = (
        speeds,
        account_of_maps,
        account_of_methods,
        account_of_positions,
        account_of_bases,
        account_of_leak,
        account_of_rewards,
    )
    return {key: value for part in accounts for key, value in part().items()}


def filled(text, values):
    return re.sub(r"\{([\w.]+)\}", lambda m: values[m[1]], text)


def spaced(text):
    """With single spaces for line breaks and all else that is white."""
    return " ".join(text.split())


def page():
    return (ROOT / "book/results.md").read_text(encoding="utf-8")


def absent(values, texts, written):
    """Those texts, with the values in their places, that the page has not."""
    told = [spaced(filled(text, values)) for text in texts]
    return [text for text in told if text not in spaced(written)]


def source(chapter):
    (path,) = (ROOT / "notebooks/_src").glob(f"{chapter}_*.py")
    return path


def claimed(chapter):
    return [f"{CLAIMED} {text}" for text in STATEMENTS[chapter]]


def prose(chapter):
    cells = jupytext.read(source(chapter), fmt="py:percent").cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def refilled(written, before, after, texts=TEXTS):
    """A page with new values in the places of those that it holds now; lines break as before."""
    for text in texts:
        parts = re.split(r"(\{[\w.]+\})", text)
        held = "".join(
            f"({loose(before[part[1:-1]])})" if part[:1] == "{" else loose(part) for part in parts
        )
        names = [part[1:-1] for part in parts if part[:1] == "{"]
        found = re.search(held, written)
        for number in range(len(names), 0, -1):  # from the last, so that places stay
            (begin, end), name = found.span(number), names[number - 1]
            if after[name] != before[name]:
                written = written[:begin] + after[name] + written[end:]
    return written


def loose(text):
    """A pattern for a text that may break its lines between words, also as a comment."""
    return r"(?:\n# |\s)+".join(map(re.escape, re.split(r"\s+", text)))


@pytest.mark.slow
def test_every_figure_of_the_study_follows_from_the_records():
    assert differences(study(), golden("study")) == [], AGAIN


def test_the_account_of_the_study_has_these_figures():
    assert absent(golden("study"), TEXTS, page()) == []


def test_every_value_of_the_study_stands_in_a_text():
    texts = [*TEXTS, *(text for chapter in STATEMENTS for text in STATEMENTS[chapter])]
    named = {key for text in texts for key in re.findall(r"\{([\w.]+)\}", text)}
    assert named == set(golden("study"))


@pytest.mark.parametrize("chapter", STATEMENTS)
def test_what_a_chapter_says_of_the_record_is_so(chapter):
    said = prose(chapter)
    assert absent(golden("study"), claimed(chapter), said) == [], AGAIN
    assert said.count(CLAIMED) == len(STATEMENTS[chapter]), "a sentence that no test holds"
    other = {key: f"{value}!" for key, value in golden("study").items()}
    assert len(absent(other, claimed(chapter), said)) == len(STATEMENTS[chapter])


@pytest.mark.parametrize("chapter", STATEMENTS)
def test_the_source_of_a_chapter_takes_new_values(chapter):
    old, text = golden("study"), source(chapter).read_text(encoding="utf-8")
    assert refilled(text, old, old, claimed(chapter)) == text
    new = {key: f"<{key}>" for key in old}
    written = refilled(text, old, new, claimed(chapter))
    said = " ".join(re.sub(r"\n# ", "\n", written).split())
    assert absent(new, claimed(chapter), said) == []


def test_no_figure_of_the_account_is_left_out():
    """Take away what is held: only numbers that are no result may be left."""
    rest = spaced(page().partition("## What a step costs")[2])
    for text in TEXTS:
        rest = rest.replace(spaced(filled(text, golden("study"))), " ")
    rest = re.sub(r"`[^`]*`|H200|NF4|Qwen2|Chapters 00 to 12", " ", rest)
    numbers = re.findall(r"(?<![\w.])[+-]?\d[\d,.-]*\d|(?<![\w.])\d", rest)
    assert sorted(set(numbers) - NO_RESULT) == []


def test_the_page_takes_new_values_in_the_places_of_the_old():
    old = golden("study")
    assert refilled(page(), old, old) == page()
    new = {key: f"<{key}>" for key in old}
    written = refilled(page(), old, new)
    assert absent(new, TEXTS, written) == []
    assert spaced(refilled(written, new, old)) == spaced(page())


def test_a_changed_record_is_noticed():
    """A step that takes less time, in a copy: a figure must differ."""
    bench = json.loads((RECORDED / "bench.json").read_text())
    bench["112"]["ours_s"] /= 1.3
    names = ("gpu", "loop", f"evaluate_{BEFORE}", f"evaluate_{NONE}")
    others = {name: recorded(name) for name in names}
    with mock.patch(f"{__name__}.recorded", (others | {"bench": bench}).get):
        lines = differences(speeds(), golden("study"))
    assert any("speed.112" in line for line in lines)
    other = golden("study") | {"false.think_before.grpo": "12.2"}
    assert absent(other, TEXTS, page()) != []
    kept = {"a": [1, 0.123456]}
    assert differences({"a": [1, 0.1234561]}, kept) == []
    assert differences({"a": [1, 0.12346]}, kept) == ["/a/1: 0.12346 instead of 0.123456"]
    assert len(differences({"b": [1]}, kept)) == 2


# --- 2 chapters 10 to 12 ------------------------------------------------------------------------


@cache
def chapter_10():
    kept, rows = {}, []
    grpo, sft = taught_by("grpo"), taught_by("sft")
    for seed, answered in grpo.items():
        pair = compare(sft[seed], answered)
        ends = paired_interval(pair.first, pair.second, pair.n)
        rows.append((seed, *(100 * one for one in (pair.difference, *ends))))
    kept["seeds"] = pd.DataFrame(rows, columns=["seed", "difference", "low", "high"])
    for style in STYLES:
        kept[f"styles, {style}"] = parts_between(taught_by("grpo", style), taught_by("sft", style))
        for arm in ("base", "format", "random", "sft", "rft"):
            if own := learning_arm(arm, style):
                table = parts_between(learning_arm("grpo", style), own).loc[["knowledge"]]
                kept[f"arms, {style}, {arm}"] = table
    kept["time"] = parts_between(grpo, budget_arm("4 times the updates"))
    for rate in (1e-3, 1e-4):
        table = parts_between(taught_by("grpo", rate=rate), taught_by("sft", rate=rate))
        kept[f"rates, {rate:g}"] = table.loc[["knowledge"]]
    by = learned("budget/answers").groupby("variant")
    kept["budgets"] = by[["correct", "format_ok"]].mean().reset_index()
    for variant in by.groups:
        kept[f"budgets, {variant}"] = parts_between(grpo, budget_arm(variant)).loc[["strict"]]
    logs = pd.read_parquet(RECORDED / "methods" / LOGS)
    logs = logs.merge(pd.DataFrame(notes(RECORDED / "methods")["models"]), on="model")
    seconds = logs.query("style == @NONE").groupby("method")["seconds"].median()
    kept["ratio"] = seconds["grpo"] / seconds["sft"]
    return plain(kept)


@cache
def chapter_11():
    kept = {f"parts, {' '.join(key)}": table for key, table in method_parts().items()}
    for key, group in methods()[0].groupby(["method", "style"]):
        kept[f"looks, {' '.join(key)}"] = looks(group)
    kept |= {f"parts, {arm}": table for arm, table in arm_parts().items()}
    own = positions()[0].query("training == 'course' and arm == asked")
    kept |= {f"looks, {arm}": looks(group) for arm, group in own.groupby("arm")}
    columns = ["label", "minus", "gain", "n", "seeds", "value", "low", "high"]
    kept["tests"], kept["p"] = style_tests()[columns], style_tests()["p_holm"]
    kept["outcomes"] = pd.DataFrame(recorded("positions/positions")["outcomes"])
    for pair in PAIRS:
        if {*pair} <= arm_parts().keys():
            kept[f"made in, {' minus '.join(pair)}"] = made_in(*pair)
    said = claims_table()
    measures = ["hallucination", "right about what is asked", "agreement"]
    own = said[said["control"].eq("none") & said["measure"].isin(measures)]
    kept["claims"] = own
    published = ("modality", "question_type")
    kept["published"] = {a: paper.no_think_minus_think(a)["value"].mean() for a in published}
    return plain(kept)


@cache
def chapter_12():
    kept, base = {}, map_answers().query("method == 'base' and style == @NONE")
    for axis in ("modality", "question_type"):
        one = corrected_map("grpo", axis)
        table = transfer.matrix(one)
        kept[f"gain, {axis}"] = table
        by_hand = transfer_index(table.set_index(["train", "test"])["gain"].to_dict())
        kept[f"index, {axis}"] = transfer.generalization_index(one) | {"by hand": by_hand}
        for reader in ("strict", "corrected"):
            found_ = transfer.summary(corrected_map("grpo", axis, reader))
            kept[f"summary, {axis}, {reader}"] = found_
        blind = transfer.blind_baselines(
            load(RECORDED / "maps"), "base", NONE, axis, train_questions()
        )
        kept[f"controls, {axis}"] = blind
        drawn = plots.heatmap(table, blind, f"GRPO, {axis}")
        kept[f"figure: {axis}"] = figure(drawn)
        sides = {method: corrected_map(method, axis) for method in ("grpo", "sft")}
        kept[f"SFT less GRPO, {axis}"] = transfer.compare_pooled(sides)
    kept["readers"] = base[list(gains.READERS)].mean()
    kept["elsewhere, by question type"] = pd.concat(gains_elsewhere()).reset_index()
    theirs = paper.no_think_minus_think("modality")
    counts = dict(zip(theirs["test"], theirs["n"], strict=True))
    turned = theirs.assign(n=theirs["train"].map(counts))
    for name, whole in (("columns", theirs), ("rows", turned)):
        some = whole[[paper.fits_by_chance(n, terms=2) < 0.5 for n in whole["n"]]]
        fit = [paper.fits(v, n, 2) for v, n in zip(some["value"], some["n"], strict=True)]
        luck = sum(paper.fits_by_chance(n, terms=2) for n in some["n"])
        kept[f"fits if the {name} are the tests"] = [sum(fit), len(fit), luck]
    return plain(kept)


CHAPTERS = {"10": chapter_10, "11": chapter_11, "12": chapter_12}
# Tables that the stored chapters print, to so many digits; of a table, the columns that are shown.
PRINTED = {
    "10": {
        "seeds": (1, ["difference", "low", "high"]),
        **{f"styles, {style}": (1, ["value", "low", "high"]) for style in STYLES},
        **{f"arms, {style}, sft": (1, ["value", "low", "high"]) for style in STYLES},
        "time": (1, ["value", "low", "high"]),
        "rates, 0.001": (1, ["value", "low", "high"]),
        "rates, 0.0001": (1, ["value", "low", "high"]),
        "budgets": (3, None),
        "budgets, as published": (1, ["value", "low", "high"]),
        "ratio": (1, None),
    },
    "11": {
        name: (1, ["value"] if name.startswith("looks") else ["value", "low", "high"])
        for name in golden("chapters")["11"]
    }
    | {"p": (3, None), "published": (1, None)},
    "12": {
        **{f"index, {axis}": (2, None) for axis in ("modality", "question_type")},
    },
}


def leaves(value, columns=None):
    """The floats of a golden value; of a table, of those columns."""
    if isinstance(value, dict) and "rows" in value:
        kept = [columns is None or name in columns for name in value["columns"]]
        numbers = [x for row in value["rows"] for x in compress(row, kept)]
        return [x for x in numbers if type(x) is float]
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [x for part in parts for x in leaves(part)]
    return [value] if type(value) is float else []


def printed(path):
    """Every number that the text outputs of a notebook hold, without its sign."""
    texts = [canonical(output) for cell in code_cells(path) for output in cell.outputs]
    pattern = r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w])"
    return {float(one.replace(",", "")) for text in texts for one in re.findall(pattern, text)}


def unprinted(kept, shown, known):
    """Values of golden tables that a chapter does not print, to the digits that it prints."""
    return [
        f"{name}: {value}"
        for name, (digits, columns) in shown.items()
        for value in leaves(kept[name], columns)
        if not any(round(abs(value) + half, digits) in known for half in (0, 1e-6, -1e-6))
    ]


@pytest.mark.slow
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_tables_of_a_chapter_follow_from_the_records(chapter):
    assert differences(CHAPTERS[chapter](), golden("chapters")[chapter]) == []


@pytest.mark.parametrize("chapter", PRINTED)
def test_a_chapter_prints_these_tables(chapter):
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    known = printed(path)
    assert unprinted(golden("chapters")[chapter], PRINTED[chapter], known) == []
    assert unprinted({"t": [0.98765]}, {"t": (5, None)}, known) == ["t: 0.98765"]


# --- 3 each recorded block ----------------------------------------------------------------------


def digest(name):
    """Counts, and a hash of all that the models of a block were asked and said."""
    own = load(RECORDED / name)
    labels = ["method", "style", "axis", "train", "seed", "test", "control"]
    asked = own.drop_duplicates(["test", "item"]).sort_values(["test", "item"])
    said = hashlib.sha256()
    for fields, group in [(("item", "image_id", "question", "answer", "scene"), asked)] + [
        (("item", "completion", "parsed"), group.sort_values("item"))
        for _, group in own.groupby(labels)
    ]:
        for field in fields:
            said.update("\n".join(group[field].fillna("").astype(str)).encode())
    sums = {column: int(own[column].sum()) for column in ("correct", "format_ok", "tokens")}
    return {"answers": len(own), "models": own["model"].nunique(), **sums, "said": said.hexdigest()}


def keys_of(name):
    """The maps of a block, as `found` and the like take them."""
    own = load(RECORDED / name)
    own = own[~own["method"].str.endswith("base")]
    return sorted(set(own[["axis", "method", "style"]].itertuples(index=False, name=None)))


def of_maps(name, keys):
    kept = {}
    for key in keys:
        said, one = ", ".join(key[:3]), found(*key)
        kept[f"matrix: {said}"] = matrix(*key)
        kept[f"summary: {said}"] = summary(*key).reset_index()
        kept[f"index: {said}"] = index(*key)
        if one.right.columns.get_level_values("seed").nunique() > 1:
            kept[f"prediction: {said}"] = transfer.prediction_intervals(one)
    first, *_ = keys
    alike = {", ".join(key[:3]): found(*key) for key in keys if key[0] == first[0]}
    if len(alike) > 1:
        kept["ablation"] = transfer.compare_pooled(alike)
        kept["differences"] = report.compare_cells(*list(alike.values())[:2])
    axis, method, style = first[:3]
    asked = train_questions()[::5]
    kept["controls"] = transfer.blind_baselines(block(name), method, style, axis, asked)
    return kept


@cache
def of_block(name):
    """Everything that the analysis says about one block."""
    own, keys = load(RECORDED / name), keys_of(name) if name == "maps" else []
    groups = ["method", "style", "axis", "control"]
    measures = {"accuracy": ("correct", None), "form": ("format_ok", None)}
    kept = {"digest": digest(name), "rates": stats.rate_table(own, groups, measures)}
    kept |= of_maps(name, keys) if keys else {}
    one = own[own["model"] == own["model"].iloc[0]]
    kept["scores of the first model"] = score_summary(one)
    kept["share of the first model"] = share(one[one["control"] == "none"])
    thinks = own["style"].isin([BEFORE, AFTER])
    if thinks.any():
        some = own[thinks & own["item"].mod(8).eq(0)]
        by = ["method", "style", "control"]
        kept["reasons"] = stats.rate_table(grounding.score(some), by, grounding.MEASURES)
    logs = gathered([RECORDED / name], LOGS, "step")
    if len(logs):
        numbers = logs.select_dtypes("number")
        kept["log"] = numbers.agg(["count", "mean", "min", "max"]).T.reset_index()
        column = "reward" if "reward" in logs else "loss"
        curves = learning_curves(logs[logs[column].notna()], column)
        kept["figure: curves"] = {"alt": figure(curves)["alt"]}
    letters = gathered([RECORDED / name], LETTER_PROBS, "item")
    for kind, sure in letters.groupby(letters["method"] + ", " + letters["style"]):
        kept[f"figure: calibration, {kind}"] = figure(calibration(sure, kind))
    return plain(kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_the_analysis_of_a_block_says_the_same(name):
    assert differences(of_block(name), golden("blocks")[name]) == []


def test_every_block_is_held():
    there = {str(p.parent.relative_to(RECORDED)) for p in RECORDED.rglob("models.json")}
    assert there == set(BLOCKS) == set(golden("blocks"))


def test_the_analysis_notices_a_changed_answer():
    one = found("modality", "grpo", NONE)
    right = one.right.copy()
    right.iloc[0, 0] = 1 - right.iloc[0, 0]
    table = plain(transfer.matrix(replace(one, right=right)))
    kept = golden("blocks")["maps"]["matrix: modality, grpo, no_think"]
    lines = differences(table, kept)
    assert 0 < len(lines) <= 2 * 8 * 6


# --- 4 the language half of the shipped base ----------------------------------------------------


def processor():
    """What decides the last bits of a sum: the processor, its instructions, torch, the threads."""
    facts = Path("/proc/cpuinfo")
    told = facts.read_text(encoding="utf-8") if facts.exists() else ""
    names = ("vendor_id", "cpu family", "model", "model name", "stepping")
    found_ = (re.search(rf"^{name}\s*: (.*)$", told, re.MULTILINE) for name in names)
    words = [match[1].strip() for match in found_ if match]
    words += [torch.backends.cpu.get_cpu_capability(), f"torch {torch.__version__}", "one thread"]
    return ", ".join(words)


def taught(out):
    """Teach the language half behind the shipped tower for eight steps; what came of it.

    Four steps of look-ups, then four of all rows, on few pictures; every part of the command runs
    but for its validation, report and card.
    """
    losses = []
    scored = teaching.losses

    def noted(*given):
        found_ = scored(*given)
        losses.append({name: float(loss.detach()) for name, (loss, _) in found_.items()})
        return found_

    threads = torch.get_num_threads()
    few = {use: {"medical": 1, "general": 1} for use in pretraining.USES}
    try:
        with (
            mock.patch.object(pretraining, "USES", few),
            mock.patch.object(pretraining, "_log_validation"),
            mock.patch.object(pretraining, "report", return_value={}),
            mock.patch.object(pretraining, "card", str),
            mock.patch.object(teaching, "LOOK_UP_STEPS", 4),
            mock.patch.object(teaching, "losses", noted),
        ):
            shown = ["--medical-pictures", "1", "--language-steps", "8"]
            assert pretraining.main(["--tower", str(TINY_BASE), "--out", str(out), *shown]) == 0
    finally:
        torch.set_num_threads(threads)
    weights = load_file(out / "model.safetensors")
    return summed(weights) | {"losses": plain(losses)}


def summed(weights):
    """A hash of all weights, and a few of them."""
    said, few = hashlib.sha256(), {}
    for place, name in enumerate(sorted(weights)):
        values = weights[name].contiguous().numpy()
        said.update(name.encode() + values.tobytes())
        if place % 12 == 0:
            few[name] = plain(values.ravel()[:: max(1, values.size // 3)][:3])
    return {"sha256": said.hexdigest(), "weights": few}


def unlike(made, kept, machine):
    """How what was taught differs from what is kept: in a byte where the machine is known."""
    lines = [
        line
        for part in ("losses", "weights")
        for line in differences(made[part], kept[part], 1e-4)
        if not near(line)
    ]
    wanted = kept["sha256"].get(machine, made["sha256"])
    return lines + ([] if made["sha256"] == wanted else ["the bytes differ"])


def near(line):
    """Whether two small numbers lie within 1e-4 of each other."""
    pair = re.fullmatch(r".*: (-?[\d.e-]+) instead of (-?[\d.e-]+)", line)
    return bool(pair) and abs(float(pair[1]) - float(pair[2])) < 1e-4


@pytest.mark.slow
def test_the_language_half_is_taught_as_before(tmp_path):
    made, kept = taught(tmp_path), golden("base")
    assert unlike(made, kept, processor()) == []
    other = made | {"sha256": "0"}
    assert unlike(other, kept | {"sha256": {"here": made["sha256"]}}, "here") == [
        "the bytes differ"
    ]
    assert unlike(other, kept, "another machine") == []
    shifted = [{name: 1.01 * loss for name, loss in one.items()} for one in made["losses"]]
    assert unlike(made | {"losses": shifted}, kept, "another machine") != []


# --- 5 the stored outputs of chapters -----------------------------------------------------------

VOLATILE = (
    (re.compile(r"(?<=0x)[0-9a-fA-F]{6,16}\b"), "0"),  # addresses
    (re.compile(r"\b[0-9a-f]{32}\b"), "0"),  # ids of widgets
    (re.compile(r"/tmp/\S+"), "/tmp"),
)


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def canonical(output):
    """The text of one output; nothing where it shows a picture or a widget."""
    data = output.get("data", {})
    if any(kind.startswith(("image/", "application/")) for kind in data):
        return ""
    texts = [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    text = "\n".join(filter(None, map("".join, texts)))
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return text


def hashes(path):
    """One short hash for each code cell; a dash where it says nothing."""
    cells = ["".join(map(canonical, cell.outputs)) for cell in code_cells(path)]
    return [hashlib.sha256(text.encode()).hexdigest()[:8] if text else "-" for text in cells]


def notebooks():
    folder = ROOT / "notebooks"
    return sorted([*folder.glob("*.ipynb"), *folder.glob("solutions/*.ipynb")])


def changed(now, kept):
    """Which code cells say something else, by their numbers now."""
    steps = difflib.SequenceMatcher(None, kept, now, autojunk=False).get_opcodes()
    return [
        f"code cell {first + 1} to {last}, where {before - start} were: {kind}"
        for kind, start, before, first, last in steps
        if kind != "equal"
    ]


@pytest.mark.parametrize("path", notebooks(), ids=lambda p: str(p.relative_to(ROOT / "notebooks")))
def test_the_stored_outputs_of_a_chapter_are_unchanged(path):
    kept = golden("outputs")[str(path.relative_to(ROOT))]
    assert changed(hashes(path), kept["cells"]) == []
    assert kept["said"] == sum(one != "-" for one in kept["cells"])


def test_no_chapter_is_missing_or_new():
    assert {str(path.relative_to(ROOT)) for path in notebooks()} == set(golden("outputs"))


def test_a_changed_output_is_noticed(tmp_path):
    path = notebooks()[0]
    book = nbformat.read(path, 4)
    kept = hashes(path)
    cell = next(c for c in book.cells if c.cell_type == "code" and c.outputs)
    cell.outputs[0]["text"] += "x"
    nbformat.write(book, tmp_path / "copy.ipynb")
    assert len(changed(hashes(tmp_path / "copy.ipynb"), kept)) == 1


# --- writing ------------------------------------------------------------------------------------


def base_now():
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = taught(Path(folder))
    known = golden("base")["sha256"] if (GOLDEN / "base.json").exists() else {}
    same = known and not unlike(made, golden("base"), "another machine")
    return made | {"sha256": (known if same else {}) | {processor(): made["sha256"]}}


def outputs_now():
    cells = {str(path.relative_to(ROOT)): hashes(path) for path in notebooks()}
    return {k: {"said": sum(c != "-" for c in v), "cells": v} for k, v in cells.items()}


WRITERS = {
    "study": study,
    "chapters": lambda: {name: made() for name, made in CHAPTERS.items()},
    "blocks": lambda: {name: of_block(name) for name in BLOCKS},
    "base": base_now,
    "outputs": outputs_now,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the golden files from the code as it is.")
    parser.add_argument("--write", nargs="*", choices=WRITERS, required=True)
    GOLDEN.mkdir(exist_ok=True)
    for part in parser.parse_args().write or WRITERS:
        if part == "study":
            results = refilled(page(), golden("study"), study())
            (ROOT / "book/results.md").write_text(results, encoding="utf-8")
            for chapter in STATEMENTS:
                text = source(chapter).read_text(encoding="utf-8")
                text = refilled(text, golden("study"), study(), claimed(chapter))
                source(chapter).write_text(text, encoding="utf-8")
        (GOLDEN / f"{part}.json").write_text(text_of(WRITERS[part]()))
        print(f"tests/golden/{part}.json")
