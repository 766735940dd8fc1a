# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 10 Compare SFT and RL
#
# ## What you will do
#
# What does GRPO give that supervised fine-tuning (SFT) does not, and is it knowledge? You make three things
# equal, one after the other: updates, labels and learning rate. Then you give SFT more of everything. Each
# time you look at the difference again. At the end you take two settings of the published comparison, and see
# which result they would have given on the same questions.
#
# ## What you will learn
#
# After this chapter you can
#
# - say what has to be equal before two ways of training are compared, and what cannot be,
# - count optimizer updates, and notice when one side got far fewer of them,
# - split the difference of two methods into form, letter habit and knowledge,
# - give it an interval over seeds and images, and say to what this interval applies,
# - test whether a finding about methods is a finding about the learning rate.
#
# ## What you will need
#
# Chapters 02 (four readers) and 06 (the parts of a gain). Sections 2 and 7 train three small models on one
# CPU core. At the replay tier, recorded models take their place. All other sections read recorded runs.

# %%
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from medr1_lib.analysis import gains, recorded
from medr1_lib.analysis.gains import PARTS, gain_parts
from medr1_lib.analysis.stats import ITEM, Z, compare, mean_table, share
from medr1_lib.course import checks, ledger, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data import phantom_vqa

tier = tiers.start(10)
warnings.filterwarnings("ignore", category=FutureWarning)
RECORDED = tiers.material("recorded")
METHODS = RECORDED / "methods"  # of `benchmarks/plans/methods.yaml`
plt.style.use("seaborn-v0_8-colorblind")

# %% [markdown]
# ## 1 What has to be equal
#
# Three methods use the right letter of a question in different ways.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Three rows from one question to one update. GRPO, in blue: eight rollouts, each is right or wrong, push up the right ones and push down the wrong ones. Rejection sampling, in green: eight rollouts, keep the right ones, imitate them. SFT, in orange: no rollouts, the letter itself, imitate it. All end at an update of the same adapter."}}
boxes = {
    "ask": (0, -1, "a question and\nits right letter"),
    "rollouts": (1.5, 0, "8 rollouts"),
    "bits": (3, 0, "each one:\nright or wrong?"),
    "own": (1.5, -1, "8 rollouts"),
    "kept": (3, -1, "the right\nones"),
    "letter": (3, -2, "the letter\nitself"),
    "update": (4.6, -1, "one update of\nthe same adapter"),
}
arrows = [("ask", "rollouts", ""), ("rollouts", "bits", "reward")]
arrows += [("bits", "update", "GRPO: push\nup and down")]
arrows += [("ask", "own", ""), ("own", "kept", "keep")]
arrows += [("kept", "update", "imitate"), ("ask", "letter", "")]
arrows += [("letter", "update", "SFT: imitate")]
tints = {"rollouts": "blue", "bits": "blue", "own": "green", "kept": "green"}
sketch(boxes, arrows, tints=tints | {"letter": "orange"}, size=(10, 3.6))
plt.show()

# %% [markdown]
# *Rejection sampling* imitates, like SFT, but it imitates the model's own rollouts. So, like GRPO, it can use
# rationales that the model wrote. For SFT, somebody else has to write the rationales.
#
# A fair comparison keeps everything else equal: the questions, the base, the adapter, the form, and the number of
# *updates*, the steps of the optimizer. A configuration says how many questions a process reads
# at a time (`batch`), over how many such batches gradients are added up (`accumulation`), and how many processes work side by side.
#
# ### Exercise 1: how many updates?
# *easy, 5 minutes*
#
# Return how often the optimizer steps in one pass over the questions. Questions that do not fill a last step
# are left out.
#
# <details><summary>Hint</summary>
#
# How many questions go into one step? `//` divides and drops the remainder.
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
# The published configuration of Med-R1's SFT (repository `Yuxiang-Lai117/Med-R1`, commit 88d76c7, folder
# `configs/qwen2`) reads 4 questions at a time, adds up 16 batches, and runs in 2 processes. How many questions
# did its GRPO read for a step? Two numbers are estimates. `questions` is four times the number of released test
# questions, since the paper splits 80 to 20. `GRPO` is the last step on the published reward curves. `a step`
# divides the two. `SFT` has the updates of SFT. Compare it with `GRPO`.

