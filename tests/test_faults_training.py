"""Damage that a training may meet: each kind is refused in one line, or passed over."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import policies
import pytest
import torch
import trainings
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

from medr1_lib import files
from medr1_lib.cli import main
from medr1_lib.errors import InputError
from medr1_lib.model.loading import base_directory, load_policy
from medr1_lib.rl.rewards import points
from medr1_lib.rl.run import Run, RunFolder
from medr1_lib.rl.train import train

STATE = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")
WEIGHTS = ("adapter_model.safetensors", "adapter_config.json")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


DAMAGES = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "flipped": flip,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


class Interrupt(TrainerCallback):
    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == 2:
            raise KeyboardInterrupt


def recipe(**changes):
    return trainings.sft(save_steps=1, **changes)


def told(capsys):
    """The one line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that was interrupted after two of three steps, and how it ends; read only."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.raises(KeyboardInterrupt):
        train(recipe(), out / "cut", callbacks=[Interrupt()])
    shutil.copytree(out / "cut", out / "whole")
    train(recipe(), out / "whole", resume=True)
    return out


@pytest.fixture
def cut(made, tmp_path):
    return shutil.copytree(made / "cut", tmp_path / "run")


@pytest.fixture
def whole(made, tmp_path):
    return shutil.copytree(made / "whole", tmp_path / "run")


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*STATE, *WEIGHTS, "complete"])
def test_a_damaged_checkpoint_is_left_for_the_one_before_it(cut, name, damage):
    DAMAGES[damage](cut / "checkpoint-2" / name)
    assert RunFolder(cut, recipe(), True).checkpoint.name == "checkpoint-1"


def test_the_run_goes_on_from_the_sound_one_to_the_same_end(made, cut, capsys):
    (cut / "checkpoint-2/optimizer.pt").unlink()
    run = train(recipe(), cut, resume=True)
    assert "checkpoint-2 is damaged; going on from checkpoint-1\n" in capsys.readouterr().err
    one, other = (
        load_file(folder / "adapter/adapter_model.safetensors") for folder in (cut, made / "whole")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert list(run.log["step"]) == [1, 2, 3]


def test_a_copy_of_a_checkpoint_under_another_name_is_passed_over(cut):
    for name in ("-best", "-", "--3", "-\u00b2", "-99"):
        shutil.copytree(cut / "checkpoint-2", cut / f"checkpoint{name}")
    assert RunFolder(cut, recipe(), True).checkpoint.name == "checkpoint-2"
    assert list(train(recipe(), cut, resume=True).log["step"]) == [1, 2, 3]


def test_a_run_without_a_sound_checkpoint_is_refused(cut):
    for checkpoint in cut.glob("checkpoint-*"):
        (checkpoint / "optimizer.pt").unlink()
    with pytest.raises(InputError, match="holds no sound checkpoint; begin anew in another folder"):
        RunFolder(cut, recipe(), True)


NOTES = (
    "",
    "{}",
    "[]",
    "{",
    "null",
    '{"recipe": []}',
    '{"recipe": {"method": 5}}',
    "\x00",
    "[" * 9999,
)


@pytest.mark.parametrize("content", NOTES, ids=range(len(NOTES)))
@pytest.mark.parametrize("state", ["cut", "whole"])
def test_damaged_notes_are_refused(made, tmp_path, state, content, capsys):
    out = shutil.copytree(made / state, tmp_path / "run")
    (out / "recipe.json").write_text(content)
    assert main(["train", "sft", "--out", str(out), "--resume"]) == 2
    assert "recipe" in told(capsys)
    with pytest.raises(InputError):
        RunFolder(out, recipe(), True)


@pytest.mark.parametrize("state", ["cut", "whole"])
def test_missing_notes_are_refused(made, tmp_path, state, capsys):
    out = shutil.copytree(made / state, tmp_path / "run")
    (out / "recipe.json").unlink()
    assert main(["train", "sft", "--out", str(out), "--resume"]) == 2
    assert "holds no run" in told(capsys)
    with pytest.raises(InputError, match="already in use"):
        RunFolder(out, recipe(), True)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "zeros"])
