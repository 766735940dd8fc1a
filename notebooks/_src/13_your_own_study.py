# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 13 Your own study
#
# ## What you will do
#
# You will take a folder of images and a table, and make a whole study of them, with a result that you could defend:
# import, audit, a form that is filled in before the first training, a base, controls, a training, a comparison and
# a report. The images are real. They come with two packages that the course needs anyway. Then you use your own
# images in their place. At the end you close your ledger.
#
# ## What you will learn
#
# After this chapter you can
#
# - turn a folder and a CSV file into a data set whose patients are kept apart,
# - say how many questions a study needs before it begins,
# - write down what will count as a success, and not change it afterwards,
# - score the answers of any model, also of one that you cannot run,
# - say when GRPO is the right tool, and what you need larger machines for.
#
# ## What you will need
#
# Chapters 01 (audit), 02 (readers and controls) and 10 (fair comparisons). The chapter takes a few minutes on
# one CPU core. At the replay tier nothing is trained.

# %%
import contextlib
import hashlib
import io
import json
import math
import os
import shlex
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from medr1_lib.cli import main
from medr1_lib.course import checks, ledger, tiers
from medr1_lib.course.sketch import sketch
from medr1_lib.data import dataset, images

tier = tiers.start(13)
plt.style.use("seaborn-v0_8-colorblind")
if "home" not in globals():  # else the cell runs once more, from another folder
    home = Path.cwd()
os.chdir(home)
mine = tiers.own_data()  # a relative path counts from here
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-13-")
study = Path(f"{mine}-study" if mine else temporary.name)  # of yours, all is kept
study.mkdir(exist_ok=True)
os.chdir(study)
PLACES = {"BASE": str(tier.model_path)}  # what commands below call it
DATA = Path(mine or "data").as_posix()

# %% [markdown]
# ## 1 A folder and a table
#
# The figure shows the order of a study. The blue steps come before any training. The order matters: if you
# read the audit or choose the measure after you know the result, the result proves little.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Seven boxes in two rows, joined by arrows in the order import, audit, form with its hash, base and controls, training, comparison, report. The first four are blue: they come before any training. A second arrow leads from the form to the comparison: the same measure."}}
sketch(
    {
        "import": (0, 0, "import\npatients apart"),
        "audit": (1.1, 0, "audit\nleaks, blind rules"),
        "form": (2.2, 0, "form\nwritten, hashed"),
        "base": (3.3, 0, "base\nand controls"),
        "train": (3.3, -1, "training"),
        "compare": (2.2, -1, "comparison\nsame questions"),
        "report": (1.1, -1, "report\nn, seeds, intervals"),
    },
    [
        ("import", "audit", ""),
        ("audit", "form", ""),
        ("form", "base", ""),
        ("base", "train", ""),
        ("train", "compare", ""),
        ("compare", "report", ""),
        ("form", "compare", "same measure"),
    ],
    tints=dict.fromkeys(("import", "audit", "form", "base"), "blue"),
    size=(9, 2.8),
)
plt.show()

# %% [markdown]
# Most data come as files in a folder, and a table with one row for each file. We make such a folder from real
# images in scikit-image and pydicom: a retina, stained tissue, cells, one slice of CT and one of MRI. There
# is only one image of each kind. So we cut each into nine parts, call each part a patient, and take three
# overlapping tiles from it. This is only an example, and too small for any claim. In your data, the patients
# are real.

# %%
import pydicom.data
import skimage.data
from PIL import Image

dicom = {"CT slice": "CT_small.dcm", "MR slice": "MR_small.dcm"}
pictures = {
    "retina": Image.fromarray(skimage.data.retina()),
    "stained tissue": Image.fromarray(skimage.data.immunohistochemistry()),
    "cells": Image.fromarray(skimage.data.cell()).convert("RGB"),
}
for kind, name in dicom.items():
    path = pydicom.data.get_testdata_file(name, download=False)
    pictures[kind] = images.load(Path(path))
print({kind: picture.size for kind, picture in pictures.items()})


# %%
def tiles(picture, part, rng, count=3):
    """Overlapping squares of one of the nine parts of a picture."""
    width, height = picture.width // 3, picture.height // 3
    x, y = part % 3 * width, part // 3 * height
    side = round(0.7 * min(width, height))
    for _ in range(count):
        left = x + rng.integers(0, width - side + 1)
        top = y + rng.integers(0, height - side + 1)
        yield picture.crop((left, top, left + side, top + side)).resize((112, 112))


