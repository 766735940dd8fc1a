"""Chapter 04: the cases that check its exercises, functions of `rl.grpo`."""

from torch import tensor

from medr1_lib.course.exercise import Case

CASES = {
    "medr1_lib.rl.grpo:group_advantages": (
        Case(
            (tensor([2.0, 0.0]), 2, False), "one number for each rollout, its reward less the mean"
        ),
        Case(
            (tensor([2.0, 0.0, 1.0, 1.0, 1.0, 0.0]), 2, False),
            "the mean is that of the rollout's own group, not of the batch",
        ),
        Case(
            (tensor([1.0, 0.0, 0.0, 0.0]), 4),
            "divide by the standard deviation over G - 1, as torch has it, plus 1e-4",
        ),
        Case(
            (tensor([1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0]), 4),
            "the standard deviation is that of the rollout's own group as well",
        ),
        Case((tensor([1.0, 1.0]), 2), "a group that agrees has advantages of zero"),
    ),
    "medr1_lib.rl.grpo:clipped_objective": (
        Case(
            (tensor([1.1, 0.9]), tensor([2.0, -2.0]), 0.2),
            "inside the clip it is ratio times advantage",
        ),
        Case(
            (tensor([1.5]), tensor([1.0]), 0.2),
            "a good token gains nothing beyond a ratio of 1 + clip",
        ),
        Case(
            (tensor([0.5]), tensor([-1.0]), 0.2),
            "a bad token gains nothing below a ratio of 1 - clip",
        ),
        Case((tensor([0.5]), tensor([1.0]), 0.2), "a good token that became rarer is not clipped"),
        Case(
            (tensor([1.5]), tensor([-1.0]), 0.2), "a bad token that became likelier is not clipped"
        ),
    ),
    "medr1_lib.rl.grpo:kl_k3": (
        Case((tensor([-1.0]), tensor([-1.0])), "where both models agree the estimate is zero"),
        Case(
            (tensor([-1.0, -2.0]), tensor([-2.0, -3.0])),
            "exp(-1) - 1 - (-1) = 0.368 where the gap is -1",
        ),
        Case(
            (tensor([-2.0]), tensor([-1.0])),
            "the gap is reference less policy, and exp(1) - 1 - 1 = 0.718",
        ),
        Case(
            (tensor([[-1.0, -2.0]]), tensor([[-1.5, -2.5]])),
            "one number for each token, nothing is averaged",
        ),
    ),
    "medr1_lib.rl.grpo:token_weights": (
        Case((tensor([[1, 1], [1, 1]]), "bnpo", 8), "with bnpo each of N tokens weighs 1/N"),
        Case(
            (tensor([[1, 1], [1, 0]]), "bnpo", 8),
            "a place after the end has no weight and is no token",
        ),
        Case(
            (tensor([[1, 1], [1, 0]]), "grpo", 8),
            "with grpo a token of rollout i weighs 1/(B |o_i|)",
        ),
        Case(
            (tensor([[1, 1], [1, 0]]), "dr_grpo", 8), "with dr_grpo a token weighs 1/(B max_length)"
        ),
        Case(
            (tensor([[1, 1], [1, 0]]), "dapo", 8, 12),
            "with dapo N is batch_tokens where it is given",
        ),
        Case(
            (tensor([[1, 1], [1, 0]]), "dapo", 8),
            "with dapo N is counted here where it is not given",
        ),
    ),
}
