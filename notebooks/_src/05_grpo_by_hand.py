# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 5 GRPO by hand
#
# ## What you will do
#
# You will follow four completions through every stage of Group Relative Policy Optimization (GRPO), from the
# reward to the gradient. Then you write one training step from these functions, and train a vision-language
# model with it. At the end you compare your loss with that of the training library TRL, which does the same
# and takes care of much more.
#
# ## What you will learn
#
# After this chapter you can
#
# - turn the rewards of a group into advantages, and say when a group teaches nothing,
# - compute the log-probability of every token that a vision-language model wrote,
# - estimate a KL divergence from samples, and say where the estimate becomes unreliable,
# - tell four published losses apart by the weight that they give to a token,
# - explain how a loss of zero can have a large gradient,
# - write a training step of GRPO from memory, and say what a loop around it has to get right.
#
# ## What you will need
#
# Chapters 03 (rewards) and 04 (policy gradient, baseline, ratio). Tensors and gradients in PyTorch. In
# sections 1 to 6 the model has random weights. The arithmetic is the same for a trained model.

# %%
import copy
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from torch.nn.utils import clip_grad_norm_

from medr1_lib.course import checks, ledger, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data import phantom_vqa
from medr1_lib.data.phantoms import draw
from medr1_lib.data.styles import STYLES, prompt
from medr1_lib.model.loading import load_policy
from medr1_lib.rl.rewards import points, rewards

tier = tiers.start(5)
from medr1_lib.rl import loop, run
from medr1_lib.rl.recipe import load_recipe

sns.set_theme(style="white", palette="colorblind")
warnings.filterwarnings("ignore", category=FutureWarning)

# %% [markdown]
# The capitals in the next cell are settings of GRPO: the size of a group, the greatest length of a completion
# in tokens, the temperature of sampling, the clip, and the weight of the KL penalty. The **policy** is the
# model itself, seen as the rule that chooses the next token. A **rollout** is one completion that the policy
# sampled for a prompt.
#
# The figure shows all six stages; sections, equations and `medr1_lib/rl/grpo.py` use the same
# numbers. The upper path computes how good a rollout was, without the model. The lower path computes how
# probable it was, without the right answer. The gradient flows back along the lower path only.

# %% mystnb={"image": {"alt": "Flow chart with six numbered stages. Rollouts lead to 1 reward and on to 2 advantage. Rollouts also lead to 3 log-probability, and from there to 4 ratio and clip and to 5 KL. The advantage enters stage 4 as well. Stages 4 and 5 lead to 6, the loss. The boxes that the gradient passes through have another color than rewards and advantages."}}
GROUP, MAX_LENGTH, TEMPERATURE, CLIP, BETA = 4, 32, 1.0, 0.2, 0.04
boxes = {
    "rollouts": (0, 0, "rollouts"),
    "reward": (1, 0.5, "1 reward"),
    "advantage": (2, 0.5, "2 advantage"),
    "logp": (1, -0.5, "3 log-probability"),
    "ratio": (2.4, -0.1, "4 ratio and clip"),
    "kl": (2.4, -0.9, "5 KL"),
    "loss": (3.6, -0.5, "6 loss"),
}
paths = "rollouts-reward reward-advantage rollouts-logp logp-ratio logp-kl"
paths += " advantage-ratio ratio-loss kl-loss"
arrows = [(*path.split("-"), "") for path in paths.split()]
learns = dict.fromkeys(("logp", "ratio", "kl", "loss"), "blue")
sketch(boxes, arrows, tints=learns | {"reward": "orange", "advantage": "orange"})
plt.show()

# %% [markdown]
# ## 1 Reward
#
# We ask one question about one phantom, and write the group of completions ourselves, so that we know what each deserves. The first is right and short. The second is right and
# longer than needed. The third is as short as the first, and wrong. The fourth has the right letter in the
# wrong form. With the strict rules of chapter 03 the reward is
#
# $$ r_i = \text{format}_i + \text{accuracy}_i . \tag{1} $$

# %% mystnb={"image": {"alt": "A phantom in the style of an abdominal CT slice: a dark gray ellipse on black, in it a light gray disk at the upper right and a small white vertebra below the center."}}
style = "think_before"
asked = [
    q for q in phantom_vqa.questions("test", per_cell=10) if q.modality == "CT"
]
question = next(q for q in asked if q.answer_text == "mass")
text = prompt(question.question, question.options, style)
picture = draw(question.scene)
plt.figure(figsize=(2.6, 2.6))
plt.imshow(picture, interpolation="nearest")
plt.axis("off")
plt.show()
long = "CT, anatomy: abdomen, acquisition: bone window, grade: moderate, "
long += "place: upper right, finding: mass"
completion = STYLES[style].completion
rollouts = {
    "short": completion("B", "CT, abdomen, finding: mass"),
    "long": completion("B", long),
    "wrong": completion("C", "CT, abdomen, finding: abscess"),
    "no tags": "B) mass",
}
earned = [points(said, question.answer, style) for said in rollouts.values()]
sheet = pd.DataFrame(earned, rollouts, ["format", "accuracy"])
sheet["1 reward"] = sheet.sum(axis=1)
print(text.replace(". Reply", ".\nReply"))
sheet

