"""The exercises by name: `wilson = checks.wilson(wilson)` imports that of chapter 00 only."""

from importlib import import_module

from medr1_lib.course.exercise import Exercise

CHAPTERS = {
    "chapter_00": ("wilson", "questions_needed", "coverage"),
    "chapter_01": ("window", "normalise", "option_ratios", "split_by_image"),
    "chapter_02": ("share", "claims", "letter_constants", "pass_at"),
    "chapter_03": ("accuracy_published", "read_strict", "shortest_hack", "accuracy_reward"),
    "chapter_04": ("expected_reward", "policy_gradient", "reinforce", "train_shared"),
    "chapter_05": ("group_advantages", "kl_k3", "token_weights", "grpo_step"),
    "chapter_06": ("adam_step", "mcnemar_p", "gain_parts"),
    "chapter_07": ("group_kinds", "brier", "mend"),
    "chapter_08": ("leave_one_out", "importance_ratio", "policy_loss", "reverse_kl"),
    "chapter_09": ("quantize_blocks", "lora_parameters", "packed_row"),
    "chapter_10": ("updates", "paired_interval", "mark_reliance"),
    "chapter_11": ("holm", "claimed", "hallucination_rate"),
    "chapter_12": ("transfer_index", "fits"),
    "chapter_13": ("effective_n", "pairs_needed"),
}


def __getattr__(name: str) -> Exercise:
    for chapter, names in CHAPTERS.items():
        if name in names:
            cases = import_module(f"medr1_lib.course.chapters.{chapter}").CASES
            return Exercise(*next(item for item in cases.items() if item[0].endswith(f":{name}")))
    raise AttributeError(f"no exercise is called {name!r}")
