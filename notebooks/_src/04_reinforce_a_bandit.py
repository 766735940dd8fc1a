# ---
# jupyter:
#   nbval: strict
# ---

# %% [markdown]
# # 4 Reinforce a bandit
#
# ## What you will do
#
# You will train a policy by rewards alone, with your own code. The policy is as small as possible: four
# numbers, one for each letter of one question. So you can compute every probability, every gradient and every
# average exactly, and compare them with what sampling gives.
#
# ## What you will learn
#
# After this chapter you can
#
# - say what reinforcement learning maximizes,
# - derive the gradient of an expected reward in three lines, and check it against autograd,
# - write REINFORCE,
# - explain why subtracting a baseline changes the noise and not the direction,
# - use a group of samples as its own baseline,
# - say when samples may be used again, and why the ratio of chapter 05 starts at 1,
# - name the questions on which GRPO cannot raise the reward.
#
# ## What you will need
#
# Chapter 03 (rewards). Softmax, logarithms and a little PyTorch. There is no language model in this
# chapter, and nothing takes longer than a few seconds.

# %%
import pandas as pd
import torch
from matplotlib import pyplot as plt
from torch.nn.functional import one_hot

from medr1_lib.course import checks, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw as picture_of

tier = tiers.start(4)
plt.style.use("seaborn-v0_8-colorblind")
plt.rcParams |= {"figure.figsize": (6, 3), "savefig.bbox": "tight"}

# %% [markdown]
# ## 1 One question, four letters
#
# Here is a question with its image. A model that answers it chooses one of four letters. Suppose that the
# model always keeps the form. Then each letter earns 1 point for the form, and the right letter earns a
# second point for the answer.

# %% mystnb={"image": {"alt": "One phantom image that belongs to the question printed above it, shown at more than twice its size."}}
question = next(q for q in questions("test", per_cell=10) if q.answer == "C")
print(question.question, *zip("ABCD", question.options, strict=True))
plt.figure(figsize=(2.6, 2.6))
plt.imshow(picture_of(question.scene), interpolation="nearest")
plt.axis("off")
plt.show()

# %% [markdown]
# A rule that gives each action a probability is called a **policy**. Ours is a softmax over four numbers, the
# **logits**: $\pi(a) = e^{\theta_a} / \sum_b e^{\theta_b}$. In this chapter the logits themselves are
# trained. In a language model, a network computes the logits, and the weights of the network are trained.
#
# A problem with one decision and no further consequences is called a **bandit**, after the slot
# machine. The next figure shows the loop. The policy draws a letter, a rule scores it, and the score decides in
# which direction the logits move. Nobody tells the policy which letter would have been right.

# %% mystnb={"image": {"alt": "A loop of four boxes. The policy, four logits, draws letters; the letters go to a rule, which gives a reward; the reward becomes a step of the logits, and the step leads back to the policy."}}
sketch(
    {
        "policy": (0, 0, "policy\nfour logits"),
        "letters": (1.2, 0, "letters\nsampled"),
        "reward": (2.4, 0, "reward\nby rule"),
        "step": (
            1.2,
            -0.8,
            "step of the logits\nreward x gradient of log-probability",
        ),
    },
    [
        ("policy", "letters", "draw"),
        ("letters", "reward", "score"),
        ("reward", "step", ""),
        ("step", "policy", ""),
    ],
    tints={"policy": "blue", "reward": "orange", "step": "green"},
    size=(7, 2.6),
)
plt.show()

# %% [markdown]
# Our policy begins with a habit: it says B half of the time, whatever the image shows. The right letter C has
# a probability of 10 %.

# %%
start = torch.tensor([0.2, 0.5, 0.1, 0.2])
logits = start.log()
rewards = torch.tensor([1.0 + (letter == question.answer) for letter in "ABCD"])
columns = {"probability": logits.softmax(-1), "points": rewards}
pd.DataFrame(columns, list("ABCD")).round(2)

# %% [markdown]
# ## 2 What is maximized
#
# The policy draws at random, so its reward is random too. Training should make the *average* reward large.
# This average is called the **expected reward**:
#
# $$ J(\theta) = \sum_a \pi_\theta(a)\, r(a) . $$
#
# ### Exercise 1: the expected reward
# *easy, 5 minutes*
#
# Return $J$, given logits and rewards. Both may also have a row for each of several questions; then
# return one number for each row.
#
# <details><summary>Hint</summary>
#
# `logits.softmax(-1)` works along the last dimension, and so does `.sum(-1)`.
#
# </details>


