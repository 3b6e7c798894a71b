"""PPO: its loss against NumPy in float64, its training loop row by row, and identity tasks."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from course_lib.classroom import use
from course_lib.rl import envs as environments, losses, ppo, returns
from course_lib.rl.agent import Agent, AgentConfig
from course_lib.rl.envs import Step

SETTINGS = {
    "plain": {},
    "clipped values": {"value_clip": 0.2},
    "entropy": {"entropy_coef": 0.03},
    "all": {"value_clip": 0.3, "value_coef": 0.7, "entropy_coef": 0.01},
}
TENSORS = ("logp", "old_logp", "advantages", "values", "old_values", "targets", "entropy")


def batch(seed, shape=(12,)):
    """Random rows in float64, on both sides of every clip."""
    rng = np.random.default_rng(seed)
    data = {name: rng.normal(size=shape) for name in TENSORS}
    data["old_logp"] -= 2.0
    data["logp"] = data["old_logp"] + rng.normal(0, 0.4, size=shape)
    data["values"] = data["old_values"] + rng.normal(0, 0.4, size=shape)
    data["entropy"] = np.abs(data["entropy"])
    return data


def loss_of(data, settings, mask=None):
    """What ``ppo_loss`` says of the tensors ``data`` for one of SETTINGS."""
    return ppo.ppo_loss(*(data[name] for name in TENSORS), ppo.Config(**settings), mask)


def by_numpy(data, settings, clip=0.2, mask=None):
    """The loss row by row, written from the paper's words."""
    rows = list(np.ndindex(data["logp"].shape))
    rows = [i for i in rows if mask is None or mask[i]]
    sums = dict.fromkeys(("policy_loss", "value_loss", "entropy", "kl", "clipped"), 0.0)
    for i in rows:
        ratio = math.exp(data["logp"][i]) / math.exp(data["old_logp"][i])
        advantage = data["advantages"][i]
        kept = min(max(ratio, 1 - clip), 1 + clip)
        sums["policy_loss"] -= min(ratio * advantage, kept * advantage)
        value, target, old = (data[n][i] for n in ("values", "targets", "old_values"))
        error = (value - target) ** 2
        if "value_clip" in settings:
            near = min(max(value, old - settings["value_clip"]), old + settings["value_clip"])
            error = max(error, (near - target) ** 2)
        sums["value_loss"] += error / 2
        sums["entropy"] += data["entropy"][i]
        sums["kl"] += ratio - 1 - math.log(ratio)
        sums["clipped"] += abs(ratio - 1) > clip
    metrics = {name: total / max(1, len(rows)) for name, total in sums.items()}
    loss = metrics["policy_loss"]
    loss += settings.get("value_coef", 0.5) * metrics["value_loss"]
    loss -= settings.get("entropy_coef", 0) * metrics["entropy"]
    return loss, metrics


def tensors(data, dtype=torch.float64):
    return {name: torch.tensor(x, dtype=dtype) for name, x in data.items()}


