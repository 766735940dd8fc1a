# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 2 Ask the model
#
# ## What you will do
#
# You will load a small vision-language model, look at what it is really given, ask it questions in three
# reasoning styles, and measure its answers. Then you find out whether it looks at the image, what it can
# describe, in which domain it is strong, and how much of its score depends on the reader.
#
# ## What you will learn
#
# After this chapter you can
#
# - count the tokens that an image becomes, and read a prompt with its special tokens,
# - read a letter out of a completion in four ways, and say what each of them measures,
# - report accuracy and form with intervals, by modality and by question type,
# - use three controls to tell a model that looks at the image from one that guesses,
# - say whether form, letters or the subject is the weakness of a model, before you train it,
# - check whether a model gives one letter too often, and correct that without labels,
# - estimate pass@k without bias, and say why a high pass@8 alone proves nothing.
#
# ## What you will need
#
# Chapters 00 (intervals) and 01 (phantoms). You should know roughly what a language model does: it reads
# tokens and gives a probability to each possible next token. Nothing is trained in this chapter, so the
# replay tier asks a model as well. The small tiers ask the tiny Qwen2-VL in `data/tiny-qwen2-vl`. To ask
# another model, set the variable `MEDR1_MODEL` to its directory. The gpu tier needs that, with a
# directory of Qwen2-VL-2B.

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

from medr1_lib.course import checks, ledger, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.course.widgets import AnswerViewer
from medr1_lib.data import images, phantom_vqa
from medr1_lib.analysis import gains
from medr1_lib.analysis.stats import wilson
from medr1_lib.data.phantoms import draw
from medr1_lib.data.question import CONTROLS, MODALITIES, QUESTION_TYPES
from medr1_lib.data.styles import STYLES, prompt, read, read_strict
from medr1_lib.model.loading import load_policy
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.evaluation.ask import Asker
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.analysis.stats import summary, summary_table

tier = tiers.start(2)
sns.set_theme(style="white", palette="colorblind", rc={"figure.dpi": 100})
pd.set_option("display.max_colwidth", None)
model, processor = load_policy(tier.model_path, tier.quantize)
cache = VisionCache(model)
folder = tempfile.TemporaryDirectory()
place = Path(folder.name)
millions = model.num_parameters() / 1e6
print(f"{type(model).__name__}, {millions:.2f} million parameters")

# %% [markdown]
# The tiny model is the class that Hugging Face loads for Qwen2-VL, with a vision tower, a language model
# and the same processor. It is only narrower and has fewer layers. Its model card,
# `data/tiny-qwen2-vl/README.md`, says how it was made and what it was trained on. The cache encodes each
# image once, however often we ask about it. The answers stay the same.
#
# ## 1 What a processor does with an image
#
# A language model reads tokens, so an image has to become tokens. The processor cuts it into patches of
# 14 x 14 pixels. The vision tower turns each patch into a vector. Then it merges squares of 2 x 2 patches
# into one token each. The language model gets these few vectors and nothing else of the image. The next
# cell shows question 221, which we picked because its lesion is small. Compare the lesion with a token.

# %% mystnb={"image": {"alt": "One phantom twice, in the style of a green fundus photograph with dark vessels and a small dark dot at the lower left. At the left, a grid cuts it into 8 by 8 patches; at the right, a grid of 4 by 4 squares shows what becomes one token each."}}
asked = list(phantom_vqa.questions("test", seed=2, per_cell=8))
phantom_vqa.write(place / "phantoms", {"test": asked}, {"source": "chapter 02"})
question = asked[221]
picture = draw(question.scene)
_, axes = plt.subplots(1, 2, figsize=(6.5, 3.3))
for axis, side, name in zip(axes, (14, 28), ("patches", "tokens"), strict=True):
    axis.imshow(picture, extent=(0, 112, 112, 0), interpolation="nearest")
    lines = np.arange(0, 113, side)
    axis.set(xticks=lines, yticks=lines, title=f"{(112 // side) ** 2} {name}")
    axis.grid(color="yellow", linewidth=0.4)
    axis.tick_params(labelsize=7)