@pytest.mark.parametrize("name", [*(f"adapter/{name}" for name in WEIGHTS), "log.csv"])
def test_a_finished_run_that_is_damaged_is_not_finished(whole, name, damage, capsys):
    DAMAGES[damage](whole / name)
    assert main(["train", "sft", "--out", str(whole), "--resume"]) == 2
    assert "damaged" in told(capsys)


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_flipped_byte_in_the_adapter_of_a_run_is_seen(whole, name, capsys):
    path = whole / "adapter" / name
    content = path.read_bytes()
    path.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    assert main(["train", "sft", "--out", str(whole), "--resume"]) == 2
    assert f"the adapter of a finished run is damaged ({name})" in told(capsys)
    assert main(["merge", "--model", str(whole / "adapter"), "--out", str(whole / "one")]) == 2
    told(capsys)
    with pytest.raises(InputError, match=name):
        load_policy(whole / "adapter", device="cpu")


@pytest.mark.parametrize("damage", ["empty", "cut", "zeros"])
@pytest.mark.parametrize("name", ["rollouts.parquet", "completions/completions_00001.parquet"])
def test_damaged_completions_are_named(whole, name, damage):
    path = whole / name
    path.parent.mkdir(exist_ok=True)
    turns = [[{"role": "user", "content": "Which?"}]] * 99
    pd.DataFrame({"step": 1, "prompt": turns, "completion": turns}).to_parquet(path)
    assert len(Run.load(whole).rollouts) == 99
    DAMAGES[damage](path)
    with pytest.raises(InputError, match="its completions are damaged") as caught:
        len(Run.load(whole).rollouts)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are Unix")
@pytest.mark.parametrize("name", [*(f"adapter/{name}" for name in WEIGHTS), "log.csv"])
def test_a_pipe_in_a_finished_run_is_not_waited_for(whole, name, capsys):
    (whole / name).unlink()
    os.mkfifo(whole / name)
    assert main(["train", "sft", "--out", str(whole), "--resume"]) == 2
    assert Path(name).name in told(capsys)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are Unix")
@pytest.mark.parametrize("name", ["complete", "trainer_state.json", WEIGHTS[0]])
def test_a_pipe_in_a_checkpoint_is_not_waited_for(cut, name):
    (cut / "checkpoint-2" / name).unlink()
    os.mkfifo(cut / "checkpoint-2" / name)
    assert RunFolder(cut, recipe(), True).checkpoint.name == "checkpoint-1"


class Losing(TrainerCallback):
    def on_save(self, args, state, control, **kwargs):
        (Path(args.output_dir) / "recipe.json").unlink(missing_ok=True)


def test_notes_that_are_lost_while_it_trains_are_told_in_one_line(tmp_path):
    words = r"recipe\.json: was changed \('questions' is undefined\); copy it again"
    with pytest.raises(InputError, match=words):
        train(recipe(max_steps=1), tmp_path / "run", callbacks=[Losing()])


def test_a_log_that_is_no_numbers_any_more_is_told(whole, capsys):
    text = (whole / "log.csv").read_text()
    (whole / "log.csv").write_text(text.replace(".", "x", 1))
    assert main(["train", "sft", "--out", str(whole), "--resume"]) == 2
    assert "log.csv: is damaged" in told(capsys)


def test_a_log_of_another_time_does_not_matter(cut):
    (cut / "log.csv").write_text("x")
    assert list(train(recipe(), cut, resume=True).log["step"]) == [1, 2, 3]


@pytest.mark.parametrize("resume", [False, True])
def test_a_training_killed_before_its_first_step_begins_again(tmp_path, resume):
    """What such kills leave: folders, unfinished files, lock, sample, unsealed checkpoint."""
    (tmp_path / "completions").mkdir()
    for name in ("recipe.json.part", files.LOCK, "completions/completions_00000.parquet"):
        (tmp_path / name).write_text("process 1 on nowhere")
    (tmp_path / "checkpoint-1").mkdir()
    assert RunFolder(tmp_path, recipe(), resume).checkpoint is None
    run = train(recipe(max_steps=1), tmp_path, resume=resume)
    assert list(run.log["step"]) == [1]
    assert not list(tmp_path.rglob("*.part")) + list(tmp_path.glob("completions"))


