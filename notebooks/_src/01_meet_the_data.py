# ---
# jupyter:
#   nbval: strict
# ---

# %% [markdown]
# # 1 Meet the data
#
# ## What you will do
#
# You will draw a benchmark of which you know the whole truth, open real medical images, and read
# records in the form of OmniMedVQA, the data set on which Med-R1 was trained. Then you find out how
# many of its questions can be answered without looking at the image.
#
# ## What you will learn
#
# After this chapter you can
#
# - draw a phantom and change one thing about it at a time,
# - show a CT image through a window, so that its tissues can be told apart,
# - parse OmniMedVQA records as Med-R1 released them,
# - build an image-blind baseline and say what a high score of it means,
# - find images that are in both splits, and split a data set so that none is.
#
# ## What you will need
#
# Chapter 00 (intervals). Nothing is downloaded. The real images come with two installed packages, and
# the results on the real benchmark are recorded in a table.

# %%
import json
from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from medr1_lib.analysis.stats import wilson
from medr1_lib.course import checks, ledger, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data import images, omnimedvqa, phantom_vqa
from medr1_lib.data.audit import UNSEEN, accuracy
from medr1_lib.data.phantoms import draw, random_scene
from medr1_lib.data.phantoms.scene import FINDINGS, PRIMITIVES
from medr1_lib.data.question import MODALITIES, canonical

tier = tiers.start(1)
sns.set_theme(style="white", palette="colorblind")


