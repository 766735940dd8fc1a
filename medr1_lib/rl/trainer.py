"""TRL's trainers, spared the work that they would do more than once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import BatchFeature, Trainer
from transformers.image_utils import make_flat_list_of_images
from transformers.utils import logging
from trl.models.utils import unwrap_model_for_generation
from trl.trainer import utils as trl_utils
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from medr1_lib.model.loading import base_model, shares_prompts
from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.rl.generation import merged_lora, packed_inputs, packed_outputs, sample_group
from medr1_lib.rl.run import saving, seal

IGNORED = -100
TEXT = ("input_ids", "attention_mask", "mm_token_type_ids")
KNOWN = {"pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids"}

Untyped: TypeAlias = Any  # as TRL leaves it

logger = logging.get_logger(__name__)


class TrainerMixin(Trainer):
    """For TRL's trainers (name it first): cached image features, float32 LoRA, whole checkpoints.

    A checkpoint is sealed when all of it is written.
    """

    def __init__(self, *args: Untyped, **kwargs: Untyped) -> None:
        super().__init__(*args, **kwargs)
        policy: Untyped = self.model
        # TRL casts the adapters of a quantized model to bfloat16. AdamW's updates at a learning
        # rate of 1e-5 are then rounded away: weights move a fifth of what they should.
        for weight in policy.parameters() if hasattr(policy, "peft_config") else ():
            if weight.requires_grad:
                weight.data = weight.data.float()
        # Also keeps the frozen tower out of the graph, into which activation checkpointing with an
        # adapter would draw it: transformers makes its input embeddings require gradients.
        # Not where processes share the weights of a layer: all of them have to run it together.
        self._spread = self.is_fsdp_enabled or self.is_deepspeed_enabled
        for model in filter(None, (policy, getattr(self, "ref_model", None))):
            tower = getattr(base_model(model).model, "visual", None)
            if tower and not (self._spread or any(w.requires_grad for w in tower.parameters())):
                VisionCache(model)

    def log(self, *args: Untyped, **kwargs: Untyped) -> None:
        """TRL's, which also writes the completions of the step into a file."""
        with saving(Path(str(self.args.output_dir))):
            super().log(*args, **kwargs)

    def _save_checkpoint(self, *args: Untyped) -> None:
        out = Path(str(self.args.output_dir))
        with saving(out):
            super()._save_checkpoint(*args)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                seal(out / f"checkpoint-{self.state.global_step}")

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Nothing: the run has a card, and TRL would write one into every checkpoint."""

    def _send_telemetry(self) -> None:
        """Nothing: TRL would report the start of a training to its authors."""


class SupervisedTrainer(TrainerMixin, SFTTrainer):
    """TRL's `SFTTrainer`."""