# %% tags=["nbval-check-output"]
curves = json.loads(tiers.material("paper/training_curves.json").read_text())
last = pd.Series(curves["last_step"], name="GRPO")
audit = json.loads((RECORDED / "omnimedvqa_audit.json").read_text())["files"]
tests = {Path(path).name: of["records"] for path, of in audit.items()}
asked = [
    sum(n for k, n in tests.items() if k.startswith(one)) for one in last.index
]
counted = pd.DataFrame({"questions": 4 * np.array(asked), "GRPO": last})
counted["a step"] = (counted["questions"] / counted["GRPO"]).round(1)
counted["SFT"] = [updates(n, 4, 16, 2) for n in counted["questions"]]
print(counted.to_string())
print(
    f"updates of GRPO for one of SFT: {(counted['GRPO'] / counted['SFT']).mean():.0f}"
)

# %% [markdown]
# GRPO read about four questions for a step, in every row. SFT read 128, which is 32 times as many. So SFT got one
# update for about every 33 of GRPO, on the same questions. (It is not 32, since the numbers of steps are estimates
# and an update that is not full is left out.) If one side is trained so little, the comparison cannot show which method is
# better.
#
# ## 2 Equal updates: two models
#
# The table has every setting that both recipes of our record have and in which they differ. A batch of GRPO
# counts rollouts, eight for each question. So both recipes read 16 questions for an update.

# %%
models = pd.DataFrame(recorded.notes(METHODS)["models"])
models["rate"] = [recipe["learning_rate"] for recipe in models["recipe"]]
STYLE, FAST, SLOW = "no_think", models["rate"].max(), models["rate"].min()
pair = models.query("style == @STYLE and seed == 0 and rate == @FAST")
both = pd.DataFrame(dict(zip(pair["method"], pair["recipe"], strict=True)))
both[both["grpo"].astype(str) != both["sft"].astype(str)].dropna()

# %% [markdown]
# Now train one model of each kind, without a rationale. So both learn from the same labels: the letters. Both
# get one pass over 512 questions. The next cell holds the helpers. `their_target` belongs to section 7. At
# the replay tier you read recorded models, which were trained longer.

# %% tags=["hide-input"]
rates = models[["model", "rate"]]
everything = recorded.with_letter_probs(METHODS).merge(rates)
STEPS, LIVE = 32, tier.name != "replay"
if LIVE:
    from medr1_lib.evaluation.answers import AnswerLog
    from medr1_lib.evaluation.evaluate import Settings, evaluate
    from medr1_lib.evaluation.items import EvalSet
    from medr1_lib.model.loading import load_policy
    from medr1_lib.rl.recipe import load_recipe
    from medr1_lib.rl.train import Progress, sft_target, train

    temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-10-")
    folder = Path(temporary.name)
    ask, names = phantom_vqa.questions, ("train", "test")
    splits = {name: ask(name, per_cell=16) for name in names}
    phantom_vqa.write(folder / "phantoms", splits, {"per_cell": 16})
    where = {"model": str(tier.model_path), "data": str(folder / "phantoms")}
    RECIPE, PASSES = ("gpu", 2) if tier.name == "gpu" else ("course", 1)


def their_target(style, answer, question_type, scene):
    """A target as the released code builds it: its column `thinking` is missing."""
    return f"{None}\n\n<answer> {answer} </answer>"


def trained(recipe, target=None, **changes):
    """The adapter of a short training."""
    settings = {"style": STYLE, "max_steps": STEPS, "save_steps": STEPS}
    one = load_recipe(recipe, **where, **settings | changes)
    out = Path(tempfile.mkdtemp(dir=folder))
    target = target or sft_target
    return train(one, out, target=target, callbacks=[Progress()]).adapter


def tested(model):
    """One row per test question: what the model said, and whether it is right."""
    policy, processor = load_policy(model, tier.quantize)
    settings = Settings((STYLE,), max_new_tokens=tier.max_new_tokens)
    log = AnswerLog(Path(tempfile.mkdtemp(dir=folder)), {}, {})
    return evaluate(policy, processor, EvalSet(folder / "phantoms"), log, settings)


# %%
if LIVE:
    answers = {"base": tested(tier.model_path), "grpo": tested(trained(RECIPE))}
    answers["sft"] = tested(trained(f"{RECIPE}-sft"))
else:
    first = "style == @STYLE and rate == @FAST and seed < 1"
    answers = dict(list(everything.query(first).groupby("method")))

# %%
shares = pd.DataFrame({name: share(rows) for name, rows in answers.items()}).T
ends = ["{:.3f} to {:.3f}".format(*ends) for ends in shares["interval"]]
shares.assign(interval=ends).round(3)

