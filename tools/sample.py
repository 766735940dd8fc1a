"""`python -m tools.sample`: the contact sheet and the few records that lie in `data/sample/`."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from medr1_lib.cli import exit_status
from medr1_lib.data import images
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import draw, random_scene, vocabulary
from medr1_lib.data.phantoms.painters import SIZE
from medr1_lib.data.question import MODALITIES
from medr1_lib.files import writing

SHEET, RECORDS = "contact_sheet.png", "records.json"
GAP = 4  # pixels of white between two phantoms


def main(arguments: list[str]) -> int:
    """Write both files and say so."""
    parser = argparse.ArgumentParser("python -m tools.sample", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default 0)")
    asked = parser.parse_args(arguments)
    write(asked.out, asked.seed)
    print(f"{asked.out}: {SHEET}, {RECORDS}")
    return 0


def contact_sheet(seed: int = 0) -> Image.Image:
    """One row per modality: its anatomies, each acquired in another way, then three findings.

    Example:
        >>> contact_sheet().size
        (808, 924)
    """
    rng = np.random.default_rng(seed)
    sheet = Image.new("RGB", (7 * (SIZE + GAP) - GAP, 8 * (SIZE + GAP) - GAP), "white")
    for row, modality in enumerate(MODALITIES):
        words = vocabulary(modality)
        anatomies, findings = words["anatomy"], words["finding"]
        acquired = zip(anatomies, words["acquisition"], strict=True)
        scenes = [
            random_scene(rng, modality, anatomy=anatomy, acquisition=how, finding=findings[0])
            for anatomy, how in acquired
        ]
        first = {"anatomy": anatomies[0], "acquisition": words["acquisition"][0]}
        severe = random_scene(rng, modality, grade="severe", **first)
        scenes += [replace(severe, finding=name) for name in findings[1:]]
        for column, scene in enumerate(scenes):
            sheet.paste(draw(scene), (column * (SIZE + GAP), row * (SIZE + GAP)))
    return sheet


def write(out: Path, seed: int = 0) -> None:
    """Write the sheet and one question per modality and question type."""
    drawn = [question.record(None) for question in questions("test", seed, per_cell=1)]
    records = [{n: v for n, v in row.items() if n not in ("image", "answer_text")} for row in drawn]
    with writing(out, "choose a folder you may write to"):
        out.mkdir(parents=True, exist_ok=True)
        (out / SHEET).write_bytes(images.png(contact_sheet(seed)))
        (out / RECORDS).write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
