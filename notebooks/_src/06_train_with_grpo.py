# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 6 Train with GRPO
#
# ## What you will do
#
# You will train a vision-language model with the objective that you wrote in chapter 05, and watch it learn.
# Then you ask the same test questions before and after, and split the gain: how much of it is new knowledge,
# how much is a lost letter habit, and how much is form? At the end you compare GRPO with rewards that know no
# answer, and with imitation.
#
# ## What you will learn
#
# After this chapter you can
#
# - read a recipe as the TRL configuration and the formula that it becomes,
# - say what the learning rate does in Adam, and what carries over to a large model,
# - read a noisy curve without being fooled by it,
# - decide with a paired test whether a model became better,
# - split a gain into form, letter habit and knowledge,
# - name the controls without which a gain by reinforcement means little.
#
# ## What you will need
#
# Chapters 03 (rewards), 04 (baseline, spread, habit) and 05 (the objective). The training runs on one CPU core. At the replay
# tier nothing is trained, and recorded runs take its place.

# %%
import json
import math
import re
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import seaborn as sns
from IPython.display import Math, display
from matplotlib import pyplot as plt

from medr1_lib.analysis import gains
from medr1_lib.analysis.stats import compare, mean_table, wilson
from medr1_lib.course import checks, ledger, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data import phantom_vqa
from medr1_lib.data.phantoms import draw
from medr1_lib.model.loading import load_policy

tier = tiers.start(6)
sns.set_theme(style="whitegrid", palette="colorblind")
warnings.filterwarnings("ignore", category=FutureWarning)

# %% [markdown]
# Two settings come first. `STYLE` is the form of the completions: the rationale comes first. `STEPS` is small
# enough to wait for. All files go to a temporary folder. The end of this chapter shows the command for a
# training that you want to keep.

# %%
STYLE, STEPS, TRAINS = "think_before", 75, tier.name != "replay"
RECORDED = tiers.material("recorded")
LEARNING = RECORDED / "learning"  # of `python -m benchmarks.study.learning`
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-06-")
folder = Path(temporary.name)

# %% [markdown]
# ## 1 Before
#
# The next cell holds helpers. It draws 1,200 questions for training and 640 others for the test. No image is
# in both. `tested` lets a model answer all test questions greedily, that is, with the most probable token at
# every place. `recorded` reads recorded answers that were given in the same way. `tell` prints accuracy and
# form with 95 % intervals.

# %% tags=["hide-input"]
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet

if TRAINS:
    counts = {"train": 30, "test": 16}  # for each modality and question type
    ask = phantom_vqa.questions
    splits = {name: ask(name, per_cell=count) for name, count in counts.items()}
    phantom_vqa.write(folder / "phantoms", splits, {"per_cell": counts})
    items = EvalSet(folder / "phantoms")


def tested(model):
    """One row per test question: what the model said, and whether it is right."""
    policy, processor = load_policy(Path(model), tier.quantize)
    settings = Settings((STYLE,), max_new_tokens=tier.max_new_tokens)
    log = AnswerLog(Path(tempfile.mkdtemp(dir=folder)), {}, {})
    return evaluate(policy, processor, items, log, settings)


def recorded(arm):
    """The same for a recorded model, of the first of its bases and seeds."""
    table = pd.read_parquet(LEARNING / "answers.parquet")
    table = table[table["base"] == table["base"].iloc[0]]
    wanted = {"arm": arm, "style": STYLE, "control": "none"}
    wanted["seed"] = -1 if arm == "base" else 0
    return table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def tell(name, answered):
    """Accuracy and form in one line, with 95 % intervals."""
    for column, what in (("correct", "right"), ("format_ok", "in form")):
        low, high = wilson(int(answered[column].sum()), len(answered))
        print(f"{name}: {answered[column].mean():.1%} {what}", end=" ")
        print(f"[{low:.1%}, {high:.1%}], n = {len(answered)}")


# %%
before = tested(tier.model_path) if TRAINS else recorded("base")
tell("before", before)