# %% [markdown]
# That table is our worksheet. Most stages add a column to it.
#
# ## 2 Advantage
#
# Chapter 04 subtracted the mean of the group from each reward. GRPO also divides by the standard deviation:
#
# $$ A_i = \frac{r_i - \text{mean}(r_1 \ldots r_G)}{\text{std}(r_1 \ldots r_G) + 10^{-4}} \tag{2} $$
#
# ### Exercise 1: advantages of a group
# *easy, 10 minutes*
#
# `rewards` is flat, with the rollouts of a prompt next to each other: with `group_size` 4, the first
# four belong together, then the next four. Return as many advantages, in the same order. Without
# `scale`, leave out the division.
#
# <details><summary>Hint</summary>
#
# `rewards.view(-1, group_size)` has one row per prompt. `mean(1, keepdim=True)` keeps the column, so
# that the subtraction lines up. `std` of torch divides by $G - 1$, which is what TRL does.
#
# </details>


# %% tags=["exercise"]
def group_advantages(rewards, group_size, scale=True):
    """How much better each rollout did than its group (2)."""
    # solution
    groups = rewards.view(-1, group_size)  # [P, G]
    advantages = groups - groups.mean(1, keepdim=True)  # [P, G]
    if scale:
        advantages = advantages / (groups.std(1, keepdim=True) + 1e-4)
    return advantages.flatten()  # [B]
    # end solution


# %%
group_advantages = checks.group_advantages(group_advantages)

# %% tags=["nbval-check-output"]
advantages = group_advantages(torch.tensor(sheet["1 reward"].tolist()), GROUP)
sheet["2 advantage"] = advantages.tolist()
for group in torch.tensor([[2, 2, 2, 2], [2, 1, 1, 1], [1.01, 1, 1, 1]]):
    both = [group_advantages(group, GROUP, scale)[0] for scale in (True, False)]
    print(*group.numpy().round(2), f": {both[0]:.2f} scaled, {both[1]:.4f} not")
sheet.round(2)

# %% [markdown]
# Both right rollouts have the same advantage, whatever their length. The lowest advantage belongs to the
# rollout with the right letter in the wrong form, because the rule gives it no point.
#
# Each printed line has the rewards of a group and the advantage of its first rollout, scaled and not. They
# show two problems. First, if all rewards are equal, all advantages are zero. Second, after the division
# every group has the same weight. In the last line the rewards differ by a hundredth of a point, and after
# scaling this counts as much as right against wrong. So a later variant, Dr. GRPO (chapter 08), leaves the division
# out (`scale=False`).
#
# ## 3 Log-probability
#
# In chapter 04 an action was one letter. Here it is a whole completion, written token by token, and each token depends on
# question, image and the tokens before it. So the probabilities multiply, and their logarithms add up:
# $\log\pi(o_i) = \sum_t \log\pi(o_{i,t})$, where $o_{i,t}$ is the token of rollout $i$ at place $t$. The policy gradient of
# chapter 04 becomes $A_i \sum_t \nabla \log\pi(o_{i,t})$: every token gets the advantage of its rollout. (In textbooks, the
# *state* is the text so far, the *action* is the next token, the *episode* is the completion.)
#
# At every place a language model gives a logit $z$ to each of the $V$ words of its vocabulary. Softmax turns
# them into probabilities:
#
# $$ \log \pi(o_{i,t}) = \frac{z_{o_{i,t}}}{\tau} - \log \sum_v \exp\frac{z_v}{\tau} \tag{3} $$
#
# The temperature $\tau$ must be the one of sampling. A rollout sampled at 0.9 and scored at 1.0 is scored
# under a policy that did not write it. The result is in **nats**, the unit of the natural logarithm: one nat
# less means a probability that is 2.7 times smaller.


# %%
def token_logps(logits, ids, temperature):
    """Log-probability of each token that was written (3)."""
    logits = logits.float() / temperature  # [B, T, V]
    chosen = logits.gather(-1, ids[..., None]).squeeze(-1)  # [B, T]
    return chosen - logits.logsumexp(-1)  # [B, T]


# %% [markdown]
# Our model is the laptop tier's Qwen2-VL: the real architecture with about three million weights. The
# processor turns question and image into a prompt, once for each rollout. The shorter completions are padded.
# `mask` is 1 where a rollout has a token, up to and including the token that ends the turn, and 0 after it.
# With $B$ rollouts of at most $T$ tokens, ids and mask have the shape $[B, T]$.
#
# The logits that predict token $t$ stand one place before it. So `our_logps` drops the last place, which
# predicts a token that was never written, and keeps the $T$ places before it. If you forget this shift,
# everything still runs, with the probabilities of the wrong tokens.

