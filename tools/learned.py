"""What the pages say of the base and of what training adds to it, from its report and a record."""

from typing import Any

import pandas as pd

from medr1_lib.analysis.gains import PARTS
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.files import read_json
from notebooks.tools import kernel

REPORT = kernel.ROOT / "data/tiny-qwen2-vl/report.json"
RECORD = kernel.ROOT / "data/recorded/learning/learning.json"
PROBE = kernel.ROOT / "data/recorded/probe.json"
MORE = kernel.ROOT / "data/recorded/more"  # a record of the same for each other setting
AIMED, EVEN = 15, (0.2, 0.3)  # points of knowledge; shares of each letter
SURE = 0.99  # of a letter that no constant of the correction moves
STYLES = ("no_think", "think_after", "think_before")  # last the one in which no habit shows
ARMS = {
    "grpo": "GRPO",
    "format": "format reward alone",
    "random": "random reward",
    "sft": "SFT on the letters",
    "sft-time": "SFT, same time",
    "rft": "rejection sampling, SFT",
    "rft-time": "the same, same time",
}
TRIED = {
    "steps-300": "more steps",
    "prompts-32": "32 questions to a step",
    "rollouts-16": "16 completions of a question, not 8",
    "iterations-2": "two updates with each sampling",
    "rank-64": "rank 64, not 16",
    "temperature-1.5": "temperature 1.5, not 1",
    "beta-0-300": "no reference, more steps",
}
TRIED |= {f"prompts-8-{steps}": "8 questions to a step" for steps in (300, 600, 700, 850, 500)}
LONGER = ("prompts-8-850", "prompts-8-500")  # as many steps as fit five minutes, two processors


def base(report: dict[str, Any]) -> str:
    """What the base does in both domains, and where its letters are uneven."""
    lines = [
        "| domain | style | right | form | corrected | letters A / B / C / D | captions right |",
        "|---|---|--:|--:|--:|---|--:|",
    ]
    uneven = []
    for domain, told in report["domains"].items():
        for style, found in told["styles"].items():
            letters = " / ".join(f"{100 * share:.0f}" for share in found["letters"].values())
            rates = (found[name] for name in ("accuracy", "form", "corrected"))
            cells = " | ".join(f"{100 * rate:.1f}" for rate in rates)
            oracle = f"{100 * told['caption_oracle']['share']:.1f}"
            lines.append(f"| {domain} | `{style}` | {cells} | {letters} | {oracle} |")
            uneven += [
                f"{letter} in {100 * share:.0f} % of `{style}`"
                for letter, share in found["letters"].items()
                if domain == "medical" and not EVEN[0] <= share <= EVEN[1]
            ]
    n = " and ".join(f"{told['n']} {domain}" for domain, told in report["domains"].items())
    low, high = (f"{100 * end:.0f}" for end in EVEN)
    wanted = f"Each letter was wanted in {low} to {high} % of the medical answers"
    missed = f"; it is given otherwise: {', '.join(uneven)}" if uneven else ", and is given so"
    head = f"Shares in %, {n} questions, chance 25, {report['hardware']}, {report['date']}:"
    return "\n".join([head, "", *lines, "", f"{wanted}{missed}."])


def gains(record: dict[str, Any]) -> str:
    """The gain of every arm by its parts, how it was measured, and whether the aim was reached."""
    lines = [f"| style | arm | {' | '.join(PARTS)} |", f"|---|---|{len(PARTS) * '--:|'}"]
    first, *_ = bases_of(record)
    told = {
        (row["style"], row["arm"]): row["models"]
        for row in record["table"]
        if row["over"] == "seed"
    }
    for (style, arm), models in sorted(told.items(), key=lambda one: STYLES.index(one[0][0])):
        cells = " | ".join(points(record, style, arm, part, "seed") for part in PARTS)
        fewer = f" (seeds: {models})" if models < seeds_of(record, first) else ""
        lines.append(f"| `{style}` | {ARMS[arm]}{fewer} | {cells} |")
    return "\n".join(
        [
            f"Gain over `{first}` in points; held-out questions, {how(record, 'seed')}:",
            "",
            *lines,
            *each_base(record),
            "",
            aim(record),
        ]
    )


