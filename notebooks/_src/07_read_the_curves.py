# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 7 Read the curves
#
# ## What you will do
#
# A training runs overnight. In the morning you have a page of curves, and you have to say whether the run is
# healthy. In this chapter you learn what each curve means. Then you get eight runs without names. For each of
# them you say what is wrong, and how sure you are. At the end you repair a broken run and train it.
#
# ## What you will learn
#
# After this chapter you can
#
# - read reward, spread, length, KL, entropy and gradient norm of a GRPO run, in an order that finds faults early,
# - tell a group that is solved from a group that is stuck, although both have no spread,
# - say what a KL of a given size means and what it does not mean,
# - give a verdict with a confidence, and score both,
# - name the setting that causes a fault, and repair it.
#
# ## What you will need
#
# Chapters 03, 05 and 06. The runs are recorded, one seed each, by `benchmarks/study/failures.py`; the first cell of section 1 prints when,
# and what their base could do. Read them as examples of signs, and do not compare their numbers with your own runs. Two cells train live.
# At the replay tier they read the record instead.

# %%
import json
import random
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib import pyplot as plt
from scipy.special import log_softmax

from medr1_lib.course import checks, ledger, tiers

tier = tiers.start(7)
from medr1_lib.analysis.plots import curves

sns.set_theme(style="whitegrid", palette="colorblind", rc={"figure.dpi": 72})
warnings.filterwarnings("ignore", category=FutureWarning)
RECORDED = tiers.material("recorded")
report = json.loads((tiers.material("tiny-qwen2-vl") / "report.json").read_text())
BASE = report["domains"]["medical"]["styles"]["think_before"]["pass_at"]["1"]

# %%
notes = json.loads((RECORDED / "failures.json").read_text())
logs = dict(list(pd.read_parquet(RECORDED / "failures.parquet").groupby("name")))
rollouts = pd.read_parquet(RECORDED / "failures_rollouts.parquet")
rollouts["reward"] = rollouts["format_reward"] + rollouts["accuracy_reward"]
GROUP, FULL_MARKS = notes["recipe"]["num_generations"], 2.0
HALF, LATE = notes["steps"] // 2, notes["steps"] - 10

# %% [markdown]
# ## 1 A run that goes well
#
# Look at a healthy run first. The pale line is a single step, the strong line is the mean of the last ten. Single steps
# are noisy, because every step asks other questions. In so few steps, even a healthy run gains less than the
# reward changes between two steps. So many people compare the two ends of a run: the mean of its first
# five steps and the mean of its last five. You will see both below.
#
# The first lines say how good the base is. The pre-flight asked only 16 questions, those of step 1, and they happen to
# be hard for the base. Its report has many more questions. So a curve that begins at step 1 begins too low. The dotted
# line is the accuracy of the base in its report, also of sampled completions.

# %% mystnb={"image": {"alt": "Seven panels of the healthy run, pale for single steps and strong for the running mean: reward, its parts accuracy and format, groups without spread, KL from the base, completion length, entropy, and gradient norm. A dotted line marks the accuracy of the base. The next cell prints the values at both ends."}}
print(f"{len(logs)} runs of {notes['steps']} steps, recorded {notes['date']};")
print("pre-flight:", notes["runs"]["healthy"]["preflight"]["text"])
print(f"the base's report: {BASE:.0%} of 5,120 completions right, 320 questions")
display(curves(logs["healthy"], base=BASE))
plt.close()


# %% [markdown]
# Is a reward that is higher at the end a proof of learning? Perhaps the last questions were easier. All runs of this
# record asked the same questions in the same steps. So take a run that stands still: its rate is so small that its KL
# stays near zero, and it earns what the base earns. **Predict**: do its two ends differ?


# %% tags=["nbval-check-output"]
def ends(log, columns=("reward", "zero_std_groups", "truncated", "kl")):
    """Means of the first and of the last five steps of a run."""
    columns = list(columns)
    return pd.DataFrame(
        {"first": log[columns].head(5).mean(), "last": log[columns].tail(5).mean()}
    )


