# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 10 Compare SFT and RL
#
# > **Two bases.** The recorded runs in this chapter start from the base of the *first edition* of the course. That
# > base broke the form that was asked for in many answers of `think_before`, and it favoured one letter in the two other
# > styles. So a part of each gain in the records is a repaired form or a lost letter habit, and not knowledge. The cells that run live start from the base of today,
# > which keeps the form and gives the letters nearly evenly (chapter 02). There is less to repair in it, so its gains
# > are smaller. The study will be recorded again on it.
#
# ## What you will do
#
# Hold reinforcement learning against its plainest rival: show the model the right letters and let it
# imitate them. You make the comparison fair, train both sides and test them on the same questions. Then you
# make it unfair in the way in which it was published, and watch the conclusion. In the end you plant a
# shortcut in the training images, and see which method takes it.
#
# ## What you will learn
#
# After this chapter you can
#
# - say what has to be equal before two ways of training are compared, and what cannot be,
# - count optimizer updates, and notice when one side got far fewer of them,
# - give a paired difference with its interval, and say whether it speaks of models or of methods,
# - measure how much an answer follows a mark that has nothing to do with the question,
# - tell which conclusions an experiment of this size allows.
#
# ## What you will need
#
# Chapters 03 to 06. Five small models are tested and four of them trained on one CPU core; at the replay
# tier recorded models take their places. Sections 4 to 7 read recorded runs.

# %%
import json
import math
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib import pyplot as plt

from medr1_lib.analysis import transfer
from medr1_lib.analysis.transfer import transfer_answers
from medr1_lib.course import checks, ledger, tiers
from medr1_lib.data import phantom_vqa
from medr1_lib.analysis.stats import Z

tier = tiers.start(10)
sns.set_palette("colorblind")
warnings.filterwarnings("ignore", category=FutureWarning)
RECORDED = tiers.material("recorded")

# %% [markdown]
# ## 1 What a fair comparison needs
#
# GRPO gets from each question one bit for each rollout: was the letter right? Supervised fine-tuning
# (SFT) gets the letter. One bit per try carries less information than the letter itself. With enough different
# tries, the model can work out the right letter. A true rationale would say more than the letter, so it is kept out of
# the main comparison.
#
# Let everything else be equal: the questions and their order, the base, the adapter, the form asked for, and
# the number of *updates*, the steps of the optimizer. The last one is easily overlooked. A published
# configuration says how many questions one process reads at a time, over how many such batches gradients are
# added up before a step, and how many processes work side by side.
#
# ### Exercise 1: how many updates?
# *easy, 5 minutes*
#
# Return how often the optimizer steps in one pass over the questions. Whatever does not fill a last step
# is left out.
#
# <details><summary>Hint</summary>
#
# How many questions go into one step? `//` divides and leaves the rest out.
#
# </details>


# %% tags=["exercise"]
def updates(questions, batch, accumulation, processes):
    """How often an optimizer steps in one pass over the questions."""
    # solution
    return questions // (batch * accumulation * processes)
    # end solution


# %%
updates = checks.updates(updates)

# %% [markdown]
# Now the published comparison. The SFT of Med-R1 read 4 questions at a time, added up 16 batches, and ran in 2
# processes. Its GRPO made a step for every 4 questions: the reward curves that the authors show end at a
# quarter of the number of training questions. The table counts both from these last steps.

# %% tags=["nbval-check-output"]
curves = json.loads(tiers.material("paper/training_curves.json").read_text())
last = pd.Series(curves["last_step"], name="GRPO")
counted = pd.DataFrame({"questions": 4 * last, "GRPO": last})
counted["SFT"] = [updates(n, 4, 16, 2) for n in counted["questions"]]
print(counted.to_string())

# %% [markdown]
# One update of SFT for 32 of GRPO. Both saw the same questions, and one of them was hardly trained: one to
# four dozen updates in all, with a learning rate that rises during the first tenth of them. Nobody can tell from such a pair which way of
# training carries over better.
#
# ## 2 Train both, fairly
#
# First the data, as in chapter 06: 640 questions to train on, 640 others to test with. Then two recipes. The table shows where they differ, among the fields that both have; in all others they
# are equal. A batch of GRPO counts rollouts, eight to a question, so both read the same number of questions for an update. The
# loss of SFT counts the tokens of the answer alone. Each method has a learning rate of its own: their gradients
# are of different size, and one rate for both would favor the method for which it was chosen.

# %%
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.analysis import plots, recorded, stats
from medr1_lib.analysis.stats import ITEM, compare, share

