from types import SimpleNamespace

import pandas as pd
import pytest
from test_run import LOGS

from medr1_lib.analysis.plots import curves
from medr1_lib.course import live as module
from medr1_lib.course.live import LiveCurves, live, pace
from medr1_lib.rl.run import log_table
from medr1_lib.rl.train import Progress

GRPO = LOGS | {"kl": 0.1}


def state(history, main=True):
    step = history[-1].get("step", 0) if history else 0
    return SimpleNamespace(
        is_world_process_zero=main, log_history=history, max_steps=10, global_step=step
    )


def history(steps, logs=GRPO):
    return [logs | {"step": step} for step in range(1, steps + 1)]


@pytest.fixture
def shown(monkeypatch):
    """What would be displayed: one list per output, of the figures that were in it in turn."""
    outputs = []
    module.plt.close("all")  # what other tests left open

    def display(figure, display_id):
        outputs.append([figure])
        return SimpleNamespace(update=outputs[-1].append)

    monkeypatch.setattr(module, "display", display)
    return outputs


def test_a_notebook_gets_curves_and_a_terminal_a_line(monkeypatch):
    assert isinstance(live(), Progress)
    monkeypatch.setattr(module.IPython, "get_ipython", lambda: SimpleNamespace(kernel=1))
    assert isinstance(live(), LiveCurves)


def test_one_output_is_brought_up_to_date(shown):
    view = LiveCurves(pause=0)
    for steps in (1, 2, 3):
        view.on_log(None, state(history(steps)), None)
    view.on_train_end(None, state(history(3)), None)
    (output,) = shown
    lengths = [len(figure.axes[0].lines[0].get_xdata()) for figure in output]
    assert lengths == [1, 2, 3, 3]
    assert not module.plt.get_fignums()  # nothing is left to be shown a second time


def test_it_is_drawn_now_and_then_and_always_at_the_end(shown):
    view = LiveCurves(pause=100)
    for steps in (1, 2, 3):
        view.on_log(None, state(history(steps)), None)
    view.on_train_end(None, state(history(3)), None)
    assert len(shown[0]) == 2


def test_a_run_says_where_it_is_and_a_finished_one_shows_no_times(shown):
    view = LiveCurves(pause=0)
    view.on_log(None, state([log | {"seconds": 2.0} for log in history(4)]), None)
    view.on_train_end(None, state(history(10)), None)
    going, ended = shown[0]
    assert going.get_suptitle() == "step 4 of 10, 2.0 s a step, 0:00:12 left"
    assert ended.get_suptitle() == ""


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        ([100.0] + [3.0] * 11, "step 12 of 140, 3.0 s a step, 0:06:24 left"),  # a slow first step
        ([None, 4.0], "step 2 of 140, 4.0 s a step, 0:09:12 left"),
        ([None], "step 1 of 140"),
    ],
)
def test_the_time_left_is_that_of_the_last_steps(seconds, told):
    log = pd.DataFrame({"step": range(1, len(seconds) + 1), "seconds": seconds}, dtype=float)
    assert pace(log.astype({"step": int}), 140) == told


def test_only_the_first_process_draws(shown):
    view = LiveCurves(pause=0)
    view.on_log(None, state(history(1), main=False), None)
    view.on_train_end(None, state(history(1), main=False), None)
    assert shown == []


def test_before_the_first_step_there_is_nothing_to_draw(shown):
    LiveCurves().on_train_end(None, state([]), None)
    assert shown == []


def test_the_panels_are_those_that_were_measured():
    titles = [axes.get_title() for axes in curves(log_table(history(2))).axes]
    assert [title.split(" (")[0] for title in titles] == [
        "reward",
        "accuracy and format reward",
        "groups without spread",
        "KL from the base",
        "completion length",
        "entropy",
        "gradient norm",
    ]
    without = curves(log_table(history(2, LOGS)))  # beta is 0, so there is no KL
    assert len(without.axes) == 6
    supervised = {"loss": 1.0, "mean_token_accuracy": 0.5}
    titles = [axes.get_title() for axes in curves(log_table(history(2, supervised))).axes]
    assert [title.split(" (")[0] for title in titles] == ["loss", "token accuracy"]


def test_the_line_that_stands_out_is_the_running_mean():
    log = pd.DataFrame({"step": range(1, 21), "reward": [0.0, 2.0] * 10})
    (axes,) = curves(log, steps=40).axes
    single, mean = axes.lines
    assert set(single.get_ydata()) == {0, 2}
    assert mean.get_ydata()[-1] == 1
    assert axes.get_xlim() == (0, 40)


def test_the_running_mean_does_not_begin_with_the_first_step_alone():
    log = pd.DataFrame({"step": range(1, 41), "accuracy": [0.0] + 39 * [1.0], "format": 1.0})
    (axes,) = curves(log, base=0.4).axes
    _, mean, *_, base = axes.lines
    shown = pd.Series(mean.get_ydata()).dropna()
    assert (len(shown), shown.iloc[0]) == (31, pytest.approx(0.9))
    assert set(base.get_ydata()) == {0.4}
    _, short, *_ = curves(log.head(7)).axes[0].lines  # a short run has a shorter window
    assert pd.Series(short.get_ydata()).count() == 6
    reward = log[["step", "accuracy"]].rename(columns={"accuracy": "reward"})
    assert len(curves(reward, base=0.4).axes[0].lines) == 2
