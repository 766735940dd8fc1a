"""The small sums of chapter 05, held to other ways of getting them."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from medr1_lib.course.chapters import gains
from medr1_lib.rl.recipe_file import load_recipe


@pytest.mark.parametrize(("lost", "won"), [(0, 1), (3, 17), (17, 3), (40, 60), (5, 5), (50, 400)])
def test_mcnemar_p_is_scipy_s_sign_test(lost, won):
    assert gains.mcnemar_p(lost, won) == pytest.approx(binomtest(won, lost + won).pvalue, rel=1e-9)


def test_nothing_lost_and_nothing_won_is_no_evidence():
    assert gains.mcnemar_p(0, 0) == 1.0


@pytest.mark.parametrize("width", [1, 4, 10, 50])
def test_a_running_mean_is_that_of_pandas(width):
    values = np.random.default_rng(0).random(30).tolist()
    wanted = pd.Series(values).rolling(width, min_periods=1).mean()
    assert gains.running_mean(values, width) == pytest.approx(wanted.tolist())


def test_a_running_mean_does_not_change_when_the_run_goes_on():
    values = [1.0, 4.0, 2.0, 8.0, 5.0]
    assert gains.running_mean(values[:3], 2) == gains.running_mean(values, 2)[:3]


def test_the_budget_is_that_of_the_trl_configuration(tmp_path):
    config = load_recipe("course", max_steps=10).grpo_config(tmp_path)
    sizes = config.generation_batch_size, config.num_generations, config.max_completion_length
    found = gains.budget(config.max_steps, *sizes)
    assert found["prompts"] == 10 * config.generation_batch_size / config.num_generations
    assert found["tokens"] == found["rollouts"] * config.max_completion_length


def test_the_gap_is_closed_between_base_and_oracle():
    assert [gains.gap_closed(0.5, after, 0.75) for after in (0.5, 0.75)] == [0.0, 1.0]
