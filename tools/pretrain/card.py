"""The model card of the tiny base, or of a teacher of it, written from its report."""

from collections.abc import Sequence
from typing import Any

from tools.learned import EVEN
from tools.pretrain.report import GROUP, SAMPLED, SAMPLES, TRIES

CARD = """\
---
license: apache-2.0
base_model: none
tags: [teaching, synthetic, not-for-clinical-use]
---

# {title}

A real `Qwen2VLForConditionalGeneration` of {millions:.2f} million parameters that answers questions
about drawings of 112 x 112 pixels. {home}
Teaching material, **not for clinical use**: it has never seen a medical image.

## How it was made

`python -m tools.pretrain --out DIR --seed {seed}{options}`, log in `pretrain.log`, on one thread of
{hardware}, {date}. Nothing was downloaded; weights, tokenizer and pictures follow from the seed.

1. **Vision tower**: {steps[tower]} steps, {minutes[tower]} minutes. It learns to tell every
   attribute of a picture{codes}
2. **Language**: {steps[language]} steps, {minutes[language]} minutes: look-ups and questions about
   captions in text alone, of both domains; captions and questions in the three styles about general
   pictures{rows} The rate falls to nothing at the end.

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

## What was wanted of it

{wanted} {missed}
{others}
## Licence

Apache-2.0, like the code that makes it.
"""

# How the cards of a base and of a teacher differ: `taught` in a report says which it is.
TAUGHT = {
    "little": {
        "title": "Tiny Qwen2-VL, second edition",
        "options": "",
        "home": """\
It is at home in a general domain of everyday drawings, where it
reads, describes and answers in three styles. Its tower tells the pictures of PhantomMedVQA apart as
well, but its language has hardly met them: form and skill are there, the subject is missing.""",
        "codes": """\
: of a general one in the word vectors of the language model, of a medical
   one in a code of its own, one random direction for each word.""",
        "rows": """\
. Of medical pictures it meets {met[pictures]}, most of them once or not at all: one step
   in {met[every]} has {met[captions]} captions of them and {met[questions]} questions of each
   direct style.""",
        "wanted": """\
In every style, on medical questions: form of 97 % or more; accuracy of 35 to 50 %, and no two
styles more than 6 points apart; each letter in 20 to 30 % of the answers; forced and corrected
letter within 2 points; blank and shuffled within 4 points of chance. On general questions: accuracy
of 85 % or more.""",
    },
    "full": {
        "title": "A teacher of the tiny Qwen2-VL",
        "options": " --size {size} --medical full",
        "home": """\
It is at home in a general domain of everyday drawings and, as
much, in the pictures of PhantomMedVQA: it reads, describes and answers in three styles.""",
        "codes": ", in the word vectors of the language model.",
        "rows": ", and as many about {met[pictures]} medical ones.",
        "wanted": "In every style and both domains: accuracy of 85 % or more.",
    },
}


KEPT = ("accuracy", "form", "forced", "corrected", "blank", "shuffled", "letters", "no_spread")
OTHERS = """
The same command with other seeds or options, as the columns say, on as many questions; a run with
other options takes the tower of seed {seed}. None was left out, and nothing was chosen among them
by what GRPO makes of it.

{table}
"""
STABLE = """
The base of seed {seed} after {steps} language steps, each schedule with its own end of the rate:
accuracies in a style lie at most {apart} points apart; at most 4 were wanted.
"""


def card(found: dict[str, Any], others: Sequence[dict[str, Any]] = ()) -> str:
    """The card of a report, as Markdown; `others` are what `tools.pretrain.others` keeps."""
    domains = found["domains"]
    own = {key: found[key] for key in ("seed", "size", "hardware", "date", "steps", "minutes")}
    own |= {"met": found["medical"]}
    told = {name: text.format(**own) for name, text in TAUGHT[found["taught"]].items()}
    missed = _missed_by_base if found["taught"] == "little" else _missed_by_teacher
    return CARD.format(
        **own,
        **told,
        millions=found["parameters"] / 1e6,
        n=domains["medical"]["n"],
        n_general=domains["general"]["n"],
        samples=SAMPLES,
        sampled=SAMPLED,
        group=GROUP,
        domains="\n\n".join(_domain(kind, domains[kind]) for kind in ("general", "medical")),
        cells=_cells(domains["medical"]["styles"]),
        missed="\n".join(missed(domains)) or "All of it holds.",
        others=_others(found, others) if others else "",
    )


