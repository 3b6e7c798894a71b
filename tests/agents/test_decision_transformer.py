"""The decision transformer: what a token may see, what play asks for, and that training finds it.

Ground truth: sequences and losses worked out by hand, table worlds whose returns are known, and
players that write down what they are asked.
"""

import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from course_lib import weights
from course_lib.agents import decision_transformer as dt
from course_lib.rl import dataset
from course_lib.rl.backends import gymnasium_loop
from course_lib.rl.dataset import Dataset
from course_lib.rl.envs import Envs
from course_lib.worlds.tables import TableWorld

TINY = dt.Config(context=4, layers=1, width=16, heads=2, channels=4, return_scale=2.0, warmup=5)


class OneHot(gymnasium.ObservationWrapper):
    """A table world that shows its state as a vector with a single one in it."""

    def __init__(self, *states, clock=0):
        super().__init__(TableWorld(*states, clock=clock))
        self.observation_space = gymnasium.spaces.Box(0, 1, (len(states),), np.float32)

    def observation(self, state):
        return np.eye(*self.observation_space.shape, dtype=np.float32)[state]


def worlds(number, *states, clock=0):
    """``number`` copies of a table world."""
    spec = gymnasium.envs.registration.EnvSpec(
        "Table-v0",
        entry_point=lambda: OneHot(*states, clock=clock),
        disable_env_checker=True,
        order_enforce=False,
    )
    return Envs("Table", number, gymnasium_loop(spec, number, {}), 0)


class Scribe(torch.nn.Module):
    """Stands in for a model: plays one action, writes down what it is shown and asked."""

    def __init__(self, envs, action=0, context=4):
        super().__init__()
        self.obs_shape, self.num_actions = envs.obs_shape, envs.num_actions
        self.config, self.action = replace(TINY, context=context), action
        self.seen = []

    def forward(self, obs, actions, to_go):
        self.seen.append((obs.clone(), actions.clone(), to_go.clone()))
        return (
            torch.nn.functional.one_hot(torch.full(actions.shape, self.action), self.num_actions)
            .float()
            .log()
        )


def window(seed=0, batch=3, steps=4, obs_shape=(2, 5, 5), actions=3):
    rng = torch.Generator().manual_seed(seed)
    obs = torch.randint(2, (batch, steps, *obs_shape), generator=rng, dtype=torch.uint8)
    taken = torch.randint(actions, (batch, steps), generator=rng)
    return obs, taken, torch.rand(batch, steps, generator=rng) * 5


# --- Sequence and loss -------------------------------------------------------------------------


def test_a_step_is_return_state_action_in_this_order():
    returns = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    states, actions = returns * 10, returns * 100
    assert dt.interleave(returns, states, actions).tolist() == [
        [[1, 2], [10, 20], [100, 200], [3, 4], [30, 40], [300, 400]]
    ]


def test_windows_of_a_batch_stay_apart():
    returns = torch.arange(2.0)[:, None, None].expand(2, 3, 1)
    assert dt.interleave(returns, returns, returns).tolist() == [[[0]] * 9, [[1]] * 9]


def test_the_loss_is_the_mean_surprise_of_real_steps():
    logits = torch.tensor([[[0.0, math.log(3)], [math.log(4), 0.0], [9.0, -9.0]]])
    actions, mask = torch.tensor([[1, 1, 1]]), torch.tensor([[True, True, False]])
    loss, metrics = dt.action_loss(logits, actions, mask)
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(5)) / 2)
    assert metrics["loss"].item() == pytest.approx(loss.item())
    assert metrics["accuracy"].item() == 0.5  # 3 to 1 for the right one, then 4 to 1 against it


# --- Who sees what -----------------------------------------------------------------------------


@pytest.mark.parametrize("obs_shape", [(3,), (2, 5, 5)])
@pytest.mark.parametrize("returns", [True, False])
def test_scores_and_features_have_one_row_per_step(obs_shape, returns):
    model = dt.DecisionTransformer(obs_shape, 3, replace(TINY, returns=returns))
    inputs = window(obs_shape=obs_shape)
    assert model(*inputs).shape == (3, 4, 3)
    assert model.features(*inputs).shape == (3, 4, 16)
    assert torch.equal(model.head(model.features(*inputs)), model(*inputs))


