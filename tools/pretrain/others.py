"""`python -m tools.pretrain.others BASE DIR ...`: put other seeds and schedules on a base's card.

    python -m tools.pretrain --out _output/seed1 --seed 1
    python -m tools.pretrain --out _output/later --tower data/tiny-qwen2-vl --language-steps 950
    python -m tools.pretrain.others data/tiny-qwen2-vl _output/seed1 _output/later

Each DIR is a finished model of `tools.pretrain`. Nothing is chosen: what is named is shown.
"""

import argparse
import sys
from pathlib import Path

from medr1_lib.cli import exit_status
from medr1_lib.files import read_json, write_json
from tools.pretrain.card import card, short


def main(arguments: list[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path)
    parser.add_argument("others", type=Path, nargs="+", metavar="DIR")
    asked = parser.parse_args(arguments)
    remedy = "name the folder of a finished model of tools.pretrain"
    found = read_json(asked.base / "report.json", remedy)
    others = [short(read_json(one / "report.json", remedy)) for one in asked.others]
    write_json(asked.base / "others.json", others)
    (asked.base / "README.md").write_text(card(found, others))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
