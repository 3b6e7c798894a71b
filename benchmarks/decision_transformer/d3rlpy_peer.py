"""d3rlpy's side of `offline_vs_d3rlpy`, a process of its own: fit one method, play, print one line.

`python -m benchmarks.decision_transformer.d3rlpy_peer METHOD SEED STEPS`, with d3rlpy within reach.
Network sizes, batch, rate, discount and data are those of the kit. What differs is d3rlpy's own:
its target network is copied every so many steps, its rate stays where it is, its decision
transformer is that of the paper's Atari games, with learned embeddings of the time within an
episode and the GELU network four times as wide. Its dropout is turned off, as the kit has none.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch

from benchmarks.decision_transformer.offline_runs import ASKED, EPISODES, arena, data
from course_lib.agents import decision_transformer as dt
from course_lib.evaluation import evaluate
from course_lib.rl import offline

TARGET_PERIOD = 300  # d3rlpy's CQL copies its target; the kit's follows by 1 % a step
LONGEST = 1_001  # steps of an episode, for the embeddings of time


def recording() -> Any:
    """The same recording as d3rlpy has it."""
    import d3rlpy

    shown = data()
    return d3rlpy.dataset.MDPDataset(
        shown.obs(np.arange(len(shown))).numpy(),
        shown.actions[:, None],
        shown.rewards[:, None],
        shown.terminated.astype(np.float32),
        shown.truncated.astype(np.float32),
    )


def encoder(width: int) -> Any:
    from d3rlpy.models.encoders import PixelEncoderFactory

    return PixelEncoderFactory(filters=[[16, 3, 1]], feature_size=width)


def conservative(seed: int, steps: int) -> dict:
    from d3rlpy.algos import DiscreteCQLConfig

    config, shown = offline.Config(), recording()
    algorithm = DiscreteCQLConfig(
        batch_size=config.batch_size,
        gamma=config.gamma,
        learning_rate=config.learning_rate,
        alpha=config.alpha,
        target_update_interval=TARGET_PERIOD,
        encoder_factory=encoder(config.hidden[-1]),
    ).create(device="cpu:0")
    algorithm.build_with_dataset(shown)
    cpu = spent(lambda: algorithm.update(shown.sample_transition_batch(config.batch_size)), steps)
    returns = evaluate(algorithm.predict, arena(seed), EPISODES)
    networks = algorithm.impl.q_function
    weights = sum(p.numel() for network in networks for p in network.parameters())
    return {"score": float(returns.mean()), "cpu": cpu, "weights": weights}


def decision_transformer(seed: int, steps: int) -> dict:
    from d3rlpy.algos import DiscreteDecisionTransformerConfig

    config, shown = dt.Config(), recording()
    read = config.batch_size * config.context  # d3rlpy counts tokens where the kit counts updates
    algorithm = DiscreteDecisionTransformerConfig(
        batch_size=config.batch_size,
        context_size=config.context,
        num_layers=config.layers,
        num_heads=config.heads,
        learning_rate=config.learning_rate,
        max_timestep=LONGEST,
        attn_dropout=0.0,
        resid_dropout=0.0,
        embed_dropout=0.0,
        warmup_tokens=config.warmup * read,
        final_tokens=steps * read,
        encoder_factory=encoder(config.width),
    ).create(device="cpu:0")
    algorithm.build_with_dataset(shown)
    batch = config.batch_size, config.context
    cpu = spent(lambda: algorithm.update(shown.sample_trajectory_batch(*batch)), steps)
    weights = sum(p.numel() for p in algorithm.impl.modules.transformer.parameters())
    return {"score": float(np.mean(one_by_one(algorithm, seed))), "cpu": cpu, "weights": weights}


def one_by_one(algorithm: Any, seed: int) -> list[float]:
    """Returns of ``EPISODES`` games with drawn actions; d3rlpy plays one game at a time."""
    returns, envs = [], arena(seed, count=1)
    obs = envs.reset()
    for _ in range(EPISODES):
        player, reward, total = algorithm.as_stateful_wrapper(target_return=ASKED), 0.0, 0.0
        while True:
            step = envs.step(np.array([int(player.predict(obs[0], reward))]))
            obs, reward = step.obs, float(step.rewards[0])
            total += reward
            if step.terminated[0] or step.truncated[0]:
                break
        returns.append(total)
        obs = envs.step(np.array([0])).obs  # the reset row
    return returns


def spent(update: Any, steps: int) -> float:
    """CPU seconds of ``steps`` updates but the first, which also pays for what is prepared once."""
    update()
    start = time.process_time()
    for _ in range(steps - 1):
        update()
    return time.process_time() - start


METHODS = {
    "conservative Q-learning": conservative,
    "decision transformer": decision_transformer,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    import structlog

    quiet = structlog.make_filtering_bound_logger(logging.ERROR)
    structlog.configure(wrapper_class=quiet)
    import d3rlpy

    name, seed, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    d3rlpy.seed(seed)
    found = METHODS[name](seed, steps)
    found = {key: round(value, 3) for key, value in found.items()}
    print(json.dumps(found | {"version": d3rlpy.__version__}))
