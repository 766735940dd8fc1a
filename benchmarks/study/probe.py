"""What the frozen vision tower lets through: a linear probe for each attribute of a phantom.

    python -m benchmarks.study.probe --json data/recorded/probe.json

A logistic regression reads the attribute from the tower's features, fitted on training scenes and
scored on others. The scanner's mark is read from the pixels of its corner as well, so that one sees
what the tower loses: no way of training the language model can follow a mark that does not arrive.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.stamp import run_stamp
from medr1_lib.analysis.stats import wilson
from medr1_lib.cli import exit_status
from medr1_lib.data.phantoms import SCANNERS, Scene, draw, random_scene
from medr1_lib.data.question import MODALITIES
from medr1_lib.files import check_writable, write_json
from medr1_lib.model.loading import load_policy

ATTRIBUTES = ("scanner", "finding", "grade", "place", "anatomy", "acquisition")
CORNER, BATCH, SEED = 24, 128, 0  # pixels of a side, images of a batch


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("data/tiny-qwen2-vl"))
    parser.add_argument("--scenes", type=int, default=300, help="per modality")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    asked = parser.parse_args(arguments)
    if asked.json:
        check_writable(asked.json)
    torch.set_num_threads(1)
    rng = np.random.default_rng(SEED)
    scenes = [scene(rng, kind) for kind in MODALITIES for _ in range(asked.scenes)]
    pictures = [draw(one) for one in scenes]
    tested = np.arange(len(scenes)) % 3 == 0  # every third scene of each modality
    sight = {"tower": encoded(asked.model, pictures), "corner": np.array([*map(corner, pictures)])}
    rows = [row("tower", sight["tower"], scenes, tested, name) for name in ATTRIBUTES]
    rows.append(row("corner", sight["corner"], scenes, tested, "scanner"))
    for one in rows:
        print(f"{one['attribute']} from the {one['from']}: {one['accuracy']:.1%} of {one['n']}")
    if asked.json:
        write_json(asked.json, run_stamp(threads=1) | {"seed": SEED, "rows": rows})
    return 0


def scene(rng: np.random.Generator, modality: str) -> Scene:
    """A random scene from a random scanner."""
    return replace(random_scene(rng, modality), scanner=str(rng.choice(SCANNERS)))


@torch.inference_mode()
def encoded(model: Path, pictures: list[Image.Image]) -> np.ndarray:
    """What the language model gets of each picture, all its tokens in a row."""
    policy, processor = load_policy(model)
    tower = policy.model.get_image_features
    rows = []
    for start in range(0, len(pictures), BATCH):
        batch = processor.image_processor(pictures[start : start + BATCH], return_tensors="pt")
        features = tower(batch["pixel_values"], batch["image_grid_thw"]).pooler_output
        rows += [one.flatten().numpy() for one in features]
    return np.array(rows)


def corner(picture: Image.Image) -> np.ndarray:
    """The grey values of the corner that holds the ticks of a mark."""
    return np.asarray(picture.convert("L"), dtype=float)[-CORNER:, -CORNER:].ravel()


def row(
    source: str, features: np.ndarray, scenes: list[Scene], tested: np.ndarray, attribute: str
) -> dict[str, object]:
    """Accuracy of the linear probe on the scenes kept for it, those that have the attribute."""
    labels = np.array([getattr(one, attribute) or "" for one in scenes])
    fit, test = ~tested & (labels != ""), tested & (labels != "")
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    right = probe.fit(features[fit], labels[fit]).predict(features[test]) == labels[test]
    n, hits = len(right), int(right.sum())
    told = {"from": source, "attribute": attribute, "n": n, "accuracy": hits / n}
    return told | {"interval": wilson(hits, n)}


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
