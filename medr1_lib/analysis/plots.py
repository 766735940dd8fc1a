"""The figures of the study: each returns its axes and a tidy table of what it shows.

Values in these tables are in the unit of the figure: percent, points or reward.
"""

import numpy as np
import pandas as pd

from medr1_lib.analysis.figures import (
    VALUE,
    Drawn,
    canvas,
    draw_bars,
    draw_map,
    percent,
    sizes,
    styled,
    whiskers,
)
from medr1_lib.analysis.intervals import wilson

CHANCE = 25.0  # of four options
SMOOTHED = 10  # steps in a running mean


@styled
def headline(table: pd.DataFrame, title: str = "Accuracy in %") -> Drawn:
    """Bars of every kind of model by modality, chance as a line and an oracle as a mark.

    Args:
        table: Columns `series`, `test`, `n`, `accuracy`, `low`, `high`; the series `caption
            oracle` is drawn as a line over its bars.
        title: Says what is shown, and its unit.
    """
    shown = percent(table)[["series", "test", "n", *VALUE]]
    axes = canvas(max(11, shown["series"].nunique()), 3.6, title)
    oracle = shown["series"] == "caption oracle"
    draw_bars(axes, shown[~oracle], "test", "series")
    tests = list(dict.fromkeys(shown["test"]))
    if oracle.any():
        at = shown[oracle]["test"].map(tests.index)
        axes.hlines(shown[oracle]["value"], at - 0.45, at + 0.45, "black", label="caption oracle")
    axes.axhline(CHANCE, color="black", linestyle="--", linewidth=1, label="chance")
    axes.set(ylim=(0, 100), ylabel="accuracy (%)", xlabel=f"tested on ({sizes(shown)})")
    axes.legend(bbox_to_anchor=(1, 1), loc="upper left")
    return axes, shown


@styled
def heatmap(
    table: pd.DataFrame, controls: pd.DataFrame | None = None, title: str = "Accuracy in %"
) -> Drawn:
    """A map of accuracy with 95 % intervals, and under it, in the same colors, its controls.

    Args:
        table: As `transfer.matrix` returns it.
        controls: As `comparisons.controls` returns them.
        title: Says what is shown, and its unit.
    """
    both = table if controls is None else pd.concat([table, controls])
    shown = percent(both)[["train", "test", "n", "seeds", *VALUE]]
    axes = draw_map(shown, title, "cividis", vmin=0, vmax=100)
    if controls is not None:
        axes.axhline(table["train"].nunique(), color="white", linewidth=6)
        axes.set(ylabel="", xlabel=f"tested on ({sizes(table)}; controls: one seed)")
    return axes, shown


@styled
def difference_heatmap(
    table: pd.DataFrame, column: str = "difference", title: str = "Difference in points"
) -> Drawn:
    """A map of differences about zero; a star where one is significant after correction.

    Args:
        table: As `comparisons.differences`, `transfer.matrix` (column `gain`) or
            `paper.no_think_minus_think` (column `value`) return it.
        column: What to show.
        title: Says what is shown, and its unit.
    """
    shown = percent(table, column)
    kept = [name for name in ("train", "test", "n", "seeds", *VALUE, "p_holm") if name in shown]
    limit = max(1.0, float(shown["value"].abs().max()))
    axes = draw_map(shown[kept], title, "PuOr_r", vmin=-limit, vmax=limit)
    return axes, shown[kept]


@styled
def ablation(table: pd.DataFrame, title: str = "Accuracy gained, in points") -> Drawn:
    """Bars of paired differences with their 95 % intervals.

    Args:
        table: As `comparisons.ablation` returns it.
        title: Says against what, and the unit.
    """
    shown = percent(table, "difference")[["label", "part", "n", "seeds", *VALUE, "p_holm"]]
    axes = canvas(4.6 + 0.6 * len(shown), 3.2, title)
    draw_bars(axes, shown, "label", "part")
    axes.axhline(0, color="black", linewidth=1)
    axes.set(ylabel="difference (points)", xlabel=sizes(shown))
    axes.legend(bbox_to_anchor=(1, 1), loc="upper left")
    return axes, shown


