"""Ask a model by hand: chats and images in; replies, samples or next-token probabilities out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import GenerationConfig
from transformers.feature_extraction_utils import BatchFeature

from medr1_lib.data.question import LETTERS, Question
from medr1_lib.data.styles import STYLES
from medr1_lib.evaluation.evaluate import chat, encode, next_token_probs, shared_edge, start
from medr1_lib.model.loading import Policy
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor
from medr1_lib.rl.generation import sample_group

ROWS = 128  # replies at once: a 2B model with room for 256 tokens each takes 5 GB of a GPU for them


@dataclass(frozen=True)
class Asker:
    """A model to talk to, one batch at a time; replies end after `max_new_tokens`. See chapter 02.

    To score a model on a data set, take `evaluate`: it sorts, batches and keeps its answers.
    """

    model: Policy
    processor: ImageOnlyQwen2VLProcessor
    max_new_tokens: int

    def chat(self, text: str) -> str:
        """A user's turn about an image, and the opening of the reply."""
        return chat(self.processor, text)

    def question_chat(self, question: Question, style: str) -> str:
        """The chat that asks a question in the reasoning style of that name."""
        return start(self.processor, question, style, image=True).prompt

    def encode(self, chats: Sequence[str], images: Sequence[Image.Image]) -> BatchFeature:
        """Tokens of the chats, padded on the left, and patches of the images, one for each."""
        return encode(self.model, self.processor, chats, images)

    def reply(self, chats: Sequence[str], images: Sequence[Image.Image]) -> list[str]:
        """The likeliest continuation of each chat, token by token."""
        return [reply for (reply,) in self._continued(chats, images, 1, do_sample=False)]

    def sample(
        self, chats: Sequence[str], images: Sequence[Image.Image], count: int, seed: int = 0
    ) -> list[list[str]]:
        """Draw so many continuations of each chat at temperature 1."""
        torch.manual_seed(seed)
        how = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0}
        return self._continued(chats, images, count, **how)

    def next_token_probs(
        self, chats: Sequence[str], images: Sequence[Image.Image], words: Sequence[str]
    ) -> NDArray[np.float64]:
        """Probability that the first token of each word comes next, (chats, words)."""
        return next_token_probs(self.model, self.processor, chats, images, words)

    @torch.inference_mode()
    def _continued(
        self, chats: Sequence[str], images: Sequence[Image.Image], count: int, **how: float
    ) -> list[list[str]]:
        settings = GenerationConfig(max_new_tokens=self.max_new_tokens, **how)
        found, together = [], max(1, ROWS // count)
        for first in range(0, len(chats), together):
            part = slice(first, first + together)
            inputs = self.encode(chats[part], images[part])
            tokens = sample_group(self.model, inputs, count, settings)
            texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
            found += [texts[start : start + count] for start in range(0, len(texts), count)]
        return found


def letter_probs(
    asker: Asker,
    questions: Sequence[Question],
    images: Sequence[Image.Image],
    replies: Sequence[str],
    style: str,
    batch_size: int = 64,
) -> pd.DataFrame:
    """The probabilities of the letters where each reply has its own. Used in chapter 11.

    What comes before the letter is the model's own: in `think_before` its reasoning too. Replies
    (the column `completion` of an evaluation) in another form than that of `style`, or with a
    letter that the question has not, are left out. Returns one row per other reply: `item` (its
    place), a column for each letter, `chosen`, `confidence` (the probability of the chosen letter)
    and `correct`.
    """
    edge, in_form, rows = shared_edge(asker.processor.tokenizer), [], []
    known = max(LETTERS, *(one.letters for one in questions), key=len)
    for item, reply in enumerate(replies):
        match = STYLES[style].pattern.fullmatch(reply)
        if match and match[1].upper() in questions[item].letters:
            before = reply[: match.start(1)].rstrip().removesuffix(edge)
            opened = asker.question_chat(questions[item], style) + before
            in_form.append((item, opened, match[1].upper()))
    for first in range(0, len(in_form), batch_size):
        items, chats, letters = zip(*in_form[first : first + batch_size], strict=True)
        words = [edge + letter for letter in known]
        probs = asker.next_token_probs(chats, [images[item] for item in items], words)
        for item, letter, row in zip(items, letters, probs.tolist(), strict=True):
            confidence, correct = row[known.index(letter)], letter == questions[item].answer
            rows.append((item, *row, letter, confidence, correct))
    return pd.DataFrame(rows, columns=["item", *known, "chosen", "confidence", "correct"])
