# ---
# jupyter:
#   nbval: lax
# ---

# %% [markdown]
# # 11 Think before or after
#
# > **Two bases.** Sections 1, 2, 4 and 6 read recorded runs that start from the base of the *first edition* of the course.
# > That base broke the form that was asked for in many answers of `think_before`, and it favoured one letter in the two
# > other styles. So a part of each gain in the records is a repaired form or a lost letter habit, and not knowledge. It also described these drawings well. The base of today
# > keeps the form, gives the letters nearly evenly, and describes them badly (chapter 02). Sections 3 and 5 ask it live.
# > So numbers of these sections do not continue those of the others. The study will be recorded again on the base of today.
#
# ## What you will do
#
# Compare three styles of answer on the same questions: reasoning first, no reasoning, reasoning after the
# letter. First by accuracy, with several seeds and a correction for many comparisons. Then by truth: a
# phantom knows what it shows, so every claim of a rationale can be held against it. Then you change a
# rationale by hand and watch whether the letter follows.
#
# ## What you will learn
#
# After this chapter you can
#
# - compare several methods without taking luck for a result,
# - turn a rationale into claims, and compute how many of them are false,
# - test whether a rationale looks at the image, and whether an answer depends on the rationale,
# - say what a causal decoder can gain from a rationale that follows the letter, and what it cannot,
# - tell from a curve whether a model is as sure as it should be.
#
# ## What you will need
#
# Chapters 06 (training, paired tests) and 10 (fair comparisons). Nothing is trained here. The numbers of
# sections 1, 2, 4 and 6 are recorded runs; the experiments of sections 3 and 5 ask the tiny base model, live, on
# one CPU core.

# %%
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib import pyplot as plt
from PIL import Image

from medr1_lib.analysis import transfer
from medr1_lib.course import checks, ledger, tiers

tier = tiers.start(11)
plt.ion()  # a figure appears under the cell that draws it
pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## 1 Three styles, the same questions
#
# The recorded models all start from the same base and train for 60 steps on questions of all eight
# modalities, by GRPO with the rewards of chapter 03 or by supervised fine-tuning, SFT. For `no_think`, SFT
# sees the right letter. For the other two styles it sees a true rationale as well, which is more than any
# reward tells. The plan is `benchmarks/plans/all.yaml`.

# %%
from medr1_lib.data.rationale import KNOWN, claims
from medr1_lib.data.phantoms import draw
from medr1_lib.data.question import LETTERS, Question
from medr1_lib.data.styles import STYLES, before_letter, read, thought
from medr1_lib.model.loading import load_policy
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.analysis import plots, rationale, recorded, stats
from medr1_lib.course.chapters.chapter_12 import no_think_minus_think, published
from medr1_lib.evaluation.ask import Asker
from medr1_lib.evaluation.items import GREY
from medr1_lib.analysis.plots import STYLE

plt.rcParams.update(STYLE)
BLOCK = tiers.material("recorded/all")
order = pd.CategoricalDtype(list(STYLES), ordered=True)
records = recorded.load(BLOCK).astype({"style": order})
real = records[records["control"] == "none"]
print(f"{real['item'].nunique():,} questions; models by method and style:")
real.groupby(["method", "style"], observed=True)["model"].nunique().unstack()

# %% [markdown]
# All models answered the same questions. The intervals of the next figure know two kinds of luck: other
# questions could have been drawn, and another seed could have been trained. Look at the base before you
# look at the rest.

# %% mystnb={"image": {"alt": "Bars of accuracy for three styles, each with base, GRPO and SFT, and 95 percent intervals. Base: think_before 48 percent, the two others just below 40. After training all are higher. think_before leads, with 72 percent by GRPO and 78 by SFT; no_think lies near 55, think_after near 50. All are above the dashed line of chance at 25."}}
table = stats.rate_table(real, ["method", "style"], {"accuracy": ("correct", None)})
names = {"method": "series", "style": "test", "value": "accuracy"}
table = table.rename(columns=names).assign(n=real["item"].nunique())
axes, _ = plots.headline(table, "Accuracy in %, 60 steps")
_ = axes.set_xlabel(f"style of the answer (n = {table['n'].min()} questions)")

