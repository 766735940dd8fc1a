# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 6 Train with GRPO
#
# ## What you will do
#
# Put the rewards of chapter 03 and the objective of chapter 05 to work: a small vision-language model
# answers, is paid by rule, and changes. You watch the curves, look into the rollouts, and ask the same
# questions before and after. Then you look for what the training did not do.
#
# ## What you will learn
#
# After this chapter you can
#
# - read a recipe as the TRL configuration and the formula that it becomes,
# - say how many questions, completions and tokens a run costs before you start it,
# - read a noisy curve without being fooled by it,
# - decide with a paired test whether a model became better,
# - find out what a reward did not pay for, and what became of it.
#
# ## What you will need
#
# Chapters 03 (rewards) and 05 (advantages, loss), and an interval from chapter 00. The training runs on
# one CPU core. At the replay tier nothing is trained, and a recorded run takes its place.

# %%
import json
import math
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import seaborn as sns
from IPython.display import Math, display
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers
from medr1_lib.data import phantom_vqa
from medr1_lib.analysis.stats import wilson

tier = tiers.start(6)
sns.set_theme(style="whitegrid", palette="colorblind")
warnings.filterwarnings("ignore", category=FutureWarning)

# %% [markdown]
# Four choices. `STYLE` is the form of the answers: reasoning first, as in chapter 03. `STEPS` is short
# enough to wait for. `TRAINS` is false at the replay tier alone. All files go to a folder that
# disappears with the notebook; a training that you want to keep is started with the command at the end
# of this chapter.

# %%
STYLE, STEPS, PER_CELL = "think_before", 60, 16
TRAINS = tier.name != "replay"
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-06-")
folder = Path(temporary.name)
RECORDED = tiers.material("recorded")

# %% [markdown]
# ## 1 Before
#
# Questions come from chapter 01: 16 for every pair of modality and question type, so 640 to train on and
# 640 others to test with. No image is in both. Training never sees a test question, and the test never
# sees a rollout.


# %%
if TRAINS:
    splits = {
        split: phantom_vqa.questions(split, per_cell=PER_CELL)
        for split in ("train", "test")
    }
    phantom_vqa.write(folder / "phantoms", splits, {"per_cell": PER_CELL})

# %% [markdown]
# The base model was made for this course: it was taught to see, to caption and to answer, but not to
# answer well. The next function has a model answer all test questions greedily, that is, with the
# likeliest token at every place. Its twin reads recorded answers, which were given to 1,280 questions
# of a larger test in the same way.

# %%
from medr1_lib.model.loading import load_policy
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.evaluation.answers import AnswerLog

items = EvalSet(folder / "phantoms") if TRAINS else None


def tested(model, name):
    """One row per test question: what the model said, and whether it is right."""
    policy, processor = load_policy(Path(model), tier.quantize)
    settings = Settings((STYLE,), max_new_tokens=tier.max_new_tokens)
    return evaluate(
        policy, processor, items, AnswerLog(folder / name, {}, {}), settings
    )


def recorded(recipe, style, seed):
    """The same, from a recorded run; the base has the seed -1."""
    table = pd.read_parquet(RECORDED / "learning.parquet")
    wanted = {"recipe": recipe, "style": style, "seed": seed}
    found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    asked = pd.DataFrame(map(vars, phantom_vqa.questions("test")))
    return found.join(asked[["image_id", "question", "answer"]], on="item")


# %% [markdown]
# How good is the base? Two numbers matter. *Accuracy* reads the letter tolerantly, *form* asks whether
# the answer has exactly the form that the prompt shows. Both are given with their 95 % interval.

# %%
before = (
    tested(tier.model_path, "before") if TRAINS else recorded("base", STYLE, -1)
)


def tell(name, answered):
    """Accuracy and form in one line, with intervals."""
    n = len(answered)
    for column, what in (("correct", "right"), ("format_ok", "in form")):
        low, high = wilson(int(answered[column].sum()), n)
        print(f"{name}: {answered[column].mean():.1%} {what}", end=" ")
        print(f"[{low:.1%}, {high:.1%}], n = {n}")


tell("before", before)

