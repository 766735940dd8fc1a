# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 11 Think before or after
#
# ## What you will do
#
# A rationale can stand before the letter, after it, or be left out. Does that matter? You compare the three
# styles on the same questions. You read an experiment whose predictions were written down before it ran. You
# split a difference into a part from *training* and a part from *answering*. At the end you compare
# rationales with the truth.
#
# ## What you will learn
#
# After this chapter you can
#
# - say whether a rationale after the letter can help a model, in answering and in training,
# - compare several methods without mistaking luck for a result,
# - read a registered prediction: held, refuted or open,
# - split the distance between two models into a part made in training and a part made in answering,
# - compute how many claims of a rationale are false, and say when a rationale helps.
#
# ## What you will need
#
# Chapters 06 (the parts of a gain) and 10 (fair comparisons). Nothing is trained here. Section 1 asks the
# base live, on one core. The other sections read recorded runs, and each prints how many seeds it has.

# %%
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt
from PIL import Image

from medr1_lib.course import checks, ledger, tiers

tier = tiers.start(11)
from medr1_lib.analysis import gains, grounding, plots, recorded, stats, transfer
from medr1_lib.analysis.reliance import reliance
from medr1_lib.course.chapters.chapter_12 import no_think_minus_think, published
from medr1_lib.course.sketch import sketch
from medr1_lib.data import phantom_vqa, phantoms
from medr1_lib.data.question import LETTERS
from medr1_lib.data.rationale import KNOWN, claims, rationale as true_rationale
from medr1_lib.data.styles import STYLES, before_letter, read_strict
from medr1_lib.evaluation.ask import Asker, shared_edge
from medr1_lib.evaluation.items import GREY
from medr1_lib.model.loading import load_policy
from medr1_lib.model.vision_cache import VisionCache

# %% [markdown]
# ## 1 Left to right
#
# A language model writes from left to right. When it chooses the letter, it reads a rationale that stands
# before the letter. A rationale after the letter does not exist yet. So in *answering*, only a rationale
# before the letter can matter.
#
# *Training* is different. GRPO gives every token of a rollout the same advantage, and all tokens use the same
# weights. In `think_before`, a rationale that leads to the right letter is made more likely, because its tokens
# get the reward of that letter. In `think_after`, the letter stands before the rationale exists. The arrows in
# the figure show what a token's gradient reaches. In which row does that of the letter reach the rationale?

# %% mystnb={"image": {"alt": "Two rows of boxes in reading order. Upper row, think_before: prompt and image, rationale, letter. Arrows of the gradient lead from the letter back to the rationale and from the rationale back to the prompt. Lower row, think_after: prompt and image, letter, rationale. Arrows lead from the rationale back to the letter and from the letter back to the prompt; none leads from the letter to the rationale. The letters are orange, the rationales blue."}}
plt.ion()  # a figure appears under the cell that draws it
boxes = {
    "before": (-0.2, 1, "think_before"),
    "asked": (1.1, 1, "prompt, image"),
    "early": (3.1, 1, "rationale"),
    "letter": (5.1, 1, "letter"),
    "after": (-0.2, 0, "think_after"),
    "asked too": (1.1, 0, "prompt, image"),
    "letter first": (3.1, 0, "letter"),
    "late": (5.1, 0, "rationale"),
}
arrows = [
    ("letter", "early", "gradient of the letter"),
    ("early", "asked", "of the rationale"),
    ("letter first", "asked too", "gradient of the letter"),
    ("late", "letter first", "of the rationale"),
]
tints = {
    "letter": "orange",
    "letter first": "orange",
    "early": "blue",
    "late": "blue",
}
sketch(boxes, arrows, tints=tints, size=(9, 2.6))
plt.show()

# %% [markdown]
# Only in the upper row can training make a rationale more useful for the letter. In the lower row, the tokens
# of the rationale still change weights that the letter uses too. This may help or harm.
#
# We begin with answering, without any training. The base answers 160 questions in both styles, live.

# %%
model, processor = load_policy(tier.model_path, tier.quantize)
cache, asker = VisionCache(model), Asker(model, processor, tier.max_new_tokens)
asked = list(phantom_vqa.questions("test", per_cell=4))
pictures = [phantoms.draw(question.scene) for question in asked]
chats = {s: [asker.question_chat(q, s) for q in asked] for s in STYLES}
said = {s: asker.complete(chats[s], pictures) for s in chats if s != "no_think"}

# %% [markdown]
# In an *edit*, we replace the option that a rationale names by another option, and change nothing else. We
# edit only completions in perfect form. If the model wrote none, we write them ourselves. The model reads the
# whole text, with the edit and without it. Then we compare its scores for the next token at the place of the
# letter.


