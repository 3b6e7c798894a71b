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

from benchmarks.harness import Goal, fresh_seeds
from benchmarks.world_models.mpc import CARTPOLE, PENDULUM, kept
from course_lib.evaluation import bootstrap_interval
from course_lib.rl.envs import make
from course_lib.rl.returns import discounted_returns
from course_lib.world_models import dynamics, horizons
from course_lib.world_models.dynamics import Config, Dynamics
from course_lib.world_models.experience import (
    Experience,
    Transitions,
    collect,
    random_policy,
    segments,
    transitions,
)
from course_lib.world_models.planning import PENDULUM as KNOWN
from course_lib.world_models.planning import Config as Planning
from course_lib.world_models.planning import Planner

ENSEMBLE = Config(members=5, updates=800)
SINGLE = replace(ENSEMBLE, members=1)
LIMITS = {CARTPOLE: 1.0, PENDULUM: KNOWN.limit}
DATA = {CARTPOLE: 500, PENDULUM: 1_000}  # real steps to learn from
HORIZONS = {CARTPOLE: 12, PENDULUM: 40}  # random CartPole episodes last about 22 steps

# Exploitation.
FEW, STARTS, AHEAD = 400, 10, 40
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
    runs = []
    for where, data in tests.items():
        error, doubt = dynamics.one_step_error(model, data)
        rho = float(spearmanr(error.numpy(), doubt.numpy()).statistic)
        runs.append(
            {
                "part": "disagreement",
                "seed": seed,
                "where": where,
                "rank_correlation": round(rho, 3),
                "error": round(float(error.median()), 4),
                "disagreement": round(float(doubt.median()), 4),
            }
        )
    return runs


def exploited(seed: int) -> list[dict]:
    """Promise and reality of the best plans found, per cure and amount of search."""
    task = KNOWN._replace(reward=None)
    data = transitions(played(PENDULUM, FEW, seed, 2))
    runs, models = [], {}
    for cure, (members, propagation, pessimism) in CURES.items():
        if members not in models:
            config = replace(ENSEMBLE, members=members, learn_reward=True)
            models[members] = fitted(data, config, seed)
        planning = Planning(
            horizon=AHEAD,
            population=100,
            elites=10,
            spread=1.0,
            propagation=propagation,
            pessimism=pessimism,
        )
        for iterations in SEARCH:
            settings = replace(planning, iterations=iterations)
            run, real = _promise(models[members], task, settings, seed)
            runs.append({"part": "exploitation", "seed": seed, "cure": cure, **run})
            if cure == "one network":
                failed = real
    both = Transitions(*(torch.cat(pair) for pair in zip(data, failed, strict=True)))
    model = fitted(both, replace(SINGLE, learn_reward=True), seed)
    for iterations in SEARCH:
        settings = replace(planning, iterations=iterations, pessimism=0.0)
        run, _ = _promise(model, task, settings, seed)
        runs.append({"part": "exploitation", "seed": seed, "cure": SEEN, **run})
    return runs


def _promise(model: Dynamics, task, settings: Planning, seed: int) -> tuple[dict, Transitions]:
    """Plan once from ten starts, then follow the plans for real, without looking."""
    envs = make(PENDULUM, STARTS, 10_000 + seed)
    planner = Planner(model, task, settings, STARTS, seed)
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


def weighed(seed: int) -> list[dict]:
    """Error of the value of a policy for each horizon, and with the horizons weighed."""

    def pump(obs: np.ndarray) -> np.ndarray:  # pushes the way the pendulum swings already
        return KNOWN.limit * np.sign(obs[:, 2:] + 1e-9)

    def part(num_envs: int, stream: int) -> tuple[Transitions, Experience]:
        data = collect(make(PENDULUM, num_envs, stream), pump, num_envs * 200)
        return _with_returns(data), data

    learn, raw = part(3, seed)
    rewarded = replace(ENSEMBLE, learn_reward=True)
    model = fitted(transitions(raw), rewarded, seed)
    value = fitted(learn, replace(rewarded, updates=300), seed + 1)  # "reward" is the return here
    test, _ = part(20, 10_000 + seed)
    estimates = _expansions(model, value, test.obs, pump)  # (E, K, B)
    weights = horizons.horizon_weights(estimates)
    truth = test.rewards

    def error(estimate: Tensor) -> float:
        return round(float((estimate - truth).square().mean(-1).sqrt()), 4)

    fixed = [error(estimates.mean(0)[k]) for k in range(FURTHEST + 1)]
    return [
        {
            "part": "horizons",
            "seed": seed,
            "fixed": fixed,
            "weighed": error(horizons.weighted_return(estimates, weights)),
            "weights": _rounded(weights.mean(1), 4),
        }
    ]


def _with_returns(data: Experience) -> Transitions:
    """The steps whose return is complete, with that return in place of the reward."""
    rewards, ended = torch.as_tensor(data.rewards), torch.as_tensor(data.ended)
    returns = discounted_returns(
        rewards, torch.zeros_like(rewards), torch.zeros_like(ended), ended, GAMMA
    )
    complete = slice(0, len(rewards) - REST)
    columns = (data.obs, data.actions, returns.numpy(), data.next_obs)
    return Transitions(*(torch.as_tensor(c[complete]).float().flatten(0, 1) for c in columns))


