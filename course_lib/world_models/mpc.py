"""The whole loop of model-based control: act, learn the dynamics, plan with them, act again.

Random actions first; then the model is trained on all that was seen and the planner plays the next
stretch. Its own experience is what corrects it: where the model promised too much, there are data
afterwards (Chua et al., arXiv 1805.12114, algorithm 1). Every round starts from a fresh model: on
so little data that costs seconds, and no round inherits the scales or the habits of the last.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from course_lib.rl.envs import Envs
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
    """What a run has so far: its data, the newest model, and how to plan with it.

    The two functions can be replaced, by your own or by a mistake that you want to see fail.
    """

    def __init__(
        self,
        task: Task,
        config: Config,
        seed: int = 0,
        *,
        gaussian_nll: Callable[..., Tensor] = dynamics.gaussian_nll,
        elite_update: Callable[..., tuple[Tensor, Tensor]] = planning.elite_update,
    ):
        self.task, self.config, self.seed = task, config, seed
        self.gaussian_nll, self.elite_update = gaussian_nll, elite_update
        self.data: list[Experience] = []
        self.model: Dynamics | None = None

    def planner(self, num_envs: int, seed: int = 0) -> Planner:
        """A planner on the newest model, for ``num_envs`` environments."""
        if self.model is None:
            raise RuntimeError("no model yet: take one step of train() first")
        config, update = self.config.planner, self.elite_update
        return Planner(self.model, self.task, config, num_envs, seed, elite_update=update)


def train(run: Run, envs: Envs) -> Iterator[dict[str, float]]:
    """Fill ``run`` in place; yield a dictionary of metrics after each training of the model.

    The last training sees all the data. Metrics: ``steps`` (real ones so far), ``return`` (mean
    over episodes that ended in the newest stretch, nan if none did), ``nll`` and ``error`` of the
    dynamics after training, ``promised`` (mean imagined return of the planner's last plans).
    """
    config = run.config
    promised = float("nan")
    for number in range(config.rounds + 1):
        if number == 0:
            policy = random_policy(envs, run.seed, run.task.limit)
            run.data.append(collect(envs, policy, config.random_steps))
        else:
            planner = run.planner(envs.num_envs, run.seed * 1_000 + number)
            run.data.append(collect(envs, planner, config.round_steps))
            promised = float(planner.promised.mean())
        data = transitions(*run.data)
        size = data.actions.shape[1]
        run.model = Dynamics(envs.obs_shape[0], size, config.model, run.seed * 1_000 + number)
        seed = run.seed * 1_000 + number
        nll = run.gaussian_nll
        *_, last = dynamics.train(run.model, data, config.model, seed, gaussian_nll=nll)
        yield {
            "steps": float(data.rows),
            "return": episode_return(run.data[-1]),
            "nll": last["nll"],
            "error": last["error"],
            "promised": promised,
        }


def episode_return(data: Experience) -> float:
    """Mean undiscounted return of the episodes that ended within ``data``, nan if none did."""
    returns, running = [], torch.zeros(data.rewards.shape[1]).numpy()
    for rewards, ended, valid in zip(data.rewards, data.ended, data.valid, strict=True):
        running += rewards * valid
        returns.extend(running[ended & valid])
        running[ended] = 0.0
    return float(sum(returns) / len(returns)) if returns else float("nan")
