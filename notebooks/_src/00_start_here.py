# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 0 Start here
#
# ## What you will do
#
# You will say how far you believe three claims of a paper, check your machine, look at one question
# as a model will see it, and measure how often a guesser is right. The measuring tools of this chapter
# are used in every later one.
#
# ## What you will learn
#
# After this chapter you can
#
# - name three claims, say which two the course tests, and put a number on your belief in each,
# - check with the doctor which tiers of the course your machine can run,
# - read a record of PhantomMedVQA: image, question, options, right letter, and the truth behind it,
# - put an interval around an accuracy and say whether it differs from chance,
# - work out how many questions a claim needs before you believe it.
#
# ## What you will need
#
# Python 3.11, 3.12 or 3.13 and this repository after `make setup`. You need no GPU, no network and no
# knowledge of reinforcement learning. You need a little Python: functions, lists and loops.
#
# The next cell prints what the chapter costs and where that was measured. Every chapter begins with
# such a cell.

# %%
import math
import os
from unittest import mock

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib import pyplot as plt

from medr1_lib.course import checks, doctor, ledger, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.errors import InputError

tier = tiers.start(0)
pd.set_option("display.max_colwidth", None)
sns.set_theme(style="whitegrid", palette="colorblind")

# %% [markdown]
# ## 1 Three claims
#
# In 2025 a group of researchers trained a vision-language model, that is, a model which reads images
# and text and writes text, to answer multiple-choice questions about medical images. They used
# reinforcement learning (RL): the model tries, and a rule rewards what is good. The paper is called
# *Med-R1* (arXiv 2503.13939). It makes three claims that surprise many readers:
#
# 1. RL generalizes further than supervised fine-tuning (SFT), where the model is shown the right
#    answers. Trained on CT images, say, it also becomes better at MRI.
# 2. After RL, a model answers better without a rationale, that is, a text that explains the answer, than with
#    one before the answer. It also answers better with one after it.
# 3. A model of 2 billion parameters, trained with RL, beats one of 72 billion parameters that was not.
#
# This course tests the first two on a small scale, on your own machine. It cannot test the third. That
# would need a model of 72 billion parameters and one of 2 billion, trained and asked on the same questions.
# Chapter 06 measures only how much RL adds to one small model.
#
# Before you start, write down how likely you think each claim is: 1 means certain, 0 impossible, 0.5 no
# idea. Replace the three numbers below and run the cell. There is no right answer here. The course keeps
# your numbers and asks you again when there is new evidence. Chapter 13 sets the first two beside the
# recorded results.

# %% tags=["nbval-check-output"]
ledger.page(0, generalizes=0.5, thinking=0.5, size=0.5)

# %% [markdown]
# The next figure shows GRPO, the training method of the paper. The model answers the same question several
# times. A rule gives each completion a reward. Completions that did better than the average of their group
# become more likely, the others less likely. You will build every box of this figure in chapters 02 to 05.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Six boxes in a loop. A question with its image goes to the policy, which is the model. The policy samples a group of 8 completions. Rules give each a reward of 0, 1 or 2. Minus the mean of the group, rewards become advantages. A gradient step makes tokens more or less likely, and the policy has new weights."}}
sketch(
    {
        "ask": (0, 0, "question\nand image"),
        "policy": (1, 0, "policy\n(the model)"),
        "group": (2, 0, "group of\n8 completions"),
        "reward": (3, 0, "rewards\n0, 1 or 2"),
        "advantage": (3, -1, "advantages"),
        "step": (1, -1, "gradient step"),
    },
    [
        ("ask", "policy", ""),
        ("policy", "group", "sample"),
        ("group", "reward", "rules"),
        ("reward", "advantage", "minus the\ngroup's mean"),
        ("advantage", "step", "tokens become more or less likely"),
        ("step", "policy", "new weights"),
    ],
    tints={"policy": "blue", "reward": "orange", "advantage": "orange"},
)
plt.show()