def over_base(log, last=20):
    """Reward minus that of the base in the last steps, with a 95 % interval."""
    gap = (log["reward"].to_numpy() - still["reward"].to_numpy())[-last:]
    half = T_19 * gap.std(ddof=1) / last**0.5
    return gap.mean(), gap.mean() - half, gap.mean() + half


still, T_19 = logs["too slow"], 2.093  # Student's t, 19 degrees of freedom
columns = ("reward", "zero_std_groups", "truncated", "kl", "completion_length")
columns += ("entropy", "grad_norm", "loss")
display(ends(logs["healthy"], columns).T.round(3))
both = ends(still).loc["reward"].round(2).tolist()
print("reward of the run that stands still, at both ends:", both)
gain = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*over_base(logs["healthy"]))
print("healthy minus it, last 20 steps:", gain)

# %% [markdown]
# What each column says:
#
# - **reward**, the sum of accuracy and format, is what training raises. A rising reward can also come from a
#   cheat (chapter 03). A part that is at its maximum already cannot rise.
# - **zero_std_groups** is the share of groups *without spread*: all rollouts of such a group earn the same, so it has
#   no reward gradient. Section 2 looks inside such groups.
# - **truncated** is the share of completions that were cut off at the limit of tokens.
# - **kl** says how much the policy has changed from the base. It is in *nats per token*, where a nat is
#   a unit of information (about 1.44 bits).
# - **entropy** says how uncertain the policy is about its next token, also in nats. It falls while the policy
#   becomes surer. It can rise while the policy unlearns a mistake. At zero, all rollouts of a prompt are the
#   same, and learning stops.
# - **grad_norm** is the length of the gradient before it is clipped. At zero nothing is learned. A sudden peak
#   says that one batch pulled hard.
# - **loss** says nothing about progress. With `loss_type` `grpo` and one update per batch it is
#   `beta` times the KL (chapter 05).
#
# The reward of the run that stands still rises by nearly as much. It has learned nothing: the last questions
# were easier. So the two ends of a run say little. Subtract what the base earns on the same questions, step by step. In
# the record, this difference is clearly above zero for the healthy run: it has learned something. The interval is over
# the 20 steps. If you have no such second run, ask the base the questions of the last steps, or test both models as
# in chapter 06.
#
# Read the columns of a run in the order of the next figure. Ask questions 1 to 3 about the first steps, then ask all of
# them about the last. Stop at the first no. The limit of the KL, 0.5, is one for the runs of this record.
#
# Question 1 is about the rollouts and not about their rewards. Rollouts that differ can all earn the same, for example if
# none of them ends. Then `zero_std_groups` is 1 as well, and questions 2 and 3 tell the cause.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A chain of six boxes with arrows. First: do rollouts differ, by the entropy? If no, there is no spread. Second: is the KL below 0.5? If no, the run is too fast. Third: do completions end? If no, they are cut off. Fourth: does the run move, by KL and gradient? If no, it is too slow. Fifth: is the reward above that of the base on the same questions? If no, the run has learned nothing yet. Sixth: do the rollouts deserve it? If no, the reward is cheated."}}
from medr1_lib.course.sketch import sketch

ASKED = {
    "differ": "1 do rollouts\ndiffer?\nentropy",
    "near": "2 not too far?\nKL below 0.5",
    "ends": "3 do they end?\ntruncated,\nlength",
    "moves": "4 does it\nmove? KL,\ngrad_norm",
    "reward": "5 more reward\nthan the base, same\nquestions?",
    "read": "6 do rollouts\ndeserve it?\nread five",
}
FAULTS = ("no spread", "too fast", "cut off", "too slow")
FAULTS += ("learned\nnothing yet", "cheated")
boxes = {name: (1.5 * x, 0, text) for x, (name, text) in enumerate(ASKED.items())}
boxes |= {fault: (1.5 * x, -1, fault) for x, fault in enumerate(FAULTS)}
arrows = [(a, b, "yes") for a, b in zip(ASKED, list(ASKED)[1:], strict=False)]
arrows += [(a, b, "no") for a, b in zip(ASKED, FAULTS, strict=True)]
sketch(boxes, arrows, tints=dict.fromkeys(FAULTS, "orange"), size=(12, 3.2))
plt.show()

