# ---
# jupyter:
#   nbval: strict
# ---

# %% [markdown]
# # 1 Meet the data
#
# ## What you will do
#
# Draw a benchmark whose truth you know, open real medical images, and read records in the form of
# OmniMedVQA, on which Med-R1 was trained; its paper (arXiv 2503.13939) is the one this course follows.
# Then find out how much of that benchmark can be answered with closed eyes.
#
# ## What you will learn
#
# After this chapter you can
#
# - draw a phantom and change one thing about it at a time,
# - open a CT slice through a window instead of as grey mush,
# - parse OmniMedVQA records as Med-R1 released them,
# - build an image-blind baseline, compare it with three others, and say what a high score means,
# - detect images that sit on both sides of a split.
#
# ## What you will need
#
# Chapter 00 (intervals). Nothing is downloaded: the real pixels come with two installed packages,
# the real benchmark as a table of recorded results.

# %%
import json

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from medr1_lib.course import checks, tiers
from medr1_lib.data import images, omnimedvqa, phantom_vqa, phantoms
from medr1_lib.data.phantoms import draw, random_scene
from medr1_lib.data.question import MODALITIES

tier = tiers.start(1)
sns.set_theme(style="white", palette="colorblind")


# %% [markdown]
# One small function first: a row of pictures. It is the only plotting code of this chapter that
# you will see twice, so it gets a name.


# %%
def show_row(pictures, titles, rows=1):
    """Pictures side by side, each under its title."""
    columns = len(pictures) // rows
    _, axes = plt.subplots(
        rows, columns, figsize=(7, rows * (7 / columns + 0.3)), dpi=72
    )
    for axis, picture, title in zip(axes.flat, pictures, titles, strict=True):
        axis.imshow(picture, cmap="gray")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    plt.show()


# %% [markdown]
# ## 1 Eight ways to look into a body
#
# Med-R1 studies eight imaging modalities. PhantomMedVQA imitates the look of each: the table under
# a CT patient, the noise of MRI, the fan of ultrasound, stained cells. Eight phantoms follow, one
# per modality, in random order and without labels. Name them before you run the cell after it. If
# you can, a model can; if you cannot, the benchmark would be at fault and not the model.

# %% mystnb={"image": {"alt": "Eight phantoms in two rows, numbered 1 to 8, without their modality: each looks like a medical image of another kind, for example a fan of grey speckle, a round orange fundus or pink cells."}}
rng = np.random.default_rng(8)
order = [str(name) for name in rng.permutation(MODALITIES)]
sheet = [draw(random_scene(rng, modality)) for modality in order]
show_row(sheet, range(1, 9), rows=2)

# %%
print(", ".join(f"{number} {name}" for number, name in enumerate(order, start=1)))

# %% [markdown]
# ## 2 One thing at a time
#
# A `Scene` is the latent truth of a phantom: change one field and only that changes. Below, the
# finding of a CT slice of the abdomen takes each of its four values. Behind the names stand four
# visual primitives, *none*, *solid*, *ring* and *scattered*, which all modalities share. What a
# primitive is called belongs to the modality. The names are borrowed; a drawn ring is no abscess,
# and none of this is for clinical use.

# %% mystnb={"image": {"alt": "Four CT-like phantoms of the abdomen that differ only in the finding at the upper left: none, a solid disk called mass, a ring called abscess, and scattered dots called metastases."}}
from dataclasses import replace

size_and_place = {"grade": "severe", "place": "upper left"}
mass = random_scene(rng, "CT", anatomy="abdomen", finding="mass", **size_and_place)
mass = replace(mass, acquisition="soft tissue window")
healthy = replace(mass, finding="no abnormality", grade=None, place=None)
ill = [replace(mass, finding=name) for name in phantoms.FINDINGS["CT"][1:]]
show_row([draw(s) for s in (healthy, *ill)], phantoms.FINDINGS["CT"])

