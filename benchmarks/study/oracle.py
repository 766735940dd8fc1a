"""What a model knows, by modality: its caption oracle, a series for the headline figure.

    python -m medr1_lib data build --per-cell 80 --out _output/study
    python -m benchmarks.study.oracle --data _output/study

A question counts if the model's own caption of the image names the right option.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd
import torch

from benchmarks.stamp import run_stamp
from benchmarks.study.captions import named
from medr1_lib.analysis.stats import wilson
from medr1_lib.cli import exit_status
from medr1_lib.evaluation.items import EvalSet
from medr1_lib.files import check_writable, write_json
from tools.report import SERIES


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("data/tiny-qwen2-vl"))
    parser.add_argument("--json", type=Path, default=Path("data/recorded/oracle.json"))
    asked = parser.parse_args(arguments)
    check_writable(asked.json)
    torch.set_num_threads(1)
    items = EvalSet(asked.data)
    answered = named(items, asked.model, len(items.questions))
    modality = answered["item"].map(lambda item: items.questions[item].modality)
    rows = [
        ("caption oracle", name, len(right), right.mean(), *wilson(int(right.sum()), len(right)))
        for name, right in answered["correct"].groupby(modality)
    ]
    table = pd.DataFrame(rows, columns=SERIES).to_dict("records")
    write_json(asked.json, run_stamp(threads=1) | {"rows": table})
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
