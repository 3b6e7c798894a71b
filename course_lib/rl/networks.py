"""Small networks for agents that fit on one CPU core.

``QNetwork`` maps observations to one value per action. Its body follows the shape of the
observation: a vector gets dense layers, an image (C, H, W) one convolution before them, as in
MinAtar's own baseline (Young and Tian, arXiv 1903.03176). Larger games want more convolutions.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Built = TypeVar("Built")


def seeded(seed: int, build: Callable[[], Built]) -> Built:
    """Call ``build`` with torch's random numbers seeded, and leave the global state untouched.

    PyTorch's layers draw their first weights from one global generator. This keeps the seed of
    an agent from leaking into, or depending on, anything else in the program.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Dense layers with ReLU after each: ``mlp([4, 64, 64])`` maps (B, 4) to (B, 64)."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class QNetwork(nn.Module):
    """Values of all actions: (B, *obs_shape) observations to (B, A).

    ``obs_scale`` (D,) is the usual size of each observed number. Inputs are divided by it, so that
    a small angle counts as much as a large position.

    With ``dueling`` the network adds up a value of the state and an advantage of each action
    (Wang et al., arXiv 1511.06581, equation 9): Q = V + A - mean(A). Without the mean, V and A
    could drift apart, since only their sum is trained.
    """

    def __init__(
        self,
        obs_shape: Sequence[int],
        num_actions: int,
        hidden: Sequence[int] = (128, 128),
        obs_scale: Sequence[float] | None = None,
        channels: int = 16,
        dueling: bool = False,
    ):
        super().__init__()
        if len(obs_shape) not in (1, 3):
            raise ValueError(
                f"obs_shape must be a vector (D,) or an image (C, H, W), got {tuple(obs_shape)}"
            )
        if obs_scale is not None and (len(obs_scale),) != tuple(obs_shape):
            raise ValueError(
                f"obs_scale must give one size for each number observed, so {tuple(obs_shape)}, "
                f"got {len(obs_scale)}"
            )
        self.register_buffer("obs_scale", None if obs_scale is None else torch.tensor(obs_scale))
        inputs = math.prod(obs_shape)
        front: list[nn.Module] = []
        if len(obs_shape) == 3:
            planes, height, width = obs_shape
            front = [nn.Conv2d(planes, channels, kernel_size=3), nn.ReLU(), nn.Flatten()]
            inputs = channels * (height - 2) * (width - 2)
        self.body = nn.Sequential(*front, *mlp([inputs, *hidden]))
        self.advantage = nn.Linear(hidden[-1], num_actions)
        self.value = nn.Linear(hidden[-1], 1) if dueling else None

    def forward(self, obs: Tensor) -> Tensor:
        obs = obs.float()  # images arrive as uint8, a quarter of the memory
        if self.obs_scale is not None:
            obs = obs / self.obs_scale
        features = self.body(obs)
        advantage = self.advantage(features)
        if self.value is None:
            return advantage
        return self.value(features) + advantage - advantage.mean(dim=1, keepdim=True)
