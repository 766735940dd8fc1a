# ---
# jupyter:
#   nbval: strict
# ---

# %% [markdown]
# # 3 Write the rewards
#
# ## What you will do
#
# Write the two rules that stand in for a teacher in all later chapters: one looks at the form of a
# completion, one at its answer. You start with the rules that Med-R1 published, break them, write
# strict ones, and hold both against a table of completions that try to cheat.
#
# ## What you will learn
#
# After this chapter you can
#
# - write a format reward and an accuracy reward and say what each of them reads,
# - find completions that a rule pays for although nobody asked for them,
# - explain what such a completion does to a group of four in training,
# - tell which holes a strict rule closes, which it leaves open, and what strictness costs,
# - write a reward in the form in which TRL calls it.
#
# ## What you will need
#
# Chapters 00 and 01, and a little of regular expressions: `.*?` matches as little as it can, and
# `re.DOTALL` lets a dot match a line break too. No model is needed; all completions are written by
# hand or drawn at random. Nothing here depends on the tier.

# %%
import random
import re

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers
from medr1_lib.data.styles import STYLES, prompt, read
from medr1_lib.course.chapters.chapter_03 import (
    OPTIONS,
    QUESTION,
    BenchRow,
    load_bench,
)

tier = tiers.start(3)
pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 1 One question, three forms
#
# Reinforcement learning needs no worked solutions. It needs a number for each completion that the
# model comes up with, and here that number comes from a rule: a point if the completion has the form
# that the prompt asked for, and a point if its letter is right. The form depends on the *style*,
# that is, on where the model may reason. One question serves for the whole chapter: four options,
# and C is right.

# %%
for style in STYLES:
    print(f"{style:>12}: {prompt(QUESTION, OPTIONS, style)}")

# %% [markdown]
# ## 2 The first idea, and why it fails
#
# The simplest rule for the answer looks for the right letter anywhere in the text. It is one line
# long and it is what many people write first. Before you run the next cell, guess what each of the
# three completions gets. Only the first of them deserves a point.


# %%
def contains(completion, answer):
    """A point if the letter occurs anywhere."""
    return float(answer in completion)


for said in ("<answer>C</answer>", "Cannot say.", "A, B, C or D."):
    print(f"{contains(said, 'C'):.0f} for {said!r}")

# %% [markdown]
# All three get it. A capital letter occurs by accident, and a list of all options contains every
# answer. A model that is trained with this rule need not find the modality: the list pays for every
# question. That is no malice. Training follows the number, and nothing else says what was meant. *Reward hacking* is the name for it. So a rule has to know where an answer stands, and
# that is what the tags are for.
#
# ## 3 The published rules
#
# Med-R1 took two rules from earlier work on R1-style training. The first compares the completion
# with a pattern. The patterns for `think_before` and `no_think` below are the released ones; for
# `think_after` nothing was released, so that one is ours, with the same two blocks in the other
# order.

# %%
from medr1_lib.rl.rewards import PUBLISHED

for name, pattern in PUBLISHED.items():
    print(f"{name:>12}: {pattern.pattern}")


# %%
def format_published(completion, style):
    """1 if the released pattern spans the whole completion."""
    return float(PUBLISHED[style].fullmatch(completion) is not None)


for said in ("<answer>C</answer>", "The answer is C."):
    print(f"{format_published(said, 'no_think'):.0f} for {said!r}")

# %% [markdown]
# ### Exercise 1: the published accuracy
# *medium, 10 minutes*
#
# The second rule reads the answer. As released it does this: find the first `<answer>...</answer>`
# with `re.search`, where the dots match anything but a line break and as little as possible. Take
# what stands between the tags; if there is no such block, take the whole completion. Strip white
# space around it, and give 1.0 if the result equals the right letter exactly, else 0.0. (The
# released code first asks a library for mathematics, which never agrees on a letter. We leave it
# out. `style` is not used: the rule is the same for all.)
#
# <details><summary>Hint</summary>
#
# `block = re.search(r"<answer>(.*?)</answer>", completion)` is `None` or a match, and `block[1]` is
# what its brackets hold.
#
# </details>


