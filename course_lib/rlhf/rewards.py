"""Rewards that nobody has to learn: rules that check a response, and a dictionary of moods.

A *verifiable* reward is a program that tells right from wrong, as for sums, code with tests, or
proofs (Lambert et al., "Tulu 3", arXiv 2411.15124, section 6). There is no reward model to fool;
but the program rewards exactly what it checks, and nothing else.

``sentiment`` stands in for a preference: VADER (Hutto and Gilbert, ICWSM 2014) adds up the moods of
7,500 words. It is cheap, fixed, and easy to fool, which lesson 10 makes use of.

Each function here returns a ``Reward``: (prompts, responses) to (B,), both lists of token lists.
"""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.rlhf.rollouts import Reward

Decode = Callable[[Sequence[int]], str]


def last_number(text: str) -> float | None:
    """The last number in ``text``, such as 7, 1,234, 3.5 or -7; None where there is none."""
    # The minus of 10-7 takes away, and 1,2 are two numbers.
    number = r"(?:(?<![\w)])-)?(?:\d{1,3}(?:,\d{3})+(?!\d|,\d)|\d+|(?<![\d.])(?=\.\d))(?:\.\d+)?"
    numbers = re.findall(number, text.replace("−", "-"))
    return float(numbers[-1].replace(",", "")) if numbers else None


def right_number(decode: Decode, answer: Callable[[str], int]) -> Reward:
    """1 where the last number of the response is ``answer`` of the prompt's text, else 0.

    The last, since models like to repeat the question before they answer it.
    """

    def reward(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tensor:
        pairs = zip(prompts, responses, strict=True)
        return torch.tensor([float(last_number(decode(r)) == answer(decode(p))) for p, r in pairs])

    return reward


def stops(*stop_tokens: int) -> Reward:
    """1 where the response ends by itself, with one of ``stop_tokens``, else 0."""

    def reward(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor([float(bool(r) and r[-1] in stop_tokens) for r in responses])

    return reward


def weighted(*parts: tuple[float, Reward]) -> Reward:
    """The sum of several rewards, each times its weight."""

    def reward(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack([weight * part(prompts, responses) for weight, part in parts]).sum(dim=0)

    return reward


def together(*parts: Reward) -> Reward:
    """The product of several rewards: of rules, 1 where all of them hold."""

    def reward(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack([part(prompts, responses) for part in parts]).prod(dim=0)

    return reward


def sentiment(decode: Decode) -> Reward:
    """The mood of prompt and response together by VADER, from -1 (gloomy) to 1 (delighted)."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()

    def reward(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Tensor:
        texts = [decode([*p, *r]) for p, r in zip(prompts, responses, strict=True)]
        return torch.tensor([analyzer.polarity_scores(text)["compound"] for text in texts])

    return reward