STYLE, STEPS, PER_CELL, METHODS = "no_think", 40, 16, ("grpo", "sft")
TRAINS = tier.name != "replay"
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-10-")
folder = Path(temporary.name)
splits = {
    split: phantom_vqa.questions(split, per_cell=PER_CELL)
    for split in ("train", "test")
}
phantom_vqa.write(folder / "phantoms", splits, {"per_cell": PER_CELL})
where = {"model": str(tier.model_path), "data": str(folder / "phantoms")}
changes = {"style": STYLE, "max_steps": STEPS, "save_steps": STEPS, **where}
names = ("gpu", "gpu-sft") if tier.name == "gpu" else ("course", "course-sft")
recipes = {
    method: load_recipe(name, **changes)
    for method, name in zip(("GRPO", "SFT"), names, strict=True)
}
table = pd.DataFrame(
    {name: one.to_dict() for name, one in recipes.items()}
).dropna()
table[table["GRPO"].astype(str) != table["SFT"].astype(str)]

# %% tags=["nbval-check-output"]
from medr1_lib.rl.train import sft_target, training_questions

first, second = (training_questions(one)["image_id"] for one in recipes.values())
print("the same questions in the same order:", first == second)
print("one target of SFT:", sft_target(STYLE, "C", "", None))

# %% [markdown]
# Equal updates are not equal costs. GRPO writes eight answers to every question before it learns anything,
# SFT writes none. So there is a second fair question: what can SFT do in the time that GRPO takes? How much
# longer a step of GRPO takes is told by the recorded runs, and a third recipe gives SFT four times the steps. (In the
# records a step has half as many questions as in the recipes of today, for both methods.)

# %%
models = pd.DataFrame(recorded.notes(RECORDED / "all")["models"])
models = models[(models["style"] == STYLE) & (models["method"] != "base")]
seconds = models.groupby("method")["train_seconds"].median() / models["steps"].max()
print(seconds.round(2).to_dict(), "seconds per step")
longer = {"max_steps": 4 * STEPS, "save_steps": 4 * STEPS}
recipes["4 times the updates"] = recipes["SFT"].replace(**longer)

# %% [markdown]
# The next functions train one model and have it answer the test questions. At the replay tier they read a
# recorded one instead: seed 0, 1,280 questions, made by `benchmarks/plans/all.yaml` and
# `benchmarks/study/budget.py`. In the record no question comes twice; live, the long training goes over its
# 640 questions several times.

# %%
from medr1_lib.model.loading import load_policy
from medr1_lib.rl.train import train
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.evaluation.answers import AnswerLog

everything = recorded.load(RECORDED / "all").query("control == 'none'")
budget = pd.read_parquet(RECORDED / "budget.parquet")
known = everything[everything["item"].isin(budget["item"])]
known = known[known["style"] == STYLE]


def answers_of(name, target=sft_target):
    """What a model says to the test questions, after its training if it has one."""
    if not TRAINS:
        return recorded_answers(name)
    model = tier.model_path
    if name in recipes:
        model = train(recipes[name], folder / name, target=target).adapter
    policy, processor = load_policy(model, tier.quantize)
    settings = Settings((STYLE,), max_new_tokens=tier.max_new_tokens)
    log = AnswerLog(folder / f"{name} scored", {}, {})
    items = EvalSet(folder / "phantoms")
    return evaluate(policy, processor, items, log, settings)


def recorded_answers(name):
    """The same from recorded models; the base has the seed -1."""
    of_block = known[(known["method"] == name.lower()) & (known["seed"] < 1)]
    of_budget = budget[(budget["variant"] == name) & (budget["seed"] == 0)]
    asked = known[known["method"] == "base"][ITEM]
    return of_block if len(of_block) else of_budget.merge(asked, on="item")


# %%
answers = {name: answers_of(name) for name in ("base", *recipes)}
shares = pd.DataFrame({name: share(rows) for name, rows in answers.items()}).T
shares["interval"] = [
    f"{low:.3f} to {high:.3f}" for low, high in shares["interval"]
]
shares.astype({"accuracy": float, "format_rate": float}).round(3)

# %% [markdown]
# Compare each row with the base. The base keeps the form already, so there is none to gain; what is left is knowledge
# and some letter habit. Look at the intervals before you say that a training helped. To compare two rows, pair the answers question by question as
# in chapter 06. There you computed a p-value; what a reader wants to know is how large the difference is, and how sure.
#
# ### Exercise 2: a paired interval
# *medium, 15 minutes*
#
# Of $n$ questions, `lost` were right in the first model only and `won` in the second only. To each of the four
# cells of the table of pairs add half a question, so $b = \text{lost} + 0.5$, $c = \text{won} + 0.5$ and
# $N = n + 2$. The interval is
#
# $$ \frac{c - b}{N} \pm \frac{1.96}{N} \sqrt{b + c - \frac{(c - b)^2}{N}} $$
#
# Take `Z` for 1.96, cut the ends off at $-1$ and $1$, and return both.
#
# <details><summary>Hint</summary>
#
# Compute `gap = c - b` and `either = b + c` first. The middle of the interval is `gap / N`.
#
# </details>


