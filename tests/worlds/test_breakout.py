"""What can really come next, against the game that then moves."""

import numpy as np
import pytest
import torch

from course_lib.rl.envs import make
from course_lib.worlds import breakout as truth


@pytest.mark.parametrize("sticky", [0.0, 0.5])
def test_what_happens_is_one_of_the_two_outcomes_and_asking_moves_nothing(sticky):
    envs = make("MinAtar/Breakout", 6, seed=2, sticky_actions=sticky)
    envs.reset()
    rng, stuck = np.random.default_rng(0), 0
    for _ in range(60):
        actions = rng.integers(3, size=6)
        told = truth.outcomes(envs, actions)
        again = truth.outcomes(envs, actions)
        step = envs.step(actions)
        assert all(np.array_equal(a, b) for a, b in zip(told, again, strict=True))
        came = truth.same_frame(torch.as_tensor(told.obs), torch.as_tensor(step.obs)[:, None])
        assert came.any(1)[step.valid].all()
        if not sticky:
            assert came[step.valid, 0].all()
            assert np.array_equal(told.rewards[step.valid, 0], step.rewards[step.valid])
            assert np.array_equal(told.terminated[step.valid, 0], step.terminated[step.valid])
        stuck += int((~came[:, 0])[step.valid].sum())
    assert (stuck > 0) is (sticky > 0)


def test_one_ball_and_one_paddle_are_counted():
    frames = torch.as_tensor(make("MinAtar/Breakout", 3, seed=0).reset())
    assert truth.one_ball_one_paddle(frames).all()
    frames[1, 1] = 0  # no ball
    frames[2, 0, 9, :2] = 1  # two paddles, or three
    assert truth.one_ball_one_paddle(frames).tolist() == [True, False, False]


def test_without_the_trail_one_frame_does_not_say_which_way_the_ball_flies():
    envs = make("MinAtar/Breakout", 2, seed=0, sticky_actions=0.0)
    envs.reset()
    games = envs._backend._games
    for game, direction, column in zip(games, (2, 3), (3, 5), strict=True):
        game.ball_x, game.ball_y, game.ball_dir = 4, 6, direction  # down right, down left
        game.last_x, game.last_y = column, 5
    now = torch.as_tensor(np.stack([game.state().transpose(2, 0, 1) for game in games]))
    before, hidden = now.clone(), truth.without_trail(now)
    assert torch.equal(now, before), "the frames themselves stay as they are"
    assert not truth.same_frame(now[0], now[1]) and truth.same_frame(hidden[0], hidden[1])
    assert torch.equal(hidden[:, [0, 1, 3]], now[:, [0, 1, 3]]), "nothing else is hidden"
    later = truth.without_trail(torch.as_tensor(envs.step(np.zeros(2, int)).obs))
    assert later[:, 1, 7].argmax(1).tolist() == [5, 3], "and yet they go on differently"


def test_the_scripted_player_keeps_the_ball_in_play():
    envs = make("MinAtar/Breakout", 8, seed=4)
    obs, rng = envs.reset(), np.random.default_rng(0)
    ends, rewards = 0, 0.0
    for _ in range(200):
        step = envs.step(truth.follow_the_ball(obs, 0.0, rng))
        obs, ends, rewards = step.obs, ends + step.terminated.sum(), rewards + step.rewards.sum()
    assert rewards / max(1, ends) > 10


def test_only_minatar_can_be_asked():
    with pytest.raises(ValueError, match="MinAtar"):
        truth.outcomes(make("CartPole-v1", 1), np.zeros(1, int))
