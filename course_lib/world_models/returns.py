"""Returns of imagined steps, where an episode's end is a probability.

In a real game a step ends the episode or does not. A world model says *how likely* it goes on: the
continue probability takes the place of ``1 - terminated``. Where ends are drawn, it is 0 or 1, and
the functions agree with those of ``course_lib.rl.returns``. Shapes: ``T`` steps, ``N`` dreams.
"""

import torch
from torch import Tensor


def dream_returns(
    rewards: Tensor, next_values: Tensor, continues: Tensor, gamma: float, lam: float
) -> Tensor:
    """TD(lambda) returns of imagined steps, (T, N).

    ``rewards``, ``next_values`` and ``continues`` (T, N): what a step earned, what the state it
    led to is worth, and the probability in [0, 1] that there is such a state. Beyond the
    last step there is no return, so ``next_values[-1]`` stands in for it: a dream stops at its
    horizon, the game would not have.
    Hafner et al., arXiv 2301.04104, equation 7.
    """
    for name, value in (("gamma", gamma), ("lam", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")
    returns = torch.empty_like(rewards)
    following = next_values[-1]
    for t in reversed(range(len(rewards))):
        ahead = (1 - lam) * next_values[t] + lam * following
        following = rewards[t] + gamma * continues[t] * ahead
        returns[t] = following
    return returns


def continue_weights(continues: Tensor) -> Tensor:
    """How likely each imagined step is reached at all, (T, N): its weight in every loss.

    ``continues`` (T, N) as in ``dream_returns``. The first step starts in a real frame, so its
    weight is 1; each later one is reached if all steps *before* it went on. DreamerV3 (arXiv
    2301.04104) multiplies the discount of each step in as well; these weights leave it out.
    """
    reached = torch.ones_like(continues)
    reached[1:] = continues[:-1].cumprod(0)
    return reached
