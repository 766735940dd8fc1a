# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 0 Start here
#
# ## What you will do
#
# Check your machine, choose a tier, look at one question as a model will see it, and measure the
# worst student in the course, a guesser, with the ruler that every later chapter uses.
#
# ## What you will learn
#
# After this chapter you can
#
# - run the doctor and say which tiers of the course your machine carries,
# - read a record of PhantomMedVQA: picture, question, options, right letter, truth behind it,
# - put an interval around an accuracy and say whether it differs from chance,
# - work out how many questions a claim needs before you believe it.
#
# ## What you will need
#
# Python 3.11 and this repository after `make setup`. No GPU, no network, no knowledge of
# reinforcement learning. A little Python: functions, lists, loops.
#
# The next cell says what the chapter costs and where that was measured. Every chapter begins so.

# %%
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from medr1_lib.course import checks, doctor, tiers
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw

tier = tiers.start(0)
pd.set_option("display.max_colwidth", None)
sns.set_theme(style="whitegrid", palette="colorblind")

# %% [markdown]
# ## 1 Ask the doctor
#
# The course trains real models with real libraries, so it is worth a few seconds to see whether
# they work here. The doctor looks at one thing after the other and says `OK`, `WARN` (the laptop
# tier runs without it) or `FAIL` together with what to do about it. The same check runs in a
# terminal as `python -m medr1_lib doctor`, which is what to paste when you ask somebody for help.

# %%
items = doctor.examine()
pd.DataFrame(
    [(i.status, i.name, i.detail) for i in items], columns=["", "item", "found"]
)

# %% [markdown]
# Each item also knows which tiers cannot run without it. On most laptops the one `WARN` is the
# missing GPU, and the one tier that falls away is `gpu`. If the next cell says *no*, scroll up to
# the first `FAIL`: its text names the cure, and the page *Troubleshooting* of the book has more.

# %% tags=["nbval-check-output"]
print(
    "the laptop tier runs here:",
    "yes" if "laptop" in doctor.runnable(items) else "no",
)

# %% [markdown]
# ## 2 Three tiers, one code path
#
# The same functions serve a student on a train and a researcher with a GPU; only the sizes differ.
# `replay` trains nothing and shows recorded runs. `laptop` is the default: the real Qwen2-VL
# architecture in miniature, learning in front of you on two CPU cores. `gpu` takes the same code
# to Qwen2-VL-2B. You choose with the environment variable `MEDR1_TIER` before Jupyter starts.

# %%
pd.DataFrame(
    [(t.name, t.model, t.data) for t in tiers.TIERS.values()],
    columns=["tier", "model", "data"],
)

# %% [markdown]
# A wrong name is refused at once rather than three chapters later. Errors of this course are meant
# to be read: they name the place, the problem and the remedy, in that order. Here is one on
# purpose. The variable is set for this one call only, so nothing else in the notebook changes.

# %% tags=["nbval-check-output"]
import os
from unittest import mock

from medr1_lib.errors import InputError

try:
    with mock.patch.dict(os.environ, MEDR1_TIER="labtop"):
        tiers.current()
except InputError as error:
    print(error)

# %% [markdown]
# ## 3 One question
#
# The course needs medical images that may be shipped, shown and changed freely, and whose truth is
# known to the pixel. So it draws them. A *phantom* is such a drawing; a `Question` asks something
# about it and offers four options. PhantomMedVQA is the set of all of them, and everything in it
# follows from a seed. We take one question about an MRI slice out of the test split.

# %% tags=["nbval-check-output"]
test = list(questions("test", per_cell=10))
question = next(
    q for q in test if q.answer_text == "cyst" and "FLAIR" in q.scene.acquisition
)
print(question.question)
for letter, option in zip("ABCD", question.options, strict=True):
    print(f"  {letter}) {option}")

# %% [markdown]
# Now the picture, 112 pixels wide. Look before you scroll on, and choose a letter. A vision-language
# model gets exactly this: the pixels, the question and the options. It does not get the file name,
# the modality or anything else that we know about the picture.

# %% mystnb={"image": {"alt": "One phantom, a drawing in the style of an MRI slice through a knee, 112 by 112 pixels, grey; what else it shows is the question."}}
picture = draw(question.scene)
plt.figure(figsize=(3, 3))
plt.imshow(picture)
plt.axis("off")
plt.show()

# %% [markdown]
# A phantom knows what it shows. The field `scene` holds that truth: the anatomy, the finding, its
# size and place, how the picture was taken, which scanner left its marks, and the seed of the rest.
# No real data set offers this. It will let us check not only an answer but every claim in the
# reasoning that leads to it. (The names of findings are names for shapes. This is teaching
# material, not for clinical use.)

# %% tags=["nbval-check-output"]
print(f"answer: {question.answer}) {question.answer_text}")
print(question.scene)

# %% [markdown]
# ## 4 A guesser, measured honestly
#
# How good is somebody who never looks? With four options the guesser below should be right one
# time in four. Measure it on the 400 questions of `test`. The share you get will not be 25.0 %
# exactly, although we know that the truth is 25 %. Every accuracy in this course carries the same
# uncertainty, whether the guesser is a coin or a model of two billion parameters.

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(0)
guesses = rng.choice(list("ABCD"), size=len(test))
right = sum(guess == q.answer for guess, q in zip(guesses, test, strict=True))
print(f"{right} of {len(test)} right: {right / len(test):.1%}")

