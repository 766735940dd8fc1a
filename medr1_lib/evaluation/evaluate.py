"""Ask a model every question of a split, greedily, and keep every answer."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby

import pandas as pd
from tqdm.auto import tqdm

from medr1_lib.data import styles
from medr1_lib.evaluation.answers import Answer, AnswerLog, answer_to
from medr1_lib.evaluation.ask import Asker, question_chat
from medr1_lib.evaluation.items import EvalPrompt, EvalSet, batches
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor, Policy, shares_prompts
from medr1_lib.model.vision_cache import Features, VisionCache
from medr1_lib.rl.generation import merged_lora


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
    controls. An adapter is merged into the weights during the call. `features` are those that
    another model with the same vision tower computed; they grow. Returns a row per item, style and
    control.
    """
    asker = Asker(model, processor, settings.max_new_tokens)
    prompts = items.prompts(settings.styles, settings.controls, settings.limit, settings.seed)
    todo = log.todo(prompts)
    with (
        VisionCache(model, features=features) if shares_prompts(model) else nullcontext(),
        merged_lora(model),
        tqdm(desc="evaluate", total=len(prompts), initial=len(prompts) - len(todo)) as bar,
    ):
        for _, alike in groupby(todo, key=lambda one: one.shown is None):
            for batch in batches([*alike], batch_size):
                log.add(_answers(asker, items, batch))
                bar.update(len(batch))
    return log.answers()


def _answers(asker: Asker, items: EvalSet, prompts: Sequence[EvalPrompt]) -> Iterator[Answer]:
    """Ask, read completions, and look up the letters' probabilities if the real image is shown."""
    chats = {
        one: question_chat(asker.processor, items.question(one), one.style, one.shown is not None)
        for one in prompts
    }
    images = {one: image for one in prompts if (image := items.image(one))}
    begun = [styles.ALL_STYLES[one.style].begun for one in prompts]
    asked = [chat + given for chat, given in zip(chats.values(), begun, strict=True)]
    completions = asker.complete_ids(asked, [*images.values()])
    said = asker.processor.batch_decode(completions, skip_special_tokens=True)
    texts = [given + text for given, text in zip(begun, said, strict=True)]
    opened = {
        one: chats[one] + styles.before_letter(text, one.style)
        for one, text in zip(prompts, texts, strict=True)
        if one.control == "none"
    }
    letters = max((items.questions[one.item].letters for one in opened), key=len, default="")
    probs = asker.forced_probs([*opened.values()], [images[one] for one in opened], letters)
    forced = dict(zip(opened, probs.tolist(), strict=True))
    for one, text, tokens in zip(prompts, texts, completions, strict=True):
        question = items.question(one)
        probs_of = tuple(forced.get(one, ())[: len(question.options)])
        yield answer_to(question, one, text, len(tokens), probs_of)
