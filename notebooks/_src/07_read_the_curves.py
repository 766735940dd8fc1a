# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 7 Read the curves
#
# ## What you will do
#
# Chapter 06 showed a training that went well. Here nearly the same model is trained eleven times more, each
# time with one thing wrong, or with one thing that people expect to go wrong. You compare the curves,
# look into the rollouts where the curves do not tell, and turn what you learned into a function that
# names the fault.
#
# ## What you will learn
#
# After this chapter you can
#
# - say in which order to read the curves of a GRPO run, and why not to begin with the loss,
# - tell a run that cannot learn from one that learns slowly,
# - recognize completions that are cut off, a learning rate that is too high, and a reward that is
#   cheated,
# - name what no curve shows, and where to look instead.
#
# ## What you will need
#
# Chapters 03 and 06. The runs are recorded, 40 steps each, one seed, made by `benchmarks/study/failures.py`.
# Two short things are tried live, and at the replay tier these are read from the record as well.

# %%
import json
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers

tier = tiers.start(7)
sns.set_theme(style="whitegrid", palette="colorblind", rc={"figure.dpi": 80})
warnings.filterwarnings("ignore", category=FutureWarning)

# %% [markdown]
# Every run is the recipe `course` with the changes of its row. All of them ask the same questions in
# the same order, so that two curves can be compared step by step.

# %%
from medr1_lib.course.live import curves, live

RECORDED = tiers.material("recorded")
notes = json.loads((RECORDED / "failures.json").read_text())
logs = dict(list(pd.read_parquet(RECORDED / "failures.parquet").groupby("name")))
rollouts = pd.read_parquet(RECORDED / "failures_rollouts.parquet")
for name, run in notes["runs"].items():
    changes = ", ".join(f"{key} {value}" for key, value in run["changes"].items())
    print(f"{name:>26}: {changes or 'nothing changed'}")

# %% [markdown]
# ## 1 A run that goes well
#
# First a healthy one, so that you know the signs. Read the reward and its parts in the figure, then spread and
# cut-off completions in the table below it, then KL and length.

# %% mystnb={"image": {"alt": "Four curves over 40 steps of the healthy run. Reward rises from 0.9 to nearly 1.6 of 2 points, most of it in the first fifteen steps. Accuracy rises from 0.3 to about 0.6, format from 0.6 to nearly 1. KL from the base rises to about 0.06 with single steps up to 0.2. Completion length stays between 12 and 13 tokens."}}
display(curves(logs["healthy"]))
plt.close()


# %% [markdown]
# Single steps are noisy, so from here on we speak of the two ends of a run: the mean of the first five
# steps, and of the last five.


# %%
def ends(name, columns=("reward", "zero_std_groups", "truncated", "kl", "loss")):
    """Means of the first and of the last five steps of a run."""
    log = logs[name][list(columns)]
    return pd.DataFrame({"first": log.head(5).mean(), "last": log.tail(5).mean()})


ends("healthy").T.round(3)

# %% [markdown]
# - The **reward** rises, and both of its parts do.
# - **zero_std_groups**, the share of groups without an advantage, is far from 1. It rises as questions get
#   solved.
# - **truncated**, the share of completions that were cut off at the limit, is near zero.
# - **kl**, the distance from the base, grows and stays small.
#
# And the **loss**? It begins near zero, and then grows while the model gets better. Chapter 05 told
# why: with one step per batch all ratios are 1, `grpo` gives every rollout the same weight, and the
# advantages of a group add up to zero. What is left is the penalty. So the loss should be `beta` times the KL, and nothing else.

# %%
healthy = logs["healthy"]
beta = notes["recipe"]["beta"]
print(f"beta = {beta}")
print(f"correlation of loss and KL: {healthy['loss'].corr(healthy['kl']):.3f}")
print(f"loss / KL, all steps: {healthy['loss'].sum() / healthy['kl'].sum():.3f}")

