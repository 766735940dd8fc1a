"""Audit of a data set before any model sees it: image-blind rules, leaks and near duplicates."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
from tqdm import tqdm

from medr1_lib.data import dataset, omnimedvqa
from medr1_lib.data.question import Question

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


@dataclass(frozen=True)
class Group:
    """The questions of one file, or of one label of a data set, and their images."""

    questions: list[Question]
    images: list[str]  # names that tell images apart: by path, or by pixels
    perceptual: list[int]  # a perceptual hash of each image; empty where only the text is at hand


def of_splits(source: omnimedvqa.Source) -> dict[str, Any]:
    """Audit the text of Med-R1's split files, where an image is known by its path.

    Gives `{"records": N, "files": {path: what `describe` says}}`; a bad record is an error.
    """
    groups = {}
    for file in (files := omnimedvqa.strict(omnimedvqa.read_splits(source))):
        questions = [item.question for item in file.items]
        images = [question.image_id for question in questions]
        groups[file.kind, file.name, file.split] = Group(questions, images, [])
    described = {}
    for file in files:
        train = groups.get((file.kind, file.name, "train")) if file.split == "test" else None
        described[file.path] = describe(groups[file.kind, file.name, file.split], train)
    return {"records": sum(one["records"] for one in described.values()), "files": described}


def of_data_set(root: Path) -> dict[str, Any]:
    """Audit a data set that `dataset.write` made, where an image is known by its pixels.

    Gives as `of_splits`, with paths `<split>/modality/<name>` and `<split>/question_type/<name>`.
    """
    tables = {name: dataset.read_split(root, name) for name in dataset.read(root)}
    groups: dict[str, dict[str, Group]] = {}
    for split, table in tables.items():
        groups[split] = defaultdict(lambda: Group([], [], []))
        hashes: dict[bytes, tuple[str, int]] = {}  # an image of many questions is read once
        for row in tqdm(table, desc="images", unit="image", delay=1):
            key = hashlib.sha256(row["image"]["bytes"]).digest()
            if key not in hashes:
                where = f"{root}, {split} record {row['image_id']}"
                image = dataset.open_image(row["image"]["bytes"], where)
                pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
                # the pHash of 64 bits (Zauner 2010), which differs little between similar images
                hashes[key] = pixels[:16], int(str(imagehash.phash(image)), 16)
            pixels, perceptual = hashes[key]
            for label in (f"modality/{row['modality']}", f"question_type/{row['question_type']}"):
                groups[split][label].questions.append(Question.from_record(row))
                groups[split][label].images.append(pixels)
                groups[split][label].perceptual.append(perceptual)
    train = groups.get("train", {})
    described = {
        f"{split}/{label}": describe(group, train.get(label) if split != "train" else None)
        for split, labelled in groups.items()
        for label, group in sorted(labelled.items())
    }
    return {"records": sum(map(len, tables.values())), "files": described}


def describe(group: Group, train: Group | None) -> dict[str, Any]:
    """What can be said of a group, its baselines fitted on `train` or else within the group.

    Gives `records`; `baselines`, the accuracy of each image-blind rule; `hard`, the size of the
    hard subset and the option ratio's accuracy on it; `leak_share`, the share of questions whose
    image is in `train`; `near_duplicate_share`, of the others whose image has a near duplicate
    there; `fitted_on`. Shares lie between 0 and 1; what cannot be known is `None`.
    """
    fits = [(train.questions, group.questions)] if train else cross_validation(group.questions)
    hard = [(known, hard_subset(known, test)) for known, test in fits]
    near_share = None
    if train and group.perceptual:
        new = ~np.isin(group.images, train.images)
        near_share = float((near(group.perceptual, train.perceptual) & new).mean())
    return {
        "records": len(group.questions),
        "baselines": {name: pooled(rule, fits) for name, rule in BASELINES.items()},
        "hard": {
            "records": sum(len(test) for _, test in hard),
            "option_ratio": pooled(option_ratio, hard),
        },
        "leak_share": leak_share(train.images, group.images) if train else None,
        "near_duplicate_share": near_share,
        "fitted_on": "train" if train else f"cross-validated within, {FOLDS} folds",
    }


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


def near(hashes: Sequence[int], others: Sequence[int]) -> np.ndarray:
    """For each hash, whether one of `others` differs from it in at most `NEAR` bits."""
    mine, theirs = np.array(hashes, dtype=np.uint64), np.array(others, dtype=np.uint64)
    blocks = (mine[start : start + 64] for start in range(0, len(mine), 64))  # keeps memory small
    found = [(np.bitwise_count(block[:, None] ^ theirs) <= NEAR).any(axis=1) for block in blocks]
    return np.concatenate(found) if found else np.zeros(0, dtype=bool)


def table(report: dict[str, Any]) -> str:
    """One line per file: shares in per cent, a dash where nothing can be known."""

    def percent(*shares: float | None) -> str:
        return "".join(f"{'-':>8}" if one is None else f"{100 * one:>8.1f}" for one in shares)

    heads = ("n", "guess", "letter", "text", "ratio", "+stem", "hard", "solved", "leak", "near")
    width = max(len(path) for path in report["files"])
    lines = [" " * width + "".join(f"{head:>8}" for head in heads) + "  fitted on"]
    for path, found in report["files"].items():
        hard = f"{found['hard']['records']:>8}{percent(found['hard']['option_ratio'])}"
        overlap = percent(found["leak_share"], found["near_duplicate_share"])
        line = f"{path:<{width}}{found['records']:>8}{percent(*found['baselines'].values())}"
        lines.append(f"{line}{hard}{overlap}  {found['fitted_on']}")
    return "\n".join([*lines, f"{report['records']} records; shares in %"])