# %% [markdown]
# Chance is 25 %. So the base knows something, and, as its captions showed in chapter 02, loses some of it on the way to the letter, in part
# because its form is not yet safe. A model from which sampling never draws a right answer would teach
# itself nothing: reinforcement makes likelier what is said already, at least now and then.
#
# ## 2 The recipe
#
# A training run depends on many numbers. All of them stand in one YAML file, the *recipe*. It holds the
# fields of TRL's `GRPOConfig` under their own names, beside a few of its own such as the style and the
# model. The table lists every field for which TRL by itself would have taken another value.

# %%
from medr1_lib.rl.recipe import load_recipe

recipe = load_recipe(
    "gpu" if tier.name == "gpu" else "course",
    style=STYLE,
    model=str(tier.model_path),
    data=str(folder / "phantoms"),
    max_steps=STEPS,
)
config = recipe.grpo_config(folder / "checkpoints")
fields = type(config).__dataclass_fields__
rows = [(k, value, fields[k].default) for k, value in recipe.config.items()]
table = pd.DataFrame(rows, columns=["field", "this recipe", "TRL's default"])
print(type(config).__name__)
differs = table["this recipe"] != table["TRL's default"]
unset = table.drop(columns="field").isna().all(axis=1)
table[differs & ~unset].set_index("field")

# %% [markdown]
# Three rows change what is computed: `loss_type`, `beta` and `use_bias_correction_kl`. TRL's own values
# give another objective than the one published by Med-R1. Which one is it? The next cell does not quote
# a paper; it reads the configuration and writes down what that computes. Compare with the stages of
# chapter 05.

# %%
from medr1_lib.rl.formula import formula

Math(formula(config))

# %% [markdown]
# In the last line but one stands a remark worth remembering. Rollouts are used for one step and thrown
# away, so the ratio is always 1 and the clip never acts. The learning rate alone decides how far a step
# goes.
#
# ### Exercise 1: what will it cost?
# *easy, 5 minutes*
#
# Before a run, count. A step samples `rollouts` completions in all, `group` to a prompt, of at most
# `longest` tokens each. Return a dictionary with the numbers of `prompts`, `rollouts` and `tokens` of
# the whole run.
#
# <details><summary>Hint</summary>
#
# `//` divides whole numbers. The tokens are a bound: a completion may end sooner.
#
# </details>


# %% tags=["exercise"]
def budget(steps, rollouts, group, longest):
    """What a run asks and writes at most."""
    # solution
    written = steps * rollouts
    return {
        "prompts": written // group,
        "rollouts": written,
        "tokens": written * longest,
    }
    # end solution


# %%
budget = checks.budget(budget)

# %%
rollouts, group = config.generation_batch_size, config.num_generations
costs = budget(STEPS, rollouts, group, config.max_completion_length)
for name, count in costs.items():
    print(f"{STEPS} steps: {count:,} {name}")

# %% [markdown]
# No worked answer is in that list. To teach reasons, supervised fine-tuning would need one for every
# question; here a rule and the right letter are enough. The price is that the model has to write its own training
# data, eight answers for each question.
#
# ## 3 Train
#
# One call. It loads the base, puts a LoRA adapter on the language half (small extra matrices, all that
# is trained; chapter 09 takes them apart), and leaves the vision tower frozen. First it samples some groups without learning anything, the *pre-flight*, and refuses to start
# if no group has rewards that differ. Then it trains. The pale lines are single steps, the strong ones a
# mean of the last ten. While you wait: which of the curves should rise, which should not, and which is
# missing?

# %% mystnb={"image": {"alt": "Four curves over the steps of the run. Reward rises from 1.1 to about 1.5 of 2 points within the first fifteen steps, then hardly. Its two parts rise too: accuracy from about 0.35 to nearly 0.6, format from 0.8 to nearly 1. KL from the base rises from 0 to about 0.05, with spikes. Completion length stays between 12 and 13 tokens."}}
from medr1_lib.course.live import curves, live
from medr1_lib.rl.run import Run
from medr1_lib.rl.train import train

if TRAINS:
    run = train(recipe, folder / "run", callbacks=[live()])
else:
    run = Run.load(RECORDED / "course_run")
    display(curves(run.log))
    plt.close()

# %% [markdown]
# The missing one is the loss. With one step per batch of rollouts its reward part is zero every time, as
# you saw in chapter 05. Only the penalty is left, and it says nothing about progress. The folder of the run keeps all that happened: the
# recipe, a log with one row per step, the rollouts, and the adapter.

