"""The project of lesson 01: find a treasure that chance does not find."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np

from course_lib.classroom.project import Project
from course_lib.rl import q_learning as tabular
from course_lib.worlds.deep_sea import deep_sea

SIZE, EPISODES = 12, 1_000
Learn = Callable[[gymnasium.Env, int, int], None]


class _Counted(gymnasium.Wrapper):
    """Notes the return of each episode."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self.returns: list[float] = []

    def reset(self, **options):
        self.earned = 0.0
        return super().reset(**options)

    def step(self, action):
        step = super().step(action)
        self.earned += step[1]
        if step[2] or step[3]:
            self.returns.append(self.earned)
        return step


def mean_return(learn: Learn, seed: int) -> float:
    """The mean return of the first 1,000 episodes that ``learn(env, episodes, seed)`` plays.

    What it plays while it still looks for the treasure counts as well, as regret does. The seed
    also draws the sea. Raises ValueError if it plays fewer episodes.
    """
    env = _Counted(deep_sea(SIZE, seed))
    learn(env, EPISODES, seed)
    if len(env.returns) < EPISODES:
        raise ValueError(f"it has to play {EPISODES} episodes to their end, got {len(env.returns)}")
    return float(np.mean(env.returns[:EPISODES]))


def baseline(env: gymnasium.Env, episodes: int, seed: int) -> np.ndarray:
    """The lesson's Q-learning; epsilon falls from 1 to 0.05 in the first half. Returns Q."""
    steps = episodes * SIZE
    config = tabular.Config(
        steps=steps, alpha=1.0, epsilon_start=1.0, epsilon=0.05, epsilon_steps=steps // 2
    )
    q = np.zeros((env.observation_space.n, env.action_space.n))
    for _ in tabular.q_learning(q, env, config, seed):
        pass
    return q


def reference(env: gymnasium.Env, episodes: int, seed: int) -> None:
    """Q-learning's table from the mean of all that was seen, with the bonus of UCB in each backup.

    A pair that was tried n times is worth its mean reward, plus the mean value of where it led,
    plus 0.1 / sqrt(n), at most 1; an untried one is worth 1. After each episode its pairs are
    backed up from the last to the first, so a bonus travels backwards as rewards do, and squares
    from which something new can be reached become worth going to.
    """
    rng = np.random.default_rng(seed)
    q = np.ones((env.observation_space.n, env.action_space.n))
    visits, rewards = np.zeros_like(q), np.zeros_like(q)
    followed = np.zeros((*q.shape, len(q)))  # how often each square came next
    for _ in range(episodes):
        state, _ = env.reset()
        path, ended = [], False
        while not ended:
            action = int(rng.choice(np.flatnonzero(q[state] == q[state].max())))
            next_state, reward, terminated, truncated, _ = env.step(action)
            visits[state, action] += 1
            rewards[state, action] += reward
            followed[state, action, next_state] += not terminated
            path.append((state, action))
            state, ended = next_state, terminated or truncated
        for pair in reversed(path):
            mean = (rewards[pair] + followed[pair] @ q.max(axis=1)) / visits[pair]
            q[pair] = min(1.0, mean + 0.1 / np.sqrt(visits[pair]))


PROJECT = Project(
    lesson="q_learning",
    question="Epsilon-greedy explores without a plan. In `deep_sea(12)`, from "
    "`course_lib.worlds.deep_sea`, an episode of pure chance finds the treasure about once in "
    "12,000. The bandits of this lesson had better ideas, but a bandit has one state. **Carry one "
    "of them over to a world with many.** Steering fails now and then, so one try of an action "
    "does not tell what it does.",
    answer="`learn(env, episodes, seed)`. It plays that many episodes in `env`, a world with "
    "Gymnasium's `reset` and `step`, and learns on the way. All of them count, those before the "
    "treasure is found as well, as in a regret; what it returns is not looked at. It is told "
    "nothing about the map, and each seed draws another one.",
    begin="make `env = deep_sea(3)`, call `env.reset()`, then `env.step(0)` or `env.step(1)`, and "
    "draw the map (`help(deep_sea)` says how squares are numbered). Then take `baseline` from "
    "`course_lib.lessons.q_learning.project`: after `q = baseline(deep_sea(12, 200), 1000, 200)`, "
    "`(q.min(axis=1) < 0).reshape(12, 12)` shows where it has steered right, for only that costs.",
    metric=mean_return,
    unit="mean return of 1,000 episodes (0.35 is the most that anybody who knows the map can earn)",
    rubric={
        "pass": "above zero on the ten seeds, the interval of your mean off zero; your rule in "
        "words and as one formula. (Beating the baseline is not enough: a learner that never "
        "explores pays for fewer steps to the right, and beats it without ever seeing the "
        "treasure.)",
        "good": "at least 0.2 on average, and an ablation that shows which part of your rule does "
        "it. A curve of the returns says when the treasure is found.",
        "excellent": "at least 0.28; how the number of episodes until then grows with the size of "
        "the sea (6, 9, 12, 15), for yours and for epsilon-greedy, with a reason for the shape; "
        "and a world in which your rule is worse than epsilon-greedy.",
    },
    baseline=baseline,
    reference=reference,
)