# %% [markdown]
# Look at the intervals before you call one model better. To compare two models, pair their answers question
# by question, as in chapter 06. There you computed a p-value. Here you compute an interval, which also says
# how large the difference may be.
#
# ### Exercise 2: a paired interval
# *medium, 15 minutes*
#
# Of $n$ questions, `lost` were right in the first model only and `won` in the second only. Add half a question to each of the four
# cells of the table of pairs, so $b = \text{lost} + 0.5$, $c = \text{won} + 0.5$ and
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


# %%
def told(value, low, high):
    """A difference in points, its interval, and what it says in a word."""
    word = "ahead" if low > 0 else "behind" if high < 0 else "open"
    return f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}] {word}"


def lead(second, first):
    """One model's lead over another, on the same questions."""
    pair = compare(first, second)
    interval = paired_interval(pair.first, pair.second, pair.n)
    return told(pair.difference, *interval)


def by_seed(rows):
    """The answers of each seed, read in all four ways; the base has the seed -1."""
    return {seed: gains.read_all(one) for seed, one in rows.groupby("seed")}


def credit(runs):
    """What every reader finds, as an array of (seeds, questions)."""
    rows = [one.sort_values("item") for one in runs.values()]
    return {name: np.array([one[name] for one in rows]) for name in gains.READERS}


# %% tags=["headline"]
print("GRPO minus SFT (points):", lead(answers["grpo"], answers["sft"]))

# %% [markdown]
# "Open" does not mean equal. It means that this number of questions is too small to show a difference. And
# "ahead" or "behind" would be a result about *these two models* only. Another seed would have given other
# training questions, another adapter, and for GRPO other rollouts.
#
# ## 3 Equal updates: two methods
#
# The record has the same comparison with more updates and more seeds. First look at each seed as if it were
# the only one.


# %%
def runs(method, style=STYLE, rate=FAST):
    """All models of a kind in the record."""
    kind = "method == @method and style == @style and rate == @rate"
    return by_seed(everything.query(kind))


# %% tags=["nbval-check-output"]
grpo, sft = runs("grpo"), runs("sft")
count, n, updated = len(grpo), len(grpo[0]), models["steps"].max()
print(f"{updated} updates, n = {n} questions, seeds: {count}")
for seed in grpo:
    print(f"seed {seed}, GRPO minus SFT (points):", lead(grpo[seed], sft[seed]))

# %% [markdown]
# Do the lines for the seeds agree? A claim about methods needs an interval over seeds and questions. It also
# needs the *parts* of the difference, because accuracy can rise by form or by a letter habit.
#
# ### Exercise 3: the difference of two methods
# *hard, 40 minutes*
#
# `first` and `second` map each reader of chapter 02 to an array of shape (seeds, questions), 1 where that reader finds the right letter. `gain_parts` of chapter 06
# takes such arrays too: it splits second minus first entry by entry. For each part return a tuple: the mean, and the two ends of a 95 % interval.
#
# The interval is a *bootstrap over two things*. `seeds[k]` and `questions[k]` list the rows and the columns of redraw $k$. Take these rows and columns, with their
# repeats, and average. The ends are the percentiles 2.5 and 97.5 of these averages.
#
# **Write down before you run the cell after the check**: which part will be the largest, and will its interval contain zero? Then explain the result.
#
# <details><summary>Hint</summary>
#
# `gap[np.ix_(rows, columns)]` takes rows and columns together. `np.percentile(means, (2.5, 97.5))` gives both ends. Loop over `gain_parts(first, second).items()`.
#
# </details>


# %% tags=["exercise"]
def method_gap(first, second, seeds, questions):
    """Each part of second minus first, with an interval over seeds and questions."""
    # solution
    found = {}
    for part, gap in gain_parts(first, second).items():
        drawn = zip(seeds, questions, strict=True)
        means = [gap[np.ix_(rows, columns)].mean() for rows, columns in drawn]
        low, high = np.percentile(means, (2.5, 97.5))
        found[part] = (float(gap.mean()), float(low), float(high))
    return found
    # end solution


# %%
method_gap = checks.method_gap(method_gap)

# %%
draws = [np.random.default_rng(0).integers(k, size=(1000, k)) for k in (count, n)]
for part, found in method_gap(credit(sft), credit(grpo), *draws).items():
    print(f"{part}, GRPO minus SFT (points):", told(*found))

# %% [markdown]
# Read *knowledge* first. *Strict* is the whole difference. If the record had one seed only, the interval
# would again be about two models.
#
# <details><summary>What the library does in addition</summary>
#
# If you redraw $n$ seeds, their variance comes out too small by the factor $(n - 1) / n$. So `mean_table`
# moves the seeds apart by this factor before it draws. It also keeps the questions of one image together.
# With two or three seeds, even this interval is too narrow.
#
# </details>
#
# ## 4 Equal labels
#
# In the two styles with a rationale, GRPO still needs only the letter. SFT needs a rationale as well. In this
# record it gets a *true* one, so it has more supervision than GRPO. The bars show each gain over the base by
# its parts. **Predict**: in which style do true rationales help SFT?


