import pytest

from medr1_lib.course.chapters.diagnosis import diagnose, unearned, zero_spread

FIRST = {"reward": 1.1, "clipped": 0.2}
WELL = {"reward": 1.7, "zero_spread": 0.3, "clipped": 0.0, "kl": 0.08, "unearned": 0.0}


@pytest.mark.parametrize(
    ("rewards", "size", "expected"),
    [([1.0], 1, 1.0), ([0, 1, 1, 0], 2, 0.0), ([1, 1, 1, 0], 2, 0.5), ([1, 0, 1, 1], 4, 0.0)],
)
def test_zero_spread(rewards, size, expected):
    assert zero_spread(rewards, size) == expected


def test_zero_spread_is_what_trl_calls_it():
    torch = pytest.importorskip("torch")
    rewards = torch.randint(0, 3, (400,), generator=torch.Generator().manual_seed(0)).float()
    flat = rewards.view(-1, 4).std(1) == 0
    assert 0 < flat.float().mean() < 1
    assert zero_spread(rewards.tolist(), 4) == pytest.approx(flat.float().mean().item())


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
        ({}, {"zero_spread": 1.0, "kl": 0.0}, "no spread"),
        ({}, {"zero_spread": 1.0, "kl": 0.0, "clipped": 1.0}, "cut off"),
        ({}, {"zero_spread": 1.0, "kl": 1.2, "clipped": 1.0, "reward": 0.0}, "too fast"),
        ({}, {"kl": 0.003}, "too slow"),
        ({"clipped": 0.9}, {"kl": 1.0}, "cut off"),
        ({}, {"unearned": 0.5}, "hacked"),
        ({}, {"zero_spread": 0.99, "reward": 1.99}, "healthy"),
    ],
)
def test_diagnose(first, last, expected):
    assert diagnose(FIRST | first, WELL | last) == expected
