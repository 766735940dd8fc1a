"""The curves of a run, and the figures of the study, each with a tidy table of what it shows.

`title` says what is shown and in which unit, that of the table too: percent, points or reward.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from seaborn.utils import relative_luminance

Drawn = tuple[Axes, pd.DataFrame]
Arguments = ParamSpec("Arguments")
NOTE = "teaching material, not for clinical use"
EVEN = 0.18  # luminance to which black and white have the same contrast
STYLE = sns.axes_style("ticks") | {
    "font.size": 9,
    "axes.titlesize": "medium",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "axes.prop_cycle": cycler(color=sns.color_palette("colorblind")),
}
VALUE = ["value", "low", "high"]
CHANCE = 25.0  # of four options
LIMIT = 25.0  # points; the smallest range of the color scale, so that small differences stay pale
TOP = 75.0  # percent, the brightest color of a map unless a value is above it
SMOOTHED = 10  # steps in a running mean
# title of a panel: the columns of `log.csv` in it
PANELS = {
    "reward (points of 2)": ("reward",),
    "accuracy and format reward": ("accuracy", "format"),
    "groups without spread (share)": ("zero_std_groups",),
    "KL from the base (nats per token)": ("kl",),
    "completion length (tokens)": ("completion_length",),
    "entropy (nats per token)": ("entropy",),
    "gradient norm": ("grad_norm",),
    "loss (nats per token)": ("loss",),
    "token accuracy": ("token_accuracy",),
}
SHARES = ("accuracy", "format", "zero_std_groups", "token_accuracy")
ROW = 4  # panels beside each other
COLORS = ("#0072B2", "#D55E00")  # told apart by the color-blind too (Okabe and Ito)


def styled(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Draw in the style of the study, leave the reader's own alone, and add the note."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        with plt.rc_context(STYLE):
            axes, table = draw(*args, **kwargs)
            figure = axes.get_figure(root=True)
            assert figure is not None
            figure.supxlabel(NOTE, x=0.99, ha="right", fontsize="x-small", color="0.4")
            interactive = plt.isinteractive()  # a notebook sets it when the first figure is made
        matplotlib.interactive(interactive)
        return axes, table

    return drawn


def percent(table: pd.DataFrame, column: str = "accuracy") -> pd.DataFrame:
    """A column of shares and its interval in percent, as `VALUE`; `value` itself is so already."""
    if column == "value":
        return table
    low, high = ("gain_low", "gain_high") if column == "gain" else ("low", "high")
    return table.assign(value=100 * table[column], low=100 * table[low], high=100 * table[high])


def canvas(width: float, height: float, title: str) -> Axes:
    """Empty axes of so many inches."""
    _, axes = plt.subplots(figsize=(width, height), layout="constrained")
    axes.set_title(title)
    return axes


def draw_map(shown: pd.DataFrame, title: str, cmap: str, vmin: float, vmax: float) -> Axes:
    """A heatmap of `value`, in the order of the table, which has the intervals."""
    rows, columns = (list(dict.fromkeys(shown[name])) for name in ("train", "test"))
    axes = canvas(2.6 + 0.95 * len(columns), 1.4 + 0.42 * len(rows), title)
    texts = shown.assign(text=[_cell(row) for row in shown.to_dict("records")])
    values, words = (
        texts.pivot(index="train", columns="test", values=name).reindex(rows)[columns]
        for name in ("value", "text")
    )
    look = {"cmap": cmap, "vmin": vmin, "vmax": vmax, "linewidths": 0.5}
    sns.heatmap(values, annot=words.fillna(""), fmt="", ax=axes, **look)
    fills = np.asarray(axes.collections[0].get_facecolor())[values.notna().to_numpy().ravel()]
    for text, fill in zip(axes.texts, fills, strict=True):  # seaborn's own choice is hard to read
        text.set_color("black" if relative_luminance(fill) > EVEN else "white")
    said = sizes(shown.drop(columns="low", errors="ignore"))
    axes.set(ylabel="trained on", xlabel=f"tested on ({said})")
    names = [str(name).replace(" ", "\n") for name in columns]
    axes.set_xticks(axes.get_xticks(), names, rotation=0)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    return axes


def _cell(row: dict[Any, Any]) -> str:
    digits = 0 if row.get("low") != row.get("high") else 1
    return f"{row['value']:z.{digits}f}{_star(row)}"


def _star(row: dict[Any, Any]) -> str:
    return "*" if row.get("p_holm", 1.0) < 0.05 else ""


def draw_bars(axes: Axes, table: pd.DataFrame, x: str, hue: str) -> None:
    """Groups of bars with intervals; where the colors are used up they begin again, hatched."""
    places, names = (list(dict.fromkeys(table[column])) for column in (x, hue))
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        part = table[table[hue] == name]
        at = part[x].map(places.index) + (number - (len(names) - 1) / 2) * width
        look = {"label": name, "yerr": whiskers(part), "capsize": 1.5}
        look["hatch"] = "////" if number >= len(STYLE["axes.prop_cycle"]) else None
        bars = axes.bar(at, part["value"], 0.95 * width, **look)
        axes.bar_label(bars, [_star(row) for row in part.to_dict("records")])
    axes.set_xticks(range(len(places)), [str(place).replace(" ", "\n") for place in places])


def whiskers(table: pd.DataFrame) -> np.ndarray:
    """Lengths below and above each value, as matplotlib wants them."""
    value = table["value"]
    return np.array([value - table["low"], table["high"] - value]).clip(min=0)


def sizes(table: pd.DataFrame) -> str:
    """How many items and seeds stand behind the values, and what the intervals are."""
    least, most = int(table["n"].min()), int(table["n"].max())
    n = f"n = {least}" if least == most else f"n = {least} to {most}"
    seeds = int(table["seeds"].max()) if "seeds" in table else 1
    said = f"{n} items" + (f" x {seeds} seeds" if seeds > 1 else "")
    said += "; 95 % intervals" if "low" in table else ""
    return said + ("; * p < 0.05 after Holm" if "p_holm" in table else "")


@styled
def headline(table: pd.DataFrame, title: str = "Accuracy in %") -> Drawn:
    """Bars of every kind of model by modality, of `series`, `test`, `n` and an accuracy.

    Chance is a line through all of them, the series `caption oracle` a short one over its bars.
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
    """A map (`transfer.matrix`), and under it, in the same colors, its `blind_baselines`."""
    both = table if controls is None else pd.concat([table, controls])
    shown = percent(both)[["train", "test", "n", "seeds", *VALUE]]
    axes = draw_map(shown, title, "cividis", vmin=0, vmax=max(TOP, float(shown["value"].max())))
    if controls is not None:
        axes.axhline(table["train"].nunique(), color="white", linewidth=6)
        said = sizes(table[["n", "seeds"]])
        axes.set(ylabel="", xlabel=f"tested on ({said}; controls: one seed)")
    return axes, shown


