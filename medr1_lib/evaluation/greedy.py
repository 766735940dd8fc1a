"""Greedy decoding of many prompts, of which a few run on and on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature

from medr1_lib.data.question import Question
from medr1_lib.data.styles import prompt, user_turn
from medr1_lib.model.loading import Policy
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor


@dataclass(frozen=True)
class Draft:
    """A prompt and as much of the reply as there is.

    Attributes:
        prompt: The chat up to the reply, with one placeholder if there is an image.
        tokens: The reply so far.
        ended: Whether that is all of it.
    """

    prompt: str
    tokens: tuple[int, ...] = ()
    ended: bool = False


def draft(
    processor: ImageOnlyQwen2VLProcessor, question: Question, style: str, sees: bool
) -> Draft:
    """The prompt of one question: the image if the model may see it, then the text of the style."""
    turn: list[Any] = user_turn(prompt(question.question, question.options, style), sees)
    return Draft(processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))


@torch.inference_mode()
def go_on(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    drafts: Sequence[Draft],
    images: Sequence[Image.Image],
    tokens: int,
) -> list[Draft]:
    """Continue every reply greedily by at most so many tokens, in one batch.

    Args:
        model: The policy, in evaluation mode.
        processor: Its processor.
        drafts: Replies that have not ended.
        images: Those of the prompts that have one, in their order.
        tokens: How many to add to each reply.
    """
    inputs = _inputs(processor, drafts, images).to(model.device)
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
    )
    replies = output[:, inputs["input_ids"].shape[1] :].tolist()
    ends = _ends(model)
    return [_extended(one, new, ends) for one, new in zip(drafts, replies, strict=True)]


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


def _extended(one: Draft, new: list[int], ends: set[int]) -> Draft:
    """The reply with its new tokens, up to its end."""
    length = next((i for i, token in enumerate(new) if token in ends), len(new))
    return replace(one, tokens=(*one.tokens, *new[:length]), ended=length < len(new))
