"""How sure models are of their letters, for the calibration figures of `report`.

    python -m benchmarks.study.letter_probs --block data/recorded/all --data _output/study \
        --sweep _output/sweep

Asks the bases of a block and its models of one seed how probable they hold A to D where their
recorded answers say a letter, and writes `letter_probs.parquet` into the block.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from medr1_lib.analysis import recorded
from medr1_lib.cli import exit_status
from medr1_lib.data.question import BASES
from medr1_lib.evaluation.ask import Asker, letter_probs
from medr1_lib.evaluation.items import EvalPrompt, EvalSet
from medr1_lib.evaluation.sweep import RUN
from medr1_lib.model.loading import load_policy
from medr1_lib.rl.run import Run


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="what the block was asked")
    parser.add_argument("--sweep", type=Path, required=True, help="the --out of the sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=5, help="of so many questions take one")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    items, answers = EvalSet(asked.data), recorded.load(asked.block)
    chosen = answers["control"].eq("none") & answers["mark"].eq("random")
    answers = answers[chosen & (answers["item"] % asked.every == 0)]
    models = [m for m in recorded.notes(asked.block)["models"] if m["seed"] in (-1, asked.seed)]
    parts = [
        of_model(model, answers[answers["model"] == model["model"]], items, asked.sweep)
        for model in tqdm(models, desc="models")
    ]
    pd.concat(parts).to_parquet(asked.block / recorded.LETTER_PROBS, index=False)
    return 0


def of_model(
    model: dict[str, Any], answers: pd.DataFrame, items: EvalSet, sweep: Path
) -> pd.DataFrame:
    """The probabilities of the letters in the recorded answers of one model."""
    untrained = model["method"] in BASES
    path = model["recipe"]["model"] if untrained else Run.load(sweep / model["model"] / RUN).adapter
    asker = Asker(*load_policy(Path(path)), max_new_tokens=1)
    numbers, style = answers["item"].tolist(), model["style"]
    shown = [items.image(EvalPrompt(item, item, style, "none")) for item in numbers]
    pictures = [image for image in shown if image]
    questions, replies = [items.questions[item] for item in numbers], answers["completion"].tolist()
    found = letter_probs(asker, questions, pictures, replies, style)
    return found.assign(item=[numbers[place] for place in found["item"]], model=model["model"])


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