# %%
rng, rows = np.random.default_rng(0), []
Path("tiles").mkdir(exist_ok=True)
for kind, picture in pictures.items():
    for part in range(9):
        for tile in tiles(picture, part, rng):
            name, patient = f"{len(rows):03}.png", f"{kind[:2]}-{part}"
            tile.save(f"tiles/{name}")
            rows.append({"file": name, "kind": kind, "patient": patient})
table = pd.DataFrame(rows)
table.to_csv("labels.csv", index=False)
table.groupby("kind").agg(tiles=("file", "size"), patients=("patient", "nunique"))

# %% [markdown]
# ## 2 Import
#
# One command makes a data set from the folder. You tell it which column is which. It knows some names, such
# as `image`, `label` and `patient_id`. It turns labels into questions: the options are the right label and up
# to three others, in an order that is drawn from a hash. All images of one patient go to the same split. A
# model never sees the path of an image, because paths often contain the diagnosis. The file `images.csv`
# beside the data maps each question back to its file.
#
# To use your own data, import them in a terminal and set `MEDR1_DATA` to the folder, say `DIR`. Then the chapter
# skips this import, and keeps your form, answers and adapter in `DIR-study`. In its commands, `BASE` stands for
# the folder of the untrained model.


# %%
def command(line):
    """Run a command of the library as a terminal would; `BASE` stands for a folder."""
    print(f"$ python -m medr1_lib {line}")
    errors, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(said):
        status = main([PLACES.get(word, word) for word in shlex.split(line)])
    assert status == 0, errors.getvalue()
    print(said.getvalue().replace(PLACES["BASE"], "BASE"), end="")


