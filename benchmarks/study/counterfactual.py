"""A reward for letters that come from the image: with a wrong image, the model gives another."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from medr1_lib.data.styles import read_strict
from medr1_lib.rl.generation import sample_group
from medr1_lib.rl.loop import encode
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.rewards import Completion, text
from medr1_lib.rl.train import grpo_rows, training_questions


class CounterfactualReward:
    """A point for a letter that is right, if a wrong image makes the policy say something else.

    The wrong image is another one of the modality, of the questions that the recipe trains on; each
    question is asked about it once, greedily, by the policy of `trainer`, which `train` sets.
    """

    __name__ = "counterfactual_reward"  # under which TRL logs it
    trainer: Any = None

    def __init__(self, recipe: Recipe) -> None:
        self._style, self._rows = recipe.style, grpo_rows(recipe)
        questions = training_questions(recipe)
        self._modality = np.array(questions["modality"][:])
        self._images = np.array(questions["image_id"][:])
        self._tokens = recipe.config["max_completion_length"]

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        answer: Sequence[str],
        image_id: Sequence[str],
        **columns: object,
    ) -> list[float]:
        """The points of a batch, one for each completion."""
        keys = [(image, _asked(turns)) for image, turns in zip(image_id, prompts, strict=True)]
        other = dict(zip(dict.fromkeys(keys), self._letters([*dict.fromkeys(keys)]), strict=True))
        said = (read_strict(text(completion), self._style) for completion in completions)
        rows = zip(said, answer, keys, strict=True)
        return [float(letter == right != other[key]) for letter, right, key in rows]

    @torch.no_grad()
    def _letters(self, keys: list[tuple[str, str]]) -> list[str | None]:
        """The letter that is said to each question about a wrong image."""
        shown = [self._rows[self._wrong(image)]["image"] for image, _ in keys]
        asked = {"prompt": [[{"content": question}] for _, question in keys], "image": shown}
        policy, processor = self.trainer.model, self.trainer.processing_class
        hidden = [processor.image_token_id]
        how = GenerationConfig(do_sample=False, max_new_tokens=self._tokens, suppress_tokens=hidden)
        inputs = encode(processor, asked).to(policy.device)
        tokens = sample_group(policy, inputs, 1, how)
        replies = processor.batch_decode(tokens, skip_special_tokens=True)
        return [read_strict(reply, self._style) for reply in replies]

    def _wrong(self, image: str) -> int:
        """A question about another image of the modality, the same for an image every time."""
        own = int(np.flatnonzero(self._images == image)[0])
        same = self._modality == self._modality[own]
        others = np.flatnonzero(same & (self._images != image))
        return int(others[own % len(others)]) if len(others) else own


def _asked(turns: Any) -> str:  # noqa: ANN401 - a chat, with or without the place of its image
    content = turns[0]["content"]
    return content if isinstance(content, str) else content[-1]["text"]
