"""What a batch of examples is scored by: the taught tokens, and two hints for direct answers.

An answer before any reasoning needs two things in one step: to know what the image shows, and to
find the letter that stands before that text. Learned from letters alone it stays at chance for
thousands of steps. So the right option is also asked for in words, one layer below the answer, and
two heads of the last layer, lent by layer 1 where they have learned to match, are told where to
look. Both hints are true and both are dropped with the training: the weights are all that stays.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import BaseModelOutputWithPast

from medr1_lib.data.question import LETTERS
from tools.pretrain.examples import Example
from tools.pretrain.model import IGNORED, TinyVLM
from tools.pretrain.tiny import HEAD

MATCHING = 2  # heads of a layer that look for the text found two tokens on

# Loss, and share right.
Score = tuple[Tensor, float]


def losses(vlm: TinyVLM, examples: Sequence[Example], features: Tensor | None) -> dict[str, Score]:
    """Score the taught tokens, letters apart from other text, and the hints where a letter is due.

    Rows are padded on the right, where a causal model does not look.

    Args:
        vlm: The model; its attention must be `eager`, so that it can be seen.
        examples: The rows of the batch.
        features: Of their images, (rows, 16, width), or `None` for text alone.
    """
    rows = [vlm.row(example, features is not None) for example in examples]
    longest, blank = max(len(ids) for ids, _ in rows), vlm.tokenizer.pad_token_id
    ids = torch.tensor([ids + [blank] * (longest - len(ids)) for ids, _ in rows])
    wanted = torch.tensor([given + [IGNORED] * (longest - len(given)) for _, given in rows])[:, 1:]
    positions = vlm.positions(longest, features is not None)[:, None].expand(3, len(rows), -1)
    output = vlm.model.model.language_model(
        inputs_embeds=vlm.embed(ids, features),
        position_ids=positions,
        use_cache=False,
        output_attentions=True,
        output_hidden_states=True,
    )
    letter = torch.isin(wanted, torch.tensor([vlm.tokens(c)[0] for c in LETTERS]))
    kinds = {"text": ~letter & (wanted != IGNORED), "letter": letter}
    hidden = output.last_hidden_state[:, :-1]
    scores = {
        name: _score(vlm.model.lm_head(hidden[chosen]), wanted[chosen])
        for name, chosen in kinds.items()
        if chosen.any()
    }
    named = {row: example.named for row, example in enumerate(examples) if example.named}
    return scores | (_hints(vlm, ids, output, named) if named else {})


def _hints(
    vlm: TinyVLM, ids: Tensor, output: BaseModelOutputWithPast, named: dict[int, tuple[str, str]]
) -> dict[str, Score]:
    """The right option in words below the last layer, and the matching heads' eyes upon it."""
    assert output.hidden_states is not None
    assert output.attentions is not None
    rows = torch.tensor(list(named))
    letters, words = (
        torch.tensor([vlm.tokens(text)[0] for text in texts])[:, None]
        for texts in zip(*named.values(), strict=True)
    )
    ids = ids[rows]
    due = (ids == vlm.tokens("<answer>")[0]).cumsum(1).argmax(1)  # the prompt shows one as well
    listed = (ids[:, :-2] == letters) & (ids[:, 1:-1] == vlm.tokens("A)")[1])
    right = (listed & (ids[:, 2:] == words)).int().argmax(1) + 2
    below = vlm.model.model.language_model.norm(output.hidden_states[-2][rows, due])
    looks = output.attentions[-1][rows, :MATCHING, due]  # (rows, heads, places)
    upon = looks[torch.arange(len(rows)), :, right]
    return {
        "word": _score(vlm.model.lm_head(below), words[:, 0]),
        "look": (-upon.clamp_min(1e-6).log().mean(), float(upon.detach().mean())),
    }


def _score(logits: Tensor, wanted: Tensor) -> Score:
    return cross_entropy(logits, wanted), float((logits.argmax(1) == wanted).float().mean())


@torch.no_grad()
def lend_heads(vlm: TinyVLM) -> None:
    """Copy the matching heads of layer 1 into the last layer.

    There a query is made from what the model would say, so it takes the weights of the key.
    """
    layers = vlm.model.model.language_model.layers
    learned, last = layers[1].self_attn, layers[-1].self_attn
    rows = slice(0, MATCHING * HEAD)
    for theirs, name in (("k_proj", "q_proj"), ("k_proj", "k_proj"), ("v_proj", "v_proj")):
        getattr(last, name).weight[rows] = getattr(learned, theirs).weight[rows]
    last.q_proj.bias[rows] = last.k_proj.bias[rows] = 0
    last.v_proj.bias[rows] = learned.v_proj.bias[rows]
    last.o_proj.weight[:, rows] = learned.o_proj.weight[:, rows]
