"""The exercises of chapter 03."""

from medr1_lib.course.exercise import Case, Exercise
from medr1_lib.rl.rewards import accuracy_published as published
from medr1_lib.rl.rewards import accuracy_strict as strict

NO_THINK, BEFORE = "no_think", "think_before"


def _messages(*contents: str) -> list[list[dict[str, str]]]:
    """Completions as TRL hands them over."""
    return [[{"role": "assistant", "content": content}] for content in contents]


accuracy_published = Exercise(
    "medr1_lib.rl.rewards:accuracy_published",
    (
        Case(("<answer>C</answer>", "C", NO_THINK), "the right letter in a block earns a point"),
        Case(("<answer>A</answer>", "C", NO_THINK), "a wrong letter earns nothing"),
        Case(("<answer> C </answer>", "C", NO_THINK), "white space around the letter is stripped"),
        Case(
            ("<answer>C</answer><answer>A</answer>", "C", NO_THINK),
            "the first block counts, and it ends at the first closing tag",
        ),
        Case(("C", "C", NO_THINK), "without a block, the whole completion is compared"),
        Case(
            ("<answer>\nC\n</answer>", "C", NO_THINK),
            "in the released code a block with a line break in it is not found",
        ),
        Case(("<answer>c</answer>", "C", NO_THINK), "the released code compares case as well"),
    ),
)

read_strict = Exercise(
    "medr1_lib.data.styles:read_strict",
    (
        Case(("<answer>C</answer>", NO_THINK), "group 1 of the match is the letter"),
        Case(("<answer>c</answer>", NO_THINK), "either case is the same letter"),
        Case(("no idea", NO_THINK), "where the form is missing there is no letter"),
        Case(("I say <answer>C</answer>", NO_THINK), "nothing may stand before the form"),
        Case(("<answer>C</answer> I think", NO_THINK), "nothing may stand after the form"),
        Case(("<answer>C</answer>", BEFORE), "the pattern is that of the style asked for"),
    ),
)

accuracy_reward = Exercise(
    "medr1_lib.rl.rewards:accuracy_reward",
    (
        Case(
            (strict, NO_THINK, _messages("<answer>C</answer>"), ["C"]),
            "a list with one number for each completion is asked for",
        ),
        Case(
            (strict, NO_THINK, _messages("<answer>A</answer>", "<answer>A</answer>"), ["B", "A"]),
            "each completion has its own right letter",
        ),
        Case(
            (strict, BEFORE, _messages("<think>so</think><answer>C</answer>"), ["C"]),
            "the style is the one that is passed in",
        ),
        Case(
            (published, NO_THINK, _messages("C", "<answer>C</answer>"), ["C", "C"]),
            "the rule is the one that is passed in as `score`",
        ),
    ),
)
