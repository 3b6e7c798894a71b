"""Policy gradients: losses by hand, gradients against finite differences and exact sums."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.classroom import use
from course_lib.evaluation import evaluate
from course_lib.rl import actor_critic as ac, envs as environments, returns
from course_lib.rl.agent import Agent
from course_lib.rl.envs import Step

EXACT = {"rtol": 1e-6, "atol": 1e-9}


def numbers(*shape, seed=0):
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


# --- The parts, by hand ------------------------------------------------------------------------


def test_return_to_go_by_hand_and_as_a_double_sum():
    assert ac.return_to_go(torch.tensor([1.0, 2.0, 4.0]), 0.5).tolist() == [3.0, 4.0, 4.0]
    rewards = numbers(7, 3)
    expected = [[sum(0.9 ** (k - t) * rewards[k, i] for k in range(t, 7)) for i in range(3)]
                for t in range(7)]  # fmt: skip
    torch.testing.assert_close(ac.return_to_go(rewards, 0.9), torch.tensor(expected), **EXACT)


def test_return_to_go_is_the_discounted_return_of_whole_episodes():
    rewards, ended = numbers(6, 2), torch.zeros(6, 2, dtype=torch.bool)
    ended[3, 0] = ended[5, 1] = True
    rewards[4:, 0] = 0.0
    general = returns.discounted_returns(rewards, 0 * rewards, ended, ~ended & ended, 0.9)
    torch.testing.assert_close(ac.return_to_go(rewards, 0.9), general, **EXACT)


def test_leave_one_out_by_hand_and_its_error():
    totals = torch.tensor([[6.0, 3.0, 0.0]])
    assert ac.leave_one_out(totals).tolist() == [[4.5, 0.0, -4.5]]
    with pytest.raises(ValueError, match="needs at least 2 episodes, got 1"):
        ac.leave_one_out(torch.ones(5, 1))


def test_the_policy_loss_by_hand_and_its_gradient():
    logp = torch.tensor([-1.0, -2.0, -5.0], requires_grad=True)
    advantages = torch.tensor([3.0, -1.0, 99.0], requires_grad=True)
    loss = ac.policy_gradient_loss(logp, advantages, torch.tensor([1.0, 1.0, 0.0]))
    assert loss.item() == -(-1 * 3 + -2 * -1) / 2
    loss.backward()
    assert logp.grad.tolist() == [-1.5, 0.5, 0.0]
    assert advantages.grad is None, "advantages are data: no gradient flows into the values"


def test_entropy_by_hand():
    logits = torch.tensor([[5.0, 5.0], [np.log(3), 0.0], [1000.0, 0.0]], dtype=torch.float64)
    quarter = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    expected = torch.tensor([np.log(2), quarter, 0.0], dtype=torch.float64)
    torch.testing.assert_close(ac.entropy_bonus(logits), expected, **EXACT)


def finite_differences(function, x, step=1e-6):
    """Central differences of a number by every entry of x."""
    gradient = torch.empty_like(x)
    for i in np.ndindex(*x.shape):
        high, low = x.clone(), x.clone()
        high[i] += step
        low[i] -= step
        gradient[i] = (function(high) - function(low)) / (2 * step)
    return gradient


def test_the_gradients_of_loss_and_entropy_agree_with_finite_differences():
    actions, advantages = torch.tensor([0, 2, 1, 2]), numbers(4, seed=1)
    mask = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)

    def whole(logits):
        logp = torch.log_softmax(logits, -1)[torch.arange(4), actions]
        loss = ac.policy_gradient_loss(logp, advantages, mask)
        return loss - 0.3 * ac.entropy_bonus(logits).mean()

    logits = numbers(4, 3, seed=2).requires_grad_()
    whole(logits).backward()
    expected = finite_differences(whole, logits.detach())
    torch.testing.assert_close(logits.grad, expected, rtol=1e-6, atol=1e-8)


def test_the_whole_loss_by_hand_and_masked_rows_change_nothing():
    config = ac.Config(value_coef=0.5, entropy_coef=0.1)
    values, targets = torch.tensor([1.0, 5.0, 0.0]), torch.tensor([3.0, 1.0, 0.0])
    entropy, mask = torch.tensor([0.5, 0.7, 9.0]), torch.tensor([1.0, 1.0, 0.0])
    loss, metrics = ac.actor_critic_loss(torch.tensor(2.0), values, targets, entropy, mask, config)
    assert loss.item() == pytest.approx(2 + 0.5 * (0.5 * (4 + 16) / 2) - 0.1 * 0.6)
    assert metrics["value_loss"].item() == 5 and metrics["entropy"].item() == pytest.approx(0.6)
    noisy = values + torch.tensor([0.0, 0.0, 7.0])
    again, _ = ac.actor_critic_loss(torch.tensor(2.0), noisy, targets, entropy, mask, config)
    assert again == loss


# --- A problem small enough to count out -------------------------------------------------------


class Tiny:
    """Two states, two actions, at most three steps; action 1 in state 1 ends the episode."""

    rewards = torch.tensor([[1.0, 0.0], [2.0, 5.0]], dtype=torch.float64)

    def episodes(self, theta):
        """All episodes under softmax(theta): (probability, log-probabilities, rewards)."""
        logits = torch.log_softmax(theta, -1)
        for plan in itertools.product([0, 1], repeat=3):
            state, logp, rewards, used = 0, [], [], 0
            for action in plan:
                logp.append(logits[state, action])
                rewards.append(self.rewards[state, action])
                used += 1
                if state == 1 and action == 1:
                    break
                state = action
            # An episode that ends early comes up once per way of filling up its plan.
            share = 0.5 ** (3 - used)
            yield share * torch.stack(logp).sum().exp(), torch.stack(logp), torch.stack(rewards)

    def value(self, theta):
        """The expected return, exactly."""
        return sum(p * rewards.sum() for p, _, rewards in self.episodes(theta))


def padded(rows):
    return torch.nn.utils.rnn.pad_sequence(rows)


@pytest.mark.parametrize("baseline", ["none", "constant", "leave one out"])
def test_the_mean_gradient_estimate_is_the_true_gradient(baseline):
    tiny, theta = Tiny(), numbers(2, 2, seed=3).requires_grad_()
    known = list(tiny.episodes(theta))
    assert sum(p.item() for p, _, _ in known) == pytest.approx(1)
    mean = torch.zeros_like(theta)
    # Every pair of episodes, weighted by its probability: the expectation without sampling.
    for (p, logp_a, rewards_a), (q, logp_b, rewards_b) in itertools.product(known, known):
        logp, totals = (
            padded([logp_a, logp_b]),
            ac.return_to_go(padded([rewards_a, rewards_b]), 1.0),
        )
        mask = padded([torch.ones_like(logp_a), torch.ones_like(logp_b)])
        advantages = {
            "none": totals,
            "constant": totals - 2.5,
            "leave one out": ac.leave_one_out(totals),
        }[baseline]
        # The loss is a mean over steps; per episode, it is the sum that is unbiased.
        loss = ac.policy_gradient_loss(logp, advantages, mask) * mask.sum() / 2
        (gradient,) = torch.autograd.grad(loss, theta, retain_graph=True)
        mean -= (p * q).detach() * gradient
    expected = finite_differences(tiny.value, theta.detach())
    torch.testing.assert_close(mean, expected, rtol=1e-6, atol=1e-8)


def test_leaving_one_out_lowers_the_variance():
    tiny, theta = Tiny(), torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    known = list(tiny.episodes(theta))
    spread = {"none": 0.0, "leave one out": 0.0}
    for (p, logp_a, rewards_a), (q, logp_b, rewards_b) in itertools.product(known, known):
        logp, totals = (
            padded([logp_a, logp_b]),
            ac.return_to_go(padded([rewards_a, rewards_b]), 1.0),
        )
        for name, advantages in (("none", totals), ("leave one out", ac.leave_one_out(totals))):
            (g,) = torch.autograd.grad((logp * advantages).sum() / 2, theta, retain_graph=True)
            spread[name] += ((p * q).detach() * (g**2).sum()).item()
    assert spread["leave one out"] < 0.6 * spread["none"]


# --- Playing and training ----------------------------------------------------------------------


class Lottery:
    """Environment i ends after i + 1 steps; action 1 pays 1. Resets as in Envs."""

    name, obs_shape, num_actions, action_size, num_envs = "Lottery", (1,), 2, None, 4

    def reset(self):
        self.age, self.ended = np.zeros(4, int), np.zeros(4, bool)
        return self._obs()

    def _obs(self):
        return self.age[:, None].astype(np.float32)

    def step(self, actions):
        valid = ~self.ended
        self.age = np.where(valid, self.age + 1, 0)
        self.ended = valid & (self.age > np.arange(4))
        rewards = (valid & (actions == 1)).astype(np.float32)
        cut = self.ended & (np.arange(4) == 3)
        return Step(self._obs(), rewards, self.ended & ~cut, cut, valid)


def test_whole_episodes_stop_counting_after_their_end():
    envs = Lottery()
    agent = Agent(envs, ac.Config().agent, seed=0)
    episodes = ac.play_episodes(agent, envs, torch.Generator().manual_seed(0))
    assert episodes.valid.sum(0).tolist() == [1, 2, 3, 4]
    assert episodes.obs.shape == (4, 4, 1) and episodes.actions.shape == (4, 4)
    assert not episodes.rewards[~episodes.valid].any()
    assert episodes.rewards.sum() == (episodes.actions * episodes.valid).sum()
    ended = episodes.terminated | episodes.truncated
    assert ended.sum(0).tolist() == [1, 1, 1, 1] and not (ended & ~episodes.valid).any()
    assert episodes.truncated[3, 3] and episodes.truncated.sum() == 1
    with torch.no_grad():
        logp = agent.network.policy(episodes.obs.flatten(0, 1)).logp(episodes.actions.flatten())
    torch.testing.assert_close(episodes.logp.flatten(), logp)
    torch.testing.assert_close(episodes.next_values[:-1], episodes.values[1:])


SHORT = {"total_steps": 400, "num_envs": 4, "rollout_length": 8, "learning_rate": 3e-2}


def trained(algorithm, config, envs):
    agent = Agent(envs, config.agent, seed=0)
    return agent, list(algorithm(agent, envs, config, seed=0))


@pytest.mark.parametrize("baseline", ["none", "leave one out", "value", "a2c"])
def test_it_learns_the_action_that_pays(baseline):
    algorithm = ac.a2c if baseline == "a2c" else ac.reinforce
    config = ac.Config(**SHORT, baseline="none" if baseline == "a2c" else baseline)
    agent, history = trained(algorithm, config, Lottery())
    assert (agent.act(np.arange(4, dtype=np.float32)[:, None]) == 1).all()
    assert history[-1].keys() == {"steps", "return", "policy_loss", "value_loss", "entropy"}
    assert history[-1]["steps"] >= 400 > history[-2]["steps"]
    assert history[-1]["entropy"] < history[0]["entropy"]


def test_a_run_is_repeated_exactly_by_its_seed():
    first, second = (trained(ac.a2c, ac.Config(**SHORT), Lottery())[1] for _ in range(2))
    np.testing.assert_equal(first, second)


@pytest.mark.parametrize("algorithm", [ac.reinforce, ac.a2c])
def test_continuous_actions(algorithm):
    config = replace(ac.Config(**SHORT), total_steps=100, entropy_coef=0.01)
    envs = environments.make("Pendulum-v1", 4, seed=0, options={"max_episode_steps": 10})
    _, history = trained(algorithm, config, envs)
    assert all(np.isfinite(row["policy_loss"]) for row in history)


def test_the_algorithms_are_made_of_their_parts():
    calls = []

    def noting(name, function):
        return lambda *args: calls.append(name) or function(*args)

    names = ["return_to_go", "leave_one_out", "policy_gradient_loss", "entropy_bonus"]
    parts = {getattr(ac, name): noting(name, getattr(ac, name)) for name in names}
    config = replace(ac.Config(**SHORT), total_steps=1, baseline="leave one out")
    with use(parts, {returns.gae: noting("gae", returns.gae)}):
        trained(ac.reinforce, config, Lottery())
        assert sorted(calls) == sorted(names)
        calls.clear()
        trained(ac.a2c, config, Lottery())
        assert sorted(calls) == ["entropy_bonus", "gae", "policy_gradient_loss"]


def test_extra_steps_move_only_the_values():
    def after(value_steps):
        config = replace(ac.Config(**SHORT), total_steps=1, value_steps=value_steps)
        return trained(ac.reinforce, config, Lottery())[0].network.state_dict()

    one, three = after(1), after(3)
    for name in one:
        assert torch.equal(one[name], three[name]) == name.startswith("policy"), name


def test_a_stranger_to_the_global_random_state():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    trained(ac.reinforce, replace(ac.Config(**SHORT), total_steps=1), Lottery())
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"gamma": 1.2}, r"gamma must lie in \[0, 1\], got 1.2"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"value_coef": -1}, "value_coef must not be negative, got -1"),
        ({"baseline": "mean"}, "baseline must be one of none, leave one out, value, got 'mean'"),
        ({"value_steps": 0}, "value_steps must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_told(setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        ac.Config(**setting)


def test_a2c_learns_cartpole_a_little():
    config = replace(ac.CARTPOLE_A2C, total_steps=40_000)
    envs = environments.make("CartPole-v1", config.num_envs, seed=0)
    agent, _ = trained(ac.a2c, config, envs)
    assert evaluate(agent.act, environments.make("CartPole-v1", 20, seed=1), 20).mean() > 100
