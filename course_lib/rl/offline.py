"""Offline reinforcement learning: a policy out of somebody else's play, without a step of your own.

Three learners of one ``dataset.Dataset``, in the order of what they dare. *Cloning* imitates: its
loss is the cross entropy of a classifier. *CQL* is ``dqn`` on recorded transitions with a brake on
actions that the record does not show (Kumar et al., arXiv 2006.04779, equation 4); with ``alpha`` 0
the brake is off and it is plain offline Double DQN. *IQL* never asks for the value of an action
outside the record at all (Kostrikov et al., arXiv 2110.06169, equations 5 to 7).

**What goes wrong offline.** A target takes the best of the next observation's values. The network
was trained on few of these actions and guesses the others; whichever it guesses too high is taken.
Online the agent would try that action and be corrected. Here nobody tries it, and the error is
passed on to all observations before.

Left out: CQL's Lagrange multiplier, which needs a gap to aim at, and its form for continuous
actions; BCQ and TD3+BC, which keep to the record by other means. ``B`` rows, ``A`` actions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from course_lib import limits
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.dataset import Dataset
from course_lib.rl.dqn import DQN, double_dqn_target, dqn_loss, td_target
from course_lib.rl.networks import QNetwork, seeded
from course_lib.rl.replay import Batch

Records = Iterator[dict[str, float]]  # metrics, one dictionary per gradient step


@dataclass(frozen=True)
class Config:
    """Settings of one run. Each learner reads those that it needs."""

    steps: int = 1_500  # gradient steps: 500 on a chapter of a game to 1e6 on benchmarks
    batch_size: int = 128  # rows per gradient step: 32 to 512
    learning_rate: float = 1e-3  # AdamW's, falls in a line to 5 % of it: 1e-4 to 3e-3
    weight_decay: float = 0.01  # AdamW's: 0 to 0.1
    gamma: float = 0.97  # discount per step: 0.9 to 0.999
    hidden: tuple[int, ...] = (128,)  # dense layers of IQL's networks
    tau: float = 0.1  # how far each step takes the target networks: 0.1 in short runs to 0.005
    alpha: float = 1.0  # CQL: weight of the brake; 0 (off) to 10
    expectile: float = 0.9  # IQL: 0.5 values the record's mean action, towards 1 its best one
    temperature: float = 0.3  # IQL: advantage that makes an action e times as heavy; 0.1 to 10
    max_weight: float = 20.0  # IQL: no row weighs more; 10 to 100
    max_grad_norm: float = 10.0  # each network's longer gradients are shortened to this

    def __post_init__(self) -> None:
        limits.check(
            self,
            ("hidden", lambda x: len(x) > 0 and min(x) > 0, "name at least one layer size"),
            ("expectile", lambda x: 0 < x < 1, "lie between 0 and 1"),
            at_least_1="steps batch_size",
            above_0="learning_rate temperature max_weight max_grad_norm",
            not_negative="weight_decay alpha",
            fraction="gamma",
            share="tau",
        )


def conservative_loss(
    q: Tensor, actions: Tensor, targets: Tensor, alpha: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """``dqn_loss`` plus ``alpha`` times how far all values stand above the recorded action's.

    ``q`` (B, A), ``actions`` (B,) integers, ``targets`` (B,). The gap logsumexp(q) - q[action]
    pushes every value down by its softmax and the recorded one up by 1: the cross entropy of a
    policy softmax(q). Kumar et al. (2020), equation 4, with the Huber loss for the squared error.
    Metrics: "loss", "q" of the recorded actions, "gap".
    """
    loss, metrics = dqn_loss(q, actions, targets)
    taken = q.gather(1, actions[:, None]).squeeze(1)
    gap = (q.logsumexp(dim=1) - taken).mean()
    loss = loss + alpha * gap
    return loss, {**metrics, "loss": loss.detach(), "gap": gap.detach()}


def expectile_loss(
    values: Tensor, targets: Tensor, expectile: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Squared error in which a target above the value weighs ``expectile``, one below it the rest.

    ``values`` and ``targets`` (B,): mean of |expectile - 1(target < value)| (target - value)^2.
    At 0.5 it is half the mean squared error, and the value the mean of its targets. Near 1 the
    value comes close to the largest target *that occurs*: a maximum over recorded actions, without
    asking for any other. Kostrikov et al. (2021), equation 5. Metrics: "loss", "value".
    """
    _check_alike("targets", targets, values)
    error = targets - values
    weight = (expectile - (error < 0).float()).abs()
    loss = (weight * error**2).mean()
    return loss, {"loss": loss.detach(), "value": values.detach().mean()}


