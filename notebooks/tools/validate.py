"""Run nbval over the stored notebooks: `python -m notebooks.tools.validate`.

Students' copies at the laptop tier, solutions at the replay tier; strict or lax as a source says.
"""

import subprocess
import sys
from pathlib import Path

import nbformat

from notebooks.tools import kernel
from notebooks.tools.build import TIERS

FLAGS = {"strict": "--nbval", "lax": "--nbval-lax"}


def main(notebooks: Path = kernel.NOTEBOOKS) -> int:
    """Validate every notebook; 1 if an output differs or something asked for the network."""
    failed = 0
    for folder, tier in TIERS.items():
        for mode, flag in FLAGS.items():
            paths = [
                path for path in sorted((notebooks / folder).glob("*.ipynb")) if _mode(path) == mode
            ]
            if paths:
                print(f"nbval, {tier} tier, {mode}", flush=True)
                failed |= validate(paths, tier, flag)
    return failed


def validate(paths: list[Path], tier: str, flag: str) -> int:
    """Run nbval over notebooks of one kind; 1 if it fails."""
    command = [sys.executable, "-m", "pytest", "-q", flag, *map(str, paths)]
    try:
        with kernel.environment(tier) as variables:
            return int(subprocess.run(command, cwd=kernel.ROOT, env=variables).returncode != 0)
    except kernel.OnlineError as error:
        print(error)
        return 1


def _mode(path: Path) -> str:
    return nbformat.read(path, as_version=4).metadata.medr1.nbval


if __name__ == "__main__":
    sys.exit(main())