# %%
def written(style):
    """For each question a completion in the form, with the right letter and a true rationale."""
    for question in asked:
        attribute = phantom_vqa.ATTRIBUTES[question.question_type]
        reasons = true_rationale(question.scene, attribute)
        yield STYLES[style].completion(question.answer, reasons)


def edited(style, texts):
    """Place, letter, text and text with another option, of each answer that allows it."""
    for place, (question, text) in enumerate(zip(asked, texts, strict=True)):
        form = STYLES[style].pattern.fullmatch(text)
        named = [option for option in question.options if option in text]
        if form and named == [question.options[LETTERS.index(form[1])]]:
            other = question.options[(LETTERS.index(form[1]) + 1) % len(LETTERS)]
            yield place, form[1], text, text.replace(named[0], other)


@torch.inference_mode()
def change_at_letter(style, place, letter, *texts):
    """How far an edit moves a score where the letter is due, all text fed in."""
    chat, scores = chats[style][place], []
    for text in texts:
        opened = chat + before_letter(text, style)
        opened = opened.removesuffix(shared_edge(processor.tokenizer))
        length = asker.encode([opened], [pictures[place]])["input_ids"].shape[1]
        batch = asker.encode([chat + text], [pictures[place]])
        scores.append(model(**batch).logits[0, length - 1])
    return float((scores[1] - scores[0]).abs().max())


edits = {style: list(edited(style, texts)) for style, texts in said.items()}
if not all(edits.values()):
    print("the model writes none in this form, so we write them")
    edits = {style: list(edited(style, written(style))) for style in said}
print("an edit:", *edits["think_before"][0][2:], sep="\n")

# %%
at_letter = {}
for style, some in edits.items():
    at_letter[style] = max(change_at_letter(style, *edit) for edit in some[:20])
    print(f"{style}: scores at the letter change by up to {at_letter[style]:.2f}")

# %% [markdown]
# An edit after the letter changes nothing. This is true for every model that writes from left to right, and
# no reward can change it. An edit before the letter does change the scores. Does the letter then follow the
# edited rationale, or the image? The last line of the next output is about a grey image.

# %%
style, places = "think_before", [place for place, *_ in edits["think_before"]]
opened = [
    chats[style][place] + before_letter(new, style)
    for place, *_, new in edits[style]
]
shown = [pictures[place] for place in places]
old = np.array([LETTERS.index(letter) for _, letter, *_ in edits[style]])
letters = asker.forced_probs(opened, shown).argmax(1)
grey = [Image.new("RGB", picture.size, GREY) for picture in shown]
unseen = asker.forced_probs(opened, grey).argmax(1)
found = {"follows the edit": letters == (old + 1) % 4, "stays": letters == old}
for what, hits in (found | {"is the same on grey": letters == unseen}).items():
    low, high = stats.wilson(int(hits.sum()), len(hits))
    print(
        f"the letter {what}: {hits.mean():.0%} [{low:.0%}, {high:.0%}], n = {len(hits)}"
    )

# %% [markdown]
# If most letters follow the edit, the rationale *causes* the answer in this base, even against the image.
# Then a true rationale helps and a false one harms. The test used the untrained base and its completions in
# perfect form. It says nothing about models after GRPO. Section 5 compares their rationales with the truth.
#
# ## 2 Three styles, the same questions
#
# All models start from the base of this course. GRPO is the recipe of chapter 06. Supervised fine-tuning,
# SFT, sees the right letter. In the two styles with a rationale it also sees a true rationale, so it has more
# information than GRPO.


# %%
BLOCK = tiers.material("recorded/methods")
models = pd.DataFrame(recorded.notes(BLOCK)["models"])
rates = models["recipe"].map(lambda recipe: recipe["learning_rate"])
chosen = models.loc[
    rates == rates.max(), "model"
]  # the slower ones are for chapter 10
order = pd.CategoricalDtype(list(STYLES), ordered=True)
records = recorded.load(BLOCK).query("model in @chosen")
real = recorded.with_letter_probs(BLOCK).query("model in @chosen")
keys = ["style", "method", "seed"]
read = {key: gains.read_all(one) for key, one in real.groupby(keys)}
steps, n = models["steps"].max(), real["item"].nunique()
seeds = models.query("method == 'grpo'")["seed"].nunique()
print(f"{n} questions, {steps} steps, {seeds} seed(s) of each method and style")

# %% [markdown]
# All intervals are 95 % intervals over images and seeds. With one seed they are too narrow, because they do
# not know how much another training would differ. As in chapter 06, *knowledge*, letter *habit* and *form*
# add up to *strict*.


