"""Where a run comes from: what `recipe.json` says beside the recipe."""

import platform
import shlex
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.errors import InputError
from medr1_lib.provenance import hardware
from medr1_lib.rl.formula import formula

LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")


def provenance(config: GRPOConfig | SFTConfig) -> dict[str, Any]:
    """Command, date, versions and machine, and the objective if there is one to write out."""
    on_gpu = torch.cuda.is_available() and not config.use_cpu
    found = {
        "command": _command(),
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in LIBRARIES},
        "hardware": hardware(),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "threads": torch.get_num_threads(),
        "processes": config.world_size,
    }
    return found | ({"formula": _formula(config)} if isinstance(config, GRPOConfig) else {})


def _command() -> str:
    """What was typed, or that nothing was."""
    if Path(sys.argv[0]).name == "__main__.py":
        return shlex.join(["python", "-m", "medr1_lib", *sys.argv[1:]])
    return "medr1_lib.rl.train.train"


def _formula(config: GRPOConfig) -> str:
    try:
        return formula(config)
    except InputError as error:  # TRL computes more than is written out here
        return rf"\text{{{error}}}"
