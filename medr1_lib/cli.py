"""The commands of the library: `python -m medr1_lib doctor|progress|data|train|...`.

A command imports what it needs when it runs, so that `--help` and the doctor start at once.
"""

import _thread
import argparse
import io
import math
import os
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medr1_lib.errors import InputError
from medr1_lib.files import check_writable, one_writer, sha256, write_json

if TYPE_CHECKING:
    from pandas import DataFrame

Report = dict[str, Any]
NOT_CLINICAL = "teaching and research; not for clinical use"


def main(arguments: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 found a problem, 2 bad input."""
    name, *rest = arguments or ["--help"]
    return exit_status(COMMANDS[name], rest) if name in COMMANDS else exit_status(_help, [name])


def exit_status(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    """Run a command; bad input is one line on stderr. The tools and benchmarks use it too."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # letters may lack; a full disk is met at once
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    sys.unraisablehook = _press_again
    try:
        return command(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if find_spec(str(error.name).partition(".")[0]):
            raise  # a module of a package that is there
        told = f"lacks the package {error.name}", "activate the environment that `make setup` made"
        print(f"error: {InputError(sys.executable, *told)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` for example, has closed the pipe
        return 141  # as a shell says of what ends so; it may have had more to do
    except OSError as error:  # of a path that the system refuses, whatever the command wanted there
        problem, where = error.strerror or str(error), error.filename or "a file or stdout"
        print(f"error: {InputError(where, problem, 'choose another path')}", file=sys.stderr)
        return 2
    finally:
        sys.unraisablehook = sys.__unraisablehook__
        try:
            print(end="", flush=True)
        except OSError:  # what stdout did not take would be tried again when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _press_again(error: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C in a destructor, which Python would only print, comes again a moment later."""
    if issubclass(error.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(error)


def _help(arguments: list[str]) -> int:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {TEXTS[name]['about']}" for name in COMMANDS]
    usage = "usage: python -m medr1_lib <command> [--help]\n\n" + "\n".join(lines)
    if arguments[0] in {"-h", "--help"}:
        print(usage)
        return 0
    print(f"error: no command {arguments[0]!r}\n\n{usage}", file=sys.stderr)
    return 2


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number that is not smaller."""

    def number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is below {least}")
        return int(text)

    return number


def _pairs(text: str) -> dict[str, str]:
    """A type for argparse: `image=Figure_path,label=dx`."""
    pairs = [part.partition("=") for part in text.split(",") if text]
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


TYPES: dict[str | None, Callable[[str], Any]] = {
    **dict.fromkeys(("DIR", "FILE", "DIR|ZIP", "FILE|DIR"), Path),
    **{"N": at_least(1), "PX": at_least(1), "S": at_least(0), "SEED": int},
    **{"STRENGTH": float, "SHARE": float, "image=NAME,...": _pairs, "C,W": _window},
}
TEXTS = tomllib.loads(Path(__file__).with_name("commands.toml").read_text(encoding="utf-8"))
OPTIONS: dict[str, dict[str, Any]] = {name: TEXTS[name].get("options", {}) for name in TEXTS}


def _add(parser: argparse._ActionsContainer, command: str) -> None:
    for name, settings in OPTIONS[command].items():
        kind = TYPES.get(settings.get("metavar"))
        typed: dict[str, Any] = {"type": kind} if kind else {}
        parser.add_argument(name, **settings, **typed)


def _parser(command: str) -> argparse.ArgumentParser:
    what = f"{TEXTS[command]['about']}."
    parser = argparse.ArgumentParser(prog=f"python -m medr1_lib {command}", description=what)
    _add(parser, command)
    return parser


def doctor(arguments: list[str]) -> int:
    """Print what was looked at and the tiers that can run; 1 if the laptop tier cannot."""
    from medr1_lib.course import doctor

    options = _parser("doctor").parse_args(arguments)
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
    from medr1_lib.course import checks, doctor, tiers

    options = _parser("progress").parse_args(arguments)
    print("\n".join(checks.report(options.work or doctor.HERE / tiers.WORK)))
    return 0


SHOWN = 20  # records printed; all of them are in card.json and in the --json file


def data(arguments: list[str]) -> int:
    """Build, import or audit a data set, print the report and write it where `--json` says."""
    parser = _parser("data")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in DATA:
        what = TEXTS[f"data {name}"]["about"]
        command = commands.add_parser(name, help=what, description=what)
        _add(command, f"data {name}")
        command.add_argument("--json", type=Path, metavar="FILE", help="write the report here too")
    options = parser.parse_args(arguments)
    if options.command == "audit" and (options.data is None) == (options.splits is None):
        parser.error("audit takes either the folder of a data set or --splits DIR")
    if options.command == "audit" and options.pairs and not options.data:
        parser.error("--pairs takes the folder of a data set")
    if options.command == "import" and not (options.table or options.root):
        parser.error("import takes --table FILE, --root DIR|ZIP or both")
    if options.command == "import" and options.table and options.splits:
        parser.error("--splits goes with --root, not with --table")
    for written in filter(None, (options.json, getattr(options, "pairs", None))):
        check_writable(written)
    text, report = DATA[options.command](options)
    if options.json:
        write_json(options.json, report)
    print(text)  # last, for stdout may be closed or full
    return 1 if report.get("skipped") else 0


def _named(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _build(options: argparse.Namespace) -> tuple[str, Report]:
    from medr1_lib.data import phantom_vqa

    given = _named(options, "seed", "per_cell", "leaky", "domain")
    counts = phantom_vqa.build(options.out, **given).num_rows
    return _written(options.out, counts), {"out": str(options.out), "records": counts}


def _import(options: argparse.Namespace) -> tuple[str, Report]:
    from medr1_lib.data import audit, omnimedvqa, tables
    from medr1_lib.data.importing import ImportSettings

    flags = _named(options, "strict", "allow_leaks", "drop_leaks", "again")
    settings = ImportSettings(side=options.size, limits=options.window, **flags)
    if table := options.table:
        root = options.root or (table if table.is_dir() else table.parent)
        given = _named(options, "out", "columns", "modality", "question")
        done = tables.import_data(table, root, **given, settings=settings)
    else:
        given = _named(options, "root", "out", "splits", "by")
        done = omnimedvqa.import_data(**given, settings=settings)
    audited = audit.of_data_set(options.out)
    lines = [f"{_written(options.out, done['records'])} ({done['split_rule']})"]
    for name, what in TEXTS["data import"]["told"].items():
        if found := done.get(name):
            listed = found if isinstance(found, list) else []
            lines += [f"{what}: {len(listed) or found}", *_shown(listed)]
    if not done["skipped"]:
        lines.append("nothing was skipped")
    report = {"out": str(options.out), **done, "audit": audited}
    return "\n".join([*lines, "", audit.table(audited)]), report


def _shown(found: list[Any]) -> list[str]:
    """A line for each, up to `SHOWN`; of a skipped record its place, what is wrong, what to do."""
    told = [str(InputError(**one)) if isinstance(one, dict) else one for one in found]
    more = [f"... and {len(told) - SHOWN} more, all of them in card.json"] * (len(told) > SHOWN)
    return [f"  {one}" for one in [*told[:SHOWN], *more]]


def _audit(options: argparse.Namespace) -> tuple[str, Report]:
    import pandas as pd

    from medr1_lib.data import audit
    from medr1_lib.data.source import opened

    if options.data:
        report = audit.of_data_set(options.data)
    else:
        with opened(options.splits) as source:
            report = audit.of_splits(source)
    if options.pairs:
        found = pd.DataFrame(audit.pairs(options.data), columns=audit.PAIR)
        found.to_csv(options.pairs, index=False)
    bad = report.get("skipped", ())
    skipped = [f"records skipped: {len(bad)}", *_shown(bad)] if bad else []
    return "\n".join([audit.table(report), *skipped]), report


def _export(options: argparse.Namespace) -> tuple[str, Report]:
    from medr1_lib.evaluation.export import export

    made = export(options.folder, options.to, options.out, options.split)
    shown = ", ".join(name for name in made if not name.startswith("images/"))
    return f"{options.out}: {shown}", {"out": str(options.out), "files": made}


def _written(out: Path, records: dict[str, int]) -> str:
    return f"{out}: {', '.join(f'{count} {split}' for split, count in records.items())}"


def train(arguments: list[str]) -> int:
    """Train, with a line of progress, and say what came out; `--resume` goes on."""
    if not arguments or arguments[0] in ("-h", "--help"):
        known = (path.stem for path in (Path(__file__).parent / "rl" / "recipes").glob("*.yaml"))
        print(TEXTS["train"]["usage"], f"Presets: {', '.join(sorted(known))}", sep="\n")
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
    _add(parser, "train")
    given = parser.flags(rest)
    ours = {option.removeprefix("--") for option in OPTIONS["train"]}
    own = {name: value for name, value in given.items() if name in ours}
    given = {name: value for name, value in given.items() if name not in ours}
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
    """Evaluate, or go on with it; print the tables and write the report where `--json` says."""
    parser = _parser("evaluate")
    _add(parser.add_mutually_exclusive_group(required=True), "evaluate: one of")
    options = parser.parse_args(arguments)
    missing = [name for name in ("--style", "--out") if not getattr(options, name[2:])]
    if options.model and missing:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    if options.json:
        check_writable(options.json)

    from medr1_lib.analysis.recorded import ANSWERS, read_table
    from medr1_lib.analysis.stats import ITEM

    other = None
    if options.compare:
        columns = [*ITEM, "style", "control", "correct"]
        other = read_table(options.compare / ANSWERS, columns, "evaluate it again")
    report = _report(_asked(options) if options.model else _outside(options), other, options)
    if options.json:
        write_json(options.json, next(iter(report.values())) if len(report) == 1 else report)
    return 0


def _report(records: "DataFrame", other: "DataFrame | None", options: argparse.Namespace) -> Report:
    from medr1_lib.analysis.reliance import profile, profile_text
    from medr1_lib.analysis.stats import compare, summary, summary_table
    from medr1_lib.data import dataset
    from medr1_lib.evaluation.answers import OUTSIDE

    report: Report = {}
    known = dataset.images_behind(options.data)
    patients = [known.get(name, {}).get("patient", "") for name in records["image_id"]]
    for key, answers in records.assign(patient=patients).groupby("style", sort=False):
        style = str(key)
        real = answers[answers["control"] == "none"]
        report[style] = {"guess": (1 / real["options"].map(len)).mean(), **summary(answers)}
        report[style] |= profile(answers)
        print(f"\n{options.model or options.answers}, {style}:\n{summary_table(report[style])}")
        print(f"guess: {100 * report[style]['guess']:.1f} are right by chance alone")
        print("unread: completions that name no option; they count as wrong")
        print(profile_text(report[style]))
        for name, others in () if other is None else other.groupby("style", sort=False):
            if name == style or OUTSIDE in (name, style):
                pair = compare(others[others["control"] == "none"], real)
                gain, low, high = (100 * one for one in (pair.difference, *pair.interval))
                told = f"{gain:+.1f} points [{low:+.1f}, {high:+.1f}]"
                n = f"n = {pair.n}"
                if pair.effective_n < pair.n:
                    n += f", worth {pair.effective_n:.0f} independent ones"
                print(f"against {options.compare}, {name}: {told}, p = {pair.p:.2g}, {n}")
                report[style].setdefault("compared", {})[name] = asdict(pair)
    if other is not None and not any("compared" in found for found in report.values()):
        raise InputError(options.compare, "has no answers in these styles", "choose another one")
    return report


def _outside(options: argparse.Namespace) -> "DataFrame":
    """The answers in a table, and a line about those that are missing."""
    import pandas as pd

    from medr1_lib.evaluation.answers import AnswerLog, outside_answers
    from medr1_lib.evaluation.items import EvalSet

    items = EvalSet(options.data, options.split)
    found, missing = outside_answers(options.answers, items.questions)
    share = f"{missing} of {len(found)} answers are missing ({missing / len(found):.1%})"
    print(f"{share}; they count as wrong and as unread")
    if options.out:
        determines = {"answers_sha256": sha256(options.answers), "data_sha256": items.sha256}
        notes = {"answers": str(options.answers), "data": f"{options.data}, {options.split}"}
        with one_writer(options.out):
            log = AnswerLog(options.out, determines, notes | {"use": NOT_CLINICAL})
            log.add(found)
            return log.finish({"finished": time.strftime("%Y-%m-%d")})
    return pd.DataFrame([asdict(answer) for answer in found])


def _asked(options: argparse.Namespace) -> "DataFrame":
    """The answers of a model, all that were not given yet asked for now."""
    import torch

    from medr1_lib.evaluation.answers import AnswerLog
    from medr1_lib.evaluation.evaluate import Settings, evaluate
    from medr1_lib.evaluation.items import EvalSet, lone
    from medr1_lib.model.loading import fingerprint, load_policy, quantize_in_training
    from medr1_lib.provenance import environment

    trained_so = quantize_in_training(options.model) if options.quantize is None else None
    quantize = trained_so or ("nf4" if options.quantize == "nf4" else None)
    if trained_so:
        print(f"base in {trained_so}, as the adapter was trained (--quantize none: whole)")
    if options.threads:
        torch.set_num_threads(options.threads)
    styles, controls = (tuple(dict.fromkeys(one)) for one in (options.style, options.controls))
    settings = Settings(styles, controls, options.limit, options.seed, options.max_new_tokens)
    items = EvalSet(options.data, options.split)
    if "shuffled" in controls and (alone := lone(items.questions)):
        print(f"shuffled: left out where a modality has one image only ({', '.join(alone)})")
    determines = asdict(settings) | {"styles": [*styles], "controls": [*controls]}
    determines |= {"quantize": quantize, "decoding": "greedy", "data_sha256": items.sha256}
    determines["model_sha256"] = fingerprint(options.model)
    notes = environment(gpu=True) | {"model": str(options.model), "batch_size": options.batch_size}
    notes |= {"data": f"{options.data}, {options.split}", "use": NOT_CLINICAL}
    with one_writer(options.out):
        # Before the model is loaded, so that a folder in use is refused at once.
        log = AnswerLog(options.out, determines, notes)
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


def ask(arguments: list[str]) -> int:
    """Ask about one image; print the completion, its letter and the probability of each letter."""
    options = _parser("ask").parse_args(arguments)

    from medr1_lib.data import images, styles
    from medr1_lib.data.question import Question
    from medr1_lib.evaluation.ask import Asker
    from medr1_lib.model.loading import load_policy, quantize_in_training

    texts = (options.question, tuple(options.options), "A")  # which is right is not known
    question = Question(*texts, "unknown", "unknown", options.image.name, "asked")
    image = images.load(options.image)
    quantize = options.quantize or quantize_in_training(options.model)
    asker = Asker(*load_policy(options.model, quantize), options.max_new_tokens)
    chat = asker.question_chat(question, options.style)
    (completion,) = asker.complete([chat], [image])
    opened = [chat + styles.before_letter(completion, options.style)]
    probs = asker.forced_probs(opened, [image], question.letters)[0]
    read = styles.read(completion, question.options) or "no option"
    print(f"completion: {completion}\nread as: {read}")
    for letter, text, prob in zip(question.letters, question.options, probs, strict=True):
        print(f"{prob:6.1%}  {letter}) {text}")
    print(f"{1 - probs.sum():6.1%}  anything else in that place; {NOT_CLINICAL}")
    return 0


def merge(arguments: list[str]) -> int:
    """Write an adapter and its base as one model, and say how it was trained."""
    options = _parser("merge").parse_args(arguments)

    from medr1_lib.model.loading import merge, quantize_in_training

    merge(options.model, options.out)
    print(f"{options.out}: one model")
    if quantize_in_training(options.model):
        print("trained beside a base in 4 bits: evaluate it again, the whole base is another one")
    return 0


def sweep(arguments: list[str]) -> int:
    """Train and score what is not done yet, and say what failed; 1 if anything did."""
    options = _parser("sweep").parse_args(arguments)

    from medr1_lib.evaluation.sweep import Plan, record, sweep
    from medr1_lib.provenance import command_line

    plan = Plan.read(options.plan)
    missing = sweep(plan, options.out, options.executor, options.jobs)
    for name, error in missing.items():
        told = error.strip().splitlines()[-1] if error else "not reached; look into jobs/"
        print(f"{options.out / name}: {told}", file=sys.stderr)
    done = [options.out / job.name for job in plan.jobs() if job.name not in missing]
    print(f"{len(done)} of {len(done) + len(missing)} models are trained and scored")
    if options.record and done:
        plans = options.plan.read_text(encoding="utf-8")
        notes: Report = {"command": command_line(), "plan": plans, "data": plan.data}
        notes |= {"jobs": options.jobs, "missing_models": len(missing), "use": NOT_CLINICAL}
        record(done, options.record, notes | {"recorded": time.strftime("%Y-%m-%d")})
        print(f"recorded in {options.record}")
    return 1 if missing else 0


DATA: dict[str, Callable[[argparse.Namespace], tuple[str, Report]]]
DATA = {"build": _build, "import": _import, "export": _export, "audit": _audit}
_MAINS = doctor, progress, data, train, evaluate, ask, merge, sweep
COMMANDS: dict[str, Callable[[list[str]], int]] = {main.__name__: main for main in _MAINS}