# %%
notes = json.loads((run.folder / "recipe.json").read_text())
print("pre-flight:", notes["preflight"]["text"])
print(f"{run.log['completion_length'].mean():.1f} tokens a completion")
kept = run.log[["accuracy", "format", "zero_std_groups"]]
ends = {"first ten steps": kept.head(10).mean(), "last ten": kept.tail(10).mean()}
pd.DataFrame(ends).round(2)

# %% [markdown]
# `zero_std_groups` is the share of groups whose eight rewards are equal. These groups cost as much as any
# other and move nothing. As the model improves it grows, since more and more questions are answered right
# eight times of eight. A training slows itself down as it succeeds.
#
# ### Exercise 2: a running mean
# *medium, 10 minutes*
#
# Each step asks other questions, so the curve jumps with their difficulty. Return, for each value, the
# mean of it and of those before it, `width` values in all, or as many as there are. Only look back:
# a curve must not change when the run goes on.
#
# <details><summary>Hint</summary>
#
# `values[max(0, end - width) : end]` is the window that ends before position `end`. Divide by the number
# of values in the window.
#
# </details>


# %% tags=["exercise"]
def running_mean(values, width):
    """The mean of each value and of those before it, `width` in all."""
    # solution
    windows = [
        values[max(0, end - width) : end] for end in range(1, len(values) + 1)
    ]
    return [sum(window) / len(window) for window in windows]
    # end solution


# %%
running_mean = checks.running_mean(running_mean)

# %% mystnb={"image": {"alt": "Accuracy reward against steps in three versions. Single steps jump by up to 0.3 from one to the next. The running mean of 10 steps rises to about 0.6 by step 30 and wavers there. The running mean of 30 steps rises smoothly and lags behind."}}
accuracy = run.log["accuracy"].tolist()
_, axis = plt.subplots(figsize=(6, 3))
for width, style in ((1, ":"), (10, "-"), (30, "--")):
    axis.plot(run.log["step"], running_mean(accuracy, width), style, label=width)
axis.set(xlabel="step", ylabel="accuracy reward (64 rollouts)", ylim=(0, 1))
_ = axis.legend(title="steps in the mean", loc="lower right", ncol=3)

# %% [markdown]
# Sixty-four rollouts sound like many, but they answer only eight questions. A single step says little,
# and who stops a run at its best step has selected luck. Ten steps are 80 questions and show the trend;
# thirty show it more smoothly and too late. None of it is a test: these are questions that the model is
# being trained on, and answers drawn at random.
#
# ## 4 Look into a group
#
# Curves are averages. What does the model really say? Below are the rollouts of two prompts of a step: pick a
# step and a prompt. Every completion stands beside its points for form and answer and beside its
# advantage, by which its tokens became likelier or rarer.

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import RolloutExplorer
from medr1_lib.data.phantoms import draw

rollouts = run.rollouts.groupby("step").head(2 * group)
asked = {q.image_id: q for q in phantom_vqa.questions("train", per_cell=256)}
pictures = {name: draw(asked[name].scene) for name in rollouts["image_id"].unique()}
RolloutExplorer(rollouts, pictures)

# %% [markdown]
# Some things to look for. In the first steps, find a completion without an answer: the form is what
# training repairs first. Find a group of eight equal rewards, in which nobody learns. And read the
# reasons beside the right letters. The rules of chapter 03 read form and letter only, so a completion that
# names the wrong part of the body and the right letter is pushed up like an honest one.
#
# ## 5 After, on the same questions
#
# The test questions again, now with the adapter.

# %%
after = tested(run.adapter, "after") if TRAINS else recorded("course", STYLE, 0)
tell("before", before)
tell("after", after)

# %% [markdown]
# Both accuracies lie above what the curve of the accuracy reward shows. Rollouts are drawn at random, so
# that a group has something to compare; the test takes the likeliest token at every place.
#
# The intervals do not overlap, and one could stop here. But two intervals waste what we know: both
# models answered the *same* questions. Most of them say nothing about the difference, because both models
# got them right, or both wrong. The table pairs the answers.

# %%
pairs = before.merge(after, on="item", suffixes=(" before", " after"))
right = pairs[["correct before", "correct after"]].replace(
    {True: "right", False: "wrong"}
)
pd.crosstab(right["correct before"], right["correct after"])

