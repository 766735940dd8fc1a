"""How fast Med-R1's split files are read and checked, beside decoding their JSON alone.

    python -m benchmarks.speed.parse_records [--splits DIR] [--json FILE]

Reads the released files where `--splits` says they are. Without it, writes as many made-up records
of the same length first, so that the figure can be had anywhere.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from medr1_lib.cli import exit_status
from medr1_lib.data import omnimedvqa
from medr1_lib.data.source import opened
from medr1_lib.files import write_json
from medr1_lib.provenance import hardware

RECORDS = 17_662  # the test files of the modality split
RUNS = 5


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=Path, help="folder with Med-R1's Splits/")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = options.splits or made_up(Path(folder))
        timed = [(measure(root), json_alone(root)) for _ in range(RUNS)]
    records = timed[0][0][0]
    seconds = statistics.median(seconds for (_, seconds), _ in timed)
    floor = statistics.median(seconds for _, seconds in timed)
    report = {
        "input": "released files" if options.splits else "made-up files",
        "records": records,
        "seconds": round(seconds, 3),
        "records_per_second": round(records / seconds),
        "times_json_alone": round(seconds / floor, 1),
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
    }
    print("\n".join(f"{name:<20}{value}" for name, value in report.items()))
    print(f"{'':<20}median of {RUNS} runs")
    if options.json:
        write_json(options.json, report)
    return 0


def measure(root: Path) -> tuple[int, float]:
    """Records read, every one of them checked, and the seconds that took."""
    start = time.perf_counter()
    with opened(root) as source:
        files = omnimedvqa.read_splits(source)
    return sum(len(file.items) for file in files), time.perf_counter() - start


def json_alone(root: Path) -> float:
    """Seconds that only decoding the same files takes: what no reader can be faster than."""
    start = time.perf_counter()
    for path in root.rglob("*.json"):
        json.loads(path.read_bytes())
    return time.perf_counter() - start


def made_up(root: Path) -> Path:
    """Write `RECORDS` records, about as long as the released ones."""
    stem = "Which of the following findings is present in this magnetic resonance image?"
    options = "A)No abnormality, B)Meniscal tear, C)Fracture, stable, D)Soft tissue edema"
    records = [
        {
            "image": f"Images/Toy/knee/{number:06}.png",
            "problem": f"{stem} {options}",
            "solution": f"<answer> {'ABCD'[number % 4]} </answer>",
        }
        for number in range(RECORDS)
    ]
    folder = root / "Splits/modality/test"
    folder.mkdir(parents=True)
    (folder / "MR (Mag-netic Resonance Imaging)_test.json").write_text(
        json.dumps(records), encoding="utf-8"
    )
    return root


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