# %% [markdown]
# ## 2 Ask the doctor
#
# The course trains real models with real libraries. The doctor checks in a few seconds whether they
# work on your machine. Each item is `OK`, `WARN` (the laptop tier runs without it) or `FAIL`, and a
# `FAIL` says what to do. You can run the same check in a terminal with `python -m medr1_lib doctor`.
# If you ask somebody for help, send its output along. Items that are `OK` are folded, and the table
# shows the others.

# %%
items = doctor.examine(models=tier.name != "replay")
fine = [item.name for item in items if item.status == "OK"]
told = f"<summary>{len(fine)} of {len(items)} items are OK</summary>"
display(HTML(f"<details>{told}{', '.join(fine)}</details>"))
open_items = [(i.status, i.name, i.detail) for i in items if i.status != "OK"]
pd.DataFrame(open_items, columns=["", "item", "found"])

# %% [markdown]
# On most laptops the only `WARN` is the missing GPU. If the next cell says *no*, look for the first
# `FAIL` in the table. The page *Troubleshooting* of the book explains more.

# %% tags=["nbval-check-output"]
print(
    "the laptop tier runs here:",
    "yes" if "laptop" in doctor.runnable(items) else "no",
)

# %% [markdown]
# The course has three *tiers*. They run the same functions at different sizes. `replay` trains
# nothing and shows recorded runs. `laptop` is the default: it trains a model with the real Qwen2-VL
# architecture, but tiny, while you watch, on two CPU cores. `gpu` runs the same code with
# Qwen2-VL-2B; chapter 09 says what of it was measured and what was not. You choose a tier with the
# environment variable `MEDR1_TIER` before you start Jupyter.

# %%
pd.DataFrame(
    [(t.name, t.model, t.data) for t in tiers.TIERS.values()],
    columns=["tier", "model", "data"],
)

# %% [markdown]
# A wrong name is refused at once. Errors of this course are written to be read: they name the place,
# the problem and what to do. The next cell causes one on purpose. It sets the variable for this one
# call only.

# %% tags=["nbval-check-output"]
try:
    with mock.patch.dict(os.environ, MEDR1_TIER="labtop"):
        tiers.current()
except InputError as error:
    print(error)

# %% [markdown]
# ## 3 One question
#
# The course needs medical images that everybody may copy and change, and of which we know everything.
# So it draws them. Such a drawing is called a *phantom*. A `Question` asks something about a phantom
# and offers four options. All these questions together are the data set PhantomMedVQA. We take one
# question about an MRI image from the test split.

# %% tags=["nbval-check-output"]
test = list(questions("test", per_cell=10))
question = next(
    q for q in test if q.answer_text == "cyst" and "FLAIR" in q.scene.acquisition
)
print(question.question)
for letter, option in zip("ABCD", question.options, strict=True):
    print(f"  {letter}) {option}")

# %% [markdown]
# Here is the image, 112 pixels wide and shown at three times its size. Look at it and choose a letter
# before you scroll on. A model gets exactly this: the pixels, the question and the options. It does
# not get the file name, the modality or anything else that we know about the image.

# %% mystnb={"image": {"alt": "One phantom, a drawing in the style of an MRI image through a knee, 112 by 112 pixels, grey; what else it shows is the question."}}
picture = draw(question.scene)
plt.figure(figsize=(3.36, 3.36), dpi=100)
plt.axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[])
plt.imshow(picture, interpolation="nearest")
plt.show()

# %% [markdown]
# We know what a phantom shows, because we drew it. The field `scene` holds this truth: the anatomy,
# the finding, its size and place, how the image was taken, which scanner left its marks, and the
# random seed. No real data set has that. So we can check not only the answer of a model but every
# claim in its rationale, the text in which it explains the answer. (The names of findings are names
# for drawn shapes. This is teaching material, not for clinical use.)

