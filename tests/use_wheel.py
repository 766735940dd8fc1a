"""Use the installed library from a folder that holds nothing of it; run by test_wheel.py."""

import os
import sys
from pathlib import Path

import pytest
import torch

import medr1_lib
from medr1_lib.cli import main
from medr1_lib.course import tiers
from medr1_lib.course.chapters.chapter_03 import load_bench
from medr1_lib.course.chapters.chapter_12 import no_think_minus_think
from medr1_lib.data.styles import prompt, read_strict
from medr1_lib.errors import InputError
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.model.loading import load_policy
from medr1_lib.rl import grpo
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.rewards import points

package = Path(medr1_lib.__file__).parent
assert package.parent == Path(sys.argv[1])

assert "A)liver" in prompt("Which organ?", ("liver", "lung", "heart", "eye"), "think_before")
assert read_strict("<answer>c</answer>", "no_think") == "C"
assert points("<answer>C</answer>", "C", "no_think") == (1.0, 1.0)
advantages = grpo.group_advantages(torch.tensor([1.0, 0.0]), group_size=2)
assert advantages.sum().abs() < 1e-6
assert load_recipe("gpu").quantize == "nf4"

base = tiers.TIERS["laptop"].model_path
assert base.is_relative_to(package)  # the wheel carries the tiny base
policy, processor = load_policy(base)
assert policy.config.image_token_id == processor.image_token_id
assert main(["data", "build", "--out", "phantoms", "--per-cell", "1"]) == 0
asked = ["--model", str(base), "--data", "phantoms", "--style", "no_think", "--limit", "4"]
assert main(["evaluate", *asked, "--out", "scored"]) == 0
assert len(EvalSet(Path("phantoms")).questions) == 40
assert load_bench()
assert len(no_think_minus_think("modality"))

material = tiers.material("reward_bench.json").parent
material.rename("elsewhere")
with pytest.raises(InputError, match="this course material is not there; set MEDR1_HOME"):
    load_bench()
os.environ["MEDR1_HOME"] = os.fspath(Path.cwd())
with pytest.raises(InputError, match="tiny-qwen2-vl: this course material is not there"):
    print(tiers.TIERS["laptop"].model_path)
Path("elsewhere").rename("data")
assert load_bench()
print("the wheel works")
