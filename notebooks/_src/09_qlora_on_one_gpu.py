# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 9 QLoRA on one GPU
#
# ## What you will do
#
# You will store weights in four bits, and train two small matrices beside them. The stored weights do not
# change. You will compute how much memory and time a training of Qwen2-VL-2B needs on one graphics card,
# before you rent one. Then you run a small version of the same training on this machine.
#
# ## What you will learn
#
# After this chapter you can
#
# - quantize a matrix to NF4 by hand, and say why its sixteen values lie where they lie,
# - check which layers of a model are in four bits, and notice a setting that does nothing,
# - write LoRA as one line, count its parameters, and explain why training starts exactly at the base,
# - say what fills the memory of a card, what takes the time of a step, and whether a change saves memory or
#   time,
# - compute whether a training of Qwen2-VL-2B fits your card, and what it costs.
#
# ## What you will need
#
# Chapters 05 (the loss) and 06 (training). You need no GPU. At the gpu tier, a cell of section 7 uses one. At every
# tier we look into the tiny model of the course. A gigabyte here is $10^9$ bytes.

# %%
import gc
import json
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
from transformers import BitsAndBytesConfig, Qwen2VLForConditionalGeneration

from medr1_lib.course.chapters.chapter_09 import TAIL
from medr1_lib.course.sketch import sketch
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw
from medr1_lib.model.loading import load_policy
from medr1_lib.model.memory import Step, linear_shapes, lora_parameters
from medr1_lib.model.memory import memory, on_meta, peak, qwen2_vl_2b
from medr1_lib.rl.recipe import LANGUAGE_LINEAR

warnings.filterwarnings("ignore", category=FutureWarning)
sns.set_theme(style="white", palette="colorblind")
plt.rcParams["figure.dpi"] = 72

# %% [markdown]
# ## 1 A weight in four bits
#
# With four bits you can number sixteen values. If each weight may have only one of sixteen values, which
# values are best? Look at the weights first. The matrix below is in the feed-forward network of the third
# layer of the tiny model. As in most trained networks, its weights lie around zero, and their histogram is
# close to a normal distribution.

# %% tags=["nbval-check-output"]
TINY = tiers.material("tiny-qwen2-vl")
model, processor = load_policy(TINY, device="cpu")
matrix = model.model.language_model.layers[2].mlp.down_proj.weight.detach()
within = (matrix.abs() < matrix.std()).float().mean()
print(f"{matrix.shape[0]} x {matrix.shape[1]} weights")
print(f"within one standard deviation: {within:.0%}; if normal, 68%")

# %% [markdown]
# A value that few weights use is wasted. So about the same number of weights should use each of the sixteen
# values. Quantiles do this: cut the normal distribution into slices of equal probability, and take one value
# for each slice. NF4, short for 4-bit NormalFloat, takes seven values below zero, eight above zero, and zero
# itself. So a weight of zero stays zero. Then it divides all values by the largest, so that they go from -1
# to 1. The outermost quantile of a normal distribution is infinite, so the published code uses the constant
# `TAIL` instead.


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
# The weights themselves do not lie between -1 and 1. So 64 weights in a row form a *block*. A block has one
# *scale*: the largest absolute value in it. Every weight is divided by the scale of its block. Then it is
# replaced by the nearest of the sixteen values. The figure shows all weights of the matrix after this
# division, the sixteen values of NF4, and fifteen evenly spaced values. (Sixteen even values do not contain zero.
# Section 2 tries them too.) The values of NF4 are dense where the weights are dense.

# %% mystnb={"image": {"alt": "Histogram of the weights of one matrix, each divided by the largest of its block of 64, from -1 to 1: a bell around zero with two thin bars at the ends. Below it two rows of ticks. Those of NF4 are dense around zero and far apart at the ends; the even ones ignore the bell."}}
even = torch.arange(-7, 8) / 7
blocks = matrix.view(-1, 64)
divided = blocks / blocks.abs().amax(1, keepdim=True)
_, axis = plt.subplots(figsize=(7, 3))
axis.hist(divided.flatten(), bins=101, color="0.75")
top = axis.get_ylim()[1]
for grid, height, name in ((levels(), -0.08, "NF4"), (even, -0.2, "even")):
    axis.plot(grid, [height * top] * len(grid), "|", ms=12, mew=2, label=name)
