# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 12 Map generalization
#
# ## What you will do
#
# The first claim of Med-R1 is that reinforcement learning generalizes further than supervised fine-tuning.
# You test it with maps. For a map, each model is trained on one imaging modality, or on one type of question,
# and asked about all of them. You remove what is only form or a letter habit, and measure how much of the
# gain is left in the other modalities. Then you compare GRPO with SFT. At the end you plan the run that could
# decide the claim on real images.
#
# ## What you will learn
#
# After this chapter you can
#
# - read a map of generalization together with rows that need no training,
# - tell knowledge that carries over from form and letter habit,
# - summarize a map in one index with an interval, and say when the index misleads,
# - check whether printed percentages can come from the number of questions that is claimed,
# - compute how many questions and seeds a comparison needs.
#
# ## What you will need
#
# Chapters 06 (training, and the parts of a gain) and 10 (fair comparisons). One row of a map is trained live, in a
# few minutes on one CPU core. At the replay tier a recorded model takes its place.

# %%
import json
import tempfile
import warnings
from pathlib import Path
from statistics import fmean

import pandas as pd
from IPython.display import display
from matplotlib import pyplot as plt
from scipy.stats import t

from medr1_lib.analysis import gains, plots, recorded, transfer
from medr1_lib.analysis.stats import bootstrap, mean_table
from medr1_lib.course import checks, ledger, tiers
from medr1_lib.course.chapters import chapter_12 as paper
from medr1_lib.data import phantom_vqa

tier = tiers.start(12)
plt.style.use("seaborn-v0_8-colorblind")
warnings.filterwarnings("ignore", category=FutureWarning)
RECORDED = tiers.material("recorded")
BLOCK, STYLE, OTHER = RECORDED / "maps", "no_think", "think_before"

# %% [markdown]
# ## 1 One row of your own
#
# A row of a map is one model. It is trained on one modality and asked about all eight. *At home* means the
# modality that it was trained on, *elsewhere* means the others. The figure shows what we compute from its
# answers.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Five boxes with arrows. A model trained on one modality is asked at home, about the same modality, and elsewhere, about the others. From both accuracies that of the corrected base, which was not trained, is subtracted. The index is the gain elsewhere divided by the gain at home."}}
from medr1_lib.course.sketch import sketch

boxes = {
    "train": (0, 0, "trained on\none modality"),
    "home": (1.5, 0.5, "at home:\nasked about it"),
    "away": (1.5, -0.5, "elsewhere: asked\nabout the others"),
    "base": (3.1, 0, "minus the\ncorrected base"),
    "index": (4.6, 0, "index: gain elsewhere\nover gain at home"),
}
arrows = [("train", "home", ""), ("train", "away", ""), ("home", "base", "")]
arrows += [("away", "base", ""), ("base", "index", "gains")]
sketch(boxes, arrows, tints={"base": "orange", "index": "green"}, size=(10, 2.6))
plt.show()

# %% [markdown]
# All answers are read by the *corrected* reader of chapter 02: the most likely letter after the letter habit
# is removed. So a model loses nothing if it breaks the form, and it gains nothing by a favorite letter. The
# function below reads a *block*: a few files with every answer of every recorded model.


# %%
def readings(block):
    """Answers about the real images; `correct` is what the corrected reader finds."""
    told = recorded.with_letter_probs(block)
    read = pd.concat(gains.read_all(one) for _, one in told.groupby("model"))
    return read.assign(correct=read["corrected"])


full = readings(BLOCK)
trained = full[full["method"] != "base"]
bases = full[full["method"] == "base"].groupby("style")
print(f"{full['model'].nunique()} models, {full['item'].nunique()} images each")

# %% [markdown]
# Now train one row. A *plan* lists groups of models, and the base is one of them. `sweep` trains and tests
# what is not done yet, so it can continue after an interruption. Its bar counts whole trainings, so it stays at 0
# until the only one is done. **Predict** before you run it: in which other modalities will training on `CHOSEN` help?

# %%
CHOSEN, STEPS = "MRI", 60
if tier.name == "replay":
    wanted = (full["style"] == STYLE) & (full["seed"] < 1)
    wanted &= (full["method"] == "base") | (full["train"] == CHOSEN)
    small = full[wanted & (full["method"] != "sft")]
