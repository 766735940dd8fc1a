# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 9 QLoRA on one GPU
#
# ## What you will do
#
# Store a weight in four bits, train beside it without touching it, and work out what Qwen2-VL-2B
# would take of one graphics card, term by term, before you rent one. Then run the same training in
# small, on this machine.
#
# ## What you will learn
#
# After this chapter you can
#
# - quantize a matrix to NF4 by hand, and say why its sixteen values lie where they lie,
# - check which layers of a model are in four bits, and catch a setting that does not do what it says,
# - write LoRA as one line, count its parameters, and explain why training starts exactly at the base,
# - compute the memory of a training from a configuration, and name the term that fills the card,
# - read off a GRPO configuration which loss it computes.
#
# ## What you will need
#
# Chapters 05 (the loss) and 06 (training). No GPU; where there is one, the last cell uses it. What is
# taken apart is the tiny model of the course, at every tier. A gigabyte here is $10^9$ bytes.

# %%
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers

tier = tiers.start(9)
from bitsandbytes import functional
from bitsandbytes.nn import Linear4bit
from peft import LoraConfig, get_peft_model

from medr1_lib.model.loading import load_policy
from medr1_lib.course.chapters.chapter_09 import TAIL, Step, linear_shapes
from medr1_lib.course.chapters.chapter_09 import memory, peak
from medr1_lib.model.qwen2b import on_meta, qwen2_vl_2b
from medr1_lib.rl.recipe import LANGUAGE_LINEAR

warnings.filterwarnings("ignore", category=FutureWarning)
sns.set_theme(style="white", palette="colorblind")
plt.rcParams["figure.dpi"] = 72

# %% [markdown]
# ## 1 A weight in four bits
#
# Four bits can tell sixteen things apart. If a weight may only be one of sixteen values, which ones?
# Look at the weights first. The matrix below belongs to the third layer of the tiny model, the way
# out of its feed-forward network. Nobody arranged its numbers, and like those of most trained
# networks they crowd around zero, nearly normal.

# %% tags=["nbval-check-output"]
TINY = tiers.material("tiny-qwen2-vl")
model, processor = load_policy(TINY, device="cpu")
matrix = model.model.language_model.layers[2].mlp.down_proj.weight.detach()
within = (matrix.abs() < matrix.std()).float().mean()
print(f"{matrix.shape[0]} x {matrix.shape[1]} weights")
print(f"within one standard deviation: {within:.0%}; if normal, 68%")

# %% [markdown]
# A value that is never used is a wasted one, so each of the sixteen should serve about as many
# weights as any other. That is what quantiles do: cut the normal distribution into slices of equal
# probability, and take a value for each. NF4, short for 4-bit NormalFloat, takes seven below zero,
# eight above, and zero itself, so that a weight of zero stays zero; then it divides all by the
# largest, so that they run from -1 to 1. (Only roughly, then: after this division the outermost values serve
# under 2 % of the weights, and the inner ones more.) The outermost quantile of a normal distribution is
# infinite, and `TAIL`, a constant of the published code, is taken instead.


# %% tags=["nbval-check-output"]
def levels():
    """The sixteen values, from -1 to 1, (16,)."""
    negative, positive = (
        torch.linspace(TAIL, 0.5, count, dtype=torch.float64) for count in (8, 9)
    )
    below, above = torch.special.ndtri(1 - negative), torch.special.ndtri(positive)
    values = torch.cat([below, above[:-1].flip(0)])
    return (values / values.max()).float()


print(*(f"{level:.2f}" for level in levels()))

# %% [markdown]
# Weights are not between -1 and 1, so 64 of them in a row, a *block*, share a number by which they
# are divided first: the largest absolute value in the block. The figure shows all weights of the
# matrix after this division, the sixteen values of NF4, and fifteen evenly spaced ones, since with
# sixteen there would be no zero. NF4 is dense where the weights are.

