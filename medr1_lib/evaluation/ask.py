"""Ask a model by hand: chats and pictures in, replies, samples or probabilities out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import GenerationConfig
from transformers.feature_extraction_utils import BatchFeature

from medr1_lib.data.question import Question
from medr1_lib.data.styles import prompt, user_turn
from medr1_lib.evaluation.controls import GREY
from medr1_lib.model.loading import Policy
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor
from medr1_lib.rl.generation import sample_group


@dataclass(frozen=True)
class Asker:
    """A model to talk to, one batch at a time. Used in chapter 02.

    To score a model on a data set, take `evaluate`: it sorts, batches and keeps its answers.

    Attributes:
        model: The policy.
        processor: Its processor.
        max_new_tokens: Where a reply is cut off.
    """

    model: Policy
    processor: ImageOnlyQwen2VLProcessor
    max_new_tokens: int

    def chat(self, text: str) -> str:
        """A user's turn about a picture, and the opening of the reply."""
        turn: list[Any] = user_turn(text)
        return self.processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)

    def posed(self, question: Question, style: str) -> str:
        """The chat that asks a question in the reasoning style of that name."""
        return self.chat(prompt(question.question, question.options, style))

    def encode(self, chats: Sequence[str], pictures: Sequence[Image.Image]) -> BatchFeature:
        """Tokens of the chats, padded on the left, and patches of the pictures, one for each."""
        batch = self.processor(
            text=list(chats), images=list(pictures), padding=True, return_tensors="pt"
        )
        return batch.to(self.model.device)

    def reply(self, chats: Sequence[str], pictures: Sequence[Image.Image]) -> list[str]:
        """The likeliest continuation of each chat, token by token."""
        how = GenerationConfig(do_sample=False, max_new_tokens=self.max_new_tokens)
        return [said for (said,) in self._continued(chats, pictures, 1, how)]

    def sample(
        self, chats: Sequence[str], pictures: Sequence[Image.Image], count: int, seed: int = 0
    ) -> list[list[str]]:
        """Draw so many continuations of each chat at temperature 1."""
        torch.manual_seed(seed)
        how = GenerationConfig(
            do_sample=True, temperature=1.0, top_p=1.0, top_k=0, max_new_tokens=self.max_new_tokens
        )
        return self._continued(chats, pictures, count, how)

    @torch.inference_mode()
    def odds(
        self, chats: Sequence[str], pictures: Sequence[Image.Image], words: Sequence[str]
    ) -> NDArray[np.float64]:
        """Probability that the first token of each word comes next, (chats, words)."""
        model: Any = self.model
        logits = model(**self.encode(chats, pictures), logits_to_keep=1).logits[:, -1]
        first = [self.processor.tokenizer.encode(word)[0] for word in words]
        return logits.double().softmax(-1)[:, first].cpu().numpy()

    def occlusion(
        self, chat: str, picture: Image.Image, word: str, side: int = 28
    ) -> NDArray[np.float64]:
        """How much the probability of the next word falls without each tile of a picture.

        Args:
            chat: About the picture, up to the word.
            picture: A tile of it after the other is covered in grey.
            word: Of which the first token counts.
            side: Of a tile, in pixels; that of one token, if it is not said.

        Returns:
            Probability with all tiles less that without this one, (rows, columns).
        """
        rows, columns = picture.height // side, picture.width // side
        covered = [picture.copy() for _ in range(rows * columns)]
        for tile, image in enumerate(covered):
            x, y = side * (tile % columns), side * (tile // columns)
            image.paste(GREY, (x, y, x + side, y + side))
        shown = [picture, *covered]
        odds = self.odds([chat] * len(shown), shown, [word])
        return (odds[0] - odds[1:]).reshape(rows, columns)

    @torch.inference_mode()
    def _continued(
        self,
        chats: Sequence[str],
        pictures: Sequence[Image.Image],
        count: int,
        how: GenerationConfig,
    ) -> list[list[str]]:
        tokens = sample_group(self.model, self.encode(chats, pictures), count, how)
        said = self.processor.batch_decode(tokens, skip_special_tokens=True)
        return [said[start : start + count] for start in range(0, len(said), count)]
