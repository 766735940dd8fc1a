from dataclasses import replace

import pytest
import torch
import trainings

from medr1_lib.errors import InputError
from medr1_lib.rl.train import PreflightStats, make_trainer, preflight

ALIVE = PreflightStats(16, zero_std_groups=0.4, truncated=0.1, format=0.8, accuracy=0.3, length=9)
DEAD = replace(ALIVE, zero_std_groups=1.0)


def trainer(tmp_path, **changes):
    recipe = trainings.grpo(**changes)
    return make_trainer(recipe, recipe.trl_config(tmp_path / "run"))


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        (replace(DEAD, truncated=1.0), "raise max_completion_length"),
        (replace(DEAD, format=0.0, accuracy=0.0), "no completion has the form"),
        (replace(DEAD, accuracy=1.0), "ask harder questions"),
        (DEAD, "raise temperature"),
    ],
)
def test_a_dead_signal_is_refused_with_a_plain_reason(signal, reason):
    with pytest.raises(InputError, match=f"16 groups sampled: 100% .*{reason}.*--force"):
        signal.check()


def test_a_weak_signal_will_do():
    ALIVE.check()
    replace(ALIVE, zero_std_groups=0.99, truncated=1.0, format=0.0).check()


def test_a_model_that_knows_nothing_gives_no_signal(tmp_path):
    found = trainer(tmp_path)
    signal = preflight(found, found.train_dataset)
    assert (signal.groups, signal.zero_std_groups, signal.format) == (16, 1, 0)
    assert 0 < signal.length <= 4
    assert signal.problem


def test_it_measures_what_the_training_would_meet_and_leaves_no_trace(tmp_path, monkeypatch):
    trainings.reward_anything(monkeypatch)
    found = trainer(tmp_path)
    before = torch.get_rng_state()
    signal = preflight(found, found.train_dataset)
    assert torch.equal(torch.get_rng_state(), before)
    assert 0 <= signal.zero_std_groups < 1
    assert 0 < signal.accuracy < 1
    assert signal.problem is None
    assert not found._metrics["train"]


def test_a_small_data_set_is_sampled_as_far_as_it_goes(tmp_path):
    found = trainer(tmp_path)
    assert preflight(found, found.train_dataset.select(range(7))).groups == 6


@pytest.mark.parametrize(
    "changes",
    [{"lora_targets": "nothing"}, {"lora_targets": "("}, {"reward_weights": [1.0]}],
)
def test_a_recipe_that_trl_or_peft_refuses_is_told_in_one_line(tmp_path, changes):
    with pytest.raises(InputError, match="correct the recipe"):
        trainer(tmp_path, **changes)