def headline(record: dict[str, Any], tried: dict[str, dict[str, Any]]) -> str:
    """What GRPO adds in each style, in a few sentences."""
    over, styles = over_all(record), styles_of(record)
    gains = [points(record, style, "grpo", "knowledge", over) for style in styles]
    doubtful = [
        f"`{style}`"
        for style in styles
        if row_of(record, style, "grpo", "knowledge", over)["low"] <= 0
    ]
    claim = "**GRPO adds points of knowledge**, accuracy beyond form and letter habit"
    if doubtful:
        claim = (
            "**What GRPO adds in knowledge**, accuracy beyond form and letter habit; "
            f"the interval is not all above zero in {', '.join(doubtful)}"
        )
    told = ", ".join(f"{gain} in `{style}`" for gain, style in zip(gains, styles, strict=True))
    grpo, sft, timed = (
        ", ".join(mean(record, style, arm, "seed") for style in styles)
        for arm in ("grpo", "sft", "sft-time")
    )
    hidden = ", habits within the rationale included" * (styles[-1] == "think_before")
    numbers = how(record, over).rpartition(f", {record['hardware']}")[0]
    return (
        f"{claim}:\n{told}{hidden};\n{numbers}.\n"
        f"The same in {longer(tried)}\n"
        f"On the first base: GRPO {grpo}; "
        f"SFT on letters, equal updates, {sft}; equal time, {timed}."
    )


def sure(answers: pd.DataFrame) -> str:
    """In which share of the questions the first base is as good as sure of its letter."""
    own = answers.query("arm == 'base' and control == 'none'")
    rows = dict(list(own[own["base"] == own["base"].iloc[0]].groupby("style")["letter_probs"]))
    told = []
    for style in STYLES:
        probs = pd.DataFrame(list(map(list, rows[style])))
        share = (probs.max(axis=1) > SURE * probs.sum(axis=1)).mean()
        told.append(f"{100 * share:.1f} % of the questions in `{style}`")
    return f"The base gives its likeliest letter more than {SURE} in {', '.join(told)}."


def styles_of(record: dict[str, Any]) -> list[str]:
    """The styles that GRPO was trained in, those first in which a letter habit shows."""
    trained = {row["style"] for row in record["table"] if row["arm"] == "grpo"}
    return [style for style in STYLES if style in trained]


def over_all(record: dict[str, Any]) -> str:
    """What the widest intervals of GRPO are over: `base` if it trained several, else `seed`."""
    return "base" if len(bases_of(record)) > 1 else "seed"


def row_of(record: dict[str, Any], style: str, arm: str, part: str, over: str) -> dict[str, Any]:
    """One part of a gain with its interval, over the seeds of a base or over bases."""
    (row,) = (
        row
        for row in record["table"]
        if (row["style"], row["arm"], row["part"], row["over"]) == (style, arm, part, over)
    )
    return row


