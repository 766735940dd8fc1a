# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 12 Map generalization
#
# > **Two bases.** The recorded runs in this chapter start from the base of the *first edition* of the course. That
# > base broke the form that was asked for in many answers of `think_before`, and it favoured one letter in the two other
# > styles. A repaired form and a lost letter habit
# > help in every modality, so a part of each gain in the records, at home and elsewhere, is of this kind and is not
# > knowledge. The small map of section 1 runs live, on the base of today, which keeps the form and gives the letters
# > nearly evenly (chapter 02). Its gains are smaller. The study will be recorded again on this base.
#
# ## What you will do
#
# Train on one imaging modality and test on all of them. First a small map of your own: three models,
# made on the spot. Then the full maps from recorded runs, eight modalities by eight and five question
# types by five, with the controls beside them. At the end you check a published map with nothing but
# arithmetic.
#
# ## What you will learn
#
# After this chapter you can
#
# - plan a grid of trainings, and run it so that an interruption costs little,
# - read a map of generalization with its intervals, its seeds and its controls,
# - condense a map into an index, and say when that must not be done,
# - predict where a rerun will fall, and test the prediction,
# - check whether printed percentages can come from the number of questions that is claimed.
#
# ## What you will need
#
# Chapters 06 (training) and 10 (fair comparisons). The small map takes a few minutes on one CPU core; at
# the replay tier its place is taken by recorded models.

# %%
import tempfile
import warnings
from pathlib import Path

import pandas as pd
from IPython.display import display

from medr1_lib.course import checks, ledger, tiers
from medr1_lib.data import phantom_vqa
from medr1_lib.data.question import QUESTION_TYPES

tier = tiers.start(12)
warnings.filterwarnings("ignore", category=FutureWarning)
RECORDED = tiers.material("recorded")

# %% [markdown]
# ## 1 A small map of your own
#
# Three modalities that look nothing alike: slices of CT, photographs of skin, layers of the retina. For
# each of them there are 320 questions to train on and 200 others to test with (400 in the record). Every model answers the
# test questions of all three.

# %%
STYLE, STEPS, CHOSEN = "no_think", 25, ("CT", "Dermoscopy", "OCT")
TRAINS = tier.name != "replay"
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-12-")
folder = Path(temporary.name)


def chosen(split, per_cell):
    """Questions about the three modalities."""
    every = phantom_vqa.questions(split, per_cell=per_cell)
    return [question for question in every if question.modality in CHOSEN]


if TRAINS:
    splits = {"train": chosen("train", 64), "test": chosen("test", 40)}
    phantom_vqa.write(folder / "three", splits, {})

# %% [markdown]
# A *plan* is a list of grids. Each grid names a recipe, what to cut the training questions by, and the
# styles and seeds to go through; a job is one model with its scores. The base is a job too, one that
# is not trained. Each job has a name, a hash of everything that its answers depend on, and a folder of
# that name.

# %%
from medr1_lib.evaluation.sweep import Grid, Plan

changes = {"model": str(tier.model_path), "max_steps": STEPS, "save_steps": STEPS}
recipe = "gpu" if tier.name == "gpu" else "course"
base = Grid(recipe, (STYLE,), changes=changes, untrained=True)
trained = Grid(recipe, (STYLE,), "modality", CHOSEN, changes=changes)
plan = Plan(str(folder / "three"), (base, trained), tier.max_new_tokens)
jobs = plan.jobs()
pd.DataFrame([job.label for job in jobs], [job.name for job in jobs])

# %% [markdown]
# `sweep` does what is not done yet and skips the rest, so a sweep that was interrupted goes on. A job
# that fails is reported, and the others still run. It hands the work to submitit: here to one process
# of this machine, with `executor="slurm"` to a cluster. The result is a *block*, every answer of every
# model in a few files.

# %%
from medr1_lib.analysis import recorded
from medr1_lib.evaluation.sweep import record, sweep

if TRAINS:
    failed = sweep(plan, folder / "sweep")
    done = [folder / "sweep" / job.name for job in jobs if job.name not in failed]
    record(done, folder / "block", {"plan": "three modalities"})
    small = recorded.load(folder / "block")
else:
    small = recorded.load(RECORDED / "pilot").query("seed < 1 and method != 'sft'")
    small = small[small["modality"].isin(CHOSEN)]
print(f"{small['model'].nunique()} models, {len(small):,} answers")