# %% [markdown]
# The two means differ a little, since the loss weighs rollouts equally and the logged KL weighs tokens
# equally. A falling loss is thus not what you wait for, and a rising one is no alarm.
#
# ## 2 A dead signal
#
# GRPO learns from differences within a group. Where all rollouts of a prompt earn the same, there is
# nothing to learn from.
#
# ### Exercise 1: groups without spread
# *easy, 5 minutes*
#
# `rewards` holds the points of all rollouts, group after group, `group_size` to a group. Return the
# share of groups in which all rollouts earn the same.
#
# <details><summary>Hint</summary>
#
# `range(0, len(rewards), group_size)` gives the place where each group begins. A set keeps each value
# once.
#
# </details>


# %% tags=["exercise"]
def zero_std_groups(rewards, group_size):
    """Share of groups in which all rollouts earn the same, so that none has an advantage."""
    # solution
    starts = range(0, len(rewards), group_size)
    groups = [rewards[start : start + group_size] for start in starts]
    return sum(len(set(group)) == 1 for group in groups) / len(groups)
    # end solution


# %%
zero_std_groups = checks.zero_std_groups(zero_std_groups)

# %% [markdown]
# Two ways to kill the signal. `one answer` samples with temperature 0.01 and `top_k=1`, which is what
# Qwen2-VL's own `generation_config` asks for. (TRL overrides that file; a plain `generate` follows it.) `all cut off` allows
# six tokens, so that no completion reaches its answer. The function counts the recorded rollouts, two
# groups of eight for every step.

# %% tags=["nbval-check-output"]
GROUP = notes["recipe"]["num_generations"]
rollouts["reward"] = rollouts["format_reward"] + rollouts["accuracy_reward"]
for name in ("healthy", "one answer", "all cut off"):
    earned = rollouts.loc[rollouts["name"] == name, "reward"].tolist()
    print(
        f"{name:>11}: {zero_std_groups(earned, GROUP):.0%} of groups without spread"
    )


# %% [markdown]
# The next function draws some curves of some runs side by side. Before you look: what will the reward
# of `one answer` do?


# %%
def beside(names, columns, width=5):
    """Curves of several runs, a panel for each column, as means of the last `width` steps."""
    _, axes = plt.subplots(
        1, len(columns), figsize=(3.2 * len(columns), 3), layout="constrained"
    )
    for axis, (column, label) in zip(axes, columns.items(), strict=True):
        for name, style in zip(names, ("-", "--", ":", "-."), strict=False):
            mean = logs[name][column].rolling(width, min_periods=1).mean()
            axis.plot(logs[name]["step"], mean, style, label=name)
        axis.set(xlabel="step", ylabel=label)
    lines, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(lines, labels, loc="outside upper center", ncols=4)
    return axes


REWARD, KL = {"reward": "reward (points of 2)"}, {"kl": "KL (nats per token)"}
SPREAD = {"zero_std_groups": "groups without spread"}

# %% mystnb={"image": {"alt": "Reward, share of groups without spread, and KL of three runs. Healthy: reward to 1.6, spread in most groups, KL up to 0.09. One answer: reward wavers between 0.9 and 1.4, all groups without spread, KL zero. All cut off: reward zero, all groups without spread, KL zero."}}
beside(("healthy", "one answer", "all cut off"), REWARD | SPREAD | KL)
plt.show()

# %% [markdown]
# Look at the reward of `one answer` between steps 28 and 37: it climbs from 1.0 to 1.4. But its policy did
# not change at all: all groups are without spread, and the KL is exactly zero in every step. Each step asks
# other questions, and those happen to be easier. So a rising reward alone does not prove that anything was
# learned. Lay it beside a run that got the same questions, or test before and after as in chapter 06.
#
# The training command refuses such a run. Before the first step it samples some groups, the
# *pre-flight*. The next two cells try it with the model of your tier.

# %%
from medr1_lib.data import phantom_vqa
from medr1_lib.errors import InputError
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.train import train

