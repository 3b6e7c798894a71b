"""GAE and TD(lambda) against brute force, their identities, and Stable-Baselines3."""

import itertools

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.buffers import RolloutBuffer

from course_lib.rl import returns

RATES = [(0.9, 0.8), (0.99, 0.95), (1.0, 1.0), (0.95, 0.0), (0.0, 0.5), (0.7, 1.0)]
SEEDS = range(5)


class Data:
    """Random experience (T, N) in float64, with a reset row after every end but in the last row."""

    def __init__(self, seed, length=50, envs=4, resets=True):
        rng = np.random.default_rng(seed)
        self.rewards = rng.normal(size=(length, envs))
        self.terminated, self.truncated = np.zeros((2, length, envs), bool)
        self.valid = np.ones((length, envs), bool)
        for t, i in itertools.product(range(length), range(envs)):
            if resets and t and (self.terminated | self.truncated)[t - 1, i]:
                self.valid[t, i] = False
                self.rewards[t, i] = 99.0  # would show up in any sum that reaches into it
                continue
            draw = rng.random()
            self.terminated[t, i] = draw < 0.08
            self.truncated[t, i] = 0.05 < draw < 0.2  # both at once also occurs
        self.ended = self.terminated | self.truncated
        self.values = rng.normal(size=(length, envs))
        # What row t led to is what row t + 1 observes, be it a final observation.
        self.next_values = np.concatenate([self.values[1:], rng.normal(size=(1, envs))])
        if not resets:  # the next row is a new episode's first: it says nothing of the last one
            fresh = rng.normal(size=(length, envs))
            self.next_values = np.where(self.ended, fresh, self.next_values)

    def tensors(self, *names):
        return [torch.tensor(getattr(self, name)) for name in names]

    def gae(self, gamma, lam):
        names = ("rewards", "values", "next_values", "terminated", "truncated")
        return returns.gae(*self.tensors(*names), gamma, lam).numpy()

    def lambda_returns(self, gamma, lam):
        names = ("rewards", "next_values", "terminated", "truncated")
        return returns.lambda_returns(*self.tensors(*names), gamma, lam).numpy()

    def stretch(self, t, i):
        """The rows from t to the last of its episode, or of the data."""
        rows = [t]
        while not self.ended[rows[-1], i] and rows[-1] + 1 < len(self.rewards):
            rows.append(rows[-1] + 1)
        return rows

    def n_step(self, rows, i, gamma):
        """Rewards of these rows, and what the state they led to is worth."""
        total = sum(gamma**k * self.rewards[row, i] for k, row in enumerate(rows))
        if self.terminated[rows[-1], i]:
            return total
        return total + gamma ** len(rows) * self.next_values[rows[-1], i]