# %% [markdown]
# Rows are what was trained on, columns what was tested. Under each accuracy stands its 95 % interval, under
# the map the number of questions. With one seed this is Wilson's interval from chapter 00: it knows that other
# questions could have been drawn, and knows nothing of other trainings.

# %% mystnb={"image": {"alt": "Heatmap of accuracy, trained on CT, Dermoscopy or OCT, tested on each of them. All cells lie above chance, at 25 percent. The table below the figure has every value with its interval, and the gain over the base."}}
from medr1_lib.analysis import plots, transfer
from medr1_lib.course.chapters.chapter_12 import (
    fits_by_chance,
    no_think_minus_think,
    published,
)

found = transfer.transfer_answers(small, "grpo", STYLE, "modality")
mine = transfer.matrix(found)
title = f"Accuracy in %, {STYLE}, one seed"
_ = plots.heatmap(mine, title=title)

# %%
shown = ["train", "test", "n", "accuracy", "low", "high", "gain"]
mine[shown].round(2)

# %% [markdown]
# The last column, the *gain*, is the accuracy minus that of the base on the same questions. It is what a
# map should show: a modality can be easy for the base already, and then all its column is bright, whatever
# was trained. What a model gains off the diagonal can have several causes: skills that all modalities share, form, and a habit of letters. Section 3 shows the controls that the records have. But look at the
# intervals first: with one seed, so few questions and so few steps, a gain of some points can be luck, and a
# loss too. The recorded map has three seeds, 60 steps and twice the questions.
#
# ## 2 The full map
#
# Now the recorded models, on the first base: for each modality three seeds, 60 steps each, tested on 400 questions in
# every modality. `benchmarks/plans/modality.yaml` is the plan. Look at the gains first.

# %%
records = pd.concat(
    [recorded.load(RECORDED / name) for name in ("all", "modality")]
)
asked = list(phantom_vqa.questions("train", per_cell=320))
full = transfer.transfer_answers(records, "grpo", STYLE, "modality")
table = transfer.matrix(full)
seeds = table["seeds"].min()
print(
    f"{len(table)} cells, {table['n'].min()} questions each, {seeds} seeds or more"
)

# %% mystnb={"image": {"alt": "Eight by eight heatmap of gains over the base in points. All gains are positive. The diagonal, where the tested modality is the trained one, stands out in most columns. The table in the next cell has the means."}}
title = f"Gain over the base in points, {STYLE}"
_ = plots.difference_heatmap(table, "gain", title)

# %% [markdown]
# Is the diagonal more than an impression? The next table takes the mean over the cells on it and off
# it. The intervals come from a bootstrap in two stages, which draws seeds first and questions then: the
# answers of one model share its luck, and to treat 3 x 400 answers as 1,200 independent ones would
# make the intervals too narrow.

# %%
transfer.summary(full).round(3)

# %% [markdown]
# The diagonal is safe. What of single cells? `variance_components` takes the differences between them apart: what the
# seeds add, what the drawn questions add, and what is left over as structure. All three are variances,
# so their square roots are in points.

# %%
parts = transfer.variance_components(full)
for name, variance in parts.items():
    print(f"{name}: {100 * max(variance, 0) ** 0.5:.1f} points")

# %% [markdown]
# Luck is of the size of the structure. So do not explain why one cell is two points brighter than its
# neighbor; it may not be, next time. Means over many cells are another matter. A map without seeds
# and intervals invites stories about single cells.
#
# ### Exercise 1: an index
# *easy, 10 minutes*
#
# One number for a map: the mean gain off the diagonal, divided by the mean gain on it. Given a
# dictionary from (train, test) to the gain, return that number. If the mean gain on the diagonal is not
# above zero, there is nothing that could carry over; return `None` then.
#
# <details><summary>Hint</summary>
#
# Make two lists, one of the gains with `train == test` and one of the others.
#
# </details>


# %% tags=["exercise"]
def transfer_index(gains):
    """Mean gain elsewhere as a share of the mean gain at home."""
    # solution
    home = [gain for (train, test), gain in gains.items() if train == test]
    away = [gain for (train, test), gain in gains.items() if train != test]
    if sum(home) <= 0:
        return None
    return (sum(away) / len(away)) / (sum(home) / len(home))
    # end solution


# %%
transfer_index = checks.transfer_index(transfer_index)

