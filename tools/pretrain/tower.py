"""Stage 1: the vision tower learns to tell pictures apart, in words or in a code of its own."""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VisionTransformerPretrainedModel,
    VisionAttention,
)

from tools.pretrain.attributes import LESIONS, lesions, targets, vocabulary
from tools.pretrain.optimizer import Optimizer, save_whole
from tools.pretrain.pictures import Pictures, encode, patches
from tools.pretrain.tiny import HEAD, orthonormal

BATCH = {"medical": 48, "general": 16}  # pictures per step
SHARPNESS = 10.0  # logits per unit of agreement with a word vector of length one
WARM_UP = 100
log = logging.getLogger(__name__)


def train_tower(
    tower: Qwen2VisionTransformerPretrainedModel,
    codes: Sequence[Tensor],
    train: dict[str, Pictures],
    held_out: dict[str, Pictures],
    steps: int,
    seed: int,
    checkpoint: Path,
) -> None:
    """Teach the tower every attribute of a scene, in place; resumes from its checkpoint.

    The average of an image's 16 features is scored against the codes, attribute by attribute:
    afterwards what a picture shows lies in the space of the codes of its words. A head of its own,
    dropped afterwards, asks every feature which lesion or object lies there.

    Args:
        tower: To be trained.
        codes: For every attribute the vectors to write its words with (`attributes.codes`, or
            the words' own).
        train: Pictures of each domain to learn from.
        held_out: Pictures of each domain to measure with.
        steps: Of training, all in all.
        seed: Of the order of the pictures, and of the dropped head.
        checkpoint: File to go on from and to write.
    """
    torch.manual_seed(seed)
    prepare(tower, np.concatenate([shown.pixels[::60] for shown in train.values()]))
    spots = nn.Linear(tower.config.hidden_size, LESIONS)
    optimizer = Optimizer(tower.parameters(), spots.parameters())
    parts: list[Any] = [tower, spots, optimizer]
    done, before = _resume(checkpoint, parts)
    wanted = {kind: targets(shown.scenes) for kind, shown in train.items()}
    marks = {kind: lesions(shown.scenes) for kind, shown in train.items()}
    weight = torch.ones(LESIONS).index_fill(0, torch.tensor(0), 0.1)  # most places are empty
    begun = time.perf_counter() - before
    for step, chosen in islice(_batches(train, steps, seed), done, None):
        pixels = np.concatenate([train[kind].pixels[rows] for kind, rows in chosen.items()])
        seen = encode(tower, pixels)
        shown = torch.cat([wanted[kind][rows] for kind, rows in chosen.items()])
        there = torch.cat([marks[kind][rows] for kind, rows in chosen.items()])
        loss = cross_entropy(spots(seen).flatten(0, 1), there.flatten(), weight)
        loss = loss + sum(_losses(seen, codes, shown))
        loss.backward()
        optimizer.step(min(1, step / WARM_UP, (steps - step + 1) / (0.7 * steps)))
        if step % 100 == 0 or step == steps:
            spent = time.perf_counter() - begun
            found = {kind: recognized(tower, codes, shown) for kind, shown in held_out.items()}
            log.info("tower step %d, %.0f s: loss %.2f; %s", step, spent, loss.item(), _told(found))
            save_whole((step, spent, [part.state_dict() for part in parts]), checkpoint)


def _told(found: dict[str, dict[str, float]]) -> str:
    return "; ".join(
        f"{kind} " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        for kind, shares in found.items()
    )


def finished(
    tower: Qwen2VisionTransformerPretrainedModel, checkpoint: Path, steps: int
) -> float | None:
    """Take the tower from a checkpoint if all its steps are done; the seconds that they took."""
    if not checkpoint.exists():
        return None
    done, spent, (weights, *_) = torch.load(checkpoint, weights_only=True)
    if done < steps:
        return None
    tower.load_state_dict(weights)
    return float(spent)


def _resume(checkpoint: Path, parts: list[Any]) -> tuple[int, float]:
    """Put everything back as it was saved; the steps done and the seconds they took."""
    if not checkpoint.exists():
        return 0, 0.0
    done, spent, states = torch.load(checkpoint, weights_only=True)
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    return done, spent


