"""Learn a game in dreams: play a little, learn how the game works, learn to play it asleep.

Each round plays ``frames`` real steps with the present policy, trains the world model on all
frames so far, then trains the policy in the model's dreams, by ``rl.ppo.train`` on
``imagination.Dream`` as if that were the game. The policy never learns from a real step.

The loop is that of Dyna (Sutton, 1991) and of SimPLe (Kaiser et al., arXiv 1903.00374); dreams
that start in real frames and last a few steps are those of Dreamer (Hafner et al., arXiv
1912.01603) and IRIS (2209.00588). Left out: training the policy on real steps as well, which
would help, and would blur what the dream alone can teach.

The policy is as good as the model lets it be. On a single seed, a policy that had learned in the
dreams of a model won 5.7 real bricks; one that had learned in the true game in their place, from
the same real frames on and as long, won 7.3. That model lost the ball where a brick was hit, and a
dream that ends whatever you do teaches nothing. So the recipe ``BREAKOUT`` spends on the model:
many gradient steps on few windows each.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from course_lib import allocator
from course_lib.rl import ppo
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import Envs
from course_lib.world_models import imagination, returns, sequence, world_model
from course_lib.world_models.frames import FrameReplay, Recorder
from course_lib.world_models.imagination import Dream
from course_lib.world_models.world_model import WorldModel

POLICY = ppo.Config(
    total_steps=1,  # as many as there are dreams: set by ``train``
    num_envs=256,
    rollout_length=13,  # the horizon and a reset row: set by ``train``
    epochs=3,
    minibatch_size=512,
    gamma=0.97,
    lam=0.95,
    learning_rate=1e-3,
    anneal=False,  # over all updates; ``learning_rate`` below lets it fall in the last round
    value_coef=1.0,
    entropy_coef=0.02,
    # On four seeds policies with layers of 128 played no better; they take a fifth longer.
    agent=AgentConfig(hidden=(64, 64), shared=True, activation="relu"),
)


@dataclass(frozen=True)
class Config:
    """Settings of one run. One number per round where rounds differ."""

    num_envs: int = 16  # real games played side by side: 8 to 32
    frames: tuple[int, ...] = (1504, 1504)  # real steps played in each round
    model_steps: tuple[int, ...] = (160, 100)  # the model's gradient steps then
    updates: tuple[int, ...] = (40, 60)  # the policy's updates then, 256 dreams each
    explore: float = 0.1  # share of random actions in real play; the first round is all random
    horizon: int = 12  # steps a dream lasts: 5 to 15
    context: int = 4  # real steps the model has seen when a dream's second frame comes: 1 to 8
    near_death: float = 0.5  # share of dreams that begin shortly before a real death: 0 to 0.5
    model: world_model.Config = field(default_factory=world_model.Config)
    policy: ppo.Config = POLICY

    def __post_init__(self) -> None:
        if not len(self.frames) == len(self.model_steps) == len(self.updates):
            raise ValueError(
                "frames, model_steps and updates must name as many rounds, got "
                f"{len(self.frames)}, {len(self.model_steps)} and {len(self.updates)}"
            )
        if self.context + self.horizon > self.model.context:
            raise ValueError(
                f"context + horizon must not exceed the model's context of {self.model.context}, "
                f"got {self.context} + {self.horizon}"
            )


# On single seeds, 1,600 steps on 6 windows each cost the model as much as 400 on 24, and left 3 %
# of a good player's next frames impossible instead of 7 %. Random play shows little of the game, so
# the first round is short; in the last one, model and policy learn longest.
BREAKOUT = Config(
    frames=(960, 1200, 1280, 1280, 1280),
    model_steps=(500, 400, 400, 400, 600),
    updates=(25, 25, 30, 40, 70),
    model=world_model.Config(batch_size=6),
    policy=replace(POLICY, minibatch_size=256),
)


def learning_rate(config: Config, update: int) -> float:
    """The policy's, for its update number ``update`` from 0: it falls in a line in the last round.

    At a constant rate the policy wanders to the end, and which one is tested is a matter of luck.
    """
    left = sum(config.updates) - update
    return config.policy.learning_rate * min(1.0, left / max(1, config.updates[-1]))


def dream_advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    gamma: float,
    lam: float,
    dream_returns: Callable[..., Tensor] = returns.dream_returns,
) -> Tensor:
    """How much better than expected each dreamed action did, (T, N): lambda-return minus value.

    Equal to ``rl.returns.gae`` on whole dreams; here the student's own returns can be put in.
    """
    continues = 1 - terminated.to(rewards.dtype)
    return dream_returns(rewards, next_values, continues, gamma, lam) - values


class Run:
    """All that a run knows: replay, world model, policy, and how each of them learns."""

    def __init__(self, envs: Envs, config: Config, seed: int = 0):
        capacity = -(-sum(config.frames) // envs.num_envs)
        self.replay = FrameReplay(envs.num_envs, envs.obs_shape, capacity)
        self.recorder = Recorder(envs, self.replay)
        self.model = WorldModel(config.model, envs.obs_shape, envs.num_actions, seed)
        self.learning = world_model.Run(self.model, seed)
        self.agent = Agent(envs, config.policy.agent, seed)
        self.rng = np.random.default_rng((seed, 4))
        self.frames = 0  # real steps so far, reset rows included

    def act(self, obs: np.ndarray, explore: float) -> np.ndarray:
        """What the policy does at real frames (N, C, H, W): drawn actions, some at random."""
        actions = self.agent.act(obs, greedy=False, generator=self.learning.generator)
        random = self.rng.random(len(actions)) < explore
        actions[random] = self.rng.integers(self.model.num_actions, size=random.sum())
        return actions


def train(
    run: Run,
    config: Config,
    seed: int = 0,
    *,
    block_causal_mask: Callable[[Tensor, int], Tensor] = sequence.block_causal_mask,
    event_nll: Callable[..., Tensor] = sequence.event_nll,
    sample_frame: Callable[..., Tensor] = sequence.sample_frame,
    dream_returns: Callable[..., Tensor] = returns.dream_returns,
) -> Iterator[dict[str, float]]:
    """Train model and policy of ``run`` in place; yield a dictionary after each of their updates.

    The four functions can be replaced, by your own or by a mistake that you want to see fail.
    Metrics of every row: ``round``, ``frames`` (real steps so far), ``real`` (mean return of the
    round's real episodes); then those of ``world_model.train`` or, in dreams, of ``ppo.train``,
    with ``dreamed`` (steps dreamed so far) in place of ``steps``.
    """
    allocator.keep_freed_memory()
    starts = imagination.from_replay(run.replay, config.context, config.near_death)
    policy: Iterator[dict[str, float]] | None = None
    for number, frames in enumerate(config.frames):
        run.recorder.finished.clear()
        explore = config.explore if number else 1.0
        steps = frames // run.recorder.envs.num_envs
        run.recorder.play(lambda obs, explore=explore: run.act(obs, explore), steps)
        run.frames += steps * run.recorder.envs.num_envs
        finished = run.recorder.finished
        real = float(np.mean(finished)) if finished else float("nan")
        told = {"round": float(number + 1), "frames": float(run.frames), "real": real}
        for row in world_model.train(
            run.model, run.replay, config.model_steps[number], seed,
            run=run.learning, block_causal_mask=block_causal_mask, event_nll=event_nll,
        ):  # fmt: skip
            yield told | row
        if policy is None:  # the first dream needs frames to begin in
            num = config.policy.num_envs
            dream = Dream(run.model, starts, num, config.horizon, seed, sample_frame=sample_frame)
            policy = learn_in(dream, run.agent, config, seed, dream_returns)
        for row in itertools.islice(policy, config.updates[number]):
            yield told | row


def learn_in(
    dream: Dream,
    agent: Agent,
    config: Config,
    seed: int = 0,
    dream_returns: Callable[..., Tensor] = returns.dream_returns,
) -> Iterator[dict[str, float]]:
    """Train ``agent`` in ``dream`` alone; a row per batch of dreams, ``sum(config.updates)``."""
    length = config.horizon + 1
    settings = replace(
        config.policy,
        rollout_length=length,
        total_steps=sum(config.updates) * length * dream.num_envs,
    )
    run = ppo.Run(agent, dream, settings, seed)
    for update in range(sum(config.updates)):
        run.optimizer.param_groups[0]["lr"] = learning_rate(config, update)
        rollout = run.collector.collect(agent, length, run.generator)
        advantages = dream_advantages(
            rollout.rewards,
            rollout.values,
            rollout.next_values,
            rollout.terminated,
            rollout.truncated,
            settings.gamma,
            settings.lam,
            dream_returns,
        )
        row = ppo.update(agent, run, ppo.flatten(rollout, advantages), settings)
        dreamed = (update + 1) * config.horizon * dream.num_envs
        yield {"dreamed": float(dreamed), "return": run.collector.episodes.mean} | row
