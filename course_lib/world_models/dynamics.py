"""What happens next, learned: a small ensemble of networks that predict the next observation.

Chua et al., "Deep Reinforcement Learning in a Handful of Trials using Probabilistic Dynamics
Models" (PETS, arXiv 1805.12114). Each member puts out a Gaussian over the *change* of the
observation, both sides normalised: a change is small beside a state, and a network that has to
repeat its input would spend its accuracy on that. The log-variance is bounded as in their
appendix A.1. The spread inside one member is noise of the world; the spread between members,
``disagreement``, is what the data have not settled yet.

Learned here: the next observation and, with ``learn_reward``, the reward. *Not* learned: when an
episode ends. In CartPole and Pendulum that can be read from the state, so ``planning.Task`` says
it. Left out: early stopping on held-out data, and noise that depends on more than one step.

Shapes: ``E`` members, ``B`` rows, ``D`` numbers observed, ``A`` numbers in an action (numbered
actions are one-hot vectors), ``H`` steps into the future, ``T`` times ``N`` as ``Envs`` gives them.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import limits, randomness
from course_lib.rl.networks import seeded
from course_lib.world_models.experience import Segments, Transitions


@dataclass(frozen=True)
class Config:
    """Settings of an ensemble and of its training."""

    members: int = 5  # networks in the ensemble: 1 to 7
    hidden: tuple[int, ...] = (64, 64)  # sizes of the dense layers: (200, 200, 200) in PETS
    learn_reward: bool = False  # predict the reward too, or leave it to who knows the task
    probabilistic: bool = True  # Gaussian likelihood; False: squared error, a variance of 1
    updates: int = 1_000  # gradient steps of one call of ``train``: 500 to 5,000
    batch_size: int = 128  # rows per member and gradient step: 32 to 256
    learning_rate: float = 3e-3  # Adam's, falls in a line to 0: 5e-4 to 5e-3
    weight_decay: float = 1e-4  # AdamW's: 0 to 1e-3
    bootstrap: bool = True  # each member learns from its own resample of the data

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("hidden", lambda sizes: min(sizes, default=0) >= 1, "name at least one layer size"),
            at_least_1="members updates batch_size",
            above_0="learning_rate",
        )


# The pure functions.


def gaussian_nll(mean: Tensor, log_var: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihood of ``targets`` under a Gaussian, in nats; (..., D) to (...).

    It says how surprising they are. ``mean``, ``log_var`` (natural logarithm of the variance) and
    ``targets`` are (..., D). The D numbers are independent, so their likelihoods multiply:
    0.5 * sum((target - mean)^2 / var + log var + log 2 pi)   (arXiv 1805.12114, equation 1)

    The first term asks for a large variance wherever the mean is wrong, the second for a small
    one: together they are least where the variance is the mean squared error.
    """
    error = (targets - mean) ** 2
    return 0.5 * (error * torch.exp(-log_var) + log_var + math.log(2 * math.pi)).sum(-1)