# %% [markdown]
# ## 2 Solved or stuck?
#
# A group without spread has no reward gradient. That can have two causes. Either all of its rollouts are right,
# and there is nothing left to learn. Or all of them are equally wrong, and nothing *can* be learned, because no
# rollout shows a better way. A log counts both together.
#
# ### Exercise 1: kinds of groups
# *medium, 10 minutes*
#
# `rewards` holds the points of all rollouts, group after group, `group_size` to a group. Return a dictionary with
# three shares of the groups: `"mixed"` (rewards differ), `"solved"` (all have `FULL_MARKS`) and `"stuck"` (all
# are equal, but lower).
#
# <details><summary>Hint</summary>
#
# `range(0, len(rewards), group_size)` gives the place where each group begins. A group is solved if its smallest
# reward is `FULL_MARKS`. It is mixed if its smallest is below its largest.
#
# </details>


# %% tags=["exercise"]
def group_kinds(rewards, group_size):
    """Shares of groups that are mixed, solved and stuck."""
    # solution
    starts = range(0, len(rewards), group_size)
    groups = [rewards[start : start + group_size] for start in starts]
    solved = sum(min(group) == FULL_MARKS for group in groups) / len(groups)
    mixed = sum(min(group) < max(group) for group in groups) / len(groups)
    return {"mixed": mixed, "solved": solved, "stuck": 1 - mixed - solved}
    # end solution


# %%
group_kinds = checks.group_kinds(group_kinds)

# %% [markdown]
# The record keeps the rollouts of two prompts per step. Here is the second half of the healthy run. The last line is
# from the log of the same steps, which counts all groups.

# %% tags=["nbval-check-output"]
own = rollouts[(rollouts["name"] == "healthy") & (rollouts["step"] > HALF)]
for kind, part in group_kinds(own["reward"].tolist(), GROUP).items():
    print(f"{kind:>6}: {part:.0%} of {len(own) // GROUP} groups")
flat = logs["healthy"].query("step > @HALF")["zero_std_groups"]
groups = len(flat) * notes["recipe"]["per_device_train_batch_size"] // GROUP
print(f"by the log, mixed: {1 - flat.mean():.0%} of {groups} groups")

# %% [markdown]
# The two shares of mixed groups are not the same, because two prompts of a step are a rough sample. Use the rollouts to
# compare solved with stuck, and the log for the share of mixed groups.
#
# Now compare `solved` and `stuck`. This run is healthy, and still its groups without spread are of both kinds. So a
# rising `zero_std_groups` is no proof of success. Chapter 08 shows what you can do about stuck groups.
#
# ## 3 What a KL means
#
# A KL divergence is not a distance. Near the base it grows with the *square* of the change. The next cell moves
# a policy over four letters along one direction and prints its KL.

# %%
base = np.array([1.0, 0.5, 0.0, -0.5])
for part in (0.25, 0.5, 1.0):
    new = log_softmax(base + part * np.array([1.0, -0.5, 0.25, 0.0]))
    kl = (np.exp(new) * (new - log_softmax(base))).sum()
    print(f"{part:4.0%} of the way: KL {kl:.4f}")

# %% [markdown]
# Half of the way has about a quarter of the KL. So if one run has a quarter of the KL of another, it has gone
# about half as far. Compare the square roots, not the values.
#
# ## 4 Eight runs without names
#
# The next cell takes eight of the recorded runs, shuffles them and calls them A to H. Run it without reading it,
# since it also holds the right verdicts. Each run is the recipe `course` with one thing changed, or with nothing
# changed. These verdicts are possible:
#
# | verdict | what it means |
# |---|---|
# | `healthy` | the run learns what it should |
# | `no spread` | the rollouts of a group are all the same from the start |
# | `cut off` | most completions hit the limit of tokens, at least at first |
# | `too slow`, `too fast` | the learning rate is far too low, or far too high |
# | `cheated` | the reward rises, and the completions do not have the form that was asked for |
#
# A verdict can be right for several runs, or for none.