# %% [markdown]
# Reasoning first wins. It won before anything was trained as well, so a comparison of the trained models
# alone would credit the training with what the base brought along. There are two questions here:
# which style ends higher, and which style *gains* more. And there are two methods, and two styles to hold
# against the first, so in all there are eight tests. If you run eight independent tests at the 5 % level and
# nothing is there, the chance of at least one "significant" result is about one third.
#
# ### Exercise 1: Holm's correction
# *medium, 15 minutes*
#
# Sort the p-values of $m$ tests. Multiply the smallest by $m$, the next by $m - 1$, and so on; the
# largest by 1. A corrected value must not be smaller than that of a smaller p-value: if it is, it takes
# that one. None is above 1. Return the corrected values in the order in which the p-values came.
#
# <details><summary>Hint</summary>
#
# `np.argsort` tells where the smallest is, then the next. `np.maximum.accumulate` replaces each value
# by the largest so far. If `corrected[order] = steps`, everything is back in its place.
#
# </details>


# %% tags=["exercise"]
def holm(p):
    """P-values corrected for their number, so that one false alarm in all is rare."""
    # solution
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, steps)
    return corrected
    # end solution


# %%
holm = checks.holm(holm)

# %% [markdown]
# Now all tests at once. `compare_pooled` compares each variant with the first, on the same questions, and adds
# the variance between seeds to that between questions. For *gain*, the base's own answer to each question
# is subtracted before. A negative difference means that the style did worse than reasoning first.

# %%
maps = {
    (method, style): transfer.transfer_answers(records, method, style, "all")
    for method in ("grpo", "sft")
    for style in STYLES
}


def against_first(method, what):
    """Each style against reasoning first: right answers, or the gain over the base."""
    found = {style: maps[method, style] for style in STYLES}
    if what == "gain":
        found = {
            style: replace(one, right=one.right.sub(one.base, axis=0))
            for style, one in found.items()
        }
    return transfer.compare_pooled(found).assign(method=method, what=what)


pairs = [(m, what) for m in ("grpo", "sft") for what in ("accuracy", "gain")]
tests = pd.concat([against_first(*pair) for pair in pairs], ignore_index=True)
tests["p_holm"] = holm(tests["p"])
columns = ["method", "what", "label", "n", "seeds", "difference", "low", "high"]
points = {name: 100 * tests[name] for name in ("difference", "low", "high")}
tests.assign(**points)[[*columns, "p_holm"]].round(4)

# %% [markdown]
# Read the rows of *accuracy* first, then those of *gain*. The first say that a style without reasoning
# before the letter ends lower, by how much in points, and how sure that is. The second are smaller by nine
# or ten points: that much of the distance was there in the base. The rest remains, so reasoning first also
# *gained* more. Where seeds differ, as in SFT, three of them leave wide intervals, as it should be.

# %% tags=["headline", "nbval-check-output"]
for row in tests[tests["method"] == "grpo"].itertuples():
    sure = "below zero" if row.high < 0 else "not clear of zero"
    print(f"{row.label} minus think_before, {row.what}: {sure}")

# %% [markdown]
# Does it hold for each modality, or only on the whole? Eight modalities and two styles are sixteen tests,
# so correct them together. A star marks a difference that stays significant.

# %% mystnb={"image": {"alt": "Heatmap with two rows, no_think and think_after, each minus think_before, and eight columns for the tested modalities. All cells are negative, by 13 to 26 points, and carry the star of significance after Holm's correction. The smallest difference is that of no_think on CT."}}
first, others = maps["grpo", "think_before"], ("no_think", "think_after")
rows = {s: transfer.compare_cells(first, maps["grpo", s]) for s in others}
cells = pd.concat([one.assign(train=style) for style, one in rows.items()])
cells["p_holm"] = holm(cells["p"])
axes, _ = plots.difference_heatmap(cells, title="Points above think_before")
_ = axes.set_ylabel("style")