PER_CELL, TRAINS = 4, tier.name != "replay"
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-07-")
folder = Path(temporary.name)
if TRAINS:
    asked = phantom_vqa.questions("train", per_cell=PER_CELL)
    phantom_vqa.write(folder / "phantoms", {"train": asked}, {"per_cell": PER_CELL})


def attempt(name, callbacks=(), **changes):
    """Ten steps with the recipe of this tier and some changes."""
    own = {"model": str(tier.model_path), "data": str(folder / "phantoms")}
    kind = "gpu" if tier.name == "gpu" else "course"
    recipe = load_recipe(kind, **own | {"max_steps": 10} | changes)
    return train(recipe, folder / name, callbacks=callbacks)


# %% tags=["nbval-check-output"]
for name in ("one answer", "all cut off"):
    told = notes["runs"][name]
    said = "not refused" if TRAINS else told["preflight"]["problem"]
    try:
        if TRAINS:
            attempt(name, **told["changes"])
    except InputError as refusal:
        said = refusal.problem.rpartition("): ")[2]
    print(f"{name}: {said}")

# %% [markdown]
# A pre-flight of 16 groups finds what is dead, not what is weak. The next run passed it.
#
# ## 3 Cut short
#
# `cut short` allows 11 tokens. A usual completion takes 12 or 13, so most of them are cut off before
# the answer is closed.

# %%
print(notes["runs"]["cut short"]["preflight"]["text"])

# %% mystnb={"image": {"alt": "Cut short and healthy over 40 steps. The reward of cut short rises from about 0.2 to 1.5, close to the healthy one at 1.6. Its share of completions cut off falls from about 0.7 to near 0. Its KL rises to 0.9 and settles at 0.5 while the healthy one stays below 0.1."}}
beside(
    ("healthy", "cut short"),
    REWARD | {"truncated": "share cut off"} | KL,
)
plt.show()

# %% [markdown]
# The reward grows sixfold, from 0.24 to 1.49, and the share of completions that are cut off falls from
# most to hardly any. Had you looked at these two alone, you would report a success. The KL says otherwise:
# 0.50, where the healthy run has 0.06. Something about this model is very different now. A curve cannot say
# what; the rollouts can.


# %%
def show(name, step, count=3):
    """Some of the different completions of a step."""
    own = rollouts[(rollouts["name"] == name) & (rollouts["step"] == step)]
    for completion in own["completion"].drop_duplicates().head(count):
        print(f"step {step}: {completion!r}")


for step in (1, 40):
    show("cut short", step)

# %% [markdown]
# At first, a thought names the modality, the part of the body and what was asked, each in its place, and is
# cut off before the answer is closed. At the end, the answer is closed, and the thought has lost a part. What
# was asked is still named, but a grade or a place is called an anatomy, since two parts with that word between
# them are the shortest thought that this model knows. The tokens for the closing tag were taken where no rule
# looks. How often is any part of the body still named? The recorded rollouts of ten steps:

# %%
from medr1_lib.analysis.stats import wilson


def body_named(name, first, last):
    """Share of completions that name a part of the body, with its interval."""
    own = rollouts[
        (rollouts["name"] == name) & rollouts["step"].between(first, last)
    ]
    named = 0
    for rollout in own.itertuples():
        parts = phantom_vqa.values(rollout.modality, "Anatomy Identification")
        named += any(part in rollout.completion for part in parts)
    low, high = wilson(named, len(own))
    return f"{named / len(own):.0%} [{low:.0%}, {high:.0%}], n = {len(own)}"


for name in ("healthy", "cut short"):
    print(f"{name}, steps 1 to 10:", body_named(name, 1, 10))
    print(f"{name}, steps 31 to 40:", body_named(name, 31, 40))