# %%
CHOSEN = {
    "healthy": "healthy",
    "one answer": "no spread",
    "all cut off": "cut off",
    "cut short": "cut off",
    "too slow": "too slow",
    "too fast": "too fast",
    "hidden thoughts, published": "cheated",
    "hidden thoughts, strict": "healthy",
}
VERDICTS = ("healthy", "no spread", "cut off", "too slow", "too fast", "cheated")
shuffled = random.Random(8).sample(list(CHOSEN), len(CHOSEN))
unnamed = dict(zip("ABCDEFGH", shuffled, strict=True))
PANELS = {
    "reward": "reward\n(points of 2)",
    "zero_std_groups": "without spread\n(share)",
    "truncated": "cut off\n(share)",
    "completion_length": "length\n(tokens)",
    "kl": "KL\n(nats/token)",
    "entropy": "entropy\n(nats/token)",
    "grad_norm": "gradient\nnorm",
}


# %% tags=["hide-input"]
def charts(log_of):
    """A column of panels for each run, on one scale for each row."""
    shape = len(PANELS), len(log_of)
    plots = {"figsize": (13, 11), "layout": "constrained"}
    _, grid = plt.subplots(*shape, sharex=True, sharey="row", **plots)
    for column, (name, log) in zip(grid.T, log_of.items(), strict=True):
        column[0].set_title(name)
        column[-1].set_xlabel("step")
        for axes, field in zip(column, PANELS, strict=True):
            axes.plot(log["step"], log[field].rolling(3, min_periods=1).mean())
    for axes, field in zip(grid[:, 0], PANELS, strict=True):
        axes.set_ylabel(PANELS[field])
        if field in (
            "kl",
            "entropy",
            "grad_norm",
        ):  # one run is far from the others
            axes.set_yscale("symlog", linthresh=0.1)


# %% [markdown]
# All eight runs asked their questions in the same order. So if several columns fall at the same step, the
# batch was hard. If a column only rises where all others rise, the questions became easier. Each line is a running mean over three steps. KL, entropy and gradient have a scale that is
# logarithmic above 0.1. Take your time.

# %% mystnb={"image": {"alt": "Eight columns, A to H, and seven rows: reward, share of groups without spread, share cut off, completion length, KL, entropy and gradient norm over the steps of each run. Where a column differs clearly from the others, it is in one row or two. The table in section 5 has the means of the last five steps of the first six runs."}}
charts({letter: logs[name] for letter, name in unnamed.items()})
plt.show()

# %% [markdown]
# You may also read five rollouts, and no more. In real work, reading takes time, so choose the runs where the
# curves do not decide. `look("A", 60)` prints a completion of run A at step 60, its points, the right letter
# and the style that was asked for.

# %%
budget = 5


def look(letter, step):
    """Print one rollout, if the budget allows it."""
    global budget
    if budget == 0:
        print("You have read five rollouts.")
        return
    name = rollouts["name"] == unnamed[letter]
    found = rollouts[name & (rollouts["step"] == step)]
    if found.empty:
        print(f"The steps of a run are 1 to {notes['steps']}.")
        return
    budget -= 1
    one = found.iloc[budget]
    style = notes["runs"][unnamed[letter]]["changes"].get("style", "think_before")
    print(
        f"{one.completion!r}\n{one.reward:g} points, right: {one.answer}", end="; "
    )
    print(f"asked for: {style}; {budget} looks left")


# look("A", 60)

# %% [markdown]
# **Your verdicts**
#
# *hard, 40 minutes*: give each run a verdict from the table and your confidence that it is right, from 0
# to 1. The comment in the next cell shows how. Verdicts are scored when all eight runs have one.

# %%
mine = {}
# mine["A"] = ("too slow", 0.7)

# %% [markdown]
# ### Exercise 2: score a confidence
# *easy, 10 minutes*
#
# A good confidence is high where you are right and low where you are wrong. The *Brier score* measures that. Take
# 1 for a verdict that is right and 0 for a wrong one, and average the squared difference to the confidence.
# `right` is a list of `True` and `False`, `confidence` a list of numbers. The best score is 0. To say
# 0.5 everywhere scores 0.25.
#
# <details><summary>Hint</summary>
#
# Python takes `True` for 1 and `False` for 0 in arithmetic. `zip` goes through both lists together.
#
# </details>


