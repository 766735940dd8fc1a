"""How sure a model is of the letter it answers: the data of a calibration curve."""

from collections.abc import Iterator, Sequence

import pandas as pd
from PIL import Image
from transformers import PreTrainedTokenizerFast

from medr1_lib.data.question import LETTERS, Question
from medr1_lib.data.styles import STYLES
from medr1_lib.evaluation.ask import Asker


def letter_odds(
    asker: Asker,
    questions: Sequence[Question],
    pictures: Sequence[Image.Image],
    replies: Sequence[str],
    style: str,
    batch_size: int = 64,
) -> pd.DataFrame:
    """The probabilities of A to D where each reply says its letter. Used in chapter 09.

    What comes before the letter is the model's own: in `think_before` its reasoning too.

    Args:
        asker: The model, in evaluation mode.
        questions: What it was asked.
        pictures: One for each.
        replies: What it said to each, say in the column `completion` of an evaluation.
        style: The reasoning style that was asked for. Replies in another form are left out.
        batch_size: Replies read at once.

    Returns:
        One row per reply in the form asked for: `item` (its place), columns `A` to `D`, `chosen`,
        `confidence` (the probability of the chosen letter) and `correct`.
    """
    kept, edge = list(_in_form(replies, style)), _edge(asker.processor.tokenizer)
    rows = []
    for start in range(0, len(kept), batch_size):
        batch = kept[start : start + batch_size]
        chats = [
            asker.posed(questions[item], style) + before.removesuffix(edge)
            for item, before, _ in batch
        ]
        shown = [pictures[item] for item, _, _ in batch]
        odds = asker.odds(chats, shown, [edge + letter for letter in LETTERS])
        for (item, _, letter), some in zip(batch, odds.tolist(), strict=True):
            confidence, correct = some[LETTERS.index(letter)], letter == questions[item].answer
            rows.append((item, *some, letter, confidence, correct))
    return pd.DataFrame(rows, columns=["item", *LETTERS, "chosen", "confidence", "correct"])


def _in_form(replies: Sequence[str], style: str) -> Iterator[tuple[int, str, str]]:
    """Place, text before the letter, and letter of each reply in the form asked for."""
    for item, reply in enumerate(replies):
        if match := STYLES[style].pattern.fullmatch(reply):
            yield item, reply[: match.start(1)].rstrip(), match[1].upper()


def _edge(tokenizer: PreTrainedTokenizerFast) -> str:
    """What of the tag shares a token with the letter after it, if the tokenizer joins them."""
    joined = all(len(tokenizer.encode(f">{letter}")) == 1 for letter in LETTERS)
    return ">" if joined else ""
