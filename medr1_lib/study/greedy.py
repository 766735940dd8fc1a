"""Greedy decoding of many prompts, of which a few run on and on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.feature_extraction_utils import BatchFeature

from medr1_lib.data.schema import Question
from medr1_lib.data.styles import ReasoningStyle, prompt
from medr1_lib.policy.loading import Policy
from medr1_lib.policy.processor import ImageOnlyQwen2VLProcessor

CHECKED = 8  # tokens between two looks at the text for its end


@dataclass(frozen=True)
class Draft:
    """A prompt and as much of the reply as there is.

    Attributes:
        prompt: The chat up to the reply, with one placeholder if there is an image.
        tags: The closing tags of the form asked for.
        tokens: The reply so far.
        ended: Whether that is all of it.
    """

    prompt: str
    tags: tuple[str, ...]
    tokens: tuple[int, ...] = ()
    ended: bool = False


def draft(
    processor: ImageOnlyQwen2VLProcessor, question: Question, style: ReasoningStyle, sees: bool
) -> Draft:
    """The prompt of one question: the image if the model may see it, then the text of the style."""
    text = {"type": "text", "text": prompt(question.question, question.options, style)}
    turns: list[Any] = [{"role": "user", "content": [{"type": "image"}, text] if sees else [text]}]
    chat = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return Draft(chat, tuple(re.findall(r"</\w+>", style.form)))


def complete(reply: str, tags: Sequence[str]) -> bool:
    """Whether every tag was closed and something else has followed.

    Such a reply is not in the form asked for, whatever comes after.

    Example:
        >>> complete("<answer>B</answer> ", ["</answer>"])
        False
        >>> complete("<answer>B</answer> I", ["</answer>"])
        True
    """
    last = max(reply.rfind(tag) + len(tag) for tag in tags)
    return all(tag in reply for tag in tags) and bool(reply[last:].strip())


@torch.inference_mode()
def go_on(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    drafts: Sequence[Draft],
    images: Sequence[Image.Image],
    tokens: int,
) -> list[Draft]:
    """Continue every reply greedily by at most so many tokens, in one batch.

    A reply ends with the end-of-turn token, or as soon as it is `complete`.

    Args:
        model: The policy, in evaluation mode.
        processor: Its processor.
        drafts: Replies that have not ended.
        images: Those of the prompts that have one, in their order.
        tokens: How many to add to each reply.
    """
    inputs = _inputs(processor, drafts, images).to(model.device)
    start = inputs["input_ids"].shape[1]
    stop = _Stop(processor, drafts, start)
    # All settings are said: what a model's own configuration holds would fill the gaps.
    generate: Any = model.generate
    output = generate(
        **inputs,
        max_new_tokens=tokens,
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        repetition_penalty=1.0,
        suppress_tokens=[processor.image_token_id, processor.video_token_id],
        use_cache=True,
        cache_implementation="static",  # a growing one copies itself at every token
        disable_compile=True,
        stopping_criteria=StoppingCriteriaList([stop]),
    )
    replies = zip(drafts, output[:, start:].tolist(), strict=True)
    return [_extended(one, new, processor, _ends(model)) for one, new in replies]


def _inputs(
    processor: ImageOnlyQwen2VLProcessor, drafts: Sequence[Draft], images: Sequence[Image.Image]
) -> BatchFeature:
    """Prompts and replies so far, padded on the left; token by token what was generated before."""
    encoded = processor(text=[one.prompt for one in drafts], images=list(images) or None)
    written = zip(encoded["input_ids"], drafts, strict=True)
    rows = {"input_ids": [[*prompt, *one.tokens] for prompt, one in written]}
    inputs = processor.tokenizer.pad(rows, padding_side="left", return_tensors="pt")
    if images:
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == processor.image_token_id).int()
        for name in ("pixel_values", "image_grid_thw"):
            inputs[name] = torch.as_tensor(encoded[name])
    return inputs


def _ends(model: Policy) -> set[int]:
    ends = model.generation_config.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def _extended(
    one: Draft, new: list[int], processor: ImageOnlyQwen2VLProcessor, ends: set[int]
) -> Draft:
    """The reply with its new tokens, up to its end."""
    length = next((i for i, token in enumerate(new) if token in ends), len(new))
    tokens = (*one.tokens, *new[:length])
    if not complete(_text(processor, tokens), one.tags):
        return replace(one, tokens=tokens, ended=length < len(new))
    prefixes = (tokens[:n] for n in range(1, len(tokens) + 1))
    shortest = next(some for some in prefixes if complete(_text(processor, some), one.tags))
    return replace(one, tokens=shortest, ended=True)


def _text(processor: ImageOnlyQwen2VLProcessor, tokens: Sequence[int]) -> str:
    return processor.tokenizer.decode(tokens, skip_special_tokens=True)


class _Stop(StoppingCriteria):
    """Stops the replies that are complete; looks now and then, the rest is cut off afterwards."""

    def __init__(
        self, processor: ImageOnlyQwen2VLProcessor, drafts: Sequence[Draft], start: int
    ) -> None:
        self._processor, self._drafts, self._start = processor, drafts, start

    def __call__(self, input_ids: Tensor, scores: Tensor | None, **kwargs: object) -> Tensor:
        done = torch.zeros(len(self._drafts), dtype=torch.bool, device=input_ids.device)
        if (input_ids.shape[1] - self._start) % CHECKED == 0:
            for row, one in enumerate(self._drafts):
                tokens = (*one.tokens, *input_ids[row, self._start :].tolist())
                done[row] = complete(_text(self._processor, tokens), one.tags)
        return done