# %% [markdown]
# (Rollouts of a group resemble each other, so these intervals are somewhat too narrow. The difference
# is far larger than that.)
#
# This is *length collapse* with a plain cause: the limit. The accuracy reward suffers least, 0.51 against
# 0.62 at the end, and it is the one that people report. Whoever wanted reasons to read has a model whose
# reasons went wrong while every curve but the KL improved.
#
# ## 4 Too slow, too fast
#
# With one step per batch the clip never acts, so the learning rate alone decides how far a step goes.
# The recipe has 0.0004. Here are a fortieth of it, five times as much, and 25 times as much.

# %% mystnb={"image": {"alt": "Four learning rates. Too slow: reward between 0.9 and 1.3, KL rising to 0.015. Healthy: reward to 1.6, KL below 0.1. Fast: reward as healthy, KL near 0.3. Too fast: reward falls to 0 within ten steps, KL above 1, and all groups are without spread from then on."}}
SPEEDS = ("too slow", "healthy", "fast", "too fast")
axes = beside(SPEEDS, REWARD | KL | SPREAD)
axes[1].set(yscale="log", ylim=(1e-4, 10))
plt.show()

# %% [markdown]
# `too slow` has spread, so it has something to learn from, and it does learn: it ends above its start, which
# `one answer` did not on the same questions. But its KL of 0.014 says how far it got in 40 steps, a quarter of
# the way of the healthy run. `too fast` is over after its first update. Its reward falls to zero, and with it
# all spread: a dead signal again, but with a KL above 1. Nothing brings it back, since no rollout is right any
# more. `fast` is the one to think about. It works, and it is ahead in the first steps; at the end it is no
# better than the slower one, at more than four times the KL.
#
# See the collapse happen. Ten steps are enough. While you wait: which curve moves first, and could you
# have stopped the run by it?

# %% mystnb={"image": {"alt": "Ten steps at 25 times the learning rate. The reward and both of its parts fall to nearly zero after one step. KL rises above 1 at once and to about 10. Completion length rises to the limit of 32 tokens."}}
if TRAINS:
    broken = attempt("too fast", [live()], learning_rate=1e-2).log
else:
    broken = logs["too fast"].head(10)
    display(curves(broken))
    plt.close()

# %% tags=["nbval-check-output"]
reward = broken["reward"]
lost = reward.iloc[-3:].mean() < reward.iloc[0] / 2
print("half of the reward lost within ten steps:", "yes" if lost else "no")

# %% [markdown]
# After a single update the KL is several times higher than it ever was in the healthy run, and the reward is
# all but gone. No curve gave a warning before: there was no step before. A run that should go on overnight
# deserves a rule that stops it when the KL passes a limit.
#
# ## 5 No KL penalty
#
# The penalty with `beta` is meant to keep the policy near the base. What if it is missing? The table
# has the learning rate of the recipe and five times as much, each with and without. (Without means
# 0.000000001, since TRL does not compute a KL at 0.)

# %%
pd.DataFrame(
    {
        name: {
            "reward, last": ends(name).loc["reward", "last"],
            "KL, last": ends(name).loc["kl", "last"],
            "KL, highest": logs[name]["kl"].max(),
        }
        for name in ("healthy", "no leash", "fast", "fast, no leash")
    }
).T.round(2)

# %% [markdown]
# Little came loose. At the rate of the recipe the last steps are no farther from the base without a penalty,
# 0.05 against 0.06, though the farthest single step is: 0.43 against 0.21. At five times the rate both are
# farther, at the end 0.36 against 0.27, and the reward is slightly lower. One seed cannot tell such
# differences from luck. What can be said
# is that in 40 steps the learning rate decided how far the policy went, and 0.04 times a KL of 0.1 is a
# small price beside advantages of about 1. A penalty matters in long runs, and where the reward can be
# cheated. We expected a failure here, and did not get a clear one. And a small KL is no promise either: it is
# measured on the texts of the training, and chapter 06 found captions that became worse in spite of it.
#
# ## 6 A reward that is cheated
#
# Chapter 03 found completions that the published rules pay and the strict ones do not. Does a model
# find them? To tell, score each rollout twice: `reward` is what it was paid in its run, `strict` what
# the strict rules would have given.
#
# ### Exercise 2: full marks that were not earned
# *easy, 5 minutes*
#
# `paid` are the points of each rollout under the rules of its run, `strict` its points under the strict
# rules. Return the share of the rollouts with `FULL_MARKS` marks that the strict rules would have given less,
# and 0.0 where no rollout has full marks.
#
# <details><summary>Hint</summary>
#
# Go through both lists at once with `zip` and keep the strict points of those that were paid `FULL_MARKS`.
# Count which of these are lower. The list may be empty.
#
# </details>

