# ---
# jupyter:
#   nbval: strict
# ---

# %% [markdown]
# # 5 GRPO by hand
#
# ## What you will do
#
# Take four written answers to one question through every stage of Group Relative Policy
# Optimization (GRPO), from the reward to the gradient, and show at the end that your functions
# compute what the training library computes.
#
# ## What you will learn
#
# After this chapter you can
#
# - turn the rewards of a group into advantages, and say when a group teaches nothing,
# - compute the log-probability of every token that a vision-language model wrote,
# - explain what the clip stops and what it lets pass,
# - estimate a KL divergence from samples without ever getting a negative number,
# - tell four published losses apart by the weight that they give to a token,
# - explain how a loss of zero can have a large gradient.
#
# ## What you will need
#
# Chapter 03 (rewards). Tensors and gradients in PyTorch: `sum`, `mean`, `backward`. The model is
# built on the spot with random weights, so nothing is loaded or downloaded. It knows nothing, and
# for once that does not matter: the arithmetic is that of a trained one.

# %%
import copy

import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.data.styles import STYLES, prompt
from medr1_lib.model.tiny import tiny_model, tiny_processor
from medr1_lib.rl.rewards import points, rewards

tier = tiers.start(5)
sns.set_theme(style="white", palette="colorblind")
plt.rcParams |= {"figure.figsize": (6, 2.8), "figure.dpi": 72}
GROUP, MAX_LENGTH, TEMPERATURE, CLIP, BETA = 4, 32, 1.0, 0.2, 0.04
KINDS = ("grpo", "bnpo", "dapo", "dr_grpo")

# %% [markdown]
# The capitals are what GRPO asks you to choose: the size of a group, the greatest length of a
# completion in tokens, the temperature of sampling, the clip, the weight of the KL penalty, and one
# of four losses. A *rollout* is one completion that the model wrote for a prompt; the *policy* is the model
# itself, seen as the rule that chooses the next token.
#
# The next figure is the map of this chapter. Its numbers are those of the sections, of the equations
# and of the comments in `medr1_lib/rl/grpo.py`. Two ways lead from the rollouts to the loss. The
# upper one asks how good a rollout was, and never looks at the model. The lower one asks how likely
# it was, and never looks at the answer key. They meet in stage 4.