plt.show()

# %% [markdown]
# Now the text. A chat model was trained on conversations with special marks, and we have to ask it in
# the same way. The *chat template*, a file that comes with the model, sets these marks. They say who
# speaks, where a turn ends and where the image stands. Qwen2-VL's own template adds a line that calls the
# model a helpful assistant. The tiny model has no such line, to keep prompts short. The text below
# ends where the model's turn begins. The model continues from there, and what it writes is called the
# *completion*.

# %% tags=["nbval-check-output"]
text = prompt(question.question, question.options, "no_think")
parts = [{"type": "image"}, {"type": "text", "text": text}]
turns = [{"role": "user", "content": parts}]
how = {"tokenize": False, "add_generation_prompt": True}
chat = processor.apply_chat_template(turns, **how)
print(chat)

# %% [markdown]
# One `<|image_pad|>` stands for the image. The processor replaces it by as many copies as the image has
# tokens, and the model puts the vectors of the tower in their place. The next cell prints the names and
# shapes that the model gets. A patch is a row of 1,176 numbers: 14 x 14 pixels times 3 colors times 2,
# because Qwen2-VL reads everything as video and shows a still image as two frames.
#
# The last line shows the tokens of the text, separated by bars. In the tokenizer of the tiny model, each
# letter and each option is one token. A large model cuts the same words into more pieces.

# %% tags=["nbval-check-output"]
batch = processor(text=[chat], images=[picture], return_tensors="pt")
print(*(f"{name}: {list(value.shape)}" for name, value in batch.items()), sep="\n")
ids = batch["input_ids"][0]
words = ids[ids != processor.image_token_id]
print(f"{len(ids) - len(words)} of {len(ids)} tokens are the image")
print("|".join(map(processor.decode, words)))

# %% [markdown]
# ## 2 Ask for a description
#
# `Asker` does for you what you just saw: it builds the chat, encodes it, calls the model and decodes
# the completion. Its method `reply` is *greedy*: it always takes the most likely next token, so the
# same question always gets the same completion. Before we ask multiple-choice questions, let the model
# describe the image. Compare the description with the scene.

# %%
asker = Asker(model, processor, tier.max_new_tokens)
DESCRIBE = asker.chat("Describe the image.")
print("it says:", *asker.complete([DESCRIBE], [picture]))
print("it is:  ", question.scene)

# %% [markdown]
# ## 3 Three reasoning styles
#
# Med-R1 compares three places for the rationale, that is, the text in which a model explains its
# answer: before the answer, nowhere, or after it. The prompt asks for one of three forms. Here is our
# question in all three. Look at two things: is the letter right, and does the rationale, where there is one, fit the letter? (The names of findings are names of drawn
# shapes. None of this is for clinical use.)

# %%
print(text)
for style in STYLES:
    said = asker.complete([asker.question_chat(question, style)], [picture])[0]
    print(f"{style:>12}: {said}")
print(f"       right: {question.answer}) {question.answer_text}")

# %% [markdown]
# ## 4 Read the answer
#
# A completion is a text, and a score needs a letter. There are several ways to get from one to the other.
# The figure shows those of this course. The *strict* reader accepts only the form that was asked
# for; training will reward this one. The *tolerant* reader accepts whatever clearly names an option; it is
# used for evaluation. The *forced letter* ignores the completion: we write `<answer>` for the model and
# look which letter is most likely to follow. And its *corrected* form also removes the habit of a model
# to prefer one letter.