@pytest.mark.parametrize("returns", [True, False])
@pytest.mark.parametrize("step", range(4))
def test_a_step_sees_the_past_its_state_and_its_return_and_nothing_later(returns, step):
    model = dt.DecisionTransformer((2, 5, 5), 3, replace(TINY, returns=returns))
    inputs = window()
    before = model(*inputs)
    for place in range(3):  # what is changed: state, action or return of the step
        changed = [tensor.clone() for tensor in inputs]
        changed[place][:, step] = (
            changed[place][:, step] + 1 if place else 1 - changed[place][:, step]
        )
        changed[1] %= 3
        moved = (model(*changed) - before).abs().amax(dim=(0, 2)) > 1e-6
        first = step + 1 if place == 1 else step  # an action is seen from the next step on
        seen = place != 2 or returns
        assert moved.tolist() == [seen and t >= first for t in range(4)], place


def test_padding_on_the_right_changes_nothing():
    model = dt.DecisionTransformer((2, 5, 5), 3, TINY)
    inputs = window()
    mask = torch.tensor([[True, True, False, False]] * 3)
    short = [tensor[:, :2] for tensor in inputs]
    padded, alone = model(*inputs), model(*short)
    torch.testing.assert_close(padded[:, :2], alone)
    loss, _ = dt.action_loss(padded, inputs[1], mask)
    expected, _ = dt.action_loss(alone, short[1], mask[:, :2])
    torch.testing.assert_close(loss, expected)


def test_windows_of_a_batch_do_not_see_each_other():
    model = dt.DecisionTransformer((2, 5, 5), 3, TINY)
    inputs = window()
    torch.testing.assert_close(model(*inputs)[1:2], model(*(x[1:2] for x in inputs)))


def test_returns_are_divided_by_their_scale():
    inputs = window()
    small, large = (
        dt.DecisionTransformer((2, 5, 5), 3, replace(TINY, return_scale=s)) for s in (2.0, 20.0)
    )
    torch.testing.assert_close(small(*inputs), large(*inputs[:2], inputs[2] * 10))


def test_the_seed_draws_the_weights_and_nothing_else():
    def first(seed):
        return dt.DecisionTransformer((3,), 2, TINY, seed).head.weight

    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))
    assert torch.equal(torch.rand(1), expected)


# --- Training ----------------------------------------------------------------------------------


def wishes(episodes=60, seed=0):
    """Two steps an episode, each pays 1 for action 1: the right actions follow from the return.

    With 2 to come both are 1, with 0 none. Of those with 1 to come the first step is always 1.
    """
    rng = np.random.default_rng(seed)
    kinds = np.array([[0, 0], [1, 0], [1, 1]])[rng.integers(3, size=episodes)]
    actions = kinds.ravel()
    obs = np.tile(np.eye(2, dtype=np.float32), (episodes, 1))
    ended = np.tile([False, True], episodes)
    return Dataset(obs, actions, actions, ended, np.zeros_like(ended), (2,), 2)


WISHES = (
    [[(1.0, 1, 0.0, False)], [(1.0, 1, 1.0, False)]],
    [[(1.0, 1, 0.0, True)], [(1.0, 1, 1.0, True)]],
)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_actions_that_follow_from_the_return_and_plays_what_is_asked(seed):
    config = replace(TINY, steps=120, learning_rate=1e-2)
    model = dt.DecisionTransformer((2,), 2, config, seed)
    records = list(dt.train(model, wishes(), config, seed))
    assert [record["steps"] for record in records] == list(range(1, 121))
    assert all(record["accuracy"] == 1 for record in records[-10:])
    assert records[0]["loss"] > 0.4 and records[-1]["loss"] < 0.02
    for target in (0, 1, 2):
        returns = dt.play(model, worlds(3, *WISHES), target, 6, greedy=True)
        assert returns.tolist() == [target] * 6
    mixed = dt.play(model, worlds(3, *WISHES), np.array([0, 1, 2]), 6, greedy=True)
    assert mixed.tolist() == [0, 0, 1, 1, 2, 2]


def test_without_returns_it_cannot_be_asked():
    config = replace(TINY, steps=120, learning_rate=1e-2, returns=False)
    model = dt.DecisionTransformer((2,), 2, config)
    records = list(dt.train(model, wishes(), config))
    assert records[-1]["accuracy"] < 0.95 and records[-1]["loss"] > 0.3
    got = [dt.play(model, worlds(3, *WISHES), target, 30, seed=1) for target in (0, 2)]
    assert got[0].tolist() == got[1].tolist() and len(set(got[0])) == 3


def test_training_repeats_with_the_seed_alone():
    def losses(seed):
        config = replace(TINY, steps=3)
        model = dt.DecisionTransformer((2,), 2, config)
        torch.manual_seed(seed + 7)
        return [record["loss"] for record in dt.train(model, wishes(), config, seed)]

    assert losses(1) == losses(1) != losses(2)