# %% mystnb={"image": {"alt": "Histogram of the weights of one matrix, each divided by the largest of its block of 64, from -1 to 1: a bell around zero with two thin bars at the ends. Below it two rows of ticks. Those of NF4 are dense around zero and far apart at the ends; the even ones ignore the bell."}}
even = torch.arange(-7, 8) / 7
blocks = matrix.view(-1, 64)
divided = blocks / blocks.abs().amax(1, keepdim=True)
_, axis = plt.subplots(figsize=(7, 3))
axis.hist(divided.flatten(), bins=101, color="0.75")
top = axis.get_ylim()[1]
for grid, height, name in ((levels(), -0.08, "NF4"), (even, -0.2, "even")):
    axis.plot(
        grid,
        torch.full_like(grid, height * top),
        "|",
        markersize=12,
        markeredgewidth=2,
        label=name,
    )
axis.set(
    xlabel="weight / largest of its block",
    ylabel=f"weights (n = {matrix.numel()})",
    yticks=[0, 1000, 2000],
)
_ = axis.legend(title="values", loc="upper right", frameon=False)

# %% [markdown]
# ### Exercise 1: quantize blocks
# *medium, 15 minutes*
#
# `blocks` has a block in each row. Return two tensors: for every weight the number, 0 to 15, of the
# nearest of `levels()` after the division; and the scales, one in each row, shape `(rows, 1)`. Those
# numbers and scales are all that is stored.
#
# <details><summary>Hint</summary>
#
# `amax(1, keepdim=True)` of the absolute values gives the scales. Then let a new last axis run over
# the levels, `x[..., None] - levels()`, and ask for the `argmin` of the distance along it.
#
# </details>


# %% tags=["exercise"]
def quantize_blocks(blocks):
    """The number of the nearest level for every weight, and the scale of every block."""
    # solution
    scales = blocks.abs().amax(1, keepdim=True)
    distances = (blocks / scales)[..., None] - levels()
    return distances.abs().argmin(-1), scales
    # end solution


# %%
quantize_blocks = checks.quantize_blocks(quantize_blocks)

# %% [markdown]
# Now the test that counts. bitsandbytes, which does this for real models, packs two numbers into a
# byte. Unpacked, they should be yours, and the weights that come back should be the same to the last
# digits of float32.

# %% tags=["headline", "nbval-check-output"]
codes, scales = quantize_blocks(blocks)
back = (levels()[codes] * scales).view_as(matrix)
packed, state = functional.quantize_4bit(matrix, quant_type="nf4")
theirs = torch.stack([packed >> 4, packed & 15], -1).view_as(codes)
same = torch.allclose(back, functional.dequantize_4bit(packed, state), atol=1e-6)
print(f"same numbers: {(codes == theirs).float().mean():.2%}; same weights: {same}")

# %% [markdown]
# ## 2 What four bits cost
#
# `rounded` does the same with any grid of values and any size of a block, so that we can compare.
# The error is the length of the difference, divided by the length of the weights. Then a failure
# that large models are known for: a few weights or activations that are many times larger than the
# rest. One such outlier is put into the matrix, and only the other weights are judged.


# %% tags=["nbval-check-output"]
def rounded(weights, size, grid):
    """Weights rounded to a grid of values, with a scale for every `size` of them."""
    parts = weights.reshape(-1, size)
    scales = parts.abs().amax(1, keepdim=True)
    nearest = ((parts / scales)[..., None] - grid).abs().argmin(-1)
    return (grid[nearest] * scales).view_as(weights)


def show_errors(weights):
    """Relative error of two grids with a scale per block or one for all."""
    for size in (64, weights.numel()):
        for name, grid in (("NF4", levels()), ("even", even)):
            wrong = (rounded(weights, size, grid) - weights).flatten()[1:].norm()
            print(
                f"  a scale for {size:>5}, {name:>4}: {wrong / weights.flatten()[1:].norm():.1%}"
            )


print("the matrix")
show_errors(matrix)
print("with one outlier")
show_errors(matrix.index_put((torch.tensor(0), torch.tensor(0)), torch.tensor(2.0)))