# %% tags=["exercise"]
def expected_reward(logits, rewards):
    """What a policy earns on average: each reward times the probability of its letter."""
    # solution
    return (logits.softmax(-1) * rewards).sum(-1)
    # end solution


# %%
expected_reward = checks.expected_reward(expected_reward)

# %%
print(f"expected reward: {expected_reward(logits, rewards):.2f} of 2 points")
leaf = logits.clone().requires_grad_()
expected_reward(leaf, rewards).backward()
truth = leaf.grad
print("its gradient, by autograd:", [round(x, 3) for x in truth.tolist()])

# %% [markdown]
# The gradient says what to do: raise the logit of C, and lower the others, B most of all. Here we could add
# up four terms. A language model has a vocabulary of $V$ words and writes $T$ of them, so there are $V^T$
# completions. Nobody can add up so many terms. So the gradient has to be *estimated* from a few samples.
#
# ## 3 The gradient from samples
#
# Three lines are enough. The first moves the gradient inside the sum; the rewards do not depend on
# $\theta$. The second uses the rule for the derivative of a logarithm, $\nabla \log \pi = \nabla \pi /
# \pi$. The third reads the result as an average over letters drawn from the policy:
#
# $$ \begin{aligned}
# \nabla J &= \sum_a r(a)\, \nabla \pi_\theta(a) \\
# &= \sum_a \pi_\theta(a)\; r(a)\, \nabla \log \pi_\theta(a) \\
# &= \mathbb{E}_{a \sim \pi_\theta} \left[\, r(a)\, \nabla \log \pi_\theta(a) \,\right] .
# \end{aligned} $$
#
# This is the **score-function gradient**, also called the **policy gradient**. To estimate it, draw letters,
# multiply the gradient of each log-probability by the reward, and take the mean. The derivative of the reward
# is never needed, so the reward may be any rule.
#
# For a softmax the gradient of the log-probability is simple. It is 1 at the letter that was drawn and 0
# elsewhere, minus the probabilities: $\nabla_\theta \log \pi(a) = \text{onehot}(a) - \pi$.
#
# ### Exercise 2: the policy gradient
# *medium, 15 minutes*
#
# `letters` holds the numbers of $N$ drawn letters, `weights` a number for each. Return the mean over the
# samples of the weight times the gradient of the log-probability. It has the shape of `logits`. With a
# row for each question in all three, return a row for each question. `logits` may also be one row for
# several rows of letters and weights; then return a row for each of those.
#
# <details><summary>Hint</summary>
#
# `torch.nn.functional.one_hot(letters, logits.shape[-1])` has the shape `[..., N, A]`. The
# probabilities need one dimension more, `[..., None, :]`, and the weights too, `[..., None]`. The mean
# goes over dimension `-2`.
#
# </details>


# %% tags=["exercise"]
def policy_gradient(logits, letters, weights):
    """Mean over the samples of weight times gradient of log-probability."""
    # solution
    chosen = one_hot(letters, logits.shape[-1])  # [..., N, A]
    score = chosen - logits.softmax(-1)[..., None, :]  # [..., N, A]
    return (weights[..., None] * score).mean(-2)
    # end solution


# %%
policy_gradient = checks.policy_gradient(policy_gradient)

# %% [markdown]
# We make two tests. In the first one, each letter comes exactly as often as it is probable: 2, 5, 1 and 2
# times in ten. Then the mean has to equal the gradient of autograd.

# %%
ten = torch.tensor([0, 0, 1, 1, 1, 1, 1, 2, 3, 3])
found = policy_gradient(logits, ten, rewards[ten])
same = torch.allclose(found.float(), truth, atol=1e-6)
print("ours is the exact gradient:", same)

# %% [markdown]
# In the second test, autograd differentiates the mean of weight times log-probability. The weights are held
# fixed. Deep-learning code writes the policy gradient in this way: as a *loss*, with a minus in front.

# %%
leaf = logits.clone().requires_grad_()
loss = -(rewards[ten] * leaf.log_softmax(-1)[ten]).mean()
loss.backward()
same = torch.allclose(-leaf.grad, truth, atol=1e-6)
print("autograd of the loss is minus it:", same)

# %% [markdown]
# Now we take real samples. The table has three estimates, each from eight letters, and the mean of 20,000
# such estimates. Single estimates are noisy: the second one would even lower the right letter C. On average
# they are right. Such an estimate is called *unbiased*.

