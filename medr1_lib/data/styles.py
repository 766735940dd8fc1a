"""The three reasoning styles: how a question is asked and how a completion is read.

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
_ANSWER = r"<answer>\s*([A-Ha-h])\s*</answer>"
_BLOCK = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL | re.IGNORECASE)
# A thought that is never closed ends with the text.
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_PATTERNS = {"<think>reasons</think>": _THOUGHT, "<answer>X</answer>": _ANSWER}
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

    def completion(self, letter: str, rationale: str = "") -> str:
        """A completion in this style."""
        return self.form.replace("X", letter).replace("reasons", rationale)


def _style(*blocks: str) -> ReasoningStyle:
    # White space is free between and around the blocks; each block stands exactly once.
    pattern = r"\s*".join(["", *(_PATTERNS[block] for block in blocks), ""])
    return ReasoningStyle("".join(blocks), re.compile(pattern, re.DOTALL))


_THINK, _LETTER = _PATTERNS
STYLES = {
    "think_before": _style(_THINK, _LETTER),
    "no_think": _style(_LETTER),
    "think_after": _style(_LETTER, _THINK),
}


def check_style(name: str) -> None:
    """Refuse a name that no style has, with an `InputError`."""
    if name not in STYLES:
        raise InputError(f"style {name!r}", "no such style", f"use one of {', '.join(STYLES)}")


def listed(options: Sequence[str]) -> str:
    """The options as OmniMedVQA writes them."""
    return ", ".join(f"{letter}){text}" for letter, text in zip(ALL_LETTERS, options, strict=False))


def prompt(question: str, options: Sequence[str], style: str) -> str:
    """The text of a prompt: stem, options, and the form of the reply.

    Example:
        >>> prompt("Which organ?", ["liver", "lung"], "no_think")
        'Which organ? A)liver, B)lung. Reply as <answer>X</answer>, X the letter.'
    """
    return f"{question} {listed(options)}. Reply as {STYLES[style].form}, X the letter."


def user_turn(text: str, image: bool = True) -> list[dict[str, Any]]:
    """A chat of one message that asks about an image, or without one."""
    parts = [{"type": "image"}] if image else []
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def read_strict(completion: str, style: str) -> str | None:
    """The letter of a completion in exactly the form asked for, else `None`.

    One answer block, outside the thinking, holding one letter in either case, and nothing but
    white space around the blocks. `C)` and `C) CT` are not letters.
    """
    match = STYLES[style].pattern.fullmatch(completion)
    return match[1].upper() if match else None


def read(completion: str, options: Sequence[str]) -> str | None:
    """The letter that a completion means, the same for all styles, or `None` if it is unclear.

    The last complete answer block outside the thinking counts, else all outside the thinking. The
    whole of it, its lines and what it calls the answer may be a letter in any of its usual forms
    (`C)`, `**C**`, `Option C`, `C: text`) or the text of exactly one option. Two letters are none.

    Example:
        >>> read("Air is black here. The answer is **B**.", ["liver", "lung"])
        'B'
    """
    spoken = _THINKING.sub(" ", completion)
    blocks = _BLOCK.findall(spoken)
    said = blocks[-1] if blocks else spoken
    texts = [_plain(option) for option in options]
    parts = {said, *said.splitlines(), *_STATED.findall(said)}
    letters = {letter for part in parts if (letter := _letter(part, texts))}
    return letters.pop() if len(letters) == 1 else None


def _letter(part: str, texts: list[str]) -> str | None:
    """The letter that a part of a reply is, or whose option's text it is."""
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
    found = re.search(r"<think>(.*?)(?:</think>|<answer>|\Z)", completion, re.DOTALL)
    return found[1].strip() if found else ""


def before_letter(completion: str, style: str) -> str:
    """How a completion in the form asked for begins, up to its letter, with the same reasoning.

    Example:
        >>> before_letter("<think>a ring</think>It is C.", "think_before")
        '<think>a ring</think><answer>'
    """
    return STYLES[style].form.partition("X")[0].replace("reasons", thought(completion))


def _plain(text: str) -> str:
    """Text without case, markup, invisible signs and full stop; wide letters become narrow."""
    shown = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join("".join(shown).split()).strip(" *_`\"'$").removesuffix(".").casefold()