# %% [markdown]
# It holds for each. Would a longer training turn it round? Other runs on the first base went on for 150 steps and
# were tested on fewer questions. Here are their means over three seeds. The order of the accuracies is the
# same. The gains lie nearer to each other, but a change of a few points from 60 steps to 150 is within the
# luck of three seeds.

# %%
longer = pd.read_parquet(tiers.material("recorded/learning.parquet"))
means = longer.groupby(["style", "recipe"])["correct"].mean().unstack()
means.assign(gain=means["course"] - means["base"]).loc[list(STYLES)].round(3)

# %% [markdown]
# ## 2 Is it true?
#
# A rationale is more than a way to the letter. It is what a reader believes. On photographs of patients
# nobody can check it without an expert; a phantom brings its scene along. Take the first two wrong
# answers of a trained model and one right one, in each of two styles, and compare by hand. Which claim is
# false?

# %%
grpo = real[(real["method"] == "grpo") & (real["seed"] == 0)]
for style in ("think_before", "think_after"):
    answers = grpo[grpo["style"] == style]
    some = pd.concat(
        [answers[~answers["correct"]][:2], answers[answers["correct"]][:1]]
    )
    for one in some.itertuples():
        print(f"it says: {one.completion} (right: {one.answer})")
        truth = json.loads(one.scene)
        shown = [truth[name] for name in dict.fromkeys(KNOWN.values())]
        print("it is:  ", ", ".join(filter(None, shown)))

# %% [markdown]
# ### Exercise 2: from words to claims
# *medium, 20 minutes*
#
# Words in common with the truth prove nothing: "not a mass" has the word in it. Count *claims*. A
# rationale has parts with a comma and a space between them. A part claims something if it is
# `attribute: value`, or a value alone. `KNOWN` maps each value that a phantom can have to its
# attribute. A part whose attribute or value is unknown belongs to the rest. Return two lists: the claims
# as pairs `(attribute, value)`, and the rest as text. Leave out empty parts.
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
# ### Exercise 3: how much of it is false
# *easy, 10 minutes*
#
# The *hallucination rate* is the share of all claims that are false of the picture. Given the claims of
# each answer and the scene of each, a dictionary from attribute to true value, return it. Count over
# claims, not over answers: otherwise a model that says little looks better or worse for that alone. Where
# nothing is claimed, return `None`.
#
# <details><summary>Hint</summary>
#
# Make one flat list of truth values with two `for` in one comprehension, over `zip(claims, scenes)` and
# then over the claims of that answer.
#
# </details>


# %% tags=["exercise"]
def hallucination_rate(claims, scenes):
    """Share of all claims that are false of the scene."""
    # solution
    pairs = zip(claims, scenes, strict=True)
    false = [s[name] != value for made, s in pairs for name, value in made]
    return sum(false) / len(false) if false else None
    # end solution


# %%
hallucination_rate = checks.hallucination_rate(hallucination_rate)

# %% [markdown]
# Your two functions on one model, and the library's `score`, which does the same for all records and adds
# what else can be asked: whether the rationale names what the question is about, and whether it agrees
# with the letter that was given.

# %%
answers = grpo[grpo["style"] == "think_before"]
made = [claimed(thought(said))[0] for said in answers["completion"]]
mine = hallucination_rate(made, answers["scene"].map(json.loads))
sums = rationale.score(answers)[["false_claims", "claims"]].sum()
print(f"yours {mine:.2%}, library {sums['false_claims'] / sums['claims']:.2%}")

