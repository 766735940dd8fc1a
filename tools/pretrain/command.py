"""`python -m tools.pretrain`: make the tiny base from seeds, on one thread.

With `--size larger --medical full` it makes a teacher of the base: larger, and as much at home in
medical pictures as in general ones.
"""

import argparse
import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

from medr1_lib.data.question import DOMAINS
from medr1_lib.errors import InputError
from medr1_lib.files import read_json, write_json
from medr1_lib.model.loading import load_policy
from medr1_lib.provenance import hardware
from tools.pretrain.attributes import codes, word_vectors
from tools.pretrain.card import card
from tools.pretrain.language import GENERAL, MEDICAL, MIXED, BatchMix, Rows, Schedule, Trainer
from tools.pretrain.model import TinyVLM
from tools.pretrain.pictures import Features, Pictures, drawn, features
from tools.pretrain.report import report
from tools.pretrain.tiny import PIXELS, SIZES, tiny_model, tiny_processor
from tools.pretrain.tower import finished, train_tower
from tools.pretrain.validation import asked_about, validate_all

log = logging.getLogger(__name__)

TOWER_STEPS, LANGUAGE_STEPS = 2000, 900
MEDICAL_PICTURES = 60  # of each cell of the medical domain that the language half meets
# Pictures per cell of a domain, for what; each use has a seed of its own.
USES = {
    "tower": {"medical": 900, "general": 500},
    "validation": {"medical": 8, "general": 16},
    "language": {"medical": MEDICAL_PICTURES, "general": 200},
    "report": {"medical": 32, "general": 64},
}


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m tools.pretrain", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the model, its log and checkpoints")
    add("--seed", type=int, default=0, help="everything follows from it (default 0)")
    add("--size", choices=SIZES, default="tiny", help="of the model (default tiny)")
    much = "what is taught of the medical domain: little, as the other options of that name say, "
    much += "or full, as much as of the general domain (default little)"
    add("--medical", choices=("little", "full"), default="little", help=much)
    met = f"medical pictures per cell that the language half meets (default {MEDICAL_PICTURES})"
    add("--medical-pictures", type=int, default=MEDICAL_PICTURES, metavar="N", help=met)
    captions = f"captions of them in such a step (default {MEDICAL.described})"
    add("--medical-captions", type=int, default=MEDICAL.described, metavar="ROWS", help=captions)
    default = MEDICAL.styles["no_think"]
    questions = f"questions about them in such a step and direct style (default {default})"
    add("--medical-questions", type=int, default=default, metavar="ROWS", help=questions)
    steps = f"of the language half (default {LANGUAGE_STEPS})"
    add("--language-steps", type=int, default=LANGUAGE_STEPS, metavar="N", help=steps)
    every = f"a step in so many has rows with medical pictures (default {MIXED.medical_every})"
    add("--medical-every", type=int, default=MIXED.medical_every, metavar="N", help=every)
    tower = "take stage 1 from the finished model in this folder, of the same seed and kind"
    add("--tower", type=Path, metavar="DIR", help=tower)
    asked = parser.parse_args(arguments)
    own = [name for name in vars(asked) if name.startswith("medical_")]
    if asked.medical == "full" and any(
        getattr(asked, name) != parser.get_default(name) for name in own
    ):
        parser.error("--medical full leaves nothing to the other options of --medical")
    asked.out.mkdir(parents=True, exist_ok=True)
    streams = logging.StreamHandler(), logging.FileHandler(asked.out / "pretrain.log")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=streams)
    torch.set_num_threads(1)
    _begin(asked)
    _make(asked)
    return 0


def _begin(asked: argparse.Namespace) -> None:
    """Refuse a folder that was begun with something else: its checkpoints would be taken up."""
    options = {k: v for k, v in vars(asked).items() if k != "out"}
    told, note = json.dumps(options, default=str), asked.out / "begun.json"
    if note.exists() and note.read_text() != told:
        problem = f"was begun with {note.read_text()}"
        raise InputError(asked.out, problem, "ask for the same, or choose another folder")
    note.write_text(told)