# %% tags=["hide-input"] mystnb={"image": {"alt": "An image and a prompt go to the model. From the model, one way leads to a completion, which the strict reader and the tolerant reader read. The other way leads to the probabilities of the letters A to D, read as the forced letter and, with the letter habit removed, as the corrected letter."}}
sketch(
    {
        "ask": (0, 0, "image tokens\nand prompt"),
        "model": (1.1, 0, "model"),
        "said": (2.2, 0.6, "completion"),
        "odds": (2.2, -0.6, "probabilities\nof A, B, C, D"),
        "strict": (3.5, 0.9, "strict: the form asked for"),
        "tolerant": (3.5, 0.3, "tolerant: any clear answer"),
        "forced": (3.5, -0.3, "forced: likeliest letter"),
        "corrected": (3.5, -0.9, "corrected: without habit"),
    },
    [
        ("ask", "model", ""),
        ("model", "said", "writes"),
        ("model", "odds", "form given"),
        *(("said", reader, "") for reader in ("strict", "tolerant")),
        *(("odds", reader, "") for reader in ("forced", "corrected")),
    ],
    tints={"model": "blue", "said": "orange", "odds": "green"},
    size=(9, 3.2),
)
plt.show()

# %% [markdown]
# Here are the first two readers on six completions, which we wrote by hand. *Exact* is a third one that
# many people write first: it takes what stands between the first pair of tags and compares it with the
# letter. Which of the six completions would you accept as B?


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
# One question tells little. We ask all questions drawn above, 8 for each modality and question type, in
# all three styles. The library's `evaluate` does what `reply` does, in batches, and keeps a record of
# every answer: what was asked, the completion, and how it was read. The records are saved in a folder
# while they are made, so an interrupted evaluation can continue.

# %%
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
# Turn a table of records into the four numbers that every table of this course has. Return a dictionary
# with `n`, the number of records; `accuracy`, the share that is `correct`; `format_rate`, the share
# that is `format_ok`; and `interval`, Wilson's interval of the accuracy, as a list.
#
# <details><summary>Hint</summary>
#
# `wilson(right, n)` of chapter 00 needs two whole numbers. `int(records["correct"].sum())` is the first.
# A completion without a letter counts as wrong. Do not leave it out.
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
# These are the first accuracies of the course. Chance is 25 % in every cell of this benchmark. Accuracy
# and form are two different numbers. A model can give the right letter in the wrong form, and training
# will not reward that. It can also keep the form and be wrong. If any completion broke the form, the last
# line shows one.

# %% tags=["headline"]
for style in STYLES:
    found = share(records[records["style"] == style])
    low, high = found["interval"]
    right = f"{style:>12}: {found['accuracy']:.1%} right [{low:.1%}, {high:.1%}]"
    print(f"{right}, form kept {found['format_rate']:.1%}, n = {found['n']}")
print(*records.loc[~records["format_ok"], "completion"].head(1))

# %% [markdown]
# ## 6 Where it is right
#
# The next figure groups the records of one style by modality and question type. We take `no_think`, where
# only the letter is written. Do not interpret a single cell: it holds only 8 questions. If a cell shows 50 %,
# its 95 % interval goes from 22 to 78 %. The rows and columns contain more questions, and the table below the
# figure gives their intervals. Which differences are larger than the intervals?
#
# Compare the question types. *Lesion Grading* and *Other Biological Attributes* ask for the size and the
# place of a lesion, and all modalities share these words. The other three types ask for words that belong to
# one modality. The colors go from 0 to 100 %, so that a cell below chance, 25 %, does not look like chance.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Heatmap of accuracy in percent, eight modalities by five question types, 8 questions in each cell. Single cells scatter widely; the columns differ more than the rows, and the last column is the brightest."}}
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
print(summary_table(summary(direct)))

# %% [markdown]
# ## 7 Does it look at the image?
#
# An accuracy above chance can come from the image or from the text. To tell, we ask the same questions
# again with an image that cannot help. *Blank* is a grey image of the same size. *Shuffled* is the image
# of another question of the same modality. *Text* is no image at all. The log remembers what was
# answered before, so only the controls are asked now.

# %% mystnb={"image": {"alt": "Four dots with 95 percent intervals on an axis of accuracy in percent. The answers with the question's own image and those of the controls blank, shuffled and text-only are compared with the dashed line at 25 percent."}}
settings = Settings(("no_think",), CONTROLS, max_new_tokens=tier.max_new_tokens)
records = evaluate(model, processor, items, log, settings)
direct = records[records["style"] == "no_think"]
shown = direct.groupby("control")[["correct", "format_ok"]].apply(share)
_, axis = plt.subplots(figsize=(6, 2.2))
for name in ("none", *CONTROLS):
    label = "own image" if name == "none" else name
    middle, ends = (
        np.array(shown[name][part]) for part in ("accuracy", "interval")
    )
    reach = 100 * np.abs(ends - middle)[:, None]
    axis.errorbar(100 * middle, label, xerr=reach, fmt="o", capsize=4)