# %%
generator = torch.Generator().manual_seed(0)


def sampled(probabilities, count):
    """Letters drawn at random, `count` for each question."""
    return probabilities.multinomial(count, replacement=True, generator=generator)


many = sampled(start, 20_000 * 8).view(-1, 8)
estimates = policy_gradient(logits, many, rewards[many])
rows = [*estimates[:3], estimates.mean(0), truth]
names = ["estimate 1", "estimate 2", "estimate 3", "mean of 20,000", "exact"]
pd.DataFrame(torch.stack(rows), names, list("ABCD")).round(2)

# %% [markdown]
# ## 4 REINFORCE
#
# If you follow such estimates uphill, with fresh samples at every step, you have **REINFORCE** (Williams
# 1992). It is the oldest policy-gradient method. The methods of the next chapters are this loop with
# refinements.
#
# ### Exercise 3: REINFORCE
# *medium, 20 minutes*
#
# Make `steps` steps. In each step, draw `samples` letters with `draw(probabilities, samples)`, and look up
# what each letter earned. The weight of a letter is its reward minus `baseline(earned)`. Then add `rate`
# times the policy gradient to the logits. Return the expected reward before the first step and after each
# step, stacked. Your function should work for several questions at once. The next section explains what
# `baseline` is for.
#
# <details><summary>Hint</summary>
#
# `rewards.gather(-1, letters)` looks up the rewards, with one question or with many. Collect the
# values in a list that begins with `expected_reward(logits, rewards)`, and return `torch.stack(...)`.
#
# </details>


# %% tags=["exercise"]
def reinforce(logits, rewards, draw, steps, samples, rate, baseline):
    """Expected reward before training and after each step."""
    # solution
    history = [expected_reward(logits, rewards)]
    for _ in range(steps):
        letters = draw(logits.softmax(-1), samples)
        earned = rewards.gather(-1, letters)
        weights = earned - baseline(earned)
        logits = logits + rate * policy_gradient(logits, letters, weights)
        history.append(expected_reward(logits, rewards))
    return torch.stack(history)
    # end solution


# %%
reinforce = checks.reinforce(reinforce)

# %% [markdown]
# Twenty policies learn in parallel. Each draws four letters per step, and its steps are large. We compare two
# ways of learning. Without a baseline, every letter that is drawn is pushed up, by its reward of 1 or 2
# points. With a baseline, the mean reward of the four letters is subtracted first.

# %%
baselines = {
    "no baseline": torch.zeros_like,
    "minus the mean of the group": lambda earned: earned.mean(-1, keepdim=True),
}

# %% [markdown]
# Look at the end of each curve: how many policies find the right letter, which earns 2 points?

# %% mystnb={"image": {"alt": "Two panels with twenty learning curves each, expected reward over 150 steps. Left, without a baseline: most curves fall to 1 at first; some of them jump to 2 after a while, several never do. Right, minus the mean of the four: every curve rises from 1.1 to 2."}}
curves = {}
_, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
for axis, (name, baseline) in zip(axes, baselines.items(), strict=True):
    policies = logits.repeat(20, 1), rewards.repeat(20, 1)
    curves[name] = reinforce(*policies, sampled, 150, 4, 4.0, baseline)
    axis.plot(curves[name], linewidth=1)
    axis.set(title=name, xlabel="step")
axes[0].set_ylabel("expected reward (points)")
plt.show()

# %% tags=["headline"]
for name, history in curves.items():
    good = (history[-1] > 1.9).sum()
    print(f"{name}: {good} of 20 policies above 1.9 points after 150 steps")

# %% [markdown]
# Without the baseline, some policies get stuck. Every letter earns at least one point, so every letter that
# is drawn is pushed up. A wrong letter that is drawn early by luck becomes more likely, so it is drawn again
# and pushed up again. In the end its probability is near 1, and the right letter is not drawn any more.
#
# ## 5 A baseline changes the noise and nothing else
#
# Subtract a number $b$ from all rewards. It may be any number that does not depend on the letter that is
# drawn. The expected gradient stays the same, because the probabilities always add up to 1:
#
# $$ \mathbb{E}\left[\, b\, \nabla \log \pi(a) \,\right] = b \sum_a \nabla \pi(a) = b\, \nabla \sum_a \pi(a) = b\, \nabla 1 = 0 . $$
#
# The noise does change. Here is the estimate for the right letter's logit, with four baselines.

