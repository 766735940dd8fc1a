"""The reference functions of the chapters, compared with other ways of computing them."""

import itertools
import json

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest, t
from test_published import CHAPTERS

from medr1_lib.analysis.gains import PARTS, READERS, change, gain_parts
from medr1_lib.analysis.stats import ITEM, wilson
from medr1_lib.course.chapters import chapter_06
from medr1_lib.course.chapters.chapter_00 import coverage
from medr1_lib.course.chapters.chapter_01 import split_by_image
from medr1_lib.course.chapters.chapter_03 import shortest_hack
from medr1_lib.course.chapters.chapter_07 import brier, group_kinds, mend
from medr1_lib.course.chapters.chapter_12 import power
from medr1_lib.course.tiers import material
from medr1_lib.evaluation.sweep import Plan
from medr1_lib.rl.recipe import load_recipe
from notebooks.tools import kernel


def source(number):
    (path,) = (kernel.NOTEBOOKS / "_src").glob(f"{number}_*.py")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("number", CHAPTERS)
def test_what_is_made_smaller_at_the_gpu_tier_is_still_there(number):
    """The tests that do so are skipped where the tokenizer is not at hand."""
    assert [old for old in CHAPTERS[number][0] if old not in source(number)] == []


def test_the_hours_of_a_gpu_are_those_of_its_plan_and_its_record():
    jobs = Plan.read(kernel.ROOT / "benchmarks/plans/gpu.yaml").jobs()
    trained = sum(not job.untrained for job in jobs)
    scored = sum(1 + len(job.controls) for job in jobs)
    said = source("09")
    assert f"{trained} trainings, {scored} scores" in said
    assert f"{trained} * 300 + {scored} * 17_800" in said
    test = 17_800 * 256 / 200 / 64  # in steps
    steps = {300: 1, test: 1, 17_800: 0, trained * 300 + scored * test: 0}  # digits of the hours
    measured = json.loads(material("recorded/gpu.json").read_text())["ours"]["seconds"]
    page = (kernel.ROOT / "book/one_gpu.md").read_text()
    for count, digits in steps.items():
        older, today = (f"{count * one / 3600:.{digits}f} hours" for one in (measured, 5))
        assert f"| {older} | {today} |" in page
    plan = (kernel.ROOT / "benchmarks/plans/gpu.yaml").read_text()
    assert f"{trained} trainings and {len(jobs)} models to score take {today} of an H200" in plan
    first = (kernel.ROOT / "README.md").read_text()
    assert f"{300 * measured / 3600:.1f} hours at an older version's speed on an H200, " in first
    assert f"{300 * 5 / 60:.0f} minutes (expected) today" in first


@pytest.mark.parametrize(("truth", "n"), [(0.25, 20), (0.5, 7), (0.9, 40), (1.0, 5)])
def test_coverage_is_that_of_the_binomial_distribution(truth, n):
    ends = [wilson(right, n) for right in range(n + 1)]
    inside = [low <= truth <= high for low, high in ends]
    wanted = binom.pmf(np.arange(n + 1), n, truth)[inside].sum()
    assert coverage(wilson, truth, n) == pytest.approx(wanted)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 1.0])
def test_a_split_by_image_keeps_images_together_and_is_no_larger_than_needed(share):
    ids = [f"image {number}" for number in np.random.default_rng(3).integers(0, 60, 200)]
    chosen = split_by_image(ids, share, seed=1)
    test, train = ({*itertools.compress(ids, side)} for side in (chosen, np.invert(chosen)))
    assert not test & train
    largest = max(map(ids.count, ids))
    assert share * len(ids) <= sum(chosen) < share * len(ids) + largest
    assert chosen != split_by_image(ids, share, seed=2) or share == 1


