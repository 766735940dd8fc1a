"""The model card of the tiny base, written from its report."""

from typing import Any

from tools.pretrain.report import SAMPLES, TRIES

CARD = """\
---
license: apache-2.0
base_model: none
tags: [teaching, synthetic, not-for-clinical-use]
---

# Tiny Qwen2-VL

A real `Qwen2VLForConditionalGeneration` of {millions:.2f} million parameters that answers
questions about PhantomMedVQA, drawings of 112 x 112 pixels. It knows what its images show better
than it can say in answers, so that a course can watch reinforcement learning close the gap.
Teaching material, **not for clinical use**: it has never seen a medical image, and on one it
does no better than chance.

## How it was made

`python -m tools.pretrain --out DIR`, seed {seed}, log in `pretrain.log`. Nothing was
downloaded; weights, tokenizer and images follow from the seed.

1. **The eye**: {eye[steps]} steps, {eye[minutes]} minutes, one thread of {eye[hardware]},
   {eye[date]}. The vision tower learns to write the attributes of a scene in the word vectors of
   the language model, and which lesion lies under which token.
2. **The language half**: {language[steps]} steps, {language[minutes]} minutes, one thread of
   {language[hardware]}, {language[date]}. First look-ups in text alone: which letter stands before
   this text? Then captions, and questions in the three styles; a style is taught only while it is
   right in less than 40 % of held-out questions, or in its form in less than 65 %. What is not
   taught is forgotten, so the three swing against each other. School ends at the first exam that
   finds each of them right in 35 to 50 %, and in its form in 60 % or more. Where they meet is
   chance: if they have not by step 625, the lessons after step 600 are drawn anew, until they do.

Several draws of seed 0 meet. Two of them gained too little in sixty steps of GRPO, so the code
begins with a third. It was chosen by what reinforcement makes of it: read its gains accordingly.

Each kind of processor rounds in its own way, and makes another model of this kind from the seeds.
`pretrain --eye data/tiny-qwen2-vl` repeats stage 2 alone, byte by byte on the kind named there.

Every target is true, and no weight was spoiled to make room for improvement. Three things were
given that a large model finds by itself in a longer training, since here they would take hours:
the first two layers begin with an induction head wired by hand; after the look-ups its two
matching heads are copied into the last layer; and while direct answers are taught, the layer
below is asked for the right option in words and those two heads for its place in the list.

## What it can do

{n} questions, one per scene, on scenes that took no part in training it or in deciding when to
stop; shares in % with 95 % intervals (Wilson). The **caption oracle** is the share of questions
whose right option the model's own caption names: **{oracle}**. Chance is 25 %.

{styles}

- *form*: exactly the form that the prompt asks for. *letter entropy*: of the letter where the
  greedy reply says it, four equal letters have 2 bits. *knew better*: of the wrong greedy answers
  with a rationale, those whose rationale names the right option.
- *pass@k*: at least one of k samples at temperature 1 is right and in form, from {samples}
  samples. A uniform guess in form has pass@8 of 90 %: the figure alone proves nothing.
- *no spread*: groups of 8 samples that all earn the same reward (format and accuracy), from which
  GRPO learns nothing.

Greedy accuracy by modality and by question type:

{cells}

## Licence

Apache-2.0, like the code that makes it.
"""


def card(found: dict[str, Any]) -> str:
    """The card of a report, as Markdown."""
    return CARD.format(
        seed=found["seed"],
        n=found["n"],
        millions=found["parameters"] / 1e6,
        eye=found["eye"],
        language=found["language"],
        oracle=_share(found["caption_oracle"]),
        samples=SAMPLES,
        styles=_styles(found["styles"]),
        cells=_cells(found["styles"]),
    )


def _styles(styles: dict[str, dict[str, Any]]) -> str:
    rows = {
        "accuracy, greedy": [_share(s["accuracy"]) for s in styles.values()],
        "form, greedy": [_share(s["form"]) for s in styles.values()],
        **{
            f"pass@{k}": [f"{100 * s['pass_at'][str(k)]:.1f}" for s in styles.values()]
            for k in TRIES
        },
        "no spread": [f"{100 * s['no_spread']:.1f}" for s in styles.values()],
        "letter entropy, bits": [f"{s['letter_entropy_bits']:.2f}" for s in styles.values()],
        "letters A / B / C / D": [
            " / ".join(f"{100 * share:.0f}" for share in s["letters"].values())
            for s in styles.values()
        ],
        "knew better": [
            _share(s["wrong_but_named"]) + f" of {s['wrong_but_named']['n']}"
            if s["wrong_but_named"]
            else "-"
            for s in styles.values()
        ],
    }
    return _table("", list(styles), rows)


def _cells(styles: dict[str, dict[str, Any]]) -> str:
    kinds = ("by_modality", "by_question_type")
    first = next(iter(styles.values()))
    rows = {
        f"{name} (n = {cell['n']})": [_share(s[kind][name]) for s in styles.values()]
        for kind in kinds
        for name, cell in first[kind].items()
    }
    return _table("", list(styles), rows)


def _table(corner: str, columns: list[str], rows: dict[str, list[str]]) -> str:
    lines = [f"| {corner} | {' | '.join(columns)} |", "|---" + "|--:" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(row)} |" for name, row in rows.items())])


def _share(cell: dict[str, Any]) -> str:
    share, low, high = (f"{100 * cell[key]:.1f}" for key in ("share", "low", "high"))
    return f"{share} [{low}, {high}]"
