"""A reward for true reasons: the share of true claims in a thought about a phantom."""

import json
from collections.abc import Sequence

from medr1_lib.data.rationale import claimed
from medr1_lib.data.styles import thought
from medr1_lib.errors import InputError
from medr1_lib.rl.rewards import Completion, text


def claims_reward(
    completions: Sequence[Completion], scene: Sequence[str | None], **columns: object
) -> list[float]:
    """The share of true claims in each thought of a batch, 0 for one that claims nothing.

    Claims are held to the `scene` (JSON) that the image shows. Raises an `InputError` if an image
    has none.
    """
    shares = []
    for completion, shown in zip(completions, scene, strict=True):
        if shown is None:
            problem = "nobody knows what an image shows, so no claim can be held to it"
            raise InputError("claims", problem, "train on phantoms")
        made, truth = claimed(thought(text(completion)))[0], json.loads(shown)
        shares.append(sum(truth[name] == value for name, value in made) / max(1, len(made)))
    return shares
