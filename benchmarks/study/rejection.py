"""Rejection sampling: a base's own right replies, as a data set to imitate."""

import time
from dataclasses import dataclass
from pathlib import Path

import datasets
from tqdm import tqdm

from medr1_lib.data import dataset
from medr1_lib.data.question import Question
from medr1_lib.evaluation.ask import Asker
from medr1_lib.files import read_json, write_json
from medr1_lib.model.loading import load_policy
from medr1_lib.rl.loop import Config
from medr1_lib.rl.recipe import Recipe
from medr1_lib.rl.rewards import accuracy_strict
from medr1_lib.rl.train import training_questions

BATCH, REPLIES = 16, "replies.json"


@dataclass(frozen=True)
class OwnReplies:
    """A data set of questions, with a right reply of the base to each, in the style asked for."""

    data: Path
    replies: dict[str, str]  # by the scene of the question
    sampled: int  # questions that were asked
    seconds: float

    def target(self, style: str, answer: str, question_type: str, scene: str | None) -> str:
        """What supervised fine-tuning teaches."""
        assert scene is not None
        return self.replies[scene]


def own_replies(recipe: Recipe, out: Path) -> OwnReplies:
    """Sample as GRPO does by this recipe, but all at once from the base, and keep what is right.

    The questions are those that GRPO meets in its steps, with as many rollouts of each; the first
    right one in form is kept. What lies in `out` already is taken up.
    """
    if not (out / "data").is_dir():
        config = recipe.trl_config(out)
        prompts = config.per_device_train_batch_size // config.num_generations
        table = training_questions(recipe)
        asked = min(len(table), config.max_steps * prompts)
        started = time.perf_counter()
        replies = sampled(recipe, table.select(range(asked)), config)
        seconds = round(time.perf_counter() - started, 1)
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / REPLIES, {"replies": replies, "sampled": asked, "seconds": seconds})
        kept = (row for row in table.select(range(asked)) if row["scene"] in replies)
        dataset.write(out / "data", {"train": kept}, {"source": "rejection sampling"})
    found = read_json(out / REPLIES, "remove the folder")
    return OwnReplies(out / "data", found["replies"], found["sampled"], found["seconds"])


def sampled(recipe: Recipe, table: datasets.Dataset, config: Config) -> dict[str, str]:
    """The first right reply to each question that has one, by scene."""
    sampling = {name: getattr(config, name) for name in ("temperature", "top_p", "top_k")}
    policy = load_policy(Path(recipe.model), recipe.quantize)
    asker = Asker(*policy, config.max_completion_length, sampling)
    found: dict[str, str] = {}
    for first in tqdm(range(0, len(table), BATCH), desc="rejection sampling"):
        rows = table.select(range(first, min(first + BATCH, len(table)))).to_list()
        questions = [Question.from_record(row) for row in rows]
        images = [dataset.open_image(row["image"]["bytes"], row["image_id"]) for row in rows]
        chats = [asker.question_chat(question, recipe.style) for question in questions]
        drawn = asker.sample(
            chats, images, config.num_generations, seed=recipe.seed * len(table) + first
        )
        for row, replies in zip(rows, drawn, strict=True):
            right = [one for one in replies if accuracy_strict(one, row["answer"], recipe.style)]
            if right:
                found[row["scene"]] = right[0]
    return found
