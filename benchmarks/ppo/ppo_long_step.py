"""What a batch promises of a step of PPO, and what the step really does: short and long ones.

On each seed a CartPole agent trains until its last 100 episodes are worth 100 on average and plays
one more batch. Its policy then goes a distance along the gradient of that batch's surrogate. At
each distance: the surrogate (the promise, in whitened advantages per row), its clipped version,
and the real return of 100 new episodes, with actions drawn. Seed 0 is the notebook's.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Goal, reported
from course_lib.evaluation import evaluate
from course_lib.rl import envs, losses, ppo, returns
from course_lib.rl.agent import Agent

ENV, CLIP = "CartPole-v1", 0.2
CONFIG = ppo.Config(num_envs=64, rollout_length=32, gamma=0.98, lam=0.8, learning_rate=3e-3)
DISTANCES = [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]


def half_trained(seed: int) -> tuple[Agent, ppo.Batch]:
    """An agent whose last 100 episodes are worth 100, and the batch that it plays next."""
    poles = envs.make(ENV, CONFIG.num_envs, seed)
    agent = Agent(poles, CONFIG.agent, seed)
    run = ppo.Run(agent, poles, CONFIG, seed)
    for row in ppo.train(agent, poles, CONFIG, run=run):
        if row["return"] >= 100:
            break
    rollout = run.collector.collect(agent, CONFIG.rollout_length, run.generator)
    columns = (rollout.rewards, rollout.values, rollout.next_values)
    ends = (rollout.terminated, rollout.truncated)
    advantages = returns.gae(*columns, *ends, CONFIG.gamma, CONFIG.lam)
    return agent, ppo.flatten(rollout, advantages)


def promises(agent: Agent, batch: ppo.Batch, advantages: Tensor) -> tuple[Tensor, Tensor]:
    """The surrogate of the present policy, and what the clip leaves of it."""
    logp = agent.network.policy(batch.obs).logp(batch.actions)
    ratio = losses.probability_ratio(logp, batch.logp)
    clipped = -losses.clipped_surrogate(ratio, advantages, CLIP)
    return (ratio * advantages).mean(), clipped.mean()


def real_return(agent: Agent) -> float:
    """The mean return of 100 new episodes, actions drawn, the same dice at each distance."""
    player = partial(agent.act, greedy=False, generator=torch.Generator().manual_seed(0))
    return float(evaluate(player, envs.make(ENV, 100, seed=1), 100).mean())


def run(seed: int) -> dict:
    """Walk along the gradient, and ask at each distance."""
    agent, batch = half_trained(seed)
    advantages = losses.whiten(batch.advantages)
    network = agent.network
    weights = [*network.policy_body.parameters(), *network.policy_head.parameters()]
    gradient = torch.autograd.grad(promises(agent, batch, advantages)[0], weights)
    length = torch.cat([part.flatten() for part in gradient]).norm()
    start = [weight.detach().clone() for weight in weights]
    found: dict = {"seed": seed, "promised": [], "clipped": [], "real": []}
    with torch.no_grad():
        for distance in DISTANCES:
            for weight, origin, part in zip(weights, start, gradient, strict=True):
                weight.copy_(origin + distance * part / length)
            promised, clipped = promises(agent, batch, advantages)
            found["promised"].append(round(float(promised), 4))
            found["clipped"].append(round(float(clipped), 4))
            found["real"].append(round(real_return(agent), 1))
    return found


def measure(quick: bool) -> dict:
    seeds = list(range(1 if quick else 5))
    return {"seeds": seeds, "distances": DISTANCES, "runs": [run(seed) for seed in seeds]}


def judge(result: dict) -> list[Goal]:
    """One line per seed, and what the longest step does on all of them."""
    goals = []
    for found in result["runs"]:
        real, promised = found["real"], found["promised"]
        best = max(range(len(real)), key=real.__getitem__)
        goals.append(
            reported(
                f"PPO, {ENV}, one long step, seed {found['seed']}: return at the start, at its "
                "best, after the longest step",
                f"{real[0]:.0f}, {real[best]:.0f} at {result['distances'][best]:g}, "
                f"{real[-1]:.0f}; promise of the longest step {promised[-1]:+.3f}, clipped "
                f"{found['clipped'][-1]:+.3f}",
            )
        )
    left = [found["real"][-1] / found["real"][0] for found in result["runs"]]
    still = sum(found["promised"][-1] > 0 for found in result["runs"])
    goals.append(
        reported(
            f"PPO, {ENV}, the longest step: share of the return that is left; seeds on which the "
            "promise is still above 0",
            f"{min(left):.2f} to {max(left):.2f}; {still} of {len(left)}",
        )
    )
    return goals
