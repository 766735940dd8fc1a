"""`python -m medr1_lib report`: figures, tables and one page from recorded answers."""

import argparse
import hashlib
import html
import json
from collections import defaultdict
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from medr1_lib.analysis import recorded
from medr1_lib.data.phantom_vqa import PER_CELL, TRAIN_FACTOR, questions
from medr1_lib.data.question import Question
from medr1_lib.errors import InputError
from medr1_lib.evaluation.items import Items
from tools import report

ANSWERED = ["model", "mark", "control", "item"]


def main(arguments: list[str]) -> int:
    """Write a folder of figures and tables for each test set, and `report.html` over all."""
    options = _parser().parse_args(arguments)
    if options.out.exists() and not options.out.is_dir():
        raise InputError(options.out, "is a file", "name a folder")
    train = _train(options.data)
    extra = _extra(options.extra) if options.extra else None
    sections = []
    for together in _groups(options.runs):
        name = together[0].name
        out = options.out / name
        out.mkdir(parents=True, exist_ok=True)
        sections.append(f"<h2>{html.escape(', '.join(block.name for block in together))}</h2>")
        sections += [_provenance(block) for block in together]
        sections += _section(together, out, train, extra)
    page = options.out / "report.html"
    page.write_text(report.PAGE.format(title="Recorded runs", body="\n".join(sections)))
    print(page)
    return 0


def _section(
    together: list[Path], out: Path, train: list[Question], extra: pd.DataFrame | None
) -> list[str]:
    records = pd.concat(map(recorded.load, together)).drop_duplicates(ANSWERED)
    logs = recorded.gathered(together, recorded.LOGS, "step")
    odds = recorded.gathered(together, recorded.ODDS, "item")
    found = report.summaries(report.maps(records))
    parts = [report.save_table("summary", found, out)] if len(found) else []
    drawn = report.figures(records, logs, odds, train, extra)
    parts += [report.save(name, one, out) for name, one in tqdm(drawn, unit="figure")]
    return parts


def _groups(runs: Path) -> list[list[Path]]:
    """The blocks in a folder, those with the same unmarked test together."""
    folders = [runs] if (runs / recorded.MODELS).is_file() else sorted(runs.glob("*/"))
    found = [folder for folder in folders if (folder / recorded.MODELS).is_file()]
    if not found:
        raise InputError(runs, "holds no block of recorded runs", "name what `sweep` recorded")
    groups = defaultdict(list)
    for folder in found:
        asked = pd.read_parquet(folder / recorded.QUESTIONS, columns=["mark", "item", "image_id"])
        asked = asked[asked["mark"] == "random"].sort_values("item")
        groups[hashlib.sha256(asked.to_csv().encode()).hexdigest()].append(folder)
    return list(groups.values())


def _extra(path: Path) -> pd.DataFrame:
    try:
        return pd.DataFrame(json.loads(path.read_text())["rows"])[report.COLUMNS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"holds no series ({' '.join(str(error).split())})"
        raise InputError(path, problem, "name what benchmarks/study/oracle.py wrote") from error


def _train(data: Path | None) -> list[Question]:
    if data is None:
        return list(questions("train", per_cell=TRAIN_FACTOR * PER_CELL))
    return Items(data, "train").questions


def _provenance(block: Path) -> str:
    notes = recorded.notes(block)
    models = pd.DataFrame(notes["models"])
    counted = models.groupby(["method", "style", "axis"], as_index=False).agg(
        models=("model", "size"), seeds=("seed", "nunique"), steps=("steps", "max")
    )
    made = ", ".join(sorted(set(models["date"] + ", " + models["hardware"])))
    lines = f"{block.name}: {notes.get('command', '')}\n{made}"
    return f"<pre>{html.escape(lines)}</pre>\n{counted.to_html(index=False)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medr1_lib report", description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, metavar="DIR", help="a folder of blocks, or one block")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for figures and tables")
    blind = "data set on whose training split the rules that do not look are fitted (phantoms)"
    add("--data", type=Path, metavar="DIR", help=blind)
    extra = "more series for the headline figure, as benchmarks/study/oracle.py writes them"
    add("--extra", type=Path, metavar="FILE", help=extra)
    return parser