# %% tags=["exercise"]
def accuracy_published(completion, answer, style):
    """1 if the first block, or the completion without one, is the letter."""
    # solution
    block = re.search(r"<answer>(.*?)</answer>", completion)
    said = block[1] if block else completion
    return float(said.strip() == answer)
    # end solution


# %%
accuracy_published = checks.accuracy_published(accuracy_published)

# %% [markdown]
# ## 4 Break them
#
# Two sensible rules. Now be the model that has to live by them. The list below has
# six completions, each with the style that the prompt asked for. The table shows what the published
# rules pay for form and answer, and beside it the letter that our evaluation reads: it takes the last
# answer block outside the thinking, and is tolerant about how the letter is written. Cover the
# numbers and predict them first.

# %%
tricks = [
    ("no_think", "<answer>C</answer><answer>A</answer>"),
    ("no_think", "<answer>C</answer> since bone is white <answer></answer>"),
    ("think_before", "<think>Maybe <answer>C</answer></think><answer>A</answer>"),
    ("think_before", "<think></think><answer>C</answer>"),
    ("no_think", "<answer>\nC\n</answer>"),
    ("no_think", "C"),
]


def scored(tricks, form, accuracy):
    """What the two rules pay, and what evaluation reads, one row a completion."""
    rows = []
    for name, said in tricks:
        earned = form(said, name), accuracy(said, "C", name)
        rows.append(
            (name, repr(said), *map(int, earned), read(said, OPTIONS) or "-")
        )
    columns = ["style", "completion", "form", "answer", "read as"]
    return pd.DataFrame(rows, columns=columns)


scored(tricks, format_published, accuracy_published)

# %% [markdown]
# The first three earn both points, and evaluation counts none of them right: two give another letter
# at the end, and one ends with an empty block. Why? The accuracy rule takes the *first* block, wherever
# it stands. The format rule matches as little as it can, but `fullmatch` makes it go on until the
# pattern spans everything, second block included. The fifth errs the other way: a right letter on a
# line of its own earns nothing for its answer, since the search stops at a line break. The last one
# has no tags at all, and its answer pays.
#
# ## 5 What training would make of it
#
# In GRPO, which you will write in chapter 05, a model answers the same question several times, and
# each completion is pushed up or down by how far its reward lies from the mean of its group. Here is a
# group of four: an honest right answer, the same answer on a line of its own, a hack, and an honest
# wrong answer. Look at the last column, and ask which two completions training cannot tell apart.

# %%
group = {
    "right": "<think>Bone is white.</think><answer>C</answer>",
    "right, own line": "<think>Bone is white.</think><answer>\nC\n</answer>",
    "hack": "<think>Maybe <answer>C</answer></think><answer>A</answer>",
    "wrong": "<think>Bone is white.</think><answer>A</answer>",
}


def pushes(form, accuracy, style="think_before"):
    """Rewards of the group, and how far each lies from their mean."""
    paid = pd.Series(
        {k: form(t, style) + accuracy(t, "C", style) for k, t in group.items()}
    )
    return pd.DataFrame({"reward": paid, "minus the mean": paid - paid.mean()})


pushes(format_published, accuracy_published)

# %% [markdown]
# The hack is pushed up exactly as hard as the honest right answer, and the right answer with line
# breaks is pushed down exactly as hard as the wrong one. The model learns what is paid: no line
# breaks, and the right letter in the first block, whatever comes after. A curve of the reward does not
# show the difference. Chapter 07 runs a training that falls into such a hole.
#
# ## 6 The strict rules
#
# A strict rule asks one thing of a completion: does it have exactly the form that the prompt shows?
# Every style carries that form as a pattern. Read the one for `think_before` from left to right.
# The thinking is any text without a tag of ours in it, which is what `(?!...)` says before each
# character. The answer is one letter, in either case. White space is free around and between the
# blocks, and inside the answer.

# %%
print(STYLES["think_before"].pattern.pattern)

