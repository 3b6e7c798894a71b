"""The widget of lesson 11: a pendulum dreamed open loop, beside the real one.

From one start both get the same torques. The real one is simulated; the dream is the ensemble's,
each member fed with its own predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import gymnasium
import numpy as np
import torch

from course_lib.classroom import live, plots
from course_lib.world_models import dynamics
from course_lib.world_models.dynamics import Dynamics

STEP = 0.05  # s, Pendulum-v1's
LONGEST = 80  # steps
STARTS = range(-180, 181, 15)  # degrees from upright, at rest
TORQUE = 2.0  # Nm, the largest


class Dream(NamedTuple):
    """Truth and dream, step by step: ``H`` steps, ``E`` members. Angles in degrees, unwound."""

    truth: np.ndarray  # (H + 1,) the start included
    members: np.ndarray  # (E, H + 1) each going on from its own predictions
    error: np.ndarray  # (H,) root mean square over the members' distances from the truth
    apart: np.ndarray  # (H,) the same from the members' own mean direction


class DreamExplorer:
    """Open-loop rollouts of models that learned from different amounts of data.

    ``models`` maps the number of real steps that a model learned from to the model.
    """

    def __init__(
        self,
        models: Mapping[int, Dynamics],
        data: int | None = None,
        horizon: int = 40,
        start: int = 45,
    ):
        if not models:
            raise ValueError("models must hold at least one model, got none")
        self.models = dict(models)
        self.draws = 0
        self.data, self.horizon, self.start = next(iter(self.models)), horizon, start
        self.set(data=data)

    def set(
        self, data: int | None = None, horizon: int | None = None, start: int | None = None
    ) -> str:
        """Change the settings that are given; return the summary."""
        if data is not None and data not in self.models:
            raise ValueError(f"no model of {data} steps; there are: {', '.join(map(str, self))}")
        changes = {"data": data, "horizon": horizon, "start": start}
        limits = {"horizon": (1, LONGEST), "start": (-180, 180)}
        vars(self).update(live.changed(vars(self), changes, limits))
        self.dream = self._dream()
        return repr(self)

    def draw(self) -> str:
        """Other torques from the same start."""
        self.draws += 1
        return self.set()

    def __iter__(self):
        return iter(self.models)

    def torques(self) -> np.ndarray:
        """The torques of this draw, (LONGEST,): random, each held for four steps."""
        rng = np.random.default_rng((self.draws, 11))
        return rng.uniform(-TORQUE, TORQUE, LONGEST // 4).repeat(4).astype(np.float32)

    def _dream(self) -> Dream:
        torques = self.torques()[: self.horizon]
        truth = real_pendulum(self.start, torques)
        obs = torch.as_tensor(truth[:1])
        actions = torch.as_tensor(torques)[None, :, None]
        with torch.no_grad():
            model = self.models[self.data]
            imagined = dynamics.open_loop(model, obs, actions, average=False)[:, 0].numpy()
        first = np.broadcast_to(truth[0], (len(imagined), 1, 3))
        members = degrees(np.concatenate([first, imagined], axis=1))
        real = degrees(truth)
        turned = np.exp(1j * np.radians(members[:, 1:]))
        middle = np.degrees(np.angle(turned.mean(0)))
        error, apart = (rms_distance(members[:, 1:], x) for x in (real[1:], middle))
        return Dream(real, members, error, apart)

    def __repr__(self) -> str:
        error, apart = self.dream.error[-1], self.dream.apart[-1]
        return (
            f"Start {self.start}° from upright, model of {self.data:,} real steps. After "
            f"{self.horizon} imagined steps ({self.horizon * STEP:.2f} s) the dream is off by "
            f"{error:.1f}°, and its members lie {apart:.1f}° apart."
        )

    @live.drawn((12.5, 3.9), 1, 3, width_ratios=(0.75, 1.2, 1.2))
    def figure(self, place, way, size):
        """The pendulum at the end, the angle on the way, error and disagreement."""
        self._draw_pendulum(place)
        self._draw_way(way)
        steps = np.arange(1, self.horizon + 1)
        size.plot(steps, self.dream.error, color=plots.COLORS[1], label="error of the dream")
        look = {"color": plots.COLORS[2], "ls": plots.LINES[1], "label": "disagreement"}
        size.plot(steps, self.dream.apart, **look)
        size.set(xlabel="imagined steps", ylabel="degrees", yscale="log", ylim=(0.02, 400))
        size.legend(loc="lower right")

    def _draw_pendulum(self, ax) -> None:
        def arm(angle: float, line: str, **look) -> None:
            ax.plot([0, -np.sin(np.radians(angle))], [0, np.cos(np.radians(angle))], line, **look)

        for angles in self.dream.members:
            arm(angles[-1], "--o", color=plots.COLORS[1], lw=1.8, ms=5)
        arm(self.dream.truth[-1], "-o", color=plots.COLORS[0], lw=4, ms=9, zorder=1)
        ax.plot(0, 0, "o", color=plots.INK, ms=7)
        ax.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal", xticks=[], yticks=[])
        ax.set_xlabel(f"after {self.horizon * STEP:.2f} s")
        ax.grid(False)
        ax.spines[:].set_visible(True)

    def _draw_way(self, ax) -> None:
        steps = np.arange(self.horizon + 1)
        for i, angles in enumerate(self.dream.members):
            label = "dream, each member" if i == 0 else None
            ax.plot(steps, angles, "--", color=plots.COLORS[1], lw=1.3, label=label)
        ax.plot(steps, self.dream.truth, color=plots.COLORS[0], lw=3, label="truth", zorder=1)
        ax.set(xlabel="imagined steps", ylabel="angle from upright, degrees")
        ax.legend(loc="best")

    def widget(self):
        """The live form: three sliders, a button, the picture, one sentence."""
        import ipywidgets as widgets

        data = {"options": list(self), "value": self.data, "description": "training data"}
        start = {"options": list(STARTS), "value": self.start, "description": "start, degrees"}
        controls = {
            "data": widgets.SelectionSlider(**data),
            "horizon": live.slider("horizon", self.horizon, 1, LONGEST, 1),
            "start": widgets.SelectionSlider(**start),
            "Other torques": self.draw,
        }
        views = {"figure": self.figure, "text": self.__repr__}
        return live.form(self.set, controls, **views, at_once=False)

    _repr_mimebundle_ = live.bundle


def real_pendulum(start: float, torques: np.ndarray) -> np.ndarray:
    """What Pendulum-v1 itself does from rest, ``start`` degrees from upright: (H + 1, 3)."""
    env = gymnasium.make("Pendulum-v1").unwrapped
    env.reset(seed=0)
    env.state = np.array([np.radians(start), 0.0])
    rows = [np.array([np.cos(env.state[0]), np.sin(env.state[0]), 0.0], np.float32)]
    rows += [env.step(np.array([torque]))[0] for torque in torques]
    return np.stack(rows)


def degrees(obs: np.ndarray) -> np.ndarray:
    """The angle from upright without jumps, (..., H, 3) to (..., H), in degrees."""
    return np.degrees(np.unwrap(np.arctan2(obs[..., 1], obs[..., 0]), axis=-1))


def rms_distance(angles: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Root mean square over members of the distance in degrees, (E, H) and (H,) to (H,).

    A whole turn too many is no error of the place, so the way round is the shorter one.
    """
    distance = (angles - target + 180) % 360 - 180
    return np.sqrt((distance**2).mean(0))
