"""How fast a model is evaluated, beside the usual way, with the same answers.

    python -m benchmarks.speed.evaluate --model DIR [--data DIR] [--items N] [--style S ...]
                                  [--controls C ...] [--runs N] [--threads N] [--json FILE]

The usual way: fixed batches of 64 in the order of the file, one evaluation per style and control,
every image encoded every time. It is timed twice: with every reply run to 256 tokens, and stopped
when the last reply of a batch has ended, as `generate` does by itself. The three take turns on the
same items, machine and threads, and the letters that they read must be the same, one by one.
Without `--data`, phantoms are drawn. On a CPU, seconds are those of the process alone.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medr1_lib.cli import exit_status
from medr1_lib.data import phantom_vqa
from medr1_lib.data.question import CONTROLS
from medr1_lib.data.styles import STYLES, read
from medr1_lib.evaluation.answers import AnswerLog
from medr1_lib.evaluation.ask import question_chat
from medr1_lib.evaluation.evaluate import Settings, evaluate
from medr1_lib.evaluation.items import EvalPrompt, EvalSet, batches
from medr1_lib.files import check_writable, write_json
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor, Policy, base_model, load_policy
from medr1_lib.provenance import hardware

BATCH, LONGEST = 64, 256  # questions at once, tokens of a reply
Letters = dict[tuple[int, str, str], str | None]


def main(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    if options.json:
        check_writable(options.json)
    torch.set_num_threads(options.threads)
    model, processor = load_policy(options.model)
    asked = tuple(options.style), tuple(options.controls)
    settings = Settings(*asked, options.items, max_new_tokens=LONGEST)
    with tempfile.TemporaryDirectory() as folder:
        items = EvalSet(options.data or phantoms(Path(folder) / "phantoms", options.items))
        tasks = items.prompts(settings.styles, settings.controls, settings.limit, settings.seed)

        def usual(ends: list[int] | int | None) -> Letters:
            return usual_way(model, processor, items, tasks, ends)

        def ours() -> Letters:
            with tempfile.TemporaryDirectory() as out:
                log = AnswerLog(Path(out), {}, {})
                records = evaluate(model, processor, items, log, settings, BATCH)
            keys = records[["item", "style", "control"]].itertuples(index=False, name=None)
            return dict(zip(keys, records["parsed"].replace({float("nan"): None}), strict=True))

        ends = model.generation_config.eos_token_id
        ways = {"to 256": lambda: usual(None), "stopped": lambda: usual(ends), "ours": ours}
        report = compare(model, ways, options.runs)
    report |= {
        "model": str(options.model),
        "items": len({task.item for task in tasks}),
        "styles": options.style,
        "controls": options.controls,
        "runs": options.runs,
        "threads": torch.get_num_threads(),
        "hardware": hardware(),
        "date": time.strftime("%Y-%m-%d"),
    }
    show(report)
    if options.json:
        write_json(options.json, report)
    return 0


def compare(model: Policy, ways: dict[str, Callable[[], Letters]], runs: int) -> dict[str, Any]:
    """Run the ways in turn; ratios are medians, seconds and their parts those of the middle run."""
    timed: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    answers = {}
    for turn in range(runs):
        for name in list(ways) if turn % 2 == 0 else list(ways)[::-1]:
            with stopwatch(model) as parts:
                answers[name] = ways[name]()
            timed[name].append(parts)
    for name in ways:
        assert answers[name].keys() == answers["ours"].keys()
        different = [key for key, letter in answers["ours"].items() if answers[name][key] != letter]
        assert not different, f"{name}: {len(different)} answers differ, first {different[0]}"
    middle = {name: sorted(timed[name], key=lambda run: run["all"])[runs // 2] for name in ways}
    return {
        "ratio": {name: _ratio(timed[name], timed["ours"]) for name in ways if name != "ours"},
        "answers": len(answers["ours"]),
        "same_answers": True,
        "seconds": {n: {part: round(s, 2) for part, s in middle[n].items()} for n in ways},
    }


def _ratio(usual: list[dict[str, float]], ours: list[dict[str, float]]) -> float:
    pairs = zip(usual, ours, strict=True)
    return round(statistics.median(a["all"] / b["all"] for a, b in pairs), 2)


@torch.inference_mode()
def usual_way(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    items: EvalSet,
    tasks: list[EvalPrompt],
    ends: list[int] | int | None,
) -> Letters:
    """The letters read from plain `generate`, evaluation by evaluation; `ends` stop a reply."""
    generate: Any = model.generate
    known, model.generation_config.eos_token_id = model.generation_config.eos_token_id, ends
    letters: Letters = {}
    kinds = dict.fromkeys((task.style, task.control) for task in tasks)
    for style, control in kinds:
        asked = [task for task in tasks if (task.style, task.control) == (style, control)]
        for batch in batches(sorted(asked, key=lambda task: task.item), BATCH):
            questions = [items.questions[task.item] for task in batch]
            sees = control != "text"
            text = [question_chat(processor, q, style, sees) for q in questions]
            images = [image for task in batch if (image := items.image(task))] or None
            inputs = processor(text=text, images=images, padding=True, return_tensors="pt")
            inputs = inputs.to(model.device)
            output = generate(**inputs, max_new_tokens=LONGEST, do_sample=False, use_cache=True)
            replies = output[:, inputs["input_ids"].shape[1] :].tolist()
            said = [_said(processor, reply, known) for reply in replies]
            for task, question, completion in zip(batch, questions, said, strict=True):
                letters[task.item, style, control] = read(completion, question.options)
    model.generation_config.eos_token_id = known
    return letters


def _said(processor: ImageOnlyQwen2VLProcessor, reply: list[int], ends: list[int] | int) -> str:
    known = ends if isinstance(ends, list) else [ends]
    length = next((place for place, token in enumerate(reply) if token in known), len(reply))
    return processor.tokenizer.decode(reply[:length], skip_special_tokens=True)


@contextmanager
def stopwatch(model: Policy) -> Iterator[dict[str, float]]:
    """Seconds of everything, and how many of them went into tower, prefill and decoding."""
    core, parts, began = base_model(model).model, defaultdict[str, float](float), {}

    def start(module: nn.Module, *_: object) -> None:
        began[module] = _now()

    def stop(module: nn.Module, _: object, inputs: dict[str, Tensor], output: object) -> None:
        read = inputs["inputs_embeds"] if "inputs_embeds" in inputs else inputs.get("input_ids")
        tokens = 0 if read is None or module is core.visual else read.shape[1]
        name = {0: "tower", 1: "decoding"}.get(tokens, "prefill")
        parts[name] += _now() - began[module]

    hooks = []
    for module in (core.visual, core.language_model):
        hooks.append(module.register_forward_pre_hook(start))
        hooks.append(module.register_forward_hook(stop, with_kwargs=True))
    found: dict[str, float] = {}
    begin = _now()
    yield found
    found["all"] = _now() - begin
    found |= parts
    found["rest"] = found["all"] - sum(parts.values())
    for hook in hooks:
        hook.remove()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()  # of this process alone, whatever else the machine is doing


def phantoms(out: Path, items: int) -> Path:
    """A test split with at least so many questions."""
    asked = phantom_vqa.questions("test", seed=1, per_cell=ceil(items / 40))
    phantom_vqa.write(out, {"test": asked}, {"seed": 1})
    return out


def show(report: dict[str, Any]) -> None:
    print(f"{report['items']} items, {report['answers']} answers, all the same")
    print(f"{'seconds':<8}{'all':>8}{'tower':>8}{'prefill':>9}{'decoding':>10}{'rest':>8}")
    for name, parts in report["seconds"].items():
        cells = zip(("all", "tower", "prefill", "decoding", "rest"), (8, 8, 9, 10, 8), strict=True)
        print(f"{name:<8}" + "".join(f"{parts.get(part, 0):>{width}.2f}" for part, width in cells))
    for name, ratio in report["ratio"].items():
        print(f"{ratio} times faster than the usual way, {name}")
    print(f"{report['threads']} threads, {report['hardware']}, {report['date']}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="DIR", help="any Qwen2-VL")
    add("--data", type=Path, metavar="DIR", help="data set made by build or import")
    add("--items", type=int, default=1000, metavar="N", help="questions (1000)")
    add("--style", nargs="+", choices=STYLES, default=list(STYLES), help="default: all")
    add("--controls", nargs="*", choices=CONTROLS, default=[], help="default: none")
    add("--threads", type=int, default=1, metavar="N", help="CPU threads (1)")
    add("--runs", type=int, default=3, metavar="N", help="turns of each way (3)")
    add("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser


if __name__ == "__main__":
    sys.exit(exit_status(main, sys.argv[1:]))
