"""The optimizer of both halves: Muon for the matrices of the layers, AdamW for everything else."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

ADAMW_RATE, MUON_RATE = 1e-3, 2e-3


class Optimizer:
    """Two optimizers as one. Muon (Jordan et al. 2024) needs half of the steps or fewer here.

    Args:
        layers: Weights of layers; those that are matrices go to Muon.
        others: Embeddings and heads, all for AdamW.
        muon_rate: Peak learning rate of the matrices.
    """

    def __init__(
        self,
        layers: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        muon_rate: float = MUON_RATE,
    ) -> None:
        weights = list(layers)
        self.plain = [*(p for p in weights if p.ndim != 2), *others]
        adamw = torch.optim.AdamW(self.plain, weight_decay=0.01, betas=(0.9, 0.98))
        matrices = [p for p in weights if p.ndim == 2]
        muon = torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        self.parts: dict[torch.optim.Optimizer, float] = {adamw: ADAMW_RATE, muon: muon_rate}

    def step(self, share: float) -> None:
        """One step at that share of the peak learning rates; gradients are cleared."""
        nn.utils.clip_grad_norm_(self.plain, 1.0)
        for optimizer, peak in self.parts.items():
            for group in optimizer.param_groups:
                group["lr"] = share * peak
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> list[dict[str, Any]]:
        """What `load_state_dict` takes back."""
        return [optimizer.state_dict() for optimizer in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Go on where `state_dict` was taken."""
        for optimizer, state in zip(self.parts, states, strict=True):
            optimizer.load_state_dict(state)


def save_whole(state: object, checkpoint: Path) -> None:
    """Write a checkpoint whole or not at all."""
    unfinished = checkpoint.with_suffix(".part")
    torch.save(state, unfinished)
    unfinished.replace(checkpoint)
