"""Wrong answers that no exercise of this lesson names, which its checks refuse all the same."""

import math

import torch

from course_lib.rl import actor_critic, returns
from course_lib.rl.losses import whiten


def gae_resets_next(rewards, values, next_values, terminated, truncated, gamma, lam):
    """Cuts the trace one row too late."""
    ended = terminated | truncated
    late = torch.cat([torch.zeros_like(ended[:1]), ended[:-1]])
    delta = rewards + gamma * next_values * (1 - terminated.float()) - values
    advantage, out = torch.zeros_like(rewards[0]), torch.zeros_like(rewards)
    for t in reversed(range(len(rewards))):
        advantage = delta[t] + gamma * lam * (~late[t]).float() * advantage
        out[t] = advantage
    return out


def bits(x):
    return x / math.log(2)


UNFORESEEN = {
    "return_to_go": {
        "in reverse order": lambda rewards, gamma: actor_critic.return_to_go(rewards, gamma).flip(
            0
        ),
        "one factor too many": lambda rewards, gamma: (
            gamma * actor_critic.return_to_go(rewards, gamma)
        ),
    },
    "policy_gradient_loss": {
        "whitened": lambda logp, a, mask: -(logp * whiten(a, mask) * mask).sum() / mask.sum(),
        "size of the advantage": lambda logp, a, mask: -(logp * a.abs() * mask).sum() / mask.sum(),
    },
    "leave_one_out": {
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
        "cuts one row late": gae_resets_next,
        "whitened": lambda *args: whiten(returns.gae(*args)),
    },
    "entropy_bonus": {
        "in bits": lambda logits: bits(actor_critic.entropy_bonus(logits)),
        "share of the most possible": lambda logits: (
            actor_critic.entropy_bonus(logits) / math.log(logits.shape[-1])
        ),
        "collision entropy": lambda logits: -(logits.softmax(-1) ** 2).sum(-1).log(),
    },
}
