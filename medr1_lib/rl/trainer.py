"""GRPO through TRL's own trainer, spared the work that it would do more than once."""

from typing import Any

from trl.trainer.grpo_trainer import GRPOTrainer

from medr1_lib.policy.loading import base_model
from medr1_lib.policy.vision_cache import VisionCache


class PolicyTrainer(GRPOTrainer):
    """TRL's `GRPOTrainer`: same arguments, same mathematics, each image encoded once.

    A frozen vision tower gets a `VisionCache`, and adapters are kept in float32: TRL casts those of
    a quantized model to bfloat16, in which a small learning rate hardly moves them.
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
            tower = base_model(model).model.visual
            if not any(weight.requires_grad for weight in tower.parameters()):
                VisionCache(model)
