"""Learn a game in dreams: play a little, learn how the game works, learn to play it asleep.

Each round plays ``frames`` real steps with the present policy, trains the world model on all
frames so far, then trains the policy in the model's dreams: rollouts of ``imagination.Dream``,
returns and weights of ``returns``, the loss of ``rl.ppo``. The first frame of a dream is real;
every reward that the policy learns from is dreamed.

The loop is that of Dyna (Sutton, 1991) and of SimPLe (Kaiser et al., arXiv 1903.00374); dreams
that start in real frames and last a few steps are those of Dreamer (Hafner et al., arXiv
1912.01603) and IRIS (2209.00588). Left out: training the policy on real steps as well, which
would blur what the dream alone can teach.

The policy is as good as the model lets it be. On a single seed (a note from development, not a
committed result), a policy that had learned in the dreams of a model won 5.7 real bricks; one that
had learned in the true game in their place, from the same real frames on and as long, won 7.3. That
model lost the ball where a brick was hit, and a dream that ends whatever you do teaches nothing. So
the recipe ``BREAKOUT`` spends on the model: many gradient steps on few windows each.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from course_lib import allocator
from course_lib.rl import ppo
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import Envs
from course_lib.rl.rollout import Rollout
from course_lib.world_models import imagination, returns, world_model
from course_lib.world_models.frames import FrameReplay, Recorder
from course_lib.world_models.imagination import Dream
from course_lib.world_models.world_model import Training, WorldModel

POLICY = ppo.Config(
    num_envs=256,  # how many dreams, and how long, is for ``Config`` to say
    epochs=3,
    minibatch_size=512,
    gamma=0.97,
    lam=0.95,
    learning_rate=1e-3,
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
    training: Training = field(default_factory=Training)
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
    training=Training(batch_size=6),
    policy=replace(POLICY, minibatch_size=256),
)


def learning_rate(config: Config, update: int) -> float:
    """The policy's, for its update number ``update`` from 0: it falls in a line in the last round.

    At a constant rate the policy wanders to the end, and which one is tested is a matter of luck.
    """
    left = max(0, sum(config.updates) - update)
    return config.policy.learning_rate * min(1.0, left / max(1, config.updates[-1]))


class Run:
    """All that a training run knows: replay, world model, policy, and how each of them learns.

    Give it to ``train`` again to go on with the first round that is not finished.
    """

    def __init__(self, envs: Envs, config: Config, seed: int = 0):
        self.config, self.seed = config, seed
        capacity = -(-sum(config.frames) // envs.num_envs)
        self.replay = FrameReplay(envs.num_envs, envs.obs_shape, capacity)
        self.recorder = Recorder(envs, self.replay)
        self.model = WorldModel(config.model, envs.obs_shape, envs.num_actions, seed)
        self.learning = world_model.Run(self.model, config.training, seed)
        self.agent = Agent(envs, config.policy.agent, seed)
        self.policy: Iterator[dict[str, float]] | None = None  # of ``learn_in``
        self.rng = np.random.default_rng((seed, 4))
        self.frames = 0  # real steps so far, reset rows included
        self.played = self.rounds = 0  # rounds whose frames are there, rounds that are finished

    def act(self, obs: np.ndarray, explore: float) -> np.ndarray:
        """What the policy does at real frames (N, C, H, W): drawn actions, some at random."""
        actions = self.agent.act(obs, greedy=False, generator=self.learning.generator)
        random = self.rng.random(len(actions)) < explore
        actions[random] = self.rng.integers(self.model.num_actions, size=random.sum())
        return actions

    def play(self, frames: int, explore: float) -> None:
        """Play the frames of the next round: so many real steps in all."""
        steps = frames // self.recorder.envs.num_envs
        self.recorder.play(lambda obs: self.act(obs, explore), steps)
        self.frames += steps * self.recorder.envs.num_envs
        self.played += 1


def train(run: Run) -> Iterator[dict[str, float]]:
    """Train model and policy of ``run`` in place; yield a dictionary after each of their updates.

    Metrics of every row: ``round``, ``frames`` (real steps so far), ``real`` (mean return of the
    round's real episodes); then those of ``world_model.train`` or, in dreams, of ``learn_in``.
    """
    config = run.config
    allocator.keep_freed_memory()
    while run.rounds < len(config.frames):
        number, episodes = run.rounds, run.recorder.episodes
        if run.played == number:
            episodes.finished.clear()
            run.play(config.frames[number], config.explore if number else 1.0)
        head = {"round": number + 1.0, "frames": float(run.frames), "real": episodes.mean}
        for row in world_model.train(
            run.model, run.replay, config.training, config.model_steps[number], run=run.learning
        ):
            yield head | row
        policy, run.policy = run.policy, None  # a generator that is interrupted cannot go on
        if policy is None:  # the first dream needs frames to begin in
            starts = imagination.from_replay(run.replay, config.context, config.near_death)
            dream = Dream(run.model, starts, config.policy.num_envs, config.horizon, run.seed)
            policy = learn_in(dream, run.agent, config, run.seed)
        for row in itertools.islice(policy, config.updates[number]):
            yield head | row
        run.policy, run.rounds = policy, number + 1


def learn_in(
    dream: Dream, agent: Agent, config: Config, seed: int = 0
) -> Iterator[dict[str, float]]:
    """Train ``agent`` in ``dream`` alone; a row per batch of dreams, ``sum(config.updates)``.

    Metrics: ``dreamed`` (steps so far), ``return`` (mean over the last 100 dreams), and those of
    ``ppo.update``.
    """
    run = ppo.Run(agent, dream, config.policy, seed)
    for update in range(sum(config.updates)):
        run.optimizer.param_groups[0]["lr"] = learning_rate(config, update)
        # Whole dreams, and the row in which all of them are reset.
        rollout = run.collector.collect(agent, config.horizon + 1, run.generator)
        metrics = ppo.update(agent, run, dream_batch(rollout, config.policy), config.policy)
        run.steps += config.horizon * dream.num_envs
        yield {"dreamed": float(run.steps), "return": run.collector.episodes.mean, **metrics}


def dream_batch(rollout: Rollout, config: ppo.Config) -> ppo.Batch:
    """Returns and weights of whole dreams, the steps (T, N) of a rollout (T + 1, N), as rows.

    The last row resets all dreams and is dropped: its return would reach the row before it through
    lambda, though another dream begins there. Ends are drawn, so each weight is 1 or 0: a step of
    weight 0 is left out of every loss.
    """
    dreams = Rollout(*(column[:-1] for column in rollout))
    continues = 1 - dreams.terminated.to(dreams.rewards.dtype)
    targets = returns.dream_returns(
        dreams.rewards, dreams.next_values, continues, config.gamma, config.lam
    )
    reached = returns.continue_weights(continues)
    return ppo.flatten(dreams._replace(valid=reached > 0), targets - dreams.values)
