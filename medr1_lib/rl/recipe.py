"""The recipe of a training run, from YAML files and flags, and the TRL configuration it gives."""

import argparse
import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import torch
import yaml
from peft import LoraConfig
from transformers import GenerationConfig, get_scheduler
from trl.scripts.utils import TrlParser
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.data.question import canonical
from medr1_lib.data.styles import STYLES, check_style
from medr1_lib.errors import InputError, refusing
from medr1_lib.files import content
from medr1_lib.rl.rewards import NULL_WEIGHTS, RULES

CONFIGS: dict[str, type[GRPOConfig] | type[SFTConfig]] = {"grpo": GRPOConfig, "sft": SFTConfig}
FILTERS = ("modality", "question_type")
PRESETS = Path(__file__).with_name("recipes")
# The language model's linear layers. PEFT's "all-linear" would adapt the vision tower as well, and
# TRL refuses an adapter on `lm_head`, whose product it fuses with the loss.
LANGUAGE_LINEAR = r".*(language|text)_model.*\.([qkvo]_proj|gate_proj|up_proj|down_proj)"
# What a recipe cannot set, what it calls by another name, and the bounds of numbers.
TRL = yaml.safe_load(Path(__file__).with_name("trl.yaml").read_text(encoding="utf-8"))
FIXED = {method: TRL["fixed"]["both"] | TRL["fixed"][method] for method in CONFIGS}
LEAST = {name: least for least, names in TRL["least"].items() for name in names}
LARGEST = 2**31 - 1  # of any number, in either direction
# What each field of a configuration holds. With another loss, which is any text to TRL, it would
# train on to no end or refuse after minutes.
GRPO_LOSS = Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]
KINDS: dict[str, dict[str, Any]] = {
    "grpo": get_type_hints(GRPOConfig) | {"loss_type": GRPO_LOSS},
    "sft": get_type_hints(SFTConfig) | {"loss_type": Literal["nll", "dft"]},
}


