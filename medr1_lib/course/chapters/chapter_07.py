"""The exercises of chapter 07."""

from medr1_lib.course.chapters.chapter_04 import TensorExercise
from medr1_lib.course.exercise import Case, Exercise

quantize_blocks = TensorExercise(
    "medr1_lib.course.chapters.nf4:quantize_blocks",
    (
        Case(([[-1.0, 0.0, 1.0]],), "numbers go from 0 for the level -1 to 15 for the level 1"),
        Case(([[0.5, 0.0]],), "the weights are divided by the scale of their block first"),
        Case(([[0.0, -2.0]],), "the scale is the largest absolute value of a block"),
        Case(([[1.0, 0.1], [0.1, -0.1]],), "each block has a scale of its own, a row of `scales`"),
        Case(([[1.0, -0.04]],), "the nearest level is wanted, not the next one below"),
        Case(([[-1.0, -0.76]],), "the levels are those of NF4, which are not evenly spaced"),
    ),
)

lora_parameters = Exercise(
    "medr1_lib.course.chapters.memory:lora_parameters",
    (
        Case(([(4, 6)], 1), "A has one row as long as the input, B one column as the output"),
        Case(([(4, 6)], 2), "each of the two matrices grows with the rank"),
        Case(([(4, 6), (6, 4)], 2), "every layer has an adapter, and all of them count"),
    ),
)

kv_cache_bytes = Exercise(
    "medr1_lib.course.chapters.memory:kv_cache_bytes",
    (
        Case((1, 1, 1, 1, 2), "a token has a key and a value"),
        Case((3, 1, 1, 1, 2), "every layer has keys and values of its own"),
        Case((1, 2, 4, 1, 2), "every head of the keys has `head_size` numbers"),
        Case((1, 1, 1, 7, 2), "all tokens are kept"),
        Case((1, 1, 1, 1, 4), "a number takes `size` bytes"),
        Case((28, 2, 128, 1), "a number takes two bytes if nothing else is said"),
    ),
)