# %% [markdown]
# `right` is the tolerant reading of chapter 02, and chance is 25 %. If the whole interval is above chance,
# the base knows something. `in form` counts the completions that have exactly the form that the prompt shows.
# If the base keeps the form already, training cannot gain anything there.
#
# ## 2 The recipe
#
# A training depends on many settings. All of them stand in one YAML file, the *recipe*. It holds the fields
# of TRL's `GRPOConfig` under their own names, and a few of our own such as the style and the model. The table
# shows every field that differs from the default of its class; `None` there means that TRL decides when it
# starts.

# %%
from medr1_lib.rl.recipe import load_recipe

NAME = "gpu" if tier.name == "gpu" else "course"
paths = {"model": str(tier.model_path), "data": str(folder / "phantoms")}
recipe = load_recipe(NAME, **paths, style=STYLE, max_steps=STEPS)
config = recipe.trl_config(folder / "checkpoints")

# %%
from medr1_lib.rl.formula import formula

usual = {k: f.default for k, f in type(config).__dataclass_fields__.items()}
rows = [(k, v, usual[k]) for k, v in recipe.config.items() if v != usual[k]]
display(pd.DataFrame(rows, columns=["field", "this recipe", "TRL's default"]))
Math(formula(config))

# %% [markdown]
# Three rows change the *objective*: `loss_type`, `beta` and `use_bias_correction_kl`. The formula below the
# table is computed from this configuration. Compare it with equations (4) to (6) of chapter 05. Each batch of rollouts is used for
# one update, so the ratio is 1 and the clip never acts.
#
# One step has 16 prompts with eight rollouts each.
#
# Now compare the **learning rate** with TRL's default: it is far higher. To see why, look at what Adam does
# with the rate. Adam divides the moving average of the gradient by the root of the moving average of its
# square:
#
# $$ m \leftarrow 0.9\, m + 0.1\, g, \quad v \leftarrow 0.999\, v + 0.001\, g^2, \quad
# w \leftarrow w - \eta\, \frac{m / (1 - 0.9^t)}{\sqrt{v / (1 - 0.999^t)} + 10^{-8}} . $$
#
# ### Exercise 1: how far does a step go?
# *medium, 15 minutes*
#
# Return the weight after step $t$ (`step`, beginning at 1), and the new averages $m$ (`mean`) and $v$
# (`square`), not yet divided. **Before you run the next cell, predict**: a gradient of 1, of 0.001 and of 0.000001, the same
# in every step. Which of the three weights moves furthest in 100 steps, and how far does it move?
#
# <details><summary>Hint</summary>
#
# Update both averages first, and then use the new ones. `0.9**step` is a power.
#
# </details>


# %% tags=["exercise"]
def adam_step(weight, gradient, mean, square, step, rate):
    """One weight after a step of Adam, and both moving averages."""
    # solution
    mean = 0.9 * mean + 0.1 * gradient
    square = 0.999 * square + 0.001 * gradient**2
    size = (square / (1 - 0.999**step)) ** 0.5 + 1e-8
    return weight - rate * mean / (1 - 0.9**step) / size, mean, square
    # end solution


# %%
adam_step = checks.adam_step(adam_step)

# %% tags=["nbval-check-output"]
for rate in (1e-3, 1e-6):
    for gradient in (1.0, 1e-3, 1e-6):
        state = (0.0, 0.0, 0.0)
        for step in range(1, 101):
            state = adam_step(state[0], gradient, *state[1:], step, rate)
        print(f"rate {rate}, gradient {gradient}: moved {abs(state[0]):.6f}")

# %% [markdown]
# The size of the gradient hardly matters. A weight whose gradient keeps its sign moves by the learning rate in every step; if the sign changes at
# random, it moves less. So the rate times the number of steps limits how far a training gets.
#
# An adapter has to move far. Its second matrix begins at zero (chapter 09). At $10^{-6}$ a run of 100 steps
# could not bring any entry beyond 0.0001, and the policy would stay the base. TRL's default is meant for
# training *all* weights of a large model for thousands of steps. There, published runs use rates between
# $10^{-6}$ and $10^{-5}$. Adapters take about ten times as much. Our model is tiny and the run is short, so
# its recipe takes $10^{-3}$.
#
# The rate falls in a straight line to zero (`lr_scheduler_type`). Early steps move the policy to where it
# should be. At a high rate, late steps would only follow the noise of single groups. A small rate averages
# over many groups.
#
# Which settings carry over to a model of two billion weights? These do: the objective, groups of eight or
# more, several prompts per step, and watching the KL. These do not: the rate, the number of steps, and the
# limit of tokens.
#
# ## 3 Train
#
# One call trains the model. It loads the base, adds an adapter to the language model, and leaves the vision
# tower frozen. First it samples some groups without learning. This check is the *pre-flight*: it refuses to
# start if no group has spread. In the figure, pale lines are single steps, and strong lines are the mean of
# the last ten, drawn from step 10 on. While you wait: which curves should rise, which should not, and what is missing?

