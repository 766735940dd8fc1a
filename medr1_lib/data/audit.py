"""Rules that answer without looking, and the share of a test that was seen in training."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from medr1_lib.data.question import LETTERS, Question

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
        >>> labels = ("CT", "Modality Recognition", "an image", "demo")
        >>> asked = Question("Which?", ("CT", "MRI"), "A", *labels)
        >>> option_ratios([asked])
        {'ct': 0.625, 'mri': 0.125}
    """
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
