"""How examples become rows of tokens, and how the model answers from cached image features."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration

from medr1_lib.data.question import LETTERS
from tools.pretrain.examples import Example
from tools.pretrain.pictures import TOKENS

OPENING = "<|im_start|>user\n<|vision_start|>"
IGNORED = -100
SIDE = 4  # image tokens per side


@dataclass(frozen=True)
class TinyVLM:
    """A model, its tokenizer, and how they turn text into training rows.

    The tower is not run: images come as its features, computed once, which is exact since it is
    frozen, and makes a step several times cheaper.
    """

    model: Qwen2VLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase

    def tokens(self, text: str) -> tuple[int, ...]:
        """The token ids of a text."""
        return _tokens(self.tokenizer, text)

    def opening(self) -> list[int]:
        """What stands in front of every prompt with an image, and the places of its features."""
        image = self.model.config.image_token_id
        return [*self.tokens(OPENING), *[image] * TOKENS]

    def row(self, example: Example, image: bool) -> tuple[list[int], list[int]]:
        """The ids and labels of one example."""
        ids = self.opening() if image else []
        labels = [IGNORED] * len(ids)
        for text, target in example.parts:
            piece = self.tokens(text)
            ids += piece
            labels += piece if target else [IGNORED] * len(piece)
        return ids, labels

    def positions(self, length: int, image: bool) -> Tensor:
        """Rotary positions of a row, shape (3, length): those that Qwen2-VL gives it."""
        if not image:
            return torch.arange(length).expand(3, -1)
        start = len(self.tokens(OPENING))
        places = torch.arange(TOKENS)
        shown = torch.stack([torch.zeros_like(places), places // SIDE, places % SIDE]) + start
        rest = torch.arange(length - start - TOKENS) + start + SIDE
        return torch.cat([torch.arange(start).expand(3, -1), shown, rest.expand(3, -1)], 1)

    def embed(self, ids: Tensor, features: Tensor | None) -> Tensor:
        """Word vectors, with image features in the places held for them."""
        vectors = self.model.get_input_embeddings()(ids)
        if features is None:
            return vectors
        held = (ids == self.model.config.image_token_id).unsqueeze(-1)
        return vectors.masked_scatter(held, features.to(vectors.dtype))

    @torch.no_grad()
    def reply(
        self,
        prompts: Sequence[str],
        features: Tensor,
        limit: int,
        sampler: torch.Generator | None = None,
    ) -> list[str]:
        """Continue prompts with images: greedily, or sampled at temperature 1 with a sampler.

        The same tokens as `generate` on pixels, without running the tower again.
        """
        rows = [[*self.opening(), *self.tokens(prompt)] for prompt in prompts]
        longest, blank = max(map(len, rows)), self.tokenizer.pad_token_id
        ids = torch.tensor([[blank] * (longest - len(row)) + row for row in rows])
        placed = [self.positions(len(row), True) for row in rows]
        positions = torch.stack([pad(own, (longest - own.shape[1], 0)) for own in placed], 1)
        mask, written = (ids != blank).long(), []
        step, cache = self.embed(ids, features), None
        ended = torch.zeros(len(rows), dtype=torch.bool)
        for _ in range(limit):
            output = self.model.model.language_model(
                inputs_embeds=step,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            logits = self.model.lm_head(output.last_hidden_state[:, -1])
            words = _choose(logits, sampler).masked_fill(ended, blank)
            written.append(words)
            ended |= words == self.tokenizer.eos_token_id
            if ended.all():
                break
            step, cache = self.embed(words[:, None], None), output.past_key_values
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            positions = positions[:, :, -1:].amax(0, keepdim=True).expand(3, -1, -1) + 1
        return self.tokenizer.batch_decode(torch.stack(written, 1), skip_special_tokens=True)

    @torch.no_grad()
    def letter_odds(self, texts: Sequence[str], features: Tensor) -> Tensor:
        """Log-probabilities of the four letters after some texts with images: (texts, 4)."""
        rows = [[*self.opening(), *self.tokens(text)] for text in texts]
        longest, blank = max(map(len, rows)), self.tokenizer.pad_token_id
        ids = torch.tensor([row + [blank] * (longest - len(row)) for row in rows])
        hidden = self.model.model.language_model(
            inputs_embeds=self.embed(ids, features),
            position_ids=self.positions(longest, True)[:, None].expand(3, len(rows), -1),
            use_cache=False,
        ).last_hidden_state
        last = hidden[torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])]
        letters = [self.tokens(letter)[0] for letter in LETTERS]
        return self.model.lm_head(last).log_softmax(1)[:, letters]


def _choose(logits: Tensor, sampler: torch.Generator | None) -> Tensor:
    if sampler is None:
        return logits.argmax(1)
    return torch.multinomial(logits.softmax(1), 1, generator=sampler)[:, 0]


@lru_cache(100_000)
def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text)["input_ids"])