# %%
def told(table, sign="+"):
    """Each value with its interval, in points."""
    rows = 100 * table[["value", "low", "high"]].to_numpy()
    return ["{:{s}.1f} [{:{s}.1f}, {:{s}.1f}]".format(*row, s=sign) for row in rows]


def by_measure(table, index):
    """Each measure of a table in a column of its own, with its interval."""
    points = table.assign(points=told(table, ""))
    return points.pivot(index=index, columns="measure", values="points")


def gained(pairs):
    """The parts of the gain, of pairs of readings before and after by seed."""
    changes = [gains.change(*pair).assign(model=s) for s, pair in pairs.items()]
    return told(gains.gain_table(pd.concat(changes)))


def looks(group):
    """Image reliance, accuracy without the right image, and the length."""
    looked = [reliance(one).assign(model=m) for m, one in group.groupby("model")]
    right = 100 * group.groupby("control")["correct"].mean()
    tokens = group.loc[group["control"] == "none", "tokens"].mean()
    rest = [f"{one:.1f}" for one in (right["blank"], right["shuffled"], tokens)]
    return told(stats.mean_table(pd.concat(looked), ["VRS", "IS"]), "") + rest


# %% [markdown]
# First compare `knowledge` in the three rows of one method. If the intervals overlap widely, the table does
# not rank the styles. Then compare the two methods in `think_before`: SFT was shown true rationales before
# the letter, and GRPO had to find its own.

# %%
rows = {}
for method, style in product(("grpo", "sft"), STYLES):
    base = read[style, "base", -1]
    after = {k[2]: (base, v) for k, v in read.items() if k[:2] == (style, method)}
    rows[method, style] = gained(after)
pd.DataFrame(rows, gains.PARTS).T

# %% mystnb={"image": {"alt": "Bars of accuracy in percent for the three styles, each with the base, GRPO and SFT, with 95 percent intervals and a dashed line of chance at 25. The axis goes from 0 to 100. The table above has the gains over the base."}}
shown = real.astype({"style": order})
table = stats.rate_table(shown, ["method", "style"], {"all": ("correct", None)})
names = {"method": "series", "style": "test", "value": "accuracy"}
axes, _ = plots.headline(table.rename(columns=names).assign(n=n), "Accuracy in %")
_ = axes.set_xlabel(f"style ({n} questions, {steps} steps, {seeds} seed(s); 95 %)")

# %% [markdown]
# Look at the base first. If a style starts ahead, it can end ahead without gaining more.
#
# Do the models look at the image? `VRS`, the visual reliance score, is the accuracy minus the accuracy with
# the image of another question, in points. `IS` is the share of answers that change with the other image.
# `blank` and `shuffled` are accuracies without the right image, and chance is 25 %. `tokens` is the length of
# a completion.

# %%
both = records.astype({"style": order}).groupby(["method", "style"], observed=True)
rows = {key: looks(group) for key, group in both}
LOOKS = ["VRS", "IS", "blank", "shuffled", "tokens"]
pd.DataFrame(rows, LOOKS).T

# %% [markdown]
# There are three pairs of styles, and we compare accuracy and gained knowledge. This makes six tests. Suppose
# that no style differs from another. If you run six independent tests at the 5 % level, the chance of at
# least one "significant" result is still about one in four. So the p-values need a correction.
#
# ### Exercise 1: Holm's correction
# *medium, 15 minutes*
#
# Sort the p-values of $m$ tests. Multiply the smallest by $m$, the next by $m - 1$, and so on. If a corrected
# value is smaller than the one before it, use the one before it. If a value is above 1, use 1. Return the
# corrected values in the order of the p-values that you were given.
#
# <details><summary>Hint</summary>
#
# `np.argsort` gives the place of the smallest value, then of the next, and so on. `np.maximum.accumulate`
# replaces each value by the largest so far. `corrected[order] = steps` puts every value back in its place.
#
# </details>


# %% tags=["exercise"]
def holm(p):
    """P-values corrected for their number, so that one false alarm in all is rare."""
    # solution
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return np.minimum(1.0, steps)[np.argsort(order)]  # back in the order of `p`
    # end solution


# %%
holm = checks.holm(holm)

# %% [markdown]
# `compare_pooled` adds the variance between seeds to the variance between questions. All letters are
# *corrected* for form and habit. For *knowledge*, the answers of the base are subtracted. A large `p_holm`
# does not mean that two styles are equal. The interval shows how far apart they may be.


