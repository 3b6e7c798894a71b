"""Which run of the lesson each exercise drives, and a mistake that changes it."""

from course_lib.rl import envs, ppo
from course_lib.rl.agent import Agent


def _train(env):
    config = ppo.Config(
        total_steps=768, num_envs=4, rollout_length=64, learning_rate=3e-3, target_kl=0.01
    )
    stage = envs.make(env, config.num_envs, seed=0)
    return list(ppo.train(Agent(stage, config.agent, seed=0), stage, config, seed=0))


def pole():
    return _train("CartPole-v1")


def double_pendulum():
    return _train("InvertedDoublePendulum-v5")


RUNS = {
    "probability_ratio": (pole, "upside down"),
    "clipped_surrogate": (pole, "takes the larger"),
    "value_loss": (pole, "forgets the half"),
    "approx_kl": (pole, "the plain estimate"),  # its mean stops the epochs, too
    "gaussian_logp": (double_pendulum, "takes log_std for the log-variance"),
}

CALLED = {"learn_from_rollout"}