# %% tags=["exercise"]
def brier(right, confidence):
    """Mean squared distance of a confidence from what came out."""
    # solution
    pairs = zip(right, confidence, strict=True)
    return sum((sure - came) ** 2 for came, sure in pairs) / len(right)
    # end solution


# %%
brier = checks.brier(brier)


# %%
def scored(name, verdicts):
    """How many verdicts are right, the mean confidence, and the Brier score."""
    for letter, (verdict, sure) in verdicts.items():
        if verdict not in VERDICTS or not 0 <= sure <= 1:
            print(f"{letter}: use a verdict of the table and a number from 0 to 1")
    right = [verdicts[letter][0] == CHOSEN[unnamed[letter]] for letter in unnamed]
    sure = [verdicts[letter][1] for letter in unnamed]
    print(f"{name}: {sum(right)} of {len(right)} right", end=", ")
    print(
        f"mean confidence {sum(sure) / len(sure):.2f}, Brier {brier(right, sure):.3f}"
    )


if mine.keys() >= unnamed.keys():
    scored("you", mine)
else:
    print("Write a verdict and a confidence for each of A to H first.")

# %% [markdown]
# Compare the share that is right with your mean confidence. If the confidence is higher, you were
# *overconfident*. If it is lower, you knew more than you thought. If both agree, you are *calibrated*. Eight
# verdicts are few: one more right verdict changes the share by an eighth.
#
# ## 5 What they were
#
# Open your table beside the next output before you read on. The last line scores a table that needs no curves:
# `healthy` everywhere, with the confidence of a guess. If you draw one of the six verdicts at random for each run, you
# are right in 1.3 of 8 on average.

# %% tags=["nbval-check-output"]
for letter, name in unnamed.items():
    changes = notes["runs"][name]["changes"].items()
    told = ", ".join(f"{key} {value}" for key, value in changes) or "nothing"
    print(f"{letter}: {CHOSEN[name]:>9} ({name}; changed: {told})")
scored("`healthy` everywhere", dict.fromkeys(unnamed, ("healthy", 1 / 6)))


# %%
FIRST = list(CHOSEN)[:6]  # the other two have another base
table = pd.DataFrame({name: ends(logs[name], PANELS)["last"] for name in FIRST}).T
over = pd.DataFrame({name: over_base(logs[name]) for name in FIRST}).T
table[["minus base", "low", "high"]] = over
table.round(2)

# %% [markdown]
# **Two runs without a signal.** `one answer` samples with temperature 0.01 and `top_k=1`. Qwen2-VL's own
# `generation_config` asks for such values. TRL overrides that file, but a plain `generate` follows it. All
# rollouts of a prompt are the same. Entropy and gradient are zero, and the KL stays at zero. Its reward still
# goes up and down, because each step asks other questions. So a moving reward alone proves nothing. Compared
# with the base, this run earns as much as the healthy one, but it does so from the first step. It has learned nothing:
# the likeliest token is right more often than a sampled one. So ask questions 1 to 4 before question 5. `all cut
# off` allows six tokens, and no completion reaches its answer. Its rollouts differ, and all earn nothing.
#
# **Cut short.** A limit of 11 tokens is a little too short for most completions of the base. What does the
# policy do? The next cell prints, for the first and the last five steps, the mean length and the share that
# is cut off. If the share falls and the length does not, the policy *adapts* to the limit. This is not a
# *length collapse*: in a collapse the length falls.
#
# What does the policy write in order to fit? No curve shows that. So the cell also prints accuracy and form, the share of
# the late rollouts that contain `anatomy:`, and the most common rollout.

# %%
for name in ("healthy", "cut short"):
    own = rollouts[(rollouts["name"] == name) & (rollouts["step"] > LATE)]
    named = own["completion"].str.contains("anatomy:").mean()
    columns = ["completion_length", "truncated", "accuracy", "format"]
    both = ends(logs[name], columns)
    print(f"{name}: {named:.0%} of {len(own)} rollouts contain `anatomy:`")
    print(both.round(2).to_string(), own["completion"].mode()[0], sep="\n")
