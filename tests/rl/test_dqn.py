"""DQN: targets by hand, tiny problems with known answers, determinism, a smoke run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.classroom import use
from course_lib.evaluation import evaluate
from course_lib.rl import dqn, envs as environments
from course_lib.rl.envs import Step
from course_lib.rl.replay import ring_indices
from course_lib.rl.returns import n_step_target

TINY = dqn.Config(
    total_steps=1500,
    hidden=(32,),
    batch_size=32,
    train_every=16,
    gradient_steps=8,
    learning_starts=64,
    learning_rate=5e-3,
    n_step=1,
    gamma=0.5,
)


class Corridor:
    """Three cells. Right moves on, left stays. Leaving cell 2 pays 1 and ends the episode, or,
    with ``truncate``, only cuts it. The optimal values are known in closed form."""

    name, obs_shape, num_actions, num_envs = "Corridor", (3,), 2, 8

    def __init__(self, truncate=False):
        self.truncate = truncate

    def _obs(self):
        return np.eye(4, dtype=np.float32)[self.cell][:, :3]  # the cell after the last is all 0

    def reset(self):
        self.cell = np.zeros(self.num_envs, int)
        self.ended = np.zeros(self.num_envs, bool)
        return self._obs()

    def step(self, actions):
        valid = ~self.ended
        self.cell = np.where(valid, self.cell + (actions == 1), 0)
        out = self.cell == 3
        self.ended = out
        flags = (out & (not self.truncate)), (out & self.truncate)
        return Step(self._obs(), out.astype(np.float32), *flags, valid)


def trained(config, seed=0, truncate=False):
    envs = Corridor(truncate)
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed)
    history = list(dqn.train(agent, envs, config, seed))
    return agent, history


def test_targets_by_hand():
    rewards, terminated = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])
    online = torch.tensor([[5.0, 1.0], [0.0, 9.0]])
    target = torch.tensor([[3.0, 4.0], [7.0, 8.0]])
    simple = dqn.td_target(rewards, terminated, target, 0.5)
    assert simple.tolist() == [1 + 0.5 * 4, 2]
    double = dqn.double_dqn_target(rewards, terminated, online, target, 0.5)
    assert double.tolist() == [1 + 0.5 * 3, 2]
    per_row = torch.tensor([0.25, 0.5])
    assert dqn.td_target(rewards, terminated, target, per_row).tolist() == [2, 2]


def test_epsilon_by_hand():
    values = [dqn.epsilon_schedule(s, 1.0, 0.2, 100) for s in (0, 50, 100, 1000)]
    assert values == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_loss_by_hand_and_only_through_the_actions_taken():
    q = torch.tensor([[1.0, 7.0], [4.0, 0.0]], requires_grad=True)
    loss, metrics = dqn.dqn_loss(q, torch.tensor([0, 1]), torch.tensor([1.5, 3.0]))
    assert loss.item() == pytest.approx((0.5 * 0.5**2 + (3 - 0.5)) / 2)
    assert metrics["q"].item() == pytest.approx(0.5)
    loss.backward()
    assert q.grad.tolist() == [[-0.25, 0.0], [0.0, -0.5]]
    with pytest.raises(ValueError, match=r"targets must have shape \(2,\)"):
        dqn.dqn_loss(q, torch.tensor([0, 1]), torch.zeros(2, 1))


@pytest.mark.parametrize(
    "options",
    [{}, {"double": False}, {"dueling": True}, {"n_step": 2}, {"reward_scale": 0.1}],
    ids=str,
)
def test_it_finds_the_values_of_a_corridor(options):
    agent, history = trained(replace(TINY, **options))
    values = agent.q_values(np.eye(3, dtype=np.float32))
    best = [0.25, 0.5, 1.0]  # gamma 0.5, reward 1 on leaving cell 2
    assert values.max(axis=1) == pytest.approx(best, abs=0.06)
    assert (agent.act(np.eye(3, dtype=np.float32)) == 1).all()
    if options.get("n_step", 1) == 1:  # longer targets are not off-policy corrected
        assert values[:, 0] == pytest.approx([0.125, 0.25, 0.5], abs=0.06)
    assert history[-1]["return"] == 1.0


def test_truncation_bootstraps_and_termination_does_not():
    end = np.eye(3, dtype=np.float32)[2:]
    final = np.zeros((1, 3), np.float32)  # the observation in which the episode was cut
    agent, _ = trained(TINY, truncate=True)
    beyond = agent.q_values(final).max()
    assert agent.q_values(end)[0, 1] == pytest.approx(1 + 0.5 * beyond, abs=0.1)
    assert abs(beyond) > 0.01  # otherwise the two cases look alike


@pytest.mark.parametrize("double", [True, False])
def test_each_of_a_learners_functions_drives_it(double):
    calls = []

    def counted(function):
        def call(*args):
            calls.append(function)
            return function(*args)

        return {function: call}

    functions = [dqn.epsilon_schedule, ring_indices, n_step_target, dqn.td_target]
    functions += [dqn.double_dqn_target] * double
    with use(*map(counted, functions)):
        trained(replace(TINY, double=double, total_steps=200))
    assert set(calls) == set(functions)


def test_what_the_targets_say_is_learned():
    def always_3(rewards, *rest):
        return rewards * 0 + 3.0

    for function in (dqn.double_dqn_target, dqn.td_target):  # the first calls the second
        with use({function: always_3}, {dqn.epsilon_schedule: lambda *_: 0.5}):
            agent, history = trained(TINY)
        assert all(row["epsilon"] == 0.5 for row in history)
        values = agent.q_values(np.eye(3, dtype=np.float32))
        assert values.max(axis=1) == pytest.approx(3, abs=0.2)


def test_a_target_that_never_moves_keeps_its_first_weights():
    agent, _ = trained(replace(TINY, target_period=10**9, total_steps=300))
    fresh = dqn.DQN((3,), 2, TINY, seed=0)
    for slow, first in zip(agent.target.parameters(), fresh.online.parameters(), strict=True):
        assert torch.equal(slow, first)
    agent, _ = trained(replace(TINY, target_tau=1.0, total_steps=300))
    for slow, fast in zip(agent.target.parameters(), agent.online.parameters(), strict=True):
        assert torch.equal(slow, fast)


def test_exploration():
    agent = dqn.DQN((3,), 2, TINY)
    obs = np.zeros((4000, 3), np.float32)
    greedy = agent.act(obs)[0]
    actions = agent.act(obs, 0.4, np.random.default_rng(0))
    assert (actions != greedy).mean() == pytest.approx(0.2, abs=0.03)
    with pytest.raises(ValueError, match="needs rng"):
        agent.act(obs, 0.4)


def test_the_same_seed_gives_the_same_bits():
    config = replace(dqn.CARTPOLE, total_steps=2000)

    def run(seed):
        envs = environments.make("CartPole-v1", 16, seed)
        agent = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed)
        torch.manual_seed(np.random.default_rng().integers(1000))  # nothing reads global state
        history = list(dqn.train(agent, envs, config, seed))
        return history, agent.q_values(np.ones((1, 4), np.float32))

    (history, q), (again, q_again), (_, other) = run(1), run(1), run(2)
    assert history == again and np.array_equal(q, q_again)
    assert not np.array_equal(q, other)


def test_metrics_and_the_count_of_steps():
    _, history = trained(TINY)
    assert all(isinstance(v, float) for row in history for v in row.values())
    assert set(history[0]) == {"steps", "return", "epsilon", "loss", "q"}
    steps = [row["steps"] for row in history]
    assert steps[0] >= TINY.learning_starts and steps[-1] <= TINY.total_steps
    assert steps == sorted(steps)


def test_it_learns_cartpole_a_little():
    config = replace(dqn.CARTPOLE, total_steps=6000)
    envs = environments.make("CartPole-v1", 16, seed=0)
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, config, seed=0)
    for _ in dqn.train(agent, envs, config, seed=0):
        pass
    returns = evaluate(agent.act, environments.make("CartPole-v1", 20, seed=999), 20)
    assert returns.mean() > 80  # random play: about 22


def test_it_trains_from_pixels():
    config = replace(dqn.BREAKOUT, total_steps=2000)
    envs = environments.make("MinAtar/Breakout", 8, seed=0)
    agent = dqn.DQN(envs.obs_shape, envs.num_actions, config)
    history = list(dqn.train(agent, envs, config))
    assert np.isfinite(history[-1]["loss"])
    assert agent.q_values(envs.reset()).shape == (8, 3)


def test_weights_go_to_a_file_and_back(tmp_path):
    agent, _ = trained(replace(TINY, total_steps=300))
    agent.save(tmp_path / "agent.safetensors")
    other = dqn.DQN((3,), 2, TINY, seed=7)
    other.load(tmp_path / "agent.safetensors")
    obs = np.eye(3, dtype=np.float32)
    assert np.array_equal(agent.q_values(obs), other.q_values(obs))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gamma": 1.2}, r"gamma must lie in \[0, 1\], got 1.2"),
        ({"epsilon_end": -0.1}, r"epsilon_end must lie in \[0, 1\], got -0.1"),
        ({"target_tau": 0.0}, r"target_tau must lie in \(0, 1\], got 0.0"),
        ({"epsilon_fraction": 0.0}, r"epsilon_fraction must lie in \(0, 1\], got 0.0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"n_step": 0}, "n_step must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"hidden": ()}, r"hidden must name at least one layer size, got \(\)"),
    ],
)
def test_wrong_settings_get_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        dqn.Config(**options)


def test_an_observation_scale_for_another_environment_gets_a_sentence():
    with pytest.raises(ValueError, match="obs_scale must give one size"):
        dqn.DQN((8,), 4, dqn.CARTPOLE)
