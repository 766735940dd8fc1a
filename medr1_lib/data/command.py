"""`python -m medr1_lib data build|import|audit`: make, bring in or look over a data set."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medr1_lib.arguments import positive, share
from medr1_lib.data import audit_report, importing
from medr1_lib.data.archive import opened
from medr1_lib.data.images import SIDE
from medr1_lib.files import check_writable, write_json

SHOWN = 20  # skipped records printed; all of them are in card.json and in the --json file


def main(arguments: list[str]) -> int:
    """Run one of the commands, print its report and write it where `--json` says."""
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

    named = ("seed", "per_cell", "leaky", "shortcut", "mark")
    splits = phantom_vqa.build(options.out, **{name: getattr(options, name) for name in named})
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
        report = audit_report.of_data_set(options.data)
    else:
        with opened(options.splits) as source:
            report = audit_report.of_splits(source)
    return audit_report.table(report), report


COMMANDS: dict[str, Callable[[argparse.Namespace], tuple[str, dict[str, Any]]]] = {
    "build": build,
    "import": import_,
    "audit": audit_,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medr1_lib data", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _build_options(commands.add_parser("build", help="draw PhantomMedVQA"))
    _import_options(commands.add_parser("import", help="import OmniMedVQA, or data laid out so"))
    _audit_options(commands.add_parser("audit", help="leakage and image-blind baselines"))
    for command in commands.choices.values():
        command.add_argument("--json", type=Path, metavar="FILE", help="write the report here too")
    return parser


def _build_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    add("--seed", type=int, default=0, metavar="S", help="everything follows from it (default 0)")
    per_cell = "test questions per modality and question type; train has four times as many (64)"
    add("--per-cell", type=positive, default=64, metavar="N", help=per_cell)
    add("--leaky", action="store_true", help="let the option texts give the answers away")
    add(
        "--shortcut",
        type=share,
        nargs="?",
        const=1.0,
        default=0.0,
        metavar="STRENGTH",
        help="share of train images whose scanner mark gives the answer away (1 if not said)",
    )
    mark = "scanner mark of the test images (random); reversed: always that of another option"
    add("--mark", choices=("random", "absent", "reversed"), default="random", help=mark)


def _import_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--root", type=Path, required=True, metavar="DIR|ZIP", help="where the images are")
    add("--splits", type=Path, metavar="DIR|ZIP", help="Med-R1's Splits/, else QA_information/")
    by = "which of the two released splits (default: modality)"
    add("--by", choices=("modality", "question_type"), default="modality", help=by)
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    add("--size", type=positive, default=SIDE, metavar="PX", help=f"longest side ({SIDE})")


def _audit_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", type=Path, nargs="?", metavar="DIR", help="data set made by build or import")
    add("--splits", type=Path, metavar="DIR|ZIP", help="instead: Med-R1's Splits/, text only")


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
