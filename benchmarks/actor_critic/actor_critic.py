"""REINFORCE, its baselines and A2C on CartPole-v1; how noisy their gradients are; what breaks them.

Three parts. *Learning*: every method trains on ten seeds with the same number of steps; what counts
is the last policy, played greedily for 100 episodes that no seed trained on. *Noise*: one policy
is frozen half-way and its values are trained on, many batches of 16 episodes are played, and each
estimator turns the very same episodes into gradients: how far do they scatter, and how far off is
their mean? Does the critic of that policy know which action is better? *Mistakes*: named mistakes
of the lesson's exercises, and a learning rate ten times too large, on five seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from benchmarks.dqn.dqn_cartpole import SOLVED
from benchmarks.harness import Goal, at_least, by, fresh_seeds, iqm_over_seeds, reported
from course_lib.classroom import use
from course_lib.classroom.use import Replacement
from course_lib.evaluation import evaluate
from course_lib.lessons.actor_critic import exercises
from course_lib.rl import actor_critic, returns
from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.rl.rollout import Rollout

CHECK_EVERY = 5_000  # steps between two points of a stored curve
A2C = actor_critic.CARTPOLE_A2C
# Values that lag behind mislead the policy: they take several steps for each one of the policy.
VALUE_BASELINE = actor_critic.Config(baseline="value", value_steps=8)
METHODS = {
    "REINFORCE": (actor_critic.reinforce, actor_critic.CARTPOLE_REINFORCE),
    "leave one out": (actor_critic.reinforce, actor_critic.CARTPOLE_LEAVE_ONE_OUT),
    "value baseline": (actor_critic.reinforce, VALUE_BASELINE),
    "A2C": (actor_critic.a2c, A2C),
}
_LOSS, _TO_GO, _GAE = exercises.policy_gradient_loss, exercises.return_to_go, exercises.gae
_MISTAKES = {
    "REINFORCE, sign turned": _LOSS.mistake("turns the sign"),
    "REINFORCE, the whole return at every step": _TO_GO.mistake("the whole return at every step"),
    "A2C, bootstraps through termination": _GAE.mistake("bootstraps through termination"),
    "A2C, truncation treated as termination": _GAE.mistake("treats truncation as termination"),
    "A2C, trace never cut": _GAE.mistake("never cuts the trace"),
}
MISTAKES = {
    name: (*METHODS[name.split(",")[0]], [mistake]) for name, mistake in _MISTAKES.items()
} | {
    "A2C, learning rate times ten": (
        actor_critic.a2c,
        replace(A2C, learning_rate=10 * A2C.learning_rate),
    )
}
LAMBDAS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0)
BATCH = 16  # episodes per gradient, as in the recipes
HALF_WAY = 100.0  # mean return at which the policy is frozen


def train_and_test(
    seed: int,
    algorithm: Callable,
    config: actor_critic.Config,
    mistakes: Sequence[Replacement] = (),
) -> dict:
    """Train one agent; then 100 greedy episodes with its last policy."""
    envs = make("CartPole-v1", config.num_envs, seed)
    agent = Agent(envs, config.agent, seed)
    steps, curve, solved_at = [], [], None
    start = time.perf_counter()
    with use(*mistakes):
        for row in algorithm(agent, envs, config, seed):
            if solved_at is None and row["return"] >= 400:
                solved_at = int(row["steps"])
            if row["steps"] >= CHECK_EVERY * (len(steps) + 1):
                steps.append(int(row["steps"]))
                curve.append(round(row["return"], 1))
    seconds = time.perf_counter() - start
    found = evaluate(agent.act, make("CartPole-v1", 100, 10_000 + seed), 100)
    return {
        "seed": seed,
        "return": round(float(found.mean()), 1),
        "seconds": round(seconds, 2),
        "steps_to_400": solved_at,
        "entropy": round(row["entropy"], 3),
        "steps": steps,
        "training": curve,
    }


def half_trained(seed: int) -> Agent:
    """An A2C agent whose policy stopped learning half-way, and whose values then caught up."""
    envs = make("CartPole-v1", A2C.num_envs, seed)
    agent = Agent(envs, A2C.agent, seed)
    for row in actor_critic.a2c(agent, envs, A2C, seed):
        if row["return"] >= HALF_WAY:
            break
    with use({actor_critic.policy_gradient_loss: _policy_stands_still}):
        for _ in actor_critic.a2c(agent, envs, replace(A2C, total_steps=30_000), seed):
            pass
    return agent


def _policy_stands_still(logp: Tensor, advantages: Tensor, mask: Tensor) -> Tensor:
    return 0 * logp.sum()


def gradient(agent: Agent, episodes: Rollout, advantages: Tensor) -> Tensor:
    """The estimate of one batch of episodes, (P,): summed over time, averaged over episodes."""
    policy = agent.network.policy(episodes.obs.flatten(0, 1))
    logp = policy.logp(episodes.actions.flatten(0, 1)).view(advantages.shape)
    total = (logp * advantages * episodes.valid).sum() / advantages.shape[1]
    weights = [p for name, p in agent.network.named_parameters() if name.startswith("policy")]
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, weights)])


def estimators(episodes: Rollout, gamma: float) -> dict[str, Tensor]:
    """What each method would call the advantages of these episodes, (T, N)."""
    totals = actor_critic.return_to_go(episodes.rewards, gamma)
    so_far = episodes.rewards.cumsum(0) - episodes.rewards
    found = {
        "whole return": totals + so_far,
        "return to go": totals,
        "leave one out": actor_critic.leave_one_out(totals),
        "value baseline": totals - episodes.values,
    }
    ends = episodes.terminated, episodes.truncated
    values = episodes.values, episodes.next_values
    for lam in LAMBDAS:
        found[f"GAE {lam:g}"] = returns.gae(episodes.rewards, *values, *ends, gamma, lam)
    return found


def gradient_noise(seed: int, batches: int) -> list[dict]:
    """Scatter and bias of every estimator on the same episodes, in units of the gradient's length.

    The reference is the mean of "value baseline", which uses no estimate in place of a reward.
    Differences are taken batch by batch, so that the luck of the draw cancels; what is left of it
    is subtracted from the squared bias. "cosine" says how far the directions of the means agree,
    "one_batch" how far, on average, that of one batch agrees with the mean of all other batches'
    references. "length" is that of an estimator's own mean, and "own_noise" its variance over the
    square of it: unlike "noise", it does not fall when an estimator is multiplied by one half.
    """
    agent, gamma = half_trained(seed), A2C.gamma
    envs = make("CartPole-v1", BATCH, 30_000 + seed)
    generator = torch.Generator().manual_seed(seed)
    gradients: dict[str, list[Tensor]] = {}
    lengths = []
    for _ in range(batches):
        episodes = actor_critic.play_episodes(agent, envs, generator)
        lengths.append(float(episodes.valid.sum() / BATCH))
        for name, advantages in estimators(episodes, gamma).items():
            gradients.setdefault(name, []).append(gradient(agent, episodes, advantages))
    stacked = {name: torch.stack(rows).double() for name, rows in gradients.items()}
    reference = stacked["value baseline"]
    signal = _square_of_mean(reference)
    others = (reference.sum(0) - reference) / (batches - 1)
    rows = []
    for name, found in stacked.items():
        noise = float(found.var(0).sum() / signal)
        bias = float((_square_of_mean(found - reference) / signal) ** 0.5)
        cosine = torch.cosine_similarity(found.mean(0), reference.mean(0), dim=0)
        own = _square_of_mean(found)
        one_batch = torch.cosine_similarity(found, others, dim=1).mean()
        row = {"seed": seed, "estimator": name, "noise": round(noise, 4), "bias": round(bias, 4)}
        row |= {"cosine": round(float(cosine), 4), "mean_length": round(float(np.mean(lengths)), 1)}
        row |= {"own_noise": round(float(found.var(0).sum() / own), 4) if own > 0 else None}
        row |= {"length": round(float((own / signal) ** 0.5), 4)}
        row |= {"one_batch": round(float(one_batch), 4)}
        rows.append(row)
    return rows


def with_episodes(row: dict, count: int) -> float:
    """One batch's cosine with the true gradient, had it so many episodes: calculated, not measured.

    The gradient of a batch is a mean over independent episodes, so its variance is BATCH / count
    times what it was and its mean is the same. In many dimensions what chance adds to the mean is
    nearly at right angles to it. Not for "leave one out", whose episodes depend on each other.
    """
    if row["own_noise"] is None:
        return float("nan")
    return float(row["cosine"] / (1 + row["own_noise"] * BATCH / count) ** 0.5)


def _square_of_mean(rows: Tensor) -> Tensor:
    """Squared length of the true mean of rows (B, P), without what chance adds to it."""
    chance = rows.var(0).sum() / len(rows)
    return ((rows.mean(0) ** 2).sum() - chance).clamp(min=0)


def after_action(obs: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """CartPole-v1's physics: states (S, 4) and actions (S,) to next states and "has it ended"."""
    _, speed, angle, spin = obs.T
    sin, cos = np.sin(angle), np.cos(angle)
    push = (np.where(actions == 1, 10.0, -10.0) + 0.05 * spin**2 * sin) / 1.1
    turn = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
    change = np.stack([speed, push - 0.05 * turn * cos / 1.1, spin, turn], axis=1)
    found = obs + 0.02 * change
    return found, (np.abs(found[:, 0]) > 2.4) | (np.abs(found[:, 2]) > np.deg2rad(12))