# %%
def against(first, *others, gain):
    """Other styles against the first: corrected letters, or the gain over the base."""
    known = pd.concat(read.values()).assign(
        correct=lambda table: table["corrected"]
    )
    styles = first, *others
    found = {s: transfer.transfer_answers(known, "grpo", s, "all") for s in styles}
    for style, one in found.items():
        right = one.right.sub(one.base, axis=0) if gain else one.right
        found[style] = replace(one, right=right)
    return transfer.compare_pooled(found).assign(minus=first, gain=gain)


pairs = product((False, True), (list(STYLES), ["no_think", "think_after"]))
tests = [against(*styles, gain=gain) for gain, styles in pairs]
tests = pd.concat(tests, ignore_index=True)
tests = tests.rename(columns={"label": "style", "difference": "value"})
tests["what"] = tests["gain"].map({False: "accuracy", True: "knowledge"})
tests["p_holm"], tests["points"] = holm(tests["p"]), told(tests)
tests[["what", "style", "minus", "points", "p_holm"]].round(3)

# %% [markdown]
# In the record: after Holm's correction, a difference in knowledge gained is shown for none of the three pairs of styles,
# and a difference in accuracy for none of them.
#
# Now compare with a second record, the one of chapter 06 with 150 steps. (`over` says what an interval knows
# beside the images: the *seeds* of the first base, or all *bases*.) Do the intervals of the styles overlap? Then
# their order is a hint, even if both records have the same order. It is no finding.

# %%
longer = json.loads(tiers.material("recorded/learning/learning.json").read_text())
table = pd.DataFrame(longer["table"]).query("arm == 'grpo'")
table = table[table["part"].isin(["knowledge", "strict"])]
table = table.assign(points=told(table))
table.set_index(["style", "models", "over", "part"])["points"].unstack()

# %% [markdown]
# ## 3 Six arms, and what was predicted
#
# To find a cause, change one thing at a time. The study `benchmarks/study/positions.py` has six
# forms of completion, called *arms*:
#
# - `before`, `none` and `after` are the three styles,
# - `reason` is `after` with the words and tags of arXiv 2503.16188, a paper by authors of Med-R1,
# - `dummy` is the letter, then one fixed sentence without content,
# - `adaptive` may think first or not; both forms earn the format reward.
#
# Each arm first learns its form on everyday drawings, without medical images. We call this the *lesson*. Then
# GRPO trains it on medical questions. All gains are over the model after the lesson.


# %%
def predictions(found):
    """The registered predictions of a record with what came out."""
    table = pd.DataFrame(found["outcomes"])
    return table.replace(" less ", " minus ", regex=True)


FOLDER = tiers.material("recorded/positions")
study = json.loads((FOLDER / "positions.json").read_text())
answers = pd.read_parquet(FOLDER / "answers.parquet").assign(style=None)
keys = ["training", "arm", "asked", "seed"]
by = {key: gains.read_all(one) for key, one in answers.groupby(keys)}
ARMS = [arm for arm in study["arms"] if ("course", arm) in {key[:2] for key in by}]
rows, n, seeds = {}, answers["item"].nunique(), len({key[3] for key in by})
for arm in ARMS:
    after = {k[3]: v for k, v in by.items() if k[:3] == ("course", arm, arm)}
    pairs = {seed: (by["lesson", arm, arm, seed], v) for seed, v in after.items()}
    own = answers.query("training == 'course' and arm == @arm and asked == @arm")
    rows[arm] = gained(pairs) + looks(own.assign(model=own["seed"]))
print(f"{n} questions, {study['steps']} steps, up to {seeds} seeds of an arm")
pd.DataFrame(rows, [*gains.PARTS, *LOOKS]).T

# %% [markdown]
# Four things can make `after` and `none` differ: the prompt, the length over which the loss averages, the KL
# penalty, which is averaged too, and the gradient of the rationale's own tokens. `dummy` has the first three.
# Its fixed sentence was learned in the lesson and is almost certain, so its tokens should have almost no
# gradient. **Write down** the sign that you expect for `after` minus `none`, `dummy` minus `none` and
# `before` minus `none`.
#
# The study's own predictions were registered in `benchmarks/study/predictions.yaml` before it ran. Each is a
# range in points. A prediction *held* if the whole 95 % interval lies inside its range. It is *refuted* if
# interval and range do not overlap. In all other cases it is *open*. There is one exception, which we added
# when the record was made. A prediction is *void* if one of
# its arms did not learn its form: if after the lesson less than half of its completions in the test are in
# form. Then the arm does not test what the prediction is about.

# %%
outcomes = predictions(study)
ran = outcomes["outcome"] != "not run"
outcomes["came out"] = np.where(
    ran, told(outcomes[["value", "low", "high"]] / 100), ""
)
outcomes[["prediction", "expected", "came out", "outcome"]]

