"""The run of lesson 02 that a learner's functions drive, made small: CartPole with its recipe."""

from dataclasses import replace

from course_lib.rl import dqn, envs


def cartpole():
    few = {"hidden": (16,), "batch_size": 32, "gradient_steps": 4, "replay_capacity": 400}
    config = replace(dqn.CARTPOLE, total_steps=1_000, learning_starts=64, **few)
    poles = envs.make("CartPole-v1", 16, seed=0)
    agent = dqn.DQN(poles.obs_shape, poles.num_actions, config, seed=0)
    return list(dqn.train(agent, poles, config, seed=0))


RUNS = {
    "epsilon_schedule": (cartpole, "jumps"),
    "ring_indices": (cartpole, "starts over at the end"),
    "td_target": (cartpole, "bootstraps through termination"),
    "n_step_target": (cartpole, "bootstraps through termination"),
    "double_dqn_target": (cartpole, "ignores the target network"),
}

CALLED = {"learn_from_replay"}