axis.set(xlabel="weight / largest of its block", yticks=[0, 1000, 2000])
axis.set_ylabel(f"weights (n = {matrix.numel()})")
_ = axis.legend(title="values", loc="upper right", frameon=False)

# %% [markdown]
# ### Exercise 1: quantize blocks
# *medium, 15 minutes*
#
# `blocks` has one block in each row. Return two tensors: for every weight the number, 0 to 15, of the
# nearest of `levels()` after the division; and the scales, one for each row, shape `(rows, 1)`. These
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
# The library bitsandbytes does this for real models. It packs two numbers into one byte. The next cell
# unpacks them: they should be your numbers, and the restored weights should be equal too. The second half of
# the cell counts the stored bits. A scale in float32 costs half a bit for each of its 64 weights. *Double
# quantization* stores the scales themselves in eight bits.

# %% tags=["headline", "nbval-check-output"]
codes, scales = quantize_blocks(blocks)
back = (levels()[codes] * scales).view_as(matrix)
packed, state = functional.quantize_4bit(matrix, quant_type="nf4")
theirs = torch.stack([packed >> 4, packed & 15], -1).view_as(codes)
same = torch.allclose(back, functional.dequantize_4bit(packed, state), atol=1e-6)
print(f"same numbers: {(codes == theirs).float().mean():.2%}; same weights: {same}")
double = {"quant_type": "nf4", "compress_statistics": True}
packed, state = functional.quantize_4bit(matrix, **double)
stored = packed.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
print(f"bits a weight, scales in float32: {4 + 32 / 64:.3f}")
print(f"bits a weight, double quantization: {8 * stored / matrix.numel():.3f}")

# %% [markdown]
# ## 2 What four bits cost
#
# `rounded` does the same with any set of values and any size of a block, so that you can compare. The error
# is the length of the difference vector, divided by the length of the vector of weights. In large models, a
# few weights are often many times larger than the rest. Such a weight is called an *outlier*. The last two
# rows of the table have one outlier in the first place of the matrix. `error` measures all other weights.


# %% tags=["nbval-check-output"]
def rounded(weights, size, grid):
    """Weights rounded to a grid of values, with a scale for every `size` of them."""
    parts = weights.reshape(-1, size)
    scales = parts.abs().amax(1, keepdim=True)
    nearest = ((parts / scales)[..., None] - grid).abs().argmin(-1)
    return (grid[nearest] * scales).view_as(weights)


def error(weights, size, grid):
    """Relative error of all weights but the first."""
    wrong = rounded(weights, size, grid) - weights
    return float(wrong.flatten()[1:].norm() / weights.flatten()[1:].norm())


spoiled = matrix.clone()
spoiled[0, 0] = 2.0
grids = {"NF4": levels(), "15 even": even, "16 even": torch.linspace(-1, 1, 16)}
rows = {
    (name, f"a scale for {size}"): [error(w, size, g) for g in grids.values()]
    for name, w in (("the matrix", matrix), ("with one outlier", spoiled))
    for size in (64, matrix.numel())
}
pd.DataFrame(rows, list(grids)).T.map("{:.1%}".format)