# %% tags=["headline", "nbval-check-output"] mystnb={"image": {"alt": "One row for each registered prediction that was run. A grey bar is the registered range in points, a dot with a line is what came out with its 95 percent interval. The color of the dot and a word behind the name say whether the prediction held, is open, is refuted or is void. The table above has the same numbers."}}
COLORS = {"held": "C0", "open": "0.4", "refuted": "C2", "void": "0.75"}
plt.style.use("seaborn-v0_8-colorblind")
shown = outcomes[ran][::-1].reset_index(drop=True)
_, axis = plt.subplots(figsize=(9, 1 + 0.32 * len(shown)), layout="constrained")
for place, row in shown.iterrows():
    low, high = row["expected"]
    axis.barh(place, high - low, left=low, color="0.88")
    whisker = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    look = {"fmt": "o", "capsize": 3, "color": COLORS[row["outcome"]]}
    axis.errorbar(row["value"], place, xerr=whisker, **look)
axis.set_yticks(range(len(shown)), shown["prediction"] + ": " + shown["outcome"])
axis.axvline(0, color="black", linewidth=1)
axis.set_xlabel(f"points (n = {n} questions, up to {seeds} seeds; 95 % intervals)")
counts = outcomes["outcome"].value_counts()
print("registered predictions:", ", ".join(f"{k} {v}" for k, v in counts.items()))

# %% [markdown]
# *Open* means that the data do not decide. For *held*, the whole line has to lie inside the bar, not only its
# dot. In the record, each arm has five seeds, but `reason` has one. With the other losses, `none` and `after` have five, and
# `dummy` has one. So be careful with *held* and *refuted* where only one seed speaks.
#
# In the record: four predictions held, eight are open, one refuted and one void;
# the arms that did not learn their form: `reason`.
#
# With an empty rationale, a `before` model falls to chance, further than we expected. Section 4 shows that
# all other models fall to chance in this form too. So the form may simply be foreign to them.
#
# In the record: with `dr_grpo`, where a token weighs the same in a short and in a long completion, `after` minus `none` changes by
# -0.9 [-3.8, +2.2] points, and without the KL penalty by -1.5 [-5.8, +2.5].
#
# So the average over length is no large cause: that prediction held. The KL penalty is not shown to be one.
#
# In the record: after GRPO, `adaptive` thinks first in 0, 0, 100, 5 and 0 % of its completions, by seed.
#
# So training settles on one of its two forms, and luck decides on which. With the first seed alone, the prediction about it
# held.
#
# How does an arm fail? The next cell shows completions of `reason` in the test, one after the lesson and one
# after GRPO. In the test a completion may have 64 tokens. In training, the limit was 32. The last two lines say
# how many completions after GRPO are in form, as they are and cut after 32 tokens. **Predict** the second number.

# %%
own = answers.query("arm == 'reason' and asked == 'reason' and control == 'none'")
for training, some in own.groupby("training", sort=False):
    kept = some["format_ok"].mean()
    print(f"{training}: {some['completion'].iloc[0]!r}; in form: {kept:.0%}")


def cut(text, tokens=32):
    """The beginning of a completion, as long as one may be in training."""
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return processor.tokenizer.decode(ids[:tokens], skip_special_tokens=True)


short = own.query("training == 'course'")["completion"].map(cut)
kept = np.mean([read_strict(text, "reason_after") is not None for text in short])
print(f"after GRPO, cut after 32 tokens: {short.iloc[0]!r}; in form: {kept:.0%}")

# %% [markdown]
# After the lesson, the model stopped behind the tag that opens the rationale. Then GRPO found a text that is in
# form exactly if it is cut where training cuts it. Its rationale is nonsense, since no reward reads it. This is
# reward hacking, as in chapter 03. In the test nothing is cut there, and the form is lost. So `reason minus after`
# says nothing about words and tags.
#
# ## 4 Training or answering?
#
# Every model was asked in all forms. `empty` is `before` with an empty rationale. Along a row the model is
# the same, so a difference comes from *answering*. Down a column the form of the question is the same, so a
# difference comes from *training*. Letters are read by the corrected reader. Still, if a model never learned
# a form, its letters in this form can be near chance. Look at the column `empty`, and at the column `before`
# for models that were trained in other forms.