# %%
def gap(second, first):
    """The parts of second minus first, by question and by seed."""
    first = dict.fromkeys(second, first[-1]) if -1 in first else first
    shared = [seed for seed in second if seed in first]
    parts = {s: gains.change(first[s], second[s]) for s in shared}
    return pd.concat(parts, names=["model"]).reset_index("model")


def said(second, first, part="knowledge"):
    """One part of second minus first, with its interval and a word."""
    return told(*mean_table(gap(second, first), [part]).iloc[0, 1:])


# %% tags=["hide-input"] mystnb={"image": {"alt": "Six bars, GRPO and SFT in each of three styles: the gain over the base in points, stacked from form, habit and knowledge, negative parts below zero. Black marks show the whole gain with its 95 percent interval over seeds and questions. The next table has the differences."}}
STYLES, COLORS = ("think_before", "no_think", "think_after"), ("C2", "C0", "C1")
kinds = [(method, style) for style in STYLES for method in ("grpo", "sft")]
gained = [
    mean_table(gap(runs(*kind), runs("base", kind[1])), PARTS) for kind in kinds
]
names = [f"{method.upper()}\n{style}" for method, style in kinds]
_, axis = plt.subplots(figsize=(8, 3.4), layout="constrained")
for sign in (1, -1):
    bottom = np.zeros(len(kinds))
    for part, color in zip(("form", "habit", "knowledge"), COLORS, strict=True):
        values = np.array([100 * table.loc[part, "value"] for table in gained])
        height = sign * np.clip(sign * values, 0, None)
        axis.bar(names, height, bottom=bottom, color=color, label=part)
        bottom += height
whole = 100 * pd.DataFrame([table.loc["strict"] for table in gained])
reach = [whole["value"] - whole["low"], whole["high"] - whole["value"]]
axis.errorbar(names, whole["value"], reach, fmt="D", ms=4, c="black", capsize=3)
axis.axhline(0, color="black", linewidth=1)
axis.set_ylabel("gain over the base (points)")
axis.set_xlabel(f"n = {n} questions, seeds: {count}; 95 % intervals")
keys = axis.get_legend_handles_labels()[0][:3]
axis.legend(handles=keys, bbox_to_anchor=(1, 1), loc="upper left", frameon=False)
plt.show()


# %%
pairs = {style: (runs("grpo", style), runs("sft", style)) for style in STYLES}
print("GRPO minus SFT (points); SFT has true rationales in the thinking styles")
table = {s: {p: said(*pair, p) for p in PARTS} for s, pair in pairs.items()}
pd.DataFrame(table).T

# %% [markdown]
# In the record: with true rationales for SFT, GRPO's knowledge minus SFT's is -6.4 [-10.1, -2.9] points in
# `think_before` (behind), -1.2 [-3.6, +1.3] in `no_think` (open) and -0.6 [-3.3, +2.1] in `think_after` (open).
# Does this agree with your prediction?
#
# Now give both sides equal labels in every style. A second record has GRPO, and SFT on *letters alone*, whose
# targets have an empty rationale. It also has rejection sampling and the two rewards of chapter 06 that know
# no answer. Each entry is the knowledge of GRPO minus that of the other arm.

# %%
rows = pd.read_parquet(RECORDED / "learning/answers.parquet")
rows = rows[(rows["base"] == rows["base"].iloc[0]) & (rows["control"] == "none")]
others = {key: by_seed(own) for key, own in rows.groupby(["arm", "style"])}
ARMS = {"base": "base", "format": "format only", "random": "random reward"}
ARMS |= {"sft": "SFT on letters", "rft": "rejection sampling"}
table = {name: {} for arm, name in ARMS.items() if (arm, STYLE) in others}
for (arm, style), found in others.items():
    if arm in ARMS:
        table[ARMS[arm]][style] = said(others["grpo", style], found)
notes = json.loads((RECORDED / "learning/learning.json").read_text())
print(f"{notes['steps']} updates, n = {notes['questions']};", end=" ")
print("seeds of GRPO:", len(others["grpo", STYLE]))
best = {}
for arm in ("grpo", "sft"):
    right = {s: pd.concat(others[arm, s])["corrected"].mean() for s in STYLES}
    best[arm] = max(right, key=right.get)