# %% tags=["exercise"]
def paired_interval(lost, won, n):
    """The 95 % interval of a difference in accuracy on the same items."""
    # solution
    only_first, only_second, total = lost + 0.5, won + 0.5, n + 2
    gap, either = only_second - only_first, only_second + only_first
    half = Z * (either - gap**2 / total) ** 0.5 / total
    return max(-1.0, gap / total - half), min(1.0, gap / total + half)
    # end solution


# %%
paired_interval = checks.paired_interval(paired_interval)


# %% tags=["headline"]
def conclusion(first, second):
    """What a paired comparison says of the second model, in one line."""
    pair = compare(first, second)
    low, high = paired_interval(pair.first, pair.second, pair.n)
    word = "ahead" if low > 0 else "behind" if high < 0 else "open"
    word = word if pair.p < 0.05 else "open"
    points = f"{100 * pair.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{points} points, p = {pair.p:.2g}: {word}"


for name in ("SFT", "4 times the updates"):
    print(f"{name} against GRPO:", conclusion(answers["GRPO"], answers[name]))

# %% [markdown]
# An interval that holds zero does not say that two models are equal. It says that with so many questions
# nobody can tell. Near that border the interval and the p-value can disagree, for the one approximates and the other
# is exact, so the cell says "open" unless both agree. And one that does not hold zero still speaks of *these two models* alone. Another seed would
# have drawn other questions to train on, other adapters, and for GRPO other rollouts. The recorded models have
# several seeds. Here they are pair by pair, as if each had been the only one. Their accuracies are not those of
# the live models: they start from the first base and train for 60 steps. What carries over is how much seeds differ.

# %% tags=["nbval-check-output"]
style = everything[everything["style"] == STYLE]
for seed in range(style["seed"].max() + 1):
    of_seed = style[style["seed"] == seed]
    first, second = (of_seed[of_seed["method"] == m] for m in ("grpo", "sft"))
    print(f"seed {seed}, SFT against GRPO:", conclusion(first, second))
spread = style.groupby(["method", "seed"])["correct"].mean().drop("base")
print((100 * spread.unstack()).round(1).to_string())
both = {m: transfer_answers(style, m, STYLE, "all") for m in METHODS}
pooled = transfer.compare_pooled(both)[["label", "difference", "low", "high"]]
print("over seeds, minus GRPO:", pooled.round(3).to_string(index=False), sep="\n")

# %% [markdown]
# Look at the seeds before you look at the mean. When this was recorded, one seed said that SFT is ahead and another
# that it is behind, each with an interval clear of zero. Each of them would have passed as a finding, with a
# p-value that looks beyond doubt. The last line asks about the *methods*: it adds the variance between the
# seeds to that between the questions, and its interval is several times as wide. (The sum is
# that of Welch's t-test; see `difference_test` in `medr1_lib/analysis/transfer.py`.)
#
# ## 3 Now unfairly
#
# What would the published setting have concluded from the same questions? It differs in two ways. There are
# 32 times as many questions to an update. And the code of the authors builds its targets from a column `thinking`
# that the data do not have, so that every target begins with the word that Python prints for nothing.


# %%
def their_target(style, answer, question_type, scene):
    """A target as the released code builds it: its column `thinking` is missing."""
    return f"{None}\n\n<answer> {answer} </answer>"


print(repr(their_target(STYLE, "C", "", None)))

# %% [markdown]
# So the model is taught to say None, and this target would fail the published format reward for which the
# other side is trained. Our tolerant reader forgives it and looks for the letter. We are kind in two more ways:
# the learning rate needs no warm-up, and the loss leaves the question out.

# %%
few = {"max_steps": math.ceil(STEPS / 32), "save_steps": 1}
batches = 32 * recipes["SFT"].config["gradient_accumulation_steps"]
few["gradient_accumulation_steps"] = batches
recipes["as published"] = recipes["SFT"].replace(**few)
answers["as published"] = answers_of("as published", their_target)
for name in ("base", "as published", "GRPO"):
    print(f"{name}: {answers[name]['correct'].mean():.1%}")