# %% mystnb={"image": {"alt": "Bars of the share of false claims for base, GRPO and SFT in two styles, with 95 percent intervals. think_before: base about 15 percent, GRPO 12, SFT 7. think_after: base 13, GRPO 14 with an interval from 11 to 18, SFT 8."}}
scored = rationale.score(records)
own = scored[scored["control"] == "none"]
found = rationale.summary(own, ["style", "method"])
false = found[found["measure"] == "hallucination"]
groups = false["method"].str.cat(false["style"].astype(str), ", ")
_ = plots.hallucinations(false.assign(group=groups, share=false["value"]))

# %% [markdown]
# SFT, which was shown true rationales, has the fewest false claims; that it could learn this is no
# surprise. But no reward ever read a rationale, and still GRPO lowered the share in `think_before`. In
# `think_after` it did not; there the seeds differ, as the wide interval says.
#
# A likely reason: a wrong claim *before* the letter costs the letter, so truth is paid through the back
# door. If that is all, the claim about what was asked should improve, and the others should not. Split
# them. One trap: the base stumbled over the form of some answers and claimed little in those. So
# compare only questions where the base kept the form and named what was asked.

# %%
kept = own[(own["method"] == "base") & own["format_ok"] & own["names_asked"]]
split = own.merge(kept[["style", "item"]])
wrong = split["names_asked"] & ~split["asked_true"]
split = split.assign(
    wrong=wrong,
    other=split["claims"] - split["names_asked"],
    other_wrong=split["false_claims"] - wrong,
)
measures = {
    "what is asked": ("wrong", "names_asked"),
    "rest": ("other_wrong", "other"),
}
parts = stats.rate_table(split, ["style", "method"], measures)
columns = ["value", "low", "high"]
parts.pivot(index=["style", "method"], columns="measure", values=columns).round(3)

# %% [markdown]
# Compare `base` and `grpo`. In `think_before` the claim about what is asked became somewhat truer, as
# expected, and the rest did too, by about as much in proportion (the intervals just touch). So the back door
# seems wider than the simple story has it: the words of a rationale depend on each other, and who writes the
# wrong modality first will hardly find the right finding after it. In `think_after` nothing became truer.
# This is an observation on two styles, not a proof of its cause.
#
# Now the agreement of rationale and letter. If a rationale is to explain an answer, it must at least
# name the option that was chosen.

# %%
columns = ["agreement", "right about what is asked", "names what is asked"]
rows = found[found["measure"].isin(columns)]
wide = rows.pivot(index=["style", "method"], columns="measure", values="value")
right = own.groupby(["style", "method"], observed=True)["correct"].mean()
wide.assign(**{"letter right": right}).round(3)

# %% [markdown]
# Compare the last columns in `think_after`. The rationale after the letter is *right about what is
# asked* more often than the letter that stands before it. The model writes a letter, then describes the
# picture well, and the description does not support the letter. A reader who trusts the rationale is
# misled about the answer, or the other way round.
#
# Does a rationale look at the image? Take the image away, and give that of another question.

# %%
keys, changed = ["style", "method", "control"], rationale.changes(records)
moved = stats.rate_table(changed, keys, {"changed": ("changed", None)})
false = stats.rate_table(scored, keys, {"false": ("false_claims", "claims")})
form = stats.rate_table(scored, keys, {"form": ("format_ok", None)})
form = form[[*keys, "value"]].rename(columns={"value": "form"})
both = false.merge(moved, on=keys, suffixes=("", "_changed")).merge(form, on=keys)
names = {
    "n": "claims",
    "value": "false",
    "value_changed": "changed",
    "form": "form",
}
both.rename(columns=names)[[*keys, *names.values()]].round(3)