# %% [markdown]
# With a scale for each block, NF4 is off by about nine percent, and even steps by a little more. With
# one scale for the whole matrix both are worse, because few weights come near the largest one. And
# the outlier ruins everything that shares its scale: with blocks, 63 weights; without, the matrix. Blocks are not a detail of the storage. They are what makes four bits possible.
#
# They have a price, though. A scale in float32 for 64 weights is half a bit for each. *Double
# quantization* stores the scales themselves in eight bits, with a scale of their own for every 256.

# %% tags=["nbval-check-output"]
packed, state = functional.quantize_4bit(
    matrix, quant_type="nf4", compress_statistics=True
)
print(f"scales in float32: {4 + 32 / 64:.3f} bits a weight in all")
parts = {
    "numbers": packed,
    "scales": state.absmax,
    "scales of scales": state.state2.absmax,
}
for name, part in parts.items():
    print(f"{8 * part.nbytes / matrix.numel():.3f} bits a weight: {name}")
again = functional.dequantize_4bit(packed, state)
print(
    f"error with double quantization: {(again - matrix).norm() / matrix.norm():.1%}"
)

# %% [markdown]
# ## 3 What is quantized, and what is not
#
# Only the linear layers of the language model are stored in this way. The vision tower is a third of
# Qwen2-VL-2B and reads every image once, so rounding it saves a gigabyte and blurs everything that
# follows. Embedding and head stay, too. In transformers one names the modules to be left alone.


# %%
from transformers import BitsAndBytesConfig, Qwen2VLForConditionalGeneration

from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw


def loaded(skip):
    """The tiny model in NF4, except for the modules to skip."""
    settings = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", llm_int8_skip_modules=skip
    )
    return Qwen2VLForConditionalGeneration.from_pretrained(
        TINY,
        quantization_config=settings,
        dtype=torch.float32,
        device_map={"": "cpu"},
    )


def in_four_bits(policy):
    """Names of the layers that are stored in 4 bits."""
    return [name for name, m in policy.named_modules() if isinstance(m, Linear4bit)]


def features(policy):
    """What the vision tower makes of one phantom, (16 tokens, width)."""
    for name in in_four_bits(policy):  # no other layout for the evaluation
        policy.get_submodule(name).support_avx512bf16_for_cpu = False
    with torch.no_grad():
        return policy.model.get_image_features(**image).pooler_output[0]


# %% [markdown]
# Many examples name them as in the second line below, `visual` and `lm_head`, which is what the
# modules are called. Load the model with nothing named, with these names, and with a longer one for the
# tower, and count.

# %% tags=["nbval-check-output"]
skips = (None, ["visual", "lm_head"], ["model.visual", "lm_head"])
variants = {str(skip): loaded(skip) for skip in skips}
for skip, variant in variants.items():
    names = in_four_bits(variant)
    tower = sum("visual" in name for name in names)
    print(f"skip {skip}: {len(names)} layers in 4 bits, {tower} in the tower")

# %% [markdown]
# The second line is the first: the names do nothing at all, and nothing says so. No error, no
# warning, and a model that answers. Since version 5 transformers compares such a name with the
# beginning of the full path of a module, and that path begins with `model`. What became of the tower
# shows in what it makes of a picture. `load_policy` uses the third setting and counts afterwards; if
# a single layer is on the wrong side, it stops.

# %% tags=["nbval-check-output"]
scene = next(questions("test", per_cell=1)).scene
image = processor.image_processor(draw(scene), return_tensors="pt")
for skip, variant in variants.items():
    change = (features(variant) - features(model)).norm() / features(model).norm()
    print(f"skip {skip}: features of one image change by {change:.0%}")

# %% [markdown]
# ## 4 LoRA: train beside the weights
#
# A number of four bits has no gradient worth the name: it cannot move by a millionth. LoRA leaves
# the stored matrix $W$ alone and adds the product of two thin ones,
#
# $$ y = W x + \frac{\alpha}{r}\, B A\, x, \qquad A \in \mathbb{R}^{r \times \text{in}},\
# B \in \mathbb{R}^{\text{out} \times r}. $$
#
# Only $A$ and $B$ are trained, in float32. $A$ starts at random and $B$ at zero, so that the first
# answer of the adapted model is that of its base. GRPO with a KL penalty profits, too: the reference
# model of chapter 05 is the same model with its adapters switched off, and takes no memory.

