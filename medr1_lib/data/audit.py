"""Audit of a data set before any model sees it: image-blind rules, leaks and near duplicates."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from PIL import Image
from tqdm import tqdm

from medr1_lib.data import dataset, omnimedvqa
from medr1_lib.data.question import Question
from medr1_lib.data.source import Source
from medr1_lib.errors import InputError

Questions = Sequence[Question]
FOLDS = 5
UNSEEN = 0.25  # the option ratio of a text that training never offered
NEAR = 4  # bits, of 64, in which the perceptual hashes of near duplicates may differ


def normalise(text: str) -> str:
    """An option text without case and final period, which differ by who typed it."""
    return text.strip().lower().removesuffix(".")


def accuracy(test: Questions, score: Callable[[Question], Sequence[Any]]) -> float:
    """Share of right answers if the option with the highest score is chosen; ties share credit."""
    credit = 0.0
    for question in test:
        scores = score(question)
        best = max(scores)
        winners = [letter for letter, n in zip(question.letters, scores, strict=False) if n == best]
        credit += (question.answer in winners) / len(winners)
    return credit / len(test)


def uniform(train: Questions, test: Questions) -> float:
    """Accuracy of a guess among the options. Built in chapter 01."""
    return accuracy(test, lambda question: [0] * len(question.options))


def letter_majority(train: Questions, test: Questions) -> float:
    """Accuracy of the letter that was right most often. Built in chapter 01."""
    right = Counter(question.answer for question in train)
    return accuracy(test, lambda q: [right[letter] for letter in q.letters])


def most_frequent_text(train: Questions, test: Questions) -> float:
    """Accuracy of the option whose text was right most often. Built in chapter 01."""
    right = Counter(normalise(question.answer_text) for question in train)
    return accuracy(test, lambda q: [right[normalise(option)] for option in q.options])


def option_ratios(train: Questions) -> dict[str, float]:
    """Normalised text to (times right + 0.25) / (times offered + 1). Built in chapter 01."""
    right = Counter(normalise(q.answer_text) for q in train)
    offered = Counter(normalise(option) for q in train for option in q.options)
    return {text: (right[text] + 0.25) / (offered[text] + 1) for text in offered}


def option_ratio(train: Questions, test: Questions) -> float:
    """Accuracy of the option with the highest of `option_ratios`. Built in chapter 01."""
    ratios = option_ratios(train)
    return accuracy(test, lambda q: [ratios.get(normalise(o), UNSEEN) for o in q.options])


def leak_share(train: Sequence[str], test: Sequence[str]) -> float:
    """Share of test questions whose image is also in `train`. Built in chapter 01.

    Both name the image of each question, so that an image may occur more than once.
    """
    known = set(train)
    return sum(image in known for image in test) / len(test)


BASELINES = {f.__name__: f for f in (uniform, letter_majority, most_frequent_text, option_ratio)}
Name = tuple[str, str, str]  # axis, label, split: ("modality", "CT", "test")


@dataclass(frozen=True)
class Asked:
    """A question, and what tells its image from others."""

    question: Question
    key: str  # of the image: its pixels, or its path where only the text is at hand
    turned: tuple[int, ...] = ()  # as `hashes` has them
    patient: str = ""  # empty where nobody says
    path: str = ""


Group = Sequence[Asked]  # of one file, or of one label of a data set


def of_splits(source: Source) -> dict[str, Any]:
    """Audit the text of Med-R1's split files, where an image is known by its path.

    Gives `records`, `skipped` (the bad ones), `files` (by path, what `describe` says) and `leaks`
    (by axis, test file and train file, `leak_share`); it is an error if all records are bad.
    """
    groups, paths, bad = {}, {}, list[InputError]()
    for file in omnimedvqa.read_splits(source):
        bad += file.bad
        if file.items:
            name, asked = (file.kind, file.name, file.split), [one.question for one in file.items]
            groups[name], paths[name] = [Asked(one, one.image_id) for one in asked], file.path
    if not groups:
        raise bad[0]
    count = sum(map(len, groups.values()))
    return {"records": count, "skipped": [*map(vars, bad)], **_report(groups, paths)}


def of_data_set(root: Path) -> dict[str, Any]:
    """Audit a data set that `dataset.write` made, where an image is known by its pixels.

    Gives as `of_splits`, with paths `<split>/modality/<name>` and `<split>/question_type/<name>`;
    and `patients`, how many are known.
    """
    groups: dict[Name, list[Asked]] = defaultdict(list)
    for split, asked in _records(root):
        for axis in ("modality", "question_type"):
            groups[axis, getattr(asked.question, axis), split].append(asked)
    ordered = dict(sorted(groups.items(), key=lambda item: (item[0][2] != "train", item[0])))
    paths = {name: f"{name[2]}/{name[0]}/{name[1]}" for name in ordered}
    patients = {one.patient for group in groups.values() for one in group} - {""}
    counts = {"records": sum(dataset.read(root).num_rows.values()), "patients": len(patients)}
    return counts | _report(ordered, paths)


def _records(root: Path) -> Iterator[tuple[str, Asked]]:
    """Every record of a data set, and its split."""
    known = dataset.images_behind(root)
    for split in dataset.read(root):
        met = dict[str, tuple[Any, ...]]()  # an image of many questions is read once
        for row in tqdm(dataset.read_split(root, split), desc="images", unit="image", delay=1):
            name = row["image_id"]
            if name not in met:
                where = f"{root}, {split} record {name}"
                image = dataset.open_image(row["image"]["bytes"], where)
                told = known.get(name, {})
                behind = told.get("patient", ""), told.get("path", "")
                met[name] = dataset.image_hash(image), hashes(image, split != "train"), *behind
            yield split, Asked(Question.from_record(row), *met[name])


def _report(groups: Mapping[Name, Group], paths: Mapping[Name, str]) -> dict[str, Any]:
    files: dict[str, Any] = {}
    leaks: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    trained = {(one, two): of for (one, two, split), of in groups.items() if split == "train"}
    for name, group in groups.items():
        axis, label, split = name
        tested = split != "train"
        train = {other: of for (kind, other), of in trained.items() if tested and kind == axis}
        files[paths[name]] = describe(group, train.get(label), [*train.values()], tested)
        if tested:
            shares = {other: leak_share(_keys(one), _keys(group)) for other, one in train.items()}
            leaks[axis].setdefault(label, shares)
    return {"files": files, "leaks": dict(leaks)}


def _keys(group: Group) -> list[str]:
    return [one.key for one in group]


def describe(
    group: Group, train: Group | None, trained: Sequence[Group] = (), tested: bool = False
) -> dict[str, Any]:
    """What can be said of a group, its baselines fitted on `train` or else within the group.

    Gives `records`; `baselines`, the accuracy of each image-blind rule; `leak_share`, the share of
    questions whose image is in `train`; `leak_any_share`, in one of the groups `trained`;
    `patient_leak_share`, whose patient is; `near_duplicate_share`, of all questions those whose
    image is new but has a near duplicate in `train`; `fitted_on`. What cannot be known is `None`.
    """
    questions, keys = [one.question for one in group], _keys(group)
    fits = [([one.question for one in train], questions)] if train else cross_validation(questions)
    right = {name: sum(rule(a, b) * len(b) for a, b in fits) for name, rule in BASELINES.items()}
    near_share = None
    if train and group[0].turned:
        new = ~np.isin(keys, _keys(train))
        near_share = float(((nearest(group, train) >= 0) & new).mean())
    seen = [key for one in trained for key in _keys(one)]
    patients = {asked.patient for one in trained for asked in one} - {""}
    asked = [one.patient for one in group]
    within = f"cross-validated within, {FOLDS} folds"
    return {
        "records": len(group),
        "baselines": {name: number / len(group) for name, number in right.items()},
        "leak_share": leak_share(_keys(train), keys) if train else None,
        "leak_any_share": leak_share(seen, keys) if trained else None,
        "patient_leak_share": leak_share([*patients], asked) if patients else None,
        "near_duplicate_share": near_share,
        "fitted_on": "train" if train else f"no train file, {within}" if tested else within,
    }


def hashes(image: Image.Image, turned: bool) -> tuple[int, ...]:
    """A perceptual hash, pHash of 64 bits (Zauner 2010), which differs little between like images.

    If `turned`, those of the image mirrored and rotated follow, eight in all.
    """
    small = image.convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    turns = [small, *(small.transpose(turn) for turn in Image.Transpose)] if turned else [small]
    return tuple(int(str(imagehash.phash(one)), 16) for one in turns)


def cross_validation(questions: list[Question]) -> list[tuple[list[Question], list[Question]]]:
    """Pairs to fit on and to score: question `i` is scored in fold `i` modulo `FOLDS`."""
    folds = [questions[start::FOLDS] for start in range(min(FOLDS, len(questions)))]
    return [([q for other in folds if other is not fold for q in other], fold) for fold in folds]


def nearest(turned: Group, others: Group) -> np.ndarray:
    """For each image the place in `others` of the first one nearly the same, in any turn, or -1."""
    theirs = np.array([one.turned[0] for one in others], dtype=np.uint64)
    found = np.full(len(turned), -1)
    for start in range(0, len(turned), 64):  # keeps memory small
        part = turned[start : start + 64]
        for turn in np.array([one.turned for one in part], dtype=np.uint64).T:
            like = np.bitwise_count(turn[:, None] ^ theirs) <= NEAR
            new = (found[start : start + 64] < 0) & like.any(axis=1)
            found[start : start + 64][new] = like.argmax(axis=1)[new]
    return found


PAIR = ("what", "test_image", "test_path", "train_image", "train_path")


def pairs(root: Path) -> Iterator[tuple[str, ...]]:
    """Which images of a data set are on both sides, as `PAIR`: one row for each test image.

    `what` is `pixels`, `patient` or `near`, the first of them that holds.
    """
    train, test = dict[str, Asked](), dict[str, Asked]()
    for split, asked in _records(root):
        (train if split == "train" else test)[asked.question.image_id] = asked
    if not train:
        return
    by_pixels = {one.key: name for name, one in train.items()}
    by_patient = {one.patient: name for name, one in train.items() if one.patient}
    names, places = [*train, None], nearest([*test.values()], [*train.values()])
    for place, (name, one) in zip(places, test.items(), strict=True):
        found = {"pixels": by_pixels.get(one.key), "patient": by_patient.get(one.patient)}
        for what, other in (found | {"near": names[place]}).items():
            if other:
                yield what, name, one.path, other, train[other].path
                break


def table(report: dict[str, Any]) -> str:
    """One line per file: shares in per cent, a dash where nothing can be known."""

    def percent(*shares: float | None) -> str:
        return "".join(f"{'-':>8}" if one is None else f"{100 * one:>8.1f}" for one in shares)

    heads = ("n", "guess", "letter", "text", "ratio", "leak", "any", "patient", "near")
    width = max(len(path) for path in report["files"])
    lines = [" " * width + "".join(f"{head:>8}" for head in heads) + "  fitted on"]
    for path, found in report["files"].items():
        shared = ("leak_share", "leak_any_share", "patient_leak_share", "near_duplicate_share")
        shown = percent(*found["baselines"].values(), *(found[name] for name in shared))
        lines.append(f"{path:<{width}}{found['records']:>8}{shown}  {found['fitted_on']}")
    lines.append(f"{report['records']} records; shares in %")
    if not report.get("patients", 1):
        lines.append("patients are not known: those in test may be in train too")
    return "\n".join(lines)
