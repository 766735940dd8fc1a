"""Claims of a rationale held to the scene that its image shows, and a reward for true ones."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from medr1_lib.data.rationale import claimed
from medr1_lib.data.styles import thought
from medr1_lib.errors import InputError
from medr1_lib.rl.rewards import Completion, text


def claims_reward(
    completions: Sequence[Completion], scene: Sequence[str | None], **columns: object
) -> list[float]:
    """The share of true claims in each rationale of a batch, 0 for one that claims nothing.

    Claims are held to the `scene` (JSON) that the image shows. Raises an `InputError` if an image
    has none.
    """
    shares = []
    for completion, shown in zip(completions, scene, strict=True):
        if shown is None:
            problem = "nobody knows what an image shows, so no claim can be held to it"
            raise InputError("claims", problem, "train on phantoms")
        judged = judged_claims(text(completion), json.loads(shown))
        shares.append(sum(true for _, true in judged) / max(1, len(judged)))
    return shares


def judged_claims(completion: str, scene: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The attribute that each claim of a rationale names, and whether the claim is true."""
    return [(name, scene[name] == value) for name, value in claimed(thought(completion))[0]]
