import torch

from medr1_lib.course.chapters.chapter_09 import levels, packed_row


def quantized_with(scale=None, pick=None, values=None):
    """A `quantize_blocks` with something else in the place of one of its parts."""

    def quantize_blocks(blocks):
        scales = blocks.abs().amax(1, keepdim=True) if scale is None else scale(blocks)
        distances = (blocks / scales)[..., None] - (levels() if values is None else values)
        return (distances.abs().argmin(-1) if pick is None else pick(distances)), scales

    return quantize_blocks


def not_divided(blocks):
    return quantized_with(lambda blocks: torch.ones(len(blocks), 1))(blocks)[0], blocks.abs().amax(
        1, keepdim=True
    )


WRONG = {
    "quantize_blocks": {
        "numbers go from 0": lambda blocks: (
            levels()[quantized_with()(blocks)[0]],
            blocks.abs().amax(1, keepdim=True),
        ),
        "divided by the scale": not_divided,
        "largest absolute value": quantized_with(lambda blocks: blocks.amax(1, keepdim=True).abs()),
        "a scale of its own": quantized_with(
            lambda blocks: blocks.abs().max().expand(len(blocks), 1)
        ),
        "not the next one below": quantized_with(
            pick=lambda distances: (distances >= 0).sum(-1) - 1
        ),
        "not evenly spaced": quantized_with(
            values=torch.cat([torch.linspace(-1, 0, 8), torch.linspace(0, 1, 9)[1:]])
        ),
    },
    "kv_cache_bytes": {
        "a key and a value": lambda layers, heads, width, tokens, size=2: (
            layers * heads * width * tokens * size
        ),
        "`size` bytes": lambda layers, heads, width, tokens, size=1: (
            2 * layers * heads * width * tokens
        ),
        "in each layer": lambda layers, heads, width, tokens, size=2: (
            2 * heads * width * tokens * size
        ),
        "for each head": lambda layers, heads, width, tokens, size=2: (
            2 * layers * width * tokens * size
        ),
    },
    "packed_row": {
        "sees itself and all before": lambda length, count, steps: (
            packed_row(length, count, steps)[0].tril(-1),
            packed_row(length, count, steps)[1],
        ),
        "sees no other completion": lambda length, count, steps: (
            torch.ones(length - 1 + count * steps, length - 1 + count * steps).bool().tril(),
            torch.arange(length - 1 + count * steps),
        ),
        "not in front of them": lambda length, count, steps: packed_row(
            max(length, 2), count, steps
        ),
        "`length` - 1 places": lambda length, count, steps: packed_row(
            length + (steps == 1), count, steps
        ),
    },
}