@torch.no_grad()
def _expansions(model: Dynamics, value: Dynamics, obs: Tensor, policy) -> Tensor:
    """Every member's expansion for all horizons, (E, K, B), each with its own value."""
    here = obs.expand(model.config.members, *obs.shape)
    rewards, values = [], []
    for k in range(FURTHEST + 1):
        actions = torch.as_tensor(policy(here.flatten(0, 1).numpy())).view(*here.shape[:2], -1)
        values.append(value.predict(here, actions).rewards)
        if k < FURTHEST:
            predicted = model.predict(here, actions)
            rewards.append(predicted.rewards)
            here = predicted.next_obs
    return horizons.value_expansion(torch.stack(rewards, 1), torch.stack(values, 1), GAMMA)


def _rounded(values: Tensor, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(2 if quick else 6)
    code = horizons, sys.modules[__name__]
    runs: list[dict] = []
    for seed in seeds:
        for name in HORIZONS:
            runs += kept(f"errors_{name}", seed, lambda m=(name, seed): compounding(*m), *code)
        for part in (doubted, exploited, weighed):
            runs += kept(part.__name__, seed, lambda p=part, s=seed: p(s), *code)
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    of = {part: [run for run in result["runs"] if run["part"] == part] for part in _parts(result)}
    goals = [_compounding(of["compounding"], name) for name in HORIZONS]
    goals += _disagreement(of["disagreement"])
    goals += _exploitation(of["exploitation"])
    goals.append(_horizons(of["horizons"]))
    return goals


def _parts(result: dict) -> dict[str, None]:
    return dict.fromkeys(run["part"] for run in result["runs"])


def _compounding(runs: list[dict], name: str) -> Goal:
    of = {
        label: np.array([r["errors"] for r in runs if (r["env"], r["model"]) == (name, label)])
        for label in ("one network", "ensemble")
    }
    last = HORIZONS[name]
    parts = [f"{label}: {_words(e[:, 0])}, then {_words(e[:, -1])}" for label, e in of.items()]
    change = of["ensemble"][:, -1] - of["one network"][:, -1]
    grows = all((errors[:, -1] > errors[:, 0]).all() for errors in of.values())
    return Goal(
        f"{name}: error after 1 and after {last} imagined steps (1: an average state guessed)",
        "grows on every seed",
        "; ".join(parts) + f"; ensemble minus one network at {last}: {_words(change)}",
        bool(grows),
    )


def _disagreement(runs: list[dict]) -> list[Goal]:
    goals = []
    for where in dict.fromkeys(run["where"] for run in runs):
        rho = [run["rank_correlation"] for run in runs if run["where"] == where]
        low = bootstrap_interval(rho)[0]
        what = f"Pendulum, {where}: rank correlation of disagreement with the true one-step error"
        # Where a planner balances, states are all alike, and so is what little error there is.
        judged = where == "both"
        goal = "interval above 0.5" if judged else "reported"
        goals.append(Goal(what, goal, _words(rho), low > 0.5 or not judged))
    return goals


def _exploitation(runs: list[dict]) -> list[Goal]:
    goals, gaps, real = [], {}, {}
    for cure in dict.fromkeys(run["cure"] for run in runs):
        mine = {n: [r for r in runs if (r["cure"], r["search"]) == (cure, n)] for n in SEARCH}
        gaps[cure] = [run["promised"] - run["real"] for run in mine[SEARCH[-1]]]
        real[cure] = [run["real"] for run in mine[SEARCH[-1]]]
        parts = [
            f"{n} iteration{'s' * (n > 1)}: promised {np.mean([r['promised'] for r in of]):.0f}, "
            f"real {_words([r['real'] for r in of])}"
            for n, of in mine.items()
        ]
        goals.append(Goal(f"exploitation, {cure}", "reported", "; ".join(parts), True))
    for cure in (CURED, SEEN):
        alone, cured = gaps["one network"], gaps[cure]
        apart = bootstrap_interval(np.abs(cured))[1] < bootstrap_interval(alone)[0]
        change = np.subtract(real[cure], real["one network"])
        low, high = bootstrap_interval(change)
        verdict = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        goals.append(
            Goal(
                f"promise minus reality of the best plan: {cure}",
                "nearer 0 than one network's, 95 % intervals apart",
                f"{_words(cured)}, one network {_words(alone)}; real return against one network's "
                f"{_words(change)}: {verdict}",
                apart,
            )
        )
    return goals


def _horizons(runs: list[dict]) -> Goal:
    """Errors of a seed are given as shares of the error of its value alone: seeds differ widely."""
    fixed = np.array([run["fixed"] for run in runs])
    alone = fixed[:, 0]
    weighed = np.array([run["weighed"] for run in runs])
    shares = fixed / alone[:, None]
    best = int(shares.mean(0).argmin())
    low, high = bootstrap_interval(weighed / alone - shares[:, best])
    verdict = "better" if high < 0 else "worse" if low > 0 else "no clear difference"
    return Goal(
        "value of a policy by imagining k steps, then trusting a value: error as a share of k = 0",
        "reported",
        f"k = {best}, the best afterwards: {_words(shares[:, best])}; k = {FURTHEST}: "
        f"{_words(shares[:, -1])}; weighed by agreement: {_words(weighed / alone)}, against the "
        f"best k: {verdict}",
        True,
    )


def _words(values) -> str:
    low, high = bootstrap_interval(values)
    return f"{np.mean(values):.3g} [{low:.3g}, {high:.3g}]"