# %% mystnb={"image": {"alt": "Flow chart with six numbered stages. Rollouts lead to 1 reward and on to 2 advantage. Rollouts also lead to 3 log-probability, and from there to 4 ratio and clip and to 5 KL. The advantage enters stage 4 as well. Stages 4 and 5 lead to 6, the loss."}}
places = {
    "rollouts": (0, 0.5),
    "1 reward": (1.2, 1),
    "2 advantage": (2.6, 1),
    "3 log-probability": (1.2, 0),
    "4 ratio and clip": (2.6, 0.25),
    "5 KL": (2.6, -0.5),
    "6 loss": (3.8, 0),
}
_, axis = plt.subplots(figsize=(8, 2.8))
box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": "black"}
texts = [
    axis.text(x, y, name, ha="center", va="center", bbox=box)
    for name, (x, y) in places.items()
]
for way in ("01", "12", "03", "34", "35", "24", "46", "56"):
    start, end = (texts[int(number)] for number in way)
    arrow = {"arrowstyle": "-|>", "color": "black", "shrinkA": 0, "shrinkB": 0}
    arrow |= {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    axis.annotate("", end.get_position(), start.get_position(), arrowprops=arrow)
axis.set(xlim=(-0.4, 4.2), ylim=(-0.7, 1.2))
axis.axis("off")
plt.show()

# %% [markdown]
# ## Stage 1: reward
#
# One question about one phantom. In training the model would sample a group of completions; here
# we write them ourselves, so that we know what each deserves.

#
# The first is right and brief. The second is right and says more than it needs to. The third is as
# brief as the first and wrong. The fourth has the right letter, and not in the form asked for. With
# the strict rules of chapter 03, the reward is
#
# $$ r_i = \text{format}_i + \text{accuracy}_i . \tag{1} $$

# %% mystnb={"image": {"alt": "A phantom in the style of an abdominal CT slice: a dark gray ellipse on black, in it a light gray disk at the upper right and a small white vertebra below the center."}}
style = "think_before"
asked = [q for q in questions("test", per_cell=10) if q.modality == "CT"]
question = next(q for q in asked if q.answer_text == "mass")
text = prompt(question.question, question.options, style)
picture = draw(question.scene)
plt.figure(figsize=(2, 2))
plt.imshow(picture)
plt.axis("off")
plt.show()
print(text.replace(". Reply", ".\nReply"))

long = "CT, anatomy: abdomen, acquisition: bone window, grade: moderate, "
rollouts = {
    "short": STYLES[style].completion("B", "CT, abdomen, finding: mass"),
    "long": STYLES[style].completion(
        "B", long + "place: upper right, finding: mass"
    ),
    "wrong": STYLES[style].completion("C", "CT, abdomen, finding: abscess"),
    "no tags": "B) mass",
}
earned = [points(said, question.answer, style) for said in rollouts.values()]
sheet = pd.DataFrame(earned, rollouts, ["format", "accuracy"])
sheet["1 reward"] = sheet.sum(axis=1)
sheet

# %% [markdown]
# That table is our worksheet. Every stage adds a column to it.
#
# ## Stage 2: advantage
#
# A reward of 1 says little. Where the rest of the group earned 0 it is a success, where they earned
# 2 it is a failure. GRPO compares a rollout with the others of its group, and needs no second
# network to guess what a prompt is worth:
#
# $$ A_i = \frac{r_i - \text{mean}(r_1 \ldots r_G)}{\text{std}(r_1 \ldots r_G) + 10^{-4}} \tag{2} $$
#
# ### Exercise 1: advantages of a group
# *easy, 10 minutes*
#
# `rewards` is flat, the rollouts of a prompt next to each other: with `group_size` 4, the first
# four belong together, and the next four. Return as many advantages, in the same order. Without
# `scale`, leave out the division.
#
# <details><summary>Hint</summary>
#
# `rewards.view(-1, group_size)` has one row per prompt. `mean(1, keepdim=True)` keeps the column, so
# that the subtraction lines up. `std` of torch divides by $G - 1$, which is what we want.
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

# %% [markdown]
# Read the new column. Both right rollouts are worth the same, however much they say. The wrong one
# is a little below average. Lowest stands the one that knew the letter and ignored the form: the
# advantage follows the rule that we wrote, not what we may have meant by it.

# %%
advantages = group_advantages(torch.tensor(sheet["1 reward"].tolist()), GROUP)
sheet["2 advantage"] = advantages.tolist()
sheet.round(2)

# %% [markdown]
# Now two failures. When all rewards are equal, every advantage is zero: a question that is too easy
# or too hard for the model costs as much as any other and teaches nothing. And the division by the
# standard deviation makes all groups equally loud. In the last line the rollouts differ by a
# hundredth of a point, perhaps from a bonus for length that somebody added; scaled, that weighs as
# much as right against wrong. Dr. GRPO therefore leaves the division out (`scale=False`).

# %%
for group in ([2.0, 2.0, 2.0, 2.0], [2.0, 1.0, 1.0, 1.0], [1.01, 1.0, 1.0, 1.0]):
    scaled = group_advantages(torch.tensor(group), GROUP)[0]
    plain = group_advantages(torch.tensor(group), GROUP, scale=False)[0]
    print(f"{group}: the first has {scaled:.2f} scaled, {plain:.4f} not")

# %% [markdown]
# ## Stage 3: log-probability
#
# The lower way of the map begins with the model. Ours is the laptop tier's Qwen2-VL: the real
# architecture with about three million random weights. The processor turns question and picture
# into the prompt, once for each rollout of the group.

# %%
processor = tiny_processor()
content = [{"type": "image"}, {"type": "text", "text": text}]
chat = [{"role": "user", "content": content}]
turn = processor.apply_chat_template(chat, add_generation_prompt=True)
given = {"text": GROUP * [turn], "images": GROUP * [picture]}
start = processor(**given, return_tensors="pt")

# %% [markdown]
# The completions differ in length, so the shorter ones are padded, and `mask` remembers which
# places hold a token: 1 up to and including the token that ends the turn, 0 after it. With $B$
# rollouts of at most $T$ tokens, ids and mask have the shape $[B, T]$. The tokenizer of the tiny
# model has one token for a tag, for a letter, and for each answer of PhantomMedVQA.

# %%
ended = [said + processor.tokenizer.eos_token for said in rollouts.values()]
padded = {"padding": True, "padding_side": "right", "return_tensors": "pt"}
ids, mask = processor.tokenizer(ended, **padded).values()
sheet["tokens"] = mask.sum(1).tolist()
words = [processor.tokenizer.batch_decode(row[:, None]) for row in ids]
print(list(start.input_ids.shape), list(ids.shape), "|".join(words[0][:13]))

# %% [markdown]
# At every place the model gives one number to each of the $V$ words of its vocabulary, the logits
# $z$. Softmax turns them into probabilities, and what counts is the probability of the token that
# was written there:
#
# $$ \log \pi(o_{i,t}) = \frac{z_{o_{i,t}}}{\tau} - \log \sum_v \exp\frac{z_v}{\tau} \tag{3} $$
#
# The temperature $\tau$ has to be the one that the rollouts were sampled at. A rollout drawn at 0.9
# and scored at 1.0 is scored under a model that did not write it. Some published code does that.


# %%
def token_logps(logits, ids, temperature):
    """Log-probability of each token that was written (3)."""
    logits = logits.float() / temperature  # [B, T, V]
    chosen = logits.gather(-1, ids[..., None]).squeeze(-1)  # [B, T]
    return chosen - logits.logsumexp(-1)  # [B, T]


# %% [markdown]
# What the model says about token $t$ stands one place before it, hence the slice in the next cell:
# it drops the last place, whose prediction nobody wrote down, and keeps the $T$ before it. Forget
# the shift and everything still runs, with probabilities of the wrong tokens. The vision tower is
# frozen, as it will be in training.

# %%
model = tiny_model(processor.tokenizer, seed=0)
model.model.visual.requires_grad_(False)
no_image = torch.zeros_like(ids)
inputs = start | {
    "input_ids": torch.cat([start.input_ids, ids], 1),
    "attention_mask": torch.cat([start.attention_mask, mask], 1),
    "mm_token_type_ids": torch.cat([start.mm_token_type_ids, no_image], 1),
}


def our_logps(policy):
    """Log-probabilities of the four rollouts under a policy, [B, T]."""
    before = policy(**inputs).logits[:, -ids.shape[1] - 1 : -1]
    return token_logps(before, ids, TEMPERATURE)


# %% [markdown]
# Two averages tell us whether this is sane. A model that knows nothing gives each of its words about
# the same probability, and the log of that is the number below. The rollouts should be near it,
# token by token. Summed over a rollout, log-probabilities measure length more than anything else.

# %%
old = our_logps(model).detach()
sheet["3 log-prob."] = (old * mask).sum(1).tolist()
sheet["per token"] = sheet["3 log-prob."] / sheet["tokens"]
count = model.config.text_config.vocab_size
print(f"one word of {count}: {-torch.tensor(count).log():.1f} per token")
sheet[["tokens", "3 log-prob.", "per token"]].round(1)

# %% [markdown]
# ## Stage 4: ratio and clip
#
# The rollouts were sampled by the policy as it was, $\pi_\text{old}$. After a gradient step the
# policy is another one, and the rollouts are used again. The ratio says how much likelier a token
# has become since, and the objective of a token is its ratio times the advantage of its rollout, up
# to a limit $\varepsilon$:
#
# $$ \rho_{i,t} = \frac{\pi(o_{i,t})}{\pi_\text{old}(o_{i,t})}, \qquad
# J_{i,t} = \min\left(\rho_{i,t} A_i,\ \text{clip}(\rho_{i,t}, 1 - \varepsilon, 1 + \varepsilon) A_i\right) \tag{4} $$
#
# ### Exercise 2: the clipped objective
# *easy, 5 minutes*
#
# Write equation (4) for tensors: `ratio`, `advantages` of a shape that fits, and the number `clip`.
#
# <details><summary>Hint</summary>
#
# `ratio.clamp(low, high)` cuts off, and `torch.minimum` compares two tensors entry by entry.
#
# </details>


# %% tags=["exercise"]
def clipped_objective(ratio, advantages, clip):
    """What a token gains from the change of its probability, up to a limit (4)."""
    # solution
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return torch.minimum(ratio * advantages, clipped * advantages)
    # end solution


# %%
clipped_objective = checks.clipped_objective(clipped_objective)

# %% [markdown]
# Where a curve is flat, the gradient is zero and the token is left alone. A good token is pushed up
# until it is 20 % likelier than when it was sampled, and no further; a bad one is pushed down until
# it is 20 % rarer. In the other two directions nothing is clipped. A good token that has become
# rarer went the wrong way, and is pulled back with full force. That is what the minimum is for.

# %% mystnb={"image": {"alt": "Objective of a token against its ratio from 0.4 to 1.6, two lines. With advantage plus 1 it rises straight and is flat beyond a ratio of 1.2. With advantage minus 1 it is flat up to a ratio of 0.8 and falls straight beyond it."}}
ratio = torch.linspace(0.4, 1.6, 121)
for advantage, line in ((1.0, "-"), (-1.0, "--")):
    curve = clipped_objective(ratio, torch.tensor(advantage), CLIP)
    plt.plot(ratio, curve, line, label=f"advantage {advantage:+.0f}")
plt.gca().set(xlabel="ratio: probability now / when sampled", ylabel="objective")
_ = plt.legend()

# %% [markdown]
# ## Stage 5: KL
#
# The penalty keeps the policy near the reference model, the one that training began with. The exact
# divergence is a sum over all texts that could have been written. From the tokens that were sampled
# it can be estimated. The plain estimate $\log\pi - \log\pi_\text{ref}$ is right on average and
# often negative, although no divergence is. Schulman's third estimator, known as k3, adds a term
# whose mean is zero, and is never negative:
#
# $$ k_{i,t} = e^{d} - 1 - d, \qquad d = \log\pi_\text{ref}(o_{i,t}) - \log\pi(o_{i,t}) \tag{5} $$
#
# ### Exercise 3: k3
# *easy, 5 minutes*
#
# Return $k$ for every token, given the log-probabilities under the policy and under the reference.
#
# <details><summary>Hint</summary>
#
# Mind the direction of $d$. `torch.expm1(d)` is $e^d - 1$ without the rounding error of small $d$,
# which otherwise can make the result negative after all.
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
# Test both estimates where the truth is known: two policies over five words, whose divergence is a
# sum of five terms. We draw 16 tokens from the first, estimate, and repeat that 2,000 times.

# %% mystnb={"image": {"alt": "Two histograms of estimates of a KL divergence from 16 tokens, 2,000 repeats each. The plain estimate spreads widely around the true value and often lies below zero. k3 is centered on the same true value, is several times narrower, and never lies below zero."}}
now, then = torch.tensor(
    [[0.50, 0.20, 0.15, 0.10, 0.05], [0.35, 0.25, 0.15, 0.15, 0.10]]
)
true = (now * (now / then).log()).sum()
seed = torch.Generator().manual_seed(0)
drawn = now.multinomial(2000 * 16, replacement=True, generator=seed).view(2000, 16)
logps, reference_logps = now.log()[drawn], then.log()[drawn]
estimates = {"plain": logps - reference_logps, "k3": kl_k3(logps, reference_logps)}
print(f"true divergence: {true:.2f} nats")
for name, values in estimates.items():
    values = values.mean(1)
    sns.histplot(values, label=name, binwidth=0.01, element="step", alpha=0.3)
    print(
        f"{name:>5}: mean {values.mean():.2f}, spread {values.std():.2f}", end=", "
    )
    print(f"{(values < 0).float().mean():.0%} of the estimates negative")
plt.axvline(true, color="black", linestyle="--", label="true divergence")
plt.xlabel("estimate from 16 tokens (nats)")
plt.ylabel("repeats (of 2,000)")
plt.legend()
plt.show()

# %% [markdown]
# ## Stage 6: loss
#
# Every token now has an objective and a penalty. The loss is a weighted sum of them,
#
# $$ L = \sum_{i,t} w_{i,t} \left(\beta\, k_{i,t} - J_{i,t}\right), \tag{6} $$
#
# and in the weights $w$ lies all that four published losses differ in. Let $|o_i|$ be the tokens of
# rollout $i$, $B$ the rollouts, and $N$ the tokens of all of them.
#
# | loss | weight of a token of rollout $i$ | in words |
# |---|---|---|
# | `grpo` | $1 / (B\,\lvert o_i\rvert)$ | rollouts share equally, then the tokens of each |
# | `bnpo` | $1 / N$ | all tokens of this batch share equally |
# | `dapo` | $1 / N$ | the same, $N$ counted over the whole optimizer step |
# | `dr_grpo` | $1 / (B \cdot \text{max\_length})$ | a constant, as if all were of full length |
#
# ### Exercise 4: the weight of a token
# *medium, 15 minutes*
#
# Return the weights, of the shape of `mask` and 0 where it is 0. For `dapo`, $N$ is `batch_tokens`
# if that is given and counted in `mask` if not. A memory-saving trainer sees a step in parts, and
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
def token_weights(mask, kind, max_length, batch_tokens=None):
    """The share of each token in the loss (6)."""
    # solution
    rollouts, tokens = len(mask), mask.sum().clamp(min=1)
    divisors = {
        "grpo": rollouts * mask.sum(1, keepdim=True).clamp(min=1),  # [B, 1]
        "bnpo": tokens,
        "dapo": tokens if batch_tokens is None else batch_tokens,
        "dr_grpo": rollouts * max_length,
    }
    return mask / divisors[kind]  # [B, T]
    # end solution


# %%
token_weights = checks.token_weights(token_weights)

# %% mystnb={"image": {"alt": "Two bar charts of the four rollouts with 13, 27, 13 and 5 tokens under three weightings. Left, weight of one token: with grpo it is largest in the rollout of 5 tokens and smallest in that of 27; with bnpo and dapo, and with dr_grpo, it is the same for all. Right, weight of the whole rollout: with grpo it is a quarter for each; otherwise it grows with length, and with dr_grpo the four add up to less than one."}}
names = {"grpo": "grpo", "bnpo": "bnpo, dapo", "dr_grpo": "dr_grpo"}
shares = [token_weights(mask, kind, MAX_LENGTH) for kind in names]
labels = [f"{name}\n{count}" for name, count in sheet["tokens"].items()]
_, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
token, rollout = (
    pd.DataFrame(dict(zip(names.values(), bars, strict=True)), labels)
    for bars in ([w[:, 0] for w in shares], [w.sum(1) for w in shares])
)
token.plot.bar(ax=axes[0], rot=0, ylabel="weight of one token")
rollout.plot.bar(ax=axes[1], rot=0, ylabel="weight of the rollout", legend=False)
for axis in axes:
    axis.set_xlabel("rollout and its tokens")
plt.show()

# %% [markdown]
# The left panel shows a bias. Under `grpo`, a token of `no tags` weighs five times as much
# as one of `long`. A wrong answer of many words is thus punished less per token than a wrong
# answer of few, and a right answer of few is praised more. A model can lower its loss by being brief
# when it is right and wordy when it is wrong. The other three give every token the same weight, and
# the long rollout then has the larger say. There is no free choice here, only a known one.
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
# Three helpers put the stages together. `our_loss` runs 3 to 6 for the rollouts of `model`, which is
# old policy and reference in one. `our_gradient` is what the loss asks of each weight. `descend` takes
# steps on the same four rollouts, and remembers how the mean ratio of each rollout moves.


# %%
def our_loss(policy, kind="grpo", clip=CLIP, advantages=advantages):
    """The loss of our four rollouts, which `model` is taken to have written."""
    weights = token_weights(mask, kind, MAX_LENGTH)
    return grpo_loss(our_logps(policy), old, old, advantages, weights, clip, BETA)


def our_gradient(policy, loss):
    """The gradient of a loss, all trainable weights in one row."""
    weights = [w for w in policy.parameters() if w.requires_grad]
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def descend(policy, steps, clip=CLIP):
    """Mean ratio of each rollout after each step down the gradient."""
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-3)
    history = []
    for _ in range(steps):
        optimizer.zero_grad()
        our_loss(policy, clip=clip).backward()
        optimizer.step()
        ratio = (our_logps(policy).detach() - old).exp()
        history.append((ratio * mask).sum(1) / mask.sum(1))
    return torch.stack(history)  # [steps, B]


