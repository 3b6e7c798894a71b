"""Returns: what a stretch of experience says about the value of where it began.

Shapes: ``T`` steps of ``N`` environments, as ``Envs.step`` delivers them, stacked along time.

``gae``, ``lambda_returns`` and ``discounted_returns`` take tensors, since losses are made of them.
All three ask for ``next_values``: the value of the state that each row's step truly led to. Where
an episode goes on, that is the value of the next row. Where it was truncated, it is the value of
its true final observation, which the NEXT_STEP convention delivers as the next row's ``obs``. Where
it terminated, the number does not matter.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def discounted_return(rewards: Sequence[float], gamma: float) -> float:
    """Return r_0 + gamma r_1 + gamma^2 r_2 + ..., the return of one episode from its start.

    ``rewards`` holds one number per step (T,); ``gamma`` in [0, 1] is the discount per step.
    Sutton and Barto (2018), equation 3.8.
    """
    if not 0 <= gamma <= 1:
        raise ValueError(f"gamma must lie in [0, 1], got {gamma}")
    total = 0.0
    for reward in reversed(rewards):  # Horner's rule: G_t = r_t + gamma G_{t+1}
        total = float(reward) + gamma * total
    return total


def n_step_target(
    rewards: Sequence[float], terminated: Sequence[bool], truncated: Sequence[bool], gamma: float
) -> tuple[float, int, bool]:
    """Return what one window of up to n steps collects: (total, steps, ended).

    All sequences have one entry per step of the window (n,). The window stops where its episode
    does, since the next row belongs to another one. ``total`` is the discounted sum of its rewards,
    ``steps`` how many it spans, ``ended`` whether it stops in a terminal state. The target is

        total + gamma ** steps * (1 - ended) * value of the state that the last step led to

    After a termination the future is worth 0; after a truncation, or at the end of the window, the
    value stands in for what would have come. Sutton and Barto (2018), equation 7.1.
    """
    total, discount = 0.0, 1.0
    for k, reward in enumerate(rewards):
        total += discount * reward
        discount *= gamma
        if terminated[k] or truncated[k]:
            break
    return total, k + 1, bool(terminated[k])


def gae(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """Generalised advantage estimates, (T, N): how much better than expected each action did.

    ``rewards``, ``values``, ``next_values`` (T, N) numbers; ``terminated``, ``truncated`` (T, N)
    bool. The estimate is a sum of TD errors ``delta``, each later one worth ``gamma * lam`` times
    less: ``lam`` 0 trusts the values (little variance), 1 trusts the rewards (no bias).

    Two different things happen at an end. A termination takes the future from ``delta``. Both
    kinds of end cut the trace: what the next row did belongs to another episode.
    Schulman et al., arXiv 1506.02438, equation 16.
    """
    _check_rates(gamma, lam)
    going_on = 1 - (terminated | truncated).to(rewards.dtype)
    deltas = rewards + gamma * next_values * (1 - terminated.to(rewards.dtype)) - values
    advantages = torch.empty_like(deltas)
    trace = torch.zeros_like(deltas[0])
    for t in reversed(range(len(deltas))):
        trace = deltas[t] + gamma * lam * going_on[t] * trace
        advantages[t] = trace
    return advantages


def lambda_returns(
    rewards: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
) -> Tensor:
    """TD(lambda) returns, (T, N): ``lam`` 0 gives one-step targets, 1 discounted returns.

    Arguments as in ``gae``. At a truncation, and at the end of the data, ``next_values`` stands in
    for all that would have come. Equal to ``gae`` plus the values.
    Sutton and Barto (2018), section 12.1, in its recursive form.
    """
    _check_rates(gamma, lam)
    alive = 1 - terminated.to(rewards.dtype)
    cut = terminated | truncated
    returns = torch.empty_like(rewards)
    following = next_values[-1]
    for t in reversed(range(len(rewards))):
        ahead = torch.where(cut[t], next_values[t], (1 - lam) * next_values[t] + lam * following)
        following = rewards[t] + gamma * alive[t] * ahead
        returns[t] = following
    return returns


def discounted_returns(
    rewards: Tensor, next_values: Tensor, terminated: Tensor, truncated: Tensor, gamma: float
) -> Tensor:
    """Return to go from every row on, (T, N): all rewards still to come, discounted.

    Arguments as in ``gae``. Where an episode has not ended by itself, ``next_values`` stands in
    for the rest; give zeros to count only what was seen.
    """
    return lambda_returns(rewards, next_values, terminated, truncated, gamma, lam=1.0)


def _check_rates(gamma: float, lam: float) -> None:
    for name, value in (("gamma", gamma), ("lam", lam)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")