axis.axvline(25, color="black", linestyle="--", linewidth=1)
axis.set(xlim=(0, 100), xlabel=f"accuracy (%), 95 % interval, n = {len(asked)}")
axis.margins(y=0.2)
axis.invert_yaxis()
plt.show()

# %% [markdown]
# Compare the own image with the controls. If it is clearly above all of them, the model looks at the image.
#
# What should a control score? This benchmark is balanced, so a control should score 25 %. One interval in
# twenty misses the true value by luck, so an interval that just misses 25 % proves nothing. On real data,
# controls often score far more, as chapter 01 showed. Then only the distance to the controls counts. Report
# them beside every accuracy.
#
# ## 8 Does it know more than it says?
#
# We can compare what the model answers with what it describes. If its description names the right
# finding and its letter is wrong, it had the knowledge and did not use it.
#
# ### Exercise 2: read a caption
# *medium, 10 minutes*
#
# Turn a caption such as `modality: CT, finding: mass` into a dictionary from attribute to value. A comma
# and a space separate the parts. A part without a colon and a space makes no claim; leave it out. If a
# part has several of them, split it at the first.
#
# <details><summary>Hint</summary>
#
# `part.partition(": ")` gives three strings: the text before, the separator, and the text after. The
# second is empty if there is no separator.
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
# The *caption oracle* chooses the option that agrees with the model's own caption. A large model describes in
# words of its own; there an option counts if its caption holds that one alone. The oracle measures what the
# model can describe. Its chance level is not 25 %: a caption is free to name any value, or none. If the oracle is far
# above the accuracy of a style, the model can improve a lot without learning to see anything new. If it is far
# below, the model gets its letters in some other way than through the words of a caption. How often is the letter
# right where the caption is right, and where it is wrong?


# %%
def option_in(text, question):
    """The option that a caption claims; in free words, the only one that it holds."""
    if told := claims(text):
        return told.get(phantom_vqa.ATTRIBUTES[question.question_type])
    held = [option for option in question.options if option in text]
    return held[0] if len(held) == 1 else None


def described(questions, pictures):
    """Whether the model's own caption names the right option of each question."""
    captions = asker.complete([DESCRIBE] * len(pictures), pictures)
    pairs = zip(map(option_in, captions, questions), questions, strict=True)
    return np.array([named == q.answer_text for named, q in pairs])


pictures = [draw(q.scene) for q in items.questions]
knows = described(items.questions, pictures)
low, high = wilson(int(knows.sum()), len(knows))
shared = f"{knows.mean():.1%} [{low:.1%}, {high:.1%}], n = {len(knows)}"
print("caption oracle:", shared)
direct = direct[direct["control"] == "none"].sort_values("item")
marks = {True: "right", False: "wrong"}
caption = pd.Series(knows, name="caption").map(marks)
letter = pd.Series(direct["correct"].to_numpy(), name="letter in no_think")
pd.crosstab(letter.map(marks), caption, margins=True)

# %% [markdown]
# With the tiny model, 77 % of the letters are right where the caption is right (48 of 62). Where it is wrong, 39 %
# are right (101 of 258), which is more than the 25 % of a guess. So the letters do not come through the words of a
# caption alone.
#
# Now we write down what you saw as sentences that can be false. One interval is above another if its low
# end is above the high end of the other. This test is strict: two intervals can overlap although the
# difference is real.