# %% [markdown]
# Before the first step all ratios are 1, the penalty is 0, and what remains of `grpo` is minus the
# mean of the advantages: zero, always. People see that zero in their logs and think that training is
# broken. The size of this loss tells nothing; its gradient is what the optimizer follows. The last
# line is the group of equal rewards from stage 2. Its loss is the same zero, with nothing behind it.

# %%
losses = {kind: our_loss(model, kind) for kind in KINDS}
losses["equal rewards"] = our_loss(model, advantages=torch.zeros(GROUP))
for name, loss in losses.items():
    steepness = our_gradient(model, loss).double().norm()
    print(f"{name:>13}: loss {abs(loss):.2f} in size, gradient {steepness:.1f}")

# %% [markdown]
# ## One step
#
# Follow the gradient of `grpo` for one step, and fill in the rest of the worksheet.

# %%
moved = copy.deepcopy(model)
sheet["4 ratio"] = descend(moved, steps=1)[0].tolist()
logps = our_logps(moved).detach()
sheet["5 KL"] = ((kl_k3(logps, old) * mask).sum(1) / mask.sum(1)).tolist()
shown = {"1 reward": 0, "2 advantage": 2, "4 ratio": 2, "5 KL": 3}
sheet[list(shown)].round(shown)

# %% [markdown]
# Both right rollouts have become likelier, the one without tags rarer. The wrong one has an
# advantage below zero and became likelier all the same. The next figure tells why, token by token:
# blue is likelier than before, red is rarer. It begins like the right ones, and what it shares with
# them goes up with them. Red are `abscess` and `C`, the two tokens in which it went wrong. GRPO never
# says which token was to blame; that comes out because the rollouts of a group differ in some tokens
# and not in others.

