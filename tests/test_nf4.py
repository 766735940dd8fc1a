"""NF4 by hand against bitsandbytes."""

import pytest
import torch
from bitsandbytes import functional

from medr1_lib.course.chapters.chapter_09 import levels, quantize_blocks
from medr1_lib.model.memory import BLOCK


@pytest.fixture
def weights():
    return torch.randn(96, 128, generator=torch.Generator().manual_seed(0)) / 50


def test_the_levels_are_those_of_bitsandbytes():
    state = functional.quantize_4bit(torch.ones(1, BLOCK), quant_type="nf4")[1]
    assert torch.allclose(levels(), state.code, atol=1e-6)
    assert (levels().diff() > 0).all()


def test_codes_and_scales_are_those_of_bitsandbytes(weights):
    codes, scales = quantize_blocks(weights.view(-1, BLOCK))
    packed, state = functional.quantize_4bit(weights, blocksize=BLOCK, quant_type="nf4")
    pairs = torch.stack([packed >> 4, packed & 15], -1)
    assert torch.equal(codes.flatten(), pairs.flatten().long())
    assert torch.equal(scales.flatten(), state.absmax)


def test_it_comes_back_as_from_bitsandbytes(weights):
    codes, scales = quantize_blocks(weights.view(-1, BLOCK))
    ours = (levels()[codes] * scales).view_as(weights)
    theirs = functional.dequantize_4bit(
        *functional.quantize_4bit(weights, blocksize=BLOCK, quant_type="nf4")
    )
    assert torch.allclose(ours, theirs, rtol=1e-6, atol=1e-9)
    assert 0.08 < (ours - weights).norm() / weights.norm() < 0.1


def test_what_is_a_level_already_comes_back_as_it_was():
    blocks = torch.stack([levels(), 0.25 * levels(), -3 * levels().flip(0).abs()])
    blocks[2, 0] = 3.0
    codes, scales = quantize_blocks(blocks)
    assert torch.allclose((levels()[codes] * scales)[:2], blocks[:2])
    assert scales.flatten().tolist() == [1.0, 0.25, 3.0]