# %%
rows = {}
for baseline in (0.0, 1.0, expected_reward(logits, rewards).item(), 5.0):
    found = policy_gradient(logits, many, rewards[many] - baseline)[:, 2]
    rows[f"b = {baseline:.2f}"] = found.mean().item(), found.std().item()
print(f"exact gradient: {truth[2]:.2f}")
pd.DataFrame(rows, ["mean of the estimates", "their spread (s.d.)"]).T.round(2)

# %% [markdown]
# All four means are equal to two digits. The spreads differ by a factor of four. With only four letters, we
# can also compute the spread exactly: the variance of one sample, summed over the four logits, is a parabola
# in $b$.

# %% mystnb={"image": {"alt": "Variance of the gradient of one sample, summed over the four logits, against the baseline b from 0 to 2.5, a parabola. It is highest at both ends. Two vertical lines mark the expected reward, 1.1, and the lowest point of the parabola, slightly to its right."}}
score = torch.eye(4) - start  # [letter, logit]
levels = torch.linspace(0, 2.5, 251)
weights = (rewards - levels[:, None])[..., None] * score  # [level, letter, logit]
second = (start[:, None] * weights**2).sum((1, 2))
variance = second - (truth**2).sum()
plt.plot(levels, variance)
best = levels[variance.argmin()]
mean = expected_reward(logits, rewards)
plt.axvline(mean, color="black", linestyle="--", label="expected reward")
plt.axvline(best, color="black", linestyle=":", label="lowest variance")
plt.xlabel("baseline b (points)")
plt.ylabel("variance of one sample,\nsum over the four logits")
_ = plt.legend()

# %% [markdown]
# The expected reward is close to the best baseline. With it, the weight of a letter has a meaning: how much
# better was this letter than the policy is on average? Reward minus baseline is called the **advantage**. To
# know the expected reward of a prompt, PPO (proximal policy optimization), the usual method before GRPO,
# trains a second network, the *critic*.
#
# ## 6 The group as its own baseline
#
# GRPO needs no critic. It draws $G$ samples for the *same* question, a **group**, and subtracts their mean
# reward.
#
# One detail needs care. The mean of the group contains the sample itself, so it does depend on the letter
# that was drawn. The effect is known: the expected gradient is multiplied by $(G - 1) / G$. Its direction
# stays right, and its length becomes a little smaller. With $G = 8$ it has 7/8 of the length, and a slightly
# larger learning rate makes up for that.

# %%
groups = {
    size: sampled(start, 20_000 * size).view(-1, size) for size in (2, 4, 8, 16, 32)
}
rows = {}
for size, letters in groups.items():
    earned = rewards[letters]
    means = earned.mean(-1, keepdim=True)
    found = policy_gradient(logits, letters, earned - means)[:, 2].mean() / truth[2]
    rows[f"G = {size}"] = round(found.item(), 2), round((size - 1) / size, 2)
pd.DataFrame(rows, ["mean estimate / exact", "(G - 1) / G"]).T

# %% [markdown]
# How large should a group be? The next figure shows the noise against the size of the group. Both axes are
# logarithmic. A gradient that is shorter has less noise too. So the mean of the group has two lines: as it is,
# and divided by $(G - 1) / G$, so that its gradient is as long as that of the other lines. The printed numbers say
# how much noisier this second line is than the expected reward. **Predict** them for $G = 2$ and for $G = 32$.

# %% mystnb={"image": {"alt": "Spread of the gradient estimate against group size from 2 to 32 on logarithmic axes. Four falling lines: without a baseline highest. Minus the expected reward is a straight line well below. The group mean as it is lies below it at every size, the group mean at equal length above it; both come closer to it as groups grow."}}
kinds = {
    "no baseline": lambda earned: 0 * earned,
    "expected reward": lambda earned: mean + 0 * earned,
    "mean of the group": lambda earned: earned.mean(-1, keepdim=True),
}
spread = pd.DataFrame(index=list(groups), columns=list(kinds), dtype=float)
for name, baseline in kinds.items():
    for size, letters in groups.items():
        earned = rewards[letters]
        found = policy_gradient(logits, letters, earned - baseline(earned))
        spread.loc[size, name] = found.std(0).norm().item()