# %% mystnb={"image": {"alt": "Seven panels over the steps of the run, pale for single steps and strong for the running mean: reward, its two parts accuracy and format, groups without spread, KL from the base, completion length in tokens, entropy, and gradient norm."}}
from medr1_lib.analysis.plots import curves
from medr1_lib.course.live import live
from medr1_lib.rl.run import Run
from medr1_lib.rl.train import Progress, train

if TRAINS:
    out = Path(tempfile.mkdtemp(dir=folder))  # a new one each time the cell runs
    run = train(recipe, out, callbacks=[live()])
else:
    run = Run.load(RECORDED / "course_run")
    display(curves(run.log))
    plt.close()

# %% [markdown]
# Reward and KL should rise; form has no room. The loss is missing, since its reward part is zero in every step
# (chapter 05). More groups should lack spread: a policy that is sure repeats its letter.
#
# Every step asks other questions. So the curve jumps, and the best single step is luck. The running mean is no test either: its questions are those of training, and
# completions are drawn at random.
#
# The pre-flight sampled 16 groups only, those of step 1. So few groups tell little about accuracy.

# %%
notes = json.loads((run.folder / "recipe.json").read_text())
print("pre-flight:", notes["preflight"]["text"])
rollouts = run.rollouts
rollouts["points"] = rollouts["format_reward"] + rollouts["accuracy_reward"]


