"""The gpu tier in a kernel without a GPU: its chapters in small, on the CPU.

`begin` stands in front of a chapter. It changes where a GPU is asked for, and sizes.
"""

import dataclasses
import functools

import torch

from medr1_lib.analysis import gains
from medr1_lib.course import tiers
from medr1_lib.evaluation import sweep
from medr1_lib.evaluation.ask import Asker
from medr1_lib.rl import recipe, train

TOKENS = 6
# A step of two prompts, one in each backward pass.
STEP = {"num_generations": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
SMALL = {"max_steps": 2, "use_cpu": True, "bf16": False}
# In the form asked for, in the words of an answer and not of a claim.
SAID = {
    "think_before": "<think>It looks like {0}.</think><answer>{1}</answer>",
    "think_after": "<answer>{1}</answer><think>It looks like {0}.</think>",
}


def begin() -> None:
    """Change them."""
    small = dataclasses.replace(tiers.GPU, max_new_tokens=TOKENS)
    tiers.current = lambda: small
    gains.ENOUGH, train.GROUPS = 20, 2
    torch.cuda.reset_peak_memory_stats = lambda: None
    torch.cuda.max_memory_allocated = lambda: 0
    load, plain = recipe.load_recipe, train.train

    def load_recipe(source, **changes):
        if str(source).startswith("gpu"):
            changes |= SMALL
        if source == "gpu":
            changes |= STEP | {"max_completion_length": TOKENS}
        return load(source, **changes)

    for module in (recipe, sweep):
        module.load_recipe = load_recipe
    # Random weights earn nothing, which the pre-flight would refuse.
    for module in (train, sweep):
        module.train = functools.partial(plain, force=True)

    def here(plan, jobs, out, executor, processes):
        sweep.run_jobs(jobs, out, torch.get_num_threads())
        return []

    sweep._submit = here


def answer_in_form() -> None:
    """Let the model reply as one that keeps the form of a thinking style, about nothing it saw."""

    def reply(asker, chats, images):
        style = "think_before" if "<think>reasons</think><answer>" in chats[0] else "think_after"
        options = [chat.partition(" A)")[2].partition(", B)")[0] for chat in chats]
        return [SAID[style].format(option, "A") for option in options]

    Asker.reply = reply
