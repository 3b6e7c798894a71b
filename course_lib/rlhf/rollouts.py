"""What a language model did: prompts, its own responses, and how they were rewarded.

Writing text is an episode. The prompt is the first observation, each new token an action, and the
reward comes at the end, for the whole response. PPO and GRPO both learn from such rollouts
(``collect``); best-of-n picks among them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.lm.generate import Sampling, generate, left_pad
from course_lib.lm.gpt import GPT

# reward(prompts, responses) -> (B,): a number for each response. Both are lists of token lists
# without padding; a response holds its end-of-sequence token if the model wrote one.
Reward = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], Tensor]


class Rollout(NamedTuple):
    """``B`` prompts with one response each, in rows of ``T`` tokens: prompt, response, padding."""

    tokens: Tensor  # (B, T)
    valid_mask: Tensor  # (B, T) bool: prompts and responses
    response_mask: Tensor  # (B, T) bool: the response, the token that ended it included
    logp: Tensor  # (B, T) of each response token when it was drawn; 0 elsewhere
    finished: Tensor  # (B,) bool: the model ended the response itself
    rewards: Tensor  # (B,) float32, of the whole response
    prompts: list[list[int]]
    responses: list[list[int]]


def collect(
    model: GPT,
    prompts: Sequence[Sequence[int]],
    reward: Reward,
    sampling: Sampling,
    generator: torch.Generator | None = None,
) -> Rollout:
    """Let ``model`` respond to each of ``prompts``, and have the responses rewarded.

    ``sampling.stop_tokens`` must hold the token that ends a response. Its top-k and top-p must be
    unset: the log-probabilities are those of the whole distribution, and only there do they tell
    how probable each draw was.
    """
    if not sampling.stop_tokens:
        raise ValueError("sampling.stop_tokens must name the token that ends a response, got none")
    if sampling.top_k is not None or sampling.top_p is not None:
        raise ValueError(
            "top_k and top_p must be None while training: the model could draw tokens only from a "
            f"part of the distribution, got top_k={sampling.top_k} and top_p={sampling.top_p}"
        )
    tokens, valid_mask = left_pad(prompts)
    device = model.embedding.weight.device
    written = generate(
        model,
        tokens.to(device),
        valid_mask.to(device),
        sampling,
        generator,
    )
    responses = responses_of(written.tokens, written.response_mask)
    rewards = reward([list(p) for p in prompts], responses)
    if rewards.shape != (len(prompts),):
        raise ValueError(
            f"the reward must return one number per response, shape ({len(prompts)},), got "
            f"{tuple(rewards.shape)}"
        )
    finished = torch.tensor([response[-1] in sampling.stop_tokens for response in responses])
    return Rollout(
        *written,
        finished.to(device),
        rewards.to(device, torch.float32),
        [list(prompt) for prompt in prompts],
        responses,
    )


def responses_of(tokens: Tensor, response_mask: Tensor) -> list[list[int]]:
    """The tokens that ``response_mask`` (B, T) keeps of each row of ``tokens`` (B, T)."""
    return [row[keep].tolist() for row, keep in zip(tokens, response_mask.bool(), strict=True)]
