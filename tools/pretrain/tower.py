"""Stage 1, the eye: the vision tower learns to write what it sees in the language model's words."""

import logging
import math
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.modeling_qwen2_vl import (
    Qwen2VisionTransformerPretrainedModel,
    VisionAttention,
)

from medr1_lib.model.tiny import VISION_HEADS, VISION_WIDTH, WIDTH, orthonormal
from tools.pretrain.optimizer import Optimizer, keep
from tools.pretrain.scenes import LESIONS, TOKENS, Pool, grid, lesions, patches, truths, vocabulary

BATCH = 64
SHARPNESS = 10.0  # logits per unit of agreement with a word vector of length one
WARM_UP = 100
VISION_HEAD = VISION_WIDTH // VISION_HEADS
log = logging.getLogger(__name__)


def train_tower(
    model: Qwen2VLForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    train: Pool,
    held_out: Pool,
    steps: int,
    seed: int,
    checkpoint: Path,
) -> None:
    """Teach the tower every attribute of a scene, in place; resumes from its checkpoint.

    The average of an image's 16 features is scored against the word vectors of the language model,
    attribute by attribute: afterwards what an image shows lies in the space of the words for it. A
    head of its own, dropped afterwards, asks every feature which lesion lies there.
    """
    torch.manual_seed(seed)
    tower = model.model.visual
    prepare(tower, train)
    words, spots = word_vectors(model, tokenizer), nn.Linear(WIDTH, LESIONS)
    optimizer = Optimizer(tower.parameters(), spots.parameters())
    parts = [tower, spots, optimizer]
    done, before = _resume(checkpoint, parts)
    targets, marks = truths(train.scenes), lesions(train.scenes)
    weight = torch.ones(LESIONS).index_fill(0, torch.tensor(0), 0.1)  # most places are empty
    schedule = zip(range(1, steps + 1), batches(len(targets), seed), strict=False)
    begun = time.perf_counter() - before
    for step, chosen in islice(schedule, done, None):
        features = see(tower, train, chosen)
        guess = spots(features).flatten(0, 1)
        loss = cross_entropy(guess, marks[chosen].flatten(), weight)
        loss = loss + sum(losses(features, words, targets[chosen]))
        loss.backward()
        optimizer.step(min(1, step / WARM_UP, (steps - step + 1) / (0.7 * steps)))
        if step % 50 == 0 or step == steps:
            spent = time.perf_counter() - begun
            right = ", ".join(f"{k} {v:.1%}" for k, v in recognised(tower, words, held_out).items())
            log.info("tower step %d, %.0f s: loss %.2f; %s", step, spent, loss.item(), right)
            keep((step, spent, [part.state_dict() for part in parts]), checkpoint)


def finished(tower: Qwen2VisionTransformerPretrainedModel, checkpoint: Path, steps: int) -> bool:
    """Take the tower from a checkpoint if all its steps are done."""
    if not checkpoint.exists():
        return False
    done, _, (weights, *_) = torch.load(checkpoint, weights_only=True)
    if done >= steps:
        tower.load_state_dict(weights)
    return bool(done >= steps)


def _resume(checkpoint: Path, parts: list[Any]) -> tuple[int, float]:
    """Put everything back as it was saved; the steps done and the seconds they took."""
    if not checkpoint.exists():
        return 0, 0.0
    done, spent, states = torch.load(checkpoint, weights_only=True)
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    return done, spent