# %% tags=["headline", "nbval-check-output"]
gains = table.set_index(["train", "test"])["gain"].to_dict()
condensed = transfer.index(full)
print(f"generalization index, {STYLE}: {transfer_index(gains):.2f}", end=" ")
print(f"[{condensed['low']:.2f}, {condensed['high']:.2f}]")

# %% [markdown]
# An index of 1 would mean that training on CT helps everywhere as much as on CT; 0, that it helps on CT
# alone. An index hides a lot. It cannot tell a map that is evenly pale from one with two bright
# blocks. If the gain at home is close to zero, the index divides noise by noise, so the library returns none there.
# And on this base a repaired form and a lost letter habit are in both parts of the ratio, and pull it towards 1.
#
# ## 3 The controls
#
# A bright map may be bright for a poor reason. The rows under the line show what can be had without looking:
# chance; a rule that always gives the commonest letter; one that knows how often each option was right in
# training; the trained model with a grey image, and with the image of another question.

# %% mystnb={"image": {"alt": "Heatmap of accuracies of the models trained on everything, and under it, in the same colors, the controls: chance, letter majority, option prior, blank image and shuffled image. The models lie a little above one half; every control lies near 25 percent."}}
everything = transfer.transfer_answers(records, "grpo", STYLE, "all")
blind = transfer.blind_baselines(records, "grpo", STYLE, "all", asked)
title = f"Accuracy in %, trained on everything, {STYLE}"
_ = plots.heatmap(transfer.matrix(everything), blind, title)

# %%
blind.groupby("train", sort=False)["accuracy"].agg(["min", "mean", "max"]).round(3)

# %% [markdown]
# All controls stay near 25 %, as the benchmark was built to have it. On the published OmniMedVQA splits the
# option prior alone reaches far higher, as chapter 01 has measured. A map of that benchmark without
# this row cannot be read: what seems to carry over from one modality to another may never have needed
# an image.
#
# ## 4 Five question types
#
# The same by question type: trained on one kind of question in all modalities, tested on all five.

# %% mystnb={"image": {"alt": "Five by five heatmap of gains over the base in points, by question type. The table printed below it has the means on and off the diagonal."}}
records = pd.concat([records, recorded.load(RECORDED / "question_type")])
by_type = transfer.transfer_answers(records, "grpo", STYLE, "question_type")
title = f"Gain over the base in points, {STYLE}"
_ = plots.difference_heatmap(transfer.matrix(by_type), "gain", title)
display(transfer.summary(by_type).round(3))

# %% [markdown]
# Put the indices of the three styles side by side. An answer needs three things: to see, to name
# what is seen as this modality names it, and to find the letter beside that name. Only the second belongs
# to a modality, and each type of question asks for a value of its own kind.

# %%

rows = {
    key: transfer.index(one)
    for key, one in transfer.maps(records).items()
    if key[0] != "all"
}
pd.DataFrame(rows).T.round(2)

# %% [markdown]
# Between modalities reasoning first carries over more than no reasoning; between types of question it is the
# other way round, and there the two intervals lie apart. Reasoning after has the highest index in both, and the
# widest interval, for it gains least. One reading:
# trained to reason first, a model practises the words of the question in hand, which are much the same in every
# modality and others for every type; trained without, it practises letters, which are the same everywhere. The
# table does not prove it.
#
# Compare GRPO and SFT in `no_think` too. Between types, SFT has the lower index. Does it carry over less? An
# index is a ratio, so look at its two parts before you believe it. And chapter 10 teaches to ask whether a
# difference is the method or its learning rate, so one more arm was trained with the rate of GRPO.

# %%
bases = records[records["method"] == "base"]
slow = recorded.load(RECORDED / "rates/sft_question_type")
both = pd.concat([bases, slow])
sides = {
    "GRPO": by_type,
    "SFT": transfer.transfer_answers(records, "sft", STYLE, "question_type"),
    "SFT, rate of GRPO": transfer.transfer_answers(
        both, "sft", STYLE, "question_type"
    ),
}
indices = {arm: transfer.index(one) for arm, one in sides.items()}
display(pd.DataFrame(indices).T.round(2))
less = ["label", "part", "seeds", "difference", "low", "high", "p_holm"]
transfer.compare_pooled(sides)[less].round(3)