def test_the_rate_rises_in_a_line_and_falls_in_a_line_to_a_twentieth():
    config = replace(TINY, steps=100, warmup=10, learning_rate=1.0)
    rates = [dt.learning_rate(step, config) for step in range(1, 101)]
    assert rates[0] == pytest.approx(0.1, rel=0.01) and rates[4] == pytest.approx(0.5, rel=0.05)
    assert rates[49] == pytest.approx(1 - 0.95 / 2) and rates[99] == pytest.approx(0.05)
    assert np.diff(rates[9:]) == pytest.approx(-0.0095)
    assert dt.learning_rate(1, replace(config, warmup=0)) == pytest.approx(1 - 0.0095)


def test_an_update_is_as_long_as_its_rate_and_its_clipped_gradient_allow():
    def change(**settings):
        config = replace(TINY, steps=1_000, weight_decay=0.0, **settings)
        model = dt.DecisionTransformer((2,), 2, config)
        before = model.head.bias.clone()
        next(dt.train(model, wishes(), config))
        return (model.head.bias - before).abs().max().item()

    # Adam's first step is the rate in every coordinate, unless gradients are next to nothing.
    assert change(warmup=0) == pytest.approx(1e-3, rel=0.01)
    assert change(warmup=50) == pytest.approx(1e-3 / 50, rel=0.01)
    assert change(warmup=0, max_grad_norm=1e-12) < 1e-6


def test_the_run_calls_what_a_lesson_may_replace():
    config = replace(TINY, steps=2)
    model = dt.DecisionTransformer((2,), 2, config)
    called = []

    def noted(function):
        return lambda *arguments: called.append(function.__name__) or function(*arguments)

    functions = {dt: ("interleave", "action_loss"), dataset: ("returns_to_go",)}
    with pytest.MonkeyPatch.context() as patch:
        for module, names in functions.items():
            for name in names:
                patch.setattr(module, name, noted(getattr(module, name)))
        list(dt.train(model, wishes(), config))
    assert called == ["returns_to_go"] + ["interleave", "action_loss"] * 2


def begun_at(data, groups, steps=200):
    """The rows at which a run's windows began."""
    config, begun = replace(TINY, context=1, steps=steps, batch_size=16), []
    whole = data.windows
    data.windows = lambda first, length: begun.extend(first.tolist()) or whole(first, length)
    list(dt.train(dt.DecisionTransformer((2,), 2, config), data, config, groups=groups))
    return np.array(begun)


def test_windows_begin_at_every_row_alike():
    counts = np.bincount(begun_at(wishes(5), None), minlength=10)
    assert counts == pytest.approx(320, abs=5 * math.sqrt(320))


def test_groups_share_the_windows_whatever_their_sizes():
    groups = np.array([7, 7] * 4 + [2, 2])  # eight rows and two
    counts = np.bincount(begun_at(wishes(5), groups), minlength=10)
    assert counts[:8] == pytest.approx(200, abs=75) and counts[8:] == pytest.approx(800, abs=150)


# --- Play --------------------------------------------------------------------------------------

# Three states in a row, which pay 1, 2 and 4; an episode is three steps, its return 7.
ROW = tuple([[(1.0, min(s + 1, 2), 2.0**s, s == 2)]] * 2 for s in range(3))


def test_rewards_come_off_what_is_asked_and_an_episode_end_starts_anew():
    envs = worlds(1, *ROW)
    scribe = Scribe(envs)
    assert dt.play(scribe, envs, 10.0, 2).tolist() == [7, 7]
    asked = [to_go[0].tolist() for _, _, to_go in scribe.seen]
    episode = [[10], [10, 9], [10, 9, 7]]
    # The fourth call is on the final state: what it says belongs to no episode.
    assert asked[:3] == episode and asked[4:] == episode and len(asked) == 7
    shown = [obs[0].argmax(-1).tolist() for obs, _, _ in scribe.seen]
    assert shown[:3] == shown[4:] == [[0], [0, 1], [0, 1, 2]]


def test_a_truncated_episode_is_forgotten_too():
    envs = worlds(2, [[(1.0, 0, -1.0, False)]], clock=2)
    scribe = Scribe(envs)
    assert dt.play(scribe, envs, 0.0, 4).tolist() == [-2] * 4
    asked = [to_go.tolist() for _, _, to_go in scribe.seen]
    assert asked[:2] == asked[3:] == [[[0]] * 2, [[0, 1]] * 2]


def test_it_remembers_its_own_actions_and_no_more_than_its_context():
    envs = worlds(1, [[(1.0, 0, 1.0, False)]] * 2, clock=6)
    scribe = Scribe(envs, action=1, context=3)
    dt.play(scribe, envs, 6.0, 1)
    actions = [actions[0].tolist() for _, actions, _ in scribe.seen]
    assert [a[:-1] for a in actions] == [[], [1], [1, 1], [1, 1], [1, 1], [1, 1]]
    assert [to_go[0].tolist() for _, _, to_go in scribe.seen] == [
        [6], [6, 5], [6, 5, 4], [5, 4, 3], [4, 3, 2], [3, 2, 1]
    ]  # fmt: skip