else:
    from medr1_lib.evaluation.sweep import Grid, Plan, record, sweep

    temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-12-")
    folder = Path(temporary.name)
    train = phantom_vqa.questions("train", per_cell=80)
    train = [one for one in train if one.modality == CHOSEN]
    test = [*phantom_vqa.questions("test", per_cell=12)]
    phantom_vqa.write(folder / "data", {"train": train, "test": test}, {})
    recipe = "gpu" if tier.name == "gpu" else "course"
    how = {"model": str(tier.model_path), "max_steps": STEPS, "save_steps": STEPS}
    base = Grid(recipe, (STYLE,), changes=how, untrained=True)
    row = Grid(recipe, (STYLE,), "modality", (CHOSEN,), changes=how)
    plan = Plan(str(folder / "data"), (base, row), tier.max_new_tokens)
    sweep(plan, folder / "sweep")
    done = [folder / "sweep" / job.name for job in plan.jobs()]
    record(done, folder / "block", {"plan": "one row"})
    small = readings(folder / "block")


# %%
def in_points(table, *columns):
    """The table with these columns of shares in percentage points."""
    return table.assign(**{name: (100 * table[name]).round(1) for name in columns})


GAIN = ["gain", "gain_low", "gain_high"]
mine = transfer.matrix(transfer.transfer_answers(small, "grpo", STYLE, "modality"))
print(f"trained on {CHOSEN}; n = {mine['n'].min()} a cell, one seed")
clear = (mine["gain_low"] > 0) | (mine["gain_high"] < 0)
print("intervals clear of zero:", ", ".join(mine.loc[clear, "test"]) or "none")
in_points(mine, *GAIN)[["test", "n", *GAIN]]

# %% [markdown]
# Look at the intervals before you explain a cell. With so few questions they are wide, and one seed says
# nothing about other seeds. First look at the gain at home. If even this gain is not clear of zero, so short
# a training shows nothing about the other modalities. To find a small gain elsewhere you need more questions
# and more rows. The recorded models had 100 steps.
#
# ## 2 The row that needs no training
#
# The recorded maps have models for each modality and each type of question, by GRPO and by SFT on the
# letters. Both methods had the same number of steps and the same learning rate. All models were asked the
# same questions. The table counts models and seeds. With one seed, an interval takes into account that other
# questions could have been drawn, but not that another training would give another model. These maps also stand
# on one base. Section 4 asks what other bases change.
#
# Every gain is measured from the base, read in the same way as the trained models. So compare the four
# readers of the base in the second table. If *strict* is far below *corrected*, any training that repairs
# form or habit would seem to help everywhere. If the four are close, form and habit can add little. The third
# table has the shares of the letters.

# %%
by = trained.groupby(["axis", "method", "style"])
display(by.agg(models=("model", "nunique"), seeds=("seed", "nunique")))
letters = {style: gains.letter_habit(one)["share"] for style, one in bases}
display((100 * bases[list(gains.READERS)].mean()).round(1))
(100 * pd.DataFrame(letters).T).round(0)

# %% [markdown]
# ## 3 The maps
#
# Rows are what a model was trained on, and columns are what it was asked about. Below the white line are rows
# that need no training, in the same colors. They are the base as it is and corrected, the base with a blank
# image and with the image of another question, and two rules that see no image: the most common letter, and
# the option that was right most often in training. Compare each cell with the row *corrected base* of its
# column. Only what is above that row was gained by training. The table of gains below has the intervals.

# %%
AXES = ("modality", "question_type")
answers = recorded.load(BLOCK)
asked = list(phantom_vqa.questions("train", per_cell=320))
SAID = {"strict": "base", "corrected": "corrected base"}


def arranged(method, axis, reader="corrected", style=STYLE):
    """The answers of one map, right or wrong as one of the readers has it."""
    return transfer.transfer_answers(
        full.assign(correct=full[reader]), method, style, axis
    )


def with_ends(table):
    """The gains of a map with their intervals, in points."""
    said = [
        "{:+z.0f} [{:+z.0f}, {:+z.0f}]".format(*row).replace("+0", "0")
        for row in 100 * table[GAIN].to_numpy()
    ]
    table = table.assign(gain=said)
    return table.pivot_table("gain", "train", "test", aggfunc="first", sort=False)


def untrained(axis):
    """The rows of a map that need no training."""
    rows = [
        transfer.matrix(arranged("base", axis, of)).assign(train=SAID[of])
        for of in SAID
    ]
    return pd.concat(
        [*rows, transfer.blind_baselines(answers, "base", STYLE, axis, asked)]
    )


# %% mystnb={"image": {"alt": "Heatmap of the corrected accuracy of eight models, each trained by GRPO on one modality and tested on all eight. Below a white line, in the same colors: base, corrected base, chance, letter majority, option prior, blank image and shuffled image. The table of gains after the next figure has the same cells minus the corrected base, with intervals."}}
grpo = {axis: arranged("grpo", axis) for axis in AXES}
maps = {axis: transfer.matrix(one) for axis, one in grpo.items()}
title = f"Corrected accuracy in %, GRPO, {STYLE}"
_ = plots.heatmap(maps["modality"], untrained("modality"), title)