def _missed_by_teacher(domains: dict[str, Any]) -> list[str]:
    """One sentence about every accuracy of a teacher that is too low."""
    return [
        f"**Missed: {kind} accuracy in `{style}` is {_percent(row['accuracy'])} %.**"
        for kind, found in domains.items()
        for style, row in found["styles"].items()
        if row["accuracy"] < 0.85
    ]


def _missed_by_base(domains: dict[str, Any]) -> list[str]:
    """One sentence about everything that was wanted of a base and does not hold."""
    told = []
    medical, general = (domains[kind]["styles"] for kind in ("medical", "general"))
    for style, row in medical.items():
        held = {
            f"form is {_percent(row['form'])} %": row["form"] >= 0.97,
            f"accuracy is {_percent(row['accuracy'])} %": 0.35 <= row["accuracy"] <= 0.5,
            f"corrected is {_percent(row['corrected'])} %": abs(row["corrected"] - row["forced"])
            <= 0.02,
            f"general accuracy is {_percent(general[style]['accuracy'])} %": general[style][
                "accuracy"
            ]
            >= 0.85,
        }
        for letter, share in row["letters"].items():
            held[f"{letter} is answered in {_percent(share)} %"] = EVEN[0] <= share <= EVEN[1]
        for control in ("blank", "shuffled"):
            held[f"{control} is {_percent(row[control])} %"] = abs(row[control] - 0.25) <= 0.04
        told += [f"**Missed: in `{style}`, {what}.**" for what, holds in held.items() if not holds]
    forced = [row["forced"] for row in medical.values()]
    if max(forced) - min(forced) > 0.06:
        told.append(f"**Missed: styles lie {_percent(max(forced) - min(forced))} points apart.**")
    return told


def short(found: dict[str, Any]) -> dict[str, Any]:
    """What the card of another base says of this one."""
    domains = {
        kind: {
            "n": one["n"],
            "caption_oracle": one["caption_oracle"]["share"],
            "styles": {
                style: {name: row[name] for name in KEPT} for style, row in one["styles"].items()
            },
        }
        for kind, one in found["domains"].items()
    }
    return {name: found[name] for name in ("seed", "medical", "steps", "minutes", "date")} | {
        "domains": domains
    }


def _others(found: dict[str, Any], others: Sequence[dict[str, Any]]) -> str:
    head = ["seed", "language steps", "medical captions", "style", "accuracy", "corrected"]
    head += ["A / B / C / D", "general", "caption oracle"]
    rows = ["| " + " | ".join(head) + " |", "|--:|--:|--:|---" + "|--:" * 5 + "|"]
    for one in (short(found), *others):
        medical, general = (one["domains"][kind] for kind in ("medical", "general"))
        for style, row in medical["styles"].items():
            cells = [str(one["seed"]), str(one["steps"]["language"])]
            cells += [str(one["medical"]["captions"]), style]
            cells += [_percent(row["accuracy"]), _percent(row["corrected"])]
            cells.append(_letters(row))
            cells.append(_percent(general["styles"][style]["accuracy"]))
            cells.append(_percent(medical["caption_oracle"]))
            rows.append("| " + " | ".join(cells) + " |")
    return OTHERS.format(seed=found["seed"], table="\n".join(rows)) + _stable(found, others)


def _stable(found: dict[str, Any], others: Sequence[dict[str, Any]]) -> str:
    """How far the accuracies of the same base lie apart if its language half stops elsewhere."""
    kind = found["seed"], found["medical"]
    same = [one for one in others if (one["seed"], one["medical"]) == kind]
    ends = sorted({one["steps"]["language"] for one in (found, *same)})
    if len(ends) == 1:
        return ""
    styles = [one["domains"]["medical"]["styles"] for one in (found, *same)]
    shares = [[of[style]["accuracy"] for of in styles] for style in styles[0]]
    apart = _percent(max(max(share) - min(share) for share in shares))
    return STABLE.format(seed=found["seed"], steps=", ".join(map(str, ends)), apart=apart)


def _domain(kind: str, found: dict[str, Any]) -> str:
    styles = found["styles"].values()
    single = ("accuracy", "form", "forced", "corrected", "blank", "shuffled")
    rows = {name: [_percent(s[name]) for s in styles] for name in single}
    rows["letters A / B / C / D"] = [_letters(s) for s in styles]
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


def _letters(style: dict[str, Any]) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in style["letters"].values())


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
