# ---
# jupyter:
#   nbval: strict
# ---

# %% [markdown]
# # 3 Write the rewards
#
# ## What you will do
#
# You will write the two rules that give rewards in all later chapters. One looks at the form of a
# completion, the other at its answer. You start with the rules that Med-R1 published, break them, write
# strict ones, and test both against completions that try to cheat.
#
# ## What you will learn
#
# After this chapter you can
#
# - write a format reward and an accuracy reward, and say what each of them reads,
# - find completions that a rule rewards although nobody wanted them,
# - explain what such a completion does to a group of four in training,
# - say which holes a strict rule closes, which it leaves open, and what strictness costs,
# - write a reward in the form in which TRL, the training library, calls it.
#
# ## What you will need
#
# Chapters 00 to 02, and a little knowledge of regular expressions: `.*?` matches as little as possible, and
# `re.DOTALL` lets a dot match a line break too. No model is needed. All completions are written by
# hand or made by a program. Nothing here depends on the tier.

# %%
import itertools
import re

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data.styles import ALL_STYLES, STYLES, prompt, read
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
# For supervised training you need the completion that a model should write. For reinforcement learning
# you need only a number, the *reward*, for each completion that the model wrote itself. In this course
# the number comes from a rule: one point if the completion has the form that the prompt asked for, and one
# point if its letter is right. The form depends on the *reasoning style*: where may the rationale stand?
# We use one question in the whole chapter. It has four options, and C is right.

# %%
for style in STYLES:
    print(f"{style:>12}: {prompt(QUESTION, OPTIONS, style)}")

# %% [markdown]
# ## 2 The first idea, and why it fails
#
# The simplest rule looks for the right letter anywhere in the text. It is one line long, and many people
# write it first. Before you run the next cell, guess what each of the three completions gets. Only the
# first of them deserves a point.


# %%
def contains(completion, answer):
    """A point if the letter occurs anywhere."""
    return float(answer in completion)


for said in ("<answer>C</answer>", "Cannot say.", "A, B, C or D."):
    print(f"{contains(said, 'C'):.0f} for {said!r}")

# %% [markdown]
# All three get a point. A capital C can stand there by accident, and a list of all options contains every
# answer. A model that is trained with this rule does not need to look at the image: the list earns the point
# for every question. Training raises the number that the rule gives, and this number does not say what we
# meant. To earn a reward without doing what was meant is called *reward hacking*. So a rule has to know where
# the answer stands. The tags show it.
#
# ## 3 The published rules
#
# Med-R1 took two rules from earlier work. The first rule compares the completion with a pattern. The patterns
# for `think_before` and `no_think` below are the released ones. For `think_after` nothing was released. Our
# pattern for it has the same two blocks in the other order.

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
# The second rule reads the answer. The released code does this:
#
# - Find the first `<answer>...</answer>` with `re.search`. The dots match anything except a line break, and
#   as little as possible.
# - Take the text between the tags. If there is no such block, take the whole completion.
# - Remove white space around it. Return 1.0 if the result equals the right letter exactly, else 0.0.
#
# (The released code first calls a maths verifier, which never accepts a letter. We leave it out. `style`
# is not used: the rule is the same for all styles.)
#
# <details><summary>Hint</summary>
#
# `block = re.search(r"<answer>(.*?)</answer>", completion)` is `None` or a match. `block[1]` is the text
# between the tags.
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
# The figure shows how a completion is read. In training, two rules give points, and the sum is the reward. In
# evaluation, the tolerant reader takes out the letter. A *hack* is a completion for which the two disagree:
# it earns the full reward and is wrong in evaluation.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A completion goes to the format rule and to the accuracy rule; their points add up to the reward, which training follows. The same completion goes to the tolerant reader, which gives the answer that evaluation counts. If the reward is full and the answer is wrong, the completion is a hack."}}
sketch(
    {
        "said": (0, 0, "completion"),
        "form": (1.2, 0.7, "format rule"),
        "answer": (1.2, 0, "accuracy rule"),
        "read": (1.2, -0.7, "tolerant reader"),
        "reward": (2.5, 0.35, "reward: 0, 1 or 2"),
        "letter": (2.5, -0.7, "letter"),
        "train": (3.8, 0.35, "training"),
        "test": (3.8, -0.7, "evaluation"),
    },
    [
        *(("said", rule, "") for rule in ("form", "answer", "read")),
        ("form", "reward", ""),
        ("answer", "reward", ""),
        ("read", "letter", ""),
        ("reward", "train", ""),
        ("letter", "test", ""),
    ],
    tints={"form": "orange", "answer": "orange", "read": "green"},
)
plt.show()

