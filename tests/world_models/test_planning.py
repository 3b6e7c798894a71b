"""Planning: one update by hand, rewards added up by hand, worlds whose best plan is known."""

import numpy as np
import pytest
import torch

from course_lib.world_models import planning
from course_lib.world_models.dynamics import Config as ModelConfig, Dynamics, Prediction
from course_lib.world_models.planning import Config, Planner, Task, elite_update, imagine


class Line:
    """A stand-in for a model: a point moves by the action; member e is off by ``drift[e]``.

    ``std`` (E,) is how unsure each member says that it is.
    """

    def __init__(self, *drift, std=0.0):
        self.drift = torch.tensor(drift)[:, None, None]
        self.std = torch.as_tensor(std).expand(len(drift))[:, None, None]
        self.config = ModelConfig(members=len(drift))
        self.step_size = torch.ones(1)

    def predict(self, obs, actions, with_std=False):
        step = actions[..., -1:]  # of a one-hot action the second entry: 0 stays, 1 moves
        next_obs = obs + step + self.drift
        std = self.std.expand_as(next_obs) if with_std else None
        return Prediction(next_obs, (obs + step)[..., 0], std)


def place(obs, actions, next_obs):
    return next_obs[..., 0]


LINE = Task(place, None, action_size=1)


def plans_of(*steps):
    return torch.tensor(steps)[None, :, :, None]  # (1, P, H, 1)


# --- the elite update ----------------------------------------------------------------------------


def test_an_elite_update_by_hand():
    plans = plans_of([1.0, 0.0], [3.0, 2.0], [100.0, 100.0])
    mean, std = torch.full((1, 2, 1), 10.0), torch.full((1, 2, 1), 4.0)
    scores = torch.tensor([[5.0, 6.0, -1.0]])
    new_mean, new_std = elite_update(plans, scores, mean, std, elites=2, keep=0.25)
    torch.testing.assert_close(new_mean[0, :, 0], 0.25 * 10 + 0.75 * torch.tensor([2.0, 1.0]))
    torch.testing.assert_close(new_std[0, :, 0], 0.25 * 4 + 0.75 * torch.tensor([1.0, 1.0]))


def test_environments_keep_their_elites_apart():
    rng = torch.Generator().manual_seed(0)
    plans, scores = torch.randn(4, 9, 3, 2, generator=rng), torch.randn(4, 9, generator=rng)
    old = torch.zeros(4, 3, 2), torch.ones(4, 3, 2)
    mean, std = elite_update(plans, scores, *old, elites=3, keep=0.0)
    for n in range(4):
        best = plans[n][scores[n].argsort(descending=True)[:3]]
        torch.testing.assert_close(mean[n], best.mean(0))
        torch.testing.assert_close(std[n], best.std(0, correction=0))


def test_of_one_hot_plans_the_mean_is_a_table_of_probabilities():
    plans = torch.eye(2)[torch.tensor([[[0, 1], [0, 0], [1, 1]]])]  # (1, 3, 2, 2)
    scores = torch.tensor([[2.0, 1.0, 0.0]])
    old = torch.full((1, 2, 2), 0.5)
    mean, _ = elite_update(plans, scores, old, old, elites=2, keep=0.0)
    assert mean.tolist() == [[[1.0, 0.0], [0.5, 0.5]]]


# --- imagining -----------------------------------------------------------------------------------


def test_rewards_add_up_and_are_discounted():
    found = imagine(
        Line(0.0), LINE, torch.zeros(1, 1), plans_of([1.0, 1.0, -1.0]), Config(gamma=0.5)
    )
    assert found.returns.item() == pytest.approx(1 + 0.5 * 2 + 0.25 * 1)
    assert found.doubts.item() == 0


def test_nothing_counts_after_the_end():
    task = LINE._replace(ended=lambda next_obs: next_obs[..., 0] >= 2)
    found = imagine(Line(0.0), task, torch.zeros(1, 1), plans_of([1.0, 1.0, 1.0]), Config())
    assert found.returns.item() == 1 + 2  # the step that ends it still counts


def test_each_plan_starts_from_its_own_environment():
    plans = torch.zeros(3, 2, 1, 1)
    plans[:, 1] = 1.0
    obs = torch.tensor([[0.0], [10.0], [20.0]])
    found = imagine(Line(0.0), LINE, obs, plans, Config())
    assert found.returns.tolist() == [[0, 1], [10, 11], [20, 21]]


def test_particles_of_one_member_drift_apart_and_the_mean_does_not():
    plan = plans_of([0.0, 0.0, 0.0])
    apart = imagine(Line(-1.0, 1.0), LINE, torch.zeros(1, 1), plan, Config(propagation="tsinf"))
    assert apart.doubts.item() == pytest.approx(1 + 2 + 3)
    mean = imagine(Line(-1.0, 1.0), LINE, torch.zeros(1, 1), plan, Config(propagation="mean"))
    assert mean.doubts.item() == pytest.approx(1 + 1 + 1)
    assert apart.returns.item() == mean.returns.item() == 0


