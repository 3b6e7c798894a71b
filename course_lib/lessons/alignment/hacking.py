"""A real model and a reward that is easy to fool: cheerful continuations of "The movie was".

The reward is VADER's mood of the text (`rewards.sentiment`), a stand-in for "people like it". GRPO
drives it up. What is asked here is what becomes of the *text*: how varied it is, and how probable
under the model that wrote it before. Sentiment as the reward of a language model goes back to
Ziegler et al., arXiv 1909.08593, who kept the model near with a penalty for the KL.

Two cures: a penalty for the KL (`grpo.Config.beta`), and a constraint on ``repetition``.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from course_lib.lm import lora
from course_lib.lm.generate import Sampling
from course_lib.lm.gpt import GPT
from course_lib.lm.losses import response_logp
from course_lib.rlhf import grpo, rewards
from course_lib.rlhf.rollouts import Reward, collect

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

OPENINGS = (
    "The movie was",
    "The film was",
    "I thought the movie was",
    "The acting in the movie was",
    "The story of the film was",
    "Last night I saw a movie. It was",
    "The ending of the film was",
    "The music in the movie was",
)
ADAPTERS = lora.Config(rank=16, alpha=32, targets=("qkv", "out", "down"), layers=8)
GRPO = grpo.Config(total_steps=14, max_new_tokens=8, learning_rate=4e-3, micro_batch=16)


class Quality(NamedTuple):
    """What some continuations are like."""

    proxy: float  # mean mood, -1 to 1
    distinct1: float  # share of words that are different ones, over all texts: 0 to 1
    distinct2: float  # the same of pairs of neighbours
    perplexity: float  # under the model before training, per token; 1 is certainty
    kl: float  # nats per response from the model before training
    texts: list[str]  # prompt and continuation


def openings(tokenizer: "PreTrainedTokenizerFast") -> list[list[int]]:
    """The prompts as tokens."""
    return [tokenizer.encode(text, add_special_tokens=False) for text in OPENINGS]


def distinct(texts: Sequence[str], n: int) -> float:
    """How many of all n-grams of words are different ones: 1 no repetition, near 0 a parrot.

    Over all ``texts`` together (Li et al., arXiv 1510.03055), so a model that writes one good text
    again and again is found out, too. Falls with the amount of text: compare equal amounts only.
    """
    grams = []
    for text in texts:
        words = text.lower().split()
        grams += [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


@torch.no_grad()
def evaluate(
    model: GPT,
    tokenizer: "PreTrainedTokenizerFast",
    each: int = 4,
    max_new_tokens: int = GRPO.max_new_tokens,
    seed: int = 0,
) -> Quality:
    """Continue every opening ``each`` times, at temperature 1, and judge the continuations.

    The model before training is ``model`` without its adapters.
    """
    sampling = Sampling(max_new_tokens, stop_tokens=(tokenizer.eos_token_id,))
    prompts = [prompt for prompt in openings(tokenizer) for _ in range(each)]
    mood = rewards.sentiment(tokenizer.decode)
    generator = torch.Generator().manual_seed(seed)
    out = collect(model, prompts, mood, sampling, generator)
    with grpo.adapters_off(model):
        arguments = (out.tokens, out.valid_mask, out.response_mask)
        parts = zip(*(x.split(8) for x in arguments), strict=True)
        ref_logp = torch.cat([response_logp(model, *rows) for rows in parts])
    words = [tokenizer.decode(r, skip_special_tokens=True) for r in out.responses]
    pairs = zip(out.prompts, words, strict=True)
    return Quality(
        float(out.rewards.mean()),
        distinct(words, 1),
        distinct(words, 2),
        math.exp(-float(ref_logp.sum() / out.response_mask.sum())),
        float((out.logp - ref_logp).sum(1).mean()),
        [tokenizer.decode(prompt) + text for prompt, text in pairs],
    )


def repetition(tokenizer: "PreTrainedTokenizerFast") -> Reward:
    """The share of words in each response that stood in it before, (B,): a cost, 0 to 1.

    A rule that anybody who has seen one collapsed text writes down. See what the policy does next.
    """

    def cost(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> torch.Tensor:
        texts = [tokenizer.decode(r, skip_special_tokens=True) for r in responses]
        words = [re.findall(r"[a-z']+", text.lower()) for text in texts]
        return torch.tensor([1 - len(set(w)) / len(w) if w else 0.0 for w in words])

    return cost
