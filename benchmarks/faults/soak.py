"""Does a process stay sound that runs command after command, with faults between? An hour of it.

    python -m benchmarks.faults.soak --out _output/soak --minutes 60

Commands come in a random order, each disturbed: by Ctrl-C at a random moment, by a disk that takes
no file over a random size, or by an input of which one file is cut or empty. Then the command is
given again, `--resume` or `--again` where it has one. What ends well has to leave and to say what
an undisturbed command does (see `kills`); what is refused is told in one line. A failure has the
number of its round, and `--only` gives rounds again alone. Linux only.
"""

import _thread
import io
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.faults import kills, page
from benchmarks.stamp import run_stamp
from medr1_lib import cli

SAID = {"data audit": "data audit IN/data"}  # these leave no file
SAID["ask"] = "ask --model IN/run/adapter --image IN/pictures/0.png --question Which? --options a b"
COMMANDS = SAID | {n: re.sub(r"-steps [46]", "-steps 20", one) for n, one in kills.COMMANDS.items()}
del COMMANDS["sweep"], COMMANDS["data build"]  # one works elsewhere, the other reads nothing
AGAIN = {"train sft": ["--resume"], "train grpo": ["--resume"], "data import": ["--again"]}
HELD = "minute, memory in MiB, open files, threads, children, temporary files"
FAULTS = ("none", "Ctrl-C", "full disk", "damaged input")


class Soak:
    """What each command leaves and says undisturbed, and the seconds it takes."""

    def __init__(self, out: Path) -> None:
        self.inputs, self.folder, self.rng = out / "inputs", out / "work", random.Random(0)
        self.seconds, self.expected = dict[str, float](), dict[str, Any]()
        for name in [*COMMANDS] * 2:  # what the first loads, the second need not
            begun = time.monotonic()
            status, told, found = self.give(name, anew=True)
            self.seconds[name] = time.monotonic() - begun
            assert (status, self.expected.setdefault(name, found)) == (0, found), (name, told)

    def give(self, name: str, after: float = 1e6, anew: bool = False) -> tuple[int, str, Any]:
        """Give a command, with Ctrl-C after so many seconds; its status, errors and results."""
        out, said, told = self.folder / "out", io.StringIO(), io.StringIO()
        if anew:
            shutil.rmtree(self.folder, ignore_errors=True)
        words = COMMANDS[name].replace("IN", str(self.inputs)).split()
        words += ["--out", str(out)] * (name not in SAID)
        words += AGAIN.get(name, []) * out.exists()
        status, timer = 130, threading.Timer(after, _thread.interrupt_main)
        with redirect_stdout(said), redirect_stderr(told), suppress(KeyboardInterrupt):
            timer.start()
            try:
                status = cli.main(words)
            except Exception as error:  # whoever gives a command sees a traceback
                print("Traceback:", repr(error), file=told)
            timer.cancel()
            time.sleep(0.1)  # for a Ctrl-C that comes just after the end
        return status, told.getvalue(), said.getvalue() * (name in SAID) or kills.left(self.folder)

    def draw(self) -> dict[str, Any]:
        """Command and fault of a round; when, at what size or in which file it is met."""
        name, fault = self.rng.choice([*COMMANDS]), self.rng.choice(FAULTS)
        drawn: dict[str, Any] = {"command": name, "fault": fault}
        drawn["share"] = self.rng.random() if fault == "Ctrl-C" else None
        drawn["most"] = int(10 ** self.rng.uniform(0, 6)) if fault == "full disk" else None
        tops = [self.inputs / top for top in re.findall(r"IN/(\w+)", COMMANDS[name])]
        files = sorted(one for top in tops for one in top.rglob("*.*") if one.suffix != ".csv")
        drawn["file"] = str(self.rng.choice(files))  # no csv, since half of a table is a table
        drawn["kept"] = self.rng.choice((0, 0.5)) if fault == "damaged input" else 1
        return drawn

    def round(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """Give a command that is disturbed, and give it again; what came of both."""
        name, most = drawn["command"], drawn["most"] or resource.RLIM_INFINITY
        after = 1e6 if drawn["share"] is None else drawn["share"] * self.seconds[name]
        damaged = Path(drawn["file"])
        whole = damaged.read_bytes()
        damaged.write_bytes(whole[: int(drawn["kept"] * len(whole))])
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        status, told, found = self.give(name, after, anew=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        damaged.write_bytes(whole)
        again, later, left = self.give(name)
        sound = status in (1, 2, 130) or (status == 0 and found == self.expected[name])
        refused = re.findall(r"(?<!\S )error: ", told)  # a refusal may quote an "I/O error: "
        sound &= len(refused) == (status == 2) and "Traceback" not in told + later
        # A complete folder that is refused because it is complete has lost nothing.
        sound &= again in (0, 2) and left == self.expected[name]
        row = drawn | {"statuses": [status, again], "sound": sound}
        return row if sound else row | {"told": [told[-999:], later[-999:]]}


def main(arguments: list[str]) -> int:
    parser = page.parser(__doc__, "data/recorded/soak.json", minutes=60)
    parser.add_argument("--only", type=int, nargs="+", help="numbers of rounds")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # begun in the background it has none
    torch.set_num_threads(1)
    kills.make_inputs(asked.out / "inputs")
    tempfile.tempdir = tempfile.mkdtemp(dir=asked.out)
    me, soak, begun, rounds, held = psutil.Process(), Soak(asked.out), time.monotonic(), [], []
    for number in range(1, max(asked.only) + 1) if asked.only else count(1):
        minute, drawn = int(time.monotonic() - begun) // 60, soak.draw()
        if asked.only and number not in asked.only:
            continue
        if minute >= asked.minutes:
            break
        rounds.append({"round": number} | soak.round(drawn))
        left, memory = (me.children(), [*Path(tempfile.tempdir).iterdir()]), me.memory_info().rss
        held.append([minute, memory >> 20, me.num_fds(), me.num_threads(), *map(len, left)])
        print(rounds[-1], held[-1], flush=True)
    table = [["command", *FAULTS, "as undisturbed"], ["---", *["--:"] * 5]]
    for name in COMMANDS:
        mine = [one for one in rounds if one["command"] == name]
        ends = ([one["statuses"][0] for one in mine if one["fault"] == each] for each in FAULTS)
        cells = [f"{len(of) - of.count(0)} of {len(of)}" for of in ends]  # it met the fault
        table.append([f"`{name}`", *cells, f"{sum(one['sound'] for one in mine)} of {len(mine)}"])
    table += [[], HELD.split(", "), ["--:"] * 6, *held[:: max(1, len(held) // 6)]]
    lines = "\n".join(f"| {' | '.join(map(str, row))} |" if row else "" for row in table)
    failures = [one for one in rounds if not one["sound"]]
    report = run_stamp(1) | {"table": lines, "failures": failures}
    page.keep(asked, "again" if asked.only else "soak", report, lines)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(cli.exit_status(main, sys.argv[1:]))