# %% [markdown]
# ### Exercise 3: McNemar's test
# *medium, 15 minutes*
#
# Two of the four cells matter: `lost`, right before and wrong after, and `won`, the other way round. If
# training had helped as often as it harmed, each of these questions would have been lost or won like the toss
# of a coin. So how likely are counts at least as uneven as ours?
#
# $$ p = \min\left(1,\ 2 \sum_{k=0}^{\min(l, w)} \binom{l + w}{k} \frac{1}{2^{l + w}}\right) $$
#
# Return $p$ for `lost` $l$ and `won` $w$. The 2 is there since an uneven result in the other direction
# would have surprised us as much.
#
# <details><summary>Hint</summary>
#
# `math.comb(n, k)` counts the ways to get `k` heads in `n` tosses. Python's whole numbers have no limit,
# so sum first and divide at the end.
#
# </details>


# %% tags=["exercise"]
def mcnemar_p(lost, won):
    """Exact two-sided p-value of McNemar's test."""
    # solution
    tossed = lost + won
    tail = sum(math.comb(tossed, heads) for heads in range(min(lost, won) + 1))
    return min(1.0, 2 * tail / 2**tossed)
    # end solution


# %%
mcnemar_p = checks.mcnemar_p(mcnemar_p)

# %% [markdown]
# The library's `compare` does the pairing, adds an interval for the difference, and refuses two tables
# that are not about the same questions. Your p-value should be its own. A small one says that the model
# changed; the difference says by how much.

# %%
from medr1_lib.analysis.stats import compare

paired = compare(before, after)
low, high = paired.interval
print(f"{100 * paired.difference:+.1f} points", end=" ")
print(f"[{100 * low:+.1f}, {100 * high:+.1f}], n = {paired.n}")
p = mcnemar_p(paired.first, paired.second)
print(f"lost {paired.first}, won {paired.second}, p = {p:.0e}")

# %% tags=["headline", "nbval-check-output"]
print("gain over 10 points:", "yes" if 100 * paired.difference > 10 else "no")
print("McNemar p below 0.01:", "yes" if p < 0.01 else "no")
print("form above 95 %:", "yes" if after["format_ok"].mean() > 0.95 else "no")

# %% [markdown]
# Where does the gain come from? The figure splits it by type of question. The intervals are wider now,
# because each bar has a fifth of the questions, and a comparison of two types is no longer paired.

# %% mystnb={"image": {"alt": "Accuracy before and after training for five question types, with 95 percent intervals and the number of questions. After training it is higher for every type. Other biological attributes gain most, from just below 50 to about 90 percent; lesion grading least, from about 50 to just below 60, where the intervals overlap."}}
both = pd.concat([before.assign(model="before"), after.assign(model="after")])
cells = both.groupby(["question_type", "model"])["correct"].agg(["sum", "count"])
ends = pd.DataFrame([wilson(*cell) for cell in cells.to_numpy()], cells.index)
shares = cells["sum"] / cells["count"]
_, axis = plt.subplots(figsize=(7, 3))
for model, marker, shift in (("before", "o", -0.1), ("after", "s", 0.1)):
    own, (low, high) = (
        shares.xs(model, level=1),
        ends.xs(model, level=1).T.to_numpy(),
    )
    reach = [100 * abs(own - low), 100 * abs(high - own)]
    places = [place + shift for place in range(len(own))]
    axis.errorbar(100 * own, places, xerr=reach, fmt=marker, label=model)
counts = cells["count"].xs("after", level=1)
axis.set_yticks(range(len(own)), [f"{t} (n = {counts[t]})" for t in own.index])
axis.axvline(25, color="black", linestyle=":", linewidth=1)
axis.set(xlabel="accuracy (%), 95 % interval; dotted: chance", xlim=(0, 100))
_ = axis.legend(loc="lower left")

# %% [markdown]
# ## 6 Three styles, three seeds
#
# One run is an anecdote with an interval: the interval knows about the questions and nothing about the
# luck of the run. So here are nine recorded runs of 150 steps, three in each style, all on the same
# 1,280 questions, made by `benchmarks/study/learning.py` with the recipe above. Expect the base a few points lower
# than in section 1: half of these questions are in a second wording, which it answers less well in this style.
# Training removes most of that difference, so it is a part of the gain.
#
# The column *gap closed* needs a word. How much does the base see, apart from its letters? Ask it for a *caption* of each
# test image, and look whether it names the right option. This share is called the **caption oracle**: it
# says what the model sees, apart from whether it finds the letter. It is a yardstick, and no upper limit.
#
# ### Exercise 4: how much of the gap?
# *easy, 5 minutes*
#
# Return which share of the way from the accuracy `before` to the `oracle` has been made by `after`.
#
# <details><summary>Hint</summary>
#
# A difference divided by a difference. Nothing is cut off at 0 or 1.
#
# </details>


