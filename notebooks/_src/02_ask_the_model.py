# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 2 Ask the model
#
# ## What you will do
#
# Load a small vision-language model, look at what it is really sent, ask it questions in three
# reasoning styles, and measure its answers with the ruler of all later chapters. Then find out
# whether it looks at the picture, what it knows but does not say, and how sure it is.
#
# ## What you will learn
#
# After this chapter you can
#
# - count the tokens that a picture becomes, and read a prompt with its special tokens,
# - read a letter out of a completion, and show how a poor reader ruins a score,
# - report accuracy and form with intervals, by modality and by question type,
# - use three controls to tell a model that looks from one that guesses,
# - measure the gap between what a model knows and what it answers,
# - estimate pass@k without bias, and say why a high pass@8 proves nothing by itself.
#
# ## What you will need
#
# Chapters 00 (intervals) and 01 (phantoms). Some idea of a language model: it turns tokens into
# probabilities of the next token. Nothing is trained here, so the replay tier asks a model as well.
# The small tiers ask the tiny Qwen2-VL in `data/tiny-qwen2-vl`. Set the variable `MEDR1_MODEL` to a
# directory to ask another one; the gpu tier needs that, with a directory of Qwen2-VL-2B.

# %%
import re
import tempfile
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib import pyplot as plt
from PIL import Image
from skimage import data as samples

from medr1_lib.course import checks, tiers
from medr1_lib.course.widgets import AnswerViewer
from medr1_lib.data import images, phantom_vqa
from medr1_lib.analysis.stats import wilson
from medr1_lib.data.phantoms import PLACES, draw
from medr1_lib.data.question import CONTROLS, LETTERS, MODALITIES, QUESTION_TYPES
from medr1_lib.data.styles import STYLES, listed, prompt, read, read_strict
from medr1_lib.model.loading import load_policy
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.evaluation.ask import Asker
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.analysis.stats import summary, summary_table

tier = tiers.start(2)
sns.set_theme(style="white", palette="colorblind", rc={"figure.dpi": 72})
pd.set_option("display.max_colwidth", None)
model, processor = load_policy(tier.model_path, tier.quantize)
cache = VisionCache(model)
millions = model.num_parameters() / 1e6
print(f"{type(model).__name__}, {millions:.2f} million parameters")

# %% [markdown]
# The tiny model is no imitation. It is the class that Hugging Face loads for Qwen2-VL, with a vision
# tower, a language model and the same processor, only narrower and with fewer layers. Its images
# were phantoms alone: it was taught to see, then to look up letters in a text, to describe, and to answer a
# little. Some attention heads were set by hand, to save hours. Its model card,
# `data/tiny-qwen2-vl/README.md`, tells which and how. The cache encodes each picture once, however often we ask
# about it; the answers stay the same.
#
# ## 1 What a processor makes of a picture
#
# A language model reads tokens, so a picture has to become some. The processor cuts it into patches
# of 14 x 14 pixels. The vision tower gives every patch a vector and lets each look at all others;
# then it merges squares of 2 x 2 patches into one token each. Everything that the language model
# will ever know about the picture is in these few vectors. How large is the lesion beside a token?

# %% mystnb={"image": {"alt": "One phantom twice, in the style of a green fundus photograph with dark vessels and a small dark dot at the lower left. At the left, a grid cuts it into 8 by 8 patches; at the right, a grid of 4 by 4 squares shows what becomes one token each."}}
asked = list(phantom_vqa.questions("test", seed=2, per_cell=8))
question = asked[221]
picture = draw(question.scene)
_, axes = plt.subplots(1, 2, figsize=(6, 3))
for axis, side, name in zip(axes, (14, 28), ("patches", "tokens"), strict=True):
    axis.imshow(picture, extent=(0, 112, 112, 0))
    lines = np.arange(0, 113, side)
    axis.set(xticks=lines, yticks=lines, title=f"{(112 // side) ** 2} {name}")
    axis.grid(color="yellow", linewidth=0.4)
    axis.tick_params(labelsize=7)
plt.show()

# %% [markdown]
# Now the text. A chat model was trained on conversations with marks in them, and has to be asked in
# the same way. The *chat template*, a file that comes with the model, sets the marks: who speaks,
# where a turn ends, where the picture stands. Qwen2-VL's own template adds a line that calls it a
# helpful assistant; the tiny one has none, to keep prompts short. What is printed ends with the
# opening of the reply, for the model to continue.