def thirds(table):
    """Which third of the run each row belongs to."""
    length = run.log["step"].max() / 3
    return (1 + (table["step"] - 1) // length).astype(int).rename("third")


rollouts["third"] = thirds(rollouts)

# %% [markdown]
# Groups with spread are *mixed*. A group whose rollouts are all right is *solved*. If all are equally wrong, it is
# *stuck*: the reward teaches nothing about this question any more. The log counts the mixed groups of all prompts. A live
# run keeps the rollouts of all groups, a recorded run only a few (column `groups`). Does *mixed* fall? Are most of the
# others solved?

# %%
points = rollouts.groupby(["third", "step", "image_id"])["points"]
solved = points.min()[points.min() == points.max()] == 2
kinds = {"mixed": 1 - run.log.groupby(thirds(run.log))["zero_std_groups"].mean()}
kinds["solved, of those without spread"] = solved.groupby("third").mean()
table = pd.DataFrame(kinds).map("{:.0%}".format)
table.assign(groups=solved.groupby("third").size())

# %% [markdown]
# ## 4 Look into a group
#
# Curves are averages. Now read what the model writes. Choose a step and a prompt. Each completion stands
# beside its points and its advantage. Look for three things: a group without spread, a group in which only
# one rollout is right, and a completion with the right letter and a wrong rationale. The rules read form and
# letter only, so this completion is pushed up as much as one with a true rationale.

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import RolloutExplorer

some = rollouts.groupby("step").head(2 * config.num_generations)
asked = {q.image_id: q for q in phantom_vqa.questions("train", per_cell=256)}
pictures = {name: draw(asked[name].scene) for name in some["image_id"].unique()}
RolloutExplorer(some, pictures)

# %% [markdown]
# How many rollouts with the full reward do not name both the true modality and the true part of the body? The
# interval is over *groups*, because the eight rollouts of a group share an image and often make the same
# mistake.


# %%
def mistaken(rollout):
    """Whether the rationale lacks the true modality or the true part of the body."""
    scene = asked[rollout.image_id].scene
    said = re.split(r"[<>:,] ?", rollout.completion)
    return not {scene.modality, scene.anatomy} <= set(said)


paid = rollouts[(rollouts["points"] == 2) & rollouts["image_id"].isin(asked)]
paid = paid.assign(mistaken=[float(mistaken(row)) for row in paid.itertuples()])
for when, rows in paid.groupby("third"):
    value, low, high = mean_table(rows, ["mistaken"]).iloc[0, 1:]
    print(f"third {when}: {value:.0%} [{low:.0%}, {high:.0%}] of {len(rows)}")
if paid.empty:
    print("no rollout has full marks")

# %% [markdown]
# So many rollouts earned the full reward with a rationale that is wrong or incomplete. **In the record** and in the run of
# the stored page, it is more than half of them, and the intervals of the first and the last third overlap. So neither run
# shows that rationales became better or worse. The reward does not ask for true rationales. Chapter 11 scores every claim in them.
#
# ## 5 After, on the same questions
#
# Both models answered the *same* questions. On most questions both models were right, or both were wrong.
# Such questions say nothing about the difference. Two kinds of questions count: those that were `lost`, right
# before and wrong after, and those that were `won`.
#
# ### Exercise 2: McNemar's test
# *medium, 15 minutes*
#
# Suppose that training helps as often as it harms. Then each of these questions is lost or won like the toss
# of a coin. How likely are counts that are at least as uneven as ours?
#
# $$ p = \min\left(1,\ 2 \sum_{k=0}^{\min(l, w)} \binom{l + w}{k} \frac{1}{2^{l + w}}\right) $$
#
# Return $p$ for `lost` $l$ and `won` $w$. The factor 2 is there because the test is two-sided: an uneven
# result in the other direction counts as well.
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

# %%
after = tested(run.adapter) if TRAINS else recorded("grpo")
tell("before", before)
tell("after", after)

# %% tags=["headline"]
paired = compare(before, after)
gain, low, high = (100 * x for x in (paired.difference, *paired.interval))
p = mcnemar_p(paired.first, paired.second)
print(f"{gain:+.1f} points [{low:+.1f}, {high:+.1f}]", end=", ")
print(f"lost {paired.first}, won {paired.second}, p = {p:.0e}")

# %% tags=["nbval-check-output"]
print("more won than lost:", "yes" if paired.second > paired.first else "no")
print("McNemar p below 0.01:", "yes" if p < 0.01 else "no")

# %% [markdown]
# **In the record** both lines say yes: the model became better on questions that it never saw in training. Many papers stop
# here, with a sentence such as "GRPO improves medical reasoning". But this does not follow. Three very
# different things can raise the accuracy.
#
# ## 6 Where did the gain come from?
#
# - **Form.** A completion without the right tags counts as wrong, even if the model knows the letter.
#   Learning the tags raises accuracy and teaches no medicine.
# - **Letter habit.** A model that likes to say B loses the questions whose answer is not B. Losing the habit raises accuracy without
#   any new knowledge; you saw that in the last section of chapter 04.
# - **Knowledge.** This is the rest: the model finds the right letter more often, by image and question.
#
# Three readers of the same completion separate these parts. *Strict* reads the letter as it was written, and
# only in the form asked for. *Forced* gives the model the form (after its own rationale) and takes the most
# probable letter. So form cannot matter. *Corrected* also multiplies the letter probabilities by one constant
# per letter, so that the letters come equally often on other questions (chapter 02). So the habit cannot
# matter either.

# %% mystnb={"image": {"alt": "Three boxes in a row: strict reading, forced letter, corrected letter. From strict to forced the form no longer counts, from forced to corrected the letter habit no longer counts. Below each step stands the part of a gain that it isolates: form, habit; and below corrected, knowledge."}}
sketch(
    {
        "strict": (0, 0, "strict\nas written"),
        "forced": (1.6, 0, "forced\nform is given"),
        "corrected": (3.2, 0, "corrected\nletters equally often"),
        "form": (0.8, -0.8, "FORM\nstrict minus forced"),
        "habit": (2.4, -0.8, "HABIT\nforced minus corrected"),
        "knowledge": (4.2, -0.8, "KNOWLEDGE\ncorrected"),
    },
    [
        ("strict", "forced", ""),
        ("forced", "corrected", ""),
        ("strict", "form", ""),
        ("forced", "form", ""),
        ("forced", "habit", ""),
        ("corrected", "habit", ""),
        ("corrected", "knowledge", ""),
    ],
    tints={"form": "orange", "habit": "blue", "knowledge": "green"},
)
plt.show()

# %% [markdown]
# The first table has the accuracy by each reader. Look at the row `before`. The difference between `strict`
# and `forced` is all that form can still gain. The difference between `forced` and `corrected` is what the
# habit costs. The second table has the share of each letter among the answers. Without a habit, each share is
# near 25 %.

# %%
read = {"before": gains.read_all(before), "after": gains.read_all(after)}
means = {name: one[[*gains.READERS]].mean() for name, one in read.items()}
letters = {name: gains.letter_habit(one)["share"] for name, one in read.items()}
display(pd.DataFrame(means).T.map("{:.1%}".format))
display(pd.DataFrame(letters).T.map("{:.0%}".format))

# %% [markdown]
# ### Exercise 3: the parts of a gain
# *hard, 60 minutes*
#
# The function takes ten minutes. The rest of the hour is for section 8, where you change the recipe, predict the parts, and explain what came out.
#
# `before` and `after` map the names of the readers to accuracies. Knowledge is the change of `corrected`. Habit is the change of `forced` minus
# the change of `corrected`. Form is the change of `strict` minus the change of `forced`. Return a dictionary with `knowledge`, `habit`, `form` and
# `strict`; the first three add up to the last.
#
# <details><summary>Hint</summary>
#
# First compute the change of every reader, for example `{reader: after[reader] - before[reader] for reader in before}`.
#
# </details>


# %% tags=["exercise"]
def gain_parts(before, after):
    """The gain of the strict reading and its three parts."""
    # solution
    moved = {reader: after[reader] - before[reader] for reader in before}
    return {
        "knowledge": moved["corrected"],
        "habit": moved["forced"] - moved["corrected"],
        "form": moved["strict"] - moved["forced"],
        "strict": moved["strict"],
    }
    # end solution


# %%
gain_parts = checks.gain_parts(gain_parts)

# %% [markdown]
# The library's `change` does the same question by question, and `gain_table` adds intervals over images. Its
# values should equal yours. Is the interval of *knowledge* above zero? How large is it beside the other two parts?
# Look at the total last. Its interval comes from drawing images, so it differs a little from that of section 5.

# %%
mine = gain_parts(*(means[name].to_dict() for name in ("before", "after")))
measured = gains.gain_table(gains.change(read["before"], read["after"]))
agree = all(abs(measured["value"][part] - mine[part]) < 1e-9 for part in mine)
print("the library's values are yours:", agree)
(100 * measured[["value", "low", "high"]]).round(1)

# %% [markdown]
# The habit is zero or nearly so. This does not measure a missing habit. In `think_before`, the letter follows the model's own
# rationale, and the model is nearly always sure of it (section 7 prints how often). No constant per letter can change
# such an answer. So a habit *within* the rationale counts as knowledge. In `no_think` the correction can act. So
# `no_think` comes first in section 7.
#
# What is this knowledge? The vision tower is frozen. It was taught before to tell the attributes of medical drawings
# apart, in codes that the language had hardly met (chapter 02). So training mostly links what the tower tells apart
# with the words and letters of an answer. The tower of a large model was not taught its user's field in this way.
#
# A gain depends on what the base lacks. If a base breaks the form or prefers a letter, training repairs form
# and habit first, and accuracy can rise by many points without any knowledge. Our base keeps the form and uses its letters
# nearly evenly. So it has mostly knowledge to gain.
#
# This was one run on one base. The interval does not know how much another training would differ. Section 7 asks mostly
# other questions than a live test, so its base has another share.
#
# ## 7 What must stand beside a gain
#
# A gain by GRPO becomes an argument *for GRPO* only beside what is cheaper, on the same questions:
#
# | bar | what it does | what it shows |
# |---|---|---|
# | base | nothing | where everything starts |
# | corrected base | form given, letter habit removed, no training | what you can have without training |
# | format only | GRPO, a reward that never looks at the answer | what the form is worth |
# | random | GRPO, format and a coin | what updates in a random direction do |
# | SFT on letters | imitates the right letter | what the labels give without reinforcement |
# | rejection sampling + SFT | samples, keeps right rollouts, imitates them | what the model's own good rollouts give |
# | GRPO | the recipe | the method |
#
# `benchmarks/study/learning.py` trains and tests all of them on the shipped base, with the same number of updates. *Same time*
# has GRPO's time instead. Every bar is the mean of some trainings, split into its parts. The 95 % interval of the whole gain is over images and
# trainings; so few trainings say little about the luck of another. GRPO also trained other bases.
# **Predict**: which bars will stand at zero?


# %% tags=["hide-input"]
def bars(axis, style, runs, table):
    """The bars of one style, and the whole gain of each."""
    own = next(run for run in runs if (run["arm"], run["style"]) == ("base", style))
    base = own["readers"]
    lacks = base["forced"] - base["strict"], base["corrected"] - base["forced"], 0
    top = pd.DataFrame({"base": (0, 0, 0), "corrected base": lacks}, list(COLORS)).T
    rows = table.query("style == @style").replace({"arm": ARMS})
    found = rows.pivot(index="arm", columns="part", values=["value", "low", "high"])
    found = found.loc[[name for name in ARMS.values() if name in found.index]]
    heights = pd.concat([100 * top, found["value"][list(COLORS)]])
    for part in (heights.clip(lower=0), heights.clip(upper=0)):
        left = part.cumsum(axis=1) - part
        for name, color in COLORS.items():
            look = {"left": left[name], "color": color, "label": name}
            axis.barh(heights.index, part[name], **look)
    whole = found.xs("strict", axis=1, level="part")
    reach = [whole["value"] - whole["low"], whole["high"] - whole["value"]]
    look = {"fmt": "kD", "ms": 4, "label": "whole gain"}
    axis.errorbar(whole["value"], whole.index, xerr=reach, **look)
    for run in runs:
        made = run["arm"], run["style"], run["base"] == own["base"]
        if made == ("grpo", style, False):
            gain = 100 * run["gain"]["strict"]
            axis.plot(gain, ARMS["grpo"], "o", c="grey", label="another base")
    axis.set_title(f"{style}, base {base['strict']:.0%}")


# %% mystnb={"image": {"alt": "A panel with up to nine horizontal bars for each recorded style, the gain over the base in points: base, corrected base, format only, random, SFT on letters, rejection sampling with SFT, both again with the time of GRPO, and GRPO. Bars are stacked from form, habit and knowledge, negative parts left of zero; black diamonds show the whole gain with its interval, grey circles the whole gain of GRPO on other bases."}}
ARMS = {"format": "format only", "random": "random", "sft": "SFT on letters"}
ARMS |= {"rft": "rejection + SFT", "sft-time": "SFT, same time"}
ARMS |= {"rft-time": "rejection, same time", "grpo": "GRPO"}
COLORS = {"form": "C1", "habit": "C0", "knowledge": "C2"}
record = json.loads((LEARNING / "learning.json").read_text())
table = pd.DataFrame(record["table"]).query(
    "over == 'seed'"
)  # on the base that all share
table[["value", "low", "high"]] *= 100  # points
styles = ["no_think", "think_before", "think_after"]
runs, n = record["runs"], f"n = {record['questions']} questions"
n += f" x {table['models'].max()} trainings; 95 % intervals"
print(f"base {runs[0]['base']}, {record['steps']} steps")
shape = {"figsize": (10, 4.4), "sharex": True, "sharey": True}
shape |= {"squeeze": False, "layout": "constrained"}
figure, panels = plt.subplots(1, len(styles), **shape)
for axis, style in zip(panels.flat, styles, strict=True):
    bars(axis, style, runs, table)
panels[0, 0].invert_yaxis()
figure.supxlabel(f"gain over the base (points; {n})", fontsize="medium")
marks, names = axis.get_legend_handles_labels()
marks = dict(zip(names, marks, strict=True))  # one of each name
figure.legend(marks.values(), marks, loc="outside upper center", ncol=5)
plt.show()

# %% [markdown]
# The table has the knowledge of each arm and style in points. The lines below it say how often the likeliest letter of the
# base and of the model trained by GRPO has a probability above 0.99.

# %%
own = table.query("part == 'knowledge'").copy()
shown = zip(own["value"], own["low"], own["high"], strict=True)
own["points"] = ["{:+.1f} [{:+.1f}, {:+.1f}]".format(*row) for row in shown]
display(own.pivot(index="arm", columns="style", values="points")[styles])
answers = pd.read_parquet(LEARNING / "answers.parquet")
answers = answers.query("control == 'none' and base == @runs[0]['base']")
for style in styles:
    for arm in ("base", "grpo"):
        one = answers.query("style == @style and arm == @arm")
        probs = gains.letter_matrix(one)
        sure = probs.max(1) > 0.99 * probs.sum(1)
        print(f"{style}, {arm}: sure of its letter in {sure.mean():.1%}")

# %% [markdown]
# *Format only* and *random* know no answer. What they gain needs none, so subtract it first. **In the record:** in no
# style is the interval of their knowledge above zero. In `no_think`, *random* is below zero. A random reward moves the policy in a random
# direction, and this can cost accuracy.
#
# *Corrected base* shows what one constant per letter can do without training. **In the record:** about one point or less.
# The base keeps the form, and its letters are nearly even.
#
# *SFT on letters* uses the same labels as GRPO's reward. In the styles with a rationale, its targets have an empty one,
# since nobody wrote rationales. **In the record:** in `no_think` and `think_after` its gain is not shown to differ
# from GRPO's. So this figure does not show that the labels need reinforcement there. In `think_before` it gains about a third as much, and
# its interval contains zero.
#
# *Rejection sampling + SFT* never pushes a wrong rollout down. This is the main difference from GRPO. **In the record:**
# it gains in every style, and its intervals overlap with those of GRPO. So the figure does not show that pushing wrong
# ones down adds anything.
#
# *Same time* lets both make more updates than GRPO. **In the record:** then both bars are longer in every style. Where intervals
# overlap, the bars do not rank two methods. Chapter 10 compares them question by question. `data/tiny-qwen2-vl/README.md` says how the base was made.
#
# ## 8 Predict, run, explain
#
# This is the second half of exercise 3. Take one row of the list below, or an idea of your own. **Write down
# before you run**: the sign and the size of form, habit and knowledge, and what the KL and the spread will
# do. Set `WHAT` to your choice and run the next cell. Compare with your prediction, and explain every
# difference in two sentences. One run has one seed, so also say which result would change your mind.
#
# | `WHAT` | a question to think about |
# |---|---|
# | `{"rules": "format"}` | Only the form is paid. What can be learned where nearly all rollouts keep the form? |
# | `{"rules": "random"}` | The advantages are noise. Does noise move the policy? |
# | `{"beta": 0.0}` | What does the penalty hold back in so few steps? |
# | `{"num_generations": 2}` | Four times as many questions a step. What happens to the spread? |
# | `{"learning_rate": 1e-4}` | Exercise 1 says how far a weight can go now. |
# | `{"num_iterations": 4}` | Four times as many updates with the same rollouts. |

# %%
WHAT, SHORT = {"rules": "format"}, 20


def trained_parts(changes):
    """The parts of the gain of a short training with a changed recipe."""
    out = Path(tempfile.mkdtemp(dir=folder))
    short = recipe.replace(max_steps=SHORT, **changes)
    run = train(short, out, force=True, callbacks=[Progress()])
    found = gains.read_all(tested(run.adapter))[[*gains.READERS]].mean()
    return gain_parts(means["before"].to_dict(), found.to_dict())


if TRAINS:
    found = trained_parts(WHAT)
    print(WHAT, {part: f"{100 * value:+.1f}" for part, value in found.items()})
else:
    print("At the replay tier nothing is trained: compare with the bars above.")

# %% [markdown]
# <details><summary>What to compare with</summary>
#
# Format only and random have their bars in section 7, after more steps. Chapter 07 has recorded curves of a
# rate that is too high, of one that is too low and of a missing penalty. If all rollouts of a group earn the
# same reward, the group has no spread and no reward gradient; only the penalty still pulls. A reward that is the same for all letters cannot
# prefer the right letter. If the shares of the letters change anyway, this is a new *habit*, and the
# corrected reader does not rise. Groups of two have spread less often: chapter 04 has the curve. Four updates
# with each batch move the policy further per rollout, and the clip limits how far.
#
# </details>
#
# ## 9 What nobody measured
#
# What happens to skills that no reward reads? Recorded models that GRPO had trained on medical questions were
# asked to describe everyday drawings. The base can do this well, and no reward had asked for it. A caption
# counts as right if it names the right option of a question about its image.

# %%
captions = json.loads((LEARNING / "captions.json").read_text())
print(f"recorded {captions['date']}, n = {captions['base']['n']} drawings;")
print(f"the base's captions are right in {captions['base']['accuracy']:.1%}")
found = pd.DataFrame([run["paired"] for run in captions["runs"]])
found[["low", "high"]] = found["interval"].tolist()
found.index = [run["style"] for run in captions["runs"]]
(100 * found[["difference", "low", "high"]]).round(1)

# %% [markdown]
# The table has the change in points after training in each style. Each style has one model, and the 95 %
# interval is over the drawings. An interval below zero would be *forgetting*: the model lost a skill while it gained
# accuracy. **In the record:** all three intervals contain zero, so no loss was seen. A loss of a point or two, as the
# lower ends say, is still possible. The KL penalty does not prevent forgetting. It holds the policy near the
# reference only on texts that are sampled in training. So before you call
# a training a success, test something that you did not train.
#
# Now your ledger. The second claim is about styles with and without a rationale: compare the panels of section 7. The
# third claim says that reinforcement can make up for size. You see only how much it added to one small model.

# %%
ledger.page(6, thinking=None, size=None)  # your new probability in place of None

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# GRPO raises accuracy by twenty points. A reward that looks at the form alone raises it by eighteen on the same questions. What has the answer reward shown?
#
# <details><summary>A. Little so far: most of the gain needs no answer key</summary>
#
# Right. Only what goes beyond the format-only run can come from reading answers, and two points may be noise.
#
# </details>
# <details><summary>B. That both rewards together are worth thirty-eight points in this training</summary>
#
# Wrong. The runs are alternatives. GRPO's twenty points contain what the form alone gives.
#
# </details>
# <details><summary>C. That the form is all a model needs</summary>
#
# Wrong. It shows what this base lacked. Another base with a safe form would gain nothing from it.
#
# </details>
#
# ### Question 2
# You move from the tiny model to one with two billion weights. Which setting should you not carry over?
#
# <details><summary>A. The loss and its penalty</summary>
#
# Wrong. They define the objective, which is the same for a model of any size.
#
# </details>
# <details><summary>B. A group of eight rollouts for each prompt</summary>
#
# Wrong. Eight is common for large models too; the spread depends on how hard the questions are.
#
# </details>
# <details><summary>C. The learning rate</summary>
#
# Right. Adam moves each weight by about the rate in each step, and a large model needs far smaller moves.
#
# </details>
#
# ### Question 3
# The forced letter rises by 9 points, the corrected forced letter by 1. What did the training change?
#
# <details><summary>A. What the model sees in the image</summary>
#
# Wrong. That would show in the corrected reader, which hardly moved.
#
# </details>
# <details><summary>B. Which letters the model likes to say</summary>
#
# Right. Eight of the nine points disappear under the correction, so they are a letter habit.
#
# </details>
# <details><summary>C. Whether its answers have the form that the prompt asks for and can be read</summary>
#
# Wrong. The forced letter is given its form, so form cannot move it.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - A recipe is a `GRPOConfig`, and the library can write down its objective as one formula.
# - Adam moves a weight by about the learning rate, whatever the size of its gradient. The rate is the setting that carries over least.
# - A group without spread is either solved or equally wrong in all rollouts. Only the first kind is a
#   success.
# - A paired test says whether a model changed. It does not say why.
# - A gain has three parts, and only one of them is knowledge. A gain by reinforcement needs a format-only and a random reward, and imitation,
#   beside it.
#
# ## Where to go next
#
# A training that is kept, resumed after an interruption, or run overnight is one command:
#
# `python -m medr1_lib train grpo --recipe course --data _output/phantoms --out _output/run`
#
# Chapter 07 shows curves that went wrong, each for a reason that you can learn to see. Chapter 08 compares the algorithms of 2026. To read: Y. Lai et al., *Med-R1*
# (arXiv 2503.13939); R. Shao et al., *Spurious rewards* (arXiv 2506.10947), for what random rewards can do; and Y. Yue et al., *Does reinforcement learning really
# incentivize reasoning capacity in LLMs beyond the base model?* (arXiv 2504.13837).