# %% tags=["nbval-check-output"]
print(f"answer: {question.answer}) {question.answer_text}")
print(question.scene)

# %% [markdown]
# ## 4 Measure a guesser
#
# How often is somebody right who never looks at the image? With four options, a guesser should be
# right one time in four. We let one answer the 400 test questions. The result is not exactly 25.0 %,
# although we know that its true accuracy is 25 %. Every accuracy in this course has the same
# uncertainty, whether it comes from a guesser or from a model with two billion parameters.

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(0)
guesses = rng.choice(list("ABCD"), size=len(test))
right = sum(guess == q.answer for guess, q in zip(guesses, test, strict=True))
print(f"{right} of {len(test)} right: {right / len(test):.1%}")

# %% [markdown]
# ### Exercise 1: put an interval around it
# *easy, 10 minutes*
#
# Wilson's 95 % interval contains the true accuracies that fit the observed one. Let $\hat p$ be the
# share of right answers in $n$ questions, and $z = 1.959964$. The two ends of the interval are
#
# $$ \frac{1}{1 + z^2/n}\left(\hat p + \frac{z^2}{2n} \pm z\sqrt{\frac{\hat p(1-\hat p)}{n} + \frac{z^2}{4n^2}}\right) $$
#
# Return both ends as shares from 0 to 1. The cell after yours checks your function. If it is not
# right yet, the check says why, and the chapter continues with the library's version. So *Run All*
# always reaches the end.
#
# <details><summary>Hint</summary>
#
# Compute the centre and the half-width separately. The fraction in front multiplies both. Rounding
# can leave a result such as -0.0000000000000001. `max(0.0, ...)` and `min(1.0, ...)` keep the ends
# between 0 and 1.
#
# </details>

# %%
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
    # Rounding must not leave the share itself outside.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))
    # end solution


# %%
wilson = checks.wilson(wilson)

# %% [markdown]
# We write an interval in brackets after the number. The interval of our guesser should contain 25 %.
# In the long run, about 95 of 100 such intervals contain the true value and 5 do not. Later chapters
# compare two models that answered the same questions, and put an interval around their *difference*.
# Two intervals that overlap do not show that two models are equal (chapter 06).

# %% tags=["nbval-check-output", "headline"]
low, high = wilson(right, len(test))
share = right / len(test)
print(f"guessing: {share:.1%} right [{low:.1%}, {high:.1%}], n = {len(test)}")
print("chance (25 %) lies inside:", "yes" if low <= 0.25 <= high else "no")

# %% [markdown]
# ## 5 How to fool yourself
#
# Here is a mistake that you will find in papers. Take only 20 questions and a thousand guessers.
# Some of the guessers will look excellent, just by luck. The same happens if you train a model with a
# thousand settings, test each on 20 questions and publish the best. The figure shows how much the
# accuracy of guessers varies with 20 questions and with 400.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Two histograms of the accuracy of 1,000 guessers, in percent. With 20 questions they spread from 0 to about 60 percent, with 400 questions from about 19 to 32 percent; a dashed line marks chance at 25 percent."}}
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
        xlim=(0, 65),
    )
plt.show()

# %% [markdown]
# The same in numbers. A guesser with 40 % would be reported as "15 points above chance". With 20
# questions, about one guesser in ten gets there. With 400 questions, nobody does.

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
# A plain estimate of the half-width of the interval is $z\sqrt{p(1-p)/n}$. It is largest at
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
# Precision is expensive: an interval of half the width needs four times as many questions. The recorded
# comparisons of chapters 06, 10 and 11 ask 640 questions, and the maps of chapter 12 ask 1,280. One cell of a
# map holds only a part of them, so its interval is wide. Remember this table when you read that one model is
# two points ahead of another.

# %% tags=["nbval-check-output"]
for half_width in (0.10, 0.05, 0.03, 0.01):
    needed = questions_needed(half_width)
    print(f"within {half_width:.0%} either way: {needed:>5} questions")

