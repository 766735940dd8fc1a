# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 8 The family
#
# ## What you will do
#
# GRPO has relatives: REINFORCE, RLOO, Dr. GRPO, DAPO, GSPO and CISPO. Their papers look different. In code,
# each differs from GRPO in a line or two. You write one loss that can be any of them, compare it with TRL,
# and see when the differences act and when they do not. Then you look at two problems that no change of the
# loss repairs, and at a signal that says more than a reward.
#
# ## What you will learn
#
# After this chapter you can
#
# - name the four choices that make a policy-gradient loss, and place seven published algorithms among them,
# - say which of these choices act with one update per batch of rollouts, and which do not,
# - ask TRL for six of the seven, say what it does instead of REINFORCE's baseline, and avoid a default that makes the
#   gradient of CISPO five times too small,
# - deal with groups without spread by filtering and by dynamic sampling, and say what that costs,
# - explain on-policy distillation, write its loss, and say when it is the better tool.
#
# ## What you will need
#
# Chapters 04 to 07, and your functions of chapter 05. The comparison with TRL uses a tiny model with random
# weights and takes seconds. A teacher and a student are trained live. Longer runs were recorded by
# `benchmarks/study/family.py`, on the same base.

# %%
import copy
import json
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import torch
from IPython.display import Math, display
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers

tier = tiers.start(8)
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tqdm.auto import tqdm
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from medr1_lib.course.chapters.chapter_08 import FAMILY, trl_settings
from medr1_lib.course.sketch import sketch
from medr1_lib.data import phantom_vqa
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.data.styles import STYLES, prompt
from medr1_lib.model.loading import load_policy
from medr1_lib.rl.formula import formula
from medr1_lib.rl.generation import packed_inputs, packed_outputs
from medr1_lib.rl.grpo import group_advantages, token_logps, token_weights
from medr1_lib.rl.loop import encode, sample
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.rewards import points, rewards
from medr1_lib.rl.train import Progress, grpo_rows, train

warnings.filterwarnings("ignore", category=FutureWarning)
STYLE, GROUP, MAX_LENGTH, TEMPERATURE = "think_before", 4, 32, 1.0

# %% [markdown]
# ## 1 Four choices
#
# Every loss of the family answers four questions about a rollout. What is its reward compared with? How much
# more likely has it become since it was sampled? How far may it change before the loss stops pushing? How much weight
# does each token get?

# %% tags=["hide-input"] mystnb={"image": {"alt": "Four boxes in a row with arrows between them: 1 baseline, compared with whom; 2 ratio, how much likelier now; 3 limit, where does it stop; 4 weight, how much a token counts. Below each box stand the choices: batch, others, group, unscaled; none, token, sequence, product; clip, wider clip upwards, weight only; rollout, token, constant. The first and the last box are blue, they act always. The two in the middle are orange, they act only on old rollouts."}}
asked = {
    "baseline\ncompared with whom?": "batch, others,\ngroup, unscaled",
    "ratio\nhow much likelier now?": "none, token,\nsequence, product",
    "limit\nwhere does it stop?": "clip, wider clip\nupwards, weight only",
    "weight\nhow much does a token count?": "per rollout, per token,\nby a constant",
}
boxes, arrows = {}, []
for x, (choice, ways) in enumerate(asked.items()):
    boxes |= {x: (1.6 * x, 0, f"{x + 1} {choice}"), f"{x} of": (1.6 * x, -1, ways)}
    arrows += [(x, f"{x} of", ""), *([(x - 1, x, "")] if x else [])]
tints = {0: "blue", 1: "orange", 2: "orange", 3: "blue"}
sketch(boxes, arrows, tints=tints, size=(11, 3))
plt.show()

# %% [markdown]
# The two blue choices always act. The two orange ones act only on rollouts that are used again. Section 6
# shows why. An algorithm is a row of this table. If `low` is `None`, the ratio is not clipped. It is used as
# a weight, up to `high`.

# %%
pd.DataFrame(FAMILY, index=["advantage", "ratio", "low", "high", "weights"]).T