pair = (others[arm, style] for arm, style in best.items())
print(f"best style of each, {best}: accuracy {said(*pair)}")
pd.DataFrame(table).loc[list(STYLES)]

# %% [markdown]
# Read the columns from left to right. The first three ask whether GRPO has learned anything from the right answers.
# In the column of SFT, both sides have the same labels. In `think_before`, nobody wrote a rationale, and only GRPO can
# use one of the model's own. In the last column, rejection sampling also uses the model's own rationales.
#
# In the record: at equal labels, GRPO's knowledge minus SFT's is +8.0 [+1.2, +16.6] points in `think_before`
# (ahead) and -0.9 [-5.5, +3.6] in `no_think` (open). Over rejection sampling it is +2.4 [-1.0, +6.5] in
# `think_before` (open).
#
# In the record: each in its best style (`think_before` for GRPO, `no_think` for SFT on letters), GRPO's accuracy minus
# SFT's is +1.5 [-2.9, +6.2] points (open).
#
# <details><summary>Why the best styles are the fairer comparison</summary>
#
# If GRPO is ahead in `think_before` alone, the model's own rationale is a possible reason. There is a simpler one. In
# `think_before`, SFT on letters has to learn an empty rationale, and with an empty rationale all recorded models of
# chapter 11 are near chance. Where the lead over rejection sampling is open, nobody has shown that it helps to push wrong
# rollouts down.
#
# </details>
#
# Does the knowledge come from the images? The *visual reliance score*, `VRS`, is the accuracy minus the accuracy with
# another image of the same modality. `IS` is the share of answers that change with that image. Both rise if a model
# learns to use images.
#
# Is it the method that decides this, or the data? On the published splits, options often give the answer away (chapter
# 01). A third record has such a *leak* in 0, 50 or 95 % of the training questions, with the same images. The test has
# none. What was expected was registered before it ran. **Predict** the sign of each change of `IS`.

# %% mystnb={"image": {"alt": "Two panels with the change by training in points against the share of training questions whose options give the answer away, 0, 50 and 95 percent. Left the accuracy of the corrected reader, right IS, the share of answers that change with another image. One line with 95 percent intervals for GRPO and one for SFT on letters. The table below the figure has the same numbers."}}
leak = json.loads((RECORDED / "leak/predictions.json").read_text())
changes = pd.DataFrame(leak["table"]).replace({"corrected": "accuracy"})
ends = 100 * changes[["value", "low", "high"]].to_numpy()
changes["points"] = ["{:+.1f} [{:+.1f}, {:+.1f}]".format(*row) for row in ends]
_, panels = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
under = f"leak in training (%); n = 640, seeds: {changes['models'].max()}"
for axis, measure in zip(panels, ("accuracy", "IS"), strict=True):
    rows = changes[changes["measure"] == measure]
    for (arm, own), marker in zip(rows.groupby("arm"), "os", strict=True):
        value, low, high = 100 * own[["value", "low", "high"]].to_numpy().T
        aside = own["leak"] + (1.5 if marker == "s" else -1.5)
        look = {"marker": marker, "capsize": 3, "label": arm}
        axis.errorbar(aside, value, [value - low, high - value], **look)
    axis.axhline(0, color="black", linewidth=1)
    axis.set(title=measure, xticks=[0, 50, 95], xlabel=under)
panels[0].set_ylabel("change by training\n(points, 95 % intervals)")
axis.legend(bbox_to_anchor=(1, 1), loc="upper left", frameon=False)
plt.show()
table = changes.set_index(["arm", "leak", "measure"])["points"].unstack()
print(table.to_string())
outcomes = pd.DataFrame(leak["outcomes"]).replace(" less ", " minus ", regex=True)
print(outcomes.to_string(index=False))

# %% [markdown]
# In the record: without a leak, GRPO changes `IS` by +7.3 [+2.7, +12.1] points, and with a leak of 95 % by
# +0.8 [-3.4, +5.1]. SFT changes it by +13.2 [+9.0, +17.6] and +3.3 [-1.7, +8.7] (five seeds).
#
# In both methods `IS` rises less with a leak of 95 % than without one. A policy learns what pays, and with such a
# leak the image seldom pays. The paper *Beyond Accuracy* (arXiv 2603.03437) finds that RL lowers the use of images. On
# phantoms, even the largest leak was not shown to lower it. So a leak alone does not explain that finding here. Accuracy on
# the test without a leak shows the harm, accuracy
# on a test with the same leak would hide it. So run `data audit` before you train. (A prediction *held* if its whole
# interval lies in the range that was expected.)
#
# ## 5 Equal time
#
# GRPO samples eight rollouts for each question. SFT samples none, so its steps are faster, and in the same time it
# makes more updates with more labels. In the record of section 4, two more arms had the time of GRPO: SFT on letters,
# and rejection sampling, whose time includes its sampling. **Predict** the sign of each difference. The next cell
# prints the median ratio of a step at both rates, how many updates fitted into that time, and the differences in
# knowledge.