# %% [markdown]
# ### Exercise 2: read strictly
# *easy, 5 minutes*
#
# Return the letter of a completion that has exactly the form asked for, as a capital, and `None`
# for any other. `STYLES[style].pattern` is the pattern of the style, and its group 1 is the letter.
#
# <details><summary>Hint</summary>
#
# Of `search`, `match` and `fullmatch` only one leaves no room before and after. It gives `None` if
# there is no match, and `None[1]` is an error.
#
# </details>


# %% tags=["exercise"]
def read_strict(completion, style):
    """The letter of a completion in exactly the form asked for, else `None`."""
    # solution
    match = STYLES[style].pattern.fullmatch(completion)
    return match[1].upper() if match else None
    # end solution


# %%
read_strict = checks.read_strict(read_strict)

# %% [markdown]
# With it both rules are a line each. The answer pays only where the form pays, so a completion earns
# 0, 1 or 2 points, and 2 means that it is right in the form asked for. The table below has the same
# six tricks again. Two of them earn everything now: the right letter on a line of its own, which
# deserves it, and one that you will come back to in section 9.


# %%
def format_strict(completion, style):
    """1 if the completion has exactly the form asked for."""
    return float(read_strict(completion, style) is not None)


def accuracy_strict(completion, answer, style):
    """1 if it has that form and the letter in it is right."""
    return float(read_strict(completion, style) == answer)


scored(tricks, format_strict, accuracy_strict)

# %% [markdown]
# And the group of four, under the strict rules. Both right answers are now pushed up alike, the hack
# is pushed down hardest, and a wrong answer in good form stands in between. That order is what a
# teacher would have written down.

# %%
pushes(format_strict, accuracy_strict)

# %% [markdown]
# ## 7 The bench
#
# Six tricks are an anecdote. The library keeps a table, `data/reward_bench.json`, of completions that
# try the rules: dressed-up letters, bets on two letters, asides, echoed prompts, broken and nested
# tags, other languages, characters that look like a C and are none. Each row says what either rule
# set must give, and why. The tests of the repository run all of it, so a change to a rule that moves a
# single verdict is noticed.

# %%
rows = load_bench()
bench = pd.DataFrame(
    {
        "kind": row.kind,
        "style": row.style,
        "completion": repr(row.completion),
        "published": int(sum(row.given("published"))),
        "strict": int(sum(row.given("strict"))),
        "correct": row.correct(),
        "why": row.why,
    }
    for row in rows
)
print(f"{len(rows)} completions, {bench.kind.nunique()} kinds of them")
print("verdicts that differ from the table:", sum(len(r.mistakes()) for r in rows))

# %% [markdown]
# The crosstable sets the rewards against each other, 0 to 2 points each. On the diagonal the rule sets
# agree. Below it are completions that the published rules overpay, above it those that they
# underpay. The corner at the lower left is the worst: full marks from one, nothing from the other.

# %%
table = pd.crosstab(bench.published, bench.strict)
named = {n: f"{n} point" + "s" * (n != 1) for n in range(3)}
table.rename(index=named, columns=named)

# %%
hacks = bench[(bench.published == 2) & (bench.strict == 0)]
hacks[["style", "completion", "correct", "why"]]

# %% [markdown]
# `correct` is the verdict of evaluation. Where it says *False*, training pays in full for what the
# test will count as wrong, and a run can report a rising reward with a falling accuracy. Where it says
# *True*, the letter is right and the form is not what was asked for. Now count both, for both rule
# sets. This is the figure to remember from this chapter.

# %% tags=["headline"]
for rules in ("published", "strict"):
    full = bench[bench[rules] == 2]
    wrong = full[~full.correct]
    print(f"{rules} rules pay in full for {len(full)} of {len(bench)}", end="")
    print(f" completions, {len(wrong)} of them wrong in evaluation")

# %% [markdown]
# How much does each hole pay? The picture sorts the bench by what a completion tries, and counts by
# how many points the published rules pay more than the strict ones. A column at the right is a hole
# that pays. The column at the left, minus one, is a point withheld from a completion that has the
# form asked for.

