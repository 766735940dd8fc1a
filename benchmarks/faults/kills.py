"""Does a command that was killed go on, and to the same result? Kill each of them many times.

    python -m benchmarks.faults.kills --out _output/kills

A kill is SIGKILL, which no program can answer. Each command is killed at random moments after it
has begun to write, in a process of its own, and just before every event of a file below its folder
that Python sees (opened for writing, renamed or removed; a folder made or removed), in a fork made
after the imports. Then the same command is given again, with `--resume` where it trains. It has to
end without a traceback, and what lies in its folder has to be equal to what an undisturbed command
leaves: the same files, and the same bytes in data, answers, weights and pictures; in the log of a
training all but the seconds.

Goes on where it was interrupted; `--minutes` ends it early, and the record says how many kills
there were. Linux only. The whole takes one to two hours on a quiet machine.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from tqdm import tqdm

from benchmarks.faults import page
from benchmarks.stamp import run_stamp
from medr1_lib import cli
from medr1_lib.data.images import png
from medr1_lib.data.phantom_vqa import questions
from medr1_lib.data.phantoms import Scene, draw
from medr1_lib.files import LOCK

LIMIT = 900  # seconds of one command; longer counts as one that hangs
PICTURES = 40  # in the table that is imported
COMPARED = {".arrow", ".parquet", ".safetensors", ".png", ".tsv", ".jsonl"}
# What a fork need not load again. Nothing is computed before a fork: threads do not survive it.
WARM = """medr1_lib.rl.train medr1_lib.evaluation.sweep medr1_lib.evaluation.export
    medr1_lib.evaluation.answers medr1_lib.data.tables medr1_lib.data.audit trl.trainer.grpo_trainer
    trl.trainer.sft_trainer peft"""
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.copyfile", "shutil.rmtree"}
ONE = "--threads 1"
SMALL = f"--per-device-train-batch-size 8 --save-steps 1 {ONE}"
# Each writes into `--out`, which is added; IN are the inputs, made once.
COMMANDS = {
    "data build": "data build --per-cell 1",
    "data import": "data import --table IN/pictures/labels.csv --question Which?",
    "data export": "data export IN/data --to vlmevalkit",
    "train grpo": "train grpo --recipe course --style no_think --data IN/data --max-steps 4 "
    f"--num-generations 4 {SMALL}",
    "train sft": "train sft --recipe course-sft --style no_think --data IN/data --max-steps 6 "
    f"{SMALL}",
    "evaluate": "evaluate --model data/tiny-qwen2-vl --data IN/data --style no_think think_before "
    f"--controls blank --limit 24 --batch-size 6 {ONE}",
    "merge": "merge --model IN/run/adapter",
    "sweep": "sweep --plan IN/plan.yaml",
}
PLAN = """data: {data}
max_new_tokens: 8
grids: [{{recipe: course-sft, style: no_think, train: [all], seed: [0, 1],
  changes: {{max_steps: 3, per_device_train_batch_size: 4}}}}]
