"""Rewards: the form that a prompt shows pays in full, and the strict rules pay nothing else."""

import copy
import pickle
import re
import time
from operator import mul

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medr1_lib.data.question import LETTERS
from medr1_lib.data.styles import STYLES, prompt
from medr1_lib.errors import InputError
from medr1_lib.rl.recipe import load_recipe
from medr1_lib.rl.rewards import (
    NULL_WEIGHTS,
    RULES,
    accuracy_published,
    accuracy_strict,
    format_published,
    format_strict,
    points,
    rewards,
    text,
)

OPTIONS = ("MRI", "PET", "CT", "X-Ray")
TAGS = ("<think>", "</think>", "<answer>", "</answer>")
every_style = st.sampled_from(list(STYLES))
letters = st.sampled_from(LETTERS)
spaces = st.text(alphabet=" \n\t\u00a0", max_size=3)
# What a model may say: anything, or tags, letters and texts of options in any order.
pieces = st.sampled_from([*TAGS, *"ABCDabcd", "C)", "D) CT", "CT", "\u0421", " ", "\n", "so"])
said = st.one_of(st.text(), st.lists(pieces, max_size=15).map("".join))


def without_tags(rationale):
    return not any(tag in rationale for tag in TAGS)


@given(said, letters, every_style, st.sampled_from(RULES))
def test_rules_never_raise_and_pay_nothing_or_one_point(completion, answer, style, rules):
    assert set(points(completion, answer, style, rules)) <= {0.0, 1.0}


@given(said, letters, every_style)
def test_strict_accuracy_pays_with_the_form_only_and_for_one_letter_only(completion, answer, style):
    earned = [accuracy_strict(completion, letter, style) for letter in LETTERS]
    assert sum(earned) == format_strict(completion, style)


@given(said, letters, every_style, st.data())
def test_strict_rules_never_pay_two_answer_blocks(rationale, letter, style, data):
    """Wherever the second block stands, in the rationale or inside the first one."""
    completion = STYLES[style].completion(letter, rationale)
    place = data.draw(st.integers(0, len(completion)))
    second = f"<answer>{data.draw(st.one_of(letters, said))}</answer>"
    twice = completion[:place] + second + completion[place:]
    assert points(twice, letter, style) == (0.0, 0.0)


@given(said, letters, letters, said, every_style)
def test_strict_rules_never_pay_two_letters_in_a_block(rationale, letter, other, between, style):
    both = (
        STYLES[style]
        .completion("X", rationale.replace("X", ""))
        .replace("X", letter + between + other)
    )
    assert points(both, letter, style) == (0.0, 0.0)


@given(said, letters, spaces, spaces, every_style)
def test_strict_rules_pay_whatever_the_rationale_mentions(rationale, letter, before, after, style):
    assume(without_tags(rationale))
    block = f"{before}{letter}{after}"
    completion = before + STYLES[style].completion("X", rationale.replace("X", "")) + after
    assert points(completion.replace("X", block), letter, style) == (1.0, 1.0)
    wrong = LETTERS[LETTERS.index(letter) - 1]
    assert points(completion.replace("X", block), wrong, style) == (1.0, 0.0)


@given(st.lists(pieces, max_size=15).map("".join), letters, every_style)
def test_any_text_outside_the_blocks_costs_everything(extra, letter, style):
    assume(extra.strip())
    for completion in (
        extra + STYLES[style].completion(letter),
        STYLES[style].completion(letter) + extra,
    ):
        assert points(completion, letter, style) == (0.0, 0.0)


@given(said, letters, every_style)
def test_both_rule_sets_pay_the_same_for_the_form_with_a_plain_rationale(rationale, letter, style):
    assume(without_tags(rationale))
    completion = STYLES[style].completion("X", rationale.replace("X", "")).replace("X", letter)
    assert points(completion, letter, style, "published") == points(completion, letter, style)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("style", STYLES, ids=STYLES)
@pytest.mark.parametrize("letter", LETTERS)
def test_the_form_that_the_prompt_shows_earns_full_marks(letter, style, rules):
    shown = re.search(r"Reply as (.*), X the letter", prompt("Which?", OPTIONS, style))[1]
    assert points(shown.replace("X", letter), letter, style, rules) == (1.0, 1.0)


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("asked", STYLES, ids=STYLES)
def test_the_form_of_another_style_does_not_pay(asked, rules):
    others = [style for style in STYLES if style != asked]
    said = [STYLES[style].completion("A", "so") for style in others]
    assert [points(text, "A", asked, rules)[0] for text in said] == [0.0, 0.0]