def afresh(*folders):
    """Remove what a cell wrote when it ran before."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


# %%
how = '--columns image=file,label=kind --question "What does the image show?"'
if not mine:
    afresh("data")
    command(f"data import --table labels.csv --root tiles --out {DATA} {how}")

# %% [markdown]
# ## 3 Audit before anything
#
# Read the next table before you spend an hour on training. The last columns are about the test images. *leak*
# is the share of questions whose image is also in the training file of the same name, and *any* the share
# whose image is in any training file. *patient* is the share whose patient is also in training. *near* is the
# share whose image almost equals a training image, also if it is mirrored or rotated. The first columns are
# rules that see no image. If one of them is far above *guess*, options or letters give answers away. Then a
# model can learn this rule and ignore the images.

# %%
command(f"data audit {shlex.quote(DATA)} --json audit.json")

# %% [markdown]
# What would an ordinary random split have done? It shuffles images and does not know patients. The next cell
# makes a random split of our table of tiles and counts. Tiles of one part overlap. So if a model has learned one of
# them by heart, it has an advantage with the others. This is why the import asks for a column `patient`.
# Without such a column it cannot keep patients apart.

# %% tags=["headline"]
shuffled = table.sample(frac=1, random_state=0)
train, test = shuffled.iloc[len(table) // 5 :], shuffled.iloc[: len(table) // 5]
known = test["patient"].isin(train["patient"])
print(f"random split: {known.mean():.0%} of test tiles are of patients in train")

# %% [markdown]
# ## 4 How many questions?
#
# ### Exercise 1: what questions are worth
# *medium, 10 minutes*
#
# Three tiles of one part are not three independent questions. The questions of one patient tend to be right
# or wrong together. So `n` questions are worth fewer than `n` independent ones. How many are they worth?
# Divide `n` by $1 + (k - 1) \cdot \text{alike}$, where $k$ is `per_patient`, the number of questions for each
# patient, and `alike` is the correlation between two of them.
#
# <details><summary>Hint</summary>
#
# With one question for each patient the divisor is 1. With two it is `1 + alike`.
#
# </details>


# %% tags=["exercise"]
def effective_n(n, per_patient, alike):
    """How many independent questions so many are worth."""
    # solution
    return n / (1 + (per_patient - 1) * alike)
    # end solution


# %%
effective_n = checks.effective_n(effective_n)

# %% [markdown]
# ### Exercise 2: before you train
# *medium, 15 minutes*
#
# Two models answer the same questions. On a share `differ` of the questions, exactly one of the models is
# right. The second model is better by `gain` in accuracy. How many questions does McNemar's test need to find
# this gain four times in five? The number is
#
# $$ n = \frac{\left(1.96 \sqrt{d} + 0.84 \sqrt{d - g^2}\right)^2}{g^2} $$
#
# with $d$ for `differ` and $g$ for `gain`. Take `Z` and `POWER` of the next cell for the two quantiles 1.96
# and 0.84, and round up.
#
# <details><summary>Hint</summary>
#
# You need only `math.sqrt` and `math.ceil`.
#
# </details>

# %%
Z, POWER = 1.959964, 0.841621


# %% tags=["exercise"]
def pairs_needed(gain, differ):
    """Questions after which a paired test finds a gain four times in five."""
    # solution
    spread = math.sqrt(differ - gain**2)
    root = Z * math.sqrt(differ) + POWER * spread
    return math.ceil(root**2 / gain**2)
    # end solution


# %%
pairs_needed = checks.pairs_needed(pairs_needed)

# %% [markdown]
# The curve below helps you to plan a study. Small gains are expensive: half the gain needs four times as many
# questions. Where 30 % of the answers differ, no gain can be above 30 points. The dotted line is the number of
# test questions that you have. The dashed line is what they are worth by exercise 1, for three tiles of a
# patient whose correlation is 0.5. Look at the dashed line, not at the dotted one: where it crosses the curve is the
# smallest gain that you can expect to find. Ours lies below the whole curve, so with these tiles you can expect to
# find none. If the gain that you hope for is smaller than that, collect more *patients*, or say now that your study
# only explores and proves nothing. Ours is such a study. For your own data, set `PER_PATIENT` and `ALIKE`. (What the
# questions are worth rests here on our guess `ALIKE`. `evaluate` estimates it from the answers, so its numbers differ
# from table to table.)

# %% tags=["hide-input"] mystnb={"image": {"alt": "Line chart on logarithmic axes: questions needed where thirty percent of answers differ, against the gain to be found, from two to thirty points, falling as the gain grows; about two hundred for ten points. A dotted line marks the number of test questions of this chapter, far below most of the curve. A dashed line, lower still and below the whole curve, marks how many independent questions they are worth."}}
PER_PATIENT, ALIKE = 3, 0.5
questions = len(dataset.read(Path(DATA))["test"])
worth = effective_n(questions, PER_PATIENT, ALIKE)
gains = np.linspace(0.02, 0.3, 60)
plt.figure(figsize=(6, 3), layout="constrained")
needed = [pairs_needed(gain, 0.3) for gain in gains]
plt.loglog(100 * gains, needed, label="needed, if 30 % of answers differ")
plt.axhline(
    questions, linestyle=":", color="grey", label=f"test questions: {questions}"
)
plt.axhline(worth, linestyle="--", color="C2", label=f"they are worth: {worth:.0f}")
plt.legend(frameon=False)
plt.xticks([2, 5, 10, 20, 30], [2, 5, 10, 20, 30])
plt.yticks([20, 50, 100, 500, 5000], [20, 50, 100, 500, 5000])
plt.minorticks_off()
plt.xlabel("gain to be found (points)")
plt.ylabel("questions needed")
plt.show()

# %% tags=["nbval-check-output"]
print("five questions a patient, half alike:", round(effective_n(200, 5, 0.5)))
print("to find 10 points:", pairs_needed(0.1, 0.3), "questions")

# %% [markdown]
# ## 5 Write it down first
#
# Fill in a form before the first training. Then you cannot choose, after the training, the measure that looks best. Send the hash of the form to a colleague, or commit the file. A hash that you sent on Monday proves on
# Friday that nothing was changed. Our form promises little, because we have few questions. For your own data, write every line of it anew.

# %%
form = {
    "question": "Does SFT on these tiles raise accuracy on tiles of other patients?",
    "data": "import and audit above; no test image was looked at",
    "primary measure": "accuracy, tolerant reader, greedy, unread counts as wrong",
    "comparison": "base against SFT, same questions, McNemar, two-sided, 5 %",
    "questions": questions,
    "seeds": [0],
    "controls": ["blank", "shuffled"],
    "exclusions": "none",
    "success": "gain above 0 with its interval, and a gain over the controls",
    "would change my mind": "the same gain with a blank image",
    "not claimed": "anything clinical; any other scanner, hospital or disease",
}
Path("form.json").write_text(json.dumps(form, indent=1), encoding="utf-8")
digest = hashlib.sha256(Path("form.json").read_bytes()).hexdigest()
print(f"{len(form)} entries; the hash: {digest[:12]}")

# %% [markdown]
# ## 6 Base and controls
#
# Score the untrained model first, also with a grey image and with the image of another question. The tiny
# model of the laptop tier knows drawings and few words, so expect about chance, the line *guess*. Read the intervals:
# with 30 questions they are so wide that a control can be above the model's own image by luck. Look at the
# last column, *unread*: completions that name no option count as wrong. If training only lowers this share,
# its gain is a gain in form. It does not show that the model sees more.

# %%
there = f"--data {shlex.quote(DATA)}"
asked = f"{there} --style no_think --max-new-tokens 24"
asked += " --quantize nf4" * (tier.name == "gpu")  # base and adapter alike
controls = "--controls blank shuffled --json base.json"
command(f"evaluate --model BASE --out said-base {asked} {controls}")

# %% [markdown]
# A rule that sees no image is the other baseline. The next cell takes the most frequent right letter of the
# training split and writes it into a table of answers. `evaluate --answers` scores such a table under the
# same rules. The answers can come from anywhere: from an API, from a model of 72 billion parameters on a
# cluster, or from a human reader. The table needs a column `id`, with the ids of the data set, and a column
# `prediction`. Questions without an answer count as wrong, and the command prints how many there are.

# %%
splits = dataset.read(Path(DATA))
letter = pd.Series(splits["train"]["answer"]).mode()[0]
ids = splits["test"]["id"]
pd.DataFrame({"id": ids, "prediction": letter}).to_csv("letter.csv", index=False)
out = "--out said-letter --json letter.json"
command(f"evaluate --answers letter.csv {there} {out}")

# %% [markdown]
# ## 7 GRPO or SFT?
#
# GRPO learns from differences within a group of completions. If the base never gives the right letter, all
# accuracy rewards of a group are zero. Then GRPO can learn the form, but no answers. If no group has spread at all, `train grpo`
# refuses to start. So check the base: does it keep the form, and is it sometimes right? If not, begin with
# some steps of SFT. A guesser passes this too. Only the pre-flight of `train grpo` tells whether groups have spread. If
# they have, GRPO can work, but it may not be the better tool. Here the right answers are
# known, there are few images, and the tiny model has hardly met these words. So this example uses SFT.

# %%
found = json.loads(Path("base.json").read_text(encoding="utf-8"))
print(f"the base keeps the form: {found['format_rate']:.0%} of completions")
print("it is right sometimes:", found["accuracy"] > 0)

# %%
TRAINS = tier.name != "replay"
recipe = "gpu-sft" if tier.name == "gpu" else "course-sft"
changes = {"model": PLACES["BASE"], "data": DATA, "style": "no_think"}
changes["max_steps"] = 15
if TRAINS:  # where nothing is trained, TRL is not loaded
    from medr1_lib.rl.recipe import load_recipe
    from medr1_lib.rl.train import Progress, train

    settings = load_recipe(recipe, **changes, save_steps=15)
    afresh("run", "said-sft")
    run = train(settings, Path("run"), callbacks=[Progress()])
    print(f"{len(run.log)} steps")

# %% [markdown]
# ## 8 The result
#
# We use the same questions, the same reader, and the comparison of chapter 10: pairs of answers to the same
# question. The interval of the difference is the result. The p-value is printed beside it. Compare the result
# with your form, also the rows of the two controls: the form promises a gain over them. A study without a gain is
# still a result, if you report its interval. Do not change the measure now. At the replay tier, the rule of the most frequent letter takes the place of the trained model.

# %%
against = "--compare said-base --json result.json"
if TRAINS:
    told = f"--out said-sft {asked} --controls blank shuffled {against}"
    command(f"evaluate --model run/adapter {told}")
else:
    command(f"evaluate --answers letter.csv {there} {against}")

# %% tags=["headline"]
result = json.loads(Path("result.json").read_text(encoding="utf-8"))
(pair,) = result["compared"].values()
low, high = (100 * end for end in pair["interval"])
gain = f"{100 * pair['difference']:+.1f} points [{low:+.1f}, {high:+.1f}]"
print(f"{pair['n']} test questions: {gain} against the base")
before, after = (f"{one['unread']:.0%}" for one in (found, result))
print(f"completions without an answer: {before} before, {after} after")

# %% [markdown]
# ### Exercise 3: leak on purpose
# *hard, 40 minutes*
#
# What would happen if the table had no patient column? Answer in four steps, in writing.
#
# 1. *Predict.* The same images are imported without patients, and a model is trained with the same 15 steps
#    of SFT. Will its accuracy be higher or lower than above, and by how many points?
# 2. *Run.* The next cell uses the same table without the column, so the images are split at random. With data of
#    your own it does nothing.
# 3. *Compare.* Compare both accuracies and their intervals with your prediction. Do the intervals overlap?
# 4. *Explain.* How many test questions would have shown the difference that you predicted? `pairs_needed` gives too
#    small a number here, because the two tests have different questions and cannot be paired. `effective_n` says how
#    much it grows, since tiles of one patient are alike. Which of the two shows the leak more
#    cheaply, the accuracy or the share of shared patients that you counted in section 3?
#
# <details><summary>Hint</summary>
#
# A leak helps a model that learns images by heart. How much can a model learn by heart in 15 steps, and how
# wide is an interval with so few questions?
#
# </details>

# %%
table.drop(columns="patient").to_csv("no-patients.csv", index=False)
if TRAINS and not mine:
    afresh("leaky", "run-leaky", "said-leaky")
    command(f"data import --table no-patients.csv --root tiles --out leaky {how}")
    careless = load_recipe(recipe, **changes | {"data": "leaky"}, save_steps=15)
    train(careless, Path("run-leaky"), callbacks=[Progress()])
    leaky = asked.replace(there, "--data leaky") + " --json leaky.json"
    command(f"evaluate --model run-leaky/adapter --out said-leaky {leaky}")
    for name in ("result", "leaky"):
        one = json.loads(Path(f"{name}.json").read_text(encoding="utf-8"))
        low, high = (100 * end for end in one["interval"])
        print(f"{name}: {100 * one['accuracy']:.0f} % [{low:.0f}, {high:.0f}]")

# %% [markdown]
# This is one run with one seed, and its intervals are wide. A test of this size finds only a large leak. A
# small one stays hidden. The second interval is also narrower than it should be: without a patient column,
# every tile counts as an independent question. Counting patients is cheap and finds every leak of this kind.
# So look for leaks in the data and not in the accuracy.
#
# If your data have several modalities or question types, `sweep` with a plan of chapter 12 makes the whole
# map, and `tools.report` draws it with intervals and seeds. Then let others check your work. `data export`
# writes data and answers in the formats of VLMEvalKit, lmms-eval and Inspect. A `circular` copy asks each
# question several times with the options in another order, so that you can see a letter habit. Each export
# has a card with questions that only you can answer.

# %%
afresh("vlmevalkit", "inspect")
command(f"data export {shlex.quote(DATA)} --to vlmevalkit --out vlmevalkit")
with contextlib.redirect_stdout(io.StringIO()):  # names of logs hold the time
    command("data export said-base --to inspect --out inspect")
print("logs for Inspect:", len(list(Path("inspect").glob("*.json"))))

# %% [markdown]
# ## 9 Larger machines
#
# | you have | use | take care |
# |---|---|---|
# | one GPU of 16 to 24 GB | recipe `gpu`, base in 4 bits, chapter 09 | give `--quantize nf4` to `evaluate` for the base too (an adapter brings it along), and train several seeds |
# | several GPUs | `torchrun --nproc_per_node 4 -m medr1_lib train grpo ...` | keep the number of questions per update, or say that it changed |
# | a cluster | `sweep --executor slurm`, a plan with seeds | put the plan under version control before you start it |
#
# Read the audit before you scale a study. A larger model learns a leak faster.
#
# ## 10 Who may see what
#
# You may have images of patients on your disk and still not be allowed to use them. Ask before you import.
# Who owns the images? Which licence or agreement covers training? May a trained adapter leave your
# institution? Weights can contain training images.
#
# It is not enough to remove names. Patients can also be identified by DICOM tags, text in the image, faces in
# head scans, dates and rare diseases. The import copies pixels and drops all tags, but it does not look for
# text in the image. `images.csv` contains your paths and patients. It stays with the data, and no export
# includes it. Check your report with the rubric below before anyone else reads it.

# %%
rubric = [
    ("patients are on one side, and the audit says so", 2),
    ("the form was written before training, and kept", 2),
    ("base, controls and a blind rule stand beside the result", 2),
    ("intervals, n, seeds; unread and missing answers are reported", 2),
    ("licence, de-identification and permission are on record", 2),
    ("what is not claimed is said; not for clinical use", 1),
    ("somebody else can repeat it with the commands given", 1),
]
pd.set_option("display.max_colwidth", None)
pd.DataFrame(rubric, columns=["the report shows that", "points"])

# %% [markdown]
# ## 11 Close your ledger
#
# In chapter 00 you gave three claims of Med-R1 a probability, and several chapters asked again. Now you
# compare two of them with the recorded runs. Each of the two consists of two differences in corrected accuracy
# (chapter 02):
#
# - the first claim: GRPO minus SFT in modalities, and in types of question, that a model was not trained on;
# - the second claim: no rationale minus a rationale before the answer, and a rationale after it minus one before it.
#
# We use the rule of chapter 12, with Student's 95 % interval over the seeds. A claim *holds here* if both
# intervals are above zero. It *does not hold here* if one is below zero. Otherwise it *is open*, also if there are
# fewer than three seeds. If nothing differs, one such interval misses zero in one of 20 cases. Chapter 12 says why
# it can be too narrow with three seeds. The score is the squared
# distance of your probability from the result: 0 is best, and 0.5 always scores 0.25.
#
# *Here* means a tiny base on drawings. The third claim, about size, gets no score. The larger model of
# chapter 08 was taught the medical images in full, so it is no larger base. And no model of 72 billion parameters was asked.

# %%
from scipy.stats import t

from medr1_lib.analysis import gains, recorded

RECORDED = tiers.material("recorded")
os.chdir(home)  # where your ledger lies


# %%
def corrected(name):
    """Answers of a recorded block, `corrected` as the corrected reader has them."""
    told = recorded.with_letter_probs(RECORDED / name)
    return pd.concat(gains.read_all(one) for _, one in told.groupby("model"))


def interval(gap):
    """Student's 95 % interval of a difference, over seeds."""
    reach = t.ppf(0.975, len(gap) - 1) * gap.sem()
    return gap.mean() - reach, gap.mean() + reach