def _key(help: str, default: Any = dataclasses.MISSING, **argument: Any) -> Any:  # noqa: ANN401
    """A key of the recipe: its default, and how argparse takes it."""
    return field(default=default, metadata={"help": help, **argument})


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on; `config` holds fields of TRL's configuration."""

    method: Literal["grpo", "sft"]
    style: str = _key(f"reasoning style: {', '.join(STYLES)}")
    model: str = _key("directory of the base model, or of an adapter to go on with", metavar="DIR")
    data: str = _key("data set made by `data build` or `data import`", metavar="DIR")
    rules: Literal["strict", "published", "auto", "format", "random"] = _key(
        f"reward rules: {', '.join((*RULES, *NULL_WEIGHTS))}, or auto: published where a base "
        "rarely keeps the form",
        "strict",
    )
    modality: tuple[str, ...] = _key("only these", (), nargs="+", action="extend")
    question_type: tuple[str, ...] = _key("only these", (), nargs="+", action="extend")
    seed: int = 0  # of question order, LoRA initialization and sampling; TRL has this flag
    quantize: Literal["nf4", "nf4-unpacked"] | None = _key(
        "nf4 stores the base in 4 bits (QLoRA), nf4-unpacked holds the same numbers in 16", None
    )
    lora_r: int = _key("rank of the adapter", 16, type=int, metavar="R")
    lora_alpha: int = _key("its updates are scaled by ALPHA / R", 32, type=int, metavar="ALPHA")
    lora_targets: str = _key("layers that it adapts", LANGUAGE_LINEAR, metavar="REGEX")
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in FILTERS:
            given = getattr(self, name) or ()
            names = [given] if isinstance(given, str) else given
            if not (isinstance(names, list | tuple) and all(isinstance(one, str) for one in names)):
                raise _refused(f"{name} is {given!r:.80}", "write names")
            object.__setattr__(self, name, tuple(canonical(name, one) for one in names))
        for one in fields(self):
            if one.name not in ("config", *FILTERS):
                _check(one.name, getattr(self, one.name), one.type)
        check_style(self.style)
        if self.quantize and self.config.get("use_vllm"):  # TRL would, trl #4973 and #3654
            problem = "vLLM would get an adapter merged into packed 4-bit weights, which is lossy"
            raise _refused(problem, "leave out quantize, as gpu-vllm does")
        for name in ("model", "data"):
            value = getattr(self, name)
            if "\0" in value or max(map(len, value.split("/"))) > 255:
                raise _refused(f"{name} is {value!r:.80}", "name a folder")
        with refusing("recipe", "lora_targets is no pattern", "correct the recipe"):
            re.compile(self.lora_targets)
        fixed, kinds = FIXED[self.method], KINDS[self.method]
        for name, value in self.config.items():
            if name not in kinds:
                remedy = f"use a key of the recipe or of {CONFIGS[self.method].__name__}"
                raise _refused(f"unknown key {name!r}", remedy)
            if instead := TRL["elsewhere"].get(name):
                raise _refused(f"{name} is not set here", f"use {instead} instead")
            _check(name, value, kinds[name])
            if value != fixed.get(name, value):
                raise _refused(f"{name} is always {fixed[name]}", "leave it out")
        more = self.config.get("generation_kwargs") or {}
        if not isinstance(more, dict) or more.keys() - GenerationConfig().to_dict():
            raise _refused(f"generation_kwargs is {more!r}", "use names of GenerationConfig")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """The recipe with these keys, its own and those of the configuration together."""
        for name in ("style", "model", "data"):
            if name not in values:
                raise _refused(f"has no {name}", f"give --{name}, or write it into the file")
        own = {name: values[name] for name in OWN if name in values}
        return cls(**own, config={name: values[name] for name in values if name not in OWN})

    def to_dict(self) -> dict[str, Any]:
        """The recipe as one mapping, as a YAML file has it."""
        own = {name: getattr(self, name) for name in OWN}
        return own | {name: list(own[name]) for name in FILTERS} | dict(self.config)

    def replace(self, **changes: object) -> "Recipe":
        """A copy with other values, of the recipe's own keys or of the configuration's."""
        return Recipe.from_dict(self.to_dict() | changes)

    def lora_config(self) -> LoraConfig:
        """PEFT's configuration of the adapter."""
        # No dropout: TRL samples and scores in training mode, where ratio and KL would be noisy.
        rank, alpha, targets = self.lora_r, self.lora_alpha, self.lora_targets
        return LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets)

    def trl_config(self, out: Path) -> Any:  # noqa: ANN401 - one of `CONFIGS`
        """TRL's configuration of this run into the folder `out`; what contradicts is refused."""
        if not self.config.get("use_cpu") and not torch.cuda.is_available():
            raise _refused("it needs a GPU, and torch finds none", "set use_cpu: true, or use one")
        own: dict[str, Any] = {"output_dir": str(out), "seed": self.seed}
        if self.rules in NULL_WEIGHTS and self.method == "grpo":
            own["reward_weights"] = NULL_WEIGHTS[self.rules]
        with refusing("recipe", "its values are no good", "correct the recipe"):
            given = {"report_to": "none", **self.config, **FIXED[self.method], **own}
            config: Any = CONFIGS[self.method](**given)
            unused = torch.optim.SGD([torch.zeros(1)])  # a schedule is made up only in training
            get_scheduler(config.lr_scheduler_type, unused, 1, 2, config.lr_scheduler_kwargs)
        if not config.use_cpu:
            _check_gpu(config)
        if isinstance(config, GRPOConfig):
            batch, group = config.per_device_train_batch_size, config.num_generations or 1
            if batch % group:
                problem = f"per_device_train_batch_size {batch} holds parts of groups of {group}"
                raise _refused(problem, "use a multiple of num_generations")
            # TRL does not store rollouts in a checkpoint; those held for a later step would be
            # lost. So save only where none waits.
            held = (config.steps_per_generation or 1) * config.num_iterations
            per_step = config.gradient_accumulation_steps
            whole = math.lcm(held, per_step) // per_step
            config.save_steps = math.ceil(config.save_steps / whole) * whole
            # So the pre-flight samples as many groups together as a step does.
            config.per_device_eval_batch_size = batch * (config.steps_per_generation or 1)
        return config


OWN = tuple(one.name for one in fields(Recipe) if one.name != "config")


def _check_gpu(config: GRPOConfig | SFTConfig) -> None:
    """Refuse what TRL would refuse after the model is loaded, or do slowly and not say so."""
    if config.n_gpu > 1:
        remedy = "set CUDA_VISIBLE_DEVICES=0, or start one process for each with torchrun"
        raise _refused(f"one process sees {config.n_gpu} GPUs", remedy)
    if config.bf16 and torch.cuda.get_device_capability()[0] < 8:
        raise _refused("this GPU has no bfloat16", "use gpu-t4, or bf16: false, fp16: true")


