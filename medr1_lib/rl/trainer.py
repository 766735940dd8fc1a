"""GRPO through TRL's own trainer, spared the work that it would do more than once."""

import math
from functools import partial
from typing import Any, TypeAlias
from unittest.mock import patch

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import logging
from trl.trainer import grpo_trainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import shuffle_sequence_dict

from medr1_lib.rl.distinct import TEXT, distinct_images, distinct_prompts
from medr1_lib.rl.frugal import FrugalTrainer
from medr1_lib.rl.prefix import Prefix, continuation, read_prompts, unwrapped
from medr1_lib.rl.rollouts import sample_group

IGNORED = -100
KNOWN = {"pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids"}

Untyped: TypeAlias = Any  # as TRL leaves it

logger = logging.get_logger(__name__)


class PolicyTrainer(FrugalTrainer, GRPOTrainer):
    """TRL's `GRPOTrainer`: same arguments, same results, each prompt and each image read once.

    - A frozen vision tower gets a `VisionCache`.
    - The completions of a prompt share what was read of it (`rl.rollouts`), in sampling and in
      scoring under the policy and the reference. Where that cannot be, TRL's own way is taken and
      said once: scoring with activation checkpointing, which has no use for keys and values kept
      from before; sampling with vLLM, tools, or weights spread over devices.
    - Rollouts of a prompt stay in one backward pass. TRL shuffles them over all passes of a step,
      where most would need a prompt of their own again; the sum of their gradients is the same.
    - Adapters stay in float32: TRL casts those of a quantized model to bfloat16, in which a small
      learning rate hardly moves them.
    """

    def _prepare_inputs(self, generation_batch: Untyped) -> Untyped:
        args: Untyped = self.args
        passes = args.gradient_accumulation_steps
        torn = 1 < passes == args.steps_per_generation  # and all of them end in one step
        if not torn or self.loss_type == "bnpo":  # which weighs by the tokens of a pass
            return super()._prepare_inputs(generation_batch)
        with patch.object(grpo_trainer, "shuffle_sequence_dict", _as_they_are):
            return super()._prepare_inputs(generation_batch)

    def _generate_and_score_completions(self, *args: Untyped, **kwargs: Untyped) -> Untyped:
        processor: Untyped = self.processing_class
        with distinct_images(processor.image_processor):
            return super()._generate_and_score_completions(*args, **kwargs)

    def _tokenize_prompts(self, prompts: list[Untyped]) -> Untyped:
        """TRL's way for one prompt of each group; what is for images comes back for these alone."""
        count = self._repeats(prompts)
        ids, images, fields = super()._tokenize_prompts(prompts[::count])
        groups = [row // count for row in range(len(prompts))]
        return [ids[i] for i in groups], images and [images[i] for i in groups], fields

    def _repeats(self, prompts: list[Untyped]) -> int:
        """How many times in a row each prompt stands; a process may hold parts of groups."""
        policy: Untyped = self.model
        group: Untyped = self.num_generations if policy.training else self.num_generations_eval
        count = math.gcd(group, len(prompts))
        same = all(prompt == prompts[i - i % count] for i, prompt in enumerate(prompts))
        elsewhere = self.use_vllm or self.is_fsdp_enabled or self.is_deepspeed_enabled
        if same and not (elsewhere or self.tools or self.environment_factories):
            return count
        logger.warning_once("Each completion is sampled with a prompt of its own, in TRL's way.")
        return 1

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[Untyped] | None,
        multimodal_fields: dict[str, Untyped],
        *args: Untyped,
        **kwargs: Untyped,
    ) -> Untyped:
        """TRL's way for one prompt of each group, with another `generate` underneath."""
        count = len(prompt_ids) // len(multimodal_fields.get("mm_token_type_ids", prompt_ids))
        core = unwrapped(self.model)
        if count > 1:
            core.generate = partial(_generate, core, count)
        prompts = prompt_ids[::count], images and images[::count], multimodal_fields
        try:
            return super()._generate_single_turn(*prompts, *args, **kwargs)
        finally:
            vars(core).pop("generate", None)

    def _get_per_token_logps_and_entropies(
        self,
        model: Untyped,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **given: Untyped,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Completions in rows of their own, each with a copy of the prefix of its prompt."""
        given = {name: value for name, value in given.items() if value is not None}
        core = unwrapped(model)
        if core.is_activation_checkpointing or compute_aux_loss or not given.keys() <= KNOWN:
            logger.warning_once("Each completion is scored with a prompt of its own, in TRL's way.")
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **given,
            )
        given.pop("num_images", None)
        length = input_ids.shape[1] - logits_to_keep
        rows = {"input_ids": input_ids, "attention_mask": attention_mask, **given}
        prompts, owner = distinct_prompts(core, _cut(rows, length))
        tables = input_ids[:, length:], attention_mask[:, length:], owner
        with self.accelerator.autocast():
            prefix = read_prompts(model, prompts)
            parts = zip(*(table.split(batch_size or len(owner)) for table in tables), strict=True)
            scored = [_score(model, prefix, *part) for part in parts]
        logps, entropies = zip(*scored, strict=True)
        return torch.cat(logps), torch.cat(entropies) if compute_entropy else None, None


def _as_they_are(rollouts: dict[str, Untyped]) -> dict[str, Untyped]:
    """In place of a shuffle; its random numbers are drawn all the same, for the next ones' sake."""
    shuffle_sequence_dict(rollouts)
    return rollouts


def _score(
    model: Untyped, prefix: Prefix, completions: Tensor, mask: Tensor, owner: Tensor
) -> tuple[Tensor, Tensor | None]:
    output = model(
        **continuation(prefix, completions, mask, owner),
        shift_labels=completions.masked_fill(mask == 0, IGNORED),
        fused_lm_head=True,  # TRL's own head: no logits of a large vocabulary are kept
    )
    return output.log_probs, output.entropy


def _cut(rows: dict[str, Tensor], length: int) -> dict[str, Tensor]:
    return rows | {name: rows[name][:, :length] for name in TEXT if name in rows}


def _generate(
    core: PreTrainedModel, count: int, generation_config: GenerationConfig, **prompts: Tensor
) -> Tensor:
    tokens = sample_group(core, prompts, count, generation_config)
    return torch.cat([prompts["input_ids"].repeat_interleave(count, 0), tokens], 1)