# %% tags=["exercise"]
def gap_closed(before, after, oracle):
    """Share of the way from one accuracy to that of the caption oracle."""
    # solution
    return (after - before) / (oracle - before)
    # end solution


# %%
gap_closed = checks.gap_closed(gap_closed)

# %% mystnb={"image": {"alt": "Accuracy before and after 150 steps for three styles. Each style has an open circle for the base with its interval and three dots for the seeds. Think before: from 48 to between 71 and 75 percent, just below the dashed line of the caption oracle at 76. No think: from 39 to between 58 and 65. Think after: from 38 to between 57 and 65, both well below the line."}}
learning = json.loads((RECORDED / "learning.json").read_text())
captions = json.loads((RECORDED / "learning_captions.json").read_text())
oracle = captions["base"]["accuracy"]
runs = pd.DataFrame(learning["runs"])
runs["before"] = [learning["base"][style]["accuracy"] for style in runs["style"]]
ways = runs[["before", "accuracy"]].to_numpy()
runs["gap closed"] = [gap_closed(*way, oracle) for way in ways]
shown = ["before", "accuracy", "format_rate", "gap closed", "minutes"]
print(f"caption oracle {oracle:.3f}; {learning['hardware']}")
display(runs.set_index(["style", "seed"])[shown].round(2))
_, axis = plt.subplots(figsize=(6, 3))
styles = list(learning["base"])
for place, style in enumerate(styles):
    base, own = learning["base"][style], runs[runs["style"] == style]
    start = 100 * base["accuracy"]
    reach = [[abs(start - 100 * end)] for end in base["interval"]]
    axis.errorbar(place - 0.1, start, reach, fmt="o", mfc="white", c="C0")
    places = [place + 0.1] * len(own)
    axis.plot(places, 100 * own["accuracy"], "s", c="C1", alpha=0.7)
axis.axhline(100 * oracle, color="black", linestyle="--", linewidth=1)
axis.text(2.45, 100 * oracle + 1, "caption oracle", ha="right")
axis.set_xticks(range(3), styles)
axis.set(ylabel=f"accuracy (%), n = {base['n']}", ylim=(25, 100), xlim=(-0.5, 2.5))
_ = axis.set_title("circle: base, 95 % interval; squares: three seeds")

# %% [markdown]
# Two things stand out. Each seed ends far above the base, so the gain is not one lucky run; but the seeds of
# a style lie several points apart, so one run would be a poor estimate of its size. And reasoning first
# ends highest, close to the oracle, while the two other styles stay well below it: there is more in the
# picture than they turn into letters. Do not read this as a law about reasoning: the base answered better
# in this style from the start. Chapter 11 compares the styles with care.

# %% tags=["headline", "nbval-check-output"]
p = runs["paired"].map(lambda pair: mcnemar_p(pair["first"], pair["second"]))
enough = (runs["gap closed"] > 0.5) & (p < 0.01)
gained = 100 * (runs["accuracy"] - runs["before"])
print(f"{len(runs)} recorded runs of {runs['steps'].min()} steps")
print("over half of the gap closed, p below 0.01:", enough.sum(), "runs")
print(f"gains from {gained.min():.1f} to {gained.max():.1f} points")

# %% [markdown]
# ## 7 What nobody paid for
#
# A success on every count. Now look for what the reward did not ask for. First the reasons. Every
# rollout begins with what the model believes to see, and the phantom knows better. The next cell takes
# the rollouts that earned both points and counts those whose reasons do not name both the modality
# and the part of the body that the picture shows, early and late in the run.

# %%
import re

paid = rollouts[rollouts["format_reward"] + rollouts["accuracy_reward"] == 2]


def mistaken(rollout):
    """Whether the reasons lack the true modality or the true part of the body."""
    scene = asked[rollout.image_id].scene
    said = re.split(r"[<>:,] ?", rollout.completion)
    return not {scene.modality, scene.anatomy} <= set(said)