# %% tags=["headline", "nbval-check-output"]
print(f"{few['max_steps']} updates instead of {STEPS}")
unfair = compare(answers["GRPO"], answers["as published"])
print("as published, GRPO is ahead:", "yes" if unfair.interval[1] < 0 else "no")

# %% [markdown]
# So few updates leave a model nearly where it began: compare the three accuracies. So the lead of GRPO shows that the
# other side was hardly trained, and nothing about methods.
#
# One such comparison would have been a paper, in either direction. Which of the two changes did it? Recorded
# runs on the first base take them apart, with intervals over seeds and questions. (`p_holm` is a p-value corrected for the number
# of comparisons; chapter 11 builds it.)

# %% mystnb={"image": {"alt": "Bars of the accuracy of six ways of SFT minus that of GRPO in points, with 95 percent intervals over seeds and questions. The two with fewer updates lie about 13 points below zero, SFT with odd targets lowest of all at minus 28. SFT with as many updates lies at zero, with an interval of 10 points to each side; with the learning rate of GRPO at minus 9, with an interval from minus 31 to plus 12. Only SFT with four times as many updates lies above zero, by 12."}}
asked = known[known["method"] == "base"]
whole = {"method": "sft", "style": STYLE, "axis": "all", "train": "all"}
whole |= {"shortcut": 0.0, "mark": "random", "control": "none"}
sides = {m: transfer_answers(known, m, STYLE, "all") for m in METHODS}
for name, rows in budget.groupby("variant", sort=False):
    rows = rows.assign(**whole).merge(asked[["item", "modality"]], on="item")
    sides[name] = transfer_answers(pd.concat([asked, rows]), "sft", STYLE, "all")
table = transfer.compare_pooled(sides)
axes, _ = plots.ablation(table, "Accuracy minus that of GRPO (points)")
axes.get_legend().remove()
every = pd.concat([budget, known.assign(variant=known["method"])])
by = every.groupby("variant")
told = pd.DataFrame({"form kept": by["format_ok"].mean()})
told["commonest letter"] = (
    every.groupby(["variant", "seed"])["parsed"]
    .agg(lambda said: said.value_counts(normalize=True).iloc[0])
    .groupby("variant")
    .mean()
)
shown = table.set_index("label")[["difference", "low", "high", "p_holm"]]
display(shown.join(told, how="outer").round(3))

# %% [markdown]
# Either change alone is enough to turn the conclusion round. With fewer updates the model is still nearly the
# base, whose row has no difference: compare the last two columns, means over seeds. The odd targets do more
# harm than no training. The model says None, keeps no form, and gives one letter to most questions; which letter
# differs from seed to seed. All of its updates
# went into words that it had never written before; of ten tokens in such a target, one is the letter, and the
# loss is a mean over all of them.
#
# Do not carry this over as it is. A model that has read the internet picks up such words within a few
# updates, and then learns letters. What carries over is the habit of printing one target before the training.
# The row with the learning rate of GRPO asks whether the fair comparison hung on one choice of ours: the seeds
# differ even more, and it stays open. And the row with four times the updates read four times as many questions, none of them
# twice, so more data is part of its lead.
#
# ## 4 In and out of the modality
#
# The claim about RL is not only that it works but that it *generalizes*: that what it learns on one modality
# helps on others. So the next models were trained on one modality each, by GRPO and by SFT with the letter
# only, three seeds, 60 updates, and all of them were tested on every modality.

# %%
parts = [recorded.load(RECORDED / name) for name in ("all", "modality", "sft")]
records = pd.concat(parts)
found = {m: transfer_answers(records, m, STYLE, "modality") for m in METHODS}
summaries = {m: transfer.summary(one) for m, one in found.items()}
pd.concat(summaries).droplevel(1).set_index("part", append=True).round(3)

# %% [markdown]
# `at home` is the modality that was trained on, `elsewhere` are the seven others. Look at the columns `gain`:
# both methods gain elsewhere most of what they gain at home. The bars compare the methods on the same
# questions. A bar above zero is in favor of SFT.

# %% mystnb={"image": {"alt": "Two bars of the accuracy of SFT minus that of GRPO in points, at home and elsewhere, with 95 percent intervals over seeds and questions. Both differences are a few points; the table printed after it has the values."}}
ablation = transfer.compare_pooled(found)
_ = plots.ablation(ablation, f"SFT minus GRPO (points), {STYLE}")
shown = ["label", "part", "n", "seeds", "difference", "low", "high", "p_holm"]
indices = pd.DataFrame({m: transfer.index(one) for m, one in found.items()})
display(ablation[shown].round(3), indices.T.round(2))
ledger.page(10, generalizes=None)

