"""Chapter 05: the cases that check its exercises, functions of `rl.grpo`."""

from torch import tensor

from medr1_lib.course.exercise import Case

FULL, ENDED = tensor([[1, 1], [1, 1]]), tensor([[1, 1], [1, 0]])  # masks of two rollouts

CASES = {
    "medr1_lib.rl.grpo:group_advantages": (
        Case((tensor([2.0, 0]), 2, False), "one number for each rollout, its reward less the mean"),
        Case((tensor([2.0, 0, 1, 1, 1, 0]), 2, False), "the mean of its group, not of the batch"),
        Case((tensor([1.0, 0, 0, 0]), 4), "divide by the standard deviation over G - 1, plus 1e-4"),
        Case((tensor([1.0, 0, 0, 0, 2, 0, 0, 0]), 4), "the deviation is of its own group as well"),
        Case((tensor([1.0, 1]), 2), "a group that agrees has advantages of zero"),
    ),
    "medr1_lib.rl.grpo:clipped_objective": (
        Case((tensor([1.1, 0.9]), tensor([2.0, -2]), 0.2), "ratio times advantage inside the clip"),
        Case((tensor([1.5]), tensor([1.0]), 0.2), "nothing is gained beyond a ratio of 1 + clip"),
        Case((tensor([0.5]), tensor([-1.0]), 0.2), "nothing is gained below a ratio of 1 - clip"),
        Case((tensor([0.5]), tensor([1.0]), 0.2), "a good token that became rarer is not clipped"),
        Case((tensor([1.5]), tensor([-1.0]), 0.2), "a bad one that became likelier is not clipped"),
    ),
    "medr1_lib.rl.grpo:kl_k3": (
        Case((tensor([-1.0]), tensor([-1.0])), "where both models agree the estimate is zero"),
        Case((tensor([-1.0]), tensor([-2.0])), "exp(-1) - 1 - (-1) = 0.368 where the gap is -1"),
        Case((tensor([-2.0]), tensor([-1.0])), "the gap is reference less policy: exp(1) - 1 - 1"),
        Case((tensor([[-1.0, -2.0]]), tensor([[-1.5, -2.5]])), "nothing is averaged over tokens"),
    ),
    "medr1_lib.rl.grpo:token_weights": (
        Case((FULL, "bnpo", 8), "with bnpo each of N tokens weighs 1/N"),
        Case((ENDED, "bnpo", 8), "a place after the end has no weight and is no token"),
        Case((ENDED, "grpo", 8), "with grpo a token of rollout i weighs 1/(B |o_i|)"),
        Case((ENDED, "dr_grpo", 8), "with dr_grpo a token weighs 1/(B max_length)"),
        Case((ENDED, "dapo", 8, 12), "with dapo N is batch_tokens where it is given"),
        Case((ENDED, "dapo", 8), "with dapo N is counted here where it is not given"),
    ),
}