@torch.no_grad()
def critic_on_actions(agent: Agent, seed: int, states: int, rollouts: int) -> dict:
    """Does the critic know which of the two actions is better? Its opinion beside the truth.

    In states that ``agent``, a frozen policy, visits: the value of right minus that of left, by
    the critic (r + gamma V(s')) and by the mean return of many rollouts. "true" and "critic"
    are the standard deviations of that difference over the states, "correlation" is theirs; the
    chance in the rollouts is subtracted from the variance. "level" is the correlation of the
    critic's V(s) with the rollouts' value of the state.
    """
    gamma, rng = A2C.gamma, np.random.default_rng(seed)
    envs = make("CartPole-v1", BATCH, 30_000 + seed)
    episodes = actor_critic.play_episodes(agent, envs, torch.Generator().manual_seed(seed))
    visited = episodes.obs[episodes.valid].double().numpy()
    visited = visited[rng.choice(len(visited), states, replace=False)]

    def seen(obs: np.ndarray) -> Tensor:
        return torch.as_tensor(obs, dtype=torch.float32)

    def right(obs: np.ndarray) -> np.ndarray:
        return agent.network.policy(seen(obs)).logits.softmax(-1)[:, 1].numpy()

    opinion, truth, chance = [], [], []
    for action in (0, 1):
        following, ended = after_action(visited, np.full(states, action))
        opinion.append(1 + gamma * np.where(ended, 0, agent.network.value(seen(following)).numpy()))
        totals, weight = np.ones(states * rollouts), gamma
        index = np.flatnonzero(~np.repeat(ended, rollouts))
        obs = np.repeat(following, rollouts, axis=0)[index]
        for _ in range(400):  # 0.99 ** 400 is 0.02
            totals[index] += weight
            weight *= gamma
            obs, ended = after_action(obs, rng.random(len(obs)) < right(obs))
            obs, index = obs[~ended], index[~ended]
        totals = totals.reshape(states, rollouts)
        truth.append(totals.mean(1))
        chance.append(totals.var(1, ddof=1).mean() / rollouts)
    theirs, its = truth[1] - truth[0], opinion[1] - opinion[0]
    spread = max(theirs.var() - sum(chance), 1e-9) ** 0.5
    share = right(visited)
    level = share * truth[1] + (1 - share) * truth[0]
    values = agent.network.value(seen(visited)).numpy()
    found = {
        "true": spread,
        "critic": its.std(),
        "correlation": np.cov(theirs, its, ddof=0)[0, 1] / (spread * its.std()),
        "level": np.corrcoef(level, values)[0, 1],
    }
    return {"seed": seed} | {name: round(float(x), 3) for name, x in found.items()}


