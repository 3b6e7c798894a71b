"""The widget of lesson 12: play inside a world model's dream, the real game beside it.

Both start from the same real state and get the same actions; a meter says how true the dream is.
The stored output carries a recorded clip, so that the page shows the dream without a kernel.
"""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from course_lib.classroom import live
from course_lib.rl.envs import make
from course_lib.world_models.world_model import WorldModel
from course_lib.worlds.breakout import follow_the_ball

HERE = Path(__file__).parent
CONTEXT = 3  # steps before a dream that the model reads: as many as when it trains a policy
# What the numbered actions of MinAtar's minimal sets do; the arrow keys carry the same names.
ACTIONS = {
    "MinAtar/Breakout": ("stay", "left", "right"),
    "MinAtar/Asterix": ("stay", "left", "up", "right", "down"),
    "MinAtar/Freeway": ("stay", "up", "down"),
    "MinAtar/Seaquest": ("stay", "left", "up", "right", "down", "fire"),
    "MinAtar/SpaceInvaders": ("stay", "left", "right", "fire"),
}
# One colour per channel, the first one on top (Okabe and Ito, as in the games' own pictures).
COLOURS = ("#f0f0f0", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
COLOURS += ("#999999", "#785ef0")
EMPTY = "#141414"


class DreamGame:
    """A real game and a dream of it, side by side from the same state."""

    def __init__(
        self, model: WorldModel, game: str = "MinAtar/Breakout", seed: int = 0, prelude: int = 30
    ):
        """Up to ``prelude`` steps are played by a rule first; the model sees the latest of them."""
        if game not in ACTIONS:
            raise ValueError(f"game must be one of {', '.join(ACTIONS)}, got {game!r}")
        if prelude < 0:
            raise ValueError(f"prelude must not be negative, got {prelude}")
        self.model, self.game, self.prelude = model, game, prelude
        self.actions = ACTIONS[game]
        self.seed, self.starts = seed, 0
        self.by_chance = False
        self.reset()

    # --- What keys and buttons do ---

    def reset(self) -> None:
        """Begin anew: another real state, and the dream that starts in it."""
        self.starts += 1
        seed = int(np.random.SeedSequence((self.seed, self.starts)).generate_state(1)[0])
        rng = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        sticky = 0.1 if self.by_chance else 0.0
        self.envs = make(self.game, num_envs=1, seed=seed, sticky_actions=sticky)
        obs = self._opening(rng)
        self.real = obs[0].copy()
        self.dream = obs[0].copy()
        self.over = {"real": False, "dream": False}
        self.score = {"real": 0.0, "dream": 0.0}
        self.steps = self.compared = self.exact = 0
        self.first_error: int | None = None

    def _opening(self, rng: np.random.Generator) -> np.ndarray:
        """Play some steps in the real game, let the model read them; the frame to begin in."""
        obs, before, taken = self.envs.reset(), [], []
        for _ in range(rng.integers(self.prelude + 1)):
            action = by_rule(self.game, obs, rng)
            step = self.envs.step(action)
            before.append(obs)
            taken.append(int(action[0]))
            obs = step.obs
            if step.terminated[0] or step.truncated[0]:  # begin in a game that has not ended
                obs, before, taken = self.envs.reset(), [], []
        before, taken = before[-CONTEXT:], taken[-CONTEXT:]
        seen = np.array(before, np.uint8).reshape(1, len(taken), *self.model.obs_shape)
        actions = torch.tensor(taken, dtype=torch.int64)[None]
        self.memory = self.model.start(torch.as_tensor(seen), actions)
        return obs

    def chance(self, on: bool) -> None:
        """With chance: the real game's actions stick at times, and the dream draws its futures.

        Without it both do what is most probable, so that they can be compared. Begins anew.
        """
        self.by_chance = bool(on)
        self.reset()

    def press(self, action: str) -> None:
        """One step in both worlds; begins anew where both have ended."""
        if action not in self.actions:
            raise ValueError(f"action must be one of {', '.join(self.actions)}, got {action!r}")
        if all(self.over.values()):
            self.reset()
            return
        number = self.actions.index(action)
        self.steps += 1
        both = not any(self.over.values())
        if not self.over["real"]:
            step = self.envs.step(np.array([number]))
            self.real = step.obs[0].copy()
            self.score["real"] += float(step.rewards[0])
            self.over["real"] = bool(step.terminated[0] or step.truncated[0])
        if not self.over["dream"]:
            obs = torch.as_tensor(self.dream)[None]
            predicted = self.model.step(
                self.memory, obs, torch.tensor([number]), self.generator, float(self.by_chance)
            )
            self.dream = predicted.next_obs[0].numpy()
            self.score["dream"] += float(predicted.rewards[0])
            self.over["dream"] = bool(predicted.terminated[0])
        if both:
            true = not self.differing().any()
            self.compared, self.exact = self.compared + 1, self.exact + true
            if not true and self.first_error is None:
                self.first_error = self.steps

    # --- Where they stand ---

    def differing(self) -> np.ndarray:
        """Cells that show something else in the dream than in the real game, (H, W) bool."""
        return (self.real != self.dream).any(axis=0)

    def truth(self) -> float:
        """The share of cells in which the dream agrees with the real game."""
        return float(1 - self.differing().mean())

    def status(self) -> str:
        """How true the dream has been so far, in a sentence or two."""
        ends = {
            (False, False): "",
            (True, False): " The real game is over; the dream goes on.",
            (False, True): " The dream says that the game is over; the real game goes on.",
            (True, True): " Both say that the game is over. The next key begins anew.",
        }[self.over["real"], self.over["dream"]]
        if not self.compared:
            return "Both start from the same real state." + ends
        if self.first_error is None:
            return f"All {self.compared} dreamed frames so far are exactly right." + ends
        found = f"{self.exact} of {self.compared} dreamed frames are exactly right"
        return f"{found}; the first wrong one was frame {self.first_error}." + ends

    def words(self, frame: np.ndarray) -> str:
        """A frame in words, for those who do not see it."""
        if self.game != "MinAtar/Breakout":
            return f"{int(frame.any(axis=0).sum())} of {frame[0].size} cells are taken"
        things = []
        for name, channel in (("paddle", 0), ("ball", 1)):
            places = np.argwhere(frame[channel])
            where = " and ".join(f"row {row}, column {column}" for row, column in places)
            things.append(f"{name} at {where}" if where else f"no {name}")
        return f"{', '.join(things)}, {int(frame[3].sum())} bricks"

    def view(self) -> dict:
        """All that the front end shows."""
        frames = {"real": self.real, "dream": self.dream}
        return {
            "cells": {name: _top(frame).ravel().tolist() for name, frame in frames.items()},
            "words": {name: self.words(frame) for name, frame in frames.items()},
            "wrong": np.flatnonzero(self.differing()).tolist() if self.compared else [],
            "size": list(self.real.shape[1:]),
            "score": {name: f"{value:g}" for name, value in self.score.items()},
            "over": dict(self.over),
            "truth": self.truth(),
            "steps": self.steps,
            "chance": self.by_chance,
            "status": self.status(),
        }

    # --- How it shows itself ---

    def picture(self, scale: int = 16) -> np.ndarray:
        """Both frames side by side, wrong cells of the dream crossed: (H, W, 3) uint8."""
        real, dream = (_painted(frame, scale) for frame in (self.real, self.dream))
        for row, column in np.argwhere(self.differing()):
            _cross(dream[row * scale : (row + 1) * scale, column * scale : (column + 1) * scale])
        gap = np.full((real.shape[0], scale, 3), 255, np.uint8)
        return np.concatenate([real, gap, dream], axis=1)

    def record(
        self, policy: Callable[[np.ndarray], np.ndarray], steps: int = 40
    ) -> list[np.ndarray]:
        """Play on and return the pictures; ``policy`` maps the *dream's* frame (1, C, H, W)."""
        pictures = [self.picture()]
        while len(pictures) <= steps and not all(self.over.values()):
            self.press(self.actions[int(policy(self.dream[None])[0])])
            pictures.append(self.picture())
        return pictures

    def __repr__(self) -> str:
        return (
            f"The real game (left) and the dream (right) after {self.steps} steps.\n"
            f"  real:  {self.words(self.real)}; score {self.score['real']:g}\n"
            f"  dream: {self.words(self.dream)}; score {self.score['dream']:g}\n{self.status()}"
        )

    def widget(self):
        """The live form: two canvases, keys, buttons, the meter."""

        def answer(message: Mapping) -> dict:
            action = message.get("action")
            if action == "reset":
                self.reset()
            elif action == "chance":
                self.chance(not self.by_chance)
            elif action in self.actions:
                self.press(action)
            # Always another number, so that the front end hears even of a step without a change.
            return {**self.view(), "press": message.get("press", 0)}

        fixed = {"actions": list(self.actions), "colours": [EMPTY, *COLOURS]}
        return live.front_end(HERE, {**self.view(), "press": 0}, answer, **fixed)

    _repr_mimebundle_ = live.bundle


class RecordedDream:
    """A `DreamGame` to play, and for pages without a kernel a clip of it being played."""

    def __init__(self, game: DreamGame, pictures: Sequence[np.ndarray], caption: str, fps: int = 6):
        self.game, self.pictures, self.caption, self.fps = game, list(pictures), caption, fps

    def __repr__(self) -> str:
        seconds = len(self.pictures) / self.fps
        return f"{self.game!r}\nRecorded clip, {seconds:.0f} s. {self.caption}"

    def as_html(self) -> str:
        """Film strip and video, with controls and words."""
        from course_lib.classroom import video

        words = html.escape(self.caption)
        strip = video.film_strip(self.pictures, self.fps, self.caption, count=4)
        film = video.element(self.pictures, self.fps, self.caption)
        return (
            f"<figure style='margin:0;max-width:46em'>"
            f"<img alt='Film strip. {words}' style='max-width:100%' "
            f"src='data:image/png;base64,{b64encode(strip).decode()}'>{film}"
            f"<figcaption>{words} Run this cell to play yourself.</figcaption></figure>"
        )

    def widget(self):
        """The game's own."""
        return self.game.widget()

    _repr_mimebundle_ = live.bundle


def play(model: WorldModel, game: str = "MinAtar/Breakout", seed: int = 0) -> RecordedDream:
    """Play inside ``model``'s dream by keys or buttons; end a cell with it to show it.

    The stored output is a clip of the same dream, played by a rule.
    """
    recording = DreamGame(model, game, seed)
    rng = np.random.default_rng(seed)
    pictures = recording.record(lambda obs: by_rule(game, obs, rng))
    caption = (
        "Left the real game, right the dream, from the same state and with the same actions. "
        "Cells in which the dream errs are crossed."
    )
    return RecordedDream(DreamGame(model, game, seed), pictures, caption)


def by_rule(game: str, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In Breakout go where the ball comes down, elsewhere anywhere: ``obs`` (N, ...) to (N,)."""
    if game == "MinAtar/Breakout":
        return follow_the_ball(obs, 0.0, rng)
    return rng.integers(len(ACTIONS[game]), size=len(obs))


def _top(frame: np.ndarray) -> np.ndarray:
    """What is on top in each cell: 0 for nothing, else the channel's number plus 1, (H, W)."""
    return np.where(frame.any(axis=0), frame.argmax(axis=0) + 1, 0)


def _painted(frame: np.ndarray, scale: int) -> np.ndarray:
    colours = np.array([list(bytes.fromhex(c[1:])) for c in (EMPTY, *COLOURS)], np.uint8)
    return colours[_top(frame)].repeat(scale, axis=0).repeat(scale, axis=1)


def _cross(cell: np.ndarray) -> None:
    """A red cross with a white edge: seen on every colour."""
    steps = np.arange(len(cell))
    for colour, width in (((255, 255, 255), 2), ((208, 0, 0), 1)):
        for along in (steps, steps[::-1]):
            for shift in range(-width + 1, width):
                cell[np.clip(steps + shift, 0, len(cell) - 1), along] = colour
