"""`python -m tools.pretrain`: rebuild the tiny base model from seeds."""

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from medr1_lib.errors import InputError
from medr1_lib.files import write_json
from medr1_lib.model.loading import load_policy
from medr1_lib.model.tiny import tiny_model, tiny_processor
from medr1_lib.provenance import hardware
from tools.pretrain.card import card
from tools.pretrain.growing import grown
from tools.pretrain.language import Pupil
from tools.pretrain.report import report
from tools.pretrain.scenes import Pool, pool
from tools.pretrain.teach import Album, teach, teach_on
from tools.pretrain.tower import finished, see, train_tower

log = logging.getLogger(__name__)

TOWER_STEPS = 3000
# Pictures per cell of the benchmark, for what; each has a seed of its own. What is held out says
# when teaching ends, and so the report needs others.
POOLS = {"tower": 1200, "held out": 16, "language": 300, "report": 32}


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m tools.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model and its log")
    parser.add_argument("--seed", type=int, default=0)
    add = parser.add_mutually_exclusive_group().add_argument
    taken = "take the eye of a model made by this command, as it is, and teach the rest anew"
    add("--eye", type=Path, metavar="MODEL", help=taken)
    add("--longer", type=Path, metavar="SMALL", help="teach the model in SMALL on")
    larger = "the same, and grow its language half before"
    add("--larger", type=Path, metavar="SMALL", help=larger)
    asked = parser.parse_args(arguments)
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be made ({error.strerror})"
        raise InputError(asked.out, problem, "choose a folder you may write to") from error
    streams = logging.StreamHandler(), logging.FileHandler(asked.out / "pretrain.log")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=streams)
    torch.set_num_threads(1)
    if asked.larger or asked.longer:
        _teach_on(asked.larger or asked.longer, asked.larger is not None, asked.out, asked.seed)
    else:
        _rebuild(asked.out, asked.seed, asked.eye)
    return 0


def _rebuild(out: Path, seed: int, eye: Path | None) -> None:
    """Stage by stage; what a stage has finished is taken from its checkpoint."""
    processor = tiny_processor()
    model = tiny_model(processor.tokenizer, seed)
    pupil, tower = Pupil(model, processor.tokenizer), model.model.visual
    seeing = _taken(eye, tower, seed) if eye else {}
    _begin(out, f"--seed {seed}" + (f" --eye {eye}" if eye else ""))
    held_out, taught = _drawn(seed, "held out"), out / "language.pt"
    seeing = seeing or _trained(pupil, held_out, seed, out / "tower.pt")
    model.set_attn_implementation("eager")  # the teacher looks at the attention
    pictures = album(tower, _drawn(seed, "language"))
    teach(pupil, pictures, album(tower, held_out), seed, taught)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    log.info("saved; now the report, on other scenes")
    found = {
        "seed": seed,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "eye": seeing,
        "language": _stage(taught),
        **report(pupil, album(tower, _drawn(seed, "report")), seed),
    }
    write_json(out / "report.json", found)
    (out / "README.md").write_text(card(json.loads(json.dumps(found))), encoding="utf-8")


def _taken(eye: Path, tower: Qwen2VisionTransformerPretrainedModel, seed: int) -> dict[str, Any]:
    """Put the tower of a finished model in place; how that was trained, as its report says."""
    try:
        told = json.loads((eye / "report.json").read_text(encoding="utf-8"))
        seeing, drawn = dict(told["eye"]), told["seed"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        remedy = "name what `pretrain` made"
        raise InputError(eye, "has no report.json about its eye", remedy) from error
    if drawn != seed:  # it writes in the word vectors that were drawn from its own
        raise InputError(eye, f"was made from seed {drawn}", "ask for the same --seed")
    tower.load_state_dict(load_policy(eye, device="cpu")[0].model.visual.state_dict())
    return seeing


def _trained(pupil: Pupil, held_out: Pool, seed: int, checkpoint: Path) -> dict[str, Any]:
    """Train the tower, if that is not done; how it was."""
    if not finished(pupil.model.model.visual, checkpoint, TOWER_STEPS):
        shown = _drawn(seed, "tower")
        train_tower(pupil.model, pupil.tokenizer, shown, held_out, TOWER_STEPS, seed, checkpoint)
    return _stage(checkpoint)


def _stage(checkpoint: Path) -> dict[str, Any]:
    steps, spent = torch.load(checkpoint, weights_only=True)[:2]
    told = {"steps": steps, "minutes": round(spent / 60)}
    return told | {"hardware": hardware(), "date": time.strftime("%Y-%m-%d")}


def _teach_on(small: Path, larger: bool, out: Path, seed: int) -> None:
    """Teach a finished model on with nothing held back, grown before if it is to be larger.

    Grown, it stands for the larger model that got no reinforcement; at its own size, it tells how
    much of that is schooling.
    """
    base, processor = load_policy(small, device="cpu")
    if not isinstance(base, Qwen2VLForConditionalGeneration):
        raise InputError(small, "is no Qwen2-VL of its own", "name what `pretrain` made")
    model = grown(base) if larger else base
    _begin(out, f"--seed {seed} --{'larger' if larger else 'longer'} {small}")
    model.set_attn_implementation("eager")
    pictures = album(model.model.visual, _drawn(seed, "language"))
    teach_on(Pupil(model, processor.tokenizer), pictures, seed + 1, out / "language.pt")
    model.save_pretrained(out)
    processor.save_pretrained(out)


def _begin(out: Path, asked: str) -> None:
    """Refuse a folder that was begun with something else: its checkpoints would be taken up."""
    note = out / "begun.txt"
    if note.exists() and note.read_text(encoding="utf-8") != asked:
        problem = f"was begun with {note.read_text(encoding='utf-8')}"
        raise InputError(out, problem, "ask for the same, or choose another folder")
    note.write_text(asked, encoding="utf-8")


def _drawn(seed: int, name: str) -> Pool:
    own = len(POOLS) * seed + list(POOLS).index(name)
    return pool(own, POOLS[name], f"images, {name}")


@torch.no_grad()
def album(tower: Qwen2VisionTransformerPretrainedModel, shown: Pool) -> Album:
    """The features of every picture, computed once."""
    rows = np.arange(len(shown.scenes))
    parts = [see(tower, shown, rows[start : start + 100]).half() for start in rows[::100]]
    return Album(shown.scenes, torch.cat(parts))
