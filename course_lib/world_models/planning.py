"""Choosing actions by trying them in a learned model: random shooting, CEM and MPC.

A plan is ``H`` actions. *Random shooting* imagines many random plans and keeps the best. The
*cross-entropy method* (CEM; Rubinstein, 1999) then draws new plans around the best ones, a few
times over. *Model predictive control* (MPC) takes the first action of the best plan, looks at what
really happened, and plans again from there; the rest of the old plan, moved up by one step, is
where the next search begins (warm start). Particles that follow one member each (TS-infinity) or
change member at every step (TS1) are those of Chua et al., arXiv 1805.12114, section 5. There each
particle also *draws* its next state from its member's Gaussian (``sample``); by default it takes
the mean, since the two tasks here have no noise.

A planner looks for the best plan, so it finds the places where the model is wrong in its favour.
``pessimism`` takes the disagreement of the members off the imagined reward (as MOPO does with
another measure of doubt, Yu et al., arXiv 2005.13239). Left out: a learned value for what comes
after the horizon (see ``horizons``).

Several environments are planned for at once: ``N`` environments, ``P`` plans for each, ``E``
members, ``H`` steps, ``A`` numbers in an action (one-hot where actions are numbered), ``D`` numbers
observed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import limits, randomness
from course_lib.world_models.dynamics import Dynamics, disagreement

PROPAGATIONS = ("mean", "ts1", "tsinf")


class Task(NamedTuple):
    """What the planner knows without learning: the actions, and what is good.

    ``reward`` maps ``obs`` (..., D), ``actions`` (..., A) and ``next_obs`` (..., D) to (...); None
    takes the model's own (``dynamics.Config.learn_reward``). ``ended`` says of ``next_obs`` whether
    the episode is over there, bool (...); None: only the clock ends it.
    """

    reward: Callable[[Tensor, Tensor, Tensor], Tensor] | None
    ended: Callable[[Tensor], Tensor] | None
    num_actions: int | None = None  # numbered actions
    action_size: int | None = None  # or so many numbers,
    limit: float = 1.0  # each between -limit and limit


def cartpole_ended(next_obs: Tensor) -> Tensor:
    """CartPole-v1 ends 2.4 from the middle or 12 degrees from upright: (..., 4) to (...) bool."""
    return (next_obs[..., 0].abs() > 2.4) | (next_obs[..., 2].abs() > 12 * torch.pi / 180)


def cartpole_alive(obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
    """The task's own reward: 1 for every step."""
    return torch.ones_like(next_obs[..., 0])


