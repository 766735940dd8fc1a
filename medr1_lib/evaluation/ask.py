"""Ask a model: chats and images in; completions, samples or probabilities of letters out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import GenerationConfig, PreTrainedTokenizerFast
from transformers.feature_extraction_utils import BatchFeature

from medr1_lib.data import styles
from medr1_lib.data.question import LETTERS, Question
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor, Policy, base_model
from medr1_lib.rl.generation import sample_group

ROWS = 128  # completions at once: with room for 256 tokens each, a 2B model takes 5 GB of a GPU


def question_chat(
    processor: ImageOnlyQwen2VLProcessor, question: Question, style: str, image: bool = True
) -> str:
    """The chat that asks a question in a reasoning style, with or without its image."""
    return _chat(processor, styles.prompt(question.question, question.options, style), image)


def _chat(processor: ImageOnlyQwen2VLProcessor, text: str, image: bool = True) -> str:
    turn: list[Any] = styles.user_turn(text, image)
    return processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)


def shared_edge(tokenizer: PreTrainedTokenizerFast) -> str:
    """What of the tag shares a token with the letter after it, if the tokenizer joins them."""
    joined = (tokenizer.encode(f">{one}", add_special_tokens=False) for one in LETTERS)
    return ">" if all(len(tokens) == 1 for tokens in joined) else ""


@dataclass(frozen=True)
class Asker:
    """A model to talk to, one batch at a time, `max_new_tokens` at most. See chapter 02.

    To score a model on a data set, take `evaluate`: it sorts, batches and keeps its answers.
    """

    model: Policy
    processor: ImageOnlyQwen2VLProcessor
    max_new_tokens: int
    sampling: Mapping[str, float] = field(default_factory=dict)  # else at temperature 1, uncut

    def chat(self, text: str) -> str:
        """A user's turn about an image, and the opening of the completion."""
        return _chat(self.processor, text)

    def question_chat(self, question: Question, style: str) -> str:
        """The chat that asks a question in the reasoning style of that name."""
        return question_chat(self.processor, question, style)

    def encode(self, chats: Sequence[str], images: Sequence[Image.Image]) -> BatchFeature:
        """Tokens of the chats, padded on the left, and patches of the images, one for each."""
        batch = {"text": list(chats), "images": [[image] for image in images] or None}
        how = {"padding": True, "return_tensors": "pt", "add_special_tokens": False}
        return self.processor(**batch, **how).to(self.model.device)

    def complete(self, chats: Sequence[str], images: Sequence[Image.Image]) -> list[str]:
        """The likeliest continuation of each chat, token by token."""
        tokens = self.complete_ids(chats, images)
        return self.processor.batch_decode(tokens, skip_special_tokens=True)

    def complete_ids(self, chats: Sequence[str], images: Sequence[Image.Image]) -> list[list[int]]:
        """The tokens of those continuations, without the one that ends them."""
        # All settings are said: what a model's own configuration holds would fill the gaps.
        how = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}
        return self._continued(chats, images, 1, how)

    def sample(
        self, chats: Sequence[str], images: Sequence[Image.Image], count: int, seed: int = 0
    ) -> list[list[str]]:
        """Draw so many continuations of each chat."""
        torch.manual_seed(seed)
        how = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, **self.sampling}
        found, together = [], max(1, ROWS // count)
        for first in range(0, len(chats), together):
            part = slice(first, first + together)
            tokens = self._continued(chats[part], images[part], count, how)
            texts = self.processor.batch_decode(tokens, skip_special_tokens=True)
            found += [texts[start : start + count] for start in range(0, len(texts), count)]
        return found

    @torch.inference_mode()
    def forced_probs(
        self, opened: Sequence[str], images: Sequence[Image.Image], letters: str = LETTERS
    ) -> NDArray[np.float64]:
        """Probability of each letter behind chats that end where one is due, (chats, letters)."""
        if not opened:
            return np.empty((0, len(letters)))
        run: Any = self.model
        tokenizer = self.processor.tokenizer
        edge = shared_edge(tokenizer)
        inputs = self.encode([text.removesuffix(edge) for text in opened], images)
        logits = run(**inputs, logits_to_keep=1).logits[:, -1]
        tokens = [tokenizer.encode(edge + one, add_special_tokens=False)[0] for one in letters]
        return logits.double().softmax(-1)[:, tokens].cpu().numpy()

    @torch.inference_mode()
    def _continued(
        self, chats: Sequence[str], images: Sequence[Image.Image], count: int, how: dict[str, Any]
    ) -> list[list[int]]:
        image = base_model(self.model).config.image_token_id
        how["suppress_tokens"] = [image, getattr(self.processor, "video_token_id", image)]
        settings = GenerationConfig(max_new_tokens=self.max_new_tokens, **how)
        output = sample_group(self.model, self.encode(chats, images), count, settings)
        ends = self.model.generation_config.eos_token_id
        ends = set(ends) if isinstance(ends, list) else {ends}
        return [[*takewhile(lambda token: token not in ends, row)] for row in output.tolist()]