def test_the_shortest_hack_is_the_first_of_the_shortest():
    tried = []

    def pays(completion):
        tried.append(completion)
        return 2.0 * (completion in {"bb", "ab", "aba"})

    assert shortest_hack(pays, lambda text: None, "C", "ab", 3) == "ab"
    assert tried == ["a", "b", "aa", "ab"]


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (3, 17), (17, 3), (40, 60), (5, 5), (50, 400)])
def test_mcnemar_p_is_scipy_s_sign_test(lost, won):
    assert chapter_06.mcnemar_p(lost, won) == pytest.approx(
        binomtest(won, lost + won).pvalue, rel=1e-9
    )


def test_nothing_lost_and_nothing_won_is_no_evidence():
    assert chapter_06.mcnemar_p(0, 0) == 1.0


def test_a_step_of_adam_is_that_of_torch():
    torch = pytest.importorskip("torch")
    weight = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    optimizer, ours = torch.optim.Adam([weight], lr=0.05), (0.3, 0.0, 0.0)
    for step, gradient in enumerate([2.0, -1e-3, 0.4, 5.0], start=1):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        ours = chapter_06.adam_step(ours[0], gradient, *ours[1:], step, 0.05)
        assert ours[0] == pytest.approx(weight.item(), rel=1e-9)


def test_the_parts_of_a_gain_are_those_of_the_instruments():
    drawn = np.random.default_rng(0).integers(0, 2, size=(2, 40, 4)).astype(float)
    items = pd.DataFrame({name: map(str, range(40)) for name in ITEM})
    before, after = (items.join(pd.DataFrame(one, columns=[*READERS])) for one in drawn)
    found = gain_parts(*(one[[*READERS]].mean().to_dict() for one in (before, after)))
    assert found == pytest.approx(change(before, after)[[*PARTS]].mean().to_dict())


@pytest.mark.parametrize(
    ("rewards", "size", "mixed", "solved"),
    [
        ([1.0], 1, 0, 0),
        ([0, 2, 2, 0], 2, 1, 0),
        ([2, 2, 2, 1], 2, 0.5, 0.5),
        ([1, 1, 2, 2], 2, 0, 0.5),
    ],
)
def test_groups_are_mixed_solved_or_stuck(rewards, size, mixed, solved):
    stuck = 1 - mixed - solved
    assert group_kinds(rewards, size) == {"mixed": mixed, "solved": solved, "stuck": stuck}


def test_groups_that_are_not_mixed_are_those_that_trl_counts():
    torch = pytest.importorskip("torch")
    rewards = torch.randint(0, 3, (400,), generator=torch.Generator().manual_seed(0)).float()
    flat = (rewards.view(-1, 4).std(1) == 0).float().mean().item()
    found = group_kinds(rewards.tolist(), 4)
    assert 0 < flat < 1
    assert 1 - found["mixed"] == pytest.approx(flat)


def test_brier_is_least_where_confidence_is_the_share_that_comes():
    right = [True] * 7 + [False] * 3
    scores = {sure: brier(right, [sure] * 10) for sure in (0.5, 0.6, 0.7, 0.8, 0.9)}
    assert min(scores, key=scores.__getitem__) == 0.7
    assert scores[0.7] == pytest.approx(0.7 * 0.3)


def test_what_is_mended_is_the_recipe_of_the_course_again():
    standard = load_recipe("course").to_dict()
    ill = {"learning_rate": 1e-2, "temperature": 0.05, "top_k": 1, "rules": "published"}
    ill |= {"max_completion_length": 8}
    verdicts = ["too fast", "cut off", "no spread", "cheated"]
    assert mend({**standard, **ill}, standard, verdicts) == standard
    assert mend(standard, standard, []) == standard


# What chapter 07 says of its record.


