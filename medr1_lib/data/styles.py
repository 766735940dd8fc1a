"""The reasoning styles: how a question is asked and how a completion is read.

Three are those of Med-R1 and of the course, `STYLES`; the others are for a study of causes.
Strict reading is for the reward; tolerant reading is for evaluation, and ignores punctuation.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medr1_lib.data.question import ALL_LETTERS
from medr1_lib.errors import InputError

_THOUGHT = r"<think>(?:(?!</?think>|</?answer>).)*</think>"
_REASON = _THOUGHT.replace("think", "reason")
_ANSWER = r"<answer>\s*([A-Ha-h])\s*</answer>"
_BLOCK = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL | re.IGNORECASE)
# A thought that is never closed ends with the text.
_THINKING = re.compile(r"<(think|reason)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_PATTERNS = {"<think>reasons</think>": _THOUGHT, "<answer>X</answer>": _ANSWER}
_PATTERNS |= {"<reason>reasons</reason>": _REASON}
# `B`, `(B)`, `B.`, and the same before the option's text, as `B: lung`.
_MARKED = re.compile(r"[(\[{]?([A-H])(?:[\"')\]}.: ]*|[)\].:]+ ?(.+))", re.IGNORECASE)
_LABEL = re.compile(
    r'(?:(?:(?:final )?answer ?:|option|choice|\\boxed ?{|(?:json ?)?{ ?"answer" ?:)[ *"]*)+',
    re.IGNORECASE,
)
# What a sentence calls the answer: the rest of the sentence, or what is quoted.
_STATED = re.compile(
    r'\b(?:answer|option|choice)[*"]* ?(?:is|:)[*" :]*(.+?)(?:\.\s|"| because|$)',
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class ReasoningStyle:
    """Where the reasoning stands in a completion."""

    form: str  # what the prompt shows and strict reading asks for; `X` is the letter
    pattern: re.Pattern[str]  # `form` over a whole completion; group 1 is the letter
    ask: str = ""  # what the prompt says instead of "Reply as `form`, X the letter."
    optional: bool = False  # whether a completion may do without the reasoning in front
    begun: str = ""  # what a completion is given to begin with; such a style is for asking only

    @property
    def reasons(self) -> bool:
        """Whether a completion holds reasons of its own."""
        return "reasons" in self.form

    def completion(self, letter: str, rationale: str = "") -> str:
        """A completion in this style."""
        form = self.form.removeprefix("" if rationale or not self.optional else _THINK)
        return form.replace("X", letter).replace("reasons", rationale)


def _style(*blocks: str, optional: bool = False, ask: str = "", begun: str = "") -> ReasoningStyle:
    # White space is free between and around the blocks; each block stands exactly once.
    wanted = [_PATTERNS.get(block, re.escape(block)) for block in blocks]
    if optional:
        wanted[0] = f"(?:{wanted[0]})?"
    pattern = re.compile(r"\s*".join(["", *wanted, ""]), re.DOTALL)
    return ReasoningStyle("".join(blocks), pattern, ask, optional, begun)


_THINK, _LETTER, _GIVEN = _PATTERNS
STYLES = {
    "think_before": _style(_THINK, _LETTER),
    "no_think": _style(_LETTER),
    "think_after": _style(_LETTER, _THINK),
}
# arXiv 2503.16188v6, appendix E: thinking after the answer, in the words and tags of its authors.
AUTHORS_ASK = (
    "Please first output the answer in <answer> </answer> tags and then output a brief reasoning "
    "process in <reason> </reason> tags."
)
EITHER_ASK = f"Reply as {_LETTER} or as {_THINK}{_LETTER}, X the letter."
# As many tokens of the tiny model as most thoughts have, and nothing about the picture.
NO_CONTENT = "<think>answer is the letter of this image</think>"
VARIANTS = {
    "reason_after": _style(_LETTER, _GIVEN, ask=AUTHORS_ASK),
    "dummy_after": _style(_LETTER, NO_CONTENT),
    "adaptive": _style(_THINK, _LETTER, optional=True, ask=EITHER_ASK),
    "empty_think": _style(_THINK, _LETTER, begun="<think></think><answer>"),
}
ALL_STYLES = STYLES | VARIANTS


def check_style(name: str) -> None:
    """Refuse a name that no style has, or none to train in, with an `InputError`."""
    if name not in ALL_STYLES:
        raise InputError(f"style {name!r}", "no such style", f"use one of {', '.join(STYLES)}")
    if ALL_STYLES[name].begun:
        raise InputError(f"style {name!r}", "is for asking only", "train in think_before")


def listed(options: Sequence[str]) -> str:
    """The options as OmniMedVQA writes them."""
    return ", ".join(f"{letter}){text}" for letter, text in zip(ALL_LETTERS, options, strict=False))


def prompt(question: str, options: Sequence[str], style: str) -> str:
    """The text of a prompt: stem, options, and the form of the completion.

    Example:
        >>> prompt("Which organ?", ["liver", "lung"], "no_think")
        'Which organ? A)liver, B)lung. Reply as <answer>X</answer>, X the letter.'
    """
    asked = ALL_STYLES[style].ask or f"Reply as {ALL_STYLES[style].form}, X the letter."
    return f"{question} {listed(options)}. {asked}"


def user_turn(text: str, image: bool = True) -> list[dict[str, Any]]:
    """A chat of one message that asks about an image, or without one."""
    parts = [{"type": "image"}] if image else []
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def read_strict(completion: str, style: str) -> str | None:
    """The letter of a completion in exactly the form asked for, else `None`.

    One answer block, outside the thinking, holding one letter in either case, and nothing but
    white space around the blocks. `C)` and `C) CT` are not letters.
    """
    match = ALL_STYLES[style].pattern.fullmatch(completion)
    return match[1].upper() if match else None


def read(completion: str, options: Sequence[str]) -> str | None:
    """The letter that a completion means, the same for all styles, or `None` if it is unclear.

    What is `spoken`, a line of it or what it calls the answer may be a letter in any usual form
    (`C)`, `**C**`, `Option C`, `C: text`) or the text of exactly one option. Two letters are none.

    Example:
        >>> read("Air is black here. The answer is **B**.", ["liver", "lung"])
        'B'
    """
    text, texts = spoken(completion), [_plain(option) for option in options]
    parts = {text, *text.splitlines(), *_STATED.findall(text)}
    letters = {letter for part in parts if (letter := _letter(part, texts))}
    return letters.pop() if len(letters) == 1 else None


def spoken(completion: str) -> str:
    """The last complete answer block outside the thinking, else all outside the thinking."""
    aloud = _THINKING.sub(" ", completion)
    blocks = _BLOCK.findall(aloud)
    return blocks[-1] if blocks else aloud


def _letter(part: str, texts: list[str]) -> str | None:
    answer = _plain(part)
    marked = _MARKED.fullmatch(answer)
    if answer in texts and answer and (not marked or marked[2]):
        return ALL_LETTERS[texts.index(answer)] if texts.count(answer) == 1 else None
    marked = marked or _MARKED.fullmatch(_plain(_LABEL.sub("", answer, count=1)))
    if not marked:
        return None
    place = ALL_LETTERS.index(marked[1].upper())
    known = place < len(texts) and (not marked[2] or _plain(marked[2]) == texts[place])
    return ALL_LETTERS[place] if known else None


def thought(completion: str) -> str:
    """The reasoning of a completion, which ends with the answer if it is never closed; or empty."""
    found = re.search(r"<(think|reason)>(.*?)(?:</\1>|<answer>|\Z)", completion, re.DOTALL)
    return found[2].strip() if found else ""


def before_letter(completion: str, style: str) -> str:
    """How a completion in the form asked for begins, up to its letter, with the same reasoning.

    Example:
        >>> before_letter("<think>a ring</think>It is C.", "think_before")
        '<think>a ring</think><answer>'
    """
    said = thought(completion)
    shown = ALL_STYLES[style].completion("X", said and "reasons")
    return shown.partition("X")[0].replace("reasons", said)


def _plain(text: str) -> str:
    """Text without case, markup, invisible signs and full stop; wide letters become narrow."""
    shown = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join("".join(shown).split()).strip(" *_`\"'$").removesuffix(".").casefold()
