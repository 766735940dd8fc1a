"""How much of a test can be answered without its images, and how much was seen in training."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from medr1_lib.data import fingerprints, omnimedvqa, store
from medr1_lib.data.archive import Source
from medr1_lib.data.schema import LETTERS, Question

Questions = Sequence[Question]
FOLDS = 5
UNSEEN = 0.25  # the option ratio of a text that training never offered


def normalise(text: str) -> str:
    """An option text without case and final period, which differ by who typed it.

    Example:
        >>> normalise("Thyroid Gland.")
        'thyroid gland'
    """
    return text.strip().lower().removesuffix(".")


def accuracy(test: Questions, score: Callable[[Question], Sequence[Any]]) -> float:
    """Share of right answers if the option with the highest score is chosen; ties share credit.

    Args:
        test: Questions to answer.
        score: Gives one score per option of a question.

    Example:
        >>> two = Question("Which?", ("a", "b"), "B", "CT", "Lesion Grading", "1", "demo")
        >>> accuracy([two], lambda question: [0, 0])
        0.5
    """
    credit = 0.0
    for question in test:
        scores = dict(zip(LETTERS, score(question), strict=False))
        best = max(scores.values())
        winners = [letter for letter in scores if scores[letter] == best]
        credit += (question.answer in winners) / len(winners)
    return credit / len(test)


def uniform(train: Questions, test: Questions) -> float:
    """Accuracy of a guess among the options. Built in chapter 01."""
    return accuracy(test, lambda question: [0] * len(question.options))


def letter_majority(train: Questions, test: Questions) -> float:
    """Accuracy of the letter that was right most often. Built in chapter 01."""
    right = Counter(question.answer for question in train)
    return accuracy(test, lambda q: [right[letter] for letter in LETTERS[: len(q.options)]])


def most_frequent_text(train: Questions, test: Questions) -> float:
    """Accuracy of the option whose text was right most often. Built in chapter 01."""
    right = Counter(normalise(question.answer_text) for question in train)
    return accuracy(test, lambda q: [right[normalise(option)] for option in q.options])


def option_ratios(train: Questions) -> dict[str, float]:
    """Normalised text to (times right + 0.25) / (times offered + 1). Built in chapter 01.

    Example:
        >>> asked = Question("Which?", ("CT", "MRI"), "A", "CT", "Modality Recognition", "1", "demo")
        >>> option_ratios([asked])
        {'ct': 0.625, 'mri': 0.125}
    """
    right = Counter(normalise(question.answer_text) for question in train)
    offered = Counter(normalise(option) for question in train for option in question.options)
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

    Args:
        train: What names the image of each training question.
        test: Likewise for each test question; an image may occur more than once.

    Example:
        >>> leak_share(["a", "b"], ["b", "b", "c", "d"])
        0.5
    """
    known = set(train)
    return sum(image in known for image in test) / len(test)


def hard_subset(train: Questions, test: Questions) -> list[Question]:
    """The questions with two options or more that are right answers in `train`."""
    right = {normalise(question.answer_text) for question in train}
    return [q for q in test if len(right & set(map(normalise, q.options))) >= 2]


_RULES = uniform, letter_majority, most_frequent_text, option_ratio, option_ratio_with_stem
BASELINES = {rule.__name__: rule for rule in _RULES}


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


def audit_splits(source: Source) -> dict[str, Any]:
    """Audit the text of Med-R1's split files; an image is known by its path.

    Returns:
        `{"records": N, "files": {path: what `describe` says}}`, paths relative to the source.

    Raises:
        InputError: At the first record that is not sound.
    """
    files = omnimedvqa.strict(omnimedvqa.splits(source))
    groups = {(file.kind, file.name, file.split): _of_file(file) for file in files}
    described = {
        file.path: describe(
            groups[file.kind, file.name, file.split],
            groups.get((file.kind, file.name, "train")) if file.split == "test" else None,
        )
        for file in files
    }
    return {"records": sum(len(file.items) for file in files), "files": described}


def audit_data(root: Path) -> dict[str, Any]:
    """Audit a data set that `store.write` made; an image is known by its pixels.

    Returns:
        As `audit_splits`, with paths `<split>/modality/<name>` and `<split>/question_type/<name>`.

    Raises:
        InputError: If there is no data set at `root`.
    """
    splits = store.read(root)
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
    fits = [(train.questions, group.questions)] if train else cross_validation(group.questions)
    hard = [(known, hard_subset(known, test)) for known, test in fits]
    leaked, near = (None, None) if train is None else _overlap(group, train)
    return {
        "records": len(group.questions),
        "baselines": {name: _pooled(rule, fits) for name, rule in BASELINES.items()},
        "hard": {
            "records": sum(len(test) for _, test in hard),
            "option_ratio": _pooled(option_ratio, hard),
        },
        "leak_share": leaked,
        "near_duplicate_share": near,
        "fitted_on": "train" if train else f"cross-validated within, {FOLDS} folds",
    }


def cross_validation(questions: list[Question]) -> list[tuple[list[Question], list[Question]]]:
    """Pairs to fit on and to score: question `i` is scored in fold `i` modulo `FOLDS`."""
    folds = [questions[start::FOLDS] for start in range(min(FOLDS, len(questions)))]
    return [([q for other in folds if other is not fold for q in other], fold) for fold in folds]


def _pooled(
    rule: Callable[[Questions, Questions], float], fits: Sequence[tuple[Questions, Questions]]
) -> float | None:
    scored = [(rule(train, test), len(test)) for train, test in fits if test]
    total = sum(size for _, size in scored)
    return sum(share * size for share, size in scored) / total if total else None


def _overlap(group: Group, train: Group) -> tuple[float, float | None]:
    shared = leak_share(train.images, group.images)
    if not group.perceptual:
        return shared, None
    near = fingerprints.near(group.perceptual, train.perceptual)
    same = np.isin(group.images, train.images)
    return shared, float((near & ~same).mean())


def _of_file(file: omnimedvqa.RecordFile) -> Group:
    questions = [item.question for item in file.items]
    return Group(questions, [question.image_id for question in questions], [])


def _by_label(table: datasets.Dataset) -> dict[str, Group]:
    groups: dict[str, Group] = defaultdict(lambda: Group([], [], []))
    rows = zip(table.remove_columns("image"), fingerprints.of(table), strict=True)
    for row, (pixels, perceptual) in rows:
        question = Question.from_record(row)
        for label in (f"modality/{question.modality}", f"question_type/{question.question_type}"):
            groups[label].questions.append(question)
            groups[label].images.append(pixels)
            groups[label].perceptual.append(perceptual)
    return groups
