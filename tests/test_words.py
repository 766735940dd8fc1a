"""One thing has one name in the chapters, that of the glossary, and no habit hinders readers.

A chapter is held to this once it is in plain English, see `notebooks/_src/README.md`.
"""

import re
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).parents[1]
# Chapters that are in plain English. The others are being rewritten; add yours.
PLAIN = {f"{number:02d}" for number in range(14)}
STUDY = {"12"}  # new exercises and figures come with the study's next records
# A word that readers have to decode, and what stands for it. The first six are names of one thing.
WORDS = {
    r"repl(y|ies)": "completion",
    r"outputs? of the model": "completion",
    r"thoughts": "rationale",
    r"(its|their|right|wrong|good|true|false|own|later) reasons": "rationale",
    r"(reasons|thinking) (that|which|first|behind|after)": "rationale",
    r"pictures?": "image, or figure for what a cell draws",
    r"less (the|than the mean|a|one's|SFT|GRPO|think)": "minus",
    r"taught on": "trained on",
    r"dear(er|est)?": "expensive",
    r"pupils?|school|eyes?": "model, training, tower",
    r"is no (riddle|merit|wonder|accident)": "a plain sentence",
    r"who (makes|follows|takes|tries|types|wants|looks|reads|gives)": "a subject: if you ...",
    r"for ever": "without limit",
}


def prose(source: Path) -> str:
    """What a chapter says: its markdown, without code in it and tags such as `<think>`."""
    cells = jupytext.read(source, fmt="py:percent").cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return re.sub(r"```.*?```|`[^`]*`|<[^>]+>|\$\$.*?\$\$|\]\([^)]*\)", " ", text, flags=re.S)


def offenders(text: str) -> list[str]:
    """The words of a text that the glossary has another name for, with some text around each."""
    found = []
    for pattern, better in WORDS.items():
        for match in re.finditer(rf"\b(?:{pattern})\b", text, re.I):
            around = " ".join(text[max(0, match.start() - 25) : match.end() + 15].split())
            found.append(f"...{around}...: {better}")
    return found


SOURCES = sorted((ROOT / "notebooks/_src").glob("[0-9]*.py"))


@pytest.mark.parametrize("chapter", sorted(PLAIN - STUDY))
def test_a_rewritten_chapter_has_all_its_parts(chapter):
    (source,) = (source for source in SOURCES if source.stem.startswith(chapter))
    text = source.read_text(encoding="utf-8")
    assert re.search(r"^# \*hard, (\d+) minutes\*", text, re.M), "no exercise that takes its time"
    assert "\n# ## Quiz\n" in text
    assert re.search(r"^(_ = )?sketch\(", text, re.M), "no concept figure"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem[:2])
def test_one_thing_has_one_name(source):
    if source.stem[:2] not in PLAIN:
        pytest.skip("not yet in plain English")
    assert offenders(prose(source)) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The completion has a rationale, for the following reasons.", 0),
        ("The reply is short.", 1),
        ("Its reasons name an option, and the thoughts are true.", 2),
        ("SFT less GRPO, the reward less the mean", 2),
        ("Who makes eight tests finds something.", 1),
        ("Those who make eight tests find something.", 0),
    ],
)
def test_can_it_fail(text, count):
    assert len(offenders(text)) == count


def test_defined_words_are_in_the_glossary():
    terms = re.findall(r"^(\w.*)$", (ROOT / "book/glossary.md").read_text(), flags=re.M)
    names = {"answer", "completion", "rollout", "sample", "rationale", "nats"}
    assert names | {"Modality Recognition", "letter habit", "forced letter"} <= {*terms}
    assert {"entropy", "distillation", "Brier score", "calibration"} <= {*terms}
