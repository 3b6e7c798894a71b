"""Deep Q-network."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.rl.envs import Envs
from course_lib.rl.networks import QNetwork, seeded
from course_lib.rl.replay import Batch, Replay, ring_indices


@dataclass(frozen=True)
class Config:
    """Settings of one run; the defaults solve CartPole-v1."""

    total_steps: int = 50_000  # environment steps, all environments together
    gamma: float = 0.99  # discount: 0.9 (short-sighted) to 0.999
    n_step: int = 3  # rewards summed before bootstrapping: 1 to 5
    double: bool = True  # Double DQN: choose with one network, value with the other
    dueling: bool = False  # split Q into a state value and advantages
    hidden: tuple[int, ...] = (128, 128)  # sizes of the dense layers
    learning_rate: float = 1e-3  # Adam's, falls linearly to 0: 1e-4 to 3e-3
    batch_size: int = 128  # transitions per gradient step: 32 to 512
    train_every: int = 64  # environment steps between bursts of gradient steps
    gradient_steps: int = 8  # gradient steps per burst
    replay_capacity: int = 50_000  # transitions kept: 1e4 to 1e6
    learning_starts: int = 1_000  # environment steps before the first gradient step
    target_period: int = 1  # gradient steps between updates of the target network
    target_tau: float = 0.01  # how far each update moves it: 1 is a copy
    epsilon_start: float = 1.0  # chance of a random action at first
    epsilon_end: float = 0.05  # and after the decay
    epsilon_fraction: float = 0.2  # share of total_steps that the decay takes
    max_grad_norm: float = 10.0  # gradients longer than this are shortened


def epsilon_schedule(step: int, start: float, end: float, decay_steps: int) -> float:
    """Go from ``start`` to ``end`` in a straight line over ``decay_steps``, then stay."""
    return start + (end - start) * min(step / decay_steps, 1.0)


def td_target(rewards: Tensor, terminated: Tensor, next_q: Tensor, gamma: float | Tensor) -> Tensor:
    """``r + gamma (1 - terminated) max_a Q(s', a)``: (B,), (B,), (B, A) to (B,)."""
    return rewards + gamma * (1 - terminated) * next_q.max(dim=1).values


def double_dqn_target(
    rewards: Tensor,
    terminated: Tensor,
    next_q_online: Tensor,
    next_q_target: Tensor,
    gamma: float | Tensor,
) -> Tensor:
    """The online network chooses the next action, the target network says what it is worth."""
    best = next_q_online.argmax(dim=1, keepdim=True)
    return rewards + gamma * (1 - terminated) * next_q_target.gather(1, best).squeeze(1)


def dqn_loss(q: Tensor, actions: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Huber loss between the values of the actions taken, from (B, A), and (B,) targets."""
    taken = q.gather(1, actions[:, None]).squeeze(1)
    if taken.shape != targets.shape:
        raise ValueError(
            f"targets must have shape {tuple(taken.shape)}, got {tuple(targets.shape)}"
        )
    loss = F.smooth_l1_loss(taken, targets)
    return loss, {"loss": loss.detach(), "q": taken.detach().mean()}


class DQN:
    """An agent: the network that learns and the slower copy that its targets come from."""

    def __init__(self, obs_shape, num_actions: int, config: Config = Config(), seed: int = 0):
        def build() -> QNetwork:
            return QNetwork(obs_shape, num_actions, config.hidden, dueling=config.dueling)

        self.num_actions = num_actions
        self.online = seeded(seed, build)
        self.target = build().requires_grad_(False)
        self.target.load_state_dict(self.online.state_dict())

    @torch.no_grad()
    def q_values(self, obs: np.ndarray) -> np.ndarray:
        """(N, *obs_shape) observations to (N, A) values."""
        return self.online(torch.as_tensor(obs)).numpy()

    def act(
        self, obs: np.ndarray, epsilon: float = 0.0, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Choose (N,) actions: the best one, or with chance ``epsilon`` a random one."""
        actions = self.q_values(obs).argmax(axis=1)
        if epsilon > 0:
            explore = rng.random(len(actions)) < epsilon
            actions[explore] = rng.integers(self.num_actions, size=explore.sum())
        return actions


def train(
    agent: DQN,
    envs: Envs,
    config: Config = Config(),
    seed: int = 0,
    *,
    epsilon_schedule: Callable = epsilon_schedule,
    ring_indices: Callable = ring_indices,
    td_target: Callable = td_target,
    double_dqn_target: Callable = double_dqn_target,
) -> Iterator[dict[str, float]]:
    """Train ``agent`` in place; yields metrics once per burst of gradient steps."""
    rng = np.random.default_rng(seed)
    replay = Replay(config.replay_capacity, config.gamma, config.n_step, ring_indices)
    optimizer = torch.optim.Adam(agent.online.parameters(), config.learning_rate, fused=True)
    recent: deque[float] = deque(maxlen=32)
    running = np.zeros(envs.num_envs)
    obs, updates, since = envs.reset(), 0, 0

    def targets(batch: Batch) -> Tensor:
        with torch.no_grad():
            next_q = agent.target(batch.next_obs)
            if not config.double:
                return td_target(batch.rewards, batch.terminated, next_q, batch.discounts)
            online = agent.online(batch.next_obs)
            return double_dqn_target(
                batch.rewards, batch.terminated, online, next_q, batch.discounts
            )

    parameters = list(agent.online.parameters())
    slow = list(agent.target.parameters())
    for steps in range(envs.num_envs, config.total_steps + 1, envs.num_envs):
        epsilon = epsilon_schedule(
            steps,
            config.epsilon_start,
            config.epsilon_end,
            config.epsilon_fraction * config.total_steps,
        )
        actions = agent.act(obs, epsilon, rng)
        step = envs.step(actions)
        replay.add(obs, actions, step)
        obs = step.obs
        running += step.rewards
        ended = step.terminated | step.truncated
        if ended.any():
            recent.extend(running[ended])
            running[ended] = 0
        since += envs.num_envs
        if steps < config.learning_starts or since < config.train_every:
            continue
        since = 0
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - steps / config.total_steps)
        for _ in range(config.gradient_steps):
            batch = replay.sample(config.batch_size, rng)
            loss, metrics = dqn_loss(agent.online(batch.obs), batch.actions, targets(batch))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            optimizer.step()
            updates += 1
            if updates % config.target_period == 0:
                with torch.no_grad():
                    torch._foreach_lerp_(slow, parameters, config.target_tau)
        yield {
            "steps": float(steps),
            "return": float(np.mean(recent)) if recent else float("nan"),
            "epsilon": epsilon,
            **{name: float(value) for name, value in metrics.items()},
        }