def test_a_second_writer_is_refused_with_the_first_one_s_name(tmp_path):
    pytest.importorskip("fcntl")
    code = "import sys, time, pathlib; from medr1_lib.files import one_writer\n"
    code += "with one_writer(pathlib.Path(sys.argv[1])): print(flush=True); time.sleep(60)"
    first = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE)
    first.stdout.readline()
    who = f"process {first.pid} on {socket.gethostname()}"
    try:
        with pytest.raises(InputError, match=f"is being written by {who}"):
            train(recipe(), tmp_path)
    finally:
        first.kill()
        first.wait()
    with RunFolder(tmp_path, recipe(), False).reserved():  # the lock died with its process
        pass


NUMBER = (".nan", ".inf", "-.inf", "-1", "abc", "[1]", "null", "{a: 1}", "1" * 4000)
AT_LEAST_ONE = (*NUMBER, "0", "0.5", "true")
VALUES = {
    "learning_rate": (*NUMBER, "0", "1e30"),
    "max_steps": (*(value for value in AT_LEAST_ONE if value != "-1"), "-5"),
    "beta": NUMBER,
    "epsilon": NUMBER,
    "temperature": (*NUMBER, "0"),
    "top_p": (*NUMBER, "1.5"),
    "per_device_train_batch_size": AT_LEAST_ONE,
    "num_generations": (value for value in AT_LEAST_ONE if value != "null"),
    "gradient_accumulation_steps": AT_LEAST_ONE,
    "num_iterations": AT_LEAST_ONE,
    "max_completion_length": (value for value in AT_LEAST_ONE if value != "null"),
    "lora_r": (*AT_LEAST_ONE, "1025", "100000000000000000000"),
    "lora_alpha": AT_LEAST_ONE,
    "seed": (*NUMBER, "0.5"),
    "save_steps": (*NUMBER, "0"),
    "loss_type": ("x", "null", "[grpo]", "5"),
    "style": ("x", "null", "[[x]]", "{a: b}", "5"),
    "rules": ("x", "null", "[strict]"),
    "quantize": ("int3", "[nf4]", "{a: b}"),
    "model": ("null", "[a]", "{a: b}", '"a\\0b"', "a" * 5000, "!!set {a}", "!!binary YQ=="),
    "data": ("null", "[a]", "{a: b}", '"a\\0b"', "a" * 5000),
    "modality": ("{a: b}", "[[CT]]"),
    "lora_targets": ("null", "(", "[a]"),
    "method": ("[grpo]", "{a: b}", "null", "ppo"),
    "extends": ("[course]", "null", "{a: b}", "nothing"),
    "push_to_hub": ("true",),
    "lr_scheduler_type": ("x", "null"),
    "generation_kwargs": ("{nonsense: 1}", "abc"),
    "reward_weights": ("[.nan]", "{a: 1}"),
    "optim": ("x", "[a]"),
    "deepspeed": ("x",),
    "fsdp": ("x",),
    "unknown": ("1",),
}


