from functools import cache

import numpy as np
import pandas as pd
import pytest
import records
from matplotlib import pyplot as plt

from medr1_lib.analysis import plots, transfer
from medr1_lib.analysis.plots import styled
from medr1_lib.analysis.transfer import matrix, on_diagonal, transfer_answers
from medr1_lib.course.chapters.chapter_12 import no_think_minus_think
from medr1_lib.data.question import MODALITIES
from tools import figures, report
from tools.figures import learning_curves
from tools.report import alt


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@cache
def answered(**how):
    frame = records.study(per_test=60, **how)
    return transfer_answers(frame, "grpo", "think_before", how.get("axis", "modality"))


def controls(tests):
    rows = [("chance", test, 60, 1, 0.25, 0.25, 0.25) for test in tests]
    rows += [("option prior", test, 60, 1, 0.3, 0.2, 0.4) for test in tests]
    return pd.DataFrame(rows, columns=transfer.CELL)


def headline():
    rows = [
        (series, test, 160, share, share - 0.07, share + 0.07)
        for share, series in zip(
            (0.4, 0.6, 0.7, 0.8, 0.7, 0.65, 0.75),
            ("base", "larger base", "sft", "think_before", "no_think", "x", "caption oracle"),
            strict=True,
        )
        for test in MODALITIES
    ]
    return pd.DataFrame(rows, columns=["series", "test", "n", "accuracy", "low", "high"])


def logs():
    rng = np.random.default_rng(0)
    frames = []
    for style in ("think_before", "no_think"):
        for seed in range(3):
            steps = np.arange(1, 151)
            rise = 0.4 + 0.4 * (1 - np.exp(-steps / 40)) + 0.05 * rng.standard_normal(150)
            name = {"model": f"{style}-{seed}", "style": style}
            frames.append(
                pd.DataFrame({"step": steps, "accuracy": rise, "reward": 2 * rise} | name)
            )
    return pd.concat(frames)


def claims():
    names = ["think_before, base", "think_before, grpo", "think_after, base", "think_after, grpo"]
    shares = np.array([0.4, 0.2, 0.42, 0.38])
    return pd.DataFrame(
        {"group": names, "share": shares, "low": shares - 0.03, "high": shares + 0.03, "n": 1280}
    )


def confidences():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.25, 1, 2000)
    return pd.DataFrame({"confidence": confidence, "correct": rng.random(2000) < confidence**1.5})


def ablation():
    variants = {name: answered(seed=seed) for seed, name in enumerate(("a", "sft", "no_think"))}
    return transfer.compare_pooled(variants)