# %% tags=["nbval-check-output"]
own = records[records["control"] == "none"]
styles = own.groupby("style")[["correct", "format_ok"]].apply(share)
said = [found["interval"] for found in styles]
looked, *others = (shown[name]["interval"] for name in ("none", *CONTROLS))
verdicts = {
    "own image above every control": looked[0] > max(end for _, end in others),
    "a control above chance": any(start > 0.25 for start, _ in others),
    "caption oracle above every style": low > max(end for _, end in said),
    "caption oracle below every style": high < min(start for start, _ in said),
}
for sentence, true in verdicts.items():
    print(f"{sentence}: {'yes' if true else 'no'}")

# %% [markdown]
# ## 9 Strong in another domain
#
# Is the model weak in general, or weak in this subject? Ask it about something else. The *general domain*
# has drawings of landscapes, still lifes, streets and textiles, with the same five kinds of question, the
# same options A to D and the same prompts. Compare the two rows: form, accuracy, and what the captions name.

# %% tags=["headline"]
everyday = phantom_vqa.questions("test", seed=2, per_cell=16, domain="general")
phantom_vqa.write(place / "general", {"test": everyday}, {"source": "chapter 02"})
general, log = EvalSet(place / "general"), AnswerLog(place / "others", {}, {})
settings = Settings(("no_think",), max_new_tokens=tier.max_new_tokens)
answers = evaluate(model, processor, general, log, settings)
drawn = [draw(q.scene) for q in general.questions]
rows = {
    "general": share(answers) | {"captions": described(general.questions, drawn)},
    "medical": share(direct) | {"captions": knows},
}
for name, row in rows.items():
    low, high = row["interval"]
    right = f"{name}: {row['accuracy']:.0%} right [{low:.0%}, {high:.0%}]"
    form = f"form kept {row['format_rate']:.1%}, n = {row['n']}"
    print(f"{right}, {form}; captions right {row['captions'].mean():.0%}")

# %% [markdown]
# Both rows keep the form. In the general domain the model also answers and describes well. In the medical
# domain it does both much worse, although it reads the same kind of prompt. So its weakness is the *subject*.
# Training has something to teach here that is not the form.
#
# What exactly does it lack? Its vision tower was taught to tell the attributes of 36,000 medical drawings apart, as well as
# those of everyday drawings. In the line `tower step 2000` of `data/tiny-qwen2-vl/pretrain.log` it tells 99 % of the
# medical anatomies right, 87 % of the places, 79 % of the grades and 73 % of the findings. For the everyday drawings it
# was taught the words of the language model. For the medical ones it was taught *codes of its own*. The language
# has hardly met these codes: 2,400 medical drawings, with no captions. So what is missing is mostly the link from what
# the tower tells apart to words and letters. This is our analogue of a base that is weak in a field, and it has a
# limit: nobody taught the tower of a large model the field of its users, and it may not tell their images apart.
#
# Now show the model something new: a real retina and real stained tissue, which come with scikit-image.
# The tiny model has only ever seen drawings, and it has no way to say so. It has to write a caption, and
# it writes the most likely words. A fluent sentence is no sign of knowledge. (What the model says about
# these images is worthless, and not for clinical use.)

# %% mystnb={"image": {"alt": "Two real pictures, not phantoms: a color photograph of a retina with the bright optic disc and its vessels, and tissue under the microscope, stained blue and brown."}}
real = [samples.retina(), samples.immunohistochemistry()]
real = [images.load(images.png(Image.fromarray(p)), side=112) for p in real]
display(Image.fromarray(np.hstack(real)).resize((672, 336), Image.NEAREST))
print(*asker.complete([DESCRIBE] * 2, real), sep="\n")

# %% [markdown]
# ## 10 Four readers and a letter habit
#
# Look at the columns A to D of the next table. They show how often each letter is given. The right answers
# are spread evenly, a quarter each. So a letter that is given much more often than that is a *letter
# habit*: it is given for a reason that is not in the image. A habit costs accuracy. It is also cheap to
# unlearn, so a part of what training gains may be nothing more than a lost habit. Check for it before you
# train.

# %%
parts = own.groupby("style")
habits = {style: gains.letter_habit(part)["share"] for style, part in parts}
pd.DataFrame(habits).T.round(2)