# %% [markdown]
# With a scale for each block, the error of NF4 is about nine percent, and that of even values a little more. A part of
# this difference is the sixteenth value, the rest is where the values lie. With one scale for the whole matrix all are
# worse, because few weights come near the largest one. The
# outlier ruins all weights that share its scale. With blocks these are 63 weights. Without blocks it is the
# whole matrix. So four bits work only with blocks. The last column shows why NF4 contains zero: without it, a weight
# near zero becomes a fifteenth of the scale, and beside an outlier that is more than the weight itself.
#
# ## 3 What is quantized, and what is not
#
# Only the linear layers of the language model are stored in four bits. The vision tower is about a third of
# Qwen2-VL-2B, and every image passes through it. Rounding it would save about a gigabyte, and every image
# feature would become less exact. The embedding and the head share their weights, and they stay in bf16 too.
# The figure shows how each part is stored, and where the gradient goes: back through the frozen layers, into
# the adapters.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Five boxes from left to right: image; vision tower, bf16, frozen; language layers, NF4, frozen; head, bf16, frozen; loss. Below them, from right to left, the way of the gradient: from the loss back through the head, back through the layers, to the adapters, float32, trained. An arrow leads from the adapters to the language layers: added."}}
_ = sketch(
    {
        "image": (0, 0, "image"),
        "tower": (1, 0, "vision tower\nbf16, frozen"),
        "layers": (2.2, 0, "language layers\nNF4 in blocks of 64\nfrozen"),
        "head": (3.4, 0, "head\nbf16, frozen"),
        "loss": (4.4, 0, "loss"),
        "back": (3.7, -1, "gradient, back\nthrough the head"),
        "down": (2.5, -1, "gradient, back\nthrough the layers"),
        "lora": (1.2, -1, "adapters A and B\nfloat32, trained"),
    },
    [
        ("image", "tower", ""),
        ("tower", "layers", ""),
        ("layers", "head", ""),
        ("head", "loss", ""),
        ("lora", "layers", "added"),
        ("loss", "back", ""),
        ("back", "down", ""),
        ("down", "lora", ""),
    ],
    tints={"layers": "blue", "lora": "orange"},
    size=(9, 3.4),
)

# %% [markdown]
# In transformers you name the modules that should not be quantized.


# %%
def loaded(skip):
    """The tiny model in NF4, except for the modules to skip."""
    nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    settings = BitsAndBytesConfig(**nf4, llm_int8_skip_modules=skip)
    how = {"dtype": torch.float32, "device_map": {"": "cpu"}}
    kind = Qwen2VLForConditionalGeneration
    return kind.from_pretrained(TINY, quantization_config=settings, **how)


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
# Many examples use the names in the second line below, `visual` and `lm_head`. Load the model with no names,
# with these names, and with a longer name for the tower. Then count the layers in four bits.

# %% tags=["nbval-check-output"]
skips = (None, ["visual", "lm_head"], ["model.visual", "lm_head"])
variants = {str(skip): loaded(skip) for skip in skips}
for skip, variant in variants.items():
    names = in_four_bits(variant)
    tower = sum("visual" in name for name in names)
    print(f"skip {skip}: {len(names)} layers in 4 bits, {tower} in the tower")

# %% [markdown]
# The second line equals the first, so the name `visual` does nothing. You get no error and no warning, and
# the model answers. Since version 5, transformers compares a name with the full path of a module. The path
# has to begin with the name (read as a regular expression), or to end with it. The paths of the tower begin
# with `model.visual` and end with the name of a layer, so `visual` does not match.
#
# The next cell shows the effect on the features of one image. `load_policy` uses the third setting and counts
# afterwards. If one layer is on the wrong side, it stops.

# %% tags=["nbval-check-output"]
scene = next(questions("test", per_cell=1)).scene
image = processor.image_processor(draw(scene), return_tensors="pt")
for skip, variant in variants.items():
    change = (features(variant) - features(model)).norm() / features(model).norm()
    print(f"skip {skip}: features of one image change by {change:.0%}")

# %% [markdown]
# ## 4 LoRA: train beside the weights
#
# A weight in four bits cannot be trained in small steps. It has sixteen possible values, and one step of an
# optimizer is far smaller than the distance between two of them. LoRA leaves the stored matrix $W$ as it is
# and adds the product of two thin matrices,
#
# $$ y = W x + \frac{\alpha}{r}\, B A\, x, \qquad A \in \mathbb{R}^{r \times \text{in}},\
# B \in \mathbb{R}^{\text{out} \times r}. $$
#
# Only $A$ and $B$ are trained, in float32. $A$ starts at random and $B$ at zero, so at the start the adapted
# model answers exactly as its base does. This also helps GRPO with a KL penalty: the reference model of
# chapter 05 is the same model with its adapters switched off. So it takes no extra memory.

