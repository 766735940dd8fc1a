"""The first page: short, true, and filled in by a command."""

import json
import re
import tomllib
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from PIL import Image

from medr1_lib.cli import COMMANDS
from notebooks.tools import kernel, sources
from tools import learned, readme

ROOT = kernel.ROOT
PAGE = (ROOT / "README.md").read_text(encoding="utf-8")
PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)]+)\)", re.S)
LINK = re.compile(r"\]\(([^)#\s]+)\)")
FIRST_COMMAND = "```bash"
OVER = (("base", 0.0), ("seed", 0.01))  # what an interval is over, and how much less was gained
MARKS = ("base", "gains", "sure")


def words(text):
    """What a reader reads: no addresses, comments, nor text for pictures."""
    text = re.sub(r"<!--.*?-->", " ", PICTURE.sub(" ", text), flags=re.S)
    return re.findall(r"[^\s|]*\w[^\s|]*", LINK.sub("]", text))


def test_it_is_short_and_begins_with_what_to_do():
    assert len(words(PAGE)) < 900
    assert len(words(PAGE.partition(FIRST_COMMAND)[0])) <= 120


def test_its_one_picture_is_low_and_has_a_text():
    ((alt, path),) = PICTURE.findall(PAGE)
    assert Image.open(ROOT / path).height <= 300
    assert len(alt.split()) >= 15


def test_links_lead_to_files():
    targets = [target for target in LINK.findall(PAGE) if "://" not in target]
    assert len(targets) >= 15
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_chapter_has_a_row_with_its_minutes():
    rows = dict(re.findall(r"^\| \[(\d\d) .*?\| ([^|]+ \| [^|]+) \|$", PAGE, re.M))
    assert sorted(rows) == [path.name[:2] for path in sorted(ROOT.glob("notebooks/[0-9]*.ipynb"))]
    costs = json.loads((ROOT / "data/recorded/course_costs.json").read_text())["laptop"]["minutes"]
    for number, row in rows.items():
        run, work = row.split(" | ")
        assert run == str(costs.get(number, "-")), number
        assert abs(int(work) - readme.work(number)) <= 60, f"{number}: `python -m tools.readme`"


def test_commands_are_those_that_exist():
    code = "\n".join(re.findall(r"```bash\n(.*?)```", PAGE, re.S)) + " ".join(
        re.findall(r"`([^`\n]+)`", PAGE)
    )
    named = set(re.findall(r"-m medr1_lib (\w+)", code))
    assert named
    assert named <= set(COMMANDS)
    modules = set(re.findall(r"-m ((?:notebooks|tools)\.[\w.]+)", code))
    assert modules
    assert [m for m in modules if not (ROOT / f"{m.replace('.', '/')}.py").exists()] == []
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?<![\w.])make ([a-z][a-z-]+)", code)) <= targets


def test_filling_it_again_changes_nothing_but_minutes():
    number = re.compile(r"\d+(\.\d+)?")
    assert number.sub("0", readme.filled(PAGE)) == number.sub("0", PAGE)


def test_the_results_are_filled_from_report_and_record():
    page = readme.RESULTS.read_text(encoding="utf-8")
    assert readme.marked(page) == page
    assert all(page.count(f"<!-- {mark}{name} -->") == 1 for name in MARKS for mark in ("", "end "))


def test_the_hours_are_filled_in_once():
    other = re.sub(
        r"\d+ chapters, an estimated \d+ hours", "9 chapters, an estimated 9 hours", PAGE
    )
    assert other != PAGE
    assert readme.filled(other) == readme.filled(PAGE)
    for page in (other + other, other.replace("an estimated", "around")):
        with pytest.raises(AssertionError, match="once how long"):
            readme.filled(page)


def of_bases(counts, lows):
    """A record of GRPO by bases with so many seeds, and the low ends of its styles."""
    row = {"arm": "grpo", "part": "knowledge", "over": "base", "value": 0.05, "high": 0.1}
    table = [row | {"style": style, "low": low} for style, low in lows.items()]
    table += [
        one | {"arm": arm, "over": "seed"} for one in table for arm in ("grpo", "sft", "sft-time")
    ]
    runs = [
        {"arm": "grpo", "base": base, "seed": seed}
        for base, seeds in counts.items()
        for seed in range(seeds)
    ]
    record = {"table": table, "runs": runs, "questions": 640, "steps": 150}
    return record | {"hardware": "a machine", "date": "2026-11-29"}


