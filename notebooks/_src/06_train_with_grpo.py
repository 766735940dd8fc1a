# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 6 Train with GRPO
#
# ## What you will do
#
# Train a vision-language model with the objective that you wrote in chapter 05, and watch it learn. Then ask the
# same test questions before and after, and take the gain apart: how much of it is new knowledge, how much is a lost habit, and how much is the form of
# the answer? Last, compare GRPO with rewards that know no answer, and with imitation.
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
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import seaborn as sns
from IPython.display import Math, display
from matplotlib import pyplot as plt

from medr1_lib.analysis.stats import compare, mean_table, wilson
from medr1_lib.course import checks, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data import phantom_vqa
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.model.loading import load_policy

tier = tiers.start(6)
sns.set_theme(style="whitegrid", palette="colorblind")
warnings.filterwarnings("ignore", category=FutureWarning)

# %% [markdown]
# Three choices. `STYLE` is the form of the answers, with the reasoning first as in chapter 03. `STEPS` is short enough to wait for.
# `PER_CELL` is the number of questions for each pair of modality and question type: 640 to train on and 640 others to test
# with. No image is in both. All files go to a folder that disappears with the notebook; the end of this chapter shows the command for a training
# that you want to keep.

# %%
STYLE, STEPS, PER_CELL, TRAINS = "think_before", 60, 16, tier.name != "replay"
RECORDED = tiers.material("recorded")
LEARNING = RECORDED / "learning"  # of `python -m benchmarks.study.learning`
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-06-")
folder = Path(temporary.name)
if TRAINS:
    ask = phantom_vqa.questions
    splits = {name: ask(name, per_cell=PER_CELL) for name in ("train", "test")}
    phantom_vqa.write(folder / "phantoms", splits, {"per_cell": PER_CELL})

# %% [markdown]
# ## 1 Before
#
# `tested` has a model answer all test questions greedily, that is, with the most probable token at every place. `recorded` reads answers that
# were given in the same way.

# %%
items = EvalSet(folder / "phantoms") if TRAINS else None


def tested(model):
    """One row per test question: what the model said, and whether it is right."""
    policy, processor = load_policy(Path(model), tier.quantize)
    settings = Settings((STYLE,), max_new_tokens=tier.max_new_tokens)
    log = AnswerLog(Path(tempfile.mkdtemp(dir=folder)), {}, {})
    return evaluate(policy, processor, items, log, settings)


# %%
def recorded(arm):
    """The same for a recorded model of the first seed."""
    if LEARNING.exists():
        table = pd.read_parquet(LEARNING / "answers.parquet")
        wanted = {"base": table["base"].iloc[0], "arm": arm, "style": STYLE}
        wanted |= {"seed": -1 if arm == "base" else 0, "control": "none"}
        return table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    table = pd.read_parquet(RECORDED / "learning.parquet")  # of the first edition
    recipe, seed = ("base", -1) if arm == "base" else ("course", 0)
    wanted = {"recipe": recipe, "style": STYLE, "seed": seed}
    found = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    asked = pd.DataFrame(map(vars, phantom_vqa.questions("test")))
    return found.join(asked[["image_id", "question", "answer"]], on="item")


# %%
before = tested(tier.model_path) if TRAINS else recorded("base")


def tell(name, answered):
    """Accuracy and form in one line, with 95 % intervals."""
    n = len(answered)
    for column, what in (("correct", "right"), ("format_ok", "in form")):
        low, high = wilson(int(answered[column].sum()), n)
        print(f"{name}: {answered[column].mean():.1%} {what}", end=" ")
        print(f"[{low:.1%}, {high:.1%}], n = {n}")


tell("before", before)

# %% [markdown]
# Chance is 25 %, so the base knows something. `right` is the tolerant reading of chapter 02. `in form` says whether the answer has exactly
# the form that the prompt shows.
#
# ## 2 The recipe
#
# A training depends on many numbers. All of them stand in one YAML file, the *recipe*. It holds the fields of TRL's
# `GRPOConfig` under their own names, and a few of our own such as the style and the model. The table shows every
# field that differs from the default of its class; `None` there means that TRL decides when it starts.