def bound_log_var(raw: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Squeeze ``raw`` (..., D) smoothly between ``low`` and ``high`` (D,).

    Outside the data a network's variance can be anything; bounds that are learned keep it to what
    was seen (arXiv 1805.12114, appendix A.1).
    """
    below = high - F.softplus(high - raw)
    return low + F.softplus(below - low)


def disagreement(next_obs: Tensor, scale: Tensor) -> Tensor:
    """How far the members are apart, (E, ..., D) to (...), in units of ``scale`` (D,).

    The standard deviation over the members, root mean square over the D numbers. With ``scale``
    the usual change in one step, 1 means: they differ by as much as usually happens.
    """
    apart = (next_obs - next_obs.mean(0)) / scale  # far quicker on a CPU than torch's own `var`
    return (apart * apart).mean((0, -1)).sqrt()


# The ensemble.


class Prediction(NamedTuple):
    """What each member expects of the next step: means, and on demand how sure it is."""

    next_obs: Tensor  # (E, B, D) mean
    rewards: Tensor | None  # (E, B) mean, None where the reward is not learned
    std: Tensor | None = None  # (E, B, D) of ``next_obs``, None unless asked for


class Dynamics(nn.Module):
    """``E`` networks side by side: every layer is one batched matrix product."""

    def __init__(self, obs_size: int, action_size: int, config: Config, seed: int = 0):
        super().__init__()
        self.config = config
        self.obs_size, self.action_size = obs_size, action_size
        outputs = obs_size + config.learn_reward
        sizes = [obs_size + action_size, *config.hidden, 2 * outputs]
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()

        def build() -> None:
            for fan_in, fan_out in itertools.pairwise(sizes):
                bound = fan_in**-0.5
                weight = torch.empty(config.members, fan_in, fan_out).uniform_(-bound, bound)
                bias = torch.empty(config.members, 1, fan_out).uniform_(-bound, bound)
                self.weights.append(nn.Parameter(weight))
                self.biases.append(nn.Parameter(bias))

        seeded(seed, build)
        self.low = nn.Parameter(torch.full((outputs,), -10.0))  # bounds of the log-variance
        self.high = nn.Parameter(torch.full((outputs,), 0.5))
        self.register_buffer("obs_mean", torch.zeros(obs_size))
        self.register_buffer("obs_std", torch.ones(obs_size))
        self.register_buffer("change_mean", torch.zeros(outputs))
        self.register_buffer("change_std", torch.ones(outputs))

    @property
    def step_size(self) -> Tensor:
        """The usual change of each observed number in one step, (D,)."""
        return self.change_std[: self.obs_size]

    def fit_scales(self, data: Transitions) -> None:
        """Measure means and standard deviations on ``data``: what "usual" means from now on."""
        floor = 1e-6  # a number that never changes must not be divided by 0
        self.obs_mean.copy_(data.obs.mean(0))
        self.obs_std.copy_(data.obs.std(0).clamp(min=floor))
        targets = self.targets(data)
        self.change_mean.copy_(targets.mean(0))
        self.change_std.copy_(targets.std(0).clamp(min=floor))

    def targets(self, data: Transitions) -> Tensor:
        """What is predicted, in its own units: (B, D) changes, and the reward where learned."""
        change = data.next_obs - data.obs
        if not self.config.learn_reward:
            return change
        return torch.cat([change, data.rewards[:, None]], -1)

    def forward(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """(E, B, D) and (E, B, A) to mean and log-variance (E, B, D or D + 1), normalised."""
        mean, raw = self._outputs(obs, actions)
        if not self.config.probabilistic:
            return mean, torch.zeros_like(mean)
        return mean, bound_log_var(raw, self.low, self.high)

    def _outputs(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([(obs - self.obs_mean) / self.obs_std, actions], -1)
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if i < last:
                x = F.silu(x)
        return x.chunk(2, -1)

    def predict(self, obs: Tensor, actions: Tensor, with_std: bool = False) -> Prediction:
        """What every member expects after ``actions`` at ``obs``.

        Either (B, D) and (B, A), the same rows for all members, or (E, B, D) and (E, B, A),
        each member with rows of its own. The standard deviations are left out unless asked for:
        a planner that uses means only calls this some thousand times a second.
        """
        if obs.dim() == 2:
            obs, actions = (x.expand(self.config.members, *x.shape) for x in (obs, actions))
        mean, log_var = self(obs, actions) if with_std else (self._outputs(obs, actions)[0], None)
        values = mean * self.change_std + self.change_mean
        rewards = values[..., self.obs_size] if self.config.learn_reward else None
        std = None
        if with_std:
            std = (0.5 * log_var).exp()[..., : self.obs_size] * self.step_size
        return Prediction(obs + values[..., : self.obs_size], rewards, std)

    def noise(self, obs: Tensor, actions: Tensor) -> Tensor:
        """Standard deviation that each member gives the next observation, (E, B, D).

        Noise of the world, as far as a member can tell: members may agree on it.
        """
        return self.predict(obs, actions, with_std=True).std


def train(
    model: Dynamics, data: Transitions, config: Config, seed: int = 0
) -> Iterator[dict[str, float]]:
    """Train ``model`` in place; yield a dictionary of metrics after each gradient step.

    Metrics: ``steps`` (gradient steps so far), ``nll`` (nats per row, mean over members), ``error``
    (root mean squared error in units of the usual change: 1 is "always the mean change").
    """
    if data.rows < 2:
        raise ValueError(f"training needs at least two transitions, got {data.rows}")
    generator = randomness.generator(seed)
    model.fit_scales(data)
    targets = (model.targets(data) - model.change_mean) / model.change_std
    shape = (config.members, data.rows)
    own = torch.arange(data.rows).expand(shape)
    if config.bootstrap and config.members > 1:
        own = torch.randint(data.rows, shape, generator=generator)
    optimizer = torch.optim.AdamW(
        model.parameters(), config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    for step in range(1, config.updates + 1):
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - (step - 1) / config.updates)
        columns = torch.randint(data.rows, (config.members, config.batch_size), generator=generator)
        rows = own.gather(1, columns)
        mean, log_var = model(data.obs[rows], data.actions[rows])
        nll = gaussian_nll(mean, log_var, targets[rows]).mean()
        # The bounds drift apart without this: nothing else pulls them to what was seen.
        loss = nll + 0.01 * (model.high - model.low).sum() * config.probabilistic
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        error = (mean.detach() - targets[rows]).square().mean().sqrt()
        yield {"steps": float(step), "nll": float(nll.detach()), "error": float(error)}


# How wrong it is.


@torch.no_grad()
def one_step_error(model: Dynamics, data: Transitions) -> tuple[Tensor, Tensor]:
    """Error of the ensemble's mean and disagreement of its members, (B,) each.

    Both are root mean squares over the D numbers, in units of the usual change in one step.
    """
    next_obs = model.predict(data.obs, data.actions).next_obs
    error = ((next_obs.mean(0) - data.next_obs) / model.step_size).square().mean(-1).sqrt()
    return error, disagreement(next_obs, model.step_size)


@torch.no_grad()
def open_loop(model: Dynamics, obs: Tensor, actions: Tensor, average: bool = True) -> Tensor:
    """Imagine on without looking: (B, D) starts and (B, H, A) actions to states.

    Each prediction is the input of the next, so errors feed on themselves. With ``average`` all
    members go on from their common mean, (B, H, D); without, each from its own, (E, B, H, D).
    """
    states, here = [], obs.expand(model.config.members, *obs.shape)
    for k in range(actions.shape[1]):
        here = model.predict(here, actions[:, k].expand(len(here), -1, -1)).next_obs
        if average:
            here = here.mean(0, keepdim=True).expand_as(here)
        states.append(here)
    imagined = torch.stack(states, 2)
    return imagined[0] if average else imagined


def open_loop_error(model: Dynamics, data: Segments, average: bool = True) -> Tensor:
    """Root mean squared error after 1 to ``H`` imagined steps, (H,), in units of ``obs_std``.

    In these units 1 is about the error of guessing an average state.
    """
    imagined = open_loop(model, data.obs, data.actions, average)
    error = (imagined - data.next_obs) / model.obs_std
    return error.square().flatten(0, -3).mean((0, -1)).sqrt()
