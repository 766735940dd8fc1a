"""Figures of the report that no chapter draws."""

import numpy as np
import pandas as pd

from medr1_lib.analysis.plots import (
    SMOOTHED,
    VALUE,
    Drawn,
    canvas,
    draw_bars,
    percent,
    sizes,
    styled,
    whiskers,
)
from medr1_lib.analysis.stats import wilson


@styled
def learning_curves(
    logs: pd.DataFrame, column: str = "accuracy", group: str = "style", title: str = ""
) -> Drawn:
    """The mean over models of a running mean, in a band from the lowest model to the highest.

    `column` is `reward` (points of 2) or `accuracy` (share of rollouts); a line for each `group`.
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
def ablation(table: pd.DataFrame, title: str = "Accuracy gained, in points") -> Drawn:
    """Bars of paired differences with their 95 % intervals, from `transfer.compare_pooled`."""
    shown = percent(table, "difference")[["label", "part", "n", "seeds", *VALUE, "p_holm"]]
    axes = canvas(4.6 + 0.6 * len(shown), 3.2, title)
    draw_bars(axes, shown, "label", "part")
    axes.axhline(0, color="black", linewidth=1)
    axes.set(ylabel="difference (points)", xlabel=sizes(shown))
    axes.legend(bbox_to_anchor=(1, 1), loc="upper left")
    return axes, shown


@styled
def hallucinations(table: pd.DataFrame, title: str = "Claims that are false, in %") -> Drawn:
    """Bars of the share of false claims; columns `group`, `share`, `low`, `high`, `n` (claims)."""
    shown = percent(table, "share")[["group", "n", *VALUE]]
    axes = canvas(1.6 + 0.9 * len(shown), 3.2, title)
    draw_bars(axes, shown.assign(all=""), "group", "all")
    names = shown["group"].str.replace(", ", ",\n") + "\nn = " + shown["n"].astype(str)
    axes.set_xticks(range(len(shown)), names)
    axes.set(ylabel="false claims (%)", xlabel="95 % intervals", ylim=(0, None))
    return axes, shown


@styled
def calibration(table: pd.DataFrame, title: str = "Calibration of the letters") -> Drawn:
    """How often a letter is right, given its probability; columns `confidence` and `correct`."""
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