# %% [markdown]
# | name | paper | what it changes |
# |---|---|---|
# | REINFORCE | Williams 1992 | the starting point: advantage times log-probability |
# | PPO | Schulman et al., arXiv 1707.06347 | the parent of the rows below: their ratio and clip come from it. A second network, the *critic*, predicts the reward at every token, and the advantage is reward minus prediction |
# | RLOO | Ahmadian et al., arXiv 2402.14740 | the baseline is the mean of the *other* rollouts |
# | GRPO | Shao et al., arXiv 2402.03300 | baseline and scale of the group, a ratio and a clip for each token |
# | Dr. GRPO | Liu et al., arXiv 2503.20783 | no division by the spread or by the length |
# | DAPO | Yu et al., arXiv 2503.14476 | a wider clip upwards, and every token weighs the same |
# | GSPO | Zheng et al., arXiv 2507.18071 | one ratio for a whole rollout, with very narrow limits |
# | CISPO | MiniMax, arXiv 2506.13585 | the ratio only weighs; no token ever loses its gradient |
#
# PPO is not in the table of the cell, since it needs a critic. The others take the rollouts of the batch in its place.
# DPO (arXiv 2305.18290) is in neither table: it samples nothing while it trains, and learns from pairs of completions
# that people compared.
#
# ## 2 Compared with whom?
#
# If a baseline depends on the rollout that it is subtracted from, the expected gradient changes. The mean of
# a group contains the rollout itself. Chapter 04 showed the effect: a factor of (G - 1) / G. RLOO, *REINFORCE
# leave-one-out*, takes the rollout out of the mean.
#
# ### Exercise 1: leave one out
# *easy, 10 minutes*
#
# `rewards` is flat, the rollouts of a prompt next to each other. Return each reward minus the mean of the other
# rewards in its group, in the same order.
#
# <details><summary>Hint</summary>
#
# With `groups = rewards.view(-1, group_size)`, the sum of the others is the sum of the group minus the reward itself. There
# are `group_size - 1` of them.
#
# </details>