def _check(name: str, value: object, kind: Any) -> None:  # noqa: ANN401 - a type, as declared
    """Refuse a value of another kind, one out of bounds, and what JSON cannot hold."""
    try:
        sound = of_kind(value, kind) and json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        told = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        remedy = f"use a value of its kind, {told}"
        if get_origin(kind) is Literal:
            remedy = f"use one of {', '.join(get_args(kind))}"
        raise _refused(f"{name} is {value!r:.80}", remedy)
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = LEAST.get(name, -LARGEST), TRL["most"].get(name, LARGEST)
        above = name in TRL["above_zero"]
        nothing = (name == "max_steps" and value == 0) or (above and value <= 0)
        if nothing or not low <= value <= high:
            least = "above 0" if above else f"from {low}"
            remedy = f"use a number {least}, at most {high}" + ", and not 0" * (low == -1)
            raise _refused(f"{name} is {value!r:.80}", remedy)


def of_kind(value: object, kind: Any) -> bool:  # noqa: ANN401 - a type, as declared
    """Whether a value from YAML is of a declared type; a text may stand for an enum's name."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        kinds = get_args(kind)
        names = [one for one in kinds if isinstance(one, type) and issubclass(one, Enum)]
        return any(of_kind(value, one) for one in names or kinds)  # a name is declared as text, too
    if origin is Literal:
        return value in get_args(kind)
    if origin is tuple:
        return isinstance(value, tuple) and all(of_kind(one, get_args(kind)[0]) for one in value)
    plain = origin or kind
    if not isinstance(plain, type):  # `Any`
        return True
    if issubclass(plain, Enum):
        return value in [one.value for one in plain]
    wanted = (int, float) if plain is float else plain
    return isinstance(value, wanted) and (plain is bool or not isinstance(value, bool))


def _refused(problem: str, remedy: str) -> InputError:
    return InputError("recipe", problem, remedy)


class RecipeParser(TrlParser):
    """TRL's parser for the fields of a configuration, with the keys of a recipe beside them.

    Only what is given comes back, so that `recipe.json` holds what somebody chose.
    """

    def __init__(self, method: str) -> None:
        kind: Any = CONFIGS[method]
        prog = f"python -m medr1_lib train {method}"
        usage = f"{prog} --recipe RECIPE --out DIR [any setting below]"
        super().__init__([kind], prog=prog, usage=usage, allow_abbrev=False)
        group = self.add_argument_group("recipe")
        for key in fields(Recipe):
            if key.metadata:
                names = dict.fromkeys([f"--{key.name}", f"--{key.name.replace('_', '-')}"])
                group.add_argument(*names, **key.metadata)

    def error(self, message: str) -> NoReturn:
        """Bad input is told like everywhere else."""
        raise InputError("train", message, f"see `{self.prog} --help`")

    def flags(self, words: Sequence[str]) -> dict[str, Any]:
        """What these words of a command line give."""
        for action in self._actions:  # those of options added later too
            action.default, action.required = argparse.SUPPRESS, False
        return vars(self.parse_args(list(words)))


def presets() -> list[str]:
    """The names of the recipes that come with the library."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_recipe(source: str | Path, **changes: object) -> Recipe:
    """Read a recipe: a YAML file, or the name of a preset. `changes` win over its values.

    A file may build on a preset: `extends: course`, and then what is different.
    """
    values, where = _values(source)
    method = values.pop("method", None)
    if not isinstance(method, str) or method not in CONFIGS:
        remedy = f"write method: {' or method: '.join(CONFIGS)}"
        raise InputError(where, f"method is {method!r:.80}", remedy)
    return Recipe.from_dict({"method": method} | values | changes)


class Loader(yaml.SafeLoader):
    """Refuses a key that is written twice, of which PyYAML takes the last; 1e-3 is a number."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise yaml.YAMLError(f"{min(twice)} is written twice")
        return super().construct_mapping(node, deep)


EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$")  # to PyYAML only with a dot and a sign
Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))


def _values(source: str | Path) -> tuple[dict[str, Any], object]:
    """The mapping behind a name, what it extends included, and the name for errors."""
    file = PRESETS / f"{source}.yaml" if source in presets() else Path(source)
    where = source if source in presets() else file
    if "\0" in str(file):
        raise InputError(repr(str(file))[:80], "is no path", "name a file")
    remedy = f"give a YAML file or one of {', '.join(presets())}"
    text = content(file, remedy, "no such recipe")
    with refusing(where, "is not sound YAML", "correct the file"):
        values = yaml.load(text.decode("utf-8-sig"), Loader)
    if not isinstance(values, dict):
        raise InputError(where, "holds no keys", "write one `key: value` per line")
    if "extends" not in values:
        return values, where
    preset = values.pop("extends")
    if preset not in presets():
        raise InputError(where, f"extends {preset!r}", f"extend one of {', '.join(presets())}")
    return _values(preset)[0] | values, where
