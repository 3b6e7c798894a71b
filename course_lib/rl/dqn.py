"""Deep Q-network: Q-learning with a network in place of the table.

Mnih et al., "Human-level control through deep reinforcement learning" (Nature, 2015), with
Double DQN (van Hasselt et al., arXiv 1509.06461), n-step targets (Hessel et al., 1710.02298)
and the dueling network (Wang et al., 1511.06581) as options. Left out: prioritised replay,
noisy networks and distributions of returns.

``train`` reads top to bottom: act, store, sample, regress on the target, move the target.

**The recipe for CartPole.** With gamma 0.99 the values grow to 100, while the choice between two
actions hangs on differences of about 1. ``benchmarks/dqn/dqn_cartpole.py`` trains 20 seeds: 19 were
solved, the 20th ended at 457. Then it leaves out one setting at a time, on ten of these seeds, of
which the recipe solves nine:

- *Rewards times 0.01* bring the values from 100 to 1, much nearer the 0 where a fresh network
  starts and within the range where the Huber loss is a square. Without it two seeds were solved,
  and on six the values ran away, to between 3,500 and 280,000.
- *Enough gradient steps*: one per four environment steps here. With one per 32: six.
- *Observations divided by their usual size*: five without.
- A target ten times slower or one-step targets: nine; no Double DQN: ten. Here they are options.
  One-step targets leave the values a quarter too high.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import limits
from course_lib.rl.envs import Envs
from course_lib.rl.episodes import EpisodeReturns
from course_lib.rl.networks import QNetwork, seeded
from course_lib.rl.replay import Batch, Replay


@dataclass(frozen=True)
class Config:
    """Settings of one run. ``CARTPOLE`` and ``BREAKOUT`` are recipes that work."""

    total_steps: int = 30_000  # environment steps, all environments together
    gamma: float = 0.99  # discount: 0.9 (short-sighted) to 0.999
    n_step: int = 3  # rewards summed before bootstrapping: 1 to 5
    double: bool = True  # Double DQN: one network chooses the next action, the other values it
    dueling: bool = False  # split Q into a state value and advantages
    hidden: tuple[int, ...] = (128, 128)  # sizes of the dense layers
    obs_scale: tuple[float, ...] | None = None  # usual size of each observed number, if known
    reward_scale: float = 1.0  # multiplies rewards, so that values stay near 1: 0.01 to 1
    learning_rate: float = 1e-3  # Adam's, falls in a line to 0: 1e-4 to 3e-3
    batch_size: int = 128  # transitions per gradient step: 32 to 512
    train_every: int = 64  # environment steps between bursts of gradient steps
    gradient_steps: int = 16  # gradient steps per burst
    replay_capacity: int = 50_000  # transitions kept: 1e4 to 1e6
    learning_starts: int = 1_000  # environment steps before the first gradient step
    target_period: int = 1  # gradient steps between two moves of the target network: 1 to 1e4
    target_tau: float = 0.1  # how far each move takes it; 1 copies the online network
    epsilon_start: float = 1.0  # chance of a random action at first
    epsilon_end: float = 0.05  # and after the decay: 0.01 to 0.1
    epsilon_fraction: float = 0.2  # share of total_steps that the decay takes
    max_grad_norm: float = 10.0  # longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("hidden", lambda x: len(x) > 0 and min(x) > 0, "name at least one layer size"),
            fraction="gamma epsilon_start epsilon_end",
            share="target_tau epsilon_fraction",
            above_0="reward_scale learning_rate max_grad_norm",
            at_least_1="total_steps n_step batch_size train_every gradient_steps "
            "replay_capacity target_period",
        )


CARTPOLE = Config(
    total_steps=50_000,
    obs_scale=(2.4, 2.0, 0.2, 2.0),
    reward_scale=0.01,
    epsilon_fraction=0.12,
)
BREAKOUT = Config(
    total_steps=150_000,
    hidden=(128,),
    batch_size=32,
    train_every=32,
    gradient_steps=4,
    replay_capacity=100_000,
    target_tau=0.01,
    epsilon_end=0.02,
    epsilon_fraction=0.3,
)


def epsilon_schedule(step: int, start: float, end: float, decay_steps: float) -> float:
    """Chance of a random action: from ``start`` to ``end`` in a line over ``decay_steps``."""
    return start + (end - start) * min(step / decay_steps, 1.0)


def td_target(rewards: Tensor, terminated: Tensor, next_q: Tensor, gamma: float | Tensor) -> Tensor:
    """What Q(s, a) should be: ``r + gamma (1 - terminated) max_a' Q(s', a')``, shape (B,).

    ``rewards`` (B,); ``terminated`` (B,) float, 1 where the task ended (a truncation is 0: the
    future was cut off from sight, not from worth); ``next_q`` (B, A) values of the next
    observation under the target network; ``gamma`` a number, or (B,) where transitions span
    several steps: gamma ** steps. Mnih et al. (2015), algorithm 1.
    """
    return rewards + gamma * (1 - terminated) * next_q.max(dim=1).values


def double_dqn_target(
    rewards: Tensor,
    terminated: Tensor,
    next_q_online: Tensor,
    next_q_target: Tensor,
    gamma: float | Tensor,
) -> Tensor:
    """The online network chooses the next action, the target network values it. Shape (B,).

    A maximum over noisy values is too high on average. Noise in choosing and noise in valuing are
    less alike here, so the bias can be smaller. It is ``td_target`` with one action to choose from.
    Shapes as there; van Hasselt et al. (2015), equation 4.
    """
    best = next_q_online.argmax(dim=1, keepdim=True)
    return td_target(rewards, terminated, next_q_target.gather(1, best), gamma)


def dqn_loss(q: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Huber loss between the values of the actions taken and their targets.

    ``q`` (B, A), ``actions`` (B,) integers, ``targets`` (B,). The Huber loss is squared error up
    to 1 and absolute error beyond, so that one surprising transition cannot take over a batch.
    """
    taken = q.gather(1, actions[:, None]).squeeze(1)
    if taken.shape != targets.shape:  # (B,) against (B, 1) would broadcast to (B, B) unnoticed
        raise ValueError(
            f"targets must have shape {tuple(taken.shape)}, one per transition, "
            f"got {tuple(targets.shape)}"
        )
    loss = F.smooth_l1_loss(taken, targets)
    return loss, {"loss": loss.detach(), "q": taken.detach().mean()}


