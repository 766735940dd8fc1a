"""`python -m tools.picture`: the README's picture, phantoms beside the curves of a recorded run."""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from PIL import Image

from medr1_lib.analysis.plots import curves
from medr1_lib.cli import exit_status
from medr1_lib.course.tiers import material
from medr1_lib.data import images
from medr1_lib.data.phantoms import draw, random_scene
from medr1_lib.data.question import MODALITIES
from notebooks.tools import kernel

OUT = kernel.ROOT / "data" / "sample" / "first_screen.png"
HEIGHT, GAP, COLUMNS = 280, 8, 4  # pixels, pixels, phantoms in a row
CURVES = ["step", "accuracy", "format"]


def main(arguments: list[str]) -> int:
    """Write the picture and say so."""
    parser = argparse.ArgumentParser("python -m tools.picture", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="PNG file to write")
    out = parser.parse_args(arguments).out
    with kernel.writing(out):
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
    figure = curves(pd.read_csv(material("recorded/course_run/log.csv"))[CURVES])
    figure.set_size_inches(4.2, HEIGHT / 100)
    figure.axes[0].set_title("share of rollouts, while a model is trained", fontsize="small")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=100)
    plt.close(figure)
    return Image.open(drawn).convert("RGB")


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
