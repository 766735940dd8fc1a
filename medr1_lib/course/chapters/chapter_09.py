"""Chapter 09: NF4 by hand (QLoRA, arXiv 2305.14314), a packed row, and the cases that check it."""

import torch
from torch import Tensor, tensor

from medr1_lib.course.exercise import Case

TAIL = 0.9677083  # where the outermost quantile is taken; at 1 it would be infinite


def levels() -> Tensor:
    """The sixteen values, from -1 to 1, (16,): quantiles of the normal distribution, and zero.

    Seven lie below zero and eight above (section 3 of the paper; `TAIL` is in its code).
    """
    negative, positive = (torch.linspace(TAIL, 0.5, count, dtype=torch.float64) for count in (8, 9))
    below, above = torch.special.ndtri(1 - negative), torch.special.ndtri(positive)
    values = torch.cat([below, above[:-1].flip(0)])
    return (values / values.max()).float()


def quantize_blocks(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers from 0 to 15 of the nearest levels, and the largest absolute value of each block.

    (blocks, weights) becomes numbers of the same shape, and scales, (blocks, 1).
    """
    scales = blocks.abs().amax(1, keepdim=True)
    distances = (blocks / scales)[..., None] - levels()
    return distances.abs().argmin(-1), scales


def packed_row(length: int, count: int, steps: int) -> tuple[Tensor, Tensor]:
    """Who sees whom in a packed row, (tokens, tokens), and the positions, (tokens,).

    A row holds a prompt without its last token, then `count` completions of `steps` tokens, which
    begin with that one; see `rl.generation.packed_inputs`.
    """
    place = torch.arange(1 - length, count * steps)  # the prompt is below 0
    owner = torch.where(place < 0, -1, place // steps)
    visible = ((owner == -1) | (owner == owner[:, None])).tril()
    return visible, length - 1 + torch.where(place < 0, place, place % steps)


CASES = {
    "quantize_blocks": (
        Case((tensor([[-1.0, 0.0, 1.0]]),), "numbers go from 0 for level -1 to 15 for level 1"),
        Case((tensor([[0.5, 0.0]]),), "the weights are divided by the scale of their block first"),
        Case((tensor([[0.0, -2.0]]),), "the scale is the largest absolute value of a block"),
        Case((tensor([[1.0, 0.1], [0.1, -0.1]]),), "each block (row) has a scale of its own"),
        Case((tensor([[1.0, -0.04]]),), "the nearest level is wanted, not the next one below"),
        Case((tensor([[-1.0, -0.76]]),), "levels are those of NF4, which are not evenly spaced"),
    ),
    "kv_cache_bytes": (
        Case((1, 1, 3, 1, 1), "a token leaves a key and a value, each of `head_size` numbers"),
        Case((1, 1, 3, 1), "a number has `size` bytes, two if nothing is said"),
        Case((4, 2, 3, 5), "every token leaves them for each head, in each layer"),
    ),
    "packed_row": (
        Case((3, 1, 3), "in one completion a token sees itself and all before it, the prompt too"),
        Case((3, 2, 2), "a token sees no other completion, and all of them begin at one position"),
        Case((1, 2, 2), "the prompt's last token stands in every completion, not in front of them"),
        Case((4, 3, 1), "a row has `length` - 1 places for the prompt, `steps` a completion"),
    ),
}