# %% mystnb={"image": {"alt": "Eight by eight heatmap of gains over the corrected base in points, on a color scale that is symmetric about zero. Compare the diagonal, tested on what was trained, with the other cells. The table below the figure has the same values with their intervals."}}
title = f"Gain over the corrected base in points, GRPO, {STYLE}"
_ = plots.difference_heatmap(maps["modality"], "gain", title)
plt.show()
display(with_ends(maps["modality"]))

# %% [markdown]
# Do not explain single cells. There are 64 of them, and some intervals are clear of zero by luck. Compare the
# diagonal with the rest, in the figure and then as means in section 4. The next map is by type of question.

# %% mystnb={"image": {"alt": "Heatmap of the corrected accuracy of five models, each trained by GRPO on one type of question and tested on all five, with the same rows below a white line as in the map of modalities. The table below the figure has the gains over the corrected base with their intervals."}}
title = f"Corrected accuracy in %, GRPO, {STYLE}"
_ = plots.heatmap(maps["question_type"], untrained("question_type"), title)
plt.show()
display(with_ends(maps["question_type"]))

# %% [markdown]
# The controls are near chance, because the benchmark is balanced. On the published OmniMedVQA splits, the
# option prior alone is far above chance (chapter 01). Without this row, a map of that benchmark cannot be
# interpreted.
#
# One number of a map summarizes many answers. Click a cell and look at its wrong answers. Is one option often
# confused with another?

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import MapExplorer

MapExplorer(
    transfer.select(answers, "grpo", STYLE, "question_type"), "question_type"
)

# %% [markdown]
# ## 4 How much carries over
#
# The table has the mean gain *at home*, on the diagonal, and *elsewhere*. Each is there twice: by the strict
# reader and by the corrected reader. The difference between the two is form and letter habit. The intervals
# come from a bootstrap over the questions, and over the seeds if there are several. Two rows are of
# `think_before`, over the base in that style.

# %%
ways = [(axis, reader, STYLE) for axis in AXES for reader in SAID]
ways.append(("modality", "corrected", OTHER))
parts = {way: transfer.summary(arranged("grpo", *way)) for way in ways}
parts = pd.concat(parts, names=["axis", "reader", "style"]).droplevel(3)
parts = parts.set_index("part", append=True).reorder_levels([0, 3, 2, 1])
in_points(parts.sort_index(), *GAIN)[["cells", *GAIN]]

# %% [markdown]
# In the record: in `think_before`, a model gains +22.0 points [+19.5, +24.6] at home and +4.8 points [+3.5, +6.2] elsewhere.
#
# In the record: between modalities, the gain elsewhere in `no_think` minus that in `think_before` is -1.9 [-3.8, -0.1] points.
#
# So with a rationale before the letter, a little more carries over here. In the published map of section 7 it is a little less.
# The interval ends close to zero, and it is one of several that you see in this chapter.
#
# ### Exercise 1: an index
# *easy, 10 minutes*
#
# The index summarizes a map in one number: the mean gain off the diagonal, divided by the mean gain on the
# diagonal. You get a dictionary from (train, test) to the gain. Return the index. If the mean gain on the
# diagonal is not above zero, nothing could carry over. Then return `None`.
#
# <details><summary>Hint</summary>
#
# Make two lists, one of the gains with `train == test` and one of the others. `fmean` gives the mean of a list.
#
# </details>


# %% tags=["exercise"]
def transfer_index(gains):
    """Mean gain elsewhere as a share of the mean gain at home."""
    # solution
    home = [gain for (train, test), gain in gains.items() if train == test]
    away = [gain for (train, test), gain in gains.items() if train != test]
    return fmean(away) / fmean(home) if sum(home) > 0 else None
    # end solution


# %%
transfer_index = checks.transfer_index(transfer_index)

# %% tags=["headline", "nbval-check-output"]
for axis, table in maps.items():
    by_hand = transfer_index(dict(table.set_index(["train", "test"])["gain"]))
    found = transfer.generalization_index(grpo[axis])
    said = "none" if by_hand is None else f"{by_hand:.2f}"
    ends = f"[{found['low']:.2f}, {found['high']:.2f}]"
    print(f"GRPO, {axis}: {said} of the gain at home carries over {ends}")