longer = spread.index / (spread.index - 1)
spread["the same, at equal length"] = spread["mean of the group"] * longer
spread.plot(loglog=True, style=["o-", "s--", "^:", "v-."])
more = spread["the same, at equal length"] / spread["expected reward"] - 1
print("noisier than with the expected reward:", more.map("{:.0%}".format).to_dict())
plt.xticks(list(groups), list(groups))
plt.yticks([0.1, 0.2, 0.4], [0.1, 0.2, 0.4])
plt.minorticks_off()
plt.xlabel("samples of the question (G)")
plt.ylabel("spread of the gradient\n(s.d., all four logits)")
_ = plt.legend(bbox_to_anchor=(1, 1), loc="upper left", frameon=False)

# %% [markdown]
# The noise of the first two lines falls with the square root of $G$: four times the samples halve it. At equal
# length, the mean of the group is noisier than the expected reward at every size, most of all in a group of two. The
# mean of few rewards is itself noisy. From eight samples on, this costs little, and you need not know the expected
# reward, which nobody knows in practice.
#
# More samples cost more time. With 128 samples per step you can ask 64 questions twice, 16 questions eight
# times, or one question 128 times. Large groups give a better baseline. Many questions give a gradient that
# helps more than one question. The recipe of this course takes 16 questions with eight samples each.
#
# ## 7 May samples be used again?
#
# The derivation needs letters drawn from the policy *as it is now*. Learning from such letters is called
# **on-policy**. After a step the policy has changed, and the old letters are **off-policy**: some letters
# come too often in them, others too seldom. A weight repairs that, the **ratio** $\rho = \pi(a) /
# \pi_\text{old}(a)$. The next cell keeps the letters that were drawn at the start. It uses them for policies
# that have moved further and further towards C.

# %%
letters, rows = many[:10_000], {}
earned = rewards[letters] - mean
for moved in (0.0, 0.5, 1.0, 2.0, 3.0):
    now = logits + torch.tensor([0, 0, moved, 0])
    ratio = (now.log_softmax(-1) - logits.log_softmax(-1)).exp()[letters]
    leaf = now.clone().requires_grad_()
    expected_reward(leaf, rewards).backward()
    naive, fair = (
        policy_gradient(now, letters, earned * w)[:, 2] for w in (1, ratio)
    )
    rows[f"{now.softmax(-1)[2]:.2f}"] = [
        leaf.grad[2],
        naive.mean(),
        fair.mean(),
        fair.std(),
        ratio.max(),
    ]
columns = ["exact", "no ratio", "with ratio", "its spread", "largest ratio"]
pd.DataFrame(rows, columns, dtype=float).T.rename_axis("P(C) now").round(2)

# %% [markdown]
# Without the ratio, the estimate stays the same, whatever the policy is now. Soon the exact gradient is more
# than twice as large. With the ratio, the mean is right, but the spread grows, because a few samples get a
# large weight. So samples can be used again for a few small steps, and something has to limit the ratio. The
# *clip* in chapter 05 does that.
#
# In the first row the policy has not moved, and every ratio is exactly 1. If you draw fresh samples for every
# step, you are always in that row. Still, do not replace the ratio by its value 1: the loss would be a
# constant. Its value is 1, but its gradient is the gradient of the log-probability. So with fresh samples you
# can write advantage times ratio or, as in section 3, advantage times log-probability. Both have the same
# gradient.

# %%
leaf = logits.clone().requires_grad_()
ratio = (leaf.log_softmax(-1) - logits.log_softmax(-1)).exp()[ten]
(ratio * rewards[ten]).mean().backward()
same = torch.allclose(leaf.grad, truth, atol=1e-6)
print("every ratio is 1:", bool((ratio == 1).all()))
print("gradient is the policy gradient:", same)

# %% [markdown]
# ## 8 When GRPO cannot help
#
# If all samples of a group earn the same, every advantage is zero and the question teaches nothing. A
# question that is right with probability $p$ gives a *mixed* group, one with spread, with probability
# $1 - p^G - (1 - p)^G$. It gives a *solved* group, all right, with $p^G$ and a *stuck* one, all wrong, with
# $(1 - p)^G$.

# %% mystnb={"image": {"alt": "Share of mixed groups against the probability of a right answer, for groups of 2, 4, 8 and 16. Each curve is zero at both ends and highest in the middle. Larger groups have a wider plateau near 1; for 2 the maximum is one half."}}
p = torch.linspace(0, 1, 201)
for size, line in ((2, ":"), (4, "-."), (8, "-"), (16, "--")):
    plt.plot(p, 1 - p**size - (1 - p) ** size, line, label=f"G = {size}")