def verdict(gaps):
    """Whether all differences, by seed, are above zero; `None` if that is open."""
    if min(map(len, gaps)) < 3:
        return None
    ends = [interval(gap) for gap in gaps]
    if any(high < 0 for _, high in ends):
        return False
    return True if all(low > 0 for low, _ in ends) else None


# %%
maps = corrected("maps").query("style == 'no_think'")
told = json.loads((RECORDED / "positions/positions.json").read_text())["runs"]
told = [run | run["readers"] for run in told if run["training"] == "course"]
arms = pd.DataFrame(told).query("arm == asked")
arms = arms.pivot(index="seed", columns="arm", values="corrected")
found = {"generalizes": []}
for axis in ("modality", "question_type"):
    away = maps[(maps["axis"] == axis) & (maps["train"] != maps[axis])]
    away = away.groupby(["seed", "method"])["corrected"].mean().unstack()
    found["generalizes"].append(away["grpo"] - away["sft"])
found["thinking"] = [arms[arm] - arms["before"] for arm in ("none", "after")]
for claim, gaps in found.items():
    rows = [[100 * x for x in (gap.mean(), *interval(gap))] for gap in gaps]
    said = " and ".join("{:+.1f} [{:+.1f}, {:+.1f}]".format(*row) for row in rows)
    print(f"{claim}: {said} points; seeds: {min(map(len, gaps))}")
