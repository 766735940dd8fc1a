"""Ask a model every question of a split, greedily, and keep every answer."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm.auto import tqdm
from transformers import GenerationConfig, PreTrainedTokenizerFast
from transformers.feature_extraction_utils import BatchFeature

from medr1_lib.data import styles
from medr1_lib.data.question import LETTERS, Question
from medr1_lib.evaluation.answers import OF_QUESTION, Answer, AnswerLog
from medr1_lib.evaluation.items import CHUNK, EvalPrompt, EvalSet, batches
from medr1_lib.model.loading import Policy, base_model, shares_prompts
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor
from medr1_lib.model.vision_cache import Features, VisionCache
from medr1_lib.rl.generation import merged_lora, sample_group

FIRST_ROUND = 32  # tokens; then the few replies that still run share new batches, and hold up none


@dataclass(frozen=True)
class Settings:
    """What the answers depend on, beside model and data; see `EvalSet.prompts`."""

    styles: tuple[str, ...]
    controls: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    max_new_tokens: int = 256  # as in Med-R1's evaluator


def evaluate(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    items: EvalSet,
    log: AnswerLog,
    settings: Settings,
    batch_size: int = 64,
    features: Features | None = None,
) -> pd.DataFrame:
    """Answer greedily whatever the log does not hold yet; built in chapter 02.

    Prompts of about the same length share a batch, and an image is encoded once for all styles and
    controls. Answers are those of asking one by one, but for rounding. An adapter is merged into
    the weights during the call. `features` are those that another model with the same vision tower
    computed; they grow. Returns one row per item, style and control, with the columns of `Answer`.
    """
    prompts = items.prompts(settings.styles, settings.controls, settings.limit, settings.seed)
    todo = log.todo(prompts)
    # What belongs to some images ends before the next ones, so that none is encoded again.
    size = CHUNK * len(settings.styles) * (1 + len(settings.controls))
    with (
        VisionCache(model, features=features) if shares_prompts(model) else nullcontext(),
        merged_lora(model),
        tqdm(desc="evaluate", total=len(prompts), initial=len(prompts) - len(todo)) as bar,
    ):
        for block in batches(todo, size):
            for replies in rounds(model, processor, items, block, settings, batch_size):
                log.add(_answers(model, processor, items, replies))
                bar.update(len(replies))
    return log.answers()


def _answers(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    items: EvalSet,
    replies: Sequence[tuple[EvalPrompt, "PartialReply"]],
) -> Iterator[Answer]:
    """The replies read, with the probabilities of the letters where the real image was shown."""
    decode = partial(processor.tokenizer.decode, skip_special_tokens=True)
    said = {one: decode(reply.tokens) for one, reply in replies}
    opened = {
        one: reply.prompt + styles.before_letter(said[one], one.style)
        for one, reply in replies
        if one.control == "none"
    }
    images = [image for one in opened if (image := items.image(one))]
    letters = max((items.questions[one.item].letters for one in opened), key=len, default="")
    probs = forced_probs(model, processor, [*opened.values()], images, letters).tolist()
    forced = dict(zip(opened, probs, strict=True))
    for prompt, reply in replies:
        question = items.question(prompt)
        parsed = styles.read(said[prompt], question.options)
        yield Answer(
            **{name: getattr(question, name) for name in OF_QUESTION},
            item=prompt.item,
            style=prompt.style,
            control=prompt.control,
            completion=said[prompt],
            tokens=len(reply.tokens),
            parsed=parsed,
            correct=parsed == question.answer,
            format_ok=styles.read_strict(said[prompt], prompt.style) is not None,
            letter_probs=tuple(forced.get(prompt, ())[: len(question.options)]),
        )


def forced_probs(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    opened: Sequence[str],
    images: Sequence[Image.Image],
    letters: str = LETTERS,
) -> NDArray[np.float64]:
    """Probability of each letter behind chats that end where one is due, (chats, letters)."""
    if not opened:
        return np.empty((0, len(letters)))
    edge = shared_edge(processor.tokenizer)
    chats = [text.removesuffix(edge) for text in opened]
    return next_token_probs(model, processor, chats, images, [edge + one for one in letters])


def shared_edge(tokenizer: PreTrainedTokenizerFast) -> str:
    """What of the tag shares a token with the letter after it, if the tokenizer joins them."""
    joined = (tokenizer.encode(f">{one}", add_special_tokens=False) for one in LETTERS)
    return ">" if all(len(tokens) == 1 for tokens in joined) else ""


@torch.inference_mode()
def next_token_probs(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    chats: Sequence[str],
    images: Sequence[Image.Image],
    words: Sequence[str],
) -> NDArray[np.float64]:
    """Probability that the first token of each word comes next, (chats, words)."""
    run: Any = model
    logits = run(**encode(model, processor, chats, images), logits_to_keep=1).logits[:, -1]
    first = [processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in words]
    return logits.double().softmax(-1)[:, first].cpu().numpy()


def encode(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    chats: Sequence[str],
    images: Sequence[Image.Image],
) -> BatchFeature:
    """Tokens of the chats, padded on the left, and patches of the images, one for each."""
    batch = {"text": list(chats), "images": [[image] for image in images] or None}
    how = {"padding": True, "return_tensors": "pt", "add_special_tokens": False}
    return processor(**batch, **how).to(model.device)


@dataclass(frozen=True)
class PartialReply:
    """A prompt and as much of the reply as there is; it has `ended` if that is all of it."""

    prompt: str  # the chat up to the reply, with one placeholder if there is an image
    tokens: tuple[int, ...] = ()
    ended: bool = False


def start(
    processor: ImageOnlyQwen2VLProcessor, question: Question, style: str, image: bool
) -> PartialReply:
    """The prompt of one question, with or without an image, and no reply yet."""
    text = styles.prompt(question.question, question.options, style)
    return PartialReply(chat(processor, text, image))


def chat(processor: ImageOnlyQwen2VLProcessor, text: str, image: bool = True) -> str:
    """A user's turn, about an image or without one, and the opening of the reply."""
    turn: list[Any] = styles.user_turn(text, image)
    return processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)