# %% mystnb={"image": {"alt": "Heat map of the ratio of each token after one step, one row for each rollout, the token written in its cell. All tokens of the two right rollouts are blue, likelier than before. In the wrong rollout the tokens that it shares with the short right one are blue as well, the end of the turn is unchanged, and its own tokens abscess and C are red. All five tokens of the rollout without tags are red."}}
ratio = (logps - old).exp().where(mask == 1, torch.nan)
plt.figure(figsize=(10, 4))
axis = sns.heatmap(
    ratio,
    annot=[
        [word.strip() if token else "" for word, token in zip(*row, strict=True)]
        for row in zip(words, mask, strict=True)
    ],
    fmt="",
    annot_kws={"rotation": 90, "fontsize": 8},
    cmap="RdBu",
    vmin=0.75,
    vmax=1.25,
    yticklabels=list(rollouts),
    cbar_kws={"label": "ratio"},
)
axis.set_xlabel("place in the completion")
plt.show()

# %% [markdown]
# ## Many steps
#
# Rollouts are dear, so it is tempting to reuse them. Eight steps on the same four, with the clip and
# with a clip so wide that it never acts:

# %% mystnb={"image": {"alt": "Two line charts of the mean ratio of each rollout over eight steps. With clip 0.2 the right rollouts rise to about 1.24 and stay there, the one without tags falls to about 0.74 and stays. Without a clip the right rollouts pass 2 and keep rising ever faster, and the one without tags falls below 0.4."}}
policies = {limit: copy.deepcopy(model) for limit in (CLIP, 1e6)}
_, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True)
titles = (f"clip {CLIP}", "no clip")
for axis, title, (limit, policy) in zip(
    axes, titles, policies.items(), strict=True
):
    history = torch.cat([torch.ones(1, GROUP), descend(policy, 8, limit)])
    sns.lineplot(pd.DataFrame(history, columns=list(rollouts)), ax=axis)
    axis.set(title=title, xlabel="steps", ylabel="mean ratio of a rollout")
    for end in (1 - CLIP, 1 + CLIP):
        axis.axhline(end, color="black", linestyle=":", linewidth=1)