@pytest.mark.parametrize("style", STYLES, ids=STYLES)
def test_published_holes_are_open_and_the_strict_rules_close_them(style):
    first_of_two = STYLES[style].completion("C</answer><answer>A", "so")
    broken_line = STYLES[style].completion("\nC\n", "so")
    assert points(first_of_two, "C", style, "published") == (1.0, 1.0)
    assert points(first_of_two, "C", style, "strict") == (0.0, 0.0)
    assert points(broken_line, "C", style, "published") == (1.0, 0.0)
    assert points(broken_line, "C", style, "strict") == (1.0, 1.0)


def test_published_accuracy_pays_a_bare_letter_and_published_form_any_block():
    style = "no_think"
    assert accuracy_published("C", "C", style) == 1.0
    assert format_published("<answer>whatever</answer>", style) == 1.0


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("style", STYLES, ids=STYLES)
def test_an_endless_completion_is_scored_at_once(style, rules):
    start = time.perf_counter()
    for piece in (*TAGS, " ", "<", "<answer>C</answer>", "<think></think>"):
        points(piece * 500, "C", style, rules)
    assert time.perf_counter() - start < 2


# As TRL calls them.


def message(completion):
    return [{"role": "assistant", "content": completion}]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("style", STYLES, ids=STYLES)
def test_the_pair_is_what_the_pure_functions_give(style, rules):
    completions = [STYLES[style].completion(letter, "so") for letter in "AC"] + [
        "C",
        "<answer>c</answer>",
    ]
    answer = ["A", "A", "C", "C"]
    pairs = zip(completions, answer, strict=True)
    expected = [points(completion, letter, style, rules) for completion, letter in pairs]
    form, accuracy = rewards(style, rules)
    for batch in (completions, list(map(message, completions))):
        given = {"completions": batch, "answer": answer, "prompts": [[]] * 4}
        # Columns and whatever else TRL passes, some named as our own arguments.
        given |= {"image": [None] * 4, "style": ["x"] * 4, "score": [0] * 4, "log_metric": print}
        scored = list(zip(form(**given), accuracy(**given), strict=True))
        assert scored == expected
    assert all(type(point) is float for pair in scored for point in pair)


def test_strict_is_the_default():
    form, accuracy = rewards("no_think")
    hacked = {"completions": ["<answer>C</answer><answer>A</answer>"], "answer": ["C"]}
    assert form(**hacked) == accuracy(**hacked) == [0.0]


def test_trl_logs_them_by_name():
    from trl.trainer.utils import get_callable_name, is_async_callable

    pair = rewards("no_think")
    names = ["format_reward", "accuracy_reward"]
    assert [function.__name__ for function in pair] == names
    assert [get_callable_name(function) for function in pair] == names
    assert not any(map(is_async_callable, pair))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_they_survive_a_copy(copied):
    for function in copied(rewards("think_after", "published")):
        batch = {"completions": ["<answer>C</answer><think></think>"], "answer": ["C"]}
        assert function(**batch) == [1.0]
        assert function.__name__ in ("format_reward", "accuracy_reward")


def test_answers_and_completions_have_to_match():
    _, accuracy = rewards("no_think")
    with pytest.raises(ValueError, match="shorter"):
        accuracy(completions=["<answer>A</answer>"] * 2, answer=["A"])


def test_a_message_is_read_as_its_content():
    assert text(message("so")) == text("so") == "so"


def test_a_random_reward_knows_nothing_and_stays_the_same():
    said = [f"<answer>{letter}</answer>" for letter in "ABCD"] * 500
    images = [f"p{place // 8}" for place in range(len(said))]
    columns = {"completions": said, "image_id": images, "answer": ["A"] * len(said)}
    coins = rewards("no_think", "random")[-1](**columns)
    assert coins == rewards("no_think", "random")[-1](**columns)
    assert set(coins) == {0.0, 1.0}
    for letter in "ABCD":  # no letter is luckier
        own = [coin for coin, text in zip(coins, said, strict=True) if letter in text]
        assert 0.42 < sum(own) / len(own) < 0.58
    junk = rewards("no_think", "random")[-1](completions=["junk"] * 400, image_id=["p"] * 400)
    assert 150 < sum(junk) < 250


def test_a_variant_has_no_published_rules():
    with pytest.raises(InputError, match="style dummy_after: has no published rules"):
        rewards("dummy_after", "published")


@pytest.mark.parametrize("rules", [*NULL_WEIGHTS])
def test_null_rewards_log_the_accuracy_and_pay_nothing_for_it(rules, tmp_path):
    functions = rewards("no_think", rules)
    weights = load_recipe("course", rules=rules).trl_config(tmp_path).reward_weights
    columns = {"completions": ["<answer>A</answer>"], "image_id": ["p"], "answer": ["A"]}
    right, wrong = (
        [function(**columns | {"answer": [letter]})[0] for function in functions] for letter in "AB"
    )
    assert right[1] == 1 != wrong[1]
    assert sum(map(mul, weights, right)) == sum(map(mul, weights, wrong))
    assert load_recipe("course").trl_config(tmp_path).reward_weights is None