# %% tags=["hide-input"]
base, processor = load_policy(tiers.material("tiny-qwen2-vl"), device="cpu")
content = [{"type": "image"}, {"type": "text", "text": text}]
chat = [{"role": "user", "content": content}]
turn = processor.apply_chat_template(chat, add_generation_prompt=True)
start = processor(GROUP * [picture], GROUP * [turn], return_tensors="pt")
ended = [said + processor.tokenizer.eos_token for said in rollouts.values()]
padded = {"padding": True, "padding_side": "right", "return_tensors": "pt"}
ids, mask = processor.tokenizer(ended, **padded).values()
words = [processor.tokenizer.batch_decode(row[:, None]) for row in ids]
own = {"input_ids": ids, "attention_mask": mask}
own["mm_token_type_ids"] = torch.zeros_like(ids)  # none of them is an image
joined = {name: torch.cat([start[name], row], 1) for name, row in own.items()}
inputs = start | joined
torch.manual_seed(0)
model = type(base)(base.config)  # the same architecture with fresh weights
model.model.visual.requires_grad_(False)  # the vision tower stays as it is


def our_logps(policy):
    """Log-probabilities of the four rollouts under a policy, [B, T]."""
    before = policy(**inputs).logits[:, -ids.shape[1] - 1 : -1]
    return token_logps(before, ids, TEMPERATURE)


# %% [markdown]
# The first line shows how the short rollout is cut into tokens. The other two are a test: a model with random weights gives each
# word about the same probability.

# %% tags=["nbval-check-output"]
print(list(start.input_ids.shape), list(ids.shape), "|".join(words[0][:13]))
old = our_logps(model).detach()
per_token = (old * mask).sum(1) / mask.sum(1)
size = torch.tensor(model.config.text_config.vocab_size)
print(f"one word of {size}: {-size.log():.1f} nats per token")
print("our rollouts:", [round(x, 1) for x in per_token.tolist()])

# %% [markdown]
# ## 4 Ratio and clip
#
# The ratio of chapter 04 compares the policy now with the policy $\pi_\text{old}$ that sampled the rollout, here token by token.
# It is multiplied with the advantage of the rollout, up to a limit $\varepsilon$:
#
# $$ \rho_{i,t} = \frac{\pi(o_{i,t})}{\pi_\text{old}(o_{i,t})}, \qquad
# J_{i,t} = \min\left(\rho_{i,t} A_i,\ \text{clip}(\rho_{i,t}, 1 - \varepsilon, 1 + \varepsilon) A_i\right) \tag{4} $$
#
# As long as every batch of rollouts is used for *one* update, all ratios are 1 and the clip does nothing.
# What is left is the policy gradient of chapter 04 with a group as baseline, divided by spread (stage 2) and
# length (stage 6). The clip matters when a batch
# is used again (section 8). Then a token of a good rollout is pushed until it is 20 % more probable than when
# it was sampled, and a token of a bad one until it is 20 % less probable. Beyond that the objective is
# constant and has no gradient. The minimum makes sure that a token that moved in the *wrong* direction is
# never clipped.


# %%
def clipped_objective(ratio, advantages, clip):
    """What a token gains from the change of its probability, up to a limit (4)."""
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * advantages, clipped * advantages)


# %% [markdown]
# ## 5 KL
#
# A policy that moves far from its base can find completions that earn the reward and are useless (chapter 03). So GRPO
# makes it pay for its distance from the **reference**, the model at the start of training. The distance is the KL
# divergence, the mean of $\log\pi(o) - \log\pi_\text{ref}(o)$ over texts $o$ that the policy writes: how much likelier is a
# text under the policy than under the reference? It is zero only if both agree. There are too many texts to add up, so
# it is estimated from the sampled tokens. The plain estimate, $\log\pi - \log\pi_\text{ref}$ itself, is right on average,
# but often negative, although no divergence is. Schulman's third estimator, called k3, adds $\pi_\text{ref} / \pi - 1$,
# whose mean is zero, because the probabilities under the reference add up to 1. It is never negative:
#
# $$ k_{i,t} = e^{d} - 1 - d, \qquad d = \log\pi_\text{ref}(o_{i,t}) - \log\pi(o_{i,t}) \tag{5} $$
#
# ### Exercise 2: k3
# *easy, 5 minutes*
#
# Return $k$ for every token, given the log-probabilities under the policy and under the reference.
#
# <details><summary>Hint</summary>
#
# Mind the direction of $d$. `torch.expm1(d)` is $e^d - 1$ without the rounding error of small $d$,
# which can make the result negative.
#
# </details>


# %% tags=["exercise"]
def kl_k3(logps, reference_logps):
    """Estimate at each token how far the policy is from the reference (5)."""
    # solution
    gap = reference_logps - logps
    return torch.expm1(gap) - gap
    # end solution


# %%
kl_k3 = checks.kl_k3(kl_k3)