@pytest.mark.parametrize(("key", "value"), [(key, one) for key in VALUES for one in VALUES[key]])
def test_a_bad_value_is_refused_before_a_model_is_loaded(key, value, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("medr1_lib.rl.train.load_policy", None)
    keys = {"extends": "course", "style": "no_think", "method": "grpo", "model": "x", "data": "x"}
    file = tmp_path / "recipe.yaml"
    file.write_text("\n".join(f"{name}: {said}" for name, said in (keys | {key: value}).items()))
    assert main(["train", "grpo", "--recipe", str(file), "--out", str(tmp_path / "run")]) == 2
    line = told(capsys)
    assert key in line
    assert not (tmp_path / "run").exists()


FILES = {
    "a key twice": "seed: 1\nseed: 2",
    "deep": "seed: " + "[" * 20000,
    "deep mapping": "seed: " + "{a: " * 20000,
    "tag": "seed: !!python/object/apply:os.system [true]",
    "a list": "[1]",
    "a number": "5",
    "empty": "",
    "NUL": "seed: \0",
    "a number as key": "5: 1",
    "a list as key": "[1]: 1",
    "a bad anchor": "seed: *a",
    "a huge number": "seed: " + "1" * 5000,
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_refused(case, tmp_path, capsys):
    file = tmp_path / "recipe.yaml"
    file.write_text("extends: course\nstyle: no_think\n" * (case[0] in "adNt") + FILES[case])
    assert main(["train", "grpo", "--recipe", str(file), "--out", str(tmp_path / "run")]) == 2
    assert "recipe" in told(capsys)


@pytest.mark.parametrize("name", ["", ".", "a" * 5000, "a\0b", "nothing", "\udc80"])
def test_a_recipe_that_is_no_file_is_refused(name, tmp_path, capsys):
    assert main(["train", "grpo", "--recipe", name, "--out", str(tmp_path / "run")]) == 2
    told(capsys)


FLAGS = (("learning_rate", "nan"), ("beta", "-1"), ("seed", "x"), ("lora_r", "0"))


@pytest.mark.parametrize(("key", "value"), FLAGS)
def test_a_bad_flag_is_refused(key, value, tmp_path, capsys):
    words = ["--recipe", "course", "--style", "no_think", f"--{key}={value}"]
    assert main(["train", "grpo", *words, "--out", str(tmp_path / "run")]) == 2
    assert key in told(capsys)


def edited(name, **changes):
    def edit(folder):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def written(name, content):
    return lambda folder: (folder / name).write_text(content)


def weights(change):
    def edit(folder):
        path = folder / "adapter_model.safetensors"
        save_file(change(load_file(path)), path, {"format": "pt"})

    return edit


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


MODELS = {
    "a list": written("config.json", "[]"),
    "null": written("config.json", "null"),
    "deep": written("config.json", "[" * 99999),
    "a type that is a list": edited("config.json", model_type=[1]),
    "a text that is a number": edited("config.json", text_config=5),
    "vision that is a text": edited("config.json", vision_config="x"),
    "no rope": edited("config.json", text_config={"rope_parameters": 5}),
    "gptq": edited("config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
    "awq": edited("config.json", quantization_config={"quant_method": "awq", "bits": 4}),
    "a pickle": pickled,
    "template with an error": written("chat_template.jinja", "{% for %}"),
    "template that raises": written("chat_template.jinja", "{{ raise_exception('no') }}"),
    "template without an end": written(
        "chat_template.jinja",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    ),
    "a tower without an end": edited("config.json", vision_config={"depth": 10_000}),
    "layers without an end": edited("config.json", text_config={"num_hidden_layers": 10**6}),
    "template of a wrong type": written("chat_template.jinja", "{{ messages.a.b.c }}"),
    "template without an image": written("chat_template.jinja", "{{ messages[0]['role'] }}"),
    "template of NUL": written("chat_template.jinja", "\0" * 99),
    "no kind of tokenizer": lambda folder: (folder / "tokenizer_config.json").unlink(),
    "a tokenizer of no kind": written("tokenizer_config.json", "{}"),
    "an end that is no token": edited("generation_config.json", eos_token_id=10**8),
    "an end in lists": edited("generation_config.json", eos_token_id=[[1]]),
    "an end that is a text": edited("generation_config.json", eos_token_id="x"),
    "tokenizer without a model": written("tokenizer.json", "{}"),
    "tokenizer that is a list": written("tokenizer.json", "[]"),
    "processor that is a list": written("processor_config.json", "[]"),
    "generation that is a list": written("generation_config.json", "[]"),
}
ADAPTERS = {
    "other names": weights(lambda t: {n.replace("layers", "blocks"): w for n, w in t.items()}),
    "half of them": weights(lambda t: dict(list(t.items())[::2])),
    "one more": weights(lambda t: t | {"base_model.model.more": torch.zeros(1)}),
    "none": weights(lambda t: {}),
    "another rank": edited("adapter_config.json", r=3),
    "rank of a wrong type": edited("adapter_config.json", r="x"),
    "rank 0": edited("adapter_config.json", r=0),
    "targets of a wrong type": edited("adapter_config.json", target_modules=5),
    "no such kind": edited("adapter_config.json", peft_type="NONSENSE"),
    "another kind": edited("adapter_config.json", peft_type="PROMPT_TUNING"),
    "base of a wrong type": edited("adapter_config.json", base_model_name_or_path=5),
    "base with NUL": edited("adapter_config.json", base_model_name_or_path="a\0b"),
    "base with a long name": edited("adapter_config.json", base_model_name_or_path="a" * 5000),
    "a list": written("adapter_config.json", "[]"),
    "weights gone": lambda folder: (folder / "adapter_model.safetensors").unlink(),
}
SPOILT = [(policies.saved, one) for one in MODELS.items()]
SPOILT += [(policies.adapter, one) for one in ADAPTERS.items()]


@pytest.mark.parametrize(("kind", "case"), SPOILT, ids=[case for _, (case, _) in SPOILT])
def test_a_spoilt_model_is_named_in_one_line(kind, case, tmp_path):
    folder = shutil.copytree(kind(), tmp_path / "model")
    case[1](folder)
    with pytest.raises(InputError) as caught:
        load_policy(folder, device="cpu")
    assert str(folder) in caught.value.where
    assert "\n" not in str(caught.value)


def test_a_model_cannot_ask_for_a_kernel(tmp_path):
    folder = shutil.copytree(policies.saved(), tmp_path / "model")
    edited("config.json", _attn_implementation="evil/kernel")(folder)
    with pytest.raises(InputError, match=r"config\.json: asks for a kernel from elsewhere"):
        load_policy(folder, device="cpu")


def test_the_base_of_an_adapter_is_found_from_any_directory(tmp_path, monkeypatch):
    folder = shutil.copytree(policies.adapter(), tmp_path / "adapter")
    (tmp_path / "base").mkdir()
    edited("adapter_config.json", base_model_name_or_path="../base")(folder)
    monkeypatch.chdir("/")
    assert base_directory(folder).samefile(tmp_path / "base")
    edited("adapter_config.json", base_model_name_or_path="data/tiny-qwen2-vl")(folder)
    assert (base_directory(folder) / "config.json").is_file()


@pytest.mark.parametrize("room", [0, 4000, 3_000_000])
def test_a_model_that_finds_no_room_is_told_in_one_line_and_can_be_merged_later(
    room, tmp_path, capsys
):
    limits = pytest.importorskip("resource")
    before = limits.getrlimit(limits.RLIMIT_FSIZE)
    words = ["merge", "--model", str(policies.adapter()), "--out", str(tmp_path / "one")]
    limits.setrlimit(limits.RLIMIT_FSIZE, (room, before[1]))
    try:
        assert main(words) == 2
    finally:
        limits.setrlimit(limits.RLIMIT_FSIZE, before)
    last = capsys.readouterr().err.splitlines()[-1]
    where = tmp_path / ("one" if room else "one.partial")  # for 0 there is not even a lock
    assert f"error: {where}: cannot be written" in last
    assert list(tmp_path.iterdir()) == []
    with files.one_writer(tmp_path / "one.partial"):
        assert main(words) == 2
    assert f"is being written by process {os.getpid()}" in capsys.readouterr().err
    assert main(words) == 0
    load_policy(tmp_path / "one", device="cpu")


MASKED = ({"max_length": 10}, {"max_length": 40}, {"max_length": 55})


@pytest.mark.parametrize("changes", MASKED, ids=["through the image", "prompt", "reply"])
def test_supervised_training_without_a_token_to_learn_from_is_refused(changes, tmp_path):
    with pytest.raises(InputError, match="max_length"):
        train(recipe(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_policy_that_bursts_is_told_in_one_line(tmp_path):
    burst = recipe(learning_rate=1e9, max_grad_norm=0.0, max_steps=9)
    for resume in (False, True):
        with pytest.raises(InputError, match=r"learning_rate 1e\+09: .* no numbers any more; use"):
            train(burst, tmp_path / "run", resume)


def test_rewards_read_so_many_characters():
    said = "<answer>" * 200_000
    begin = time.perf_counter()
    for rules in ("published", "strict"):
        for style in ("think_before", "no_think", "think_after"):
            assert points(said, "A", style, rules) == (0, 0)
    assert time.perf_counter() - begin < 5
