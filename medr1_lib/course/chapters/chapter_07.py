"""Chapter 07: what is wrong with a GRPO run, and the cases that check its exercises."""

from collections.abc import Mapping, Sequence
from typing import Any

from medr1_lib.course.exercise import Case

FULL_MARKS = 2.0  # points of a completion that is right and has the form asked for


def group_kinds(rewards: Sequence[float], group_size: int) -> dict[str, float]:
    """Shares of groups that are mixed, solved (all full marks) and stuck (all equal, but lower).

    `rewards` are those of the rollouts, group by group.
    """
    starts = range(0, len(rewards), group_size)
    groups = [rewards[start : start + group_size] for start in starts]
    solved = sum(min(group) == FULL_MARKS for group in groups) / len(groups)
    mixed = sum(min(group) < max(group) for group in groups) / len(groups)
    return {"mixed": mixed, "solved": solved, "stuck": 1 - mixed - solved}


def brier(right: Sequence[bool], confidence: Sequence[float]) -> float:
    """Mean squared distance of a confidence from what came out (1 right, 0 wrong); 0 is best."""
    pairs = zip(right, confidence, strict=True)
    return sum((sure - came) ** 2 for came, sure in pairs) / len(right)


def mend(
    recipe: Mapping[str, Any], standard: Mapping[str, Any], verdicts: Sequence[str]
) -> dict[str, Any]:
    """The recipe with the cause of each verdict set back to the standard, and nothing else."""
    causes = {
        "too fast": ["learning_rate"],
        "too slow": ["learning_rate"],
        "cut off": ["max_completion_length"],
        "no spread": ["temperature", "top_k"],
        "cheated": ["rules"],
    }
    fields = [field for verdict in verdicts for field in causes[verdict]]
    return {**recipe, **{field: standard[field] for field in fields}}


GOOD: dict[str, Any] = {"learning_rate": 1e-3, "max_completion_length": 32, "rules": "strict"}
GOOD |= {"temperature": 1.0, "top_k": 0, "beta": 0.04}
SHORT, BROKEN = GOOD | {"max_completion_length": 8}, GOOD | {"learning_rate": 1.0, "beta": 0.1}

CASES = {
    "group_kinds": (
        Case(([2, 2, 2, 2, 0, 1, 2, 1], 4), "one of two groups has full marks only: solved, 0.5"),
        Case(([0, 0, 1, 1], 2), "equal rewards below full marks are stuck, not solved"),
        Case(([1, 0, 1, 1, 2, 0, 1, 1], 4), "every rollout of a group counts, not two of them"),
        Case(([1, 1, 0, 2, 2, 2], 2), "groups are as long as `group_size` says"),
    ),
    "brier": (
        Case(([True, False], [1.0, 0.0]), "sure of what came and of what did not: 0"),
        Case(([True, False], [0.5, 0.5]), "half sure is half a point off, squared: 0.25"),
        Case(([True, True, False], [0.9, 0.6, 0.8]), "wrong at 0.8 costs 0.64, divided by three"),
    ),
    "mend": (
        Case((BROKEN, GOOD, ["too fast"]), "the learning rate goes back, the rest stays as it is"),
        Case((GOOD | {"learning_rate": 1e-7}, GOOD, ["too slow"]), "the rate is the cause again"),
        Case((SHORT | {"learning_rate": 0.5}, GOOD, ["cut off"]), "the limit of tokens cut it off"),
        Case((GOOD | {"temperature": 0.1, "top_k": 1}, GOOD, ["no spread"]), "two fields sharpen"),
        Case((GOOD | {"rules": "published"}, GOOD, ["cheated"]), "the rules have the holes"),
        Case((SHORT | {"learning_rate": 1.0}, GOOD, ["too fast", "cut off"]), "a cause for each"),
    ),
}