# %% [markdown]
# *changed* is the share of rationales that differ from the one about the real image. Most do, so
# a rationale is no text learned by heart. Held against the question's own scene, about half of the claims about another image are false; what remains is the modality,
# which both images share, and luck.
#
# The most telling rows are those of the grey image. There is nothing to see. Asked to think first, the base
# breaks down: it seldom keeps the form (column *form*) and claims little. After GRPO it keeps the form in
# nearly all answers about the grey image, and nearly all that it claims is false. The reward paid for the
# form in every answer and never for silence. So the training removed the stumbling, the only sign by which a
# reader could have told that nothing was seen. In `think_after` there never was such a sign: the base
# describes the grey image as fluently as any other. (One seed was asked with these images.)
#
# ## 3 What can come from behind?
#
# A causal decoder writes from left to right, and each token is computed from those before it. So a
# rationale after the letter cannot have any part in the letter. That is an argument; here is the
# experiment, with the base of today: it answers 240 of the questions in all three styles, live.

# %%
model, processor = load_policy(tier.model_path, tier.quantize)
cache = VisionCache(model)
asker = Asker(model, processor, tier.max_new_tokens)
chosen = np.random.default_rng(0).choice(real["item"].nunique(), 240, replace=False)
base = real[(real["method"] == "base") & real["item"].isin(chosen)]
rows = base.drop_duplicates("item").set_index("item").sort_index()
fields = list(Question.__dataclass_fields__)
asked = [
    Question.from_record({"source": "phantoms", **row})
    for row in rows.filter(fields).to_dict("records")
]
pictures = [draw(question.scene) for question in asked]
said = {}
for style in STYLES:
    chats = [asker.question_chat(question, style) for question in asked]
    said[style] = asker.reply(chats, pictures)
print(f"{len(asked)} questions, {sum(map(len, said.values()))} completions")

# %% [markdown]
# An *edit* puts another option in the place of the one that the rationale names. It takes answers in
# perfect form, whose rationale names the chosen option and no other, so that the change is one word and
# nothing else.


# %%
def edited(style):
    """Place, letter, text and text with another option, of each answer that allows it."""
    for place, (question, text) in enumerate(zip(asked, said[style], strict=True)):
        form = STYLES[style].pattern.fullmatch(text)
        named = [option for option in question.options if option in text]
        if form and named == [question.options[LETTERS.index(form[1])]]:
            other = question.options[(LETTERS.index(form[1]) + 1) % len(LETTERS)]
            yield place, form[1], text, text.replace(named[0], other)


def up_to_letter(style):
    """The chat of each question and its answer, which ends where the letter is due."""
    chats = [asker.question_chat(question, style) for question in asked]
    pairs = zip(chats, said[style], strict=True)
    return [chat + before_letter(answer, style) for chat, answer in pairs]


edits = {style: list(edited(style)) for style in ("think_before", "think_after")}
print(*edits["think_before"][0][2:], sep="\n")

# %% [markdown]
# Feed both versions of one answer through the model and compare the scores that it gives to the next
# token, at every place. Zero means: to the last bit the same.


# %% mystnb={"image": {"alt": "Two rows of bars over the tokens of an answer: the largest change of a score when one word of the rationale is replaced. In think_before it is zero up to the replaced word and several units from there on, the letter included. In think_after it is zero at the letter and at all other tokens up to the replaced word, and only the closing tag after it changes."}}
def as_long(*texts):
    """Whether the tokens of one version stand beside those of the other."""
    return len({len(processor.tokenizer.encode(text)) for text in texts}) == 1


_, axes = plt.subplots(2, 1, figsize=(8, 4.6), layout="constrained")
at_letter = {}
for axis, (style, some) in zip(axes, edits.items(), strict=True):
    place, letter, *texts = next(one for one in some if as_long(*one[2:]))
    chat = asker.question_chat(asked[place], style)
    batches = [asker.encode([chat + text], [pictures[place]]) for text in texts]
    with torch.inference_mode():
        before, after = (model(**batch).logits[0] for batch in batches)
    words = processor.tokenizer.encode(texts[0])
    moved = (after - before).abs().amax(-1).tolist()[-len(words) - 1 : -1]
    names = [processor.decode(word) for word in words]
    ahead = "".join(names).index("<answer>") + len(
        "<answer>"
    )  # letters up to that one
    ends = np.cumsum([len(name) for name in names])
    at_letter[style] = moved[int((ends > ahead).argmax())]
    axis.bar(range(len(words)), moved)
    axis.set_xticks(range(len(words)), names, rotation=30, ha="right", fontsize=8)
    axis.set(title=style, ylabel="largest change\nof a score")

