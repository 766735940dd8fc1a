"""Audit of a data set before any model sees it: image-blind rules, leaks and near duplicates."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


def option_ratio_with_stem(train: Questions, test: Questions) -> float:
    """Accuracy of the text right most often under that stem, then by ratio. Built in chapter 01."""
    ratios = option_ratios(train)
    right = Counter((normalise(q.question), normalise(q.answer_text)) for q in train)

    def score(q: Question) -> list[tuple[int, float]]:
        texts, stem = map(normalise, q.options), normalise(q.question)
        return [(right[stem, text], ratios.get(text, UNSEEN)) for text in texts]

    return accuracy(test, score)


def leak_share(train: Sequence[str], test: Sequence[str]) -> float:
    """Share of test questions whose image is also in `train`. Built in chapter 01.

    Both name the image of each question, so that an image may occur more than once.

    Example:
        >>> leak_share(["a", "b"], ["b", "b", "c", "d"])
        0.5
    """
    known = set(train)
    return sum(image in known for image in test) / len(test)


def hard_subset(train: Questions, test: Questions) -> list[Question]:
    """The questions of `test` with two options or more that are right answers in `train`."""
    right = {normalise(question.answer_text) for question in train}
    return [q for q in test if len(right & set(map(normalise, q.options))) >= 2]


_RULES = uniform, letter_majority, most_frequent_text, option_ratio, option_ratio_with_stem
BASELINES = {rule.__name__: rule for rule in _RULES}


Name = tuple[str, str, str]  # axis, label, split: ("modality", "CT", "test")


@dataclass(frozen=True)
class Group:
    """The questions of one file, or of one label of a data set, and their images.

    `perceptual` and `patients` are empty where only the text is at hand.
    """

    questions: list[Question] = field(default_factory=list)
    images: list[str] = field(default_factory=list)  # tell images apart: by path, or by pixels
    perceptual: list[tuple[int, ...]] = field(default_factory=list)  # as `hashes` has them
    patients: list[str] = field(default_factory=list)  # empty texts where nobody says


def of_splits(source: Source) -> dict[str, Any]:
    """Audit the text of Med-R1's split files, where an image is known by its path.

    Gives `{"records": N, "skipped": bad ones, "files": {path: what `describe` says}, "leaks": what
    `leaks` says}`; it is an error if all records are bad.
    """
    groups, paths, bad = {}, {}, list[InputError]()
    for file in omnimedvqa.read_splits(source):
        bad += file.bad
        questions = [item.question for item in file.items]
        name = file.kind, file.name, file.split
        if questions:
            groups[name] = Group(questions, [question.image_id for question in questions])
            paths[name] = file.path
    if not groups:
        raise bad[0]
    count = sum(len(group.questions) for group in groups.values())
    return {"records": count, "skipped": [*map(vars, bad)], **_report(groups, paths)}


def of_data_set(root: Path) -> dict[str, Any]:
    """Audit a data set that `dataset.write` made, where an image is known by its pixels.

    Gives as `of_splits`, with paths `<split>/modality/<name>` and `<split>/question_type/<name>`;
    and `patients`, how many are known.
    """
    known = dataset.images_behind(root)
    groups: dict[Name, Group] = defaultdict(Group)
    for split in dataset.read(root):
        table = dataset.read_split(root, split)
        met: dict[bytes, tuple[str, tuple[int, ...]]] = {}  # an image of many questions: read once
        for row in tqdm(table, desc="images", unit="image", delay=1):
            key = hashlib.sha256(row["image"]["bytes"]).digest()
            if key not in met:
                where = f"{root}, {split} record {row['image_id']}"
                image = dataset.open_image(row["image"]["bytes"], where)
                met[key] = dataset.image_hash(image), hashes(image, split != "train")
            for axis in ("modality", "question_type"):
                group = groups[axis, row[axis], split]
                group.questions.append(Question.from_record(row))
                group.images.append(met[key][0])
                group.perceptual.append(met[key][1])
                group.patients.append(known.get(row["image_id"], {}).get("patient", ""))
    ordered = dict(sorted(groups.items(), key=lambda item: (item[0][2] != "train", item[0])))
    paths = {name: f"{name[2]}/{name[0]}/{name[1]}" for name in ordered}
    patients = {patient for group in groups.values() for patient in group.patients} - {""}
    counts = {"records": sum(dataset.read(root).num_rows.values()), "patients": len(patients)}
    return counts | _report(ordered, paths)


def _report(groups: Mapping[Name, Group], paths: Mapping[Name, str]) -> dict[str, Any]:
    trained = {
        (axis, label): one for (axis, label, split), one in groups.items() if split == "train"
    }
    files = {}
    for name, group in groups.items():
        axis, label, split = name
        tested = split != "train"
        train = trained.get((axis, label)) if tested else None
        others = [one for (kind, _), one in trained.items() if kind == axis] if tested else []
        files[paths[name]] = describe(group, train, others, tested)
    axes = sorted({axis for axis, _, split in groups if split != "train"})
    return {"files": files, "leaks": {axis: leaks(groups, axis) for axis in axes}}


def leaks(groups: Mapping[Name, Group], axis: str) -> dict[str, dict[str, float]]:
    """For each test file of an axis and each train file, `leak_share`."""
    sides: dict[bool, dict[str, list[str]]] = {True: {}, False: {}}
    for (kind, label, split), group in groups.items():
        if kind == axis:
            sides[split == "train"].setdefault(label, []).extend(group.images)
    return {
        label: {other: leak_share(train, test) for other, train in sides[True].items()}
        for label, test in sides[False].items()
    }


def describe(
    group: Group, train: Group | None, trained: Sequence[Group] = (), tested: bool = False
) -> dict[str, Any]:
    """What can be said of a group, its baselines fitted on `train` or else within the group.

    Gives `records`; `baselines`, the accuracy of each image-blind rule; `hard`, the size of the
    hard subset and the option ratio's accuracy on it; `leak_share`, the share of questions whose
    image is in `train`; `leak_any_share`, in one of the groups `trained`; `patient_leak_share`,
    whose patient is; `near_duplicate_share`, of the others whose image has a near duplicate in
    `train`; `fitted_on`. Shares lie between 0 and 1; what cannot be known is `None`.
    """
    fits = [(train.questions, group.questions)] if train else cross_validation(group.questions)
    hard = [(known, hard_subset(known, test)) for known, test in fits]
    near_share = None
    if train and group.perceptual:
        new = ~np.isin(group.images, train.images)
        near_share = float((near(group.perceptual, train.perceptual) & new).mean())
    seen = {name for one in trained for name in one.images}
    patients = {name for one in trained for name in one.patients} - {""}
    within = f"cross-validated within, {FOLDS} folds"
    return {
        "records": len(group.questions),
        "baselines": {name: pooled(rule, fits) for name, rule in BASELINES.items()},
        "hard": {
            "records": sum(len(test) for _, test in hard),
            "option_ratio": pooled(option_ratio, hard),
        },
        "leak_share": leak_share(train.images, group.images) if train else None,
        "leak_any_share": leak_share([*seen], group.images) if trained else None,
        "patient_leak_share": leak_share([*patients], group.patients) if patients else None,
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


def pooled(
    rule: Callable[[Questions, Questions], float], fits: Sequence[tuple[Questions, Questions]]
) -> float | None:
    """Accuracy of a rule over pairs to fit on and to score; `None` if nothing is scored."""
    scored = [(rule(train, test), len(test)) for train, test in fits if test]
    total = sum(size for _, size in scored)
    return sum(share * size for share, size in scored) / total if total else None


def near(turned: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> np.ndarray:
    """For each image, by its `hashes`, whether an image of `others` is nearly the same."""
    return nearest(turned, others) >= 0


def nearest(turned: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> np.ndarray:
    """The place in `others` of the first hash at most `NEAR` bits from one of an image, or -1."""
    theirs = np.array([one[0] for one in others], dtype=np.uint64)
    found = np.full(len(turned), -1)
    for start in range(0, len(turned), 64):  # keeps memory small
        mine = np.array(turned[start : start + 64], dtype=np.uint64)
        for turn in mine.T:
            like = np.bitwise_count(turn[:, None] ^ theirs) <= NEAR
            new = (found[start : start + 64] < 0) & like.any(axis=1)
            found[start : start + 64][new] = like.argmax(axis=1)[new]
    return found


PAIR = ("what", "test_image", "test_path", "train_image", "train_path")


def pairs(root: Path) -> Iterator[tuple[str, ...]]:
    """Which images of a data set are on both sides, as `PAIR`: one row for each test image.

    `what` is `pixels`, `patient` or `near`, the first of them that holds.
    """
    known = dataset.images_behind(root)
    sides: dict[bool, dict[str, tuple[str, tuple[int, ...], str]]] = {True: {}, False: {}}
    for split in dataset.read(root):
        for row in dataset.read_split(root, split):
            side, name = sides[split == "train"], row["image_id"]
            if name not in side:
                image = dataset.open_image(row["image"]["bytes"], f"{root}, {name}")
                turned = hashes(image, split != "train")
                patient = known.get(name, {}).get("patient", "")
                side[name] = dataset.image_hash(image), turned, patient
    train, test = sides[True], sides[False]
    by_pixels = {pixels: name for name, (pixels, _, _) in train.items()}
    by_patient = {patient: name for name, (_, _, patient) in train.items() if patient}
    places = nearest([one[1] for one in test.values()], [one[1] for one in train.values()])
    names = [*train]
    for place, (name, (pixels, _, patient)) in zip(places, test.items(), strict=True):
        like = names[place] if place >= 0 else None
        found = {"pixels": by_pixels.get(pixels), "patient": by_patient.get(patient), "near": like}
        for what, other in found.items():
            if other:
                paths = (known.get(one, {}).get("path", "") for one in (name, other))
                yield (what, name, next(paths), other, next(paths))
                break


def table(report: dict[str, Any]) -> str:
    """One line per file: shares in per cent, a dash where nothing can be known."""

    def percent(*shares: float | None) -> str:
        return "".join(f"{'-':>8}" if one is None else f"{100 * one:>8.1f}" for one in shares)

    blind = ("guess", "letter", "text", "ratio", "+stem", "hard", "solved")
    heads = ("n", *blind, "leak", "any", "patient", "near")
    width = max(len(path) for path in report["files"])
    lines = [" " * width + "".join(f"{head:>8}" for head in heads) + "  fitted on"]
    for path, found in report["files"].items():
        hard = f"{found['hard']['records']:>8}{percent(found['hard']['option_ratio'])}"
        shared = ("leak_share", "leak_any_share", "patient_leak_share", "near_duplicate_share")
        line = f"{path:<{width}}{found['records']:>8}{percent(*found['baselines'].values())}"
        shown = percent(*(found[name] for name in shared))
        lines.append(f"{line}{hard}{shown}  {found['fitted_on']}")
    lines.append(f"{report['records']} records; shares in %")
    if not report.get("patients", 1):
        lines.append("patients are not known: those in test may be in train too")
    return "\n".join(lines)
