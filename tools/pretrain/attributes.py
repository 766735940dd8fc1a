"""What a picture shows, as targets of the tower: one word of each attribute, and where it lies."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase, Qwen2VLForConditionalGeneration

from medr1_lib.data.phantom_vqa import ATTRIBUTES, values
from medr1_lib.data.phantoms import Scene
from medr1_lib.data.phantoms import scene as known
from medr1_lib.data.question import DOMAINS
from tools.pretrain.pictures import TOKENS

LESIONS = 1 + (len(known.PRIMITIVES) - 1) * len(known.GRADES)

Word = tuple[str, str]  # domain and text: medical and general places are the same words


@cache
def vocabulary() -> dict[str, list[Word]]:
    """For every attribute of a scene, all the words that it can take, medical ones first."""
    words: dict[str, list[Word]] = {"modality": [(d, m) for d in DOMAINS for m in DOMAINS[d]]}
    for question_type, name in ATTRIBUTES.items():
        known = [(d, t) for d in DOMAINS for m in DOMAINS[d] for t in values(m, question_type)]
        words[name] = list(dict.fromkeys(known))
    return words


def domain(scene: Scene) -> str:
    """The domain of a scene."""
    return "general" if scene.modality in known.EVERYDAY else "medical"


def targets(scenes: Sequence[Scene]) -> Tensor:
    """For every scene the place of its attributes in `vocabulary`; -100 where there is none."""
    return torch.tensor(
        [
            [
                table.get((domain(scene), getattr(scene, name)), -100)
                for name, table in _places().items()
            ]
            for scene in scenes
        ]
    )


@cache
def _places() -> dict[str, dict[Word, int]]:
    return {
        name: {word: place for place, word in enumerate(words)}
        for name, words in vocabulary().items()
    }


def lesions(scenes: Sequence[Scene]) -> Tensor:
    """For every scene and image token which lesion lies there, of `LESIONS` kinds, 0 for none.

    Shape (scenes, 16). The four places are the inner four of the 4 x 4 tokens.
    """
    marked = torch.zeros(len(scenes), TOKENS, dtype=torch.long)
    tokens = dict(zip(known.PLACES, (5, 6, 9, 10), strict=True))
    for row, scene in zip(marked, scenes, strict=True):
        if scene.place and scene.grade:
            primitive = known.PRIMITIVES.index(scene.primitive)
            size = known.vocabulary(scene.modality)["grade"].index(scene.grade)
            row[tokens[scene.place]] = 1 + len(known.GRADES) * (primitive - 1) + size
    return marked


def word_vectors(
    model: Qwen2VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase
) -> list[Tensor]:
    """For every attribute the vectors of its words, shape (words, width), not to be trained."""
    table = model.model.language_model.embed_tokens.weight.detach()
    return [
        table[tokenizer.convert_tokens_to_ids([text for _, text in words])]
        for words in vocabulary().values()
    ]


def codes(vectors: Sequence[Tensor], seed: int) -> list[Tensor]:
    """What the tower writes at first: general words as they are, medical ones in a code of its own.

    A code is a random direction, one for each word, that the language model has never met.
    """
    source = torch.Generator().manual_seed(seed)
    written = []
    for table, words in zip(vectors, vocabulary().values(), strict=True):
        own = normalize(torch.randn(table.shape, generator=source), dim=1)
        foreign = torch.tensor([[kind == "medical"] for kind, _ in words])
        written.append(torch.where(foreign, own, table))
    return written