axes[1].legend_.remove()
plt.show()

# %% [markdown]
# Without the clip the loss can be lowered for ever by making four texts likelier and likelier, until
# the model can say nothing else. The clip ends that, a little late: a step has a length, so tokens
# overshoot the limit before they are let go. It does not pull them back, and it does not keep the
# policy near anything else. That is the work of the penalty, which here is far too weak to matter.
#
# ## The same in TRL
#
# Now the question of how far all this is from what a training library does. We hand our four
# rollouts to TRL's `GRPOTrainer` as it would have sampled them: written by the policy after one
# step, scored by the clipped policy after eight, with `model` as the reference. Then we ask its own
# `_compute_loss` for the loss, and autograd for the gradient.

#
# First comes what TRL computes if nothing is set: `dapo`, without a penalty. That is neither the
# GRPO of the paper nor that of Med-R1, and a good reason to state every one of these settings.

# %%
import logging
import tempfile
import warnings

logging.getLogger("bitsandbytes").setLevel(
    logging.ERROR
)  # it warns about an optional kernel that nothing here needs
warnings.filterwarnings("ignore", category=FutureWarning)
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

for name in (
    "loss_type",
    "epsilon",
    "beta",
    "scale_rewards",
    "use_bias_correction_kl",
):
    print(f"{name} = {GRPOConfig.__dataclass_fields__[name].default!r}")
