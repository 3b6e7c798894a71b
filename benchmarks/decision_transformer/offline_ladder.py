"""Breakout from one recording: seven learners at about equal CPU seconds, each on ten seeds.

The recording is the replay of a PPO run, from its first frames to its last. *Cloning* imitates all
of it, *cloning the best tenth* the tenth of the episodes with the largest returns. The *decision
transformer* imitates all of it too, but is told the return that followed and, when it plays, is
asked for 15 bricks, a number fixed before anything was measured; *without returns* it is cloning
with a memory of eight steps. *Conservative Q-learning*, *plain Q-learning* (the same without its
penalty) and *implicit Q-learning* learn values. Each gets as many gradient steps as take it about
20 CPU seconds; the steps are constants, so that a run can be made again on any machine.

Tests are 64 whole games in environments that nobody has seen, with actions drawn from the policy
and with the most probable ones. Q-learning has no policy to draw from. The decision transformer is
also asked for 0 to 25 bricks.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.decision_transformer.offline_runs import (
    ASKED,
    POLICY,
    data,
    drawn,
    folder,
    learn,
    mean_of,
    once,
    paired,
    played,
    q_agent,
    spent,
    test,
    transformer,
    verdict,
)
from benchmarks.harness import Goal, at_least, at_most, by, fresh_seeds, reported
from course_lib.agents import decision_transformer as dt
from course_lib.rl import offline
from course_lib.rl.agent import Agent

CLONE, BEST, DT = "cloning", "cloning the best tenth", "decision transformer"
MEMORY = "the same without returns"
CQL, DQN, IQL = "conservative Q-learning", "plain Q-learning", "implicit Q-learning"
# Gradient steps that take about 20 CPU seconds on one core.
STEPS = {CLONE: 5_500, BEST: 5_500, DT: 1_200, MEMORY: 1_300, CQL: 3_400, DQN: 3_400, IQL: 1_300}
# Chosen with a few runs on seed 0, as all settings were: values have far to travel in few steps.
VALUES = offline.Config(learning_rate=3e-3)
ASKS, GREEDY_ASKS = (0, 3, 6, 10, 15, 25), (0, 3, 15, 25)
CHECKPOINT_SEED = 200  # whose decision transformer is kept beside its run


def clone(method: str, seed: int, steps: int) -> dict:
    shown = data().best(0.1) if method == BEST else data()
    agent = Agent(shown, POLICY, seed)
    found = learn(offline.train_cloning(agent, shown, replace(offline.Config(), steps=steps), seed))
    return found | {"drawn": test(drawn(agent, seed), seed), "greedy": test(agent.act, seed)}


def q_learning(method: str, seed: int, steps: int) -> dict:
    config = replace(VALUES, steps=steps, alpha=1.0 if method == CQL else 0.0)
    agent = q_agent(data(), seed)
    found = learn(offline.train_cql(agent, data(), config, seed))
    return found | {"greedy": test(agent.act, seed)}


def implicit(method: str, seed: int, steps: int) -> dict:
    config = replace(VALUES, steps=steps)
    learner = offline.IQL(data(), config, seed)
    found = learn(offline.train_iql(learner, data(), config, seed))
    agent = learner.agent
    return found | {"drawn": test(drawn(agent, seed), seed), "greedy": test(agent.act, seed)}


def decide(method: str, seed: int, steps: int, keep: bool = True) -> dict:
    config = replace(dt.Config(), steps=steps, returns=method == DT)
    model = transformer(seed, config)
    found = learn(dt.train(model, data(), config, seed))
    model.eval()
    if method == MEMORY:  # what it is asked for reaches nobody
        return found | {
            "drawn": played(model, seed), "greedy": played(model, seed, greedy=True),
        }  # fmt: skip
    if seed == CHECKPOINT_SEED and keep:
        dt.save(model, checkpoint())
    found["got"] = {str(ask): played(model, seed, ask) for ask in ASKS}
    found["got_greedy"] = {str(ask): played(model, seed, ask, True) for ask in GREEDY_ASKS}
    asked = f"{ASKED:g}"
    return found | {"drawn": found["got"][asked], "greedy": found["got_greedy"][asked]}


def checkpoint() -> Path:
    """Where the decision transformer of seed 200 lies once it has been measured."""
    return folder() / f"ladder_{CHECKPOINT_SEED}.safetensors"


LEARNERS = {
    CLONE: clone, BEST: clone, DT: decide, MEMORY: decide, CQL: q_learning, DQN: q_learning,
    IQL: implicit,
}  # fmt: skip


def fit(method: str, seed: int, quick: bool) -> dict:
    steps = STEPS[method] // 40 if quick else STEPS[method]

    def work() -> dict:
        extra = {"keep": False} if quick and method == DT else {}
        found = LEARNERS[method](method, seed, steps, **extra)
        return {"method": method, "seed": seed} | found

    return once(f"ladder_{method.replace(' ', '_')}_{steps}_{seed}", work, quick)


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    runs = [fit(method, seed, quick) for seed in seeds for method in STEPS]
    about = {"steps": len(data()), "episodes": len(data().returns)}
    about["mean"] = round(float(data().returns.mean()), 2)
    about["best_tenth"] = round(float(data().best(0.1).returns.mean()), 2)
    return {"seeds": seeds, "asked": ASKED, "recording": about, "runs": runs}


# Who is compared with whom, and with which actions.
PAIRS = (
    (DT, BEST, "drawn"),
    (DT, BEST, "greedy"),
    (DT, MEMORY, "drawn"),
    (DT, MEMORY, "greedy"),
    (MEMORY, CLONE, "drawn"),
    (BEST, CLONE, "drawn"),
    (BEST, CLONE, "greedy"),
    (CQL, CLONE, "greedy"),
    (CQL, BEST, "greedy"),
    (CQL, DQN, "greedy"),
    (IQL, CLONE, "drawn"),
    (IQL, CLONE, "greedy"),
    (IQL, BEST, "drawn"),
    (IQL, BEST, "greedy"),
    (DT, CQL, "greedy"),
    (DT, IQL, "greedy"),
)


def judge(result: dict) -> list[Goal]:
    methods, about = by(result["runs"], "method"), result["recording"]
    seeds, goals = len(result["seeds"]), []
    what = f"Breakout from a recording, {seeds} seeds"
    for method, runs in methods.items():
        words = [f"{name} {mean_of(runs, name)}" for name in ("drawn", "greedy") if name in runs[0]]
        if method in (CQL, DQN):
            words.append(f"mean Q of recorded actions {np.mean([r['q'] for r in runs]):.1f}")
        words.append(f"{runs[0]['steps']:,} steps in {spent(runs)} CPU seconds")
        goals.append(
            reported(f"{what}, {method}: return, actions drawn and greedy", "; ".join(words))
        )
    for one, other, key in PAIRS:
        change = paired(methods[one], methods[other], key)
        goals.append(reported(f"{what}, {one} against {other}, {key}", verdict(change)))
    table = methods[DT]
    for key, title in (("got", "actions drawn"), ("got_greedy", "greedy")):
        columns = {ask: [{"x": run[key][ask]} for run in table] for ask in table[0][key]}
        words = "; ".join(f"{ask}: {mean_of(rows, 'x')}" for ask, rows in columns.items())
        goals.append(reported(f"{what}, {DT}, {title}: asked for, and got", words))
    got = {ask: np.array([run["got"][str(ask)] for run in table]) for ask in ASKS}
    nothing, six, most = (
        mean_of([{"x": x} for x in values], "x") for values in (got[0], got[6] - got[0], got[25])
    )
    return [
        *goals,
        at_most(f"{what}, {DT}: bricks when asked for 0", 2.5, got[0].mean(), nothing),
        at_least(
            f"{what}, {DT}: bricks when asked for 6 less those when asked for 0",
            2.5,
            (got[6] - got[0]).mean(),
            six,
        ),
        at_most(
            f"{what}, {DT}: bricks when asked for 25, more than it can follow",
            12,
            got[25].mean(),
            most,
        ),
        reported(
            "Breakout's recording: steps, episodes, mean return, mean of the best tenth",
            f"{about['steps']:,}, {about['episodes']:,}, {about['mean']:.2f}, "
            f"{about['best_tenth']:.2f}",
        ),
    ]