ledger.settle({claim: verdict(gaps) for claim, gaps in found.items()})

# %% [markdown]
# In the record: by the rule, the first claim is open and the second claim does not hold here.
#
# The printed intervals take the questions as given: with other questions, the same models could differ otherwise.
# The intervals of chapters 11 and 12 know the questions as well as the seeds. If such an interval contains zero,
# the careful reading is that neither the claim nor its opposite was shown.
#
# In the record: over seeds and questions, `none` minus `before` is -2.2 [-4.9, +0.8] points, and `after` minus `before` is -0.7 [-3.2, +2.1].
#
# If a claim is open, it gets no score: keep your probability. And a claim that does not hold here may hold
# for a model of two billion parameters and real images, and the reverse. Write down which experiment would
# change your probability most, and what it would cost. This could be your next study.
#
# ## 12 When is GRPO the right tool?
#
# The last page of the course brings its evidence together. Find the row that describes your situation.
#
# | you have | use | because |
# |---|---|---|
# | right answers, and nothing to explain | SFT on the answers | it needs no sampling; in the same time, with more labels, it gained more here (chapter 10) |
# | right answers, and the model should explain first | rejection sampling, then SFT | it needs no written rationales; GRPO was not shown to gain more here (chapters 06 and 10) |
# | a rule that checks an answer, and a model that is right sometimes | GRPO | it learns from right and wrong completions, and from what the model writes now (chapters 04 to 06) |
# | a better model with the same vocabulary | on-policy distillation | it gives a signal at every token instead of one number for each completion (chapter 08) |
# | a model that is never right | SFT first, or a teacher | all accuracy rewards of a group are zero, so GRPO can learn the form, but no answers (chapters 04 and 08) |
# | a model that is always right | harder questions | all rewards of a group are equal here too |
# | a model that breaks the form or prefers a letter | a few examples of the form, or corrected letters | this is cheaper than RL, and the gain is no knowledge (chapters 02 and 06) |
# | a test that can be passed without images | more and better data | no training repairs a test that measures the wrong thing (chapter 01) |
#
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# Your table has five slices of each patient and no patient column. What does a leak of 0 % in the audit mean?
#
# <details><summary>A. No patient is in both splits, since equal images would have been found</summary>
#
# Wrong. Slices of one patient differ in their pixels, and the audit cannot know which patient they show.
#
# </details>
# <details><summary>B. No test image has the same pixels as a training image</summary>
#
# Right. It says nothing about patients; only a column that names them can.
#
# </details>
# <details><summary>C. The split is fair</summary>
#
# Wrong. Slices of one patient may be in both splits, although no two of them have equal pixels.
#
# </details>
#
# ### Question 2
# After training, accuracy rises by 20 points, and the share of unread completions falls from 30 to 5 %. What has been learned?
#
# <details><summary>A. In part at least, how to write a completion that can be read</summary>
#
# Right. Completions that could not be read counted as wrong, so reading them alone raises accuracy.
#
# </details>
# <details><summary>B. To see, since the test patients are new ones</summary>
#
# Wrong. With new patients, learning by heart cannot help. But the gain may still be form.
#
# </details>
# <details><summary>C. Nothing, since form is not knowledge</summary>
#
# Wrong. Form may explain some of the gain or all of it; the numbers given do not say which.
#
# </details>
#
# ### Question 3
# The primary measure shows no gain, but one question type of five gains with p = 0.04. What do you report?
#
# <details><summary>A. The gain in that type</summary>
#
# Wrong. With five types, chance alone gives at least one p below 0.05 in nearly one study of four. Chapter 11
# corrects for that.
#
# </details>
# <details><summary>B. Nothing at all</summary>
#
# Wrong. A study without a gain, with its interval, is a result, and the next one needs it.
#
# </details>
# <details><summary>C. No gain on the primary measure, and the type as an idea for the next study</summary>
#
# Right. The form said what counts. Another finding is an idea for the next study, not a result of this one.
#
# </details>
#
# ## What you saw
#
# - A folder and a table become a data set with one command, and patients stay on one side.
# - The audit comes before the training, and the form before the result.
# - Small gains need many questions, and questions of one patient count for less.
# - You can score the answers of any model under the same rules. Unread and missing answers are counted.
#
# ## Where to go next
#
# Use your own folder in place of ours: run `python -m medr1_lib data import --table FILE --root FOLDER --out
# DIR`, and then this chapter with `MEDR1_DATA=DIR`. Begin with the audit, and write the form. If the result
# surprises you, look for a leak first. Nothing here is for clinical use.
