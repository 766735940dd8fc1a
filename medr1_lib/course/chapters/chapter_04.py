"""The exercises of chapter 04."""

from dataclasses import replace

from medr1_lib.course.exercise import Case, Exercise, Function


class TensorExercise(Exercise):
    """An exercise on tensors: cases have lists in their place, so that only a check loads torch."""

    def __call__(self, theirs: Function) -> Function:
        """Judge the student's function, as every exercise does."""
        import torch

        def tensors(case: Case) -> Case:
            made = (torch.tensor(a) if isinstance(a, list) else a for a in case.arguments)
            return replace(case, arguments=tuple(made))

        return Exercise(self.library, tuple(map(tensors, self.cases)))(theirs)


group_advantages = TensorExercise(
    "medr1_lib.rl.grpo:group_advantages",
    (
        Case(([2.0, 0.0], 2, False), "one number for each rollout, its reward less the mean"),
        Case(
            ([2.0, 0.0, 1.0, 1.0, 1.0, 0.0], 2, False),
            "the mean is that of the rollout's own group, not of the batch",
        ),
        Case(
            ([1.0, 0.0, 0.0, 0.0], 4),
            "divide by the standard deviation over G - 1, as torch has it, plus 1e-4",
        ),
        Case(
            ([1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0], 4),
            "the standard deviation is that of the rollout's own group as well",
        ),
        Case(([1.0, 1.0], 2), "a group that agrees has advantages of zero"),
    ),
)

clipped_objective = TensorExercise(
    "medr1_lib.rl.grpo:clipped_objective",
    (
        Case(([1.1, 0.9], [2.0, -2.0], 0.2), "inside the clip it is ratio times advantage"),
        Case(([1.5], [1.0], 0.2), "a good token gains nothing beyond a ratio of 1 + clip"),
        Case(([0.5], [-1.0], 0.2), "a bad token gains nothing below a ratio of 1 - clip"),
        Case(([0.5], [1.0], 0.2), "a good token that became rarer is not clipped"),
        Case(([1.5], [-1.0], 0.2), "a bad token that became likelier is not clipped"),
    ),
)

kl_k3 = TensorExercise(
    "medr1_lib.rl.grpo:kl_k3",
    (
        Case(([-1.0], [-1.0]), "where both models agree the estimate is zero"),
        Case(([-1.0, -2.0], [-2.0, -3.0]), "exp(-1) - 1 - (-1) = 0.368 where the gap is -1"),
        Case(([-2.0], [-1.0]), "the gap is reference less policy, and exp(1) - 1 - 1 = 0.718"),
        Case(([[-1.0, -2.0]], [[-1.5, -2.5]]), "one number for each token, nothing is averaged"),
    ),
)

token_weights = TensorExercise(
    "medr1_lib.rl.grpo:token_weights",
    (
        Case(([[1, 1], [1, 1]], "bnpo", 8), "with bnpo each of N tokens weighs 1/N"),
        Case(([[1, 1], [1, 0]], "bnpo", 8), "a place after the end has no weight and is no token"),
        Case(([[1, 1], [1, 0]], "grpo", 8), "with grpo a token of rollout i weighs 1/(B |o_i|)"),
        Case(([[1, 1], [1, 0]], "dr_grpo", 8), "with dr_grpo a token weighs 1/(B max_length)"),
        Case(([[1, 1], [1, 0]], "dapo", 8, 12), "with dapo N is batch_tokens where it is given"),
        Case(([[1, 1], [1, 0]], "dapo", 8), "with dapo N is counted here where it is not given"),
    ),
)
