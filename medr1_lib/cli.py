"""The commands of the library: `python -m medr1_lib doctor|progress|data|train|...`.

A command imports what it needs when it runs. So `--help` and the doctor start at once, and the
doctor works where other packages are broken.
"""

import _thread
import argparse
import io
import logging
import math
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medr1_lib.errors import InputError
from medr1_lib.files import check_writable, one_writer, write_json

if TYPE_CHECKING:
    from pandas import DataFrame

# Else it complains of a missing kernel when it is imported; before any module that imports it.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

Report = dict[str, Any]
Number = Callable[[str], float]  # reads one from a text, as `int` and `float` do
THREADS_HELP = "CPU threads; one is the fastest for the tiny model on a busy machine"
NOT_CLINICAL = "teaching and research; not for clinical use"


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 found a problem, 2 bad input."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_usage())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"error: no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    return exit_status(COMMANDS[name][0], rest)


def exit_status(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; bad input is one line on stderr. The tools and benchmarks use it too."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a code page may lack letters of a help text
        sys.stdout.reconfigure(errors="replace")
    sys.unraisablehook = _press_again
    try:
        return command(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # of a path that the system refuses, whatever the command wanted there
        problem, where = error.strerror or str(error), error.filename or arguments[0]
        print(f"error: {InputError(where, problem, 'choose another path')}", file=sys.stderr)
        return 2
    finally:
        sys.unraisablehook = sys.__unraisablehook__


def _press_again(error: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C in a destructor, which Python would only print, comes again a moment later."""
    if issubclass(error.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(error)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "usage: python -m medr1_lib <command> [--help]\n\n" + "\n".join(lines)


# ---- what options share: types for argparse's `type=`, and kinds of argument ----


def _number(kind: Number, low: float, high: float, problem: str) -> Number:
    """A type for argparse: numbers from `low` to `high`; of any other the `problem` is told."""

    def read(text: str) -> float:
        number = kind(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{text} {problem}")
        return number

    read.__name__ = kind.__name__  # argparse tells it of a text that is no number
    return read


positive = _number(int, 1, math.inf, "is not a positive number")
natural = _number(int, 0, math.inf, "is below zero")  # such as the seed of numpy's generators
share = _number(float, 0, 1, "does not lie between 0 and 1")
FOLDER: dict[str, Any] = {"type": Path, "metavar": "DIR"}
ZIPPED: dict[str, Any] = {"type": Path, "metavar": "DIR|ZIP"}
FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}
COUNT: dict[str, Any] = {"type": positive, "metavar": "N"}


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"python -m medr1_lib {command}", description=description)


def doctor(arguments: list[str]) -> int:
    """Print what was looked at and the tiers that can run; 1 if the laptop tier cannot."""
    from medr1_lib.course import doctor

    parser = _parser("doctor", "What this machine can run, item by item.")
    parser.add_argument("--json", **FILE, help="also write what is printed here")
    options = parser.parse_args(arguments)
    items = doctor.examine()
    tiers = doctor.runnable(items)
    for item in items:
        print(f"{item.status:<4}  {item.name}: {item.detail}")
    print(f"\nTiers that this machine can run: {', '.join(tiers) or 'none'}")
    if options.json:
        write_json(options.json, {"items": [asdict(item) for item in items], "tiers": tiers})
    return 0 if "laptop" in tiers else 1


def progress(arguments: list[str]) -> int:
    """Print which exercises of the copies that `make lab` opened are solved."""
    from medr1_lib.course import doctor, tiers
    from medr1_lib.course.progress import report

    parser = _parser("progress", "Which exercises are solved, as last run and saved.")
    about = f"folder of your copies ({tiers.WORK})"
    parser.add_argument("--work", **FOLDER, default=doctor.HERE / tiers.WORK, help=about)
    print("\n".join(report(parser.parse_args(arguments).work)))
    return 0


EXPORTS = ("vlmevalkit", "lmms-eval", "inspect", "parquet", "jsonl")
SHOWN = 20  # records printed; all of them are in card.json and in the --json file


def data(arguments: list[str]) -> int:
    """Build, import or audit a data set, print the report and write it where `--json` says."""
    from medr1_lib.data.question import DOMAINS

    parser = _parser("data", "Make a data set, bring one in, or look one over.")
    commands = parser.add_subparsers(dest="command", required=True)

    add = commands.add_parser("build", help="draw PhantomMedVQA").add_argument
    add("--out", **FOLDER, required=True, help="folder to make")
    add("--seed", type=int, default=0, metavar="S", help="everything follows from it (default 0)")
    about = "test questions per modality and type, train 4x (64)"
    add("--per-cell", **COUNT, default=64, help=about)
    about = "medical, or general: everyday drawings (medical)"
    add("--domain", choices=DOMAINS, default="medical", help=about)
    add("--leaky", action="store_true", help="let the option texts give the answers away")
    about = "share of train images whose scanner mark gives the answer away (1 if not said)"
    add("--shortcut", type=share, nargs="?", const=1.0, default=0.0, metavar="STRENGTH", help=about)
    about = "scanner mark of the test images (random); reversed: always that of another option"
    add("--mark", choices=("random", "absent", "reversed"), default="random", help=about)

    about = "import a table of your own, or OmniMedVQA"
    told = f"{about}; exit status 1: some records were skipped, 2: nothing was written"
    _import_options(commands.add_parser("import", help=about, description=told).add_argument)

    add = commands.add_parser("export", help="a data set, or answers, for others").add_argument
    add("folder", **FOLDER, help="data set, or folder of an evaluation")
    add("--to", choices=EXPORTS, required=True, help="who is to read it")
    add("--out", **FOLDER, required=True, help="folder to make; its name is theirs for the data")
    add("--split", default="test", help="of a data set (test)")

    add = commands.add_parser("audit", help="leakage and image-blind baselines").add_argument
    add("data", **FOLDER, nargs="?", help="data set made by build or import")
    add("--splits", **ZIPPED, help="instead: Med-R1's Splits/, text only")
    add("--pairs", **FILE, help="write which images or patients are on both sides, as CSV")

    for command in commands.choices.values():
        command.add_argument("--json", **FILE, help="write the report here too")
    options = parser.parse_args(arguments)
    if options.command == "audit" and (options.data is None) == (options.splits is None):
        parser.error("audit takes either the folder of a data set or --splits DIR")
    if options.command == "audit" and options.pairs:
        if not options.data:
            parser.error("--pairs takes the folder of a data set")
        check_writable(options.pairs)
    if options.command == "import" and not (options.table or options.root):
        parser.error("import takes --table FILE, --root DIR|ZIP or both")
    if options.json:
        check_writable(options.json)
    work = {"build": _build, "import": _import, "audit": _audit, "export": _export}
    text, report = work[options.command](options)
    print(text)
    if options.json:
        write_json(options.json, report)
    return 1 if report.get("skipped") else 0


def _import_options(add: Callable[..., Any]) -> None:
    from medr1_lib.data.images import SIDE

    about = "csv, tsv, json, jsonl, parquet; a folder of pictures by label; one that datasets saved"
    add("--table", type=Path, metavar="FILE|DIR", help=about)
    add("--root", **ZIPPED, help="where the images are (beside the table)")
    about = "what the table calls image, question, answer, choices, label, patient, split, ..."
    add("--columns", type=_pairs, default={}, metavar="image=NAME,...", help=about)
    add("--modality", default="unknown", metavar="NAME", help="of rows that name none (unknown)")
    add("--question", default="", metavar="TEXT", help="what is asked of labels")
    add("--splits", **ZIPPED, help="Med-R1's Splits/, else QA_information/; without --table")
    about = "which of the two released splits (default: modality)"
    add("--by", choices=("modality", "question_type"), default="modality", help=about)
    add("--out", **FOLDER, required=True, help="folder to make")
    add("--size", type=positive, default=SIDE, metavar="PX", help=f"longest side ({SIDE})")
    about = "grey window, as 40,400 for CT, of images of more than 8 bits (that of the file)"
    add("--window", type=_window, metavar="C,W", help=about)
    for name, about in {
        "strict": "write nothing if a record is bad, instead of skipping it",
        "allow-leaks": "let a given split have a patient or an image on both sides",
        "drop-leaks": "leave those of train out",
        "again": "replace what an import wrote there; images already converted are kept",
    }.items():
        add(f"--{name}", action="store_true", help=about)


def _pairs(text: str) -> dict[str, str]:
    """A type for argparse: `image=Figure_path,label=dx`."""
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name and column for name, _, column in pairs):
        raise argparse.ArgumentTypeError(f"{text} is not of the form image=NAME,label=NAME")
    return {name.strip(): column for name, _, column in pairs}


def _window(text: str) -> tuple[float, float]:
    """A type for argparse: centre and width as the limits of black and white."""
    centre, _, width = text.partition(",")
    try:
        low, high = (float(centre) + side * float(width) / 2 for side in (-1, 1))
    except ValueError:
        low = high = math.nan
    if not low < high < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is no centre and width, such as 40,400")
    return low, high


def _build(options: argparse.Namespace) -> tuple[str, Report]:
    from medr1_lib.data import phantom_vqa

    named = ("seed", "per_cell", "leaky", "shortcut", "mark", "domain")
    splits = phantom_vqa.build(options.out, **{name: getattr(options, name) for name in named})
    report = {"out": str(options.out), "records": dict(splits.num_rows)}
    return _written(report), report


def _import(options: argparse.Namespace) -> tuple[str, Report]:
    from medr1_lib.data import audit, omnimedvqa, tables
    from medr1_lib.data.importing import Settings

    named = ("strict", "allow_leaks", "drop_leaks", "again")
    flags = {name: getattr(options, name) for name in named}
    settings = Settings(options.size, options.window, **flags)
    if options.table:
        beside = options.table if options.table.is_dir() else options.table.parent
        root = options.root or beside
        how = options.columns, options.modality, options.question
        done = tables.import_data(options.table, root, options.out, *how, settings)
    else:
        given = options.root, options.out, options.splits, options.by
        done = omnimedvqa.import_data(*given, settings)
    audited = audit.of_data_set(options.out)
    report = {"out": str(options.out), **done, "audit": audited}
    lines = [_written(report)]
    for name, told in IMPORT_SHOWN.items():
        if found := done.get(name):
            count = found if isinstance(found, int) else len(found)
            lines.append(f"{count} {told}")
            lines += _shown(found if isinstance(found, list) else [])
    if not done["skipped"]:
        lines.append("nothing was skipped")
    return "\n".join([*lines, "", audit.table(audited)]), report


# what an import did to some records, and how it is told
IMPORT_SHOWN = {
    "skipped": "records skipped; mend them and repeat the command with --again:",
    "open_questions": "questions left out, whose answers are free text",
    "dropped_leaks": "records left out, of a patient or an image on both sides",
    "suspicious": "pictures with hardly any contrast; look at them, a --window may help:",
    "one_sided": "right answers that only one side has, of which no score can speak:",
}


def _shown(found: list[Any]) -> list[str]:
    told = (one if isinstance(one, dict) else {"where": one, "problem": ""} for one in found)
    pairs = [(one["where"], one["problem"]) for one in told]
    width = max((len(where) for where, _ in pairs[:SHOWN]), default=0)
    lines = [f"  {where:<{width}}  {problem}".rstrip() for where, problem in pairs[:SHOWN]]
    more = len(found) - SHOWN
    return [*lines, f"  ... and {more} more, all of them in card.json"] if more > 0 else lines


def _audit(options: argparse.Namespace) -> tuple[str, Report]:
    import csv

    from medr1_lib.data import audit
    from medr1_lib.data.source import opened

    if options.data:
        report = audit.of_data_set(options.data)
    else:
        with opened(options.splits) as source:
            report = audit.of_splits(source)
    if options.pairs:
        with options.pairs.open("w", encoding="utf-8", newline="") as file:
            found = [audit.PAIR, *audit.pairs(options.data)]
            csv.writer(file, lineterminator="\n").writerows(found)
    bad = report.get("skipped", ())
    skipped = [f"{len(bad)} records skipped", *_shown(bad)] if bad else []
    return "\n".join([audit.table(report), *skipped]), report


def _export(options: argparse.Namespace) -> tuple[str, Report]:
    from medr1_lib.evaluation.export import export

    made = export(options.folder, options.to, options.out, options.split)
    shown = [name for name in made if not name.startswith("images/")]
    return f"{options.out}: {', '.join(shown)}", {"out": str(options.out), "files": made}


def _written(report: Report) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in report["records"].items())
    return f"{report['out']}: {counts}"


TRAIN_USAGE = """\
`python -m medr1_lib train {grpo,sft}`: train an adapter into a folder of its own.

usage: python -m medr1_lib train {grpo,sft} --recipe RECIPE --out DIR [any setting]

RECIPE is a YAML file or the name of a preset. Every field of TRL's GRPOConfig (or SFTConfig) is a
setting, in the file or as a flag; `train grpo --help` lists them.
"""
TRAIN_OPTIONS: dict[str, dict[str, Any]] = {
    "recipe": {"metavar": "RECIPE", "help": "YAML file or preset; with --resume not needed"},
    "out": FOLDER | {"help": "folder of the run"},
    "resume": {"action": "store_true", "help": "go on with the run in that folder"},
    "force": {"action": "store_true", "help": "train even on a dead signal"},
    "threads": COUNT | {"help": THREADS_HELP},
}


def train(arguments: list[str]) -> int:
    """Train, with a line of progress, and say what came out.

    The same command with `--resume` goes on where an interrupted one stopped.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        files = (Path(__file__).parent / "rl" / "recipes").glob("*.yaml")
        print(f"{TRAIN_USAGE}\nPresets: {', '.join(sorted(path.stem for path in files))}")
        return 0
    if "LOCAL_RANK" not in os.environ:  # not started by torchrun: one process, and so one GPU
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = first
    import torch
    from accelerate import PartialState

    from medr1_lib.rl.recipe import CONFIGS, RecipeParser, load_recipe, presets
    from medr1_lib.rl.run import COLUMNS, recipe_in
    from medr1_lib.rl.train import Progress, train

    method, *rest = arguments
    if method not in CONFIGS:
        raise InputError("train", f"no method {method!r}", f"use {' or '.join(CONFIGS)}")
    parser = RecipeParser(method)
    for name, settings in TRAIN_OPTIONS.items():
        parser.add_argument(f"--{name}", **settings)
    given = parser.flags(rest)
    own = {name: given.pop(name) for name in TRAIN_OPTIONS if name in given}
    if "out" not in own:
        raise InputError("train", "no --out", "name a folder for the run")
    if "threads" in own:
        torch.set_num_threads(own["threads"])
    resume, force = own.get("resume", False), own.get("force", False)
    if "recipe" in own:
        recipe = load_recipe(own["recipe"], **given)
    elif resume:
        recipe = recipe_in(own["out"]).replace(**given)
    else:
        remedy = f"give a YAML file or one of {', '.join(presets())}"
        raise InputError("train", "no --recipe", remedy)
    if recipe.method != method:
        problem = f"is a recipe for {recipe.method}, not for {method}"
        raise InputError(own.get("recipe", own["out"]), problem, f"use `train {recipe.method}`")
    run = train(recipe, own["out"], resume, force, [Progress()])
    if PartialState().is_main_process:
        last = run.log.tail(10).mean().dropna()
        found = ", ".join(f"{name} {last[name]:.3g}" for name in COLUMNS[method] if name in last)
        minutes = run.log["seconds"].sum() / 60
        print(f"\n{len(run.log)} steps in {minutes:.1f} minutes; mean of the last ones: {found}")
        print(f"adapter: {run.adapter}")
    return 0


def evaluate(arguments: list[str]) -> int:
    """Evaluate, print the tables and write the report where `--json` says.

    The same command on the same folder goes on where an interrupted one stopped.
    """
    from medr1_lib.data.question import CIRCULAR, CONTROLS
    from medr1_lib.data.styles import STYLES

    parser = _parser("evaluate", "Score a model, or answers that it gave elsewhere, on a split.")
    add = parser.add_argument
    whose = parser.add_mutually_exclusive_group(required=True).add_argument
    whose("--model", **FOLDER, help="ask a Qwen2-VL, or an adapter of one, greedily")
    about = "score a table of answers: csv, tsv, jsonl or parquet with id (or index) and prediction"
    whose("--answers", **FILE, help=about)
    add("--data", **FOLDER, required=True, help="data set made by build or import")
    add("--out", **FOLDER, help="folder for records and card; needed with --model")
    add("--split", default="test", help="train to see how much was learned by heart (test)")
    about = "one or more reasoning styles; needed with --model"
    add("--style", nargs="+", choices=STYLES, help=about)
    about = "ask again with a grey image, another of the modality, no image; turned options"
    add("--controls", nargs="*", choices=(*CONTROLS, CIRCULAR), default=[], help=about)
    add("--compare", **FOLDER, help="pair the answers with those of this evaluation, item by item")
    add("--limit", **COUNT, help="N questions drawn at random instead of all")
    add("--seed", type=natural, default=0, metavar="S", help="of that draw and of shuffled (0)")
    add("--batch-size", **COUNT, default=64, help="questions at once (64)")
    add("--max-new-tokens", **COUNT, default=256, help="longest reply (256)")
    add("--threads", **COUNT, help=THREADS_HELP)
    kept = "store the language model in 4 bits, or not (as an adapter was trained, else none)"
    add("--quantize", choices=("nf4", "none"), help=kept)
    add("--device", metavar="DEVICE", help="cpu, cuda, or auto: spread over all GPUs")
    add("--json", **FILE, help="write the report here too, with several styles one under each name")
    options = parser.parse_args(arguments)
    missing = [name for name in ("--style", "--out") if not getattr(options, name[2:])]
    if options.model and missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    if options.json:
        check_writable(options.json)
    other = _other(options.compare) if options.compare else None
    report = _report(_asked(options) if options.model else _outside(options), other, options)
    if options.json:
        write_json(options.json, next(iter(report.values())) if len(report) == 1 else report)
    return 0


def _other(folder: Path) -> "DataFrame":
    from medr1_lib.analysis.recorded import ANSWERS, read_table
    from medr1_lib.analysis.stats import ITEM

    return read_table(folder / ANSWERS, [*ITEM, "style", "control", "correct"], "evaluate it again")


def _report(records: "DataFrame", other: "DataFrame | None", options: argparse.Namespace) -> Report:
    """The summary of every style, printed as well."""
    from medr1_lib.analysis.profile import profile, profile_text
    from medr1_lib.analysis.stats import compare, summary, summary_table
    from medr1_lib.data import dataset
    from medr1_lib.evaluation.outside import OUTSIDE

    report: Report = {}
    known = dataset.images_behind(options.data)
    patients = [known.get(name, {}).get("patient", "") for name in records["image_id"]]
    for key, replies in records.assign(patient=patients).groupby("style", sort=False):
        style = str(key)
        report[style] = summary(replies) | profile(replies)
        print(f"\n{options.model or options.answers}, {style}:\n{summary_table(report[style])}")
        print("unread: replies that name no option; they count as wrong")
        print(profile_text(report[style]))
        real = replies[replies["control"] == "none"]
        for named, answers in () if other is None else other.groupby("style", sort=False):
            name = str(named)
            if name == style or OUTSIDE in (name, style):
                pair = compare(answers[answers["control"] == "none"], real)
                low, high = (100 * end for end in pair.interval)
                gap = f"{100 * pair.difference:+.1f} points [{low:+.1f}, {high:+.1f}]"
                print(f"against {options.compare}, {name}: {gap}, p = {pair.p:.2g}, n = {pair.n}")
                report[style].setdefault("compared", {})[name] = asdict(pair)
    return report


def _outside(options: argparse.Namespace) -> "DataFrame":
    """The answers in a table, and a line about those that are missing."""
    import pandas as pd

    from medr1_lib.evaluation.answers import AnswerLog
    from medr1_lib.evaluation.items import EvalSet
    from medr1_lib.evaluation.outside import outside_answers

    items = EvalSet(options.data, options.split)
    found, missing = outside_answers(options.answers, items.questions)
    share = f"{missing} of {len(found)} answers are missing ({missing / len(found):.1%})"
    print(f"{share}; they count as wrong and as unread")
    if options.out:
        answers = sha256(options.answers.read_bytes()).hexdigest()
        determines = {"answers_sha256": answers, "data_sha256": items.sha256}
        notes = {"answers": str(options.answers), "data": f"{options.data}, {options.split}"}
        with one_writer(options.out):
            log = AnswerLog(options.out, determines, notes | {"use": NOT_CLINICAL})
            log.add(found)
            return log.finish({"finished": time.strftime("%Y-%m-%d")})
    return pd.DataFrame([asdict(answer) for answer in found])


def _asked(options: argparse.Namespace) -> "DataFrame":
    """The answers of a model, all that were not given yet asked for now."""
    import torch

    from medr1_lib.evaluation.answers import AnswerLog, fingerprint
    from medr1_lib.evaluation.evaluate import Settings, evaluate
    from medr1_lib.evaluation.items import EvalSet
    from medr1_lib.model.loading import load_policy, quantize_in_training

    trained_so = quantize_in_training(options.model) if options.quantize is None else None
    quantize = trained_so or ("nf4" if options.quantize == "nf4" else None)
    if trained_so:
        print(f"base in {trained_so}, as the adapter was trained (--quantize none: whole)")
    if options.threads:
        torch.set_num_threads(options.threads)
    asked = tuple(dict.fromkeys(options.style)), tuple(dict.fromkeys(options.controls))
    settings = Settings(*asked, options.limit, options.seed, options.max_new_tokens)
    items = EvalSet(options.data, options.split)
    items.prompts(*asked, options.limit, options.seed)  # what cannot be asked is refused now
    determines = asdict(settings) | {"styles": [*asked[0]], "controls": [*asked[1]]}
    determines |= {"quantize": quantize, "decoding": "greedy", "data_sha256": items.sha256}
    determines["model_sha256"] = fingerprint(options.model)
    with one_writer(options.out):
        # Before the model is loaded, so that a folder in use is refused at once.
        log = AnswerLog(options.out, determines, _notes(options))
        model, processor = load_policy(options.model, quantize, options.device)
        start = time.perf_counter()
        try:
            evaluate(model, processor, items, log, settings, options.batch_size)
        except torch.OutOfMemoryError as error:
            where = f"--batch-size {options.batch_size}"
            remedy = "choose a smaller one; the same command goes on from here"
            raise InputError(where, "the GPU's memory is full", remedy) from error
        seconds = time.perf_counter() - start
        return log.finish({"seconds": round(seconds, 1), "finished": time.strftime("%Y-%m-%d")})


def _notes(options: argparse.Namespace) -> Report:
    """What the card of an evaluation tells beside all that its answers depend on."""
    import torch
    import transformers

    from medr1_lib.provenance import hardware

    return {
        "model": str(options.model),
        "data": f"{options.data}, {options.split}",
        "hardware": hardware(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "batch_size": options.batch_size,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "use": NOT_CLINICAL,
    }


def ask(arguments: list[str]) -> int:
    """Ask about one picture; print the reply, its letter and the probability of each letter."""
    from medr1_lib.data.styles import STYLES

    parser = _parser("ask", f"Ask a model about one picture ({NOT_CLINICAL}).")
    add = parser.add_argument
    add("--model", **FOLDER, required=True, help="a Qwen2-VL, or an adapter of one")
    add("--image", **FILE, required=True, help="PNG, JPEG, TIFF, BMP or DICOM")
    add("--question", required=True, metavar="TEXT", help="the question, without its options")
    add("--options", nargs="+", required=True, metavar="TEXT", help="two to eight answers")
    add("--style", choices=STYLES, default="no_think", help="a reasoning style (no_think)")
    add("--max-new-tokens", **COUNT, default=256, help="longest reply (256)")
    add("--quantize", choices=("nf4",), help="load the language model in 4 bits")
    options = parser.parse_args(arguments)

    from medr1_lib.data import images, styles
    from medr1_lib.data.question import Question
    from medr1_lib.evaluation.ask import Asker
    from medr1_lib.evaluation.evaluate import forced_probs
    from medr1_lib.model.loading import load_policy, quantize_in_training

    texts = (options.question, tuple(options.options), "A")  # which is right is not known
    question = Question(*texts, "unknown", "unknown", options.image.name, "asked")
    image = images.load(options.image)
    quantize = options.quantize or quantize_in_training(options.model)
    asker = Asker(*load_policy(options.model, quantize), options.max_new_tokens)
    chat = asker.question_chat(question, options.style)
    (reply,) = asker.reply([chat], [image])
    opened = [chat + styles.before_letter(reply, options.style)]
    probs = forced_probs(asker.model, asker.processor, opened, [image], question.letters)[0]
    print(f"reply: {reply}\nread as: {styles.read(reply, question.options) or 'no option'}")
    for letter, text, prob in zip(question.letters, question.options, probs, strict=True):
        print(f"{prob:6.1%}  {letter}) {text}")
    print(f"{1 - probs.sum():6.1%}  anything else in that place; {NOT_CLINICAL}")
    return 0


def merge(arguments: list[str]) -> int:
    """Write an adapter and its base as one model, and say how it was trained."""
    parser = _parser("merge", "Write an adapter and its base as one model, in float32.")
    parser.add_argument("--model", **FOLDER, required=True, help="the adapter/ of a run")
    parser.add_argument("--out", **FOLDER, required=True, help="folder to make")
    options = parser.parse_args(arguments)

    from medr1_lib.model.loading import merge, quantize_in_training

    merge(options.model, options.out)
    print(f"{options.out}: one model")
    if quantize_in_training(options.model):
        print("trained beside a base in 4 bits: evaluate it again, the whole base is another one")
    return 0


def sweep(arguments: list[str]) -> int:
    """Train and score what is not done yet, and say what failed; 1 if anything did.

    The same command goes on where an interrupted one stopped, and tries failed jobs again.
    """
    parser = _parser("sweep", "Train and score every model of a plan, here or on a cluster.")
    add = parser.add_argument
    add("--plan", **FILE, required=True, help="YAML; see benchmarks/plans")
    add("--out", **FOLDER, required=True, help="a folder for each model goes here")
    add("--executor", choices=("local", "slurm"), default="local", help="here or by sbatch (local)")
    add("--jobs", **COUNT, default=1, help="models at the same time (1)")
    add("--record", **FOLDER, help="gather all answers for tools.report")
    options = parser.parse_args(arguments)

    from medr1_lib.evaluation.sweep import Plan, record, sweep

    plan = Plan.read(options.plan)
    missing = sweep(plan, options.out, options.executor, options.jobs)
    for name, error in missing.items():
        told = error.strip().splitlines()[-1] if error else "not reached; look into jobs/"
        print(f"{options.out / name}: {told}", file=sys.stderr)
    done = [options.out / job.name for job in plan.jobs() if job.name not in missing]
    print(f"{len(done)} of {len(done) + len(missing)} models are trained and scored")
    if options.record and done:
        notes = {
            "command": shlex.join(["python", "-m", "medr1_lib", *sys.argv[1:]]),
            "plan": options.plan.read_text(encoding="utf-8"),
            "data": plan.data,
            "jobs": options.jobs,
            "missing_models": len(missing),
            "recorded": time.strftime("%Y-%m-%d"),
            "use": NOT_CLINICAL,
        }
        record(done, options.record, notes)
        print(f"recorded in {options.record}")
    return 1 if missing else 0


# command: (what runs it, what it does)
COMMANDS: dict[str, tuple[Callable[[list[str]], int], str]] = {
    "doctor": (doctor, "say what this machine can run"),
    "progress": (progress, "say which exercises of your copies are solved"),
    "data": (data, "build phantoms, import real data, audit or export either"),
    "train": (train, "train by GRPO or by supervised fine-tuning"),
    "evaluate": (evaluate, "score a model, or answers given elsewhere, on a test split"),
    "ask": (ask, "ask about one picture"),
    "merge": (merge, "write an adapter and its base as one model"),
    "sweep": (sweep, "train and score a plan of many models"),
}