# %% [markdown]
# The differences are to GRPO. On the other types SFT is not behind at all; on its own type it is ahead (by an interval
# clear of zero, though hardly after the correction), and that alone makes its index small. With the lower rate it is behind on the
# other types, and by as much on its own. So the *share* that carries over is not shown to differ, though the
# indices, read alone, seem to say so. It is one style, three seeds and
# sixty steps.
#
# ## 5 Would it come out again?
#
# A result that cannot be predicted is not known. From three seeds we can say where the accuracy of a
# fourth run should fall: the spread between seeds and that between questions give an interval that holds
# 99 of 100 reruns. Three models were drawn at random and trained again with a new seed, then tested on
# questions that no model had met (`benchmarks/plans/rerun.yaml`).

# %% tags=["nbval-check-output"]
again = recorded.load(RECORDED / "rerun")
new = again.groupby(["train", "modality"])["correct"].mean().rename("rerun")
new = new.rename_axis(["train", "test"]).reset_index()
told = transfer.prediction_intervals(full).merge(new)
inside = told["rerun"].between(told["low"], told["high"])
print(f"{inside.sum()} of {len(inside)} accuracies inside their 99 % intervals")

# %% tags=["nbval-check-output"]
shift = 100 * (told["rerun"] - told["accuracy"])
print(
    f"rerun minus the mean of the first runs: {shift.mean():+.1f} points,", end=" "
)
print(f"lower in {(shift < 0).sum()} of {len(shift)}")
told[~inside][["train", "test", "accuracy", "low", "high", "rerun"]].round(3)

# %% [markdown]
# The intervals are wide, for three seeds say little about how seeds differ, and the rerun meets new
# questions. One accuracy outside among so many would be no alarm: those of one model share its luck, and
# those of one column share their questions. For the same reason most can fall on one side, as here: that is three
# models and one draw of questions, not two dozen tosses of a coin. Many outside would say that the intervals are too narrow.
#
# ## 6 Look behind a cell
#
# A number in a map stands for hundreds of answers. Click a cell of the map of question types, then leaf
# through its wrong answers. Is there a letter that comes too often, or an option that is taken for another?

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import MapExplorer

MapExplorer(
    transfer.select(records, "grpo", STYLE, "question_type"), "question_type"
)

# %% [markdown]
# ## 7 The published map
#
# The maps of Med-R1 are published as pictures. This one shows by how many points leaving out the
# thinking changed each cell, in the models trained with and without it. Beside it ours: the same difference
# from our own models, `no_think` minus `think_before`.

# %% mystnb={"image": {"alt": "Eight by eight heatmap of published differences in points between training without and with thinking, from minus 10 to plus 17, with no clear pattern."}}
theirs = no_think_minus_think("modality")
title = "Med-R1, as published: no think minus think (points)"
_ = plots.difference_heatmap(theirs, "value", title)

# %% mystnb={"image": {"alt": "Eight by eight heatmap of our differences in points between training without and with thinking. The cells are negative: without thinking our models answer worse. Stars mark cells that stay significant after correction for 64 comparisons."}}
thinking = transfer.transfer_answers(records, "grpo", "think_before", "modality")
ours = transfer.compare_cells(thinking, full)
title = "Ours: no_think minus think_before (points); * p < 0.05 after Holm"
_ = plots.difference_heatmap(ours, title=title)

# %% tags=["nbval-check-output"]
for name, values in (
    ("published", theirs["value"]),
    ("ours", 100 * ours["difference"]),
):
    print(f"{name}: mean {values.mean():+.1f} points,", end=" ")
    print(f"{(values > 0).sum()} of {len(values)} cells above zero")

# %% [markdown]
# The two maps disagree, and there is a plain reason. The published models knew how to reason in words before their
# training, and ours learned short rationales that name what is asked. Sixty steps on phantoms cannot refute a finding about
# 2-billion-parameter models and patients, nor support it. What can be compared is how the claims are made:
# the published map has neither intervals nor seeds.
#
# ### Exercise 2: can it be?
# *medium, 15 minutes*
#
# An accuracy on $n$ questions is a multiple of $100 / n$. Printed with two decimals it is rounded.
# A difference of two such numbers holds two roundings. Return whether `value` can be a sum of `terms`
# rounded multiples of $100 / n$: whether its distance to the nearest multiple is at most what the
# rounding allows, $0.005$ for each term. Allow $10^{-9}$ more for the arithmetic.
#
# <details><summary>Hint</summary>
#
# `round(value * n / 100)` is the number of questions next to it.
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
# Where $n$ is large, multiples lie so close that any number fits, and the check says nothing. So count
# only the cells where fewer than half of all numbers would fit by luck.

