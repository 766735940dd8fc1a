"""The bench: what it compares is the same, and what it says follows from what it timed."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.speed import bench, gpu, measures, sides
from benchmarks.speed.sides import Case
from medr1_lib.cli import exit_status
from medr1_lib.course.tiers import material
from medr1_lib.errors import InputError


@pytest.fixture(scope="module")
def small():
    """Two prompts and four rollouts of three tokens: the bench itself, sooner."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sides, "PROMPTS", 2)
        for module in (sides, measures):
            patch.setattr(module, "GROUP", 2)
        patch.setitem(sides.TOKENS, 112, 3)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def three(small, tmp_path_factory):
    """The sides of one case, none of which has made a step."""
    folder = tmp_path_factory.mktemp("bench")
    sides.save_model(folder)
    return sides.sides(Case(112), folder)


@pytest.mark.slow
def test_the_report_holds_what_was_timed(small, tmp_path, capsys):
    path = tmp_path / "bench.json"
    arguments = ["--sizes", "112", "--steps", "1", "--threads", "1", "--json", str(path)]
    assert bench.main(arguments) == 0
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


def test_sides_differ_in_execution_alone(three):
    free = {"activation_checkpointing", "gradient_checkpointing"}  # two names of one setting
    settings = [
        {k: v for k, v in side.trainer.args.to_dict().items() if k not in free}
        for side in three.values()
    ]
    assert settings[0] == settings[1] == settings[2]
    assert [s.trainer.args.activation_checkpointing for s in three.values()] == [True, False, False]
    weights = [side.trainer.model.state_dict() for side in three.values()]
    for name, weight in weights[0].items():
        assert weight.dtype == torch.float32
        assert all(torch.equal(weight, other[name]) for other in weights[1:])
    batches = [next(side.batches) for side in three.values()]
    assert batches[0] == batches[1] == batches[2]


def test_a_difference_is_found(three):
    assert measures.agreement(three["ours"], three["trl"])["max_logp_difference"] < 1e-5
    weight = next(w for w in three["ours"].trainer.model.parameters() if w.requires_grad)
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0, 0] += 0.1
    found = measures.agreement(three["ours"], three["trl"])
    with torch.no_grad():
        weight.copy_(before)
    assert all(found[name] > limit for name, limit in measures.LIMITS.items())


def test_a_difference_ends_the_command_with_1(monkeypatch, small):
    found = {"same": False}
    monkeypatch.setattr(bench, "run", lambda *_: found)
    monkeypatch.setattr(bench, "table", lambda _: "")
    assert bench.main(["--sizes", "112", "--threads", "1"]) == 1


def test_every_completion_has_full_length_and_counts_once_in_the_floor(three):
    side = three["ours"]
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


def test_stages_add_up_to_the_step(three):
    side = three["ours"]
    before = {name: weight.clone() for name, weight in side.trainer.model.state_dict().items()}
    side.step()
    side.trainer.model.load_state_dict(before)
    (found,) = side.steps
    assert sum(found[stage] for stage in bench.STAGES[1:]) == pytest.approx(found["step"])


