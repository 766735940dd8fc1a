"""GRPO through TRL's own trainer, spared the work that it would do more than once."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import logging
from trl.trainer.grpo_trainer import GRPOTrainer

from medr1_lib.policy.vision_cache import VisionCache
from medr1_lib.rl.distinct import distinct_images, distinct_prompts
from medr1_lib.rl.prefix import continuation, read_prompts, unwrapped
from medr1_lib.rl.rollouts import sample_group

IGNORED = -100
KNOWN = {"pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids"}

logger = logging.get_logger(__name__)


class PolicyTrainer(GRPOTrainer):
    """TRL's `GRPOTrainer`: same arguments, same results, each prompt and each image read once.

    - A frozen vision tower gets a `VisionCache`.
    - The completions of a prompt share its prefix (`rl.rollouts`): in sampling, and in scoring
      under the policy and under the reference. Gradient checkpointing cannot go with a cache of
      keys and values; the policy is then scored in TRL's way.
    - Adapters stay in float32: TRL casts those of a quantized model to bfloat16, in which a small
      learning rate hardly moves them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TRL's own
        super().__init__(*args, **kwargs)
        policy: Any = self.model
        if hasattr(policy, "peft_config"):
            for weight in policy.parameters():
                if weight.requires_grad:
                    weight.data = weight.data.float()
        models: list[Any] = [policy] if self.ref_model is None else [policy, self.ref_model]
        for model in models:
            tower = unwrapped(model).model.visual
            if not any(weight.requires_grad for weight in tower.parameters()):
                VisionCache(model)

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        processor: Any = self.processing_class
        with distinct_images(processor.image_processor):
            return super()._generate_and_score_completions(*args, **kwargs)

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - TRL's own
        """TRL's way, with another `generate` underneath."""
        core = unwrapped(self.model)
        core.generate = partial(_generate, core)
        try:
            return super()._generate_single_turn(*args, **kwargs)
        finally:
            del core.generate

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,  # noqa: ANN401 - a model in any wrapping
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **given: Any,  # noqa: ANN401 - TRL's own
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        given = {name: value for name, value in given.items() if value is not None}
        core = unwrapped(model)
        if core.is_activation_checkpointing or compute_aux_loss or not given.keys() <= KNOWN:
            logger.warning_once("Completions are scored with a prompt each, in TRL's way.")
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
        completions, mask = input_ids[:, length:], attention_mask[:, length:]
        with self.accelerator.autocast():
            prefix = read_prompts(model, prompts)
            output = model(
                **continuation(prefix, completions, mask, owner),
                shift_labels=completions.masked_fill(mask == 0, IGNORED),
                fused_lm_head=True,
            )
        return output.log_probs, output.entropy if compute_entropy else None, None


def _cut(rows: dict[str, Tensor], length: int) -> dict[str, Tensor]:
    names = ("input_ids", "attention_mask", "mm_token_type_ids")
    return rows | {name: rows[name][:, :length] for name in names if name in rows}


def _generate(core: PreTrainedModel, generation_config: GenerationConfig, **rows: Tensor) -> Tensor:
    """`generate` for rows in groups of the same prompt."""
    prompts, owner = distinct_prompts(core, rows)
    count = len(owner) // len(prompts["input_ids"])
    places = torch.arange(len(prompts["input_ids"]), device=owner.device)
    if not torch.equal(owner, places.repeat_interleave(count)):
        logger.warning_once("Prompts come in groups of different size and are sampled one by one.")
        prompts, count = rows, 1
    tokens = sample_group(core, prompts, count, generation_config)
    return torch.cat([rows["input_ids"], tokens], 1)