def weighted_cloning_loss(
    logp: Tensor, advantages: Tensor, temperature: float, max_weight: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross entropy in which a row weighs exp(advantage / temperature), at most ``max_weight``.

    ``logp`` and ``advantages`` (B,) of the recorded actions. The weights are data: no gradient
    flows through them. A large temperature weighs all rows alike and clones. Kostrikov et al.
    (2021), equation 7, with 1 / temperature for its beta. Metrics: "loss", "weight" (their mean).
    """
    _check_alike("advantages", advantages, logp)
    weights = (advantages.detach() / temperature).exp().clamp(max=max_weight)
    loss = -(weights * logp).mean()
    return loss, {"loss": loss.detach(), "weight": weights.mean()}


def train_cloning(agent: Agent, data: Dataset, config: Config, seed: int = 0) -> Records:
    """Train the policy of ``agent`` in place to act as ``data`` does; its value learns nothing.

    ``seed`` draws the rows. Metrics: "steps", "loss" (nats per action), "accuracy" (share of
    recorded actions that the policy finds the most probable).
    """
    optimizer = _optimizer(agent.network, config)
    rng = np.random.default_rng((seed, 1))
    for step in range(1, config.steps + 1):
        rows = rng.integers(len(data), size=config.batch_size)
        actions = torch.from_numpy(data.actions[rows]).to(agent.device)
        policy = agent.network.policy(agent.read(data.obs(rows).numpy()))
        loss = -policy.logp(actions).mean()
        _descend(optimizer, loss, [agent.network], step, config)
        accuracy = (policy.mode() == actions).float().mean()
        yield {"steps": float(step), "loss": loss.item(), "accuracy": accuracy.item()}


def train_cql(agent: DQN, data: Dataset, config: Config, seed: int = 0) -> Records:
    """Train ``agent`` in place by conservative Q-learning; ``alpha`` 0 is offline Double DQN.

    ``seed`` draws the rows. Metrics: "steps", "loss", "q" (mean value of the recorded actions, in
    units of reward), "gap" (see ``conservative_loss``).
    """
    optimizer = _optimizer(agent.online, config)
    for step, batch in _batches(data, config, seed, agent.device, agent.reward_scale):
        with torch.no_grad():
            next_q = agent.online(batch.next_obs), agent.target(batch.next_obs)
            targets = double_dqn_target(batch.rewards, batch.terminated, *next_q, batch.discounts)
        q = agent.online(batch.obs)
        loss, metrics = conservative_loss(q, batch.actions, targets, config.alpha)
        _descend(optimizer, loss, [agent.online], step, config)
        _follow(agent.target, agent.online, config.tau)
        metrics = {**metrics, "q": metrics["q"] / agent.reward_scale}
        yield {"steps": float(step)} | {name: float(x) for name, x in metrics.items()}


class IQL:
    """What implicit Q-learning trains: ``agent`` (a policy and a value) and two critics.

    ``data`` tells the shapes only. Of the critics' slower copies, ``targets``, the smaller value
    counts, as in TD3: one network's lucky guess is not believed.
    """

    def __init__(self, data: Dataset, config: Config, seed: int = 0, device: str = "cpu"):
        shape = AgentConfig(hidden=config.hidden, activation="relu")  # policy and value apart
        self.agent = Agent(data, shape, seed, device)

        def build() -> nn.ModuleList:
            sizes = data.obs_shape, data.num_actions, config.hidden
            return nn.ModuleList(QNetwork(*sizes) for _ in range(2))

        self.critics = seeded(seed, build).to(device)
        self.targets = seeded(seed, build).to(device).requires_grad_(False)

    def value(self, obs: Tensor) -> Tensor:
        """V(s) of observations (B, *obs_shape), (B,)."""
        return self.agent.network.value(obs)

    @torch.no_grad()
    def q(self, obs: Tensor, actions: Tensor) -> Tensor:
        """The smaller of the two target critics' values of ``actions`` (B,), (B,)."""
        both = torch.stack([critic(obs) for critic in self.targets])
        return both.min(dim=0).values.gather(1, actions[:, None]).squeeze(1)


def train_iql(learner: IQL, data: Dataset, config: Config, seed: int = 0) -> Records:
    """Train ``learner`` in place; ``learner.agent`` acts.

    ``seed`` draws the rows. Metrics: "steps", "loss" (the policy's), "value_loss", "q_loss" (both
    critics together), "value" (mean V, in units of reward), "weight" (mean over the batch).
    """
    networks = nn.ModuleList([learner.agent.network, *learner.critics])
    optimizer = _optimizer(networks, config)
    for step, batch in _batches(data, config, seed, learner.agent.device):
        with torch.no_grad():  # equation 6: V stands where DQN has a maximum over actions
            beyond = learner.value(batch.next_obs)[:, None]
            targets = td_target(batch.rewards, batch.terminated, beyond, batch.discounts)
        taken = learner.q(batch.obs, batch.actions)
        policy, values = learner.agent.network(batch.obs)
        weighing = taken - values, config.temperature, config.max_weight
        loss, metrics = weighted_cloning_loss(policy.logp(batch.actions), *weighing)
        value_loss, value_metrics = expectile_loss(values, taken, config.expectile)
        q_loss = sum(dqn_loss(q(batch.obs), batch.actions, targets)[0] for q in learner.critics)
        # Their sum serves each alone: no weight is part of two of the losses.
        _descend(optimizer, loss + value_loss + q_loss, networks, step, config)
        _follow(learner.targets, learner.critics, config.tau)
        losses = {"value_loss": value_loss.detach(), "q_loss": q_loss.detach()}
        numbers = {**value_metrics, **metrics, **losses}
        yield {"steps": float(step)} | {name: float(x) for name, x in numbers.items()}


def _batches(
    data: Dataset, config: Config, seed: int, device: torch.device, reward_scale: float = 1.0
) -> Iterator[tuple[int, Batch]]:
    """Numbered batches of random transitions, those without a known successor left out."""
    # A truncated episode would have gone on, but the observation that came next was not kept.
    known = np.flatnonzero(data.terminated | ~data.truncated)
    if not len(known):
        raise ValueError("every row was truncated: no transition shows where its action led")
    columns = data.actions, data.rewards * np.float32(reward_scale), data.terminated
    actions, rewards, terminated = (torch.from_numpy(column).to(device) for column in columns)
    discounts = torch.full((config.batch_size,), config.gamma, device=device)
    rng = np.random.default_rng((seed, 1))
    for step in range(1, config.steps + 1):
        rows = rng.choice(known, size=config.batch_size)
        obs, next_obs = (data.obs(r).to(device) for r in (rows, data.successors(rows)))
        others = next_obs, terminated[rows].float(), discounts
        yield step, Batch(obs, actions[rows], rewards[rows], *others)


def _optimizer(network: nn.Module, config: Config) -> AdamW:
    decay = config.weight_decay
    return AdamW(network.parameters(), config.learning_rate, weight_decay=decay, fused=True)


def _descend(
    optimizer: AdamW, loss: Tensor, networks: Iterable[nn.Module], step: int, config: Config
) -> None:
    """One gradient step, each network's gradient clipped by itself; the rate falls to 5 %."""
    optimizer.param_groups[0]["lr"] = config.learning_rate * (1 - 0.95 * step / config.steps)
    optimizer.zero_grad()
    loss.backward()
    for network in networks:
        nn.utils.clip_grad_norm_(network.parameters(), config.max_grad_norm)
    optimizer.step()


def _check_alike(name: str, given: Tensor, other: Tensor) -> None:
    if given.shape != other.shape:  # (B,) against (B, 1) would broadcast to (B, B) unnoticed
        shapes = tuple(other.shape), tuple(given.shape)
        raise ValueError(f"{name} must have shape {shapes[0]}, one per row, got {shapes[1]}")


@torch.no_grad()
def _follow(slow: nn.Module, fast: nn.Module, tau: float) -> None:
    for behind, ahead in zip(slow.parameters(), fast.parameters(), strict=True):
        behind.lerp_(ahead, tau)