@pytest.mark.parametrize(("gamma", "lam"), RATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_gae_is_the_weighted_sum_of_surprises(seed, gamma, lam):
    data = Data(seed)
    result = data.gae(gamma, lam)
    assert result.dtype == np.float64
    for t, i in np.argwhere(data.valid):
        total = 0.0
        for k, row in enumerate(data.stretch(t, i)):
            surprise = data.n_step([row], i, gamma) - data.values[row, i]
            total += (gamma * lam) ** k * surprise
        assert result[t, i] == pytest.approx(total, abs=1e-10)


@pytest.mark.parametrize(("gamma", "lam"), RATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_lambda_returns_are_the_weighted_mean_of_n_step_returns(seed, gamma, lam):
    """Sutton and Barto (2018), equation 12.3: the forward view."""
    data = Data(seed)
    result = data.lambda_returns(gamma, lam)
    for t, i in np.argwhere(data.valid):
        rows = data.stretch(t, i)
        all_n = [data.n_step(rows[:n], i, gamma) for n in range(1, len(rows) + 1)]
        weights = [(1 - lam) * lam**k for k in range(len(rows) - 1)] + [lam ** (len(rows) - 1)]
        assert sum(weights) == pytest.approx(1)
        assert result[t, i] == pytest.approx(np.dot(weights, all_n), abs=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_discounted_returns_are_all_rewards_to_come(seed):
    data, gamma = Data(seed), 0.9
    arguments = data.tensors("rewards", "next_values", "terminated", "truncated")
    result = returns.discounted_returns(*arguments, gamma)
    seen_only = returns.discounted_returns(
        arguments[0], torch.zeros_like(arguments[1]), *arguments[2:], gamma
    )
    for t, i in np.argwhere(data.valid):
        rows = data.stretch(t, i)
        assert result[t, i] == pytest.approx(data.n_step(rows, i, gamma), abs=1e-10)
        seen = returns.discounted_return(data.rewards[rows, i], gamma)
        assert seen_only[t, i] == pytest.approx(seen, abs=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_identities(seed):
    data = Data(seed)
    alive = 1.0 - data.terminated
    one_step = data.rewards + 0.9 * alive * data.next_values
    keep = data.valid

    def same(a, b):
        np.testing.assert_allclose(a[keep], b[keep], atol=1e-10)

    same(data.lambda_returns(0.9, 0.0), one_step)
    same(data.gae(0.9, 0.0), one_step - data.values)
    for gamma, lam in RATES:
        same(data.gae(gamma, lam), data.lambda_returns(gamma, lam) - data.values)
    # With lam 1 the values of the states on the way cancel.
    others = Data(seed)
    others.next_values = np.where(data.ended, data.next_values, 7.0)
    others.next_values[-1] = data.next_values[-1]
    same(data.lambda_returns(0.9, 1.0), others.lambda_returns(0.9, 1.0))
    # Values that are right leave no surprise.
    exact = Data(seed, envs=1)
    exact.rewards[:], exact.values[:], exact.next_values[:] = 1.0, 10.0, 10.0
    exact.terminated[:] = False
    np.testing.assert_allclose(exact.gae(0.9, 0.7), 0.0, atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_lies_behind_an_end_does_not_matter(seed):
    data, changed = Data(seed), Data(seed)
    changed.rewards[~data.valid] = -7.0
    changed.next_values = np.where(data.terminated, 1e6, changed.next_values)
    a, b = data.gae(0.99, 0.95), changed.gae(0.99, 0.95)
    np.testing.assert_allclose(a[data.valid], b[data.valid], atol=1e-10)


@pytest.mark.parametrize(("gamma", "lam"), RATES)
@pytest.mark.parametrize("seed", SEEDS)
def test_against_stable_baselines3(seed, gamma, lam):
    """Its buffer knows no reset rows and one kind of end, announced one row later.

    The mapping: ``episode_starts[t + 1]`` is "row t ended"; at a truncation its algorithms add
    the discounted value of the final observation to the reward of the ending row
    (``OnPolicyAlgorithm.collect_rollouts``), which here is ``next_values`` of that row.
    """
    data = Data(seed, resets=False)
    length, envs = data.rewards.shape
    space = gymnasium.spaces.Box(-1, 1, (1,))
    buffer = RolloutBuffer(length, space, space, gae_lambda=lam, gamma=gamma, n_envs=envs)
    only_truncated = data.truncated & ~data.terminated
    # Its own arrays are float32; these take their place.
    buffer.rewards = data.rewards + gamma * data.next_values * only_truncated
    buffer.values = data.values.copy()
    buffer.episode_starts = np.concatenate([np.zeros((1, envs)), data.ended[:-1]])
    buffer.advantages = np.zeros_like(data.rewards)
    buffer.compute_returns_and_advantage(torch.tensor(data.next_values[-1]), data.ended[-1])
    np.testing.assert_allclose(data.gae(gamma, lam), buffer.advantages, atol=1e-6)
    np.testing.assert_allclose(data.lambda_returns(gamma, lam), buffer.returns, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_reset_rows_change_nothing_on_the_others(seed):
    """The same episodes with and without reset rows, one environment: equal advantages."""
    plain = Data(seed, envs=1, resets=False)
    with_resets = Data(seed, length=1, envs=1)
    fields = ("rewards", "values", "next_values", "terminated", "truncated")
    rows = {name: [] for name in fields}
    kept = []
    for t in range(len(plain.rewards)):
        kept.append(len(rows["rewards"]))
        for name in fields:
            rows[name].append(getattr(plain, name)[t])
        if plain.ended[t]:  # a row that belongs to no episode
            for name, junk in zip(fields, (0.0, 5.0, -5.0, False, False), strict=True):
                rows[name].append(np.array([junk]))
    for name in fields:
        setattr(with_resets, name, np.stack(rows[name]))
    result = with_resets.gae(0.97, 0.9)
    assert len(result) > len(kept)
    np.testing.assert_allclose(result[kept], plain.gae(0.97, 0.9), atol=1e-10)


def column(*numbers):
    return torch.tensor(numbers, dtype=torch.float64)[:, None]


def test_by_hand():
    """Three steps of one environment; gamma and lambda 0.5; values 1; next values 2."""
    rewards, values, following = column(1, 2, 4), column(1, 1, 1), column(2, 2, 2)
    no, last = column(0, 0, 0).bool(), column(0, 0, 1).bool()
    middle = column(0, 1, 0).bool()

    def gae(terminated, truncated):
        result = returns.gae(rewards, values, following, terminated, truncated, 0.5, 0.5)
        return result.ravel().tolist()

    # Surprises: 1 + 1 - 1 = 1, 2 + 1 - 1 = 2, 4 + 1 - 1 = 4; each later one counts a quarter.
    assert gae(no, no) == [1 + (2 + 4 / 4) / 4, 2 + 4 / 4, 4]
    assert gae(no, last) == gae(no, no)  # the data end there anyway
    assert gae(last, no) == [1 + (2 + 3 / 4) / 4, 2 + 3 / 4, 3]  # no future after the last row
    assert gae(no, middle) == [1 + 2 / 4, 2, 4]  # the trace is cut, the value stays
    assert gae(middle, no) == [1 + 1 / 4, 1, 4]  # both go
    assert gae(middle, middle) == gae(middle, no)


def test_inputs_stay_and_gradients_flow():
    data = Data(0)
    arguments = data.tensors("rewards", "values", "next_values", "terminated", "truncated")
    kept = [x.clone() for x in arguments]
    returns.gae(*arguments, 0.9, 0.9)
    returns.lambda_returns(*arguments[:1], *arguments[2:], 0.9, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(arguments, kept, strict=True))
    # Imagined rollouts differentiate through the returns.
    rewards = arguments[0].requires_grad_()
    returns.lambda_returns(rewards, *arguments[2:], 0.9, 0.9).sum().backward()
    assert torch.isfinite(rewards.grad).all() and (rewards.grad[torch.tensor(data.valid)] > 0).all()


def test_wrong_rates_get_a_sentence():
    data = Data(0)
    with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\], got 1\.2"):
        data.gae(1.2, 0.9)
    with pytest.raises(ValueError, match=r"lam must lie in \[0, 1\], got -0\.1"):
        data.lambda_returns(0.9, -0.1)