# %% tags=["nbval-check-output"]
text = prompt(question.question, question.options, "no_think")
parts = [{"type": "image"}, {"type": "text", "text": text}]
turns = [{"role": "user", "content": parts}]
chat = processor.apply_chat_template(
    turns, tokenize=False, add_generation_prompt=True
)
print(chat)

# %% [markdown]
# One `<|image_pad|>` stands for the picture. The processor replaces it by as many as the picture has
# tokens, and the model puts the vectors of the tower in their place. Below are the names and shapes
# that come out. A patch is a row of 1,176 numbers: 14 x 14 pixels times 3 colors, times 2, because
# Qwen2-VL reads everything as video and shows a still picture as two frames.
#
# The last line has the tokens of the text, between bars. In the tiny model's tokenizer each letter
# and each option of the phantoms is one token; a large model cuts the same words into more pieces.
# Find the letter B: it is the same token in front of its option as it will be in an answer.

# %% tags=["nbval-check-output"]
batch = processor(text=[chat], images=[picture], return_tensors="pt")
print(*(f"{name}: {list(value.shape)}" for name, value in batch.items()), sep="\n")
ids = batch["input_ids"][0]
words = ids[ids != processor.image_token_id]
print(f"{len(ids) - len(words)} of {len(ids)} tokens are the picture")
print("|".join(map(processor.decode, words)))

# %% [markdown]
# ## 2 Ask for a description
#
# `Asker` wraps what you just saw: it builds the chat, encodes it, calls the model and decodes what
# comes back. Its `reply` is greedy: always the likeliest next token, so that the same question has
# the same reply. Before any multiple choice, let the model say what it sees, and compare that with
# the scene. It names one attribute after the other, as it was taught to.

# %%
asker = Asker(model, processor, tier.max_new_tokens)
DESCRIBE = asker.chat("Describe the image.")
print("it says:", *asker.reply([DESCRIBE], [picture]))
print("it is:  ", question.scene)

# %% [markdown]
# ## 3 Three styles
#
# Med-R1 compares where a model reasons: before its answer, not at all, or after it. The prompt asks
# for one of three forms; everything else about the question stays the same. Here is ours in each of
# them. Look at two things: is the letter right, and do the reasons, where there are any, support the
# letter that is given? (The names of findings are names of drawn shapes. None of this is for clinical
# use.)

# %%
print(text)
for style in STYLES:
    said = asker.reply([asker.question_chat(question, style)], [picture])[0]
    print(f"{style:>12}: {said}")
print(f"       right: {question.answer}) {question.answer_text}")

# %% [markdown]
# ## 4 Read the answer
#
# A completion is text, and a score needs a letter. There are many ways to get from one to the other,
# and papers seldom say which they took. *Exact* below takes what stands between the first pair of
# tags and compares it with the letter. *Strict* wants the form that was asked for and nothing else;
# that is what training will pay for. *Tolerant* is for evaluation: it takes the last answer block
# outside the thinking, and accepts a letter, a letter with its option, or the text of one option.
# Which of the six completions, written by hand, would you count as B?


# %% tags=["nbval-check-output"]
def exact(completion):
    """What stands between the first pair of answer tags."""
    block = re.search(r"<answer>(.*?)</answer>", completion)
    return block[1] if block else None


options = ("cyst", "abscess", "mass", "scar")
said = (
    "<answer>B</answer>",
    "<answer>B) abscess</answer>",
    "<answer>abscess</answer>",
    "I think <answer>b</answer>",
    "<think>or <answer>A</answer>?</think><answer>B</answer>",
    "It is either A or B.",
)
readers = {
    "exact": map(exact, said),
    "strict": [read_strict(text, "no_think") for text in said],
    "tolerant": [read(text, options) for text in said],
}
pd.DataFrame(readers, index=said).fillna("-")

# %% [markdown]
# ## 5 Evaluate
#
# One question is an anecdote. Ask all that were drawn above, 8 for each modality and question
# type, in all three styles. The library's `evaluate` does what `reply` does, in batches, and keeps a
# record of every answer: what was asked, what came back, how it was read. The records go to a folder
# as they come, so that an interrupted evaluation goes on where it stopped; here that folder is
# temporary. In a terminal, `python -m medr1_lib evaluate` does the same.