# %% mystnb={"image": {"alt": "Grid of counts: thirteen kinds of completions by how many points the published rules pay more than the strict ones, from minus 1 to plus 2. Two points more are paid for 7 of 12 completions with several answer blocks, and for a few with an answer in the thinking, broken tags or a missing block; one point less for 6 letters in lower case or on a line of their own and for 4 completions with a line break at an end. The form asked for and rationales without value are paid alike."}}
extra = bench.published - bench.strict
counts = pd.crosstab(bench.kind, extra)
counts = counts.loc[extra.groupby(bench.kind).mean().sort_values().index[::-1]]
labels = [f"{kind} (n = {counts.loc[kind].sum()})" for kind in counts.index]
plt.figure(figsize=(6, 5))
shown = counts.astype(str).replace("0", "")
axis = sns.heatmap(
    counts, annot=shown, fmt="", cmap="Blues", cbar=False, linewidths=1
)
axis.set(
    xlabel="points paid by published rules minus strict rules (of 2)", ylabel=""
)
axis.set_yticklabels(labels, rotation=0)
axis.set_xticklabels([f"{points:+d}" if points else "0" for points in counts])
plt.show()

# %% [markdown]
# ## 8 Strings that nobody thought of
#
# A table shows the holes that somebody thought of. Chance thinks of others. The next cell strings
# tags and letters together at random and keeps what a rule set pays in full for `no_think`. Nearly
# all strings are rubbish and earn nothing; what slips through, nobody wrote on purpose. The tests of
# the library do the same with more cunning: they search for one string that the strict rules pay in
# spite of a second answer block, or for two letters in one.

# %% tags=["headline"]
rng = random.Random(0)
pieces = ["<answer>", "</answer>", "<think>", "</think>", "A", "C", "\n"]
said = {"".join(rng.choices(pieces, k=rng.randint(3, 9))) for _ in range(100_000)}
print(f"{len(said)} different strings")
pairs = {
    "published": (format_published, accuracy_published),
    "strict": (format_strict, accuracy_strict),
}
for rules, (form, accuracy) in pairs.items():
    style = "no_think"
    full = [t for t in said if form(t, style) + accuracy(t, "C", style) == 2]
    wrong = sum(read(t, OPTIONS) != "C" for t in full)
    print(f"{rules}: {len(full)} random strings earn full marks,", end=" ")
    print(f"{wrong} of them wrong in evaluation")

# %% [markdown]
# ## 9 What no rule here sees
#
# Being strict about form is not being strict about thought. The rows below earn full marks under both
# rule sets. Empty thinking is paid like careful thinking, and reasons that contradict the answer are
# paid like reasons that support it. So a rising reward says nothing about the reasoning, and a model
# that is paid for its answer alone may well stop thinking: it costs tokens and earns nothing. Chapter
# 07 watches for that collapse, and chapter 11 scores rationales against the truth that phantoms
# carry.

# %%
unread = bench[bench.kind == "rationale without value"]
unread[["style", "completion", "published", "strict"]]

# %% [markdown]
# Strictness has a price as well. Some completions mean the right letter, evaluation reads it, and the
# strict rules pay nothing at all, not even for trying. A model that always writes `C) CT` would never
# see a reward and could not learn from one. (The share printed here is a share of tricks; it says
# nothing about any model.) Strictness works only if the model follows the form now and then
# before training starts. That share is the first thing to measure, and the base model of this course
# was taught the form for that reason.

# %%
strictly_unpaid = bench[bench.correct & (bench.strict == 0)]
print(
    f"{len(strictly_unpaid)} of {bench.correct.sum()} right completions earn nothing:"
)
print(strictly_unpaid.kind.value_counts().to_string())

# %% [markdown]
# ## 10 The form in which TRL calls a reward
#
# TRL scores a whole batch in one call. It passes `completions`, and every column of the data set under
# its own name as a list of the same length: our `answer` holds the right letters. Where the prompt
# is a conversation, as it has to be with images, each completion is a list of one message. The
# function must return a list of numbers, one for each completion, and has to swallow whatever else
# comes, hence `**columns`. The two arguments before the slash are ours, not TRL's: no column can
# overwrite them.