# %% mystnb={"image": {"alt": "A heatmap of accuracy in percent. Rows are the form that a model was trained in, columns the form that it was asked in, the last one with an empty rationale. Colors go from 0 to 75. The table below has the intervals."}}
crossed = pd.concat(
    [
        one.assign(train=key[1], test=key[2], model=key[3])
        for key, one in by.items()
        if key[0] == "course"
    ]
)
forms = list(dict.fromkeys([*study["arms"], *answers["asked"]]))
forms = pd.CategoricalDtype(forms, ordered=True)
cells = crossed.astype({"train": forms, "test": forms})
table = stats.rate_table(cells, ["train", "test"], {"all": ("corrected", None)})
ends = table.assign(points=told(table, "")).pivot(
    index="train", columns="test", values="points"
)
table = table.rename(columns={"value": "accuracy"}).assign(n=n, seeds=seeds)
axes, _ = plots.heatmap(table, title="Corrected accuracy in %")
axes.set(
    ylabel="trained in", xlabel=f"asked in ({n} questions, up to {seeds} seeds)"
)
plt.show()
ends.loc[study["arms"], forms.categories]

# %% [markdown]
# ### Exercise 2: made in training, or in answering?
# *hard, 40 minutes*
#
# The function takes ten minutes. Then *predict* which part is larger for each pair in the next table, *run*
# the cell, and *explain* the result with the map above.
#
# `right[trained, asked]` has a 1 for each question that a model gets right. The distance of two arms, each in
# its own form, is `right[first, first] - right[second, second]`. The *training* part is the difference
# between the two models if both are asked in the same form, averaged over the two forms. The *answering* part
# is the difference between the two forms for the same model, averaged over the two models. Return both parts,
# with one entry per question.
#
# <details><summary>Hint</summary>
#
# List `right[first, form] - right[second, form]` for both forms, and take `np.mean(..., 0)`. The two parts add up to
# the distance.
#
# </details>


# %% tags=["exercise"]
def split_distance(right, first, second):
    """What training and answering add to the distance of two arms, per question."""
    # solution
    both = first, second
    trained = [right[first, form] - right[second, form] for form in both]
    asked = [right[arm, first] - right[arm, second] for arm in both]
    return {"training": np.mean(trained, 0), "answering": np.mean(asked, 0)}
    # end solution


# %%
split_distance = checks.split_distance(split_distance)

# %% [markdown]
# A part is clear of zero if its interval does not contain zero.

# %% tags=["headline"]
sides = {"index": ["model", "item", "image_id"], "columns": ["train", "test"]}
wide = crossed.pivot(values="corrected", **sides)
PAIRS = [("after", "none"), ("dummy", "none"), ("before", "none")]
rows, sides = {}, ["distance", "training", "answering"]
for first, second in [pair for pair in PAIRS if {*pair} <= {*ARMS}]:
    both = first, second
    right = {
        (trained, form): wide[trained, form] for trained in both for form in both
    }
    parts = pd.DataFrame(split_distance(right, *both), wide.index).dropna()
    parts["distance"] = parts.sum(axis=1)
    table = stats.mean_table(parts.reset_index(), sides)
    rows[f"{first} minus {second}"] = told(table)
    clear = table.index[(table["low"] > 0) | (table["high"] < 0)]
    print(f"{first} minus {second}, clear of zero:", ", ".join(clear) or "nothing")
pd.DataFrame(rows, sides).T

# %% [markdown]
# In the record: `after` minus `none` is +1.5 [-0.7, +3.9] points: +1.2 [-1.1, +3.5] made in training and
# +0.3 [-0.7, +1.2] in answering.
#
# If no part is clear of zero, the effect of the position is not larger than the ends of the intervals. If a
# part is, look at the map before you explain it. A model may simply do badly in a form that it never learned, as
# `none` does in the form `before`.
#
# ## 5 Is the rationale true?
#
# People tend to believe a rationale. For a phantom we know the scene, so every claim can be checked.
#
# ### Exercise 3: from words to claims
# *medium, 20 minutes*
#
# It is not enough to look for true words: "not a mass" contains the word *mass*. So we count *claims*. A
# comma and a space separate the parts of a rationale. A part claims something if it is `attribute: value`, or
# a value alone. `KNOWN` maps each value to its attribute. If the attribute or the value of a part is unknown,
# the part belongs to the rest. Return two lists: the claims as pairs `(attribute, value)`, and the rest as
# text. Leave out empty parts.
#
# <details><summary>Hint</summary>
#
# `claims(part)` of chapter 02 returns `{attribute: value}`, or an empty dictionary where the part has no
# colon. `KNOWN.get(part, "")` is the attribute of a value alone.
#
# </details>


# %% tags=["exercise"]
def claimed(rationale):
    """What a rationale claims, and the parts of it that claim nothing."""
    # solution
    made, rest = [], []
    for part in filter(None, map(str.strip, rationale.split(", "))):
        said = claims(part) or {KNOWN.get(part, ""): part}
        ((name, value),) = said.items()
        if name in KNOWN.values() and value in KNOWN:
            made.append((name, value))
        else:
            rest.append(part)
    return made, rest
    # end solution