# %% [markdown]
# ### Exercise 3: does a 95 % interval keep its promise?
# *hard, 40 minutes*
#
# A 95 % interval promises to contain the true accuracy in 95 of 100 tests. You can check this without
# any simulation. If the true accuracy is `truth`, the number of right answers in `n` questions is
# binomial: the probability of exactly `right` is
# $\binom{n}{\text{right}}\, \text{truth}^{\text{right}} (1 - \text{truth})^{n - \text{right}}$.
# The *coverage* is the total probability of all numbers of right answers for which the interval
# contains `truth`, ends included. Write it as a function. `interval` is a function such as `wilson`.
#
# Then use it. The textbook interval is $\hat p \pm z \sqrt{\hat p (1 - \hat p)/n}$. Write it as
# `textbook(right, n)` in a cell of your own after the check. **Predict before you compute.** (1) Is it
# as good as Wilson's when only 20 questions are asked? (2) The true accuracy is 90 %. What is the
# smallest number of questions, from 5 on, with which the textbook interval covers it with at least 94 %?
# (3) Does the coverage stay above 94 % from there on? If not, what is the largest number up to 1,000 with
# which it is lower? (4) How low does Wilson's interval fall in the same range? Compute all four. Then run
# the two cells below it, which have our results, and explain why (2) and (3) have different answers.
#
# <details><summary>Hint</summary>
#
# No answer right is a possible outcome, and so is every answer right. For (2) to (4), a dictionary from
# `n` to coverage takes a second or two.
#
# </details>


# %% tags=["exercise"]
def coverage(interval, truth, n):
    """Probability that an interval contains the true accuracy."""
    # solution
    total = 0.0
    for right in range(n + 1):
        low, high = interval(right, n)
        if low <= truth <= high:
            total += math.comb(n, right) * truth**right * (1 - truth) ** (n - right)
    return total
    # end solution


# %%
coverage = checks.coverage(coverage)


# %% tags=["hide-input"] mystnb={"image": {"alt": "Two saw-toothed lines of coverage in percent against the true accuracy, for 20 questions. Wilson's interval stays near the dashed line at 95 percent, between about 91 and 100. The textbook interval lies below it nearly everywhere and falls towards zero where the true accuracy is near 0 or 100 percent."}}
def textbook(right, n):
    """The interval that most people learn first."""
    share = right / n
    half = Z * math.sqrt(share * (1 - share) / n)
    return share - half, share + half


truths = np.linspace(0.02, 0.98, 97)
plt.figure(figsize=(7, 2.8))
for name, interval in (("Wilson", wilson), ("textbook", textbook)):
    covered = [100 * coverage(interval, truth, 20) for truth in truths]
    plt.plot(100 * truths, covered, label=name)
plt.axhline(95, color="black", linestyle="--", label="the promise")
plt.xlabel("true accuracy (%)")
plt.ylabel("coverage (%), n = 20")
plt.legend(loc="lower center")
plt.show()

# %% [markdown]
# The textbook interval breaks its promise with few questions, most of all where a model is nearly
# always right. If all 20 answers are right, its width is zero: it claims certainty after 20 questions.
# The next cell has the answers to (2), (3) and (4).

# %% tags=["hide-input", "nbval-check-output"]
for name, interval in (("Wilson", wilson), ("textbook", textbook)):
    covered = {n: coverage(interval, 0.9, n) for n in range(5, 1001)}
    first = min(n for n in covered if covered[n] >= 0.94)
    last = max(n for n in covered if covered[n] < 0.94)
    print(f"{name:>8}: at least 94 % first with {first} questions,", end=" ")
    print(f"less with up to {last}; lowest {min(covered.values()):.0%}")