def test_dealing_members_anew_keeps_every_particle_on_a_possible_path():
    rng = torch.Generator().manual_seed(0)
    task = LINE._replace(reward=lambda obs, actions, next_obs: next_obs[..., 0] ** 2)
    plan = torch.zeros(1, 4000, 2, 1)
    dealt = imagine(Line(-1.0, 1.0), task, torch.zeros(1, 1), plan, Config(propagation="ts1"), rng)
    fixed = imagine(Line(-1.0, 1.0), task, torch.zeros(1, 1), plan, Config(propagation="tsinf"))
    assert fixed.returns.unique().tolist() == [1 + 4]  # the same member twice: 2 away
    assert set(dealt.returns.unique().tolist()) == {1.0, 1 + 4.0}  # or one after the other: back
    assert dealt.returns.mean() == pytest.approx(1 + 2, abs=0.15)


def test_a_particle_draws_from_the_gaussian_of_its_own_member():
    rng = torch.Generator().manual_seed(0)
    model = Line(0.0, 0.0, std=[0.0, 2.0])  # one member is sure, the other is not
    task = LINE._replace(reward=lambda obs, actions, next_obs: next_obs[..., 0] ** 2)
    plan, start = torch.zeros(1, 20_000, 2, 1), torch.zeros(1, 1)
    drawn = imagine(model, task, start, plan, Config(sample=True), rng)
    # Squares of a random walk: 2^2, then 2 * 2^2, halved by the member that stays where it is.
    assert drawn.returns.mean() == pytest.approx((4 + 8) / 2, rel=0.03)
    means = imagine(model, task, start, plan, Config())
    assert means.returns.unique().tolist() == [0]


def test_draws_are_no_disagreement_and_the_reward_is_of_the_state_drawn():
    rng = torch.Generator().manual_seed(0)
    task = LINE._replace(reward=lambda obs, actions, next_obs: (next_obs - obs)[..., 0])
    plan, start = torch.zeros(1, 4_000, 1, 1), torch.zeros(1, 1)
    found = imagine(Line(-1.0, 1.0, std=0.5), task, start, plan, Config(sample=True), rng)
    assert found.doubts.unique().tolist() == [1]
    assert found.returns.std() == pytest.approx(0.5 / 2**0.5, rel=0.05)  # a mean of two draws


def test_only_draws_see_that_a_path_along_the_edge_is_risky():
    ended = LINE._replace(
        reward=planning.cartpole_alive, ended=lambda next_obs: next_obs[..., 0] > 1
    )
    plan = plans_of([0.0, 0.0, 0.0], [0.9, 0.0, 0.0])  # stay away, or stand beside the edge
    model, start = Line(*[0.0] * 50, std=0.3), torch.zeros(1, 1)
    assert imagine(model, ended, start, plan, Config()).returns.tolist() == [[3, 3]]
    rng = torch.Generator().manual_seed(0)
    safe, risky = imagine(model, ended, start, plan, Config(sample=True), rng).returns[0]
    assert safe > risky + 0.5


def test_the_reward_of_the_task_or_of_the_model():
    task = LINE._replace(reward=lambda obs, actions, next_obs: 10 * obs[..., 0])
    start, plan = torch.ones(1, 1), plans_of([1.0])
    assert imagine(Line(0.0), task, start, plan, Config()).returns.item() == 10
    task = LINE._replace(reward=None)
    assert imagine(Line(0.0), task, start, plan, Config()).returns.item() == 2


# --- planners ------------------------------------------------------------------------------------


def test_cem_finds_the_best_plan_and_random_shooting_comes_less_close():
    target = torch.tensor([0.6, -0.4, 0.2])

    def reward(obs, actions, next_obs):  # the place after step k should be the sum of k targets
        return -((actions[..., 0] - target[calls.pop(0)]) ** 2)

    task = LINE._replace(reward=reward)
    close = {}
    for iterations in (1, 6):
        calls = [0, 1, 2] * iterations
        config = Config(horizon=3, population=50, iterations=iterations, elites=8, keep=0.0)
        plan = Planner(Line(0.0), task, config, num_envs=2, seed=0).plan(torch.zeros(2, 1))
        close[iterations] = (plan[:, :, 0] - target).abs().max()
    assert close[6] < 0.1 < close[1]


