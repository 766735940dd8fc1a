"""`python -m benchmarks.speed.fused`: what a fused decoding loop would save in a step of `bench`.

The library's loop, over transformers' layers, and the same layers written anew take turns: q, k and
v are one product, gate and up another, queries and keys are turned at once, and residuals are added
by the products.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention
from transformers.models.qwen2_vl.modeling_qwen2_vl import rotate_half

from benchmarks.speed.bench import STAGES
from benchmarks.speed.sides import TOKENS, Case, save_model, sides
from medr1_lib.cli import at_least
from medr1_lib.provenance import hardware
from medr1_lib.rl import generation

Untyped: TypeAlias = Any


def by_hand(
    model: Untyped,
    input_ids: Untyped,
    logits_processor: Untyped,
    stopping_criteria: Untyped,
    generation_config: Untyped,
    prompts: generation.PromptCache,
    **_: object,
) -> Tensor:
    """The loop without a module of transformers between two tensors."""
    core, rows, count = model.model.language_model, len(prompts.last), len(input_ids)
    count, start = count // rows, prompts.mask.shape[1]
    steps = generation_config.max_length - input_ids.shape[1]
    own = torch.eye(count, dtype=torch.bool).repeat(1, steps).expand(rows, -1, -1)
    seen = torch.cat([prompts.mask.bool()[:, None].expand(-1, count, -1), own], 2)[:, None]
    mask = torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
    times = (prompts.position + torch.arange(steps)).expand(3, -1, -1)
    cos, sin = (part[:, :, None, None] for part in core.rotary_emb(mask, times))
    caches: Untyped = prompts.cache.layers
    caches = [generation.PreallocatedLayer(one.keys, one.values, count * steps) for one in caches]
    layers = [_layer(layer, cache) for layer, cache in zip(core.layers, caches, strict=True)]
    passed = iter(range(steps))

    def step(tokens: Tensor) -> Tensor:
        now = next(passed)
        there = mask[..., : start + count * (now + 1)]
        hidden = core.embed_tokens(tokens[:, 0])
        for layer in layers:
            hidden = layer(hidden, rows, there, cos[:, now], sin[:, now])
        return model.lm_head(_norm(hidden, core.norm)).float()

    chosen = logits_processor, stopping_criteria, generation_config
    return generation.decode(step, input_ids, *chosen)


def _layer(layer: Untyped, cache: generation.PreallocatedLayer) -> Callable[..., Tensor]:
    attention, mlp = layer.self_attn, layer.mlp
    read, bias = _joint(attention.q_proj, attention.k_proj, attention.v_proj)
    gates, _ = _joint(mlp.gate_proj, mlp.up_proj)
    write, down = (_weight(one)[0].t().contiguous() for one in (attention.o_proj, mlp.down_proj))
    read, gates = read.t().contiguous(), gates.t().contiguous()
    heads, pairs = attention.num_heads, attention.num_key_value_heads

    def forward(hidden: Tensor, rows: int, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        found = torch.addmm(bias, _norm(hidden, layer.input_layernorm), read)
        found = found.view(rows, len(hidden) // rows, -1, attention.head_dim)
        turned, values = found.split([heads + pairs, pairs], 2)
        turned = torch.addcmul(turned * cos, rotate_half(turned), sin).transpose(1, 2)
        queries, keys = turned.split([heads, pairs], 1)
        keys, values = cache.update(keys, values.transpose(1, 2))
        mixed = scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, enable_gqa=heads != pairs
        )
        hidden = torch.addmm(hidden, mixed.transpose(1, 2).reshape(hidden.shape), write)
        gate, up = (_norm(hidden, layer.post_attention_layernorm) @ gates).chunk(2, -1)
        return torch.addmm(hidden, mlp.act_fn(gate).mul_(up), down)

    return forward


def _norm(hidden: Tensor, norm: Untyped) -> Tensor:
    return rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)


def _weight(layer: Untyped) -> tuple[Tensor, Tensor | None]:
    """Weight and bias, with the adapter where `merged_lora` has put it."""
    found = layer.forward.keywords if "forward" in vars(layer) else vars(layer)["_parameters"]
    return found["weight"], found["bias"]


def _joint(*layers: Untyped) -> tuple[Tensor, Untyped]:
    weights, biases = zip(*map(_weight, layers), strict=True)
    return torch.cat(weights), None if biases[0] is None else torch.cat(biases)


WAYS: dict[str, Any] = {"library": generation.decode_group, "by hand": by_hand}


def main(arguments: list[str]) -> int:
    """Print medians of each way; returns 1 if one samples other tokens than the library."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.fused", description=__doc__)
    parser.add_argument("--size", type=int, choices=TOKENS, default=112, help="pixels a side (112)")
    parser.add_argument("--steps", type=at_least(1), default=8, metavar="N", help="of each way (8)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    case = Case(options.size)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder))
        side = sides(case, Path(folder))["ours"]
        side.batches = cycle(list(side.trainer.get_train_dataloader()))
        batch, tokens = next(side.batches), {}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
        for name, way in WAYS.items():
            with patch.object(generation, "decode_group", way):
                side.trainer._buffered_inputs, side.trainer._step = None, 0
                torch.manual_seed(0)
                tokens[name] = side.trainer._prepare_inputs(batch)["completion_ids"]
        side.trainer._buffered_inputs = None
        for turn in range(options.steps):
            for name in list(WAYS)[:: -1 if turn % 2 else 1]:
                with patch.object(generation, "decode_group", WAYS[name]):
                    side.step()
                taken[name].append(side.steps[-1])
    equal = {name: torch.equal(found, tokens["library"]) for name, found in tokens.items()}
    for name, steps in taken.items():
        medians = (f"{one} {statistics.median(step[one] for step in steps):.3f}" for one in STAGES)
        print(f"{name:<12}", *medians, "same tokens" if equal[name] else "OTHER TOKENS")
    print(case, hardware())
    return 0 if all(equal.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
