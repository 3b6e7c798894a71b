"""Which run of the lesson each exercise drives, and a mistake that changes it."""

from course_lib.rl import actor_critic, envs
from course_lib.rl.agent import Agent


def _train(algorithm, **settings):
    config = actor_critic.Config(
        total_steps=800, num_envs=4, rollout_length=32, entropy_coef=0.01, **settings
    )
    poles = envs.make("CartPole-v1", config.num_envs, seed=0, options={"max_episode_steps": 20})
    return list(algorithm(Agent(poles, config.agent, seed=0), poles, config, seed=0))


def reinforce():
    return _train(actor_critic.reinforce, baseline="leave one out")


def a2c():
    return _train(actor_critic.a2c)


RUNS = {
    "return_to_go": (reinforce, "the whole return at every step"),
    "policy_gradient_loss": (reinforce, "turns the sign"),
    "leave_one_out": (reinforce, "keeps its own return in the mean"),
    "gae": (a2c, "treats truncation as termination"),
    "entropy_bonus": (a2c, "turns the sign"),
}

CALLED = {"learn_from_batches"}