@styled
def learning_curves(
    logs: pd.DataFrame, column: str = "accuracy", group: str = "style", title: str = ""
) -> Drawn:
    """The mean over models of a running mean, in a band from the lowest model to the highest.

    Args:
        logs: Columns `model`, `step`, the one to show, and one to group models by.
        column: `reward` (points of 2), or `accuracy` (share of the rollouts of a step).
        group: What makes a line of its own.
        title: Says what is shown.
    """
    ordered = logs.sort_values("step")
    ordered["value"] = ordered.groupby("model")[column].transform(
        lambda values: values.rolling(SMOOTHED, min_periods=1).mean()
    )
    by = ordered.groupby([group, "step"], sort=False)["value"]
    shown = by.agg(n="count", value="mean", low="min", high="max").reset_index()
    axes = canvas(6, 3.2, title or f"{column.capitalize()} in training")
    for name, line in shown.groupby(group, sort=False):
        axes.plot(line["step"], line["value"], label=f"{name} ({line['n'].max()} models)")
        axes.fill_between(line["step"], line["low"], line["high"], alpha=0.2)
    unit = "points of 2" if column == "reward" else "share of rollouts"
    axes.set(xlabel="step", ylabel=f"{column} ({unit})", ylim=(0, 2 if column == "reward" else 1))
    axes.legend(loc="lower right")
    return axes, shown


@styled
def hallucinations(table: pd.DataFrame, title: str = "Claims that are false, in %") -> Drawn:
    """Bars of the share of false claims, with 95 % intervals.

    Args:
        table: Columns `group`, `share`, `low`, `high`, `n` (claims).
        title: Says what is shown, and its unit.
    """
    shown = percent(table, "share")[["group", "n", *VALUE]]
    axes = canvas(1.6 + 0.9 * len(shown), 3.2, title)
    draw_bars(axes, shown.assign(all=""), "group", "all")
    names = shown["group"].str.replace(", ", ",\n") + "\nn = " + shown["n"].astype(str)
    axes.set_xticks(range(len(shown)), names)
    axes.set(ylabel="false claims (%)", xlabel="95 % intervals", ylim=(0, None))
    return axes, shown


@styled
def calibration(table: pd.DataFrame, title: str = "Calibration of the letters") -> Drawn:
    """How often a letter is right, given how probable the model holds it.

    Args:
        table: Columns `confidence` (0 to 1) and `correct`, one row per item.
        title: Says what is shown.
    """
    tenths = np.minimum((10 * table["confidence"]).astype(int), 9)
    by = table.astype({"correct": int}).groupby(tenths)
    shown = by.agg(confidence=("confidence", "mean"), n=("correct", "size"), k=("correct", "sum"))
    low, high = np.transpose([wilson(k, n) for k, n in zip(shown["k"], shown["n"], strict=True)])
    shown = percent(shown.assign(share=shown["k"] / shown["n"], low=low, high=high), "share")
    shown = shown.assign(confidence=100 * shown["confidence"])[["confidence", "n", *VALUE]]
    gap = np.average((shown["value"] - shown["confidence"]).abs(), weights=shown["n"])
    axes = canvas(4.4, 3.8, f"{title}\nmean gap {gap:.1f} points, n = {len(table)}")
    axes.plot([0, 100], [0, 100], color="black", linestyle="--", linewidth=1, label="calibrated")
    axes.errorbar(shown["confidence"], shown["value"], yerr=whiskers(shown), fmt="o", capsize=2)
    for x, y, n in zip(shown["confidence"], shown["value"], shown["n"], strict=True):
        axes.annotate(n, (x, y), (5, 5), textcoords="offset points", fontsize="x-small")
    axes.set(xlabel="confidence (%); 95 % intervals", ylabel="right (%)")
    axes.set(xlim=(0, 108), ylim=(-3, 108))
    axes.legend(bbox_to_anchor=(1, 1), loc="upper left")
    return axes, shown