# %% [markdown]
# ### Exercise 1: put an interval around it
# *easy, 10 minutes*
#
# Wilson's 95 % interval asks which true shares would make the observed one unsurprising. With
# $\hat p$ = right answers over $n$ questions and $z = 1.959964$,
#
# $$ \frac{1}{1 + z^2/n}\left(\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}\right) $$
#
# Return its two ends. The cell after yours checks it and carries on with the library's version if
# yours is not there yet, so *Run All* always finishes.
#
# <details><summary>Hint</summary>
#
# Compute the centre and the half-width apart; the fraction in front multiplies both. Rounding can
# leave a -0.0000000000000001: `max(0.0, ...)` and `min(1.0, ...)` keep the ends inside 0 to 1.
#
# </details>

# %%
import math

Z = 1.959964


# %% tags=["exercise"]
def wilson(right, n):
    """The 95 % interval of a share of right answers."""
    # solution
    share = right / n
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = (
        Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    )
    return max(0.0, centre - half), min(1.0, centre + half)
    # end solution


# %%
wilson = checks.wilson(wilson)

# %% [markdown]
# The interval stands in brackets here; later tables give its two ends in columns. Our guesser's should
# contain 25 %. If it does not, either the guesser cheats or we
# are among the one in twenty who are unlucky: that is what 95 % means. Later chapters put two such
# intervals side by side, one for a model before training and one for it after.

# %% tags=["nbval-check-output", "headline"]
low, high = wilson(right, len(test))
share = right / len(test)
print(f"guessing: {share:.1%} right [{low:.1%}, {high:.1%}], n = {len(test)}")
print("chance (25 %) lies inside:", "yes" if low <= 0.25 <= high else "no")

# %% [markdown]
# ## 5 How to fool yourself
#
# Now a failure, because you will meet it in papers. Take only 20 questions and run a thousand
# guessers. Some of them look brilliant. If you had trained a thousand models and shown the best, or
# one model with a thousand settings, you would have published one of those. The picture shows how
# far guessers scatter with 20 questions and with 400.

# %% mystnb={"image": {"alt": "Two histograms of the accuracy of 1,000 guessers, in percent. With 20 questions they spread from 0 to about 60 percent, with 400 questions from about 19 to 32 percent; a dashed line marks chance at 25 percent."}}
accuracy = {n: 100 * rng.binomial(n, 0.25, size=1000) / n for n in (20, 400)}
figure, axes = plt.subplots(
    1, 2, figsize=(8, 2.8), sharex=True, layout="constrained"
)
for axis, (n, values) in zip(axes, accuracy.items(), strict=True):
    width = 5 if n == 20 else 1
    sns.histplot(x=values, bins=np.arange(-width / 2, 65, width), ax=axis)
    axis.axvline(25, color="black", linestyle="--")
    axis.set(
        title=f"{n} questions each",
        xlabel="accuracy (%)",
        ylabel="guessers (of 1,000)",
    )
plt.show()

# %% [markdown]
# The same in numbers. A guesser at 40 % or more would be reported as "15 points above chance".
# Of these thousand with 20 questions it happened to about one in twelve (one in ten is to be expected);
# with 400 you would wait a long time.

# %% tags=["nbval-check-output"]
for n, values in accuracy.items():
    lucky, best = np.mean(values >= 40), values.max()
    print(
        f"{n:>3} questions: {lucky:.1%} of guessers reach 40 %, best {best:.0f} %"
    )

# %% [markdown]
# ### Exercise 2: how many questions does a claim need?
# *easy, 5 minutes*
#
# For a plain estimate the half-width of the interval is $z\sqrt{p(1-p)/n}$, and it is widest at
# $p = 1/2$. Return the smallest whole number of questions for which it is at most `half_width`.
#
# <details><summary>Hint</summary>
#
# Put $p = 1/2$, solve for $n$, and round up with `math.ceil`.
#
# </details>


# %% tags=["exercise"]
def questions_needed(half_width):
    """Questions after which a 95 % interval reaches `half_width` to either side."""
    # solution
    return math.ceil((Z / half_width) ** 2 / 4)
    # end solution


# %%
questions_needed = checks.questions_needed(questions_needed)

# %% [markdown]
# Precision is expensive: half the width costs four times the questions. This is why the study at
# the end of the course uses at least 400 questions per cell of its heatmaps and 1,000 or more where
# it compares two models, and why a difference of two points on a small test file is no finding.

# %% tags=["nbval-check-output"]
for half_width in (0.10, 0.05, 0.03, 0.01):
    needed = questions_needed(half_width)
    print(f"within {half_width:.0%} either way: {needed:>5} questions")

# %% [markdown]
# ## What you saw
#
# - The doctor tells what your machine can run, and errors say what to do.
# - A record is a picture, a question, its options (four here, fewer in some real data) and a letter; a phantom also carries its
#   truth.
# - An accuracy without an interval and an $n$ says little, and small tests reward luck.
#
# ## Where to go next
#
# | chapter | what you do there |
# |---|---|
# | 01 Meet the data | draw the benchmark, read the real one, and find out how much of it needs no eyes |
# | 02 Ask the model | put questions to a small Qwen2-VL in three styles and parse its answers |
# | 03 Write the rewards | score format and accuracy, then break your own rules |
# | 05 GRPO by hand | follow four answers from reward to gradient |
# | 06 Train with GRPO | watch accuracy rise on your own machine |
# | 07 Read the curves | recognise dead signals, hacked rewards and collapse |
# | 09 QLoRA on one GPU | fit two billion parameters into one card |
# | 10 Compare SFT and RL | a fair race, and an unfair one |
# | 11 Think before or after | does reasoning help, and is it true? |
# | 12 Map generalization | train on one modality, test on all |
#
# To go deeper now: L. D. Brown, T. T. Cai and A. DasGupta, *Interval estimation for a binomial
# proportion*, Statistical Science 16 (2001), compares Wilson's interval with its rivals.
