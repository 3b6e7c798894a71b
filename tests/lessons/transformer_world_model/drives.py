"""The loop of lesson 12, small: it calls all five functions, and a wrong one changes it."""

from dataclasses import replace

from course_lib.rl.envs import make
from course_lib.world_models import dreamer, world_model

CONFIG = dreamer.Config(
    num_envs=4,
    frames=(120,),
    model_steps=(16,),
    updates=(2,),
    horizon=6,
    model=world_model.Config(width=32, encoder=32, hidden=32, filters=8),
    training=world_model.Training(batch_size=6, learning_rate=3e-2, warmup=1),  # codes soon matter
    policy=replace(dreamer.POLICY, num_envs=32, minibatch_size=64),
)


def loop():
    run = dreamer.Run(make("MinAtar/Breakout", CONFIG.num_envs, seed=0), CONFIG, seed=0)
    names = ("loss", "frame", "events", "return", "policy_loss", "value_loss")
    return [[row.get(name, 0.0) for name in names] for row in dreamer.train(run)]


RUNS = {
    "block_causal_mask": (loop, "sees the future"),
    "event_nll": (loop, "learns who survives"),
    "sample_frame": (loop, "always the likeliest"),
    "dream_returns": (loop, "ends on nothing"),
    "continue_weights": (loop, "counts its own end"),
}
