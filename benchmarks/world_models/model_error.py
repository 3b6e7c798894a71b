"""How a learned model is wrong: compounding error, disagreement, exploitation and its cures.

Four measurements, each on fresh seeds, with random actions as data unless stated:

1. *Compounding*: error after k imagined steps, one network against the mean of an ensemble of five.
2. *Disagreement*: its rank correlation with the true one-step error, on data like those trained
   on, on states that a planner went to, and on both together.
3. *Exploitation*: on Pendulum, with a learned reward and only 400 real steps, the best plan of 40
   steps that more and more search can find: what the model promises, and what really comes of it.
   One network, an ensemble (mean; one member per particle), pessimism, and one network that has
   seen what became of its first plans.
4. *Horizons*: the value of a policy, estimated by imagining k steps and trusting a learned value
   after that, for every k, and with all k weighed by the ensemble's agreement.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.harness import Goal, by, fresh_seeds, mean_over_seeds, reported
from benchmarks.world_models import kept, mpc
from benchmarks.world_models.mpc import CARTPOLE, PENDULUM
from course_lib.evaluation import t_interval
from course_lib.rl.envs import make
from course_lib.rl.returns import discounted_returns
from course_lib.world_models import dynamics, experience, horizons, planning
from course_lib.world_models.dynamics import Config, Dynamics
from course_lib.world_models.experience import (
    Experience,
    Transitions,
    collect,
    random_policy,
    segments,
    transitions,
)
from course_lib.world_models.planning import PENDULUM as KNOWN, Config as Planning, Planner

ENSEMBLE = Config(members=5, updates=800)
SINGLE = replace(ENSEMBLE, members=1)
LIMITS = {CARTPOLE: 1.0, PENDULUM: KNOWN.limit}
DATA = {CARTPOLE: 500, PENDULUM: 1_000}  # real steps to learn from
HORIZONS = {CARTPOLE: 12, PENDULUM: 40}  # random CartPole episodes last about 22 steps
ERROR = (0.0, np.inf)  # between which an error lies

# Exploitation.
FEW, STARTS, AHEAD = 400, 10, 40
PLANS = Planning(horizon=AHEAD, population=100, elites=10, spread=1.0)
SEARCH = (1, 3, 12)  # iterations of CEM with 100 plans each
CURED = "the same, with pessimism 1"
CURES = {  # name: members, propagation, pessimism
    "one network": (1, "mean", 0.0),
    "ensemble, its mean": (5, "mean", 0.0),
    "ensemble, one member per particle": (5, "tsinf", 0.0),
    "the same, with pessimism 0.3": (5, "tsinf", 0.3),
    CURED: (5, "tsinf", 1.0),
}
SEEN = "one network that saw its plans fail"

# Horizons.
GAMMA, FURTHEST, REST = 0.95, 20, 100  # REST: steps after which a return is complete but for 0.6 %


def played(name: str, steps: int, seed: int, num_envs: int = 4) -> Experience:
    """Real steps with random actions."""
    envs = make(name, num_envs, seed)
    return collect(envs, random_policy(envs, seed, LIMITS[name]), steps)


def fitted(data: Transitions, config: Config, seed: int) -> Dynamics:
    """A model of ``data``."""
    model = Dynamics(data.obs.shape[1], data.actions.shape[1], config, seed)
    for _ in dynamics.train(model, data, config, seed):
        pass
    return model


def compounding(name: str, seed: int) -> list[dict]:
    """Error after 1 to ``HORIZONS`` steps of one network and of the ensemble's mean."""
    data = transitions(played(name, DATA[name], seed))
    test = segments(played(name, 4_000, 10_000 + seed), HORIZONS[name])
    return [
        {
            "part": "compounding",
            "seed": seed,
            "env": name,
            "model": label,
            "errors": _rounded(dynamics.open_loop_error(fitted(data, config, seed), test), 6),
        }
        for label, config in (("one network", SINGLE), ("ensemble", ENSEMBLE))
    ]


def doubted(seed: int) -> list[dict]:
    """Rank correlation of disagreement and error on Pendulum, near the data and away from them."""
    model = fitted(transitions(played(PENDULUM, FEW, seed, 2)), ENSEMBLE, seed)
    planner = Planner(model, KNOWN, Planning(horizon=20, population=48, iterations=2), 2, seed)
    tests = {
        "random actions": played(PENDULUM, 800, 10_000 + seed),
        "where a planner goes": collect(make(PENDULUM, 2, 20_000 + seed), planner, 400),
    }
    tests = {where: transitions(data) for where, data in tests.items()}
    tests["both"] = Transitions(*(torch.cat(pair) for pair in zip(*tests.values(), strict=True)))

    def row(where: str, data: Transitions) -> dict:
        error, doubt = dynamics.one_step_error(model, data)
        rho = float(spearmanr(error.numpy(), doubt.numpy()).statistic)
        medians = {"error": float(error.median()), "disagreement": float(doubt.median())}
        head = {"part": "disagreement", "seed": seed, "where": where}
        head["rank_correlation"] = round(rho, 3)
        return head | {name: round(value, 4) for name, value in medians.items()}

    return [row(where, data) for where, data in tests.items()]