# %%
folder = tempfile.TemporaryDirectory()
place = Path(folder.name)
phantom_vqa.write(place / "phantoms", {"test": asked}, {"source": "chapter 02"})
items = EvalSet(place / "phantoms")
log = AnswerLog(place / "answers", {}, {})
settings = Settings(tuple(STYLES), max_new_tokens=tier.max_new_tokens)
records = evaluate(model, processor, items, log, settings)
columns = ["style", "completion", "answer", "parsed", "format_ok"]
records.sort_values(["item", "style"]).set_index("item")[columns].head(6)

# %% [markdown]
# ### Exercise 1: what to report
# *easy, 10 minutes*
#
# Turn a frame of records into the four numbers that every table of this course has: a dictionary
# with `n`, the number of records; `accuracy`, the share that is `correct`; `format_rate`, the share
# that is `format_ok`; and `interval`, Wilson's interval of the accuracy, as a list.
#
# <details><summary>Hint</summary>
#
# `wilson(right, n)` of chapter 00 takes two whole numbers: `int(records["correct"].sum())` is the
# first. A completion without a letter counts as wrong; do not drop it.
#
# </details>


# %% tags=["exercise"]
def share(records):
    """Number of items, accuracy with its interval, how many kept the form."""
    # solution
    n, right = len(records), int(records["correct"].sum())
    return {
        "n": n,
        "accuracy": right / n,
        "format_rate": float(records["format_ok"].mean()),
        "interval": list(wilson(right, n)),
    }
    # end solution


# %%
share = checks.share(share)

# %% [markdown]
# The first accuracies of the course. Chance is 25 % in every cell of this benchmark, by construction.
# Accuracy and form are two numbers on purpose. A model can be right in the wrong form, for which
# training will not pay, and it can keep the form and be wrong. The last line is a reply that failed
# to keep the form: see how it breaks off and stumbles on.

# %% tags=["headline"]
for style in STYLES:
    found = share(records[records["style"] == style])
    low, high = found["interval"]
    right = f"{style:>12}: {found['accuracy']:.1%} right [{low:.1%}, {high:.1%}]"
    print(f"{right}, form kept {found['format_rate']:.0%}, n = {found['n']}")
print(*records.loc[~records["format_ok"], "completion"].head(1))

# %% [markdown]
# How much hangs on the reader? Take the answers that were right, and write each as many models
# would: `B) abscess` instead of `B`. Same letter, same knowledge. The exact reader now finds none of
# them right, and would publish an accuracy of zero. Nobody has to be malicious for that. A model that
# never met the tags scores badly with a reader that wants them, and training then seems to teach
# medicine where it taught punctuation. So one reader serves all models of this course.

# %% tags=["nbval-check-output"]
right = records[records["correct"]][["answer", "options"]].to_numpy()
named = [(a, o, f"{a}) {o[LETTERS.index(a)]}") for a, o in right]
wordy = [(a, o, f"<answer>{text}</answer>") for a, o, text in named]
print(f"exact reader: {np.mean([exact(said) == a for a, o, said in wordy]):.0%}")
print(f"tolerant: {np.mean([read(said, o) == a for a, o, said in wordy]):.0%}")

# %% [markdown]
# ## 6 Where it is right
#
# Group the records of one style by modality and question type. We take `no_think`, where nothing but
# the letter is written. The map looks informative: bright and dark cells ask for a story. But every
# cell holds 8 questions, and chapter 00 told what that means. The 95 % interval of a cell at one half
# goes from 22 to 78 %.

# %% mystnb={"image": {"alt": "Heatmap of accuracy in percent, eight modalities by five question types, 8 questions in each cell. The cells scatter from 12 to 88 percent; the column of other biological attributes is the brightest."}}
direct = records[records["style"] == "no_think"]
cells = direct.pivot_table("correct", "modality", "question_type")
cells = 100 * cells.astype(float).loc[list(MODALITIES), list(QUESTION_TYPES)]
plt.figure(figsize=(8, 4))
bar = {"label": "accuracy (%), n = 8 per cell"}
colors = {"cmap": "cividis", "vmin": 0, "vmax": 100, "cbar_kws": bar}
axis = sns.heatmap(cells, annot=True, fmt=".0f", **colors)
labels = [name.replace(" ", "\n") for name in QUESTION_TYPES]
axis.set_xticklabels(labels, rotation=0, fontsize=9)
axis.set(xlabel="", ylabel="")
plt.show()

