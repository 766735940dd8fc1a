"""Where a run comes from: what `recipe.json` says beside the recipe."""

from typing import Any

from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.sft_config import SFTConfig

from medr1_lib.errors import InputError
from medr1_lib.provenance import environment
from medr1_lib.rl.formula import formula


def provenance(config: GRPOConfig | SFTConfig) -> dict[str, Any]:
    """Command, date, versions and machine, and the objective if there is one to write out."""
    found = environment(gpu=not config.use_cpu) | {"processes": config.world_size}
    return found | ({"formula": _formula(config)} if isinstance(config, GRPOConfig) else {})


def _formula(config: GRPOConfig) -> str:
    try:
        return formula(config)
    except InputError as error:  # TRL computes more than is written out here
        return rf"\text{{{error}}}"
