"""Several games as one: names against MinAtar's own, recordings and environments against theirs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_lib.agents import decision_transformer as dt
from course_lib.rl import dataset, envs as environments, minatar
from course_lib.worlds import many_games

TINY = dt.Config(context=3, layers=1, width=16, heads=2, channels=4, steps=30, warmup=5)


def recorded(game, steps=150, pack=True, seed=0):
    """Random play of one game."""
    envs, rng = environments.make(f"MinAtar/{game}", 4, seed=seed), np.random.default_rng(seed)

    def policy(obs):
        return rng.integers(envs.num_actions, size=len(obs))

    return dataset.record(envs, policy, 1_001 if game == "Freeway" else steps, pack)


@pytest.mark.parametrize("game", many_games.GAMES)
def test_names_are_minatars_own(game):
    world = minatar._module(f"MinAtar/{game}").Env()
    assert "".join(world.action_map) == many_games.NAMES
    assert many_games.named(game).tolist() == world.minimal_action_set()
    assert world.state_shape()[2] <= many_games.CHANNELS


def test_own_actions_by_hand():
    assert many_games.named("Freeway").tolist() == [0, 2, 4]
    assert many_games.own("Freeway").tolist() == [0, 0, 1, 0, 2, 0]
    assert many_games.own("SpaceInvaders").tolist() == [0, 1, 0, 2, 0, 3]


@pytest.mark.parametrize("game", many_games.GAMES)
def test_own_undoes_named(game):
    assert many_games.own(game)[many_games.named(game)].tolist() == list(
        range(len(many_games.GAMES[game]))
    )


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("game", ["Breakout", "SpaceInvaders"])
def test_a_recording_keeps_all_but_shape_and_numbers(game, pack):
    data = recorded(game, pack=pack)
    wide = many_games.recording(data, game)
    rows = np.arange(len(data)).reshape(1, -1)
    channels = data.obs_shape[0]
    assert torch.equal(wide.obs(rows)[:, :, :channels], data.obs(rows))
    assert wide.obs(rows)[:, :, channels:].sum() == 0
    assert wide.obs(rows).shape == (1, len(data), 7, 10, 10)
    assert [many_games.NAMES[a] for a in wide.actions] == [
        many_games.GAMES[game][a] for a in data.actions
    ]
    for column in ("rewards", "terminated", "truncated", "returns"):
        assert np.array_equal(getattr(wide, column), getattr(data, column))


def test_joined_recordings_stand_one_after_the_other():
    parts = [many_games.recording(recorded(game), game) for game in ("Breakout", "SpaceInvaders")]
    whole, games = many_games.joined(parts)
    first = len(parts[0])
    assert games.tolist() == [0] * first + [1] * len(parts[1])
    assert whole.returns.tolist() == [*parts[0].returns, *parts[1].returns]
    rows = np.array([0, first - 1, first, len(whole) - 1])
    expected = torch.cat([parts[0].obs(rows[:2]), parts[1].obs(rows[2:] - first)])
    assert torch.equal(whole.obs(rows), expected)
    # No window runs from one game into the next.
    assert whole.windows(np.array([first - 1]), 2)[1].tolist() == [[True, False]]


@pytest.mark.parametrize("game", many_games.GAMES)
def test_environments_play_as_their_own_do(game):
    named = many_games.make(game, 3, seed=4)
    plain = environments.make(f"MinAtar/{game}", 3, seed=4)
    rng = np.random.default_rng(1)
    obs, own = named.reset(), plain.reset()
    for _ in range(60):
        assert obs.shape == (3, 7, 10, 10) and obs.dtype == np.uint8
        assert np.array_equal(obs[:, : own.shape[1]], own) and not obs[:, own.shape[1] :].any()
        actions = rng.integers(6, size=3)
        step = named.step(actions)
        known = [max(many_games.GAMES[game].find(many_games.NAMES[a]), 0) for a in actions]
        expected = plain.step(np.array(known))
        for ours, theirs in zip(step[1:], expected[1:], strict=True):
            assert np.array_equal(ours, theirs)
        obs, own = step.obs, expected.obs
    assert named.render(1).shape == plain.render(1).shape
    named.close()


def test_a_name_that_a_game_does_not_know_does_nothing_as_in_minatar_itself():
    def frames(actions):
        world = minatar._module("MinAtar/Breakout").Env(ramping=False)
        world.random = np.random.RandomState(3)
        world.reset()
        return [(world.act(a), world.state().tobytes()) for a in actions]

    n, up, fire = (many_games.NAMES.index(name) for name in "nuf")
    assert frames([up, fire, up]) == frames([n, n, n])


def test_one_transformer_learns_two_games_and_plays_both():
    """In one, always left; in the other, always fire: it has to see which game it is in."""
    parts = []
    for game, name in (("Breakout", "l"), ("SpaceInvaders", "f")):
        envs = environments.make(f"MinAtar/{game}", 4, seed=1)
        action = many_games.GAMES[game].index(name)
        played = dataset.record(envs, lambda obs, a=action: np.full(len(obs), a), 150)
        parts.append(many_games.recording(played, game))
    data, games = many_games.joined(parts)
    config = replace(TINY, learning_rate=1e-2)
    model = dt.DecisionTransformer(many_games.OBS_SHAPE, many_games.NUM_ACTIONS, config)
    records = list(dt.train(model, data, config, groups=games))
    assert records[-1]["accuracy"] == 1
    for game in ("Breakout", "SpaceInvaders"):
        returns = dt.play(model, many_games.make(game, 2, seed=2), 1.0, 2)
        assert returns.shape == (2,) and (returns >= 0).all()


def test_misuse_is_a_sentence():
    with pytest.raises(ValueError, match=r"game must be one of Asterix, .*, got 'Seaquest'"):
        many_games.make("Seaquest")
    with pytest.raises(ValueError, match="at most 7 channels, got 10"):
        many_games.padded(np.zeros((2, 10, 10, 10)))
    data = recorded("Breakout")
    with pytest.raises(ValueError, match="SpaceInvaders has 4 actions, this recording has 3"):
        many_games.recording(data, "SpaceInvaders")
    with pytest.raises(ValueError, match="pass each through `recording`"):
        many_games.joined([data])
