"""The tiny model: the real architecture, small, the same from a seed, wired to look words up."""

import policies
import pytest
import torch

from medr1_lib.data.styles import listed
from tools.pretrain.tiny import SIZES, phrases, tiny_model


def test_it_is_small_and_follows_from_its_seed():
    tokenizer = policies.processor().tokenizer
    first, same, other = (tiny_model(tokenizer, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["lm_head.weight"], other["lm_head.weight"])
    assert sum(weight.numel() for weight in first.values()) * 4 < 20e6


@pytest.mark.parametrize("size", SIZES)
def test_a_written_word_finds_its_option_before_any_training(size):
    tokenizer = policies.processor().tokenizer
    model = tiny_model(tokenizer, size=size)
    model.set_attn_implementation("eager")
    words, hits = phrases(), []
    for start in range(0, len(words) - 4, 4):
        options = words[start : start + 4]
        place = start // 4 % 4
        text = f"{listed(options)}. finding: {options[place]}</think><answer>"
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            layer = model.model.language_model(ids, output_attentions=True).attentions[1]
        named = tokenizer.convert_tokens_to_ids(options)
        heard = [int((ids[0] == word).nonzero()[0]) for word in named]
        hits += [int(head[-1, heard].argmax()) == place for head in layer[0, :2]]
    assert sum(hits) > 0.6 * len(hits), "chance is one in four"