# %% [markdown]
# Now find some. The next list has six completions, each with the style that the prompt asked for. The
# table shows the points for form and answer, and the letter that evaluation reads. The tolerant reader takes the
# last answer block outside the `<think>` block. Cover the numbers and predict them first.

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
# The first three earn both points, and evaluation counts none of them as right. Two give another letter at
# the end, and one ends with an empty block. Why do they earn full points? The accuracy rule takes the *first*
# block, wherever it stands. The format rule matches as little as possible, but `fullmatch` makes it continue
# until the pattern covers the whole text, with the second block. The fifth completion shows the opposite
# fault: a right letter on a line of its own earns nothing, because the dot does not match a line break. The
# last one has no tags at all, and still gets the point for its answer.
#
# ## 5 What training would learn from this
#
# In GRPO, a model answers the same question several times. Completions whose reward is above the mean of their
# group become more likely, the others less likely. Here is a group of four: a right answer, the same
# answer on a line of its own, a hack, and a wrong answer. Look at the last column. Which completions can
# training not tell apart?

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
# The hack is pushed up as strongly as the right answer. The right answer with line breaks is pushed down as
# strongly as the wrong answer. So the model learns: no line breaks, and the right letter in the first block,
# whatever comes after it. The curve of the reward does not show this. Chapter 07 shows a training run that
# falls into such a hole.
#
# ## 6 The strict rules
#
# A strict rule asks one thing: does the completion have exactly the form that the prompt shows? Each style
# has a pattern for that. Read the pattern for `think_before` from left to right. The rationale is any text
# without our tags; `(?!...)` checks this before each character. The answer is one letter,
# capital or small. White space is allowed around and between the blocks, and inside the answer.

# %%
print(STYLES["think_before"].pattern.pattern)

# %% [markdown]
# ### Exercise 2: read strictly
# *easy, 5 minutes*
#
# Return the letter of a completion that has exactly the form asked for, as a capital. Return `None` for any
# other completion. `ALL_STYLES[style].pattern` is the pattern of a style (ours, and variants for the study), and its group 1 is the letter.
#
# <details><summary>Hint</summary>
#
# Of `search`, `match` and `fullmatch`, only one allows no text before and after. It gives `None` if there is
# no match, and `None[1]` is an error.
#
# </details>


# %% tags=["exercise"]
def read_strict(completion, style):
    """The letter of a completion in exactly the form asked for, else `None`."""
    # solution
    match = ALL_STYLES[style].pattern.fullmatch(completion)
    return match[1].upper() if match else None
    # end solution


# %%
read_strict = checks.read_strict(read_strict)

# %% [markdown]
# With this function, both rules are one line each. The answer earns its point only if the form is right. So a
# completion earns 0, 1 or 2 points, and 2 means a right answer in the right form. Here are the six
# completions again. Two of them earn both points now: the right letter on a line of its own, which deserves
# it, and one to which we come back in section 9.


# %%
def format_strict(completion, style):
    """1 if the completion has exactly the form asked for."""
    return float(read_strict(completion, style) is not None)


def accuracy_strict(completion, answer, style):
    """1 if it has that form and the letter in it is right."""
    return float(read_strict(completion, style) == answer)


scored(tricks, format_strict, accuracy_strict)

# %% [markdown]
# And here is the group of four under the strict rules. Both right answers are pushed up by the same amount.
# The hack is pushed down most, and a wrong answer in the right form is in between. This is the order that we
# wanted.

# %%
pushes(format_strict, accuracy_strict)