# %% [markdown]
# ### Exercise 3: remove a habit, and plant one
# *hard, 40 minutes*
#
# Each row of `probs` holds the probabilities of the letters for one question. The likeliest letter is the
# answer. Find one factor for each letter, so that after
# multiplication the letters are answered equally often. No label is needed, because you do not look at any right
# answer. Start with the factor 1 for each letter and repeat for $t = 0, 1, \ldots, 299$: multiply every row by the
# factors, and find the share of questions that each letter wins. Multiply each factor by
# $\exp\left(\frac{2}{1 + t / 10} (\text{wanted} - \text{found})\right)$: it grows where the letter wins
# too rarely, in steps that become smaller. At the end divide the factors by their mean.
#
# Some questions have fewer options. The letter of a missing option has probability 0. The share that is
# wanted for a letter is the mean over all questions of 1 / (number of options), or 0 where the letter has no option.
#
# Then experiment, in writing, with the cell after the check, which *plants* habits. *Predict* its first table, *run* it,
# and *explain*: which habits does your correction remove completely, and what does it assume?
#
# <details><summary>Hint</summary>
#
# `there = probs > 0` says which options exist, and `there / there.sum(1, keepdims=True)` is the share
# that each of them should get. `np.bincount(letters, minlength=4)` counts how often each of the letters
# 0 to 3 stands in an array.
#
# </details>


# %% tags=["exercise"]
def letter_constants(probs):
    """A factor for each letter, with which the letters are answered equally often."""
    # solution
    there = probs > 0
    wanted = (there / there.sum(1, keepdims=True)).mean(0)
    factors = np.ones(probs.shape[1])
    for turn in range(300):
        letters = (probs * factors).argmax(1)
        given = np.bincount(letters, minlength=len(factors)) / len(letters)
        factors = factors * np.exp(2 / (1 + 0.1 * turn) * (wanted - given))
    return factors / factors.mean()
    # end solution


# %%
letter_constants = checks.letter_constants(letter_constants)

# %% [markdown]
# The library fits these factors on nine tenths of the images and uses them on the last tenth, in turn, so
# that no question helps to correct itself. Before you run the next cell, also predict for each style: how many
# points does the correction gain? Then compare the four readers in the second table. *Strict* minus *forced* is what the form
# costs. *Corrected* minus *forced* is what the habit costs. *Corrected* is the best estimate of what the
# model knows about these questions. If the correction gains next to nothing, there is no letter habit that
# training could remove.

# %%
written = own[own["style"] == "no_think"]
probs = gains.letter_matrix(written)
truth = written["answer"].map("ABCD".index).to_numpy()
planted = {f"B times {k}": probs * [1, k, 1, 1] for k in (1, 3, 10)}
# Predict first: how often B, and how many right, before and after the correction?
taking_turns = planted["B times 10"].copy()
taking_turns[::2] = probs[::2] * [1, 1, 1, 10]
planted["D times 10, B times 10, in turn"] = taking_turns
first, table = (probs * letter_constants(probs)).argmax(1), {}
for name, x in planted.items():
    before, after = x.argmax(1), (x * letter_constants(x)).argmax(1)
    found = before == 1, before == truth, after == 1, after == truth
    table[name] = [f"{one.mean():.1%}" for one in (*found, after == first)]
columns = ["B", "right", "B, corrected", "right, corrected", "as in row 1"]
display(pd.DataFrame(table, index=columns).T)
rows = {style: gains.read_all(part)[[*gains.READERS]] for style, part in parts}
right = pd.DataFrame({style: 100 * found.mean() for style, found in rows.items()})
print(right.T.round(1).to_string())
print("factors of A to D in no_think:", letter_constants(probs).round(2))