def _make(asked: argparse.Namespace) -> None:
    """Stage by stage; what a stage has finished is taken from its checkpoint."""
    seed, out = asked.seed, asked.out
    processor = tiny_processor(tuple(DOMAINS))
    model = tiny_model(processor.tokenizer, seed, asked.size)
    tower, words = model.model.visual, word_vectors(model, processor.tokenizer)
    seconds = {"tower": _tower(asked, tower, words)}

    model.set_attn_implementation("eager")  # the losses look at the attention
    vlm = TinyVLM(model, processor.tokenizer)
    mix, per_cell = _medical(asked)
    schedule = Schedule(asked.language_steps, mix)
    met = [
        features(tower, _drawn(seed, "language", "general")),
        features(tower, _drawn(seed, "language", "medical", per_cell)),
    ]
    trainer = Trainer(vlm, met[0], met[1], schedule, seed, out / "language.pt")
    held_out = {kind: features(tower, _drawn(seed, "validation", kind)) for kind in DOMAINS}
    for until in (*range(300, schedule.steps, 200), schedule.steps):
        if trainer.steps < until:
            trainer.run(until)
            _log_validation(vlm, held_out, trainer.steps)
    seconds["language"] = trainer.seconds

    model.save_pretrained(out)
    processor.save_pretrained(out)
    log.info("saved; now the report, on other scenes")
    unseen = {kind: features(tower, _drawn(seed, "report", kind)) for kind in DOMAINS}
    blank = features(tower, Pictures([], np.full((1, PIXELS, PIXELS, 3), 127, np.uint8)))
    found = {
        "seed": seed,
        "size": asked.size,
        "taught": asked.medical,
        "medical": {
            "pictures": len(met[1].scenes),
            "captions": mix.medical.described,
            "questions": mix.medical.styles["no_think"],
            "every": mix.medical_every,
        },
        "steps": {"tower": TOWER_STEPS, "language": schedule.steps},
        "minutes": {stage: round(spent / 60, 1) for stage, spent in seconds.items()},
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "domains": report(vlm, unseen, blank.values, seed),
    }
    write_json(out / "report.json", found)
    (out / "README.md").write_text(card(json.loads(json.dumps(found))))


def _medical(asked: argparse.Namespace) -> tuple[BatchMix, int]:
    """The rows of a step, and medical pictures per cell that it has."""
    if asked.medical == "full":
        return replace(MIXED, medical=GENERAL, medical_every=1), USES["language"]["general"]
    direct = dict.fromkeys(("no_think", "think_after"), asked.medical_questions)
    rows = Rows(asked.medical_captions, direct)
    return replace(MIXED, medical=rows, medical_every=asked.medical_every), asked.medical_pictures


def _tower(
    asked: argparse.Namespace,
    tower: Qwen2VisionTransformerPretrainedModel,
    words: list[torch.Tensor],
) -> float:
    """Train the tower, if that is not done; the seconds that it took."""
    if asked.tower:
        return _taken(asked, tower)
    checkpoint = asked.out / "tower.pt"
    spent = finished(tower, checkpoint, TOWER_STEPS)
    if spent is None:
        train, held_out = (
            {kind: _drawn(asked.seed, use, kind) for kind in DOMAINS}
            for use in ("tower", "validation")
        )
        written = words if asked.medical == "full" else codes(words, asked.seed)
        train_tower(tower, written, train, held_out, TOWER_STEPS, asked.seed, checkpoint)
        spent = finished(tower, checkpoint, TOWER_STEPS)
    return spent or 0.0


def _taken(asked: argparse.Namespace, tower: Qwen2VisionTransformerPretrainedModel) -> float:
    """Take the tower of a finished model; the seconds that it took there."""
    made = read_json(asked.tower / "report.json", "name the folder of a finished model")
    kind = {"seed": asked.seed, "size": asked.size, "medical": asked.medical}
    found = {"seed": made["seed"], "size": made.get("size", "tiny")}
    found["medical"] = made.get("taught", "little")
    if found != kind:
        same = " ".join(f"--{name} {value}" for name, value in found.items())
        problem = f"was made with {same}, and its tower writes in the words of that model"
        raise InputError(asked.tower, problem, "ask for the same")
    policy, _ = load_policy(asked.tower, device="cpu")
    tower.load_state_dict(policy.model.visual.state_dict())
    return 60.0 * float(made["minutes"]["tower"])


def _log_validation(vlm: TinyVLM, held_out: dict[str, Features], step: int) -> None:
    for kind, shown in held_out.items():
        asked = asked_about(shown.scenes, 0)
        for name, found in validate_all(vlm, asked, shown).items():
            log.info("language step %d, %s, %s: %s", step, kind, name, found)


def _drawn(seed: int, use: str, kind: str, per_cell: int | None = None) -> Pictures:
    own = len(USES) * seed + list(USES).index(use)
    return drawn(kind, own, per_cell or USES[use][kind], f"{kind} pictures, {use}")
