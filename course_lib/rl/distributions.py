"""What a policy network puts out: a distribution over actions, numbered or continuous.

Both kinds offer the same four operations, so that one training loop serves both: ``sample``,
``mode``, ``logp`` and ``entropy``. PyTorch has such classes too (``torch.distributions``). These
are here because a policy gradient is made of exactly these formulas. The tests hold them against
PyTorch's.

Shapes: ``B`` stands for any leading shape, ``A`` actions, ``D`` numbers in a continuous action.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def gaussian_logp(actions: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density of continuous ``actions`` (B, D) under independent Gaussians, shape (B,).

    ``mean`` (B, D); ``log_std`` (D,) or (B, D), the natural logarithm of the standard deviation.
    The D numbers of one action are independent, so their densities multiply and the logarithms
    add up: one number per action comes back, never one per dimension.
    """
    scaled = (actions - mean) * torch.exp(-log_std)
    return (-0.5 * (scaled**2 + math.log(2 * math.pi)) - log_std).sum(-1)


def gaussian_entropy(log_std: Tensor) -> Tensor:
    """Entropy in nats of independent Gaussians with ``log_std`` (..., D), shape (...)."""
    return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


@dataclass(frozen=True)
class Categorical:
    """A choice among A numbered actions. ``logits`` (B, A) need not be normalised."""

    logits: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "logits", torch.log_softmax(self.logits, -1))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw actions, (B,) int64."""
        probabilities = self.logits.exp()
        flat = probabilities.reshape(-1, probabilities.shape[-1])
        return torch.multinomial(flat, 1, generator=generator).reshape(self.logits.shape[:-1])

    def mode(self) -> Tensor:
        """The most probable actions, (B,) int64."""
        return self.logits.argmax(-1)

    def logp(self, actions: Tensor) -> Tensor:
        """Log-probabilities of ``actions`` (B,), shape (B,)."""
        return self.logits.gather(-1, actions[..., None]).squeeze(-1)

    def entropy(self) -> Tensor:
        """Entropy in nats, (B,): 0 for a certain choice, log A for an even one."""
        return -(self.logits.exp() * self.logits).sum(-1)


@dataclass(frozen=True)
class Gaussian:
    """Continuous actions of D numbers: ``mean`` (B, D), ``log_std`` (D,), the same everywhere."""

    mean: Tensor
    log_std: Tensor

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw actions, (B, D) float32."""
        noise = torch.randn(self.mean.shape, generator=generator, device=self.mean.device)
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        """The most probable actions, (B, D): the means."""
        return self.mean

    def logp(self, actions: Tensor) -> Tensor:
        """Log-densities of ``actions`` (B, D), shape (B,)."""
        return gaussian_logp(actions, self.mean, self.log_std)

    def entropy(self) -> Tensor:
        """Entropy in nats, (B,). A density can have a negative one."""
        return gaussian_entropy(self.log_std).expand(self.mean.shape[:-1])


Distribution = Categorical | Gaussian
