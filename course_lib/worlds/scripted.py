"""Hand-written players of two MinAtar games in which PPO learns little in a few minutes.

Rules in place of a network: what they play is recorded for lessons that learn from recordings.
Breakout's scripted player is ``follow_the_ball`` in ``worlds/breakout.py``.

Symbols: N games, C channels, 10 by 10 cells.
"""

from collections.abc import Callable

import numpy as np

# Cells of danger around an enemy: its own, those that it moves to next, and the one behind it.
DANGER = {0: 5.0, 1: 4.0, 2: 2.0, 3: 0.5, -1: 0.3}
BESIDE = 0.05  # share of the danger that reaches over to the next row: one slip leads there
# What Asterix's actions do to row and column: stay, left, up, right, down.
MOVES = np.array([(0, 0), (0, -1), (-1, 0), (0, 1), (1, 0)])


def freeway(obs: np.ndarray) -> np.ndarray:
    """A player of Freeway, (N, 7, 10, 10) to (N,): up, unless a car is close in the next row.

    The chicken stays in column 4, so it waits while a car stands in columns 3 to 5 of the row
    above. It never steps back. Actions: 0 waits, 1 goes up, 2 goes down.
    """
    games = np.arange(len(obs))
    row = obs[:, 0, :, 4].argmax(1)
    blocked = obs[games, 1, row - 1, 3:6].any(1)
    return np.where(blocked, 0, 1)


def asterix(obs: np.ndarray) -> np.ndarray:
    """A player of Asterix, (N, 4, 10, 10) to (N,): out of the enemies' way, and towards gold.

    Of the cells that it can reach it takes the one where ten times the danger and the steps from
    there to the nearest gold are least together; a step to another row counts twice. What moves
    draws a trail behind it, which tells where it will be. Without gold in sight the player goes to
    the middle columns. Actions: 0 stays, 1 to 4 go left, up, right, down.
    """
    player, enemies, trail, gold = (obs[:, channel].astype(bool) for channel in range(4))
    rightward = _shifted(trail, 1)  # its trail lies to the left
    rightward[:, :, 0] = ~trail.any(2)  # it has just come in, its trail is still outside
    danger = np.zeros(enemies.shape)
    for cells, weight in DANGER.items():
        danger += weight * _shifted(enemies & rightward, cells)
        danger += weight * _shifted(enemies & ~rightward, -cells)
    rows = danger.copy()
    danger[:, 1:] += BESIDE * rows[:, :-1]
    danger[:, :-1] += BESIDE * rows[:, 1:]
    place = np.array(np.unravel_index(player.reshape(-1, 100).argmax(1), (10, 10))).T
    row, column = np.moveaxis(place[:, None] + MOVES, 2, 0)  # (N, 5): where each action leads
    row, column = row.clip(1, 8), column.clip(0, 9)
    risk = danger[np.arange(len(obs))[:, None], row, column]
    meeting = (np.arange(10) + np.where(rightward, 2, -2)).clip(0, 9)  # where gold is soon
    row, column = row[..., None, None], column[..., None, None]
    steps = 2 * abs(row - np.arange(10)[:, None]) + abs(column - meeting[:, None])
    steps = np.where(gold[:, None], steps, np.inf).min((2, 3))
    steps = np.where(np.isinf(steps), abs(column[..., 0, 0] - 4.5), steps)
    return (10 * risk + steps).argmin(1)


def _shifted(cells: np.ndarray, by: int) -> np.ndarray:
    """Cells (N, 10, 10) moved ``by`` columns to the right; what leaves the frame is gone."""
    moved = np.zeros_like(cells)
    width = cells.shape[2]
    moved[:, :, max(0, by) : width + min(0, by)] = cells[:, :, max(0, -by) : width - max(0, by)]
    return moved


def clumsy(
    player: Callable[[np.ndarray], np.ndarray],
    num_actions: int,
    share: float,
    rng: np.random.Generator,
) -> Callable[[np.ndarray], np.ndarray]:
    """``player`` with a ``share`` of its actions at random: recordings of it show recoveries too.

    ``player`` maps observations (N, C, 10, 10) to actions (N,), and so does what is returned.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")

    def play(obs: np.ndarray) -> np.ndarray:
        slips = rng.random(len(obs)) < share
        return np.where(slips, rng.integers(num_actions, size=len(obs)), player(obs))

    return play
