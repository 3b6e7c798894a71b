"""The scripted players: what they do in frames drawn by hand, and how well they play."""

import numpy as np
import pytest

from course_lib.evaluation import evaluate
from course_lib.rl.envs import make
from course_lib.worlds import scripted

STAY, LEFT, UP, RIGHT, DOWN = range(5)
PLAYER, ENEMY, TRAIL, GOLD = range(4)


def road(row: int, *cars: tuple[int, int]) -> np.ndarray:
    """A frame of Freeway (7, 10, 10): the chicken's row, and each car's row and column."""
    frame = np.zeros((7, 10, 10), np.uint8)
    frame[0, row, 4] = 1
    for car in cars:
        frame[1, *car] = 1
    return frame


def field(player: tuple[int, int], *things: tuple[int, int, int, int]) -> np.ndarray:
    """A frame of Asterix (4, 10, 10): the player's cell, and channel, row, column, direction."""
    frame = np.zeros((4, 10, 10), np.uint8)
    frame[PLAYER, *player] = 1
    for channel, row, column, direction in things:
        frame[channel, row, column] = 1
        if 0 <= column - direction < 10:
            frame[TRAIL, row, column - direction] = 1
    return frame


def test_the_chicken_waits_for_cars_close_by_in_the_next_row_alone():
    frames = [
        road(9),
        road(9, (8, 4)),
        road(9, (8, 3)),
        road(9, (8, 5)),
        road(9, (8, 2), (8, 6)),  # not close
        road(5, (5, 4), (3, 4), (6, 4)),  # other rows
        road(1, (8, 4)),  # the next row is the goal
    ]
    assert scripted.freeway(np.stack(frames)).tolist() == [1, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("player", "things", "action"),
    [
        ((4, 4), [], STAY),  # the middle, of which 4 and 5 are equally near
        ((4, 7), [], LEFT),
        ((4, 1), [], RIGHT),
        ((4, 5), [(GOLD, 4, 1, -1)], LEFT),
        ((4, 5), [(GOLD, 7, 3, 1)], DOWN),  # it will be in the player's column
        ((4, 5), [(GOLD, 2, 3, 1)], UP),
        ((4, 5), [(GOLD, 4, 0, 1), (GOLD, 8, 3, 1)], LEFT),  # a row counts twice
        ((4, 5), [(ENEMY, 4, 0, 1)], STAY),  # just come in on the left, and far
        ((4, 1), [(ENEMY, 4, 0, 1)], UP),  # near: it runs faster than you leave its row
        ((4, 8), [(ENEMY, 4, 9, -1)], UP),  # the same from the right
        ((4, 1), [(ENEMY, 4, 0, -1)], RIGHT),  # on its way out
        ((4, 8), [(ENEMY, 4, 9, 1)], LEFT),
        ((4, 4), [(ENEMY, 5, 4, 1), (GOLD, 7, 2, 1)], LEFT),  # not into it, to come nearer
        ((8, 4), [(ENEMY, 8, 3, 1)], UP),  # nothing is below the lowest row
    ],
)
def test_asterix_in_frames_drawn_by_hand(player, things, action):
    frame = field(player, *things)
    assert scripted.asterix(frame[None]).tolist() == [action]


def test_games_of_one_batch_do_not_see_each_other():
    frames = np.stack([field((4, 7)), field((4, 5), (GOLD, 2, 3, 1)), field((4, 1))])
    assert scripted.asterix(frames).tolist() == [LEFT, UP, RIGHT]
    assert not len(scripted.asterix(frames[:0])) and not len(scripted.freeway(frames[:0]))


@pytest.mark.parametrize(
    ("game", "player", "episodes", "least"),
    [("Freeway", scripted.freeway, 8, 12), ("Asterix", scripted.asterix, 8, 15)],
)
def test_scripted_players_beat_random_ones_by_far(game, player, episodes, least):
    rng = np.random.default_rng(0)
    actions = make(f"MinAtar/{game}", 1).num_actions
    found = evaluate(player, make(f"MinAtar/{game}", episodes, seed=5), episodes)
    random = evaluate(
        lambda obs: rng.integers(actions, size=len(obs)),
        make(f"MinAtar/{game}", episodes, seed=5),
        episodes,
    )
    assert found.mean() > least and random.mean() < 3


def test_a_clumsy_player_slips_as_often_as_it_says():
    obs = np.zeros((40_000, 1))

    def always_one(obs):
        return np.ones(len(obs), np.int64)

    actions = scripted.clumsy(always_one, 3, 0.3, np.random.default_rng(0))(obs)
    shares = np.bincount(actions) / len(obs)
    assert shares == pytest.approx([0.1, 0.8, 0.1], abs=0.01)
    never = scripted.clumsy(always_one, 3, 0.0, np.random.default_rng(0))
    assert (never(obs) == 1).all()
    with pytest.raises(ValueError, match=r"share must lie in \[0, 1\], got 20"):
        scripted.clumsy(always_one, 3, 20, np.random.default_rng(0))