# %% [markdown]
# In `think_after` the letter is the same whatever follows. This is no property of our small model, or of
# its training. It holds for every causal decoder, and no reward can change it.
#
# The other direction is an empirical question. If the rationale before the letter is edited to name
# another option, does the letter follow the rationale, or the picture? Count over all edits.

# %% tags=["headline"]
style = "think_before"
chats = [
    asker.question_chat(asked[place], style)
    + text.partition("<answer>")[0]
    + "<answer>"
    for place, _, _, text in edits[style]
]
shown = [pictures[place] for place, *_ in edits[style]]
old = np.array([LETTERS.index(letter) for _, letter, *_ in edits[style]])
letters = asker.forced_probs(chats, shown).argmax(1)
follows = pd.DataFrame({"new": letters == (old + 1) % 4, "old": letters == old})
follows = follows.assign(model="base", item=range(len(follows)))
for column, what in (("new", "follows the edit"), ("old", "stays")):
    n, share, low, high = stats.rate(follows, column)
    print(f"the letter {what}: {share:.1%} [{low:.1%}, {high:.1%}], n = {n}")

# %% [markdown]
# The letter follows the words, even against the picture in front of it. So the rationale is no decoration
# here: it causes the answer of this base, in answers of perfect form that name one option. Once more from the other side. Keep the edited rationale, and replace the
# picture by a grey one. How many letters change?

# %%
grey = [Image.new("RGB", picture.size, GREY) for picture in shown]
unseen = asker.forced_probs(chats, grey).argmax(1)
print(f"same letter with a grey picture: {(unseen == letters).mean():.1%}")

# %% [markdown]
# Hardly any. In this model the picture reaches the letter almost only through the rationale, and the last
# step is a look-up: find the option that was named, and give its letter. All seeing has been done before.
#
# What, then, can a later rationale be good for? Two things. In training, its tokens share the weights
# with the letter, so that what it teaches could help the letter as well. Compare in section 1 how
# `think_after` and `no_think` fare under SFT: with 60 steps, true rationales behind the letter did not
# lift the letter measurably. And after the answer somebody can read it. In the next cell the reader
# takes the option that the rationale names, in place of the letter.

# %%
late = own[own["style"] == "think_after"]
ways = {"letter": ("correct", None), "option named": ("asked_true", None)}
second = stats.rate_table(late, ["method"], ways)
second.pivot(
    index="method", columns="measure", values=["value", "low", "high"]
).round(3)

# %% [markdown]
# Nearly all seeing that `think_before` turns into letters is there in `think_after` too. It comes too
# late, and only a reader who overrules the letter has it.
#
# ## 4 What it costs
#
# A rationale is made of tokens, and tokens are time and money. Each point is one recorded model, the base among them.
# Look along the horizontal axis first: what does a style cost? Then upwards: what is it worth, before
# training (crosses) and after?

# %% mystnb={"image": {"alt": "Accuracy in percent against tokens per answer, one point per model. no_think takes 3 tokens, the two other styles 11 or 12. Trained think_before lies between 69 and 80 percent; trained no_think and think_after lie between 45 and 59, though think_after takes four times the tokens of no_think. The crosses of the base lie below: 48, 39 and 38."}}
shown = real.assign(**{"accuracy (%)": 100 * real["correct"]})
kinds = shown.groupby(["model", "style", "method"], observed=True)
costs = kinds[["tokens", "accuracy (%)"]].mean()
look = {"hue": "style", "style": "method", "s": 60}
axis = sns.scatterplot(costs, x="tokens", y="accuracy (%)", **look)
_ = axis.set(ylim=(0, 100), xlim=(0, 15), title=f"n = {real['item'].nunique()}")

