"""`python -m medr1_lib <command>`: every command of the library."""

import importlib
import logging
import os
import sys
from collections.abc import Callable

from medr1_lib.errors import InputError

# Else it complains of a missing kernel when it is imported; before any module that imports it.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

# command: (module whose `main(arguments)` runs it, what it does)
COMMANDS = {
    "doctor": ("medr1_lib.course.doctor", "say what this machine can run"),
    "data": ("medr1_lib.data.command", "build phantoms, import real data, audit either"),
    "train": ("medr1_lib.rl.train_command", "train by GRPO or by supervised fine-tuning"),
    "evaluate": ("medr1_lib.evaluation.evaluate_command", "score a model on a test split"),
    "sweep": ("medr1_lib.evaluation.sweep_command", "train and score a plan of many models"),
}


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "usage: python -m medr1_lib <command> [--help]\n\n" + "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 found a problem, 2 bad input."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_usage())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"error: no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    return exit_status(lambda said: importlib.import_module(COMMANDS[name][0]).main(said), rest)


def exit_status(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; bad input is one line on stderr. The tools and benchmarks use it too."""
    try:
        return command(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