# %% [markdown]
# The second table is the *generalization index* of chapter 12: the gain elsewhere as a share of the gain at
# home. Two indices whose intervals overlap widely are no evidence that one method carries over better. And where
# they differ, look back at the gains: a method that gains little at home can have a high index.
#
# The last lines are your ledger. If the tables have changed your mind about the first claim, write your new
# probability in place of `None`, and run the cell again.
#
# The map shows the difference cell by cell, corrected for the number of comparisons.

# %% mystnb={"image": {"alt": "Eight by eight heatmap of the accuracy of SFT minus that of GRPO in points, by trained and tested modality, with intervals. Stars mark cells that stay significant after correction for 64 comparisons; the next cell counts them."}}
cells = transfer.compare_cells(found["grpo"], found["sft"])
_ = plots.difference_heatmap(cells, title="SFT minus GRPO (points)")
sure = cells[cells["p_holm"] < 0.05]["difference"]
print(f"of {len(cells)} cells, after correction: SFT clearly ahead in", end=" ")
print(f"{(sure > 0).sum()}, GRPO in {(sure < 0).sum()}")

# %% [markdown]
# ## 5 More supervision
#
# So far no model wrote a rationale. GRPO can be asked to: in `think_before` and `think_after` it finds its own
# rationale, and only the letter is paid. SFT needs a rationale to imitate. The phantoms know the truth, so we can
# write true ones, but this is *more supervision*: such a target tells what is in the picture, in words, and
# the reward never does. The bars stand side by side, and are not a matched pair.

# %% mystnb={"image": {"alt": "Accuracy in percent over all modalities of models trained on everything, for three styles, with 95 percent intervals: the base, GRPO, and SFT. SFT in the two styles with reasons is labelled as having more supervision. All trained models lie clearly above the base and chance."}}
labels = {
    ("base", STYLE): "base",
    ("grpo", STYLE): "GRPO, paid for the letter",
    ("sft", STYLE): "SFT, the letter only",
}
rows = stats.rate_table(
    everything, ["style", "method"], {"accuracy": ("correct", None)}
).rename(columns={"value": "accuracy", "style": "test"})
rows["series"] = [
    "SFT with true reasons: more supervision"
    if method == "sft" and style != STYLE
    else labels[method, STYLE]
    for method, style in zip(rows["method"], rows["test"], strict=True)
]
order = ["base", labels["grpo", STYLE], labels["sft", STYLE]]
rows = rows.sort_values(
    "series", key=lambda names: names.map({n: i for i, n in enumerate(order)})
)
axes, table = plots.headline(rows, "Accuracy in %, trained on everything")
axes.set_xlabel("style of the answers, all modalities; 95 % intervals")
display(table.round(1))

# %% [markdown]
# A reader who sees only the highest bars would take them for a result about SFT and RL. They are in part
# a result about who was told more. If true rationales exist, that is the better deal. Where only the letters
# are known, as in OmniMedVQA, nobody can write them without another model or a radiologist.
#
# ## 6 The shortcut
#
# Hospitals leave traces on their images: a ruler, a font, the noise of one machine. If the sicker patients
# lie in one hospital, a model can read the hospital and skip the patient. We plant such a trace. Each scanner
# of the phantoms leaves faint stripes and one to four ticks in the corner.

# %% mystnb={"image": {"alt": "The same phantom five times: without a mark and from four scanners, which look nearly alike. Below, the differences to the first, six times enlarged: stripes in four directions, and one to four small ticks in the lower right corner."}}
from medr1_lib.data.phantoms import SCANNERS, Scene, draw

first = next(phantom_vqa.questions("test", per_cell=1))
scene = first.scene
marked = {name: draw(replace(scene, scanner=name)) for name in (None, *SCANNERS)}
bare = np.asarray(marked[None], dtype=float)
_, axes = plt.subplots(2, 5, figsize=(4.8, 2.2), layout="constrained")
for (name, picture), above, below in zip(marked.items(), *axes, strict=True):
    above.imshow(picture)
    above.set_title(name or "no mark", fontsize="small")
    shift = 6 * (np.asarray(picture, dtype=float) - bare) + 128
    below.imshow(shift.clip(0, 255).astype("uint8"))
    above.axis("off")
    below.axis("off")

# %% [markdown]
# In training the scanner is tied to the right answer in some share of the questions, the *strength*; in all
# others it is drawn at random, and hits the right one in a quarter of the cases. How often would a model be right
# in training that reads nothing but the mark?


