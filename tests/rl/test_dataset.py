"""Recorded play: columns by hand, windows within episodes, bits and back, recording."""

import numpy as np
import pytest
import torch

from course_lib.rl import envs as environments
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.dataset import Dataset, from_columns, record, returns_to_go
from course_lib.rl.envs import Step

ENDS = ["", "", "terminated", "", "truncated", "terminated"]  # episodes of 3, 2 and 1 rows
REWARDS = [1.0, 0.0, 2.0, -1.0, 0.5, 4.0]


def hand_made(**changes):
    columns = {
        "frames": np.arange(12, dtype=np.float32).reshape(6, 2),
        "actions": [0, 1, 2, 0, 1, 2],
        "rewards": REWARDS,
        "terminated": [end == "terminated" for end in ENDS],
        "truncated": [end == "truncated" for end in ENDS],
        "obs_shape": (2,),
        "num_actions": 3,
    }
    return Dataset(**{**columns, **changes})


def test_episodes_by_hand():
    data = hand_made()
    assert len(data) == 6
    assert data.ended.tolist() == [False, False, True, False, True, True]
    assert data.episode.tolist() == [0, 0, 0, 1, 1, 2]
    assert (data.starts.tolist(), data.ends.tolist()) == ([0, 3, 5], [2, 4, 5])
    assert data.returns.tolist() == [3.0, -0.5, 4.0]
    assert data.actions.dtype == np.int64 and data.rewards.dtype == np.float32


def test_returns_to_go_by_hand():
    to_go = returns_to_go(np.array(REWARDS), np.array([end != "" for end in ENDS]))
    assert to_go.tolist() == [3.0, 2.0, 2.0, -0.5, 0.5, 4.0]
    assert to_go.dtype == np.float32


def test_returns_to_go_do_not_pile_up_rounding():
    rewards = np.full(100_000, 0.1, np.float32)
    to_go = returns_to_go(rewards, np.arange(100_000) == 99_999)
    assert to_go[0] == pytest.approx(100_000 * float(np.float32(0.1)), rel=1e-7)


def test_only_and_best_keep_whole_episodes_in_their_order():
    data = hand_made()
    some = data.only([2, 0])
    assert some.returns.tolist() == [3.0, 4.0] and some.actions.tolist() == [0, 1, 2, 2]
    assert some.obs([3]).tolist() == [[10.0, 11.0]]
    assert data.best(0.1).returns.tolist() == [4.0]
    assert data.best(2 / 3).returns.tolist() == [3.0, 4.0]
    assert data.best(1.0).returns.tolist() == data.returns.tolist()
    tied = hand_made(rewards=np.zeros(6)).best(1 / 3)
    assert tied.frames[0].tolist() == [0.0, 1.0], "the earlier of equals"


def test_successors_stay_within_the_episode():
    rows = np.array([[0, 1, 2], [3, 4, 5]])
    assert hand_made().successors(rows).tolist() == [[1, 2, 2], [4, 4, 5]]


def test_windows_repeat_the_last_row_and_mask_it():
    rows, mask = hand_made().windows(np.array([0, 1, 3, 5]), 3)
    assert rows.tolist() == [[0, 1, 2], [1, 2, 2], [3, 4, 4], [5, 5, 5]]
    assert mask.tolist() == [
        [True, True, True],
        [True, True, False],
        [True, True, False],
        [True, False, False],
    ]
    assert mask.dtype == torch.bool


@pytest.mark.parametrize("shape", [(7,), (8,), (2, 3, 3)])
def test_bits_come_back_as_they_were_in_any_arrangement(shape):
    obs = np.random.default_rng(0).integers(0, 2, (6, *shape)).astype(np.uint8)
    bits = np.packbits(obs.reshape(6, -1), axis=1)
    data = hand_made(frames=bits, obs_shape=shape)
    rows = np.array([[5, 0], [3, 3], [1, 4]])
    assert data.obs(rows).shape == (3, 2, *shape)
    assert (data.obs(rows).numpy() == obs[rows]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": [1.0]}, "same length"),
        ({"truncated": np.zeros(6), "terminated": np.arange(6) == 2}, "must end its episode"),
        ({"actions": [0, 1, 3, 0, 1, 2]}, "between 0 and 2, got 0 to 3"),
        ({"obs_shape": (17,)}, r"or \(S, 3\) as bits, got \(6, 2\)"),
    ],
)
def test_columns_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        hand_made(**changes)


