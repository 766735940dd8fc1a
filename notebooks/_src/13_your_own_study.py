# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 13 Your own study
#
# ## What you will do
#
# Take a folder of pictures and a table, and go all the way to a result that you could defend: import,
# audit, a form filled in before the first training, a base, controls, a training, a comparison and a
# report. The pictures are real; they come with two packages that the course needs anyway. Then you
# put your own in their place. At the end you close your ledger.
#
# ## What you will learn
#
# After this chapter you can
#
# - turn a folder and a CSV file into a data set whose patients are kept apart,
# - say how many questions a study needs before it begins,
# - write down what will count as a success, and keep to it,
# - score the answers of any model, also of one that you cannot run,
# - say which next step is worth a GPU, several of them, or a cluster, and which is not.
#
# ## What you will need
#
# Chapters 01 (audit), 02 (readers and controls) and 10 (fair comparisons). A few minutes on one CPU
# core; at the replay tier nothing is trained.

# %%
import contextlib
import hashlib
import io
import json
import math
import os
import shlex
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
temporary = tempfile.TemporaryDirectory(prefix="medr1-chapter-13-")
home, mine = Path.cwd(), tiers.own_data()  # a relative path counts from here
os.chdir(temporary.name)
Path("base").symlink_to(tier.model_path)

# %% [markdown]
# ## 1 A folder and a table
#
# The figure shows the order of a study. The blue steps come before any training. The order matters: an audit that
# is read after the result, or a measure that is chosen after it, proves little.

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
# Your data will come as most do: files in a folder, and a table with a row for each. We make such a
# folder from real pictures that lie in scikit-image and pydicom: a retina, stained tissue, cells, one
# slice of CT and one of MRI. There is one picture of each kind, so we cut each into nine parts, call a
# part a patient, and take three overlapping tiles of it. That is a stand-in, and too small for any
# claim. With your data, a patient is a patient.

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
Path("tiles").mkdir()
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
# One command makes a data set of it. It needs to know which column is which; names such as `image`,
# `label` and `patient_id` it knows itself. A table of labels becomes a table of questions: the options
# are the right label and up to three others, in an order drawn from a hash. All pictures of one
# patient go to one side. Whatever a picture shows, its path is never shown to a model: paths often
# hold the diagnosis. `images.csv`, beside the data, leads back from each question to its file.
#
# To use your own data, import them once in a terminal and set `MEDR1_DATA` to the folder. Then the
# chapter leaves out this import and works on yours.


# %%
def command(line):
    """Run a command of the library as a terminal would."""
    print(f"$ python -m medr1_lib {line}")
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        status = main(shlex.split(line))
    assert status == 0, errors.getvalue()


# %%
how = '--columns image=file,label=kind --question "What does the image show?"'
if mine:
    Path("data").symlink_to(mine)
else:
    command(f"data import --table labels.csv --root tiles --out data {how}")

# %% [markdown]
# ## 3 Audit before anything
#
# Read the table before you spend an hour of training. *leak* counts test pictures whose pixels are in
# train, *patient* those of patients who are there, *near* those that almost equal one there, also
# mirrored or rotated. The
# columns before them are rules that see no picture: if one of them is far above *guess*, options or
# letters give answers away, and a model can learn that instead of the pictures.

# %%
command("data audit data --json audit.json")

# %% [markdown]
# What would an ordinary random split have done? It shuffles pictures and knows nothing of patients.
# The next cell makes one of our table and counts. Tiles of one part overlap, so a model that has
# learned one of them by heart is helped with the others. The number that you see is why the import
# wants a column `patient`, and why it cannot help you where you have none.