class Lengths(gymnasium.Env):
    """Episodes of 1, 4, 1, 4, ... steps; a step pays 1, and a half more for action 1."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, turn):
        self.turn = turn

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 4 if self.turn % 2 else 1
        self.turn += 1
        return np.full(1, self.left / 4, np.float32), {}

    def step(self, action):
        self.left -= 1
        obs = np.full(1, self.left / 4, np.float32)
        return obs, 1 + 0.5 * action, self.left == 0, False, {}


def lengths(*turns):
    made = iter(turns)
    spec = gymnasium.envs.registration.EnvSpec(
        "Lengths-v0",
        entry_point=lambda: Lengths(next(made)),
        disable_env_checker=True,
        order_enforce=False,
    )
    return Envs("Lengths", len(turns), gymnasium_loop(spec, len(turns), {}), 0)


def test_each_environment_plays_the_same_number_of_episodes():
    envs = lengths(0, 1)  # one begins with a short episode, the other with a long one
    scribe = Scribe(envs)
    assert dt.play(scribe, envs, 0.0, 5).tolist() == [1, 4, 1, 4, 1, 4]
    sizes = [len(obs) for obs, _, _ in scribe.seen]
    assert sizes[0] == 2 and sizes[-1] == 1  # who has finished is not asked any more


class Alternating(Scribe):
    """Plays 0, 1, 0, 1, ... by the step's place in what it is shown."""

    def forward(self, obs, actions, to_go):
        self.seen.append((obs, actions.clone(), to_go.clone()))
        places = torch.arange(actions.shape[1]).expand(actions.shape) % 2
        return torch.nn.functional.one_hot(places, 2).float()


def test_environments_at_different_steps_do_not_disturb_each_other():
    envs = lengths(0, 1)
    player = Alternating(envs)
    returns = dt.play(player, envs, 0.0, 8, greedy=True)
    assert returns.tolist() == [1, 5, 1, 5, 5, 1, 5, 1]  # four steps pay 1, 1.5, 1, 1.5


def test_drawn_actions_follow_the_seed_and_the_probabilities():
    envs = worlds(50, [[(1.0, 0, 0.0, True)], [(1.0, 0, 1.0, True)]])
    model = dt.DecisionTransformer((1,), 2, TINY)
    torch.nn.init.zeros_(model.head.weight)
    model.head.bias.data = torch.tensor([0.0, math.log(3)])

    def got(seed, greedy=False):
        return dt.play(model, envs, 0.0, 1_000, greedy, seed)

    assert got(1).tolist() == got(1).tolist() != got(2).tolist()
    assert got(1).mean() == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / 1_000))
    assert got(1, greedy=True).mean() == 1


def test_number_of_episodes_is_rounded_up_and_at_least_one():
    envs = worlds(2, *ROW)
    assert dt.play(Scribe(envs), envs, 0.0, 3).shape == (4,)
    with pytest.raises(ValueError, match="episodes must be at least 1, got 0"):
        dt.play(Scribe(envs), envs, 0.0, 0)


# --- Settings, files ---------------------------------------------------------------------------


def test_other_shapes_are_sentences():
    model = dt.DecisionTransformer((2,), 2, TINY)
    with pytest.raises(ValueError, match=r"reads observations \(2,\) and chooses among 2 actions"):
        dt.play(model, worlds(1, *ROW), 0.0, 1)
    with pytest.raises(ValueError, match="context is 4 in the model and 9 here"):
        next(dt.train(model, wishes(), replace(TINY, context=9)))
    with pytest.raises(ValueError, match=r"groups must have shape \(120,\).* got \(3,\)"):
        next(dt.train(model, wishes(), TINY, groups=np.zeros(3)))
    with pytest.raises(ValueError, match="return_scale must be above 0, got 0"):
        replace(TINY, return_scale=0.0)


def test_a_saved_model_comes_back_to_the_bit(tmp_path):
    model = dt.DecisionTransformer((2, 5, 5), 3, replace(TINY, returns=False), seed=3)
    dt.save(model, tmp_path / "model.safetensors")
    back = dt.load(tmp_path / "model.safetensors")
    assert back.config == model.config and back.obs_shape == (2, 5, 5)
    assert torch.equal(back(*window()), model(*window()))
    weights.save(tmp_path / "other", {}, "other", {})
    with pytest.raises(ValueError, match="no weights of the kind 'decision_transformer'"):
        dt.load(tmp_path / "other")