@pytest.mark.parametrize("wrong", [["--sizes", "100"], ["--steps", "0"], ["--threads", "none"]])
def test_wrong_arguments_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        bench.main(wrong)
    assert wrong[0] in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path, capsys):
    assert exit_status(bench.main, ["--json", str(tmp_path / "none" / "a.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_the_table_of_what_exact_float32_reaches_is_the_recorded_one():
    found, rows = json.loads(material("recorded/bench.json").read_text()), {}
    for size in ("112", "224"):
        one = found[size]
        trl, ours = (one["stages"][side] for side in ("trl", "ours"))
        sides_of = {stage: (trl[stage], ours[stage]) for stage in bench.STAGES}
        sides_of |= {"products alone": (None, one["floor_s"])}
        sides_of |= {"a step 8 % shorter": (None, 0.92 * one["ours_s"])}
        for name, (theirs, own) in sides_of.items():
            shown = f"{theirs:.2f}" if theirs else ""
            rows.setdefault(name, [name]).extend(
                [shown, f"{own:.2f}", f"{(theirs or one['stock_s']) / own:.1f}"]
            )
    page = (Path(__file__).parents[1] / "benchmarks/README.md").read_text()
    for row in rows.values():
        assert f"| {' | '.join(row)} |" in page


@pytest.mark.slow
def test_the_script_for_a_gpu_measures_a_side_of_each_kind_in_small(tmp_path, capsys):
    path, model = tmp_path / "gpu.json", str(material("tiny-qwen2-vl"))
    path.write_text(json.dumps({"TRL": {"seconds": 31.0}}))
    words = ["--model", model, "--json", str(path), "--out", str(tmp_path / "out"), "--smoke"]
    named = ["ours", "TRL, no checkpointing"]
    assert gpu.main([*words, "--steps", "1", "--sides", *named]) == 0
    report = json.loads(path.read_text())
    assert list(report) == ["TRL", *named]  # what was measured before is kept
    for side in named:
        found = report[side]
        assert {"seconds", "peak_bytes", "stages", "expected_bytes"} <= found.keys()
        assert {*found["stages"], "step"} == set(bench.STAGES)
        assert found["seconds"] == pytest.approx(sum(found["stages"].values()), abs=0.01)
    said = report["ours"]["decoding"]
    assert set(said["ms a token"]) == {"side by side", "eager", "recorded"}
    assert said["recorded step chooses the tokens of its eager run"]
    assert said["and follows an adapter that has changed"]
    assert said["and at most"] < 1e-4
    shown = capsys.readouterr().out
    assert all(f"{side} {{" in shown for side in named)


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), "gpu-t4"), ((8, 9), "gpu")])
def test_a_card_without_bfloat16_is_measured_with_the_recipe_for_it(
    capability, wanted, monkeypatch
):
    def load(name, **_):
        raise InputError(name, "is the recipe", "stop here")

    monkeypatch.setattr(gpu, "CUDA", True)
    monkeypatch.setattr(gpu.torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(gpu, "load_recipe", load)
    with pytest.raises(InputError, match=f"^{wanted}: is the recipe"):
        gpu.built(gpu.SIDES["ours"], SimpleNamespace(smoke=False, model="a"))


@pytest.mark.parametrize("smoke", [True, False])
def test_a_trial_of_the_script_for_a_gpu_leaves_the_record_alone(tmp_path, monkeypatch, smoke):
    record, words = tmp_path / "recorded.json", ["--out", str(tmp_path / "a/out"), "--model", "a"]
    monkeypatch.setattr(gpu, "RECORD", record)
    monkeypatch.setattr(gpu, "CUDA", not smoke)
    monkeypatch.setattr(gpu, "_forget", lambda: None)
    monkeypatch.setattr(gpu, "measured", lambda side, asked, decoding: {"seconds": 1.0})
    assert gpu.main([*words, "--sides", "TRL", *["--smoke"] * smoke]) == 0
    (written,) = tmp_path.rglob("*.json")
    assert written == (tmp_path / "a/out.json" if smoke else record)


def test_the_script_for_a_gpu_asks_for_one_and_says_which_sides_it_has(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "CUDA", False)
    assert exit_status(gpu.main, ["--model", "none"]) == 2
    assert "torch finds no GPU" in capsys.readouterr().err
    rollouts = {name: side.step.scored * side.step.rollouts for name, side in gpu.SIDES.items()}
    assert set(rollouts.values()) == {8, 16, 64}
    for name, side in gpu.SIDES.items():
        asked = side.changes.get("per_device_train_batch_size", 8)
        assert asked == rollouts[name], "the memory is computed for what is trained"
    assert {side.limit for side in gpu.SIDES.values()} == {None, 12, 16}
