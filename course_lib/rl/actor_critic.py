"""Policy gradients: REINFORCE, REINFORCE with a baseline, and advantage actor-critic (A2C).

REINFORCE: Williams, "Simple statistical gradient-following algorithms for connectionist
reinforcement learning" (Machine Learning 8, 1992). A2C: Mnih et al., arXiv 1602.01783, with all
learners in step, and advantages by GAE (arXiv 1506.02438). All three make the actions that went
well more probable; they differ in what "well" is compared with. Left out: asynchronous learners,
shortened gradients (Adam sets the length of a step; one limit for policy and values would let bad
values slow the policy), and the factor gamma^t of a discounted return's exact gradient.

``reinforce`` and ``a2c`` read top to bottom: play, say how good each action was, take one gradient
step. Experience is used once: its gradient belongs to the policy that played it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from course_lib import limits, randomness
from course_lib.rl import returns
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.distributions import Categorical
from course_lib.rl.envs import Envs
from course_lib.rl.episodes import EpisodeReturns
from course_lib.rl.losses import masked_mean, value_loss
from course_lib.rl.rollout import Collector, Rollout


@dataclass(frozen=True)
class Config:
    """Settings of one run. The recipes below work; ``num_envs`` says for how many environments."""

    total_steps: int = 150_000  # environment steps, all environments together
    num_envs: int = 16  # the recipe expects so many: 1 to 64
    baseline: str = "none"  # of REINFORCE: "none", "leave one out" or "value"
    rollout_length: int = 16  # of A2C: steps per environment between updates: 5 to 64
    lam: float = 0.95  # of A2C: 0 trusts the values, 1 the rewards
    gamma: float = 0.99  # discount per step: 0.9 to 0.999
    learning_rate: float = 5e-3  # Adam's at first, falls in a line to 0: 1e-4 to 1e-2
    value_coef: float = 0.5  # weight of the value loss: 0.25 to 1
    value_steps: int = 1  # gradient steps of the values per step of the policy: 1 to 80
    entropy_coef: float = 0.0  # weight of the entropy bonus: 0 to 0.02
    agent: AgentConfig = field(default_factory=AgentConfig)

    def __post_init__(self) -> None:
        baselines = ("none", "leave one out", "value")
        limits.check(
            self,
            ("baseline", lambda x: x in baselines, f"be one of {', '.join(baselines)}"),
            at_least_1="total_steps num_envs rollout_length value_steps",
            above_0="learning_rate",
            not_negative="value_coef entropy_coef",
            fraction="gamma lam",
        )


CARTPOLE_REINFORCE = Config(value_coef=0.0)
CARTPOLE_LEAVE_ONE_OUT = Config(baseline="leave one out", value_coef=0.0)
# Values that lag behind mislead the policy: they take several steps for each one of the policy.
CARTPOLE_A2C = Config(rollout_length=32, learning_rate=2e-3, value_steps=8)


def return_to_go(rewards: Tensor, gamma: float) -> Tensor:
    """All rewards from each step on, discounted, (T, ...): what an action can still change.

    ``rewards`` (T, ...) of whole episodes, 0 after the end. G_t = r_t + gamma G_{t+1}; Sutton and
    Barto (2018), equation 3.9.
    """
    totals = torch.empty_like(rewards)
    following = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        following = rewards[t] + gamma * following
        totals[t] = following
    return totals


def leave_one_out(totals: Tensor) -> Tensor:
    """Each return minus the mean of the *other* episodes' at that time, (T, N).

    ``totals`` (T, N): returns to go of N >= 2 episodes, 0 after the end. What the others got does
    not depend on this episode's actions, so the gradient stays unbiased. With its own return in
    the mean it would be N/(N-1) times too small. Kool et al. (2019), "Buy 4 REINFORCE samples".
    """
    if totals.shape[1] < 2:
        raise ValueError(f"leaving one out needs at least 2 episodes, got {totals.shape[1]}")
    others = (totals.sum(1, keepdim=True) - totals) / (totals.shape[1] - 1)
    return totals - others


def policy_gradient_loss(logp: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    """A number whose gradient is minus the policy gradient per step: descent goes uphill.

    All (...) of one shape: ``logp`` of the actions taken, which carries the gradient;
    ``advantages``, how good each was, which counts as data; ``mask``, 1 where a row counts. The
    value of this loss means nothing. Sutton et al. (2000), theorem 1, per step.
    """
    return -(logp * advantages.detach() * mask).sum() / mask.sum()


def entropy_bonus(logits: Tensor) -> Tensor:
    """Entropy in nats of each choice among A actions, (...): log A if even, 0 if certain.

    ``logits`` (..., A) need not be normalised. Added to the objective, it keeps a policy from
    giving up actions too early (Williams and Peng 1991; arXiv 1602.01783, section 4).
    """
    logp = torch.log_softmax(logits, dim=-1)
    return -(logp.exp() * logp).sum(-1)


def actor_critic_loss(
    policy: Tensor, values: Tensor, targets: Tensor, entropy: Tensor, mask: Tensor, config: Config
) -> tuple[Tensor, dict[str, Tensor]]:
    """The whole loss, a number, and its metrics: three parts, each with its weight.

    ``policy`` is a number; the other tensors (...) have one shape. Masked rows change nothing.
    """
    value = masked_mean(value_loss(values, targets), mask)
    mean_entropy = masked_mean(entropy, mask)
    loss = policy + config.value_coef * value - config.entropy_coef * mean_entropy
    metrics = {"policy_loss": policy, "value_loss": value, "entropy": mean_entropy}
    return loss, {name: number.detach() for name, number in metrics.items()}


@torch.no_grad()
def play_episodes(agent: Agent, envs: Envs, generator: torch.Generator) -> Rollout:
    """One whole episode in each of N environments, T the length of the longest.

    ``valid`` is False after an episode's end; rewards and ends are 0 there. (The environments move
    together, so those that are done play on until the last one is.)
    """
    all_obs, all_actions, rows = [], [], []
    obs, playing = envs.reset(), np.ones(envs.num_envs, bool)
    while playing.any():
        if agent.obs_normalizer is not None:
            agent.obs_normalizer.update(obs[playing])
        all_obs.append(agent.read(obs))
        all_actions.append(agent.network.policy(all_obs[-1]).sample(generator))
        obs, rewards, terminated, truncated, _ = envs.step(all_actions[-1].cpu().numpy())
        rows.append((rewards * playing, terminated & playing, truncated & playing, playing))
        playing = playing & ~(terminated | truncated)
    columns = (torch.as_tensor(np.stack(x), device=agent.device) for x in zip(*rows, strict=True))
    last_values = agent.network.value(agent.read(obs))
    obs, actions = torch.stack(all_obs), torch.stack(all_actions)
    policy, values = agent.network(obs.flatten(0, 1))
    logp = policy.logp(actions.flatten(0, 1)).view(len(obs), -1)
    values = torch.cat([values, last_values]).view(len(obs) + 1, -1)
    return Rollout(obs, actions, logp, values[:-1], values[1:], *columns)


def reinforce(
    agent: Agent, envs: Envs, config: Config, seed: int = 0
) -> Iterator[dict[str, float]]:
    """Train ``agent`` in place; yield a dictionary of metrics after each update.

    An update plays one whole episode per environment. Returns count what was observed: nothing
    stands in for what a truncation cut off. ``seed`` drives the actions drawn; agent and
    environments have their own. Metrics: ``steps`` of all episodes so far, ``return`` (mean over
    the last 100 episodes), ``policy_loss``, ``value_loss``, ``entropy``.
    """
    learner, played = _Learner(agent, config, seed), EpisodeReturns()
    while learner.steps < config.total_steps:
        episodes = play_episodes(agent, envs, learner.generator)
        totals = return_to_go(episodes.rewards, config.gamma)
        advantages = totals
        if config.baseline == "leave one out":
            advantages = leave_one_out(totals)
        elif config.baseline == "value":
            advantages = totals - episodes.values
        metrics = learner.update(episodes, advantages, totals)
        played.finished.extend(episodes.rewards.sum(0).tolist())
        learner.steps += int(episodes.valid.sum())
        yield {"steps": float(learner.steps), "return": played.mean, **metrics}


def a2c(agent: Agent, envs: Envs, config: Config, seed: int = 0) -> Iterator[dict[str, float]]:
    """Train ``agent`` in place; yield a dictionary of metrics after each update.

    An update takes ``rollout_length`` steps per environment; values stand in for what comes later.
    The rest is as in ``reinforce``; ``return`` is nan before the first episode ends.
    """
    learner, collector = _Learner(agent, config, seed), Collector(envs)
    while learner.steps < config.total_steps:
        rollout = collector.collect(agent, config.rollout_length, learner.generator)
        advantages = returns.gae(
            rollout.rewards,
            rollout.values,
            rollout.next_values,
            rollout.terminated,
            rollout.truncated,
            config.gamma,
            config.lam,
        )
        metrics = learner.update(rollout, advantages, rollout.values + advantages)
        learner.steps += config.rollout_length * envs.num_envs
        yield {"steps": float(learner.steps), "return": collector.episodes.mean, **metrics}


class _Learner:
    """What both algorithms share: the optimiser, the random numbers, one update."""

    def __init__(self, agent: Agent, config: Config, seed: int):
        self.agent, self.config = agent, config
        self.steps = 0  # environment steps so far
        self.optimizer = torch.optim.Adam(agent.network.parameters(), eps=1e-5, fused=True)
        self.generator = randomness.generator(seed, device=agent.device)

    def update(self, rollout: Rollout, advantages: Tensor, targets: Tensor) -> dict[str, float]:
        """One gradient step on ``rollout``, and more for the values where the config says so."""
        config, network = self.config, self.agent.network
        left = 1 - self.steps / config.total_steps
        self.optimizer.param_groups[0]["lr"] = config.learning_rate * left
        obs, actions = rollout.obs.flatten(0, 1), rollout.actions.flatten(0, 1)
        targets, mask = targets.flatten(), rollout.valid.flatten().to(targets.dtype)
        policy, values = network(obs)
        numbered = isinstance(policy, Categorical)
        entropy = entropy_bonus(policy.logits) if numbered else policy.entropy()
        policy_loss = policy_gradient_loss(policy.logp(actions), advantages.flatten(), mask)
        loss, metrics = actor_critic_loss(policy_loss, values, targets, entropy, mask, config)
        for k in range(config.value_steps):
            if k > 0:
                error = masked_mean(value_loss(network.value(obs), targets), mask)
                loss = config.value_coef * error
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return {name: float(number) for name, number in metrics.items()}
