"""How far to trust a model: rewards imagined for ``k`` steps, a learned value for all that follows.

Short expansions lean on the value, which is rough; long ones lean on the model, whose errors
compound. Feinberg et al. (MVE, arXiv 1803.00101) fix one ``k``. Buckman et al. (STEVE, arXiv
1807.01675) weigh all of them by how much an ensemble disagrees about each.

Shapes: ``E`` members, ``H`` imagined steps, ``B`` starting states; ``k`` runs from 0 (the value of
the start itself) to ``H``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.world_models.dynamics import Dynamics


def value_expansion(rewards: Tensor, values: Tensor, gamma: float) -> Tensor:
    """Returns that imagine ``k`` steps and then trust the value, for all k: (..., H + 1, B).

    ``rewards`` (..., H, B) of the imagined steps; ``values`` (..., H + 1, B) of the start and
    of the state after each step. G_k = r_0 + ... + gamma^(k-1) r_(k-1) + gamma^k V(s_k)
    (arXiv 1803.00101, equation 2).
    """
    horizon = rewards.shape[-2]
    discounts = gamma ** torch.arange(horizon + 1, dtype=rewards.dtype)[:, None]
    collected = torch.zeros_like(values)
    collected[..., 1:, :] = (discounts[:-1] * rewards).cumsum(-2)
    return collected + discounts * values


def horizon_weights(returns: Tensor, floor: float = 1e-8) -> Tensor:
    """How much each horizon counts, (K, B), adding up to 1 over K: inverse variances.

    ``returns`` (E, K, B): each member's estimate for each of K horizons. Where the members agree,
    the estimate counts much; where they are apart, little: w_k is proportional to 1 / var_k, the
    variance over members (divided by E). ``floor`` is added to it, since members that agree exactly
    would ask for an infinite weight. STEVE, arXiv 1807.01675, section 3.1.
    """
    certainty = 1 / (returns.var(0, correction=0) + floor)
    return certainty / certainty.sum(0, keepdim=True)


def weighted_return(returns: Tensor, floor: float = 1e-8) -> Tensor:
    """The estimate (B,) from ``returns`` (E, K, B), their mean weighted by ``horizon_weights``."""
    return (horizon_weights(returns, floor) * returns.mean(0)).sum(0)


@torch.no_grad()
def expansions(
    model: Dynamics,
    value: Dynamics,
    obs: Tensor,
    policy: Callable[[Tensor], Tensor],
    horizon: int,
    gamma: float,
) -> Tensor:
    """What each member says a policy is worth at ``obs`` (B, D), for each k: (E, H + 1, B).

    ``policy`` maps observations (E, B, D) to actions (E, B, A). ``model`` has learned the reward
    of a step; ``value`` is an ensemble of as many members whose "reward" is the return. Every
    member goes its own way and trusts its own value.
    """
    here, rewards, values = obs.expand(model.config.members, *obs.shape), [], []
    for k in range(horizon + 1):
        actions = policy(here)
        values.append(value.predict(here, actions).rewards)
        if k < horizon:
            predicted = model.predict(here, actions)
            rewards.append(predicted.rewards)
            here = predicted.next_obs
    return value_expansion(torch.stack(rewards, 1), torch.stack(values, 1), gamma)