# %% [markdown]
# The trained `think_after` takes as many tokens as `think_before` and is no better than `no_think`. Its
# accuracy could be had for fewer, since one may stop after the letter. What is paid for is the
# explanation, and section 2 told what that is worth.
#
# ## 5 How sure should it be?
#
# A model is *calibrated* if it is right in seven of ten cases in which it gives its letter a probability of 0.7. The *mean gap* over
# each plot is the distance from the dashed line, weighted by the answers of a bin; the number beside a dot counts
# those. Here is the base of today, live: the probability of the likeliest letter, at the place where one is due.


# %% mystnb={"image": {"alt": "Two calibration plots of the base of today. With no_think the answers spread over many confidences, and most points lie somewhat below the diagonal. With think_before nearly all answers have a confidence above 90 percent, and they are right far less often than that."}}
sure, right = {}, [LETTERS.index(question.answer) for question in asked]
for style in ("no_think", "think_before"):
    probs = asker.forced_probs(up_to_letter(style), pictures)
    found = {"confidence": probs.max(1), "correct": probs.argmax(1) == right}
    sure[style] = pd.DataFrame(found)
    _ = plots.calibration(sure[style], f"Base, {style}")

# %% [markdown]
# After its own rationale the model is nearly always certain, and often wrong. Section 3 has shown why.
# The probability of the letter says how well the look-up works, *given* the rationale. All doubt about the
# picture was in the choice of the words, and is gone once they are written.
#
# The doubt comes back if the words are drawn again. Sample eight answers to each question and let them
# vote: the share of the votes is a confidence too. Completions without a letter have no vote. It costs eight
# times the tokens.

# %%
few, votes = slice(None, None, 3), []
chats = [asker.question_chat(question, "think_before") for question in asked[few]]
drawn = asker.sample(chats, pictures[few], 8)
for group, question in zip(drawn, asked[few], strict=True):
    given = [letter for text in group if (letter := read(text, question.options))]
    best = max(LETTERS, key=given.count)
    share = given.count(best) / max(1, len(given))
    votes.append({"confidence": share, "correct": best == question.answer})
alone = sure["think_before"][["confidence", "correct"]].mean()
for name, pair in {"one": alone, "eight": pd.DataFrame(votes).mean()}.items():
    print(f"{name}: {pair['confidence']:.0%} sure, {pair['correct']:.0%} right")
print(f"n = {len(sure['think_before'])} and {len(votes)}")

# %% [markdown]
# Now confidence and truth lie nearer to each other, though not together. (Compare within a line only: the second
# counts fewer questions.) The price is the eightfold cost, and the vote
# speaks of this model's doubt only: a model that is wrong in all eight samples stays sure and wrong.
#
# ## 6 Beside the published claim
#
# Med-R1 reports another order. These are its claims as our notes have them, and the mean over its
# published maps of what leaving out the thinking changes, with ours below. (Ours was trained on all modalities
# at once, theirs on one each. A map made like theirs is drawn in chapter 12; it says the same.)

# %%
print(*published("headline")["claims"], sep="\n")
for axis in ("modality", "question_type"):
    mean = no_think_minus_think(axis)["value"].mean()
    print(f"published, by {axis}: no think less think {mean:+.1f} points")
ours, low, high = 100 * tests.loc[0, ["difference", "low", "high"]]
print(f"ours: {ours:+.1f} points [{low:+.1f}, {high:+.1f}]")

# %% [markdown]
# Which of the two is right? Both can be, for they answer different questions, and neither settles the other.
#
# - **Ours is about the first base.** It had learned to read off short rationales that name exactly what is asked, and
#   each style only up to a low level. A style in which the look-up is easy starts ahead and stays ahead. Another
#   pretraining could have put `no_think` in front. On the base of today the three styles start about level (chapter
#   02), so it is the fairer test. It has not been made yet.
# - **Theirs is about a model that reasons in free text**, about images it hardly knows. If a rationale is
#   wrong more often than a direct answer, section 3 tells what happens: the letter follows the wrong words.
#   In our model, a true rationale helps, and a false one harms.
# - **How sure?** Ours has seeds, intervals and a correction, so for this base and this benchmark the lead
#   of reasoning first is not luck. The published maps have one run for each cell and no intervals. For
#   think-after no numbers are available to us at all (`data/paper/README.md`), so that claim can be
#   neither confirmed nor denied here.
# - **What carries over** is the part that is no measurement: a letter cannot depend on what follows it.
#   If think-after is better than no-think, it is through training or the prompt, not through thinking.

