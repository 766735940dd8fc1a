"""The one way in which notebooks are executed: same variables, clean kernel, no network."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from nbclient import NotebookClient
from nbformat import NotebookNode

from medr1_lib import files

NOTEBOOKS = Path(__file__).parents[1]
ROOT = NOTEBOOKS.parent
GUARD = Path(__file__).parent / "offline"

# What makes the same notebook print the same on every machine.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
# At the gpu tier torch takes the threads it wants. A GPU that happens to be there would change the
# digits that the small tiers print.
SMALL_TIERS = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SHARP = (
    "--InlineBackend.figure_formats={'retina'}"  # figures have twice the pixels they are shown at
)
PLACES = ("MEDR1_DATA", "MEDR1_MODEL", "MEDR1_HOME", "MEDR1_LEDGER")
MINUTES = {"gpu": 24 * 60.0}  # the most that one cell may take; elsewhere half an hour


class OnlineError(RuntimeError):
    """Something asked for a connection beyond this machine."""


def places() -> dict[str, str]:
    """The variables that name a file or folder, from here: a kernel starts in another folder."""
    named = {name: os.environ.get(name) for name in PLACES}
    return {name: str(Path(path).absolute()) for name, path in named.items() if path}


@contextmanager
def environment(tier: str) -> Iterator[dict[str, str]]:
    """The variables for a process that executes notebooks, guarded against the network.

    Raises:
        OnlineError: On leaving, if at the replay or laptop tier a connection was attempted.
    """
    with tempfile.TemporaryDirectory() as folder:
        # No chapter finds what a student, or another chapter, wrote into the ledger.
        ledger = {"MEDR1_LEDGER": str(Path(folder) / "ledger.json")}
        variables = os.environ | ENVIRONMENT | places() | ledger | {"MEDR1_TIER": tier}
        if tier == "gpu":
            yield variables
            return
        record = Path(folder) / "connections"
        path = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))
        yield variables | SMALL_TIERS | {"PYTHONPATH": path, "MEDR1_CONNECTIONS": str(record)}
        if record.exists():
            hosts = ", ".join(sorted(set(record.read_text(encoding="utf-8").split())))
            raise OnlineError(f"the {tier} tier runs offline, but something asked for {hosts}")


def writing_out(path: Path) -> AbstractContextManager[None]:
    """Tell in one line what cannot be written, as in a checkout that is read-only."""
    return files.writing(path, "choose another folder with --out")


def write(path: Path, text: str) -> None:
    """Write a text in UTF-8 with plain line ends, whatever the system; make its folder."""
    with writing_out(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def execute(
    notebook: NotebookNode, tier: str, minutes: float | None = None, whole: bool = False
) -> None:
    """Execute all cells in place, in a fresh kernel whose folder is `notebooks/`.

    Args:
        notebook: Its outputs are replaced.
        tier: `replay`, `laptop` or `gpu`.
        minutes: The most that one cell may take; unless said, what the tier allows.
        whole: The minutes are for all cells together, and a cell that raises stops nothing.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises.
        nbclient.exceptions.CellTimeoutError: If the minutes are over.
        OnlineError: If a cell asks for a connection beyond this machine.
    """
    minutes = minutes or MINUTES.get(tier, 30.0)
    end = time.monotonic() + 60 * minutes
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=int(60 * minutes),
        timeout_func=(lambda _: max(1, int(end - time.monotonic()))) if whole else None,
        allow_errors=whole,
        record_timing=False,
        coalesce_streams=True,  # where a stream is cut depends on timing
        resources={"metadata": {"path": str(NOTEBOOKS)}},
        extra_arguments=["--IPKernelApp.log_level=ERROR", SHARP],
    )
    with environment(tier) as variables:
        client.execute(env=variables)
