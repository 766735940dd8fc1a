"""Watch a policy learn: curves that are drawn again in place in a notebook, a line elsewhere."""

import math
import time
from datetime import timedelta

import IPython
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import DisplayHandle, display
from transformers import TrainerCallback, TrainerState

from medr1_lib.analysis.plots import SMOOTHED, curves
from medr1_lib.rl.run import log_table
from medr1_lib.rl.train import Progress


def live() -> TrainerCallback:
    """A callback for `train`: curves, drawn every second, or outside notebooks a line."""
    return LiveCurves() if hasattr(IPython.get_ipython(), "kernel") else Progress()


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