# %%
claimed = checks.claimed(claimed)

# %% [markdown]
# The library's `score` applies this function to all completions. *Hallucination* is the share of claims that
# are false. *Agreement* is the share of answers whose rationale names the chosen option. No reward read a
# rationale. But in `think_before` a false claim can lead to a wrong letter. Training can avoid this in two ways:
# the rationales become truer, or the letter depends less on them. Compare `base` and `grpo`: does
# *hallucination* fall, or *agreement*? And does a model describe a blank image in good form?

# %%
apart = ["control", "style", "method"]
measures = grounding.MEASURES | {"form kept": ("format_ok", None)}
scored = grounding.score(records).query("control != 'shuffled'")
columns = ["hallucination", "right about what is asked", "agreement", "form kept"]
by_measure(stats.rate_table(scored, apart, measures), apart)[columns]

# %% [markdown]
# In the record: false claims go from 35.3 to 34.7 % in `think_before`, and from 34.9 to 36.8 % in `think_after`.
# Agreement goes from 99.4 to 94.4 % in `think_before`, and from 68.1 to 58.7 % in `think_after`.
#
# Do the intervals overlap? After GRPO, letter and rationale fit together less often, most of all in `think_after`.
# Where *agreement* is low, the rationale is no explanation of the
# letter. The upper half of the table is about a blank image. No reward pays for "I see nothing". So a rationale in
# good form does not show that a model has looked at the image.
#
# ## 6 When does a rationale help?
#
# Med-R1 suspects that what a model learned to say in another field misleads it in this one. Our base describes
# medical images badly (`undescribed`). So we made a second base, `described`. It was made as the first one, but its language half
# also met captions of medical images. We chose their number so that `described` answers *without* a rationale about
# as well as the first base; of five mixtures, the nearest was taken. Both were trained by GRPO in all three styles. In the table, `corrected` is the accuracy of the corrected
# reader, `true` the share of claims that are true, and `asked` how often the claim about what is asked is true.
# **Predict**: in which style are better captions of use? Does GRPO make claims truer, although no reward reads them?

# %%
bases = json.loads(
    tiers.material("recorded/described/predictions.json").read_text()
)
seen = pd.DataFrame(bases["table"])
seen = seen.assign(points=told(seen, ""))
seen = seen.set_index(["measure", "base", "trained", "arm"])["points"]
print(seen.unstack().to_string())
print(predictions(bases).to_string(index=False))

# %% [markdown]
# In the record: captions name the right option in 21 % of the questions on the shipped base, and in
# 52 % on the described one. After GRPO, `think_before` is +9.7 [+5.4, +14.0] points from
# `no_think` on the described base and +2.1 [-1.2, +5.3] on the shipped one. The difference is +7.5 [+3.2, +11.9]
# (five seeds).
#
# In the record: before GRPO, the same difference between the bases is +6.9 [+1.6, +12.5] points.
#
# So a rationale in front of the letter helps on the base that describes medical images well, and we see no such
# help on the other one. But most of this was there before training: GRPO was not shown to make it larger. A rationale *after*
# the letter was not shown to help on the base that describes them badly: that prediction is open. The share of true claims
# is open there too. Each base is a single pretraining, with five trainings in each style.
#
# ## 7 Can truth be rewarded?
#
# For phantoms the truth of a claim is known, so it can be a reward. Three more arms were trained in
# `think_before`. `claims` adds the share of true claims to the two rewards. `claims-n` adds it too, but first
# normalizes each reward in its group, so that truth weighs as much as the letter. `counter` pays a right letter
# once more if a *wrong image* gives another letter. A share of true claims can also rise by claiming less. **Predict**
# for each arm, against plain `grpo`: truer claims, fewer claims, better letters, more `IS`?

# %%
paid = json.loads(tiers.material("recorded/rewards/predictions.json").read_text())
table = pd.DataFrame(paid["table"])
table.loc[table["measure"] == "claims", ["value", "low", "high"]] /= 100  # a count
columns = ["corrected", "true", "claims", "IS"]
print(by_measure(table, "arm")[columns].to_string())
print(predictions(paid).to_string(index=False))