class DQN:
    """An agent: the online network, which learns, and its slower copy, which sets targets."""

    def __init__(
        self,
        obs_shape: Sequence[int],
        num_actions: int,
        config: Config,
        seed: int = 0,
        device: str = "cpu",
    ):
        def build() -> QNetwork:
            return QNetwork(
                obs_shape, num_actions, config.hidden, config.obs_scale, dueling=config.dueling
            )

        self.num_actions = num_actions
        self.reward_scale = config.reward_scale
        self.device = torch.device(device)
        self.online = seeded(seed, build).to(self.device)
        self.target = seeded(seed, build).to(self.device).requires_grad_(False)

    @torch.no_grad()
    def q_values(self, obs: np.ndarray) -> np.ndarray:
        """Values of all actions, (N, A), in units of reward, at (N, *obs_shape) observations."""
        q = self.online(torch.as_tensor(obs, device=self.device))
        return q.cpu().numpy() / self.reward_scale

    def act(
        self, obs: np.ndarray, epsilon: float = 0.0, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Choose (N,) actions: the best ones, each replaced at random with chance ``epsilon``."""
        actions = self.q_values(obs).argmax(axis=1)
        if epsilon > 0:
            if rng is None:
                raise ValueError("exploring needs rng, a numpy random generator")
            explore = rng.random(len(actions)) < epsilon
            actions[explore] = rng.integers(self.num_actions, size=explore.sum())
        return actions

    def save(self, path: str | Path) -> None:
        """Write the online network's weights as safetensors."""
        save_file(self.online.state_dict(), path)

    def load(self, path: str | Path) -> None:
        """Read weights written by ``save`` into both networks."""
        weights = load_file(path)
        self.online.load_state_dict(weights)
        self.target.load_state_dict(weights)


def train(agent: DQN, envs: Envs, config: Config, seed: int = 0) -> Iterator[dict[str, float]]:
    """Train ``agent`` in place; yield a dictionary of metrics after each burst of gradient steps.

    ``seed`` drives exploration and sampling; agent and environments have their own.
    Metrics: ``steps`` of all environments so far, ``return`` (mean over the last 32 episodes, nan
    before the first ends), ``epsilon``, ``loss``, ``q`` (mean value of replayed actions, in units
    of reward).
    """
    # Seeded by `seed` alone it would be the very stream that the environments draw from.
    rng = np.random.default_rng((seed, 1))
    replay = Replay(config.replay_capacity, config.gamma, config.n_step)
    optimizer = torch.optim.Adam(agent.online.parameters(), config.learning_rate, fused=True)
    decay_steps = config.epsilon_fraction * config.total_steps
    episodes = EpisodeReturns(envs.num_envs, keep=32)
    updates, since_burst = 0, 0
    obs = envs.reset()
    for steps in range(envs.num_envs, config.total_steps + 1, envs.num_envs):
        epsilon = epsilon_schedule(steps, config.epsilon_start, config.epsilon_end, decay_steps)
        actions = agent.act(obs, epsilon, rng)
        step = envs.step(actions)
        replay.add(obs, actions, step._replace(rewards=step.rewards * config.reward_scale))
        episodes.add(step.rewards, step.terminated | step.truncated)
        obs = step.obs

        since_burst += envs.num_envs
        if steps < config.learning_starts or since_burst < config.train_every or not len(replay):
            continue
        since_burst = 0
        # A learning rate that ends at 0 lets the last policies settle.
        optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - steps / config.total_steps)
        for _ in range(config.gradient_steps):
            batch = replay.sample(config.batch_size, rng, agent.device)
            targets = _targets(agent, batch, config.double)
            metrics = _gradient_step(agent, optimizer, batch, targets, config.max_grad_norm)
            updates += 1
            if updates % config.target_period == 0:
                _move_target(agent, config.target_tau)
        yield {
            "steps": float(steps),
            "return": episodes.mean,
            "epsilon": float(epsilon),
            "loss": float(metrics["loss"]),
            "q": float(metrics["q"]) / config.reward_scale,
        }


@torch.no_grad()  # a target is data here, not a prediction: no gradient flows through it
def _targets(agent: DQN, batch: Batch, double: bool) -> Tensor:
    next_q = agent.target(batch.next_obs)
    if not double:
        return td_target(batch.rewards, batch.terminated, next_q, batch.discounts)
    online = agent.online(batch.next_obs)
    return double_dqn_target(batch.rewards, batch.terminated, online, next_q, batch.discounts)


def _gradient_step(
    agent: DQN, optimizer: torch.optim.Optimizer, batch: Batch, targets: Tensor, max_norm: float
) -> dict[str, Tensor]:
    loss, metrics = dqn_loss(agent.online(batch.obs), batch.actions, targets)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.online.parameters(), max_norm)
    optimizer.step()
    return metrics


@torch.no_grad()
def _move_target(agent: DQN, tau: float) -> None:
    for slow, fast in zip(agent.target.parameters(), agent.online.parameters(), strict=True):
        slow.lerp_(fast, tau)