@pytest.mark.parametrize(
    ("lows", "said"),
    [
        ({"no_think": 0.01, "think_after": 0.001}, "**GRPO adds points of knowledge**, {}:"),
        (
            {"no_think": 0.01, "think_after": 0.0, "think_before": -0.02},
            "**What GRPO adds in knowledge**, {}; the interval is not all above zero in "
            "`think_after`, `think_before`:",
        ),
    ],
)
def test_the_headline_claims_what_the_intervals_allow(lows, said):
    record = of_bases({"a": 1, "b": 1}, lows)
    first, *_ = learned.headline(record, dict.fromkeys(learned.LONGER, record)).splitlines()
    assert first == said.format("accuracy beyond form and letter habit")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"a": 3, "b": 3, "c": 3}, "n = 640, 3 bases with 3 training seeds each, 150 steps"),
        ({"a": 1, "b": 1}, "n = 640, 2 bases with 1 training seed each, 150 steps"),
        ({"a": 3, "b": 1, "c": 1}, "n = 640, 3 bases with 3, 1 and 1 training seeds, 150 steps"),
    ],
)
def test_seeds_are_counted_once_where_all_bases_have_as_many(counts, told):
    assert learned.how(of_bases(counts, {}), "base").startswith(told)


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        ((0.149, 0.1), "15 points were aimed at, and reached in no style."),
        ((0.15, 0.2), "15 points were aimed at, and reached in each style."),
        ((0.15, 0.1), "15 points were aimed at, and reached in `no_think`."),
    ],
)
def test_the_aim_is_one_of_every_style(gains, told):
    record = of_bases({"a": 1, "b": 1}, {"no_think": 0.01, "think_after": 0.01})
    for row in record["table"]:
        row["value"] = dict(zip(("no_think", "think_after"), gains, strict=True))[row["style"]]
    assert learned.aim(record) == told


@pytest.mark.parametrize(("gain", "reached"), [(0.149, "no style"), (0.15, "each style")])
def test_the_gain_is_told_with_its_parts_and_the_aim(gain, reached):
    parts = dict(zip(learned.PARTS, (gain, 0.01, -0.002, gain + 0.008), strict=True))
    row = {"style": "no_think", "arm": "grpo", "low": 0.02, "high": 0.3, "models": 2}
    table = [row | {"part": part, "value": value} for part, value in parts.items()]
    other = {"arm": "sft", "value": 0.4, "models": 1}  # the aim is GRPO's alone
    table += [one | other for one in table] + [one | other | {"arm": "sft-time"} for one in table]
    table = [
        one | {"over": over, "value": one["value"] - less} for one in table for over, less in OVER
    ]
    record = {"table": table, "seeds": [0, 1], "questions": 640, "steps": 150}
    record |= {"hardware": "a machine", "date": "2026-11-29"}
    run = {"arm": "grpo", "style": "no_think", "gain": {"knowledge": gain}}
    record["runs"] = [run | {"base": "one", "seed": seed} for seed in (0, 1)]
    record["runs"] += [run | {"base": "two", "seed": 0, "gain": {"knowledge": 0.05}}]
    head = learned.headline(record, dict.fromkeys(learned.LONGER, record))
    assert f"habit:\n{100 * gain:+.1f} [+2.0, +30.0] in `no_think`;\nn = 640, 2 bases" in head
    assert "2 bases with 2 and 1 training seeds, 150 steps, 95 % intervals over" in head
    aim = "by smaller steps (one seed; 15 aimed at)"
    assert f"five minutes on two processors {aim}: {100 * gain:+.1f}.\n" in head
    order = f"On the first base: GRPO {100 * gain - 1:+.1f}; SFT on letters, equal updates, +39.0;"
    assert head.endswith(f"{order} equal time, +39.0.")
    told = learned.gains(record)
    assert told.endswith(f"aimed at, and reached in {reached}.")
    assert "640, 2 training seeds, 150 steps, 95 % intervals over pictures and seeds" in told
    assert "| `no_think` | SFT on the letters (seeds: 1) | +39.0 [+2.0, +30.0] |" in told
    assert f"| `no_think` | GRPO | {100 * gain - 1:+.1f} [+2.0, +30.0] |" in told
    assert f"| `no_think` | {100 * gain:+.1f} | +5.0 | {100 * gain:+.1f} [+2.0, +30.0] |" in told