FIGURES = {
    "headline": lambda: plots.headline(headline()),
    "map": lambda: plots.heatmap(matrix(answered(names=tuple(MODALITIES))), controls(MODALITIES)),
    "difference": lambda: plots.difference_heatmap(
        report.compare_cells(answered(), answered(home=0.6, seed=1))
    ),
    "gain": lambda: plots.difference_heatmap(matrix(answered()), "gain"),
    "published": lambda: plots.difference_heatmap(
        no_think_minus_think("question_type"), "value", "No thinking less thinking, in points"
    ),
    "ablation": lambda: figures.ablation(ablation()),
    "curves": lambda: learning_curves(logs()),
    "reward": lambda: learning_curves(logs(), "reward"),
    "hallucinations": lambda: figures.hallucinations(claims()),
    "calibration": lambda: figures.calibration(confidences()),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_and_its_table(name, tmp_path):
    axes, table = FIGURES[name]()
    figure = axes.get_figure()
    assert figure.get_supxlabel() == "teaching material, not for clinical use"
    assert axes.get_title()
    assert {"n", "value"} <= set(table)
    assert table["value"].notna().all()
    if "low" in table:
        assert (table["low"] <= table["value"] + 1e-9).all()
        assert (table["value"] <= table["high"] + 1e-9).all()
    said = alt(axes, table)
    assert said.startswith(axes.get_title().split("\n")[0])
    assert said.count(".") >= 2
    figure.savefig(tmp_path / f"{name}.png", dpi=80)


def test_style_stays_inside():
    before = dict(plt.rcParams)
    figures.hallucinations(claims())
    assert dict(plt.rcParams) == before


def test_a_map_shows_values_and_controls_in_the_same_colors():
    table = matrix(answered())
    axes, shown = plots.heatmap(table, controls(records.THREE))
    words = [text.get_text() for text in axes.texts]
    first = shown.iloc[0]
    assert words[0] == f"{first['value']:.0f}"
    assert {"low", "high"} <= set(shown)
    assert len(words) == 9 + 6
    assert "25.0" in words
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [*records.THREE, "chance", "option prior"]
    assert axes.collections[0].get_clim() == (0, max(plots.TOP, shown["value"].max()))
    assert "n = 60 items x 3 seeds" in axes.get_xlabel()


def test_differences_are_colored_about_zero_and_starred():
    table = report.compare_cells(answered(), answered(home=0.5, seed=1))
    axes, shown = plots.difference_heatmap(table)
    low, high = axes.collections[0].get_clim()
    assert low == -high == -max(plots.LIMIT, shown["value"].abs().max())
    stars = ["*" in text.get_text() for text in axes.texts]
    assert stars == (table["p_holm"] < 0.05).tolist()
    assert any(stars)
    assert not all(stars)


def test_significant_bars_are_starred():
    variants = {"a": answered(), "worse at home": answered(home=0.5, seed=1)}
    axes, table = figures.ablation(transfer.compare_pooled(variants))
    assert [text.get_text() for text in axes.texts] == ["*", ""]
    assert (table["p_holm"] < 0.05).tolist() == [True, False]


def test_gains_have_their_own_interval():
    table = matrix(answered())
    _, shown = plots.difference_heatmap(table, "gain")
    assert shown["low"].tolist() == (100 * table["gain_low"]).tolist()


def test_bars_stand_where_their_label_is():
    axes, shown = plots.headline(headline().iloc[::-1])
    names = [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()]
    assert names == list(reversed(MODALITIES))
    heights = sorted(bar.get_height() for bars in axes.containers[1::2] for bar in bars)
    drawn = shown[shown["series"] != "caption oracle"]["value"]
    assert heights == pytest.approx(sorted(drawn))


def test_curves_are_a_mean_between_the_lowest_and_the_highest_model():
    axes, shown = learning_curves(logs())
    assert shown["n"].unique().tolist() == [3]
    by_hand = logs()[lambda f: f["model"] == "no_think-0"]["accuracy"].rolling(10).mean()
    last = shown[(shown["style"] == "no_think") & (shown["step"] == 150)].iloc[0]
    assert last["low"] <= by_hand.iloc[-1] <= last["high"]
    assert len(axes.lines) == 2


def test_calibration_by_hand():
    table = pd.DataFrame({"confidence": [0.85, 0.85, 0.85, 0.35], "correct": [1, 1, 0, 0]})
    axes, shown = figures.calibration(table)
    assert shown["confidence"].tolist() == pytest.approx([35, 85])
    assert shown["value"].tolist() == pytest.approx([0, 200 / 3])
    assert shown["n"].tolist() == [1, 3]
    gap = (3 * (85 - 200 / 3) + 35) / 4
    assert f"{gap:.1f} points" in axes.get_title()


def test_alternative_texts_say_the_numbers():
    axes, table = figures.hallucinations(claims())
    assert alt(axes, table).startswith(
        "Claims that are false, in %. think_before, base: 40.0 (37.0 to 43.0); "
    )
    axes, table = plots.heatmap(matrix(answered(names=tuple(MODALITIES))))
    said = alt(axes, table)
    best = table.loc[table["value"].idxmax()]
    assert f"highest, {best['train']}, {best['test']}: {best['value']:.1f}" in said
    assert said.count("mean of") == 8
    assert on_diagonal(table).sum() == 8
    axes, table = learning_curves(logs())
    assert "think_before: from 0.4" in alt(axes, table)


def test_drawing_does_not_undo_that_a_notebook_shows_its_figures(monkeypatch):
    monkeypatch.setitem(plt.rcParams, "interactive", False)

    @styled
    def draw():
        plt.ion()  # as a notebook does when its first figure is made
        return plt.subplots()[1], pd.DataFrame()

    draw()
    assert plt.isinteractive()


def test_no_two_series_of_bars_look_alike():
    names = [f"series {number}" for number in range(12)]
    rows = [(name, "CT", 9, 0.5, 0.4, 0.6) for name in names]
    columns = ["series", "test", "n", "accuracy", "low", "high"]
    axes, _ = plots.headline(pd.DataFrame(rows, columns=columns))
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in axes.patches}
    assert len(looks) == len(names)
