"""Environments: shapes, seeds, and the row after an episode's end."""

import gymnasium as gym
import numpy as np
import pytest

from course_lib.rl import envs as environments, minatar

NAMES = ["CartPole-v1", "MinAtar/Breakout", "FrozenLake-v1", "Acrobot-v1"]


def play(envs, steps, seed=0):
    rng = np.random.default_rng(seed)
    first = envs.reset()
    return first, [
        envs.step(rng.integers(envs.num_actions, size=envs.num_envs)) for _ in range(steps)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(name):
    envs = environments.make(name, num_envs=3, seed=1)
    first, steps = play(envs, 5)
    assert first.shape == (3, *envs.obs_shape)
    for step in steps:
        assert step.obs.shape == first.shape and step.obs.dtype == first.dtype
        assert step.rewards.shape == (3,) and step.rewards.dtype == np.float32
        for flags in (step.terminated, step.truncated, step.valid):
            assert flags.shape == (3,) and flags.dtype == bool


class FromOne(gym.Env):
    """Counts its states from 5 and its actions from 1, and shows the last action."""

    observation_space = gym.spaces.Discrete(4, start=5)
    action_space = gym.spaces.Discrete(3, start=1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 5, {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action} is not in {self.action_space}"
        return 5 + int(action), 0.0, False, False, {}


def test_an_environment_that_counts_from_one_is_counted_from_zero():
    gym.register("FromOne-v0", FromOne, max_episode_steps=9)
    envs = environments.make("FromOne-v0", 3)
    assert envs.reset().tolist() == [0, 0, 0]
    assert envs.step(np.array([0, 1, 2])).obs.tolist() == [1, 2, 3]
    state = envs.state()
    again = environments.make("FromOne-v0", 3)
    again.load_state(state)
    assert again.step(np.array([2, 1, 0])).obs.tolist() == [3, 2, 1]


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_repeats_and_seeds_differ(name):
    def trace(seed):
        envs = environments.make(name, num_envs=4, seed=seed, options=None)
        first, steps = play(envs, 60)
        return np.stack([first, *(s.obs for s in steps)])

    assert np.array_equal(trace(3), trace(3))
    assert not np.array_equal(trace(3), trace(4))


@pytest.mark.parametrize("name", NAMES)
def test_the_row_after_an_end_is_invalid_and_only_that_row(name):
    envs = environments.make(name, num_envs=4)
    _, steps = play(envs, 1100)  # long enough for a time limit of 500
    ended = np.zeros(4, bool)
    ends = 0
    for step in steps:
        assert np.array_equal(step.valid, ~ended)
        assert not step.rewards[~step.valid].any()
        assert not (step.terminated | step.truncated)[~step.valid].any()
        ended = step.terminated | step.truncated
        ends += ended.sum()
    assert ends > 4


def test_the_ending_step_returns_the_true_final_observation():
    envs = environments.make("CartPole-v1", num_envs=4)
    _, steps = play(envs, 100)
    finals = np.concatenate([s.obs[s.terminated] for s in steps])
    firsts = np.concatenate([s.obs[~s.valid] for s in steps])
    assert len(finals) > 5 and len(firsts) > 5
    assert (np.abs(finals[:, 2]) > 12 * np.pi / 180).all()  # fallen
    assert (np.abs(firsts) <= 0.05).all()  # upright again


def test_time_limit_truncates_and_does_not_terminate():
    envs = environments.make("FrozenLake-v1", num_envs=2, options={"is_slippery": False})
    envs.reset()
    left = np.zeros(2, np.int64)  # into the wall, for ever
    steps = [envs.step(left) for _ in range(101)]
    assert steps[99].truncated.all() and not steps[99].terminated.any()
    assert not steps[100].valid.any()


def test_minatar_time_limit(monkeypatch):
    monkeypatch.setattr(minatar, "TIME_LIMIT", 5)
    envs = environments.make("MinAtar/Breakout", num_envs=2)
    _, steps = play(envs, 6)
    assert steps[4].truncated.all() and not steps[4].terminated.any()
    assert not steps[5].valid.any()


def test_sync_environments_share_no_seed_with_their_neighbours():
    a = environments.make("Acrobot-v1", num_envs=3, seed=0).reset()
    b = environments.make("Acrobot-v1", num_envs=3, seed=1).reset()
    assert not (a[:, None] == b[None]).all(axis=2).any()


def test_reset_goes_on_with_the_stream_unless_seeded():
    envs = environments.make("CartPole-v1", num_envs=2, seed=5)
    first, second, again = envs.reset(), envs.reset(), envs.reset(seed=5)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again)


def test_steps_do_not_share_memory():
    for name in NAMES:
        envs = environments.make(name, num_envs=2)
        envs.reset()
        step = envs.step(np.zeros(2, np.int64))
        kept = [np.array(x) for x in step]
        for _ in range(40):
            envs.step(np.ones(2, np.int64))
        assert all(np.array_equal(x, y) for x, y in zip(step, kept, strict=True))


def test_sticky_actions_repeat_the_last_action():
    def positions(sticky):
        envs = environments.make("MinAtar/Breakout", num_envs=200, sticky_actions=sticky)
        envs.reset()
        envs.step(np.full(200, 1))  # left once, after "nothing"
        step = envs.step(np.full(200, 2))  # then right
        return step.obs[:, 0, 9].argmax(axis=1)

    assert (positions(0.0) == 4).all()
    assert 0.1 < (positions(0.25) != 4).mean() < 0.6


def test_discrete_observations_have_a_number_of_states():
    assert environments.make("FrozenLake-v1", num_envs=1).num_states == 16
    assert environments.make("Taxi-v4", num_envs=1).num_states == 500
    assert environments.make("CartPole-v1", num_envs=1).num_states is None


@pytest.mark.parametrize("name", NAMES)
def test_render(name):
    envs = environments.make(name, num_envs=2)
    with pytest.raises(RuntimeError, match="call reset"):
        envs.render()
    envs.reset()
    frame = envs.render(1)
    assert frame.ndim == 3 and frame.shape[2] == 3 and frame.dtype == np.uint8
    assert frame.std() > 0
    envs.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "CartPole-v1", "num_envs": 0}, "num_envs must be a whole number of at least 1"),
        ({"name": "CartPole-v1", "seed": -1}, "seed must be a whole number of at least 0"),
        ({"name": "NoSuchThing-v1"}, "no environment is called 'NoSuchThing-v1'"),
        ({"name": "MinAtar/Pong"}, "there are MinAtar/Asterix, MinAtar/Breakout"),
        ({"name": "MinAtar/Breakout", "sticky_actions": 1.0}, r"must lie in \[0, 1\), got 1.0"),
        ({"name": "MinAtar/Breakout", "options": {"a": 1}}, "takes none"),
        ({"name": "Blackjack-v1"}, "Blackjack-v1 observes neither numbers nor arrays"),
    ],
)
def test_wrong_arguments_get_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        environments.make(**arguments)