# %% [markdown]
# <details><summary>What came out, and why</summary>
#
# The number of right answers is a whole number. If one question is added, each end of the intervals moves a
# little. From time to time, one of them passes the true value, and a whole outcome is counted or is not
# counted any more. So the coverage jumps up and down: 28 is a lucky number of questions, and 30 is not. The
# textbook interval breaks its promise in this way up to 645 questions, and with 5 questions it covers the
# truth in only 40 % of the tests. Wilson's interval jumps too, but its lowest coverage is 92 %. So the
# course uses Wilson's. What is true of one `n` need not be true of the next: look at a range.
#
# </details>

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# A new model is right in 8 of 20 questions with four options each. What do you know?
#
# <details><summary>A. It is better than chance, because 40 % is more than 25 %</summary>
#
# Wrong. About one guesser in ten gets 8 or more of 20 questions right.
#
# </details>
# <details><summary>B. It is no better than chance, because the interval contains 25 %</summary>
#
# Wrong. The interval, from 22 to 61 %, also contains 50 %. It does not show that the model is bad.
#
# </details>
# <details><summary>C. Very little: chance and a good model both fit this result</summary>
#
# Right. An interval from 22 to 61 % excludes almost nothing, so you need more questions.
#
# </details>
#
# ### Question 2
# You want an interval of half the width. How many questions do you need?
#
# <details><summary>A. Four times as many</summary>
#
# Right. The half-width falls with the square root of the number of questions.
#
# </details>
# <details><summary>B. Twice as many</summary>
#
# Wrong. Twice as many questions make the interval narrower by a factor of 1.4 only.
#
# </details>
# <details><summary>C. The same number, if they are chosen well</summary>
#
# Wrong. The interval describes the luck of the draw, and only more draws make it smaller.
#
# </details>
#
# ### Question 3
# Why does this course draw its own images, when real ones exist?
#
# <details><summary>A. Because drawn images are as good as real ones for clinical use</summary>
#
# Wrong. Phantoms show no patient, and nothing learned from them may be used in a clinic.
#
# </details>
# <details><summary>B. Because we know everything about them, so every claim of a model can be checked</summary>
#
# Right. The scene behind a phantom says what is true; for a real image only the answer is recorded.
#
# </details>
# <details><summary>C. Because models find drawn images easier than real ones, so all results look better</summary>
#
# Wrong. Easy images would be a reason against them, and chapter 01 tests whether they are too easy.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Med-R1 makes three claims, and the course tests two of them. Your ledger holds what you believe before
#   any evidence.
# - The doctor says what your machine can run. Errors say what to do.
# - A record is an image, a question, its options (four here, fewer in some real data) and a letter. A
#   phantom also has a scene, which says what is true.
# - An accuracy without an interval and an $n$ says little, and a small test rewards luck.
#
# ## Where to go next
#
# | chapter | what you do there |
# |---|---|
# | 01 Meet the data | draw the benchmark, read the real one, and find out how much of it needs no image |
# | 02 Ask the model | ask a small Qwen2-VL in three styles, and read its answers in four ways |
# | 03 Write the rewards | score form and answer, then break your own rules |
# | 04 Reinforce a bandit | derive why RL raises the expected reward, on four letters |
# | 05 GRPO by hand | follow completions from reward to gradient, and write the training step |
# | 06 Train with GRPO | watch accuracy rise on your own machine, and find out where the gain came from |
# | 07 Read the curves | recognise runs that fail, and repair one |
# | 08 The family | from REINFORCE to GSPO, each a change of a line or two |
# | 09 QLoRA on one GPU | fit two billion parameters into one card |
# | 10 Compare SFT and RL | a fair comparison, and an unfair one |
# | 11 Think before or after | does reasoning help, and is it true? |
# | 12 Map generalization | train on one modality, test on all |
# | 13 Your own study | the same with your own data |
#
# To go deeper: L. D. Brown, T. T. Cai and A. DasGupta, *Interval estimation for a binomial
# proportion*, Statistical Science 16 (2001), compares Wilson's interval with others.