# %% [markdown]
# The table shows the whole vocabulary of findings. Two kinds of knowledge sit in it. Columns are
# shared: whoever can tell a ring from a disk in one modality can do so in the next. Rows are owned:
# that a ring is *edema* in OCT must be learned in OCT. Grades and places are shared by all. When
# chapter 12 trains on one modality and tests on another, this is the structure to look for.

# %%
pd.DataFrame(phantoms.FINDINGS, index=phantoms.PRIMITIVES).T

# %% [markdown]
# ## 3 Questions that need eyes
#
# Each modality gets the five question types of OmniMedVQA. All four options of a question are right
# somewhere else in the same cell, and each value stands equally often at each letter. Count it: in
# the crosstable of one cell every number has to be the same. A benchmark that is balanced by
# construction can be checked by counting, and needs no trust.

# %%
test = list(phantom_vqa.questions("test", seed=0))
asked = "OCT", "Disease Diagnosis"
cell = [q for q in test if (q.modality, q.question_type) == asked]
print(f"{len(test)} questions, {len(cell)} of them about findings in OCT")
right = pd.Series([q.answer_text for q in cell], name="right option")
pd.crosstab(right, pd.Series([q.answer for q in cell], name="its letter"))

# %% [markdown]
# Leaf through the questions below, guess, and ask for the answer. The browser lists everything that
# the truth behind the picture says. In the book this view is frozen; in JupyterLab it is alive.

# %% tags=["nbval-ignore-output"]
from medr1_lib.course.widgets import DataBrowser

DataBrowser(test[::8])

# %% [markdown]
# ## 4 Real pixels
#
# A loader that has only met drawings is not ready for a hospital. Two packages of the course carry
# real images: scikit-image a retina and stained tissue, pydicom a CT slice. `images.load` opens PNG,
# JPEG, TIFF, BMP and DICOM, turns them upright, never enlarges, and limits the longest side, here
# to 112 pixels to match the phantoms.

# %% mystnb={"image": {"alt": "Four pictures: a real photograph of a retina beside a fundus phantom, and real stained tissue beside a microscopy phantom. The phantoms share colour and layout with the real images but are plainly drawings."}}
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
# The CT slice needs more care. DICOM stores numbers of a scanner; a slope and an intercept turn
# them into Hounsfield units, in which air is -1000, water 0 and dense bone above 1000. Those are
# more than 2000 steps, and a screen or a model has 256 grey levels. Spread over the whole range,
# soft tissues, from fat at about -100 to muscle at about 50, come out as nearly one grey. A *window* spends the grey
# levels where they matter and lets the rest go black or white.

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
# Map `low` and everything below it to 0, `high` and everything above it to 1, and rise straight in
# between. Radiologists name a window by its centre and width; centre 40 and width 400 is `low` -160
# and `high` 240.
#
# <details><summary>Hint</summary>
#
# Subtract, divide, and cut off with `np.clip`.
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

# %% mystnb={"image": {"alt": "One real CT slice three times: over its full range most tissue is nearly the same grey; in the soft tissue window muscle, fat and a large vessel can be told apart; in the bone window only the densest structures are bright."}}
ranges = {
    "full range": (-1000, 2000),
    "soft tissue": (-160, 240),
    "bone": (-200, 1300),
}
show_row([window(hounsfield, *ends) for ends in ranges.values()], ranges)

# %% [markdown]
# The first picture is the failure to remember. Nothing crashed, the file opened, a model would have
# trained on it, and the difference between tissues was thrown away before the first gradient step.
# The phantoms have their own CT windows, so that a model has to cope with them.
#
# ## 5 Records as Med-R1 released them
#
# Med-R1 trains on OmniMedVQA, split into JSON files by modality and by question type. A record has
# three strings, and the modality is known from the name of the file alone. The one below is written
# for this chapter in exactly that format, commas inside an option included, which is where parsers
# that split at commas come to grief.

# %%
record = {
    "image": "Images/Demo set/adenocarcinoma_left/scan_1.png",
    "problem": "What is seen? A)Fluid, free, B)Mass, C)No finding, D)Fracture",
    "solution": "<answer> B </answer>",
}
stem, options = omnimedvqa.parse_problem(record["problem"])
print(stem, *options, sep="\n  ")