# %%
lora = {"r": 16, "lora_alpha": 32, "target_modules": LANGUAGE_LINEAR}
base, _ = load_policy(TINY, "nf4", device="cpu")
policy = get_peft_model(base, LoraConfig(**lora)).train()
layers = policy.get_base_model().model.language_model.layers
layer = layers[2].mlp.down_proj
A, B = layer.lora_A.default.weight, layer.lora_B.default.weight

# %% [markdown]
# Written out, it is one line. Compare it with the layer that peft made, at the start and after $B$
# got some numbers. Then look at the gradients of a first step: that of $A$ is zero, since $B$ stands
# before it, and that of $B$ is not. In the second step both move.


# %% tags=["nbval-check-output"]
def by_hand(x):
    """The adapted layer, written out."""
    return layer.base_layer(x) + 32 / 16 * x @ A.T @ B.T


x = torch.randn(4, 384, generator=torch.Generator().manual_seed(0))
layer(x).square().sum().backward()
moved = {name: bool(part.grad.any()) for name, part in (("A", A), ("B", B))}
print(f"a gradient at the start: {moved}")
for moment in ("at the start", "later"):
    same = torch.allclose(layer(x), by_hand(x), atol=1e-5)
    still = torch.equal(layer(x), layer.base_layer(x))
    print(f"{moment}: ours is peft's: {same}; the output is the base's: {still}")
    B.data.fill_(0.01)

# %% [markdown]
# ### Exercise 2: parameters of an adapter
# *easy, 5 minutes*
#
# `shapes` lists the inputs and outputs of every layer that is adapted. Return how many numbers are
# trained at a given rank.
#
# <details><summary>Hint</summary>
#
# The shapes of $A$ and $B$ stand in the equation above. Neither has a bias.
#
# </details>


# %% tags=["exercise"]
def lora_parameters(shapes, rank):
    """Trainable numbers of an adapter."""
    # solution
    return sum(rank * (inputs + outputs) for inputs, outputs in shapes)
    # end solution


# %%
lora_parameters = checks.lora_parameters(lora_parameters)

# %% [markdown]
# Now Qwen2-VL-2B. Its configuration is public, and the *meta device* of PyTorch builds a model from
# it that has every layer and every shape, and not one number. It can be quantized and adapted like
# any other, in seconds, and tells exactly what would be trained. The cell counts the tiny model in
# the same way.


# %% tags=["nbval-check-output"]
def inventory(name, policy):
    """What is stored how, and what is trained."""
    small = in_four_bits(policy)
    trained = sum(w.numel() for w in policy.parameters() if w.requires_grad)
    tower = sum("visual" in layer for layer in small)
    print(f"{name}: {len(small)} layers in 4 bits, {tower} of them in the tower")
    print(f"{name}: {trained:,} numbers are trained")


config = qwen2_vl_2b()
meta = on_meta(config, quantize=True)
total = sum(w.numel() for w in meta.parameters())
with torch.device("meta"):
    adapted = get_peft_model(meta, LoraConfig(**lora))
inventory("tiny", policy)
inventory("2B", adapted)
share = lora_parameters(linear_shapes(config), 16) / total
print(f"2B: {share:.2%} of {total / 1e9:.3f} billion")

# %% [markdown]
# ## 5 What fills the card
#
# Weights, adapters, gradients and the two running means of AdamW are there all the time. Two guests
# come and go. While rollouts are sampled, every token leaves a key and a value in every layer, the
# *KV cache*. While they are scored, the forward pass keeps what the backward pass will need, the
# *activations*.
#
# ### Exercise 3: bytes of a KV cache
# *easy, 5 minutes*
#
# Return the bytes for `tokens` tokens, those of all rollouts together. `kv_heads` heads have
# `head_size` numbers each, of `size` bytes. Qwen2-VL-2B has 12 heads of queries and only 2 of keys
# and values, which is why you are given the latter.
#
# <details><summary>Hint</summary>
#
# A product of five numbers, and a factor that a word in the text above hides.
#
# </details>


