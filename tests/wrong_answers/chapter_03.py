import itertools
import re

from medr1_lib.course.chapters.chapter_03 import last_letter
from medr1_lib.data.styles import STYLES
from medr1_lib.rl.rewards import accuracy_strict, text


def published_with(find, missing=lambda completion: completion, clean=str.strip):
    """An `accuracy_published` with something else in the place of one of its parts."""

    def accuracy(completion, answer, style):
        block = find(completion)
        return float(clean(block[1] if block else missing(completion)) == answer)

    return accuracy


def first(pattern, flags=0):
    return lambda completion: re.search(pattern, completion, flags)


def last(completion):
    blocks = list(re.finditer(r"<answer>(.*?)</answer>", completion))
    return blocks[-1] if blocks else None


LAZY = r"<answer>(.*?)</answer>"


def read_with(match, letter=lambda match: match[1].upper() if match else None):
    return lambda completion, style: letter(match(STYLES[style].pattern, completion))


def rewarded(score, style, completions, answer):
    pairs = zip(completions, answer, strict=True)
    return [score(text(completion), letter, style) for completion, letter in pairs]


def hack(pays, reads, answer, strings, full=lambda points: points == 2):
    found = (said for said in strings if full(pays(said)) and reads(said) != answer)
    return next(found, None)


def products(pieces, numbers):
    return ("".join(s) for n in numbers for s in itertools.product(pieces, repeat=n))


WRONG = {
    "shortest_hack": {
        "and is read as A": lambda pays, reads, answer, pieces, longest: next(
            said for said in products(pieces, range(1, longest + 1)) if pays(said) == 2
        ),
        "without a hack": lambda *case: hack(*case[:3], products(case[3], range(1, 3))),
        "tried first": lambda *case: hack(*case[:3], products(case[3], range(2, case[4] + 1))),
        "in the order": lambda *case: hack(
            *case[:3], products(sorted(case[3]), range(1, case[4] + 1))
        ),
        "what counts as read": lambda pays, reads, answer, pieces, longest: hack(
            pays, last_letter, answer, products(pieces, range(1, longest + 1))
        ),
        "2 are full": lambda *case: hack(
            *case[:3], products(case[3], range(1, case[4] + 1)), full=bool
        ),
    },
    "accuracy_published": {
        "the right letter in a block": lambda completion, answer, style: float(
            completion.strip() == answer
        ),
        "a wrong letter earns nothing": lambda completion, answer, style: float(
            re.search(LAZY, completion) is not None
        ),
        "white space around": published_with(first(LAZY), clean=str),
        "ends at the first closing tag": published_with(first(r"<answer>(.*)</answer>")),
        "without a block": published_with(first(LAZY), missing=lambda completion: ""),
        "with a line break in it": published_with(first(LAZY, re.DOTALL)),
        "compares case": published_with(first(LAZY), clean=lambda said: said.strip().upper()),
        "is not subscriptable": lambda completion, answer, style: float(
            re.search(LAZY, completion)[1].strip() == answer
        ),
    },
    "read_strict": {
        "group 1 of the match": read_with(re.fullmatch, lambda match: match[0] if match else None),
        "either case": read_with(re.fullmatch, lambda match: match[1] if match else None),
        "raises TypeError": read_with(re.fullmatch, lambda match: match[1].upper()),
        "there is no letter": read_with(
            re.fullmatch, lambda match: match[1].upper() if match else ""
        ),
        "stand before": read_with(re.search),
        "stand after": read_with(re.match),
        "the style asked for": lambda completion, style: read_with(re.fullmatch)(
            completion, "no_think"
        ),
    },
    "accuracy_reward": {
        "a list is asked for": lambda *arguments: sum(rewarded(*arguments)),
        "raises TypeError": lambda score, style, completions, answer: [
            score(completion, letter, style)
            for completion, letter in zip(completions, answer, strict=True)
        ],
        "its own right letter": lambda score, style, completions, answer: rewarded(
            score, style, completions, [answer[0]] * len(completions)
        ),
        "the style is the one": lambda score, style, completions, answer: rewarded(
            score, "no_think", completions, answer
        ),
        "passed in as `score`": lambda score, *rest: rewarded(accuracy_strict, *rest),
    },
}