folder = tempfile.TemporaryDirectory()
settings = GRPOConfig(
    folder.name,
    per_device_train_batch_size=GROUP,
    num_generations=GROUP,
    max_completion_length=MAX_LENGTH,
    temperature=TEMPERATURE,
    epsilon=CLIP,
    beta=0.0,  # so that no second model is loaded: the batch carries the reference's log-probabilities
    use_bias_correction_kl=False,
    use_cpu=True,
    bf16=False,
    activation_checkpointing=False,
    report_to=[],
)
data = Dataset.from_list([{"prompt": chat}])
parts = policies[CLIP], rewards(style), settings, data
trainer = GRPOTrainer(*parts, processing_class=processor)
trainer.model.train()
trainer.beta, trainer.current_gradient_accumulation_steps = BETA, 1

# %% [markdown]
# The batch has the names that TRL gives to what we have had in our hands all along. Each of the four
# losses is then compared, value and gradient.


# %%
batch = inputs | {
    "prompt_ids": start.input_ids,
    "prompt_mask": start.attention_mask,
    "completion_ids": ids,
    "completion_mask": mask,
    "advantages": advantages,  # 2
    "old_per_token_logps": logps,  # 3, under the policy after one step
    "ref_per_token_logps": old,  # 3, under the reference
    "num_items_in_batch": mask.sum(),
    "num_images": GROUP * [1],
}


