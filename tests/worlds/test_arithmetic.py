"""Sums for SmolLM2: the split, the prompts, the reward, and the score of replies."""

import pytest
import torch

from course_lib.lm.gpt import GPT
from course_lib.worlds import arithmetic
from course_lib.worlds.pretrained import smollm2


@pytest.fixture(scope="module")
def smol() -> tuple[GPT, object]:
    return smollm2()


@pytest.mark.parametrize("seed", range(5))
def test_both_orders_of_a_sum_are_on_one_side(seed):
    train, test = arithmetic.split(seed)
    assert not set(train) & set(test) and len(train) + len(test) == 11 * 11
    for side in (train, test):
        assert {(b, a) for a, b in side} == set(side)
    assert arithmetic.split(seed) == (train, test) != arithmetic.split(seed + 1)


def test_the_answer_is_read_off_the_question():
    assert arithmetic.answer(arithmetic.question((3, 9))) == 12
    shown = arithmetic.question((2, 2)) + " 4. " + arithmetic.question((11, 12))
    assert arithmetic.answer(shown) == 23


def test_prompts_and_rewards(smol):
    _, tokenizer = smol
    prompt = arithmetic.prompt(tokenizer, (3, 9))
    text = tokenizer.decode(prompt)
    assert text == "<|im_start|>user\nWhat is 3 + 9?<|im_end|>\n<|im_start|>assistant\n"
    begun = arithmetic.prompt(tokenizer, (3, 9), "3 + 9 equals")
    assert (
        begun[: len(prompt)] == prompt and tokenizer.decode(begun[len(prompt) :]) == "3 + 9 equals"
    )
    end = [tokenizer.eos_token_id]
    replies = [tokenizer.encode(t) for t in ("3 + 9 = 12", "It is 12.", "3 + 9 = 13", "9")]
    reward = arithmetic.reward(tokenizer)
    assert reward([prompt] * 4, [r + end for r in replies]).tolist() == [1, 1, 0.5, 0.5]
    assert reward([prompt] * 4, replies).tolist() == [0.5, 0.5, 0, 0]


def test_the_score_before_training(smol):
    problems = arithmetic.split(0).test[:12]
    before = arithmetic.evaluate(*smol, problems, batch_size=5)
    assert before.solved <= min(before.right, before.stopped) and before.solved <= 0.3
    again = arithmetic.evaluate(*smol, problems)
    assert len(before.replies) == 12 and len(set(before.replies) & set(again.replies)) >= 8
    control = arithmetic.evaluate(*smol, problems, 6, prefilled=True)
    assert control.solved >= 0.4, "the sums are known: what is missing is the form"
    assert all(not reply.startswith("What") for reply in control.replies)


def test_the_reward_of_a_prefilled_prompt_is_the_same_sum(smol):
    _, tokenizer = smol
    begun = arithmetic.prompt(tokenizer, (3, 9), "3 + 9 equals")
    response = [*tokenizer.encode(" 12"), tokenizer.eos_token_id]
    assert torch.equal(arithmetic.reward(tokenizer)([begun], [response]), torch.ones(1))