@styled
def difference_heatmap(
    table: pd.DataFrame, column: str = "difference", title: str = "Difference in points"
) -> Drawn:
    """A map of differences about zero; a star where one is significant after correction.

    `column` is `difference` (of two maps), `gain` (`matrix`) or `value` (in points).
    """
    shown = percent(table, column)
    kept = [name for name in ("train", "test", "n", "seeds", *VALUE, "p_holm") if name in shown]
    limit = max(LIMIT, float(shown["value"].abs().max()))
    axes = draw_map(shown[kept], title, "PuOr_r", vmin=-limit, vmax=limit)
    return axes, shown[kept]


def curves(log: pd.DataFrame, steps: int | None = None, base: float | None = None) -> Figure:
    """The log of a run, as in `Run.log`, as panels; `steps` if the run is to go on.

    `base`, the accuracy before training, is a dotted line.
    """
    shown = {
        title: columns
        for title, columns in PANELS.items()
        if not log.reindex(columns=columns).isna().all(axis=None)
        and not ("loss" in columns and "reward" in log)  # GRPO's is near zero by construction
    }
    across, down = min(ROW, len(shown)), math.ceil(len(shown) / ROW)
    size = (2.9 * across, 2.6 * down)
    figure, panels = plt.subplots(down, across, figsize=size, squeeze=False, layout="constrained")
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    # Whole windows only: a mean that begins with the first step alone seems to rise or fall.
    window = min(SMOOTHED, max(1, len(log) // 3))
    for axes, (title, columns) in zip(panels.flat, shown.items(), strict=False):
        axes.set(title=title, xlabel="step", xlim=(0, steps or log["step"].max()))
        axes.title.set_fontsize("small")
        axes.locator_params(axis="x", integer=True)
        for column, color, style in zip(columns, COLORS, ("-", "--"), strict=False):
            mean = log[column].rolling(window).mean()
            axes.plot(log["step"], log[column], color=color, alpha=0.3, linewidth=1)
            axes.plot(log["step"], mean, color=color, linestyle=style, label=column)
        if columns[0] in SHARES:
            axes.set_ylim(-0.02, 1.02)
        if base is not None and "accuracy" in columns:
            axes.axhline(base, color="black", linestyle=":", label="accuracy, base")
        if len(columns) > 1:
            axes.legend(fontsize="small", frameon=False)
    return figure
