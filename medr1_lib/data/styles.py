"""The three reasoning styles: how a question is asked and how a completion is read.

Reading is strict for the reward, so that only the form asked for pays, and tolerant for evaluation,
so that a style is not scored on its punctuation.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medr1_lib.data.question import LETTERS
from medr1_lib.errors import InputError

_THOUGHT = r"<think>(?:(?!</?think>|</?answer>).)*</think>"
_ANSWER = r"<answer>\s*([A-Da-d])\s*</answer>"
_BLOCK = re.compile(r"<answer>((?:(?!<answer>).)*?)</answer>", re.DOTALL)
# A thought that is never closed ends with the text.
_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_PATTERNS = {"<think>reasons</think>": _THOUGHT, "<answer>X</answer>": _ANSWER}
_MARKED = re.compile(r"([A-Da-d])(?:\s*\)\s*(.*))?", re.DOTALL)


@dataclass(frozen=True)
class ReasoningStyle:
    """Where the reasoning stands in a completion."""

    name: str  # its key in `STYLES`
    form: str  # what the prompt shows and strict reading asks for; `X` is the letter
    pattern: re.Pattern[str]  # `form` over a whole completion; group 1 is the letter

    def completion(self, letter: str, rationale: str = "") -> str:
        """A completion in this style.

        Example:
            >>> STYLES["think_before"].completion("B", "a ring in the liver")
            '<think>a ring in the liver</think><answer>B</answer>'
        """
        return self.form.replace("X", letter).replace("reasons", rationale)


def _style(name: str, *blocks: str) -> ReasoningStyle:
    # White space is free between and around the blocks; each block stands exactly once.
    pattern = r"\s*".join(["", *(_PATTERNS[block] for block in blocks), ""])
    return ReasoningStyle(name, "".join(blocks), re.compile(pattern, re.DOTALL))


_THINK, _LETTER = _PATTERNS
STYLES = {
    "think_before": _style("think_before", _THINK, _LETTER),
    "no_think": _style("no_think", _LETTER),
    "think_after": _style("think_after", _LETTER, _THINK),
}


def check_style(name: str) -> None:
    """Refuse a name that no style has, with an `InputError`."""
    if name not in STYLES:
        raise InputError(f"style {name!r}", "no such style", f"use one of {', '.join(STYLES)}")


def listed(options: Sequence[str]) -> str:
    """The options as OmniMedVQA writes them.

    Example:
        >>> listed(["liver", "lung"])
        'A)liver, B)lung'
    """
    return ", ".join(f"{letter}){text}" for letter, text in zip(LETTERS, options, strict=False))


def prompt(question: str, options: Sequence[str], style: str) -> str:
    """The text of a prompt: stem, options, and the form of the reply.

    Example:
        >>> prompt("Which organ?", ["liver", "lung"], "no_think")
        'Which organ? A)liver, B)lung. Reply as <answer>X</answer>, X the letter.'
    """
    return f"{question} {listed(options)}. Reply as {STYLES[style].form}, X the letter."


def user_turn(text: str, image: bool = True) -> list[dict[str, Any]]:
    """A chat of one message that asks about an image, or without one.

    Example:
        >>> user_turn("Which organ?", image=False)
        [{'role': 'user', 'content': [{'type': 'text', 'text': 'Which organ?'}]}]
    """
    parts = [{"type": "image"}] if image else []
    return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]


def read_strict(completion: str, style: str) -> str | None:
    """The letter of a completion in exactly the form asked for, else `None`.

    One answer block, outside the thinking, holding one letter in either case, and nothing but
    white space around the blocks. `C)` and `C) CT` are not letters.

    Example:
        >>> read_strict("<answer>c</answer>", "no_think")
        'C'
        >>> read_strict("<answer>C</answer><answer>D</answer>", "no_think")
    """
    match = STYLES[style].pattern.fullmatch(completion)
    return match[1].upper() if match else None


def read(completion: str, options: Sequence[str]) -> str | None:
    """The letter that a completion means, the same for all styles, or `None` if it is unclear.

    The last complete answer block outside the thinking counts: a letter, `C)`, `C) text` or the
    text of exactly one option. Without any tag, a letter alone counts.

    Example:
        >>> read("I am sure. <answer>B) lung</answer>", ["liver", "lung"])
        'B'
    """
    spoken = _THINKING.sub(" ", completion)
    blocks = _BLOCK.findall(spoken)
    if blocks:
        return _meaning(blocks[-1], options)
    bare = spoken.strip()
    return _meaning(bare, options) if len(bare) == 1 else None


def thought(completion: str) -> str:
    """The reasoning of a completion, which ends with the answer if it is never closed; or empty.

    Example:
        >>> thought("<answer>B</answer><think>CT, head, finding: mass</think>")
        'CT, head, finding: mass'
    """
    found = re.search(r"<think>(.*?)(?:</think>|<answer>|\Z)", completion, re.DOTALL)
    return found[1].strip() if found else ""


def _meaning(answer: str, options: Sequence[str]) -> str | None:
    texts = [_plain(option) for option in options]
    marked = _MARKED.fullmatch(answer.strip())
    if marked:
        place = LETTERS.index(marked[1].upper())
        known = place < len(texts) and _plain(marked[2] or "") in ("", texts[place])
        return LETTERS[place] if known else None
    named = [letter for letter, text in zip(LETTERS, texts, strict=False) if text == _plain(answer)]
    return named[0] if len(named) == 1 else None


def _plain(text: str) -> str:
    return " ".join(text.split()).removesuffix(".").casefold()