"""


def main(arguments: list[str]) -> int:
    asked = parsed(arguments)
    for name in WARM.split():
        import_module(name)
    inputs, done = asked.out / "inputs", asked.out / "kills.jsonl"
    asked.out.mkdir(parents=True, exist_ok=True)
    make_inputs(inputs)
    known = [json.loads(line) for line in done.read_text().splitlines()] if done.exists() else []
    until = time.monotonic() + 60 * asked.minutes
    trials = [Trial(name, inputs, asked.out / name.replace(" ", "-")) for name in asked.commands]
    todo = [(trial, *one) for trial in trials for one in trial.kills(asked.moments)]
    random.Random(0).shuffle(todo)  # so that what was done when the time is up stands for all
    met = {(one["command"], one["way"], one["at"]) for one in known}
    for trial, way, at in tqdm(todo, "kills"):
        if (trial.name, way, at) not in met and time.monotonic() < until:
            known.append(trial.killed(way, at))
            with done.open("a", encoding="utf-8") as file:
                file.write(json.dumps(known[-1]) + "\n")
    report = run_stamp(1) | {"planned": len(todo)} | summary(known)
    page.keep(asked, "kills", report, table(report))
    return 1 if report["failures"] else 0


def make_inputs(inputs: Path) -> None:
    """A small data set, pictures with labels, an adapter and a plan."""
    if (inputs / "plan.yaml").exists():
        return
    shutil.rmtree(inputs, ignore_errors=True)
    pictures = inputs / "pictures"
    pictures.mkdir(parents=True)
    rows = [["image", "label"]]
    for number, question in zip(range(PICTURES), questions("train", per_cell=1), strict=False):
        rows.append([f"{number}.png", f"label {number % 2}"])
        (pictures / rows[-1][0]).write_bytes(png(draw(cast(Scene, question.scene))))
    with (pictures / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    train = COMMANDS["train sft"].replace("IN", str(inputs))
    for words in ("data build --per-cell 4", train):
        out = inputs / ("run" if words == train else "data")
        if forked(partial(cli.main, [*words.split(), "--out", str(out)]), inputs / "log.txt"):
            raise SystemExit((inputs / "log.txt").read_text())
    (inputs / "plan.yaml").write_text(PLAN.format(data=inputs / "data"), encoding="utf-8")


class Trial:
    """A command, what it leaves in its folder undisturbed, and how long and busy it is there."""

    def __init__(self, name: str, inputs: Path, folder: Path) -> None:
        self.name, self.folder, self.out = name, folder, folder / "out"
        self.words = [*COMMANDS[name].replace("IN", str(inputs)).split(), "--out", str(self.out)]
        self.log = folder.with_suffix(".log")
        notes = folder.with_suffix(".json")
        if not notes.exists():
            seconds = self.moment(None)
            self.expected = left(folder)
            self.anew()
            seen = [0]
            status = forked(partial(watched, folder, 0, seen, self.words), self.log)
            self.events = int(self.log.read_text().rpartition("events ")[2])
            if status or left(folder) != self.expected:
                raise SystemExit(f"{name} does not give the same twice, see {self.log}")
            told = {"seconds": seconds, "events": self.events, "left": self.expected}
            notes.write_text(json.dumps(told), encoding="utf-8")
        told = json.loads(notes.read_text(encoding="utf-8"))
        self.seconds: float = told["seconds"]
        self.events, self.expected = told["events"], told["left"]

    def kills(self, moments: int) -> list[tuple[str, float]]:
        """When to kill: moments as shares of the time it takes, and numbers of events."""
        rng = random.Random(self.name)
        shares = [("moment", round(rng.random(), 3)) for _ in range(moments)]
        # Of a sweep the work is done by others, whose events are not seen here.
        events = 0 if self.name == "sweep" else self.events
        return shares + [("event", number) for number in range(1, events + 1)]

    def anew(self) -> None:
        """Begin with an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def killed(self, way: str, at: float) -> dict[str, Any]:
        """Kill the command, give it again, and compare what it leaves."""
        self.anew()
        if way == "moment":
            was = self.moment(at * self.seconds) is None
        else:
            status = forked(partial(watched, self.folder, int(at), [0], self.words), self.log)
            was = status == -signal.SIGKILL
        again = ["--resume"] if self.words[0] == "train" and self.out.exists() else []
        status = forked(partial(cli.main, [*self.words, *again]), self.log)
        told = self.log.read_text(errors="replace")
        equal = left(self.folder) == self.expected
        # A complete folder that is refused because it is complete has lost nothing.
        went_on = (status == 0 or (equal and status == 2)) and "Traceback" not in told
        found = {"command": self.name, "way": way, "at": at, "killed": was, "status": status}
        found |= {"went_on": went_on, "equal": equal}
        if not (went_on and equal):
            now = left(self.folder)
            names = sorted(now.keys() | self.expected.keys())
            found["differ"] = [n for n in names if now.get(n) != self.expected.get(n)][:9]
            found["told"] = told[-2000:]
        return found

    def moment(self, after: float | None) -> float | None:
        """Run it as a process; its seconds from the first file on, `None` if it was killed."""
        self.anew()
        with self.log.open("w") as log:
            command = [sys.executable, "-m", "medr1_lib", *self.words]
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            while process.poll() is None and not any(self.folder.iterdir()):
                time.sleep(0.005)
            begun = time.monotonic()
            try:
                status = process.wait(LIMIT if after is None else after)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                time.sleep(0.5 * (self.name == "sweep"))  # its workers see it and end
                return None
        if status:
            raise SystemExit(f"{self.name} failed undisturbed, see {self.log}")
        return time.monotonic() - begun


def forked(work: Callable[[], int], log: Path) -> int:
    """Do something in a fork of this process, what it prints in `log`; its exit status."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            os.setsid()
            with log.open("wb", buffering=0) as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            status = cli.exit_status(lambda _: work(), [])
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 124


def watched(folder: Path, stop: int, seen: list[int], words: list[str]) -> int:
    """A command that is killed just before its event number `stop` below `folder`."""
    under = f"{folder.absolute()}/"

    def hook(event: str, about: tuple[Any, ...]) -> None:
        if event == "open":
            _, mode, flags = about
            if not (set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)):
                return
        elif event not in EVENTS:
            return
        named = isinstance(about[0], str | bytes | os.PathLike)
        path = f"{Path(os.fsdecode(about[0])).absolute()}/" if named else ""
        # Of a tree on its way out Python names what is in it from the folder above.
        if path.startswith(under) or (event in ("os.remove", "os.rmdir") and about[-1] != -1):
            seen[0] += 1
            if seen[0] == stop:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    status = cli.main(words)
    print(f"\nevents {seen[0]}")
    return status


def left(folder: Path) -> dict[str, str]:
    """Every file below a folder with a hash of what counts in it.

    But for a sweep's own notes, and for a lock: its holder is dead, so it holds nobody up.
    """
    found = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = path.relative_to(folder).as_posix()
        if name.startswith("out/jobs/") or path.name == LOCK:
            continue
        content = b""
        if path.name == "log.csv":
            with path.open(newline="", encoding="utf-8") as file:
                rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
            content = json.dumps(rows).encode()
        elif path.suffix in COMPARED:
            content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()[:16]
    return found


def summary(known: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of each command and way; of those that failed everything."""
    counts: dict[str, dict[str, int]] = {}
    for one in known:
        if one["killed"]:
            of = counts.setdefault(one["command"], {"moment": 0, "event": 0, "equal": 0})
            of[one["way"]] += 1
            of["equal"] += one["went_on"] and one["equal"]
    failures = [one for one in known if not (one["went_on"] and one["equal"])]
    commands = {name: counts[name] for name in COMMANDS if name in counts}
    total = sum(one["moment"] + one["event"] for one in counts.values())
    return {"kills": total, "commands": commands, "failures": failures}


def table(report: dict[str, Any]) -> str:
    """The counts as Markdown."""
    lines = ["| command | killed at random | killed at a file event | went on to the same result |"]
    lines.append("|---|--:|--:|--:|")
    for name, one in report["commands"].items():
        both = one["moment"] + one["event"]
        lines.append(f"| `{name}` | {one['moment']} | {one['event']} | {one['equal']} of {both} |")
    return "\n".join(lines)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = page.parser(__doc__, "data/recorded/kills.json", minutes=120)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=[*COMMANDS])
    parser.add_argument("--moments", type=int, default=20, help="random kills of each (20)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(cli.exit_status(main, sys.argv[1:]))