def recorded_run(name):
    log = pd.read_parquet(material("recorded/failures.parquet"))
    return log[log["name"] == name]


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("healthy", "none"),
        ("hidden thoughts, strict", "none"),
        ("one answer", "no spread"),
        ("all cut off", "cut off"),
        ("cut short", "cut off"),
        ("too slow", "too slow"),
        ("too fast", "too fast"),
    ],
)
def test_the_first_no_in_the_order_of_the_curves_is_the_verdict_of_the_key(name, verdict):
    """Questions 1 to 3 of the first five steps, then 1 to 4 of the last five."""
    run = recorded_run(name).drop(columns="name")
    first, last = run.head(5).mean(), run.tail(5).mean()
    answers = [
        (fault, holds)
        for end in (first, last)
        for fault, holds in (
            ("no spread", end["entropy"] < 0.05),
            ("too fast", end["kl"] > 0.5),
            ("cut off", end["truncated"] > 0.5),
        )
    ]
    answers += [("too slow", last["kl"] < 5e-3), ("none", True)]
    assert next(fault for fault, holds in answers if holds) == verdict


def test_a_limit_that_is_too_short_cuts_off_at_first_and_is_no_collapse():
    run = recorded_run("cut short")
    length, truncated = run["completion_length"], run["truncated"]
    assert truncated.head(5).mean() > 0.2
    assert 0.9 * length.head(5).mean() < length.tail(5).mean() <= 11


def test_a_quarter_of_the_kl_is_about_half_of_the_way():
    """Near the reference KL is quadratic in the change of the logits."""
    logits, change = np.array([1.0, 0.5, 0.0, -0.5]), np.array([0.4, -0.2, 0.1, 0.0])

    def kl(size):
        new, old = (np.exp(x) / np.exp(x).sum() for x in (logits + size * change, logits))
        return float((new * np.log(new / old)).sum())

    assert kl(0.5) / kl(1.0) == pytest.approx(0.25, abs=0.02)


def test_groups_without_spread_are_not_all_solved():
    rollouts = pd.read_parquet(material("recorded/failures_rollouts.parquet"))
    own = rollouts[(rollouts["name"] == "healthy") & (rollouts["step"] > 20)]
    found = group_kinds((own["format_reward"] + own["accuracy_reward"]).tolist(), 8)
    assert found["solved"] > 0
    assert found["stuck"] > 0.25 * (1 - found["mixed"])


def test_a_dead_signal_has_no_entropy_and_does_not_move():
    dead, healthy = recorded_run("one answer"), recorded_run("healthy")
    assert dead["zero_std_groups"].min() == 1
    assert dead["entropy"].max() < 0.05 * healthy["entropy"].mean()
    assert dead["kl"].max() < 0.05 * healthy["kl"].tail(5).mean()


@pytest.mark.parametrize(
    ("gap", "seeds", "seed_sd"),
    [(0.0, 5, 0.02), (0.05, 5, 0.02), (0.05, 10, 0.03), (0.08, 4, 0.03)],
)
def test_power_is_how_often_simulated_studies_find_the_gap(gap, seeds, seed_sd):
    """Two methods, the luck of the questions and of the seeds drawn, 4,000 times."""
    questions, discordant, rng = 800, 0.2, np.random.default_rng(0)
    items = discordant / questions
    runs = rng.normal(0, seed_sd, (4000, 2, seeds))
    measured = gap + runs[:, 0].mean(1) - runs[:, 1].mean(1) + rng.normal(0, items**0.5, 4000)
    spread = runs.var(axis=2, ddof=1).sum(axis=1) / seeds
    parts = items**2 / (questions - 1) + spread**2 / (2 * (seeds - 1))
    bound = t.ppf(0.975, (items + spread) ** 2 / parts)
    found = (measured > bound * np.sqrt(items + spread)).mean()
    assert power(gap, questions, seeds, seed_sd, discordant) == pytest.approx(found, abs=0.05)


@pytest.mark.slow
def test_each_cell_that_writes_files_can_be_run_twice():
    """Chapter 13 works in a folder of its own, by commands that refuse a folder in use."""
    path = next(kernel.NOTEBOOKS.glob("13_*.ipynb"))
    notebook = nbformat.read(path, as_version=4)
    codes = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [nbformat.v4.new_code_cell(code) for code in codes for _ in range(2)]
    kernel.execute(notebook, "replay")
    assert all(cell.execution_count for cell in notebook.cells)