def test_wrong_use_gets_a_sentence():
    envs = environments.make("CartPole-v1", num_envs=2)
    with pytest.raises(RuntimeError, match="call reset"):
        envs.step(np.zeros(2, np.int64))
    envs.reset()
    with pytest.raises(ValueError, match=r"must have shape \(2,\)"):
        envs.step(np.zeros((2, 1), np.int64))


CONTINUOUS = {
    "Pendulum-v1": (3, 1, 2.0, {}),
    "HalfCheetah-v5": (17, 6, 1.0, {}),
    "LunarLander-v3": (8, 2, 1.0, {"continuous": True}),
}


def swing(envs, steps, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    shape = (envs.num_envs, envs.action_size)
    first = envs.reset()
    return first, [envs.step(scale * rng.normal(size=shape)) for _ in range(steps)]


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_actions(name):
    size, action_size, _, options = CONTINUOUS[name]
    envs = environments.make(name, num_envs=3, seed=1, options=options)
    assert envs.num_actions is None and envs.action_size == action_size
    assert envs.obs_shape == (size,)
    first, steps = swing(envs, 5)
    assert first.shape == (3, size) and first.dtype == np.float32
    for step in steps:
        assert step.obs.shape == (3, size) and step.obs.dtype == np.float32
        assert step.rewards.shape == (3,) and step.rewards.dtype == np.float32
        for flags in (step.terminated, step.truncated, step.valid):
            assert flags.shape == (3,) and flags.dtype == bool


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_seed_repeats_with_continuous_actions(name):
    def trace(seed):
        envs = environments.make(name, num_envs=2, seed=seed, options=CONTINUOUS[name][3])
        first, steps = swing(envs, 30)
        return np.stack([first, *(s.obs for s in steps)])

    assert np.array_equal(trace(3), trace(3))
    assert not np.array_equal(trace(3), trace(4))


@pytest.mark.parametrize("name", CONTINUOUS)
def test_actions_beyond_the_limits_are_brought_back_to_them(name):
    """HalfCheetah would charge for an effort of 100, though its joints give no more than 1."""
    _, action_size, limit, options = CONTINUOUS[name]
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(20, 2, action_size))
    traces = []
    for size in (limit, 100.0):
        envs = environments.make(name, num_envs=2, seed=0, options=options)
        envs.reset()
        asked = size * signs
        kept = asked.copy()
        traces.append([envs.step(a) for a in asked])
        assert np.array_equal(asked, kept), "the caller's actions stay as they were"
    for a, b in zip(*traces, strict=True):
        assert np.array_equal(a.obs, b.obs) and np.array_equal(a.rewards, b.rewards)
    # And half the limit is another action: the limits are not too tight.
    envs = environments.make(name, num_envs=2, seed=0, options=options)
    envs.reset()
    soft = [envs.step(limit / 2 * s) for s in signs]
    assert not np.array_equal(soft[-1].obs, traces[0][-1].obs)


