"""The outcomes of the predictions of `positions`, written into its record again.

    python -m benchmarks.study.outcomes

Trains nothing: the outcomes follow from the answers of the record. For a record from before a rule
of `registered.py` changed.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.study.positions import LABELS, RECORD, came_out, understood
from medr1_lib.analysis.recorded import ANSWERS
from medr1_lib.cli import exit_status
from medr1_lib.files import read_json, write_json


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", type=Path, default=Path("data/recorded/positions"))
    record = parser.parse_args(arguments).record
    told = read_json(record / RECORD, "make it with `python -m benchmarks.study.positions`")
    found = from_record(record, told["runs"])
    print(found.to_string(index=False))
    told["outcomes"] = found.replace({np.nan: None}).to_dict("records")
    write_json(record / RECORD, told)
    return 0


def from_record(record: Path, runs: list[dict[str, Any]]) -> pd.DataFrame:
    """Each prediction with its outcome, from the answers of a record."""
    by = pd.read_parquet(record / ANSWERS).groupby(LABELS)
    return came_out({label: understood(label, rows) for label, rows in by}, runs)


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
