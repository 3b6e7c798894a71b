"""Widgets of lesson 02: the arithmetic of one target, and the values a trained network holds."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from course_lib.classroom import live
from course_lib.rl import dqn

ENDINGS = {
    "the episode goes on": 0.0,
    "terminated: the pole fell": 1.0,
    "truncated: the clock ran out": 0.0,
}


class TargetExplorer:
    """One transition of CartPole, with the target computed step by step as you move its parts.

    `td_target` and `double_dqn_target` are the functions at work: pass your own to try them.
    """

    def __init__(
        self,
        td_target: Callable = dqn.td_target,
        double_dqn_target: Callable = dqn.double_dqn_target,
    ):
        self._td_target = td_target
        self._double = double_dqn_target
        self.settings: dict[str, Any] = {
            "gamma": 0.99,
            "ending": "the episode goes on",
            "double": False,
            "online left": 21.0,
            "online right": 20.0,
            "target left": 18.0,
            "target right": 24.0,
        }

    def set(self, **settings: Any) -> float:
        """Change settings (spaces in names as underscores) and return the new target."""
        changes = {name.replace("_", " "): value for name, value in settings.items()}
        self.settings = live.changed(self.settings, changes, {"ending": list(ENDINGS)})
        return self.target()

    def target(self) -> float:
        """The target of this transition, computed by the lesson's functions."""
        s = self.settings
        rewards = torch.ones(1)
        terminated = torch.tensor([ENDINGS[s["ending"]]])
        slow = torch.tensor([[s["target left"], s["target right"]]])
        if not s["double"]:
            return float(self._td_target(rewards, terminated, slow, s["gamma"]))
        fast = torch.tensor([[s["online left"], s["online right"]]])
        return float(self._double(rewards, terminated, fast, slow, s["gamma"]))

    def lines(self) -> list[str]:
        """The arithmetic in words, one step per line."""
        s = self.settings
        judge = "online" if s["double"] else "target"
        chosen = "left" if s[f"{judge} left"] >= s[f"{judge} right"] else "right"
        alive = 1 - ENDINGS[s["ending"]]
        value = s[f"target {chosen}"]
        return [
            f"The {judge} network prefers {chosen}.",
            f"The target network says that {chosen} is worth {value:.1f}.",
            f"({s['ending']}, so 1 - terminated = {alive:.0f})",
            f"target = reward + gamma * (1 - terminated) * value"
            f" = 1 + {s['gamma']:.2f} * {alive:.0f} * {value:.1f} = {self.target():.2f}",
        ]

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def as_html(self) -> str:
        """The same lines as HTML, the last one set apart."""
        *steps, last = (html.escape(line, quote=False) for line in self.lines())
        steps = "".join(f"<div>{line}</div>" for line in steps)
        return f"<div style='line-height:1.7'>{steps}<div><b>{last}</b></div></div>"

    def widget(self):
        """The live form: a slider per number, a menu for how the episode stands, a switch."""
        s = self.settings
        controls = {
            "gamma": live.slider("gamma", s["gamma"]),
            "ending": live.menu("ending", s["ending"], list(ENDINGS)),
            "double": live.switch("double", s["double"]),
        }
        for name in list(s)[3:]:
            look = {"readout_format": ".1f"}
            controls[name] = live.slider(name, s[name], 0.0, 50.0, 0.5, **look)
        return live.form(self.set, controls, page=self.as_html)

    _repr_mimebundle_ = live.bundle


class QMap:
    """What the network of a CartPole agent thinks, over pole angle and angular velocity.

    Two maps: the value of the better action, and by how much it prefers to push right.
    """

    ANGLES = np.linspace(-0.21, 0.21, 43, dtype=np.float32)  # rad; beyond 0.2095 the episode ends
    SPINS = np.linspace(-2.0, 2.0, 41, dtype=np.float32)  # rad/s

    def __init__(self, agent: Any):
        self.agent = agent
        self.position = 0.0  # m
        self.velocity = 0.0  # m/s

    def values(self) -> np.ndarray:
        """Q of both actions on the grid: (spins, angles, 2)."""
        angle, spin = np.meshgrid(self.ANGLES, self.SPINS)
        cart = (np.full_like(angle, x) for x in (self.position, self.velocity))
        obs = np.stack([*cart, angle, spin], axis=-1)
        return self.agent.q_values(obs.reshape(-1, 4)).reshape(*angle.shape, 2)

    @live.drawn((9.5, 3.6), 1, 2, sharey=True)
    def figure(self, left, right):
        """Both maps."""
        q = self.values()
        preference = q[..., 1] - q[..., 0]
        extent = (self.ANGLES[0], self.ANGLES[-1], self.SPINS[0], self.SPINS[-1])
        look = {"extent": extent, "origin": "lower", "aspect": "auto"}
        image = left.imshow(q.max(axis=-1), cmap="cividis", **look)
        left.figure.colorbar(image, ax=left, label="discounted steps to come")
        left.set(title="value of the better action", ylabel="angular velocity (rad/s)")
        limit = float(np.abs(preference).max()) or 1.0
        image = right.imshow(preference, cmap="PuOr", vmin=-limit, vmax=limit, **look)
        left.figure.colorbar(image, ax=right, label="Q(right) - Q(left)")
        right.contour(preference, levels=[0.0], colors="black", extent=extent, origin="lower")
        right.set(title="which way it would push")
        for ax in (left, right):
            ax.set_xlabel("pole angle (rad)")
            ax.grid(False)

    def move(self, position: float | None = None, velocity: float | None = None) -> None:
        """Put the cart elsewhere (m, m/s); what is not given stays."""
        self.position = self.position if position is None else position
        self.velocity = self.velocity if velocity is None else velocity

    def __repr__(self) -> str:
        q = self.values().max(axis=-1)
        return (
            f"Values of a CartPole agent with the cart at {self.position:+.1f} m, moving at "
            f"{self.velocity:+.1f} m/s: from {q.min():.0f} to {q.max():.0f}"
        )

    def widget(self):
        """The live form: two sliders move the cart under the maps."""
        controls = {
            "position": live.slider("position", self.position, -2.4, 2.4, 0.1),
            "velocity": live.slider("velocity", self.velocity, -3.0, 3.0, 0.1),
        }
        return live.form(self.move, controls, figure=self.figure, at_once=False)

    _repr_mimebundle_ = live.bundle