# %%
from medr1_lib.rl.rewards import points

FULL_MARKS = 2.0  # points of a completion that is right and has the form asked for


def strict_points(rollout):
    """What the strict rules give to a recorded rollout."""
    changes = notes["runs"][rollout["name"]]["changes"]
    style = changes.get("style", "think_before")
    return sum(points(rollout["completion"], rollout["answer"], style))


rollouts["strict"] = rollouts.apply(strict_points, axis=1)


# %% tags=["exercise"]
def unearned(paid, strict):
    """Share of the full marks that the strict rules would not give."""
    # solution
    full = [
        points
        for reward, points in zip(paid, strict, strict=True)
        if reward == FULL_MARKS
    ]
    return sum(points < FULL_MARKS for points in full) / len(full) if full else 0.0
    # end solution


# %%
unearned = checks.unearned(unearned)

# %% [markdown]
# The run `published` is the healthy one, paid by the published rules.

# %% tags=["nbval-check-output"]
own = rollouts[rollouts["name"] == "published"]
share = unearned(own["reward"].tolist(), own["strict"].tolist())
print(f"published: {share:.1%} of full marks unearned, {len(own)} rollouts")

# %% [markdown]
# Nothing at all: not one of the full marks would be refused. The rules have holes, and the model did not find them within 40 steps. Training only makes likelier what
# is sampled already, and this base hardly ever writes what the holes would pay for.
#
# A base from the internet has many habits. So here is one that has a bad one. In the style `no_think` a
# model should give the letter and nothing else. Before reinforcement, a short supervised lesson showed
# it 1,024 examples with right letters. In half of them the thoughts stand *inside* the answer block,
# after a line break. The published rules give full marks for that: one pattern lets a dot match a line
# break, the other does not, so it skips to the second `<answer>`.

# %%
for step in (1, 40):
    show("hidden thoughts, published", step)

# %% [markdown]
# The habit takes over. Nobody asked for thoughts, but they help to find the letter, and the rules pay
# for the letter. Two runs started from this same base. One was paid by the published rules, the other
# by the strict ones.

# %% mystnb={"image": {"alt": "The same base trained with published and with strict rules. Published: reward from 1.5 to 1.7, share with thoughts from 0.5 to nearly 1, completions from 9 to 15 tokens. Strict: reward from 0.8 to 1.3, share with thoughts to nearly 0, completions to 4 tokens."}}
HABIT = ("hidden thoughts, published", "hidden thoughts, strict")
for name in HABIT:
    own = rollouts[rollouts["name"] == name]
    thinks = own["completion"].str.contains("<think>").groupby(own["step"]).mean()
    logs[name] = logs[name].set_index("step", drop=False).assign(thinks=thinks)
THINKS = {"thinks": "with thoughts (n = 16)"}
beside(HABIT, REWARD | THINKS | {"completion_length": "completion (tokens)"})
plt.show()