def exploited(seed: int) -> list[dict]:
    """Promise and reality of the best plans found, per cure and amount of search."""
    data = transitions(played(PENDULUM, FEW, seed, 2))
    runs, failed = [], data

    def searched(cure: str, model: Dynamics, propagation: str, pessimism: float) -> Transitions:
        for iterations in SEARCH:
            settings = replace(
                PLANS, iterations=iterations, propagation=propagation, pessimism=pessimism
            )
            run, real = promise(model, settings, seed)
            runs.append({"part": "exploitation", "seed": seed, "cure": cure, **run})
        return real

    models = {}
    for cure, (members, propagation, pessimism) in CURES.items():
        if members not in models:
            config = replace(ENSEMBLE, members=members, learn_reward=True)
            models[members] = fitted(data, config, seed)
        real = searched(cure, models[members], propagation, pessimism)
        failed = real if cure == "one network" else failed
    both = Transitions(*(torch.cat(pair) for pair in zip(data, failed, strict=True)))
    searched(SEEN, fitted(both, replace(SINGLE, learn_reward=True), seed), "tsinf", 0.0)
    return runs


def promise(model: Dynamics, settings: Planning, seed: int) -> tuple[dict, Transitions]:
    """Plan once from ten starts, then follow the plans for real, without looking."""
    envs = make(PENDULUM, STARTS, 10_000 + seed)
    planner = Planner(model, KNOWN._replace(reward=None), settings, STARTS, seed)
    plan = planner.plan(torch.as_tensor(envs.reset()))
    envs = make(PENDULUM, STARTS, 10_000 + seed)  # the same starts again
    steps = iter(plan.transpose(0, 1).numpy())
    real = collect(envs, lambda obs: next(steps), STARTS * AHEAD)
    returns = real.rewards.sum(0)
    run = {
        "search": settings.iterations,
        "promised": round(float(planner.promised.mean()), 1),
        "real": round(float(returns.mean()), 1),
    }
    return run, transitions(real)


def pump(obs: Tensor | np.ndarray) -> Tensor:
    """A policy for Pendulum: pushes the way it swings already; (..., 3) to (..., 1)."""
    return KNOWN.limit * torch.sign(torch.as_tensor(obs)[..., 2:] + 1e-9)


def weighed(seed: int) -> list[dict]:
    """Error of the value of a policy for each horizon, and with the horizons weighed."""
    raw, test = (
        collect(make(PENDULUM, n, stream), pump, n * 200)
        for n, stream in ((3, seed), (20, 10_000 + seed))
    )
    rewarded = replace(ENSEMBLE, learn_reward=True)
    model = fitted(transitions(raw), rewarded, seed)
    value = fitted(  # the "reward" is the return here
        _with_returns(raw), replace(rewarded, updates=300), seed + 1
    )
    obs, _, truth, _ = _with_returns(test)
    returns = horizons.expansions(model, value, obs, pump, FURTHEST, GAMMA)  # (E, K, B)

    def error(estimate: Tensor) -> float:
        return round(float((estimate - truth).square().mean(-1).sqrt()), 4)

    run = {"part": "horizons", "seed": seed, "fixed": [error(x) for x in returns.mean(0)]}
    run["weighed"] = error(horizons.weighted_return(returns))
    return [run | {"weights": _rounded(horizons.horizon_weights(returns).mean(1), 4)}]


def _with_returns(data: Experience) -> Transitions:
    """The steps whose return is complete, with that return in place of the reward."""
    rewards, ended = torch.as_tensor(data.rewards), torch.as_tensor(data.ended)
    returns = discounted_returns(
        rewards, torch.zeros_like(rewards), torch.zeros_like(ended), ended, GAMMA
    )
    complete = slice(0, len(rewards) - REST)
    columns = (data.obs, data.actions, returns.numpy(), data.next_obs)
    return Transitions(*(torch.as_tensor(c[complete]).float().flatten(0, 1) for c in columns))