# %% [markdown]
# In the first table a factor for B is what the correction looks for, so it takes it back: every answer is as in row 1.
# In the last row no factor fits all questions. The letters are answered equally often, and still fewer answers are right.
# The correction assumes that a habit is the same in every question.
#
# Where all four columns agree within a point or two, form and letters are in order, and a later gain cannot come from them. Chapter 06 splits every gain into these parts.
#
# ## 11 Ask more than once
#
# Greedy decoding shows only the most likely completion. Reinforcement learning works with *samples*. At
# temperature 1, each token is drawn with the probability that the model gives it. What is drawn
# sometimes can be made more likely directly. What is never drawn cannot, unless other questions carry it
# along. So we draw 16 completions for each of 80 questions, in every style, and read them strictly, as
# training will.

# %%
few = np.random.default_rng(0).choice(len(asked), 80, replace=False)
right = np.array([items.questions[i].answer for i in few])[:, None]
hits = {}
for style in STYLES:
    chats = [asker.question_chat(items.questions[i], style) for i in few]
    drawn = asker.sample(chats, [pictures[i] for i in few], 16)
    letters = [[read_strict(said, style) for said in group] for group in drawn]
    hits[style] = np.array(letters, object) == right
    print(f"{style}: {hits[style].mean():.0%} of {hits[style].size} samples right")

# %% [markdown]
# ### Exercise 4: pass@k
# *medium, 15 minutes*
#
# *pass@k* is the probability that at least one of `k` samples is right. You could cut the 16 samples into
# groups of `k`, but this wastes most of them. Here is a better way. Of $n$ samples, $c$ are right. Draw `k` of
# them without replacement. Every choice of `k` is equally likely, so the probability that
# none of them is right gives
#
# $$ \text{pass@}k = 1 - \binom{n-c}{k} \Big/ \binom{n}{k}, $$
#
# averaged over the questions. Return this mean. `hits` holds the $c$ of each question and `samples` is $n$.
#
# <details><summary>Hint</summary>
#
# `comb(a, k)` is 0 if `k` is larger than `a`. This is what you need if fewer than `k` samples are
# wrong. It takes whole numbers of Python: `int(c)`.
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
# A curve that rises to 80 % within eight samples looks like hidden skill. Compare it with somebody who
# knows nothing. A guesser who keeps the form is right at least once with probability $1 - (3/4)^k$. This
# is the dashed line. The bars are 95 % intervals. They come from drawing the 80 questions again a thousand
# times, with replacement.
#
# The last column of the table counts groups of eight that are *mixed*: some of their completions are right
# and some are wrong. In GRPO, the method of chapter 05, a group whose rewards are all equal says nothing
# about which completion is better. Such a group *without spread* is either *solved*, if all completions earn
# the full reward, or *stuck*. So mixed groups are the ones to learn from.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Lines of pass at k in percent against k from 1 to 16, one for each style, with bars for 95 percent intervals at k = 1, 4, 8 and 16, and a dashed line for a uniform guesser, which rises from 25 to 99 percent. The three styles lie close together: above the guesser at k = 1, below or near it from about k = 6 on."}}
ks, barred = np.arange(1, 17), [0, 3, 7, 15]
again = np.random.default_rng(0).integers(len(few), size=(1000, len(few)))
plt.figure(figsize=(6, 3.2))
for shift, (style, found) in zip((-0.15, 0, 0.15), hits.items(), strict=True):
    each = [[100 * pass_at(k, [c], 16) for k in ks] for c in found.sum(1)]
    mean = np.mean(each, axis=0)
    ends = np.percentile(np.array(each)[again].mean(1), (2.5, 97.5), axis=0)
    (line,) = plt.plot(ks, mean, label=style)
    reach = np.abs(ends - mean)[:, barred]
    bars = {"fmt": "none", "capsize": 3, "color": line.get_color()}
    plt.errorbar(ks[barred] + shift, mean[barred], reach, **bars)
plt.plot(ks, 100 * (1 - 0.75**ks), "k--", label="uniform guesser")
plt.ylim(0, 100)
plt.xlabel("k, of 16 samples at temperature 1")
plt.ylabel(f"pass@k (%), n = {len(few)},\n95 % intervals")
plt.legend()
plt.show()
print(f"     guesser: pass@1 25%, pass@8 {1 - 0.75**8:.0%}")
for style, found in hits.items():
    one, eight = (pass_at(k, found.sum(1), 16) for k in (1, 8))
    groups = found.reshape(-1, 8)
    mixed = np.mean(groups.any(1) & ~groups.all(1))
    print(f"{style:>12}: pass@1 {one:.0%}, pass@8 {eight:.0%}, mixed {mixed:.0%}")