# %% tags=["headline"]
shuffled = table.sample(frac=1, random_state=0)
train, test = shuffled.iloc[len(table) // 5 :], shuffled.iloc[: len(table) // 5]
known = test["patient"].isin(train["patient"])
print(f"random split: {known.mean():.0%} of test pictures are of patients in train")

# %% [markdown]
# ## 4 How many questions?
#
# ### Exercise 1: what questions are worth
# *medium, 10 minutes*
#
# Three tiles of one part are not three independent questions. If a patient's questions tend to be
# right or wrong together, `n` of them are worth fewer: divide `n` by one plus, for each further
# question of a patient, the correlation `alike`.
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
# Two models answer the same questions. On a share `differ` of them exactly one is right, and the
# second gains `gain` in accuracy. How many questions does McNemar's test need to see that four times
# in five? Add 1.96 times the root of `differ`, which is its spread where there is no gain, and 0.84
# times the root of `differ` minus the gain squared, its spread where there is; square the sum and
# divide by the gain squared. Take 1.959964 and 0.841621 for the two quantiles, and round up.
#
# <details><summary>Hint</summary>
#
# `math.sqrt` and `math.ceil` are all that is needed.
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
# The curve below is the plan of a study. Small gains are expensive: half the gain needs four times
# the questions. Where your test split lies to the left of the curve, either ask for a larger gain,
# collect more, or say now that the study explores and proves nothing. Ours is of the last kind.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Line chart on logarithmic axes: questions needed against the gain to be found, from two to thirty points, falling as the gain grows; about two hundred for ten points where thirty percent of answers differ. A dotted line marks the number of test questions of this chapter, far below most of the curve."}}
questions = len(dataset.read(Path("data"))["test"])
gains = np.linspace(0.02, 0.3, 60)
plt.figure(figsize=(6, 3))
plt.loglog(100 * gains, [pairs_needed(gain, 0.3) for gain in gains])
plt.axhline(questions, linestyle=":", color="grey")
plt.xlabel("gain to be found (points)")
plt.ylabel("questions needed")
plt.show()

# %% tags=["nbval-check-output"]
print("five questions a patient, half alike:", round(effective_n(200, 5, 0.5)))
print("to find 10 points:", pairs_needed(0.1, 0.3), "questions")

# %% [markdown]
# ## 5 Write it down first
#
# A form that is filled in before the first training keeps you from choosing, afterwards, whatever came
# out well. Fill in yours; send its hash to a colleague, or commit the file. A hash that was sent on
# Monday proves on Friday that nothing was changed. Ours promises little, as it should with so few
# questions.

# %%
form = {
    "question": "Does SFT on these tiles raise accuracy on tiles of other patients?",
    "data": "import and audit above; no test picture was looked at",
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
# Score the untrained model first, also with a grey image and with the image of another question. The
# tiny model of the laptop tier knows drawings and few words, so expect about chance on these
# pictures. Look at the last column, *unread*: a completion that names no option counts as wrong. A gain
# that only lowers this share is a gain in form. It says nothing about what the model sees.

# %%
asked = "--data data --style no_think --max-new-tokens 24"
controls = "--controls blank shuffled --json base.json"
command(f"evaluate --model base --out said-base {asked} {controls}")

# %% [markdown]
# A rule that sees no picture is the other baseline. Here is the most frequent right letter of the
# training split, written as a table of answers. `evaluate --answers` scores such a table under the
# same rules, whoever gave the answers: an API, a model of 72 billion parameters on somebody's
# cluster, a reader with a form. It needs a column `id` and a column `prediction`; the ids stand in the
# data set. Questions without an answer are counted as wrong and told.

# %%
splits = dataset.read(Path("data"))
letter = pd.Series(splits["train"]["answer"]).mode()[0]
ids = splits["test"]["id"]
pd.DataFrame({"id": ids, "prediction": letter}).to_csv("letter.csv", index=False)
out = "--out said-letter --json letter.json"
command(f"evaluate --answers letter.csv --data data {out}")

# %% [markdown]
# ## 7 GRPO or SFT?
#
# GRPO learns from differences within a group of completions. If the base never gives the right letter in
# the right form, all rewards of a group are equal and nothing is learned. `train grpo` looks first and
# refuses. So ask the base: does it keep the form, and is it sometimes right? If not, some steps of SFT
# come first. If yes, GRPO can work. That does not make it the better tool. Here the right answers are
# known, the pictures are few, and the tiny model has hardly met the words, so this example takes SFT.

# %%
found = json.loads(Path("base.json").read_text(encoding="utf-8"))
print(f"the base keeps the form: {found['format_rate']:.0%} of completions")
print("GRPO can work here:", found["format_rate"] > 0.5 and found["accuracy"] > 0.1)

# %%
TRAINS = tier.name != "replay"
recipe = "gpu-sft" if tier.name == "gpu" else "course-sft"
changes = {"model": "base", "data": "data", "style": "no_think", "max_steps": 15}
if TRAINS:  # where nothing is trained, TRL is not loaded
    from medr1_lib.rl.recipe import load_recipe
    from medr1_lib.rl.train import train

    run = train(load_recipe(recipe, **changes, save_steps=15), Path("run"))
    print(f"{len(run.log)} steps")

# %% [markdown]
# ## 8 The result
#
# The same questions, the same reader, and the comparison of chapter 10: pairs of answers to one item.
# The interval of the difference is the result; the p-value comes with it. Set it beside the form. A
# study that finds nothing, with its interval, is a finding; one that changes its measure now is not.
# At the replay tier the rule of the most frequent letter takes the model's place, so that the
# comparison can be read there too.

# %%
against = "--compare said-base --json result.json"
if TRAINS:
    command(f"evaluate --model run/adapter --out said-sft {asked} {against}")
else:
    command(f"evaluate --answers letter.csv --data data {against}")

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
# What if the table had no patient column? Answer in four steps, in writing.
#
# 1. *Predict.* The same pictures are imported without patients, and the same 15 steps of SFT are made. Will the
#    accuracy be higher or lower than above, and by how many points?
# 2. *Run.* The next cell does it: the same table without the column, and pictures split at random.
# 3. *Compare.* Set both accuracies with their intervals beside your prediction. Do the intervals overlap?
# 4. *Explain.* How many test questions would have shown the difference that you predicted? Use `pairs_needed` for
#    a first idea, and `effective_n`, since tiles of one patient are alike. Which of the two shows the leak more
#    cheaply, the accuracy or the share of shared patients that you counted in section 3?
#
# <details><summary>Hint</summary>
#
# A leak helps a model that learns pictures by heart. Ask how much a model can learn by heart in 15 steps, and
# how wide an interval of so few questions is.
#
# </details>

# %%
table.drop(columns="patient").to_csv("no-patients.csv", index=False)
if TRAINS and not mine:
    command(f"data import --table no-patients.csv --root tiles --out leaky {how}")
    careless = load_recipe(recipe, **changes | {"data": "leaky"}, save_steps=15)
    train(careless, Path("run-leaky"))
    leaky = asked.replace("--data data", "--data leaky") + " --json leaky.json"
    command(f"evaluate --model run-leaky/adapter --out said-leaky {leaky}")
    for name in ("result", "leaky"):
        one = json.loads(Path(f"{name}.json").read_text(encoding="utf-8"))
        low, high = (100 * end for end in one["interval"])
        print(f"{name}: {100 * one['accuracy']:.0f} % [{low:.0f}, {high:.0f}]")

# %% [markdown]
# Ours is one run with one seed. Whatever it shows, the intervals are wide: a test of this size finds only a large
# leak, and a small one stays hidden in the result. And the second interval is narrower than it should be: without a
# patient column it counts every tile as an independent question. Counting patients costs nothing and finds any leak of
# this kind. So look for leaks in the data and not in the accuracy.
#
# With several modalities or question types in your data, `sweep` with a plan of chapter 12 makes the
# whole map, and `tools.report` draws it with intervals and seeds. Then let others check you. `data
# export` writes data and answers as VLMEvalKit, lmms-eval and Inspect read them; `circular` copies
# turn the options, so that a favourite letter shows. The cards that come with them ask what only
# you can know.

# %%
command("data export data --to vlmevalkit --out vlmevalkit")
command("data export said-base --to inspect --out inspect")

# %% [markdown]
# ## 9 Larger machines
#
# | you have | do | and mind |
# |---|---|---|
# | one GPU of 16 to 24 GB | recipe `gpu`, base in 4 bits, chapter 09 | `--quantize nf4` in `evaluate` too, and one seed is one seed |
# | several GPUs | `torchrun --nproc_per_node 4 -m medr1_lib train grpo ...` | the same number of questions an update, or say that it changed |
# | a cluster | `sweep --executor slurm`, a plan with seeds | put the plan under version control before you start it |
#
# Do not scale a study whose audit you have not read. A larger model finds leaks faster.
#
# ## 10 Who may see what
#
# Pictures of patients are not yours because they lie on your disk. Ask before you import: who owns
# them, which licence or agreement covers training, and may a trained adapter leave the house? Weights
# can hold training pictures. De-identification is more than names: DICOM tags, burnt-in text, faces in
# head scans, dates, rare diseases. The import copies pixels and drops all tags; it reads no burnt-in
# text. `images.csv` holds your paths and patients: it stays with the data, and leaves with none of the
# exports. The rubric below is for your report, before anyone else reads it.

# %%
rubric = [
    ("patients are on one side, and the audit says so", 2),
    ("the form was written before training, and kept", 2),
    ("base, controls and a blind rule stand beside the result", 2),
    ("intervals, n, seeds; unread and missing answers told", 2),
    ("licence, de-identification and permission are on record", 2),
    ("what is not claimed is said; not for clinical use", 1),
    ("somebody else can repeat it with the commands given", 1),
]
pd.DataFrame(rubric, columns=["the report shows that", "points"])

# %% [markdown]
# ## 11 Close your ledger
#
# In chapter 00 you gave three claims of Med-R1 a probability, and several chapters asked again. Here they stand
# for the last time, beside the evidence of the recorded runs. The rule: a claim *holds here* if every seed of
# one side is above every seed of the other. It *does not hold here* if every seed is below. Else it *is open*, and so it is
# with fewer than three seeds on a side. The
# score is the squared distance of your probability from the result: 0 is best, and 0.5 always scores 0.25.
#
# *Here* means: a tiny base on drawings. Form and letter habit are taken out by the corrected reader (chapters 10 to 12). No
# larger base was trained, so the claim about size stays open here.

# %%
from medr1_lib.analysis import gains, recorded

RECORDED = tiers.material("recorded")
os.chdir(home)  # where your ledger lies


def corrected(name):
    """Answers of a recorded block, `corrected` as the corrected reader has them."""
    told = recorded.with_letter_probs(RECORDED / name)
    return pd.concat(gains.read_all(one) for _, one in told.groupby("model"))


def above(first, second):
    """Whether all of the first lie above all of the second; `None` if that is open."""
    first, second = sorted(first), sorted(second)
    if min(len(first), len(second)) < 3:
        return None
    return (
        True if first[0] > second[-1] else False if first[-1] < second[0] else None
    )


# %%
maps, found = corrected("maps").query("style == 'no_think'"), set()
for axis in ("modality", "question_type"):
    away = maps[(maps["axis"] == axis) & (maps["train"] != maps[axis])]
    away = away.groupby(["method", "seed"])["corrected"].mean()
    found.add(above(away["grpo"], away["sft"]))
none, before = [], []
if (RECORDED / "positions").is_dir():  # every arm has learned its form first
    told = json.loads((RECORDED / "positions/positions.json").read_text())["runs"]
    told = [run for run in told if run["training"] == "course"]
    told = {(run["arm"], run["asked"], run["seed"]): run["readers"] for run in told}
    none, before = (
        [of["corrected"] for way, of in told.items() if way[:2] == (arm, arm)]
        for arm in ("none", "before")
    )
elif (RECORDED / "methods").is_dir():
    told = recorded.notes(RECORDED / "methods")["models"]
    fast = [one["model"] for one in told if one["recipe"]["learning_rate"] == 1e-3]
    rows = corrected("methods").query("method == 'grpo' and model in @fast")
    rows = rows.groupby(["style", "seed"])["corrected"].mean()
    none, before = rows["no_think"], rows["think_before"]
carries = found.pop() if len(found) == 1 else None
evidence = {"generalizes": carries, "thinking": above(none, before), "size": None}
ledger.settle(evidence)

# %% [markdown]
# A claim that does not hold here may hold for a model of two billion parameters and real images, and the reverse.
# Write down which experiment would move your probability most, and what it would cost. That is your next study.
#
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# Your table has five slices of each patient and no patient column. What does a leak of 0 % in the audit mean?
#
# <details><summary>A. No patient is on both sides, since equal pictures would have been found</summary>
#
# Wrong. Slices of one patient differ in their pixels, and the audit cannot know whose they are.
#
# </details>
# <details><summary>B. No test picture has the pixels of one in train</summary>
#
# Right. It says nothing about patients; only a column that names them can.
#
# </details>
# <details><summary>C. The split is fair</summary>
#
# Wrong. Five slices of one patient may lie on both sides and never have equal pixels.
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
# Wrong. New patients rule out learning by heart; they do not tell form from sight.
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
# Wrong. One in five at p below 0.05 is what chance often gives; chapter 11 corrects for that.
#
# </details>
# <details><summary>B. Nothing at all</summary>
#
# Wrong. A study without a gain, with its interval, is a result, and the next one needs it.
#
# </details>
# <details><summary>C. No gain on the primary measure, and the type as an idea for the next study</summary>
#
# Right. The form said what counts. What was found on the way is a question, not an answer.
#
# </details>
#
# ## What you saw
#
# - A folder and a table become a data set with one command, and patients stay on one side.
# - The audit comes before the training, and the form before the result.
# - Small gains need many questions, and questions of one patient count for less.
# - Any model's answers can be scored under the same rules, with unread and missing ones told.
#
# ## Where to go next
#
# Put your own folder in the place of ours: `python -m medr1_lib data import --table FILE --root FOLDER
# --out DIR`, then this chapter with `MEDR1_DATA=DIR`. Begin with the audit, and write the form. If the
# result surprises you, look for the leak first. Nothing here is for clinical use.