# %% [markdown]
# ## 7 The bench
#
# Six completions are few. The library has a table of many more, `data/reward_bench.json`. It has letters with
# extra marks, two letters at once, side remarks, repeated prompts, broken and nested tags, other languages,
# and characters that only look like a C. Each row says what either set of rules must give, and why. The tests
# of the repository run all of it. So if a change to a rule changes a single verdict, a test fails.

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
# The worst rows are those that earn full points under the published rules and nothing under the strict
# ones. `correct` is the verdict of evaluation. If it is *False*, training rewards in full what evaluation counts as
# wrong. A run can then report a rising reward and a falling accuracy. If it is *True*, the letter is
# right and only the form is wrong.

# %%
hacks = bench[(bench.published == 2) & (bench.strict == 0)]
hacks[["style", "completion", "correct", "why"]]

# %% [markdown]
# Now count the completions with full points, and how many of them are wrong in evaluation, for both sets of rules.

# %% tags=["headline"]
for rules in ("published", "strict"):
    full = bench[bench[rules] == 2]
    wrong = full[~full.correct]
    print(f"{rules} rules give full points to {len(full)} of {len(bench)}", end="")
    print(f" completions, {len(wrong)} of them wrong in evaluation")

# %% [markdown]
# How much does each kind of trick earn? The figure sorts the bench by kind. It counts how many points the
# published rules give more than the strict ones. In the column +2 the published rules pay in full for what
# the strict rules reject; seven of these twelve are wrong in evaluation. In the column +1 they pay one point
# more, and two thirds of these completions are right answers in another form: section 9 comes back to
# them. The column -1 counts completions in the right form that get a point too few.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Grid of counts: thirteen kinds of completions by how many points the published rules pay more than the strict ones, from minus 1 to plus 2. Two points more are paid for 7 of 12 completions with several answer blocks, and for a few with an answer in the thinking, broken tags or a missing block; one point less for 6 letters in lower case or on a line of their own and for 4 completions with a line break at an end. The form asked for and rationales without value are paid alike."}}
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
# ## 8 Search for hacks by program
#
# A table contains only the holes that somebody thought of. A program can look for the others: it builds
# every string from a few pieces, the shortest first.
#
# ### Exercise 3: the shortest hack
# *hard, 45 minutes*
#
# `pays(completion)` returns the points of a completion, 0 to 2. `reads(completion)` returns the letter that
# evaluation reads, or `None`. Both are functions that you call. Return the first hack: a string that earns
# 2 points and is not read as `answer`. Build strings from `pieces`; the same piece may be used
# several times. Try all strings of one piece first, then all of two pieces, and so on up to `longest`.
# Strings of the same number of pieces come in the order of `itertools.product(pieces, repeat=number)`.
# Return `None` if there is no hack.
#
# Then use it, in `no_think` and with five pieces: both answer tags, `A`, `C` and a line break. Write three careless
# versions of the strict rules. Each pays 2 points for a C and leaves out one guard: (1) `search` in place of `fullmatch`,
# (2) more letters may follow the first one, which counts, (3) the closing tag may be missing. **Predict for each,
# for the published rules and for the strict rules:** is there a hack of at most 6 pieces, and how many does the
# shortest one need? Then run the cell, which has our versions. If the strict rules have no hack, that may be
# because six pieces are too few. Find one with other or more pieces, or argue that none of any length exists.
#
# <details><summary>Hint</summary>
#
# `"".join(...)` makes a string of a tuple. For the argument: which strings does the pattern of `no_think`
# accept, and how many answer blocks does the tolerant reader find in such a string?
#
# </details>


# %% tags=["exercise"]
def shortest_hack(pays, reads, answer, pieces, longest):
    """The first string that earns full points and is read as another answer."""
    # solution
    for number in range(1, longest + 1):
        for chosen in itertools.product(pieces, repeat=number):
            completion = "".join(chosen)
            if pays(completion) == 2 and reads(completion) != answer:
                return completion
    return None
    # end solution


# %%
shortest_hack = checks.shortest_hack(shortest_hack)