# %% tags=["exercise"]
def kv_cache_bytes(layers, kv_heads, head_size, tokens, size=2):
    """Bytes of the keys and values of all tokens."""
    # solution
    return 2 * layers * kv_heads * head_size * tokens * size
    # end solution


# %%
kv_cache_bytes = checks.kv_cache_bytes(kv_cache_bytes)

# %% [markdown]
# A step of the recipe `gpu` asks 8 prompts of about 316 tokens, 196 of them the image at 384 pixels,
# and samples 8 rollouts of 200 tokens for each. In the way of TRL, every rollout reads its prompt
# anew. In ours the rollouts of a prompt share one copy.

# %% tags=["nbval-check-output"]
shared, single = Step(), Step(shared=False)
for name, step in (("shared prompts", shared), ("a prompt each", single)):
    tokens = step.tokens(step.prompts)
    print(
        f"{name}: {tokens} tokens, {kv_cache_bytes(28, 2, 128, tokens) / 1e9:.2f} GB"
    )

# %% [markdown]
# `memory` does such a sum for every term; each is a short function in `medr1_lib/policy/memory.py`
# with its source. The activations are the longest: a layer keeps the input of each norm in float32,
# the input of each adapter, queries, keys, values, and four stages of the feed-forward network. The
# tests compare every term that a CPU can measure, most of them to the byte. What no CPU can measure
# is what CUDA itself takes and wastes, a gigabyte by rule of thumb, and it is not in the table.

# %% tags=["nbval-check-output"]
plans = {"LoRA": memory(config, shared, False), "QLoRA": memory(config, shared)}
table = pd.DataFrame(plans) / 1e9
table.loc["most at one time"] = [peak(terms) / 1e9 for terms in plans.values()]
table.round(2)

# %% [markdown]
# The next cell counts without activations. Training all weights with AdamW in mixed precision takes 16 bytes for each,
# weights, gradients and optimizer together. LoRA takes away nearly all of that. After it, four bits
# save two gigabytes of weights and no more, since a 2B model has no more to save: tower and embedding
# stay as they are. (Activations shrink a little too: without four bits, peft copies the input of each adapter.) The larger the language model, the more there is to save, and that is what QLoRA
# was made for. The largest term here is the activations, although the recipe keeps those of one prompt
# at a time.

# %% tags=["headline", "nbval-check-output"]
print(f"all weights, without activations: {16 * total / 1e9:.1f} GB")
kept = [*table.index[:4], "adapters", "gradients", "AdamW"]
for name, terms in plans.items():
    without, most = table.loc[kept, name].sum(), peak(terms) / 1e9
    print(f"{name}: {without:.1f} GB without activations, {most:.1f} GB with them")
print("all of this is computed; CUDA itself comes on top")

# %% [markdown]
# The bars add two plans. Without sharing, eight copies of a prompt go through the backward pass.
# Checkpointing, TRL's default, keeps only the input of each layer and computes the rest a second
# time; it saves the memory and costs the time of another forward pass.

# %% mystnb={"image": {"alt": "Stacked horizontal bars of gigabytes while rollouts are scored, for four plans. LoRA takes 11.7, of which 4.4 are weights; QLoRA 9.1, of which 2.5 are weights. QLoRA with a prompt each takes 15, just below a line at 16 GB, because its activations double. QLoRA with checkpointing takes 4."}}
plans |= {
    "QLoRA, a prompt each": memory(config, single),
    "QLoRA, checkpointing": memory(config, Step(shared=False, checkpointing=True)),
}
held = pd.DataFrame(plans).T / 1e9
groups = {
    "weights": held.iloc[:, :4].sum(axis=1),
    "adapters and AdamW": held[["adapters", "gradients", "AdamW"]].sum(axis=1),
    "activations": held["scoring: activations"],
    "pixels and logits": held[["pixels", "scoring: logits"]].sum(axis=1),
}
axis = pd.DataFrame(groups)[::-1].plot.barh(stacked=True, figsize=(7, 3), width=0.7)
axis.set(xlabel="GB while rollouts are scored, computed")
axis.axvline(16, color="black", linestyle="--", label="a card of 16 GB")
_ = axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)

