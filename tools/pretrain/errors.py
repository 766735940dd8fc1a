"""What a batch of lessons is scored by: the taught tokens, and two hints for direct answers.

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
from medr1_lib.model.tiny import HEAD
from tools.pretrain.language import IGNORED, Pupil
from tools.pretrain.lessons import Lesson

MATCHING = 2  # heads of a layer that look for the text found two tokens on

# Loss, and share right.
Mark = tuple[Tensor, float]


def errors(pupil: Pupil, lessons: Sequence[Lesson], features: Tensor | None) -> dict[str, Mark]:
    """Score the taught tokens, `letter`s apart from `text`, and where a letter is due the hints.

    Rows are padded on the right, where a causal model does not look.

    Args:
        pupil: Who is taught; its attention must be `eager`, so that it can be seen.
        lessons: The rows of the batch.
        features: Of their images, (rows, 16, width), or `None` for text alone.
    """
    rows = [pupil.row(lesson, features is not None) for lesson in lessons]
    longest, blank = max(len(ids) for ids, _ in rows), pupil.tokenizer.pad_token_id
    ids = torch.tensor([ids + [blank] * (longest - len(ids)) for ids, _ in rows])
    wanted = torch.tensor([given + [IGNORED] * (longest - len(given)) for _, given in rows])[:, 1:]
    positions = pupil.positions(longest, features is not None)[:, None].expand(3, len(rows), -1)
    output = pupil.model.model.language_model(
        inputs_embeds=pupil.embed(ids, features),
        position_ids=positions,
        use_cache=False,
        output_attentions=True,
        output_hidden_states=True,
    )
    letter = torch.isin(wanted, torch.tensor([pupil.tokens(c)[0] for c in LETTERS]))
    kinds = {"text": ~letter & (wanted != IGNORED), "letter": letter}
    hidden = output.last_hidden_state[:, :-1]
    marks = {
        name: _mark(pupil.model.lm_head(hidden[chosen]), wanted[chosen])
        for name, chosen in kinds.items()
        if chosen.any()
    }
    named = {row: lesson.named for row, lesson in enumerate(lessons) if lesson.named}
    return marks | (_hints(pupil, ids, output, named) if named else {})


def _hints(
    pupil: Pupil, ids: Tensor, output: BaseModelOutputWithPast, named: dict[int, tuple[str, str]]
) -> dict[str, Mark]:
    """The right option in words below the last layer, and the matching heads' eyes upon it."""
    assert output.hidden_states is not None
    assert output.attentions is not None
    rows = torch.tensor(list(named))
    letters, words = (
        torch.tensor([pupil.tokens(text)[0] for text in texts])[:, None]
        for texts in zip(*named.values(), strict=True)
    )
    ids = ids[rows]
    due = (ids == pupil.tokens("<answer>")[0]).cumsum(1).argmax(1)  # the prompt shows one as well
    listed = (ids[:, :-2] == letters) & (ids[:, 1:-1] == pupil.tokens("A)")[1])
    right = (listed & (ids[:, 2:] == words)).int().argmax(1) + 2
    below = pupil.model.model.language_model.norm(output.hidden_states[-2][rows, due])
    looks = output.attentions[-1][rows, :MATCHING, due]  # (rows, heads, places)
    upon = looks[torch.arange(len(rows)), :, right]
    return {
        "word": _mark(pupil.model.lm_head(below), words[:, 0]),
        "look": (-upon.clamp_min(1e-6).log().mean(), float(upon.detach().mean())),
    }


def _mark(logits: Tensor, wanted: Tensor) -> Mark:
    return cross_entropy(logits, wanted), float((logits.argmax(1) == wanted).float().mean())


@torch.no_grad()
def lend_heads(pupil: Pupil) -> None:
    """Copy the matching heads of layer 1 into the last layer.

    There a query is made from what the model would say, so it takes the weights of the key.
    """
    layers = pupil.model.model.language_model.layers
    learned, last = layers[1].self_attn, layers[-1].self_attn
    rows = slice(0, MATCHING * HEAD)
    for theirs, name in (("k_proj", "q_proj"), ("k_proj", "k_proj"), ("v_proj", "v_proj")):
        getattr(last, name).weight[rows] = getattr(learned, theirs).weight[rows]
    last.q_proj.bias[rows] = last.k_proj.bias[rows] = 0
    last.v_proj.bias[rows] = learned.v_proj.bias[rows]
    last.o_proj.weight[:, rows] = learned.o_proj.weight[:, rows]