def measure(quick: bool) -> dict:
    seeds = fresh_seeds(1 if quick else 10)
    few = seeds[:5]
    runs = [
        {"method": name, **train_and_test(seed, *method)}
        for seed in seeds
        for name, method in METHODS.items()
    ]
    for seed in few:
        runs += ({"method": "noise", **row} for row in gradient_noise(seed, 8 if quick else 64))
        how_many = (20, 4) if quick else (200, 64)
        found = critic_on_actions(half_trained(seed), seed, *how_many)
        runs.append({"method": "critic on actions", **found})
    runs += [
        {"method": name, **train_and_test(seed, *method)}
        for seed in ([] if quick else few)
        for name, method in MISTAKES.items()
    ]
    return {"seeds": seeds, "runs": runs}


def judge(result: dict) -> list[Goal]:
    runs = by(result["runs"], "method")
    noise_runs, critics = by(runs.pop("noise"), "estimator"), runs.pop("critic on actions")
    found = {name: [run["return"] for run in rows] for name, rows in runs.items()}
    solved = {name: sum(r >= SOLVED for r in returns) for name, returns in found.items()}

    def median(estimator: str, column: str) -> float:
        """Over the frozen policies; chance may have drowned the mean of a few batches (None)."""
        known = [run[column] for run in noise_runs[estimator] if run[column] is not None]
        return float(np.median(known)) if known else float("nan")

    def over_lambdas(column: str) -> str:
        medians = ((lam, median(f"GAE {lam:g}", column)) for lam in LAMBDAS)
        return ", ".join(f"λ {lam:g}: {value:.2g}" for lam, value in medians)

    def calculated(count: int) -> str:
        words = []
        for lam in reversed(LAMBDAS):
            found = [with_episodes(row, count) for row in noise_runs[f"GAE {lam:g}"]]
            words.append(f"λ {lam:g}: {np.nanmedian(found):.2f} (worst {np.nanmin(found):.2f})")
        return ", ".join(words)

    goals = []
    for name in METHODS:
        count, needed = len(found[name]), round(0.8 * len(found[name]))
        promised = name == "A2C"  # the others are there to be compared with
        goals.append(
            Goal(
                f"{name}, CartPole-v1: mean of 100 greedy episodes of the last policy",
                f">= {SOLVED:.0f} on {needed} of {count} seeds" if promised else "reported",
                f"{solved[name]} of {count}, IQM {iqm_over_seeds(found[name], '.0f')}, "
                f"worst {min(found[name]):.0f}",
                solved[name] >= needed or not promised,
            )
        )
    shown = ("whole return", "return to go", "leave one out", "value baseline", "GAE 0.95")
    noise = {name: median(name, "noise") for name in shown}
    bias = {lam: median(f"GAE {lam:g}", "bias") for lam in LAMBDAS}
    cosine = median("GAE 0.95", "cosine")
    goals += [
        Goal(
            "variance of a policy gradient of 16 episodes, in squared lengths of the true one",
            "each less than the one before",
            ", ".join(f"{name} {value:.3g}" for name, value in noise.items()),
            sorted(noise.values(), reverse=True) == list(noise.values()),
        ),
        reported(
            "length of GAE's mean policy gradient, in lengths of the true one",
            over_lambdas("length"),
        ),
        reported(
            "variance of GAE's policy gradient, in squared lengths of its own mean",
            over_lambdas("own_noise"),
        ),
        reported(
            "cosine between one batch's policy gradient and the true one",
            ", ".join(f"{name} {median(name, 'one_batch'):.2f}" for name in shown),
        ),
        *(
            reported(
                f"the same for GAE and batches of {count}, calculated from the noise of {BATCH}",
                calculated(count),
            )
            for count in (16, 4, 1)
        ),
        reported(
            "frozen policies on which GAE's mean policy gradient points backwards",
            ", ".join(
                f"λ {lam:g}: {sum(run['cosine'] < 0 for run in noise_runs[f'GAE {lam:g}'])}"
                for lam in LAMBDAS
            )
            + f" of {len(noise_runs['GAE 0'])}",
        ),
        reported(
            "value of right minus left, standard deviation over states: rollouts against critic",
            ", ".join(f"{run['true']:.1f} against {run['critic']:.1f}" for run in critics)
            + "; correlation "
            + ", ".join(f"{run['correlation']:.2f}" for run in critics),
        ),
        Goal(
            "bias of GAE's policy gradient, in lengths of the true one",
            "falls with λ",
            ", ".join(f"λ {lam:g}: {value:.2g}" for lam, value in bias.items()),
            bias[0.0] > bias[0.95] > bias[1.0],
        ),
        at_least(
            "direction of GAE's mean policy gradient at λ 0.95, cosine with the true one",
            0.9,
            cosine,
            f"{cosine:.3f}",
        ),
    ]
    return goals + [
        reported(
            f"{name}: seeds solved",
            f"{solved[name]} of {len(found[name])} solved, mean {np.mean(found[name]):.0f}, "
            f"worst {min(found[name]):.0f}",
        )
        for name in MISTAKES
        if name in found
    ]