# %% tags=["headline", "nbval-check-output"]
telling = theirs[[fits_by_chance(n, terms=2) < 0.5 for n in theirs["n"]]]
ways = zip(telling["value"], telling["n"], strict=True)
print(
    f"published cells that fit: {sum(fits(*way, 2) for way in ways)} of {len(telling)}"
)
sizes = dict(zip(theirs["test"], theirs["n"], strict=True))
turned = theirs.assign(n=theirs["train"].map(sizes))
turned = turned[[fits_by_chance(n, terms=2) < 0.5 for n in turned["n"]]]
ways = zip(turned["value"], turned["n"], strict=True)
luck = sum(fits_by_chance(n, terms=2) for n in turned["n"])
print(f"if the rows were the tests: {sum(fits(*way, 2) for way in ways)}", end=" ")
print(f"of {len(turned)}; by luck alone {luck:.1f}")

# %% [markdown]
# All cells fit if the columns of the picture are the tests, and no more than luck would have it if the rows are. So arithmetic alone
# tells which is which, and that the released test files are behind it, though the picture says neither. A transcription error would have been found
# in the same way. Such a check costs a minute and needs no data of patients.
#
# ## 8 A larger model instead?
#
# The paper leads with size: Med-R1 with 2 billion parameters, 69.91 % in the mean over eight modalities, ahead
# of Qwen2-VL-72B with 68.05 %. Our stand-in for the large one has four times the parameters of the small one
# (`benchmarks/plans/larger.yaml`). It is grown from it: more layers and wider ones, which at first change
# nothing, behind the same vision tower, as all sizes of Qwen2-VL share one. Then it was pretrained for 300 more
# steps, and got no reinforcement. To tell size from pretraining, the *longer* base is the small one, pretrained
# for as many more steps.

# %% mystnb={"image": {"alt": "Bars of accuracy in percent for eight modalities with 95 percent intervals: base, longer base and larger base in no_think, GRPO in think_before, no_think and think_after, SFT in no_think. A dashed line marks chance at 25 percent, short lines what the captions of the base name. The bars of the longer and the larger base and of GRPO in think_before are the highest everywhere."}}
import json

oracle = json.loads((RECORDED / "oracle.json").read_text())
sizes = pd.concat([records, recorded.load(RECORDED / "larger")])
bars = transfer.headline(sizes, transfer.maps(sizes), pd.DataFrame(oracle["rows"]))
left_out = (
    *(f"{size}base, think" for size in ("", "longer ", "larger ")),
    "sft, think",
)
kept = bars[~bars["series"].str.startswith(left_out)]
_ = plots.headline(kept, "Accuracy in %, trained on everything")

# %%
from medr1_lib.analysis.stats import compare

for said in published("headline")["figures"][:2]:
    print(f"published: {said['value']} %, {said['quantity']}")
named = bars[bars["series"] != "caption oracle"].copy()
named[["model", "style"]] = named["series"].str.split(", ", expand=True)
display(
    named.pivot_table("accuracy", "style", "model", sort=False).mul(100).round(1)
)
for style, of in sizes.groupby("style"):
    pair = (of[of["method"] == f"{size} base"] for size in ("longer", "larger"))
    gap = compare(*pair)
    ends = " to ".join(f"{100 * end:+.1f}" for end in gap.interval)
    print(
        f"{style}: larger minus longer {100 * gap.difference:+.1f} points [{ends}]"
    )

# %% [markdown]
# Here the larger model is ahead of sixty steps of GRPO in every style, without any reinforcement. It is not its
# size: the small base, trained on for as many steps, is as far ahead, and no interval between the two is clear of
# zero. The
# paper's large model falls behind, and both can be true, for the comparisons hold different things equal. Qwen2-VL-72B was not
# trained on OmniMedVQA for this comparison, as far as is known; Med-R1 was, on the other part of the same data. So the paper's sentence weighs
# practice against size, and practice won. So it did here: both bases had true answers of this very kind, with
# nothing held back, while the first base was stopped early on purpose.
#
# ## 9 Belief and evidence
#
# In chapter 00 you gave each of the three claims a probability. Now compare it with the evidence of this course. The rule is
# simple and the same for all three: a claim *holds here* if every seed of the one side is above every
# seed of the other, it *does not hold here* if every seed is below, and else it *is open*. The score is the
# squared distance between your probability and the result: 0 is best, and 0.25 is what you get with 0.5.
#
# *Here* means: a tiny model on drawings, the base of the first edition. The paper used a model hundreds of times as large, on real images. A
# claim that does not hold here may hold there.