# %% [markdown]
# How good is it? With five words everything can be computed exactly. For each distance of a policy from its reference
# we compute the spread of both estimates for one token. Both have the
# right mean. Near the reference k3 is far more precise. Far away it is worse: if a sampled word is likely
# under the reference and unlikely under the policy, $e^d$ is huge. So a spike in a KL curve, in a run that
# has gone far, may come from one rare token. Chapter 07 shows such a run.

# %% mystnb={"image": {"alt": "Spread of two estimates of a KL divergence for one token against the true divergence, both axes logarithmic. At small divergences k3 lies far below the plain estimate. The lines cross near a divergence of 1.7 nats, and beyond it k3 grows steeply while the plain estimate falls."}}
reference = torch.tensor([0.50, 0.20, 0.15, 0.10, 0.05], dtype=torch.float64)
found = []
for pull in torch.linspace(0.05, 6, 120):
    now = (reference.log() + pull * torch.tensor([0, 1, 0, 0, 2.0])).softmax(-1)
    gaps = {
        "plain": (now / reference).log(),
        "k3": kl_k3(now.log(), reference.log()),
    }
    true = (now * gaps["plain"]).sum()
    spread = {
        name: (now * (g - true) ** 2).sum().sqrt() for name, g in gaps.items()
    }
    found.append({"true": true} | spread)
found = pd.DataFrame(found).astype(float).set_index("true")
axis = found.plot(loglog=True, style=["--", "-"], figsize=(6, 3))
axis.set(xlabel="true divergence (nats)", ylabel="spread, one token (s.d.)")
plt.show()

# %% [markdown]
# ## 6 Loss
#
# Every token has an objective and a penalty. The loss is a weighted sum,
#
# $$ L = \sum_{i,t} w_{i,t} \left(\beta\, k_{i,t} - J_{i,t}\right), \tag{6} $$
#
# and four published losses differ in nothing but the weights $w$. Let $|o_i|$ be the number of tokens of
# rollout $i$, $B$ the number of rollouts, and $N$ the number of tokens of all of them. (The names are TRL's.)
#
# | loss | weight of a token of rollout $i$ | in words |
# |---|---|---|
# | `grpo` | $1 / (B\,\lvert o_i\rvert)$ | rollouts share equally, then the tokens of each |
# | `bnpo` | $1 / N$ | all tokens of this batch share equally |
# | `dapo` | $1 / N$ | the same, $N$ counted over the whole optimizer step |
# | `dr_grpo` | $1 / (B \cdot \text{max\_length})$ | a constant, as if all were of full length |
#
# ### Exercise 3: the weight of a token
# *medium, 15 minutes*
#
# Return the weights, of the shape of `mask` and 0 where it is 0. For `dapo`, $N$ is `batch_tokens`
# if that is given, and counted in `mask` if not. A memory-saving trainer sees a step in parts, and
# hands over the $N$ of all parts.
#
# <details><summary>Hint</summary>
#
# Put the four divisors into a dictionary and return `mask / divisors[kind]`. The one of `grpo` is a
# column, `mask.sum(1, keepdim=True)` times the number of rollouts; the others are numbers.
# `.clamp(min=1)` keeps an empty rollout from dividing zero by zero.
#
# </details>


# %% tags=["exercise"]
def token_weights(mask, kind, max_completion_length, batch_tokens=None):
    """The share of each token in the loss (6)."""
    # solution
    rollouts, tokens = len(mask), mask.sum().clamp(min=1)
    divisors = {
        "grpo": rollouts * mask.sum(1, keepdim=True).clamp(min=1),  # [B, 1]
        "bnpo": tokens,
        "dapo": tokens if batch_tokens is None else batch_tokens,
        "dr_grpo": rollouts * max_completion_length,
    }
    return mask / divisors[kind]  # [B, T]
    # end solution


# %%
token_weights = checks.token_weights(token_weights)

# %% tags=["nbval-check-output"]
KINDS = ("grpo", "bnpo", "dapo", "dr_grpo")
weighed = {kind: token_weights(mask, kind, MAX_LENGTH) for kind in KINDS}
columns = {kind: 100 * weight[:, 0] for kind, weight in weighed.items()}
columns["tokens"] = mask.sum(1)
print("weight of one token, in hundredths")
pd.DataFrame(columns, list(rollouts), dtype=float).round(1)

# %% [markdown]
# The column `grpo` shows a bias. A token of `no tags` weighs five times as much as one of `long`. So a long
# wrong rollout is pushed down less per token than a short wrong one. A short right rollout is pushed up more per
# token than a long right one. A model can lower its loss by being short when it is right and long when it is
# wrong. The other three losses give every token the same weight, so long rollouts have more influence. Every
# weighting favors something. Choose one and know what it favors.
#
# The loss itself is short.


# %%
def grpo_loss(
    logps,
    old_logps,
    reference_logps,
    advantages,
    weights,
    clip,
    beta,
    corrected_kl=False,
):
    """The loss of a batch of rollouts (6)."""
    ratio = (logps - old_logps).exp()  # [B, T]
    objective = clipped_objective(ratio, advantages[:, None], clip)  # [B, T]
    penalty = kl_k3(logps, reference_logps)  # [B, T]
    if corrected_kl:
        penalty = ratio * penalty
    return (weights * (beta * penalty - objective)).sum()