# %% [markdown]
# A sum that was proven on a CPU is a prediction for a GPU. `benchmarks/speed/gpu.py` held it against one card: the
# recipe `gpu` on a model of the true size with random weights, images of 384 pixels, prompts of 244 tokens. Before you run the cell,
# guess which of the three sums come out.

# %% tags=["nbval-check-output"]
import json

found = json.loads(tiers.material("recorded/gpu.json").read_text())
gpu = pd.DataFrame(found).T
card = {"computed GB": gpu["expected_bytes"], "measured GB": gpu["peak_bytes"]}
print(gpu["gpu"].iloc[0], gpu["date"].iloc[0])
print((pd.DataFrame(card).astype(float) / 1e9).round(1).to_string())
print(gpu["seconds"].astype(float).round(0).astype(int).to_dict(), "s per step")

# %% [markdown]
# Ours and TRL without checkpointing come out as computed, within a twentieth. With checkpointing the card takes two
# gigabytes more than the sum, part of which may be the vision tower, which is not in it. Ours did not
# come out at first: it took as much as if no prompt were shared. The sum led to the fault: TRL
# shuffles the rollouts of a step over its eight backward passes, which tore the groups apart. `PolicyTrainer` keeps
# them together; a test counts the prompts of each pass, and now the card agrees. The seconds are medians of three
# steps, and rank nobody: TRL took longer without checkpointing, though it computes less.
#
# ## 6 Which loss is it?
#
# Before a training of hours, read what it computes. `formula` writes out the objective that a
# configuration stands for. First TRL's with nothing set: `dapo`, where all tokens of a step weigh the
# same, no penalty, no reference. Then the recipe `gpu`: each rollout weighs the same, and the KL
# penalty is k3 without the ratio of chapter 05, as in Med-R1.

# %% tags=["nbval-check-output"]
from IPython.display import Math, display
from trl import GRPOConfig

from medr1_lib.course.live import live
from medr1_lib.data import phantom_vqa
from medr1_lib.rl.formula import formula
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.train import train

temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(temporary.name)
here = {"use_cpu": True, "bf16": False}
batch = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 8}
chosen = load_recipe("gpu", **here).grpo_config(folder)
display(Math(formula(GRPOConfig(str(folder), **here, **batch))))
display(Math(formula(chosen)))

# %% [markdown]
# ## 7 The same in small, for real
#
# The recipe `course-qlora` is that of chapter 06 with one line more, `quantize: nf4`. It runs here,
# on a CPU: the same classes, the same 4-bit layers, the same trainer, on a few hundred fresh
# phantoms. Two details are taken care of. TRL casts adapters on a quantized
# base to bfloat16, where a small step rounds to none; ours stay in float32. And a dropout in the
# adapter would make the old and the new policy differ by noise, so there is none.

# %%
data = folder / "phantoms"
phantom_vqa.build(data, seed=7, per_cell=2)
paths = {"model": str(TINY), "data": str(data)}
recipe = load_recipe("course-qlora", **paths, max_steps=40)

# %% mystnb={"image": {"alt": "Four panels of a training of 40 steps: reward, accuracy and format reward, KL from the base, and completion length against the step. Reward rises from 1.3 to about 1.55, format to nearly 1, KL to about 0.05, and completions stay between 12 and 13 tokens."}}
if tier.name == "replay":
    print("Nothing is trained at the replay tier; the table below is recorded.")
else:
    run = train(recipe, folder / "run", callbacks=[live()])

# %% tags=["nbval-check-output"]
if tier.name != "replay":
    reward = run.log["reward"]
    print("the reward rose:", reward.tail(10).mean() > reward.head(10).mean())
    tuned, _ = load_policy(run.adapter, "nf4", device="cpu")
    kinds = {w.dtype for name, w in tuned.named_parameters() if "lora_" in name}
    print("stored adapter:", *kinds)

