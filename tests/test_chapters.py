"""The reference functions of the chapters, compared with other ways of computing them."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest

from medr1_lib.analysis.gains import PARTS, READERS, change
from medr1_lib.analysis.stats import ITEM, wilson
from medr1_lib.course.chapters import chapter_06
from medr1_lib.course.chapters.chapter_00 import coverage
from medr1_lib.course.chapters.chapter_01 import split_by_image
from medr1_lib.course.chapters.chapter_03 import shortest_hack
from medr1_lib.course.chapters.chapter_07 import diagnose, unearned, zero_std_groups

FIRST = {"reward": 1.1, "truncated": 0.2}
WELL = {"reward": 1.7, "zero_std_groups": 0.3, "truncated": 0.0, "kl": 0.08, "unearned": 0.0}


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
    found = chapter_06.gain_parts(*(one[[*READERS]].mean().to_dict() for one in (before, after)))
    assert found == pytest.approx(change(before, after)[[*PARTS]].mean().to_dict())


@pytest.mark.parametrize(
    ("rewards", "size", "expected"),
    [([1.0], 1, 1.0), ([0, 1, 1, 0], 2, 0.0), ([1, 1, 1, 0], 2, 0.5), ([1, 0, 1, 1], 4, 0.0)],
)
def test_zero_std_groups(rewards, size, expected):
    assert zero_std_groups(rewards, size) == expected


def test_zero_std_groups_is_what_trl_calls_it():
    torch = pytest.importorskip("torch")
    rewards = torch.randint(0, 3, (400,), generator=torch.Generator().manual_seed(0)).float()
    flat = rewards.view(-1, 4).std(1) == 0
    assert 0 < flat.float().mean() < 1
    assert zero_std_groups(rewards.tolist(), 4) == pytest.approx(flat.float().mean().item())


@pytest.mark.parametrize(
    ("paid", "strict", "expected"),
    [([2, 2, 1], [2, 2, 0], 0.0), ([2, 2, 2, 1], [0, 2, 2, 1], 1 / 3), ([0, 1], [0, 1], 0.0)],
)
def test_unearned(paid, strict, expected):
    assert unearned(paid, strict) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ({}, {}, "healthy"),
        ({}, {"zero_std_groups": 1.0, "kl": 0.0}, "no spread"),
        ({}, {"zero_std_groups": 1.0, "kl": 0.0, "truncated": 1.0}, "cut off"),
        ({}, {"zero_std_groups": 1.0, "kl": 1.2, "truncated": 1.0, "reward": 0.0}, "too fast"),
        ({}, {"kl": 0.003}, "too slow"),
        ({"truncated": 0.9}, {"kl": 1.0}, "cut off"),
        ({}, {"unearned": 0.5}, "hacked"),
        ({}, {"zero_std_groups": 0.99, "reward": 1.99}, "healthy"),
    ],
)
def test_diagnose(first, last, expected):
    assert diagnose(FIRST | first, WELL | last) == expected