# %% [markdown]
# `our_loss` runs stages 3 to 6 for the four rollouts, with `model` as old policy and as reference.
# `our_gradient` gives the gradient of a loss as one long row. `down` takes a step of plain gradient descent.


# %%
def our_loss(policy, kind="grpo", advantages=advantages):
    """The loss of our four rollouts, which `model` is taken to have written."""
    weights = token_weights(mask, kind, MAX_LENGTH)
    return grpo_loss(our_logps(policy), old, old, advantages, weights, CLIP, BETA)


def our_gradient(policy, loss):
    """The gradient of a loss, all trainable weights in one row."""
    weights = [w for w in policy.parameters() if w.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def down(policy):
    """One step of plain gradient descent."""
    descent = torch.optim.SGD(policy.parameters(), lr=1e-3)
    descent.zero_grad()
    our_loss(policy).backward()
    descent.step()


# %% [markdown]
# How large is each loss before the first update, and how large is its gradient? In the last line all rewards are equal.

# %% tags=["nbval-check-output"]
no_spread = torch.zeros(GROUP)
losses = {kind: our_loss(model, kind) for kind in KINDS}
losses["no spread"] = our_loss(model, advantages=no_spread)
for name, loss in losses.items():
    norm = our_gradient(model, loss).double().norm()
    print(f"{name:>13}: loss {abs(loss):.2f} in size, gradient norm {norm:.1f}")

# %% [markdown]
# Before the first update all ratios are 1 and the penalty is 0. What remains of `grpo` is minus the mean of
# the advantages, and this is always zero. Many people see this zero in their logs and think that training is
# broken. But the optimizer follows the gradient, and the gradient is not zero. So the loss does not show
# progress.
#
# A group without spread also has a loss of zero, but its gradient is zero too. That is true only *at* the reference. Take one
# step of plain gradient descent first, and look again:

# %% tags=["nbval-check-output"]
moved = copy.deepcopy(model)
down(moved)
logps = our_logps(moved).detach()
pull = our_gradient(moved, our_loss(moved, advantages=no_spread)).norm()
print(f"no spread, one step from the reference: gradient norm {pull:.3f}")

# %% [markdown]
# The group without spread has a gradient now. It comes from the penalty and points back to the reference. So
# if $\beta > 0$, a question that is always answered right, or always wrong, pulls the policy back. Only its
# *reward* gradient is zero.
#
# The step adds the last two columns to the worksheet, each a mean over the tokens of a rollout.

# %% tags=["nbval-check-output"]
ratio, kl = (logps - old).exp(), kl_k3(logps, old)
for stage, values in (("4 ratio", ratio), ("5 KL", kl)):
    sheet[stage] = ((values * mask).sum(1) / mask.sum(1)).tolist()
sheet[["1 reward", "2 advantage", "4 ratio", "5 KL"]].round(3)

# %% [markdown]
# The wrong rollout has a negative advantage and still became more probable. The next figure shows why, token by token.
# A word that stands in several rollouts is pushed by all of them, because random weights hardly tell the places apart.
# The wrong rollout shares most of its tokens with the right ones, so they go up. `mass` and `B` go down: they also
# stand in the rollout without tags, whose few tokens have the largest weights. GRPO does not know which token
# was to blame. It can tell tokens apart only where the rollouts of a group differ.

# %% mystnb={"image": {"alt": "Heat map of the change of each token's log-probability after one step, one row for each rollout, the token written in its cell. Most tokens of the two right rollouts and of the wrong one are blue, more probable than before. Red, less probable, are all five tokens of the rollout without tags, and in the right rollouts the words that it has as well: mass, B and the end of the turn. A space is written as an open box."}}
shift = 100 * (logps - old).where(mask == 1, torch.nan)
plt.figure(figsize=(10, 4))
axis = sns.heatmap(
    shift,
    annot=[
        [
            word.strip() or "␣" if token else ""
            for word, token in zip(*row, strict=True)
        ]
        for row in zip(words, mask, strict=True)
    ],
    fmt="",
    annot_kws={"rotation": 90, "fontsize": 8},
    cmap=sns.diverging_palette(20, 240, s=90, l=65, as_cmap=True),
    vmin=-12,
    vmax=12,
    yticklabels=list(rollouts),
    cbar_kws={"label": "change of log-probability\n(hundredths of a nat)"},
)
axis.set_xlabel("place in the completion")
plt.show()
ledger.page(5, thinking=None)

# %% [markdown]
# The printed lines are your ledger. The heat map says something about its second claim. No reward reads the
# rationale, and all its tokens are pushed by what the answer earned. Will rationales become better or worse
# under reinforcement? Write your new probability in place of `None`, and run the cell again.
#
# ## 7 Your own training step
#
# Now you train the real model of the course on rollouts that it samples itself. Only an adapter is trained
# (LoRA, explained in chapter 09). The library handles tokenizer, images and cache: `loop.Task` has four
# methods.
#
# | call | returns |
# |---|---|
# | `task.sample()` | tokens and mask, $[B, T]$: eight rollouts of each of the next eight prompts |
# | `task.score(tokens)` | points for form and answer of each rollout, $[B]$ |
# | `task.logps(tokens, mask)` | log-probability of each token under the policy, with gradient, $[B, T]$ |
# | `task.reference_logps(tokens, mask)` | the same under the reference: the adapter is switched off |
#
# Read them in `medr1_lib/rl/loop.py`: each has a few lines. Four mistakes there would raise no error:
#
# 1. Qwen2-VL's own settings ask for `top_k` 1. If you keep them, all rollouts of a group are equal.
# 2. The mask is 1 up to and with the *first* end of the turn: `ended.cumsum(1) - ended == 0`.
# 3. Decode with `skip_special_tokens=True`. Otherwise no completion is in form.
# 4. Repeat the right answers once for each rollout, in their order.
#
# The recipe is `course`, as in chapter 06, with half as many prompts per step and fewer steps. It asks 40 questions,
# one for each pair of modality and question type. They come back every five steps.


# %% tags=["hide-input"]
from peft import LoraConfig, get_peft_model
from tqdm.auto import trange

from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.rl.train import grpo_rows

STEPS = 2 if tier.name == "replay" else 40
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-05-")
folder = Path(temporary.name)
asked = phantom_vqa.questions("train", per_cell=1)
phantom_vqa.write(folder, {"train": asked}, {"per_cell": 1})
changes = {"model": str(tiers.material("tiny-qwen2-vl")), "data": str(folder)}
changes |= {"per_device_train_batch_size": 64, "max_steps": STEPS}
recipe = load_recipe("course", **changes)
config, rows = recipe.trl_config(folder), grpo_rows(recipe).repeat(STEPS)


def fresh(kind=loop.Task):
    """A task with a new adapter; its numbers are the same each time."""
    torch.manual_seed(0)
    base, processor = load_policy(Path(recipe.model), device="cpu")
    VisionCache(base)  # the tower is frozen, so each picture is encoded once
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=recipe.lora_targets)
    policy = get_peft_model(base, lora).train()
    return kind(policy, processor, rows, rewards(style), config)


