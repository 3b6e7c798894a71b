"""Worlds written down as a table: a few states, each move with its chances, perhaps a clock.

Small enough that the right values are known by hand, and strict: a move in a world that has ended
is an error. They serve to find out what a loop does: each isolates one mistake.
"""

from __future__ import annotations

import gymnasium

Outcome = tuple[float, int, float, bool]  # chance, next state, reward, terminated


class TableWorld(gymnasium.Env):
    """A world of ``states``: for each a list of moves, for each move a list of outcomes.

    Episodes begin in state 0. After ``clock`` steps the episode is truncated (0: never). Raises
    ``RuntimeError`` for a step before the first reset or after an end, and after ``most`` steps in
    all (0: any number), ``ValueError`` for an action that is not there.
    """

    def __init__(self, *states: list[list[Outcome]], clock: int = 0, seed: int = 0, most: int = 0):
        self._moves = {s: dict(enumerate(moves)) for s, moves in enumerate(states)}
        self.observation_space = gymnasium.spaces.Discrete(len(states))
        self.action_space = gymnasium.spaces.Discrete(max(map(len, states)))
        self.clock, self.first_seed, self.most = clock, seed, most
        self.taken = 0
        self.state: int | None = None
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[int, dict]:
        super().reset(seed=self.first_seed if seed is None and self._np_random is None else seed)
        self.state, self.steps = 0, 0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict]:
        if self.state is None:
            raise RuntimeError("step() was called where no episode runs: call reset() first")
        if self.taken == self.most > 0:
            raise RuntimeError(
                f"this was one step more than {self.most}: stop after exactly so many, in the "
                "middle of an episode if need be"
            )
        self.taken += 1
        moves = self._moves[self.state]
        if action not in moves:
            raise ValueError(f"the actions are 0 to {len(moves) - 1}, got {action!r}")
        chances = [outcome[0] for outcome in moves[action]]
        place = int(self.np_random.choice(len(chances), p=chances)) if len(chances) > 1 else 0
        _, next_state, reward, terminated = moves[action][place]
        self.steps += 1
        truncated = not terminated and self.steps == self.clock
        self.state = None if terminated or truncated else next_state
        return next_state, reward, terminated, truncated, {}