def cartpole_margin(obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
    """How far both limits are: 1 in the middle and upright, 0 at the limits of both.

    Within a horizon of half a second nearly every plan survives, and "1 for every step" cannot
    choose among them, while the cart drifts away. This is a hint by somebody who knows the task.
    """
    place = (next_obs[..., 0] / 2.4) ** 2
    angle = (next_obs[..., 2] / (12 * torch.pi / 180)) ** 2
    return 1 - 0.5 * (place + angle)


def pendulum_reward(obs: Tensor, actions: Tensor, next_obs: Tensor) -> Tensor:
    """Pendulum-v1's own reward: minus angle^2 + 0.1 speed^2 + 0.001 torque^2, before the step.

    ``obs`` (..., 3) is cosine, sine and speed; 0 is upright and still.
    """
    angle = torch.atan2(obs[..., 1], obs[..., 0])
    return -(angle**2 + 0.1 * obs[..., 2] ** 2 + 0.001 * actions[..., 0] ** 2)


CARTPOLE = Task(cartpole_margin, cartpole_ended, num_actions=2)
PENDULUM = Task(pendulum_reward, None, action_size=1, limit=2.0)


@dataclass(frozen=True)
class Config:
    """Settings of a planner. One iteration is random shooting, several are CEM."""

    horizon: int = 15  # steps imagined ahead: 10 to 40
    population: int = 64  # plans imagined per environment and iteration: 50 to 1,000
    iterations: int = 3  # 3 to 6 for CEM; 1, from a fixed start, is random shooting
    elites: int = 8  # best plans from which the next ones are drawn: about a tenth
    keep: float = 0.1  # share of the old mean and spread that survives an iteration: 0 to 0.3
    spread: float = 0.5  # standard deviation of the first plans, in limits: 0.3 to 1
    smooth: float = 0.0  # how alike the noise of neighbouring steps is: 0 to 0.9
    mutate: float = 0.3  # numbered actions: share drawn evenly, whatever the elites did
    gamma: float = 1.0  # discount per imagined step
    propagation: str = "tsinf"  # "mean", "ts1" or "tsinf": which member predicts the next step
    sample: bool = False  # draw next states from the members' Gaussians; False: take their means
    pessimism: float = 0.0  # reward lost per unit of disagreement: 0 to 10

    def __post_init__(self) -> None:
        most, averaged = self.population, self.propagation == "mean"
        limits.check(
            self,
            ("elites", lambda x: x <= most, f"be at most population, {most}"),
            ("propagation", lambda x: x in PROPAGATIONS, f"be one of {PROPAGATIONS}"),
            ("sample", lambda on: not (on and averaged), "be False with 'mean', which averages it"),
            at_least_1="horizon population iterations elites",
            fraction="keep smooth mutate gamma",
        )


class Imagined(NamedTuple):
    """What plans led to in the model."""

    returns: Tensor  # (N, P) sum of imagined rewards, mean over members
    doubts: Tensor  # (N, P) sum of disagreements along the way


def elite_update(
    plans: Tensor, scores: Tensor, mean: Tensor, std: Tensor, elites: int, keep: float
) -> tuple[Tensor, Tensor]:
    """One CEM update: where to draw the next plans, ``mean`` and ``std`` (N, H, A).

    ``plans`` (N, P, H, A), ``scores`` (N, P), higher is better. The ``elites`` best plans of each
    environment give a mean and a standard deviation (of the elites themselves: divide by their
    number). A share ``keep`` of the old ones stays. With one-hot actions the mean is how often the
    elites chose each, so it is a table of probabilities.
    """
    best = scores.topk(elites, dim=1).indices
    chosen = plans.gather(1, best[:, :, None, None].expand(-1, -1, *plans.shape[2:]))
    new_mean, new_std = chosen.mean(1), chosen.std(1, correction=0)
    return keep * mean + (1 - keep) * new_mean, keep * std + (1 - keep) * new_std


@torch.no_grad()
def imagine(
    model: Dynamics,
    task: Task,
    obs: Tensor,
    plans: Tensor,
    config: Config,
    generator: torch.Generator | None = None,
) -> Imagined:
    """Follow ``plans`` (N, P, H, A) from ``obs`` (N, D) in the model and add up the rewards.

    Every plan is followed by one particle per member. With "mean" all of them go on from the
    members' mean, so ``doubts`` sums what they disagree about in each single step. With "tsinf"
    every member goes its own way, and doubt about one step grows over the next ones. "ts1" deals
    the members anew at every step. With ``config.sample`` each particle draws its next state from
    its member's Gaussian; doubts stay those of the means. Both take the ``generator``.
    """
    members, (envs, number, horizon, _) = model.config.members, plans.shape
    states = obs.repeat_interleave(number, 0).expand(members, -1, -1)  # (E, N * P, D)
    alive = states.new_ones(members, envs * number)
    returns, doubts = torch.zeros_like(alive), states.new_zeros(envs * number)
    for k in range(horizon):
        actions = plans[:, :, k].flatten(0, 1).expand(members, -1, -1)
        predicted = model.predict(states, actions, with_std=config.sample)
        next_states = predicted.next_obs
        doubts += alive.mean(0) * config.gamma**k * disagreement(next_states, model.step_size)
        if config.sample:
            noise = torch.randn(next_states.shape, generator=generator)
            next_states = next_states + predicted.std * noise
        if config.propagation == "mean":
            next_states = next_states.mean(0, keepdim=True).expand_as(next_states)
        elif config.propagation == "ts1":
            order = torch.rand(next_states.shape[:2], generator=generator).argsort(0)
            next_states = next_states.gather(0, order[:, :, None].expand_as(next_states))
        rewards = predicted.rewards
        if task.reward is not None:
            rewards = task.reward(states, actions, next_states)
        returns += config.gamma**k * alive * rewards
        if task.ended is not None:
            alive = alive * ~task.ended(next_states)
        states = next_states
    return Imagined(returns.mean(0).view(envs, number), doubts.view(envs, number))


class Planner:
    """MPC for ``num_envs`` environments at once; call it with observations, get actions.

    It remembers its plan between calls, so use a new one for every evaluation. After a reset the
    remembered plan belongs to the old episode: a poor place to begin, from which CEM recovers.
    """

    def __init__(self, model: Dynamics, task: Task, config: Config, num_envs: int, seed: int = 0):
        if task.reward is None and not model.config.learn_reward:
            raise ValueError("this task has no reward function, so the model must learn_reward")
        self.model, self.task, self.config = model, task, config
        self.generator = randomness.generator(seed)
        size = task.num_actions or task.action_size
        self.empty = 1 / size if task.num_actions else 0.0  # what a step without a plan looks like
        self.mean = torch.full((num_envs, config.horizon, size), self.empty)
        self.best: Tensor | None = None  # (N, H, A) the plan that is being followed
        self.promised = torch.zeros(num_envs)  # imagined return of that plan, doubts not taken off

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Actions for ``Envs.step`` at ``obs`` (N, D): (N,) numbers, or (N, A) vectors."""
        plan = self.plan(torch.as_tensor(obs, dtype=torch.float32))
        if self.task.num_actions is not None:
            return plan[:, 0].argmax(-1).numpy()
        return plan[:, 0].numpy()

    def plan(self, obs: Tensor) -> Tensor:
        """Search from ``obs`` (N, D) and return the best plans found, (N, H, A)."""
        config = self.config
        mean = _later(self.mean, torch.full_like(self.mean[:, :1], self.empty))
        best = None if self.best is None else _later(self.best, self.best[:, -1:])
        std = torch.full_like(mean, config.spread * self.task.limit)
        rows = torch.arange(len(obs))
        for _ in range(config.iterations):
            plans = self._draw(mean, std)
            if best is not None:  # the best so far competes again: nothing good is lost
                plans[:, 0] = best
            imagined = imagine(self.model, self.task, obs, plans, config, self.generator)
            scores = imagined.returns - config.pessimism * imagined.doubts
            top = scores.argmax(1)
            best, self.promised = plans[rows, top], imagined.returns[rows, top]
            mean, std = elite_update(plans, scores, mean, std, config.elites, config.keep)
        self.mean, self.best = mean, best
        return best

    def _draw(self, mean: Tensor, std: Tensor) -> Tensor:
        """``P`` plans per environment around ``mean`` and ``std`` (N, H, A)."""
        envs, horizon, size = mean.shape
        shape = (envs, self.config.population, horizon, size)
        if self.task.num_actions is not None:
            mixed = (1 - self.config.mutate) * mean + self.config.mutate / size
            chances = mixed[:, None].expand(shape).reshape(-1, size)
            drawn = torch.multinomial(chances, 1, generator=self.generator)
            return F.one_hot(drawn.view(shape[:-1]), size).float()
        noise = torch.randn(shape, generator=self.generator)
        rest = (1 - self.config.smooth**2) ** 0.5
        for k in range(1, horizon if self.config.smooth else 0):
            noise[:, :, k] = self.config.smooth * noise[:, :, k - 1] + rest * noise[:, :, k]
        plans = mean[:, None] + std[:, None] * noise
        return plans.clamp(-self.task.limit, self.task.limit).float()


def _later(plan: Tensor, last: Tensor) -> Tensor:
    """A plan (N, H, A) one step later: without its first action, with ``last`` (N, 1, A)."""
    return torch.cat([plan[:, 1:], last], 1)
