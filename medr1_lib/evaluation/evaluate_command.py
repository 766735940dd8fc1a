"""`python -m medr1_lib evaluate`: ask a model every question of a split, greedily."""

import argparse
import hashlib
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers

from medr1_lib.analysis.scores import summary, table
from medr1_lib.arguments import natural, positive
from medr1_lib.data.question import CONTROLS
from medr1_lib.data.styles import STYLES
from medr1_lib.errors import InputError
from medr1_lib.evaluation.answers import Journal
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import Items
from medr1_lib.files import check_writable, write_json
from medr1_lib.model.loading import base_directory, load_policy
from medr1_lib.provenance import hardware


def main(arguments: list[str]) -> int:
    """Evaluate, print the tables and write the report where `--json` says.

    The same command on the same folder goes on where an interrupted one stopped.
    """
    options = _parser().parse_args(arguments)
    if options.json:
        check_writable(options.json)
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = Settings(
        tuple(dict.fromkeys(options.style)),
        tuple(dict.fromkeys(options.controls)),
        options.limit,
        options.seed,
        options.max_new_tokens,
    )
    items = Items(options.data, options.split)
    journal = _journal(options, settings, items)
    report = _run(options, settings, items, journal)
    for style, found in report.items():
        print(f"\n{options.model}, {style}, greedy:\n{table(found)}")
    if options.json:
        write_json(options.json, next(iter(report.values())) if len(report) == 1 else report)
    return 0


def _run(
    options: argparse.Namespace, settings: Settings, items: Items, journal: Journal
) -> dict[str, Any]:
    model, processor = load_policy(options.model, options.quantize)
    start = time.perf_counter()
    try:
        evaluate(model, processor, items, journal, settings, options.batch_size)
    except torch.OutOfMemoryError as error:
        remedy = "choose a smaller one; the same command goes on from here"
        raise InputError(
            f"--batch-size {options.batch_size}", "the GPU's memory is full", remedy
        ) from error
    seconds = time.perf_counter() - start
    records = journal.finish({"seconds": round(seconds, 1), "finished": time.strftime("%Y-%m-%d")})
    return {style: summary(records[records["style"] == style]) for style in options.style}


def _journal(options: argparse.Namespace, settings: Settings, items: Items) -> Journal:
    determines = asdict(settings) | {
        "styles": list(settings.styles),
        "controls": list(settings.controls),
        "quantize": options.quantize,
        "decoding": "greedy",
        "model_sha256": _fingerprint(options.model),
        "data_sha256": items.sha256,
    }
    notes = {
        "model": str(options.model),
        "data": f"{options.data}, {options.split}",
        "hardware": hardware(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "batch_size": options.batch_size,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "use": "teaching and research; not for clinical use",
    }
    return Journal(options.out, determines, notes)


def _fingerprint(path: Path) -> str:
    """Of the weights: the adapter's, if there is one, and those of the model under it."""
    digest = hashlib.sha256()
    for folder in dict.fromkeys((path, base_directory(path))):
        for file in sorted(folder.glob("*.safetensors")):
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m medr1_lib evaluate", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="a Qwen2-VL, or an adapter of one")
    add("--data", type=Path, required=True, metavar="DIR", help="data set made by build or import")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for records and card")
    add("--split", default="test", help="train to see how much was learned by heart (test)")
    styles = "reasoning style; several share the images"
    add("--style", nargs="+", choices=STYLES, required=True, help=styles)
    controls = "ask again with a grey image, another image of the modality, no image"
    add("--controls", nargs="*", choices=CONTROLS, default=[], help=controls)
    add("--limit", type=positive, metavar="N", help="N questions drawn at random instead of all")
    seed = "of that draw and of shuffled (default 0)"
    add("--seed", type=natural, default=0, metavar="S", help=seed)
    add("--batch-size", type=positive, default=64, metavar="N", help="questions at once (64)")
    tokens = "longest reply (256)"
    add("--max-new-tokens", type=positive, default=256, metavar="N", help=tokens)
    threads = "CPU threads; one is the fastest for the tiny model on a busy machine"
    add("--threads", type=positive, metavar="N", help=threads)
    add("--quantize", choices=("nf4",), help="load the language model in 4 bits")
    json_help = "write the report here too; with several styles, one report under each name"
    add("--json", type=Path, metavar="FILE", help=json_help)
    return parser
