"""Proximal policy optimisation, for numbered and for continuous actions.

Schulman et al., arXiv 1707.06347: the clipped objective is equation 7. The details that make it
work are those of Huang et al., "The 37 implementation details of PPO" (ICLR blog track, 2022);
each is a field of ``Config`` or a comment at its line. Left out: the KL penalty (equation 8),
recurrent policies, several learners.

``train`` reads top to bottom: collect a rollout, estimate advantages, then several epochs of
minibatch steps on the clipped loss. ``ppo_loss`` and its parts (``losses``) are functions of
tensors of any shape. They know neither network nor environment, so language models use them too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib import limits, randomness
from course_lib.rl import returns
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import Envs
from course_lib.rl.losses import masked_mean, policy_loss, value_loss, whiten
from course_lib.rl.normalize import RewardScaler
from course_lib.rl.rollout import Collector, Rollout


@dataclass(frozen=True)
class Config:
    """Settings of one run. The recipes below work; ``num_envs`` says for how many environments."""

    total_steps: int = 100_000  # environment steps, all environments together
    num_envs: int = 16  # the recipe expects so many: 1 to 256
    rollout_length: int = 128  # steps per environment between updates: 16 to 2048
    epochs: int = 4  # passes over each rollout: 3 to 20
    minibatch_size: int = 256  # rows per gradient step: 32 to 4096
    gamma: float = 0.99  # discount per step: 0.9 to 0.999
    lam: float = 0.95  # GAE: 0 trusts the values, 1 the rewards; 0.8 to 0.98
    clip: float = 0.2  # how far a probability ratio may move and still be rewarded: 0.1 to 0.3
    learning_rate: float = 3e-4  # Adam's: 1e-4 to 3e-3
    anneal: bool = True  # the learning rate falls in a line to 0
    value_coef: float = 0.5  # weight of the value loss: 0.25 to 1
    value_clip: float | None = None  # values may move so far per rollout; None: as far as they like
    entropy_coef: float = 0.0  # weight of the entropy bonus: 0 to 0.02
    max_grad_norm: float = 0.5  # longer gradients are shortened to this
    whiten: bool = True  # advantages of each minibatch to mean 0 and standard deviation 1
    target_kl: float | None = None  # stop the epochs when the policy has moved so far: 0.01 to 0.05
    scale_rewards: bool = False  # by the standard deviation of the discounted return
    agent: AgentConfig = field(default_factory=AgentConfig)

    def __post_init__(self) -> None:
        limits.check(
            self,
            at_least_1="total_steps num_envs rollout_length epochs minibatch_size",
            above_0="clip learning_rate max_grad_norm value_clip target_kl",
            not_negative="value_coef entropy_coef",
            fraction="gamma lam",
            optional="value_clip target_kl",
        )


CARTPOLE = Config(
    total_steps=300_000,
    num_envs=32,
    rollout_length=32,
    minibatch_size=256,
    clip=0.3,
    learning_rate=3e-3,
    scale_rewards=True,
    agent=AgentConfig(hidden=(32, 32), normalize_obs=True),
)

LUNARLANDER = Config(
    total_steps=600_000,
    rollout_length=256,
    gamma=0.999,
    learning_rate=1e-3,
    entropy_coef=0.01,
    scale_rewards=True,
    agent=AgentConfig(normalize_obs=True),
)
# Many small gradient steps and two dense layers: on single seeds, fewer ended lower.
BREAKOUT = Config(
    total_steps=300_000,
    num_envs=32,
    rollout_length=32,
    minibatch_size=64,
    learning_rate=1e-3,
    entropy_coef=0.01,
    agent=AgentConfig(hidden=(128, 128), shared=True, activation="relu"),
)


def ppo_loss(
    logp: Tensor,
    old_logp: Tensor,
    advantages: Tensor,
    values: Tensor,
    old_values: Tensor,
    targets: Tensor,
    entropy: Tensor,
    config: Config,
    mask: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """PPO's whole loss, a number, and its metrics (arXiv 1707.06347, equation 9, sign turned).

    All tensors have one shape (...): (B,) rows of a minibatch, or (B, T) tokens; what is "old" was
    computed when the actions were chosen. ``mask`` (...) is 1 where a row counts. Rows left out
    change neither loss nor metrics. Of ``config`` count the clips and the weights of the parts.
    """
    policy, moved = policy_loss(logp, old_logp, advantages, config.clip, mask)
    value = masked_mean(value_loss(values, targets, old_values, config.value_clip), mask)
    mean_entropy = masked_mean(entropy, mask)
    loss = policy + config.value_coef * value - config.entropy_coef * mean_entropy
    return loss, {"value_loss": value.detach(), "entropy": mean_entropy.detach(), **moved}


class Run:
    """All that a training run knows besides its agent and environments, between two updates.

    Give one to ``train`` to go on where it stopped; ``checkpoint`` writes and reads it.
    """

    def __init__(self, agent: Agent, envs: Envs, config: Config, seed: int = 0):
        self.steps = 0  # environment steps so far
        # eps 1e-5 instead of 1e-8 keeps steps small where gradients have all but vanished.
        self.optimizer = torch.optim.Adam(
            agent.network.parameters(), config.learning_rate, eps=1e-5, fused=True
        )
        self.generator = randomness.generator(seed, device=agent.device)
        scaler = RewardScaler(envs.num_envs, config.gamma) if config.scale_rewards else None
        self.collector = Collector(envs, scaler)


def train(
    agent: Agent, envs: Envs, config: Config, seed: int = 0, *, run: Run | None = None
) -> Iterator[dict[str, float]]:
    """Train ``agent`` in place; yield a dictionary of metrics after each rollout's update.

    ``seed`` drives sampling and shuffling; agent and environments have their own. With ``run``
    training goes on from there.
    Metrics: ``steps`` of all environments so far, ``return`` (mean over the last 100 episodes,
    nan before the first ends), ``policy_loss``, ``value_loss``, ``entropy``, ``kl``, ``clipped``
    (share of ratios beyond the clip), ``explained`` (share of the targets' variance that the
    values had predicted; 1 is perfect).
    """
    run = run or Run(agent, envs, config, seed)
    while run.steps < config.total_steps:
        if config.anneal:
            rate = config.learning_rate * (1 - run.steps / config.total_steps)
            run.optimizer.param_groups[0]["lr"] = rate
        rollout = run.collector.collect(agent, config.rollout_length, run.generator)
        advantages = returns.gae(
            rollout.rewards,
            rollout.values,
            rollout.next_values,
            rollout.terminated,
            rollout.truncated,
            config.gamma,
            config.lam,
        )
        metrics = update(agent, run, flatten(rollout, advantages), config)
        run.steps += config.rollout_length * envs.num_envs
        yield {"steps": float(run.steps), "return": run.collector.episodes.mean, **metrics}


class Batch(NamedTuple):
    """The valid rows of a rollout, side by side. ``B`` of them."""

    obs: Tensor  # (B, *obs_shape)
    actions: Tensor  # (B,) or (B, D)
    logp: Tensor  # (B,) when the action was chosen
    values: Tensor  # (B,) at that time
    advantages: Tensor  # (B,)
    targets: Tensor  # (B,) what the values should have been


def flatten(rollout: Rollout, advantages: Tensor) -> Batch:
    """Lay all rows of (T, N) but the resets side by side, with their ``advantages`` (T, N)."""
    columns = (rollout.obs, rollout.actions, rollout.logp, rollout.values, advantages)
    rows = [column[rollout.valid] for column in columns]
    return Batch(*rows, targets=rows[-1] + rows[-2])


def update(agent: Agent, run: Run, batch: Batch, config: Config) -> dict[str, float]:
    """Several epochs on ``batch``, and the mean of their metrics."""
    rows: list[dict[str, Tensor]] = []
    for _ in range(config.epochs):
        rows += _epoch(agent, run, batch, config)
        if config.target_kl is not None and rows[-1]["kl"] > config.target_kl:
            break
    metrics = {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}
    unexplained = batch.advantages.var() / batch.targets.var().clamp(min=1e-12)
    return metrics | {"explained": float(1 - unexplained)}


def _epoch(agent: Agent, run: Run, batch: Batch, config: Config) -> Iterator[dict[str, Tensor]]:
    """One pass over the batch in an order drawn anew, a gradient step per minibatch."""
    order = torch.randperm(len(batch.obs), generator=run.generator, device=agent.device)
    for index in order.tensor_split(max(1, round(len(order) / config.minibatch_size))):
        obs, actions, old_logp, old_values, advantages, targets = (x[index] for x in batch)
        if config.whiten:
            advantages = whiten(advantages)
        policy, values = agent.network(obs)
        logp, entropy = policy.logp(actions), policy.entropy()
        loss, metrics = ppo_loss(
            logp, old_logp, advantages, values, old_values, targets, entropy, config
        )
        run.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.network.parameters(), config.max_grad_norm)
        run.optimizer.step()
        yield metrics
