"""`python -m medr1_lib data build|import|audit`: make a data set, bring one in, look one over."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medr1_lib.data import audit, importing
from medr1_lib.data.archive import opened
from medr1_lib.data.errors import InputError
from medr1_lib.data.images import SIDE

SHOWN = 20  # skipped records printed; all of them are in card.json and in the --json file


def main(arguments: list[str]) -> int:
    """Run one of the three commands, print its report and write it where `--json` says."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "audit" and (options.data is None) == (options.splits is None):
        parser.error("audit takes either the folder of a data set or --splits DIR")
    if options.json:
        check_writable(options.json)
    text, report = COMMANDS[options.command](options)
    print(text)
    if options.json:
        write_json(options.json, report)
    return 0


def build(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Draw PhantomMedVQA."""
    from medr1_lib.data import phantom_vqa  # drawing pulls in what the other commands do without

    splits = phantom_vqa.build(
        options.out, options.seed, options.per_cell, options.leaky, options.shortcut
    )
    report = {"out": str(options.out), "records": dict(splits.num_rows)}
    return _written(report), report


def import_(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Import OmniMedVQA or data laid out like it."""
    done = importing.run(options.root, options.out, options.splits, options.by, options.size)
    skipped = [{"where": e.where, "problem": e.problem, "remedy": e.remedy} for e in done.skipped]
    report = {
        "out": str(done.out),
        "records": done.records,
        "images": done.images,
        "skipped": skipped,
    }
    return f"{_written(report)}\n{_skipped_table(skipped)}", report


def audit_(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Audit a data set, or the text of split files."""
    if options.data:
        report = audit.audit_data(options.data)
    else:
        with opened(options.splits) as source:
            report = audit.audit_splits(source)
    return _audit_table(report), report


COMMANDS: dict[str, Callable[[argparse.Namespace], tuple[str, dict[str, Any]]]] = {
    "build": build,
    "import": import_,
    "audit": audit_,
}


def check_writable(path: Path) -> None:
    """Refuse a report file that cannot be written, before any work is done.

    Raises:
        InputError: If it is a folder, or lies in none.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(path, "cannot be written", "name a file in a folder that exists")


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write what a command reports, for other programs.

    Raises:
        InputError: If the file cannot be written.
    """
    try:
        path.write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise InputError(path, problem, "choose another file for --json") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medr1_lib data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    make = commands.add_parser("build", help="draw PhantomMedVQA")
    make.add_argument("--out", type=Path, required=True, help="folder to make")
    make.add_argument("--seed", type=int, default=0, help="everything follows from it (default 0)")
    make.add_argument(
        "--per-cell",
        type=_positive,
        default=64,
        metavar="N",
        help="test questions per modality and question type; train has four times as many (64)",
    )
    make.add_argument("--leaky", action="store_true", help="let the option texts give answers away")
    make.add_argument(
        "--shortcut",
        type=_share,
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="STRENGTH",
        help="share of train images whose scanner mark gives the answer away (1 if not said)",
    )

    bring = commands.add_parser("import", help="import OmniMedVQA, or data laid out like it")
    bring.add_argument("--root", type=Path, required=True, help="folder or zip with the images")
    bring.add_argument("--splits", type=Path, help="folder or zip with Med-R1's Splits/")
    bring.add_argument(
        "--by",
        choices=("modality", "question_type"),
        default="modality",
        help="which of the two released splits (default: modality)",
    )
    bring.add_argument("--out", type=Path, required=True, help="folder to make")
    bring.add_argument(
        "--size", type=_positive, default=SIDE, metavar="PX", help=f"longest side ({SIDE})"
    )

    look = commands.add_parser("audit", help="leakage, duplicates and image-blind baselines")
    look.add_argument("data", type=Path, nargs="?", help="folder made by build or import")
    look.add_argument("--splits", type=Path, help="instead: Med-R1's Splits/, text only")
    for command in (make, bring, look):
        command.add_argument("--json", type=Path, metavar="FILE", help="write the report here too")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} does not lie between 0 and 1")
    return share


def _written(report: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in report["records"].items())
    return f"{report['out']}: {counts}"


def _skipped_table(skipped: list[dict[str, str]]) -> str:
    if not skipped:
        return "nothing was skipped"
    width = max(len(entry["where"]) for entry in skipped[:SHOWN])
    lines = [f"{entry['where']:<{width}}  {entry['problem']}" for entry in skipped[:SHOWN]]
    if len(skipped) > SHOWN:
        lines.append(f"... and {len(skipped) - SHOWN} more, all of them in card.json")
    return "\n".join([f"skipped {len(skipped)} records:", *lines])


def _audit_table(report: dict[str, Any]) -> str:
    """One line per file: shares in per cent, a dash where nothing can be known."""
    heads = ("n", "guess", "letter", "text", "ratio", "+stem", "hard", "solved", "leak", "near")
    width = max(len(path) for path in report["files"])
    lines = [" " * width + "".join(f"{head:>8}" for head in heads) + "  fitted on"]
    for path, found in report["files"].items():
        baselines = "".join(map(_percent, found["baselines"].values()))
        hard = f"{found['hard']['records']:>8}{_percent(found['hard']['option_ratio'])}"
        overlap = _percent(found["leak_share"]) + _percent(found["near_duplicate_share"])
        line = f"{path:<{width}}{found['records']:>8}{baselines}{hard}{overlap}"
        lines.append(f"{line}  {found['fitted_on']}")
    return "\n".join([*lines, f"{report['records']} records; shares in %"])


def _percent(share: float | None) -> str:
    return f"{'-':>8}" if share is None else f"{100 * share:>8.1f}"