def test_other_settings_are_told_with_what_they_take_and_what_the_tower_shows():
    row = {"style": "no_think", "arm": "grpo", "part": "knowledge"}
    row |= {"value": 0.1, "low": 0.01, "high": 0.2}
    record = {"recipe": "course", "changes": {}, "steps": 150, "hardware": "a machine, one thread"}
    record["table"] = [row | {"over": "seed"}, row | {"over": "base", "value": 0.12}]
    run = {"arm": "grpo", "style": "no_think", "seed": 0, "minutes": 4.0}
    runs = [run | {"base": base} for base in "ab"]
    again = [runs[0] | {"seed": 1, "minutes": 4.52}, runs[1] | {"minutes": 60.0}]
    long = record | {"steps": 300, "runs": [*runs, *again], "hardware": "a machine, 2 threads"}
    wide = record | {"runs": runs[:1]}
    rows = [{"from": "tower", "attribute": "grade", "accuracy": 0.8, "n": 600}]
    rows += [rows[0] | {"from": "corner"}, rows[0] | {"attribute": "scanner"}]
    tried = {"steps-300": long, "prompts-32": wide}
    told = learned.more(record | {"runs": runs}, tried, {"rows": rows})
    gain, whole = "+10.0 [+1.0, +20.0]", "+12.0 [+1.0, +20.0]"
    assert "| GRPO | style, steps | minutes | `a` (seeds) | 2 bases |" in told
    assert f"| as above | `no_think`, 150 | 4.0, one thread | {gain} (1) | {whole} |" in told
    more = "| more steps | `no_think`, 300 | 4.0 to 4.5, 2 threads"
    assert f"{more} | {gain} (2) | {whole} |" in told
    wider = "| 32 questions to a step | `no_think`, 150 | 4.0, one thread"
    assert f"{wider} | {gain} (1) |  |" in told
    assert told.endswith("in % of new pictures:\ngrade 80 (n = 600).")


def test_how_sure_the_base_is_of_its_letter():
    probs = {"no_think": [0.5, 0.5], "think_before": [0.998, 0.002], "think_after": [0.5, 0.01]}
    rows = [{"style": style, "letter_probs": one} for style, one in probs.items()]
    table = pd.DataFrame(rows).assign(arm="base", base="one", control="none")
    others = table.assign(letter_probs=[[1.0, 0.0]] * 3)
    more = [others.assign(**{name: "x"}) for name in ("arm", "base", "control")]
    said = learned.sure(pd.concat([table, *more]))
    assert re.findall(r"([\d.]+) % of the questions in `(\w+)`", said) == [
        ("0.0", "no_think"),
        ("0.0", "think_after"),
        ("100.0", "think_before"),
    ]


def test_uneven_letters_are_named():
    letters = {"A": 0.16, "B": 0.28, "C": 0.28, "D": 0.28}
    style = {"accuracy": 0.4, "form": 1.0, "corrected": 0.4, "letters": letters}
    domain = {"n": 9, "caption_oracle": {"share": 0.2}, "styles": {"no_think": style}}
    report = {"domains": {"medical": domain}, "hardware": "a machine", "date": "today"}
    assert learned.base(report).endswith("it is given otherwise: A in 16 % of `no_think`.")
    letters["A"] = 0.25
    assert learned.base(report).endswith("and is given so.")


@pytest.mark.parametrize("where", ["", "https://github.com/owner/name"])
def test_badges_and_the_address_come_with_the_repository(monkeypatch, where):
    monkeypatch.setattr(sources, "REPOSITORY", where)
    page = readme.filled(PAGE)
    assert ("mybinder" in page) == ("shields" in page) == bool(where)
    assert f"git clone {where or 'ADDRESS'} medr1" in page
    assert readme.filled(page) == page
    monkeypatch.setattr(sources, "REPOSITORY", "")
    assert readme.filled(page) == readme.filled(PAGE)


def test_a_chapter_opens_in_colab_once_there_is_a_repository():
    source = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 1 Title")])
    assert sources.with_colab(source, "01_clean", "") is source
    opened = sources.with_colab(source, "01_clean", "https://github.com/owner/name")
    title, badge, install = opened.cells
    assert title.source == "# 1 Title"
    assert "/github/owner/name/blob/main/notebooks/01_clean.ipynb)" in badge.source
    assert "%pip install -q git+https://github.com/owner/name" in install.source
    assert {tag for cell in (badge, install) for tag in cell.metadata["tags"]} <= sources.TAGS
    assert len(source.cells) == 1


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert cited["title"] == PAGE.partition("\n")[0].removeprefix("# ")


def test_can_it_fail():
    assert len(words("one [two](three.md) ![four](five.png) | six |")) == 3
    assert Path(ROOT / "CONTRIBUTING.md").exists()
