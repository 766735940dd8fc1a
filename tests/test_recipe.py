import re
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import trainings

from medr1_lib.errors import InputError
from medr1_lib.rl import recipe as recipe_module
from medr1_lib.rl.recipe import Recipe, RecipeParser, load_recipe, presets

HERE = Path("out")
ON_CPU = {"use_cpu": True, "bf16": False}
# What decides the result of GRPO, and what TRL sets otherwise than the papers.
EXPLICIT = {
    "num_generations",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_iterations",
    "max_completion_length",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "loss_type",
    "scale_rewards",
    "beta",
    "use_bias_correction_kl",
    "epsilon",
    "importance_sampling_level",
    "mask_truncated_completions",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "weight_decay",
    "max_grad_norm",
    "use_cpu",
    "bf16",
    "activation_checkpointing",
}


@pytest.mark.parametrize("name", presets())
def test_a_preset_gives_the_configuration_that_it_says(name):
    recipe = load_recipe(name).replace(**ON_CPU)
    made = recipe.trl_config(HERE)
    assert made.output_dir == "out"
    assert made.seed == recipe.seed
    for key, value in recipe.config.items():
        found = getattr(made, key)
        assert found == value or str(getattr(found, "value", found)) == value, key
    if recipe.method == "grpo":
        assert recipe.config.keys() >= EXPLICIT
    else:
        assert made.completion_only_loss
        assert made.max_length is None


def test_med_r1_is_what_was_published():
    made = load_recipe("med-r1").replace(**ON_CPU).trl_config(HERE)
    assert (made.loss_type, made.beta, made.use_bias_correction_kl) == ("grpo", 0.04, False)
    assert (made.scale_rewards, made.num_iterations, made.num_generations) == ("group", 1, 4)
    assert (made.temperature, made.top_p, made.top_k) == (1, 1, 50)
    assert made.max_completion_length == 256
    assert made.generation_batch_size == 16  # four prompts
    assert made.learning_rate == 1e-5  # ours: they trained all weights at 1e-6


def test_supervised_fine_tuning_gets_what_reinforcement_gets():
    for ours, theirs in (("course", "course-sft"), ("gpu", "gpu-sft")):
        grpo, sft = load_recipe(ours), load_recipe(theirs)
        for name in ("seed", "quantize", "lora_r", "lora_alpha", "lora_targets", "model"):
            assert getattr(grpo, name) == getattr(sft, name)
        for name in ("max_steps", "optim", "weight_decay", "lr_scheduler_type", "max_grad_norm"):
            assert grpo.config[name] == sft.config[name], name
        made = grpo.replace(**ON_CPU).trl_config(HERE)
        prompts = made.generation_batch_size // made.num_generations
        per_update = (
            sft.config["per_device_train_batch_size"] * sft.config["gradient_accumulation_steps"]
        )
        assert per_update == prompts


def test_what_a_gpu_cannot_do_is_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(InputError, match="one process sees 2 GPUs; set CUDA_VISIBLE_DEVICES=0"):
        recipe_module._check_gpu(SimpleNamespace(n_gpu=2, bf16=False))
    with pytest.raises(InputError, match="this GPU has no bfloat16; use gpu-t4"):
        recipe_module._check_gpu(SimpleNamespace(n_gpu=1, bf16=True))
    recipe_module._check_gpu(SimpleNamespace(n_gpu=1, bf16=False))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use_vllm": True, "quantize": "nf4"}, "merged into packed 4-bit weights.*gpu-vllm does"),
    ],
)
def test_what_cannot_be_reported_or_sampled_is_refused(changes, told):
    with pytest.raises(InputError, match=told):
        load_recipe("course", **changes).trl_config(HERE)


def test_nothing_is_reported_unless_somebody_asks():
    assert load_recipe("course").trl_config(HERE).report_to == []
    assert load_recipe("gpu-vllm").quantize is None


def test_all_recipes_plans_and_the_readme_name_one_folder_of_imported_data():
    root = Path(__file__).parents[1]
    files = [root / "README.md", *root.glob("benchmarks/plans/*.yaml")]
    files += root.glob("medr1_lib/rl/recipes/*.yaml")
    named = {name for file in files for name in re.findall(r"_output/omni\w*", file.read_text())}
    assert named == {"_output/omni"}


def test_the_preflight_samples_as_many_groups_together_as_a_step():
    made = load_recipe("gpu").replace(**ON_CPU).trl_config(HERE)
    assert made.per_device_eval_batch_size == made.generation_batch_size == 64  # two calls, not 16


def test_a_preset_that_extends_another_changes_nothing_else():
    course, qlora = load_recipe("course").to_dict(), load_recipe("course-qlora").to_dict()
    assert qlora == course | {"quantize": "nf4"}