# %% [markdown]
# In the record: after GRPO, 0.16 [0.09, 0.23] of the gain at home carries over to other modalities, and
# 0.02 [-0.06, 0.09] to other types of question.
#
# An index of 1 would mean that training on CT helps everywhere as much as on CT. An index of 0 means that it
# helps on CT only. If an interval contains 0, this does not show that nothing carries over. The upper end of
# the interval shows how much may carry over.
#
# ### Another base
#
# The interval above knows other questions and other trainings. It does not know other *bases*: all those models
# began at the same weights. So we also trained the eight rows on two more bases, which differ in the seed of their
# pretraining alone, with one training each. The index is then a ratio of two sums over the answers. The bootstrap
# draws questions and bases. **Predict**: will the interval be wider than the one above?


# %% tags=["nbval-check-output"]
def home_and_away(read):
    """What each answer adds to the mean gain at home and to that elsewhere."""
    read = read[read["style"] == STYLE]
    base = read[read["method"] == "base"].set_index("item")["correct"]
    rows = read.query("method == 'grpo' and axis == 'modality' and seed == 0")
    gain = rows["correct"] - rows["item"].map(base)
    home = rows["train"] == rows["modality"]
    here, there = home / home.mean(), ~home / (~home).mean()
    return rows.assign(home=gain * here, away=gain * there)


told = recorded.notes(RECORDED / "maps_bases")["models"]
start = {one["model"]: Path(one["recipe"]["model"]).name for one in told}
other = readings(RECORDED / "maps_bases")
found = {"shipped": home_and_away(full)}
for base, one in other.groupby(other["model"].map(start)):
    found[base] = home_and_away(one)
every = pd.concat(one.assign(model=base) for base, one in found.items())
each = every.groupby("model", sort=False)[["home", "away"]].mean()
display(each.assign(index=each["away"] / each["home"]).round(3))
index = each["away"].sum() / each["home"].sum()
low, high = bootstrap(every, "away", "home")
print(f"index over {len(each)} bases: {index:.2f} [{low:.2f}, {high:.2f}]")

# %% [markdown]
# In the record: over three bases, the index between modalities is 0.19 [0.12, 0.27]; base by base it is 0.17, 0.23 and 0.18.
#
# Compare the widths of the two intervals. In our record they are nearly the same: bases add little to what other
# questions and trainings do. But three bases say little about a fourth, and all three met images of the same kind.
#
# ### What carries over?
#
# For phantoms we know what the modalities share. All modalities have the same words for grade and place. Each has
# its own words for findings, anatomies and acquisitions. So **predict**: for which types of question should training
# on *another* modality help?

# %%
one = trained[(trained["method"] == "grpo") & (trained["axis"] == "modality")]
one = one[one["style"] == STYLE]
known = bases.get_group(STYLE).set_index("item")["corrected"]
one = one.assign(gain=one["corrected"] - one["item"].map(known))
one["part"] = (one["train"] == one["modality"]).map(
    {True: "at home", False: "elsewhere"}
)
by = one.groupby(["part", "question_type"])
kinds = pd.concat(
    {key: mean_table(of, ["gain"]).loc["gain"] for key, of in by}, axis=1
).T
in_points(kinds, "value", "low", "high").astype({"n": int})

# %% [markdown]
# These intervals are over models and questions. *Lesion Grading* asks for the grade, and *Other Biological
# Attributes* for the place. A gain elsewhere in these rows can come from these shared words. But
# the base knows most places already, so there is little to gain. A gain in all types would be something more general, such as how to read
# the options. If a lower end is at zero, be careful: among five rows, one such can be luck.
#
# In the record: types of question with a gain elsewhere that is clear of zero: Lesion Grading.
#
# ## 5 GRPO or SFT?
#
# Both methods had the same questions, steps, adapters and rate. The claim is about the gain elsewhere. So
# look at the bars *elsewhere* first, and at the index last.

# %% mystnb={"image": {"alt": "Bars of the gain over the corrected base in points with 95 percent intervals, for GRPO and SFT, in four groups: modality at home, modality elsewhere, question type at home, question type elsewhere. The first table below the figure has the differences between the two, the second the index of every map."}}
sides = {
    axis: {m.upper(): arranged(m, axis) for m in ("grpo", "sft")} for axis in AXES
}
bars = pd.concat(
    transfer.summary(one).assign(method=method, axis=axis)
    for axis, pair in sides.items()
    for method, one in pair.items()
)
bars["group"] = bars["axis"].str.replace("_", " ") + " " + bars["part"]
bars[plots.VALUE] = 100 * bars[GAIN]
axes = plots.canvas(7, 3, f"Gain over the corrected base, {STYLE}")
plots.draw_bars(axes, bars, "group", "method")
axes.set(ylabel="gain (points); 95 % intervals", ylim=(-10, 40))
axes.axhline(0, color="black", linewidth=1)
axes.legend(frameon=False)
plt.show()
tests = pd.concat(
    transfer.compare_pooled(pair).assign(axis=axis) for axis, pair in sides.items()
)
tests = in_points(tests, "difference", "low", "high").set_index(["axis", "part"])
display(tests[["n", "seeds", "difference", "low", "high", "p_holm"]].round(3))
every = transfer.maps(full).items()
index = {key: transfer.generalization_index(one) for key, one in every}
pd.DataFrame(index).T.round(2)