plt.xlabel("probability of the right answer")
plt.ylabel("share of mixed groups")
_ = plt.legend()

# %% [markdown]
# Now five questions. The policy gives the right letter a very different probability in each, and shares the rest equally
# among the other three letters.

# %%
known = torch.tensor([0.0001, 0.01, 0.1, 0.5, 0.99])
rest = ((1 - known) / 3)[:, None].expand(-1, 3)
five = torch.cat([rest[:, :2], known[:, None], rest[:, 2:]], 1)  # C is right

# %% [markdown]
# Each question gets 150 groups of eight. Compare the first and the last column: which questions moved?

# %%
baseline = baselines["minus the mean of the group"]
history = reinforce(
    five.log(), rewards.expand(5, 4), sampled, 150, 8, 1.0, baseline
)
chance = 1 - known**8 - (1 - known) ** 8
columns = {
    "P(right) before": known,
    "mixed groups, before": chance,
    "P(right) after": history[-1] - 1,
}
pd.DataFrame(columns).round(3)

# %% [markdown]
# The policy learned nothing on the first question, because the right letter was never drawn. GRPO raises the
# probability of what the policy already says now and then. It cannot teach a word that the policy never
# tries. The last question was right from the start and could hardly become better. So GRPO improves the
# questions between these two. This is why chapter 06 looks for spread before the training begins, and why
# chapter 08 filters questions.
#
# ## 9 What do many questions have in common?
#
# A real model does not have four logits for each question. All questions share its weights. We add this to
# the bandit. The policy has one **habit**: four numbers that are used for every question. And it has four
# numbers of its **own** for each question. They stand for what the policy sees in that image: $\theta_q =
# \text{habit} + \text{own}_q$. Training changes both.
#
# ### Exercise 4: habit or knowledge?
# *hard, 45 minutes*
#
# First the function. In each step, draw `group` letters for all questions from `habit + own`, and take the advantages
# (reward minus the mean of the group, not scaled). The objective is the *mean* of the expected reward over the $Q$
# questions. Estimate its gradient with `policy_gradient`, and move `habit` and `own` by `rate` times their own parts of
# it, both from the same letters. Return `habit` and `own`.
#
# <details><summary>Hint</summary>
#
# The chain rule: how does the objective change if one number that only one question uses moves? And how, if one
# number that all questions share moves?
#
# </details>


# %% tags=["exercise"]
def train_shared(habit, own, rewards, draw, steps, group, rate):
    """Train what all questions share and what each has of its own, by groups."""
    # solution
    for _ in range(steps):
        letters = draw((habit + own).softmax(-1), group)  # [Q, G]
        earned = rewards.gather(-1, letters)
        advantages = earned - earned.mean(-1, keepdim=True)
        slope = policy_gradient(habit + own, letters, advantages) / len(
            own
        )  # [Q, A]
        habit, own = habit + rate * slope.sum(0), own + rate * slope
    return habit, own
    # end solution


# %%
train_shared = checks.train_shared(train_shared)

# %% [markdown]
# Now the experiment. The policy begins with a strong habit of saying B. It sees a little in each image: the
# right letter's own logit is 1.5 higher on average, and each logit has noise with a standard deviation of 1.
# It trains on 40 questions, ten for each right letter. The test has 4,000 *other* questions. They use the
# same habit, and their own numbers are fresh: no training has changed them.
#
# **Predict before you run.** Write down: (1) What is P(right) on the training questions after 20 steps? (2) On the new questions, does P(right) rise at all, and when does it stop? (3) What becomes of the habit? (4) Would a policy that
# sees nothing (`seen=0`) gain on new questions? Then run the cell and explain each difference in a sentence or two.


# %%
def posed(count, seen, seed):
    """Rewards of `count` questions and what the policy sees in each, [Q, 4]."""
    keys = one_hot(torch.arange(count) % 4, 4).float()
    noise = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return keys, noise + seen * keys


