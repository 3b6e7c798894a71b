"""Small networks for agents that fit on one CPU core.

``QNetwork`` maps observations to one value per action, ``ActorCritic`` to a distribution over
actions and one value. Their bodies follow the shape of the observation: a vector gets dense layers,
an image (C, H, W) one convolution before them, as in MinAtar's own baseline (Young and Tian,
arXiv 1903.03176). Larger games want more convolutions.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from course_lib.rl.distributions import Categorical, Distribution, Gaussian

Built = TypeVar("Built")
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def seeded(seed: int, build: Callable[[], Built]) -> Built:
    """Call ``build`` with torch's random numbers seeded, and leave the global state untouched.

    PyTorch's layers draw their first weights from one global generator. This keeps the seed of
    an agent from leaking into, or depending on, anything else in the program.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def mlp(sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Dense layers, an activation after each: ``mlp([4, 64, 64])`` maps (B, 4) to (B, 64)."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers)


def body(
    obs_shape: Sequence[int],
    hidden: Sequence[int],
    channels: int = 16,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Layers from observations (B, *obs_shape) to features (B, hidden[-1])."""
    if len(obs_shape) not in (1, 3):
        raise ValueError(
            f"obs_shape must be a vector (D,) or an image (C, H, W), got {tuple(obs_shape)}"
        )
    if len(obs_shape) == 1:
        return nn.Sequential(*mlp([*obs_shape, *hidden], activation))
    planes, height, width = obs_shape
    front = [nn.Conv2d(planes, channels, kernel_size=3), activation(), nn.Flatten()]
    inputs = channels * (height - 2) * (width - 2)
    return nn.Sequential(*front, *mlp([inputs, *hidden], activation))


def orthogonal(module: nn.Module, gain: float = math.sqrt(2)) -> None:
    """Give all layers in ``module`` orthogonal weights times ``gain``, and biases of 0.

    Orthogonal weights keep the length of what passes through; the square root of 2 makes up for
    what the activation takes away (Saxe et al., arXiv 1312.6120).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)


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
        if obs_scale is not None and (len(obs_scale),) != tuple(obs_shape):
            raise ValueError(
                f"obs_scale must give one size for each number observed, so {tuple(obs_shape)}, "
                f"got {len(obs_scale)}"
            )
        self.register_buffer("obs_scale", None if obs_scale is None else torch.tensor(obs_scale))
        self.body = body(obs_shape, hidden, channels)
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


class ActorCritic(nn.Module):
    """A policy and a value: (B, *obs_shape) observations to a distribution and values (B,).

    Give ``num_actions`` for numbered actions or ``action_size`` for continuous ones. With
    ``shared`` the two use one body, which pays where features are dear (images); apart, neither
    loss can disturb the other's features. The policy's last layer starts near 0, so that at
    first all actions are about equally probable; ``orthogonal_init`` False leaves PyTorch's own
    initial weights instead.
    """

    def __init__(
        self,
        obs_shape: Sequence[int],
        num_actions: int | None = None,
        action_size: int | None = None,
        hidden: Sequence[int] = (64, 64),
        shared: bool = False,
        activation: str = "tanh",
        channels: int = 16,
        log_std: float = 0.0,
        orthogonal_init: bool = True,
    ):
        super().__init__()
        if (num_actions is None) == (action_size is None):
            raise ValueError(
                "give either num_actions (numbered actions) or action_size (continuous ones), "
                f"got {num_actions} and {action_size}"
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {list(ACTIVATIONS)}, got {activation!r}")
        kind = ACTIVATIONS[activation]
        self.policy_body = body(obs_shape, hidden, channels, kind)
        self.value_body = None if shared else body(obs_shape, hidden, channels, kind)
        self.policy_head = nn.Linear(hidden[-1], num_actions or action_size)
        self.value_head = nn.Linear(hidden[-1], 1)
        # One spread for all observations. That it cannot depend on them makes learning steadier.
        self.log_std = nn.Parameter(torch.full((action_size,), log_std)) if action_size else None
        if orthogonal_init:
            orthogonal(self)
            orthogonal(self.policy_head, 0.01)
            orthogonal(self.value_head, 1.0)

    @property
    def shares_body(self) -> bool:
        """Whether policy and value come out of one body."""
        return self.value_body is None

    def forward(self, obs: Tensor) -> tuple[Distribution, Tensor]:
        """The policy and the values, for training: a shared body is passed once."""
        obs = obs.float()  # images arrive as uint8
        features = self.policy_body(obs)
        return self._distribution(features), self._value(obs, features)

    def policy(self, obs: Tensor) -> Distribution:
        """The policy alone, for acting."""
        return self._distribution(self.policy_body(obs.float()))

    def value(self, obs: Tensor) -> Tensor:
        """The values alone, (B,)."""
        obs = obs.float()
        return self._value(obs, self.policy_body(obs) if self.value_body is None else None)

    def _distribution(self, features: Tensor) -> Distribution:
        if self.log_std is None:
            return Categorical(self.policy_head(features))
        return Gaussian(self.policy_head(features), self.log_std)

    def _value(self, obs: Tensor, features: Tensor | None) -> Tensor:
        if self.value_body is not None:
            features = self.value_body(obs)
        return self.value_head(features).squeeze(-1)