# %% tags=["headline", "nbval-check-output"]
def verdict(low, high):
    """What an interval of SFT minus GRPO says."""
    return (
        "SFT gains more" if low > 0 else "GRPO gains more" if high < 0 else "open"
    )


for (axis, part), row in tests.iterrows():
    print(f"{axis}, {part}: {verdict(row['low'], row['high'])}", end=" ")
    print(
        f"(SFT minus GRPO {row['difference']:+.1f} [{row['low']:+.1f}, {row['high']:+.1f}])"
    )
if tests["seeds"].min() < 2:
    print("one seed each: another training could turn what is not open")

# %% [markdown]
# In the record: SFT minus GRPO is +5.6 [+3.5, +7.6] points at home and +0.2 [-0.5, +0.9] points elsewhere
# between modalities (SFT gains more; open), and +1.6 [+0.0, +3.2] and -0.1 [-1.0, +0.8] points between types of
# question (open; open).
#
# An index is a ratio of two gains. Suppose that one method gains more at home than the other, and as much
# elsewhere. Then its index is lower, although it carries over as much. So read the index together with both
# gains. If the gain at home is close to zero, the index divides noise by noise.
#
# ## 6 What was predicted
#
# These predictions were registered before any map was trained. A prediction *held* if the whole interval lies
# inside the expected range. It is *refuted* if interval and range do not overlap. In all other cases it is
# *open*. The intervals are over models and questions.
#
# At the same time, a random seed chose three cells. The plan `benchmarks/plans/maps_rerun.yaml` trained them again
# with another seed, and asked other questions. The last table shows them, by the tolerant reader. `accuracy` is that of
# the maps, over all their seeds. From `low` to `high` is the range in which a rerun should lie 99 times in 100. Does each
# `rerun` lie in its range?

# %%
told = json.loads((BLOCK / "predictions.json").read_text())
outcomes = pd.DataFrame(told["outcomes"]).replace(" less ", " minus ", regex=True)
print(outcomes["outcome"].value_counts().to_dict())
display(outcomes.set_index("prediction"))
CELLS = [
    (OTHER, "X-Ray", "Fundus Photography"),
    (STYLE, "Dermoscopy", "CT"),
    (STYLE, "Fundus Photography", "Dermoscopy"),
]
ends = {}
for style in (OTHER, STYLE):
    table = arranged("grpo", "modality", "tolerant", style)
    table = transfer.prediction_intervals(table)
    ends[style] = table.set_index(["train", "test"])
ends = pd.concat(ends, names=["style"]).loc[CELLS]
again = recorded.load(RECORDED / "maps_rerun").query("control == 'none'")
again = again.groupby(["style", "train", "modality"])["correct"].mean()
ends["rerun"] = again.loc[CELLS].to_numpy()
ends["inside"] = ends["rerun"].between(ends["low"], ends["high"])
in_points(ends, "accuracy", "low", "high", "rerun")

# %% [markdown]
# In the record: of the three cells that were trained again, three lie in their range.
#
# In the record: three predictions held, two are open and one refuted.
#
# If a prediction was refuted, say which of your assumptions about the model was wrong. We expected a gain at home that is
# 2 to 12 points above the gain elsewhere, and it is further above. The interval begins just above the range, so this is
# a narrow refutation. That the models learned more of their own modality than we thought is likely, but not shown: the
# prediction of the gain at home is open. If a prediction is *open*, this
# number of questions and models was too small to decide it.
#
# ## 7 Published maps
#
# The maps of Med-R1 are published as figures. The next one shows how many points each cell changed when the
# rationale was left out. It has one seed, no intervals, and no rows without training.

# %% mystnb={"image": {"alt": "Eight by eight heatmap of published differences in points between training without and with thinking, from minus 10 to plus 17, with no clear pattern."}}
theirs = paper.no_think_minus_think("modality")
title = "Med-R1, as published: no think minus think (points)"
_ = plots.difference_heatmap(theirs, "value", title)