# %% [markdown]
# A model can be above chance with one sample and below the guesser with eight. This is no
# contradiction: it is sure of some wrong answers and repeats them, while a guesser tries all letters. So
# pass@8 alone proves nothing. Look at pass@1 and at the mixed groups.
#
# What do the accuracies of the three styles say about the second claim in your ledger?
# The claim is about models *after* RL, and this model has had none.

# %%
ledger.page(2, thinking=None)

# %% [markdown]
# ## 12 Leaf through the answers
#
# Here are all records in one place. Choose a question, a style and an image. The prompt is shown as the model
# got it, with special tokens in bold. The controls were asked in `no_think` only. Look for
# completions that are right for the wrong reason, and for controls that get the letter right without the image.

# %% tags=["nbval-ignore-output"]
AnswerViewer(items, records, processor)

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# A base model scores 30 % with the strict reader and 60 % with the forced letter. What does training gain
# if it teaches the form and nothing else?
#
# <details><summary>A. Nothing, since the model learns nothing about images</summary>
#
# Wrong. The strict score rises by up to 30 points, although no knowledge is added.
#
# </details>
# <details><summary>B. Up to 30 points of strict accuracy, and no knowledge</summary>
#
# Right. This is why every gain of the course is split into form, letter habit and knowledge.
#
# </details>
# <details><summary>C. Up to 60 points, because every letter is then read</summary>
#
# Wrong. The 30 points that were read before are part of the 60 %, so at most 30 points are gained.
#
# </details>
#
# ### Question 2
# A model is right in 50 % of the questions with its own image, and in 48 % with a grey image. What follows?
#
# <details><summary>A. It answers mostly from the text, and the image adds little</summary>
#
# Right. Only the distance to the control, here 2 points, can come from the image.
#
# </details>
# <details><summary>B. It sees well, since 50 % is twice as much as the chance of 25 %</summary>
#
# Wrong. A model that cannot see anything reaches 48 %, so chance is the wrong comparison.
#
# </details>
# <details><summary>C. The grey image is too easy, and another control is needed</summary>
#
# Wrong. A grey image holds no information. What gives 48 % is the text of the questions.
#
# </details>
#
# ### Question 3
# A model answers B in 60 % of the questions, and the right letters are spread evenly. How can you
# estimate what it knows without this habit?
#
# <details><summary>A. Count only the questions whose right letter is B</summary>
#
# Wrong. There the habit helps, so the model looks better than it is.
#
# </details>
# <details><summary>B. Forbid the letter B, and ask again</summary>
#
# Wrong. Then every question whose right letter is B counts as wrong, whatever the model knows.
#
# </details>
# <details><summary>C. Make all letters equally likely on average</summary>
#
# Right. Scale the letter probabilities. This needs no labels, and what is left is no habit.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - An image of 112 x 112 pixels is 16 tokens, in a prompt whose marks come from a chat template.
# - The reader decides about the score. Strict, tolerant, forced and corrected measure different things.
# - Controls show whether a model looks at the image.
# - A caption oracle shows whether a model can describe more than it answers, or less.
# - A second domain shows what a model lacks. This model keeps the form and has no strong letter habit. It
#   lacks the subject: mostly the link from what its tower tells apart to words and letters.
# - A guesser has a pass@8 of 90 %. Compare pass@k with that line, and look for mixed groups: from them a
#   model can learn.
#
# ## Where to go next
#
# Chapter 03 writes the rewards that say which completion is better. To measure a model of your own, see
# `python -m medr1_lib evaluate --help`. To read more: M. Chen et al., *Evaluating large language models
# trained on code* (arXiv 2107.03374), on the estimator of pass@k, and P. Wang et al., *Qwen2-VL*
# (arXiv 2409.12191), on the model.
