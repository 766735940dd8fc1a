"""The exercises of chapter 06."""

from medr1_lib.course.exercise import Case, Exercise

zero_spread = Exercise(
    "medr1_lib.course.chapters.diagnosis:zero_spread",
    (
        Case(([2, 2, 2, 2, 0, 1, 2, 1], 4), "one of the two groups has no spread, a share of 0.5"),
        Case(([0, 0, 2, 2], 2), "equal rewards are no spread, high or low"),
        Case(([1, 0, 1, 1, 2, 0, 1, 1], 4), "every rollout of a group counts, not two of them"),
        Case(([1, 1, 0, 2, 0, 2], 2), "groups are as long as `group_size` says"),
    ),
)

unearned = Exercise(
    "medr1_lib.course.chapters.diagnosis:unearned",
    (
        Case(([2, 2, 2, 2], [2, 2, 2, 0]), "the strict rules refuse one of four full marks"),
        Case(([2, 2, 1, 0], [2, 0, 1, 0]), "it is a share of the full marks, not of all rollouts"),
        Case(([2, 2, 1], [1, 0, 0]), "a refused full mark counts once, by however much it falls"),
        Case(([1, 0], [1, 0]), "where nobody has full marks the share is 0.0"),
    ),
)

WELL = {"reward": 1.7, "zero_spread": 0.3, "clipped": 0.0, "kl": 0.08, "unearned": 0.0}
BEFORE = {"reward": 1.1, "zero_spread": 0.1, "clipped": 0.2, "kl": 0.02}

diagnose = Exercise(
    "medr1_lib.course.chapters.diagnosis:diagnose",
    (
        Case((BEFORE, WELL), "reward rises and no other number stands out"),
        Case(
            (BEFORE, WELL | {"reward": 1.2, "zero_spread": 1.0, "kl": 0.0}),
            "where no group has spread and nothing moved, there was nothing to learn from",
        ),
        Case(
            (
                BEFORE | {"clipped": 1.0},
                WELL | {"reward": 0.0, "zero_spread": 1.0, "kl": 0.0, "clipped": 1.0},
            ),
            "a signal can be dead because every completion is cut off",
        ),
        Case(
            (
                BEFORE,
                WELL | {"reward": 0.0, "zero_spread": 1.0, "kl": 1.2, "clipped": 1.0},
            ),
            "no spread and a far way from the base: it did learn, and then broke",
        ),
        Case(
            (BEFORE, WELL | {"reward": 0.5, "zero_spread": 0.5, "kl": 2.0}),
            "a reward that fell far below its start",
        ),
        Case(
            (BEFORE | {"clipped": 0.9, "reward": 0.2}, WELL | {"reward": 1.3, "kl": 1.1}),
            "completions that were cut off at first, and learned to be short",
        ),
        Case((BEFORE, WELL | {"reward": 1.2, "kl": 0.003}), "spread there is, but nothing moves"),
        Case((BEFORE, WELL | {"unearned": 0.9}), "only the strict rules see this one"),
        Case((BEFORE, WELL | {"zero_spread": 0.95, "reward": 1.98}), "a solved task, no failure"),
        Case(
            (BEFORE | {"clipped": 0.9}, WELL | {"reward": 0.5, "zero_spread": 0.5, "kl": 2.0}),
            "a reward that broke comes before what was cut off at first",
        ),
        Case(
            (BEFORE | {"clipped": 0.9}, WELL | {"reward": 1.2, "kl": 0.003}),
            "what was cut off at first comes before a policy that stands still",
        ),
        Case(
            (BEFORE, WELL | {"reward": 1.2, "kl": 0.003, "unearned": 0.9}),
            "a policy that stands still comes before what it did not earn",
        ),
        Case(
            (BEFORE | {"clipped": 0.9}, WELL | {"unearned": 0.9}),
            "what was cut off at first comes before what was not earned",
        ),
    ),
)
