"""What both trainers do in another way than TRL: the tower, the adapter and the checkpoints."""

from pathlib import Path
from typing import Any

from transformers import Trainer

from medr1_lib.model.vision_cache import VisionCache
from medr1_lib.rl.prefix import unwrapped
from medr1_lib.rl.run import COMPLETE, writing


class FrugalTrainer(Trainer):
    """Stands before one of TRL's trainers.

    - A frozen vision tower gets a `VisionCache`.
    - Adapters stay in float32: TRL casts those of a quantized model to bfloat16, in which a small
      learning rate hardly moves them.
    - A checkpoint is marked when it is whole. TRL would write a card into every one of them, and
      report the start of a training to its authors.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - TRL's own
        super().__init__(*args, **kwargs)
        policy: Any = self.model
        for weight in policy.parameters() if hasattr(policy, "peft_config") else ():
            if weight.requires_grad:
                weight.data = weight.data.float()
        for model in filter(None, (policy, getattr(self, "ref_model", None))):
            tower = unwrapped(model).model.visual
            if not any(weight.requires_grad for weight in tower.parameters()):
                VisionCache(model)

    def _save_checkpoint(self, *args: Any) -> None:  # noqa: ANN401 - TRL's own
        with writing(Path(str(self.args.output_dir)).parent):
            super()._save_checkpoint(*args)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                name = f"checkpoint-{self.state.global_step}"
                (Path(str(self.args.output_dir)) / name / COMPLETE).touch()

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """The run has a card of its own."""

    def _send_telemetry(self) -> None:
        pass