third = STEPS / 3 if TRAINS else len(run.log) / 3
for when, rows in {
    "first": paid[paid["step"] <= third],
    "last": paid[paid["step"] > 2 * third],
}.items():
    false = sum(mistaken(row) for row in rows.itertuples())
    low, high = wilson(false, len(rows))
    print(f"{when} third: {false} of {len(rows)} paid in full without these two")
    print(f"  {false / len(rows):.0%} [{low:.0%}, {high:.0%}]")

# %% [markdown]
# Full marks, and the wrong modality or part of the body, or none named at all. The rule cannot see it, so
# the advantage pushes these words up together with the right letter. While accuracy rises, one might hope
# that this share falls. It does not, not clearly: nothing in the reward asks for it, and the curves of
# section 3 look the same either way. Chapter 11 scores every claim.
#
# The second failure is one that no curve of the run shows, because it happens outside of it. Nobody was
# paid for captions. What became of them? The base and the nine trained models captioned the same 1,280
# images again, in `benchmarks/study/captions.py`, and each caption counts if it names the right option of the
# question about its image.

# %% mystnb={"image": {"alt": "Change in points of the share of captions that name the right option, after training in three styles, three seeds each, with 95 percent intervals. Think before: three seeds between plus 2 and plus 4, intervals above zero. No think: minus 8 to minus 20, intervals far below zero. Think after: plus 1, minus 2 and minus 2; only the last interval is clear of zero."}}
_, axis = plt.subplots(figsize=(6, 3))
for one in captions["runs"]:
    pair, place = (
        one["paired"],
        styles.index(one["style"]) + 0.15 * (one["seed"] - 1),
    )
    reach = [[100 * abs(pair["difference"] - end)] for end in pair["interval"]]
    axis.errorbar(place, 100 * pair["difference"], yerr=reach, fmt="s", c="C1")
axis.axhline(0, color="black", linewidth=1)
axis.set_xticks(range(3), styles)
what = f"captions with the right option,\nchange in points (n = {base['n']})"
axis.set(ylabel=what, title="squares: three seeds, 95 % interval of the change")
plt.show()

# %% [markdown]
# Trained in `no_think`, the model describes its images *worse* than before, in every seed, while its
# accuracy rises by 19 points or more. In `think_after`, which does describe, little is lost: one of three
# seeds is clearly worse. The KL penalty did not prevent it: it holds the policy near the base on the texts
# that are sampled in training, and captions are none of them. Trained to reason first, the model describes
# its images better. A likely cause is that there the letter follows from words
# about the picture, so that a right letter pays for right words too. Likely is all we can say: the runs
# show the difference and not its cause.
#
# So before you call a training a success, test what you did not train. A skill that nothing pays for and
# nothing measures can go quietly.

# %% tags=["nbval-check-output"]
changes = pd.DataFrame(
    {
        "style": [one["style"] for one in captions["runs"]],
        "worse": [one["paired"]["interval"][1] < 0 for one in captions["runs"]],
        "better": [one["paired"]["interval"][0] > 0 for one in captions["runs"]],
    }
)
print(changes.groupby("style", sort=False).sum().to_string())

# %% [markdown]
# ## What you saw
#
# - A recipe is a `GRPOConfig`, and what that computes can be written down as one formula. TRL's defaults
#   would have computed another.
# - On one CPU core a small model became better at questions that it had never seen, by a margin that a
#   paired test puts far outside luck, and in three styles and three seeds.
# - A single step of the curve says little. A group whose rewards are equal says nothing.
# - The training improved what the reward reads. False reasons with a right letter were paid in full, and
#   captions became much worse in the style that gives the letter alone.
#
# ## Where to go next
#
# Change one thing in section 2, for example `beta=0.0`, `learning_rate=4e-3` or `style="no_think"`, and
# run the chapter again: write down beforehand what you expect. A training that is kept, resumed after an
# interruption, or run overnight is one command:
#
# `python -m medr1_lib train grpo --recipe course --data _output/phantoms --out _output/run`
#
# Chapter 07 shows curves that went wrong, each for a reason that you can learn to see. Chapter 09 trains
# the same way with the base in four bits, and tells what Qwen2-VL-2B needs. To read: Y. Lai et al.,
# *Med-R1* (arXiv 2503.13939), and for the question what such training can and cannot add to a model,
# Y. Yue et al., *Does reinforcement learning really incentivize reasoning capacity in LLMs beyond the base
# model?* (arXiv 2504.13837).