# %% [markdown]
# Judged by the left panel alone, the cheat is the better run. Both rewards rise, and its ends higher, at
# 1.73 against 1.33. By the strict rules nearly all of its full marks are unearned at the end.
# Nor are its answers worse: with thoughts it finds the right letter more often. What it lost is what
# the style was chosen for, a short answer. The length would have warned you, if you knew that a letter
# in its tags takes four tokens, the end of the turn included.
#
# A cheat like this makes no curve fall. It is found by reading rollouts, and by scoring them with a
# rule that the training does not use. And only what the base already does now and then can be
# reinforced, cheats too.
#
# ## 7 A diagnosis
#
# ### Exercise 3: name the fault
# *medium, 20 minutes*
#
# Now put it together. `first` and `last` hold the means of a run's columns at its two ends, and `last`
# has `unearned` as well. Return the first of these that fits, in this order:
#
# 1. hardly a group with spread at the end (more than `DEAD` without) and hardly any way from the base
#    (KL below `MIN_KL`): `"cut off"` if more than `TRUNCATED` of the completions are, otherwise `"no spread"`;
# 2. `"too fast"` if less than the share `REWARD_LEFT` of the first reward is left;
# 3. `"cut off"` if more than `TRUNCATED` of the completions were, at first;
# 4. `"too slow"` if the KL is below `MIN_KL`;
# 5. `"hacked"` if more than `UNEARNED` of the full marks are unearned;
# 6. `"healthy"`.
#
# <details><summary>Hint</summary>
#
# One `if` with a `return` for each line. The order matters: a solved task has no spread either, but is
# far from the base; and what broke has no spread, but was far from the base before.
#
# </details>

# %%
DEAD, TRUNCATED = 0.9, 0.5  # shares of groups, of completions
MIN_KL, REWARD_LEFT = 0.02, 0.5  # nats per token, share of the first reward
UNEARNED = 0.1  # share of full marks


# %% tags=["exercise"]
def diagnose(first, last):
    """Name the failure that two ends of a run show, or call it healthy."""
    # solution
    if last["zero_std_groups"] > DEAD and last["kl"] < MIN_KL:
        return "cut off" if last["truncated"] > TRUNCATED else "no spread"
    if last["reward"] < REWARD_LEFT * first["reward"]:
        return "too fast"
    if first["truncated"] > TRUNCATED:
        return "cut off"
    if last["kl"] < MIN_KL:
        return "too slow"
    return "hacked" if last["unearned"] > UNEARNED else "healthy"
    # end solution


# %%
diagnose = checks.diagnose(diagnose)

# %% tags=["headline", "nbval-check-output"]
for name in notes["runs"]:
    own = rollouts[(rollouts["name"] == name) & (rollouts["step"] > 35)]
    cheated = unearned(own["reward"].tolist(), own["strict"].tolist())
    first, last = ends(name)["first"], ends(name)["last"]
    print(f"{name:>26}: {diagnose(first, {**last, 'unearned': cheated})}")

# %% [markdown]
# Compare with the list of changes at the top. The thresholds were chosen with these very runs before
# our eyes, so that the function is right about them proves little; another model needs bounds of its
# own. And three runs are called healthy that were expected to fail: `no leash` and `fast, no leash`,
# which had no penalty, and `published`, whose reward has holes. In 40 steps and with one seed nothing
# went wrong there. That is no proof that nothing can.
#
# ## What you saw
#
# - Reward, its parts, spread, cut-off share and KL are read together. With `grpo` and one step per batch the loss is `beta` times the KL.
# - A reward can rise though the model stands still, because the questions change.
# - A limit that is too short gave a reward that rose sixfold, and thoughts that call a grade an anatomy.
# - A learning rate 25 times too high broke the model in one step, and the KL showed how far.
# - Published rules did no harm to a base without the habit, and rewarded one that had it.
# - What we expected and did not clearly see: harm from a missing penalty, in 40 steps.
#
# ## Where to go next
#
# Add a run of your own to `RUNS` in `benchmarks/study/failures.py`, write down which curve will tell, and
# look. Chapter 09 trains with the base in four bits. Chapter 10 compares reinforcement with supervised
# fine-tuning. To read: L. Gao, J. Schulman and J. Hilton, *Scaling laws for reward model
# overoptimization* (arXiv 2210.10760), and J. Skalse et al., *Defining and characterizing reward
# hacking* (arXiv 2209.13085).