# %%
lora = {"r": 16, "lora_alpha": 32, "target_modules": LANGUAGE_LINEAR}
base, _ = load_policy(TINY, "nf4", device="cpu")
policy = get_peft_model(base, LoraConfig(**lora)).train()
layers = policy.get_base_model().model.language_model.layers
layer = layers[2].mlp.down_proj
A, B = layer.lora_A.default.weight, layer.lora_B.default.weight

# %% [markdown]
# In code, LoRA is one line. The next cell compares this line with the layer that peft made: at the start, and
# after $B$ got some numbers. It also prints the gradients of a first step. The gradient of $A$ is zero,
# because it contains $B$ as a factor, and $B$ is zero. The gradient of $B$ is not zero. So only $B$ moves in
# the first step, and from the second step on both move.


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
# By the shapes of $A$ and $B$, an adapter trains $r$ numbers for each input and each output of its layer.
# `lora_parameters` counts them for Qwen2-VL-2B. On the
# *meta device* of PyTorch, a model has all layers and shapes but no numbers, so it fits into any laptop.

# %% tags=["nbval-check-output"]
config = qwen2_vl_2b()
total = sum(weight.numel() for weight in on_meta(config).parameters())
trained = lora_parameters(linear_shapes(config), 16)
print(f"{total / 1e9:.3f} billion weights, {trained:,} numbers are trained")
print(f"share: {trained / total:.2%}")

# %% [markdown]
# ## 5 What fills the card
#
# Weights, adapters, their gradients and the two running means of AdamW are in memory all the time. Two other
# parts are there only for a time. During sampling, every token leaves a key and a value in every layer: the
# *KV cache*. During scoring, the forward pass keeps what the backward pass needs: the *activations*.
#
# ### Exercise 2: the KV cache
# *medium, 15 minutes*
#
# In every layer, a token leaves one key and one value for each of `kv_heads` heads. A key has `head_size` numbers, a value
# too, and a number has `size` bytes. Return the bytes that `tokens` tokens leave in all `layers` layers.
#
# **Predict first**, on paper: Qwen2-VL-2B has 28 layers and 2 such heads of 128 numbers in bfloat16. How many gigabytes do
# 64 rollouts of 516 tokens take? Six of its 12 query heads share one of these heads. How many would it be if none
# shared?
#
# <details><summary>Hint</summary>
#
# Count the numbers that one token leaves in one layer first.
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

# %% tags=["nbval-check-output"]
for heads in (2, 12):
    cache = kv_cache_bytes(28, heads, 128, tokens=64 * 516) / 1e9
    print(f"KV cache with {heads} heads: {cache:.2f} GB")

# %% [markdown]
# `memory` adds up all terms for one step of the recipe `gpu`: 8 prompts of about 316 tokens, 196 of them from
# the image at 384 pixels, and 8 rollouts of 200 tokens each. Its parts are short functions in
# `medr1_lib/model/memory.py`, each with its source. Tests check every term that a CPU can
# measure. A term of `sampling` or `scoring` is there only in that part of a step. The others are there all the time. The
# cache is one of them, because its place in memory is kept for the next step (section 6). Before you run the cell, guess: which term is the
# largest?

# %% tags=["headline", "nbval-check-output"]
shared = Step()
plans = {"LoRA": memory(config, shared, False), "QLoRA": memory(config, shared)}
table = pd.DataFrame(plans) / 1e9
table.loc["most at one time"] = [peak(terms) / 1e9 for terms in plans.values()]
print(f"all weights, AdamW, without activations: {16 * total / 1e9:.1f} GB")
print(table.round(2).to_string())

# %% [markdown]
# To train all weights in mixed precision takes 16 bytes for each weight: for the weight itself, its gradient
# and the optimizer. LoRA saves most of that, because only the adapters have gradients. Four bits then save
# 2.6 GB more: 1.9 of the weights, and 0.7 of the activations, because without four bits peft keeps copies of what goes into
# the adapters. The activations are the largest term, although the recipe keeps those of one
# prompt at a time.
#
# The next cell shows two ways to change them. In TRL, every rollout goes through the backward pass with its
# own copy of the prompt. *Activation checkpointing* keeps only the input of each layer, and computes the rest
# a second time. So it needs less memory and more time. The sum leaves out some parts, see below. With
# checkpointing the other terms are small, so what is left out weighs more there: take that line as a lower
# bound.