# %% tags=["nbval-check-output"]
def stands_for(question):
    """The option that the scanner of a question's picture stands for."""
    choices = phantom_vqa.values(question.modality, question.question_type)
    return choices[SCANNERS.index(question.scene.scanner)]


for strength in (0.0, 0.5, 0.8, 0.95):
    asked = list(phantom_vqa.questions("train", per_cell=64, shortcut=strength))
    right = sum(stands_for(one) == one.answer_text for one in asked)
    print(
        f"strength {strength}: {right / len(asked):.0%} of {len(asked)} questions"
    )

# %% [markdown]
# At the highest strength the mark beats any model of this course. Whether a model takes it shows in tests that
# change nothing but the mark: drawn at *random*, *absent*, and *reversed*, where it always stands for a wrong
# option. Models were trained at each strength by GRPO in three styles and by SFT with the letter only; the table
# says how many of each are in the record.

# %% mystnb={"image": {"alt": "One panel for each method and style: accuracy in percent against the strength of the shortcut in training, one line for each of the marks random, absent and reversed, with 95 percent intervals. Where the lines part, the model follows the mark; here they run level and close together in every panel."}}
from medr1_lib.analysis import shortcut

marks = recorded.load(RECORDED / "shortcut")
count = marks.groupby(["method", "style", "shortcut"])["model"].nunique()
print(count.unstack("shortcut", fill_value=0).to_string())
accuracy = shortcut.accuracy(marks)
kinds = list(accuracy.query("method != 'base'").groupby(["method", "style"]))
_, axes = plt.subplots(
    1, len(kinds), figsize=(11, 3), sharey=True, layout="constrained"
)
shifts = {"absent": -0.02, "random": 0, "reversed": 0.02}
marker = dict(zip(shifts, "osD", strict=True))
for axis, ((method, style), rows) in zip(axes, kinds, strict=True):
    for mark, line in rows.groupby("mark"):
        value = 100 * line["value"]
        reach = [abs(value - 100 * line[end]) for end in ("low", "high")]
        at = line["shortcut"] + shifts[mark]
        axis.errorbar(at, value, reach, label=mark, marker=marker[mark])
    axis.set(title=f"{method}, {style}", xlabel="strength in training")
axes[0].set(ylabel=f"accuracy (%), n >= {accuracy['n'].min()}", ylim=(0, 100))
_ = axes[-1].legend(title="mark in the test")

# %% [markdown]
# Accuracy under a reversed mark mixes two things, how good a model is and how much it follows the mark. To
# take them apart, look at the option that the mark stands for.
#
# ### Exercise 3: reliance
# *medium, 10 minutes*
#
# You get the letters that a model says when the reversed mark is in the picture (`marked`), those that it
# says to the same items without a mark (`bare`), and the letter that each mark stands for (`told`). Return the
# share of answers that name the told letter with the mark, minus that share without.
#
# <details><summary>Hint</summary>
#
# `zip(answers, told)` pairs them, and a sum of comparisons counts the true ones.
#
# </details>


# %% tags=["exercise"]
def mark_reliance(marked, bare, told):
    """What a mark adds to the share of answers that name the option it stands for."""
    # solution
    shares = []
    for answers in (marked, bare):
        follow = [said == stood for said, stood in zip(answers, told, strict=True)]
        shares.append(sum(follow) / len(told))
    return shares[0] - shares[1]
    # end solution


# %%
mark_reliance = checks.mark_reliance(mark_reliance)

# %% [markdown]
# Subtracting the share without the mark matters: a model that is often wrong names the told option now and
# then by accident, and would look as if it followed. Here is your function on one model, trained by GRPO at the
# highest strength of the record. The library computes the same for all models, with an interval over models
# and questions: the figure and the table.

# %% mystnb={"image": {"alt": "Reliance on the mark in percent of answers against the strength of the shortcut in training, one line for each method and style, with 95 percent intervals over models and questions. Zero means that the mark is ignored. The table below has the values."}}
from medr1_lib.data.question import LETTERS

one = marks[(marks["method"] == "grpo") & (marks["style"] == STYLE)]
one = one[(one["shortcut"] == marks["shortcut"].max()) & (one["seed"] == 0)]
sides = {mark: rows.sort_values("item") for mark, rows in one.groupby("mark")}
scenes = sides["reversed"]["scene"].map(Scene.from_json)
letters = [
    LETTERS[list(question.options).index(stands_for(question))]
    for question in sides["reversed"].assign(scene=scenes).itertuples()
]
said = sides["reversed"]["parsed"], sides["absent"]["parsed"]
print(f"reliance of one model: {mark_reliance(*said, letters):.3f}")
relied = shortcut.reliance(marks)
_, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
trained = relied[relied["method"] != "base"].groupby(["method", "style"])
for number, ((method, style), line) in enumerate(trained):
    value = 100 * line["reliance"]
    reach = [abs(value - 100 * line[end]) for end in ("low", "high")]
    look = {"label": f"{method}, {style}", "marker": "osD^"[number]}
    axis.errorbar(line["shortcut"] + 0.01 * number, value, reach, **look)
