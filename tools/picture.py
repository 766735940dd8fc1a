"""`python -m tools.picture`: the README's picture, phantoms beside the curves of a recorded run."""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from PIL import Image

from medr1_lib.cli import exit_status
from medr1_lib.course.tiers import material
from medr1_lib.data import images
from medr1_lib.data.phantoms import draw, random_scene
from medr1_lib.data.question import MODALITIES
from medr1_lib.files import read_json
from notebooks.tools import kernel
from tools import learned

OUT = kernel.ROOT / "data" / "sample" / "first_screen.png"
HEIGHT, GAP, COLUMNS = 280, 8, 4  # pixels, pixels, phantoms in a row
STEPS = 10  # that a point of a curve is the mean of; a mean of fewer would begin with one batch
CURVES = {"format": "in the form asked for", "accuracy": "right"}


def main(arguments: list[str]) -> int:
    """Write the picture and say so."""
    parser = argparse.ArgumentParser("python -m tools.picture", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="PNG file to write")
    out = parser.parse_args(arguments).out
    with kernel.writing_out(out):
        out.write_bytes(images.png(picture()))
    print(f"wrote {out}")
    return 0


def picture() -> Image.Image:
    """One phantom of each modality, and beside them what the rewards of chapter 06's run did."""
    rng = np.random.default_rng(0)
    side = (HEIGHT - GAP) // 2
    width = COLUMNS * (side + GAP)
    drawn = [draw(random_scene(rng, modality, grade="severe")) for modality in MODALITIES]
    right = _curves()
    whole = Image.new("RGB", (width + right.width, HEIGHT), "white")
    for number, phantom in enumerate(drawn):
        row, column = divmod(number, COLUMNS)
        large = phantom.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        whole.paste(large, (column * (side + GAP), row * (side + GAP)))
    whole.paste(right, (width, 0))
    return whole


def _curves() -> Image.Image:
    log = pd.read_csv(material("recorded/course_run/log.csv"))
    report = read_json(learned.REPORT, "make it with `python -m tools.pretrain`")
    base = report["domains"]["medical"]["styles"]["think_before"]["pass_at"]["1"]
    figure, axes = plt.subplots(figsize=(4.2, HEIGHT / 100), layout="constrained")
    for column, label in CURVES.items():
        axes.plot(log["step"], log[column].rolling(STEPS).mean(), label=label)
    axes.axhline(base, color="black", linestyle="--", label="right, the base on test questions")
    axes.set(xlim=(0, log["step"].max()), ylim=(0, 1.02), xlabel="step")
    axes.set_title(f"share of rollouts in training, mean of {STEPS} steps", fontsize="small")
    axes.legend(fontsize="small", frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    plt.close(figure)
    return Image.open(drawn).convert("RGB")


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