# %% [markdown]
# Never read a single cell of such a map. The rows and columns hold more questions; the table gives an
# interval for each. Which of the differences between them are larger than the intervals? Chapter 12
# draws its maps with hundreds of questions per cell for this reason.

# %%
print(summary_table(summary(direct)))

# %% [markdown]
# ## 7 Does it look at the picture?
#
# An accuracy above chance may come from the image or from the text. To tell, ask again with a picture
# that cannot help. *blank* is a grey image of the same size, *shuffled* the image of another question
# of the same modality, *text* no image at all. The question stays word for word the same. The
# log knows what was answered before, so only the controls are asked.

# %% mystnb={"image": {"alt": "Four dots with 95 percent intervals on an axis of accuracy in percent. The answers with the question's own image lie clearly above the dashed line at 25 percent; the intervals of blank, shuffled and text-only all hold the line."}}
settings = Settings(("no_think",), CONTROLS, max_new_tokens=tier.max_new_tokens)
records = evaluate(model, processor, items, log, settings)
direct = records[records["style"] == "no_think"]
shown = direct.groupby("control")[["correct", "format_ok"]].apply(share)
_, axis = plt.subplots(figsize=(6, 2.2))
for name in ("none", *CONTROLS):
    label = "own image" if name == "none" else name
    middle, ends = (
        100 * shown[name]["accuracy"],
        100 * np.array(shown[name]["interval"]),
    )
    reach = np.abs(ends - middle)[:, None]
    axis.errorbar(middle, label, xerr=reach, fmt="o", capsize=4)
axis.axvline(25, color="black", linestyle="--", linewidth=1)
axis.set(xlim=(0, 100), xlabel=f"accuracy (%), 95 % interval, n = {len(asked)}")
axis.margins(y=0.2)
axis.invert_yaxis()
plt.show()

# %% [markdown]
# So it looks. And what should a control score? On this benchmark 25 %, since it is balanced. On real
# data controls often score far more, as chapter 01 showed with closed eyes, and then only the
# distance to them counts. Report them beside every accuracy.
#
# ## 8 Does it know more than it says?
#
# Compare what the model answers with what it describes. If a caption names the right finding and the
# letter is wrong, the knowledge is there and the answer does not use it.
#
# ### Exercise 2: read a caption
# *medium, 10 minutes*
#
# Turn a caption such as `modality: CT, finding: mass` into a dictionary from attribute to value. Parts
# are separated by a comma and a space. A part without a colon and a space is no claim and is left
# out. In one with several of them, the first separates.
#
# <details><summary>Hint</summary>
#
# `part.partition(": ")` gives three strings: before, the separator, after; the second is empty where
# there is none.
#
# </details>


# %% tags=["exercise"]
def claims(text):
    """The value that a text gives for each attribute it names."""
    # solution
    parts = (part.partition(": ") for part in text.split(", "))
    return {name: value for name, colon, value in parts if colon}
    # end solution


# %%
claims = checks.claims(claims)

# %% [markdown]
# The *caption oracle* chooses the option that agrees with the model's own caption. It measures what
# the model sees without asking for a letter. It is no upper bound on what can be learned, but it says
# how much better the model could answer from what it already sees. That gap is what reinforcement
# learning will try to close in chapter 06.

# %% tags=["headline"]
scenes = [q.scene for q in items.questions]
pictures = [draw(scene) for scene in scenes]
captions = asker.reply([DESCRIBE] * len(pictures), pictures)
wanted = [phantom_vqa.ATTRIBUTES[q.question_type] for q in items.questions]
truth = np.array([q.answer_text for q in items.questions])
named = [
    claims(said).get(name) for said, name in zip(captions, wanted, strict=True)
]
knows = np.array(named) == truth
low, high = wilson(int(knows.sum()), len(knows))
print(
    f"caption oracle: {knows.mean():.1%} [{low:.1%}, {high:.1%}], n = {len(knows)}"
)

