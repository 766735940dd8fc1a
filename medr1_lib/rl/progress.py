"""A plain line that says how far a training is."""

from tqdm import tqdm
from transformers import TrainerCallback, TrainerState

from medr1_lib.rl.recorder import Logs, row

SHOWN = ("reward", "accuracy", "format", "kl", "completion_length", "loss")


class Progress(TrainerCallback):
    """One line, rewritten at every step: steps, time left, and what was measured last."""

    def on_train_begin(self, args: object, state: TrainerState, *_: object, **__: object) -> None:
        """Show the line."""
        done, hidden = state.global_step, not state.is_world_process_zero
        self._bar = tqdm(
            desc="train", total=state.max_steps, initial=done, disable=hidden, unit="step"
        )

    def on_log(
        self, args: object, state: TrainerState, *_: object, logs: Logs = None, **__: object
    ) -> None:
        """Rewrite it."""
        if logs is not None and "loss" in logs:
            measured = row("grpo", logs).items()  # of what is shown SFT has the loss alone
            found = {name: f"{x:.3g}" for name, x in measured if name in SHOWN and x is not None}
            self._bar.set_postfix(found, refresh=False)
            self._bar.update(state.global_step - self._bar.n)

    def on_train_end(self, *_: object, **__: object) -> None:
        """Leave it as it is."""
        self._bar.close()