def show_row(pictures, titles, rows=1):
    """Pictures side by side, each under its title."""
    columns = len(pictures) // rows
    _, axes = plt.subplots(
        rows,
        columns,
        figsize=(7, rows * (7 / columns + 0.3)),
        dpi=144,
        layout="constrained",
    )
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=True):
        axis.imshow(picture, cmap="gray", interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    plt.show()


# %% [markdown]
# The function `show_row` shows several images side by side. It enlarges each phantom to more than twice
# its size and draws every pixel as a small square, so that you see what a model gets.
#
# ## 1 Eight ways to look into a body
#
# The way in which an image was made is called its *modality*. Med-R1 studies eight modalities, and
# PhantomMedVQA imitates the look of each: the table under a CT patient, the noise of MRI, the fan of
# ultrasound, stained cells. The next cell draws one phantom of each modality, in random order and
# without names. Try to name them before you run the cell after it. If you can do it, a model can
# learn it.

# %% mystnb={"image": {"alt": "Eight phantoms in two rows, numbered 1 to 8, without their modality: each looks like a medical image of another kind, for example a fan of grey speckle, a round orange fundus or pink cells."}}
rng = np.random.default_rng(8)
order = [str(name) for name in rng.permutation(MODALITIES)]
sheet = [draw(random_scene(rng, modality)) for modality in order]
show_row(sheet, range(1, 9), rows=2)

# %%
print(", ".join(f"{number} {name}" for number, name in enumerate(order, start=1)))

# %% [markdown]
# ## 2 Change one thing at a time
#
# A `Scene` describes everything that is true about a phantom. If you change one field, only this one
# thing changes in the image. In the next figure, the finding in a CT image of the abdomen takes each
# of its four values. The four shapes are *none*, *solid*, *ring* and *scattered*, and all
# modalities use the same four. Only their names differ. The names are borrowed: a drawn ring is no
# abscess, and none of this is for clinical use.

# %% mystnb={"image": {"alt": "Four CT-like phantoms of the abdomen that differ only in the finding at the upper left: none, a solid disk called mass, a ring called abscess, and scattered dots called metastases."}}
size_and_place = {"grade": "severe", "place": "upper left"}
mass = random_scene(rng, "CT", anatomy="abdomen", finding="mass", **size_and_place)
mass = replace(mass, acquisition="soft tissue window")
healthy = replace(mass, finding="no abnormality", grade=None, place=None)
ill = [replace(mass, finding=name) for name in FINDINGS["CT"][1:]]
show_row([draw(s) for s in (healthy, *ill)], FINDINGS["CT"])

# %% [markdown]
# The next table lists all names of findings. It contains two kinds of knowledge. A column is shared
# knowledge: a model that can tell a ring from a disk in one modality can do so in the next. A row is
# knowledge about one modality: that a ring is called *edema* in OCT must be learned in OCT. Remember
# this when chapter 12 trains on one modality and tests on another.

# %%
pd.DataFrame(FINDINGS, index=PRIMITIVES).T

# %% [markdown]
# ## 3 Questions that need the image
#
# Each modality has the five question types of OmniMedVQA. *Modality Recognition* asks how an image
# was acquired; in PhantomMedVQA this means the acquisition inside one modality, such as the window of
# a CT or the sequence of an MRI. A *cell* is one modality with one question type. Within a cell, each
# option is right equally often, and equally often at each letter. You can check this by counting: in
# the next table, all numbers must be the same.

# %%
test = list(phantom_vqa.questions("test", seed=0))
asked = "OCT", "Disease Diagnosis"
cell = [q for q in test if (q.modality, q.question_type) == asked]
print(f"{len(test)} questions, {len(cell)} of them about findings in OCT")
right = pd.Series([q.answer_text for q in cell], name="right option")
pd.crosstab(right, pd.Series([q.answer for q in cell], name="its letter"))

# %% [markdown]
# The browser below shows questions one by one. Guess, then ask for the answer. It also shows the scene behind
# the image. In the book this view is a still image. In JupyterLab you can use it.

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import DataBrowser

DataBrowser(test[::8])

# %% [markdown]
# ## 4 Real images
#
# A program that was only tested with drawings may fail on real data. Two packages of the course contain real
# images: scikit-image has a retina and stained tissue, pydicom has a CT image. `images.load` opens PNG, JPEG,
# TIFF, BMP and DICOM files, turns them upright, never enlarges them, and limits the longest side, here to the
# 112 pixels of the phantoms.

# %% mystnb={"image": {"alt": "Four pictures: a real photograph of a retina beside a fundus phantom, and real stained tissue beside a microscopy phantom. The phantoms share color and layout with the real images but are plainly drawings."}}
from PIL import Image
from skimage import data as samples

real = [samples.retina(), samples.immunohistochemistry()]
real = [images.load(images.png(Image.fromarray(p)), side=112) for p in real]
eye = {"anatomy": "macula", "acquisition": "color photograph"}
tissue = {"anatomy": "colon", "acquisition": "immunostain"}
drawn = [
    draw(random_scene(rng, "Fundus Photography", **eye)),
    draw(random_scene(rng, "Microscopy", **tissue)),
]
titles = ["real retina", "phantom", "real tissue", "phantom"]
show_row([real[0], drawn[0], real[1], drawn[1]], titles)

# %% [markdown]
# CT images need more care. A DICOM file stores the numbers of the scanner. A slope and an intercept
# turn them into *Hounsfield units*: air is -1000, water is 0 and dense bone is above 1000. These are
# more than 2000 values, but a screen or a model has only 256 grey levels. If the full range is
# shown, all soft tissues, from fat (about -100) to muscle (about 50), have nearly the same grey. A
# *window* uses the grey levels where they matter. Everything outside becomes black or white.

# %%
import pydicom
from pydicom.data import get_testdata_file

slice_ = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
slope, intercept = float(slice_.RescaleSlope), float(slice_.RescaleIntercept)
hounsfield = slope * slice_.pixel_array + intercept
lowest, highest = hounsfield.min(), hounsfield.max()
print(f"{hounsfield.shape} pixels from {lowest:.0f} to {highest:.0f} HU")

# %% [markdown]
# ### Exercise 1: open a window
# *easy, 5 minutes*
#
# Map `low` and everything below it to 0, `high` and everything above it to 1, and rise in a straight
# line in between. Radiologists name a window by its centre and its width: centre 40 and width 400
# means `low` -160 and `high` 240.
#
# <details><summary>Hint</summary>
#
# Subtract, divide, and limit the result with `np.clip`.
#
# </details>


# %% tags=["exercise"]
def window(values, low, high):
    """Grey levels from 0 (`low` and below) to 1 (`high` and above)."""
    # solution
    return np.clip((values - low) / (high - low), 0, 1)
    # end solution


# %%
window = checks.window(window)

# %% mystnb={"image": {"alt": "One real CT image three times: over its full range most tissue is nearly the same grey; in the soft tissue window muscle, fat and a large vessel can be told apart; in the bone window only the densest structures are bright."}}
ranges = {
    "full range": (-1000, 2000),
    "soft tissue": (-160, 240),
    "bone": (-200, 1300),
}
show_row([window(hounsfield, *ends) for ends in ranges.values()], ranges)
for name, (low, high) in ranges.items():
    apart = 256 * (50 - -100) / (high - low)
    print(f"{name}: fat and muscle are {apart:.0f} of 256 grey levels apart")

# %% [markdown]
# Look at the first of the three images again. The file opened without an error, and you could have trained a
# model on it. Most of the difference between fat and muscle is still in the file, but it is small: 13 grey
# levels, where the soft tissue window gives 96. A model has to learn from examples what the window gives for
# free. A vision tower that is frozen in training, as in this course, cannot learn it at all.
#
# ## 5 Records as Med-R1 released them
#
# Med-R1 uses OmniMedVQA, cut into JSON files by modality and by question type. A record is three
# strings. Its modality is known from the name of the file only. The next record was written for this
# chapter in exactly that format. One of its options contains a comma, so a parser that splits at
# commas fails.

# %%
record = {
    "image": "Images/Demo set/adenocarcinoma_left/scan_1.png",
    "problem": "What is seen? A)Fluid, free, B)Mass, C)No finding, D)Fracture",
    "solution": "<answer> B </answer>",
}
stem, options = omnimedvqa.parse_problem(record["problem"])
print(stem, *options, sep="\n  ")

# %% [markdown]
# Look at the path of the image: it contains the diagnosis. This is common in the released files, so a
# prompt that contains the path gives the answer away. The library names an image by a hash of its
# path and never shows the path to a model. The file names have problems of their own, such as the
# hyphen in *Mag-netic* and a parenthesis that is never closed. A table of aliases handles them. A name
# that is not in the table is an error, not a new modality.

# %%
for name in (
    "MR (Mag-netic Resonance Imaging)",
    "OCT (Optical Coherence Tomography",
):
    print(f"{name!r:40} -> {canonical('modality', name)}")
print(f"{record['image']!r} -> {omnimedvqa.image_id(record['image'])}")

# %% [markdown]
# ## 6 Answer without the image
#
# A good score can have two causes, as the figure shows. The model may have looked at the image. Or it
# may have learned which option texts are often right, and never have looked. To know how much the
# second way gives, we build a rule that uses it and nothing else: an *image-blind baseline*.

# %% tags=["hide-input"] mystnb={"image": {"alt": "A record splits into image, question and options. The model gets all of them, the image-blind rule only the options. Both give an answer, and both answers get a score."}}
sketch(
    {
        "image": (0, 1, "image"),
        "question": (0, 0.5, "question"),
        "options": (0, 0, "options"),
        "model": (1.2, 0.75, "model"),
        "rule": (1.2, 0, "image-blind rule"),
        "high": (2.4, 0.75, "score"),
        "low": (2.4, 0, "score without image"),
    },
    [
        ("image", "model", ""),
        ("question", "model", ""),
        ("options", "model", ""),
        ("options", "rule", ""),
        ("model", "high", ""),
        ("rule", "low", ""),
    ],
    tints={"model": "blue", "rule": "orange", "image": "green"},
)
plt.show()

# %% [markdown]
# ### Exercise 2: one form for all
# *easy, 5 minutes*
#
# In real data the same option is written `CT`, `ct` and `CT.`. To compare options, bring them into one
# form: remove white space around the text, make it lower case, and remove one final period.
#
# <details><summary>Hint</summary>
#
# `str.removesuffix` changes nothing if the suffix is not there.
#
# </details>


# %% tags=["exercise"]
def normalise(text):
    """An option text without case and final period."""
    # solution
    return text.strip().lower().removesuffix(".")
    # end solution


# %%
normalise = checks.normalise(normalise)

# %% [markdown]
# ### Exercise 3: the option ratio
# *medium, 15 minutes*
#
# Our rule asks about each text: of all the times that it was offered in training, how often was it
# right? Return a dictionary. Its keys are all texts that were offered, in their normal form. Its
# values are (times right + 0.25) / (times offered + 1). The added numbers stand for one guess, so
# that a text offered once and right once does not get the ratio 1.
#
# <details><summary>Hint</summary>
#
# Use two `Counter`s over normalised texts: one over `q.answer_text` of all training questions, and one
# over every option of every training question. A `Counter` gives 0 for a text that it has not seen.
#
# </details>


# %% tags=["exercise"]
def option_ratios(train):
    """How often each text was right of the times that it was offered."""
    # solution
    right = Counter(normalise(q.answer_text) for q in train)
    offered = Counter(normalise(option) for q in train for option in q.options)
    return {text: (right[text] + 0.25) / (offered[text] + 1) for text in offered}
    # end solution


# %%
option_ratios = checks.option_ratios(option_ratios)

# %% [markdown]
# The rule chooses the option with the highest ratio. A text that it has never seen gets `UNSEEN`, a
# quarter. The function `accuracy(test, score)` does the choosing: `score(question)` returns a number
# for each option. If several options have the same number, they share the credit.


# %%
def option_ratio(train, test):
    """Accuracy of the option with the highest of `option_ratios`."""
    ratios = option_ratios(train)
    return accuracy(
        test, lambda q: [ratios.get(normalise(o), UNSEEN) for o in q.options]
    )


# %% [markdown]
# We try the rule on the phantoms, and on a *leaky* variant with a fault that is common in real
# benchmarks: the right answers come from a short list of labels, and the wrong ones were invented for
# one question and are never right anywhere. The images of both variants are equally hard.

# %% tags=["headline"]
for name, leaky in (("standard", 0.0), ("leaky", 0.95)):
    train, asked = (
        list(phantom_vqa.questions(s, leaky=leaky)) for s in ("train", "test")
    )
    share = option_ratio(train, asked)
    low, high = wilson(round(share * len(asked)), len(asked))
    print(f"{name:>8} phantoms without images: {share:.1%} right", end=" ")
    print(f"[{low:.1%}, {high:.1%}], n = {len(asked)}")

# %% [markdown]
# ## 7 The real benchmark without images
#
# The same audit was made on the 13 test files that Med-R1 released: 17,662 questions by modality and
# 17,919 by question type. We may not ship their texts, so the result is recorded. The command
# `python -m medr1_lib data audit --splits DIR --json FILE` made it; run it on your copy and compare.
# Each rule was fitted on four fifths of a test file and scored on the last fifth, in turn. `uniform`
# guesses; it is above 25 % where some questions have fewer than four options. `letter_majority` takes
# the most frequent letter, and `most_frequent_text` the option that was right most often.

# %%
recorded = json.loads(tiers.material("recorded/omnimedvqa_audit.json").read_text())
rows = []
for path, found in recorded["files"].items():
    kind, _, name = path.split("/")[-3:]
    if kind == "modality" and name != "unknown_train.json":
        baselines = {
            rule: 100 * share for rule, share in found["baselines"].items()
        }
        file = canonical("modality", name.removesuffix("_test.json"))
        rows.append({"file": file} | baselines)
        rows[-1]["n"] = found["records"]
table = pd.DataFrame(rows).set_index("file")
worst, mean = table.option_ratio.idxmin(), table.drop(columns="n").mean()
print("mean of the eight files, %:", mean.round(1).to_dict())
print(f"hardest without images: {worst}, {table.option_ratio[worst]:.1f} %")
table.round(1)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Horizontal bars of the accuracy in percent of guessing and of the image-blind option ratio on the eight OmniMedVQA test files. Guessing lies between 25 and 31 percent; the option ratio reaches 83 percent on ultrasound and 94 to 100 percent on the other seven. 95 percent intervals are drawn and are at most about two points wide on either side."}}
ratio, n = table.option_ratio, table.n
ends = np.array(
    [wilson(round(r * k / 100), k) for r, k in zip(ratio, n, strict=True)]
).T
reach = np.abs(100 * ends - ratio.to_numpy())
axis = table[["uniform", "option_ratio"]].plot.barh(figsize=(7, 4), width=0.8)
axis.errorbar(ratio, np.arange(len(n)) + 0.2, xerr=reach, fmt="none", color="black")
axis.set(
    xlabel="accuracy without images (%), 95 % interval", ylabel="", xlim=(0, 105)
)
axis.set_yticklabels([f"{name} (n = {count})" for name, count in n.items()])
axis.legend(
    ["uniform guess", "option ratio"],
    loc="lower center",
    bbox_to_anchor=(0.5, 1),
    ncol=2,
)
plt.show()

# %% [markdown]
# A rule that sees no image passes this test. So if a model was trained on questions of the same kind,
# a high accuracy on these files does not show that it looks at the image. It does not show the
# opposite either: the test cannot tell. Note also that an option text of one modality is rarely
# offered in another. So the rule should fail on a new modality. This is one reason why the paper, and
# this course, look at generalization.
#
# What does this mean for the first claim in your ledger, which the paper tests on this benchmark? If
# you have changed your mind, write a new probability in place of `None`. If not, leave it.

# %%
ledger.page(1, generalizes=None)

# %% [markdown]
# ## 8 The same image in both splits
#
# There is a second way to get a score that is too high: the test image was also in the training
# split, with another question. The released files were split by question and not by image, so this
# happens there. The next function counts it.


# %%
def leak_share(train, test):
    """Share of test questions whose image is also in `train`."""
    known = set(train)
    return sum(image in known for image in test) / len(test)


leaky = [list(phantom_vqa.questions(s, leaky=0.95)) for s in ("train", "test")]
share = leak_share(*([q.image_id for q in split] for split in leaky))
print(f"leaky phantoms: {share:.1%} of the test questions show a training image")

# %% [markdown]
# ### Exercise 4: repair both faults
# *hard, 45 minutes*
#
# First write the split that the released files should have had. `image_ids` holds the image of each
# question. Return a list with one truth value for each question: `True` if it belongs to the test
# split. All questions about one image go to the same side. Take the different images in sorted
# order, shuffle them with `np.random.default_rng(seed).permutation`, and put one after the other
# into the test split, until it holds at least `share` of all questions. (With real data, replace the
# image by the patient: two images of one patient are not independent.)
#
# Before you run the cell after the check, write down two predictions for the leaky phantoms: which
# share of the new test questions will show a training image, and how well will the option ratio do?
# The second part of the exercise comes after that cell.
#
# <details><summary>Hint</summary>
#
# Check *before* you add an image whether the test split is large enough, and count questions, not images.
#
# </details>


# %% tags=["exercise"]
def split_by_image(image_ids, share, seed):
    """Which questions go to the test split, so that no image is on both sides."""
    # solution
    count = Counter(image_ids)
    chosen, size = set(), 0
    for image in np.random.default_rng(seed).permutation(sorted(count)):
        if size >= share * len(image_ids):
            break
        chosen.add(image)
        size += count[image]
    return [image in chosen for image in image_ids]
    # end solution


# %%
split_by_image = checks.split_by_image(split_by_image)

# %%
pool = leaky[0] + leaky[1]
in_test = split_by_image([q.image_id for q in pool], 0.2, seed=0)
train = [q for q, held in zip(pool, in_test, strict=True) if not held]
asked = [q for q, held in zip(pool, in_test, strict=True) if held]
share = leak_share([q.image_id for q in train], [q.image_id for q in asked])
print(f"{share:.1%} of {len(asked)} test questions show a training image")
print(f"option ratio: {option_ratio(train, asked):.1%} right without images")

# %% [markdown]
# No image is on both sides any more, and the image-blind rule is as good as before. The two faults are
# independent: the split repairs one of them and not the other. So an audit has to look for both.
#
# **Second part: repair the options.** Give each question three new wrong options, drawn from texts that are
# right elsewhere in `pool`, and leave the right one at its letter. There are two ways: draw them from the
# right texts of the same modality and question type, or from all right texts. Try both, in a cell of your
# own. `replace(q, options=...)` makes a changed copy. Measure two rules on the split from above: the
# option ratio, and *known here*, which takes an option that was right in training in the same modality
# and question type (if there are several, they share the credit). **Predict all four accuracies first.**
# Then run the next cell, which has our way, and explain each number that surprises you.


# %% tags=["hide-input"]
def kind(q):
    return q.modality, q.question_type


def with_new_options(pool, place):
    """Questions whose wrong options are right elsewhere in the same `place`."""
    rng, right = np.random.default_rng(0), defaultdict(set)
    for q in pool:
        right[place(q)].add(q.answer_text)
    for q in pool:
        wrong = sorted(right[place(q)] - {q.answer_text})
        texts = [str(text) for text in rng.permutation(wrong)[:3]]
        texts.insert("ABCD".index(q.answer), q.answer_text)
        yield replace(q, options=tuple(texts))


known = {(*kind(q), q.answer_text) for q in train}
for name, place in (("the same kind", kind), ("all questions", lambda q: "all")):
    new = [*zip(with_new_options(pool, place), in_test, strict=True)]
    fit, asked = ([q for q, held in new if held == side] for side in (False, True))
    here = accuracy(asked, lambda q: [(*kind(q), o) in known for o in q.options])
    print(f"options from {name}: ratio {option_ratio(fit, asked):.1%}", end=", ")
    print(f"known here {here:.1%}, n = {len(asked)}")

# %% [markdown]
# <details><summary>What came out, and why</summary>
#
# *Options from all questions.* The option ratio falls by half, and you might think that the fault is nearly
# repaired. But most wrong options do not fit the question: *macula* is no answer for a CT image. The rule
# *known here* notices that and is nearly always right. An audit finds only the faults that its rules look for.
#
# *Options from the same kind.* Now every option is right somewhere in its kind, so *known here* can only
# guess. The option ratio falls *below* 25 %. In the pool, all answers of a kind are equally frequent. So an answer
# that the split put into training more often is right less often in the test, and the rule prefers
# exactly those. Only a divided pool has this effect. In the standard phantoms of section 6, training and test are
# balanced each for itself, and the option ratio is right in 25.0 %.
#
# </details>
#
# One more check: can a quick glance at the image give the answer away? We give a linear classifier an
# 8 x 8 thumbnail of each OCT phantom. It should read what a glance can tell, the anatomy, and be close
# to chance (25 %) for the finding, which needs a closer look.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

# With 660, one guess more or less prints the same, so that all machines agree.
scenes = [random_scene(rng, "OCT") for _ in range(660)]
thumbnails = [
    np.asarray(draw(scene).resize((8, 8))).ravel() / 255 for scene in scenes
]
for attribute in ("anatomy", "finding"):
    labels = [getattr(scene, attribute) for scene in scenes]
    model = LogisticRegression(max_iter=1000)
    guessed = cross_val_predict(model, thumbnails, labels, cv=4)
    right, n = sum(guessed == labels), len(labels)
    low, high = wilson(right, n)
    print(f"{attribute:>8} at a glance: {right / n:.0%}", end=" ")
    print(f"[{low:.0%}, {high:.0%}], n = {n}")

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# A model that was trained on OmniMedVQA questions scores 95 % on one of its released test files. What
# does this show?
#
# <details><summary>A. The model can answer such questions; whether it looks at the image is open</summary>
#
# Right. A rule without images also reaches about 95 %, so the score cannot tell the two apart.
#
# </details>
# <details><summary>B. The model understands medical images, since chance with four options is 25 % and not 95 %</summary>
#
# Wrong. Chance is the wrong comparison here. Compare with the best image-blind baseline.
#
# </details>
# <details><summary>C. The model does not look at the image</summary>
#
# Wrong. It may look. A high image-blind baseline means only that this test cannot show it.
#
# </details>
#
# ### Question 2
# A CT image is stored with the range from -1000 to 2000 HU stretched over 256 grey levels. What
# happens?
#
# <details><summary>A. Reading the file fails with an error</summary>
#
# Wrong. Everything runs, and this is the danger: no error tells you about the loss.
#
# </details>
# <details><summary>B. The model learns the right window by itself</summary>
#
# Wrong. A frozen tower cannot learn it, and a trained one spends examples on what a window gives for free.
#
# </details>
# <details><summary>C. Soft tissues become nearly the same grey</summary>
#
# Right. Fat and muscle differ by 13 grey levels in place of 96. A model has to work with this small difference.
#
# </details>
#
# ### Question 3
# You split a data set by image, and the option ratio still scores 95 %. Why?
#
# <details><summary>A. Because some images are still in both splits</summary>
#
# Wrong. A split by image makes sure that no image is on both sides.
#
# </details>
# <details><summary>B. Because the option texts still tell which option is right</summary>
#
# Right. The rule never reads an image, so it does not matter where the images are.
#
# </details>
# <details><summary>C. Because the test split is too small for a good estimate of the accuracy</summary>
#
# Wrong. A small test makes the interval wide, but it does not move the score towards 95 %.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - A phantom is drawn from a scene. Its questions are balanced by construction, and counting proves it.
# - Reading an image can go wrong without an error. The CT image without a window is the example.
# - On the released OmniMedVQA test files, a rule that sees no image is right on 95.5 % of the
#   questions, averaged over the eight files. High accuracy there does not show that a model looks.
# - Images in both splits are found by counting. A split by image removes them, and leaves the fault in
#   the options.
#
# ## Where to go next
#
# Chapter 02 asks a model these questions, with the image and, as a control, without it. To try your
# own data, see `python -m medr1_lib data import --help`; `data audit` prints the table of section 7
# for it. To read more about text that gives answers away: Y. Goyal et al., *Making the V in VQA
# matter* (CVPR 2017).