def test_a_file_says_numbers_and_names_as_people_do(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "extends: course\nbeta: 1e-2\nmax_steps: 7\nmodality: us\nlog_completions: true\n"
        "generation_kwargs: {typical_p: 0.9}\n"
    )
    recipe = load_recipe(file)
    assert recipe.config["beta"] == 0.01  # YAML reads 1e-2 as text
    assert recipe.config["log_completions"] is True
    assert recipe.config["generation_kwargs"] == {"typical_p": 0.9}
    assert recipe.modality == ("Ultrasound",)
    assert recipe.trl_config(HERE).max_steps == 7
    assert load_recipe("course").config["max_steps"] != 7


def test_flags_are_those_of_trl_and_of_the_recipe():
    words = "--beta 0.1 --modality CT MRI --modality OCT --question-type dd --no_bf16x"
    found = RecipeParser("grpo").flags(words.split()[:-1])
    assert found == {"beta": 0.1, "modality": ["CT", "MRI", "OCT"], "question_type": ["dd"]}
    with pytest.raises(InputError, match="unrecognized arguments: --no_bf16x"):
        RecipeParser("grpo").flags(words.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: grpo\nextends: course\nbetta: 0.1", "unknown key 'betta'"),
        ("extends: course\nbeta: many", "beta is 'many'; use a value of its kind, float"),
        ("extends: course\nmax_steps: 1.5", "max_steps is 1.5; use a value of its kind, int"),
        ("extends: course\nbeta: [1, 2]", r"beta is \[1, 2\]"),
        ("extends: course\nstyle: think_twice", "style 'think_twice': no such style"),
        ("extends: course\nrules: lax", "rules is 'lax'; use one of strict, published"),
        ("extends: course\nquantize: int8", "quantize is 'int8'"),
        ("extends: course\nlora_r: 0", "lora_r is 0"),
        ("extends: course\nseed: -1", "seed is -1; use a number from 0"),
        ("extends: 5", "extends 5; extend one of course, "),
        ("extends: course\n1: 2\nab: 3", "unknown key 1"),
        ("extends: course\noutput_dir: x", "use --out instead"),
        ("extends: course\ngradient_checkpointing: true", "activation_checkpointing instead"),
        ("extends: course\nlogging_steps: 10", "logging_steps is always 1"),
        ("method: dpo", "method is 'dpo'"),
        ("method: grpo\nmodel: a\ndata: b", "has no style"),
        ("extends: courses", "extends 'courses'; extend one of course, "),
        ("- course", "holds no keys"),
        ("a: [", "is not sound YAML"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_reason(tmp_path, text, words):
    file = tmp_path / "bad.yaml"
    file.write_text(text + "\n")
    with pytest.raises(InputError, match=words):
        load_recipe(file)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_generations": 5}, r"must be divisible by num_generations \(5\)"),
        (
            {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
            "per_device_train_batch_size 2 holds parts of groups of 4; use a multiple of",
        ),
        ({"lr_scheduler_type": "steep"}, "steep"),
        ({"lr_scheduler_type": "linear", "lr_scheduler_kwargs": {"nonsense": 1}}, "nonsense"),
        ({"save_steps": 0}, "save_steps is 0"),
    ],
)
def test_values_that_contradict_each_other_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        trainings.grpo(**changes).trl_config(HERE)


def test_a_gpu_recipe_asks_for_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="needs a GPU, and torch finds none"):
        load_recipe("gpu").trl_config(HERE)


def test_a_change_leaves_the_original_alone():
    before = load_recipe("course")
    after = before.replace(style="no_think", beta=0.0)
    assert (after.style, after.config["beta"]) == ("no_think", 0.0)
    assert (before.style, before.config["beta"]) == ("think_before", 0.04)
    with pytest.raises(FrozenInstanceError):
        before.style = "no_think"
    flat = after.to_dict()
    own = {name: flat.pop(name) for name in Recipe.__dataclass_fields__ if name in flat}
    assert Recipe(**own, config=flat) == after


@pytest.mark.parametrize(
    ("changes", "every"),
    [
        ({}, 5),
        ({"num_iterations": 2}, 6),  # rollouts serve two steps
        ({"num_iterations": 2, "gradient_accumulation_steps": 2}, 6),
        ({"steps_per_generation": 4, "num_iterations": 1}, 8),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2}, 6),
    ],
)
def test_checkpoints_fall_where_no_rollout_waits(changes, every):
    made = trainings.grpo(save_steps=5, **changes).trl_config(HERE)
    assert made.save_steps == every
    assert made.per_device_eval_batch_size % made.num_generations == 0


def test_one_modality_needs_no_list():
    assert load_recipe("course", modality="CT").modality == ("CT",)
