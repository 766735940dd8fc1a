"""NF4 by hand: a weight in four bits, which name one of sixteen values.

The storage of QLoRA (Dettmers et al. 2023, arXiv 2305.14314). bitsandbytes computes the same, two
weights to the byte; `tests/test_nf4.py` holds this page to it.
"""

import torch
from torch import Tensor

BLOCK = 64  # weights that share a scale
NESTED = 256  # scales that share a scale of their own in double quantization
TAIL = 0.9677083  # where the outermost quantile is taken; at 1 it would be infinite


def levels() -> Tensor:
    """The sixteen values, from -1 to 1, (16,).

    Quantiles of the normal distribution at even steps of probability, seven below zero and eight
    above, divided by the largest, and zero itself (section 3 of the paper; `TAIL` is the constant
    of its code). Built in chapter 07.

    Example:
        >>> [round(value, 2) for value in levels().tolist()[6:10]]
        [-0.09, 0.0, 0.08, 0.16]
    """
    negative, positive = (torch.linspace(TAIL, 0.5, count, dtype=torch.float64) for count in (8, 9))
    below, above = torch.special.ndtri(1 - negative), torch.special.ndtri(positive)
    values = torch.cat([below, above[:-1].flip(0)])
    return (values / values.max()).float()


def quantize_blocks(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """The number of the nearest level for every weight, and the scale of every block.

    Built in chapter 07.

    Args:
        blocks: Weights, a block in each row, (blocks, weights).

    Returns:
        Numbers from 0 to 15, (blocks, weights), and the largest absolute value in each block,
        (blocks, 1).

    Example:
        >>> quantize_blocks(torch.tensor([[0.0, -2.0, 2.0]]))
        (tensor([[ 7,  0, 15]]), tensor([[2.]]))
    """
    scales = blocks.abs().amax(1, keepdim=True)
    distances = (blocks / scales)[..., None] - levels()
    return distances.abs().argmin(-1), scales


def dequantize_blocks(codes: Tensor, scales: Tensor) -> Tensor:
    """What `quantize_blocks` has made of the weights, (blocks, weights); built in chapter 07."""
    return levels()[codes] * scales
