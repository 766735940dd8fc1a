"""Watch a policy learn: curves that are drawn again in place in a notebook, a line elsewhere."""

import math
import time
from datetime import timedelta

import IPython
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import DisplayHandle, display
from matplotlib.figure import Figure
from transformers import TrainerCallback, TrainerState

from medr1_lib.rl.run import log_table
from medr1_lib.rl.train import Progress

# title of a panel: the columns of `log.csv` in it
PANELS = {
    "reward (points of 2)": ("reward",),
    "accuracy and format reward": ("accuracy", "format"),
    "KL from the base (nats per token)": ("kl",),
    "completion length (tokens)": ("completion_length",),
    "entropy (nats per token)": ("entropy",),
    "gradient norm": ("grad_norm",),
    "loss (nats per token)": ("loss",),
    "token accuracy": ("token_accuracy",),
}
SHARES = ("accuracy", "format", "token_accuracy")
ROW = 3  # panels beside each other
SMOOTHED = 10  # steps in the running mean that is drawn over the pale line of single steps
COLORS = ("#0072B2", "#D55E00")  # told apart by the color-blind too (Okabe and Ito)


def live(pause: float = 1.0) -> TrainerCallback:
    """A callback for `train`: curves, drawn every `pause` seconds, or outside notebooks a line."""
    return LiveCurves(pause) if hasattr(IPython.get_ipython(), "kernel") else Progress()


class LiveCurves(TrainerCallback):
    """The curves of a run in one output of a notebook, drawn again every `pause` seconds."""

    def __init__(self, pause: float = 1.0) -> None:
        self._pause, self._drawn = pause, 0.0
        self._handle: DisplayHandle | None = None

    def on_log(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Draw and say where the run is, unless that was done a moment ago."""
        if time.monotonic() - self._drawn > self._pause:
            self._draw(state, goes_on=True)

    def on_train_end(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Draw all of it, without times, so that the same run ends in the same picture."""
        self._draw(state)

    def _draw(self, state: TrainerState, goes_on: bool = False) -> None:
        log = log_table(state.log_history)
        if log.empty or not state.is_world_process_zero:
            return
        figure = curves(log, state.max_steps)
        if goes_on:
            figure.suptitle(pace(log, state.max_steps), fontsize="small")
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        plt.close(figure)  # or the notebook shows it once more
        self._drawn = time.monotonic()


def pace(log: pd.DataFrame, steps: int) -> str:
    """Where a run is: step, seconds a step, and the time left if it goes on like its last steps."""
    done, each = log["step"].max(), log["seconds"].tail(SMOOTHED).mean()
    if math.isnan(each):
        return f"step {done} of {steps}"
    left = timedelta(seconds=round(each * (steps - done)))
    return f"step {done} of {steps}, {each:.1f} s a step, {left} left"


def curves(log: pd.DataFrame, steps: int | None = None) -> Figure:
    """The log of a run, as in `Run.log`, as panels; `steps` if the run is to go on."""
    shown = {
        title: columns
        for title, columns in PANELS.items()
        if not log.reindex(columns=columns).isna().all(axis=None)
        and not ("loss" in columns and "reward" in log)  # GRPO's is near zero by construction
    }
    across, down = min(ROW, len(shown)), math.ceil(len(shown) / ROW)
    figure, panels = plt.subplots(
        down, across, figsize=(2.9 * across, 2.6 * down), squeeze=False, layout="constrained"
    )
    for axes in panels.flat[len(shown) :]:
        axes.remove()
    for axes, (title, columns) in zip(panels.flat, shown.items(), strict=False):
        axes.set(title=title, xlabel="step", xlim=(0, steps or log["step"].max()))
        axes.title.set_fontsize("small")
        axes.locator_params(axis="x", integer=True)
        for column, color, style in zip(columns, COLORS, ("-", "--"), strict=False):
            mean = log[column].rolling(SMOOTHED, min_periods=1).mean()
            axes.plot(log["step"], log[column], color=color, alpha=0.3, linewidth=1)
            axes.plot(log["step"], mean, color=color, linestyle=style, label=column)
        if columns[0] in SHARES:
            axes.set_ylim(-0.02, 1.02)
        if len(columns) > 1:
            axes.legend(fontsize="small", frameon=False)
    return figure
