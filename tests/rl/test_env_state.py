"""Saved environments go on exactly as the originals would have."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from course_lib.rl.backends import spread
from course_lib.rl.envs import make

NAMES = [
    *["CartPole-v1", "MinAtar/Breakout", "MinAtar/Asterix", "FrozenLake-v1", "LunarLander-v3"],
    *["Pendulum-v1", "Hopper-v5", "Taxi-v4"],
]


def actions(envs, rng):
    if envs.action_size is None:
        return rng.integers(envs.num_actions, size=envs.num_envs)
    return rng.normal(size=(envs.num_envs, envs.action_size)).astype(np.float32)


def play(envs, steps, rng):
    return [envs.step(actions(envs, rng)) for _ in range(steps)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("before", [0, 1, 130])
def test_a_saved_state_continues_to_the_bit(name, before):
    envs = make(name, num_envs=3, seed=5)
    envs.reset()
    play(envs, before, np.random.default_rng(1))
    state = json.loads(json.dumps(envs.state()))
    expected = play(envs, 250, np.random.default_rng(2))

    other = make(name, num_envs=3, seed=77)
    other.load_state(state)
    for got, want in zip(play(other, 250, np.random.default_rng(2)), expected, strict=True):
        for a, b in zip(got, want, strict=True):
            assert np.array_equal(a, b)
    assert json.dumps(other.state()) == json.dumps(envs.state())


def test_a_state_right_after_an_end_remembers_the_reset_row():
    envs = make("LunarLander-v3", num_envs=2, seed=0)
    envs.reset()
    rng = np.random.default_rng(0)
    while not (step := envs.step(actions(envs, rng))).terminated.any():
        pass
    other = make("LunarLander-v3", num_envs=2)
    other.load_state(envs.state())
    assert np.array_equal(other.step(np.zeros(2, int)).valid, ~step.terminated)


def test_a_state_of_other_environments_gets_a_sentence():
    envs = make("CartPole-v1", num_envs=3)
    with pytest.raises(RuntimeError, match="call reset"):
        envs.state()
    envs.reset()
    with pytest.raises(ValueError, match="3 x CartPole-v1, so it cannot continue in 4 x CartPole"):
        make("CartPole-v1", num_envs=4).load_state(envs.state())


@pytest.mark.parametrize("name", ["LunarLander-v3", "Pendulum-v1", "FrozenLake-v1"])
def test_stepping_one_by_one_equals_gymnasiums_own_vector(name):
    mode = {"autoreset_mode": AutoresetMode.NEXT_STEP}
    theirs = gym.make_vec(name, num_envs=3, vectorization_mode="sync", vector_kwargs=mode)
    ours = make(name, num_envs=3, seed=4)
    assert np.array_equal(ours.reset(), theirs.reset(seed=spread(4, 3))[0])
    rng = np.random.default_rng(0)
    for _ in range(400):
        chosen = actions(ours, rng)
        step = ours.step(chosen)
        low = theirs.single_action_space
        sent = np.clip(chosen, low.low, low.high) if ours.action_size else chosen
        obs, rewards, terminated, truncated, _ = theirs.step(sent)
        assert np.array_equal(step.obs, obs)
        assert np.array_equal(step.rewards, rewards.astype(np.float32))
        assert np.array_equal(step.terminated, terminated)
        assert np.array_equal(step.truncated, truncated)