def points(record: dict[str, Any], style: str, arm: str, part: str, over: str) -> str:
    """The same in points, as text."""
    row = row_of(record, style, arm, part, over)
    value, low, high = (f"{100 * row[name]:+.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def mean(record: dict[str, Any], style: str, arm: str, over: str) -> str:
    """The knowledge that an arm adds, in points, without its interval."""
    return f"{100 * row_of(record, style, arm, 'knowledge', over)['value']:+.1f}"


def how(record: dict[str, Any], over: str) -> str:
    """Questions, bases, training seeds, steps, machine and day of a record."""
    first, *others = (seeds_of(record, base) for base in bases_of(record))
    if over == "seed":
        told = "one training seed" if first == 1 else f"{first} training seeds"
        wide = "pictures and seeds" if first > 1 else "pictures"
    else:
        counts = f"{', '.join(map(str, [first, *others[:-1]]))} and {others[-1]}"
        each = f"{first} training seed{'s' * (first > 1)} each"
        told = f"{1 + len(others)} bases with "
        told += each if {first} == {*others} else f"{counts} training seeds"
        wide = "pictures and bases"
    return (
        f"n = {record['questions']}, {told}, {record['steps']} steps, "
        f"95 % intervals over {wide}, {record['hardware']}, {record['date']}"
    )


def seeds_of(record: dict[str, Any], base: str) -> int:
    """How many seeds GRPO trained a base with."""
    runs = (run for run in record["runs"] if (run["arm"], run["base"]) == ("grpo", base))
    return len({run["seed"] for run in runs})


def bases_of(record: dict[str, Any]) -> list[str]:
    """The bases that GRPO trained, in their order."""
    return list(dict.fromkeys(run["base"] for run in record["runs"] if run["arm"] == "grpo"))


def each_base(record: dict[str, Any]) -> list[str]:
    """What GRPO adds to each base in knowledge, and to all of them, where there are several."""
    bases = bases_of(record)
    if len(bases) == 1:
        return []
    found: dict[tuple[str, str], list[float]] = {}
    for run in record["runs"]:
        if run["arm"] == "grpo":
            found.setdefault((run["style"], run["base"]), []).append(run["gain"]["knowledge"])
    names = " | ".join(f"`{base}`" for base in bases)
    lines = [f"| knowledge by GRPO | {names} | {len(bases)} bases, interval over them too |"]
    lines.append(f"|---|{(len(bases) + 1) * '--:|'}")
    for style in styles_of(record):
        cells = (found[style, base] for base in bases)
        means = " | ".join(f"{100 * sum(one) / len(one):+.1f}" for one in cells)
        whole = points(record, style, "grpo", "knowledge", "base")
        lines.append(f"| `{style}` | {means} | {whole} |")
    return ["", *lines]


def aim(record: dict[str, Any]) -> str:
    """In which styles the gain that was aimed at was reached."""
    over, styles = over_all(record), styles_of(record)
    rows = {style: row_of(record, style, "grpo", "knowledge", over) for style in styles}
    reached = [f"`{style}`" for style, row in rows.items() if 100 * row["value"] >= AIMED]
    where = ", ".join(reached) if len(reached) < len(styles) else "each style"
    return f"{AIMED} points were aimed at, and reached in {where or 'no style'}."


def longer(tried: dict[str, dict[str, Any]]) -> str:
    """What GRPO gains in the time that was allowed, by style in their order."""
    told = {style: tried[name] for name in LONGER for style in styles_of(tried[name])}
    ordered = [(told[style], style) for style in STYLES if style in told]
    gains = ", ".join(mean(one, style, "grpo", over_all(one)) for one, style in ordered)
    how_long = "five minutes on two processors by smaller steps"
    return f"{how_long} (one seed; {AIMED} aimed at): {gains}."


def more(record: dict[str, Any], tried: dict[str, dict[str, Any]], probe: dict[str, Any]) -> str:
    """What other settings of GRPO give in knowledge and take in time, and what the tower allows."""
    first, *others = bases_of(record)
    lines = [f"| GRPO | style, steps | minutes | `{first}` (seeds) | {1 + len(others)} bases |"]
    lines.append("|---|---|---|--:|--:|")
    for name, told in {"as above": record, **tried}.items():
        for style in styles_of(told):
            gain = f"{points(told, style, 'grpo', 'knowledge', 'seed')} ({seeds_of(told, first)})"
            several = bases_of(told) == [first, *others]
            whole = points(told, style, "grpo", "knowledge", "base") if several else ""
            about = f"{TRIED.get(name, name)} | `{style}`, {told['steps']}"
            lines.append(f"| {about} | {minutes_of(told, style)} | {gain} | {whole} |")
    seen = [
        row for row in probe["rows"] if row["from"] == "tower" and row["attribute"] != "scanner"
    ]
    shares = ", ".join(
        f"{row['attribute']} {100 * row['accuracy']:.0f} (n = {row['n']})" for row in seen
    )
    lines += ["", "What a linear probe reads from the frozen tower, in % of new pictures:"]
    return "\n".join([*lines, f"{shares}."])


def minutes_of(record: dict[str, Any], style: str) -> str:
    """What a run of GRPO on the first base took, and on what."""
    base, *_ = bases_of(record)
    mine = ("grpo", base, style)
    took = [
        run["minutes"] for run in record["runs"] if (run["arm"], run["base"], run["style"]) == mine
    ]
    ends = dict.fromkeys(f"{end:.1f}" for end in (min(took), max(took)))
    return f"{' to '.join(ends)}, {record['hardware'].rpartition(', ')[2]}"


def texts() -> dict[str, str]:
    """The filled texts by their names on the pages; empty where nothing is recorded yet."""
    make = "make it with `python -m benchmarks.study.learning`"
    record = read_json(RECORD, make) if RECORD.exists() else {}
    tried = {name: read_json(MORE / name / "learning.json", make) for name in TRIED}
    probe = read_json(PROBE, "make it with `python -m benchmarks.study.probe`")
    report = read_json(REPORT, "make it with `python -m tools.pretrain`")
    return {
        "base": base(report),
        "gains": gains(record) if record else "",
        "more": more(record, tried, probe) if record else "",
        "sure": sure(pd.read_parquet(RECORD.with_name(ANSWERS))) if record else "",
        "headline": headline(record, tried) if record else "",
    }
