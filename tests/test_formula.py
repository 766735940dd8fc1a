from pathlib import Path

import pytest
import trainings
from trl import RLOOConfig

from medr1_lib.course.chapters.chapter_08 import FAMILY, trl_settings
from medr1_lib.errors import InputError
from medr1_lib.rl.formula import formula


def written(**changes):
    return formula(trainings.grpo(**changes).trl_config(Path("out")))


CHANGES = [
    {},
    {"loss_type": "bnpo"},
    {"loss_type": "dapo"},
    {"loss_type": "dr_grpo"},
    {"beta": 0.0},
    {"beta": 0.1},
    {"use_bias_correction_kl": True},
    {"epsilon": 0.1},
    {"epsilon_high": 0.3},
    {"scale_rewards": "none"},
    {"scale_rewards": "batch"},
    {"importance_sampling_level": "sequence"},
    {"temperature": 0.7},
    {"num_generations": 8},
    {"num_iterations": 2},
    {"loss_type": "cispo", "epsilon_high": 5.0},
    {"loss_type": "cispo", "epsilon_high": 1.0},
]
OF_NO_MATTER = [{"learning_rate": 1e-5}, {"max_steps": 9}, {"max_completion_length": 9}]


def test_every_setting_of_the_objective_shows_and_no_other():
    formulas = [written(**change) for change in CHANGES]
    assert len(set(formulas)) == len(CHANGES)
    assert {written(**change) for change in OF_NO_MATTER} == {written()}
    assert written(loss_type="dr_grpo") != written(loss_type="dr_grpo", max_completion_length=9)
    assert written(beta=0.0) == written(beta=0.0, use_bias_correction_kl=True)  # there is no KL


def test_the_published_loss_reads_as_published():
    loss, advantage, ratio, divergence = written().splitlines()[1:-1]
    assert r"-\frac{1}{B}\sum_{i=1}^{B}\frac{1}{|o_i|}\sum_{t=1}^{|o_i|}" in loss
    assert "0.8, 1.2" in loss
    assert r"- 0.04\, k_{i,t}" in loss
    assert r"\mathrm{std}" in advantage
    assert "groups of 4" in advantage
    assert "one update per rollout" in ratio
    assert divergence.startswith(r"k_{i,t} &= \frac{\pi_{\mathrm{ref}}")
    assert "one update per rollout" not in written(num_iterations=2)


@pytest.mark.parametrize("change", [{"loss_type": "sapo"}, {"delta": 2.0}, {"entropy_coef": 0.1}])
def test_an_objective_that_is_not_written_here_is_refused(change):
    (name,) = change
    with pytest.raises(InputError, match=f"{name}=.* is not supported"):
        written(**change)


PARTS = {
    "GRPO": [r"\frac{1}{|o_i|}", "0.8, 1.2", r"\mathrm{std}", r"\pi_{\mathrm{old}}(o_{i,t})"],
    "Dr. GRPO": [r"\frac{1}{B\,4}", "r_i - "],
    "DAPO": ["i=1}^{S}", "0.8, 1.28"],
    "GSPO": ["0.9997, 1.0004", r"\prod", "^{1/|o_i|}"],
    "CISPO": ["i=1}^{S}", r"\mathrm{sg}\big[\min(\rho_{i,t}, 5)\big]", r"\log \pi_\theta(o_{i,t})"],
}


@pytest.mark.parametrize("name", PARTS)
def test_each_member_of_the_family_is_written(name):
    found = written(**trl_settings(FAMILY[name]))
    assert [part for part in PARTS[name] if part not in found] == []
    assert ("clip" in found) == (name != "CISPO")
    assert (r"\mathrm{std}" in found) == (name != "Dr. GRPO")


def test_rloo_is_written_too():
    plain = {"num_generations": 4, "use_cpu": True, "bf16": False}
    found = formula(RLOOConfig("out", beta=0.0, **plain))
    loss, advantage, ratio = found.splitlines()[1:-1]
    assert r"\frac{1}{B}\sum_{i=1}^{B} \min" in loss
    assert r"r_i - \frac{1}{3}\sum_{j \ne i} r_j" in advantage
    assert r"\rho_i &= \prod" in ratio
    assert r"0.05 \sum" in formula(RLOOConfig("out", beta=0.05, **plain))
    with pytest.raises(InputError, match=r"normalize_advantages=True.* is not supported"):
        formula(RLOOConfig("out", normalize_advantages=True, **plain))