def rounds(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    items: EvalSet,
    prompts: list[EvalPrompt],
    settings: Settings,
    batch_size: int,
) -> Iterator[list[tuple[EvalPrompt, PartialReply]]]:
    """Yield finished replies, batch by batch: first all of them up to 32 tokens, then to 64 ..."""
    replies = {
        one: start(processor, items.question(one), one.style, one.shown is not None)
        for one in prompts
    }
    length, waiting = 0, prompts
    while waiting:
        goal = min(max(2 * length, FIRST_ROUND), settings.max_new_tokens)
        last = goal == settings.max_new_tokens
        running = []
        for batch in batches(waiting, batch_size):
            images = [image for one in batch if (image := items.image(one))]
            before = [replies[one] for one in batch]
            after = extend(model, processor, before, images, goal - length)
            replies |= zip(batch, after, strict=True)
            yield [(one, replies[one]) for one in batch if last or replies[one].ended]
            running += [one for one in batch if not (last or replies[one].ended)]
        length, waiting = goal, running


@torch.inference_mode()
def extend(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    replies: Sequence[PartialReply],
    images: Sequence[Image.Image],
    tokens: int,
) -> list[PartialReply]:
    """Continue replies that have not ended greedily, in one batch, by at most `tokens` tokens each.

    `images` are those of the prompts that have one, in their order.
    """
    prompts, left = [one.prompt for one in replies], iter(images)
    shown = [[next(left)] if processor.image_token in text else [] for text in prompts]
    given: Any = {"images": shown} if images else {}
    encoded = processor(text=prompts, **given, add_special_tokens=False)
    # Token by token, not as text: read again, a reply could be cut into other tokens.
    pairs = zip(encoded["input_ids"], replies, strict=True)
    rows = {"input_ids": [[*prompt, *reply.tokens] for prompt, reply in pairs]}
    inputs = processor.tokenizer.pad(rows, padding_side="left", return_tensors="pt")
    ids = base_model(model).config.image_token_id
    for name in encoded.keys() - {"input_ids", "attention_mask"} if images else ():
        kinds = name.endswith("token_type_ids")  # of as many tokens as there are by now
        inputs[name] = (inputs["input_ids"] == ids).int() if kinds else torch.tensor(encoded[name])
    inputs = inputs.to(model.device)
    # All settings are said: what a model's own configuration holds would fill the gaps.
    greedily = GenerationConfig(
        max_new_tokens=tokens,
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        suppress_tokens=[ids, getattr(processor, "video_token_id", ids)],
    )
    output = sample_group(model, inputs, 1, greedily)
    ends = model.generation_config.eos_token_id
    ends = set(ends) if isinstance(ends, list) else {ends}
    longer = []
    for reply, row in zip(replies, output.tolist(), strict=True):
        new = next((i for i, token in enumerate(row) if token in ends), len(row))
        longer.append(replace(reply, tokens=(*reply.tokens, *row[:new]), ended=new < len(row)))
    return longer