# %% [markdown]
# Now say what you saw in sentences that can be false. One interval lies above another if even its low
# end is above the other's high end; that is more than enough for a difference to count. The same
# cell is compared whenever the course is tested, so these lines hold for the weights that are shipped.

# %% tags=["nbval-check-output"]
own = records[records["control"] == "none"]
styles = own.groupby("style")[["correct", "format_ok"]].apply(share)
looked, *others = (shown[name]["interval"] for name in ("none", *CONTROLS))
verdicts = {
    "own image above every control": looked[0] > max(end for _, end in others),
    "controls at chance": all(start <= 0.25 <= end for start, end in others),
    "caption oracle above every style": low > max(s["interval"][1] for s in styles),
}
print(
    *(f"{name}: {'yes' if v else 'no'}" for name, v in verdicts.items()), sep="\n"
)

# %% [markdown]
# After the poor reader of section 5 this is the second failure of this chapter, and the more interesting one. The same weights that name
# the right value in a caption give the letter of another in an answer. The question of section 3 is
# one of them. Count the others in the row *wrong*, under the caption *right*. Two more cells deserve a thought: how can a
# letter be right where the caption is wrong, and how often would a guess do that?

# %%
direct = direct[direct["control"] == "none"].sort_values("item")
marks = {True: "right", False: "wrong"}
caption = pd.Series(knows, name="caption").map(marks)
letter = pd.Series(direct["correct"].to_numpy(), name="letter in no_think")
pd.crosstab(letter.map(marks), caption, margins=True)

# %% [markdown]
# Reasons need not agree with the answer either. In `think_after` the letter comes first, and reasons
# that come later cannot change it any more. Count the wrong answers whose reasons name the right
# option: the model contradicts itself within one line, and nothing in it objects. A reader who sees
# only the reasons would trust the letter.

# %%
after = own[(own["style"] == "think_after") & ~own["correct"]].set_index("item")
thoughts = after["completion"].str.extract("<think>(.*)</think>")[0].dropna()
good = [i for i, t in thoughts.items() if claims(t).get(wanted[i]) == truth[i]]
print(f"right reasons beside {len(good)} of {len(after)} wrong letters, such as")
print(*(listed(items.questions[i].options) for i in good[:1]))
print(*after["completion"][good].head(1))

# %% [markdown]
# ## 9 Where it looks
#
# Cover one of the 16 tiles of a picture in grey and ask how likely the model is to name the right
# finding now. If a tile matters, the probability falls. This *occlusion map* costs 17 forward passes
# and needs no access to the inside of a model. Four maps are an anecdote again, so the cell also counts
# the pictures of all questions about a finding whose caption names the lesion: does the largest fall lie in the quarter where the lesion
# is? A map that points anywhere would be right one time in four.

# %% mystnb={"image": {"alt": "Four phantoms of different modalities with a lesion each; below each a map of 4 by 4 numbers, the fall in probability in points when that tile is covered. In each picture, a CT, an MRI, an ultrasound and a fundus picture, one tile stands out, and it lies in the quarter of the lesion."}}
ill = [
    i for i in np.flatnonzero(knows) if wanted[i] == "finding" and scenes[i].place
]
falls = {}
for item in ill:
    start = DESCRIBE + captions[item].partition("finding: ")[0] + "finding: "
    falls[item] = 100 * asker.occlusion(start, pictures[item], truth[item])
