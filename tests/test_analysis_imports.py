"""Tables and figures of recorded runs need no model, so they import nothing that trains one."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "transformers", "trl", "peft", "accelerate", "medr1_lib.model", "medr1_lib.rl")
PROGRAM = """
import importlib, sys, time
start = time.process_time()
for name in {names}:
    importlib.import_module(name)
print(f"imported in {{time.process_time() - start:.1f}} s of CPU time", file=sys.stderr)
print(*(name for name in {heavy} if name in sys.modules))
"""


def test_analysis_loads_neither_torch_nor_a_trainer(capsys):
    folder = ROOT / "medr1_lib/analysis"
    names = [f"medr1_lib.analysis.{path.stem}" for path in sorted(folder.glob("[a-z]*.py"))]
    assert "medr1_lib.analysis.transfer" in names
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=names, heavy=HEAVY)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    with capsys.disabled():
        print(f"[medr1_lib.analysis {ran.stderr.strip().splitlines()[-1]}]", end=" ")
    assert ran.stdout.split() == []
