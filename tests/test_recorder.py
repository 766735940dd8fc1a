from collections import defaultdict
from types import SimpleNamespace

import pandas as pd
import pytest

from medr1_lib.errors import InputError
from medr1_lib.rl.recorder import COLUMNS, Recorder, row

LOGS = {
    "loss": 0.25,
    "grad_norm": 1.0,
    "learning_rate": 1e-3,
    "reward": 1.5,
    "rewards/accuracy_reward/mean": 0.5,
    "rewards/format_reward/mean": 1.0,
    "completions/mean_length": 9.0,
    "completions/clipped_ratio": 0.0,
    "frac_reward_zero_std": 0.25,
    "entropy": 2.0,
}
GROUP = 2


def turns(*texts):
    return [[{"role": "assistant", "content": text}] for text in texts]


def trainer():
    asked = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]]
    logs = {"prompt": asked * 6, "completion": turns(*"abcdef"), "advantages": list(range(6))}
    rewards = defaultdict(list, format_reward=[1.0] * 6)
    return SimpleNamespace(
        num_generations=GROUP,
        _logs=logs | {"rewards": rewards, "extra": {"answer": list("ABCDEF")}},
    )


def record(out, steps, max_steps=100, method="grpo", main=True):
    recorder = Recorder(out, method, trainer())
    recorder.on_train_begin(None, None, None)
    for step in steps:
        state = SimpleNamespace(is_world_process_zero=main, global_step=step, max_steps=max_steps)
        recorder.on_log(None, state, None, logs=LOGS)
        recorder.on_log(None, state, None, logs={"train_runtime": 1.0})


def test_every_step_becomes_a_row(tmp_path):
    record(tmp_path, [1, 2])
    record(tmp_path, [3])  # after a resume
    log = pd.read_csv(tmp_path / "log.csv")
    assert list(log["step"]) == [1, 2, 3]
    assert list(log.columns) == ["step", *COLUMNS["grpo"], "seconds"]
    assert (log["accuracy"] == 0.5).all()
    assert log["kl"].isna().all()  # not measured
    assert (tmp_path / "log.csv").read_text().count("step") == 1


def test_a_sample_of_the_rollouts_is_kept(tmp_path):
    record(tmp_path, range(1, 101), max_steps=500)
    found = pd.read_parquet(tmp_path / "rollouts.parquet")
    assert list(found["step"].unique()) == [1, *range(10, 101, 10)]
    first = found[found["step"] == 1]
    assert list(first["completion"]) == list("abcd")  # two groups of two
    assert list(first["answer"]) == list("ABCD")
    assert set(first["prompt"]) == {"Which?"}
    assert list(first["advantage"]) == [0, 1, 2, 3]


def test_supervised_training_has_no_rollouts(tmp_path):
    record(tmp_path, [1], method="sft")
    assert not (tmp_path / "rollouts.parquet").exists()
    assert list(pd.read_csv(tmp_path / "log.csv").columns)[1:3] == ["token_accuracy", "entropy"]


def test_only_the_first_process_writes(tmp_path):
    record(tmp_path, [1], main=False)
    assert not list(tmp_path.iterdir())


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        record(tmp_path / "gone", [1])


def test_names_follow_trl():
    assert row("grpo", LOGS)["zero_spread"] == 0.25
    assert row("sft", LOGS | {"mean_token_accuracy": 0.75})["token_accuracy"] == 0.75