# %% [markdown]
# ### Exercise 4: one step of GRPO
# *hard, 60 minutes*
#
# Write the step with `task`, the optimizer and the functions of this chapter. Sample rollouts and score them.
# Get advantages, token weights of the kind `task.loss_type`, and reference
# log-probabilities. Then update `iterations` times on the same rollouts: log-probabilities, loss,
# `zero_grad`, `backward`, clip the gradient norm to `task.max_norm`, step. The old log-probabilities are
# those of the first update, detached. Return a dictionary with `reward`, the mean reward of the rollouts, and
# two lists with a number for each update, `loss` and `grad_norm`.
#
# The check runs your step on a small table of logits in place of a model, so that it takes milliseconds.
#
# <details><summary>Hint</summary>
#
# `task.num_generations`, `task.max_completion_length`, `task.clip` and `task.beta` are the settings. `clip_grad_norm_(task.weights, task.max_norm)` clips, and returns the norm
# before clipping. Start with `old = None` and set it in the first update to `logps.detach()`. `.item()` turns a tensor
# of one number into a number.
#
# </details>


# %% tags=["exercise"]
def grpo_step(task, optimizer, iterations=1):
    """Sample, score, compare, and update `iterations` times on the same rollouts."""
    # solution
    tokens, mask = task.sample()  # [B, T]
    rewards = task.score(tokens)  # [B]
    advantages = group_advantages(rewards, task.num_generations)  # [B]
    weights = token_weights(  # [B, T]
        mask, task.loss_type, task.max_completion_length
    )
    reference = task.reference_logps(tokens, mask)  # [B, T]
    old = None
    losses, norms = [], []
    for _ in range(iterations):
        logps = task.logps(tokens, mask)  # [B, T]
        old = logps.detach() if old is None else old
        loss = grpo_loss(
            logps, old, reference, advantages, weights, task.clip, task.beta
        )
        optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(task.weights, task.max_norm)
        optimizer.step()
        losses.append(loss.item())
        norms.append(norm.item())
    return {"reward": rewards.mean().item(), "loss": losses, "grad_norm": norms}
    # end solution


# %%
grpo_step = checks.grpo_step(grpo_step)

# %% [markdown]
# Train with your step. The adapter begins at zero, so the policy begins as the reference. The recipe's
# learning rate of 0.001 is high, because the adapter has only a few steps. Chapter 06 explains this.
# `falling` lowers the rate in a straight line to zero, so that the last steps are small.

# %%
ours, task = [], fresh()
optimizer = torch.optim.Adam(task.weights, config.learning_rate)
falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
for _ in trange(STEPS, desc="steps"):
    ours.append(grpo_step(task, optimizer))
    falling.step()

