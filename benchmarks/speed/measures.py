"""What the bench measures of its two sides: whether they agree, and what a step costs at least."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed.sides import GROUP, Case, Side
from medr1_lib.model.loading import base_model

LIMITS = {  # of what float32 may round
    "max_logp_difference": 1e-5,
    "max_loss_difference": 1e-6,
    "max_relative_gradient_error": 1e-5,
}


def agreement(ours: Side, trl: Side) -> dict[str, float]:
    """How far the two sides are from each other on one batch, sampled by ours.

    Returns:
        `same_tokens`: share of tokens that TRL samples too, from the same seed;
        `max_logp_difference`, under the policy; `max_loss_difference`; and
        `max_relative_gradient_error`: norm of the difference over the norm, over all weights.
    """
    batch = next(ours.batches)
    inputs, others = (_inputs(side.trainer, batch) for side in (ours, trl))
    (loss, gradient, logps), (wanted, right, known) = (
        _results(side.trainer, inputs) for side in (ours, trl)
    )
    same = _in_order(inputs) == _in_order(others)
    return {
        "same_tokens": float(same.float().mean()),
        "max_logp_difference": float((logps - known).abs().max()),
        "max_loss_difference": abs(loss - wanted),
        "max_relative_gradient_error": float((gradient - right).norm() / right.norm()),
    }


def _inputs(trainer: Any, batch: Any) -> dict[str, Any]:  # noqa: ANN401 - TRL's own
    torch.manual_seed(0)
    return trainer._prepare_inputs(batch)


def _in_order(inputs: dict[str, Any]) -> Tensor:
    """The completions sorted by their tokens and their prompts', since TRL shuffles them."""
    rows = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1).tolist()
    return inputs["completion_ids"][sorted(range(len(rows)), key=rows.__getitem__)]


def _results(trainer: Any, inputs: dict[str, Any]) -> tuple[float, Tensor, Tensor]:  # noqa: ANN401
    names = ("pixel_values", "image_grid_thw", "mm_token_type_ids", "num_images")
    logps, _, _ = trainer._get_per_token_logps_and_entropies(
        trainer.model,
        torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
        torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
        inputs["completion_ids"].shape[1],
        **{name: inputs[name] for name in names},
    )
    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    loss = trainer._compute_loss(trainer.model, inputs)
    gradient = torch.autograd.grad(loss, weights)
    return loss.item(), torch.cat([part.flatten() for part in gradient]), logps.detach()


def floor(side: Side, case: Case) -> float:
    """Seconds of a step that did nothing but the matrix products of tokens that differ.

    Each prompt is read and each completion sampled once, under the reference once, and under the
    policy with a backward pass, which counts twice a forward pass; each image is encoded once. A
    token takes 2 FLOP per weight. The rate is that of one large product on this machine.
    """
    core = base_model(side.trainer.model)
    inputs = _inputs(side.trainer, next(side.batches))
    tokens = int(inputs["prompt_mask"].sum()) // GROUP + int(inputs["completion_mask"].sum())
    patches = len(inputs["pixel_values"]) // GROUP
    language = _linear(core.model.language_model) + core.lm_head.weight.numel()
    flop = 2 * (5 * tokens * language + patches * _linear(core.model.visual))
    return flop / _rate(case.clock)


def _linear(part: nn.Module) -> int:
    return sum(
        layer.in_features * layer.out_features
        for layer in part.modules()
        if isinstance(layer, nn.Linear)
    )


def _rate(clock: Callable[[], float], size: int = 1024) -> float:
    """FLOP per second of a product of large float32 matrices, the best of some."""
    square = torch.randn(size, size)
    best = float("inf")
    for _ in range(10):
        start = clock()
        square @ square
        best = min(best, clock() - start)
    return 2 * size**3 / best