# %%
from medr1_lib.rl.formula import formula
from medr1_lib.rl.recipe import load_recipe

recipe = load_recipe(
    "gpu" if tier.name == "gpu" else "course",
    style=STYLE,
    model=str(tier.model_path),
    data=str(folder / "phantoms"),
    max_steps=STEPS,
)
config = recipe.trl_config(folder / "checkpoints")
fields = type(config).__dataclass_fields__
rows = [(k, value, fields[k].default) for k, value in recipe.config.items()]
table = pd.DataFrame(rows, columns=["field", "this recipe", "TRL's default"])
differs = table["this recipe"] != table["TRL's default"]
unset = table.drop(columns="field").isna().all(axis=1)
display(table[differs & ~unset].set_index("field"))
Math(formula(config))

# %% [markdown]
# Three rows change the *objective*: `loss_type`, `beta` and `use_bias_correction_kl`. The formula below the table is read off the
# configuration, not quoted from a paper. Compare it with chapter 05. Each batch of rollouts is used for one step, so the ratio is 1 and the
# clip never acts.
#
# Other rows set sizes. One stands out: the **learning rate** is hundreds of times TRL's default. To see why, look at what Adam does with it. Adam
# divides the moving average of the gradient by the root of the moving average of its square:
#
# $$ m \leftarrow 0.9\, m + 0.1\, g, \quad v \leftarrow 0.999\, v + 0.001\, g^2, \quad
# w \leftarrow w - \eta\, \frac{m / (1 - 0.9^t)}{\sqrt{v / (1 - 0.999^t)} + 10^{-8}} . $$
#
# ### Exercise 1: how far does a step go?
# *medium, 15 minutes*
#
# Return the weight after step $t$ (`step`, beginning at 1), and the new averages $m$ (`mean`) and $v$ (`square`). **Before you run the next
# cell, predict**: a gradient of 1, of 0.001 and of 0.000001, the same in every step. Which of the three weights moves furthest in 60 steps, and how far?
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
for rate in (4e-4, 1e-6):
    for gradient in (1.0, 1e-3, 1e-6):
        state = (0.0, 0.0, 0.0)
        for step in range(1, 61):
            state = adam_step(state[0], gradient, *state[1:], step, rate)
        print(f"rate {rate}, gradient {gradient}: moved {abs(state[0]):.6f}")

# %% [markdown]
# The size of the gradient hardly matters. A weight whose gradient keeps its sign moves by the learning rate in every step; if the sign changes at
# random, it moves less. So the rate times the number of steps limits how far a training gets.
#
# An adapter needs distance. Its second matrix begins at zero (chapter 09), so at $10^{-6}$ a run of sixty steps could not bring any entry beyond
# 0.00006, and the policy would stay the base. TRL's default is meant for training *all* weights of a large
# model for thousands of steps. There, published runs use rates between $10^{-6}$ and $10^{-5}$; adapters take about ten times as much.
#
# *What carries over to a 2B model:* the objective, groups of eight or more, several prompts per step, watching the KL. *What does not:* the rate, the number of steps,
# the limit of tokens. Chapter 07 shows a run at 25 times this rate.
#
# ## 3 Train
#
# One call. It loads the base, adds an adapter to the language half, and leaves the vision tower frozen. First it samples some groups
# without learning, the *pre-flight*, and refuses to start if no group has spread. Pale lines are single steps, strong lines
# the mean of the last ten. While you wait: which curves should rise, which should not, and which is missing?

# %% mystnb={"image": {"alt": "Curves over the steps of the run, pale for single steps and strong for the running mean: reward, its two parts accuracy and format, KL from the base, and completion length in tokens."}}
from medr1_lib.analysis.plots import curves
from medr1_lib.course.live import live
from medr1_lib.rl.run import Run
from medr1_lib.rl.train import train

if TRAINS:
    run = train(recipe, folder / "run", callbacks=[live()])
