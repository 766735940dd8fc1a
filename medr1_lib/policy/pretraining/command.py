"""`python -m medr1_lib pretrain`: rebuild the tiny base model from seeds."""

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from medr1_lib.data.errors import InputError
from medr1_lib.data.styles import STYLES
from medr1_lib.policy.pretraining.exam import examine, oracle
from medr1_lib.policy.pretraining.language import Pupil
from medr1_lib.policy.pretraining.scenes import Pool, pool
from medr1_lib.policy.pretraining.teach import Album, teach
from medr1_lib.policy.pretraining.tower import finished, see, train_tower
from medr1_lib.policy.processor import tiny_processor
from medr1_lib.policy.tiny import tiny_model

log = logging.getLogger(__name__)

TOWER_STEPS = 3000
# Pictures per cell of the benchmark; each pool has a seed of its own.
TOWER_CELL, LANGUAGE_CELL, HELD_OUT_CELL = 1200, 300, 16


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
    held_out = pool(3 * asked.seed + 1, HELD_OUT_CELL, "held-out images")
    checkpoint = asked.out / "tower.pt"
    if not finished(tower, checkpoint, TOWER_STEPS):
        shown = pool(3 * asked.seed, TOWER_CELL, "images for the tower")
        train_tower(
            model, processor.tokenizer, shown, held_out, TOWER_STEPS, asked.seed, checkpoint
        )
    shown = pool(3 * asked.seed + 2, LANGUAGE_CELL, "images for the language model")
    unseen = album(tower, held_out)
    teach(pupil, album(tower, shown), unseen, asked.seed, asked.out / "language.pt")
    model.save_pretrained(asked.out)
    processor.save_pretrained(asked.out)
    log.info("saved; now the exam, %d questions per style", len(unseen.scenes))
    for name, style in STYLES.items():
        log.info("%s: %s", name, examine(pupil, unseen.scenes, unseen.features, style, 1, True))
    known = oracle(pupil, unseen.scenes, unseen.features, 1)
    log.info("caption oracle: %.1f%%", 100 * known)
    return 0


@torch.no_grad()
def album(tower: Qwen2VisionTransformerPretrainedModel, shown: Pool) -> Album:
    """The features of every picture, computed once."""
    rows = np.arange(len(shown.scenes))
    parts = [see(tower, shown, rows[start : start + 100]).half() for start in rows[::100]]
    return Album(shown.scenes, torch.cat(parts))
