"""The whole loop of model-based control: act, learn the dynamics, plan with them, act again.

Random actions first; then the model is trained on all that was seen and the planner plays the next
stretch. Its own experience is what corrects it: where the model promised too much, there are data
afterwards (Chua et al., arXiv 1805.12114, algorithm 1). Every round starts from a fresh model: on
so little data that costs seconds, and no round inherits the scales or the habits of the last.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from course_lib import limits
from course_lib.rl.envs import Envs
from course_lib.rl.episodes import EpisodeReturns
from course_lib.world_models import dynamics, planning
from course_lib.world_models.dynamics import Dynamics
from course_lib.world_models.experience import Experience, collect, random_policy, transitions
from course_lib.world_models.planning import Planner, Task


@dataclass(frozen=True)
class Config:
    """Settings of one run; the real steps are ``random_steps + rounds * round_steps``."""

    random_steps: int = 500  # real steps with random actions: 200 to 1,000
    rounds: int = 2  # times that the planner collects: 1 to 10
    round_steps: int = 250  # real steps of each: 100 to 1,000
    model: dynamics.Config = field(default_factory=dynamics.Config)
    planner: planning.Config = field(default_factory=planning.Config)

    def __post_init__(self) -> None:
        limits.check(self, at_least_1="random_steps round_steps", not_negative="rounds")


# 1,000 real steps each. CartPole in one environment, Pendulum in two: 400 steps are two episodes.
CARTPOLE = Config(
    model=dynamics.Config(updates=600),
    planner=planning.Config(horizon=15, population=64, iterations=1),
)
PENDULUM = Config(
    random_steps=600,
    rounds=1,
    round_steps=400,
    model=dynamics.Config(members=3, updates=1_500),
    planner=planning.Config(horizon=25, population=48, iterations=3, smooth=0.5),
)


class Run:
    """All that a training run knows between two rounds: its data, and the newest model.

    Give it to ``train`` again to go on where it stopped.
    """

    def __init__(self, envs: Envs, task: Task, config: Config, seed: int = 0):
        self.envs, self.task, self.config, self.seed = envs, task, config, seed
        self.data: list[Experience] = []  # one part for each finished round, the random one first
        self.model: Dynamics | None = None

    def planner(self, num_envs: int, seed: int = 0) -> Planner:
        """A planner on the newest model, for ``num_envs`` environments."""
        if self.model is None:
            raise RuntimeError("no model yet: take one step of train() first")
        return Planner(self.model, self.task, self.config.planner, num_envs, seed)


def train(run: Run) -> Iterator[dict[str, float]]:
    """Fill ``run`` in place; yield a dictionary of metrics after each training of the model.

    The last training sees all the data. Metrics: ``steps`` (real ones so far), ``return`` (mean
    over episodes that ended in the newest stretch, nan if none did), ``nll`` and ``error`` of the
    dynamics after training, ``promised`` (mean imagined return of the planner's last plans).
    """
    envs, config = run.envs, run.config
    while len(run.data) <= config.rounds:
        seed = run.seed * 1_000 + len(run.data)
        promised = float("nan")
        if not run.data:
            policy = random_policy(envs, run.seed, run.task.limit)
            newest = collect(envs, policy, config.random_steps)
        else:
            planner = run.planner(envs.num_envs, seed)
            newest = collect(envs, planner, config.round_steps)
            promised = float(planner.promised.mean())
        data = transitions(*run.data, newest)
        model = Dynamics(envs.obs_shape[0], data.actions.shape[1], config.model, seed)
        *_, last = dynamics.train(model, data, config.model, seed)
        run.model, run.data = model, [*run.data, newest]
        yield {
            "steps": float(data.rows),
            "return": episode_return(newest),
            "nll": last["nll"],
            "error": last["error"],
            "promised": promised,
        }


def episode_return(data: Experience) -> float:
    """Mean undiscounted return of the episodes that ended within ``data``, nan if none did."""
    episodes = EpisodeReturns(data.rewards.shape[1], keep=None)
    for rewards, ended, valid in zip(data.rewards, data.ended, data.valid, strict=True):
        episodes.add(rewards * valid, ended & valid)
    return episodes.mean
