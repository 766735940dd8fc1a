"""`python -m medr1_lib pretrain`: rebuild the tiny base model from seeds."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from medr1_lib.data.errors import InputError
from medr1_lib.data.json_file import write_json
from medr1_lib.data.machine import hardware
from medr1_lib.policy.pretraining.language import Pupil
from medr1_lib.policy.pretraining.report import report
from medr1_lib.policy.pretraining.scenes import Pool, pool
from medr1_lib.policy.pretraining.teach import Album, teach
from medr1_lib.policy.pretraining.tower import finished, see, train_tower
from medr1_lib.policy.processor import tiny_processor
from medr1_lib.policy.tiny import tiny_model

log = logging.getLogger(__name__)

TOWER_STEPS = 3000
# Pictures per cell of the benchmark, for what; each has a seed of its own. What is held out says
# when teaching ends, and so the report needs others.
POOLS = {"tower": 1200, "held out": 16, "language": 300, "report": 32}


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m medr1_lib pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model and its log")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
        raise InputError(asked.out, problem, "choose a folder you may write to") from error
    handlers: list[logging.Handler] = [
        logging.StreamHandler(),
        logging.FileHandler(asked.out / "pretrain.log"),
    ]
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=handlers)
    torch.set_num_threads(1)
    processor = tiny_processor()
    model = tiny_model(processor.tokenizer, asked.seed)
    pupil, tower = Pupil(model, processor.tokenizer), model.model.visual
    seeds = range(len(POOLS) * asked.seed, len(POOLS) * (asked.seed + 1))
    pools = dict(zip(POOLS, seeds, strict=True))
    held_out = _drawn(pools, "held out")
    checkpoint = asked.out / "tower.pt"
    if not finished(tower, checkpoint, TOWER_STEPS):
        train_tower(
            model,
            processor.tokenizer,
            _drawn(pools, "tower"),
            held_out,
            TOWER_STEPS,
            asked.seed,
            checkpoint,
        )
    model.set_attn_implementation("eager")  # the teacher looks at the attention
    shown = album(tower, _drawn(pools, "language"))
    teach(pupil, shown, album(tower, held_out), asked.seed, asked.out / "language.pt")
    model.save_pretrained(asked.out)
    processor.save_pretrained(asked.out)
    log.info("saved; now the report")
    found = report(pupil, album(tower, _drawn(pools, "report")), asked.seed)
    write_json(asked.out / "report.json", {"seed": asked.seed, "hardware": hardware()} | found)
    return 0


def _drawn(pools: dict[str, int], name: str) -> Pool:
    return pool(pools[name], POOLS[name], f"images, {name}")


@torch.no_grad()
def album(tower: Qwen2VisionTransformerPretrainedModel, shown: Pool) -> Album:
    """The features of every picture, computed once."""
    rows = np.arange(len(shown.scenes))
    parts = [see(tower, shown, rows[start : start + 100]).half() for start in rows[::100]]
    return Album(shown.scenes, torch.cat(parts))