# %% [markdown]
# Look at the path of the image: it contains the diagnosis. In the released files this is common, so
# a prompt that mentions the file name leaks the answer. The library names an image by a hash of its
# path and never shows the path to a model. The names of the released files have traps of their own,
# among them a hyphenated *Mag-netic* and a parenthesis that nobody closed. One table of aliases
# takes care of them, and an unknown name is an error instead of a new modality.

# %%
from medr1_lib.data.question import canonical

for name in (
    "MR (Mag-netic Resonance Imaging)",
    "OCT (Optical Coherence Tomography",
):
    print(f"{name!r:40} -> {canonical('modality', name)}")
print(f"{record['image']!r} -> {omnimedvqa.image_id(record['image'])}")

# %% [markdown]
# ## 6 Answering with closed eyes
#
# How far does somebody get who reads the options and never opens an image? Such a rule learns from
# the training questions which texts tend to be right. To compare texts, bring them into one form
# first: in real data the same answer is typed `CT`, `ct` and `CT.`.
#
# ### Exercise 2: one form for all
# *easy, 5 minutes*
#
# Remove white space around the text, lower its case, and drop one final period.
#
# <details><summary>Hint</summary>
#
# `str.removesuffix` takes away nothing where there is nothing to take away.
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
# The strongest of the simple rules asks of each text: of the times it was offered in training, how
# often was it right? Return a dictionary from every text that was offered, in its normal form, to
# (times right + 0.25) / (times offered + 1). The quarter stands for a guess, so that a text offered
# once and right once does not beat everything.
#
# <details><summary>Hint</summary>
#
# Two `Counter`s over normalised texts: one over `q.answer_text` of all training questions, one over
# every option of every training question. A `Counter` gives 0 for what it has not seen.
#
# </details>

# %%
from collections import Counter


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
# The rule then chooses the option with the highest ratio, and an unseen text counts as `UNSEEN`, a
# quarter. `accuracy(test, score)` does the choosing: `score(question)` returns one number per
# option, and ties share the credit.

# %%
from medr1_lib.data.audit import UNSEEN, accuracy


def option_ratio(train, test):
    """Accuracy of the option with the highest of `option_ratios`."""
    ratios = option_ratios(train)
    return accuracy(
        test, lambda q: [ratios.get(normalise(o), UNSEEN) for o in q.options]
    )


# %% [markdown]
# Try it on the phantoms, and beside it on a *leaky* variant that reproduces a habit of real
# benchmarks: the right answers come from a short list of labels, the wrong ones are made up for the
# question and are never right anywhere. The pictures of both variants are equally hard. The rule
# reads the options only; a second flaw of the leaky variant comes in exercise 4.

# %% tags=["headline"]
from medr1_lib.analysis.stats import wilson

for name, leaky in (("standard", False), ("leaky", True)):
    train, asked = (
        list(phantom_vqa.questions(s, leaky=leaky)) for s in ("train", "test")
    )
    share = option_ratio(train, asked)
    low, high = wilson(round(share * len(asked)), len(asked))
    print(f"{name:>8} phantoms without eyes: {share:.1%} right", end=" ")
    print(f"[{low:.1%}, {high:.1%}], n = {len(asked)}")

# %% [markdown]
# ## 7 The real benchmark with closed eyes
#
# Now the same audit of the 13 test files that Med-R1 released, 17,662 questions by modality and
# 17,919 by type. Their texts are not ours to ship, so this is a recorded result, made by
# `python -m medr1_lib data audit --splits DIR --json FILE` on the released files; run it on your
# copy and compare. Each rule was fitted on four fifths of a test file and scored on the last fifth,
# in turn. `uniform` guesses, above 25 % where some questions have fewer than four options;
# `letter_majority` takes the commonest letter; `most_frequent_text` the option that was right most often.

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
table.drop(columns="option_ratio_with_stem").round(1)