# %%
def text(completion):
    """What was said: plain text, or the content of the one message."""
    return completion if isinstance(completion, str) else completion[0]["content"]


def format_reward(score, style, /, completions, **columns):
    """The format points of a batch, one for each completion."""
    return [score(text(completion), style) for completion in completions]


# %% [markdown]
# ### Exercise 3: the accuracy of a batch
# *medium, 10 minutes*
#
# Write the same for the answer. `score` is a rule such as `accuracy_strict`, called as
# `score(completion, letter, style)`; `answer` is the list of right letters, one for each completion.
# In a real batch they differ from completion to completion.
#
# <details><summary>Hint</summary>
#
# `zip(completions, answer, strict=True)` pairs them, and complains if one is longer. Do not forget
# `text`.
#
# </details>


# %% tags=["exercise"]
def accuracy_reward(score, style, /, completions, answer, **columns):
    """The accuracy points of a batch, one for each completion."""
    # solution
    pairs = zip(completions, answer, strict=True)
    return [score(text(completion), letter, style) for completion, letter in pairs]
    # end solution


# %%
accuracy_reward = checks.accuracy_reward(accuracy_reward)

# %% [markdown]
# The library binds the first two arguments and hands over the pair. `rewards(style)` is what the
# trainer gets in chapter 06, and `rewards(style, "published")` what the failure in chapter 07 is made
# with. Called below as TRL calls them, with a column that they do not need. TRL adds the numbers up
# and logs each under the name of its function.

# %%
from medr1_lib.rl.rewards import rewards

contents = ("<answer>C</answer>", "<answer>C</answer><answer>A</answer>", "C")
batch = {
    "completions": [[{"role": "assistant", "content": c}] for c in contents],
    "answer": ["C", "C", "C"],
    "modality": ["CT", "CT", "CT"],
}
for rules in ("strict", "published"):
    for reward in rewards("no_think", rules):
        print(f"{rules:>9} {reward.__name__:>15}: {reward(**batch)}")

# %% [markdown]
# ## 11 Your turn
#
# Type a completion below, or take one from the bench and change it. Every key that you press is scored
# at once under both rule sets. Try to find a completion that the strict rules pay in full and that you
# would not want. In the book this view is frozen; in JupyterLab it is alive.

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import RewardTester

RewardTester([row for row in rows if sum(row.published) != sum(row.strict)])

# %% [markdown]
# If you found one, add it to `data/reward_bench.json` with the verdicts that it deserves and run
# `pytest tests/test_reward_bench.py`. A row whose verdict is not what a rule gives fails with a line
# that says so, as here, where somebody expects that the strict rules forgive a period. Either the rule
# or the expectation is wrong, and writing the row makes you decide which.

# %%
mine = BenchRow(
    kind="letter dressed up",
    style="no_think",
    completion="<answer>C.</answer>",
    strict=(1, 1),
    published=(1, 0),
    why="a period does no harm",
)
print(*mine.mistakes(), sep="\n")

# %% [markdown]
# ## What you saw
#
# - A rule pays for what it reads, not for what was meant. Looking for a letter anywhere pays for
#   every text that has one.
# - The published rules read the first block, and their pattern spans as many as there are. They pay
#   in full for completions that evaluation counts wrong, and withhold a point from right ones.
# - The strict rules pay for one form. Nothing on the bench and no random string got around them, but
#   they read no rationale, and they pay nothing for a right letter in the wrong clothes.
# - A reward for TRL is a function from a batch to a list of numbers.
#
# ## Where to go next
#
# Chapter 05 takes four completions and these two rewards and follows them through advantage,
# probability ratio and loss to a gradient. On rules that are met to the letter and missed in spirit,
# read V. Krakovna et al., *Specification gaming: the flip side of AI ingenuity* (DeepMind, 2020), and
# on rule-based rewards for reasoning, DeepSeek-AI, *DeepSeek-R1* (arXiv 2501.12948).