# %% [markdown]
# Is your loop right? The library's loop, `grpo_loop`, begins with the same weights and the same random
# numbers. Compare the first two steps.

# %% tags=["nbval-check-output"]
for mine, theirs in zip(ours[:2], loop.grpo_loop(fresh()), strict=False):
    equal = bool(abs(mine["loss"][0] - theirs["loss"][0]) < 1e-5)
    norm = bool(abs(mine["grad_norm"][0] / theirs["grad_norm"][0] - 1) < 1e-3)
    print(f"as the library's loop: loss {equal}, gradient norm {norm}")

# %% mystnb={"image": {"alt": "Mean reward of the rollouts of each step, a pale line that jumps, and from step 10 its running mean over ten steps, a dark line."}}
earned = pd.Series([float(step["reward"]) for step in ours])
if STEPS == 2:  # no curve: we take that of the recorded run
    earned = run.Run.load(tiers.material("recorded/course_run")).log["reward"]
earned.plot(alpha=0.3, color="C0", figsize=(6, 3), ylim=(1, 2))
_ = earned.rolling(10).mean().plot(color="C0", xlabel="step", ylabel="mean reward")
print(f"ten steps: first {earned[:10].mean():.2f}, last {earned[-10:].mean():.2f}")

# %% [markdown]
# You have trained a vision-language model with a step that you wrote. (At the replay tier
# you made two steps, and the curve is that of the recorded run in chapter 06.) The curve is
# noisy, because each step asks other questions. So compare the means of the first and the last ten
# steps. The 40 questions come back, so the model may have learned them by heart. Chapter 06 asks new ones.
#
# ## 8 When the clip acts
#
# With a large model, sampling takes longer than an update, so people use rollouts more than once. TRL calls
# the number of uses `num_iterations`. Below, a fresh policy makes four updates with each batch. At each
# update we count the tokens whose ratio is outside the clip.


# %%
class Watched(loop.Task):
    """A task that notes the log-probabilities of each update on the same rollouts."""

    def sample(self):
        self.seen = []
        return super().sample()

    def logps(self, tokens, mask):
        logps = super().logps(tokens, mask)
        if logps.requires_grad:  # not those of the reference
            self.seen.append(logps.detach()[mask == 1])
        return logps


watched, rounds = fresh(Watched), []
optimizer = torch.optim.Adam(watched.weights, config.learning_rate)
for _ in trange(2 if tier.name == "replay" else 4, desc="steps"):
    grpo_step(watched, optimizer, iterations=4)
    ratios = [(logps - watched.seen[0]).exp() for logps in watched.seen]
    rounds.append([((r - 1).abs() > CLIP).float().mean().item() for r in ratios])
outside = pd.DataFrame(rounds, columns=["update 1", "2", "3", "4"]).mean()
print("no ratio outside the clip at update 1:", outside["update 1"] == 0)
print("some at update 4:", outside["4"] > 0)
print("share of tokens whose ratio is outside 0.8 to 1.2, mean of all steps")
print(outside.map("{:.1%}".format).to_string())

# %% [markdown]
# At the first update no token is outside. Each further update moves the policy
# away from the one that sampled the rollouts. If a push has moved a token outside the clip, the token loses its
# gradient, and the push ends. The clip does not bring the token back; only the penalty pulls towards the
# reference. Chapter 08 comes back to reuse, because the algorithms of the family differ there.
#
# ## 9 The same in TRL
#
# Does TRL's `GRPOTrainer` compute the same? We give it our four rollouts of section 1, as if it had sampled
# them: written by the policy after one step, scored by a policy a few steps further, with `model` as the
# reference. Then `_compute_loss` gives its loss, and autograd the gradient.
#
# The first printed lines are TRL's defaults: `dapo` without a penalty. This is neither the GRPO of the paper
# nor that of Med-R1, so always state these settings. In the comparisons, equal means that the losses
# differ by less than 0.000001, and the gradients by less than a hundred thousandth of their length. The last
# must say no.

# %% tags=["headline", "nbval-check-output"]
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

fields = GRPOConfig.__dataclass_fields__
for name in ("loss_type", "epsilon", "beta", "scale_rewards"):
    print(f"TRL's default {name} = {fields[name].default!r}")
later = copy.deepcopy(moved)
for _ in range(7):
    down(later)
