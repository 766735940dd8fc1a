"""The model card of the tiny base, written from its report."""

from typing import Any

from tools.pretrain.report import GROUP, SAMPLED, SAMPLES, TRIES

CARD = """\
---
license: apache-2.0
base_model: none
tags: [teaching, synthetic, not-for-clinical-use]
---

# Tiny Qwen2-VL, second edition

A real `Qwen2VLForConditionalGeneration` of {millions:.2f} million parameters that answers questions
about drawings of 112 x 112 pixels. It is at home in a general domain of everyday drawings, where it
reads, describes and answers in three styles. Its tower tells the pictures of PhantomMedVQA apart as
well, but its language has hardly met them: form and skill are there, the subject is missing.
Teaching material, **not for clinical use**: it has never seen a medical image, and on one it does
no better than chance.

## How it was made

`python -m tools.pretrain --out DIR --seed {seed}`, log in `pretrain.log`, on one thread of
{hardware}, {date}. Nothing was downloaded; weights, tokenizer and pictures follow from the seed.

1. **Vision tower**: {steps[tower]} steps, {minutes[tower]} minutes. It learns to tell every
   attribute of a picture: of a general one in the word vectors of the language model, of a medical
   one in a code of its own, one random direction for each word.
2. **Language**: {steps[language]} steps, {minutes[language]} minutes: look-ups and questions about
   captions in text alone, of both domains; captions and questions in the three styles about general
   pictures. Of medical pictures it meets {met[pictures]}, most of them once or not at all: one step
   in {met[every]} has {met[captions]} captions of them and {met[questions]} questions of each
   direct style. The rate falls to nothing at the end.

Every target is true, and no weight was spoiled to make room for improvement. Three things were
given that a large model finds by itself in a longer training: the first two layers begin with an
induction head wired by hand; after the look-ups its two matching heads are copied into the last
layer; and while direct answers are learned, the layer below is asked for the right option in words
and those two heads for its place in the list.

## What it can do

One question about each of {n} medical scenes and {n_general} general ones that took no part in
making it; shares in %. Half-width of a 95 % interval: 2.8 points at most. Chance is 25 %.

{domains}

- *form*: exactly the form that the prompt asks for. *forced*: the form is given, and the likeliest
  of the four letters counts (in `think_before` after the model's own rationale). *corrected*: the
  same with one constant per letter, fitted without labels on other questions so that the four
  letters come equally often.
- *blank*, *shuffled*: accuracy with an empty picture, and with that of another question.
- *pass@k*: at least one of k samples at temperature 1 is right and in form, from {samples} samples
  of {sampled} questions. A uniform guess in form has pass@8 of 90 %.
- *no spread*: groups of {group} samples that all earn the same reward, from which GRPO learns
  nothing.
- **caption oracle**: questions whose right option the model's own caption names.

Forced letter by modality and by question type, medical:

{cells}

## Licence

Apache-2.0, like the code that makes it.
"""


def card(found: dict[str, Any]) -> str:
    """The card of a report, as Markdown."""
    domains = found["domains"]
    return CARD.format(
        **{key: found[key] for key in ("seed", "hardware", "date", "steps", "minutes")},
        met=found["medical"],
        millions=found["parameters"] / 1e6,
        n=domains["medical"]["n"],
        n_general=domains["general"]["n"],
        samples=SAMPLES,
        sampled=SAMPLED,
        group=GROUP,
        domains="\n\n".join(_domain(kind, domains[kind]) for kind in ("general", "medical")),
        cells=_cells(domains["medical"]["styles"]),
    )


def _domain(kind: str, found: dict[str, Any]) -> str:
    styles = found["styles"].values()
    single = ("accuracy", "form", "forced", "corrected", "blank", "shuffled")
    rows = {name: [_percent(s[name]) for s in styles] for name in single}
    rows["letters A / B / C / D"] = [
        " / ".join(f"{100 * share:.0f}" for share in s["letters"].values()) for s in styles
    ]
    rows |= {f"pass@{k}": [_percent(s["pass_at"][str(k)]) for s in styles] for k in TRIES}
    rows["no spread"] = [_percent(s["no_spread"]) for s in styles]
    oracle = f"{kind}: caption oracle {_percent(found['caption_oracle']['share'])}"
    return _table(oracle, list(found["styles"]), rows)


def _cells(styles: dict[str, dict[str, Any]]) -> str:
    first = next(iter(styles.values()))
    rows = {
        f"{name} (n = {cell['n']})": [_percent(s[kind][name]["share"]) for s in styles.values()]
        for kind in ("by_modality", "by_question_type")
        for name, cell in first[kind].items()
    }
    return _table("", list(styles), rows)


def _table(corner: str, columns: list[str], rows: dict[str, list[str]]) -> str:
    lines = [f"| {corner} | {' | '.join(columns)} |", "|---" + "|--:" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {name} | {' | '.join(row)} |" for name, row in rows.items())])


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