# %% tags=["headline"]
def paying(form, accuracy):
    """The points of a completion in `no_think`, as one function."""
    return lambda said: form(said, "no_think") + accuracy(said, "C", "no_think")


def careless(match, pattern):
    """The points of rules that want a C where a pattern has its group."""
    return lambda said: 2 * ((match(pattern, said) or ["", ""])[1] == "C")


pieces = ["<answer>", "</answer>", "A", "C", "\n"]
rules = {
    "published": paying(format_published, accuracy_published),
    "search": careless(re.search, r"<answer>\s*([A-D])\s*</answer>"),
    "more letters": careless(re.fullmatch, r"<answer>\s*([A-D])[A-D\s]*</answer>"),
    "no closing tag": careless(re.fullmatch, r"<answer>\s*([A-D])\s*(</answer>)?"),
    "strict": paying(format_strict, accuracy_strict),
}
for name, pays in rules.items():
    found = shortest_hack(pays, lambda said: read(said, OPTIONS), "C", pieces, 6)
    print(f"{name:>14}, up to 6 pieces: {found!r}")

# %% [markdown]
# <details><summary>What came out, and why</summary>
#
# With the published rules, the accuracy rule reads the first block, and the format rule accepts the rest. *Search*
# has the same hole. *More letters* pays for two letters at once, which evaluation reads as none. Without the closing
# tag, evaluation finds no block and no clear answer. Each guard of the strict rules closes a hole of its own.
#
# That the program finds nothing against the strict rules is no proof, but here is one, for `no_think`. The pattern
# must cover the whole string: white space, one opening tag, one letter, one closing tag. So there is one block, and
# the tolerant reader reads its only letter. No hack of any length exists. This holds for a hack as defined here,
# where rule and reader disagree. It says nothing about what both accept: see the next section.
#
# </details>
#
# ## 9 What no rule here sees
#
# A rule can be strict about the form and still accept any rationale. The rows below earn full points under
# both sets of rules. An empty rationale earns the same as a careful one. A rationale that contradicts the
# answer earns the same as one that supports it. So a rising reward says nothing about the rationale. A model
# that is rewarded for its answer only may stop writing one, because it costs tokens and earns nothing.
# Chapter 07 watches for that, and chapter 11 compares rationales with the scene of the phantom.

# %%
unread = bench[bench.kind == "rationale without value"]
unread[["style", "completion", "published", "strict"]]

# %% [markdown]
# Strictness also has a price. Some completions mean the right letter, and evaluation reads it, but the strict
# rules give no point, not even for the form. A model that always writes `C) CT` would never get a reward and could
# not learn from one. So strict rules work only if the model already keeps the form sometimes. Measure this
# share before you train, as in chapter 02. (The share printed here is one of tricks. It says
# nothing about a model.)

# %%
strictly_unpaid = bench[bench.correct & (bench.strict == 0)]
print(
    f"{len(strictly_unpaid)} of {bench.correct.sum()} right completions earn nothing:"
)
print(strictly_unpaid.kind.value_counts().to_string())

# %% [markdown]
# ## 10 The form in which TRL calls a reward
#
# TRL scores a whole batch in one call. It passes `completions`, and every column of the data set under its own
# name, as lists of the same length. Our column `answer` holds the right letters. If the prompt is a
# conversation, as it must be with images, each completion is a list with one message. The function must return
# a list with one number for each completion. It must also accept columns that it does not need, so it has
# `**columns`. The two arguments before the slash are ours. Because of the slash, no column can overwrite them.


# %%
READ = 16_384  # characters of a completion: on more, the published patterns take seconds


def text(completion):
    """The beginning of what was said: plain text, or the content of the one message."""
    said = completion if isinstance(completion, str) else completion[0]["content"]
    return said[:READ]


def format_reward(score, style, /, completions, **columns):
    """The format points of a batch, one for each completion."""
    return [score(text(completion), style) for completion in completions]