ledger.page(7, thinking=None)

# %% [markdown]
# Under this limit the policy writes `modality, anatomy: value` for nearly every question. This fits, but it no longer
# speaks about what was asked: the form is kept, and accuracy falls from that of the base to about chance. The second
# claim in your ledger is about the value of a rationale. If this changes your mind, write a new probability in place of
# `None`.
#
# **Too slow, too fast.** The next cell prints both rates as multiples of the healthy rate, with the KL at the
# end and the reward at both ends. The slow run hardly moves, and its reward rises all the same: it is the run that
# stands still of section 1. The fast run has a KL near 1 and a reward far
# below the healthy one: its first updates broke it. Since then all its groups are stuck, so no reward brings
# it back. If you let a run train overnight, add a rule that stops it when the KL passes a limit.

# %%
for name in ("too slow", "healthy", "too fast"):
    changes, both = notes["runs"][name]["changes"], ends(logs[name])
    rate = changes.get("learning_rate", notes["recipe"]["learning_rate"])
    times = rate / notes["recipe"]["learning_rate"]
    kl, reward = both["last"]["kl"], both.loc["reward"].round(2).tolist()
    print(f"{name}: {times:g} times the rate, KL {kl:.4f}, reward {reward}")

# %% [markdown]
# The root of the KL says how far a run has gone (section 3). So compare the roots of the KL of the first two
# runs.
#
# **No penalty.** Two more recorded runs have no KL penalty. The penalty pulls a token back with `beta * (1 -
# p_ref / p)`, and the advantage pushes it with about 1. The next cell compares the two for a token that has
# become twice as likely. At this `beta` the pull is weak. Yet it acts in every step. Compare each run without
# a penalty with the run of the same rate: `fast` has a higher rate than `healthy`. What changes more without
# the penalty, the reward or the KL?

# %%
beta = notes["recipe"]["beta"]
print(f"pull on a token that is twice as likely: {beta * (1 - 1 / 2):.3f}, push: 1")
LOOSE = [name for name, run in notes["runs"].items() if "beta" in run["changes"]]
pd.DataFrame(
    {name: ends(logs[name])["last"] for name in ("healthy", "fast", *LOOSE)}
).T.round(2)

# %% [markdown]
# Without the penalty the KL is more than three times as large, and the reward hardly differs. So in these 60 steps the
# penalty costs nothing, and it holds the policy near the base.
#
# **Cheated.** Two runs started from a base with a bad habit. The style `no_think` asks for a letter only. But
# half of the completions of this base were `<answer>`, a line break, a rationale, and only then
# `<answer>B</answer>`. Under the published rules of chapter 03 this earns both points. The dot of the format
# pattern matches a line break, so the pattern accepts the whole completion. The dot of the accuracy pattern
# does not, so that rule finds the second block with its letter. The strict rules give no point.

# %% tags=["headline", "nbval-check-output"]
from medr1_lib.rl.rewards import points

for name in ("hidden thoughts, published", "hidden thoughts, strict"):
    own = rollouts[(rollouts["name"] == name) & (rollouts["step"] > LATE)]
    full = own[own["reward"] == FULL_MARKS]
    strict = [
        sum(points(r.completion, r.answer, "no_think")) for r in full.itertuples()
    ]
    unearned = sum(earned < FULL_MARKS for earned in strict) / len(strict)
    tokens = ends(logs[name], ["completion_length"]).loc[
        "completion_length", "last"
    ]
    print(f"{name}: {unearned:.0%} of full marks unearned, {tokens:.1f} tokens")

# %% [markdown]
# The published rules pay in full for completions that the strict rules would not pay for. The reward curve of
# a cheat looks good. The length can show the cheat, if you know that a letter in its tags takes four tokens.
# The honest run becomes shorter, because the style asks for a letter only. So a falling length is not always
# a fault. To find a cheat, read rollouts, and score them with a rule that the training does not use.
#
# ## 6 Mend this run
#
# Now you repair a run of your own, live. `faulty(number)` gives a recipe with one or two faults, and with
# some harmless changes that should stay. Recipe 1 is worked out below.

