"""Rewards by rule: what they count and what they do not, alone and put together."""

import pytest
import torch

from course_lib.rlhf import rewards

WORDS = ["<end>", "the", "sum", "of", "3", "and", "9", "is", "12", ".", "wonderful", "terrible"]
END = 0


def decode(tokens):
    return " ".join(WORDS[t] for t in tokens if t != END)


def encode(text, end=True):
    return [WORDS.index(word) for word in text.split()] + [END] * end


ASKED = encode("the sum of 3 and 9", end=False)


def twelve(text):
    assert text == "the sum of 3 and 9"  # the prompt, not the reply
    return 12


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 9 = 12", 12),
        ("12, as 3 + 9", 9),
        ("a dozen", None),
        ("", None),
        ("007.", 7),
        ("1,234", 1234),
        ("It is 1,234,567.", 1234567),
        ("(1,234, of course)", 1234),
        ("1,2,3", 3),
        ("12,3456", 3456),
        ("3.5", 3.5),
        ("that is .5", 0.5),
        ("wait...5", 5),
        ("-7", -7),
        ("is −7.25!", -7.25),
        ("10-7", 7),
        ("x = (-7)", -7),
        ("7 - 3", 3),
        ("-1,234.5", -1234.5),
    ],
)
def test_last_number(text, number):
    assert rewards.last_number(text) == number


def test_the_last_number_counts():
    replies = ["12 .", "3 and 9 is 12", "12 is 3 and 9", "the sum"]
    found = rewards.right_number(decode, twelve)([ASKED] * 4, [encode(r) for r in replies])
    assert found.tolist() == [1, 1, 0, 0] and found.dtype == torch.float32


def test_stopping_counts_only_at_the_end():
    responses = [encode("12"), encode("12", end=False), [END], []]
    assert rewards.stops(END)([ASKED] * 4, responses).tolist() == [1, 0, 1, 0]
    assert rewards.stops(END, 9)([ASKED], [[8, 9]]).tolist() == [1]


def test_sums_and_products():
    right, stops = rewards.right_number(decode, twelve), rewards.stops(END)
    both = rewards.weighted((0.5, right), (0.5, rewards.together(right, stops)))
    responses = [encode("12"), encode("12", end=False), encode("9"), encode("9", end=False)]
    assert both([ASKED] * 4, responses).tolist() == [1.0, 0.5, 0.0, 0.0]


def test_sentiment_reads_prompt_and_response():
    mood = rewards.sentiment(decode)
    low, middle, high = mood(
        [encode("the sum", end=False)] * 3,
        [encode("is terrible"), encode("is"), encode("is wonderful")],
    ).tolist()
    assert -1 <= low < -0.3 and middle == 0 and 0.3 < high <= 1
    (praised,) = mood([encode("wonderful", end=False)], [encode("terrible")]).tolist()
    assert low < praised < high