# %% [markdown]
# In the record: with true claims as a reward, +7.6 [+6.0, +9.3] points more of the claims are true
# than after plain GRPO, the claims in a rationale change by -0.09 [-0.16, -0.03], and accuracy changes by -0.4 [-3.9, +2.6]
# points. `counter` changes `IS` by +1.4 [-1.0, +3.8] points (five seeds).
#
# So truth can be rewarded, and the rationales keep nearly all their claims. We see no better letters from it. Why does `counter` change so little? All
# rollouts of a group have the same question and the same wrong image. So within a group this reward is the accuracy
# reward once more, or zero for all. Dividing by the group's spread removes such a factor. A reward acts only where it
# differs *within* a group, and differs there from the rewards that you have.
#
# ## 8 Beside the published claims
#
# In Med-R1's abstract, think-after is best, then no-think, then think-before. Its maps have one run per cell.
# We found no number for think-after in it. A companion paper has such numbers, from one seed and without
# intervals.

# %%
for axis in ("modality", "question_type"):
    mean = no_think_minus_think(axis)["value"].mean()
    print(f"Med-R1, by {axis}: no_think minus think_before {mean:+.1f} points")
theirs = published("positions")
pd.DataFrame(theirs["values"], theirs["columns"]).T

# %% [markdown]
# At 2B, think-after is below no-think in all sets except MathVision. At 7B, it is above no-think in three of the five sets. These models reason in free text, and
# ours writes short rationales in fixed words. So our measurements do not carry over to them. But one fact
# does: a letter cannot depend on the text after it. If think-after is better than no-think somewhere, this
# comes from training or from the prompt.

# %% tags=["nbval-check-output"]
print("evidence: points of accuracy after GRPO, corrected reader")
for row in tests[~tests["gain"]].itertuples():
    print(f"{row.style} minus {row.minus}: {row.points}, p_holm {row.p_holm:.2f}")
for style, most in at_letter.items():
    print(f"{style}: an edit moves the letter:", "yes" if most > 0.01 else "no")
ledger.page(11, thinking=None)

# %% [markdown]
# The last lines are your ledger. If you have changed your mind about the second claim, write your probability
# in place of `None`, and run the cell again.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# A registered prediction says minus 4 to 4 points. What came out is 1 point, with an interval from minus 5 to 7. What is the verdict?
#
# <details><summary>A. It held, because 1 lies between minus 4 and 4</summary>
#
# Wrong. The value alone does not count. Values outside the range fit the data as well.
#
# </details>
# <details><summary>B. It is refuted, because the interval leaves the range</summary>
#
# Wrong. It would be refuted if interval and range had nothing in common.
#
# </details>
# <details><summary>C. It is open</summary>
#
# Right. The interval is neither inside the range nor apart from it. More seeds or questions could decide.
#
# </details>
#
# ### Question 2
# A model writes its letter first and its rationale after it. Can the rationale change this letter?
#
# <details><summary>A. Yes, because the model plans both together</summary>
#
# Wrong. The letter is written before any token of the rationale exists, and it is not changed later.
#
# </details>
# <details><summary>B. Not when it is written; in training, the rationale can change the weights</summary>
#
# Right. A later token cannot influence an earlier one, but both share the same weights.
#
# </details>
# <details><summary>C. No, and training on rationales cannot change letters either</summary>
#
# Wrong. Training changes weights, and the letter is computed with the same weights.
#
# </details>
#
# ### Question 3
# Each in its own form, a model trained in `before` is 6 points behind one trained in `none`. Asked alike, in either form, the two are level. Where was the difference made?
#
# <details><summary>A. In training, because the two were trained differently</summary>
#
# Wrong. If training had made it, the models would differ when they are asked alike.
#
# </details>
# <details><summary>B. In answering</summary>
#
# Right. The models know the same, and the form in which they have to answer costs 6 points.
#
# </details>
# <details><summary>C. In both, 3 points each</summary>
#
# Wrong. The training part is the mean difference when both are asked alike, and that is zero.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - A rationale before the letter can cause it, true or false. A rationale after the letter cannot, when the
#   letter is written. In training, it shares the letter's advantage and weights.
# - A comparison of styles needs the base, the parts of each gain, controls, several seeds, and one correction
#   for all tests.
# - A registered prediction can hold, be refuted, or stay open.
# - Asking every model in every form separates training from answering.
# - A reward for letters does not read rationales. Training can make them truer, or make the letter depend
#   less on them.
# - True claims can be rewarded where the truth is known. A reward acts only where it differs within a group.
#
# ## Where to go next
#
# To play: put the *true* option into the rationales of wrong answers. How many points of accuracy does one
# true word give? Or add a seed to `benchmarks/study/positions.py`, and see whether it decides an open
# prediction. Chapter 12 asks how far a gain carries. To read: Lai et al., *Med-R1* (arXiv 2503.13939); Li et
# al., *To Think or Not To Think* (2503.16188); Turpin et al., *Language models don't always say what they
# think* (2305.04388). Nothing here is for clinical use.