# %% tags=["nbval-check-output"]
alone, again = Step(shared=False), Step(checkpointing=True)
for name, step in (("a prompt each", alone), ("checkpointing", again)):
    print(f"QLoRA, {name}: {peak(memory(config, step)) / 1e9:.1f} GB")

# %% [markdown]
# These numbers are computed. `benchmarks/speed/gpu.py` measured some of them on a card, with the recipe
# `gpu`, a model of the true size with random weights, and prompts of 244 tokens. CUDA itself takes about one
# gigabyte more. The row `ours` was measured with an older version of our code, which kept a copy of the
# prompt's keys for each rollout. The code of today has not been run on a GPU yet. Look at the last column: in
# which row does the computed number fall short?

# %% tags=["nbval-check-output"]
gpu = pd.DataFrame(json.loads(tiers.material("recorded/gpu.json").read_text())).T
card = gpu[["expected_bytes", "peak_bytes"]].astype(float) / 1e9
card["missing"] = card["peak_bytes"] - card["expected_bytes"]
print(gpu["gpu"].iloc[0], gpu["date"].iloc[0])
print(card.round(1).set_axis(["computed GB", "measured GB", "missing GB"], axis=1))
print(gpu["seconds"].astype(float).round().to_dict(), "s per step")

# %% [markdown]
# In the row `TRL`, with checkpointing, the sum falls clearly short. It leaves out what CUDA itself takes, what
# the allocator cannot use, a matrix that is being unpacked from four bits, the work of the vision tower, and
# tensors that only pass through a layer. We do not know which of these makes the difference. So do not plan a
# 6 GB card by the line with checkpointing above.
#
# ## 6 Where the seconds go
#
# A step took half a minute. By the data sheet of the card, the same arithmetic should take about half a
# second: 64 rollouts of 444 tokens, 1.5 billion weights that each token passes, two operations for each weight and about five
# passes make $4 \cdot 10^{14}$ operations, and the card does $10^{15}$ in a second. Most of the rest of the time, the card waits
# for Python. The next cell counts the operations for one token,
# in the tiny model in four bits with its adapters. Each operation is a call from Python. On a GPU it starts
# one or more *kernels*, programs that run for a few microseconds. Qwen2-VL-2B has 28 layers.


# %%
from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Counts what torch is asked for."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), more=None):
        self.count += 1
        return function(*args, **(more or {}))


with torch.no_grad(), Operations() as asked_for:
    policy(input_ids=torch.tensor([[9]]))
calls = asked_for.count
print(f"{calls} operations for one token, {calls // len(layers)} a layer")
large = 28 * calls // len(layers)
print(f"28 layers: about {large:,}, for each of 200 tokens")
waits = [large * 200 * start / 1e6 for start in (10, 25)]  # microseconds a start
print("200 tokens at 10 and 25 microseconds:", *(f"{s:.0f} s" for s in waits))

# %% [markdown]
# A desktop computer starts an operation from Python in about 10 microseconds, a rented virtual machine in
# about 25. The last line says what this makes for 200 tokens. It is the same for one rollout as for sixty-four.
# This is not the whole half minute: scoring starts operations too.
# In such a step, the amount of arithmetic hardly matters. Three changes save time, and none of them changes the
# policy:
#
# - **Read once.** An image is encoded once, a prompt once for its whole group.
# - **Record.** A decoding step is recorded once as a *CUDA graph*, with all its kernels, and played again for
#   each token: one start instead of thousands. The recording reads the adapters from their place in memory,
#   so it uses the weights of the last update. The token is drawn outside of it. (`medr1_lib/rl/graph.py`)
# - **Pack.** To score rollouts, a prompt and its completions go through the model in one row, in one
#   pass.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Boxes from left to right: image; features, cached; prompt, read once for 8 rollouts; recorded step, played once a token; 8 completions; one packed row: log-probabilities and gradient. Arrows lead from each to the next; the features, the prompt and the recorded step are tinted as what is kept."}}
_ = sketch(
    {
        "image": (0, 0, "image"),
        "features": (1, 0, "features\nkept"),
        "prompt": (2, 0, "prompt's keys\nread once"),
        "step": (3.1, 0, "recorded step\nplayed once a token"),
        "group": (4.3, 0, "8 completions"),
        "row": (4.3, -1, "one packed row:\nlog-probabilities, gradient"),
    },
    [
        ("image", "features", "tower"),
        ("features", "prompt", ""),
        ("prompt", "step", ""),
        ("step", "group", "draw"),
        ("group", "row", "score"),
    ],
    tints={"features": "green", "prompt": "green", "step": "green"},
    size=(10, 3),
)