# %% [markdown]
# Forty steps show that it runs and where it goes. The whole run, 150 steps, is recorded, and LoRA on
# the unquantized base beside it: `python -m benchmarks.study.learning` made both, and the files in
# `data/recorded` name the whole command. All runs start from the same base, QLoRA from it in four bits, and all are scored on
# the same held-out questions, with a 95 % interval. Does it cost accuracy to train in four bits?

# %%
runs = []
for name in ("learning", "learning_qlora"):
    found = json.loads(tiers.material(f"recorded/{name}.json").read_text())
    runs += [
        r | dict(zip(("low", "high"), r["interval"], strict=True))
        for r in found["runs"]
    ]
shown = ["style", "recipe", "seed", "accuracy", "low", "high", "n", "minutes"]
runs = pd.DataFrame(runs)[shown].sort_values(shown[:3])
runs = runs[runs["style"] != "think_after"].reset_index(drop=True)
display(runs.round(3))
for style, part in runs.groupby("style"):
    plain = part[part["recipe"] == "course"]["accuracy"]
    small = part[part["recipe"] == "course-qlora"]["accuracy"].item()
    inside = plain.min() <= small <= plain.max()
    print(f"{style}: QLoRA among the seeds of LoRA:", "yes" if inside else "no")

# %% [markdown]
# In `no_think` the one run of QLoRA lies among the three seeds of LoRA, in `think_before` above all of them,
# with an interval that holds the best. So no loss is shown, and one of a few points is not excluded: that
# would take more seeds. The paper on QLoRA reports no loss for large models either. A table with one row each
# could not have told.
#
# ## 8 The same in large
#
# The last cell is the previous training with another recipe. It needs the gpu tier and a directory
# with the model. Elsewhere it prints what you would type. Without the real weights at hand,
# `tools.fake_2b` writes a checkpoint of the true size with random ones, 4.4 GB of them, to try out memory
# and time; such a model answers nothing, so the training has to be forced. On a GPU the cell prints the
# peak beside the computed one, for phantoms of 16 tokens.

# %%
import gc

if tier.name == "gpu":
    large = load_recipe(
        "gpu", model=str(tier.model_path), data=str(data), max_steps=2
    )
    torch.cuda.reset_peak_memory_stats()
    train(large, folder / "large", force=True, callbacks=[live()])
    print(f"peak: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB;", end=" ")
    print(f"computed: {peak(memory(config, Step(image=16))) / 1e9:.1f} GB")
else:
    print("python -m medr1_lib data build --out _output/phantoms")
    print("python -m tools.fake_2b --out models/fake-qwen2-vl-2b")
    print("python -m medr1_lib train grpo --recipe gpu --out _output/large \\")
    print("    --model models/fake-qwen2-vl-2b --data _output/phantoms --force")
gc.collect()  # closes the data set's file, which Windows would not delete
temporary.cleanup()

# %% [markdown]
# ## What you saw
#
# - NF4 is a table of sixteen quantiles and a scale for every 64 weights. Your version and that of
#   bitsandbytes agree, number by number.
# - Without blocks, one outlier ruins a matrix. With double quantization a weight takes 4.127 bits.
# - A name in a list of exceptions can match nothing and say nothing. Count after loading.
# - LoRA starts exactly at the base, trains less than a hundredth of a 2B model, and makes the
#   reference model of GRPO free.
# - On a 2B model, activations and not weights fill the card. A shared prompt or checkpointing helps
#   more there than four bits do. Measure such a sum where it has to hold: here that found a fault.
#
# ## Where to go next
#
# Chapter 10 compares GRPO with supervised fine-tuning. To go deeper: T. Dettmers et al.,
# *QLoRA* (arXiv 2305.14314); E. Hu et al., *LoRA* (arXiv 2106.09685); V. Korthikanti et al.,
# *Reducing Activation Recomputation in Large Transformer Models* (arXiv 2205.05198), for the way
# activations are counted. To play: change `config` to the sizes of another model and look at the table
# again, or give `Step` an image of 1,000 tokens.