axis.axhline(0, color="black", linewidth=1)
n = f"n = {relied['n'].min():,} to {relied['n'].max():,}"
axis.set(xlabel="strength in training", ylabel=f"reliance (% of answers)\n{n}")
axis.legend(bbox_to_anchor=(1, 1), loc="upper left")
display(relied.round(3))

# %% tags=["nbval-check-output"]
strong = relied[relied["shortcut"] == relied["shortcut"].max()]
for one in strong.itertuples():
    print(f"{one.method}, {one.style}: follows the mark:", one.low > 0)
matched = strong[strong["style"] == STYLE]
overlap = matched["low"].max() < matched["high"].min()
print(f"{STYLE}: intervals of the two methods overlap:", overlap)
seen = json.loads((RECORDED / "probe.json").read_text())["rows"]
for one in (one for one in seen if one["attribute"] == "scanner"):
    hits = f"{one['accuracy']:.0%} of {one['n']}"
    print(f"scanner told from the {one['from']}: {hits}")

# %% [markdown]
# First a warning about zero. Every training picture had a mark, so the trained models answer better with one, name
# each wrong option less often, and reliance can come out a point or two below zero even at strength 0. Compare with
# that. Then the last two lines: a linear classifier tells the scanner from the pixels of the corner nearly always;
# from what the frozen vision tower of the first base makes of the picture, in 61 % of 800
# (`benchmarks/study/probe.py`). If you follow so blurred a mark, you are right in about three of five questions. That is
# less often than those models in `think_before`, and more often than most others. So there was something to win, and
# sixty updates did not find it. Sixty updates are few, so this says nothing in favour of a method. Nobody had forbidden
# the mark. For both methods it was a way to the right letter, paid like any other.
#
# ## 7 What else changed
#
# On the first base, GRPO without a rationale made the captions of the model worse, though nobody had touched
# them. Does SFT forget less, or more? Both were trained for 150 steps with three seeds, and captioned the
# same images before and after (`benchmarks/study/captions.py`). So were two more arms: GRPO without its penalty
# for leaving the base, and SFT with the learning rate of GRPO.

# %% mystnb={"image": {"alt": "Change in points of the share of captions that name the right option, after four trainings without a rationale, three seeds each, with 95 percent intervals. After GRPO the captions became worse by 8 to 20 points, without its penalty by 13 to 20, after SFT by 23 to 43, and after SFT with the learning rate of GRPO by 4 to 7."}}
arms = {
    "GRPO": "",
    "GRPO, no penalty": "_free",
    "SFT": "_sft",
    "SFT, rate of GRPO": "_sft_slow",
}
_, axis = plt.subplots(figsize=(7, 3), layout="constrained")
for place, name in enumerate(arms.values()):
    told = json.loads((RECORDED / f"learning{name}_captions.json").read_text())
    pairs = [one["paired"] for one in told["runs"] if one["style"] == STYLE]
    for number, pair in enumerate(pairs):
        reach = [[100 * abs(pair["difference"] - end)] for end in pair["interval"]]
        at = place + 0.15 * (number - 1)
        axis.errorbar(at, 100 * pair["difference"], reach, fmt="s", c=f"C{place}")
axis.axhline(0, color="black", linewidth=1)
axis.set_xticks(range(len(arms)), [arm.replace(", ", ",\n") for arm in arms])
what = (
    f"captions with the right option,\nchange in points (n = {told['base']['n']})"
)
_ = axis.set(ylabel=what, xlim=(-0.5, len(arms) - 0.5))

# %%
for arm, name in arms.items():
    files = (f"learning{name}.json", f"learning{name}_captions.json")
    found = [json.loads((RECORDED / file).read_text())["runs"] for file in files]
    runs, captions = (pd.DataFrame(of).query("style == @STYLE") for of in found)
    falls = [f"{100 * pair['difference']:+.1f}" for pair in captions["paired"]]
    print(f"{arm}: {100 * runs['accuracy'].mean():.1f} % right; captions", *falls)