@pytest.mark.parametrize("name", ["Pendulum-v1", "LunarLander-v3"])
def test_the_row_after_an_end_with_continuous_actions(name):
    envs = environments.make(name, num_envs=2, options=CONTINUOUS[name][3])
    _, steps = swing(envs, 450)
    ended = np.zeros(2, bool)
    ends = 0
    for step in steps:
        assert np.array_equal(step.valid, ~ended)
        assert not step.rewards[~step.valid].any()
        ended = step.terminated | step.truncated
        ends += ended.sum()
    assert ends >= 4
    if name == "Pendulum-v1":
        assert not any(step.terminated.any() for step in steps)  # only its clock ends it


def test_numbered_actions_of_the_lander():
    envs = environments.make("LunarLander-v3", num_envs=2)
    assert envs.num_actions == 4 and envs.action_size is None
    envs.reset()
    assert envs.step(np.array([0, 2])).obs.shape == (2, 8)


@pytest.mark.parametrize("wrong", [np.zeros(2), np.zeros((2, 2)), np.zeros((3, 1)), np.zeros(())])
def test_continuous_actions_of_a_wrong_shape_get_a_sentence(wrong):
    envs = environments.make("Pendulum-v1", num_envs=2)
    envs.reset()
    with pytest.raises(ValueError, match=r"actions must have shape \(2, 1\), one per environment"):
        envs.step(wrong)


def test_actions_that_no_lesson_can_take_get_a_sentence():
    class Switches(gym.Env):
        action_space = gym.spaces.MultiBinary(3)
        observation_space = gym.spaces.Box(0, 1, (2,))

    gym.register("Switches-v0", Switches)
    try:
        with pytest.raises(ValueError, match="takes neither numbered actions nor vectors"):
            environments.make("Switches-v0")
    finally:
        del gym.registry["Switches-v0"]