class PolicyTrainer(TrainerMixin, GRPOTrainer):
    """TRL's `GRPOTrainer`: same arguments and results, each prompt and each image read once.

    The completions of a group share what was read of their prompt (`rl.generation`), in sampling
    and in scoring. Where that cannot be, TRL's own way is taken and said once.
    """

    def __init__(self, *args: Untyped, **kwargs: Untyped) -> None:
        super().__init__(*args, **kwargs)
        config: Untyped = self.args
        held = config.steps_per_generation
        # TRL shuffles rollouts over all passes that share them. To keep a group in one pass changes
        # nothing where all these passes end in one optimizer step, whose gradients are summed. Only
        # `bnpo` weighs a token by how many others share its pass.
        self._in_order = held == 1 or (
            config.gradient_accumulation_steps % held == 0 and self.loss_type != "bnpo"
        )
        self._shared = shares_prompts(self.model)
        elsewhere = self.use_vllm or self._spread or not self._shared
        if elsewhere or self.tools or self.environment_factories:
            logger.warning_once("Completions are sampled in TRL's way.")
        elif self.rollout_func is None:
            self.rollout_func = sample_shared

    def _prepare_inputs(self, generation_batch: Untyped) -> Untyped:
        """TRL's, without its shuffle where the rollouts of a group can stay together."""
        host: Untyped = self  # TRL declares a buffer that is always empty
        if not (host.model.training and self._in_order):
            return super()._prepare_inputs(generation_batch)
        held = host.args.steps_per_generation
        if host._step % (held * host.num_iterations) == 0 or host._buffered_inputs is None:
            rollouts = host._generate_and_score_completions(generation_batch)
            torch.randperm(len(rollouts["prompt_ids"]))  # drawn by the shuffle, before later ones
            by_image: Untyped = trl_utils.split_pixel_values_by_grid(rollouts)
            parts: Untyped = trl_utils.split_tensor_dict(by_image, held)
            host._buffered_inputs = list(map(trl_utils.unsplit_pixel_values_by_grid, parts))
        return host._buffered_inputs[host._step % held]

    def _generate_and_score_completions(self, *args: Untyped, **kwargs: Untyped) -> Untyped:
        processor: Untyped = self.processing_class
        with distinct_images(processor.image_processor) if self._shared else nullcontext():
            return super()._generate_and_score_completions(*args, **kwargs)

    def _get_per_token_logps_and_entropies(
        self,
        model: Untyped,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **given: Untyped,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """TRL's, with a prompt and all its completions in one row."""
        images = {name: value for name, value in given.items() if value is not None}
        more = images.pop("compute_aux_loss", False) or not images.keys() <= KNOWN
        if more or not self._in_order or not self._shared:
            logger.warning_once("Each completion is scored with a prompt of its own, in TRL's way.")
            given |= {"batch_size": batch_size, "compute_entropy": compute_entropy}
            plain = model, input_ids, attention_mask, logits_to_keep
            return super()._get_per_token_logps_and_entropies(*plain, **given)
        # Without a gradient nothing is kept for later, and all rows fit at once.
        at_once = batch_size if batch_size and torch.is_grad_enabled() else len(input_ids)
        count = _neighbours(self, math.gcd(at_once, len(input_ids)))
        length = input_ids.shape[1] - logits_to_keep
        rows = {"input_ids": input_ids, "attention_mask": attention_mask, **images}
        if "pixel_values" in rows:
            grids = rows["image_grid_thw"].split(rows["num_images"])
            patches = rows["pixel_values"].split([int(grid.prod(1).sum()) for grid in grids])
        logps, entropies = [], []
        for first in range(0, len(input_ids), at_once):
            part = slice(first, first + at_once)
            ones = slice(first, first + at_once, count)  # one row of each group, for its prompt
            prompts = {name: rows[name][ones, :length] for name in TEXT if name in rows}
            if "pixel_values" in rows:
                prompts["image_grid_thw"] = torch.cat(grids[ones])
                prompts["pixel_values"] = torch.cat(patches[ones])
            tokens, mask = input_ids[part, length:], attention_mask[part, length:]
            # TRL's own head: it keeps no logits of a large vocabulary.
            labels = tokens.masked_fill(mask == 0, IGNORED).view(len(prompts["input_ids"]), -1)
            labels = pad(labels, (length - 1, 0), value=IGNORED)
            # One product a layer, but not where layers are run again, or products are rounded.
            again = base_model(model).is_activation_checkpointing
            apart = again or self.accelerator.mixed_precision != "no"
            with self.accelerator.autocast(), nullcontext() if apart else merged_lora(model):
                packed = packed_inputs(model, prompts, tokens, mask)
                output = model(**packed, shift_labels=labels, fused_lm_head=True)
            logps.append(packed_outputs(output.log_probs, tokens))
            entropies.append(packed_outputs(output.entropy, tokens))
        return torch.cat(logps), torch.cat(entropies) if compute_entropy else None, None


def sample_shared(prompts: list[Untyped], trainer: GRPOTrainer) -> dict[str, Untyped]:
    """A `rollout_func` for TRL's `GRPOTrainer` that reads each prompt once for its group.

    TRL hands over a prompt for each rollout, those of a group next to each other.
    """
    host: Untyped = trainer
    count = _neighbours(host, len(prompts))
    form = {"chat_template": host.chat_template, "add_generation_prompt": True, "tokenize": True}
    filled = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
    form |= {"return_dict": True, "processor_kwargs": filled, **host.chat_template_kwargs}
    inputs = host.processing_class.apply_chat_template(prompts[::count], **form)
    inputs = inputs.to(host.accelerator.device)
    how = {"gradient_checkpointing_kwargs": host.args.gradient_checkpointing_kwargs}
    # In place of what the model's own configuration says.
    how["generation_kwargs"] = host.generation_kwargs
    with unwrap_model_for_generation(host.model_wrapped, host.accelerator, **how) as policy:
        tokens = sample_group(policy, inputs, count, host.generation_config)
    read = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
    prompt_ids = [ids[mask.bool()].tolist() for ids, mask in read for _ in range(count)]
    ended = torch.isin(tokens, torch.tensor(host.eos_token_ids, device=tokens.device)).int()
    kept = zip(tokens, ended.cumsum(1) - ended == 0, strict=True)  # up to and with the end
    completion_ids = [row[mask].tolist() for row, mask in kept]
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}


def _neighbours(trainer: Untyped, rows: int) -> int:
    """How many rows in turn share a prompt: a group, or a part of one where a batch cuts it."""
    training = trainer.model.training
    return math.gcd(rows, trainer.num_generations if training else trainer.num_generations_eval)


@contextmanager
def distinct_images(processor: Untyped) -> Iterator[None]:
    """Let an image processor cut an image into patches once, however often a batch repeats it."""
    plain = processor.preprocess

    def preprocess(images: Untyped, **settings: Untyped) -> BatchFeature:
        flat: Untyped = make_flat_list_of_images(images)
        first = {id(image): image for image in flat}  # a group shares one decoded image
        owner = [list(first).index(id(image)) for image in flat]
        found = plain(list(first.values()), **settings)
        sizes = [int(grid.prod()) for grid in found["image_grid_thw"]]
        spans = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        rows = np.concatenate([spans[place] for place in owner])
        found["image_grid_thw"] = found["image_grid_thw"][owner]
        found["pixel_values"] = found["pixel_values"][rows]
        return found

    processor.preprocess = preprocess
    try:
        yield
    finally:
        del processor.preprocess
