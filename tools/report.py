"""`python -m tools.report`: figures, tables and one page from recorded answers.

A folder of figures and tables for each test set, and `report.html` over all of them.
"""

import argparse
import base64
import hashlib
import html
import io
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from tqdm.auto import tqdm

from medr1_lib.analysis import grounding, plots, recorded, transfer
from medr1_lib.analysis.plots import Drawn
from medr1_lib.analysis.stats import holm, rate_table
from medr1_lib.analysis.transfer import Maps, TransferAnswers, maps, matrix, on_diagonal
from medr1_lib.cli import exit_status
from medr1_lib.course.chapters.chapter_12 import no_think_minus_think
from medr1_lib.data.phantom_vqa import PER_CELL, TRAIN_FACTOR, questions
from medr1_lib.data.question import AXES, BASES, Question
from medr1_lib.errors import InputError
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import one_writer, writing
from tools.figures import ablation, calibration, hallucinations, learning_curves

Named = Iterator[tuple[str, Drawn]]
SERIES = ["series", "test", "n", "accuracy", "low", "high"]
LISTED = 12  # values that an alternative text reads out one by one
# What the figures need of the files beside the answers.
BESIDE = {recorded.LOGS: ["step"], recorded.LETTER_PROBS: ["test", "item", "confidence", "correct"]}
ANSWERED = ["model", "control", "item"]
Test = tuple[Path, str]  # a block, and one of its test sets
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
img {{ max-width: 100%; }} td, th {{ padding: 0.15rem 0.6rem; text-align: right; }}
table {{ border-collapse: collapse; font-size: 0.85rem; }} tr {{ border-top: 1px solid #ccc; }}
</style></head><body><h1>{title}</h1>
<p>Teaching material, not for clinical use. Intervals are of 95 %, over items, and over seeds where
there are several.</p>
{body}
</body></html>
"""


def main(arguments: list[str]) -> int:
    """Write a folder of figures and tables for each test set, and `report.html` over all."""
    options = _parser().parse_args(arguments)
    if options.out.exists() and not options.out.is_dir():
        raise InputError(options.out, "is a file", "name a folder")
    extra = _extra(options.extra) if options.extra else None
    groups = _groups(options.runs)
    train = _train(options.data)  # last, since it lists ten thousand questions
    with one_writer(options.out), writing(options.out, "make room or choose another folder"):
        page = _page(groups, options.out, train, extra)
    print(page)
    return 0


def _page(
    groups: list[list[Test]], root: Path, train: list[Question], extra: pd.DataFrame | None
) -> Path:
    sections = []
    for together in groups:
        names = [_name(block, test) for block, test in together]
        out = root / names[0]
        out.mkdir(parents=True, exist_ok=True)
        sections.append(f"<h2>{html.escape(', '.join(names))}</h2>")
        sections += [_provenance(block) for block, _ in together]
        sections += _section(together, out, train, extra)
    page = root / "report.html"
    page.write_text(PAGE.format(title="Recorded runs", body="\n".join(sections)), encoding="utf-8")
    return page


def _name(block: Path, test: str) -> str:
    """What a test set is called in the report: as its block, if that has no other."""
    return block.name if recorded.load(block)["test"].eq(test).all() else f"{block.name}-{test}"


def _section(
    together: list[Test], out: Path, train: list[Question], extra: pd.DataFrame | None
) -> list[str]:
    own = [recorded.load(block).query("test == @test") for block, test in together]
    records = pd.concat(own).drop_duplicates(ANSWERED)
    blocks, asked = [block for block, _ in together], records[["model", "test"]].drop_duplicates()
    logs = gathered(blocks, recorded.LOGS, "step")
    letters = gathered(blocks, recorded.LETTER_PROBS, "item").merge(asked)
    models = records.drop_duplicates("model")
    again = models.duplicated(recorded.LABELS[1:])  # by another recipe: one map holds one of both
    records = records[~records["model"].isin(models.loc[again, "model"])]
    found = summaries(maps(records))
    parts = [save_table("summary", found, out)] if len(found) else []
    drawn = figures(records, logs, letters, train, extra)
    parts += [save(name, one, out) for name, one in tqdm(drawn, unit="figure")]
    return parts


def _groups(runs: Path) -> list[list[Test]]:
    """The test sets of the blocks in a folder, those with the same questions together."""
    folders = [runs] if (runs / recorded.MODELS).is_file() else sorted(runs.glob("*/"))
    found = [folder for folder in folders if (folder / recorded.MODELS).is_file()]
    if not found:
        raise InputError(runs, "holds no block of recorded runs", "name what `sweep` recorded")
    groups = defaultdict(list)
    for folder in found:
        for test, records in recorded.load(folder).groupby("test", sort=False):
            asked = records.drop_duplicates("item").sort_values("item", ignore_index=True)
            said = asked[["item", "image_id"]].to_csv()
            groups[hashlib.sha256(said.encode()).hexdigest()].append((folder, str(test)))
    return list(groups.values())


def _extra(path: Path) -> pd.DataFrame:
    try:
        rows = pd.DataFrame(json.loads(path.read_text(encoding="utf-8"))["rows"])[SERIES]
        kinds = dict(zip(SERIES, (str, str, int, float, float, float), strict=True))
        return rows.astype(kinds)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"holds no series ({' '.join(str(error).split())})"
        raise InputError(path, problem, "name what benchmarks/study/oracle.py wrote") from error


def _train(data: Path | None) -> list[Question]:
    if data is None:
        return list(questions("train", per_cell=TRAIN_FACTOR * PER_CELL))
    return EvalSet(data, "train").questions


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
    parser = argparse.ArgumentParser(prog="python -m tools.report", description=__doc__)
    add = parser.add_argument
    add("--runs", type=Path, required=True, metavar="DIR", help="a folder of blocks, or one block")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for figures and tables")
    blind = "data set on whose training split the rules that do not look are fitted (phantoms)"
    add("--data", type=Path, metavar="DIR", help=blind)
    extra = "more series for the headline figure, as benchmarks/study/oracle.py writes them"
    add("--extra", type=Path, metavar="FILE", help=extra)
    return parser


def figures(
    records: pd.DataFrame,
    logs: pd.DataFrame,
    letters: pd.DataFrame,
    train: Sequence[Question],
    extra: pd.DataFrame | None = None,
) -> Named:
    """Draw all that the records allow, one by one, each with the name of its file.

    Args:
        records: As `recorded.load` returns them, of one test set.
        logs: As `gathered` returns them.
        letters: Likewise.
        train: Questions on which the rules that do not look are fitted.
        extra: See `headline`.
    """
    found = maps(records)
    bars = headline(records, found, extra)
    if len(bars):
        on = "all modalities" if any(key[0] == "all" for key in found) else "the modality alone"
        yield "headline", plots.headline(bars, f"Accuracy in %, trained on {on}")
    for (axis, method, style), one in found.items():
        if axis != "all":
            what, name = f"{method}, {style}", f"{axis}-{method}-{style}"
            blind = transfer.blind_baselines(records, method, style, axis, train)
            yield f"map-{name}", plots.heatmap(matrix(one), blind, f"Accuracy in %: {what}")
            title = f"Gain over the base in points: {what}"
            yield f"gain-{name}", plots.difference_heatmap(matrix(one), "gain", title)
    for axis in AXES:
        yield from _compared(axis, {key[1:]: one for key, one in found.items() if key[0] == axis})
    reasons = _reasons(records)
    if len(reasons):
        yield "hallucinations", hallucinations(reasons)
    for column in ("accuracy", "reward"):
        if column in logs:
            kept = logs[logs[column].notna()]
            kept = kept.assign(group=kept[["method", "style", "axis"]].agg(", ".join, axis=1))
            if len(kept):
                yield f"curves-{column}", learning_curves(kept, column, "group")
    for kind, sure in letters.groupby(letters["method"] + "-" + letters["style"]):
        yield f"calibration-{kind}", calibration(sure, str(kind).replace("-", ", "))


def headline(records: pd.DataFrame, found: Maps, extra: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accuracy by modality of every base and trained model, columns `SERIES`, for `plots.headline`.

    Of models trained on everything where there are any, else of those trained on the modality.
    """
    axis = "all" if any(key[0] == "all" for key in found) else "modality"
    trained = {key: one for key, one in found.items() if key[0] == axis}
    bases = maps(records, [axis], BASES, dict.fromkeys(style for *_, style in trained))
    parts = []
    for (_, method, style), one in (bases | trained).items():
        table = matrix(one)
        home = on_diagonal(table) | table["train"].eq("none")
        parts.append(table[home].assign(series=f"{method}, {style}"))
    tables = [part[SERIES] for part in (*parts, extra) if part is not None]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=SERIES)


def _compared(axis: str, found: dict[tuple[str, str], TransferAnswers]) -> Named:
    """Maps of one axis against each other: those of the same rows and items."""
    if not found:
        return
    first = next(iter(found.values()))
    alike = {
        key: one
        for key, one in found.items()
        if one.trains == first.trains and one.right.index.equals(first.right.index)
    }
    if len(alike) > 1:
        labelled = {f"{method}, {style}": one for (method, style), one in alike.items()}
        title = f"Accuracy against {next(iter(labelled))}, in points"
        yield f"ablation-{axis}", ablation(transfer.compare_pooled(labelled), title)
    for one, other in combinations(alike, 2):
        if axis != "all" and (one[0] == other[0] or one[1] == other[1]):
            table = compare_cells(alike[one], alike[other])
            title = f"{', '.join(other)} less {', '.join(one)}, in points"
            name = f"difference-{axis}-{'-'.join(other)}-{'-'.join(one)}"
            yield name, plots.difference_heatmap(table, "difference", title)
    if axis != "all":
        title = "Published: no_think less think_before, in points"
        table = no_think_minus_think(axis)
        yield f"published-{axis}", plots.difference_heatmap(table, "value", title)


def compare_cells(first: TransferAnswers, second: TransferAnswers) -> pd.DataFrame:
    """Two maps cell by cell, on the same items.

    The variance between seeds is taken from all cells of a map together: a cell whose few seeds
    agree by luck would pass for certain. `difference` is second less first, `seeds` those of the
    side with fewer, `p_holm` corrected for all cells together.
    """
    others = {(train, test): part for train, test, part in second.cells()}
    one, two, rows = transfer.seed_noise(first), transfer.seed_noise(second), []
    for train, test, part in first.cells():
        if (other := others.get((train, test))) is not None:
            seeds, more = part.shape[1], other.shape[1]
            noise = [(v / seeds, free) for v, free in one] + [(v / more, free) for v, free in two]
            labels = (train, test, len(part), min(seeds, more))
            rows.append((*labels, *transfer.difference_test(part, other, first.cluster, noise)))
    table = pd.DataFrame(rows, columns=[*transfer.CELL[:4], *transfer.TEST])
    return table.assign(p_holm=holm(table["p"]))


def _reasons(records: pd.DataFrame) -> pd.DataFrame:
    """Share of false claims of the bases and of models trained on everything."""
    kept = records[records["control"].eq("none") & records["axis"].eq("all")]
    scored = grounding.score(kept.dropna(subset="scene"))
    rates = rate_table(scored, ["method", "style"], grounding.MEASURES)
    rates = rates[rates["measure"] == "hallucination"].dropna(subset="value")
    return rates.assign(group=rates["method"] + ", " + rates["style"], share=rates["value"])


def summaries(found: Maps) -> pd.DataFrame:
    """One row per map and part of it, with the generalization index."""
    rows = []
    for (axis, method, style), one in found.items():
        index = {
            f"index_{name}": value for name, value in transfer.generalization_index(one).items()
        }
        labels: dict[Any, Any] = {"axis": axis, "method": method, "style": style}
        rows += [labels | part | index for part in transfer.summary(one).to_dict("records")]
    return pd.DataFrame(rows)


def gathered(blocks: Sequence[Path], name: str, key: str) -> pd.DataFrame:
    """What blocks hold beside their answers, in file `name`, with the labels of the models.

    Args:
        blocks: Some of them may be without the file.
        name: `recorded.LOGS` or `recorded.LETTER_PROBS`.
        key: What a model has one row for, `step` or `item`; a model may be in several blocks.
    """
    found = [
        recorded.read_table(block / name, ["model", *BESIDE[name]], recorded.AGAIN).merge(
            pd.DataFrame(recorded.notes(block)["models"])[recorded.LABELS], on="model"
        )
        for block in blocks
        if (block / name).is_file()
    ]
    nothing = pd.DataFrame(columns=[*recorded.LABELS, *BESIDE[name]])
    table = pd.concat(found) if found else nothing
    return table[~table.duplicated([one for one in ("model", "test", key) if one in table])]


def alt(axes: Axes, table: pd.DataFrame) -> str:
    """The alternative text of any figure, from its title and its table.

    Few values are read out one by one; of many, the mean of each group and the extremes.
    """
    title = " ".join(axes.get_title().split())
    keys = list(table.columns[: list(table).index("n")])
    if len(table) <= LISTED:
        said = [_said(row, keys) for row in table.to_dict("records")]
    elif "step" in keys:
        lines = table.groupby(keys[0], sort=False)["value"]
        said = [f"{name}: from {v.iloc[0]:.2f} to {v.iloc[-1]:.2f}" for name, v in lines]
    else:
        means = table.groupby(keys[0], sort=False)["value"].mean()
        ends = table.sort_values("value").to_dict("records")
        said = [f"mean of {name}: {mean:.1f}" for name, mean in means.items()]
        said += [f"lowest, {_said(ends[0], keys)}", f"highest, {_said(ends[-1], keys)}"]
    return f"{title}. {'; '.join(said)}."


def _said(row: dict[Any, Any], keys: list[str]) -> str:
    names = [f"{row[k]:.0f}" if isinstance(row[k], float) else str(row[k]) for k in keys]
    known = {"low", "high"} <= row.keys() and row["low"] != row["high"]
    interval = f" ({row['low']:.1f} to {row['high']:.1f})" if known else ""
    return f"{', '.join(names)}: {row['value']:.1f}{interval}"


def save(name: str, drawn: Drawn, out: Path) -> str:
    """Write one figure (PNG, SVG) and its table (CSV, parquet), and give its part of the page."""
    axes, table = drawn
    figure = axes.get_figure(root=True)
    assert figure is not None
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    figure.savefig(out / f"{name}.svg")
    plt.close(figure)
    (out / f"{name}.png").write_bytes(picture.getvalue())
    save_table(name, table, out)
    said = html.escape(alt(axes, table))
    source = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
    return f'<h3>{html.escape(name)}</h3>\n<img src="{source}" alt="{said}">'


def save_table(name: str, table: pd.DataFrame, out: Path) -> str:
    """Write a table as CSV and parquet, and give it as HTML."""
    table.to_csv(out / f"{name}.csv", index=False)
    table.to_parquet(out / f"{name}.parquet", index=False)
    rounded = table.round(4).to_html(index=False)
    return f"<h3>{html.escape(name)}</h3>\n{rounded}"


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
