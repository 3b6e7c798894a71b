"""A task with a verifiable reward for a real model: sums of two small numbers, and then stop.

"What is 3 + 9?" SmolLM2 knows most of the answers, but wraps them in explanations and seldom stops.
A reply counts as solved where its last number is the sum *and* the model ended it by itself.

How much of an improvement is arithmetic? For a control without any reward ``evaluate`` can ask with
the beginning of a reply already written, "3 + 9 equals": there the model need not guess the form
that is wanted.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from course_lib.lm import lora
from course_lib.lm.generate import Sampling, generate, left_pad
from course_lib.lm.gpt import GPT
from course_lib.rlhf import grpo, rewards
from course_lib.rlhf.rollouts import Reward, responses_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Sum = tuple[int, int]

ADAPTERS = lora.Config(rank=16, alpha=32, targets=("qkv", "out", "down"), layers=8)
GRPO = grpo.Config(total_steps=30)


class Split(NamedTuple):
    """Sums to train on, and sums that training never shows."""

    train: list[Sum]
    test: list[Sum]


def split(seed: int = 0, held_out: int = 22, largest: int = 12) -> Split:
    """All sums of two numbers from 2 to ``largest``; a + b and b + a are on the same side."""
    pairs = [(a, b) for a in range(2, largest + 1) for b in range(a, largest + 1)]
    order = np.random.default_rng(np.random.SeedSequence((seed, 5))).permutation(len(pairs))
    sides = [[pairs[i] for i in part] for part in (order[held_out:], order[:held_out])]
    return Split(*(sorted({p for a, b in side for p in ((a, b), (b, a))}) for side in sides))


def question(problem: Sum) -> str:
    """ "What is 3 + 9?" """
    return f"What is {problem[0]} + {problem[1]}?"


def answer(text: str) -> int:
    """The sum that the last question in ``text`` asks for."""
    a, b = re.findall(r"What is (\d+) \+ (\d+)\?", text)[-1]
    return int(a) + int(b)


def prompt(tokenizer: "PreTrainedTokenizerFast", problem: Sum, begun: str = "") -> list[int]:
    """The question as a chat without a system prompt, and the beginning of the reply, if any."""
    text = f"<|im_start|>user\n{question(problem)}<|im_end|>\n<|im_start|>assistant\n{begun}"
    return tokenizer.encode(text, add_special_tokens=False)


def reward(tokenizer: "PreTrainedTokenizerFast") -> Reward:
    """A half for the right sum as last number, another half for a reply that ends by itself."""
    right = rewards.right_number(tokenizer.decode, answer)
    return rewards.weighted((0.5, right), (0.5, rewards.stops(tokenizer.eos_token_id)))


class Score(NamedTuple):
    """How replies to some questions were."""

    solved: float  # share that is right *and* stopped
    right: float  # share with the right last number
    stopped: float  # share that ended by itself
    replies: list[str]


@torch.no_grad()
def evaluate(
    model: GPT,
    tokenizer: "PreTrainedTokenizerFast",
    problems: Sequence[Sum],
    max_new_tokens: int = 12,
    *,
    prefilled: bool = False,
    batch_size: int = 44,
) -> Score:
    """Ask every question, greedily. ``prefilled`` writes "a + b equals" for the model."""
    right = rewards.right_number(tokenizer.decode, answer)
    stops = rewards.stops(tokenizer.eos_token_id)
    sampling = Sampling(max_new_tokens, 0.0, stop_tokens=(tokenizer.eos_token_id,))
    begun = [f"{a} + {b} equals" if prefilled else "" for a, b in problems]
    prompts = [prompt(tokenizer, p, b) for p, b in zip(problems, begun, strict=True)]
    responses: list[list[int]] = []
    for start in range(0, len(prompts), batch_size):
        tokens, valid_mask = left_pad(prompts[start : start + batch_size])
        out = generate(model, tokens, valid_mask, sampling)
        responses += responses_of(out.tokens, out.response_mask)
    is_right, stopped = right(prompts, responses), stops(prompts, responses)
    texts = [tokenizer.decode(r, skip_special_tokens=True).strip() for r in responses]
    means = [float(x.mean()) for x in (is_right * stopped, is_right, stopped)]
    return Score(*means, texts)