def learn_and_test(seen):
    """P(right) on training and new questions, and P(B) by habit, every 20 steps."""
    habit, rows = torch.tensor([0.1, 0.75, 0.05, 0.1]).log(), []
    (keys, own), (new_keys, new) = posed(40, seen, 1), posed(4000, seen, 2)
    for step in range(0, 101, 20):
        fit = expected_reward(habit + own, keys).mean().item()
        test = expected_reward(habit + new, new_keys).mean().item()
        rows.append((step, fit, test, habit.softmax(-1)[1].item()))
        habit, own = train_shared(habit, own, keys, sampled, 20, 8, 10.0)
    unbiased = expected_reward(new, new_keys).mean().item()
    print(f"seen = {seen}: new questions without any habit {unbiased:.2f}")
    return pd.DataFrame(rows, columns=["step", "training", "new", "P(B) by habit"])


learn_and_test(seen=1.5).set_index("step").round(2)

# %%
learn_and_test(seen=0.0).set_index("step").round(2)

# %% [markdown]
# <details><summary>What came out, and why</summary>
#
# On the training questions P(right) goes far towards 1. Each question has numbers of its own, and the policy
# learns them by heart. On the new questions P(right) rises in the first twenty steps and then stops, close to
# what a policy without any habit earns. This gain is real, and it contains no new knowledge: the habit had
# hidden what the policy could see. The habit changes first because all 40 questions push it at once. A policy
# that sees nothing gains nothing on new questions. The right letters are balanced, so no habit is better than
# another.
#
# In this bandit, only the habit can carry over to new questions. In a network, all images share the weights,
# so training can also improve what the model sees in new images. Chapter 06 measures which of the two
# happened in a real training.
#
# </details>

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# You add 100 points to the reward of every letter and use no baseline. What happens to the policy gradient?
#
# <details><summary>A. Its expectation is about 100 times as large</summary>
#
# Wrong. On average the constant adds nothing, because the probabilities always add up to 1.
#
# </details>
# <details><summary>B. Its expectation stays, its noise grows</summary>
#
# Right. The constant adds nothing on average and is multiplied into every single estimate.
#
# </details>
# <details><summary>C. Nothing at all changes, because only differences between rewards count</summary>
#
# Wrong. That is true of the expectation only. Single estimates become wild, and training needs far more samples.
#
# </details>
#
# ### Question 2
# All eight samples of a group are wrong in the same way. What does the group teach, with the group mean as baseline?
#
# <details><summary>A. Nothing</summary>
#
# Right. Reward minus mean is zero for each, so no sample is pushed anywhere by its reward.
#
# </details>
# <details><summary>B. To avoid this wrong answer, since a low reward pushes its probability down</summary>
#
# Wrong. What counts is the difference from the group. Here there is none, however low the reward is.
#
# </details>
# <details><summary>C. To try the other letters more often</summary>
#
# Wrong. The advantage does not ask for other letters. A letter that was not drawn is not pushed.
#
# </details>
#
# ### Question 3
# Every step draws fresh samples. Why does the loss still contain the ratio of new to old probability?
#
# <details><summary>A. It corrects for letters that are drawn too often</summary>
#
# Wrong. Fresh samples need no correction: each ratio is exactly 1.
#
# </details>
# <details><summary>B. It limits how far one step can go</summary>
#
# Wrong. A ratio of 1 limits nothing, and the clip around it never acts in the first step.
#
# </details>
# <details><summary>C. Its value is 1, but its gradient is that of the log-probability</summary>
#
# Right. If you put the number 1 in its place, the loss is a constant, and a constant has no gradient.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Reinforcement learning maximizes the expected reward. Its gradient is an average of reward times gradient of log-probability,
#   so it can be estimated from samples, and the reward may be any rule.
# - A baseline removes noise and leaves the expected gradient alone. A group can be its own baseline, with no second network.
# - Noise falls with the square root of the number of samples.
# - Old samples need the ratio, and the ratio makes them noisier. With one step per batch it is 1.
# - A group without spread teaches nothing. A letter that is never sampled is never learned.
# - What all questions share changes first. So a gain on new questions can be nothing more than a lost habit.
#
# ## Where to go next
#
# Chapter 05 replaces the four logits by a vision-language model whose completions have many tokens. The loop
# stays. To go deeper: R. Williams, *Simple statistical gradient-following algorithms for connectionist
# reinforcement learning* (1992); R. Sutton and A. Barto, *Reinforcement Learning* (2nd edition, 2018),
# chapters 2 and 13; J. Schulman et al., *Proximal policy optimization* (arXiv 1707.06347). To play: give C a
# reward of 1.01 instead of 2, and find out how many steps it takes now. Then divide the advantages by the
# standard deviation of the group, as chapter 05 does, and try again.
