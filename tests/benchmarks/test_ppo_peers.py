"""The peers of the PPO benchmarks: their settings, their checks, and the policies they return."""

import copy

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.ppo import ppo_peers
from benchmarks.ppo.ppo_peers import ZOO, every, train_cleanrl, train_sb3
from course_lib.evaluation import evaluate
from course_lib.rl.envs import make

PEERS = pytest.mark.parametrize("train", [train_sb3, train_cleanrl])
OBS = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)


def test_the_zoo_has_the_numbers_of_its_file():
    cartpole, cheetah, hopper = (ZOO[env] for env in ("CartPole-v1", "HalfCheetah-v5", "Hopper-v5"))
    assert (cartpole["n_envs"], cartpole["n_steps"], cartpole["batch_size"]) == (8, 32, 256)
    assert (cartpole["n_epochs"], cartpole["gae_lambda"], cartpole["gamma"]) == (20, 0.8, 0.98)
    assert (cartpole["learning_rate"], cartpole["clip_range"]) == ("lin_0.001", "lin_0.2")
    assert "normalize" not in cartpole
    assert cheetah["learning_rate"] == 2.0633e-05
    assert (cheetah["n_epochs"], cheetah["batch_size"]) == (20, 64)
    assert (cheetah["clip_range"], cheetah["gae_lambda"], cheetah["gamma"]) == (0.1, 0.92, 0.98)
    assert hopper["learning_rate"] == 9.80828e-05
    assert (hopper["n_epochs"], hopper["batch_size"]) == (5, 32)
    assert (hopper["clip_range"], hopper["gae_lambda"], hopper["gamma"]) == (0.2, 0.99, 0.999)
    for mujoco in (cheetah, hopper):
        assert mujoco["normalize"] is True
        assert (mujoco["n_envs"], mujoco["n_steps"]) == (1, 512)
        assert mujoco["policy_kwargs"]["net_arch"] == {"pi": [256, 256], "vf": [256, 256]}


def test_a_linear_schedule_falls_to_zero_and_a_number_stays():
    assert ppo_peers._schedule("lin_0.001")(1.0) == 0.001
    assert ppo_peers._schedule("lin_0.2")(0.25) == pytest.approx(0.05)
    assert ppo_peers._schedule("lin_0.2")(0.0) == 0.0
    assert ppo_peers._schedule(2.0633e-05) == 2.0633e-05


def test_the_peers_are_not_listed_as_a_benchmark():
    assert "ppo_peers" not in command.names()


@PEERS
def test_a_peer_checks_at_each_multiple_and_returns_a_policy(train):
    steps = []

    def check(done, policy):
        actions = policy(OBS)
        assert actions.shape == (50,) and set(actions.tolist()) <= {0, 1}
        steps.append(done)

    policy = train("CartPole-v1", 0, 1024, every(200, check))
    assert steps == [200, 400, 600, 800, 1000]
    assert (policy(OBS) == policy(OBS)).all()
    assert evaluate(policy, make("CartPole-v1", 4, 1), 4).min() >= 1


@PEERS
def test_a_cadence_between_two_steps_checks_at_the_first_step_beyond(train):
    steps = []
    train("CartPole-v1", 0, 512, every(101, lambda done, policy: steps.append(done)))
    envs = {train_sb3: 8, train_cleanrl: 4}[train]
    assert steps == [-(-target // envs) * envs for target in (101, 202, 303, 404, 505)]


@PEERS
def test_checks_change_nothing_in_training(train):
    check_envs = make("CartPole-v1", 2, 7)
    checked = train("CartPole-v1", 3, 1024, every(300, lambda _, p: evaluate(p, check_envs, 2)))
    alone = train("CartPole-v1", 3, 1024)
    wide = np.random.default_rng(1).normal(scale=0.3, size=(2000, 4)).astype(np.float32)
    assert (checked(wide) == alone(wide)).all()
    assert len(np.unique(alone(wide))) == 2, "a constant policy would make this test pass always"


def test_what_a_peer_cannot_train_is_refused():
    with pytest.raises(ValueError, match="no Zoo hyperparameters for 'Acrobot-v1'"):
        train_sb3("Acrobot-v1", 0, 512)
    with pytest.raises(ValueError, match="continuous"):
        train_cleanrl("Pendulum-v1", 0, 512)
    with pytest.raises(ValueError, match="rollout of 512"):
        train_cleanrl("CartPole-v1", 0, 511)


def test_a_normalised_environment_is_trained_and_played_with_frozen_statistics(monkeypatch):
    settings = {**ZOO["Hopper-v5"], "n_steps": 64}
    monkeypatch.setitem(ZOO, "Pendulum-v1", settings)
    before, steps = copy.deepcopy(settings), []

    def check(done, policy):
        assert policy(np.ones((1, 3), np.float32)).shape == (1, 1)
        steps.append(done)

    policy = train_sb3("Pendulum-v1", 0, 256, every(128, check))
    assert settings == before
    assert steps == [128, 256]
    obs = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 8.0]], np.float32)
    first = policy(obs)
    policy(1000 * np.ones((100, 3), np.float32))
    assert first.shape == (2, 1)
    assert (np.abs(first) <= 2).all()
    assert (policy(obs) == first).all()
    # Normalised values are cut at ten standard deviations, raw ones are not.
    assert (policy(1e6 * np.abs(obs) + 1e5) == policy(1e7 * np.abs(obs) + 1e6)).all()


def test_generalised_advantages_by_hand():
    rewards = torch.tensor([[1.0], [2.0], [3.0]])
    values = torch.tensor([[0.5], [1.0], [1.5], [4.0]])
    ended = torch.tensor([[0.0], [1.0], [0.0]])
    last = 3 + 0.9 * 4 - 1.5
    middle = 2 - 1.0  # the episode ended: neither the next value nor the next advantage counts
    first = 1 + 0.9 * 1.0 - 0.5 + 0.9 * 0.8 * middle
    measured = ppo_peers._gae(rewards, values, ended, 0.9, 0.8)
    assert measured.flatten().tolist() == pytest.approx([first, middle, last])


def test_the_agent_starts_as_the_recipe_says():
    torch.manual_seed(0)
    agent = ppo_peers._Agent(4, 2)
    first, second, last = (agent.actor[i].weight for i in (0, 2, 4))
    assert first.shape == (64, 4)
    torch.testing.assert_close(first.T @ first, 2 * torch.eye(4))
    torch.testing.assert_close(second @ second.T, 2 * torch.eye(64))
    torch.testing.assert_close(last @ last.T, 1e-4 * torch.eye(2))
    torch.testing.assert_close(agent.critic[4].weight.norm(), torch.tensor(1.0))
    assert not any(agent.actor[i].bias.any() for i in (0, 2, 4))