def compared(theirs, ours):
    """Whether TRL's loss of one kind is ours of another, and the gradient too."""
    policy, trainer.loss_type = trainer.model, theirs
    weights = token_weights(mask, ours, MAX_LENGTH)
    found = grpo_loss(
        our_logps(policy), logps, old, advantages, weights, CLIP, BETA
    )
    wanted = trainer._compute_loss(policy, batch)
    found_slope, slope = our_gradient(policy, found), our_gradient(policy, wanted)
    relative = (found_slope - slope).norm() / slope.norm()
    return bool(abs(found - wanted) < 1e-6), bool(relative < 1e-5)


# %% [markdown]
# Equal means here that the losses differ by less than 0.000001, and the gradients by less than a
# hundred thousandth of their length. The last line compares TRL's `dapo` with our `grpo`, to make
# sure that this comparison can say no.

# %% tags=["headline"]
for theirs, ours in (*zip(KINDS, KINDS, strict=True), ("dapo", "grpo")):
    value, slope = ("yes" if equal else "no" for equal in compared(theirs, ours))
    print(f"TRL's {theirs:>7} is our {ours:>7}: loss {value}, gradient {slope}")

# %% [markdown]
# The tests of the course repeat this for rollouts that TRL samples itself, with and without the
# penalty, for all weights and for an adapter.
#
# One default deserves a closer look. If you set `beta` and nothing else, `use_bias_correction_kl`
# multiplies the penalty by the ratio. At the first step the ratio is 1 and the value does not
# change, but the gradient does. Without the factor, k3 estimates $\text{KL}(\pi, \pi_\text{ref})$
# and its gradient descends $\text{KL}(\pi_\text{ref}, \pi)$; with it, value and gradient belong to
# the same divergence. In our loss that is `corrected_kl=True`, and `tests/test_grpo.py` proves the
# claim on a vocabulary of three words.
#
# ## What you saw
#
# - Six stages, six short functions, and the same loss and gradient as TRL's trainer.
# - A group whose rewards are equal has no gradient. Scaling by the standard deviation turns a
#   difference of 0.01 into a full signal.
# - The loss of `grpo` starts at zero whatever happens. Do not read progress from it.
# - Credit is given to whole rollouts; tokens are told apart only where rollouts differ.
# - The clip ends the push on a token that has moved enough. The four losses differ in how much a
#   token weighs, and under `grpo` long wrong answers are cheap.
#
# ## Where to go next
#
# Chapter 06 lets the model write its own rollouts and repeats these six stages until it answers
# better. To go deeper: Z. Shao et al., *DeepSeekMath* (arXiv 2402.03300), has the algorithm; Z. Liu
# et al., *Understanding R1-Zero-like training* (arXiv 2503.20783), the two biases and Dr. GRPO;
# Q. Yu et al., *DAPO* (arXiv 2503.14476), token weights and a wider clip upwards; J. Schulman,
# *Approximating KL divergence* (2020), the estimators of stage 5. To play: give the rollout without
# tags its format point, and find out which tokens change color.