# %%
budget = pd.read_parquet(RECORDED / "budget/answers.parquet")
arms = {name: by_seed(own) for name, own in budget.groupby("variant")}
logs = pd.read_parquet(METHODS / recorded.LOGS).merge(models, on="model")
seconds = logs.query("style == @STYLE").groupby("method")["seconds"].median()
ratio = seconds["grpo"] / seconds["sft"]
print(f"a step of GRPO takes {ratio:.1f} times as long")
table = {}
for arm in ("sft-time", "rft-time"):
    steps = pd.DataFrame(notes["runs"]).query("arm == @arm")
    table[f"{ARMS[arm[:3]]}, updates"] = (
        steps.groupby("style")["steps"].mean().round().astype(int)
    )
    leads = {s: said(others["grpo", s], others[arm, s]) for s in STYLES}
    table[f"GRPO minus {ARMS[arm[:3]]}"] = leads
print(f"{notes['steps']} updates of GRPO, n = {notes['questions']};", end=" ")
print("seeds of each arm:", len(others["sft-time", STYLE]))
pd.DataFrame(table).loc[list(STYLES)]

# %% [markdown]
# In the record: at equal time, GRPO's knowledge minus that of SFT on letters is -15.6 [-21.2, -9.8] points in `think_before`
# (behind), -12.0 [-16.5, -7.8] in `no_think` (behind) and -23.6 [-27.5, -19.8] in `think_after` (behind). Over rejection sampling it is -4.9 [-8.2, -1.6] in `think_before` (behind).
#
# At equal time GRPO falls behind SFT, also in `think_before`, where it leads at equal labels. An update of SFT reads
# as many questions as one of GRPO, so more updates read more labels. Our generator makes as many labelled questions
# as we want, so labels are free here and time is the only limit. With patients, a label costs the time of a doctor.
# Then section 4 asks the fairer question.
#
# Another record has SFT with four times the updates, on four times as many questions, so also with four times the
# labels. Is that more time than GRPO took, or less? The table has the parts of GRPO minus this SFT, in points.

# %%
fast = logs.query("style == @STYLE and rate == @FAST")
spent = fast.groupby("method")["seconds"].sum() / count  # for one model
times = f"GRPO {spent['grpo']:.0f} s, SFT {spent['sft']:.0f} s"
print(f"{updated} updates: {times}; {4 * updated} of SFT: {4 * spent['sft']:.0f} s")
pd.Series({p: said(grpo, arms["4 times the updates"], p) for p in PARTS})

# %% [markdown]
# In the record: 160 s of training for SFT stand against 112 s for GRPO, and GRPO's
# knowledge minus SFT's is -14.4 [-17.9, -10.8] points (behind; five seeds).
#
# Here updates, labels and time all differ at once, so the table cannot say which of them mattered. It does say
# what more training on more labelled questions gives SFT.
#
# ## 6 Equal learning rate
#
# If each method has its own learning rate, you cannot know whether the method or the rate made a difference.
# You need both methods at both rates. **Predict**: does GRPO lead at both rates?

# %%
pairs = {r: (runs("grpo", rate=r), runs("sft", rate=r)) for r in (SLOW, FAST)}
for rate, pair in pairs.items():
    print(f"rate {rate:g}, GRPO minus SFT (points):", said(*pair))
lower, higher = (gap(*pair).set_index(["model", *ITEM]) for pair in pairs.values())
more = mean_table((higher - lower).dropna().reset_index(), ["knowledge"])
print("higher rate minus lower, lead of GRPO (points):", told(*more.iloc[0, 1:]))

# %% [markdown]
# The models were also asked about everyday drawings, the *general domain* in which the base is strong
# (chapter 02). No training was about them, so a change below zero is *forgetting*. **Predict**: at which rate
# does a model forget more, and by which method? (The last line above tests whether the lead of GRPO depends on the rate.)

