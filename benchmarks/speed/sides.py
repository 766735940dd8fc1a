"""The two sides of the bench: TRL's trainer as it is and ours, on the same model and questions."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
from trl.trainer.grpo_trainer import GRPOTrainer

from medr1_lib.data import phantom_vqa
from medr1_lib.data.phantoms import draw
from medr1_lib.data.styles import prompt
from medr1_lib.model.loading import ImageOnlyQwen2VLProcessor, Policy, load_policy, unpack
from medr1_lib.rl.recipe import Recipe, load_recipe
from medr1_lib.rl.trainer import PolicyTrainer
from tools.pretrain.tiny import tiny_model, tiny_processor

TOKENS = {112: 32, 224: 48}  # pixels a side: tokens of a completion
PROMPTS, GROUP = 8, 8
QUESTIONS = 64


@dataclass(frozen=True)
class Case:
    """What both sides do.

    Attributes:
        size: Pixels a side of an image, one of `TOKENS`.
        weights: How the base is stored.
        threads: CPU threads.
    """

    size: int
    weights: Literal["dense", "nf4"] = "dense"
    threads: int = 1

    @property
    def tokens(self) -> int:
        """Tokens of every completion: none ends before."""
        return TOKENS[self.size]

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds of this process alone, whatever else the machine does; of all, with threads."""
        return time.process_time if self.threads == 1 else time.perf_counter

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{self.size} px, {self.tokens} tokens, {self.weights}, {threads}"


@dataclass
class Side:
    """A trainer that is driven step by step.

    Attributes:
        trainer: TRL's or ours.
        clock: What its seconds are counted with.
        steps: Seconds of each stage in each step.
    """

    trainer: Any
    clock: Callable[[], float]
    steps: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.trainer.current_gradient_accumulation_steps = 1  # `train` would set it
        self.trainer.create_optimizer()
        self.trainer.model.train()
        self.batches: Iterator[Any] = iter(self.trainer.get_train_dataloader())
        self.stages: dict[str, float] = defaultdict(float)
        ours = self.trainer.rollout_func is not None
        sampler = "rollout_func" if ours else "_generate_single_turn"
        self._time(self.trainer, sampler, lambda: "sampling")
        self._time(self.trainer, "_get_per_token_logps_and_entropies", _scoring)
        self._time(self.trainer.accelerator, "backward", lambda: "backward")

    def step(self) -> None:
        """One training step: fetch, sample, score, update."""
        self.stages.clear()
        start = self.clock()
        self.trainer.training_step(self.trainer.model, next(self.batches), None)
        self.trainer.optimizer.step()
        self.trainer.model.zero_grad()
        whole = self.clock() - start
        self.steps.append({"step": whole, **self.stages, "rest": whole - sum(self.stages.values())})

    def _time(self, owner: Any, name: str, stage: Callable[[], str]) -> None:  # noqa: ANN401
        plain = getattr(owner, name)

        def timed(*args: object, **kwargs: object) -> object:
            start = self.clock()
            try:
                return plain(*args, **kwargs)
            finally:
                self.stages[stage()] += self.clock() - start

        setattr(owner, name, timed)


def _scoring() -> str:
    return "policy" if torch.is_grad_enabled() else "reference"


def sides(case: Case, folder: Path) -> dict[str, Side]:
    """TRL as it defaults, TRL without activation checkpointing, and ours.

    Model, adapter, questions and settings are the same; the settings are those of the recipe
    `course`. TRL would round the adapter of a quantized base to bfloat16; here it does not.

    Args:
        case: What they do.
        folder: Where the model is, see `save_model`, and where trainers may write.
    """
    kinds = {"trl": (GRPOTrainer, True), "trl_no_checkpointing": (GRPOTrainer, False)}
    return {
        name: Side(_trainer(kind, case, checkpointing, folder), case.clock)
        for name, (kind, checkpointing) in (kinds | {"ours": (PolicyTrainer, False)}).items()
    }


def save_model(folder: Path) -> None:
    """The tiny model with random weights: it is timed, not asked anything."""
    processor = tiny_processor()
    tiny_model(processor.tokenizer).save_pretrained(folder)
    processor.save_pretrained(folder)


def _trainer(kind: type[GRPOTrainer], case: Case, checkpointing: bool, folder: Path) -> GRPOTrainer:
    model, processor = load_policy(folder, "nf4" if case.weights == "nf4" else None, device="cpu")
    pixels = case.size**2
    processor.image_processor.size = {"shortest_edge": pixels, "longest_edge": pixels}
    recipe = load_recipe("course").replace(
        per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP,
        max_completion_length=case.tokens,
        generation_kwargs={"min_new_tokens": case.tokens},
        activation_checkpointing=checkpointing,
    )
    return trainer(kind, recipe, (model, processor), case.size, folder / "out", random_lora=True)


def trainer(
    kind: type[GRPOTrainer],
    recipe: Recipe,
    policy: tuple[Policy, ImageOnlyQwen2VLProcessor],
    size: int,
    out: Path,
    random_lora: bool = False,
) -> GRPOTrainer:
    """TRL's trainer or ours for a recipe, on questions about images of `size` pixels a side.

    With `random_lora` the adapter differs from the base at once, so that every term of the loss
    counts.
    """
    model, processor = policy
    lora = recipe.lora_config()
    lora.init_lora_weights = not random_lora
    made: Any = kind(
        model=model,
        reward_funcs=[odd_tokens],  # type: ignore[list-item]
        args=recipe.trl_config(out),
        train_dataset=questions(size),
        processing_class=processor,
        peft_config=lora,
    )
    for weight in made.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()  # TRL rounds them to bfloat16, ours does not
    if recipe.quantize == "nf4-unpacked":
        unpack(made.model)
    return made


def questions(size: int) -> datasets.Dataset:
    """Questions about phantoms, enlarged to `size` pixels a side and ready in memory."""
    asked = list(islice(phantom_vqa.questions("train", per_cell=4), 0, 2 * QUESTIONS, 2))
    pictures = [draw(q.scene).resize((size, size)) for q in asked if q.scene]
    texts = [prompt(q.question, q.options, "think_before") for q in asked]

    def transform(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
        turns = [[{"role": "user", "content": texts[row]}] for row in rows["row"]]
        return {"prompt": turns, "image": [pictures[row] for row in rows["row"]]}

    return datasets.Dataset.from_dict({"row": range(QUESTIONS)}).with_transform(transform)


def odd_tokens(completion_ids: list[list[int]], **_: object) -> list[float]:
    """A reward that random completions differ in."""
    return [sum(token % 2 for token in tokens) / len(tokens) for tokens in completion_ids]