# %% [markdown]
# ### Exercise 2: can it be?
# *medium, 15 minutes*
#
# An accuracy on $n$ questions, in percent, is a multiple of $100 / n$. In print it is rounded to two
# decimals. A difference of two such numbers has two roundings. Return whether `value` can be a sum of `terms`
# rounded multiples of $100 / n$. For that, its distance to the nearest multiple must be at most $0.005$ for
# each term. Allow $10^{-9}$ more for the arithmetic.
#
# <details><summary>Hint</summary>
#
# `round(value * n / 100)` is the nearest whole number of questions.
#
# </details>


# %% tags=["exercise"]
def fits(value, n, terms=1):
    """Whether a printed percentage can come from `n` questions."""
    # solution
    nearest = round(value * n / 100) * 100 / n
    return abs(nearest - value) <= terms * 0.005 + 1e-9
    # end solution


# %%
fits = checks.fits(fits)

# %% [markdown]
# If $n$ is large, any number fits. So count only cells where fewer than half of all numbers would fit by
# luck. The published figure does not say whether its rows or its columns are the tests. Compare both cases in
# the next output: in which case do all cells fit?

# %%
sizes = dict(zip(theirs["test"], theirs["n"], strict=True))
for name, n in (("columns", theirs["n"]), ("rows", theirs["train"].map(sizes))):
    cells = theirs.assign(n=n)[[paper.fits_by_chance(k, terms=2) < 0.5 for k in n]]
    right = [fits(*way, 2) for way in zip(cells["value"], cells["n"], strict=True)]
    luck = sum(paper.fits_by_chance(k, terms=2) for k in cells["n"])
    print(f"{name} are tests: {sum(right)} of {len(cells)} fit; by luck {luck:.1f}")

# %% [markdown]
# All cells fit if the columns are the tests. If the rows were the tests, no more cells would fit than by
# luck. So the columns are the tests.
#
# Another group published one row with accuracies (KEPO, arXiv 2602.00400): Qwen3-VL-2B, trained by GRPO on
# 600 MRI questions and asked 300 questions for each modality. Its gains are measured from its own model after
# ten steps, so they may contain form. The table has our MRI row beside it. You cannot compare the sizes of
# the gains, but you can compare their shape: how much larger is the gain on MRI than the others?
#
# The companion paper of chapter 11 has two whole maps, of eleven sets of everyday images. Their gains are over the
# untrained model, so form counts as well. The first two lines are their indices. With which style does more carry over, and would you
# call it a finding?

# %%
companion = paper.published("companion_maps")
for name in ("no think", "think"):
    cells = pd.DataFrame(companion[name]["values"]).T.stack().to_dict()
    print(f"companion, {name}: index {transfer_index(cells):.2f}")
rows = pd.DataFrame(paper.published("kepo_mri_row")["steps"])
rows["KEPO"] = rows["100"] - rows["10"]
rows["ours"] = (
    100 * maps["modality"].query("train == 'MRI'").set_index("test")["gain"]
)
for name in ("KEPO", "ours"):
    row = {("MRI", test): gain for test, gain in rows[name].items()}
    print(f"{name}: index of the MRI row {transfer_index(row):.2f}")
rows.round(1).T

# %% [markdown]
# ## 8 The run that would decide
#
# Results on drawings decide nothing about patients. What would a run of Qwen2-VL-2B on OmniMedVQA have to
# show? First, its questions must need the image. In chapter 01 the option prior answered most questions of this
# benchmark without it. The table computes how many questions are left if you remove those. **Guess** the last
# column before you look.

# %%
audit = json.loads((RECORDED / "omnimedvqa_audit.json").read_text())["files"]
left = {
    Path(path).name.partition("_test")[0]: (
        of["records"],
        of["baselines"]["option_ratio"],
    )
    for path, of in audit.items()
    if "/modality/test/" in path
}
left = pd.DataFrame(left, ["questions", "option prior"]).T
left["left"] = (left["questions"] * (1 - left["option prior"])).round()
print(
    f"{left['left'].sum():.0f} of {left['questions'].sum():.0f} questions are left"
)
left.round({"option prior": 3})