# %% mystnb={"image": {"alt": "Four points with 95 percent intervals in both directions, GRPO and SFT at two learning rates. To the right the medical knowledge gained over the base in points, upwards the change of accuracy in the general domain in points. Below the horizontal line at zero, a model has forgotten something. The cell before prints the differences in knowledge."}}
general = pd.read_parquet(RECORDED / "forgetting/answers.parquet")
before = general[general["method"] == "base"].set_index("item")["correct"]
general["change"] = general["correct"] - 1.0 * general["item"].map(before)
_, axis = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for method, marker in (("grpo", "o"), ("sft", "s")):
    for rate, color in zip(pairs, ("C0", "C1"), strict=True):
        own = gap(runs(method, rate=rate), runs("base"))
        x = 100 * mean_table(own, ["knowledge"]).to_numpy()[0, 1:]
        rows = general.query("method == @method and rate == @rate")
        y = 100 * mean_table(rows, ["change"]).to_numpy()[0, 1:]
        reach = [[[z[0] - z[1]], [z[2] - z[0]]] for z in (y, x)]
        print(method, rate, "{:+.1f} [{:+.1f}, {:+.1f}]".format(*y))
        label, look = f"{method.upper()}, rate {rate:g}", f"{color}{marker}"
        axis.errorbar(x[0], y[0], *reach, fmt=look, label=label, capsize=3)
axis.axhline(0, color="black", linewidth=1)
axis.set_xlabel(
    f"knowledge gained (points), n = {n}, seeds: {count};\n95 % intervals"
)
again = rows["model"].nunique()
axis.set_ylabel(
    f"general domain, change\n(points), n = {len(before)}, seeds: {again}"
)
axis.legend(bbox_to_anchor=(1, 1), loc="upper left", frameon=False)
plt.show()

# %% [markdown]
# The color is the rate, and the shape is the method. The printed lines have the changes in the general domain. If the interval of a
# change contains zero, no forgetting was shown there. Do all four contain it?
#
# In the record: at the higher rate, the general domain changes by -2.4 [-4.3, -0.8] points with GRPO and by -1.0 [-2.5, +0.4] with SFT.
#
# *RL's razor*, a paper named below, finds that RL forgets less than SFT. These runs do not support it. They do not show
# the opposite either: that needs an interval of the difference.
#
# In the record: GRPO's knowledge minus SFT's is +2.0 [+0.1, +4.1] points at the lower rate (ahead) and
# -1.2 [-3.6, +1.3] at the higher (open). The second minus the first is -3.2 [-6.3, -0.1] points.
#
# If this last interval does not contain zero, the lead depends on the rate. If a paper compares one method at one rate
# with the other method at another rate, a difference of rates can look like a difference of methods. So report all four
# combinations.
#
# ## 7 As published
#
# The published setting differs from ours in many ways. It trains all weights and no adapter. Its learning rate
# is lower and falls along a cosine, after a warm-up. It makes one pass over the questions. Its loss also counts
# the tokens of the prompt. It has 32 times as many questions for each update. And the authors' code (`sft.py`,
# lines 128 and 141, same commit as above) builds its targets from a column `thinking`. The released data have
# no such column, so every target begins with `None`. We vary the last two only, updates and targets, and call
# both together *as published*. The other settings stay ours. First train with these two yourself.

# %%
print(repr(their_target(STYLE, "C", "", None)))
if LIVE:
    few = {"max_steps": 1, "gradient_accumulation_steps": STEPS * PASSES}
    answers["as published"] = tested(trained(f"{RECIPE}-sft", their_target, **few))
    for name, rows in answers.items():
        print(f"{name}: {rows['correct'].mean():.1%}")

# %% [markdown]
# That was one update with all 512 questions. How far is the model from the base? The record makes the two
# changes separately, and both together. The first table has shares of the answers: right, in form, and with the
# most common letter. The second table has GRPO's lead, in knowledge and as a strict reader counts it.

# %% tags=["headline", "nbval-check-output"]
table = budget.groupby("variant")[["correct", "format_ok"]].mean()
letters = budget.groupby("variant")["parsed"].value_counts(normalize=True)
table["commonest letter"] = letters.groupby("variant").max()
print(table.round(3).to_string())
leads = {
    part: [said(grpo, arms[variant], part) for variant in table.index]
    for part in ("knowledge", "strict")
}
print("\nGRPO minus each of them (points)")
print(pd.DataFrame(leads, table.index).to_string())
verdict = said(grpo, arms["as published"], "strict").split()[-1]
print("as published, GRPO is", verdict)

# %% [markdown]
# In the record: against SFT as published, GRPO's knowledge minus SFT's is +5.3 [+2.2, +8.2] points
# (ahead; five seeds). Compare this with *knowledge* in section 3. The method is the same there and here. Only the updates
# and targets of SFT differ.
#
# *Fewer updates* has normal targets, and *targets with None* has normal updates. In *as published* the few updates
# do the harm: the model never learned to write `None`, as `format_ok` shows. With all its updates, *targets with
# None* teaches the model to write `None`, and then its letters are near chance. So before you start a training, print
# one target and count the updates.
#
# ## 8 What do you conclude?
#
# The next cell prints five comparisons, and then your ledger. These are several tests at once. The more
# tests you make, the more of them are "ahead" by luck. Chapter 11 corrects for that.

