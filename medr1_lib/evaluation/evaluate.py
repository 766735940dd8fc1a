"""Ask a model every question of a test split and keep every answer."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from tqdm.auto import tqdm

from medr1_lib.data.question import Question
from medr1_lib.data.styles import read, read_strict
from medr1_lib.evaluation.answers import Journal, Record
from medr1_lib.evaluation.greedy import Draft, draft, go_on
from medr1_lib.evaluation.items import Items, Task, batches
from medr1_lib.model.loading import Policy
from medr1_lib.model.processor import ImageOnlyQwen2VLProcessor
from medr1_lib.model.vision_cache import Features, VisionCache
from medr1_lib.rl.generation import merged_lora

FIRST_ROUND = 32  # tokens; after each round the few replies that still run share fresh batches


@dataclass(frozen=True)
class Settings:
    """What the answers depend on, beside model and data.

    Attributes:
        styles: Reasoning styles, each of them asked of every question.
        controls: Some of `controls.CONTROLS`, beside the real image.
        limit: Draw so many questions at random instead of all.
        seed: Of that draw and of the shuffled control.
        max_new_tokens: A reply is cut off there; Med-R1's evaluator uses the same 256.
    """

    styles: tuple[str, ...]
    controls: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    max_new_tokens: int = 256


def evaluate(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    items: Items,
    journal: Journal,
    settings: Settings,
    batch_size: int = 64,
    features: Features | None = None,
) -> pd.DataFrame:
    """Answer greedily whatever the journal does not hold yet; built in chapter 02.

    Prompts of about the same length share a batch, an image is encoded once for all styles and
    controls, and a reply that does not end holds up only its own kind. Answers are those of asking
    one by one, but for rounding.

    Args:
        model: The policy; an adapter is added to the weights as long as it takes.
        processor: Its processor.
        items: What to ask.
        journal: Where answers are kept.
        settings: How to ask.
        batch_size: Questions at once.
        features: Of images that another model with the same vision tower was shown; grows.

    Returns:
        One row per item, style and control, with the columns of `Record`.
    """
    tasks = items.tasks(settings.styles, settings.controls, settings.limit, settings.seed)
    todo = journal.todo(tasks)
    with (
        VisionCache(model, features=features),
        merged_lora(model),
        tqdm(desc="evaluate", total=len(tasks), initial=len(tasks) - len(todo)) as bar,
    ):
        for answered in rounds(model, processor, items, todo, settings, batch_size):
            journal.add(_record(items, task, one, processor) for task, one in answered)
            bar.update(len(answered))
    return journal.records()


def rounds(
    model: Policy,
    processor: ImageOnlyQwen2VLProcessor,
    items: Items,
    tasks: list[Task],
    settings: Settings,
    batch_size: int,
) -> Iterator[list[tuple[Task, Draft]]]:
    """Yield finished replies, batch by batch: first all of them up to 32 tokens, then to 64 ..."""
    drafts = {task: _draft(items.questions[task.item], task, processor) for task in tasks}
    length, waiting = 0, tasks
    while waiting:
        goal = min(max(2 * length, FIRST_ROUND), settings.max_new_tokens)
        running = []
        for batch in batches(waiting, batch_size):
            images = [image for task in batch if (image := items.image(task))]
            before = [drafts[task] for task in batch]
            after = go_on(model, processor, before, images, goal - length)
            drafts |= zip(batch, after, strict=True)
            last = goal == settings.max_new_tokens
            yield [(task, drafts[task]) for task in batch if last or drafts[task].ended]
            running += [task for task in batch if not (last or drafts[task].ended)]
        length, waiting = goal, running


def _draft(question: Question, task: Task, processor: ImageOnlyQwen2VLProcessor) -> Draft:
    return draft(processor, question, task.style, sees=task.shown is not None)


def _record(items: Items, task: Task, one: Draft, processor: ImageOnlyQwen2VLProcessor) -> Record:
    question = items.questions[task.item]
    completion = processor.tokenizer.decode(one.tokens, skip_special_tokens=True)
    parsed = read(completion, question.options)
    return Record(
        item=task.item,
        image_id=question.image_id,
        question=question.question,
        options=question.options,
        answer=question.answer,
        style=task.style,
        control=task.control,
        completion=completion,
        tokens=len(one.tokens),
        parsed=parsed,
        correct=parsed == question.answer,
        format_ok=read_strict(completion, task.style) is not None,
        modality=question.modality,
        question_type=question.question_type,
        source=question.source,
    )