# %% mystnb={"image": {"alt": "Horizontal bars of the accuracy in percent of guessing and of the image-blind option ratio on the eight OmniMedVQA test files. Guessing lies between 25 and 31 percent; the option ratio reaches 83 percent on ultrasound and 94 to 100 percent on the other seven. 95 percent intervals are drawn and are at most about two points wide on either side."}}
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
# Read the bars slowly. A rule without eyes passes the test. So accuracy on these files, for a model
# trained on the same kind of questions, is no evidence that the model looks at the image. This does
# not mean that models took this way. It means that the test cannot tell. An option that
# belongs to one modality is seldom offered in the next, so such a rule should travel badly. This is one
# reason why this course, after the paper, looks so hard at transfer, and why chapter 12 sets image-blind
# rows under its accuracies.

# %%
macro = table[
    ["uniform", "letter_majority", "most_frequent_text", "option_ratio"]
].mean()
print("mean of the eight files, %:", macro.round(1).to_dict())
worst = table.option_ratio.idxmin()
print(f"hardest without eyes: {worst}, {table.option_ratio[worst]:.1f} %")

# %% [markdown]
# ### Exercise 4: the same image on both sides
# *easy, 5 minutes*
#
# The second way to look good is to have seen the test image in training, with another question. The
# released splits cut between questions and not between images, so it happens there too. Given the
# image of every training question and of every test question, return the share of test questions
# whose image also occurs in training.
#
# <details><summary>Hint</summary>
#
# A `set` of training images; then count test questions, not test images.
#
# </details>


# %% tags=["exercise"]
def leak_share(train, test):
    """Share of test questions whose image is also in `train`."""
    # solution
    known = set(train)
    return sum(image in known for image in test) / len(test)
    # end solution


# %%
leak_share = checks.leak_share(leak_share)

# %%
for name, leaky in (("standard", False), ("leaky", True)):
    pair = (phantom_vqa.questions(s, leaky=leaky) for s in ("train", "test"))
    share = leak_share(*([q.image_id for q in split] for split in pair))
    print(f"{name:>8} phantoms: {share:.1%} of test questions on a training image")

# %% [markdown]
# ## 8 What a glance can tell
#
# Balanced options are half of the matter; the picture must not give the answer away at a glance
# either. Give a linear classifier an 8 x 8 thumbnail of each OCT phantom, a quarter of the phantoms
# held out in turn. It should read what a glance can read, the anatomy, and stay near chance on the finding,
# which takes a closer look. Chance is about 25 % for both: four anatomies, four findings.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

scenes = [random_scene(rng, "OCT") for _ in range(600)]
thumbnails = [
    np.asarray(draw(scene).resize((8, 8))).ravel() / 255 for scene in scenes
]
for attribute in ("anatomy", "finding"):
    labels = [getattr(scene, attribute) for scene in scenes]
    share = cross_val_score(
        LogisticRegression(max_iter=1000), thumbnails, labels, cv=4
    ).mean()
    low, high = wilson(round(share * 600), 600)
    print(
        f"{attribute:>8} at a glance: {share:.0%} [{low:.0%}, {high:.0%}], n = 600"
    )

# %% [markdown]
# ## What you saw
#
# - A phantom is drawn from a scene; its questions are balanced by construction, and counting proves
#   it.
# - Loading can fail silently: a CT without its window is the example.
# - On the released OmniMedVQA test files, a rule that never sees an image is right on 95.5 % of the
#   questions, averaged over the eight files. High accuracy there does not show that a model looks.
# - Leaks are found by counting, too.
#
# ## Where to go next
#
# Chapter 02 puts these questions to a model, with the picture and, as a control, without it. To try
# your own data: `python -m medr1_lib data import --help` reads OmniMedVQA's folder or zip file and
# anything laid out like it, and `data audit` prints the table of section 7 for it. On text priors in
# visual question answering, read Y. Goyal et al., *Making the V in VQA matter* (CVPR 2017).