def batches(count: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Batches of row numbers, one shuffled epoch after another, without end."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        yield from (order[i : i + BATCH] for i in range(0, count - BATCH + 1, BATCH))


def see(
    tower: Qwen2VisionTransformerPretrainedModel, shown: Pool, rows: NDArray[np.int64]
) -> Tensor:
    """The features of some pictures: shape (pictures, 16, width)."""
    with torch.autocast("cpu", torch.bfloat16):
        output = tower(patches(shown.pixels[rows]), grid_thw=grid(len(rows)))
    return output.pooler_output.float().view(len(rows), TOKENS, WIDTH)


def word_vectors(
    model: Qwen2VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> list[Tensor]:
    """For every attribute the vectors of its words, shape (words, width), not to be trained."""
    table = model.model.language_model.embed_tokens.weight.detach()
    return [table[tokenizer.convert_tokens_to_ids(words)] for words in vocabulary().values()]


def losses(features: Tensor, words: list[Tensor], targets: Tensor) -> list[Tensor]:
    """One cross-entropy per attribute."""
    seen = SHARPNESS * features.mean(1)
    return [cross_entropy(seen @ table.T, targets[:, k]) for k, table in enumerate(words)]


@torch.no_grad()
def recognised(
    tower: Qwen2VisionTransformerPretrainedModel, words: list[Tensor], shown: Pool
) -> dict[str, float]:
    """Share of pictures whose attribute the tower names, among all words of the attribute."""
    rows = np.arange(len(shown.scenes))
    seen = torch.cat([see(tower, shown, part).mean(1) for part in np.array_split(rows, 8)])
    wanted = truths(shown.scenes)
    return {
        name: _share((seen @ table.T).argmax(1), wanted[:, k])
        for k, (name, table) in enumerate(zip(vocabulary(), words, strict=True))
    }


def _share(guess: Tensor, wanted: Tensor) -> float:
    asked = wanted >= 0
    return float((guess == wanted)[asked].float().mean())


@torch.no_grad()
def prepare(tower: Qwen2VisionTransformerPretrainedModel, shown: Pool) -> None:
    """Start from whitened patches and from heads that look at neighbours, as a convolution does.

    The patch embedding begins as the 128 principal components of the patches, scaled to equal
    spread; without this the brightness of a patch drowns what is in it.
    """
    sample = patches(shown.pixels[::40])
    spread, axes = torch.linalg.eigh((sample.T @ sample / len(sample)).double())
    spread, axes = spread.flip(0)[:VISION_WIDTH].float(), axes.flip(1)[:, :VISION_WIDTH].float()
    filters = (axes / (spread + 0.01 * spread[1]).sqrt()).T
    tower.patch_embed.proj.weight.copy_(filters.view_as(tower.patch_embed.proj.weight))
    attentions = [part for part in tower.modules() if isinstance(part, VisionAttention)]
    for attention, reach in zip(attentions, (1, 3), strict=False):
        for head, way in enumerate(((0, reach), (0, -reach), (reach, 0), (-reach, 0))):
            _aim(attention, head, *way)


def _aim(attention: VisionAttention, head: int, down: int, across: int) -> None:
    """Make a head of the tower pass on what lies so many patches away."""
    query, key, value = (
        slice(k * VISION_WIDTH + head * VISION_HEAD, k * VISION_WIDTH + (head + 1) * VISION_HEAD)
        for k in range(3)
    )
    attention.qkv.bias[query], attention.qkv.bias[key] = _look_aside(down, across)
    attention.qkv.weight[value] = orthonormal(VISION_WIDTH, VISION_HEAD)
    columns = slice(head * VISION_HEAD, (head + 1) * VISION_HEAD)
    attention.proj.weight[:, columns] = 0.5 * orthonormal(VISION_WIDTH, VISION_HEAD).T


def _look_aside(down: int, across: int, strength: float = 60.0) -> tuple[Tensor, Tensor]:
    """Query and key biases that peak at a patch so many rows and columns away.

    The rotary embedding of the tower gives half of its frequencies to rows, half to columns.
    """
    count = VISION_HEAD // 4
    frequencies = 1e4 ** (-torch.arange(count) / count)
    turn = torch.cat([down * frequencies, across * frequencies])
    weight = math.sqrt(strength) * (torch.arange(count) < 3).repeat(2)
    query = torch.cat([weight, torch.zeros(2 * count)])
    return query, torch.cat([weight * turn.cos(), weight * turn.sin()])