# %% tags=["exercise"]
def leave_one_out(rewards, group_size):
    """Each reward minus the mean reward of the others in its group (RLOO)."""
    # solution
    groups = rewards.view(-1, group_size)  # [P, G]
    others = (groups.sum(1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).flatten()  # [B]
    # end solution


# %%
leave_one_out = checks.leave_one_out(leave_one_out)

# %% [markdown]
# The next table has the four baselines side by side, for an easy group and a hard one. Compare `others` with
# `unscaled`: they differ only by the constant factor G / (G - 1). So for one group size, the two baselines
# are the same method with another learning rate. `batch` is different: it compares with the mean of both
# groups. So no rollout of the easy question is below average.

# %%
ADVANTAGES = {
    "batch": lambda rewards: rewards - rewards.mean(),
    "others": lambda rewards: leave_one_out(rewards, GROUP),
    "group": lambda rewards: group_advantages(rewards, GROUP),
    "unscaled": lambda rewards: group_advantages(rewards, GROUP, scale=False),
}

# %%
given = torch.tensor([2.0, 2, 2, 1, 0, 0, 0, 1])
table = {"reward": given} | {name: f(given) for name, f in ADVANTAGES.items()}
pd.DataFrame(table).round(2).T

# %% [markdown]
# ## 3 How much likelier now?
#
# ### Exercise 2: four ratios
# *medium, 15 minutes*
#
# `logps` and `old_logps` are log-probabilities of the sampled tokens, now and when they were sampled, `[B, T]`. `mask` is
# 1 where a rollout has a token. Return the ratio of `kind`:
#
# - `"token"`: the ratio of each token, `[B, T]`, and 1 where the mask is 0 (GRPO);
# - `"product"`: the product of the ratios of a rollout, `[B, 1]` (RLOO);
# - `"sequence"`: their geometric mean, `[B, 1]`: the product to the power of one over the number of tokens (GSPO);
# - `"none"`: 1 everywhere, `[B, T]` (REINFORCE, which does not reuse rollouts).
#
# <details><summary>Hint</summary>
#
# Work with logarithms and take `exp` at the end. A product is then a sum, and a geometric mean is a mean. Multiply
# the difference by the mask first. `keepdim=True` keeps the column.
#
# </details>


# %% tags=["exercise"]
def importance_ratio(logps, old_logps, mask, kind):
    """How much likelier a token or a whole rollout is than when it was sampled."""
    # solution
    gaps = (logps - old_logps) * mask  # [B, T]
    logs = {
        "none": torch.zeros_like(gaps),
        "token": gaps,
        "product": gaps.sum(1, keepdim=True),  # [B, 1]
        "sequence": gaps.sum(1, keepdim=True)
        / mask.sum(1, keepdim=True).clamp(min=1),
    }
    return logs[kind].exp()
    # end solution


# %%
importance_ratio = checks.importance_ratio(importance_ratio)

# %% [markdown]
# Why are there so many ratios? The product is the exact ratio of the whole rollout, but it grows very fast
# with the length. The geometric mean does not grow with the length. A ratio for each token does not grow
# either, but it treats each token as an action of its own.

# %%
length, kinds = torch.tensor([5, 20, 80, 320]), ("token", "sequence", "product")
steady = 0.02 * torch.ones(4, 320)  # every token has become 2 % likelier
mask = (torch.arange(320) < length[:, None]).long()
ratios = {k: importance_ratio(steady, 0 * steady, mask, k)[:, 0] for k in kinds}
pd.DataFrame(ratios, length.tolist()).astype(float).round(2)

# %% [markdown]
# ## 4 The loss of any member
#
# Now put the four choices together. With a ratio $\rho$, an advantage $A$ and a weight $w$, the loss is
# $-\sum w J$. There are two kinds of objective $J$:
#
# $$ J = \min\left(\rho A,\ \text{clip}(\rho, 1 - \text{low}, 1 + \text{high})\, A\right)
# \qquad\text{or}\qquad J = \text{sg}\left[\min(\rho, \text{high})\right] A \log\pi $$
#
# The left one is GRPO's, with a lower and an upper limit. The right one is used if `low` is `None`. There, sg
# means *stop gradient* (`detach()`): the ratio is only a number that multiplies the gradient of the
# log-probability.
#
# ### Exercise 3: one loss for all
# *hard, 40 minutes*
#
# Return the loss of `member`, a row of the table above: `member.ratio`, `member.low`, `member.high`, `member.weights`. Use
# your `importance_ratio` and `token_weights(mask, kind, max_completion_length)` of chapter 05. `advantages` has one number for each
# rollout, `[B]`. There is no KL penalty here.
#
# <details><summary>Hint</summary>
#
# Turn the advantages into a column with `advantages[:, None]`. Then all shapes fit, also a ratio of shape
# `[B, 1]`. For the left objective start from `clipped_objective` of chapter 05.
#
# The check compares values and gradients. A missing `detach()` changes only the gradient.
#
# </details>


# %% tags=["exercise"]
def policy_loss(member, logps, old_logps, advantages, mask, max_completion_length):
    """The loss of any member of the family, without a penalty."""
    # solution
    ratio = importance_ratio(logps, old_logps, mask, member.ratio)
    gains = advantages[:, None]  # [B, 1]
    if member.low is None:
        objective = ratio.clamp(max=member.high).detach() * gains * logps
    else:
        clipped = ratio.clamp(1 - member.low, 1 + member.high)
        objective = torch.minimum(ratio * gains, clipped * gains)
    return -(
        token_weights(mask, member.weights, max_completion_length) * objective
    ).sum()
    # end solution


# %%
policy_loss = checks.policy_loss(policy_loss)

# %% [markdown]
# ## 5 The same in TRL
#
# As in chapter 05, your loss and its gradient have to agree with TRL's own trainers. We write four rollouts
# for each of two questions ourselves, so that their lengths and rewards differ.

# %%
asked = [q for q in questions("test", per_cell=10) if q.modality == "CT"][:2]
thoughts = ("CT, abdomen", "CT, abdomen, finding: abscess", "CT, grade: moderate")
said = 2 * [*map(STYLES[STYLE].completion, "ABA", thoughts), "B) mass"]
twice = [question for question in asked for _ in range(GROUP)]
earned = [sum(points(t, q.answer, STYLE)) for t, q in zip(said, twice, strict=True)]
print("rewards:", earned)

# %% [markdown]
# The model has the architecture of the base and fresh weights. `our_logps` gives the log-probability of every token
# of the rollouts under a policy, `gradient` the gradient of a loss as one long row.


# %%
base, processor = load_policy(tiers.material("tiny-qwen2-vl"), device="cpu")
torch.manual_seed(0)
model = type(base)(base.config)
model.model.visual.requires_grad_(False)
texts = [prompt(q.question, q.options, STYLE) for q in twice]
turns = [[{"role": "user", "content": text}] for text in texts]
pictures = [draw(question.scene) for question in twice]
start = encode(processor, {"prompt": turns, "image": pictures})
ended = [text + processor.tokenizer.eos_token for text in said]
padded = {"padding": True, "padding_side": "right", "return_tensors": "pt"}
ids, mask = processor.tokenizer(ended, **padded).values()


def our_logps(policy):
    """Log-probabilities of the rollouts under a policy, [B, T]."""
    logits = policy(**packed_inputs(policy, start, ids, mask)).logits
    return token_logps(packed_outputs(logits, ids), ids, TEMPERATURE)


def gradient(policy, loss):
    """The gradient of a loss, all trainable weights in one row."""
    weights = [weight for weight in policy.parameters() if weight.requires_grad]
    slopes = torch.autograd.grad(loss, weights, retain_graph=True)
    return torch.cat([slope.flatten() for slope in slopes])


# %% [markdown]
# `stale` makes a policy that has moved away from the one that wrote the rollouts. It takes some steps on
# them, without any clip.


# %%
old = our_logps(model).detach()  # the policy that wrote the rollouts
earned = torch.tensor(earned)
free = FAMILY["GRPO"]._replace(low=9.0, high=9.0)


def loss_of(member, logps):
    """The loss of a member for the eight rollouts."""
    advantages = ADVANTAGES[member.advantage](earned)
    return policy_loss(member, logps, old, advantages, mask, MAX_LENGTH)


def stale(steps):
    """The policy after some steps on its rollouts."""
    policy = copy.deepcopy(model)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(free, our_logps(policy)).backward()
        optimizer.step()
    return policy


# %% [markdown]
# TRL has two trainers for the family: `GRPOTrainer` and `RLOOTrainer`. The next cell makes both with the same
# stale policy, and prepares our rollouts for them.

# %%
moved = stale(3)
folder = tempfile.TemporaryDirectory(prefix="medr1-chapter-08-")
common = {"output_dir": folder.name, "num_generations": GROUP, "beta": 0.0}
common |= {"max_completion_length": MAX_LENGTH, "report_to": [], "use_cpu": True}
common |= {"per_device_train_batch_size": len(said), "bf16": False}
common["activation_checkpointing"] = False
data = Dataset.from_list([{"prompt": turn} for turn in turns])
given = {"reward_funcs": rewards(STYLE), "train_dataset": data}
given |= {"model": moved, "processing_class": processor}
grpo = GRPOTrainer(args=GRPOConfig(**common), **given)
rloo = RLOOTrainer(args=RLOOConfig(**common), **given)
for trainer in (grpo, rloo):
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
batch = {name: start[name] for name in ("pixel_values", "image_grid_thw")}
batch |= {"prompt_ids": start.input_ids, "prompt_mask": start.attention_mask}
batch |= {
    "completion_ids": ids,
    "completion_mask": mask,
    "num_images": len(said) * [1],
}
types = torch.cat([start.mm_token_type_ids, torch.zeros_like(ids)], 1)
batch |= {"mm_token_type_ids": types, "num_items_in_batch": mask.sum()}

# %% [markdown]
# `trl_settings` gives the settings in TRL's configuration for each row. Two rows need care. TRL's `GRPOTrainer` has no
# setting for the baseline of REINFORCE, the mean of the batch. With every value of `scale_rewards` it subtracts the mean
# of the *group*; the setting only says what it divides by. So the row REINFORCE asks TRL for another baseline than
# our table. RLOO has a trainer of its own and is not in the table.
#
# Look at the last column of CISPO. For
# this loss, TRL reads `epsilon_high` as the largest *ratio*. If you set only `loss_type="cispo"`, the default
# of 0.2 limits every ratio to 0.2, and the gradient is about five times too weak. Adam divides a constant
# factor out, so you do not notice it. But a KL penalty is not limited in this way, so it gets about five
# times as much weight as you wanted.


# %%
settings = {name: trl_settings(FAMILY[name]) for name in FAMILY if name != "RLOO"}
pd.DataFrame(settings).T


# %% [markdown]
# Equal means that two results differ by less than a ten thousandth of their size. The cell compares three things. The
# *advantage* is the one that TRL computes with these settings, beside ours. Then both losses get **our** advantages, so
# that *loss* and *gradient* compare the rest. The last line compares two different members, to show that the
# comparison can say no.


# %% tags=["headline", "nbval-check-output"]
def theirs(member):
    """TRL's loss for a row; without old log-probabilities its ratio is 1."""
    own = batch | {"advantages": ADVANTAGES[member.advantage](earned)}
    if member.ratio == "product":
        return rloo._compute_loss(moved, own | {"old_logps": (old * mask).sum(1)})
    asked_for = trl_settings(member)
    grpo.loss_type = asked_for["loss_type"]
    grpo.importance_sampling_level = asked_for["importance_sampling_level"]
    grpo.epsilon_low, grpo.epsilon_high = member.low, member.high
    if member.ratio != "none":
        own["old_per_token_logps"] = old
    return grpo._compute_loss(moved, own)


for wanted, found in (*zip(FAMILY, FAMILY, strict=True), ("GSPO", "GRPO")):
    loss, ours = theirs(FAMILY[wanted]), loss_of(FAMILY[found], our_logps(moved))
    slope = gradient(moved, loss)
    near = bool((slope - gradient(moved, ours)).norm() / slope.norm() < 1e-4)
    given = leave_one_out(earned, GROUP)  # by RLOOTrainer
    if wanted != "RLOO":
        scale = trl_settings(FAMILY[wanted])["scale_rewards"] == "group"
        given = group_advantages(earned, GROUP, scale=scale)
    alike = torch.allclose(given, ADVANTAGES[FAMILY[found].advantage](earned))
    equal = f"loss {torch.allclose(loss, ours, 1e-4, 1e-5)}, gradient {near}"
    print(f"TRL's {wanted:>9} is our {found:>9}: advantage {alike}, {equal}")

# %% [markdown]
# One line has an advantage that is not ours: REINFORCE. If you train it with TRL's `GRPOTrainer`, you train with the
# baseline of the group. (`tests/test_family.py` and `tests/test_grpo.py` compare `leave_one_out` and `group_advantages` with
# what TRL's trainers log.)
#
# ## 6 When they differ
#
# With one update per batch, the policy is the one that wrote the rollouts, so every ratio is 1. What do ratio
# and limit do then? The next cell gives all members the same baseline and the same weights, so that they
# differ only in ratio and limit. It compares the direction of their gradients with that of GRPO by the
# cosine: 1 means the same direction, -1 the opposite one. The upper table leaves RLOO out, because its
# product over tokens also changes the weights of the tokens.


# %%
def cosines(steps, **same):
    """Cosine of each gradient with that of GRPO, for a policy that took some steps."""
    policy = stale(steps)
    logps = our_logps(policy)
    names = [name for name in FAMILY if not (same and name == "RLOO")]
    losses = [loss_of(FAMILY[name]._replace(**same), logps) for name in names]
    slopes = torch.stack([gradient(policy, loss) for loss in losses])
    near = torch.cosine_similarity(slopes, slopes[names.index("GRPO")], 1)
    return pd.Series(near, names)


alike = {"advantage": "group", "weights": "grpo"}
for same in (alike, {}):
    found = {
        f"{s} step{'s' * (s != 1)} old": cosines(s, **same) for s in (0, 1, 3, 6)
    }
    display(pd.DataFrame(found).round(3))

# %% [markdown]
# In the first column of the upper table all cosines are 1: **with one update per batch, ratio and limit change
# nothing.** Members with the same baseline and the same weights are then one method. In the other columns, the policy has moved away from its rollouts, and the members differ. Look at
# GSPO after one step: its limits are so narrow that every rollout is outside them. The rollouts that moved in
# the right direction lose their gradient. Only one moved in the wrong direction and keeps its gradient, so the
# cosine is negative.
#
# The lower table has the rows as they were published, with their own baselines and weights. Its first column
# is not 1 everywhere, because baseline and weight act from the first update on. In the other columns RLOO equals
# GSPO: its product, too, is outside the limits for every rollout, and the same single rollout keeps its gradient. So when you read about a new
# algorithm, first ask which choice it changes. If it changes only ratio or limit, and you train with one
# update per batch as all recipes of this course do, it changes nothing.
#
# `formula` of the library writes any row as an equation. Here is CISPO, with four updates per batch.
# $S$ is the number of rollouts in an optimizer step; the other letters are those of chapter 05.

# %%
reused = load_recipe("course", num_iterations=4, **trl_settings(FAMILY["CISPO"]))
Math(formula(reused.trl_config(Path(folder.name))))

# %% [markdown]
# **Do the differences matter for the result?** The next table is from a record. All its arms have the same
# base and sample rollouts for the same six batches of questions. Five members make four updates for each batch,
# 24 in all. One more arm is GRPO with one update per batch, six in all. Each arm has three seeds. The
# table has the accuracy on 640 test questions, and the difference from GRPO of the same seed with a 95 % interval
# over seeds (Student's t with two degrees of freedom). The row `base` is the model before training.

# %%
RECORDED = tiers.material("recorded")
runs = pd.DataFrame(json.loads((RECORDED / "family.json").read_text())["runs"])
runs["accuracy"] = 100 * runs["right"] / runs["items"]
alone = runs[runs["seed"].isna()].set_index("group")["accuracy"]


def against(group, first):
    """Mean accuracy of each arm, and its difference to the first one, by seed."""
    table = runs[runs["group"] == group].pivot_table("accuracy", "seed", "name")
    table["base"] = alone["base"]
    gaps = table.sub(table[first], axis=0)
    middle, half = gaps.mean(), 4.303 * gaps.sem()
    found = {"accuracy": table.mean(), "difference": middle}
    return pd.DataFrame(found | {"low": middle - half, "high": middle + half})


against("reuse", "GRPO").round(1)

# %% [markdown]
# First compare the base with the rest. All arms are only a few points above it, so there is little to rank.
#
# Read the intervals before the means. The row GRPO is compared with itself, so its interval has no width. If
# another interval contains 0, three seeds of so short a run cannot tell the two members apart. This does not
# prove that they are equal. If one of the five other arms just misses 0, remember that you looked at five: luck has
# five chances (chapter 11 corrects for this). Many papers compare such algorithms with a single seed. Then
# nobody can know how wide the interval is.
#
# ## 7 What no loss repairs: no spread
#
# If all rewards of a group are equal, every baseline of the group leaves advantages of zero. The cell below
# samples eight rollouts for each of 32 training questions with the base of this course, and counts. *Solved*
# means that all eight earn both points, *stuck* that all eight earn the same and less.

# %%
root = Path(folder.name)
splits = {"train": questions("train", per_cell=4)}
phantom_vqa.write(root / "phantoms", splits, {"per_cell": 4})
paths = {"model": str(tier.model_path), "data": str(root / "phantoms")}
recipe = load_recipe("gpu" if tier.name == "gpu" else "course", **paths)
rows, config = grpo_rows(recipe), recipe.trl_config(root / "run")
base, words = load_policy(tier.model_path, tier.quantize)


def sampled(policy, batch):
    """Rewards of a group of rollouts for each question of a batch, [P, G]."""
    inputs = encode(words, batch).to(policy.device)
    tokens, _ = sample(policy, words, inputs, config)
    texts = words.batch_decode(tokens, skip_special_tokens=True)
    right = [a for a in batch["answer"] for _ in range(config.num_generations)]
    pairs = zip(texts, right, strict=True)
    earned = [sum(points(text, letter, recipe.style)) for text, letter in pairs]
    return torch.tensor(earned).view(-1, config.num_generations)


# %%
torch.manual_seed(0)
groups = torch.cat([sampled(base, rows[at : at + 8]) for at in range(0, 32, 8)])
low, high = groups.min(1).values, groups.max(1).values
solved, mixed = low == 2, low < high
shares = {"solved": solved, "stuck": ~solved & ~mixed, "mixed": mixed}
print({name: f"{share.float().mean():.0%}" for name, share in shares.items()})

# %% [markdown]
# There are two remedies. Neither of them changes the loss.
#
# - A **difficulty filter** counts once before training and keeps the mixed questions. It costs one pass over
#   the data. As the policy changes, the filter becomes outdated: a question that was mixed at first may be
#   solved later.
# - **Dynamic sampling**, also a part of DAPO, does it at every step: it samples more questions until the
#   batch is full of mixed groups. TRL does not have it, so you see it here by hand.


# %%
def dynamic_batch(policy, wanted, size=8):
    """Sample until `wanted` groups are mixed; also how many groups that took."""
    kept, asked_for = [], 0
    while len(kept) < wanted and asked_for < len(rows):
        found = sampled(policy, rows[asked_for : asked_for + size])
        kept += [group for group in found if group.min() < group.max()]
        asked_for += size
    return kept[:wanted], asked_for


full, taken = dynamic_batch(base, wanted=16)
price = f"{taken / max(len(full), 1):.1f} times the sampling"
print(f"{len(full)} mixed groups took {taken} groups: {price}")

# %% [markdown]
# As the model learns, more groups are solved, and dynamic sampling needs more and more groups to fill a
# batch. With a large model, sampling is the most expensive part of a step. And neither remedy teaches
# anything about the stuck questions, because both leave them out.
#
# ## 8 What no loss repairs: entropy
#
# Rewards for right completions make the policy surer. So the entropy falls (chapter 07), and the next groups
# have less spread. DAPO's wider clip upwards is meant to slow this down: it lets rare tokens grow further.
# TRL also has `entropy_coef`, a bonus for entropy. It has to be tuned with care, because too much of it
# rewards noise. The record has the entropy at the first and at the last update: 23 updates apart, and 5 for
# GRPO with one update per batch. Compare DAPO with the other rows: do the ranges overlap?

# %%
steps = pd.read_parquet(RECORDED / "family.parquet")
reuse = steps[steps["group"] == "reuse"].groupby(["name", "seed"])
ends = reuse["entropy"].agg(["first", "last"])
ends.groupby("name").agg(["mean", "min", "max"]).round(2)

# %% [markdown]
# In so few updates the entropy hardly moves. The ranges overlap, and the entropy of DAPO is not the highest. So
# 24 updates show no effect of the wider clip.
#
# ## 9 A dense signal: on-policy distillation
#
# A reward is one number for a whole rollout. A *teacher* is a model that is better at the task. At every
# token, it can say which next words it prefers. In **on-policy distillation**, the *student* writes the
# rollouts. The loss is the divergence between the student's and the teacher's distribution over the next
# word, at every token of these rollouts. There are no groups and no rewards, so a group without spread is no
# problem.
#
# ### Exercise 4: the reverse divergence
# *medium, 15 minutes*
#
# Return $\text{KL}(\text{student}, \text{teacher}) = \sum_v p(v) \left(\log p(v) - \log q(v)\right)$ at every token, where $p$ is the
# student's distribution over the next word and $q$ the teacher's. Both come as logits, `[B, T, V]`; return `[B, T]`.
#
# <details><summary>Hint</summary>
#
# `logits.log_softmax(-1)` gives log-probabilities, for both models. The sum goes over the last dimension.
#
# </details>


# %% tags=["exercise"]
def reverse_kl(logits, teacher_logits):
    """At each token, how far the student's next word is from the teacher's."""
    # solution
    logps, wanted = logits.log_softmax(-1), teacher_logits.log_softmax(-1)
    return (logps.exp() * (logps - wanted)).sum(-1)
    # end solution


# %%
reverse_kl = checks.reverse_kl(reverse_kl)

# %% [markdown]
# This divergence is exact, because it is a sum over all words. It is not an estimate like k3. It is called *reverse*
# because the student's own distribution gives the weights.
# `tests/test_family.py` compares its loss and gradient with TRL's `DistillationTrainer`, on rollouts about
# images. The loop is that of chapter 05 with another loss:


# %%
def distill(student, teacher, processor, rows, config):
    """Bring the student nearer to the teacher on what the student itself writes."""
    group, size = config.num_generations, config.per_device_train_batch_size
    trained = [weight for weight in student.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, config.learning_rate, weight_decay=0.0)
    for step in range(config.max_steps):
        first = step * size // group
        inputs = encode(processor, rows[first : first + size // group])
        tokens, mask = sample(student, processor, inputs, config)
        packed = packed_inputs(student, inputs, tokens, mask)
        with torch.no_grad():
            wanted = packed_outputs(teacher(**packed).logits, tokens)
        logits = packed_outputs(student(**packed).logits, tokens)
        gap = (reverse_kl(logits, wanted) * mask).sum() / mask.sum()
        optimizer.zero_grad()
        gap.backward()
        optimizer.step()
        yield gap.item()


# %% [markdown]
# **Who is the teacher?** Usually the teacher is a larger model. The course ships one size of model only. So
# here the teacher is the base itself after 40 steps of supervised fine-tuning with true rationales (100 steps
# in the record). It has the size of the student. The record also has a *larger teacher*: a model with
# 5.4 million parameters that learned the medical images as well as the everyday ones.
# `python -m tools.pretrain --size larger --medical full` makes it, and
# `benchmarks.study.family --teacher` distills from it.

# %% tags=["headline", "nbval-check-output"]
LIVE = tier.name == "laptop"
if LIVE:
    lesson = load_recipe("course-sft", style=STYLE, max_steps=40, **paths)
    out = Path(tempfile.mkdtemp(dir=root))
    taught = train(lesson, out, callbacks=[Progress()])
    teacher, _ = load_policy(taught.adapter, device="cpu")
    torch.manual_seed(0)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=recipe.lora_targets)
    student = get_peft_model(copy.deepcopy(base), lora)
    config.max_steps = 10
    distilling = distill(student, teacher, words, rows, config)
    gaps = pd.Series(list(tqdm(distilling, "distill", config.max_steps)))
else:  # the same from the record, seed 0
    gaps = steps[(steps["name"] == "distillation") & (steps["seed"] == 0)]["gap"]
closer = gaps.tail(3).mean() < gaps.head(3).mean()
print("the student writes more as the teacher would:", "yes" if closer else "no")

# %% [markdown]
# How good is the student afterwards? The live run is short, so look at recorded runs of 20 steps. GRPO and
# distillation have the same number of questions and rollouts. *Imitation* is supervised fine-tuning with true rationales on the
# same questions. It has as many steps as the others. *Imitation, longer* has five times as many, which took
# three quarters of the time of GRPO. `seconds` is the median of the seeds, since other programs ran beside some of them.

# %%
seconds = runs[runs["group"] == "signal"].groupby("name")["seconds"].median()
table = against("signal", "GRPO").assign(seconds=seconds).fillna(0)
display(table.round(1) + 0.0)  # which makes -0.0 a plain zero
print(alone[["teacher", "larger teacher"]].round(1).to_string())
by_run = steps.dropna(subset="gap").groupby(["name", "seed"])["gap"]
by_run.agg(["first", "last"]).groupby("name").mean().round(2)

# %% [markdown]
# The larger teacher is far better than the other one, and yet its students are not. The last table suggests why: it has the
# divergence from the teacher at the first and at the last step. After 20 steps the student writes nearly as the
# teacher of its own size does. The larger teacher knows more, so the way to it is longer, and most of this way is still to go.
#
# Longer imitation is far ahead here. But it needs a true rationale for every question, and reinforcement does
# not. (The teacher of this record was trained on such rationales too.) The table compares the three signals.
#
# | signal | what you need | what it says |
# |---|---|---|
# | imitation (SFT) | a right completion for each question, its rationale included | every token, of somebody else's text |
# | reward (RL) | a way to check an answer | one number for each rollout, of the student's own text |
# | distillation | a better model with the same vocabulary | every token, of the student's own text |
#
# A teacher is also a limit: the student learns the teacher's mistakes, and it cannot become better than the
# teacher by this loss alone. Reinforcement has no such limit, but it needs spread to begin. So you can also
# combine them: distill first, and reinforce afterwards.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# You train with one update per batch of rollouts and change the loss from GRPO to GRPO with a sequence ratio, as in GSPO. What changes?
#
# <details><summary>A. Nothing: all ratios are 1, and both have the same gradient</summary>
#
# Right. Ratio and limit act only on rollouts that an older policy wrote.
#
# </details>
# <details><summary>B. Training becomes more stable, since sequence ratios are tame</summary>
#
# Wrong. That may hold with reused rollouts, but here the ratio is exactly 1 in both cases.
#
# </details>
# <details><summary>C. Long rollouts weigh less than before</summary>
#
# Wrong. How much a rollout weighs is decided by the weights, which this change does not touch.
#
# </details>
#
# ### Question 2
# Half of your groups are stuck: all eight rollouts are wrong in the same way. What can help on these questions?
#
# <details><summary>A. A leave-one-out baseline, since it never contains the rollout itself</summary>
#
# Wrong. Where all rewards are equal, every baseline of a group leaves zero.
#
# </details>
# <details><summary>B. Dynamic sampling, since it fills the batch with mixed groups</summary>
#
# Wrong. It fills the batch with other questions, and the stuck ones are never learned.
#
# </details>
# <details><summary>C. A teacher or right examples, since they say what no rollout says</summary>
#
# Right. A signal for each token does not need two rollouts that differ.
#
# </details>
#
# ### Question 3
# On-policy distillation and supervised fine-tuning both get a signal at every token. What is the difference?
#
# <details><summary>A. Distillation needs no gradient through the student</summary>
#
# Wrong. The student is trained by gradient descent in both, and only the teacher is left as it is.
#
# </details>
# <details><summary>B. In distillation the student is corrected on the texts that it writes itself</summary>
#
# Right. So it learns to get out of its own mistakes, which a perfect example never contains.
#
# </details>
# <details><summary>C. Distillation needs the right letter of every question</summary>
#
# Wrong. It needs a teacher, and neither letters nor rewards.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - Seven algorithms are seven rows of one table: baseline, ratio, limit, weight.
# - One function of ten lines computes all of them. Given the same advantages, loss and gradient equal TRL's. TRL has no
#   setting for REINFORCE's baseline.
# - With one update per batch, ratio and limit do nothing. Baseline and weight always act.
# - Three short runs of each member rarely show a difference. Look at the interval.
# - No loss repairs a group without spread. Filters and dynamic sampling leave such groups out, and cost time.
# - A teacher gives a signal at every token of the student's own text, but it is also a limit.
#
# ## Where to go next
#
# An open problem, *hard, 60 minutes*: which member loses most accuracy if rollouts are used eight times
# instead of four? Write down your prediction, run `benchmarks/study/family.py` with another `UPDATES`, and
# explain the result with the tables of section 6. Chapter 09 trains with the base in four bits. To read: the
# papers in the table; TRL's page *Paper index*; K. Lu, *On-policy distillation* (Thinking Machines, 2025);
# and R. Agarwal et al., *On-policy distillation of language models* (arXiv 2306.13649).
