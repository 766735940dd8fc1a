"""Data sets and answers in the forms that other evaluators and the hub read."""

import base64
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES  # type: ignore[import-not-found]

from medr1_lib import files
from medr1_lib.analysis.recorded import ANSWERS, read_table
from medr1_lib.data import dataset, styles
from medr1_lib.data.question import ALL_LETTERS, Question, turns
from medr1_lib.data.source import image_id
from medr1_lib.evaluation.answers import TURN, Answer

Row = dict[str, Any]
FORM = Path(__file__).with_name("forms")  # what a task and a card begin with


def export(folder: Path, form: str, out: Path, split: str = "test") -> list[str]:
    """Write a split of a data set, or all answers of an evaluation, in one of `FORMS`.

    Returns the names of the files in `out`, which must be free.
    """
    with files.whole_folder(out) as whole:
        if (folder / ANSWERS).is_file():
            table = read_table(folder / ANSWERS, [*Answer.__annotations__], "evaluate it again")
            table = table.astype(object).where(table.notna(), None)  # JSON knows no NaN
            for (style, control), rows in table.groupby(["style", "control"]):
                run = f"{out.name}_{style}_{control}".replace(" ", "_")
                FORMS[form][1](run, rows, whole)
        else:
            FORMS[form][0](Split(folder, split, out), whole)
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Split:
    """A split of a data set on its way out."""

    folder: Path
    name: str
    out: Path  # where it will be; its name is that of the data set for others

    def rows(self) -> Iterator[tuple[Question, bytes]]:
        """The questions with their images as PNG."""
        for row in dataset.read_split(self.folder, self.name):
            yield Question.from_record(row), row["image"]["bytes"]


def _asked(one: Question | Answer, split: str) -> Row:
    """What VLMEvalKit's tables say of a question, or of an answer to one."""
    # It reads tables by pandas, to which an option `None` or `NA` would be an empty cell.
    told = zip(ALL_LETTERS, one.options, strict=False)
    letters = {letter: text + " " * (text in STR_NA_VALUES) for letter, text in told}
    groups = {"category": one.question_type, "l2-category": one.modality, "split": split}
    return {"id": one.id, "question": one.question, **letters, "answer": one.answer, **groups}


def _tsv(split: Split, whole: Path) -> None:
    """A table for VLMEvalKit, and one with circular copies; by its name it knows how to score."""
    shown, plain, copies = dict[str, int](), list[Row](), list[Row]()
    for index, (question, image) in enumerate(split.rows()):
        first = shown.setdefault(question.image_id, index)  # an image may name another row instead
        cell = base64.b64encode(image).decode() if first == index else str(first)
        plain.append({"index": index, "image": cell} | _asked(question, split.name))
        for turn in range(1, len(question.options)):
            row = {"index": index + turn * TURN, "image": str(first), "g_index": index}
            copies.append(row | _asked(question.rotated(turn), split.name))
    originals = [row | {"g_index": row["index"]} for row in plain]
    for name, rows in {"": plain, "_circular": originals + copies}.items():
        pd.DataFrame(rows).to_csv(whole / f"{split.out.name}{name}.tsv", sep="\t", index=False)


def _parquet(split: Split, whole: Path) -> None:
    (whole / "data").mkdir()
    table = dataset.read_split(split.folder, split.name).cast_column("image", datasets.Image())
    table.to_parquet(whole / "data" / f"{split.name}.parquet")
    _card(split, whole, f"data/{split.name}.parquet")


def _task(split: Split, whole: Path) -> None:
    _parquet(split, whole)
    told = {"name": split.out.name, "root": split.out.absolute(), "split": split.name}
    text = files.fill(FORM / "task.yaml", told)
    (whole / f"{split.out.name}.yaml").write_text(text, encoding="utf-8")
    shutil.copy(FORM / "utils.txt", whole / "utils.py")


def _images(split: Split, whole: Path) -> Iterator[tuple[Question, str]]:
    (whole / "images").mkdir()
    for question, image in split.rows():
        plain = re.fullmatch(r"[\w.-]+", question.image_id)  # an id from elsewhere may be a path
        path = f"images/{question.image_id if plain else image_id(question.image_id)}.png"
        (whole / path).write_bytes(image)
        yield question, path


def _jsonl(split: Split, whole: Path) -> None:
    told = ((path, vars(asked).items()) for asked, path in _images(split, whole))
    rows = ({"file_name": path} | {k: v for k, v in row if k != "scene"} for path, row in told)
    _lines(rows, whole / "metadata.jsonl")
    _card(split, whole, "metadata.jsonl", "images/*")