# %% [markdown]
# Do not take what is left for a test that needs the image. It is an idea of the size, no more. A test that needs the
# image has options that are right equally often, as the phantoms have, and a control in which the image is missing.
#
# <details><summary>Why this is no test of the image</summary>
#
# These are the questions that *one* rule gets wrong. On them this rule scores zero by construction, so it is no control
# any more. Another rule without the image may still answer them, and rules like this one are misled. Where a modality
# has no question left, the rest says nothing about it.
#
# </details>
#
# ### Exercise 3: power
# *hard, 40 minutes*
#
# *Power* is the chance that a comparison finds a true gap. Two methods are trained with `seeds` seeds each
# and asked the same `questions`. The measured gap varies for two reasons. The choice of questions adds the
# variance `discordant / questions`, where `discordant` is the share of questions that one model has right and
# the other wrong. The seeds add the variance `2 * seed_sd**2 / seeds`. The gap is significant at the 5 %
# level if it is above $q$ standard errors. Here $q$ is the quantile at 0.975 of Student's distribution. Its
# degrees of freedom are those of Welch, $(a + b)^2 / (a^2 / (\text{questions} - 1) + b^2 / (2\,\text{seeds} -
# 2))$ for the variances $a$ and $b$. The power is the chance that a variable of the same distribution, moved
# to `gap` standard errors, lies above $q$.
#
# First **predict**: take five seeds, a spread of 2 points between seeds, and the questions that are left.
# Which gap is found four times in five?
#
# <details><summary>Hint</summary>
#
# `t` of `scipy.stats` is imported at the top: `t.ppf(0.975, freedom)` is the quantile, and `t.sf(x, freedom)` the chance to lie above
# `x`. Subtract the gap in standard errors from the quantile.
#
# </details>


# %% tags=["exercise"]
def power(gap, questions, seeds, seed_sd, discordant):
    """Chance that a comparison of two methods at the 5 % level finds a true gap."""
    # solution
    items, models = discordant / questions, 2 * seed_sd**2 / seeds
    parts = items**2 / (questions - 1) + models**2 / (2 * (seeds - 1))
    freedom = (items + models) ** 2 / parts
    return t.sf(t.ppf(0.975, freedom) - gap / (items + models) ** 0.5, freedom)
    # end solution


# %%
power = checks.power(power)

# %% [markdown]
# The next cell takes `discordant` from our maps, and the spread of seeds too, over all modalities and both
# methods. The table has the smallest gap in points that is found with 80 % power. Its columns are 300 questions,
# as in one set of KEPO, those that are left, all sets of KEPO, and the whole test. Read it along a row: from where
# on do more questions hardly help? A large model on real images may differ in both numbers, so measure them in a pilot of
# your own. Then set `SPREAD = 0.02`, run the cell again, compare with your prediction,
# and explain what changes.

# %% tags=["nbval-check-output"]
away = [
    {train: one.right.loc[one.test != train, train] for train in one.test.unique()}
    for one in sides["modality"].values()
]  # right or not elsewhere, a table of seeds for each trained modality
pairs = zip(*(rows.values() for rows in away), strict=True)
discordant = pd.Series((a[0] != b[0]).mean() for a, b in pairs).mean()
SPREAD = pd.Series(s.mean().var() for r in away for s in r.values()).mean() ** 0.5
print(f"discordant {discordant:.2f}, seeds differ by {100 * SPREAD:.1f} points")


def smallest_gap(questions, seeds):
    """The smallest gap, in tenths of a point, that is found four times in five."""
    way = (questions, seeds, SPREAD, discordant)
    return next(k / 10 for k in range(1, 1000) if power(k / 1000, *way) >= 0.8)


sizes = (300, int(left["left"].sum()), 2400, 17000)
table = {
    n: {seeds: smallest_gap(n, seeds) for seeds in (3, 5, 10, 20)} for n in sizes
}
pd.DataFrame(table).rename_axis("seeds").rename_axis("questions", axis=1)

# %% [markdown]
# So a run that could decide the claim needs three things. It needs enough questions, and a control without image that
# is at chance on them. It
# needs several seeds for each method. And the true gap must be at least as large as in the table, because a
# smaller gap would stay open.
#
# The run would support the claim if GRPO gains more than SFT *elsewhere*, over the corrected base, with an
# interval clear of zero and with all controls near chance. These commands make the data and the maps.
# `gpu.yaml` has one seed, so add `seed: [0, 1, 2, 3, 4]` to its trained grids. Nobody has run them yet:
#
# ```
# python -m medr1_lib data audit --splits Splits --json audit.json
# python -m medr1_lib data import --root OmniMedVQA.zip --out _output/omni
# python -m medr1_lib data audit _output/omni --json leaks.json
# python -m medr1_lib sweep --plan benchmarks/plans/gpu.yaml --out _output/gpu \
#     --executor slurm --jobs 8 --record _output/gpu-maps
# ```
#
# The second audit shows whether an image is in both splits. No command removes the questions that the option
# prior answers. So score all questions, and report the methods twice: on all, and on those that
# `audit.option_ratio` gets wrong. Add `--controls text` and `blank` of `evaluate` to both: only they show
# whether the image was needed.
#
# ## 9 Belief and evidence
#
# This chapter is about the first claim. The ledger has a rule. Take GRPO minus SFT elsewhere, seed by seed,
# and Student's 95 % interval over the seeds. The claim *holds here* if this interval is above zero between
# modalities and also between types of question. It *does not hold here* if one of the two is below zero.
# Otherwise it *is open*. With fewer than three seeds it is open too, because two single runs always differ.

