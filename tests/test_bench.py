"""The bench: what it compares is the same, and what it says follows from what it timed."""

import json
import time

import pytest
import torch

from benchmarks.speed import bench, measures, sides
from benchmarks.speed.sides import Case
from medr1_lib import cli as commands


@pytest.fixture
def small(monkeypatch):
    """Two prompts and four rollouts of three tokens: the bench itself, sooner."""
    monkeypatch.setattr(sides, "PROMPTS", 2)
    for module in (sides, measures):
        monkeypatch.setattr(module, "GROUP", 2)
    monkeypatch.setitem(sides.TOKENS, 112, 3)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_the_report_holds_what_was_timed(small, tmp_path, capsys):
    path = tmp_path / "bench.json"
    arguments = ["bench", "--sizes", "112", "--steps", "1", "--threads", "1", "--json", str(path)]
    assert commands.main(arguments) == 0
    report, shown = json.loads(path.read_text()), capsys.readouterr().out
    assert {"hardware", "versions", "date", "112", "112 nf4"} <= report.keys()
    for name in ("112", "112 nf4"):
        found = report[name]
        assert found["same"]
        assert found["max_loss_difference"] < 1e-6
        assert found["max_relative_gradient_error"] < 1e-5
        assert found["same_tokens"] > 0.9
        assert found["speedup"] == pytest.approx(found["stock_s"] / found["ours_s"])
        assert found["clock"] == "process"
        for side, stages in found["stages"].items():
            parts = [stages[stage] for stage in bench.STAGES if stage != "step"]
            assert min(parts) > 0, side
        assert 0 < found["floor_s"] < found["ours_s"]
        assert f"{found['speedup']:.1f} times faster than TRL" in shown


def test_sides_differ_in_execution_alone(small, tmp_path):
    sides.save_model(tmp_path)
    pair = sides.sides(Case(112), tmp_path)
    free = {"activation_checkpointing", "gradient_checkpointing"}  # two names of one setting
    settings = [
        {k: v for k, v in side.trainer.args.to_dict().items() if k not in free}
        for side in pair.values()
    ]
    assert settings[0] == settings[1] == settings[2]
    assert [s.trainer.args.activation_checkpointing for s in pair.values()] == [True, False, False]
    weights = [side.trainer.model.state_dict() for side in pair.values()]
    for name, weight in weights[0].items():
        assert weight.dtype == torch.float32
        assert all(torch.equal(weight, other[name]) for other in weights[1:])
    batches = [next(side.batches) for side in pair.values()]
    assert batches[0] == batches[1] == batches[2]


def test_a_difference_is_found(small, tmp_path):
    sides.save_model(tmp_path)
    pair = sides.sides(Case(112), tmp_path)
    assert measures.agreement(pair["ours"], pair["trl"])["max_logp_difference"] < 1e-5
    weights = [w for w in pair["ours"].trainer.model.parameters() if w.requires_grad]
    with torch.no_grad():
        weights[0][0, 0] += 0.1
    found = measures.agreement(pair["ours"], pair["trl"])
    assert all(found[name] > limit for name, limit in measures.LIMITS.items())


def test_a_difference_ends_the_command_with_1(monkeypatch, small, tmp_path):
    found = {"same": False}
    monkeypatch.setattr(bench, "run", lambda *_: found)
    monkeypatch.setattr(bench, "table", lambda _: "")
    assert bench.main(["--sizes", "112", "--threads", "1"]) == 1


def test_every_completion_has_full_length_and_counts_once_in_the_floor(small, tmp_path):
    sides.save_model(tmp_path)
    side = sides.sides(Case(112), tmp_path)["ours"]
    inputs = measures._inputs(side.trainer, next(side.batches))
    assert inputs["completion_mask"].shape == (4, 3)
    assert inputs["completion_mask"].all()
    seconds = [measures.floor(side, Case(112)) for _ in range(2)]
    assert max(seconds) < 0.05  # some 100 tokens of 2 million weights


def test_cases_vary_one_thing_at_a_time():
    cases = bench._cases([224, 112], [1, 2, 4])
    assert cases == {
        "224": Case(224),
        "112": Case(112),
        "224 nf4": Case(224, "nf4"),
        "224 2 threads": Case(224, threads=2),
        "224 4 threads": Case(224, threads=4),
    }
    assert str(cases["224 2 threads"]) == "224 px, 48 tokens, dense, 2 threads"
    assert Case(112).clock is time.process_time
    assert Case(112, threads=2).clock is time.perf_counter


def test_stages_add_up_to_the_step(small, tmp_path):
    sides.save_model(tmp_path)
    side = sides.sides(Case(112), tmp_path)["ours"]
    side.step()
    (found,) = side.steps
    assert sum(found[stage] for stage in bench.STAGES[1:]) == pytest.approx(found["step"])


@pytest.mark.parametrize("wrong", [["--sizes", "100"], ["--steps", "0"], ["--threads", "none"]])
def test_wrong_arguments_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        bench.main(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys):
    assert commands.main(["bench", "--json", str(tmp_path / "none" / "a.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