# %%
FOUND = {
    "equal updates": said(grpo, sft),
    "equal labels, think_before": said(
        others["grpo", "think_before"], others["sft", "think_before"]
    ),
    "equal time, think_before": said(
        others["grpo", "think_before"], others["sft-time", "think_before"]
    ),
    "equal updates, lower rate": said(*pairs[SLOW]),
    "4 times the updates for SFT": said(grpo, arms["4 times the updates"]),
}
print("knowledge, GRPO minus SFT (points)")
print(pd.Series(FOUND).to_string())
ledger.page(10, generalizes=None)  # your new probability in place of None

# %% [markdown]
# The first claim of Med-R1 says that RL *generalizes further*. This chapter asked an earlier question: were
# the two sides trained alike? Chapter 12 tests modalities that were held back.
#
# <details><summary>What a run on Qwen2-VL-2B would have to show</summary>
#
# The recipes `gpu` and `gpu-sft` are matched like ours, and `med-r1-sft` has the published budget. Train each with three seeds or more:
#
# `python -m medr1_lib train grpo --recipe gpu --style think_before --seed 0 --data _output/omni --out _output/grpo-0`
#
# `python -m medr1_lib train sft --recipe gpu-sft --seed 0 --data _output/omni --out _output/sft-0`
#
# Test on questions whose options do not give the answer away (chapter 01). For a claim about methods, the
# interval of *knowledge* over seeds has to exclude zero at equal updates, and again at the other learning
# rate. With $k$ times as many seeds and questions, an interval of width $w$ shrinks to about $w / \sqrt{k}$.
# `pairs_needed` of chapter 13 gives the number of questions for one pair of models.
#
# </details>

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
# <details><summary>A. No. The interval is about these two models; other seeds may reverse the order</summary>
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
# Wrong. The same questions make the comparison of the two models more precise, but they add no seeds.
#
# </details>
#
# ### Question 3
# GRPO leads SFT by 6 points. Its parts are +7 habit, -1 form and 0 knowledge [-2, +2]. What does GRPO give here that SFT does not?
#
# <details><summary>A. Six points of medical knowledge</summary>
#
# Wrong. The part that is knowledge is zero, and its interval is narrow.
#
# </details>
# <details><summary>B. Nothing, because the parts cancel each other</summary>
#
# Wrong. They add up to 6, and accuracy really is 6 points higher on these questions.
#
# </details>
# <details><summary>C. Letters in other shares, which a constant per letter could have given too</summary>
#
# Right. The corrected reader removes the letter habit, and with it the two methods are equal.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - The published comparison gave SFT about one update for every 33 of GRPO, and targets that begin with "None".
# - "Equal" can mean four things: equal updates, labels, time or learning rate. They cannot all be equal at
#   once, so a paper has to say which of them were.
# - In the same time, SFT makes more updates than GRPO, with more labels. The table of section 5 shows who gains more
#   then. Where labels are few, equal labels is the fairer question.
# - Two models can differ clearly although their methods do not. So say whether an interval is about models or
#   about methods.
# - A lead has parts. Only its knowledge is an argument for a method, and only if you also show a format-only
#   reward, a random reward and rejection sampling.
# - GRPO can use a style for which nobody wrote targets. Section 4 shows in which styles it was then ahead of SFT,
#   and how the best styles of the two compare.
# - Whether a model learns to use images depends on what the training questions reward. Where most option texts gave
#   the answer away, neither method was shown to use images more, or to answer better without the leak.
#
# Med-R1's comparison of SFT and RL cannot show which method is better, because the two sides did not get the
# same training. The claim may still be right. Our images are drawings and our model is tiny. A large model
# may gain more from its own rationales.
#
# ## Where to go next
#
# Chapter 11 asks the second question of the
# paper, whether to think before or after the answer. Chapter 12 asks what carries over. To read: Y. Lai et al., *Med-R1* (arXiv
# 2503.13939); T. Chu et al., *SFT memorizes, RL generalizes* (arXiv 2501.17161), which finds RL
# ahead on other tasks; I. Shenfeld et al., *RL's razor: why online reinforcement learning
# forgets less* (arXiv 2509.04259); A. Agresti and Y. Min, *Simple improved confidence intervals for comparing
# matched proportions* (2005).