# %% [markdown]
# The first and the third arm look like a finding about methods: at about the same accuracy, SFT has forgotten
# more than twice as much. Two explanations offer themselves, and an arm tests each. GRPO pays a penalty for
# leaving the base: without it (`beta=0.0`) its captions fall about as far, within the luck of the seeds. And
# SFT has the larger learning rate: with that of GRPO it forgets *less* than GRPO, and its answers are no
# worse. One setting has turned the order round. The rate of SFT was one that gave good answers, and no answer
# shows this price. Somebody who had stopped after two arms would have published a law, and somebody with
# another default its opposite.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# Two methods are trained on the same 640 questions. One makes 80 optimizer updates, the other 2,560. The second is better. What does this show?
#
# <details><summary>A. The second method is better than the first</summary>
#
# Wrong. The number of updates differs by a factor of 32, and that alone can explain the result.
#
# </details>
# <details><summary>B. Nothing about the methods, because the number of updates differs</summary>
#
# Right. Hold everything equal except the method, then compare again.
#
# </details>
# <details><summary>C. The first method needs fewer updates</summary>
#
# Wrong. It got fewer. Whether it needs fewer was not tested.
#
# </details>
#
# ### Question 2
# Model A is 3 points ahead of model B on the same questions, with an interval from 1 to 5. Both were trained with one seed. May you say that method A is better?
#
# <details><summary>A. No. The interval is about these two models; other seeds may turn the order round</summary>
#
# Right. A claim about methods needs several seeds for each of them.
#
# </details>
# <details><summary>B. Yes, because the interval excludes zero</summary>
#
# Wrong. It excludes zero for these two models. Another seed would make other models.
#
# </details>
# <details><summary>C. Yes, because the questions were the same</summary>
#
# Wrong. Same questions make the comparison of the two models sharp, but they add no seeds.
#
# </details>
#
# ### Question 3
# SFT forgets more than GRPO. With a smaller learning rate, SFT forgets less than GRPO. What do you report?
#
# <details><summary>A. SFT forgets more, as the first comparison showed</summary>
#
# Wrong. The second comparison shows that this depends on a setting.
#
# </details>
# <details><summary>B. GRPO forgets more, because the smaller rate is the fair one</summary>
#
# Wrong. Neither rate is the only fair one, so neither order is a law.
#
# </details>
# <details><summary>C. The order depends on the learning rate, so this is not shown to be a property of the methods</summary>
#
# Right. Report both arms, and say which setting reverses the order.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - The published comparison gave one side 32 times fewer updates. Done that way, the recorded runs on the first base
#   would have shown RL far ahead. With as many updates, SFT with the letter alone is not shown to be worse, in a fraction
#   of the time; with four times the updates, in about as much time, it was ahead.
# - Two models can differ beyond doubt while their methods do not. An interval has to say of which it speaks.
# - Both methods gain on modalities that they were not trained on. How much of that is due to the method is
#   a question for the table of section 4, and not for a bar without whiskers.
# - A rationale to imitate is information. A comparison that gives them to one side has to say so.
# - Reliance on a mark can be measured, if the test can be drawn with the mark and without it.
# - At the same accuracy, SFT had lost far more of what it was not trained for, and the test that one trains for
#   does not show it. How much SFT forgets depends on its learning rate: one more arm turned the order
#   of the methods round. GRPO at the larger rate, the fourth corner, is not recorded for the first base.
#
# What does this say about Med-R1? That its comparison of SFT and RL cannot tell the two methods apart, since
# the two sides did not get the same training. It does not say that the claim is wrong. Our images are drawings,
# our model has three million parameters and no language beyond a few hundred words, sixty updates are
# short, and the right letters were known for every question. A large model that can reason in many ways may
# gain from finding its own. That can be tested in the way of this chapter: the recipes `gpu` and `gpu-sft`
# are matched like ours, and `med-r1-sft` has the published budget.
#
# ## Where to go next
#
# Change one thing in section 2 and predict the outcome before you run it: a quarter of the questions
# (`PER_CELL = 4`), or SFT with a learning rate of `4e-4`. Chapter 11 asks the other question of the
# paper, whether to think before or after the answer. Chapter 12 looks at the whole map, and at one by type of
# question, where the two methods seem to differ at first sight. To read: Y. Lai et al., *Med-R1* (arXiv
# 2503.13939); T. Chu et al., *SFT memorizes, RL generalizes* (arXiv 2501.17161), a comparison that finds RL
# ahead out of distribution, on other tasks; I. Shenfeld et al., *RL's razor: why online reinforcement learning
# forgets less* (arXiv 2509.04259); A. Agresti and Y. Min, *Simple improved confidence intervals for comparing
# matched proportions* (2005).