# %%
NUMBER, STEPS = 1, 60  # other numbers: other faults
TRAINS = tier.name != "replay"
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-07-")
folder = Path(temporary.name)
STANDARD = notes["recipe"]
if TRAINS:
    from medr1_lib.course.live import live
    from medr1_lib.data import phantom_vqa
    from medr1_lib.rl.recipe import Recipe, load_recipe
    from medr1_lib.rl.train import train

    asked = phantom_vqa.questions("train", per_cell=8)
    phantom_vqa.write(folder / "phantoms", {"train": asked}, {"per_cell": 8})
    STANDARD = load_recipe("gpu" if tier.name == "gpu" else "course").to_dict()
STANDARD |= {"model": str(tier.model_path), "data": str(folder / "phantoms")}


def faulty(number):
    """A recipe with faults, and with changes that do no harm."""
    draw = random.Random(18 * number)
    speed = {
        "learning_rate": draw.choice([1e-2, 2e-2] if number % 2 else [2e-6, 4e-6])
    }
    dead = {"temperature": 0.05, "top_k": 1}
    faults = (speed, {"max_completion_length": 6}, dead)
    passes = {"gradient_accumulation_steps": 4}  # half the rollouts of a step
    size = passes if tier.name == "gpu" else {"per_device_train_batch_size": 64}
    harmless = {"beta": 0.02, "lora_r": 8} | size
    return STANDARD | harmless | faults[0] | draw.choice(faults)


# %%
def watched(name, recipe, steps, instead):
    """The log of a live run, drawn while it trains; at the replay tier a recorded one."""
    if TRAINS:
        recipe = Recipe.from_dict(recipe | {"max_steps": steps})
        out = Path(tempfile.mkdtemp(prefix=name, dir=folder))
        return train(recipe, out, force=True, callbacks=[live()]).log
    display(curves(instead))
    plt.close()
    return instead


# %% [markdown]
# The next cell trains ten steps of recipe 1. It skips the pre-flight, which refuses a run without spread.
# Look at the curves: which verdicts fit?

# %% mystnb={"image": {"alt": "Seven panels over ten steps of a run with a fault: reward, its parts accuracy and format, groups without spread, KL from the base, completion length, entropy, and gradient norm."}}
seen = watched("faulty", faulty(NUMBER), 10, logs["too fast"].head(10))

# %% [markdown]
# ### Exercise 3: set back the cause
# *medium, 15 minutes*
#
# Return a copy of `recipe` in which the cause of every verdict in `verdicts` has the value that it has in
# `standard`. Everything else stays as it is in `recipe`. The fields are `learning_rate`, `max_completion_length`,
# `temperature`, `top_k` and `rules`. Which of them causes `too fast`, `too slow`, `cut off`, `no spread`, `cheated`?
#
# <details><summary>Hint</summary>
#
# Write a dictionary from verdicts to lists of fields. One verdict has two fields. `{**recipe, **changes}` is a copy of
# `recipe` with `changes`.
#
# </details>


# %% tags=["exercise"]
def mend(recipe, standard, verdicts):
    """The recipe with the cause of each verdict set back to the standard."""
    # solution
    causes = {
        "too fast": ["learning_rate"],
        "too slow": ["learning_rate"],
        "cut off": ["max_completion_length"],
        "no spread": ["temperature", "top_k"],
        "cheated": ["rules"],
    }
    fields = [field for verdict in verdicts for field in causes[verdict]]
    return {**recipe, **{field: standard[field] for field in fields}}
    # end solution


# %%
mend = checks.mend(mend)

# %% [markdown]
# Compare the first step of recipe 1 with the later ones. The completions reach the limit only after the
# reward has fallen. So the run looks cut off as well, but the limit is not the cause. The learning rate alone
# explains all curves. So we set back the learning rate and look again.