# %% tags=["nbval-check-output"]
away = trained[(trained["style"] == STYLE) & (trained["axis"] == "modality")]
away = away[away["train"] != away["modality"]]
seeds = (100 * away.groupby(["method", "seed"])["correct"].mean()).unstack("method")
print("corrected accuracy elsewhere (%), modalities:", seeds.round(1).to_dict())
print("enough seeds for a verdict:", "yes" if seeds.count().min() >= 3 else "no")
ledger.page(12, generalizes=None)  # your new probability in place of None

# %% [markdown]
# In the record: GRPO minus SFT elsewhere, between modalities, is -0.40, -0.37, -0.38, +0.39 and -0.37 [-0.65, +0.20] points. By the rule,
# the first claim is open.
#
# In the record: with the first three seeds alone, the interval was [-0.43, -0.34] points.
#
# So by the same rule the claim did not hold after three seeds, and the fourth seed changed the verdict. Models of a
# single modality differ by about a point from seed to seed, and three means agreed to a few hundredths. That may have been
# luck. An interval that knows only three such numbers can be far too narrow, and it takes the questions as given. The
# interval of section 5 knows seeds and questions. So register that one for a study of your own, and at least five seeds.
#
# *Here* means a tiny model on drawings. Write down which result would change your mind, and what it would
# cost to get it. Chapter 13 compares your beliefs with the evidence.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# A map of gains is bright on the diagonal and elsewhere. May you say that knowledge of one modality carries over to the others?
#
# <details><summary>A. Not yet: a lost letter habit or a repaired form would look the same</summary>
#
# Right. Both help in every modality. So read base and models with the corrected reader, and put that base beside the map.
#
# </details>
# <details><summary>B. Yes, because the other modalities were not trained</summary>
#
# Wrong. They were not trained, but a better form or a lost letter habit helps there as well.
#
# </details>
# <details><summary>C. No, gains off the diagonal are always luck</summary>
#
# Wrong. An interval can exclude luck. But it does not show what was learned.
#
# </details>
#
# ### Question 2
# The generalization index of GRPO is larger than that of SFT. SFT gains more at home and as much elsewhere. Who carries over further?
#
# <details><summary>A. GRPO, because the index says so</summary>
#
# Wrong. The index is a ratio. It is smaller for SFT only because SFT gains more at home.
#
# </details>
# <details><summary>B. SFT, because it gains more in total</summary>
#
# Wrong. More at home is not more elsewhere, and the claim is about elsewhere.
#
# </details>
# <details><summary>C. Neither: elsewhere, both gain the same</summary>
#
# Right. Look at the two parts of a ratio before you interpret it.
#
# </details>
#
# ### Question 3
# A comparison has two seeds for each method and twenty thousand questions. Which change helps it most?
#
# <details><summary>A. Forty thousand questions</summary>
#
# Wrong. The variance of the questions is small already, and that of the seeds stays.
#
# </details>
# <details><summary>B. More seeds for each method</summary>
#
# Right. The seeds add most of the variance here, and more of them also lower the bound of Student's distribution.
#
# </details>
# <details><summary>C. A second reading of the same answers by another rule</summary>
#
# Wrong. It may change what counts as right, but it adds no new training.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Measure a gain from the corrected base. Then you do not mistake form and letter habit for transfer.
# - In the record: GRPO carries 0.16 of its gain to other modalities and 0.02 to other types of question. Between
#   GRPO and SFT, elsewhere: by modality, open; by type of question, open.
# - A map needs its controls in the same colors. Means over many cells say more than one cell.
# - An index is a ratio. Read it with both of its parts.
# - Seeds and questions both limit what a comparison can find. A power calculation shows which gaps are too
#   small.
#
# ## Where to go next
#
# Chapter 13 is your own study, and its last page says when GRPO is the right tool. To repeat the maps, run
# `benchmarks/plans/maps.yaml`. Its last grid is for models that reason before the letter, by type of question. It
# has not run yet. Nothing here is for clinical use.