def test_numbered_actions_come_back_as_numbers():
    task = Task(place, None, num_actions=2)
    planner = Planner(Line(0.0), task, Config(horizon=4, population=32), num_envs=3)
    actions = planner(np.zeros((3, 1)))
    assert actions.tolist() == [1, 1, 1]  # action 1 moves up, and higher is better
    torch.testing.assert_close(planner.best.sum(-1), torch.ones(3, 4))
    assert planner.promised.tolist() == [1 + 2 + 3 + 4] * 3


def test_actions_stay_within_the_limit():
    task = LINE._replace(limit=0.5)
    planner = Planner(Line(0.0), task, Config(horizon=2, spread=5.0), num_envs=1)
    assert planner(np.zeros((1, 1))).item() == pytest.approx(0.5)


def test_the_next_search_begins_where_the_last_one_ended():
    config = Config(horizon=3, population=8, iterations=1, elites=4, spread=1e-6, keep=0.0)
    planner = Planner(Line(0.0), LINE, config, num_envs=1)
    planner.mean = torch.tensor([[[0.1], [0.2], [0.3]]])
    planner.best = torch.tensor([[[0.7], [0.8], [0.9]]])
    plan = planner.plan(torch.zeros(1, 1))
    torch.testing.assert_close(plan[0, :, 0], torch.tensor([0.8, 0.9, 0.9]))


def test_a_pessimist_avoids_what_the_members_do_not_agree_on():
    class Doubtful(Line):
        def predict(self, obs, actions, with_std=False):
            step = actions[..., -1:]
            return Prediction(obs + step + self.drift * (step > 0), None)

    def first(pessimism):
        config = Config(horizon=1, population=64, iterations=4, pessimism=pessimism)
        return Planner(Doubtful(-1.0, 1.0), LINE, config, 1).plan(torch.zeros(1, 1)).item()

    assert first(0.0) > 0.8
    assert first(5.0) <= 0.01


def test_smooth_noise_keeps_its_spread():
    config = Config(horizon=30, population=4000, smooth=0.8, spread=0.2)
    planner = Planner(Line(0.0), LINE, config, num_envs=1)
    plans = planner._draw(torch.zeros(1, 30, 1), torch.full((1, 30, 1), 0.2))[0, :, :, 0]
    torch.testing.assert_close(plans.std(0), torch.full((30,), 0.2), atol=0.02, rtol=0)
    neighbours = (plans[:, 1:] * plans[:, :-1]).mean() / plans.var()
    assert neighbours == pytest.approx(0.8, abs=0.03)


def test_planning_repeats():
    task = planning.PENDULUM
    model = Dynamics(3, 1, ModelConfig(members=2, hidden=(8,)), seed=1)
    obs = np.float32([[1, 0, 0], [0, 1, 2]])
    for propagation in planning.PROPAGATIONS:
        config = Config(horizon=5, population=16, propagation=propagation)
        one, two = (Planner(model, task, config, 2, seed=4)(obs) for _ in range(2))
        np.testing.assert_array_equal(one, two)
        assert one.shape == (2, 1)


# --- the tasks -----------------------------------------------------------------------------------


def test_what_is_known_of_the_tasks_is_what_the_environments_do():
    from course_lib.rl.envs import make
    from course_lib.world_models.experience import collect, random_policy

    envs = make("CartPole-v1", 8, seed=0)
    data = collect(envs, random_policy(envs, 0), 1000)
    ended = planning.cartpole_ended(torch.as_tensor(data.next_obs)).numpy()
    np.testing.assert_array_equal(ended[data.valid], data.ended[data.valid])
    envs = make("Pendulum-v1", 4, seed=0)
    data = collect(envs, random_policy(envs, 0, 2.0), 400)
    rewards = planning.pendulum_reward(
        *map(torch.as_tensor, (data.obs, data.actions, data.next_obs))
    )
    np.testing.assert_allclose(rewards.numpy()[data.valid], data.rewards[data.valid], atol=1e-4)


def test_the_margin_is_1_in_the_middle_and_0_at_both_limits():
    limits = torch.tensor([[0.0, 9, 0, 9], [2.4, 0, 12 * torch.pi / 180, 0], [2.4, 0, 0, 0]])
    found = planning.cartpole_margin(limits, limits, limits)
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, 0.5]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"elites": 65}, "elites must be at most population, 64, got 65"),
        ({"propagation": "ts2"}, "propagation must be one of"),
        ({"propagation": "mean", "sample": True}, "sample must be False with 'mean'"),
        ({"keep": 1.5}, r"keep must lie in \[0, 1\], got 1.5"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
    ],
)
def test_impossible_settings_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        Config(**change)


def test_somebody_must_know_the_reward():
    model = Dynamics(1, 1, ModelConfig(members=1))
    with pytest.raises(ValueError, match="the model must learn_reward"):
        Planner(model, LINE._replace(reward=None), Config(), 1)
