"""The loop of lesson 12, small: it calls all five functions, and a wrong one changes it."""

from dataclasses import replace

import torch

from course_lib.rl.agent import Agent
from course_lib.rl.envs import make
from course_lib.world_models import dreamer, imagination, world_model

CONFIG = dreamer.Config(
    num_envs=4,
    frames=(120,),
    model_steps=(6,),
    updates=(2,),
    horizon=6,
    model=world_model.Config(width=32, encoder=32, hidden=32, filters=8),
    training=world_model.Training(batch_size=6),
    policy=replace(dreamer.POLICY, num_envs=32, minibatch_size=64),
)


def numbers(rows):
    names = ("loss", "frame", "events", "return", "policy_loss", "value_loss")
    return [[row.get(name, 0.0) for name in names] for row in rows]


def loop():
    run = dreamer.Run(make("MinAtar/Breakout", CONFIG.num_envs, seed=0), CONFIG, seed=0)
    return numbers(dreamer.train(run))


def dreams():
    """The loop's last part, in a model whose futures differ from the start."""
    envs = make("MinAtar/Breakout", CONFIG.num_envs, seed=0)
    run = dreamer.Run(envs, CONFIG, seed=0)
    run.play(120, explore=1.0)
    with torch.no_grad():
        run.model.decoder.out.weight.normal_(std=3, generator=torch.Generator().manual_seed(0))
    starts = imagination.from_replay(run.replay, CONFIG.context)
    dream = imagination.Dream(run.model, starts, CONFIG.policy.num_envs, CONFIG.horizon)
    return numbers(dreamer.learn_in(dream, Agent(envs, CONFIG.policy.agent), CONFIG))


RUNS = {
    "block_causal_mask": (loop, "sees the future"),
    "event_nll": (loop, "learns who survives"),
    "sample_frame": (dreams, "always the likeliest"),
    "dream_returns": (loop, "ends on nothing"),
    "continue_weights": (loop, "counts its own end"),
}