def _batches(
    train: dict[str, Pictures], steps: int, seed: int
) -> Iterator[tuple[int, dict[str, NDArray[np.int64]]]]:
    """Numbered batches: of each domain so many pictures, one shuffled epoch after another."""
    sources = {kind: _epochs(len(shown.scenes), BATCH[kind], seed) for kind, shown in train.items()}
    for step in range(1, steps + 1):
        yield step, {kind: next(rows) for kind, rows in sources.items()}


def _epochs(count: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        yield from (order[i : i + size] for i in range(0, count - size + 1, size))


def _losses(seen: Tensor, codes: Sequence[Tensor], wanted: Tensor) -> list[Tensor]:
    """One cross-entropy per attribute."""
    written = SHARPNESS * seen.mean(1)
    return [cross_entropy(written @ table.T, wanted[:, k]) for k, table in enumerate(codes)]


@torch.no_grad()
def recognized(
    tower: Qwen2VisionTransformerPretrainedModel, codes: Sequence[Tensor], shown: Pictures
) -> dict[str, float]:
    """Share of pictures whose attribute the tower tells, among all words of both domains.

    A place is the same word in both, and counts as told where its vector is the same, too.
    """
    rows = np.array_split(np.arange(len(shown.scenes)), max(1, len(shown.scenes) // 100))
    written = torch.cat([encode(tower, shown.pixels[part]).mean(1) for part in rows])
    wanted = targets(shown.scenes)
    return {
        name: _share(table, (written @ table.T).argmax(1), wanted[:, k])
        for k, (name, table) in enumerate(zip(vocabulary(), codes, strict=True))
    }


def _share(table: Tensor, guess: Tensor, wanted: Tensor) -> float:
    asked = wanted >= 0
    return float((table[guess[asked]] == table[wanted[asked]]).all(1).float().mean())


@torch.no_grad()
def prepare(tower: Qwen2VisionTransformerPretrainedModel, pixels: NDArray[np.uint8]) -> None:
    """Start from whitened patches and from heads that look at neighbours, as a convolution does.

    The patch embedding begins as the first principal components of the patches, scaled to equal
    spread; without this the brightness of a patch drowns what is in it.
    """
    sample, width = patches(pixels), tower.config.embed_dim
    spread, axes = torch.linalg.eigh((sample.T @ sample / len(sample)).double())
    spread, axes = spread.flip(0)[:width].float(), axes.flip(1)[:, :width].float()
    filters = (axes / (spread + 0.01 * spread[1]).sqrt()).T
    tower.patch_embed.proj.weight.copy_(filters.view_as(tower.patch_embed.proj.weight))
    attentions = [part for part in tower.modules() if isinstance(part, VisionAttention)]
    for attention, reach in zip(attentions, (1, 3), strict=False):
        for head, way in enumerate(((0, reach), (0, -reach), (reach, 0), (-reach, 0))):
            _aim(attention, head, *way)


def _aim(attention: VisionAttention, head: int, down: int, across: int) -> None:
    """Make a head of the tower pass on what lies so many patches away."""
    width, columns = attention.dim, slice(head * HEAD, (head + 1) * HEAD)
    query, key, value = (
        slice(k * width + columns.start, k * width + columns.stop) for k in range(3)
    )
    attention.qkv.bias[query], attention.qkv.bias[key] = _look_aside(down, across)
    attention.qkv.weight[value] = orthonormal(width, HEAD)
    attention.proj.weight[:, columns] = 0.5 * orthonormal(width, HEAD).T


def _look_aside(down: int, across: int, strength: float = 60.0) -> tuple[Tensor, Tensor]:
    """Query and key biases that peak at a patch so many rows and columns away.

    The rotary embedding of the tower gives half of its frequencies to rows, half to columns.
    """
    count = HEAD // 4
    frequencies = 1e4 ** (-torch.arange(count) / count)
    turn = torch.cat([down * frequencies, across * frequencies])
    weight = math.sqrt(strength) * (torch.arange(count) < 3).repeat(2)
    query = torch.cat([weight, torch.zeros(2 * count)])
    return query, torch.cat([weight * turn.cos(), weight * turn.sin()])
