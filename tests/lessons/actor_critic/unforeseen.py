"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch

from course_lib.rl import actor_critic, returns
from course_lib.rl.losses import whiten


def gae_cuts_once(rewards, values, next_values, terminated, truncated, gamma, lam):
    """Cuts each column's trace at its first end only."""
    ended = terminated | truncated
    first = ended & (ended.cumsum(0) == 1)
    delta = rewards + gamma * next_values * (1 - terminated.float()) - values
    return backwards(delta, gamma * lam * (~first).float())


def gae_without_a_future_unless_both(rewards, values, next_values, end, cut, gamma, lam):
    """Where both flags are set it takes the end for a truncation."""
    delta = rewards + gamma * next_values * (1 - (end & ~cut).float()) - values
    return backwards(delta, gamma * lam * (~(end | cut)).float())


def gae_swaps_the_flags(rewards, values, next_values, end, cut, gamma, lam):
    return returns.gae(rewards, values, next_values, cut, end, gamma, lam)


def backwards(delta, weight):
    out, trace = torch.zeros_like(delta), torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        out[t] = trace = delta[t] + weight[t] * trace
    return out


def bits(x):
    return x / math.log(2)


def tables_of_another_shape(env, batches, length, gamma, lam, policy_rate, value_rate, seed):
    return torch.zeros(env.action_space.n, env.observation_space.n + 1), torch.zeros(1)


def the_policy_alone(env, batches, length, gamma, lam, policy_rate, value_rate, seed):
    return torch.zeros(env.observation_space.n, env.action_space.n)


def a_function_for_each(env, batches, length, gamma, lam, policy_rate, value_rate, seed):
    return (lambda state: 0.0), (lambda state: 0.0)


UNFORESEEN = {
    "learn_from_batches": {
        "tables of another shape": tables_of_another_shape,
        "the policy alone": the_policy_alone,
        "functions in place of tables": a_function_for_each,
    },
    "return_to_go": {
        "nothing where nothing is paid": lambda rewards, gamma: (
            actor_critic.return_to_go(rewards, gamma) * (rewards != 0)
        ),
        "one step ahead": lambda rewards, gamma: (
            rewards + gamma * torch.cat([rewards[1:], torch.zeros_like(rewards[:1])])
        ),
        "one factor too many": lambda rewards, gamma: (
            gamma * actor_critic.return_to_go(rewards, gamma)
        ),
    },
    "policy_gradient_loss": {
        "good actions only": lambda logp, a, mask: (
            -(logp * a.clamp(min=0) * mask).sum() / mask.sum()
        ),
        "a sum per episode": lambda logp, a, mask: -(logp * a * mask).sum() / len(mask),
        "half a gradient": lambda logp, a, mask: (
            -(torch.cat([logp[:1], logp[1:].detach()]) * a * mask).sum() / mask.sum()
        ),
        "whitened": lambda logp, a, mask: -(logp * whiten(a, mask) * mask).sum() / mask.sum(),
        "size of the advantage": lambda logp, a, mask: -(logp * a.abs() * mask).sum() / mask.sum(),
    },
    "leave_one_out": {
        "the first step's baseline": lambda totals: (
            totals - (totals[:1].sum(1, keepdim=True) - totals[:1]) / (totals.shape[1] - 1)
        ),
        "the mean over all times": lambda totals: (
            totals - (totals.sum() - totals) / (totals.numel() - 1)
        ),
        "the best of the others": lambda totals: (
            totals
            - torch.stack(
                [
                    torch.cat([totals[:, :i], totals[:, i + 1 :]], 1).amax(1)
                    for i in range(totals.shape[1])
                ],
                1,
            )
        ),
        "divided by the deviation": lambda totals: (
            actor_critic.leave_one_out(totals) / (totals.std(1, keepdim=True) + 1e-8)
        ),
    },
    "gae": {
        "cuts the trace once": gae_cuts_once,
        "both flags are a truncation": gae_without_a_future_unless_both,
        "flags swapped": gae_swaps_the_flags,
        "whitened": lambda *args: whiten(returns.gae(*args)),
    },
    "entropy_bonus": {
        "far from even": lambda logits: (
            math.log(logits.shape[-1]) - actor_critic.entropy_bonus(logits)
        ),
        "the mean without weights": lambda logits: -logits.log_softmax(-1).mean(-1),
        "in bits": lambda logits: bits(actor_critic.entropy_bonus(logits)),
        "share of the most possible": lambda logits: (
            actor_critic.entropy_bonus(logits) / math.log(logits.shape[-1])
        ),
        "collision entropy": lambda logits: -(logits.softmax(-1) ** 2).sum(-1).log(),
    },
}