# %% tags=["nbval-check-output"]
gap = second.set_index(["method", "measure"])["value"]
verdicts = {
    "scores at the letter change, think_after": at_letter["think_after"] > 0,
    "scores at the letter change, think_before": at_letter["think_before"] > 0,
    "letter follows an edited rationale in over 80 %": follows["new"].mean() > 0.8,
    "base surer than right after thinking": alone["confidence"]
    > alone["correct"] + 0.1,
    "later rationale knows more than the letter (base)": gap["base", "option named"]
    > gap["base", "letter"],
}
print(*(f"{k}: {'yes' if v else 'no'}" for k, v in verdicts.items()), sep="\n")
ledger.page(11, thinking=None)

# %% [markdown]
# The last lines are your ledger. If this chapter has changed your mind about the second claim, write your new
# probability in place of `None`, and run the cell again.

# %% [markdown]
# ## Quiz
# Decide first, then open the choice that you take.
#
# ### Question 1
# You run eight independent tests at the 5 % level, and nothing is there to find. How likely is at least one significant result?
#
# <details><summary>A. 5 %, because that is the level</summary>
#
# Wrong. The level holds for one test. With eight tests there are eight chances of a false alarm.
#
# </details>
# <details><summary>B. 40 %, which is eight times 5 %</summary>
#
# Wrong. Adding is only an upper bound. The probability is 1 minus 0.95 to the power of 8.
#
# </details>
# <details><summary>C. About one third</summary>
#
# Right. It is 1 minus 0.95 to the power of 8, which is 34 %. This is why p-values are corrected.
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
# The rationale is true and the letter is wrong. What does an accuracy reward do with this completion?
#
# <details><summary>A. It rewards the rationale and not the letter</summary>
#
# Wrong. The accuracy reward reads the letter only. Nothing in it looks at the rationale.
#
# </details>
# <details><summary>B. It gives no point, and in a group with right answers all its tokens become less likely</summary>
#
# Right. The advantage is the same for every token, so a true rationale is pushed down too.
#
# </details>
# <details><summary>C. It corrects the letter to fit the rationale</summary>
#
# Wrong. A reward is a number for the whole completion. It does not say what should change.
#
# </details>

# %% [markdown]
# ## What you saw
#
# - On the first base, reasoning first ended highest, in several seeds and after correction; part of that lead was the
#   base's own.
# - A reward for letters made rationales somewhat truer where they stand before the letter, and not where
#   they stand behind it. SFT on true rationales did more.
# - In the base, a rationale in front of the letter caused it: edit the words, and the letter follows, whatever
#   the picture shows. A rationale behind the letter cannot have any influence on it while it is written. In
#   training its tokens carry the same advantage as the letter, and they share its weights.
# - GRPO also taught the model to reason about a grey image in good form. And certainty after one's own rationale
#   says little about the picture.
#
# ## Where to go next
#
# Edit the other way: put the *true* option into the rationales of wrong answers, and see how much accuracy
# one true word is worth. Draw votes in `no_think`, at the price of one answer in `think_before`, and see
# which is the better use of the tokens. Chapter 12 asks how far all of this carries from one modality to
# another. To read: Y. Lai et al., *Med-R1* (arXiv 2503.13939); M. Turpin et al., *Language models don't
# always say what they think* (arXiv 2305.04388), on rationales that do not tell the cause of an answer. Nothing
# here is for clinical use.