def _rounded(values: Tensor, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(2 if quick else 6)
    code = (dynamics, experience, planning, horizons, mpc, sys.modules[__name__])
    folder = kept.folder("world_models", *code)
    runs: list[dict] = []
    for seed in seeds:
        for name in HORIZONS:
            file = folder / f"{seed}_errors_{name}.json"
            runs += kept.once(file, lambda x=(name, seed): compounding(*x))
        for part in (doubted, exploited, weighed):
            file = folder / f"{seed}_{part.__name__}.json"
            runs += kept.once(file, lambda part=part, seed=seed: part(seed))
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    parts = by(result["runs"], "part")
    return [
        *(_compounding(runs, name) for name, runs in by(parts["compounding"], "env").items()),
        *_disagreement(parts["disagreement"]),
        *_exploitation(parts["exploitation"]),
        _horizons(parts["horizons"]),
    ]


def _compounding(runs: list[dict], name: str) -> Goal:
    errors = {
        model: np.array([run["errors"] for run in mine])
        for model, mine in by(runs, "model").items()
    }
    last = HORIZONS[name]
    parts = [
        f"{model}: {_words(e[:, 0], ERROR)}, then {_words(e[:, -1], ERROR)}"
        for model, e in errors.items()
    ]
    change = errors["ensemble"][:, -1] - errors["one network"][:, -1]
    return Goal(
        f"{name}: error after 1 and after {last} imagined steps (1: an average state guessed)",
        "grows on every seed",
        "; ".join(parts) + f"; ensemble minus one network at {last}: {_words(change)}",
        all(bool((e[:, -1] > e[:, 0]).all()) for e in errors.values()),
    )


def _disagreement(runs: list[dict]) -> list[Goal]:
    goals = []
    for where, mine in by(runs, "where").items():
        rho = [run["rank_correlation"] for run in mine]
        what = f"Pendulum, {where}: rank correlation of disagreement with the true one-step error"
        if where == "both":
            met = bool(t_interval(rho)[1] > 0.5)
            goals.append(Goal(what, "t interval above 0.5", _words(rho), met))
        else:  # where a planner balances, states are all alike, and so are the errors
            goals.append(reported(what, _words(rho)))
    return goals


def _exploitation(runs: list[dict]) -> list[Goal]:
    goals, gaps, real = [], {}, {}
    for cure, mine in by(runs, "cure").items():
        searches, parts = by(mine, "search"), []
        for n, found in searches.items():
            promised = np.mean([run["promised"] for run in found])
            real[cure] = [run["real"] for run in found]
            times = f"{n} iteration{'s' * (n > 1)}"
            parts.append(f"{times}: promised {promised:.0f}, real {_words(real[cure])}")
        gaps[cure] = [run["promised"] - run["real"] for run in searches[SEARCH[-1]]]
        goals.append(reported(f"exploitation, {cure}", "; ".join(parts)))
    for cure in (CURED, SEEN):
        alone, cured = gaps["one network"], gaps[cure]
        nearer = np.abs(alone) - np.abs(cured)
        change = np.subtract(real[cure], real["one network"])
        goals.append(
            Goal(
                f"promise minus reality of the best plan: {cure}",
                "nearer 0 than one network's, 95 % t intervals apart",
                f"{_words(cured)}, one network {_words(alone)}, paired by seed nearer by "
                f"{_words(nearer)}; real return against one network's "
                f"{_words(change)}: {_verdict(change, 'better', 'worse')}",
                bool(t_interval(np.abs(cured))[2] < t_interval(alone)[1]),
            )
        )
    return goals


def _horizons(runs: list[dict]) -> Goal:
    """Errors of a seed are given as shares of the error of its value alone: seeds differ widely."""
    fixed = np.array([run["fixed"] for run in runs])
    shares = fixed / fixed[:, :1]
    weighed = np.array([run["weighed"] for run in runs]) / fixed[:, 0]
    best = int(shares.mean(0).argmin())
    return reported(
        "value of a policy by imagining k steps, then trusting a value: error as a share of k = 0",
        f"k = {best}, the best afterwards: {_words(shares[:, best])}; k = {FURTHEST}: "
        f"{_words(shares[:, -1])}; weighed by agreement: {_words(weighed)}, against the "
        f"best k: {_verdict(weighed - shares[:, best], 'worse', 'better')}",
    )


def _verdict(change: np.ndarray, above: str, below: str) -> str:
    _, low, high = t_interval(change)
    return above if low > 0 else below if high < 0 else "no clear difference"


def _words(values, within: tuple[float, float] = (-np.inf, np.inf)) -> str:
    return mean_over_seeds(values, ".3g", within)