def _samples(split: Split, whole: Path) -> None:
    """A data set of Inspect, for its solver `multiple_choice` and its scorer `choice`."""
    lines = []
    for question, path in _images(split, whole):
        shown = [{"type": "image", "image": path}, {"type": "text", "text": question.question}]
        lines.append({"input": [{"role": "user", "content": shown}]} | _target(question))
    _lines(lines, whole / f"{split.out.name}.jsonl")


def _target(one: Question | Answer) -> Row:
    groups = {"modality": one.modality, "question_type": one.question_type}
    return {"id": one.id, "choices": [*one.options], "target": one.answer, "metadata": groups}


def _lines(rows: Iterable[Row], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _card(split: Split, whole: Path, *data: str) -> None:
    """A card in the hub's form. The licence is its owner's to say."""
    known = json.dumps(files.read_json(split.folder / dataset.CARD, dataset.AGAIN), indent=1)
    told = {"name": split.out.name, "split": split.name, "data": data, "known": known}
    (whole / "README.md").write_text(files.fill(FORM / "card.md", told), encoding="utf-8")


def _each(answers: pd.DataFrame) -> list[Answer]:
    rows: list[dict[Any, Any]] = answers.to_dict("records")
    return [Answer(**row) for row in rows]


def _predictions(run: str, answers: pd.DataFrame, whole: Path) -> None:
    """A table of predictions, as VLMEvalKit scores it again; its rules know no tags of ours."""
    rows = [
        {"index": one.item + TURN * turns(one.control)}
        | _asked(one, "test")
        | {"prediction": styles.spoken(one.completion).strip(), "completion": one.completion}
        for one in _each(answers)
    ]
    pd.DataFrame(rows).to_csv(whole / f"{run}.tsv", sep="\t", index=False)


def _logged(run: str, answers: pd.DataFrame, whole: Path) -> None:
    """Samples and results, as lmms-eval writes them with `--log_samples`."""
    lines = [
        {"doc_id": one.item, "id": one.id, "input": one.question, "target": one.answer}
        | {"filtered_resps": one.completion, "accuracy": float(one.correct)}
        for one in _each(answers)
    ]
    count, day = len(lines), time.strftime("%Y%m%d_%H%M%S")
    _lines(lines, whole / run / f"{day}_samples_{run}.jsonl")
    found = {"alias": run, "accuracy,none": float(answers["correct"].mean())}
    counts = {run: {"original": count, "effective": count}}
    report = {"model_name": run, "date": day, "results": {run: found}, "n-samples": counts}
    files.write_json(whole / run / f"{day}_results.json", report | {"config": {}})


def _log(run: str, answers: pd.DataFrame, whole: Path) -> None:
    """A log of Inspect, which lists only files named by time, task and id."""
    created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    key, samples = hashlib.sha256(f"{run} {created}".encode()).hexdigest()[:22], []
    for one in _each(answers):
        said = {"role": "assistant", "content": one.completion}
        output = {"model": run, "choices": [{"message": said, "stop_reason": "stop"}]}
        score = {"choice": {"value": "C" if one.correct else "I", "answer": one.parsed}}
        sample = {"epoch": 1, "input": one.question, "scores": score, "output": output}
        samples.append(sample | _target(one) | {"uuid": f"{key}-{one.item}"})
    mean = {"name": "accuracy", "value": float(answers["correct"].mean())}
    scores = [{"name": "choice", "scorer": "choice", "metrics": {"accuracy": mean}}]
    spec = {"created": f"{created}+00:00", "task": run, "model": run, "dataset": {"name": run}}
    spec |= {"config": {}, "eval_id": key, "run_id": key, "task_id": key}
    results = {"total_samples": len(samples), "completed_samples": len(samples), "scores": scores}
    log = {"version": 2, "status": "success", "eval": spec, "plan": {}, "results": results}
    name = f"{created.replace(':', '-')}_{run.replace('_', '-')}_{key}.json"
    files.write_json(whole / name, log | {"stats": {}, "samples": samples})


def _answers_parquet(run: str, answers: pd.DataFrame, whole: Path) -> None:
    answers.infer_objects().to_parquet(whole / f"{run}.parquet", index=False)


def _answers_jsonl(run: str, answers: pd.DataFrame, whole: Path) -> None:
    answers.to_json(whole / f"{run}.jsonl", orient="records", lines=True, force_ascii=False)


# name: (how a data set is written, how answers are)
FORMS: dict[str, tuple[Callable[[Split, Path], None], Callable[[str, pd.DataFrame, Path], None]]]
FORMS = {
    "vlmevalkit": (_tsv, _predictions),
    "lmms-eval": (_task, _logged),
    "inspect": (_samples, _log),
    "parquet": (_parquet, _answers_parquet),
    "jsonl": (_jsonl, _answers_jsonl),
}