# %%
def above(first, second):
    """Whether all of the first lie above all of the second; `None` if they overlap."""
    if first.min() > second.max():
        return True
    return False if first.max() < second.min() else None


types = records[records["train"].isin(QUESTION_TYPES) & (records["style"] == STYLE)]
away = types[
    (types["train"] != types["question_type"]) & (types["control"] == "none")
]
away = away.groupby(["method", "seed"])["correct"].mean()
home = sizes[sizes["train"].isin(["all", "none"]) & (sizes["control"] == "none")]
home = home.groupby(["method", "style", "seed"])["correct"].mean()
ledger.settle(
    {
        "generalizes": above(away["grpo"], away["sft"]),
        "thinking": above(home["grpo", "no_think"], home["grpo", "think_before"]),
        "size": above(home["grpo", STYLE], home["larger base", STYLE]),
    }
)

# %% [markdown]
# Which result did you expect least? Write down what evidence would change your mind again, and what it would
# cost to get it.
#
# ## 10 When is GRPO the right tool?
#
# GRPO is one of several ways to improve a model. Choose by what you have:
#
# | you have | use | because |
# |---|---|---|
# | right answers, and nothing to explain | SFT on the answers | one pass over the data, no sampling, and not shown to be worse here (chapter 10) |
# | right answers, and the model should explain first | rejection sampling, then SFT: sample, keep what is right, imitate | it needs no targets for the rationale and is simple; try it before GRPO (chapter 06) |
# | a rule that checks an answer, and a model that is right sometimes | GRPO | it learns from right and wrong completions, and follows the model as it changes |
# | a better model of the same kind | distillation | a signal for every token instead of one number for each completion (chapter 08) |
# | a model that is never right, or always | none of these | all rewards of a group are equal, so there is nothing to learn from: get more or other data |
# | a model that breaks the form or prefers a letter | first a few examples of the form, or corrected letters | this is cheaper than RL, and its gain would be counted as knowledge (chapter 06) |
# | a test that can be passed without images | more and better data | no training repairs a test that measures the wrong thing (chapter 01) |
#
# Before you decide, measure three numbers on your own base: how often it keeps the form, its pass@8 beside
# that of a guesser, and the share of mixed groups. Chapter 02 does all three in minutes.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# A map of gains is bright on the diagonal and elsewhere. May you say that knowledge of one modality carries over to the others?
#
# <details><summary>A. Not yet: a lost letter habit or a repaired form would look the same</summary>
#
# Right. Both help in every modality. So put the corrected base beside the map as a control.
#
# </details>
# <details><summary>B. Yes, because the other modalities were not trained</summary>
#
# Wrong. They were not, but a better form or an unlearned letter habit helps there as well.
#
# </details>
# <details><summary>C. No, gains off the diagonal are always luck</summary>
#
# Wrong. Intervals over seeds and questions tell luck from gain. They do not tell what was learned.
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
# When does GRPO learn nothing from a question?
#
# <details><summary>A. When the model answers it right sometimes and wrong sometimes</summary>
#
# Wrong. This is the best case: the rewards of the group differ.
#
# </details>
# <details><summary>B. When all completions of its group get the same reward</summary>
#
# Right. Every advantage is zero then. Only the KL penalty, if there is one, still acts.
#
# </details>
# <details><summary>C. When the question has more than four options</summary>
#
# Wrong. The number of options changes the chance of a lucky guess, not the method.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - On the first base, a model trained on one modality gained on all of them, and most on its own: what it learned is
#   in part about the form, reading options and giving letters, in part about the words of the modality.
# - Intervals of cells need both questions and seeds, and a map needs its controls in the same colors.
# - An index is a summary, with conditions; the map stays beside it.
# - A prediction interval turns "it should come out again" into a test.
# - In the paper practice passed size, and here it equaled it: the base that was trained further is as good as one four times as
#   large, trained as long. A comparison of sizes has to say who was trained on what.
#
# ## Where to go next
#
# Repeat the study or change it: the plans lie in `benchmarks/plans`, and one command runs each of them.
# `python -m tools.report --runs data/recorded --out _output/report` draws all figures of the study
# from the recorded answers. With a GPU and OmniMedVQA, put `data import` before the same plan. Nothing here
# is for clinical use.