figure, axes = plt.subplots(2, 4, figsize=(8, 4.6))
what = "fall of the probability of the finding in points, below zero a rise"
figure.suptitle(f"{what}; phantoms, not for clinical use", fontsize=9)
reach = {"vmin": -20, "vmax": 80}
for (above, below), item in zip(
    axes.T, ill[:: max(1, len(ill) // 4)], strict=False
):
    above.imshow(pictures[item])
    above.set_title(f"{scenes[item].modality}\n{truth[item]}", fontsize=9)
    colors = {"cmap": "cividis", "cbar": False, **reach}
    sns.heatmap(falls[item], annot=True, fmt=".0f", ax=below, **colors)
for axis in axes.flat:
    axis.axis("off")
plt.show()
most = {item: divmod(int(fall.argmax()), 4) for item, fall in falls.items()}
hit = [PLACES[y // 2 * 2 + x // 2] == scenes[i].place for i, (y, x) in most.items()]
low, high = wilson(sum(hit), len(hit))
print(f"in the lesion's quarter: {sum(hit)} of {len(hit)} [{low:.0%}, {high:.0%}]")

# %% [markdown]
# Which lesions do the maps miss? Four maps cannot tell. Scattered dots are a candidate, since no single
# tile hides them all; print `truth[i]` for the misses to find out. An empty map does not mean that nothing was seen.
#
# Now show it something else. The two pictures of the next cell are real, a retina and stained tissue that come
# with scikit-image. The tiny model has only ever seen drawings, and it has no way to say so: a caption
# has to be written, and the likeliest words are written with the same ease. A confident sentence
# is no sign of knowledge. (What it says about these pictures is worthless, and not for clinical use.)

# %% mystnb={"image": {"alt": "Two real pictures, not phantoms: a color photograph of a retina with the bright optic disc and its vessels, and tissue under the microscope, stained blue and brown."}}
real = [samples.retina(), samples.immunohistochemistry()]
real = [images.load(images.png(Image.fromarray(p)), side=112) for p in real]
display(Image.fromarray(np.hstack(real)))
print(*asker.reply([DESCRIBE] * 2, real), sep="\n")

# %% [markdown]
# ## 10 Ask more than once
#
# Greedy decoding shows the likeliest reply only. Reinforcement learning works with *samples*: at
# temperature 1 each token is drawn with the probability that the model gives it. What is drawn now
# and then can be made more likely; what is never drawn cannot. So draw 16 replies to each of 80
# questions, in every style, and read them strictly, as training will.

# %%
few = np.random.default_rng(0).choice(len(asked), 80, replace=False)
hits = {}
for style in STYLES:
    chats = [asker.question_chat(items.questions[i], style) for i in few]
    drawn = asker.sample(chats, [pictures[i] for i in few], 16)
    right = [items.questions[i].answer for i in few]
    hits[style] = np.array(
        [
            [read_strict(said, style) == answer for said in group]
            for group, answer in zip(drawn, right, strict=True)
        ]
    )
for style, found in hits.items():
    print(f"{style}: {found.mean():.0%} of {found.size} samples right")

# %% [markdown]
# These shares lie below those of section 5: samples are drawn instead of taking the likeliest, and the strict
# reader refuses what is out of form.
#
# ### Exercise 3: pass@k
# *medium, 15 minutes*
#
# *pass@k* is the chance that at least one of `k` samples is right. Cutting 16 samples into groups of
# `k` wastes most of them. Better: of $n$ samples with $c$ right ones, how likely is it that `k` drawn
# without replacement contain no right one? Every choice of `k` is equally likely, so
#
# $$ \text{pass@}k = 1 - \binom{n-c}{k} \Big/ \binom{n}{k}, $$
#
# averaged over the questions. Return that mean. `hits` holds the $c$ of every question and `samples`
# is $n$.
#
# <details><summary>Hint</summary>
#
# `comb(a, k)` is 0 where `k` is larger than `a`, which is what is needed when fewer than `k` samples
# are wrong. It takes whole numbers of Python: `int(c)`.
#
# </details>


# %% tags=["exercise"]
def pass_at(k, hits, samples):
    """Chance that one of `k` samples is right, from more samples."""
    # solution
    return float(
        np.mean([1 - comb(samples - int(c), k) / comb(samples, k) for c in hits])
    )
    # end solution


# %%
pass_at = checks.pass_at(pass_at)

# %% [markdown]
# A curve that climbs to 80 % or more within eight samples looks like hidden skill. Before you believe
# it, ask what somebody gets who knows nothing: a uniform guesser in the right form is right at least
# once with probability $1 - (3/4)^k$. That is the dashed line.

# %% mystnb={"image": {"alt": "Lines of pass at k in percent against k from 1 to 16, one for each style with a 95 percent band, and a dashed line for a uniform guesser. At k of 1 think_before is the highest, and from about 5 it is below the guesser. No_think and think_after begin a little above the guesser and then run along its line."}}
ks = np.arange(1, 17)
plt.figure(figsize=(6, 3.2))
for style, found in hits.items():
    each = np.array([[pass_at(k, [c], 16) for k in ks] for c in found.sum(1)])
    mean, reach = each.mean(0), 1.96 * each.std(0) / len(each) ** 0.5
    plt.plot(ks, 100 * mean, label=style)
    plt.fill_between(ks, 100 * (mean - reach), 100 * (mean + reach), alpha=0.2)
plt.plot(ks, 100 * (1 - 0.75**ks), "k--", label="uniform guesser")
plt.xlabel("k, of 16 samples at temperature 1")
plt.ylabel(f"pass@k (%), 95 % band, n = {len(few)}")
plt.legend()
plt.show()

# %% [markdown]
# A model can be above chance with one try and no better than the guesser with eight. It is no worse
# for that: it is sure of some wrong answers and repeats them, where a guesser tries all letters. So
# pass@8 alone proves nothing. Two things say more: pass@1 against 25 %, and how many groups of eight
# are *mixed*, with right and wrong replies. In GRPO, the method of chapters 05 and 06, only replies that earn differently teach anything;
# where all eight earn the same, there is nothing to prefer.

# %%
print(f"     guesser: pass@1 25%, pass@8 {1 - 0.75**8:.0%}")
for style, found in hits.items():
    one, eight = (pass_at(k, found.sum(1), 16) for k in (1, 8))
    groups = found.reshape(-1, 8)
    mixed = np.mean(groups.any(1) & ~groups.all(1))
    print(f"{style:>12}: pass@1 {one:.0%}, pass@8 {eight:.0%}, mixed {mixed:.0%}")

# %% [markdown]
# ## 11 How sure it is of a letter
#
# Stop every greedy reply just before its letter and look at the probabilities of A, B, C and D. The
# *entropy* is 2 bits where all four are equally likely and 0 where one is certain. The shares of the
# letters show a bias: the right answers of this benchmark are a quarter each, so a letter that is
# given far more often is given for no reason in the picture. (`n` counts the replies that got as far
# as an answer.)

# %%
sure = {}
for style, group in own.groupby("style"):
    group = group[group["completion"].str.contains("<answer>")]
    before = group["completion"].str.rpartition("<answer>")[0] + "<answer>"
    chats = [asker.question_chat(items.questions[i], style) for i in group["item"]]
    probs = asker.next_token_probs(
        chats + before.to_numpy(), [pictures[i] for i in group["item"]], LETTERS
    )
    probs /= probs.sum(1, keepdims=True)
    bits = -(probs * np.log2(probs)).sum(1).mean()
    given = {letter: np.mean(group["parsed"] == letter) for letter in LETTERS}
    sure[style] = given | {"bits": bits, "n": len(group)}
pd.DataFrame(sure).T.round(2).astype({"n": int})

# %% [markdown]
# Compare the styles. After reasons that name an option, the letter follows nearly by itself. Without
# them the model spreads its bet and leans to one letter. Such a lean is cheap to unlearn, and part of
# what reinforcement gains at first may be no more than that. Chapter 10 counts how often a trained model gives its commonest letter.
#
# ## 12 Leaf through the answers
#
# All records in one place: choose a question, a style and a picture. The prompt is what the tokens say
# that the model was sent, special ones in bold; the controls were asked in `no_think` only. In the book
# this view is frozen; in JupyterLab it is alive. Look for replies that are right for the wrong
# reason, and for controls that get the letter right all the same.

# %% tags=["nbval-ignore-output"]
AnswerViewer(items, records, processor)

# %% [markdown]
# ## What you saw
#
# - A picture of 112 x 112 pixels is 16 tokens in a prompt whose marks come from a template.
# - A poor reader can turn any accuracy into zero. Accuracy and form are two numbers.
# - The model is above chance with its own picture and at chance without it: it looks.
# - Its captions are right more often than its letters, and its reasons contradict its answers.
#   Between what it sees and what it says there is a gap.
# - A guesser has pass@8 of 90 %. Read pass@k against that line, and look for mixed groups: from those
#   a model can learn.
#
# ## Where to go next
#
# Chapter 03 writes the rewards that say which of these replies is better, and chapter 06 trains with
# them. To measure a model of your own: `python -m medr1_lib evaluate --help`. On the estimator of
# pass@k, read M. Chen et al., *Evaluating large language models trained on code* (arXiv 2107.03374);
# on the model, P. Wang et al., *Qwen2-VL* (arXiv 2409.12191).