# %% mystnb={"image": {"alt": "Seven panels over the steps of the mended run: reward, its parts accuracy and format, groups without spread, KL from the base, completion length, entropy, and gradient norm. The next cell prints whether there is spread, completions end, and the KL stays below 0.5."}}
verdicts = ["too fast"]
mended = mend(faulty(NUMBER), STANDARD, verdicts)
after = watched("mended", mended, STEPS, logs["healthy"])

# %% tags=["headline", "nbval-check-output"]
found = ends(after)["last"]
signs = {
    "there is spread": found["zero_std_groups"] < 0.9,
    "completions end": found["truncated"] < 0.1,
    "it moves, and not too far": 5e-3 < found["kl"] < 0.5,
    "the reward is above that of the sick run": found["reward"]
    > seen["reward"].tail(5).mean(),
}
for sign, holds in signs.items():
    print(f"{sign}: {'yes' if holds else 'no'}")

# %% [markdown]
# The last line compares different questions, so it only finds a broken run.
#
# Your turn: set `NUMBER` to 2, 3 or 4, run this section again, and change `verdicts` until every line says
# yes. *hard, 30 minutes*, most of it waiting. Recipe 2 has one fault, and recipes 3 and 4 have two each. A
# run without any spread does not show whether its rate is too low or too high. So the first fault can hide a
# second one.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# The share of groups without spread rises from 20 to 60 % in a run. What do you know?
#
# <details><summary>A. The model is good now, since most groups are solved</summary>
#
# Wrong. Groups in which all rollouts are equally wrong have no spread either, and in the record they are common.
#
# </details>
# <details><summary>B. The learning rate is too high</summary>
#
# Wrong. A broken policy has no spread, but so has a good one; look at KL and reward before you blame the rate.
#
# </details>
# <details><summary>C. A smaller part of each batch teaches something. The rewards of these groups show why</summary>
#
# Right. Such groups cost as much as the others, and you have to look whether they are solved or stuck.
#
# </details>
#
# ### Question 2
# Run X ends with a KL of 0.04 and run Y with 0.01, near the same base. How far has Y gone, compared with X?
#
# <details><summary>A. About half as far</summary>
#
# Right. Near the base the KL grows with the square of the change, so the square root of a quarter counts.
#
# </details>
# <details><summary>B. About a quarter as far</summary>
#
# Wrong. This reads the KL as a distance, and it is quadratic in the change of the policy.
#
# </details>
# <details><summary>C. Just as far, since both are below 0.1</summary>
#
# Wrong. There is no such limit. Two runs on one base can be compared by the roots of their KL.
#
# </details>
#
# ### Question 3
# A reward rises steadily, spread and KL look healthy, and completions become longer. What is the next thing to do?
#
# <details><summary>A. Stop the run, since a growing length is a collapse</summary>
#
# Wrong. Longer completions can be better reasoning or a cheat; a collapse is a length that falls.
#
# </details>
# <details><summary>B. Read some rollouts and score them by a rule that the training does not use</summary>
#
# Right. No curve shows whether a reward is honest or cheated. A second rule or a reader can tell.
#
# </details>
# <details><summary>C. Let it run, since the reward is what was asked for</summary>
#
# Wrong. The reward is what you wrote down, which is not always what you wanted.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Curves are read in an order: entropy, KL, cut-off completions, movement, reward, and then rollouts.
# - A reward that rises from the first to the last steps can come from easier questions. Compare with the base on
#   the same questions.
# - A group without spread is solved or stuck, and only the rewards tell which.
# - A KL is quadratic near the base, a loss says nothing, and an entropy of zero ends all learning.
# - A rising reward can come from a policy that adapts to a wrong limit and stays below the base. A reward above the base
#   can come from a cheat.
# - The Brier score rates a verdict and its confidence together.
# - To repair a run, change the cause of the fault and leave harmless settings alone.
#
# ## Where to go next
#
# Add a run of your own to `RUNS` in `benchmarks/study/failures.py`. Write down which curve will show the
# fault, and run it. Chapter 08 changes the loss itself, and shows what to do about stuck groups. To read: L.
# Gao, J. Schulman and J. Hilton, *Scaling laws for reward model overoptimization* (arXiv 2210.10760), and J.
# Skalse et al., *Defining and characterizing reward hacking* (arXiv 2209.13085).
