"""Replay: where rows go, what may be drawn, and that resets stay out."""

import numpy as np
import pytest
import torch

from course_lib.classroom import use
from course_lib.rl import envs as environments, returns
from course_lib.rl.envs import Step
from course_lib.rl.replay import Replay, ring_indices


def test_ring_indices_wrap_and_fill():
    for written, count, rows, size in [
        (0, 3, [0, 1, 2], 3),
        (3, 2, [3, 4], 5),
        (4, 3, [4, 0, 1], 5),
        (5, 2, [0, 1], 5),
        (12, 4, [2, 3, 4, 0], 5),
        (2, 0, [], 2),
    ]:
        where, filled = ring_indices(written, count, 5)
        assert where.tolist() == rows and filled == size


def counting_step(t, envs=2, ended=False, valid=True, truncated=False):
    """Observations that say which step and environment they are: 10 t + i."""
    flags = np.full(envs, ended)
    return Step(
        obs=np.array([[10.0 * (t + 1) + i] for i in range(envs)], np.float32),
        rewards=np.full(envs, float(t), np.float32),
        terminated=flags & (not truncated),
        truncated=flags & truncated,
        valid=np.full(envs, valid),
    )


def filled(steps, **options):
    replay = Replay(**{"capacity": 100, "gamma": 0.5, **options})
    obs = np.array([[0.0], [1.0]], np.float32)
    for t, extra in enumerate(steps):
        step = counting_step(t, **extra)
        replay.add(obs, np.array([t, t]), step)
        obs = step.obs
    return replay


def everything(replay):
    return replay.sample(2000, np.random.default_rng(0))


def test_transitions_keep_their_parts_together():
    batch = everything(filled([{}] * 6))
    t = batch.actions.float()
    environment = batch.obs[:, 0] - 10 * t
    assert set(environment.tolist()) == {0.0, 1.0}
    assert torch.equal(batch.rewards, t)
    assert torch.equal(batch.next_obs[:, 0], 10 * (t + 1) + environment)
    assert batch.actions.dtype == torch.int64 and batch.terminated.dtype == torch.float32
    assert (batch.discounts == 0.5).all()


def test_the_oldest_rows_are_replaced():
    replay = filled([{}] * 10, capacity=7)
    assert len(replay) == 7
    counts = np.bincount(everything(replay).actions.numpy(), minlength=10)
    assert counts[:6].sum() == 0 and (counts[6:] > 0).all()


def test_reset_rows_stay_out_and_truncation_bootstraps_from_the_final_observation():
    # The episode is cut at t = 2; t = 3 is the reset row.
    steps = [{}, {}, {"ended": True, "truncated": True}, {"valid": False}, {}, {}, {}]
    batch = everything(filled(steps, n_step=3))
    assert 3 not in batch.actions
    assert not batch.terminated.any()
    for t, reward, final, discount in [
        (0, 0 + 0.5 * 1 + 0.25 * 2, 30, 0.125),
        (1, 1 + 0.5 * 2, 30, 0.25),
        (2, 2, 30, 0.5),
        (4, 4 + 0.5 * 5 + 0.25 * 6, 70, 0.125),
    ]:
        rows = (batch.actions == t) & (batch.obs[:, 0] % 10 == 0)
        assert rows.any()
        assert (batch.rewards[rows] == reward).all()
        assert (batch.next_obs[rows] == final).all()
        assert (batch.discounts[rows] == discount).all()


def test_termination_is_marked():
    batch = everything(filled([{}, {"ended": True}, {"valid": False}, {}], n_step=2))
    assert torch.equal(batch.terminated, (batch.actions <= 1).float())
    assert not (batch.actions == 2).any()


@pytest.mark.parametrize("n_step", [1, 3])
def test_no_reset_row_of_a_real_environment_is_stored(n_step):
    envs = environments.make("CartPole-v1", num_envs=8, seed=0)
    replay = Replay(10_000, gamma=0.99, n_step=n_step)
    rng = np.random.default_rng(0)
    obs, valid = envs.reset(), []
    for _ in range(300):
        actions = rng.integers(2, size=8)
        step = envs.step(actions)
        replay.add(obs, actions, step)
        valid.append(step.valid)
        obs = step.obs
    assert len(replay) == np.sum(valid[: len(valid) - n_step + 1])
    batch = everything(replay)
    # A reset row would lead from a fallen pole to an upright one.
    assert (batch.obs[:, 2].abs() <= 12 * np.pi / 180 + 1e-6).all()
    fallen = (batch.next_obs[:, 2].abs() > 12 * np.pi / 180) | (batch.next_obs[:, 0].abs() > 2.4)
    assert torch.equal(batch.terminated == 1, fallen)


def test_a_learners_functions_are_used():
    def one_row(written, count, capacity):
        return np.zeros(count, int), 1

    def worthless(rewards, terminated, truncated, gamma):
        return -7.0, 1, True

    with use({ring_indices: one_row}):
        replay = filled([{}] * 4)
    assert len(replay) == 1 and (everything(replay).actions == 3).all()
    with use({returns.n_step_target: worthless}):
        batch = everything(filled([{}] * 4, n_step=3))
    assert (batch.rewards == -7).all() and (batch.terminated == 1).all()
    assert (batch.discounts == 0.5).all()
    assert torch.equal(batch.next_obs, batch.obs + 10)


def test_sampling_repeats_for_a_seed():
    replay = filled([{}] * 6)
    a, b = (replay.sample(20, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(a.obs, b.obs)


def test_wrong_use_gets_a_sentence():
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        Replay(0, 0.99)
    with pytest.raises(ValueError, match="n_step must be at least 1"):
        Replay(10, 0.99, n_step=0)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1.2"):
        Replay(10, 1.2)
    with pytest.raises(ValueError, match="is empty"):
        Replay(10, 0.99).sample(1, np.random.default_rng(0))
