"""The report of `data audit`: what can be said of questions before any model sees them."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from medr1_lib.data import audit, dataset, duplicates, omnimedvqa
from medr1_lib.data.question import Question


@dataclass(frozen=True)
class Group:
    """The questions of one file, or of one label of a data set.

    Attributes:
        questions: The questions.
        images: What tells the image of each question from others: its path or its pixels.
        perceptual: A perceptual hash of each image; empty where only the text is at hand.
    """

    questions: list[Question]
    images: list[str]
    perceptual: list[int]


def of_splits(source: omnimedvqa.Source) -> dict[str, Any]:
    """Audit the text of Med-R1's split files; an image is known by its path.

    Returns:
        `{"records": N, "files": {path: what `describe` says}}`, paths relative to the source.

    Raises:
        InputError: At the first record that is not sound.
    """
    files = omnimedvqa.strict(omnimedvqa.read_splits(source))
    groups = {(file.kind, file.name, file.split): _of_file(file) for file in files}
    described = {
        file.path: describe(
            groups[file.kind, file.name, file.split],
            groups.get((file.kind, file.name, "train")) if file.split == "test" else None,
        )
        for file in files
    }
    return {"records": sum(len(file.items) for file in files), "files": described}


def of_data_set(root: Path) -> dict[str, Any]:
    """Audit a data set that `dataset.write` made; an image is known by its pixels.

    Returns:
        As `of_splits`, with paths `<split>/modality/<name>` and `<split>/question_type/<name>`.

    Raises:
        InputError: If there is no data set at `root`.
    """
    splits = dataset.read(root)
    groups: dict[str, dict[str, Group]] = {name: _by_label(splits[name]) for name in splits}
    train = groups.get("train", {})
    described = {
        f"{split}/{label}": describe(group, train.get(label) if split != "train" else None)
        for split, labelled in groups.items()
        for label, group in sorted(labelled.items())
    }
    return {"records": sum(splits.num_rows.values()), "files": described}


def describe(group: Group, train: Group | None) -> dict[str, Any]:
    """What can be said of a group, its baselines fitted on `train` or else within the group.

    Returns:
        `records`; `baselines`, the accuracy of each image-blind rule; `hard`, the size of the hard
        subset and the option ratio's accuracy on it; `leak_share`, the share of questions whose
        image is in `train`; `near_duplicate_share`, of the others whose image has a near duplicate
        there; `fitted_on`. Shares lie between 0 and 1; what cannot be known is `None`.
    """
    fits = (
        [(train.questions, group.questions)] if train else audit.cross_validation(group.questions)
    )
    hard = [(known, audit.hard_subset(known, test)) for known, test in fits]
    leaked, near = (None, None) if train is None else _overlap(group, train)
    return {
        "records": len(group.questions),
        "baselines": {name: audit.pooled(rule, fits) for name, rule in audit.BASELINES.items()},
        "hard": {
            "records": sum(len(test) for _, test in hard),
            "option_ratio": audit.pooled(audit.option_ratio, hard),
        },
        "leak_share": leaked,
        "near_duplicate_share": near,
        "fitted_on": "train" if train else f"cross-validated within, {audit.FOLDS} folds",
    }


def table(report: dict[str, Any]) -> str:
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


def _overlap(group: Group, train: Group) -> tuple[float, float | None]:
    shared = audit.leak_share(train.images, group.images)
    if not group.perceptual:
        return shared, None
    near = duplicates.near(group.perceptual, train.perceptual)
    same = np.isin(group.images, train.images)
    return shared, float((near & ~same).mean())


def _of_file(file: omnimedvqa.RecordFile) -> Group:
    questions = [item.question for item in file.items]
    return Group(questions, [question.image_id for question in questions], [])


def _by_label(table: datasets.Dataset) -> dict[str, Group]:
    groups: dict[str, Group] = defaultdict(lambda: Group([], [], []))
    rows = zip(table.remove_columns("image"), duplicates.of(table), strict=True)
    for row, (pixels, perceptual) in rows:
        question = Question.from_record(row)
        for label in (f"modality/{question.modality}", f"question_type/{question.question_type}"):
            groups[label].questions.append(question)
            groups[label].images.append(pixels)
            groups[label].perceptual.append(perceptual)
    return groups


def _percent(share: float | None) -> str:
    return f"{'-':>8}" if share is None else f"{100 * share:>8.1f}"