else:
    run = Run.load(RECORDED / "course_run")
    display(curves(run.log))
    plt.close()

# %% [markdown]
# The loss is missing. Its reward part is zero in every step (chapter 05), so it says nothing about progress.
#
# A single step asks a few questions, and the next step asks others. So the curve jumps, and the best single step is luck. Nor is the
# running mean a test: these are training questions, with answers drawn at random.
#
# `zero_std_groups` is the share of groups whose rewards are all equal. The next cell looks inside: are they solved, or are they hopeless? All
# rollouts right is success. All rollouts *wrong* is a question on which reinforcement has stopped, and the curve of the share does not tell these two apart.

# %%
notes = json.loads((run.folder / "recipe.json").read_text())
print("pre-flight:", notes["preflight"]["text"])
rollouts = run.rollouts
rollouts["points"] = rollouts["format_reward"] + rollouts["accuracy_reward"]
third = run.log["step"].max() / 3
rollouts["third"] = (1 + (rollouts["step"] - 1) // third).astype(int)
groups = rollouts.groupby(["third", "step", "image_id"])["points"]
groups = groups.agg(["min", "max"]).reset_index()
kinds = {
    "with spread": groups["min"] < groups["max"],
    "all right": groups["min"] == 2,
    "all wrong": (groups["min"] == groups["max"]) & (groups["max"] < 2),
}
pd.DataFrame(kinds).groupby(groups["third"]).mean().map("{:.0%}".format)

# %% [markdown]
# ## 4 Look into a group
#
# Curves are averages. What does the model say? Pick a step and a prompt. Each completion stands beside its points and its advantage. Look for three
# things: an early completion without the form; a group without spread; and a completion with the right letter whose reasons name
# the wrong thing. The rules read form and letter only, so that one is pushed up like an honest one.

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import RolloutExplorer
from medr1_lib.data.phantoms import draw

some = rollouts.groupby("step").head(2 * config.num_generations)
asked = {q.image_id: q for q in phantom_vqa.questions("train", per_cell=256)}
pictures = {name: draw(asked[name].scene) for name in some["image_id"].unique()}
RolloutExplorer(some, pictures)

# %% [markdown]
# How many rollouts with full marks do not name both the true modality and the true part of the body? The interval is over *groups*, because the eight
# rollouts of a group share a picture and fail together. An interval over single rollouts would be too narrow.

# %%
import re

paid = rollouts[rollouts["points"] == 2]
paid = paid[paid["image_id"].isin(asked)]


def mistaken(rollout):
    """Whether the reasons lack the true modality or the true part of the body."""
    scene = asked[rollout.image_id].scene
    said = re.split(r"[<>:,] ?", rollout.completion)
    return not {scene.modality, scene.anatomy} <= set(said)


paid = paid.assign(mistaken=[float(mistaken(row)) for row in paid.itertuples()])
for when, rows in paid.groupby("third"):
    value, low, high = mean_table(rows, ["mistaken"]).iloc[0, 1:]
    print(
        f"third {when}: {value:.0%} [{low:.0%}, {high:.0%}] of {len(rows)} paid in full"
    )

# %% [markdown]
# Full marks for reasons that are wrong or missing. If the intervals of the first and the last third overlap, this run does not show that training made it
# better or worse; nothing in the reward asks for it. Chapter 11 scores every claim.
#
# ## 5 After, on the same questions
#
# Both models answered the *same* questions. Most of them say nothing about the difference, because both models were right, or both were wrong. What counts
# are the questions that were `lost`, right before and wrong after, and those that were `won`.
#
# ### Exercise 2: McNemar's test
# *medium, 15 minutes*
#
# If training helped as often as it harmed, each of these questions was lost or won like the toss of a coin. How
# likely are counts at least as uneven as ours?
#
# $$ p = \min\left(1,\ 2 \sum_{k=0}^{\min(l, w)} \binom{l + w}{k} \frac{1}{2^{l + w}}\right) $$
#
# Return $p$ for `lost` $l$ and `won` $w$. The 2 is there because an uneven result in the other direction would have surprised us as much.
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

# %% tags=["headline"]
after = tested(run.adapter) if TRAINS else recorded("grpo")
tell("before", before)
tell("after", after)
paired = compare(before, after)
low, high = paired.interval
p = mcnemar_p(paired.first, paired.second)
print(
    f"{100 * paired.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
)
print(f"lost {paired.first}, won {paired.second}, p = {p:.0e}")

# %% tags=["nbval-check-output"]
print("more won than lost:", "yes" if paired.second > paired.first else "no")
print("McNemar p below 0.01:", "yes" if p < 0.01 else "no")

# %% [markdown]
# The model became better on questions that it never saw in training. Many papers stop here, with a sentence such as "GRPO improves
# medical reasoning". It would not follow. Three very different things raise this number.
#
# ## 6 Where did the gain come from?
#
# - **Form.** An answer without the right tags counts as wrong, even if the model knows the letter. Learning the tags raises accuracy and
#   teaches no medicine.
# - **Letter habit.** A model that likes to say B loses the questions whose answer is not B. Losing the habit raises accuracy without
#   any new knowledge; you saw that in the last section of chapter 04.
# - **Knowledge.** The rest: the letter follows the picture and the question more often than before.
#
# Three readers of the same answer separate them. *Strict* reads the answer as it was written, and only in the form asked for. *Forced* gives the model
# the form (after its own reasons) and takes the most probable letter, so form cannot matter. *Corrected* multiplies the letter probabilities with one constant per
# letter, so that the letters come equally often on other questions (chapter 02), and the habit cannot matter either.

# %% mystnb={"image": {"alt": "Three boxes in a row: strict reading, forced letter, corrected letter. From strict to forced the form no longer counts, from forced to corrected the letter habit no longer counts. Below each step stands the part of a gain that it isolates: form, habit; and below corrected, knowledge."}}
axes = sketch(
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

# %%
from medr1_lib.analysis.gains import (
    READERS,
    change,
    gain_table,
    letter_habit,
    read_all,
)

KNOWN = "letter_probs" in before  # answers of the first edition have none
if KNOWN:
    read = {"before": read_all(before), "after": read_all(after)}
    means = {name: one[[*READERS]].mean() for name, one in read.items()}
    letters = {name: letter_habit(one)["share"] for name, one in read.items()}
    display(pd.DataFrame(means).T.map("{:.1%}".format))
    display(pd.DataFrame(letters).T.map("{:.0%}".format))
else:
    print("The recorded answers have no letter probabilities; run the laptop tier.")

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
# The library's `change` does the same question by question, and `gain_table` adds intervals over pictures. Its values should be yours. Read the table in this
# order. Is the interval of *knowledge* above zero? How large is knowledge beside the other two? Only then look at the total.

# %%
if KNOWN:
    mine = gain_parts(*(means[name].to_dict() for name in ("before", "after")))
    measured = gain_table(change(read["before"], read["after"]))
    agree = all(abs(measured["value"][part] - mine[part]) < 1e-9 for part in mine)
    print("the library's values are yours:", agree)
    display((100 * measured[["value", "low", "high"]]).round(1))
else:
    print("The recorded answers have no letter probabilities; run the laptop tier.")

# %% [markdown]
# One run on one base is an anecdote with an interval: the interval knows about the questions, and nothing about the luck of the training.
#
# ## 7 What must stand beside a gain
#
# A gain by GRPO becomes an argument *for GRPO* only beside what is cheaper, on the same questions:
#
# | bar | what it does | what it shows |
# |---|---|---|
# | base | nothing | where everything starts |
# | corrected base | form given, letter habit removed, no training | what no training has to teach |
# | format only | GRPO, a reward that never looks at the answer | what the form is worth |
# | random | GRPO, format and a coin | what mere training does |
# | SFT on letters | imitates the right letter | what the labels give without reinforcement |
# | rejection sampling + SFT | samples, keeps right rollouts, imitates them | what the model's own good rollouts give |
# | GRPO | the recipe | the method |
#
# `benchmarks/study/learning.py` trains and asks all of them, in three styles, with the same number of updates. Every bar below is split into its parts. The black
# marks are the whole gain with its 95 % interval over pictures and seeds (over bases, where the record has several).

# %%
ARMS = {
    "format": "format only",
    "random": "random",
    "sft": "SFT on letters",
    "rft": "rejection + SFT",
    "grpo": "GRPO",
}
COLORS = {"form": "C1", "habit": "C0", "knowledge": "C2"}


def bars(axis, style, record):
    """The seven bars of one style."""
    rows = pd.DataFrame(record["table"]).query("style == @style")
    found = rows.pivot(index="arm", columns="part", values=["value", "low", "high"])
    bases = pd.DataFrame(record["runs"]).query("style == @style and arm == 'base'")
    base = bases.iloc[0]
    ours = {"form": base["forced"] - base["strict"], "knowledge": 0.0}
    ours["habit"] = base["corrected"] - base["forced"]
    axis.axhline(0, color="black", linewidth=1)
    heights = pd.DataFrame(found["value"][list(COLORS)].T[list(ARMS)])
    heights.insert(0, "base", 0.0)
    heights.insert(1, "corrected", pd.Series(ours))
    for sign in (1, -1):
        part = 100 * (sign * heights.loc[list(COLORS)]).clip(lower=0) * sign
        bottom = part.cumsum() - part
        for name, color in COLORS.items():
            axis.bar(range(7), part.loc[name], bottom=bottom.loc[name], color=color)
    total = 100 * found.xs("strict", level="part", axis=1).loc[list(ARMS)]
    reach = [total["value"] - total["low"], total["high"] - total["value"]]
    axis.errorbar(range(2, 7), total["value"], yerr=reach, fmt="D", ms=4, c="black")
    axis.set_xticks(
        range(7), ["base", "corrected base", *ARMS.values()], rotation=90
    )
    axis.set_title(f"{style}, base {base['strict']:.0%}")


# %% mystnb={"image": {"alt": "For each style a panel with seven bars, the gain over the base in points: base, corrected base, format only, random, SFT on letters, rejection sampling with SFT, and GRPO. Bars are stacked from form, habit and knowledge, negative parts below zero; black marks show the whole gain with its interval."}}
if LEARNING.exists():
    record = json.loads((LEARNING / "learning.json").read_text())
    styles = list(dict.fromkeys(row["style"] for row in record["table"]))
    figure, panels = plt.subplots(
        1, len(styles), figsize=(10, 4), sharey=True, layout="constrained"
    )
    for axis, style in zip(panels, styles, strict=True):
        bars(axis, style, record)
    panels[0].set_ylabel("gain over the base (points)")
    colors = [plt.Rectangle((0, 0), 1, 1, color=color) for color in COLORS.values()]
    figure.legend(colors, list(COLORS), loc="outside lower center", ncol=3)
    plt.show()
else:
    print("Not recorded yet: python -m benchmarks.study.learning, see its --help.")

# %%
if LEARNING.exists():
    rows = pd.DataFrame(record["table"]).query(
        "style == @STYLE and part in @COLORS"
    )
    rows["points"] = [
        f"{100 * row.value:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        for row in rows.itertuples()
    ]
    over = sorted(set(rows["over"]))
    print(f"{STYLE}, {record['steps']} steps, intervals over pictures and {over}")
    display(
        rows.pivot(index="arm", columns="part", values="points").loc[list(ARMS)]
    )

# %% [markdown]
# How to read it. *Format only* and *random* are the floor: whatever they gain, a gain by GRPO contains too. *Corrected base* is what three numbers can do.
# *SFT on letters* has the same labels as GRPO's reward. If it gains as much knowledge, reinforcement was not needed for it; its rows for reasoning styles
# imitate an empty thought, since nobody wrote reasons. *Rejection sampling + SFT* differs from GRPO in one point: it never pushes a wrong
# rollout down. Where the two are equal, the negative examples did nothing. The seeds and bases vary the training; none was chosen by its gain. `data/tiny-qwen2-vl/README.md`
# says how the base was made.
#
# ## 8 Predict, run, explain
#
# The second half of exercise 3. Take one row of the list below, or an idea of your own. **Write down before you run**: the sign and the size of form, habit and
# knowledge, and what the KL and the spread will do. Run the next cell with `WHAT` set to it. Compare with your prediction, and explain every difference in two sentences. One
# run has one seed: say what would change your mind.
#
# | `WHAT` | a question to think about |
# |---|---|
# | `{"rules": "format"}` | Can anything but the form change? What happens to the letters if no letter is ever paid? |
# | `{"rules": "random"}` | The advantages are noise. Does noise move the policy? |
# | `{"beta": 0.0}` | What does the penalty hold back in thirty steps? |
# | `{"num_generations": 2}` | Four times as many questions a step. What happens to the spread? |
# | `{"learning_rate": 4e-3}` | Exercise 1 says how far a weight can go now. |
# | `{"num_iterations": 4}` | Four times as many updates with the same rollouts. |
#
# A prediction that was wrong and is understood is worth more than one that was right.

# %%
WHAT, SHORT = {"rules": "format"}, 30


def trained(changes):
    """An adapter trained for a short time with a changed recipe."""
    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    own = recipe.replace(max_steps=SHORT, **changes)
    return train(own, out, force=True).adapter


def read_by_all(adapter):
    """Accuracy by each reader."""
    return read_all(tested(adapter))[[*READERS]].mean().to_dict()


if TRAINS:
    found = gain_parts(means["before"].to_dict(), read_by_all(trained(WHAT)))
    print(WHAT, {part: f"{100 * value:+.1f}" for part, value in found.items()})
else:
    print("At the replay tier nothing is trained: compare with the table above.")

# %% [markdown]
# <details><summary>What to compare with</summary>
#
# Format only and random have their bars in section 7, with 150 steps and several seeds, and chapter 07 has recorded curves of a high rate, of a rate that is too
# low and of a missing penalty. A reward that is the same for all letters cannot prefer the right one; if letters move all the same, the movement is a new *habit*, and
# the corrected reader does not rise. Groups of two have spread less often: chapter 04 has the curve. Four updates with each batch move the policy further per rollout, and
# the clip decides how far.
#
# </details>
#
# ## 9 What nobody measured
#
# A reward shows what it reads. What becomes of the rest? In the first edition of this course, models trained with GRPO were asked to describe their images again, which no
# reward had asked them to do. These are records of the first base of the course.

# %%
captions = json.loads((RECORDED / "learning_captions.json").read_text())
changes = pd.DataFrame(
    {
        "style": [one["style"] for one in captions["runs"]],
        "change": [100 * one["paired"]["difference"] for one in captions["runs"]],
        "worse": [one["paired"]["interval"][1] < 0 for one in captions["runs"]],
        "better": [one["paired"]["interval"][0] > 0 for one in captions["runs"]],
    }
)
print(
    "captions that name the right option: points, and runs that are clearly different"
)
changes.groupby("style", sort=False).agg(
    {"change": "mean", "worse": "sum", "better": "sum"}
).round(1)

# %% [markdown]
# Trained to give the letter alone (`no_think`), those models described their images *worse* in every seed, while their accuracy rose. The KL penalty did not
# prevent it: it holds the policy near the reference on the texts that are sampled in training, and captions are none of them. So before you call a training a
# success, test something that you did not train.

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
# <details><summary>A. What the model sees in the picture</summary>
#
# Wrong. That would show in the corrected reader, which hardly moved.
#
# </details>
# <details><summary>B. Which letters the model likes to say</summary>
#
# Right. What disappears under the correction is a habit, and one constant per letter could have removed it.
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
# - A recipe is a `GRPOConfig`, and what it computes can be written down as one formula.
# - Adam moves a weight by about the learning rate, whatever the size of its gradient. The rate is the setting that carries over least.
# - Groups without spread are of two kinds, solved and hopeless, and only one of them is a success.
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