def test_requests_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match="none of the 3 episodes"):
        hand_made().only([7])
    with pytest.raises(ValueError, match=r"share must lie in \(0, 1\], got 0"):
        hand_made().best(0)


class Counter:
    """Environment i counts to i + 1 and ends; its observation is (i, count) in one-hot halves."""

    obs_shape, num_actions, num_envs = (8,), 2, 3

    def reset(self):
        self.count = np.zeros(3, int)
        self.ended = np.zeros(3, bool)
        return self._obs()

    def _obs(self):
        return np.concatenate([np.eye(4)[:3], np.eye(4)[self.count]], axis=1).astype(np.uint8)

    def step(self, actions):
        valid = ~self.ended
        self.count = np.where(valid, self.count + 1, 0)
        over = self.count == np.arange(1, 4)
        self.ended = over
        odd = np.arange(3) % 2 == 1
        return Step(self._obs(), self.count * 1.0 * valid, over & ~odd, over & odd, valid)


@pytest.mark.parametrize("pack", [True, False])
def test_recording_keeps_whole_episodes_and_no_reset_row(pack):
    data = record(Counter(), lambda obs: obs[:, 4] * 1, steps=6, pack=pack)
    # With a reset row after each: 3 episodes of 1 step, 2 of 2, and 1 of 3 steps and a piece.
    assert data.returns.tolist() == [1.0] * 3 + [3.0] * 2 + [6.0]
    assert data.rewards.tolist() == [1.0] * 3 + [1.0, 2.0] * 2 + [1.0, 2.0, 3.0]
    who, count = data.obs(np.arange(10)).reshape(10, 2, 4).argmax(-1).T.tolist()
    assert who == [0] * 3 + [1] * 4 + [2] * 3
    assert count == [0] * 3 + [0, 1] * 2 + [0, 1, 2], "what was seen before acting"
    assert data.actions.tolist() == [int(c == 0) for c in count]
    assert data.truncated.tolist() == [False] * 3 + [False, True] * 2 + [False] * 3
    assert data.frames.shape == (10, 1 if pack else 8)


def test_recording_refuses_what_it_cannot_keep():
    with pytest.raises(ValueError, match="no episode ended"):
        from_columns(*np.zeros((5, 4, 1), bool), np.ones((4, 1), bool), (1,), 1)
    poles = environments.make("CartPole-v1", num_envs=2)
    with pytest.raises(ValueError, match="pack=False"):
        record(poles, lambda obs: np.zeros(2, int), steps=3)


def test_recorded_observations_of_a_real_game_and_an_agent_of_the_same_shape():
    envs = environments.make("MinAtar/Breakout", num_envs=4, seed=3)
    rng, seen = np.random.default_rng(0), []

    def policy(obs):
        seen.append(obs.copy())
        return rng.integers(3, size=4)

    data = record(envs, policy, steps=80)
    first = seen[0][0]
    assert (data.obs([0])[0].numpy() == first).all() and data.obs_shape == (4, 10, 10)
    kept = {frame.tobytes() for frame in np.concatenate(seen)}
    assert all(frame.tobytes() in kept for frame in data.obs(np.arange(len(data))).numpy())
    agent = Agent(data, AgentConfig(hidden=(8,)))
    assert agent.act(data.obs(data.starts).numpy()).shape == (len(data.returns),)


def test_one_cell_alone_is_not_mistaken_for_its_bits():
    class Blinker(Counter):
        obs_shape = (1,)

        def _obs(self):
            return (self.count % 2).astype(np.uint8)[:, None]

    data = record(Blinker(), lambda obs: obs[:, 0] * 1, steps=6)
    assert data.obs(np.arange(10))[:, 0].tolist() == [0] * 3 + [0, 1] * 2 + [0, 1, 0]