def some_mask(shape, seed=0):
    mask = np.random.default_rng(seed).random(shape) < 0.6
    mask.flat[0] = True
    return mask


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("shape", [(12,), (4, 5)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_metrics_against_numpy(name, shape, masked, seed):
    data, settings = batch(seed, shape), SETTINGS[name]
    mask = some_mask(shape, seed) if masked else None
    keep = None if mask is None else torch.tensor(mask, dtype=torch.float64)
    loss, metrics = loss_of(tensors(data), settings, keep)
    expected, expected_metrics = by_numpy(data, settings, mask=mask)
    assert loss.shape == () and loss.dtype == torch.float64
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    assert set(metrics) == {"policy_loss", "kl", "clipped", "value_loss", "entropy"}
    for key, value in metrics.items():
        assert value.item() == pytest.approx(expected_metrics[key], abs=1e-9), key
        assert not value.requires_grad


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_against_finite_differences(masked, seed):
    data, settings = batch(seed), SETTINGS["all"]
    mask = some_mask((12,), seed) if masked else None
    inputs = tensors(data)
    learned = ("logp", "values", "entropy")
    for name in learned:
        inputs[name].requires_grad_()
    keep = None if mask is None else torch.tensor(mask, dtype=torch.float64)
    loss_of(inputs, settings, keep)[0].backward()
    step = 1e-6
    for name, row in itertools.product(learned, range(12)):
        ends = []
        for side in (step, -step):
            moved = {k: v.copy() for k, v in data.items()}
            moved[name][row] += side
            ends.append(by_numpy(moved, settings, mask=mask)[0])
        slope = (ends[0] - ends[1]) / (2 * step)
        assert inputs[name].grad[row].item() == pytest.approx(slope, abs=1e-6), (name, row)


@pytest.mark.parametrize("kind", [torch.float32, torch.bool])
@pytest.mark.parametrize("junk", [1.0, 1e4, math.inf, math.nan])
def test_a_masked_row_changes_nothing_whatever_it_holds(kind, junk):
    """Rows left out may be padding, whose log-probabilities are anything at all."""
    shape, settings = (3, 4), SETTINGS["all"]
    mask = torch.tensor(some_mask(shape)).to(kind)
    results = []
    for fill in (0.0, junk):
        inputs = tensors(batch(0, shape), torch.float32)
        for name in ("logp", "old_logp"):
            inputs[name][mask == 0] = fill if name == "logp" else -fill
        for name in ("advantages", "values", "targets", "entropy"):
            inputs[name][mask == 0] = fill if math.isfinite(fill) else -7.0
        learned = [inputs[name].requires_grad_() for name in ("logp", "values", "entropy")]
        loss, metrics = loss_of(inputs, settings, mask)
        loss.backward()
        results.append([loss.detach(), *metrics.values(), *(x.grad for x in learned)])
    for clean, dirty in zip(*results, strict=True):
        torch.testing.assert_close(clean, dirty, rtol=0, atol=0)


def test_a_fully_masked_batch_costs_nothing():
    inputs = tensors(batch(0))
    learned = [inputs[name].requires_grad_() for name in ("logp", "values", "entropy")]
    loss, metrics = loss_of(inputs, SETTINGS["all"], torch.zeros(12).double())
    loss.backward()
    assert loss.item() == 0 and not any(value.item() for value in metrics.values())
    assert all(not x.grad.any() for x in learned)


def test_the_loss_is_made_of_its_parts():
    def part(number):
        return lambda *args: torch.full((12,), number, dtype=torch.float64)

    parts = {
        losses.probability_ratio: part(1.05),
        losses.clipped_surrogate: part(2.0),
        losses.value_loss: part(3.0),
        losses.approx_kl: part(4.0),
    }
    with use(parts):
        loss, metrics = loss_of(tensors(batch(0)), {})
    assert loss.item() == 2.0 + 0.5 * 3.0
    found = {name: value.item() for name, value in metrics.items() if name != "entropy"}
    assert found == {"policy_loss": 2.0, "value_loss": 3.0, "kl": 4.0, "clipped": 0.0}


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_of_approx_kl_is_the_exact_kl(seed):
    rng = np.random.default_rng(seed)
    old, new = rng.dirichlet(np.ones(6), size=2)
    each = losses.approx_kl(torch.tensor(np.log(new)), torch.tensor(np.log(old)))
    exact = float(np.sum(old * np.log(old / new)))  # KL(old || new), all six actions enumerated
    assert float(np.sum(old * each.numpy())) == pytest.approx(exact, abs=1e-12)
    assert (each >= 0).all()


def test_approx_kl_keeps_its_digits_near_zero():
    """r - 1 - log r loses all of them in float32 when the policies all but agree."""
    gap = torch.tensor([1e-4, -1e-4, 0.0], dtype=torch.float32)
    result = losses.approx_kl(gap, torch.zeros(3))
    torch.testing.assert_close(result, torch.tensor([5e-9, 5e-9, 0.0]), rtol=0.2, atol=0)


@pytest.mark.parametrize("shape", [(50,), (5, 10)])
def test_whitening_against_numpy(shape):
    x = np.random.default_rng(0).normal(3, 7, size=shape)
    result = losses.whiten(torch.tensor(x)).numpy()
    np.testing.assert_allclose(result, (x - x.mean()) / x.std(), atol=1e-6)
    mask = some_mask(shape)
    part = losses.whiten(torch.tensor(x), torch.tensor(mask).double()).numpy()
    np.testing.assert_allclose(part[mask], (x[mask] - x[mask].mean()) / x[mask].std(), atol=1e-6)
    x[~mask] = 1e5
    again = losses.whiten(torch.tensor(x), torch.tensor(mask).double()).numpy()
    np.testing.assert_array_equal(part[mask], again[mask])


def test_whitening_equal_numbers_gives_zeros():
    assert not losses.whiten(torch.full((4,), 3.0)).any()
    assert not losses.whiten(torch.tensor([5.0])).any()
    assert torch.isfinite(losses.whiten(torch.ones(3), torch.zeros(3))).all()


# --- The training loop -------------------------------------------------------------------------


class Echo:
    """Repeat what you see. Episodes last 5 to 9 steps, with a reset row after each.

    Numbered actions: 3, of which the observed one pays 1. Continuous: two numbers, which should
    equal half of the two observed. The reset row pays a fortune for doing wrong.
    """

    name = "Echo"
    num_states = None

    def __init__(self, num_envs=32, continuous=False, seed=0):
        self.num_envs = num_envs
        self.num_actions, self.action_size = (None, 2) if continuous else (3, None)
        self.obs_shape = (2,) if continuous else (3,)
        self._rng = np.random.default_rng(seed)

    def _observe(self):
        if self.num_actions is None:
            self.obs = self._rng.uniform(-1, 1, size=(self.num_envs, 2)).astype(np.float32)
        else:
            self.obs = np.eye(3, dtype=np.float32)[self._rng.integers(3, size=self.num_envs)]
        return self.obs.copy()

    def reset(self, seed=None):
        self.left = self._rng.integers(5, 10, size=self.num_envs)
        self.ended = np.zeros(self.num_envs, bool)
        return self._observe()

    def step(self, actions):
        if self.num_actions is None:
            rewards = 1 - ((actions - self.obs / 2) ** 2).sum(axis=1)
        else:
            rewards = (self.obs.argmax(axis=1) == actions).astype(np.float32)
        valid = ~self.ended
        rewards = np.where(valid, rewards, -100 * rewards).astype(np.float32)
        self.left -= valid
        ended = valid & (self.left == 0)
        terminated = ended & (self._rng.random(self.num_envs) < 0.5)
        self.left = np.where(ended, self._rng.integers(5, 10, size=self.num_envs), self.left)
        self.ended = ended
        return Step(self._observe(), rewards, terminated, ended & ~terminated, valid)

    def close(self):
        pass


SHORT = ppo.Config(
    total_steps=32 * 16 * 25,
    num_envs=32,
    rollout_length=16,
    minibatch_size=128,
    gamma=0.5,
    learning_rate=5e-3,
    agent=AgentConfig(hidden=(16,)),
)


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_to_name_what_it_sees(seed):
    envs = Echo(seed=seed)
    agent = Agent(envs, SHORT.agent, seed)
    rows = list(ppo.train(agent, envs, SHORT, seed))
    assert agent.act(np.eye(3, dtype=np.float32)).tolist() == [0, 1, 2]
    assert rows[-1]["entropy"] < 0.5 < 1.0 < rows[0]["entropy"]


@pytest.mark.parametrize("seed", range(3))
def test_it_learns_to_repeat_continuous_numbers(seed):
    config = dataclasses.replace(
        SHORT, total_steps=32 * 16 * 60, agent=AgentConfig(hidden=(16,), log_std=-0.5)
    )
    envs = Echo(continuous=True, seed=seed)
    agent = Agent(envs, config.agent, seed)
    list(ppo.train(agent, envs, config, seed))
    obs = np.random.default_rng(1).uniform(-1, 1, size=(200, 2)).astype(np.float32)
    error = np.abs(agent.act(obs) - obs / 2).mean()
    assert error < 0.1  # an untrained agent: 0.25
    assert (agent.network.log_std < -0.8).all()  # and it has become sure of itself


def train(config=SHORT, updates=2, seed=0, parts=None):
    envs = Echo(seed=0)
    agent = Agent(envs, config.agent, 0)
    run = ppo.Run(agent, envs, config, seed)
    with use(parts or {}):
        rows = list(itertools.islice(ppo.train(agent, envs, config, seed, run=run), updates))
    return agent, run, rows


def weights(agent):
    return torch.cat([p.detach().flatten() for p in agent.network.parameters()])


def test_metrics_are_plain_numbers():
    _, _, rows = train()
    names = ["steps", "return", "policy_loss", "value_loss", "entropy", "kl", "clipped"]
    names.append("explained")
    for i, row in enumerate(rows, 1):
        assert sorted(row) == sorted(names)
        assert all(type(value) is float for value in row.values())
        assert row["steps"] == 512 * i
        assert all(math.isfinite(value) for value in row.values())
        assert 0 <= row["clipped"] <= 1 and row["kl"] >= 0 and row["explained"] <= 1


def test_a_seed_repeats_the_run_and_another_does_not():
    a, b, c = (weights(train(seed=seed)[0]) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_run_goes_on_where_it_stopped():
    whole = train(updates=4)[0]
    envs = Echo(seed=0)
    agent = Agent(envs, SHORT.agent, 0)
    run = ppo.Run(agent, envs, SHORT, 0)
    for _ in range(2):
        rows = list(itertools.islice(ppo.train(agent, envs, SHORT, run=run), 2))
    assert rows[-1]["steps"] == 4 * 512
    assert torch.equal(weights(agent), weights(whole))


def test_it_stops_at_total_steps():
    config = dataclasses.replace(SHORT, total_steps=1200)  # two rollouts and a bit
    assert [row["steps"] for row in train(config, updates=99)[2]] == [512.0, 1024.0, 1536.0]


def test_the_learning_rate_falls_in_a_line():
    config = dataclasses.replace(SHORT, total_steps=4 * 512, learning_rate=0.004)
    rates = []
    envs = Echo()
    agent = Agent(envs, config.agent)
    run = ppo.Run(agent, envs, config)
    for _ in ppo.train(agent, envs, config, run=run):
        rates.append(run.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.004, 0.003, 0.002, 0.001])
    constant = dataclasses.replace(config, anneal=False)
    assert train(constant)[1].optimizer.param_groups[0]["lr"] == 0.004


class Spy:
    """Stands in for ``ppo_loss`` and keeps what it was given, by name."""

    def __init__(self):
        self.calls = []

    def __call__(self, *args):
        given = zip(TENSORS, args, strict=False)
        self.calls.append({name: tensor.detach().clone() for name, tensor in given})
        return ppo.ppo_loss(*args)


def test_each_epoch_passes_every_valid_row_once_in_a_new_order():
    spy = Spy()
    rollouts = []
    agent, run, _ = train(updates=0)
    collect = run.collector.collect
    run.collector.collect = lambda *args: rollouts.append(collect(*args)) or rollouts[-1]
    with use({ppo.ppo_loss: spy}):
        next(ppo.train(agent, run.collector.envs, SHORT, run=run))
    (rollout,) = rollouts
    valid = int(rollout.valid.sum())
    assert valid < rollout.valid.numel()
    targets = [call["targets"] for call in spy.calls]
    per_epoch = len(targets) // SHORT.epochs
    epochs = [torch.cat(targets[i : i + per_epoch]) for i in range(0, len(targets), per_epoch)]
    assert len(epochs) == SHORT.epochs and all(len(epoch) == valid for epoch in epochs)
    for epoch in epochs[1:]:
        assert not torch.equal(epoch, epochs[0])
        assert torch.equal(epoch.sort().values, epochs[0].sort().values)
    for call in spy.calls:
        assert len({tensor.shape for tensor in call.values()}) == 1
        assert 100 <= len(call["logp"]) <= 160  # about minibatch_size
        advantages = call["advantages"]
        assert advantages.mean().item() == pytest.approx(0, abs=1e-5)
        assert advantages.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    # Before the first step the policy is the one that acted.
    first = spy.calls[0]
    torch.testing.assert_close(first["logp"], first["old_logp"])
    torch.testing.assert_close(first["values"], first["old_values"])


def test_reset_rows_enter_no_loss():
    """Whatever stands in them, the batch that is learned from stays the same."""
    agent, run, _ = train(updates=0)
    rollout = run.collector.collect(agent, 16, run.generator)
    reset = ~rollout.valid
    assert reset.any()
    junk = {"obs": 9.0, "logp": -50.0, "values": 70.0, "rewards": -1e5, "actions": 2}
    junk["next_values"] = 1e6
    dirty = rollout._replace(**{name: getattr(rollout, name).clone() for name in junk})
    for name, number in junk.items():
        getattr(dirty, name)[reset] = number
    a, b = (
        ppo.flatten(
            r, returns.gae(r.rewards, r.values, r.next_values, r.terminated, r.truncated, 0.5, 0.9)
        )
        for r in (rollout, dirty)
    )
    assert len(a.obs) == int(rollout.valid.sum())
    for clean, other in zip(a, b, strict=True):
        assert torch.equal(clean, other)
    torch.testing.assert_close(a.targets, a.advantages + a.values)


def test_without_whitening_the_advantages_stay_as_they_are():
    spy = Spy()
    train(dataclasses.replace(SHORT, whiten=False), updates=1, parts={ppo.ppo_loss: spy})
    for call in spy.calls:
        torch.testing.assert_close(call["advantages"], call["targets"] - call["old_values"])


@pytest.mark.parametrize("limit", [1e-3, 1e6])
def test_long_gradients_are_shortened_and_short_ones_stay(limit):
    config = dataclasses.replace(SHORT, max_grad_norm=limit)
    agent, run, _ = train(config, updates=0)
    lengths = []

    def measure(*_):
        parts = [p.grad.flatten() for p in agent.network.parameters()]
        lengths.append(torch.cat(parts).norm().item())

    run.optimizer.register_step_pre_hook(measure)
    next(ppo.train(agent, run.collector.envs, config, run=run))
    assert len(lengths) >= SHORT.epochs
    if limit < 1:
        assert lengths == pytest.approx([limit] * len(lengths), rel=1e-2)
    else:
        assert len(set(lengths)) == len(lengths) and min(lengths) > 1e-3


def test_adam_has_the_larger_epsilon():
    optimizer = train(updates=0)[1].optimizer
    assert isinstance(optimizer, torch.optim.Adam)
    assert [group["eps"] for group in optimizer.param_groups] == [1e-5]


def test_advantages_come_from_gae():
    seen = []

    def zeros(rewards, values, next_values, terminated, truncated, gamma, lam):
        seen.append((gamma, lam, rewards.shape))
        return torch.zeros_like(values)

    spy = Spy()
    train(updates=1, parts={returns.gae: zeros, ppo.ppo_loss: spy})
    assert seen == [(0.5, 0.95, (16, 32))]
    assert not any(call["advantages"].any() for call in spy.calls)


def test_target_kl_stops_the_epochs():
    bold = dataclasses.replace(SHORT, epochs=20, learning_rate=0.05)
    calls = {}
    for limit in (None, 1e-4):
        spy = Spy()
        train(dataclasses.replace(bold, target_kl=limit), updates=1, parts={ppo.ppo_loss: spy})
        calls[limit] = len(spy.calls)
    assert calls[1e-4] < calls[None] / 4


def test_scaled_rewards_reach_the_rollout_and_plain_returns_the_metrics():
    config = dataclasses.replace(SHORT, scale_rewards=True)
    _, run, rows = train(config)
    assert run.collector.reward_scaler.moments.count > 0
    assert run.collector.reward_scaler.gamma == config.gamma
    plain = train(SHORT, updates=1)[2][0]
    assert rows[0]["return"] == pytest.approx(plain["return"])


def test_nothing_global_is_read_or_changed():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a = weights(train()[0])
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert torch.equal(a, weights(train()[0]))


def test_the_recipe_starts_on_its_environment():
    config = ppo.CARTPOLE
    envs = environments.make("CartPole-v1", num_envs=config.num_envs)
    row = next(ppo.train(Agent(envs, config.agent), envs, config))
    assert row["steps"] == config.num_envs * config.rollout_length
    assert row["kl"] < 0.1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"gamma": 1.2}, r"gamma must lie in \[0, 1\], got 1\.2"),
        ({"lam": -0.1}, r"lam must lie in \[0, 1\], got -0\.1"),
        ({"clip": 0.0}, "clip must be above 0, got 0"),
        ({"learning_rate": -1e-3}, "learning_rate must be above 0"),
        ({"entropy_coef": -0.1}, "entropy_coef must not be negative"),
        ({"value_clip": 0.0}, "value_clip must be above 0, or be None"),
        ({"target_kl": -1.0}, "target_kl must be above 0, or be None"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"gamma": math.nan}, r"gamma must lie in \[0, 1\], got nan"),
    ],
)
def test_wrong_settings_get_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        ppo.Config(**settings)
