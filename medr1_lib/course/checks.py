"""The exercises of the course: what students write, held against the library's own."""

from medr1_lib.course.chapters.chapter_00 import questions_needed, wilson
from medr1_lib.course.chapters.chapter_01 import leak_share, normalise, option_ratios, window
from medr1_lib.course.chapters.chapter_02 import claims, pass_at, share
from medr1_lib.course.chapters.chapter_03 import accuracy_published, accuracy_reward, read_strict
from medr1_lib.course.chapters.chapter_04 import (
    clipped_objective,
    group_advantages,
    kl_k3,
    token_weights,
)
from medr1_lib.course.chapters.chapter_05 import budget, gap_closed, mcnemar_p, running_mean
from medr1_lib.course.chapters.chapter_06 import diagnose, unearned, zero_spread
from medr1_lib.course.chapters.chapter_07 import kv_cache_bytes, lora_parameters, quantize_blocks
from medr1_lib.course.chapters.chapter_08 import mark_reliance, paired_interval, updates
from medr1_lib.course.chapters.chapter_09 import claimed, hallucination_rate, holm
from medr1_lib.course.chapters.chapter_10 import fits, transfer_index