# %% [markdown]
# ### Exercise 3: pack a row
# *hard, 40 minutes*
#
# A row begins with a prompt of `length` tokens, without its last token. After it come `count` completions.
# Each takes `steps` places: a copy of the prompt's last token, and then its own tokens except the last one.
# So the output at each of these places predicts the next token of the completion. Return two tensors:
#
# - `visible`, bool, (tokens, tokens): in row `i`, which tokens token `i` may look at. A token sees
#   itself and what comes before it, but never another completion.
# - `positions`, (tokens,): where each token would stand if its completion were the only one. The
#   prompt starts at 0.
#
# First draw the case of a prompt with 3 tokens and two completions with 2 tokens each on paper.
#
# <details><summary>Hint</summary>
#
# Give each token an owner, -1 for the prompt and the number of its completion for the others. Two
# comparisons of owners, `owner == owner[:, None]` and `owner == -1`, and a `tril` give `visible`.
#
# </details>


# %% tags=["exercise"]
def packed_row(length, count, steps):
    """Who sees whom in a packed row, (tokens, tokens), and the positions, (tokens,)."""
    # solution
    place = torch.arange(1 - length, count * steps)  # the prompt is below 0
    owner = torch.where(place < 0, -1, place // steps)
    visible = ((owner == -1) | (owner == owner[:, None])).tril()
    return visible, length - 1 + torch.where(place < 0, place, place % steps)
    # end solution


# %%
packed_row = checks.packed_row(packed_row)

# %% [markdown]
# If the row is right, the logits are the same as without packing. Score three random completions of one
# random prompt in one row, with your mask and positions, and then one by one. The library does the same with
# images, padding and several prompts (`packed_inputs`), and a test holds its loss and gradient against TRL's.

# %% tags=["nbval-check-output"]
prompt, replies = torch.randint(20, 400, (1, 12)), torch.randint(20, 400, (3, 5))
own = torch.cat([prompt[:, -1:].expand(3, 1), replies[:, :-1]], 1)
visible, positions = packed_row(12, 3, 5)
with torch.no_grad():
    packed = model(
        input_ids=torch.cat([prompt[:, :-1], own.view(1, -1)], 1),
        attention_mask=visible[None, None],
        position_ids=positions.expand(3, 1, -1),
    ).logits[0, 11:]
    rows = torch.cat([prompt.expand(3, -1), replies], 1)
    apart = model(input_ids=rows).logits[:, 11:-1]
print("the same logits:", torch.allclose(packed.view_as(apart), apart, atol=1e-4))

# %% [markdown]
# ## 7 The same in small, for real
#
# The recipe `course-qlora` is that of chapter 06 with one more line, `quantize: nf4`. It runs here on a CPU,
# with the same classes, the same 4-bit layers and the same trainer. Two details matter. First, TRL casts
# adapters on a quantized base to bfloat16, and there a small step can be lost by rounding, as the first line of the output
# shows. Ours stay in float32. (You lose updates in the same way if you *merge* an adapter early: add
# $\frac{\alpha}{r} B A$ to weights in bfloat16.) Second, our adapters have no dropout. With dropout, the policy that is
# scored would differ by noise from the policy that sampled, and from the reference. At the gpu tier, two steps of
# the recipe `gpu` follow, with your model. Compare their peak with section 5.

# %%
from medr1_lib.course.live import live
from medr1_lib.data import phantom_vqa
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.train import train

weight = torch.tensor(0.02, dtype=torch.bfloat16)
gap = torch.nextafter(weight, torch.ones_like(weight)) - weight
print(f"spacing near 0.02: {gap:.5f}; 0.00001 is lost: {weight + 1e-5 == weight}")
temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(temporary.name)
data = folder / "phantoms"
phantom_vqa.build(data, seed=7, per_cell=2)
paths = {"model": str(TINY), "data": str(data)}
recipe = load_recipe("course-qlora", **paths, max_steps=30)

# %% mystnb={"image": {"alt": "Live panels of a training of 30 steps, each against the step: reward, its two parts, KL from the base, length of completions and others. The form stays near its maximum; the rest of the reward is noisy."}}
if tier.name == "replay":
    print("Nothing is trained at the replay tier.")
else:
    out = Path(tempfile.mkdtemp(dir=folder))  # a new one each time the cell runs
    run = train(recipe, out, callbacks=[live()])
if tier.name == "gpu":  # the recipe of section 5 on your card
    torch.cuda.reset_peak_memory_stats()
    large = load_recipe(
        "gpu", **paths | {"model": str(tier.model_path)}, max_steps=2
    )
    out = Path(tempfile.mkdtemp(dir=folder))
    train(large, out, force=True, callbacks=[live()])
    print(f"peak: {torch.cuda.max_memory_allocated() / 1e9:.1f} GB")

# %% tags=["nbval-check-output"]
if tier.name != "replay":
    reward = run.log["reward"]
    print("the reward rose:", reward.tail(10).mean() > reward.head(10).mean())
    tuned, _ = load_policy(run.adapter, "nf4", device="cpu")
    kinds = {w.dtype for name, w in tuned.named_parameters() if "lora_" in name}
    print("stored adapter:", *kinds)

# %% [markdown]
# Thirty steps show that the training runs. They do not show whether training in four bits costs accuracy. To
# find out, you need whole runs of both recipes, several seeds of each, and the same test questions for all of
# them. Chapter 10 shows how to compare such runs. The paper on QLoRA reports no loss for large models.
#
# ## 8 On your own card
#
# How long does it take, and what does it cost? The next cell counts everything in steps of the recipe `gpu`,
# and multiplies by the seconds of a step: those of the H200 with the older version, and five. We *expect*
# five with the recorded step and the packed row, but nobody has measured it yet. Scoring 64 questions, with
# completions of up to 256 tokens, is counted as 1.28 steps, since a step samples 64 completions of 200. One
# image in five of OmniMedVQA is for testing, with about 17,800 questions. The last two rows are rough: an
# epoch of Med-R1's own settings, and the plan of chapter 12. Write the price of an hour of your card into
# `PRICE`.

# %% tags=["nbval-check-output"]
PRICE = 1.0  # of an hour: of rent, or of electricity
scored = 256 / 200 / 64  # steps for a question
steps = {
    "score the base on 200 questions": 200 * scored,
    "train 300 steps": 300,
    "score the adapter on 17,800 questions": 17_800 * scored,
    "the three together": 18_000 * scored + 300,
    "an epoch of med-r1": 17_800,
    "gpu.yaml: 52 trainings, 61 scores": 52 * 300 + 61 * 17_800 * scored,
}
measured = gpu["seconds"]["ours"]
for name, seconds in (("at the older speed", measured), ("expected today", 5)):
    print(f"{name}, {seconds:.1f} s per step")
    for what, count in steps.items():
        hours = count * seconds / 3600
        print(f"{hours:7.1f} hours, price {PRICE * hours:6.1f}: {what}")
gc.collect()  # closes the data set's file, which Windows would not delete
temporary.cleanup()


# %% [markdown]
# These are the commands for your card. Run them in the folder of the course, after `source .venv/bin/activate`
# (on Windows `.venv\Scripts\activate`). `book/one_gpu.md` says more about each, and what to change for other
# cards. Nobody has run them on such a card yet.
#
# ```bash
# python -m medr1_lib doctor
# hf download Qwen/Qwen2-VL-2B-Instruct --local-dir models/Qwen2-VL-2B-Instruct
# hf download foreverbeliever/OmniMedVQA OmniMedVQA.zip --repo-type dataset --local-dir .
# python -m medr1_lib data import --root OmniMedVQA.zip --out _output/omni
# python -m medr1_lib evaluate --model models/Qwen2-VL-2B-Instruct --quantize nf4 --data _output/omni \
#     --style think_before --limit 200 --out _output/base
# python -m medr1_lib train grpo --recipe gpu --out _output/gpu
# python -m medr1_lib evaluate --model _output/gpu/adapter --data _output/omni --style think_before --out _output/test
# ```
#
# `doctor` checks driver and card. The first `evaluate` scores the base *before* any training. If the base
# hardly keeps the form, the recipe uses the published rewards instead, which also pay for a letter without
# tags. A card of 12 GB takes `--activation_checkpointing true`, a T4 `--recipe gpu-t4`. To try memory and time
# without a download, use random weights of the true size (`tools.fake_2b`), and add `--force` to `train`.
# `benchmarks.speed.gpu` measures a step on your card.
#
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# You store the language layers of a 2B model in four bits instead of bf16. What happens to the time of a step that waits for Python?
#
# <details><summary>A. It falls to a quarter, since a quarter of the bytes is read</summary>
#
# Wrong. The card was not busy reading weights: it was waiting for the next operation.
#
# </details>
# <details><summary>B. It rises a little: unpacking the weights adds operations</summary>
#
# Right. Four bits save memory, but each unpacking is one more operation to start.
#
# </details>
# <details><summary>C. It stays the same to the microsecond</summary>
#
# Wrong. A 4-bit layer is more than one product: its weights are unpacked first.
#
# </details>
#
# ### Question 2
# An adapter is merged into weights in bfloat16 after ten steps, to make sampling faster. What can go wrong?
#
# <details><summary>A. Updates below the spacing of bfloat16 are lost, so the rollouts can come from the base</summary>
#
# Right. Near 0.02 two numbers in bfloat16 are 0.0001 apart, and an update below half of that is rounded away (section 7).
#
# </details>
# <details><summary>B. Nothing: addition is exact if both numbers are small</summary>
#
# Wrong. The sum is rounded to the spacing of the weight, however small the update is.
#
# </details>
# <details><summary>C. The optimizer loses its running means</summary>
#
# Wrong. They belong to the adapter, which is kept; only the copy for sampling is merged.
#
# </details>
#
# ### Question 3
# A list of modules to skip holds a name that matches nothing. How do you find out?
#
# <details><summary>A. The library raises an error when it loads the model</summary>
#
# Wrong. In section 3 nothing was raised, and nothing was printed.
#
# </details>
# <details><summary>B. The model answers in nonsense</summary>
#
# Wrong. It still answers. Only the features of its images are less exact.
#
# </details>
# <details><summary>C. Count the layers in four bits after loading</summary>
#
# Right. `load_policy` does, and stops if one layer is on the wrong side.
#
# </details>
#
# ## What you saw
#
# - NF4 is a table of sixteen quantiles and a scale for every 64 weights. Your version and that of
#   bitsandbytes agree, number by number.
# - Without blocks, one outlier spoils a matrix.
# - A name in a list of exceptions can match nothing, and you get no warning. Count the layers after loading.
# - LoRA starts exactly at the base and trains less than a hundredth of the weights of a 2B model. The
#   reference model of GRPO then needs no extra memory.
# - With a 2B model, activations take more memory than weights, and starting operations takes more time than
#   arithmetic. So a shared prompt and a recorded step should help more than four bits do.
#
# ## Where to go next
#
# Chapter 10 compares GRPO with supervised fine-tuning. To go deeper: T. Dettmers et al.,
# *QLoRA* (arXiv 2305.14314); E. Hu et al., *LoRA* (arXiv 2106.09685); V. Korthikanti et al.,
# *Reducing Activation Recomputation in Large Transformer Models* (arXiv 2205.05198), for the way
# activations are counted. To play: change `config` to the sizes of another model and look at the table
# again, or give `Step` an image of 1,000 tokens.