machine = {"use_cpu": True, "bf16": False, "activation_checkpointing": False}
sizes = {"per_device_train_batch_size": GROUP, "num_generations": GROUP}
ours = {"max_completion_length": MAX_LENGTH, "temperature": TEMPERATURE}
# no second model is loaded: the batch carries the reference
ours |= {"epsilon": CLIP, "beta": 0.0, "use_bias_correction_kl": False}
config = GRPOConfig(str(folder), report_to=[], **machine, **sizes, **ours)
data = Dataset.from_list([{"prompt": chat}])
host = GRPOTrainer(later, rewards(style), config, data, processing_class=processor)
host.model.train()
host.beta, host.current_gradient_accumulation_steps = BETA, 1
batch = inputs | {
    "prompt_ids": start.input_ids,
    "prompt_mask": start.attention_mask,
    "completion_ids": ids,
    "completion_mask": mask,
    "advantages": advantages,
    "old_per_token_logps": logps,  # under the policy after one step
    "ref_per_token_logps": old,  # under the reference
    "num_items_in_batch": mask.sum(),
    "num_images": GROUP * [1],
}
for theirs, ours in (*zip(KINDS, KINDS, strict=True), ("dapo", "grpo")):
    host.loss_type, policy = theirs, host.model
    weights = token_weights(mask, ours, MAX_LENGTH)
    mine = grpo_loss(our_logps(policy), logps, old, advantages, weights, CLIP, BETA)
    wanted = host._compute_loss(policy, batch)
    value = "yes" if abs(mine - wanted) < 1e-6 else "no"
    wanted, mine = our_gradient(policy, wanted), our_gradient(policy, mine)
    slope = "yes" if (mine - wanted).norm() / wanted.norm() < 1e-5 else "no"
    print(f"TRL's {theirs:>7} is our {ours:>7}: loss {value}, gradient {slope}")

# %% [markdown]
# From here on the course uses TRL, through the library's `train`. The objective is the one that you wrote, and a run
# can be interrupted and resumed, is logged, and can use several GPUs. Do whole trainings agree as well?
# `data/recorded/loop.json` has six seeds of both on the base of this course, 60 steps in `no_think` with 640 test
# questions.
#
# In the record: the loop's accuracy minus the trainer's is +0.1 [-2.3, +2.4] points.
#
# Note one more default. If you set `beta`, TRL multiplies the penalty by the ratio (`use_bias_correction_kl`, our
# `corrected_kl`). This changes the gradient, so that it belongs to the divergence that k3 estimates;
# `tests/test_grpo.py` proves it.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# You train with `loss_type` `grpo`, one update per batch. The log shows a loss of 0.000 at the first step. What does that tell you?
#
# <details><summary>A. All groups have no spread, so there is nothing to learn from</summary>
#
# Wrong. The loss is zero with spread as well, since advantages of a group add up to zero.
#
# </details>
# <details><summary>B. The gradient is zero and the learning rate has to be raised</summary>
#
# Wrong. The value of this loss says nothing about its gradient, so it is no reason to change the rate.
#
# </details>
# <details><summary>C. Nothing about progress: with this loss it is zero whatever the rollouts are</summary>
#
# Right. All ratios are 1 and the penalty is 0, so what remains is minus the mean of the advantages.
#
# </details>
#
# ### Question 2
# With beta above zero, a question is answered right in all eight rollouts, late in the run. What does its group do to the policy?
#
# <details><summary>A. It pushes the right answer further up, because its reward is high</summary>
#
# Wrong. Every advantage is zero. If all rollouts have the same high reward, nothing is pushed.
#
# </details>
# <details><summary>B. It pulls the policy back towards the reference</summary>
#
# Right. Only the reward gradient is zero. The penalty acts on every token of every rollout.
#
# </details>
# <details><summary>C. Nothing</summary>
#
# Wrong. That holds at the reference or with beta 0. Elsewhere the penalty has a gradient.
#
# </details>
#
# ### Question 3
# A wrong rollout begins with the same words as two right ones. What happens to the probability of these words?
#
# <details><summary>A. It can rise</summary>
#
# Right. The pushes add up over the rollouts of the group, and shared words get all of them.
#
# </details>
# <details><summary>B. It falls, because the rollout that holds them was wrong and has a negative advantage</summary>
#
# Wrong. The same words also stand in the right rollouts, whose advantages are positive.
#
# </details>
# <details><summary>C. It stays, because GRPO finds out which token was to blame</summary>
#
# Wrong. Every token of a rollout gets the same advantage; nothing looks for the one to blame.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Six stages, six short functions, and the same loss and gradient as TRL's trainer.
# - With one update per batch, GRPO is the policy gradient with a group as baseline, weighted by spread and length. The clip acts only when rollouts are used again.
# - The loss of `grpo` begins at zero whatever happens. A group without spread has no reward gradient, and the penalty still pulls.
# - GRPO tells tokens apart only where rollouts differ.
# - A training step needs about twenty lines. Sampling, mask and decoding have traps that raise no error.
#
# ## Where to go next
#
# Chapter 06 trains longer, tests before and after, and asks where the gain comes from. To go deeper: Z. Shao
# et al., *DeepSeekMath* (arXiv 2402.03300), has the algorithm; Z. Liu et al., *Understanding R1-Zero-like
# training* (arXiv 2503.20783), the two biases and Dr. GRPO; J. Schulman, *Approximating KL divergence* (2020), the
# estimators of stage 5. To play: give the rollout without tags its format point, and find out which tokens change color.
# Tomorrow, write the step again without looking.
