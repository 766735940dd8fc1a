"""How fast one core draws phantoms, and what a glance at one gives away.

    python -m benchmarks.speed.phantoms [--scenes N] [--json FILE]

A linear classifier sees an 8 x 8 thumbnail and three colour histograms of each picture and guesses
each attribute of its scene, cross-validated in four folds, modality by modality. The finding has to
stay within 15 points of chance (25 %), so that a model needs to look closely; anatomy and
acquisition may be read at a glance.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medr1_lib.cli import exit_status
from medr1_lib.data.phantoms import Scene, draw, random_scene
from medr1_lib.data.question import MODALITIES
from medr1_lib.files import write_json
from medr1_lib.provenance import hardware

ATTRIBUTES = ("finding", "grade", "place", "anatomy", "acquisition", "scanner")
SEED = 0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=2500, help="per modality")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"images_per_second": {}, "glance": {}}
    for index, modality in enumerate(MODALITIES):
        rng = np.random.default_rng((SEED, index))
        scenes = [random_scene(rng, modality) for _ in range(options.scenes)]
        start = time.process_time()  # of this process alone, whatever else the machine is doing
        pictures = [draw(scene) for scene in scenes]
        report["images_per_second"][modality] = round(len(scenes) / (time.process_time() - start))
        features = np.array([glance(picture) for picture in pictures])
        report["glance"][modality] = {name: probe(features, scenes, name) for name in ATTRIBUTES}
    report |= {"scenes": options.scenes, "seed": SEED, "hardware": hardware()}
    report["date"] = time.strftime("%Y-%m-%d")
    print("Accuracy of a linear glance, in %, chance 25 %:")
    print((100 * pd.DataFrame(report["glance"]).T).round(1))
    print("\nImages per second of processor time:", report["images_per_second"])
    if options.json:
        write_json(options.json, report)
    return 0


def glance(picture: Image.Image) -> np.ndarray:
    """The thumbnail and the histograms of one picture, 240 numbers from 0 to 1."""
    thumbnail = np.asarray(picture.resize((8, 8), Image.Resampling.BOX)).ravel() / 255
    channels = np.asarray(picture).reshape(-1, 3).T
    histograms = [np.histogram(values, 16, (0, 256))[0] / values.size for values in channels]
    return np.concatenate([thumbnail, *histograms])


def probe(features: np.ndarray, scenes: list[Scene], attribute: str) -> float:
    """Accuracy of the linear classifier for one attribute, over the scenes that have it."""
    labels = np.array([getattr(scene, attribute) or "" for scene in scenes])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    known = labels != ""
    return float(cross_val_score(classifier, features[known], labels[known], cv=4).mean())


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
