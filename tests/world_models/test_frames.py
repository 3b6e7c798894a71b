"""The replay of real frames: order, ends, and where dreams begin."""

import numpy as np
import pytest
import torch

from course_lib.rl.envs import make
from course_lib.world_models.frames import FrameReplay, Recorder
from course_lib.worlds.breakout import same_frame

SHAPE = (4, 10, 10)


def played(steps: int = 120, num_envs: int = 4, seed: int = 3) -> tuple[FrameReplay, Recorder]:
    envs = make("MinAtar/Breakout", num_envs, seed)
    replay = FrameReplay(num_envs, SHAPE, steps)
    recorder = Recorder(envs, replay)
    rng = np.random.default_rng(seed)
    recorder.play(lambda obs: rng.integers(3, size=len(obs)), steps)
    return replay, recorder


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_windows_have_exact_shapes_and_kinds():
    windows = played()[0].windows(5, 7, generator())
    assert windows.obs.shape == windows.next_obs.shape == (5, 7, *SHAPE)
    assert windows.obs.dtype == torch.uint8
    for column in (windows.actions, windows.rewards, windows.terminated, windows.truncated):
        assert column.shape == (5, 7)


def test_frames_follow_each_other_and_reset_rows_are_gone():
    replay, recorder = played()
    assert len(recorder.episodes.finished) > 8
    for i, length in enumerate(replay.lengths.tolist()):
        ended = (replay.terminated | replay.truncated)[i, : length - 1]
        follows = same_frame(replay.next_obs[i, : length - 1], replay.obs[i, 1:length])
        assert torch.equal(follows, ~ended)  # a new episode starts elsewhere
    resets = 4 * 120 - len(replay)
    ends = int(replay.terminated.sum())
    assert ends - 4 <= resets <= ends  # one reset row per end, but for ends in the last row


def test_rewards_add_up_to_the_returns_of_the_episodes():
    replay, recorder = played()
    assert (
        float(replay.rewards.sum())
        == sum(recorder.episodes.finished) + recorder.episodes.running.sum()
    )


def test_dreams_begin_in_recent_frames_and_near_deaths():
    replay, _ = played()
    place = {}
    for i in range(4):
        for t in range(int(replay.lengths[i])):
            place.setdefault(replay.obs[i, t].numpy().tobytes(), []).append((i, t))
    starts = replay.starts(400, 4, generator())
    assert starts.obs.shape == (400, 4, *SHAPE)
    for frame in starts.obs[:, -1]:
        assert any(t >= replay.lengths[i] // 2 for i, t in place[frame.numpy().tobytes()])
    near = replay.starts(400, 4, generator(), near_death=1.0, back=1)
    assert near.terminated[:, -1].all()
    assert near.terminated[:, -1].float().mean() > starts.terminated[:, -1].float().mean()


def test_too_little_or_too_much_is_a_sentence():
    replay = FrameReplay(2, SHAPE, 5)
    with pytest.raises(ValueError, match="no stream holds 3 steps"):
        replay.windows(1, 3, generator())
    with pytest.raises(ValueError, match="play more"):
        replay.starts(1, 3, generator())
    recorder = Recorder(make("MinAtar/Breakout", 2, 0), replay)
    with pytest.raises(ValueError, match="room for 5 steps"):
        recorder.play(lambda obs: np.zeros(2, int), 6)


def test_a_seed_draws_the_same_windows():
    replay = played()[0]
    one, two = (replay.windows(6, 5, generator(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_the_past_of_the_last_step_ends_where_its_episode_began():
    replay = played()[0]
    windows = replay.windows(300, 6, generator())
    for ended, same in zip(windows.ended.tolist(), windows.same_episode.tolist(), strict=True):
        assert same == [not any(ended[t:5]) for t in range(5)]
    again = replay.take(torch.tensor([1]), torch.tensor([7]), 3)
    assert torch.equal(again.obs[0], replay.obs[1, 7:10])