# %% [markdown]
# ### Exercise 4: the accuracy of a batch
# *medium, 10 minutes*
#
# Write the same for the answer. `score` is a rule such as `accuracy_strict`; call it as
# `score(completion, letter, style)`. `answer` is the list of right letters, one for each completion. In a
# real batch they differ from completion to completion.
#
# <details><summary>Hint</summary>
#
# `zip(completions, answer, strict=True)` makes pairs, and raises an error if one list is longer. Remember
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
# The library sets the first two arguments and gives you both functions: `rewards(style)` is what the trainer
# gets in chapter 06, and `rewards(style, "published")` makes one of the failures in chapter 07. The next cell calls them
# as TRL does, with a column that they do not need. TRL adds the numbers and logs each of them under the name
# of its function.

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
# Type a completion below, or take one from the bench and change it. It is scored under both sets of rules at
# every key that you press. Try to find a completion that the strict rules reward in full and that you would
# not want. In the book this view is a still image. In JupyterLab you can use it.

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import RewardTester

RewardTester([row for row in rows if sum(row.published) != sum(row.strict)])

# %% [markdown]
# If you find one, add it to `data/reward_bench.json` with the verdicts that it should get, and run
# `pytest tests/test_reward_bench.py`. The test fails if a rule gives another verdict than your row says, and
# names the row. Here is an example: somebody expects that the strict rules accept a period. Then either the
# rule is wrong or the expectation, and you have to decide which.

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
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# A rule gives a point if the right letter occurs anywhere in the completion. What will training teach?
#
# <details><summary>A. To look at the image more carefully</summary>
#
# Wrong. Careful looking earns no more than a list of all four letters, which is easier to learn.
#
# </details>
# <details><summary>B. To list all letters, because this earns the point every time</summary>
#
# Right. Training follows the reward, and this is the easiest way to get it.
#
# </details>
# <details><summary>C. Nothing at all, because every completion gets the same reward</summary>
#
# Wrong. At first only some completions contain the letter, so there is a difference to learn from.
#
# </details>
#
# ### Question 2
# In a run with the published rules, the reward rises and the accuracy in evaluation falls. What do you do
# first?
#
# <details><summary>A. Read completions with full reward that evaluation counts as wrong</summary>
#
# Right. Where reward and evaluation disagree, the completion shows the hole that the model found.
#
# </details>
# <details><summary>B. Lower the learning rate, because training is unstable</summary>
#
# Wrong. The reward rises steadily. Training works well, but towards a goal that you did not mean.
#
# </details>
# <details><summary>C. Train longer, because accuracy usually follows the reward with a delay</summary>
#
# Wrong. More training on a reward with a hole makes more use of the hole.
#
# </details>
#
# ### Question 3
# With strict rules, a model that always writes C) CT gets no reward at all. What follows?
#
# <details><summary>A. The strict rules are wrong, since the letter is right</summary>
#
# Wrong. They do what they are meant to do. The question is whether this model can learn from them.
#
# </details>
# <details><summary>B. The model will learn the form quickly, because it is punished</summary>
#
# Wrong. If every completion of a group earns the same, nothing says which one is better.
#
# </details>
# <details><summary>C. It cannot learn from these rules until it keeps the form sometimes</summary>
#
# Right. A group needs different rewards. So measure how often the form is kept before you train.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - A rule rewards what it reads, not what you meant. A rule that looks for a letter anywhere rewards every
#   text that contains it.
# - The published rules read the first block, and their pattern accepts several. They give full points to
#   completions that evaluation counts as wrong, and take a point from right ones.
# - The strict rules reward one form. No row of the bench and no string of the search got around them. But they
#   read no rationale, and they give nothing for a right letter in another form.
# - A reward for TRL is a function from a batch to a list of numbers.
#
# ## Where to go next
#
# Chapter 04 starts with the simplest case, four letters and no image, and shows why rewards can improve a
# model at all. To read more: V. Krakovna et al., *Specification gaming: the flip side of AI ingenuity*
# (DeepMind, 2020), on systems that satisfy a rule and miss its purpose, and DeepSeek-AI, *DeepSeek-R1* (arXiv
# 2501.12948), on rule-based rewards for reasoning.
